//! One day of the ledger: hours, sites, counts, and its form as JSON.

use std::collections::BTreeMap;
use std::collections::btree_map;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::counts::SiteCounts;

/// A site within an hour: its name (none for refused requests) and whether it was zero-rated then.
pub(crate) type SiteKey = (Option<String>, bool);

/// The counts of one day by local hour and site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Day(BTreeMap<i8, BTreeMap<SiteKey, SiteCounts>>);

impl Day {
    pub(crate) fn add(&mut self, hour: i8, site: Option<&str>, is_zero_rated: bool, counts: &SiteCounts) {
        let key = (site.map(str::to_owned), is_zero_rated);
        self.0.entry(hour).or_default().entry(key).or_default().add(counts);
    }

    pub(crate) fn merge(&mut self, other: &Day) {
        for (hour, (site, is_zero_rated), counts) in other.rows() {
            self.add(hour, site.as_deref(), *is_zero_rated, counts);
        }
    }

    /// Every site of every hour, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (i8, &SiteKey, &SiteCounts)> {
        self.0.iter().flat_map(|(hour, sites)| sites.iter().map(|(key, counts)| (*hour, key, counts)))
    }
}

/// Days by date.
#[derive(Clone, Debug, Default)]
pub(crate) struct Days(BTreeMap<Date, Day>);

impl Days {
    pub(crate) fn entry(&mut self, date: Date) -> &mut Day {
        self.0.entry(date).or_default()
    }

    pub(crate) fn get(&self, date: Date) -> Option<&Day> {
        self.0.get(&date)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Date, &Day)> {
        self.0.iter().map(|(date, day)| (*date, day))
    }
}

impl IntoIterator for Days {
    type Item = (Date, Day);
    type IntoIter = btree_map::IntoIter<Date, Day>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

// ---- The file's form ----

/// The form that is written. A higher number is a later program's; it is left alone.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DayFile {
    version: u32,
    date: String,
    hours: Vec<HourFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HourFile {
    hour: i8,
    sites: Vec<SiteFile>,
}

#[derive(Serialize, Deserialize)]
struct SiteFile {
    site: Option<String>,
    zero_rated: bool,
    #[serde(flatten)]
    counts: SiteCounts,
}

/// Why a day's text is not a day.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotADay {
    #[error("it is not the JSON of a day: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has version {0}; this program writes version {VERSION}")]
    Version(u32),
    #[error("it is the day {0}, not that of its name")]
    Date(String),
    #[error("it has an hour {0}")]
    Hour(i8),
}

impl Day {
    /// The day as text.
    pub(crate) fn to_json(&self, date: Date) -> Vec<u8> {
        let hours = self.0.iter().map(|(hour, sites)| HourFile {
            hour: *hour,
            sites: sites
                .iter()
                .map(|((site, zero_rated), counts)| SiteFile {
                    site: site.clone(),
                    zero_rated: *zero_rated,
                    counts: counts.clone(),
                })
                .collect(),
        });
        let file = DayFile { version: VERSION, date: date.to_string(), hours: hours.collect() };
        serde_json::to_vec(&file).expect("a day has only strings and numbers")
    }

    /// Reads what [`Day::to_json`] wrote for the same date.
    pub(crate) fn from_json(json: &[u8], date: Date) -> Result<Self, NotADay> {
        let file: DayFile = serde_json::from_slice(json)?;
        if file.version != VERSION {
            return Err(NotADay::Version(file.version));
        }
        if file.date != date.to_string() {
            return Err(NotADay::Date(file.date));
        }
        let mut day = Self::default();
        for HourFile { hour, sites } in file.hours {
            if !(0..24).contains(&hour) {
                return Err(NotADay::Hour(hour));
            }
            for SiteFile { site, zero_rated, counts } in sites {
                day.add(hour, site.as_deref(), zero_rated, &counts);
            }
        }
        Ok(day)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::Counts;

    proptest! {
        #[test]
        fn a_day_survives_its_file(
            rows in prop::collection::vec((0i8..24, prop::option::of("[a-z-]{1,12}"), any::<bool>(), any::<u32>(), any::<u64>()), 0..20)
        ) {
            let mut day = Day::default();
            for (hour, site, zero_rated, requests, bytes) in rows {
                let hit = Counts { requests: u64::from(requests), lan_bytes: bytes, wan_bytes: 0 };
                day.add(hour, site.as_deref(), zero_rated, &SiteCounts { hit, ..SiteCounts::default() });
            }
            let on = date(2026, 11, 21);
            prop_assert_eq!(Day::from_json(&day.to_json(on), on).unwrap(), day);
        }

        #[test]
        fn any_bytes_are_a_day_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Day::from_json(&bytes, date(2026, 11, 21));
        }
    }

    #[test]
    fn another_version_and_another_date_are_refused() {
        let on = date(2026, 11, 21);
        let json = String::from_utf8(Day::default().to_json(on)).unwrap();
        assert!(matches!(Day::from_json(json.as_bytes(), date(2026, 11, 22)), Err(NotADay::Date(_))));
        let later = json.replace("\"version\":1", "\"version\":2");
        assert!(matches!(Day::from_json(later.as_bytes(), on), Err(NotADay::Version(2))));
    }
}
