//! What an operator may set about the store, with its defaults and their reasons.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::Faults;

/// Settings of a [`Store`](super::Store). [`StoreOptions::new`] gives the defaults for a folder.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The folder that the store owns alone. Made when absent, closed to other accounts.
    pub dir: PathBuf,
    /// The most that the store may occupy on disk, in bytes, files rounded up to whole blocks. Default 50 GiB.
    pub bytes_max: u64,
    /// What must stay free on the disk for everything else on the machine, in bytes. Default 1 GiB.
    pub free_bytes_min: u64,
    /// The most that heads and small bodies may occupy in memory, in bytes. Default 256 MiB.
    pub memory_bytes_max: u64,
    /// A body up to this many bytes is kept in memory whole; a longer one is read from its file. Default 64 KiB.
    pub memory_body_bytes_max: u64,
    /// The most that bodies which are too long to be kept in memory may occupy there while they arrive, in bytes; what
    /// finds no room is written as it arrives. Default 16 MiB.
    pub gathered_bytes_max: usize,
    /// How long a body for which nobody waits waits for others, so that they are written and made durable together. What a
    /// class opens comes within milliseconds, and meanwhile the processor is theirs. Default 50 ms.
    pub commit_delay: Duration,
    /// The longest body that is stored, in bytes. Default 4 GiB.
    pub body_bytes_max: u64,
    /// The most variants of one URL (`Vary`); the least used makes room for a new one. Default 32.
    pub variants_max: usize,
    /// What the index may cache in memory, in bytes; it needs up to five times as much at its worst. Default 64 MiB.
    pub index_cache_bytes: u64,
    /// The part of `bytes_max` that pins may hold, in per cent, so that a night cannot push out all that pupils use.
    /// Default 60.
    pub pinned_percent_max: u64,
    /// A file of this size is kept in reserve and given up when the index cannot be opened on a full disk, in bytes.
    /// Default 64 MiB; none is kept when the cap is smaller than sixteen times this.
    pub ballast_bytes: u64,
    /// How long a failed index is left alone before it is opened again. Default 30 s.
    pub index_reopen_after: Duration,
    /// Scripted failures of the disk, for tests. Default none.
    pub faults: Option<Arc<Faults>>,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl StoreOptions {
    /// The defaults, in the folder `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            bytes_max: 50 * GIB,
            free_bytes_min: GIB,
            memory_bytes_max: 256 * MIB,
            memory_body_bytes_max: 64 * KIB,
            gathered_bytes_max: 16 << 20,
            commit_delay: Duration::from_millis(50),
            body_bytes_max: 4 * GIB,
            variants_max: 32,
            index_cache_bytes: 64 * MIB,
            pinned_percent_max: 60,
            ballast_bytes: 64 * MIB,
            index_reopen_after: Duration::from_secs(30),
            faults: None,
        }
    }

    /// Whether a ballast file is kept at all: not in a store so small that it would be a burden.
    pub(crate) fn keeps_ballast(&self) -> bool {
        self.ballast_bytes > 0 && self.bytes_max / 16 >= self.ballast_bytes
    }
}
