//! `bulaq purge`: removes stored pages.

use std::process::ExitCode;

use super::configured::ConfigArg;
use super::desk::with_box;
use super::say_line;
use crate::config::quantity::counted;
use crate::operate::Purge;

/// What to remove.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bulaq purge https://bilimland.kz/kk/lesson/7\n  bulaq purge --site bilimland\n  \
                        bulaq purge --prefix https://bilimland.kz/kk/")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One address, as in the browser's address line
    url: Option<String>,
    /// Everything of a site, by its name on the allowlist
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Every address that begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
}

/// Removes it and says how much it was.
pub(super) async fn run(args: PurgeArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let What { url, site, prefix } = args.what;
    let what = url.map(Purge::Url).or(site.map(Purge::Site)).or(prefix.map(Purge::Prefix));
    let Some(what) = what else { anyhow::bail!("say what to remove: an address, --site or --prefix") };
    let done = with_box(&config, async |orders| orders.purge(&what).await).await?;
    say_line(format_args!("{} removed.", counted(done.responses, "stored page")))?;
    Ok(ExitCode::SUCCESS)
}
