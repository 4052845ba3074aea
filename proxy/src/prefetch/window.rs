//! When the night is: a span of local time, usually over midnight, with this box's own start inside it.

use std::time::{Duration, SystemTime};

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Days that are looked at for the next opening. Two would do everywhere but at a date that a zone skipped
/// altogether (Samoa, 2011-12-30), or where daylight saving swallows a window shorter than an hour.
const DAYS_AHEAD: i32 = 4;

/// The hours in which the night may work, and the share of them over which boxes spread their starts.
#[derive(Debug, Clone)]
pub struct Window {
    opens: Time,
    closes: Time,
    zone: TimeZone,
    spread: Duration,
}

/// One night's window as moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// When the window opens, for every box alike.
    pub opens: SystemTime,
    /// When this box begins: at or after `opens` and before `closes`.
    pub starts: SystemTime,
    /// When the night must be over.
    pub closes: SystemTime,
}

/// Why two times of day make no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Both times are the same: that could mean no time at all or a whole day.
    #[error("the night's window opens and closes at the same time")]
    Empty,
}

impl Window {
    /// A window from `opens` to `closes` in the local time of `zone`; over midnight when `closes` is the earlier one.
    ///
    /// Boxes spread their starts over its first half, so that the last one still has time ([`Window::with_spread`]).
    ///
    /// # Errors
    /// [`WindowError::Empty`] when both are the same.
    pub fn new(opens: Time, closes: Time, zone: TimeZone) -> Result<Self, WindowError> {
        if opens == closes {
            return Err(WindowError::Empty);
        }
        let from = seconds(opens);
        let length_s = (seconds(closes) + SECONDS_A_DAY - from) % SECONDS_A_DAY;
        Ok(Self { opens, closes, zone, spread: Duration::from_secs(length_s / 2) })
    }

    /// The same window with starts spread over this time from its opening; never past its end.
    #[must_use]
    pub fn with_spread(self, spread: Duration) -> Self {
        Self { spread, ..self }
    }

    /// The zone in which its times are meant.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The window that is open at `now`, or the next one.
    ///
    /// `identity` is whatever tells this box from others (its key's fingerprint, a machine id): the same identity
    /// starts at the same time each night, and many identities spread evenly. None only at the end of the calendar.
    pub fn opening(&self, now: SystemTime, identity: &[u8]) -> Option<Opening> {
        let today = Timestamp::try_from(now).ok()?.to_zoned(self.zone.clone()).date();
        (-1..DAYS_AHEAD).find_map(|offset| {
            let date = today.checked_add(offset.days()).ok()?;
            self.on(date, identity).filter(|opening| opening.closes > now)
        })
    }

    /// When this box begins next, after `now`: tonight's start, or the following one when that has passed.
    pub fn next_start(&self, now: SystemTime, identity: &[u8]) -> Option<SystemTime> {
        let first = self.opening(now, identity)?;
        if first.starts > now {
            return Some(first.starts);
        }
        self.opening(first.closes, identity).map(|next| next.starts)
    }

    /// When the window that is open at `now` closes; None when it is shut.
    pub fn ends_at(&self, now: SystemTime) -> Option<SystemTime> {
        self.opening(now, b"").filter(|opening| opening.opens <= now).map(|opening| opening.closes)
    }

    /// The window that opens on this local date; None where daylight saving leaves nothing of it.
    fn on(&self, date: Date, identity: &[u8]) -> Option<Opening> {
        let closing_date = if self.closes > self.opens { date } else { date.tomorrow().ok()? };
        let opens = self.moment(date, self.opens)?;
        let closes = self.moment(closing_date, self.closes)?;
        let length = closes.duration_since(opens).ok().filter(|length| !length.is_zero())?;
        let latest = self.spread.min(length.mul_f64(LATEST_START_SHARE));
        Some(Opening { opens, starts: opens + latest.mul_f64(share_of(identity)), closes })
    }

    /// A local time as a moment. In a gap the clock's new time counts, in a fold the first of the two (RFC 5545 does the same).
    fn moment(&self, date: Date, time: Time) -> Option<SystemTime> {
        date.to_datetime(time).to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp().into())
    }
}

/// How long from `now` until it is next `time` in `zone`; a day when it is that time now.
///
/// The night uses it to ask for content that stays fresh until the school day's end.
pub fn until_next(time: Time, zone: &TimeZone, now: SystemTime) -> Option<Duration> {
    let today = Timestamp::try_from(now).ok()?.to_zoned(zone.clone()).date();
    (0..DAYS_AHEAD).find_map(|offset| {
        let date = today.checked_add(offset.days()).ok()?;
        let moment: SystemTime = date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp().into();
        moment.duration_since(now).ok().filter(|ahead| !ahead.is_zero())
    })
}

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// No box starts in the last tenth of the window, whatever the spread: it could do nothing.
const LATEST_START_SHARE: f64 = 0.9;

fn seconds(time: Time) -> u64 {
    u64::from(time.hour().unsigned_abs()) * 3600
        + u64::from(time.minute().unsigned_abs()) * 60
        + u64::from(time.second().unsigned_abs())
}

/// A share from 0 up to, not including, 1, even over identities and the same for one.
fn share_of(identity: &[u8]) -> f64 {
    let hash = blake3::derive_key("bulaq 2026 night start", identity);
    let [a, b, c, d, ..] = hash;
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(zone: &str, local: &str) -> SystemTime {
        let zone = TimeZone::get(zone).expect("a zone of the database");
        local.parse::<jiff::civil::DateTime>().expect("a local time").to_zoned(zone).expect("exists").timestamp().into()
    }

    fn window(zone: &str, opens: &str, closes: &str) -> Window {
        let time = |text: &str| text.parse::<Time>().expect("a time of day");
        Window::new(time(opens), time(closes), TimeZone::get(zone).expect("a zone")).expect("a window")
    }

    #[test]
    fn the_window_is_the_open_one_or_the_next() {
        let almaty = "Asia/Almaty";
        let over_midnight = window(almaty, "22:00:00", "06:00:00").with_spread(Duration::ZERO);
        let early = window(almaty, "01:00:00", "05:30:00").with_spread(Duration::ZERO);
        for (window, now, opens, closes) in [
            (&over_midnight, "2026-11-21T12:00:00", "2026-11-21T22:00:00", "2026-11-22T06:00:00"),
            (&over_midnight, "2026-11-21T22:00:00", "2026-11-21T22:00:00", "2026-11-22T06:00:00"),
            (&over_midnight, "2026-11-22T03:00:00", "2026-11-21T22:00:00", "2026-11-22T06:00:00"),
            (&over_midnight, "2026-11-22T05:59:59", "2026-11-21T22:00:00", "2026-11-22T06:00:00"),
            (&over_midnight, "2026-11-22T06:00:00", "2026-11-22T22:00:00", "2026-11-23T06:00:00"),
            (&early, "2026-12-31T23:00:00", "2027-01-01T01:00:00", "2027-01-01T05:30:00"),
            (&early, "2027-01-01T00:30:00", "2027-01-01T01:00:00", "2027-01-01T05:30:00"),
        ] {
            let opening = window.opening(at(almaty, now), b"box").expect("the calendar goes on");
            let expected = Opening { opens: at(almaty, opens), starts: at(almaty, opens), closes: at(almaty, closes) };
            assert_eq!(opening, expected, "at {now}");
        }
    }

    #[test]
    fn almaty_is_five_hours_ahead_since_2024() {
        let window = window("Asia/Almaty", "22:00:00", "06:00:00").with_spread(Duration::ZERO);
        let opening = window.opening(at("UTC", "2026-11-21T12:00:00"), b"box").expect("the calendar goes on");
        assert_eq!(opening.opens, at("UTC", "2026-11-21T17:00:00"));
    }

    #[test]
    fn daylight_saving_moves_the_ends_and_never_turns_them_round() {
        for (zone, opens, closes, now, expected) in [
            // Spring: 02:00 becomes 03:00 in Berlin on 2026-03-29; the window is an hour shorter.
            ("Europe/Berlin", "22:00:00", "06:00:00", "2026-03-28T23:00:00", Some(7 * 3600)),
            // Autumn: 03:00 becomes 02:00 on 2026-10-25; it is an hour longer.
            ("Europe/Berlin", "22:00:00", "06:00:00", "2026-10-24T23:00:00", Some(9 * 3600)),
            // Opens in the gap: the new time counts.
            ("Europe/Berlin", "02:30:00", "06:00:00", "2026-03-29T03:45:00", Some(2 * 3600 + 1800)),
            // Nothing is left of it that night: the next one is whole.
            ("Europe/Berlin", "02:30:00", "03:00:00", "2026-03-29T01:00:00", Some(1800)),
        ] {
            let window = window(zone, opens, closes).with_spread(Duration::ZERO);
            let opening = window.opening(at(zone, now), b"box").expect("the calendar goes on");
            let length = opening.closes.duration_since(opening.opens).ok().map(|length| length.as_secs());
            assert_eq!(length, expected, "{opens} to {closes} at {now}");
        }
    }

    #[test]
    fn boxes_start_at_their_own_time_each_night_and_spread_evenly() {
        let window = window("Asia/Almaty", "22:00:00", "06:00:00");
        let now = at("Asia/Almaty", "2026-11-21T12:00:00");
        let mut quarters = [0_u32; 4];
        for box_number in 0..1000_u32 {
            let identity = box_number.to_be_bytes();
            let opening = window.opening(now, &identity).expect("the calendar goes on");
            let into = opening.starts.duration_since(opening.opens).expect("starts after it opens");
            assert!(into < Duration::from_secs(4 * 3600), "in the first half");
            quarters[usize::try_from(into.as_secs() / 3600).expect("small")] += 1;
            let tomorrow = window.opening(opening.closes, &identity).expect("the calendar goes on");
            assert_eq!(tomorrow.starts.duration_since(tomorrow.opens).ok(), Some(into));
        }
        assert!(quarters.iter().all(|&boxes| (200..300).contains(&boxes)), "{quarters:?}");
    }

    #[test]
    fn the_next_start_is_always_ahead() {
        let window = window("Asia/Almaty", "22:00:00", "06:00:00");
        let mut now = at("Asia/Almaty", "2026-11-21T12:00:00");
        for _ in 0..5 {
            let next = window.next_start(now, b"box").expect("the calendar goes on");
            assert!(next > now);
            assert!(window.ends_at(next).expect("open when it starts") > next);
            now = next;
        }
        assert_eq!(window.ends_at(at("Asia/Almaty", "2026-11-21T12:00:00")), None);
    }

    #[test]
    fn a_window_of_no_length_is_refused() {
        let time = Time::constant(1, 0, 0, 0);
        assert_eq!(Window::new(time, time, TimeZone::UTC).err(), Some(WindowError::Empty));
    }

    #[test]
    fn the_school_day_ends_today_or_tomorrow() {
        let zone = TimeZone::get("Asia/Almaty").expect("a zone");
        let ends = Time::constant(18, 0, 0, 0);
        for (now, hours) in [
            ("2026-11-21T02:00:00", 16),
            ("2026-11-21T17:00:00", 1),
            ("2026-11-21T18:00:00", 24),
            ("2026-11-21T19:00:00", 23),
        ] {
            assert_eq!(
                until_next(ends, &zone, at("Asia/Almaty", now)),
                Some(Duration::from_secs(hours * 3600)),
                "{now}"
            );
        }
    }
}
