//! `bulaq dns`: the list for a name server that the school has already, and the box's own resolver.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use anyhow::Context;
use bulaq_allowlist::export::{Answers, NameServer, Redirected, left_out};
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::configured::{ConfigArg, allowlist};
use super::{say, say_line};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::quantity::Period;
use crate::operate::{Client, DnsStatus, Lead};

/// What can be asked about names.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  bulaq dns export --for unbound --address 192.168.10.5 --out /etc/unbound/bulaq.rpz\n  \
                        bulaq dns pause --time \"10 min\"     before a planned stop of the box\n\n\
                        Windows and MikroTik servers are told to ask the box's own resolver: [dns] must be on."
)]
pub(super) enum DnsCommand {
    /// Write the names that lead to the box for a name server that the school has already
    Export(ExportArgs),
    /// Let names lead past the box: the plain Internet, until resumed or the box starts again
    Pause {
        #[command(flatten)]
        config: ConfigArg,
        /// For how long, as "10 min" [default: until `bulaq dns resume`]
        #[arg(long, value_parser = |text: &str| Period::parse(text).map_err(|error| error.to_string()))]
        time: Option<Period>,
    },
    /// Let names lead to the box again
    Resume(ConfigArg),
}

/// What to write, and for whom.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The name server
    #[arg(long = "for", value_name = "SERVER", value_parser = PossibleValuesParser::new(NameServer::WORDS.map(|(word, _)| word)).map(|word| named(&word)))]
    server: NameServer,
    /// An address of the box, once for each [default: `answers` of [dns]]
    #[arg(long)]
    address: Vec<IpAddr>,
    /// The file to write, in one step [default: to the terminal]
    #[arg(long)]
    out: Option<PathBuf>,
}

fn named(word: &str) -> NameServer {
    let mut words = NameServer::WORDS.into_iter();
    words.find(|(known, _)| *known == word).map_or(NameServer::Dnsmasq, |(_, server)| server)
}

/// Runs one of the commands.
pub(super) async fn run(command: DnsCommand) -> anyhow::Result<ExitCode> {
    match command {
        DnsCommand::Export(args) => export(&args),
        DnsCommand::Pause { config, time } => {
            let seconds = time.map(|Period(time)| time.as_secs());
            lead(&config.load()?, Lead::PastIt { seconds }).await
        }
        DnsCommand::Resume(config) => lead(&config.load()?, Lead::ToTheBox).await,
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let list = allowlist(&config.allowlist)?;
    let addresses = if args.address.is_empty() { &config.dns.answers } else { &args.address };
    if addresses.is_empty() {
        anyhow::bail!("the box's address is not known: name it with --address, or in [dns] answers");
    }
    if let Some(address) = addresses.iter().find(|address| address.is_unspecified() || address.is_multicast()) {
        anyhow::bail!("{address} is no address by which devices reach the box");
    }
    if args.server.asks_the_box() && config.dns.listen.is_empty() {
        eprintln!("warning: this server will ask the box's own resolver, which is off: set [dns] listen and upstreams");
    }
    for left in left_out(&list) {
        eprintln!("note: {} of {} is left out: pages of many other sites use it too", left.entry, left.site.name());
    }
    let now = Clock::system().now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ttl_s = u32::try_from(config.dns.ttl.as_secs()).unwrap_or(u32::MAX);
    // Serial numbers go around after 2106 (RFC 1982).
    let answers = Answers::new(addresses, ttl_s, now.as_secs() as u32);
    let text = args.server.text(&Redirected::of(&list, &config.own_patterns()), &answers);
    match &args.out {
        None => say(format_args!("{text}"))?,
        Some(path) => {
            // A server that reads it meanwhile sees the old file or the new one.
            let fresh = path.with_added_extension("new");
            fs::write(&fresh, &text)
                .and_then(|()| fs::rename(&fresh, path))
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn lead(config: &Config, lead: Lead) -> anyhow::Result<ExitCode> {
    let running = Client::find(&config.data).await?;
    let client =
        running.ok_or_else(|| anyhow::anyhow!("no box serves with the data folder {}", config.data.display()))?;
    let status = client.lead(lead).await?;
    say_line(format_args!("{}", status.leading))?;
    if lead != Lead::ToTheBox {
        let ttl = Period(config.dns.ttl);
        say_line(format_args!("Devices that asked before find the way around the box within {ttl}."))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The resolver's part of `bulaq status`.
pub(super) fn tell(status: &DnsStatus) -> std::io::Result<()> {
    let counts = status.counts;
    say_line(format_args!("dns     {}", status.leading))?;
    say_line(format_args!(
        "        of {} questions {} led to the box, {} were denied, {} asked of others, {} known; {} in memory",
        counts.queries, counts.redirected, counts.denied, counts.forwarded, counts.cached, status.remembered
    ))?;
    let refused = [
        (counts.failed, "without an answer from others"),
        (counts.not_clients, "not from clients of the school"),
        (counts.too_many, "beyond a client's share"),
        (counts.not_answered, "of kinds that are not answered"),
        (counts.malformed, "malformed"),
        (counts.busy, "while too many waited"),
    ];
    let told: Vec<_> = refused.iter().filter(|(count, _)| *count > 0).map(|(n, why)| format!("{n} {why}")).collect();
    if told.is_empty() { Ok(()) } else { say_line(format_args!("        refused: {}", told.join(", "))) }
}
