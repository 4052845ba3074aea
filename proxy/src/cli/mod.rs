//! One file a command; here, what they share: arguments, the configuration, and how an error ends.

pub mod allowlist;
mod ca;
mod configured;
mod demo;
mod desk;
mod dns;
mod doctor;
mod init;
mod ledger;
mod prefetch;
mod purge;
mod report;
mod router;
mod serve;
mod status;
mod store;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use configured::ConfigArg;

/// Exit status of a command that did not do what it was asked.
const FAILED: u8 = 1;

/// Exit status of wrong arguments, or of a configuration or allowlist that is refused.
const REFUSED: u8 = 2;

/// How long the last threads are waited for when all is done.
const END_WAIT: Duration = Duration::from_secs(1);

/// A zero-rated lesson cache for school networks: fetches permitted sites by night, serves them to every class by day.
#[derive(Debug, Parser)]
#[command(
    name = "bulaq",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done; 1 failed; 2 wrong arguments, or a configuration or allowlist that is refused.\n\n\
                  See it at work, without any set-up:  bulaq demo\n\
                  Set up a box:                        bulaq init /etc/bulaq"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what Bulaq does: a small portal, a night, a morning without the portal
    Demo(demo::DemoArgs),
    /// Write a configuration and an allowlist to begin with
    Init(init::InitArgs),
    /// Run the box
    Serve(serve::ServeArgs),
    /// Fetch the permitted sites now
    Prefetch(prefetch::PrefetchArgs),
    /// Check, list or explain an allowlist
    #[command(subcommand)]
    Allowlist(allowlist::AllowlistCommand),
    /// Make, renew and show the certificates by which a box can stand in for its lesson sites
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Write the list for the school's name server, or pause the box's own
    #[command(subcommand)]
    Dns(dns::DnsCommand),
    /// Make the running box read its allowlist and its certificates again
    Reload(ConfigArg),
    /// Say how the running box is
    Status(status::StatusArgs),
    /// Find out what is wrong with the box and around it, and say what to do
    Doctor(doctor::DoctorArgs),
    /// Show what a night did
    Report(report::ReportArgs),
    /// Show requests and bytes by site: what came from the box and what crossed the link
    Ledger(ledger::LedgerArgs),
    /// Remove stored pages
    Purge(purge::PurgeArgs),
    /// Write the rules that make a router hand connections to the box
    #[command(subcommand)]
    Router(router::RouterCommand),
    /// Look after the folder of stored pages
    Store(store::StoreArgs),
}

/// Runs the command of these arguments; the first is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // a closed terminal has nobody to tell
            return if error.use_stderr() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS };
        }
    };
    let is_quiet = !matches!(arguments.command, Command::Serve(_));
    // The box serves on threads of its own (`workers`); all else of it is little, and waits more than it works.
    let mut runtime = match arguments.command {
        Command::Serve(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bulaq: the runtime does not start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    if is_quiet {
        crate::telemetry::start(crate::telemetry::QUIET);
    }
    let ended = runtime.block_on(dispatch(arguments.command));
    // Everything is closed in order by now. A disk that hangs keeps its threads, and must not keep the process.
    runtime.shutdown_timeout(END_WAIT);
    match ended {
        Ok(status) => status,
        Err(error) => end(&error),
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(args).await,
        Command::Prefetch(args) => prefetch::run(args).await,
        Command::Allowlist(command) => allowlist::run(&command),
        Command::Ca(command) => ca::run(&command),
        Command::Dns(command) => dns::run(command).await,
        Command::Reload(config) => status::reload(&config).await,
        Command::Status(arguments) => status::run(&arguments).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Report(args) => report::run(&args),
        Command::Ledger(args) => ledger::run(args).await,
        Command::Purge(args) => purge::run(args).await,
        Command::Router(command) => router::run(&command),
        Command::Store(args) => store::run(args).await,
    }
}

/// A file that was refused; its findings have been told already.
#[derive(Debug, thiserror::Error)]
#[error("{what} is refused")]
struct Refused {
    what: String,
}

/// Writes to standard output.
fn say(text: fmt::Arguments<'_>) -> io::Result<()> {
    io::stdout().lock().write_fmt(text)
}

/// Writes a line to standard output.
fn say_line(text: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Tells an error once, with its causes, and gives it its exit status.
fn end(error: &anyhow::Error) -> ExitCode {
    let reader_left = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if reader_left {
        return ExitCode::SUCCESS; // `| head` has seen enough
    }
    eprintln!("bulaq: {error:#}");
    if error.is::<Refused>() { ExitCode::from(REFUSED) } else { ExitCode::from(FAILED) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn exit_statuses_are_those_of_the_help() {
        let status = |arguments: &[&str]| run(["bulaq"].iter().chain(arguments).map(OsString::from));
        let same = |status: ExitCode, code: u8| format!("{status:?}") == format!("{:?}", ExitCode::from(code));
        assert!(same(status(&["--help"]), 0));
        assert!(same(status(&["wash"]), REFUSED));
        assert!(same(status(&["serve", "--check", "--config", "/nowhere/bulaq.toml"]), FAILED));
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bulaq.toml");
        std::fs::write(&config, "store = 1\n").unwrap();
        assert!(same(status(&["serve", "--check", "--config", &config.display().to_string()]), REFUSED));
    }
}
