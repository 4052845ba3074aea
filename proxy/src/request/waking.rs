//! When those who read a body that is arriving are woken.
//!
//! A few readers are woken for every piece. A crowd is woken for a handful of pieces at a time, at the latest a moment after
//! they came, and the larger it is, the longer that moment: five hundred wake-ups and writes for each 16 KiB were most of
//! what a crowd cost.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

/// So many readers are a crowd.
pub const CROWD: usize = 32;

/// The longest that a small crowd is not told of what has arrived: an eye does not notice it.
pub const WAKE_AFTER: Duration = Duration::from_millis(20);

/// The longest that any crowd is not told: a page that builds up in front of a class still does so in small steps.
const WAKE_AFTER_MAX: Duration = Duration::from_millis(100);

/// What a crowd's pause has for each of its readers. Waking one and writing to his socket takes some 10 microseconds, so that
/// this leaves a crowd a twentieth of a processor, as long as the pause may grow.
const PAUSE_A_READER: Duration = Duration::from_micros(200);

/// A small crowd is woken for so many bytes.
pub const WAKE_BYTES: u64 = 64 * 1024;

/// Any crowd is woken for so many bytes: half of what a body's newest part is in memory, so that those who keep up find it
/// there.
const WAKE_BYTES_MAX: u64 = 128 * 1024;

/// Up to where the readers of one body were woken.
#[derive(Debug, Default)]
pub struct Waking {
    told: u64,
    /// By when they must be woken for what has come since.
    must_tell_at: Option<Instant>,
}

/// How long a crowd of so many readers may be left untold, and of how many bytes.
fn hold_back(readers: usize) -> (Duration, u64) {
    let readers = u32::try_from(readers).unwrap_or(u32::MAX);
    let after = PAUSE_A_READER.saturating_mul(readers).clamp(WAKE_AFTER, WAKE_AFTER_MAX);
    let bytes = if after > WAKE_AFTER { WAKE_BYTES_MAX } else { WAKE_BYTES };
    (after, bytes)
}

impl Waking {
    /// Whether so many readers are to be woken now that the body has arrived up to `end`. The first bytes are never held
    /// back: they are what everybody waits for.
    pub fn is_due(&mut self, end: u64, readers: usize) -> bool {
        let (after, bytes) = hold_back(readers);
        let is_enough = readers < CROWD || self.told == 0 || end.saturating_sub(self.told) >= bytes;
        let is_due = is_enough || self.must_tell_at.is_some_and(|at| at <= Instant::now());
        if is_due {
            self.all_told(end);
        } else {
            self.must_tell_at.get_or_insert_with(|| Instant::now() + after);
        }
        is_due
    }

    /// Up to where they were woken.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// All readers are woken, or about to be.
    pub fn all_told(&mut self, end: u64) {
        (self.told, self.must_tell_at) = (end, None);
    }

    /// By when readers must be woken; none when they know of all that has arrived.
    pub fn must_tell_at(&self) -> Option<Instant> {
        self.must_tell_at
    }
}

/// Puts the pieces of a body together that a crowd is to be told of, those that begin at `from` or later: one copy here in
/// place of a piece of a write, or a frame, for each of them and each reader.
pub fn join(pieces: &mut VecDeque<(u64, Bytes)>, from: u64) {
    let first = pieces.partition_point(|(start, _)| *start < from);
    let untold = pieces.range(first..);
    let (Some(&(start, _)), 2..) = (pieces.get(first), untold.len()) else { return };
    let mut joined = BytesMut::with_capacity(untold.map(|(_, piece)| piece.len()).sum());
    pieces.drain(first..).for_each(|(_, piece)| joined.extend_from_slice(&piece));
    pieces.push_back((start, joined.freeze()));
}

/// Waits for what brings a body on. If that takes longer than until `must_tell_at`, `tell` wakes the readers meanwhile.
pub async fn telling<F: Future>(must_tell_at: Option<Instant>, tell: impl FnOnce(), next: F) -> F::Output {
    let mut next = pin!(next);
    if let Some(at) = must_tell_at {
        match timeout_at(at, next.as_mut()).await {
            Ok(next) => return next,
            Err(_) => tell(),
        }
    }
    next.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_woken_for_a_handful_of_pieces_and_soon() {
        let mut waking = Waking::default();
        assert!(waking.is_due(10, CROWD), "nobody waits longer than he must for the first byte");
        for (end, is_due) in [(20, false), (30, false), (10 + WAKE_BYTES, true), (20 + WAKE_BYTES, false)] {
            assert_eq!(waking.is_due(end, CROWD), is_due, "{end}");
            assert_eq!(waking.must_tell_at().is_none(), is_due, "{end}");
        }
        assert_eq!(waking.must_tell_at(), Some(Instant::now() + WAKE_AFTER));
        tokio::time::advance(WAKE_AFTER).await;
        assert!(waking.is_due(30 + WAKE_BYTES, CROWD), "it is late");
        assert!(!waking.is_due(40 + WAKE_BYTES, CROWD));
        waking.all_told(40 + WAKE_BYTES);
        assert_eq!(waking.must_tell_at(), None);
        assert!(waking.is_due(50 + WAKE_BYTES, CROWD - 1), "these few are no crowd");
    }

    #[tokio::test(start_paused = true)]
    async fn a_larger_crowd_is_woken_less_often() {
        for (readers, after_ms, bytes) in [
            (CROWD, 20, WAKE_BYTES),
            (100, 20, WAKE_BYTES),
            (250, 50, WAKE_BYTES_MAX),
            (500, 100, WAKE_BYTES_MAX),
            (usize::MAX, 100, WAKE_BYTES_MAX),
        ] {
            let mut waking = Waking::default();
            assert!(waking.is_due(1, readers), "{readers}: the first byte");
            assert!(!waking.is_due(bytes, readers), "{readers}");
            assert_eq!(waking.must_tell_at(), Some(Instant::now() + Duration::from_millis(after_ms)), "{readers}");
            assert!(waking.is_due(1 + bytes, readers), "{readers}");
        }
    }

    #[test]
    fn what_a_crowd_is_told_of_is_one_piece() {
        let pieces = || VecDeque::from([(7, Bytes::from("ab")), (9, Bytes::from("c")), (10, Bytes::from("def"))]);
        for (from, expected) in [
            (0, vec![(7, "abcdef")]),
            (8, vec![(7, "ab"), (9, "cdef")]),
            (10, vec![(7, "ab"), (9, "c"), (10, "def")]),
            (13, vec![(7, "ab"), (9, "c"), (10, "def")]),
        ] {
            let mut joined = pieces();
            join(&mut joined, from);
            assert_eq!(
                joined,
                expected.iter().map(|&(at, text)| (at, Bytes::from(text))).collect::<Vec<_>>(),
                "{from}"
            );
        }
        join(&mut VecDeque::new(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_next_piece_tells_of_the_last_in_time() {
        let (begun, mut told) = (Instant::now(), None);
        let at = Some(begun + WAKE_AFTER);
        telling(at, || told = Some(begun.elapsed()), tokio::time::sleep(WAKE_AFTER * 5)).await;
        assert_eq!((told, begun.elapsed()), (Some(WAKE_AFTER), WAKE_AFTER * 5));
        let at = Some(Instant::now() + WAKE_AFTER);
        telling(at, || panic!("it came in time"), tokio::time::sleep(WAKE_AFTER / 2)).await;
    }
}
