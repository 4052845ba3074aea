//! The responses in memory: heads and short bodies, weighed in bytes. A hit here touches no disk and no index.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bulaq_cache_policy::CacheKey;
use moka::sync::Cache;

use super::stored_response::Variants;

/// Which of the operator's rules something was made under. What is derived from stored heads under some rules is good for
/// no others ([`Store::rules`](super::Store::rules)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules(u64);

/// What is kept in memory, most used first.
pub(crate) struct Memory {
    cache: Cache<CacheKey, Arc<Remembered>>,
    /// How often anything of the URLs that share a number was put or removed.
    changes: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Counts how often the operator's rules have changed, or all was forgotten.
    rules: AtomicU64,
}

/// Where a URL's variants are in memory. Whoever holds it need not look for them again as long as nothing changes.
#[derive(Clone)]
pub(crate) struct Place(Arc<Remembered>);

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// A place in the cache. The cache drops what it has taken out only when no thread can be looking at it any more, which it
/// counts together with the index's engine: while that writes, and on a box at rest, what a night of fills had pushed out
/// stayed for as long as that (548 MB after 14,000 fills of 4 KiB, with 8 MiB configured). So a place is emptied at once.
struct Remembered {
    variants: ArcSwapOption<Variants>,
    /// What it weighed when it was put.
    bytes: u32,
    /// The rules that their heads are of.
    rules: Rules,
    /// Which of the memory's counts is the URL's.
    number: usize,
    /// What that was when this place was last known to be the URL's.
    changes_seen: AtomicU64,
}

/// Counts of changes over all URLs: many, so that those of other URLs seldom matter.
const COUNTS: usize = 1024;

impl Memory {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .name("store")
            .max_capacity(bytes_max)
            .weigher(|_: &CacheKey, remembered: &Arc<Remembered>| remembered.bytes)
            .eviction_listener(|_, remembered, _| remembered.variants.store(None))
            .build();
        let changes = (0..COUNTS).map(|_| AtomicU64::new(0)).collect();
        Self { cache, changes, hasher: RandomState::new(), rules: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Variants> {
        self.content(&*self.cache.get(key)?)
    }

    /// Where the variants of a URL are. Counts as a use.
    pub(crate) fn place(&self, key: &CacheKey) -> Option<Place> {
        // Before the look: a change that comes after it is one that the place has not seen.
        let changes = self.changes[self.number(key)].load(Ordering::Acquire);
        let remembered = self.cache.get(key)?;
        remembered.changes_seen.store(changes, Ordering::Release);
        Some(Place(remembered))
    }

    /// What is in a place, when nothing was put or removed since it was last found; else nobody can say without looking.
    /// Counts as no use.
    pub(crate) fn at(&self, Place(remembered): &Place) -> Option<Variants> {
        let changes = self.changes[remembered.number].load(Ordering::Acquire);
        if changes == remembered.changes_seen.load(Ordering::Acquire) { self.content(remembered) } else { None }
    }

    fn content(&self, remembered: &Remembered) -> Option<Variants> {
        let is_valid = remembered.rules == self.rules();
        if is_valid { remembered.variants.load().as_deref().cloned() } else { None }
    }

    fn number(&self, key: &CacheKey) -> usize {
        usize::try_from(self.hasher.hash_one(key) % COUNTS as u64).expect("less than the counts")
    }

    /// After a change: no place of the URL is believed until it was found once more.
    fn changed(&self, key: &CacheKey) {
        self.changes[self.number(key)].fetch_add(1, Ordering::AcqRel);
    }

    /// Puts all variants of a URL, their heads being of `rules`; none, or heads of other rules than those of now, remove it.
    pub(crate) fn put(&self, key: &CacheKey, variants: Variants, rules: Rules) {
        if variants.is_empty() || rules != self.rules() {
            self.cache.invalidate(key);
        } else {
            let bytes: usize = variants.iter().map(|stored| stored.memory_bytes()).sum();
            let bytes = u32::try_from(bytes + key.as_str().len()).unwrap_or(u32::MAX);
            let (variants, number) = (ArcSwapOption::from_pointee(variants), self.number(key));
            let changes_seen = AtomicU64::new(0);
            self.cache.insert(key.clone(), Arc::new(Remembered { variants, bytes, rules, number, changes_seen }));
        }
        self.changed(key);
    }

    pub(crate) fn remove(&self, key: &CacheKey) {
        self.cache.invalidate(key);
        self.changed(key);
    }

    /// Which rules hold now.
    pub(crate) fn rules(&self) -> Rules {
        Rules(self.rules.load(Ordering::Acquire))
    }

    /// From now on other rules hold.
    pub(crate) fn change_rules(&self) {
        self.clear();
    }

    /// Forgets all. The cache empties the places when it comes to that; until then their rules tell them from those of now.
    pub(crate) fn clear(&self) {
        self.rules.fetch_add(1, Ordering::AcqRel);
        self.cache.invalidate_all();
    }

    /// What it holds, in bytes; a little behind.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }
}

#[cfg(test)]
impl Place {
    /// A place that no cache knows of.
    pub(crate) fn alone(variants: Variants) -> Self {
        let (variants, changes_seen) = (ArcSwapOption::from_pointee(variants), AtomicU64::new(0));
        Self(Arc::new(Remembered { variants, bytes: 0, rules: Rules(0), number: 0, changes_seen }))
    }
}
