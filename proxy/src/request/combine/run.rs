//! A run: consecutive blocks of one body that are arriving in one response of the origin, and those who read along.
//!
//! What has arrived is readable at once, from memory; a whole block goes to the store and then out of memory. So a run
//! holds one block, however slow its readers are: they read from the store. When the store takes no more, the run waits
//! for its slowest reader, for a bounded time. A run belongs to no client and ends by itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::request::ForwardError;
use crate::request::waking::{self, Waking};
use crate::store::BLOCK_BYTES;

/// How far ahead of what has arrived a reader may want to begin and still wait for this run. Who wants to begin further
/// away gets a run of his own there: on a thin link these bytes take some seconds, a seek should not take more.
pub(super) const NEAR_BYTES: u64 = 4 * BLOCK_BYTES;

/// How much of a body that the store does not take is held in memory for its readers.
const UNKEPT_BYTES: u64 = BLOCK_BYTES;

/// How long a run that the store does not take waits for a reader that takes nothing.
const SLOW_READER_WAIT: Duration = Duration::from_secs(30);

/// Chunks shorter than this are put together, so that an origin that sends byte by byte costs no memory.
const JOIN_BYTES: usize = 4096;

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// With its last byte, or where another run or a stored block begins.
    Done,
    /// The origin has another representation now.
    Changed,
    /// The origin answered with a status that says nothing about the representation.
    Refused(StatusCode),
    /// The origin failed.
    Failed(ForwardError),
}

/// One run.
pub(super) struct Run {
    /// Where it begins: at the beginning of a block, except for a suffix, of which only the length was known.
    pub(super) start: u64,
    state: Mutex<State>,
    /// Wakes readers: something came, or the run is over.
    changed: Notify,
    /// Wakes the run where it waits for its readers.
    moved: Notify,
}

struct State {
    /// Bytes from here on are not this run's; another run may take some of them over.
    end: u64,
    arrived: u64,
    /// Up to here all whole blocks are in the store.
    kept: u64,
    /// What has arrived before the first whole block; stays as long as the run is held.
    lead_in: VecDeque<(u64, Bytes)>,
    /// What has arrived and is not in the store.
    chunks: VecDeque<(u64, Bytes)>,
    is_answered: bool,
    /// False from when the store refused a block on.
    is_kept: bool,
    over: Option<End>,
    followers: HashMap<u64, u64>,
    next_follower: u64,
    waking: Waking,
}

/// What a reader finds at its position.
pub(super) enum Look {
    /// These bytes.
    Chunk(Bytes),
    /// They are in the store.
    Kept,
    /// They will come.
    NotYet,
    /// They are not, or no longer, this run's.
    Elsewhere,
    /// They will not come: the run is over.
    Over(End),
}

/// One who reads along, as far as the run must know of him.
pub(super) struct Follower {
    pub(super) run: Arc<Run>,
    id: u64,
}

/// Rounded up to the beginning of a block.
pub(super) fn block_after(offset: u64) -> u64 {
    offset.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

impl Run {
    pub(super) fn new(start: u64, end: u64) -> Self {
        let state = State {
            end,
            arrived: start,
            kept: block_after(start),
            lead_in: VecDeque::new(),
            chunks: VecDeque::new(),
            is_answered: false,
            is_kept: true,
            over: None,
            followers: HashMap::new(),
            next_follower: 0,
            waking: Waking::default(),
        };
        Self { start, state: Mutex::new(state), changed: Notify::new(), moved: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Woken at the next change; what is looked at after this is enabled is not missed.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    pub(super) fn follow(self: &Arc<Self>, position: u64) -> Follower {
        let mut state = self.lock();
        let id = state.next_follower;
        state.next_follower += 1;
        state.followers.insert(id, position);
        Follower { run: Arc::clone(self), id }
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over.is_some()
    }

    /// Whether it ended in order.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.lock().over, Some(End::Done))
    }

    /// The end as it is now.
    pub(super) fn end(&self) -> u64 {
        self.lock().end
    }

    /// Whether whoever wants to read at `position` should wait for this run.
    pub(super) fn brings(&self, position: u64) -> bool {
        let state = self.lock();
        self.spans(&state, position)
            && (position >= state.arrived && position - state.arrived <= NEAR_BYTES
                || state.chunk_at(position).is_some())
    }

    /// Whether this run will come to `position` some time, if nobody takes that over.
    pub(super) fn will_bring(&self, position: u64) -> bool {
        let state = self.lock();
        self.spans(&state, position) && position >= state.arrived
    }

    fn spans(&self, state: &State, position: u64) -> bool {
        state.over.is_none() && position >= self.start && position < state.end
    }

    /// Where the first whole block of it begins, if it still brings any.
    pub(super) fn first_block(&self) -> Option<u64> {
        let state = self.lock();
        state.over.is_none().then(|| block_after(self.start)).filter(|&first| first < state.end)
    }

    /// Leaves what comes from `start` on to another, unless it is here already.
    pub(super) fn leave_from(&self, start: u64) {
        let mut state = self.lock();
        if self.spans(&state, start) && start >= state.arrived {
            state.end = start;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn look(&self, follower: &Follower, position: u64, only_kept: bool) -> Look {
        let state = self.lock();
        if position < self.start || !state.followers.contains_key(&follower.id) {
            return Look::Elsewhere;
        }
        let may_take = !(only_kept && state.is_kept) || position < block_after(self.start);
        match state.chunk_at(position) {
            Some(chunk) if may_take => return Look::Chunk(chunk),
            _ if position < state.kept && position >= block_after(self.start) => return Look::Kept,
            None if position < state.arrived => return Look::Elsewhere,
            _ => {}
        }
        match &state.over {
            _ if position >= state.end => Look::Elsewhere,
            Some(end) => Look::Over(end.clone()),
            None => Look::NotYet,
        }
    }

    /// Whether the origin has begun to answer with what was asked for, or how the run ended; none as long as nobody knows.
    pub(super) fn answer(&self) -> Option<Result<(), End>> {
        let state = self.lock();
        match (&state.over, state.is_answered) {
            (_, true) | (Some(End::Done), _) => Some(Ok(())),
            (Some(end), false) => Some(Err(end.clone())),
            (None, false) => None,
        }
    }
}

/// What the task does that brings the bytes.
impl Run {
    /// The origin answers with what was asked for.
    pub(super) fn answered(&self) {
        self.lock().is_answered = true;
        self.changed.notify_waiters();
    }

    /// The origin answers with the whole body: it goes to `end`.
    pub(super) fn extend(&self, end: u64) {
        self.lock().end = end;
    }

    pub(super) fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    pub(super) fn push(&self, bytes: Bytes) {
        let mut state = self.lock();
        state.push(self.start, bytes);
        let (told, came, readers) = (state.waking.told(), state.arrived - self.start, state.followers.len());
        let is_due = state.waking.is_due(came, readers);
        if is_due {
            state.join(self.start + told);
        }
        drop(state);
        if is_due {
            self.changed.notify_waiters();
        }
    }

    /// By when a crowd must be told of what has arrived, by [`Run::tell`]; none when it knows of all.
    pub(super) fn must_tell_at(&self) -> Option<Instant> {
        self.lock().waking.must_tell_at()
    }

    /// Wakes those who do not know of all that has arrived, before the run waits for them.
    fn tell_all(&self) {
        if self.must_tell_at().is_some() {
            self.tell();
        }
    }

    /// Wakes all who wait for what has arrived.
    pub(super) fn tell(&self) {
        let mut state = self.lock();
        let (told, came) = (state.waking.told(), state.arrived - self.start);
        state.join(self.start + told);
        state.waking.all_told(came);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The chunks of the block that ends where the run stands; none when it is not there from its first byte on, or
    /// the store has refused one before.
    pub(super) fn whole_block(&self) -> Option<(u64, Vec<Bytes>)> {
        let state = self.lock();
        let start = state.arrived.checked_sub(1)? / BLOCK_BYTES * BLOCK_BYTES;
        let is_whole = state.is_kept && start >= self.start && start == state.kept;
        is_whole.then(|| (start / BLOCK_BYTES, state.chunks.iter().map(|(_, bytes)| bytes.clone()).collect()))
    }

    /// The block is in the store.
    pub(super) fn keep(&self) {
        let mut state = self.lock();
        state.kept = state.arrived;
        state.chunks.clear();
        drop(state);
        self.changed.notify_waiters();
    }

    /// The store takes no more.
    pub(super) fn keep_no_more(&self) {
        self.lock().is_kept = false;
        self.changed.notify_waiters();
    }

    /// Waits as long as its readers are too far behind what only memory holds. False when nobody reads it and nothing of
    /// it is kept: the rest need not come.
    pub(super) async fn wait_for_readers(&self) -> bool {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            {
                let mut state = self.lock();
                if state.is_kept {
                    return true;
                }
                state.trim_to_followers();
                if state.followers.is_empty() {
                    return false;
                }
                if state.arrived - state.first_held() <= UNKEPT_BYTES {
                    return true;
                }
            }
            self.tell_all();
            if tokio::time::timeout(SLOW_READER_WAIT, moved).await.is_err() {
                self.lock().leave_slowest();
                self.changed.notify_waiters();
            }
        }
    }

    /// Waits as long as even the fastest reader is a block behind what is in the store: the origin then sends no faster
    /// than somebody reads. False when nobody does.
    pub(super) async fn keep_pace(&self) -> bool {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            {
                let state = self.lock();
                let Some(fastest) = state.followers.values().copied().max() else { return false };
                if state.arrived.saturating_sub(fastest) <= BLOCK_BYTES {
                    return true;
                }
            }
            self.tell_all();
            moved.await;
        }
    }

    /// It is over. The first word about it counts.
    pub(super) fn end_with(&self, end: End) {
        let mut state = self.lock();
        state.over.get_or_insert(end);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    fn push(&mut self, run_start: u64, bytes: Bytes) {
        let offset = self.arrived;
        self.arrived += bytes.len() as u64;
        let lead_in_end = block_after(run_start);
        let chunks = if offset < lead_in_end { &mut self.lead_in } else { &mut self.chunks };
        match chunks.back_mut() {
            Some((_, last)) if last.len() + bytes.len() <= JOIN_BYTES => {
                let mut joined = BytesMut::with_capacity(last.len() + bytes.len());
                joined.extend_from_slice(last);
                joined.extend_from_slice(&bytes);
                *last = joined.freeze();
            }
            _ => chunks.push_back((offset, bytes)),
        }
    }

    /// Makes one piece of what readers are told of now.
    fn join(&mut self, told: u64) {
        waking::join(&mut self.lead_in, told);
        waking::join(&mut self.chunks, told);
    }

    /// What of memory begins at `position`, if it is there.
    fn chunk_at(&self, position: u64) -> Option<Bytes> {
        let of = |chunks: &VecDeque<(u64, Bytes)>| {
            let at = chunks.partition_point(|(offset, _)| *offset <= position).checked_sub(1)?;
            let (offset, bytes) = chunks.get(at)?;
            let skip = usize::try_from(position - offset).ok()?;
            (skip < bytes.len()).then(|| bytes.slice(skip..))
        };
        of(&self.chunks).or_else(|| of(&self.lead_in))
    }

    /// The first byte that memory holds for readers.
    fn first_held(&self) -> u64 {
        self.chunks.front().map_or(self.arrived, |(offset, _)| *offset)
    }

    fn trim_to_followers(&mut self) {
        let needed = self.followers.values().copied().min().unwrap_or(self.arrived);
        while self.chunks.front().is_some_and(|(offset, bytes)| offset + bytes.len() as u64 <= needed) {
            self.chunks.pop_front();
        }
    }

    /// Leaves the slowest reader to himself, and all who are further behind than what is held for them: they go on with runs
    /// of their own, and those who keep up have waited once for them all.
    fn leave_slowest(&mut self) {
        let Some(slowest) = self.followers.values().copied().min() else { return };
        let behind = self.arrived.saturating_sub(UNKEPT_BYTES);
        self.followers.retain(|_, position| *position > slowest && *position >= behind);
    }
}

impl Follower {
    /// Tells where the reader stands; the run may be waiting for him.
    pub(super) fn stands_at(&self, position: u64) {
        let mut state = self.run.lock();
        if let Some(known) = state.followers.get_mut(&self.id) {
            *known = position;
        }
        drop(state);
        self.run.moved.notify_waiters();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.run.lock().followers.remove(&self.id);
        self.run.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::waking::CROWD;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_knows_of_all_that_has_come_when_the_run_waits_for_it() {
        let run = Arc::new(Run::new(0, 4 * BLOCK_BYTES));
        let crowd: Vec<_> = (0..CROWD).map(|_| run.follow(0)).collect();
        run.keep_no_more();
        run.push(Bytes::from(vec![7; usize::try_from(BLOCK_BYTES).unwrap()]));
        run.push(Bytes::from(vec![7; 10_000]));
        assert!(run.must_tell_at().is_some(), "more is awaited");
        let mut waits = Box::pin(run.wait_for_readers());
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(run.must_tell_at().is_none());
        crowd.iter().for_each(|follower| follower.stands_at(run.arrived()));
        assert!(waits.await);
        run.push(Bytes::from(vec![7; 10_000]));
        let told = run.must_tell_at();
        let mut pace = Box::pin(run.keep_pace());
        assert!(futures_util::poll!(&mut pace).is_ready(), "they keep up");
        assert_eq!(run.must_tell_at(), told);
        run.push(Bytes::from(vec![7; usize::try_from(BLOCK_BYTES).unwrap()]));
        run.push(Bytes::from(vec![7; 10_000]));
        let mut pace = Box::pin(run.keep_pace());
        assert!(futures_util::poll!(&mut pace).is_pending());
        assert!(run.must_tell_at().is_none());
    }
}
