//! One request goes out for a key; whoever else wants it waits for that one (RFC 9111 §4, collapsed requests).
//!
//! Ownership says who wakes whom: the [`Lead`] holds the sending end, so that dropping it, for whatever reason,
//! wakes every follower, and one of them leads.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bulaq_cache_policy::CacheKey;
use http::HeaderMap;
use tokio::sync::watch;

use super::fill::Landed;

/// Doors into the map; a miss locks one of them for the time of a hash look-up.
const SHARDS: usize = 64;

/// How long a key is known as not storable after it proved so. Until then its requests don't queue behind one
/// another only to learn it again.
const PASS_FOR: Duration = Duration::from_secs(60);

/// The most keys remembered as not storable.
const PASS_KEYS_MAX: u64 = 20_000;

/// The requests that are on their way to origins, by cache key.
#[derive(Debug)]
pub struct Flights {
    shards: Vec<Mutex<HashMap<CacheKey, watch::Receiver<Option<Landed>>>>>,
    hasher: RandomState,
    passing: moka::sync::Cache<CacheKey, ()>,
}

/// A request's place among those for the same key.
#[derive(Debug)]
pub enum Place {
    /// First: it asks the origin.
    Lead(Lead),
    /// Another asks; this waits.
    Follow(Follow),
    /// The key was not storable a moment ago: everybody asks alone.
    Alone,
}

/// A request on its way, as [`Flights::invalidate_if`] shows it.
pub struct OnItsWay<'a> {
    /// What was asked for.
    pub key: &'a CacheKey,
    /// The head, once it has come and the content is arriving.
    pub headers: Option<&'a HeaderMap>,
}

/// The one request that asks the origin for a key.
#[derive(Debug)]
pub struct Lead {
    /// `None` for a request that flies alone.
    registered: Option<(Arc<Flights>, CacheKey)>,
    landed: watch::Sender<Option<Landed>>,
}

/// One that waits for the lead.
#[derive(Debug)]
pub struct Follow(watch::Receiver<Option<Landed>>);

impl Default for Flights {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: RandomState::new(),
            passing: moka::sync::Cache::builder().max_capacity(PASS_KEYS_MAX).time_to_live(PASS_FOR).build(),
        }
    }
}

impl Flights {
    /// Takes a place among the requests for `key`.
    pub fn join(self: &Arc<Self>, key: &CacheKey) -> Place {
        if self.passing.contains_key(key) {
            return Place::Alone;
        }
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            // A sender that is gone without a word left by accident: take its place.
            if flight.has_changed().is_ok() || flight.borrow().is_some() {
                return Place::Follow(Follow(flight.clone()));
            }
        }
        let (landed, flight) = watch::channel(None);
        shard.insert(key.clone(), flight);
        Place::Lead(Lead { registered: Some((self.clone(), key.clone())), landed })
    }

    /// Remembers for a while that responses for `key` are not storable.
    pub fn remember_pass(&self, key: &CacheKey) {
        self.passing.insert(key.clone(), ());
    }

    /// Forgets it again, as soon as a response was storable.
    pub fn forget_pass(&self, key: &CacheKey) {
        self.passing.invalidate(key);
    }

    /// As [`Flights::invalidate`], where what is known of the response decides too.
    pub fn invalidate_if(&self, matches: impl Fn(OnItsWay<'_>) -> bool) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, flight| match &*flight.borrow() {
                Some(Landed::Filling(filling)) => !matches(OnItsWay { key, headers: Some(filling.head.headers()) }),
                _ => !matches(OnItsWay { key, headers: None }),
            });
        }
    }

    /// Ends the flights for keys that match, since what they asked for is out of date: whoever comes from now on asks
    /// anew, and what they bring is not stored. Those who wait already asked before, and take it.
    pub fn invalidate(&self, matches: impl Fn(&CacheKey) -> bool) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !matches(key));
        }
    }

    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, HashMap<CacheKey, watch::Receiver<Option<Landed>>>> {
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// A lead that nobody can follow.
    pub fn alone() -> Self {
        Self { registered: None, landed: watch::channel(None).0 }
    }

    /// A receiver for the one who started the flight.
    pub fn follow(&self) -> Follow {
        Follow(self.landed.subscribe())
    }

    /// Whether nothing has put its key out of date since it began ([`Flights::invalidate`]).
    pub fn is_current(&self) -> bool {
        let Some((flights, key)) = &self.registered else { return true };
        flights.shard(key).get(key).is_some_and(|flight| self.is_mine(flight))
    }

    fn is_mine(&self, flight: &watch::Receiver<Option<Landed>>) -> bool {
        flight.same_channel(&self.landed.subscribe())
    }

    /// Tells all who wait what came of it. The key stays taken until the lead is dropped, so that those who come
    /// while the body grows join it too.
    pub fn land(&self, landed: Landed) {
        self.landed.send_replace(Some(landed));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let Some((flights, key)) = &self.registered else { return };
        let mut shard = flights.shard(key);
        // Once it is out of date, another may be there.
        if shard.get(key).is_some_and(|flight| self.is_mine(flight)) {
            shard.remove(key);
        }
    }
}

impl Follow {
    /// Waits until the flight has landed; none when its lead vanished without a word.
    ///
    /// The wait is bounded by the origin's own time-outs, which the lead obeys.
    pub async fn landed(mut self) -> Option<Landed> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone())
    }
}
