//! A range of days.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Whole days, from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    first: Date,
    last: Date,
}

/// The words are not a period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a period: write today, yesterday, week, month, year, 2026-11, 2026-11-21 or 2026-11-01..2026-11-21"
)]
pub struct NotAPeriod(String);

impl Period {
    /// One day.
    pub fn day(date: Date) -> Self {
        Self { first: date, last: date }
    }

    /// `days` days that end with `today`; at least one.
    pub fn last_days(days: u32, today: Date) -> Self {
        let before = i64::from(days.max(1)) - 1;
        Self { first: today.checked_sub(before.days()).unwrap_or(Date::MIN), last: today }
    }

    /// From `first` to `last`; the order does not matter.
    pub fn between(first: Date, last: Date) -> Self {
        Self { first: first.min(last), last: first.max(last) }
    }

    /// Reads a period as a person writes it: `today`, `yesterday`, `week` and `month` and `year` (the last 7, 30 and
    /// 365 days), a month, a date, or two dates with two dots between.
    ///
    /// # Errors
    /// [`NotAPeriod`] says what can be written.
    pub fn parse(text: &str, today: Date) -> Result<Self, NotAPeriod> {
        let wrong = || NotAPeriod(text.chars().take(40).collect());
        match text {
            "today" => return Ok(Self::day(today)),
            "yesterday" => return Ok(Self::day(today.yesterday().map_err(|_| wrong())?)),
            "week" => return Ok(Self::last_days(7, today)),
            "month" => return Ok(Self::last_days(30, today)),
            "year" => return Ok(Self::last_days(365, today)),
            _ => {}
        }
        if let Some((first, last)) = text.split_once("..") {
            return Ok(Self::between(plain_date(first).ok_or_else(wrong)?, plain_date(last).ok_or_else(wrong)?));
        }
        if text.len() == "2026-11".len() {
            let first = plain_date(&format!("{text}-01")).ok_or_else(wrong)?;
            return Ok(Self { first, last: first.last_of_month() });
        }
        plain_date(text).map(Self::day).ok_or_else(wrong)
    }

    /// Whether `date` is one of its days.
    pub fn contains(&self, date: Date) -> bool {
        (self.first..=self.last).contains(&date)
    }

    /// The first day.
    pub fn first(&self) -> Date {
        self.first
    }

    /// The last day.
    pub fn last(&self) -> Date {
        self.last
    }
}

/// A date of the form 2026-11-21 and nothing around it.
fn plain_date(text: &str) -> Option<Date> {
    (text.len() == "2026-11-21".len()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}..{}", self.first, self.last) }
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl TryFrom<String> for Period {
    type Error = NotAPeriod;

    /// Only the forms that need no "today".
    fn try_from(text: String) -> Result<Self, NotAPeriod> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            Self::parse(&text, Date::MIN)
        } else {
            Err(NotAPeriod(text.chars().take(40).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn periods_are_written_in_words_and_dates() {
        let today = date(2026, 11, 21);
        let reads = |text: &str| Period::parse(text, today).map(|period| period.to_string()).ok();
        assert_eq!(reads("today").as_deref(), Some("2026-11-21"));
        assert_eq!(reads("yesterday").as_deref(), Some("2026-11-20"));
        assert_eq!(reads("week").as_deref(), Some("2026-11-15..2026-11-21"));
        assert_eq!(reads("2026-02").as_deref(), Some("2026-02-01..2026-02-28"));
        assert_eq!(reads("2026-11-05").as_deref(), Some("2026-11-05"));
        assert_eq!(reads("2026-11-05..2026-11-01").as_deref(), Some("2026-11-01..2026-11-05"));
        for wrong in ["", "tomorrow", "2026", "2026-13", "2026-11-31", "..", "2026-11-01..", "21.11.2026"] {
            assert_eq!(reads(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_period_or_an_error(text in ".{0,40}") {
            if let Ok(period) = Period::parse(&text, date(2026, 11, 21)) {
                prop_assert!(period.first() <= period.last());
                prop_assert_eq!(Period::try_from(period.to_string()).unwrap(), period);
            }
        }
    }
}
