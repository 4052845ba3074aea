//! An assembly: one incomplete response in use, with the runs that are under way for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bulaq_cache_policy::{ByteRange, CacheKey, StoredHead, StrongValidator};

use super::run::{End, Run, block_after};
use crate::store::{BLOCK_BYTES, Incomplete, Rules, Store};

/// A run is at most so many blocks: enough that asking costs little beside them.
const RUN_BLOCKS_MAX: u64 = 16;

/// A reader gets a run of one block for each so many that he was given. Who leaves or seeks then leaves little behind
/// that nobody wanted.
const GIVEN_PER_RUN: u64 = 32;

/// The assemblies in use, by key and variant.
#[derive(Default)]
pub struct Assemblies(Mutex<InUse>);

#[derive(Default)]
struct InUse {
    assemblies: HashMap<(CacheKey, Vec<u8>), Weak<Assembly>>,
    /// When there are so many, those that nobody uses are cleared away.
    clear_at: usize,
}

/// One incomplete response in use.
pub struct Assembly {
    incomplete: Mutex<Arc<Incomplete>>,
    validator: StrongValidator,
    runs: Mutex<Vec<Arc<Run>>>,
    /// Whether the origin answers each request for a part with the whole: then readers wait for the run that is under way.
    is_whole_only: AtomicBool,
    /// Whether the store took the last block that it was given.
    is_kept: AtomicBool,
}

/// A run to wait for.
pub(super) enum Joined {
    /// It is under way.
    UnderWay(Arc<Run>),
    /// It was just entered: whoever gets this must see to it.
    Begun(Arc<Run>),
}

impl Assemblies {
    /// The assembly of an incomplete response; none when it has no strong validator, and nothing can be joined to it.
    pub(super) fn of(&self, incomplete: &Arc<Incomplete>) -> Option<Arc<Assembly>> {
        let name = (incomplete.key().clone(), incomplete.head().variant_key());
        let validator = StrongValidator::of(incomplete.head())?;
        let mut in_use = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Should the last user go meanwhile, the assembly ends with this function, after the lock.
        let known = in_use.assemblies.get(&name).and_then(Weak::upgrade);
        if let Some(known) = &known
            && known.incomplete().is_same(incomplete)
        {
            known.set_head_of(incomplete);
            return Some(Arc::clone(known));
        }
        let assembly = Arc::new(Assembly {
            incomplete: Mutex::new(Arc::clone(incomplete)),
            validator,
            runs: Mutex::default(),
            is_whole_only: AtomicBool::new(false),
            is_kept: AtomicBool::new(true),
        });
        in_use.put(name, &assembly);
        drop(in_use);
        Some(assembly)
    }
}

impl InUse {
    fn put(&mut self, name: (CacheKey, Vec<u8>), assembly: &Arc<Assembly>) {
        if self.assemblies.len() >= self.clear_at {
            self.assemblies.retain(|_, assembly| assembly.strong_count() > 0);
            self.clear_at = 2 * self.assemblies.len() + 16;
        }
        self.assemblies.insert(name, Arc::downgrade(assembly));
    }
}

/// How much a reader who was given so many bytes may have asked for at once.
pub(super) fn allowance(given_bytes: u64) -> u64 {
    (given_bytes / GIVEN_PER_RUN / BLOCK_BYTES).clamp(1, RUN_BLOCKS_MAX) * BLOCK_BYTES
}

impl Assembly {
    /// The incomplete response under its newest head.
    pub fn incomplete(&self) -> Arc<Incomplete> {
        Arc::clone(&self.incomplete.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the origin must confirm before anything is joined.
    pub(super) fn validator(&self) -> &StrongValidator {
        &self.validator
    }

    /// The length of the whole.
    pub fn complete_length(&self) -> u64 {
        self.incomplete().complete_length()
    }

    /// Whether all these bytes are stored.
    pub fn holds(&self, range: ByteRange) -> bool {
        let incomplete = self.incomplete();
        (range.first / BLOCK_BYTES..=range.last / BLOCK_BYTES).all(|block| incomplete.has_block(block))
    }

    /// The first byte of the range whose block is not stored.
    pub fn first_missing(&self, range: ByteRange) -> Option<u64> {
        let incomplete = self.incomplete();
        let mut blocks = range.first / BLOCK_BYTES..=range.last / BLOCK_BYTES;
        blocks.find(|&block| !incomplete.has_block(block)).map(|block| (block * BLOCK_BYTES).max(range.first))
    }

    /// Gives it a new head, made under `rules`: the same bytes, confirmed by the origin.
    pub(super) async fn freshen(&self, store: &Store, head: StoredHead, rules: Rules) {
        let freshened = store.freshen_incomplete(&self.incomplete(), head, rules).await;
        *self.incomplete.lock().unwrap_or_else(PoisonError::into_inner) = freshened;
    }

    fn set_head_of(&self, incomplete: &Arc<Incomplete>) {
        let mut own = self.incomplete.lock().unwrap_or_else(PoisonError::into_inner);
        if own.head().parts().response_time <= incomplete.head().parts().response_time {
            *own = Arc::clone(incomplete);
        }
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that brings `position` soon, or a new one from the beginning of its block: up to the block of `wanted_end`,
    /// not past what is stored or under way, and not longer than `allowance`.
    pub(super) fn join(&self, position: u64, wanted_end: u64, allowance: u64) -> Joined {
        let mut runs = self.runs();
        let waits = self.is_whole_only.load(Ordering::Acquire);
        let brings = |run: &&Arc<Run>| run.brings(position) || waits && run.will_bring(position);
        if let Some(run) = runs.iter().find(brings) {
            return Joined::UnderWay(Arc::clone(run));
        }
        let start = position / BLOCK_BYTES * BLOCK_BYTES;
        let wanted = block_after(wanted_end).min(start.saturating_add(allowance));
        Joined::Begun(self.begin(&mut runs, start, wanted))
    }

    /// The same for what a reader will want next; none when a run comes there some time, or when it would have to come again:
    /// the store takes nothing, or the origin does no ranges.
    pub(super) fn look_ahead(&self, position: u64, wanted_end: u64, allowance: u64) -> Option<Arc<Run>> {
        let is_kept = self.is_kept.load(Ordering::Acquire) && !self.incomplete().is_gone();
        if !is_kept || self.is_whole_only.load(Ordering::Acquire) {
            return None;
        }
        let mut runs = self.runs();
        if runs.iter().any(|run| run.brings(position) || run.will_bring(position)) {
            return None;
        }
        let start = position / BLOCK_BYTES * BLOCK_BYTES;
        Some(self.begin(&mut runs, start, block_after(wanted_end).min(start.saturating_add(allowance))))
    }

    /// A run for a response that is here already and brings the bytes from `start` to before `end`.
    pub(super) fn adopt(&self, start: u64, end: u64) -> Arc<Run> {
        self.begin(&mut self.runs(), start, end)
    }

    fn begin(&self, runs: &mut Vec<Arc<Run>>, start: u64, wanted: u64) -> Arc<Run> {
        let incomplete = self.incomplete();
        let mut end = wanted.min(incomplete.complete_length());
        for run in runs.iter() {
            if let Some(first) = run.first_block().filter(|&first| first > start) {
                end = end.min(first);
            }
            if !self.is_whole_only.load(Ordering::Acquire) {
                run.leave_from(block_after(start));
            }
        }
        let first = block_after(start) / BLOCK_BYTES;
        let mut blocks = first..end.div_ceil(BLOCK_BYTES);
        if let Some(held) = blocks.find(|&block| incomplete.has_block(block)) {
            end = end.min((held * BLOCK_BYTES).max(start));
        }
        let run = Arc::new(Run::new(start, end.max(start)));
        if end > start {
            runs.push(Arc::clone(&run));
        } else {
            run.end_with(End::Done); // its first block came into the store meanwhile
        }
        run
    }

    /// The origin has answered a request for a part with the whole.
    pub(super) fn does_no_ranges(&self) {
        self.is_whole_only.store(true, Ordering::Release);
    }

    /// Whether the store took a block.
    pub(super) fn note_kept(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Release);
    }

    /// Takes a run off the list: it is over.
    pub(super) fn leave(&self, run: &Arc<Run>) {
        self.runs().retain(|known| !Arc::ptr_eq(known, run));
    }
}

impl std::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").field("incomplete", &self.incomplete()).finish_non_exhaustive()
    }
}
