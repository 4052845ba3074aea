//! `bulaq purge`: removes stored pages, or has them asked about again.

use std::process::ExitCode;

use super::configured::ConfigArg;
use super::desk::with_box;
use super::{FAILED, say_line};
use crate::config::quantity::counted;
use crate::operate::{Purge, What};

/// What to remove.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status 1 also when nothing was stored that could be purged.\n\n\
                        Examples:\n  bulaq purge https://bilimland.kz/kk/lesson/7\n  bulaq purge --site bilimland\n  \
                        bulaq purge --site bilimland --tag grade-7 --soft\n  \
                        bulaq purge --prefix https://bilimland.kz/kk/")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    place: Place,
    /// Of the site only what has this cache tag (Cache-Tag, Surrogate-Key); may be given several times
    #[arg(long = "tag", value_name = "TAG", requires = "site", conflicts_with_all = ["url", "prefix"])]
    tags: Vec<String>,
    /// Keep the pages, but ask the site about them before they are used again; while it is away they may still be used
    #[arg(long)]
    soft: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// One address, as in the browser's address line
    url: Option<String>,
    /// Everything of a site, by its name on the allowlist
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Every address that begins so
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
}

/// Purges it and says how much it was.
pub(super) async fn run(args: PurgeArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let (soft, tags) = (args.soft, args.tags);
    let of_site = |site| if tags.is_empty() { What::Site(site) } else { What::Tagged { site, tags } };
    let Place { url, site, prefix } = args.place;
    let what = url.map(What::Url).or(site.map(of_site)).or(prefix.map(What::Prefix));
    let Some(what) = what else { anyhow::bail!("say what to purge: an address, --site or --prefix") };
    let purge = Purge { what, soft };
    let done = with_box(&config, async |orders| orders.purge(&purge).await).await?;
    if done.responses == 0 {
        let note = done.note.map_or_else(String::new, |note| format!(": {note}"));
        eprintln!("bulaq: nothing was purged, since nothing is stored there{note}");
        return Ok(ExitCode::from(FAILED));
    }
    let what_became = if soft { "marked stale" } else { "removed" };
    say_line(format_args!("{} {what_became}.", counted(done.responses, "stored page")))?;
    Ok(ExitCode::SUCCESS)
}
