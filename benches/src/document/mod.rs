//! `docs/performance.md`, made from what a full run of `peers` and `profile` wrote down, and from what was written by hand
//! about the targets that were missed. Figures are never typed.

mod churn;
mod losses;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::de::DeserializeOwned;

use crate::peers::Comparison;
use crate::profile::Profile;
use churn::Churn;
use losses::Losses;

/// Where the committed results are.
const RESULTS: &str = "benches/results";

/// What else is there beside the runs of `peers`.
const PROFILE: &str = "profile.json";
const CHURN: &str = "churn.json";
const LOSSES: &str = "losses.toml";

#[derive(Args)]
pub(crate) struct Options {
    /// The folder with what runs of `peers --json` wrote, in the order of their names, and with `profile.json`,
    /// `churn.json` and `losses.toml`.
    #[arg(default_value = RESULTS, value_name = "FOLDER")]
    results: PathBuf,
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

fn page_of(folder: &Path) -> anyhow::Result<String> {
    let runs: Vec<Comparison> = runs_in(folder)?.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let profile: Profile = read(&folder.join(PROFILE))?;
    let churn: Churn = read(&folder.join(CHURN))?;
    let losses = Losses::read(&folder.join(LOSSES))?;
    page::of(&runs, &profile, &churn, &losses)
}

/// What runs of `peers` wrote into a folder.
fn runs_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let is_run = |file: &PathBuf| {
        file.extension().is_some_and(|extension| extension == "json")
            && file.file_name().is_some_and(|name| name != PROFILE && name != CHURN)
    };
    let mut runs: Vec<PathBuf> = files.into_iter().filter(is_run).collect();
    runs.sort();
    ensure!(!runs.is_empty(), "{} has no run of `peers`", folder.display());
    Ok(runs)
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
        let committed = fs::read_to_string(top.join("docs/performance.md")).unwrap();
        let made = page_of(&top.join(RESULTS)).unwrap();
        assert!(committed == made, "make it again: cargo run -p bulaq-benches -- document --out docs/performance.md");
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let said = || format!("{:#}", page_of(folder.path()).unwrap_err());
        fs::write(folder.path().join(PROFILE), "{}").unwrap();
        assert!(said().contains("has no run"), "{}", said());
        fs::write(folder.path().join("full.json"), "{}").unwrap();
        assert!(said().contains("full.json is not what this version writes"), "{}", said());
        assert!(format!("{:#}", page_of(&folder.path().join("no")).unwrap_err()).contains("cannot be read"));
    }

    #[test]
    fn runs_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["million.json", "full.json", PROFILE, CHURN, LOSSES] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let runs = runs_in(folder.path()).unwrap();
        assert_eq!(runs, ["full.json", "million.json"].map(|name| folder.path().join(name)));
    }
}
