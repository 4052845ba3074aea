//! The night's own time: it measures and waits in one, so that a test's night needs no waiting.

use std::time::{Duration, Instant};

/// Time since the night began. Not the wall clock, which small boxes set while they run.
#[derive(Debug, Clone)]
pub(super) enum Pulse {
    /// The machine's time.
    Machine(Instant),
    /// A held clock that jumps ahead instead of waiting.
    #[cfg(test)]
    Held {
        /// The clock, which others may hold too.
        clock: crate::clock::Clock,
        /// Where it stood.
        begun: std::time::SystemTime,
    },
}

impl Pulse {
    pub(super) fn begin() -> Self {
        Self::Machine(Instant::now())
    }

    #[cfg(test)]
    pub(super) fn held(clock: crate::clock::Clock) -> Self {
        let begun = clock.now();
        Self::Held { clock, begun }
    }

    /// Time since the night began.
    pub(super) fn now(&self) -> Duration {
        match self {
            Self::Machine(begun) => begun.elapsed(),
            #[cfg(test)]
            Self::Held { clock, begun } => clock.now().duration_since(*begun).unwrap_or_default(),
        }
    }

    /// Waits until that much time has passed since the night began.
    pub(super) async fn until(&self, at: Duration) {
        match self {
            Self::Machine(begun) => tokio::time::sleep_until((*begun + at).into()).await,
            #[cfg(test)]
            Self::Held { clock, begun } => {
                // Whatever is under way comes first: time stands still while there is work.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                if clock.now() < *begun + at {
                    clock.set(*begun + at);
                }
            }
        }
    }
}
