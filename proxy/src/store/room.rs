//! Room: a cap in bytes, a floor of free disk, and what goes when either is reached.
//!
//! Candidates are sampled from the folders, which URLs fill evenly, so eviction needs no list of everything in memory
//! and works without an index. Of a sample goes what was not used for longest, large files before small ones, seldom
//! used before often used. What is pinned stays until its time is over.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::StoreRefusal;
use super::index::{Minutes, Row};
use super::name::FileName;
use super::stored_response::StoredResponse;
use super::{Shared, Store};

/// Files looked at in one round of eviction.
const SAMPLE_FILES: usize = 32;

/// Incomplete responses looked at beside them.
const SAMPLE_PARTS: usize = 8;

/// Of a sample, one in this many goes; at least one.
const EVICT_ONE_IN: usize = 4;

/// Once the cap is reached, this much is made free beyond what is needed, in per cent of the cap, so that not
/// every fill has to evict.
const SLACK_PERCENT: u64 = 5;

/// Rounds without any file gone after which nothing can be evicted: everything is pinned, or the disk fails.
const IDLE_ROUNDS_MAX: u32 = 8;

/// How long nobody looks again for something to evict after a look found nothing. Until then whoever needs room is told
/// at once that there is none: a look reads every folder.
const FULL_FOR: Duration = Duration::from_secs(10);

/// Room that is promised to fills under way.
#[derive(Default)]
pub(crate) struct Room {
    reserved: AtomicU64,
    /// When a look for something to evict found nothing, in milliseconds since 1970; zero when there was room last. The
    /// beginning and not the end, so that a clock that steps back cannot make it longer.
    full_since_ms: AtomicU64,
    /// One evicts at a time; the others wait and then find room.
    evicting: Mutex<()>,
    random: AtomicU64,
}

/// Promised room; given back when dropped.
pub(crate) struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

impl Reservation {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn merge(&mut self, mut more: Self) {
        self.bytes += std::mem::take(&mut more.bytes);
    }

    /// A part of it.
    fn split(&mut self, bytes: u64) -> Option<Self> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(Self { room: Arc::clone(&self.room), bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.reserved.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Room that was promised to many files at once, so that the disk is asked once for what it has free. When there was none
/// for all of them, each asks for itself.
pub(crate) struct Reserved<'a> {
    shared: &'a Shared,
    together: Option<Reservation>,
}

impl Reserved<'_> {
    /// The room of a file of this length.
    pub(crate) fn take(&mut self, file_bytes: u64) -> Result<Reservation, StoreRefusal> {
        let part = self.together.as_mut().and_then(|together| together.split(disk_bytes_of(file_bytes)));
        part.map_or_else(|| self.shared.reserve(file_bytes), Ok)
    }
}

/// What a file of this length takes of the disk.
fn disk_bytes_of(file_bytes: u64) -> u64 {
    file_bytes.next_multiple_of(4096)
}

impl Room {
    /// A number that need not be good, only different each time.
    fn random(&self) -> u64 {
        RandomState::new().hash_one(self.random.fetch_add(1, Ordering::Relaxed))
    }
}

impl Store {
    /// Keeps a response from being evicted until `until`: what the night fetched for tomorrow's lessons. Pins together
    /// may hold a part of the cap only ([`StoreOptions::pinned_percent_max`](super::StoreOptions)); says whether this one does.
    pub async fn pin_until(&self, stored: &Arc<StoredResponse>, until: SystemTime) -> bool {
        let (shared, stored) = (Arc::clone(&self.0), Arc::clone(stored));
        self.0.files.run_blocking(move || shared.pin(&stored, Minutes::of(until))).await.unwrap_or(false)
    }
}

impl Shared {
    fn pin(&self, stored: &StoredResponse, until: Minutes) -> bool {
        let name = stored.body.name;
        let _stripe = self.stripe(name.key.url());
        let Some(row) = self.row_on_disk(name.key) else { return false };
        let now = Minutes::of(self.clock.now());
        let pinned = self.index.totals().pinned_bytes(now);
        let added = if row.is_pinned(now) { 0 } else { row.disk_bytes() };
        let most = self.capacity() / 100 * self.options.pinned_percent_max.min(100);
        if pinned + added > most {
            return false;
        }
        if until > row.pinned_until || !row.is_pinned(now) {
            self.index.change(name.key, Some(row), Some(Row { pinned_until: until, ..row }));
        }
        true
    }

    /// What the store could hold: the cap, or what the disk can give when that is less.
    fn capacity(&self) -> u64 {
        let free = self.files.disk.free_bytes(&self.files.dir).unwrap_or(u64::MAX);
        let of_disk = self.occupied_bytes().saturating_add(free.saturating_sub(self.options.free_bytes_min));
        self.options.bytes_max.min(of_disk)
    }

    /// What all files take of the disk, complete and incomplete.
    fn occupied_bytes(&self) -> u64 {
        self.index.disk_bytes().saturating_add(self.parts.disk_bytes())
    }

    /// Promises room for files of these lengths, as far as there is any without evicting others.
    pub(crate) fn reserve_together(&self, file_bytes: impl Iterator<Item = u64>) -> Reserved<'_> {
        let bytes = file_bytes.map(disk_bytes_of).sum();
        let reservation = Reservation { room: Arc::clone(&self.room), bytes };
        self.room.reserved.fetch_add(bytes, Ordering::AcqRel);
        let together = self.has_room(0).then_some(reservation);
        if together.is_some() {
            self.note_room();
        }
        Reserved { shared: self, together }
    }

    /// Promises room for a file of this length, evicting others if need be. Waits for the disk.
    pub(crate) fn reserve(&self, file_bytes: u64) -> Result<Reservation, StoreRefusal> {
        let bytes = disk_bytes_of(file_bytes);
        let limit_bytes = self.options.bytes_max;
        if bytes > limit_bytes {
            return Err(StoreRefusal::TooLarge { limit_bytes });
        }
        // Taken first, so that two who look at the same moment see each other.
        let reservation = Reservation { room: Arc::clone(&self.room), bytes };
        self.room.reserved.fetch_add(bytes, Ordering::AcqRel);
        if self.has_room(0) {
            self.note_room();
            return Ok(reservation);
        }
        if self.is_known_full() {
            return Err(StoreRefusal::NoRoom);
        }
        let _evicting = self.room.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has_room(0) {
            return Ok(reservation);
        }
        let slack = self.options.bytes_max / 100 * SLACK_PERCENT;
        if !self.is_known_full() {
            self.evict_until(|shared| shared.has_room(slack));
        }
        if self.has_room(0) {
            self.note_room();
            return Ok(reservation);
        }
        self.note_full();
        Err(StoreRefusal::NoRoom)
    }

    /// Whether a look for something to evict found nothing a moment ago, and there is still no room for a body of
    /// this length (of unknown length: for any).
    pub(crate) fn is_full(&self, body_bytes: Option<u64>) -> bool {
        let bytes = body_bytes.unwrap_or(0).next_multiple_of(4096);
        let fits_disk = || self.files.disk.free_bytes(&self.files.dir).is_ok_and(|free| free >= bytes);
        self.is_known_full() && !(self.has_room(bytes) && fits_disk())
    }

    fn is_known_full(&self) -> bool {
        let since_ms = self.room.full_since_ms.load(Ordering::Acquire);
        let passed_ms = self.now_ms().checked_sub(since_ms).map(u128::from);
        since_ms != 0 && passed_ms.is_some_and(|passed_ms| passed_ms < FULL_FOR.as_millis())
    }

    fn note_full(&self) {
        if self.room.full_since_ms.swap(self.now_ms().max(1), Ordering::AcqRel) == 0 {
            tracing::warn!(
                "there is no room for new lessons, and nothing that may go: they are passed on and not kept; \
                 make room on the disk, or give `size` in [store] more"
            );
        }
    }

    fn note_room(&self) {
        if self.room.full_since_ms.load(Ordering::Acquire) != 0
            && self.room.full_since_ms.swap(0, Ordering::AcqRel) != 0
        {
            tracing::info!("there is room for new lessons again");
        }
    }

    /// Whether everything promised fits under the cap and above the floor, with `slack` to spare.
    fn has_room(&self, slack: u64) -> bool {
        let reserved = self.room.reserved.load(Ordering::Acquire);
        let wanted = self.occupied_bytes().saturating_add(reserved).saturating_add(slack);
        let floor = self.options.free_bytes_min.saturating_add(reserved);
        // When the disk cannot say, the write will.
        wanted <= self.options.bytes_max && self.files.disk.free_bytes(&self.files.dir).is_ok_and(|free| free >= floor)
    }

    fn evict_until(&self, is_enough: impl Fn(&Self) -> bool) {
        let mut idle_rounds = 0;
        while idle_rounds < IDLE_ROUNDS_MAX && !is_enough(self) {
            let mut sample = self.sample();
            if sample.is_empty() {
                return; // every folder was looked into
            }
            sample.sort_by_key(|candidate| std::cmp::Reverse(candidate.score));
            let count = sample.len().div_ceil(EVICT_ONE_IN);
            let mut is_idle = true;
            for candidate in sample.into_iter().take(count) {
                if is_enough(self) {
                    return;
                }
                is_idle &= !self.evict(candidate);
            }
            idle_rounds = if is_idle { idle_rounds + 1 } else { 0 };
        }
    }

    /// Some files that may be evicted, from folders taken at random.
    fn sample(&self) -> Vec<Candidate> {
        let mut folders = self.files.folders().unwrap_or_default();
        let mut sample = Vec::new();
        let now = Minutes::of(self.clock.now());
        while !folders.is_empty() && sample.len() < SAMPLE_FILES {
            let at = usize::try_from(self.room.random() % folders.len() as u64).expect("less than a length");
            let folder = folders.swap_remove(at);
            sample.extend(
                self.names_in(&folder).into_iter().filter_map(|name| self.candidate(name, now)).take(SAMPLE_FILES),
            );
        }
        let parts = self.parts.some_idle(self.room.random(), SAMPLE_PARTS);
        sample.extend(parts.into_iter().map(|part| {
            let idle = u64::from(now.0.saturating_sub(Minutes::of_millis(part.used_ms).0)) + 1;
            Candidate { name: part.name, is_part: true, score: idle * size_weight(part.disk_bytes) * 256 }
        }));
        sample
    }

    fn names_in(&self, folder: &PathBuf) -> Vec<FileName> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| FileName::parse(entry.file_name().to_str()?)).collect()
    }

    /// A file with what speaks for its eviction; `None` when it must stay.
    fn candidate(&self, name: FileName, now: Minutes) -> Option<Candidate> {
        let row = match self.index.get(&name.key) {
            Some(Some(row)) if row.generation == name.generation => row,
            // Not in a complete index: nobody will ask for it.
            Some(_) => Row { stored_at: Minutes::default(), ..self.row_of_file(name)? },
            // Pins are in the index alone: until it is complete, what is young may be pinned.
            None => self.row_of_file(name).filter(|row| !is_young(row.stored_at, now))?,
        };
        if row.is_pinned(now) {
            return None;
        }
        let usage = self.recency.of(&name.key);
        let idle = u64::from(now.0.saturating_sub(row.stored_at.max(usage.last).0)) + 1;
        let score = idle * size_weight(row.file_bytes) * 256 / u64::from(1 + usage.count);
        Some(Candidate { name, is_part: false, score })
    }

    /// Removes a file, unless it was replaced since it was looked at. Says whether it is gone.
    fn evict(&self, candidate: Candidate) -> bool {
        let name = candidate.name;
        if candidate.is_part {
            return self.evict_part(name);
        }
        let _stripe = self.stripe(name.key.url());
        let url = self.files.read(name, 0).ok().map(|found| found.front.record.url);
        let row = self.row_on_disk(name.key).filter(|row| row.generation == name.generation);
        if row.is_some() {
            self.index.change(name.key, row, None);
        }
        if let Some(key) = url.and_then(|url| super::cache_key(&url)) {
            self.memory.remove(&key);
        }
        self.files.remove(name);
        !self.files.path(name).exists()
    }
}

/// For how long a file may be pinned, most likely: until the day after the night.
const DAY_MINUTES: u32 = 24 * 60;

/// How much sooner a large file goes than a small one.
fn size_weight(file_bytes: u64) -> u64 {
    u64::from(1 + (file_bytes / 4096 + 1).ilog2())
}

/// Whether something was stored within the last day. What comes from the future was not: the clock was wrong then or is now.
fn is_young(stored_at: Minutes, now: Minutes) -> bool {
    now.0.checked_sub(stored_at.0).is_some_and(|age| age <= DAY_MINUTES)
}

struct Candidate {
    name: FileName,
    /// Whether it is an incomplete response.
    is_part: bool,
    score: u64,
}
