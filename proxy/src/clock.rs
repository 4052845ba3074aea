//! The one place that reads the time, so that a test can hold it still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time of day; cheap to clone. Every room takes one instead of asking the system.
///
/// Time-outs of sockets use tokio's timer; what a *decision* depends on (age, windows, days) comes from here.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    /// Milliseconds since 1970; moves only when told to.
    Held(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `at` until [`Clock::advance`] or [`Clock::set`] moves it; clones move together.
    pub fn held(at: SystemTime) -> Self {
        let clock = Self(Source::Held(Arc::default()));
        clock.set(at);
        clock
    }

    /// The time now, to the millisecond when held.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Held(millis) => UNIX_EPOCH + Duration::from_millis(millis.load(Ordering::Acquire)),
        }
    }

    /// Moves a held clock forward; a system clock does not listen.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets a held clock, backwards too (clocks of small boxes do step); a system clock does not listen.
    pub fn set(&self, to: SystemTime) {
        if let Source::Held(millis) = &self.0 {
            let since = to.duration_since(UNIX_EPOCH).unwrap_or_default();
            millis.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        }
    }
}
