//! `bulaq report`: what a night did.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use jiff::tz::TimeZone;

use super::configured::ConfigArg;
use super::{say, say_line};
use crate::config::quantity::{ByteSize, grouped};
use crate::prefetch::report::{End, NightReport, Reason, SiteReport, saved};

/// Which night.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bulaq report             the last night\n  bulaq report --nights-ago 1\n  bulaq report --list"
)]
pub(super) struct ReportArgs {
    /// The night so many before the last
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    nights_ago: usize,
    /// List the reports that are kept, one line each
    #[arg(long)]
    list: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Shows a report.
pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let folder = config.data.join("nights");
    let reports = saved(&folder).with_context(|| format!("the reports in {} cannot be read", folder.display()))?;
    anyhow::ensure!(!reports.is_empty(), "there was no night yet; `bulaq prefetch` runs one now");
    if args.list {
        for path in &reports {
            let report = NightReport::load(path)?;
            let total = report.total();
            let started = report.started.to_zoned(config.time_zone.clone()).strftime("%Y-%m-%d %H:%M");
            say_line(format_args!(
                "{started}  {:24}  {} stored, {} failed",
                report.end.as_str(),
                total.stored,
                total.failed_total()
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let path =
        reports.iter().rev().nth(args.nights_ago).with_context(|| format!("only {} nights are kept", reports.len()))?;
    let report = NightReport::load(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if args.json {
        say_line(format_args!("{}", serde_json::to_string_pretty(&report)?))?;
    } else {
        say(format_args!("{}", told(&report, &config.time_zone)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Addresses that are shown for one reason; `--json` has more.
const EXAMPLES_SHOWN: usize = 3;

/// A report for a terminal: a line a site, then what was left out and why.
pub(super) fn told(report: &NightReport, zone: &TimeZone) -> String {
    let mut text = String::new();
    write_report(&mut text, report, zone).expect("a string takes all that is written");
    text
}

fn write_report(to: &mut impl Write, report: &NightReport, zone: &TimeZone) -> fmt::Result {
    let at = |time: jiff::Timestamp| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    let resumed = if report.is_resumed { ", resumed" } else { "" };
    writeln!(to, "Night of {}{resumed}: {} at {}", at(report.started), report.end.as_str(), at(report.ended))?;
    writeln!(
        to,
        "{:24}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>11}",
        "site", "stored", "fresh", "unchanged", "skipped", "failed", "bytes"
    )?;
    let total = report.total();
    let rows = report.sites.iter().map(|(name, site)| (name.as_str(), site));
    for (name, site) in rows.chain((report.sites.len() > 1).then_some(("total", &total))) {
        let [stored, fresh, unchanged, skipped, failed] =
            [site.stored, site.fresh, site.revalidated, site.skipped_total(), site.failed_total()].map(grouped);
        let bytes = ByteSize(site.bytes);
        writeln!(to, "{name:24}  {stored:>9}  {fresh:>9}  {unchanged:>9}  {skipped:>9}  {failed:>9}  {bytes:>11}")?;
    }
    for (name, site) in &report.sites {
        write_site(to, name, site, report.end)?;
    }
    Ok(())
}

fn write_site(to: &mut impl Write, name: &str, site: &SiteReport, end: End) -> fmt::Result {
    write_reasons(to, name, "failed", &site.failed)?;
    write_reasons(to, name, "skipped", &site.skipped)?;
    if let Some(limit) = &site.limit {
        writeln!(to, "\n{name}: ended by the limit {limit}")?;
    }
    if site.left > 0 {
        let when = if end == End::Limit { "not fetched" } else { "left for the next night" };
        writeln!(to, "\n{name}: {} addresses {when}", grouped(site.left))?;
    }
    Ok(())
}

fn write_reasons(to: &mut impl Write, site: &str, what: &str, reasons: &BTreeMap<String, Reason>) -> fmt::Result {
    if reasons.is_empty() {
        return Ok(());
    }
    writeln!(to, "\n{site}, {what}:")?;
    for (reason, entry) in reasons {
        writeln!(to, "  {:>9}  {reason}", grouped(entry.count))?;
        for example in entry.examples.iter().take(EXAMPLES_SHOWN) {
            writeln!(to, "             {example}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_and_why() {
        let reason = Reason { count: 2, examples: vec!["https://a.kz/x".to_owned(), "https://a.kz/y".to_owned()] };
        let site = SiteReport {
            stored: 1_234,
            bytes: 3 << 20,
            failed: BTreeMap::from([("status 500".to_owned(), reason)]),
            left: 7,
            ..SiteReport::default()
        };
        let report = NightReport {
            started: "2026-11-20T17:00:00Z".parse().unwrap(),
            ended: "2026-11-21T01:00:00Z".parse().unwrap(),
            is_resumed: true,
            end: End::Window,
            sites: BTreeMap::from([("physics".to_owned(), site)]),
        };
        let expected = "\
Night of 2026-11-20 22:00, resumed: ended with its window at 2026-11-21 06:00
site                         stored      fresh  unchanged    skipped     failed        bytes
physics                       1 234          0          0          0          2        3 MiB

physics, failed:
          2  status 500
             https://a.kz/x
             https://a.kz/y

physics: 7 addresses left for the next night
";
        assert_eq!(told(&report, &TimeZone::get("Asia/Almaty").unwrap()), expected);
    }
}
