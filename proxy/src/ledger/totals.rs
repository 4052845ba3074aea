//! The answers: what each site cost and saved in a period.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counts::SiteCounts;
use super::day::{Day, Days, SiteKey};
use super::period::Period;

/// Fewest requests of people that a row must have for its site to be named. Below it a row says who rather than how
/// many: one pupil, one lesson. The night's own requests name nobody and do not count.
const NAMED_FROM_REQUESTS: u64 = 10;

/// What the sites cost and saved in a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// The days that were added up.
    pub period: Period,
    /// By site, most bytes on the LAN first. Sites that may not be named are one row.
    pub sites: Vec<SiteRow>,
    /// All rows, the refused requests and the unnamed sites included.
    pub all: SiteCounts,
    /// Bytes that crossed the link for zero-rated sites.
    pub zero_rated_wan_bytes: u64,
    /// Bytes that crossed the link for sites that the school pays for.
    pub metered_wan_bytes: u64,
}

/// One row: a site's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRow {
    /// Which site.
    pub site: RowName,
    /// Whether its traffic was zero-rated when it was counted.
    pub is_zero_rated: bool,
    /// Its counts.
    pub counts: SiteCounts,
}

/// Whose row it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowName {
    /// A site of the allowlist.
    Site(String),
    /// All sites with too few requests to be named.
    TooFewToName,
    /// Requests that no site covers.
    NotListed,
}

impl std::fmt::Display for RowName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Site(name) => f.pad(name),
            Self::TooFewToName => f.pad("(sites with few requests)"),
            Self::NotListed => f.pad("(not on the allowlist)"),
        }
    }
}

/// One hour of one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HourRow {
    /// The local hour, 0 to 23.
    pub hour: i8,
    /// By site, most bytes first.
    pub sites: Vec<SiteRow>,
}

impl Totals {
    pub(crate) fn from_days(period: Period, days: &Days) -> Self {
        let mut sums: BTreeMap<SiteKey, SiteCounts> = BTreeMap::new();
        for (_, key, counts) in days.iter().flat_map(|(_, day)| day.rows()) {
            sums.entry(key.clone()).or_default().add(counts);
        }
        let mut all = SiteCounts::default();
        let (mut zero_rated_wan_bytes, mut metered_wan_bytes) = (0u64, 0u64);
        for ((_, is_zero_rated), counts) in &sums {
            all.add(counts);
            let sum = if *is_zero_rated { &mut zero_rated_wan_bytes } else { &mut metered_wan_bytes };
            *sum = sum.saturating_add(counts.wan_bytes());
        }
        Self { period, sites: named_rows(sums), all, zero_rated_wan_bytes, metered_wan_bytes }
    }
}

impl HourRow {
    pub(crate) fn of_day(day: &Day) -> Vec<Self> {
        let mut hours: BTreeMap<i8, BTreeMap<SiteKey, SiteCounts>> = BTreeMap::new();
        for (hour, key, counts) in day.rows() {
            hours.entry(hour).or_default().entry(key.clone()).or_default().add(counts);
        }
        hours.into_iter().map(|(hour, sums)| Self { hour, sites: named_rows(sums) }).collect()
    }
}

/// Rows with a name where there are enough requests, and one row for the rest; the largest first.
fn named_rows(sums: BTreeMap<SiteKey, SiteCounts>) -> Vec<SiteRow> {
    let mut rows: BTreeMap<(RowName, bool), SiteCounts> = BTreeMap::new();
    for ((site, is_zero_rated), counts) in sums {
        if counts.requests() == 0 && counts.wan_bytes() == 0 {
            continue; // a night that was refused: nothing to tell of the link
        }
        let name = match site {
            None => RowName::NotListed,
            Some(_) if (1..NAMED_FROM_REQUESTS).contains(&counts.requests()) => RowName::TooFewToName,
            Some(site) => RowName::Site(site),
        };
        let is_zero_rated = is_zero_rated && name != RowName::TooFewToName;
        rows.entry((name, is_zero_rated)).or_default().add(&counts);
    }
    let mut rows: Vec<_> =
        rows.into_iter().map(|((site, is_zero_rated), counts)| SiteRow { site, is_zero_rated, counts }).collect();
    rows.sort_by_key(|row| {
        let is_site = matches!(row.site, RowName::Site(_));
        (!is_site, std::cmp::Reverse(row.counts.lan_bytes()), row.site.clone())
    });
    rows
}
