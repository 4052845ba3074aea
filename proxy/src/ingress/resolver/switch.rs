//! Whether names lead to the box: only while it serves, so that a box that fails or stops means the plain Internet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// Not paused.
const NEVER: u64 = 0;

/// Paused until told otherwise.
const FOR_EVER: u64 = u64::MAX;

/// The switch. Names lead to the box while its doors are open, it is not draining and nobody has paused it. It is in
/// memory alone: a box that starts again serves.
#[derive(Debug)]
pub struct Switch {
    doors_open: AtomicBool,
    /// Until when, in milliseconds since 1970.
    paused_until: AtomicU64,
    shutdown: Shutdown,
    clock: Clock,
}

/// Whether names lead to the box, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leading {
    /// They do.
    Yes,
    /// The doors are not open yet, or have closed.
    Closed,
    /// The box is stopping.
    Draining,
    /// Somebody has paused it; until then, or until it is resumed.
    Paused(Option<SystemTime>),
}

impl Switch {
    /// Off until [`Switch::doors_are_open`].
    pub fn new(shutdown: Shutdown, clock: Clock) -> Self {
        Self { doors_open: AtomicBool::new(false), paused_until: AtomicU64::new(NEVER), shutdown, clock }
    }

    /// Says whether connections are taken.
    pub fn doors_are_open(&self, open: bool) {
        self.doors_open.store(open, Ordering::Release);
    }

    /// Lets names lead where they lead without the box, for a time or until [`Switch::resume`].
    pub fn pause(&self, time: Option<Duration>) {
        let until = time.map_or(FOR_EVER, |time| millis(self.clock.now() + time).clamp(NEVER + 1, FOR_EVER - 1));
        self.paused_until.store(until, Ordering::Release);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.paused_until.store(NEVER, Ordering::Release);
    }

    /// Whether names lead to the box.
    pub fn leading(&self) -> Leading {
        if self.shutdown.is_draining() {
            return Leading::Draining;
        }
        if !self.doors_open.load(Ordering::Acquire) {
            return Leading::Closed;
        }
        match self.paused_until.load(Ordering::Acquire) {
            NEVER => Leading::Yes,
            FOR_EVER => Leading::Paused(None),
            until if until > millis(self.clock.now()) => {
                Leading::Paused(Some(UNIX_EPOCH + Duration::from_millis(until)))
            }
            _ => Leading::Yes,
        }
    }

    /// Whether the box is stopping: its own names then lead nowhere either.
    pub(super) fn leads(&self) -> bool {
        self.leading() == Leading::Yes
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_the_box_only_while_it_serves() {
        let clock = Clock::held(UNIX_EPOCH + Duration::from_secs(1_000));
        let shutdown = Shutdown::new();
        let switch = Switch::new(shutdown.clone(), clock.clone());
        assert_eq!(switch.leading(), Leading::Closed);
        switch.doors_are_open(true);
        assert_eq!(switch.leading(), Leading::Yes);

        switch.pause(Some(Duration::from_secs(60)));
        assert_eq!(switch.leading(), Leading::Paused(Some(UNIX_EPOCH + Duration::from_secs(1_060))));
        clock.advance(Duration::from_secs(60));
        assert_eq!(switch.leading(), Leading::Yes, "the pause is over by itself");

        switch.pause(None);
        clock.advance(Duration::from_secs(100_000));
        assert_eq!(switch.leading(), Leading::Paused(None));
        switch.resume();
        assert_eq!(switch.leading(), Leading::Yes);

        shutdown.ask();
        assert_eq!(switch.leading(), Leading::Draining);
        switch.doors_are_open(false);
        assert!(!switch.leads());
    }
}
