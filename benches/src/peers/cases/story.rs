//! What the cases that tell a story share: visitors that come, a store that is filled, folders that are weighed.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tokio::task::LocalSet;

use super::steady;
use crate::peers::load::{Clients, Compare, End, Load, Pace, Source, Speech, Tally, Wanted};

/// A system tells sizes of files in such blocks (`stat`'s `st_blocks`).
const BLOCK_BYTES: u64 = 512;

/// Plays a story to its end, in this thread.
pub(super) fn play<T>(story: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    Ok(LocalSet::new().block_on(&runtime, story))
}

/// Addresses, each asked for once.
struct Each<I>(I);

impl<I: Iterator<Item = String>> Source for Each<I> {
    fn next(&mut self, path: &mut String) -> Option<Wanted> {
        path.push_str(&self.0.next()?);
        steady::wanted(path)
    }
}

/// Asks for each of these addresses once, with so many connections at one time, and compares every byte.
///
/// # Errors
/// The first thing that goes wrong.
pub(super) fn visit_all(
    door: SocketAddr,
    connections: usize,
    paths: impl Iterator<Item = String>,
) -> anyhow::Result<Tally> {
    let mut load = Load::open(Clients { door, speech: Speech::Http1, connections })?;
    load.run(&mut Each(paths), Pace::Closed, End::WhenAllIsAsked, Compare::All)
}

/// What the files below a folder take on the disk.
///
/// # Errors
/// When the folder can't be read. Files that go meanwhile are not counted.
pub(super) fn disk_bytes(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("{} can't be read", folder.display()))?;
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            sum += metadata.blocks() * BLOCK_BYTES;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_weighs_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let empty = disk_bytes(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/b"), vec![7; 100_000]).unwrap();
        let grown = disk_bytes(folder.path()).unwrap() - empty;
        assert!((98_304..200_000).contains(&grown), "{grown}");
        assert!(disk_bytes(&folder.path().join("c")).is_err());
    }
}
