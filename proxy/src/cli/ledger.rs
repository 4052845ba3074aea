//! `bulaq ledger`: requests and bytes by site.

use std::process::ExitCode;

use anyhow::Context;

use super::configured::ConfigArg;
use super::{say, say_line};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::quantity::{ByteSize, grouped};
use crate::ledger::{HourRow, Ledger, Period, Totals};
use crate::operate::Client;

/// What to show.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bulaq ledger                   today\n  bulaq ledger month             the last 30 days\n  \
                        bulaq ledger 2026-11           one month\n  bulaq ledger 2026-11-01..2026-11-15\n  \
                        bulaq ledger yesterday --hours\n\n\
                        A site with fewer than ten requests is not named: a small number can name a pupil."
)]
pub(super) struct LedgerArgs {
    /// today, yesterday, week, month, year, a month, a date, or two dates with two dots between
    #[arg(default_value = "today")]
    period: String,
    /// Show the hours of the period's first day
    #[arg(long)]
    hours: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Shows the ledger, from the box that serves or from its files.
pub(super) async fn run(args: LedgerArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let period = Period::parse(&args.period, today(&config))?;
    if args.hours {
        let hours = hours(&config, period).await?;
        if args.json {
            say_line(format_args!("{}", serde_json::to_string_pretty(&hours)?))?;
        } else {
            say(format_args!("{}", hour_lines(&hours)))?;
        }
    } else {
        let totals = totals(&config, period).await?;
        if args.json {
            say_line(format_args!("{}", serde_json::to_string_pretty(&totals)?))?;
        } else {
            say(format_args!("{totals}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn totals(config: &Config, period: Period) -> anyhow::Result<Totals> {
    match Client::find(&config.data).await? {
        Some(running) => Ok(running.totals(period).await?),
        None => Ok(files(config)?.totals(period)?),
    }
}

async fn hours(config: &Config, period: Period) -> anyhow::Result<Vec<HourRow>> {
    match Client::find(&config.data).await? {
        Some(running) => Ok(running.hours(period).await?),
        None => Ok(files(config)?.hours(period.first())?),
    }
}

/// The ledger of a box that does not serve. Nothing is made where there is no ledger yet.
fn files(config: &Config) -> anyhow::Result<Ledger> {
    let folder = config.data.join("ledger");
    anyhow::ensure!(folder.is_dir(), "there is no ledger in {} yet", config.data.display());
    Ledger::open(folder, config.ledger.clone(), Clock::system()).context("the ledger cannot be opened")
}

fn today(config: &Config) -> jiff::civil::Date {
    Ledger::in_memory(config.ledger.clone(), Clock::system()).today()
}

/// One line a site and hour.
fn hour_lines(hours: &[HourRow]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for hour in hours {
        for (index, row) in hour.sites.iter().enumerate() {
            let from = if index == 0 { format!("{:02}:00", hour.hour) } else { String::new() };
            let counts = &row.counts;
            writeln!(
                text,
                "{from:5}  {:32}  {:>9} requests  {:>10} LAN  {:>10} WAN",
                row.site,
                grouped(counts.requests()),
                ByteSize(counts.lan_bytes()),
                ByteSize(counts.wan_bytes()),
            )
            .expect("a string takes all that is written");
        }
    }
    text
}
