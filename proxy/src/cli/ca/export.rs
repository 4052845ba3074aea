//! `ca export`: the root certificate as each kind of device takes it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::{Place, say};
use crate::ca::{self, Platform};
use crate::cli::say_line;

/// What to write, for whom and where.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bulaq ca export --for apple --out handout\n  bulaq ca export --for linux --out - > root.crt\n\n\
                  Nothing in the files is secret. Whoever installs them compares the fingerprint in README.txt with paper."
)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// The kind of device
    #[arg(long = "for", value_name = "DEVICE", value_parser = platform())]
    platform: Platform,
    /// The folder for the files, made if need be; - writes the file that is installed to standard output
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn platform() -> impl clap::builder::TypedValueParser<Value = Platform> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(Platform::ALL.map(Platform::as_str)).map(|word| {
        let named = |platform: &Platform| platform.as_str() == word;
        Platform::ALL.into_iter().find(named).expect("the parser takes these words alone")
    })
}

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let at = args.place.find()?;
    let (root, der) = ca::root_of(&at.folder)?;
    let files = ca::export(args.platform, &root, &der);
    if args.out.as_os_str() == "-" {
        let first = files.first().expect("each platform has a file to install");
        std::io::stdout().lock().write_all(&first.bytes)?;
        return Ok(());
    }
    fs::create_dir_all(&args.out).with_context(|| format!("the folder {} cannot be made", args.out.display()))?;
    say_line(format_args!("Written to {}:", args.out.display()))?;
    for file in &files {
        let path = args.out.join(file.name);
        fs::write(&path, &file.bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        say_line(format_args!("  {}", file.name))?;
    }
    say_line(format_args!("README.txt has the steps. Whoever installs it compares the fingerprint with paper:"))?;
    say("SHA-256", &root.sha256)?;
    Ok(())
}
