//! One request goes out for a key; whoever else wants it waits for that one (RFC 9111 §4, collapsed requests).
//!
//! Ownership says who wakes whom: the [`Lead`] holds the sending end, so that dropping it, for whatever reason,
//! wakes every follower, and one of them leads. As soon as a `Vary` is known for a key, each variant has a flight of its
//! own. Two things are remembered of a key for a while: that its responses are not for sharing, and that a refresh behind
//! readers' backs failed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bulaq_cache_policy::{CacheKey, ForwardReason, Lookup, PresentedRequest, StoredHead, look_up};
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::asked::Asked;
use super::fill::Landed;
use super::remembered::Remembered;
use crate::clock::Clock;

/// Doors into the map; a miss locks one of them for the time of a hash look-up.
const SHARDS: usize = 64;

/// Flights for one key at one time: more variants than a class has browsers and languages. Whoever comes on top of that
/// asks alone.
const FLIGHTS_PER_KEY_MAX: usize = 16;

/// How long a key is known as not storable after it proved so. Until then its requests don't queue behind one
/// another only to learn it again.
const PASS_FOR: Duration = Duration::from_secs(60);

/// How long after a failed refresh (`stale-while-revalidate`) nobody tries the next one. Its readers have an answer, so
/// there is no hurry; without a pause each of them would ask a site that is ill.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// How long a key is known for parts that do not belong together: as long as somebody may sit before such a film and try again.
const UNSTEADY_FOR: Duration = Duration::from_secs(10 * 60);

/// The requests that are on their way to origins, by cache key.
pub struct Flights {
    shards: Vec<Mutex<HashMap<CacheKey, Vec<Flying>>>>,
    hasher: RandomState,
    passing: Remembered,
    resting: Remembered,
    /// Keys of which parts did not belong together once, and those of which they did not again.
    doubtful: Remembered,
    unsteady: Remembered,
}

/// Whether a request is for a part: that a part may not be stored says nothing about the whole.
type AsksForPart = bool;

/// Whether a request carries cookies by which a server may choose its answer. What is not storable for their owners may
/// well be so for guests.
type HasCookies = bool;

#[derive(Debug)]
struct Flying {
    /// Whose request it is.
    asked: Arc<Asked>,
    begun: Instant,
    landed: watch::Receiver<Option<Landed>>,
    /// Everybody who waits holds it too, and is counted by it.
    waiting: Arc<()>,
    /// Whether nobody may follow it.
    is_alone: bool,
}

/// One who looks for a place among the requests for its key.
pub struct Seeker<'a> {
    /// Its request.
    pub asked: &'a Arc<Asked>,
    /// The same, as the policy sees it.
    pub presented: &'a PresentedRequest<'a>,
    /// The heads of what is stored for the key, of whatever variant.
    pub heads: &'a [&'a StoredHead],
    /// The time.
    pub now: SystemTime,
}

/// A request's place among those for the same key.
#[derive(Debug)]
pub enum Place {
    /// First: it asks the origin.
    Lead(Lead),
    /// Another asks; this waits.
    Follow(Follow),
    /// The key was not storable a moment ago: everybody asks alone, with a lead that nobody follows.
    Alone(Lead),
}

/// A request on its way, as [`Flights::invalidate_if`] shows it.
pub struct OnItsWay<'a> {
    /// What was asked for.
    pub key: &'a CacheKey,
    /// The head, once it has come and the content is arriving.
    pub headers: Option<&'a HeaderMap>,
}

/// A request that asks the origin for a key.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: CacheKey,
    is_alone: bool,
    begun: Instant,
    landed: watch::Sender<Option<Landed>>,
    waiting: Arc<()>,
}

/// One that waits for the lead.
#[derive(Debug)]
pub struct Follow {
    begun: Instant,
    landed: watch::Receiver<Option<Landed>>,
    _waits: Arc<()>,
}

impl std::fmt::Debug for Flights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl Flights {
    /// No flights yet; what is remembered is forgotten by this clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: RandomState::new(),
            passing: Remembered::new(PASS_FOR, clock.clone()),
            resting: Remembered::new(REFRESH_PAUSE, clock.clone()),
            doubtful: Remembered::new(UNSTEADY_FOR, clock.clone()),
            unsteady: Remembered::new(UNSTEADY_FOR, clock),
        }
    }

    /// Takes a place among the requests for a key.
    pub fn join(self: &Arc<Self>, seeker: &Seeker<'_>) -> Place {
        let key = &seeker.asked.key;
        if self.passing.holds(&passing_key(seeker.presented, key)) {
            return Place::Alone(self.alone(seeker.asked));
        }
        let mut shard = self.shard(key);
        let flights = shard.entry(key.clone()).or_default();
        // A sender that is gone without a word left by accident: its place is free.
        flights.retain(|flying| flying.landed.has_changed().is_ok() || flying.landed.borrow().is_some());
        if let Some(flying) = seeker.choose(flights) {
            let (landed, _waits) = (flying.landed.clone(), flying.waiting.clone());
            return Place::Follow(Follow { begun: flying.begun, landed, _waits });
        }
        if flights.iter().filter(|flying| !flying.is_alone).count() >= FLIGHTS_PER_KEY_MAX {
            return Place::Alone(self.enter(flights, seeker.asked, true));
        }
        Place::Lead(self.enter(flights, seeker.asked, false))
    }

    /// A lead that nobody can follow. What puts its key out of date reaches it as well.
    pub fn alone(self: &Arc<Self>, asked: &Arc<Asked>) -> Lead {
        self.enter(self.shard(&asked.key).entry(asked.key.clone()).or_default(), asked, true)
    }

    fn enter(self: &Arc<Self>, flights: &mut Vec<Flying>, asked: &Arc<Asked>, is_alone: bool) -> Lead {
        let (landed, flight) = watch::channel(None);
        let (begun, waiting) = (Instant::now(), Arc::default());
        let held = Arc::clone(&waiting);
        flights.push(Flying { asked: asked.clone(), begun, landed: flight, waiting: held, is_alone });
        Lead { flights: self.clone(), key: asked.key.clone(), is_alone, begun, landed, waiting }
    }

    /// Remembers for a while that responses to such requests for this key are not storable.
    pub fn remember_pass(&self, request: &PresentedRequest<'_>, key: &CacheKey) {
        self.passing.remember(&passing_key(request, key));
    }

    /// Forgets it again, as soon as a response was storable.
    pub fn forget_pass(&self, request: &PresentedRequest<'_>, key: &CacheKey) {
        for asks_for_part in [false, true] {
            self.passing.forget(&(key, false, asks_for_part));
            if has_cookies(request) {
                self.passing.forget(&(key, true, asks_for_part));
            }
        }
    }

    /// Remembers that a further part of this key's response could not be joined to what is stored. A file may change once; one
    /// that does so again is served by machines that do not agree about it.
    pub fn did_not_join(&self, key: &CacheKey) {
        if self.doubtful.holds(key) { self.unsteady.remember(key) } else { self.doubtful.remember(key) }
    }

    /// Whether that happened again a moment ago: such a response is not stored in parts.
    pub fn is_unsteady(&self, key: &CacheKey) -> bool {
        self.unsteady.holds(key)
    }

    /// Remembers for a while that a refresh of this key failed, so that its readers don't each try the next one.
    pub fn rest(&self, key: &CacheKey) {
        self.resting.remember(key);
    }

    /// Whether a refresh of this key failed a moment ago.
    pub fn is_resting(&self, key: &CacheKey) -> bool {
        self.resting.holds(key)
    }

    /// As [`Flights::invalidate`], where what is known of the response decides too.
    pub fn invalidate_if(&self, matches: impl Fn(OnItsWay<'_>) -> bool) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, flights| {
                flights.retain(|flying| {
                    let landed = flying.landed.borrow();
                    let head = landed.as_ref().and_then(Landed::head);
                    !matches(OnItsWay { key, headers: head.map(StoredHead::headers) })
                });
                !flights.is_empty()
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

    /// How many requests wait at the moment for what one to the origin brings, those who began it among them.
    pub fn waiting(&self) -> usize {
        let locked = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        let shared = |flying: &&Flying| !flying.is_alone;
        locked
            .map(|shard| shard.values().flatten().filter(shared).map(|flying| waiting(&flying.waiting)).sum::<usize>())
            .sum()
    }

    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, HashMap<CacheKey, Vec<Flying>>> {
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn passing_key<'k>(request: &PresentedRequest<'_>, key: &'k CacheKey) -> (&'k CacheKey, HasCookies, AsksForPart) {
    (key, has_cookies(request), request.asks_for_range())
}

fn has_cookies(request: &PresentedRequest<'_>) -> HasCookies {
    request.cookies.may_decide_content() && !request.rule.anonymous
}

/// How many hold a flight's token besides its lead and its place in the map.
fn waiting(token: &Arc<()>) -> usize {
    Arc::strong_count(token).saturating_sub(2)
}

impl Seeker<'_> {
    /// The flight to wait for, if there is one: the first whose answer fits, or may fit as far as is known.
    fn choose<'f>(&self, flights: &'f [Flying]) -> Option<&'f Flying> {
        let landed: Vec<Option<Landed>> = flights.iter().map(|flying| flying.landed.borrow().clone()).collect();
        let heads: Vec<&StoredHead> = landed.iter().flatten().filter_map(Landed::head).collect();
        flights.iter().zip(&landed).find_map(|(flying, landed)| {
            if flying.is_alone || flying.asked.rules != self.asked.rules {
                return None;
            }
            let fits = match landed {
                None => self.may_get_the_same_as(flying, &heads),
                Some(Landed::NotShared(_)) => false,
                Some(landed) => landed.head().is_none_or(|head| may_join(head, self.presented, self.now)),
            };
            fits.then_some(flying)
        })
    }

    /// Whether one answer may do for both, as far as the known responses' `Vary` says; while none is known, it may.
    fn may_get_the_same_as(&self, flying: &Flying, heads: &[&StoredHead]) -> bool {
        let other = flying.asked.presented(self.presented.options);
        self.heads.iter().chain(heads).all(|head| head.expects_one_answer_to(self.presented, &other))
    }
}

/// Whether a response that another request brought, or is bringing, may answer this one. It need not be reusable later
/// (RFC 9111 §4). Who comes while its content is still arriving joins too, also with `no-cache`: what is arriving is as
/// new as what the origin would send, and a thin link carries it once.
pub fn may_join(head: &StoredHead, presented: &PresentedRequest<'_>, now: SystemTime) -> bool {
    match look_up(&[head], presented, now) {
        Lookup::Reuse { .. } | Lookup::ReuseWhileRevalidating { .. } | Lookup::Validate { .. } => true,
        // A guest's copy may stand in when the origin fails, but is no answer for whoever has an account.
        Lookup::Forward { why, stale } => stale.is_some() && why != ForwardReason::Bypass,
        Lookup::GatewayTimeout => false,
    }
}

impl Lead {
    /// A receiver for the one who started the flight.
    pub fn follow(&self) -> Follow {
        Follow { begun: self.begun, landed: self.landed.subscribe(), _waits: self.waiting.clone() }
    }

    /// Whether somebody besides the one who started it waits.
    pub fn has_followers(&self) -> bool {
        !self.is_alone && waiting(&self.waiting) > 1
    }

    /// Whether nothing has put its key out of date since it began ([`Flights::invalidate`]).
    pub fn is_current(&self) -> bool {
        let shard = self.flights.shard(&self.key);
        shard.get(&self.key).into_iter().flatten().any(|flying| self.is(flying))
    }

    /// Whether this is its place in the map: each flight has a token of its own.
    fn is(&self, flying: &Flying) -> bool {
        Arc::ptr_eq(&flying.waiting, &self.waiting)
    }

    /// Tells all who wait what came of it. The key stays taken until the lead is dropped, so that those who come
    /// while the body grows join it too.
    pub fn land(&self, landed: Landed) {
        self.landed.send_replace(Some(landed));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Once it is out of date, others may be there, or nobody.
        if let Entry::Occupied(mut flights) = self.flights.shard(&self.key).entry(self.key.clone()) {
            flights.get_mut().retain(|flying| !self.is(flying));
            if flights.get().is_empty() {
                flights.remove();
            }
        }
    }
}

impl Follow {
    /// Whether all had arrived already, so that who comes now may be one who had it.
    pub fn is_late(&self) -> bool {
        let landed = self.landed.borrow();
        matches!(&*landed, Some(Landed::Filling(filling)) if filling.body.has_arrived(filling.content_length))
    }

    /// Waits until the flight has landed; none when its lead vanished without a word.
    ///
    /// The wait is bounded by the origin's own time-outs, which the lead obeys.
    pub async fn landed(mut self) -> Option<Landed> {
        self.landed.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone())
    }

    /// The same, but no longer than `patience` from the flight's beginning.
    ///
    /// # Errors
    /// When that has passed; the flight goes on.
    pub async fn landed_within(self, patience: Duration) -> Result<Option<Landed>, tokio::time::error::Elapsed> {
        timeout_at(self.begun + patience, self.landed()).await
    }
}
