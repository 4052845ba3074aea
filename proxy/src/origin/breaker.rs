//! Whether an origin gets requests at the moment, decided from what it did with the last ones. No clock, no I/O.

use std::time::{Duration, SystemTime};

/// The first pause after failures; each further one is twice as long.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// From so many pleas for a pause in a row on, without an ordinary answer in between, they count for the whole origin. A
/// single page that is refused is no reason to hold back the others.
const PLEAS_MIN: u32 = 3;

/// The memory of one origin's failures.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    /// Pleas for a pause, in a row.
    pleas: u32,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    /// When it began, so that a clock that steps back cannot make it longer.
    since: SystemTime,
    length: Duration,
    /// Whether one request is out to see if the origin is back.
    is_probed: bool,
}

/// What a request may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Go, as usual.
    Normal,
    /// Go, alone: whether the others may follow depends on what becomes of it.
    Probe,
    /// Don't go; try again after this time.
    Refused(Duration),
}

impl Breaker {
    /// Decides about one request. After [`Admission::Probe`], one of the other methods must be called.
    pub(super) fn admit(&mut self, now: SystemTime) -> Admission {
        let Some(pause) = &mut self.pause else { return Admission::Normal };
        match pause.remaining(now) {
            Some(rest) => Admission::Refused(rest),
            None if pause.is_probed => Admission::Refused(BACK_OFF_FIRST),
            None => {
                pause.is_probed = true;
                Admission::Probe
            }
        }
    }

    /// Whether a request would be refused, without taking the probe.
    pub(super) fn refuses(&self, now: SystemTime) -> Option<Duration> {
        let pause = self.pause.as_ref()?;
        pause.remaining(now).or(pause.is_probed.then_some(BACK_OFF_FIRST))
    }

    /// The origin answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The origin could not be reached or did not answer. `failures_max` in a row begin a pause.
    pub(super) fn failed(&mut self, now: SystemTime, failures_max: u32, back_off_max: Duration) {
        self.failures = self.failures.saturating_add(1);
        let length = match &self.pause {
            // Requests that left before the pause began come back during it; they say nothing new.
            Some(pause) if !pause.is_probed => return,
            Some(pause) => pause.length.max(BACK_OFF_FIRST).saturating_mul(2),
            None if self.failures < failures_max => return,
            None => BACK_OFF_FIRST,
        };
        self.pause = Some(Pause { since: now, length: length.min(back_off_max), is_probed: false });
    }

    /// The origin asked for a pause (429 or 503 with `Retry-After`).
    pub(super) fn asked_to_wait(&mut self, now: SystemTime, length: Duration) {
        let was_paused = self.pause.is_some();
        self.failures = 0;
        self.pleas = self.pleas.saturating_add(1);
        let counts = !length.is_zero() && (was_paused || self.pleas >= PLEAS_MIN);
        self.pause = counts.then_some(Pause { since: now, length, is_probed: false });
    }

    /// The probe ended without a verdict: its client left. The next request is the probe.
    pub(super) fn probe_abandoned(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.is_probed = false;
        }
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_at_rest(&self) -> bool {
        self.failures == 0 && self.pleas == 0 && self.pause.is_none()
    }
}

impl Pause {
    fn remaining(&self, now: SystemTime) -> Option<Duration> {
        // A clock that stepped back ends the pause: too early is harmless, too late is an outage.
        let passed = now.duration_since(self.since).ok()?;
        self.length.checked_sub(passed).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const MAX: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn failures_in_a_row_begin_a_pause_and_success_ends_it() {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            breaker.failed(at(0), 3, MAX);
            assert_eq!(breaker.admit(at(0)), Admission::Normal);
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(at(0), 3, MAX);
            assert_eq!(breaker.admit(at(0)), Admission::Normal, "a success starts the count anew");
        }
        breaker.failed(at(0), 3, MAX);
        assert_eq!(breaker.admit(at(0)), Admission::Refused(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(1)), Admission::Probe);
        assert_eq!(breaker.admit(at(1)), Admission::Refused(BACK_OFF_FIRST), "one probe at a time");
        breaker.succeeded();
        assert_eq!(breaker.admit(at(1)), Admission::Normal);
        assert!(breaker.is_at_rest());
    }

    #[test]
    fn pauses_double_up_to_the_limit() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 1, MAX);
        let mut now = 0;
        for length in [1, 2, 4, 4] {
            assert_eq!(breaker.refuses(at(now)), Some(Duration::from_secs(length)));
            now += length;
            assert_eq!(breaker.admit(at(now)), Admission::Probe);
            breaker.failed(at(now), 1, MAX);
        }
    }

    #[test]
    fn late_failures_do_not_make_a_pause_longer() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(at(0), 3, MAX);
        }
        assert_eq!(breaker.refuses(at(0)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn an_abandoned_probe_lets_the_next_one_go() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 1, MAX);
        assert_eq!(breaker.admit(at(1)), Admission::Probe);
        breaker.probe_abandoned();
        assert_eq!(breaker.admit(at(1)), Admission::Probe);
    }

    #[test]
    fn an_origin_may_ask_for_a_pause() {
        let mut breaker = Breaker::default();
        for _ in 1..PLEAS_MIN {
            breaker.asked_to_wait(at(0), Duration::from_secs(7));
            assert_eq!(breaker.admit(at(0)), Admission::Normal, "it may be about one page");
        }
        breaker.succeeded();
        for _ in 0..PLEAS_MIN {
            assert_eq!(breaker.admit(at(0)), Admission::Normal, "an ordinary answer starts the count anew");
            breaker.asked_to_wait(at(0), Duration::from_secs(7));
        }
        assert_eq!(breaker.admit(at(6)), Admission::Refused(Duration::from_secs(1)));
        assert_eq!(breaker.admit(at(7)), Admission::Probe);
        breaker.asked_to_wait(at(7), Duration::ZERO);
        assert_eq!(breaker.admit(at(7)), Admission::Normal);
    }

    #[test]
    fn a_clock_that_steps_back_ends_the_pause() {
        let mut breaker = Breaker::default();
        (0..PLEAS_MIN).for_each(|_| breaker.asked_to_wait(at(1000), Duration::from_secs(7)));
        assert_eq!(breaker.admit(at(0)), Admission::Probe);
    }
}
