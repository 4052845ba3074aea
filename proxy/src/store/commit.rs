//! Storing bodies that are in memory, many in one go: one thread writes all that wait, makes them durable in one step, then
//! makes each visible. A night or a first morning is thousands of small files, and a switch of threads and a flush for
//! each of them would cost more than all else.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::error::StoreRefusal;
use super::fill::{Fill, ReadyToPublish};
use super::stored_response::StoredResponse;
use super::{Shared, Store};

/// Files written before they are made durable together: each keeps a descriptor and its body until then.
const TOGETHER_MAX: usize = 128;

/// From so many files on one flush of the file system is less work than a flush for each.
pub(super) const FLUSH_ALL_FILES: usize = 4;

/// So many bodies that wait are written without waiting for others.
pub(super) const ENOUGH: usize = TOGETHER_MAX / 2;

/// So many bodies that wait to be written are more than the disk keeps up with: until some are, no further ones are taken in.
/// Clients do not wait for the disk, so nothing else bounds what waits in memory; for the longer ones there is room for so
/// many bytes besides ([`StoreOptions::gathered_bytes_max`](super::StoreOptions)).
const BACKLOG: usize = 256;

/// Bodies that have arrived and wait to be written: at most [`BACKLOG`] and those that were on their way.
#[derive(Default)]
pub(crate) struct Commits {
    queue: Mutex<Queue>,
    /// Woken when what waits is to be written at once.
    due: Condvar,
    /// Wakes one who waits for the backlog to shrink, and he the next.
    shrunk: Notify,
    /// Woken when nobody writes any more.
    idle: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether somebody writes.
    is_written: bool,
    /// Whether somebody waits until they are durable.
    is_awaited: bool,
    /// Whether nothing more is taken in.
    is_closed: bool,
}

impl Queue {
    fn is_due(&self) -> bool {
        self.is_awaited || self.is_closed || self.waiting.is_empty() || self.waiting.len() >= ENOUGH
    }
}

/// A body that has arrived, and who is to be told what became of it.
pub(super) type Waiting = (Fill, Done);

/// Told by the thread that writes, and dropped untold when it cannot.
pub(super) type Done = Box<dyn FnOnce(Committed) + Send>;

pub(super) type Committed = Result<Arc<StoredResponse>, StoreRefusal>;

impl Commits {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is no backlog.
    async fn has_room(&self) {
        loop {
            let mut shrunk = std::pin::pin!(self.shrunk.notified());
            shrunk.as_mut().enable();
            if self.lock().waiting.len() < BACKLOG {
                // One after the other: who is woken by another thread costs that thread a call of the system.
                self.shrunk.notify_one();
                return;
            }
            shrunk.await;
        }
    }

    /// Takes nothing more in, and waits until all that was taken in is written.
    pub(super) async fn close(&self) {
        self.lock().is_closed = true;
        self.due.notify_one();
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if !self.lock().is_written {
                return;
            }
            idle.await;
        }
    }

    /// Adds one that waits. Says whether somebody must begin to write.
    ///
    /// # Errors
    /// When nothing more is taken in: the one that would have waited.
    fn push(&self, waiting: Waiting, is_awaited: bool) -> Result<bool, Waiting> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(waiting);
        }
        queue.waiting.push_back(waiting);
        let was_written = std::mem::replace(&mut queue.is_written, true);
        let was_due = queue.is_awaited || queue.waiting.len() > ENOUGH;
        queue.is_awaited |= is_awaited;
        if was_written && !was_due && queue.is_due() {
            self.due.notify_one();
        }
        Ok(!was_written)
    }

    /// The next ones to write, together with those that come within `delay`; none ends the turn.
    fn next(&self, delay: Duration) -> Option<Vec<Waiting>> {
        let queue = self.due.wait_timeout_while(self.lock(), delay, |queue| !queue.is_due());
        let (mut queue, _) = queue.unwrap_or_else(PoisonError::into_inner);
        let count = queue.waiting.len().min(TOGETHER_MAX);
        queue.is_written = count > 0;
        queue.is_awaited &= queue.waiting.len() > count;
        let batch: Option<Vec<_>> = queue.is_written.then(|| queue.waiting.drain(..count).collect());
        drop(queue);
        self.shrunk.notify_one();
        if batch.is_none() {
            self.idle.notify_waiters();
        }
        batch
    }
}

/// Whose turn it is to write.
struct Turn {
    shared: Arc<Shared>,
    is_over: bool,
}

impl Turn {
    fn write(mut self) {
        while let Some(batch) = self.shared.commits.next(self.shared.options.commit_delay) {
            self.shared.commit_together(batch);
        }
        self.is_over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The runtime ends before the turn began, or something panicked: those who wait are told so, by their senders.
        let left = {
            let mut queue = self.shared.commits.lock();
            queue.is_written = false;
            std::mem::take(&mut queue.waiting)
        };
        drop(left);
        self.shared.commits.shrunk.notify_one();
        self.shared.commits.idle.notify_waiters();
    }
}

impl Store {
    /// Waits as long as more bodies wait to be written than the disk keeps up with. Who is about to bring another one asks
    /// first; the disk's own pace bounds the wait.
    pub async fn has_room_for_another(&self) {
        self.0.commits.has_room().await;
    }
}

impl Shared {
    /// Stores a body that is in memory together with others that have arrived.
    pub(crate) async fn commit_soon(self: &Arc<Self>, fill: Fill) -> Committed {
        let (done, committed) = oneshot::channel();
        // Who waited may have left.
        self.commit((fill, Box::new(|result| drop(done.send(result)))), true);
        committed.await.map_err(|_| StoreRefusal::Closing)?
    }

    /// The same, and goes on at once: nobody waits for it.
    pub(super) fn commit_behind(self: &Arc<Self>, waiting: Waiting) {
        self.commit(waiting, false);
    }

    fn commit(self: &Arc<Self>, waiting: Waiting, is_awaited: bool) {
        match self.commits.push(waiting, is_awaited) {
            Ok(false) => {}
            Ok(true) => {
                let turn = Turn { shared: Arc::clone(self), is_over: false };
                drop(tokio::task::spawn_blocking(move || turn.write()));
            }
            Err((_, done)) => done(Err(StoreRefusal::Closing)),
        }
    }

    /// Writes them all, makes them durable, makes each visible. Waits for the disk.
    pub(super) fn commit_together(&self, batch: Vec<Waiting>) {
        // The system tells of failed writes that came after this: were it opened later, somebody else may have been told.
        let folder = File::open(&self.files.bodies);
        let mut written = Vec::with_capacity(batch.len());
        let mut reserved = self.reserve_together(batch.iter().map(|(fill, _)| fill.whole_file_bytes()));
        for (fill, done) in batch {
            match fill.write_whole(&mut reserved) {
                Ok(ready) => written.push((ready, done)),
                Err(refusal) => done(Err(refusal)),
            }
        }
        drop(reserved);
        if written.len() >= FLUSH_ALL_FILES {
            let result = folder.and_then(|folder| self.files.disk.sync_all(&folder));
            for (ready, done) in written {
                let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
                let result = result.as_ref().map_err(|error| again(error).into());
                done(result.and_then(|&()| self.publish_ready(ready)));
            }
        } else {
            for (ready, done) in written {
                let result = self.files.disk.sync(ready.file()).map_err(StoreRefusal::from);
                done(result.and_then(|()| self.publish_ready(ready)));
            }
        }
    }

    fn publish_ready(&self, ready: ReadyToPublish) -> Committed {
        let ReadyToPublish { key, written, ticket, reservation } = ready;
        let stored = self.publish(&key, written, || ticket.is_invalidated())?;
        drop(reservation); // its bytes are counted by the index from here on
        Ok(stored)
    }
}

/// The pieces of a file in their order, without empty ones.
pub(super) fn pieces(front: Vec<u8>, body: Bytes, trailer: Vec<u8>) -> Vec<Bytes> {
    [front.into(), body, trailer.into()].into_iter().filter(|piece: &Bytes| !piece.is_empty()).collect()
}
