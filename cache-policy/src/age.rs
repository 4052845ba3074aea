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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoredHead;
    use crate::testing::{at, fields, get, s, stored, t0};

    #[test]
    fn the_first_member_of_age_counts_and_only_digits() {
        // RFC 9111 §5.1; the watch list of the conformance suite
        for (lines, expected) in [
            (&["7200"][..], 7200),
            (&["7200, 0"], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["0", "7200"], 0),
            (&["0, 0"], 0),
            (&["3600", "3600"], 3600),
            (&["2147483647"], 2_147_483_647),
            (&["2147483648"], 1 << 31),
            (&["2147483649"], 1 << 31),
            (&["99999999999999999999"], 1 << 31),
            (&["7200.0"], 0),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200;foo=bar"], 0),
            (&[""], 0),
            (&[], 0),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
            assert_eq!(age_value(&fields(&lines)), s(expected), "{lines:?}");
        }
    }

    #[test]
    fn age_grows_from_the_larger_of_date_and_age() {
        // RFC 9111 §4.2.3
        for (lines, request_before_s, now_s, expected) in [
            (&[][..], 0, 0, 0),
            (&[], 0, 60, 60),
            (&[("age", "30")], 0, 60, 90),
            (&[("date", "@-100")], 0, 60, 160),
            (&[("date", "@-100"), ("age", "30")], 0, 60, 160),
            (&[("date", "@-10"), ("age", "30")], 0, 60, 90),
            (&[("date", "@86400")], 0, 60, 60), // the origin's clock is a day ahead
            (&[("age", "30")], 7, 60, 97),      // the answer took seven seconds
            (&[("date", "@-5")], 7, 60, 67),
            (&[("age", "99999999999")], 0, 60, (1 << 31) + 60),
        ] {
            let mut parts = stored(lines).into_parts();
            parts.request_time = t0() - s(request_before_s);
            let asked = get(&[]);
            let head = StoredHead::from_parts(parts, &asked.rule, &asked.options);
            assert_eq!(head.current_age(at(now_s)), s(expected), "{lines:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_fresh_for_ever() {
        let head = stored(&[("cache-control", "max-age=3600")]);
        assert!(head.is_fresh(t0() - s(60)), "a small correction changes nothing");
        assert_eq!(head.current_age(t0() - s(60)), s(0));
        for back in [CLOCK_BACK_MAX + s(1), s(3600), s(86_400 * 365 * 50)] {
            assert!(!head.is_fresh(t0() - back));
            assert_eq!(head.stale_for(t0() - back), None);
            assert_eq!(head.current_age(t0() - back), s(0), "never negative");
        }
        assert!(!head.is_fresh(t0() + s(30 * 86_400)), "a step of a month forward");
    }

    #[test]
    fn a_response_that_came_before_the_clock_was_set_is_stale_afterwards() {
        let mut parts = stored(&[("cache-control", "max-age=3600")]).into_parts();
        (parts.request_time, parts.response_time) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + s(1));
        let asked = get(&[]);
        let head = StoredHead::from_parts(parts, &asked.rule, &asked.options);
        assert!(head.is_fresh(SystemTime::UNIX_EPOCH + s(60)));
        assert!(!head.is_fresh(t0()));
    }
}
