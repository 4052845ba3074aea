//! Non-negative whole seconds that never overflow. RFC 9111 §1.2.2.

use std::time::{Duration, SystemTime};

/// What any number too large to represent counts as: 2^31 seconds, 68 years (RFC 9111 §1.2.2).
pub const DELTA_SECONDS_MAX: u64 = 1 << 31;

/// Reads a `delta-seconds`: ASCII digits and nothing else. Larger numbers saturate at [`DELTA_SECONDS_MAX`].
pub fn parse_delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .map_or(DELTA_SECONDS_MAX, |seconds| seconds.min(DELTA_SECONDS_MAX));
    Some(Duration::from_secs(seconds))
}

/// `later - earlier`, or zero when the clock says that it is not later.
pub(crate) fn elapsed(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// A sum of durations that stays in range.
pub(crate) fn plus(a: Duration, b: Duration) -> Duration {
    a.saturating_add(b).min(Duration::from_secs(2 * DELTA_SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_digits_and_saturate() {
        // RFC 9111 §1.2.2
        for (text, expected) in [
            ("0", Some(0)),
            ("3600", Some(3600)),
            ("003600", Some(3600)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(DELTA_SECONDS_MAX)),
            ("99999999999", Some(DELTA_SECONDS_MAX)),
            ("99999999999999999999999999", Some(DELTA_SECONDS_MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("3600.0", None),
            (" 3600", None),
            ("'3600'", None),
            ("abc", None),
            ("٣", None),
        ] {
            assert_eq!(parse_delta_seconds(text.as_bytes()), expected.map(Duration::from_secs), "{text}");
        }
    }
}
