//! When those who read a body that is arriving are woken.
//!
//! A few readers are woken for every piece. A crowd is woken for a handful of pieces at a time, at the latest a moment after
//! they came: five hundred wake-ups and writes for each 16 KiB were most of what a crowd cost.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::ForwardError;
use crate::origin::OriginBody;

/// So many readers are a crowd.
pub const CROWD: usize = 32;

/// A crowd is woken for so many bytes; one write to a socket takes as many.
pub const WAKE_BYTES: u64 = 64 * 1024;

/// The longest that a crowd is not told of what has arrived: an eye does not notice it.
pub const WAKE_AFTER: Duration = Duration::from_millis(20);

/// Up to where the readers of one body were woken.
#[derive(Debug, Default)]
pub struct Waking {
    told: u64,
    /// When the first bytes came that they were not woken for.
    untold_since: Option<Instant>,
}

impl Waking {
    /// Whether so many readers are to be woken now that the body has arrived up to `end`. The first bytes are never held
    /// back: they are what everybody waits for.
    pub fn is_due(&mut self, end: u64, readers: usize) -> bool {
        let is_enough = readers < CROWD || self.told == 0 || end.saturating_sub(self.told) >= WAKE_BYTES;
        let is_due = is_enough || self.untold_since.is_some_and(|since| since.elapsed() >= WAKE_AFTER);
        if is_due {
            self.all_told(end);
        } else {
            self.untold_since.get_or_insert_with(Instant::now);
        }
        is_due
    }

    /// All readers are woken, or about to be.
    pub fn all_told(&mut self, end: u64) {
        (self.told, self.untold_since) = (end, None);
    }

    /// By when readers must be woken; none when they know of all that has arrived.
    pub fn must_tell_at(&self) -> Option<Instant> {
        self.untold_since.map(|since| since + WAKE_AFTER)
    }
}

/// The next frame of an origin's content. If it does not come before `must_tell_at`, `tell` wakes the readers.
pub async fn next_frame(
    body: &mut OriginBody,
    must_tell_at: Option<Instant>,
    tell: impl FnOnce(),
) -> Option<Result<http_body::Frame<bytes::Bytes>, ForwardError>> {
    if let Some(at) = must_tell_at {
        match timeout_at(at, body.frame()).await {
            Ok(frame) => return frame,
            Err(_) => tell(),
        }
    }
    body.frame().await
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
}
