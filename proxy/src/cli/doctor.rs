//! `bulaq doctor`: says what is wrong with the box and around it, and what to do.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use super::configured::ConfigArg;
use super::{FAILED, say, say_line};
use crate::clock::Clock;
use crate::config::quantity::counted;
use crate::operate::doctor::{Finding, Scope, State, examine};

/// What to look at.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bulaq doctor                      looks at everything, beside a running box or without\n  \
                        bulaq doctor --dns 192.168.1.1    asks the name server that devices get by DHCP\n  \
                        bulaq doctor --json\n\n\
                        Exit status: 0 nothing is broken (there may be warnings); 1 something is. What is inside a device\n\
                        is found out on the device: http://bulaq.internal/check"
)]
pub(super) struct DoctorArgs {
    /// A name server to ask as a device would, instead of this machine's own; may be given more than once
    #[arg(long = "dns", value_name = "ADDRESS", value_parser = name_server)]
    name_servers: Vec<SocketAddr>,
    /// Ask no site: look only at this machine and the name servers
    #[arg(long)]
    inside_only: bool,
    /// Write JSON: a list of findings with check, state (ok, unknown, warning, error), what and advice
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// `192.168.1.1`, `192.168.1.1:5353`, `fd00::1` or `[fd00::1]:5353`.
fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    let with_port = || text.parse::<SocketAddr>();
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    alone.or_else(|_| with_port()).map_err(|_| "an IP address is expected, as in 192.168.1.1")
}

/// Looks, and tells.
pub(super) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let scope = Scope { name_servers: args.name_servers, is_inside_only: args.inside_only };
    let findings = examine(&config, &scope, &Clock::system()).await;
    if args.json {
        say_line(format_args!("{}", serde_json::to_string_pretty(&findings)?))?;
    } else {
        say(format_args!("{}", told(&findings)))?;
    }
    let is_broken = findings.iter().any(|finding| finding.state == State::Error);
    Ok(if is_broken { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The findings for a terminal, in the order of the checks, and how many of them want somebody.
fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, state, what, advice } in findings {
        let mark = match state {
            State::Ok => "ok     ",
            State::Unknown => "?      ",
            State::Warning => "warning",
            State::Error => "ERROR  ",
        };
        let _ = writeln!(text, "{mark}  {check:12}  {what}"); // a string takes all that is written
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:23}→ {advice}", "");
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count() as u64;
    let (errors, warnings) = (count(State::Error), count(State::Warning));
    let end = match (errors, warnings) {
        (0, 0) => "Nothing is wrong that can be seen from here.".to_owned(),
        (errors, warnings) => format!("{}, {}.", counted(errors, "error"), counted(warnings, "warning")),
    };
    let _ = writeln!(text, "\n{end}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_with_what_to_do() {
        let finding = |state, advice: Option<&str>| Finding {
            check: "clock",
            state,
            what: "the clock is wrong".to_owned(),
            advice: advice.map(str::to_owned),
        };
        let text = told(&[finding(State::Error, Some("set it")), finding(State::Ok, None)]);
        assert_eq!(
            text,
            "ERROR    clock         the clock is wrong\n                       → set it\nok       clock         \
             the clock is wrong\n\n1 error, 0 warnings.\n"
        );
        assert!(told(&[finding(State::Ok, None)]).ends_with("Nothing is wrong that can be seen from here.\n"));
    }

    #[test]
    fn a_name_server_is_an_address_with_or_without_a_port() {
        for (text, address) in [
            ("192.168.1.1", Some("192.168.1.1:53")),
            ("192.168.1.1:5353", Some("192.168.1.1:5353")),
            ("fd00::1", Some("[fd00::1]:53")),
            ("[fd00::1]:5353", Some("[fd00::1]:5353")),
            ("dns.kz", None),
        ] {
            assert_eq!(name_server(text).ok().map(|address| address.to_string()).as_deref(), address, "{text}");
        }
    }
}
