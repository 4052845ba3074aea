//! Where the time of a hit goes: the box under a case's load, its stacks sampled by `perf`, told by whose code it was.

mod flame;
mod record;
mod shares;
mod stacks;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::peers::{Contender, Scene, Sizes, World, cases, commit};
pub(crate) use shares::Share;

#[derive(Args)]
pub(crate) struct Options {
    /// The cases, with commas between them, as `peers` knows them.
    #[arg(long, value_delimiter = ',', default_value = "small-hit,mixed-hit", value_name = "CASES")]
    cases: Vec<String>,
    /// How long each is sampled, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Draws the last case's stacks as a flame graph.
    #[arg(long, value_name = "FILE.svg")]
    flame: Option<PathBuf>,
}

/// What was found, as `document` reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) commit: String,
    pub(crate) cases: Vec<CaseProfile>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseProfile {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) samples: usize,
    pub(crate) shares: Vec<Share>,
}

/// Samples the box in each case.
///
/// # Errors
/// When `perf` is missing or must not sample, or a case is unknown.
pub(crate) fn measure(bulaq: &Path, options: &Options) -> anyhow::Result<Profile> {
    record::look_for_perf()?;
    let sizes = Sizes::default();
    let all = cases::all(&sizes);
    let world = World::new(bulaq.canonicalize().unwrap_or_else(|_| bulaq.to_owned()))?;
    let scene = Scene { world: &world, seconds: 1.0 };
    let mut profile = Profile { commit: commit(), cases: Vec::new() };
    for (at, name) in options.cases.iter().enumerate() {
        let Some(case) = all.iter().find(|case| case.name() == name.as_str()) else {
            let known: Vec<&str> = all.iter().map(|case| case.name()).collect();
            bail!("there is no case {name}; there are {}", known.join(", "));
        };
        eprintln!("{name}: the box gets ready");
        let mut turns = case.begin(&scene, Contender::Bulaq)?;
        turns.turn()?;
        let stacks = record::while_under_load(world.folder(), options.seconds, || turns.turn().map(drop))?;
        let (what, shares) = (case.what(), shares::of(&stacks));
        if let (true, Some(file)) = (at + 1 == options.cases.len(), &options.flame) {
            let svg = flame::graph(&format!("{name}: {what}; {} samples", stacks.len()), &stacks);
            std::fs::write(file, svg).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        profile.cases.push(CaseProfile { name: name.clone(), what, samples: stacks.len(), shares });
    }
    Ok(profile)
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for case in &self.cases {
            writeln!(f, "\n{}: {}; {} samples", case.name, case.what, case.samples)?;
            for share in &case.shares {
                writeln!(f, "  {:5.1} %  {}", share.percent, share.part)?;
            }
        }
        Ok(())
    }
}
