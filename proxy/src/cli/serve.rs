//! `bulaq serve`: runs the box.

use std::process::ExitCode;

use bulaq_allowlist::{Allowlist, HostName};

use super::configured::{ConfigArg, allowlist};
use super::{Refused, say_line};
use crate::ca::Certificates;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::quantity::{ByteSize, counted};
use crate::origin::Origin;

/// How to run.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bulaq serve --check             says what is wrong with bulaq.toml and its allowlist\n  \
                        bulaq serve --config /etc/bulaq/bulaq.toml\n\n\
                        SIGHUP or `bulaq reload` make it read the allowlist again. SIGTERM or Ctrl-C let downloads\n\
                        finish; a second one ends at once."
)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Check the configuration and the allowlist, and do nothing else
    #[arg(long)]
    check: bool,
}

/// Checks everything, and then runs until it is told to stop.
pub(super) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let list = allowlist(&config.allowlist)?;
    for warning in config.machine_warnings().into_iter().chain(unknown_hosts(&config, &list)) {
        eprintln!("warning: {warning}");
    }
    refuse_unknown_sites(&config, &list)?;
    if args.check {
        // The files that the configuration names are read as at a start; nothing is opened or written.
        Certificates::new(&config.certificates, None)?;
        Origin::new(config.origin.clone(), Clock::system())?;
        say_line(format_args!("{}", summary(&config, list.sites().len())))?;
        return Ok(ExitCode::SUCCESS);
    }
    crate::telemetry::start(&config.log);
    crate::operate::run::run(config, list).await?;
    Ok(ExitCode::SUCCESS)
}

/// Hosts of the configuration that no site of the allowlist has; a site may be planned.
fn unknown_hosts(config: &Config, list: &Allowlist) -> Vec<String> {
    let is_unknown = |host: &&HostName| list.site_of(host).is_none();
    let hosts = config.origin.hosts.keys().filter(is_unknown);
    hosts.map(|host| format!("[origin.hosts] names {host}, which is of no site of the allowlist")).collect()
}

/// An extra root that reaches no site is a slip of the hand, and the site that was meant would not be reached.
fn refuse_unknown_sites(config: &Config, list: &Allowlist) -> anyhow::Result<()> {
    let unknown: Vec<_> = config.origin.extra_roots.keys().filter(|name| list.site(name).is_none()).collect();
    for name in &unknown {
        let names: Vec<_> = list.sites().iter().map(|site| site.name()).collect();
        let near = bulaq_allowlist::nearest(name, &names);
        let help = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        eprintln!("error: [origin.extra-roots] names {name}, which is no site of the allowlist{help}");
    }
    if unknown.is_empty() { Ok(()) } else { Err(Refused { what: "the configuration".to_owned() }.into()) }
}

/// What a good configuration means, in a few lines.
fn summary(config: &Config, sites: usize) -> String {
    let doors = |addresses: &[std::net::SocketAddr]| match addresses {
        [] => "closed".to_owned(),
        addresses => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    format!(
        "The configuration is good.\n  allowlist  {}, {}\n  http       {}\n  https      {}\n  proxy      {}\n  resolver   {}\n  router     {}\n  \
         data       {}, at most {} of lessons\n  night      {}",
        config.allowlist.display(),
        counted(sites as u64, "site"),
        doors(&config.ingress.http),
        doors(&config.ingress.https),
        doors(&config.ingress.forward),
        doors(&config.dns.listen),
        doors(&[config.ingress.router.http.as_slice(), &config.ingress.router.https].concat()),
        config.data.display(),
        ByteSize(config.store.bytes_max),
        if config.window.is_some() { "by itself, in its window" } else { "only by `bulaq prefetch`" },
    )
}
