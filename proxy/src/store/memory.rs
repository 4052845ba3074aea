//! The responses in memory: heads and short bodies, weighed in bytes. A hit here touches no disk and no index.

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
    /// Counts how often the operator's rules have changed.
    rules: AtomicU64,
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
}

impl Memory {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .name("store")
            .max_capacity(bytes_max)
            .weigher(|_: &CacheKey, remembered: &Arc<Remembered>| remembered.bytes)
            .eviction_listener(|_, remembered, _| remembered.variants.store(None))
            .build();
        Self { cache, rules: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Variants> {
        let remembered = self.cache.get(key).filter(|remembered| remembered.rules == self.rules())?;
        remembered.variants.load().as_deref().cloned()
    }

    /// Puts all variants of a URL, their heads being of `rules`; none, or heads of other rules than those of now, remove it.
    pub(crate) fn put(&self, key: &CacheKey, variants: Variants, rules: Rules) {
        if variants.is_empty() || rules != self.rules() {
            self.cache.invalidate(key);
        } else {
            let bytes: usize = variants.iter().map(|stored| stored.memory_bytes()).sum();
            let bytes = u32::try_from(bytes + key.as_str().len()).unwrap_or(u32::MAX);
            let variants = ArcSwapOption::from_pointee(variants);
            self.cache.insert(key.clone(), Arc::new(Remembered { variants, bytes, rules }));
        }
    }

    pub(crate) fn remove(&self, key: &CacheKey) {
        self.cache.invalidate(key);
    }

    /// Which rules hold now.
    pub(crate) fn rules(&self) -> Rules {
        Rules(self.rules.load(Ordering::Acquire))
    }

    /// From now on other rules hold.
    pub(crate) fn change_rules(&self) {
        self.rules.fetch_add(1, Ordering::AcqRel);
        self.clear();
    }

    pub(crate) fn clear(&self) {
        self.cache.invalidate_all();
    }

    /// What it holds, in bytes; a little behind.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }
}
