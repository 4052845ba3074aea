//! How old a stored response is. RFC 9111 §4.2.3, §5.1.

use std::time::{Duration, SystemTime};

use http::header::{AGE, HeaderMap};

use crate::delta_seconds::{elapsed, parse_delta_seconds, plus};

/// How far the clock may have been set back since a response came before its age counts as unknown. Time servers
/// correct a running clock by seconds; a step of more means that the clock was wrong before or is wrong now.
pub const CLOCK_BACK_MAX: Duration = Duration::from_secs(300);

/// When a response was asked for, came, and says that it was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgeBasis {
    pub(crate) request_time: SystemTime,
    pub(crate) response_time: SystemTime,
    pub(crate) date: SystemTime,
    pub(crate) age_value: Duration,
}

impl AgeBasis {
    /// The age that the response had when it came: the larger of what its `Date` and what its `Age` say.
    pub(crate) fn corrected_initial_age(&self) -> Duration {
        let apparent = elapsed(self.date, self.response_time);
        let corrected = plus(self.age_value, elapsed(self.request_time, self.response_time));
        apparent.max(corrected)
    }

    /// How long the response has been here; `None` when the clock was set back meanwhile, so that nobody knows.
    pub(crate) fn resident_time(&self, now: SystemTime) -> Option<Duration> {
        match now.duration_since(self.response_time) {
            Ok(resident) => Some(resident),
            Err(back) => (back.duration() <= CLOCK_BACK_MAX).then_some(Duration::ZERO),
        }
    }
}

/// The value of `Age`: the first member of the first line, digits only; anything else counts as no `Age` at all.
/// RFC 9111 §5.1.
pub(crate) fn age_value(headers: &HeaderMap) -> Duration {
    headers
        .get(AGE)
        .and_then(|line| parse_delta_seconds(line.as_bytes().split(|&byte| byte == b',').next()?.trim_ascii()))
        .unwrap_or_default()
}
