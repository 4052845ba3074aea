//! The responses in memory: heads and short bodies, weighed in bytes. A hit here touches no disk and no index.

use bulaq_cache_policy::CacheKey;
use moka::sync::Cache;

use super::stored_response::Variants;

/// What is kept in memory, most used first.
pub(crate) struct Memory(Cache<CacheKey, Variants>);

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
        Self(cache)
    }

    pub(crate) fn get(&self, key: &CacheKey) -> Option<Variants> {
        self.0.get(key)
    }

    /// Puts all variants of a URL; none remove it.
    pub(crate) fn put(&self, key: &CacheKey, variants: Variants) {
        if variants.is_empty() {
            self.0.invalidate(key);
        } else {
            self.0.insert(key.clone(), variants);
        }
    }

    pub(crate) fn remove(&self, key: &CacheKey) {
        self.0.invalidate(key);
    }

    pub(crate) fn clear(&self) {
        self.0.invalidate_all();
    }

    /// What it holds, in bytes; a little behind.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weighted_size()
    }
}
