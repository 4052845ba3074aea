//! The responses in memory: heads and short bodies, weighed in bytes. A hit here touches no disk and no index.

use std::sync::atomic::{AtomicU64, Ordering};

use bulaq_cache_policy::CacheKey;
use moka::sync::Cache;

use super::stored_response::Variants;

/// What is kept in memory, most used first.
pub(crate) struct Memory {
    cache: Cache<CacheKey, Variants>,
    /// Counts how often the operator's rules have changed.
    rules: AtomicU64,
}

impl Memory {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let cache = Cache::builder()
            .name("store")
            .max_capacity(bytes_max)
            .weigher(|key: &CacheKey, variants: &Variants| {
                let bytes: usize = variants.iter().map(|stored| stored.memory_bytes()).sum();
                u32::try_from(bytes + key.as_str().len()).unwrap_or(u32::MAX)
            })
            .build();
        Self { cache, rules: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Variants> {
        self.cache.get(key)
    }

    /// Puts all variants of a URL; none remove it.
    pub(crate) fn put(&self, key: &CacheKey, variants: Variants) {
        if variants.is_empty() {
            self.cache.invalidate(key);
        } else {
            self.cache.insert(key.clone(), variants);
        }
    }

    pub(crate) fn remove(&self, key: &CacheKey) {
        self.cache.invalidate(key);
    }

    /// Which rules hold now; what is derived from heads under them is good for no others.
    pub(crate) fn rules(&self) -> u64 {
        self.rules.load(Ordering::Acquire)
    }

    /// From now on other rules hold.
    pub(crate) fn change_rules(&self) {
        self.rules.fetch_add(1, Ordering::AcqRel);
        self.clear();
    }

    /// Takes out what was put in for `key` if its head is of other rules than those of now: asked after it was put in,
    /// so that a change is seen here or has cleared it.
    pub(crate) fn remove_if_outdated(&self, key: &CacheKey, rules: u64) {
        if self.rules() != rules {
            self.remove(key);
        }
    }

    pub(crate) fn clear(&self) {
        self.cache.invalidate_all();
    }

    /// What it holds, in bytes; a little behind.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weighted_size()
    }
}
