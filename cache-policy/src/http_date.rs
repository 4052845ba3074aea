//! Dates as HTTP writes them: read strictly, three formats and nothing near them. RFC 9110 §5.6.7.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AsHeaderName, HeaderMap, HeaderValue};

use crate::field;

/// Reads a date in IMF-fixdate, RFC 850 or asctime form; letters in any case, everything else exact.
///
/// `now` decides the century of an RFC 850 year: one that seems more than 50 years ahead is in the past.
/// A leap second counts as the second before it. The name of the weekday must be one but is not compared with the date.
pub fn parse_http_date(text: &[u8], now: SystemTime) -> Option<SystemTime> {
    imf_fixdate(text).or_else(|| asctime(text)).or_else(|| rfc850(text, now)).and_then(Civil::into_time)
}

/// Writes an IMF-fixdate, in GMT. Times outside the years 1970 to 9999 are brought to the nearest end.
pub fn format_http_date(time: SystemTime) -> HeaderValue {
    /// 31 December 9999, 23:59:59: the last second that four digits can name.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + since)).expect("a date is visible ASCII")
}

/// The date in a field that came exactly once. A second line makes the field invalid (RFC 9110 §5.3).
pub(crate) fn date_field<N: AsHeaderName>(headers: &HeaderMap, name: N, now: SystemTime) -> Option<SystemTime> {
    parse_http_date(field::single(headers, name)?.as_bytes(), now)
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    fn into_time(self) -> Option<SystemTime> {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days_in_month = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let in_range = self.day >= 1
            && self.day <= days_in_month[self.month as usize - 1]
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60;
        if !in_range {
            return None;
        }
        // Years counted from March, so that the leap day is a year's last (the usual civil-calendar trick).
        let (year, month) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year.checked_sub(1)?, self.month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + self.day - 1;
        /// Days from 1 March of the year 0 to 1 January 1970.
        const EPOCH_DAYS: u64 = 719_468;
        let time_of_day = self.hour * 3600 + self.minute * 60 + self.second.min(59);
        match days.checked_sub(EPOCH_DAYS) {
            Some(days) => UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + time_of_day)),
            None => UNIX_EPOCH.checked_sub(Duration::from_secs((EPOCH_DAYS - days) * 86_400 - time_of_day)),
        }
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn one_of(text: &[u8], names: &[&str]) -> Option<u64> {
    names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(text)).map(|at| at as u64)
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

fn time_of_day(text: &[u8]) -> Option<(u64, u64, u64)> {
    match text {
        [h1, h2, b':', m1, m2, b':', s1, s2] => {
            Some((digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?))
        }
        _ => None,
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Civil> {
    if text.len() != 29 || &text[3..5] != b", " || text[7] != b' ' || text[11] != b' ' || text[16] != b' ' {
        return None;
    }
    if !text[25..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    one_of(&text[..3], &DAYS)?;
    let (hour, minute, second) = time_of_day(&text[17..25])?;
    let month = one_of(&text[8..11], &MONTHS)? + 1;
    Some(Civil { year: digits(&text[12..16])?, month, day: digits(&text[5..7])?, hour, minute, second })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: SystemTime) -> Option<Civil> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    one_of(&text[..comma], &LONG_DAYS)?;
    let rest = &text[comma + 1..];
    if rest.len() != 23 || rest[0] != b' ' || rest[3] != b'-' || rest[7] != b'-' || rest[10] != b' ' {
        return None;
    }
    if !rest[19..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    let (hour, minute, second) = time_of_day(&rest[11..19])?;
    let month = one_of(&rest[4..7], &MONTHS)? + 1;
    let year = full_year(digits(&rest[8..10])?, now);
    Some(Civil { year, month, day: digits(&rest[1..3])?, hour, minute, second })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Civil> {
    if text.len() != 24 || text[3] != b' ' || text[7] != b' ' || text[10] != b' ' || text[19] != b' ' {
        return None;
    }
    one_of(&text[..3], &DAYS)?;
    let day = if text[8] == b' ' { digits(&text[9..10])? } else { digits(&text[8..10])? };
    let (hour, minute, second) = time_of_day(&text[11..19])?;
    let month = one_of(&text[4..7], &MONTHS)? + 1;
    Some(Civil { year: digits(&text[20..24])?, month, day, hour, minute, second })
}

/// The year that two digits mean: the latest one that is at most 50 years ahead of `now` (RFC 9110 §5.6.7).
fn full_year(two_digits: u64, now: SystemTime) -> u64 {
    /// The average Gregorian year; good enough to tell a century.
    const YEAR_S: u64 = 31_556_952;
    let this_year = 1970 + now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / YEAR_S;
    let latest = this_year + 50;
    let year = latest - latest % 100 + two_digits;
    if year > latest { year - 100 } else { year }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::t0;

    fn seconds(text: &str) -> Option<i64> {
        let time = parse_http_date(text.as_bytes(), t0())?;
        Some(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs() as i64,
            Err(before) => -(before.duration().as_secs() as i64),
        })
    }

    #[test]
    fn three_formats_are_read_in_any_case() {
        // RFC 9110 §5.6.7
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("sUN, 06 nOV 1994 08:49:37 gmt", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("SUNDAY, 06-nov-94 08:49:37 gMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 06 08:49:37 1994", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Mon, 01 Jan 1601 00:00:00 GMT", -11_644_473_600),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Tue, 19 Jan 2038 14:14:08 GMT", 2_147_523_248),
            ("Sat, 20 Nov 2286 17:46:39 GMT", 9_999_999_999),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799), // a leap second
            ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878), // 2050
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn nothing_near_a_date_is_one() {
        // RFC 9110 §5.6.7; the watch list of the conformance suite
        for text in [
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu,  18 Aug 2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18-Aug-50 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            " Thu, 18 Aug 2050 02:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Wed, 29 Feb 2100 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "Foo, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aut 2050 02:01:18 GMT",
            "Thu Aug 8 02:01:18 2050",
            "0",
            "",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        // RFC 9110 §5.6.7; now is 2026
        assert_eq!(full_year(76, t0()), 2076);
        assert_eq!(full_year(77, t0()), 1977);
        assert_eq!(full_year(26, t0()), 2026);
        assert_eq!(full_year(26, UNIX_EPOCH), 1926);
    }

    #[test]
    fn a_field_on_two_lines_is_no_date() {
        let day = "Thu, 18 Aug 2050 02:01:18 GMT";
        let twice = crate::testing::fields(&[("expires", day), ("expires", day)]);
        assert_eq!(date_field(&twice, "expires", t0()), None);
        assert!(date_field(&crate::testing::fields(&[("expires", day)]), "expires", t0()).is_some());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for since in [0, 951_825_600, 1_795_240_800, 253_402_300_799] {
            let time = UNIX_EPOCH + Duration::from_secs(since);
            assert_eq!(parse_http_date(format_http_date(time).as_bytes(), t0()), Some(time));
        }
        assert_eq!(format_http_date(UNIX_EPOCH - Duration::from_secs(5)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
