//! What happens on a connection, as the service, the guard of its socket and the door tell each other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::request::InterimQueue;

/// What happens on a connection, told by the service to the guard of its socket.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Requests that have come to the service.
    begun: AtomicU64,
    /// Those of them whose answers hyper has taken, or dropped.
    ended: AtomicU64,
    /// Wraps; only whether it moved matters.
    progress: AtomicU32,
    is_tunnel: AtomicBool,
    /// What is to be written before the answer to the present request.
    interim: Arc<InterimQueue>,
    /// An answer that is given beneath hyper waits for the client to take it.
    is_answering: AtomicBool,
    /// The box is about to stop: no answer is begun beneath hyper.
    is_draining: AtomicBool,
    /// The connection ends with an answer that was given (RFC 9112 §9.6): what comes after it is not answered.
    is_ending: AtomicBool,
    /// What decides the answer to the request that was given to hyper last.
    key: Mutex<Option<Box<[u8]>>>,
}

impl Activity {
    /// A request begins; it ends when the result is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// How many have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Some content moved.
    pub(crate) fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection has become a tunnel, which has its own limit. Only now: that a client has asked for one, behind
    /// requests whose answers it does not take, ends no wait.
    pub(crate) fn becomes_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Release);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Acquire)
    }

    /// The interim responses of this connection.
    pub(crate) fn interim(&self) -> &Arc<InterimQueue> {
        &self.interim
    }

    /// The connection ends with the present answer.
    pub(super) fn ends(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.ended() < self.begun() || self.is_answering()
    }

    pub(super) fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Whether an answer that is given beneath hyper has begun and is not written yet.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    pub(super) fn set_answering(&self, is_answering: bool) {
        // Most answers leave at once: nothing is written then.
        if self.is_answering() != is_answering {
            self.is_answering.store(is_answering, Ordering::Relaxed);
        }
    }

    /// The box is about to stop.
    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// The request that hyper is given next has this key.
    pub(super) fn ask(&self, key: Box<[u8]>) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// The key of the request that was just begun, if it has one.
    pub(super) fn asked(&self) -> Option<Box<[u8]>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Busy {
    /// Some of its content moved.
    pub(crate) fn moved(&self) {
        self.0.moved();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.moved();
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}
