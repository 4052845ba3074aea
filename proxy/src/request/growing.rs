//! A body that is still arriving and is read by many at once, each at its own speed.
//!
//! One *pen* (the fill) writes; any number of *readers* follow. What was written to the store's file is read back
//! from there, so that the memory held is one fixed window a body however slow a reader is. When the store cannot
//! take more (a full disk) or keeps nothing of it, the window becomes the only copy: then the pen waits for the slowest
//! reader, for a bounded time, and nobody new may join once the window has moved on.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::waking::{self, Waking};
use crate::request::{BodyError, ForwardError};
use crate::store::BodyFile;

/// How much of a body's newest part stays in memory, in bytes: a few reads' worth, so that readers who keep up
/// never touch the file.
const WINDOW_BYTES: u64 = 256 * 1024;

/// The most that one read of the file brings, in bytes. Each reader that is behind the window has one such piece to itself,
/// besides what waits in its connection to be sent (at most 128 KiB, where a crowd was told of so much at once): 500 slow
/// readers hold less than 80 MiB.
const READ_BYTES: usize = 32 * 1024;

/// How long the pen waits for a reader that takes nothing, once the file is lost; then that reader is cut off.
const SLOW_READER_WAIT: Duration = Duration::from_secs(30);

/// A body that is arriving.
pub struct Growing {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// The newest chunks, each with where it begins; the first one begins at `window_start`.
    window: VecDeque<(u64, Bytes)>,
    window_start: u64,
    /// How many bytes have arrived.
    end: u64,
    ending: Ending,
    file: Option<BodyFile>,
    /// While true, all that arrived is in `file` as well.
    is_kept: bool,
    /// Whether the pen keeps the pace of its readers although all is kept.
    is_paced: bool,
    /// Where each reader stands; looked at only when the file is lost or the pen is paced.
    readers: HashMap<u64, u64>,
    next_reader: u64,
    waking: Waking,
}

#[derive(Debug, Clone)]
enum Ending {
    Open,
    Complete,
    Failed(ForwardError),
}

/// The one that writes. Dropped before [`Pen::complete`], it fails the body for all its readers.
pub struct Pen {
    growing: Arc<Growing>,
}

/// One that reads.
pub struct Reader {
    growing: Arc<Growing>,
    id: u64,
    position: u64,
    /// Read no further than this; a range's end.
    limit: u64,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Growing").field("bytes", &self.lock().end).finish_non_exhaustive()
    }
}

impl Growing {
    /// An empty body and the pen to fill it; `file` is where the store keeps what the pen was given, if it does.
    pub fn start(file: Option<BodyFile>) -> (Arc<Self>, Pen) {
        let is_kept = file.is_some();
        let state = State {
            window: VecDeque::new(),
            window_start: 0,
            end: 0,
            ending: Ending::Open,
            file,
            is_kept,
            is_paced: false,
            readers: HashMap::new(),
            next_reader: 0,
            waking: Waking::default(),
        };
        let growing = Arc::new(Self { state: Mutex::new(state), changed: Notify::new() });
        (growing.clone(), Pen { growing })
    }

    /// A reader of the bytes from `start` to before `limit`, or none when the file is lost and those bytes are gone.
    pub fn reader(self: &Arc<Self>, start: u64, limit: u64) -> Option<Reader> {
        let mut state = self.lock();
        if !state.is_kept && start < state.window_start {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, start);
        Some(Reader { growing: self.clone(), id, position: start, limit })
    }

    /// Whether all of it has arrived, as far as its reader can tell: the end came, or the last of so many bytes.
    pub fn has_arrived(&self, content_length: Option<u64>) -> bool {
        let state = self.lock();
        !matches!(state.ending, Ending::Open) || content_length.is_some_and(|length| state.end >= length)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Pen {
    /// Adds a chunk that the store has kept.
    pub fn push_kept(&self, chunk: Bytes) {
        let mut state = self.growing.lock();
        state.push(chunk);
        state.trim_to_window();
        let tells = state.is_waking_due();
        drop(state);
        if tells {
            self.growing.changed.notify_waiters();
        }
    }

    /// Until when a crowd must be told of what has arrived, by [`Pen::tell`]; none when it knows of all.
    pub fn must_tell_at(&self) -> Option<Instant> {
        self.growing.lock().waking.must_tell_at()
    }

    /// Wakes all who wait.
    pub fn tell(&self) {
        self.growing.lock().all_told();
        self.growing.changed.notify_waiters();
    }

    /// Adds a chunk that only memory holds, and waits while the slowest reader is a window behind.
    ///
    /// Returns false when nobody reads any more: the rest need not be fetched.
    pub async fn push_unkept(&self, chunk: Bytes) -> bool {
        {
            let mut state = self.growing.lock();
            state.is_kept = false;
            state.push(chunk);
            state.all_told();
        }
        self.growing.changed.notify_waiters();
        loop {
            let mut changed = std::pin::pin!(self.growing.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.growing.lock();
                state.trim_to_readers();
                if state.readers.is_empty() {
                    return false;
                }
                if state.end - state.window_start <= WINDOW_BYTES {
                    return true;
                }
            }
            if tokio::time::timeout(SLOW_READER_WAIT, changed).await.is_err() {
                self.growing.lock().cut_off_those_behind();
            }
        }
    }

    /// Waits while even the fastest reader is a window behind: the origin then sends no faster than somebody reads.
    ///
    /// Returns false when nobody reads any more.
    pub async fn keep_pace(&self) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.growing.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.growing.lock();
                state.is_paced = true;
                let Some(fastest) = state.readers.values().copied().max() else { return false };
                if state.end.saturating_sub(fastest) <= WINDOW_BYTES {
                    return true;
                }
            }
            if self.must_tell_at().is_some() {
                self.tell(); // who does not know of it cannot read on
                continue;
            }
            changed.await;
        }
    }

    /// The body is whole.
    pub fn complete(self) {
        self.end_with(Ending::Complete);
    }

    /// The body is whole, and these are its bytes: they take the place of the pieces, each of which holds all of the memory
    /// that it was read into.
    pub fn complete_as(self, whole: Bytes) {
        let mut state = self.growing.lock();
        if whole.len() as u64 == state.end {
            state.window_start = 0;
            state.window.clear();
            state.window.push_back((0, whole));
        }
        drop(state);
        self.end_with(Ending::Complete);
    }

    /// The body ends here, incomplete, for this reason.
    pub fn fail(self, why: ForwardError) {
        self.end_with(Ending::Failed(why));
    }

    fn end_with(&self, ending: Ending) {
        let mut state = self.growing.lock();
        if matches!(state.ending, Ending::Open) {
            state.ending = ending;
        }
        state.all_told();
        drop(state);
        self.growing.changed.notify_waiters();
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.end_with(Ending::Failed(ForwardError::ResponseIncomplete { host: String::from("the origin") }));
    }
}

impl State {
    /// Whether the pen may be waiting for a reader to move.
    fn does_pen_wait(&self) -> bool {
        !self.is_kept || self.is_paced
    }

    fn push(&mut self, chunk: Bytes) {
        let start = self.end;
        self.end += chunk.len() as u64;
        self.window.push_back((start, chunk));
    }

    /// Whether readers are to be woken for what has just arrived.
    fn is_waking_due(&mut self) -> bool {
        let told = self.waking.told();
        let is_due = self.waking.is_due(self.end, self.readers.len());
        if is_due {
            waking::join(&mut self.window, told);
        }
        is_due
    }

    fn all_told(&mut self) {
        waking::join(&mut self.window, self.waking.told());
        self.waking.all_told(self.end);
    }

    fn drop_oldest(&mut self) {
        if let Some((start, oldest)) = self.window.pop_front() {
            self.window_start = start + oldest.len() as u64;
        }
    }

    fn trim_to_window(&mut self) {
        while self.end - self.window_start > WINDOW_BYTES && self.window.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Drops what every reader has, as far as the window is too large: what fits stays, for those who are about to join.
    fn trim_to_readers(&mut self) {
        let needed = self.readers.values().copied().min().unwrap_or(self.end);
        while self.end - self.window_start > WINDOW_BYTES
            && self.window.front().is_some_and(|(start, oldest)| start + oldest.len() as u64 <= needed)
        {
            self.drop_oldest();
        }
    }

    /// Cuts off the slowest reader and all who are more than the window behind, so that those who keep up wait once for
    /// them all and not once for each.
    fn cut_off_those_behind(&mut self) {
        let Some(slowest) = self.readers.values().copied().min() else { return };
        let behind = self.end.saturating_sub(WINDOW_BYTES);
        self.readers.retain(|_, position| *position > slowest && *position >= behind);
    }

    /// The part of the window that begins at `position`, if it is there.
    fn window_at(&self, position: u64) -> Option<Bytes> {
        let at = self.window.partition_point(|(start, _)| *start <= position).checked_sub(1)?;
        let (start, chunk) = self.window.get(at)?;
        let skip = usize::try_from(position - start).ok()?;
        (skip < chunk.len()).then(|| chunk.slice(skip..))
    }
}

/// What a reader found under the lock.
enum Found {
    Chunk(Bytes),
    InFile(BodyFile, usize),
    End,
    Failed(BodyError),
    NotYet,
}

impl Reader {
    /// The same reader for a part only; it must not have read yet.
    pub fn narrowed(mut self, range: Range<u64>) -> Self {
        self.position = range.start;
        self.limit = range.end;
        self.note_position();
        self
    }

    /// The next chunk, as soon as there is one; none at the end.
    ///
    /// # Errors
    /// When the origin failed, the file cannot be read, or this reader was too slow for a body that is not kept.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.look() {
            Found::NotYet => {}
            found => return self.take(found).await,
        }
        let growing = self.growing.clone();
        loop {
            let mut changed = std::pin::pin!(growing.changed.notified());
            changed.as_mut().enable();
            // What comes after this look wakes us.
            match self.look() {
                Found::NotYet => changed.await,
                found => return self.take(found).await,
            }
        }
    }

    async fn take(&mut self, found: Found) -> Option<Result<Bytes, BodyError>> {
        match found {
            Found::Chunk(chunk) => Some(Ok(chunk)),
            Found::InFile(file, wanted) => Some(match file.read_at(self.position, wanted).await {
                Ok(chunk) if chunk.is_empty() => Err(BodyError::Store(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(chunk) => Ok(self.advance(chunk)),
                Err(error) => Err(BodyError::Store(error)),
            }),
            Found::Failed(error) => Some(Err(error)),
            Found::End | Found::NotYet => None,
        }
    }

    /// What there is at the position; a chunk of the window is taken.
    fn look(&mut self) -> Found {
        if self.position >= self.limit {
            return Found::End;
        }
        let mut state = self.growing.lock();
        let Some(noted) = state.readers.get(&self.id) else { return Found::Failed(BodyError::TooSlow) };
        debug_assert_eq!(*noted, self.position, "noted whenever it moves");
        if let Some(mut chunk) = state.window_at(self.position) {
            chunk.truncate(usize::try_from(self.limit - self.position).unwrap_or(usize::MAX));
            self.position += chunk.len() as u64;
            state.readers.insert(self.id, self.position);
            let pen_waits = state.does_pen_wait();
            drop(state);
            if pen_waits {
                self.growing.changed.notify_waiters();
            }
            return Found::Chunk(chunk);
        }
        if self.position < state.window_start {
            let there = state.window_start.min(self.limit) - self.position;
            return match &state.file {
                Some(file) => Found::InFile(file.clone(), READ_BYTES.min(usize::try_from(there).unwrap_or(READ_BYTES))),
                None => Found::Failed(BodyError::TooSlow),
            };
        }
        match &state.ending {
            Ending::Open => Found::NotYet,
            Ending::Complete => Found::End,
            Ending::Failed(why) => Found::Failed(BodyError::Origin(why.clone())),
        }
    }

    fn advance(&mut self, mut chunk: Bytes) -> Bytes {
        let left = usize::try_from(self.limit - self.position).unwrap_or(usize::MAX);
        chunk.truncate(left);
        self.position += chunk.len() as u64;
        self.note_position();
        chunk
    }

    /// Tells where this reader stands; the pen may be waiting for it.
    fn note_position(&self) {
        let mut state = self.growing.lock();
        if let Some(position) = state.readers.get_mut(&self.id) {
            *position = self.position;
        }
        let pen_waits = state.does_pen_wait();
        drop(state);
        if pen_waits {
            self.growing.changed.notify_waiters();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.growing.lock();
        state.readers.remove(&self.id);
        let pen_waits = state.does_pen_wait();
        drop(state);
        if pen_waits {
            self.growing.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut reader: Reader) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        while let Some(chunk) = reader.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn readers_see_what_is_there_and_then_what_comes() {
        let (growing, pen) = Growing::start(None);
        let early = growing.reader(0, u64::MAX).unwrap();
        let (range, whole) = (growing.reader(2, 5).unwrap(), tokio::spawn(read_all(early)));
        assert!(pen.push_unkept(Bytes::from_static(b"abc")).await);
        assert!(pen.push_unkept(Bytes::from_static(b"def")).await);
        pen.complete();
        assert_eq!(whole.await.unwrap().unwrap(), b"abcdef");
        assert_eq!(read_all(range).await.unwrap(), b"cde");
    }

    #[tokio::test]
    async fn one_joins_a_body_that_is_not_kept_while_its_beginning_is_there() {
        let (growing, pen) = Growing::start(None);
        let early = tokio::spawn(read_all(growing.reader(0, u64::MAX).unwrap()));
        let chunk = Bytes::from(vec![7u8; 100_000]);
        assert!(pen.push_unkept(chunk.clone()).await);
        let late = tokio::spawn(read_all(growing.reader(0, u64::MAX).unwrap()));
        for _ in 0..3 {
            assert!(pen.push_unkept(chunk.clone()).await);
        }
        assert!(growing.reader(0, 9).is_none(), "the window has moved on");
        pen.complete();
        for reader in [early, late] {
            assert_eq!(reader.await.unwrap().unwrap().len(), 400_000);
        }
    }

    #[tokio::test]
    async fn a_pen_that_is_dropped_never_makes_a_part_look_whole() {
        let (growing, pen) = Growing::start(None);
        let reader = growing.reader(0, u64::MAX).unwrap();
        assert!(pen.push_unkept(Bytes::from_static(b"half")).await);
        drop(pen);
        assert!(matches!(read_all(reader).await, Err(BodyError::Origin(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_cut_off_and_the_others_go_on() {
        let (growing, pen) = Growing::start(None);
        let mut idle = growing.reader(0, u64::MAX).unwrap();
        let busy = tokio::spawn(read_all(growing.reader(0, u64::MAX).unwrap()));
        let chunk = Bytes::from(vec![7u8; 100_000]);
        for _ in 0..5 {
            assert!(pen.push_unkept(chunk.clone()).await);
        }
        pen.complete();
        assert_eq!(busy.await.unwrap().unwrap().len(), 500_000);
        assert!(matches!(idle.next().await, Some(Err(BodyError::TooSlow))));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_keep_up_wait_once_for_all_who_stand_still() {
        let (growing, pen) = Growing::start(None);
        let idle: Vec<_> = (0..30).map(|_| growing.reader(0, u64::MAX).unwrap()).collect();
        let busy = tokio::spawn(read_all(growing.reader(0, u64::MAX).unwrap()));
        let begun = Instant::now();
        for _ in 0..5 {
            assert!(pen.push_unkept(Bytes::from(vec![7u8; 100_000])).await);
        }
        pen.complete();
        assert_eq!(busy.await.unwrap().unwrap().len(), 500_000);
        assert!(begun.elapsed() < 2 * SLOW_READER_WAIT, "{:?}", begun.elapsed());
        drop(idle);
    }

    #[tokio::test]
    async fn a_paced_pen_waits_for_whoever_reads_fastest() {
        let (growing, pen) = Growing::start(None);
        let (mut fast, slow) = (growing.reader(0, u64::MAX).unwrap(), growing.reader(0, u64::MAX).unwrap());
        pen.push_kept(Bytes::from(vec![7u8; 300_000]));
        let mut pace = Box::pin(pen.keep_pace());
        assert!(futures_util::poll!(&mut pace).is_pending());
        assert_eq!(fast.next().await.unwrap().unwrap().len(), 300_000);
        assert!(pace.await);
        drop((fast, slow));
        assert!(!pen.keep_pace().await, "nobody reads any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_told_of_all_that_has_arrived_by_a_moment_later() {
        let (growing, pen) = Growing::start(None);
        let mut crowd: Vec<_> = (0..waking::CROWD).map(|_| growing.reader(0, u64::MAX).unwrap()).collect();
        pen.push_kept(Bytes::from_static(b"first"));
        assert_eq!(crowd[0].next().await.unwrap().unwrap(), "first");
        let mut next = Box::pin(crowd[0].next());
        assert!(futures_util::poll!(&mut next).is_pending());
        pen.push_kept(Bytes::from_static(b"second"));
        assert!(pen.must_tell_at().is_some());
        pen.tell();
        assert!(pen.must_tell_at().is_none());
        assert_eq!(next.await.unwrap().unwrap(), "second");
        pen.complete();
        assert!(crowd[0].next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_paced_pen_tells_a_crowd_before_it_waits_for_it() {
        let (growing, pen) = Growing::start(None);
        let mut crowd: Vec<_> = (0..waking::CROWD).map(|_| growing.reader(0, u64::MAX).unwrap()).collect();
        for bytes in [1, 10_000] {
            pen.push_kept(Bytes::from(vec![7u8; bytes]));
        }
        assert_eq!(crowd[0].next().await.unwrap().unwrap().len(), 1);
        assert!(pen.keep_pace().await && pen.must_tell_at().is_some(), "it need not wait");
        growing.lock().push(Bytes::from(vec![7u8; 300_000]));
        let mut pace = Box::pin(pen.keep_pace());
        assert!(futures_util::poll!(&mut pace).is_pending());
        assert!(pen.must_tell_at().is_none());
        assert_eq!(crowd[0].next().await.unwrap().unwrap().len(), 310_000, "in one piece");
        assert!(pace.await);
    }

    #[tokio::test]
    async fn a_whole_body_takes_the_place_of_its_pieces() {
        let (growing, pen) = Growing::start(None);
        let mut reader = growing.reader(0, u64::MAX).unwrap();
        pen.push_kept(Bytes::from_static(b"abc"));
        pen.push_kept(Bytes::from_static(b"def"));
        assert_eq!(reader.next().await.unwrap().unwrap(), "abc");
        let whole = Bytes::from(b"abcdef".to_vec());
        pen.complete_as(whole.clone());
        let rest = reader.next().await.unwrap().unwrap();
        assert_eq!((&rest[..], rest.as_ptr()), (&b"def"[..], whole[3..].as_ptr()));
        assert!(reader.next().await.is_none());
        assert_eq!(growing.lock().window.len(), 1);
        assert_eq!(read_all(growing.reader(1, 5).unwrap()).await.unwrap(), b"bcde");
        let (growing, pen) = Growing::start(None);
        pen.push_kept(Bytes::from_static(b"abc"));
        pen.complete_as(Bytes::from_static(b"ab"));
        assert_eq!(read_all(growing.reader(0, u64::MAX).unwrap()).await.unwrap(), b"abc", "that is another body");
    }

    #[tokio::test]
    async fn without_readers_an_unkept_body_is_given_up() {
        let (growing, pen) = Growing::start(None);
        drop(growing.reader(0, u64::MAX));
        assert!(!pen.push_unkept(Bytes::from_static(b"nobody wants this")).await);
    }
}
