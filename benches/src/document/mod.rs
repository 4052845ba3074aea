//! `docs/performance.md`, made from what a full run of `peers` and `profile` wrote down, and from what was written by hand
//! about the targets that were missed. Figures are never typed.

mod losses;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::de::DeserializeOwned;

use crate::peers::Comparison;
use crate::profile::Profile;
use losses::Losses;

/// The committed runs: steady load in several rounds, and the stories, which take minutes each, in one.
const RESULTS: [&str; 2] = ["benches/results/steady.json", "benches/results/stories.json"];

#[derive(Args)]
pub(crate) struct Options {
    /// What runs of `peers --json` wrote, in this order; `profile.json` and `losses.toml` stand beside the first.
    #[arg(default_values = RESULTS, value_name = "FILE.json")]
    results: Vec<PathBuf>,
    /// Writes the page there; without it, it is printed.
    #[arg(long, value_name = "FILE.md")]
    out: Option<PathBuf>,
}

/// Makes the page.
///
/// # Errors
/// When a file is missing or damaged, or a missed target has no explanation.
pub(crate) fn make(options: &Options) -> anyhow::Result<()> {
    let page = page_of(&options.results)?;
    match &options.out {
        Some(file) => fs::write(file, page).with_context(|| format!("{} cannot be written", file.display())),
        None => {
            print!("{page}");
            Ok(())
        }
    }
}

fn page_of(results: &[PathBuf]) -> anyhow::Result<String> {
    let folder = results.first().and_then(|first| first.parent()).unwrap_or(Path::new("."));
    let runs: Vec<Comparison> = results.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let profile: Profile = read(&folder.join("profile.json"))?;
    let losses = Losses::read(&folder.join("losses.toml"))?;
    page::of(&runs, &profile, &losses)
}

fn read<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what this version writes", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_made_from_the_committed_results() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (results, page) = (RESULTS.map(|file| top.join(file)), top.join("docs/performance.md"));
        let is_there = results.each_ref().map(|file| file.exists());
        assert_eq!(is_there, [page.exists(); 2], "a page without results, or results without a page");
        if page.exists() {
            let (committed, made) = (fs::read_to_string(page).unwrap(), page_of(&results).unwrap());
            assert!(
                committed == made,
                "make it again: cargo run -p bulaq-benches -- document --out docs/performance.md"
            );
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("steady.json");
        assert!(
            format!("{:#}", page_of(std::slice::from_ref(&file)).unwrap_err()).contains("steady.json cannot be read")
        );
        fs::write(&file, "{}").unwrap();
        assert!(format!("{:#}", page_of(&[file]).unwrap_err()).contains("is not what this version writes"));
    }
}
