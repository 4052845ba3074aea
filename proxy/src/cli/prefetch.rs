//! `bulaq prefetch`: a night, now.

use std::process::ExitCode;

use super::configured::ConfigArg;
use super::desk::with_box;
use super::say;
use crate::prefetch::progress::for_this_terminal;
use crate::prefetch::report::End;

/// What to fetch.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bulaq prefetch                        every site of the allowlist\n  \
                        bulaq prefetch --site bilimland --site opiq\n\n\
                        A box that serves does the work itself; without one, this command does. Ctrl-C keeps what is\n\
                        there; the next run goes on. Exit status 1 when something failed; `bulaq report` says what.")]
pub(super) struct PrefetchArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Only this site, by its name on the allowlist; can be given more than once
    #[arg(long = "site", value_name = "NAME")]
    sites: Vec<String>,
}

/// Runs the night and prints its report.
pub(super) async fn run(args: PrefetchArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let progress = for_this_terminal();
    let mut last = None;
    let report = with_box(&config, async |orders| {
        orders
            .prefetch(&args.sites, |snapshot| {
                progress.update(&snapshot);
                last = Some(snapshot);
            })
            .await
    })
    .await?;
    progress.finish(&last.unwrap_or_default());
    say(format_args!("{}", super::report::told(&report, &config.time_zone)))?;
    let is_good = report.total().failed_total() == 0 && report.end == End::Complete;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
