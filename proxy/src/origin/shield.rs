//! How much one origin, and all of them, may be asked at once; and the pause of one that is ill.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::breaker::{Admission, Breaker};
use super::options::OriginOptions;
use super::pool::Key;
use crate::clock::Clock;
use crate::request::ForwardError;

/// Origins that are remembered; a suffix rule lets clients make up names.
const ORIGINS_MAX: usize = 4096;

/// Stands between the requests and the origins.
pub(super) struct Shield {
    clock: Clock,
    total: Arc<Semaphore>,
    waiting: AtomicUsize,
    origins: Mutex<HashMap<Key, Arc<OneOrigin>>>,
    limits: Limits,
}

#[derive(Clone, Copy)]
struct Limits {
    per_origin_max: usize,
    waiting_max: usize,
    queue_timeout: Duration,
    failures_max: u32,
    back_off_max: Duration,
    retry_after_max: Duration,
}

struct OneOrigin {
    slots: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
}

/// A place among the requests in flight; given back when dropped.
pub(super) struct Slot {
    _of_origin: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// What must be told how a request ended. Dropped without a word it says nothing.
pub(super) struct Watch {
    origin: Arc<OneOrigin>,
    clock: Clock,
    limits: Limits,
    is_probe: bool,
}

impl Shield {
    pub(super) fn new(options: &OriginOptions, clock: Clock) -> Self {
        Self {
            clock,
            total: Arc::new(Semaphore::new(options.in_flight_max)),
            waiting: AtomicUsize::new(0),
            origins: Mutex::default(),
            limits: Limits {
                per_origin_max: options.per_origin_max,
                waiting_max: options.waiting_max,
                queue_timeout: options.queue_timeout,
                failures_max: options.failures_max,
                back_off_max: options.back_off_max,
                retry_after_max: options.retry_after_max,
            },
        }
    }

    /// A place for one request, waited for if need be, and the right to use it.
    pub(super) async fn enter(&self, key: &Key) -> Result<(Slot, Watch), ForwardError> {
        let origin = self.origin(key)?;
        // Whoever would be refused anyway does not wait first.
        if let Some(rest) = lock(&origin.breaker).refuses(self.clock.now()) {
            return Err(paused(key, rest));
        }
        let slot = self.slot(&origin, key).await?;
        let watch = self.admit(origin, key)?;
        Ok((slot, watch))
    }

    /// The right to use an origin without a place: for tunnels, which last as long as a lesson and are limited by
    /// the ingress.
    pub(super) fn pass(&self, key: &Key) -> Result<Watch, ForwardError> {
        self.admit(self.origin(key)?, key)
    }

    fn admit(&self, origin: Arc<OneOrigin>, key: &Key) -> Result<Watch, ForwardError> {
        let admission = lock(&origin.breaker).admit(self.clock.now());
        let is_probe = match admission {
            Admission::Normal => false,
            Admission::Probe => true,
            Admission::Refused(rest) => return Err(paused(key, rest)),
        };
        Ok(Watch { origin, clock: self.clock.clone(), limits: self.limits, is_probe })
    }

    async fn slot(&self, origin: &OneOrigin, key: &Key) -> Result<Slot, ForwardError> {
        let (of_origin, of_all) = (Arc::clone(&origin.slots), Arc::clone(&self.total));
        if let (Ok(of_origin), Ok(of_all)) =
            (Arc::clone(&of_origin).try_acquire_owned(), Arc::clone(&of_all).try_acquire_owned())
        {
            return Ok(Slot { _of_origin: of_origin, _of_all: of_all });
        }
        let _place = Place::take(&self.waiting, self.limits.waiting_max)
            .ok_or_else(|| busy(key, "too many requests wait already"))?;
        // The origin's own slot first: who waits for one slow origin must not hold a place that others need.
        let both = async { Some((of_origin.acquire_owned().await.ok()?, of_all.acquire_owned().await.ok()?)) };
        match timeout(self.limits.queue_timeout, both).await {
            Ok(Some((of_origin, of_all))) => Ok(Slot { _of_origin: of_origin, _of_all: of_all }),
            Ok(None) | Err(_) => Err(busy(key, "too many requests are in flight")),
        }
    }

    fn origin(&self, key: &Key) -> Result<Arc<OneOrigin>, ForwardError> {
        let mut origins = lock(&self.origins);
        if let Some(known) = origins.get(key) {
            return Ok(Arc::clone(known));
        }
        if origins.len() >= ORIGINS_MAX {
            origins.retain(|_, origin| Arc::strong_count(origin) > 1 || !lock(&origin.breaker).is_at_rest());
            if origins.len() >= ORIGINS_MAX {
                return Err(busy(key, "too many origins at once"));
            }
        }
        let new = Arc::new(OneOrigin {
            slots: Arc::new(Semaphore::new(self.limits.per_origin_max)),
            breaker: Mutex::default(),
        });
        origins.insert(key.clone(), Arc::clone(&new));
        Ok(new)
    }
}

impl Watch {
    /// The origin answered; `retry_after` if it asked for a pause.
    pub(super) fn answered(mut self, retry_after: Option<Duration>) {
        self.is_probe = false;
        let mut breaker = lock(&self.origin.breaker);
        match retry_after {
            Some(pause) => breaker.asked_to_wait(self.clock.now(), pause.min(self.limits.retry_after_max)),
            None => breaker.succeeded(),
        }
    }

    /// The request failed. Only what says that the origin is away or does not answer counts as illness.
    pub(super) fn failed(mut self, error: &ForwardError) {
        let is_ill = match error {
            ForwardError::Dns { .. }
            | ForwardError::DnsTimeout { .. }
            | ForwardError::ConnectionRefused { .. }
            | ForwardError::ConnectionTimeout { .. }
            | ForwardError::Tls { .. }
            | ForwardError::ResponseTimeout { .. } => true,
            // One page that makes it fail is no reason to give up the others; and our own limits are not its illness.
            ForwardError::ConnectionTerminated { .. }
            | ForwardError::ResponseIncomplete { .. }
            | ForwardError::Protocol { .. }
            | ForwardError::DestinationIpProhibited { .. }
            | ForwardError::Busy { .. } => false,
        };
        if is_ill {
            self.is_probe = false;
            let (failures_max, back_off_max) = (self.limits.failures_max, self.limits.back_off_max);
            lock(&self.origin.breaker).failed(self.clock.now(), failures_max, back_off_max);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.is_probe {
            lock(&self.origin.breaker).probe_abandoned();
        }
    }
}

/// One of the places in the queue.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn paused(key: &Key, rest: Duration) -> ForwardError {
    let detail = "it failed, or asked for a pause";
    ForwardError::Busy { host: key.host.to_string(), detail, retry_after: Some(rest) }
}

fn busy(key: &Key, detail: &'static str) -> ForwardError {
    ForwardError::Busy { host: key.host.to_string(), detail, retry_after: None }
}

/// Nothing panics while one of these locks is held, and if it did, the values would still be true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bulaq_allowlist::{HostName, Scheme};

    use super::*;

    fn key(host: &str) -> Key {
        Key { site: "portal".into(), scheme: Scheme::Https, host: HostName::parse(host).unwrap(), port: 443 }
    }

    fn shield(options: &OriginOptions) -> Shield {
        Shield::new(options, Clock::held(UNIX_EPOCH + Duration::from_secs(1_000_000)))
    }

    #[tokio::test]
    async fn an_origin_and_all_together_have_a_limit_and_the_queue_has_one_too() {
        let options = OriginOptions {
            per_origin_max: 1,
            in_flight_max: 2,
            waiting_max: 1,
            queue_timeout: Duration::from_secs(3600),
            ..OriginOptions::default()
        };
        let shield = shield(&options);
        let first = shield.enter(&key("a.kz")).await.unwrap();
        let (a, c) = (key("a.kz"), key("c.kz"));
        let mut second = Box::pin(shield.enter(&a));
        assert!(futures_util::poll!(&mut second).is_pending(), "one for this origin");
        assert!(matches!(shield.enter(&key("a.kz")).await, Err(ForwardError::Busy { .. })), "the queue is full");
        let _other = shield.enter(&key("b.kz")).await.unwrap();
        drop(first);
        let _second = second.await.unwrap();
        let mut third = Box::pin(shield.enter(&c));
        assert!(futures_util::poll!(&mut third).is_pending(), "two in all");
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_told_so() {
        let options =
            OriginOptions { per_origin_max: 1, queue_timeout: Duration::from_millis(1), ..OriginOptions::default() };
        let shield = shield(&options);
        let _first = shield.enter(&key("a.kz")).await.unwrap();
        assert!(matches!(shield.enter(&key("a.kz")).await, Err(ForwardError::Busy { retry_after: None, .. })));
    }

    #[tokio::test]
    async fn a_dead_origin_is_left_alone_and_then_probed_once() {
        let shield = shield(&OriginOptions { failures_max: 2, ..OriginOptions::default() });
        let refused = ForwardError::ConnectionRefused { host: "a.kz".into() };
        let cut = ForwardError::ConnectionTerminated { host: "a.kz".into() };
        for _ in 0..10 {
            shield.enter(&key("a.kz")).await.unwrap().1.failed(&cut);
        }
        for _ in 0..2 {
            shield.enter(&key("a.kz")).await.unwrap().1.failed(&refused);
        }
        assert!(matches!(shield.enter(&key("a.kz")).await, Err(ForwardError::Busy { retry_after: Some(_), .. })));
        assert!(shield.enter(&key("b.kz")).await.is_ok(), "others are not held back");
        shield.clock.advance(Duration::from_secs(1));
        let (slot, probe) = shield.enter(&key("a.kz")).await.unwrap();
        assert!(shield.enter(&key("a.kz")).await.is_err());
        drop((slot, probe));
        let (_slot, probe) = shield.enter(&key("a.kz")).await.unwrap();
        probe.answered(None);
        assert!(shield.enter(&key("a.kz")).await.is_ok());
    }

    #[tokio::test]
    async fn a_wish_for_a_pause_is_granted_up_to_the_limit() {
        let shield = shield(&OriginOptions::default());
        for _ in 0..3 {
            shield.enter(&key("a.kz")).await.unwrap().1.answered(Some(Duration::from_secs(86_400)));
        }
        assert!(shield.enter(&key("a.kz")).await.is_err());
        shield.clock.advance(OriginOptions::default().retry_after_max);
        assert!(shield.enter(&key("a.kz")).await.is_ok());
    }

    #[tokio::test]
    async fn made_up_names_do_not_fill_the_memory() {
        let shield = shield(&OriginOptions::default());
        for n in 0..ORIGINS_MAX + 10 {
            shield.enter(&key(&format!("h{n}.kz"))).await.unwrap();
        }
        assert!(lock(&shield.origins).len() <= ORIGINS_MAX);
    }
}
