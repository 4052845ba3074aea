//! `bulaq status` and `bulaq reload`: only for a box that serves.

use std::path::Path;
use std::process::ExitCode;

use super::Refused;
use super::configured::ConfigArg;
use super::say_line;
use crate::config::quantity::{ByteSize, counted};
use crate::operate::{CaStatus, Client, ClientError};

/// What `status` is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Says how the running box is.
pub(super) async fn run(arguments: &StatusArgs) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let status = running(&config.data).await?.status().await?;
    if arguments.json {
        say_line(format_args!("{}", serde_json::to_string_pretty(&status)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    say_line(format_args!("bulaq {} serves {}", status.version, counted(status.sites as u64, "site")))?;
    let store = status.store;
    say_line(format_args!(
        "store   {}, {} of at most {}; {} in memory; index {}",
        counted(store.responses, "page"),
        ByteSize(store.bytes),
        ByteSize(store.bytes_max),
        ByteSize(store.memory_bytes),
        store.index,
    ))?;
    if store.incomplete > 0 {
        let count = counted(store.incomplete, "file");
        say_line(format_args!("        of it {count} stored in part, {}", ByteSize(store.incomplete_bytes)))?;
    }
    if let Some(free) = store.free_bytes {
        say_line(format_args!("disk    {} free", ByteSize(free)))?;
    }
    for line in status.ca.iter().flat_map(certificates) {
        say_line(format_args!("{line}"))?;
    }
    if let Some(dns) = &status.dns {
        super::dns::tell(dns)?;
    }
    match (status.is_night_at_work, status.next_night) {
        (true, _) => say_line(format_args!("night   at work"))?,
        (false, Some(next)) => say_line(format_args!("night   begins {next}"))?,
        (false, None) => say_line(format_args!("night   only by `bulaq prefetch`"))?,
    }
    for (nth, door) in status.doors.iter().enumerate() {
        let head = if nth == 0 { "doors " } else { "" };
        say_line(format_args!("{head:6}  {:>8}  {}", door.count, door.text))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the running box read its allowlist and its certificates again.
pub(super) async fn reload(config: &ConfigArg) -> anyhow::Result<ExitCode> {
    let config = config.load()?;
    match running(&config.data).await?.reload().await {
        Ok(done) => {
            for warning in &done.warnings {
                eprintln!("{warning}\n");
            }
            for warning in &done.certificates {
                eprintln!("warning: {warning}\n");
            }
            say_line(format_args!("The box permits {} now.", counted(done.sites as u64, "site")))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ClientError::Refused(failure)) if !failure.details.is_empty() => {
            for detail in &failure.details {
                eprintln!("{detail}\n");
            }
            eprintln!("The box keeps its old list.");
            Err(Refused { what: config.allowlist.display().to_string() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The lines about the certificate authority: when it must be renewed, and all that is to be done.
fn certificates(ca: &CaStatus) -> Vec<String> {
    let until = ca.until.iter().zip(ca.days_left);
    let works = until.map(|(until, days)| {
        let (names, days) = (counted(ca.names as u64, "name"), counted(days, "day"));
        format!("ca      vouches for {names} until {until} ({days} left)")
    });
    works.chain(ca.findings.iter().map(|finding| format!("ca      {finding}"))).collect()
}

async fn running(data: &Path) -> anyhow::Result<Client> {
    let running = Client::find(data).await?;
    running.ok_or_else(|| anyhow::anyhow!("no box serves with the data folder {}", data.display()))
}
