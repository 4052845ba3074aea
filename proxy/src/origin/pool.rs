//! Connections that wait for the next request: never shared between sites, never more than allowed, never for long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use bulaq_allowlist::{HostName, Permit, Scheme};
use tokio::time::Instant;

use super::connection::{Connection, Protocol};
use super::http1::Look;
use super::options::OriginOptions;
use crate::request::ForwardError;

/// Origins of which something is remembered; a suffix rule lets clients make up names.
const ORIGINS_MAX: usize = 4096;

/// What is taken off the time for which an origin says that it keeps a connection: our request must arrive before.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// Where a connection leads, and for whom. The site is part of it, since sites may trust different roots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) site: Arc<str>,
    pub(super) scheme: Scheme,
    pub(super) host: HostName,
    pub(super) port: u16,
}

impl From<&Permit> for Key {
    fn from(permit: &Permit) -> Self {
        Self {
            site: Arc::clone(permit.site().shared_name()),
            scheme: permit.scheme(),
            host: permit.host().clone(),
            port: permit.port(),
        }
    }
}

/// Held by the one who opens a connection; remembers when and how the last one failed.
pub(super) type Gate = Arc<tokio::sync::Mutex<Option<(Instant, ForwardError)>>>;

/// The connections that can be used again.
pub(super) struct Pool {
    origins: Mutex<HashMap<Key, OneOrigin>>,
    idle_timeout: Duration,
    idle_max: usize,
    is_reaped: AtomicBool,
    /// For the task that closes old connections.
    me: Weak<Pool>,
}

#[derive(Default)]
struct OneOrigin {
    /// Idle HTTP/1.1 connections, the youngest last.
    idle: Vec<Idle>,
    http2: Option<Http2>,
    speaks: Option<Protocol>,
    gate: Gate,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

struct Http2 {
    connection: Connection,
    used: Instant,
}

impl Pool {
    pub(super) fn new(options: &OriginOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            origins: Mutex::default(),
            idle_timeout: options.pool_idle_timeout,
            idle_max: options.pool_idle_max,
            is_reaped: AtomicBool::new(false),
            me: Weak::clone(me),
        })
    }

    /// A connection that can take a request now, if there is one; `how` says how sure that must be.
    pub(super) async fn take(&self, key: &Key, how: Look) -> Option<Connection> {
        // Each round takes a connection away, so this ends.
        while let Some(mut connection) = self.take_any(key) {
            connection.is_reused = true;
            if connection.is_ready(how).await {
                return Some(connection);
            }
        }
        None
    }

    fn take_any(&self, key: &Key) -> Option<Connection> {
        let mut origins = self.lock();
        let origin = origins.get_mut(key)?;
        let now = Instant::now();
        if origin.http2.as_ref().is_some_and(|http2| http2.connection.is_closed()) {
            origin.http2 = None;
        }
        if let Some(http2) = &mut origin.http2 {
            http2.used = now;
            return http2.connection.share();
        }
        origin.idle.retain(|idle| idle.until > now && !idle.connection.is_closed());
        // The youngest of this thread: what another has opened is read by that one's eyes, and each byte wakes two.
        let here = thread::current().id();
        let mine = origin.idle.iter().rposition(|idle| idle.connection.opened_by == here);
        let at = mine.or(origin.idle.len().checked_sub(1))?;
        Some(origin.idle.remove(at).connection)
    }

    /// Takes back an HTTP/1.1 connection whose response has been read to its end.
    pub(super) fn put(&self, key: &Key, connection: Connection) {
        if connection.is_closed() || connection.protocol() == Protocol::Http2 {
            return;
        }
        let announced = connection.keep_alive.map(|time| time.saturating_sub(KEEP_ALIVE_MARGIN));
        let keep = announced.map_or(self.idle_timeout, |time| time.min(self.idle_timeout));
        if keep.is_zero() || self.idle_max == 0 {
            return;
        }
        let mut origins = self.lock();
        let idle_count: usize = origins.values().map(|origin| origin.idle.len()).sum();
        if idle_count >= self.idle_max {
            drop_oldest(&mut origins);
        }
        let until = Instant::now() + keep;
        entry(&mut origins, key).idle.push(Idle { connection, until });
        drop(origins);
        self.ensure_reaper();
    }

    /// Notes what an origin speaks, and keeps an HTTP/2 connection for those who come after.
    pub(super) fn learn(&self, key: &Key, connection: &Connection) {
        let mut origins = self.lock();
        let origin = entry(&mut origins, key);
        origin.speaks = Some(connection.protocol());
        if let Some(connection) = connection.share() {
            origin.http2 = Some(Http2 { connection, used: Instant::now() });
            drop(origins);
            self.ensure_reaper();
        }
    }

    /// Gives an HTTP/2 connection to nobody any more; what is under way on it goes on.
    pub(super) fn forget(&self, key: &Key, connection: &Connection) {
        if let Some(origin) = self.lock().get_mut(key)
            && origin.http2.as_ref().is_some_and(|http2| http2.connection.is_same(connection))
        {
            origin.http2 = None;
        }
    }

    /// What new connections to this origin wait behind, unless it is known to speak HTTP/1.1: with HTTP/2 the first
    /// one is enough for all who come at the same moment.
    pub(super) fn gate(&self, key: &Key) -> Option<Gate> {
        if key.scheme == Scheme::Http {
            return None;
        }
        let mut origins = self.lock();
        let origin = entry(&mut origins, key);
        (origin.speaks != Some(Protocol::Http1)).then(|| Arc::clone(&origin.gate))
    }

    /// Sees to it that what nobody uses for too long is closed; runs only while there is something to close.
    fn ensure_reaper(&self) {
        if self.is_reaped.swap(true, Ordering::AcqRel) {
            return;
        }
        let (pool, every) = (Weak::clone(&self.me), self.idle_timeout);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.reap() {
                    return;
                }
            }
        });
    }

    /// Whether there is something left.
    fn reap(&self) -> bool {
        let now = Instant::now();
        let mut origins = self.lock();
        for origin in origins.values_mut() {
            origin.idle.retain(|idle| idle.until > now);
            // The connection itself goes on until its last response has been read.
            if origin.http2.as_ref().is_some_and(|http2| now - http2.used >= self.idle_timeout) {
                origin.http2 = None;
            }
        }
        let is_needed = origins.values().any(|origin| !origin.holds_nothing());
        // Under the lock, so that nothing is put in between unseen.
        self.is_reaped.store(is_needed, Ordering::Release);
        is_needed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, OneOrigin>> {
        // Nothing panics while it is held, and if it did, the connections would still be what they are.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OneOrigin {
    fn holds_nothing(&self) -> bool {
        self.idle.is_empty() && self.http2.is_none()
    }
}

/// What is known of an origin. Names that hold nothing make room when there are too many.
fn entry<'a>(origins: &'a mut HashMap<Key, OneOrigin>, key: &Key) -> &'a mut OneOrigin {
    if origins.len() >= ORIGINS_MAX {
        origins.retain(|_, origin| !origin.holds_nothing());
    }
    origins.entry(key.clone()).or_default()
}

fn drop_oldest(origins: &mut HashMap<Key, OneOrigin>) {
    let oldest = origins
        .values_mut()
        .filter(|origin| !origin.idle.is_empty())
        .min_by_key(|origin| origin.idle.first().map(|idle| idle.until));
    if let Some(origin) = oldest {
        origin.idle.remove(0);
    }
}
