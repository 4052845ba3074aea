//! Fills under way, so that a purge also reaches what is still arriving.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bulaq_cache_policy::CacheKey;

use super::index::TagSet;

/// The fills under way. As many as requests in flight; the ingress bounds those.
#[derive(Default)]
pub(crate) struct InFlight(Arc<Mutex<Fills>>);

#[derive(Default)]
struct Fills {
    next: u64,
    fills: HashMap<u64, Arriving>,
}

/// What is known of a response that arrives.
pub(crate) struct Arriving {
    pub(crate) key: CacheKey,
    pub(crate) tags: TagSet,
    is_invalidated: Arc<AtomicBool>,
}

/// One fill's entry; dropped with it.
pub(crate) struct Ticket {
    id: u64,
    is_invalidated: Arc<AtomicBool>,
    fills: Arc<Mutex<Fills>>,
}

impl InFlight {
    pub(crate) fn enter(&self, key: &CacheKey, tags: TagSet) -> Ticket {
        let is_invalidated = Arc::new(AtomicBool::new(false));
        let mut fills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = fills.next;
        fills.next += 1;
        let arriving = Arriving { key: key.clone(), tags, is_invalidated: Arc::clone(&is_invalidated) };
        fills.fills.insert(id, arriving);
        Ticket { id, is_invalidated, fills: Arc::clone(&self.0) }
    }

    /// Keeps the fills that match from being stored.
    pub(crate) fn invalidate(&self, matches: impl Fn(&Arriving) -> bool) {
        let fills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for arriving in fills.fills.values() {
            if matches(arriving) {
                arriving.is_invalidated.store(true, Ordering::Release);
            }
        }
    }
}

impl Ticket {
    pub(crate) fn is_invalidated(&self) -> bool {
        self.is_invalidated.load(Ordering::Acquire)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner).fills.remove(&self.id);
    }
}
