//! The numbers that are added up.

use serde::{Deserialize, Serialize};

use crate::request::Source;

/// Requests and the bytes that they moved. Sums saturate: a ledger must not wrap to a small number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Exchanges.
    pub requests: u64,
    /// Bytes of content sent on the LAN.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lan_bytes: u64,
    /// Bytes received over the school's link.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wan_bytes: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Counts {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Counts) {
        self.requests = self.requests.saturating_add(other.requests);
        self.lan_bytes = self.lan_bytes.saturating_add(other.lan_bytes);
        self.wan_bytes = self.wan_bytes.saturating_add(other.wan_bytes);
    }
}

/// What is counted apart: people's requests by where the content came from, and the night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// A person's request.
    Person(Source),
    /// A job of the night. Its bytes on the link count; nothing of it reaches the LAN.
    Night,
}

impl Column {
    /// How many columns there are.
    pub(crate) const COUNT: usize = 7;

    /// The place of this column in a row of [`Column::COUNT`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Person(Source::Hit) => 0,
            Self::Person(Source::Validated) => 1,
            Self::Person(Source::Stale) => 2,
            Self::Person(Source::Collapsed) => 3,
            Self::Person(Source::Origin) => 4,
            Self::Person(Source::Box) => 5,
            Self::Night => 6,
        }
    }
}

/// One site's counts, by source. The names are those of [`Source`]; the night stands apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteCounts {
    /// From the store, without a word to the origin.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub hit: Counts,
    /// From the store, after the origin confirmed it.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub validated: Counts,
    /// From the store, past its freshness, because the origin could not be asked.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub stale: Counts,
    /// From another request's fill while it arrived.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub collapsed: Counts,
    /// From the origin.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub origin: Counts,
    /// From the box itself: refusals, error pages, its own pages.
    #[serde(default, rename = "box", skip_serializing_if = "Counts::is_empty")]
    pub from_box: Counts,
    /// What the night fetched; only its `wan_bytes` say something.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub night: Counts,
}

impl SiteCounts {
    pub(crate) fn column(&mut self, index: usize) -> &mut Counts {
        match index {
            0 => &mut self.hit,
            1 => &mut self.validated,
            2 => &mut self.stale,
            3 => &mut self.collapsed,
            4 => &mut self.origin,
            5 => &mut self.from_box,
            _ => &mut self.night,
        }
    }

    /// Adds `other`, column by column.
    pub fn add(&mut self, other: &SiteCounts) {
        let mut other = other.clone();
        for index in 0..Column::COUNT {
            let more = *other.column(index);
            self.column(index).add(&more);
        }
    }

    /// All requests of people, whoever answered.
    pub fn requests(&self) -> u64 {
        self.lesson().requests.saturating_add(self.from_box.requests)
    }

    /// Requests that were answered from the store or from another's fill.
    pub fn requests_kept_local(&self) -> u64 {
        [&self.hit, &self.validated, &self.stale, &self.collapsed].iter().map(|counts| counts.requests).sum()
    }

    /// Bytes of the sites' content that people received. The box's own pages are left out: no origin would have sent them.
    pub fn lan_bytes(&self) -> u64 {
        self.lesson().lan_bytes
    }

    /// Bytes that people's requests brought over the link.
    pub fn wan_bytes_by_day(&self) -> u64 {
        self.lesson().wan_bytes.saturating_add(self.from_box.wan_bytes)
    }

    /// Bytes that the night brought over the link.
    pub fn wan_bytes_by_night(&self) -> u64 {
        self.night.wan_bytes
    }

    /// Everything that crossed the link, by day and by night.
    pub fn wan_bytes(&self) -> u64 {
        self.wan_bytes_by_day().saturating_add(self.wan_bytes_by_night())
    }

    /// The share of the link that the box saved, in per cent; none when people received nothing.
    ///
    /// Without the box every byte that people received would have crossed the link; with it, only `wan_bytes` did, the
    /// night's included. So: (LAN − WAN) / LAN. It is below zero while the night has fetched more than was read.
    pub fn saved_percent(&self) -> Option<f64> {
        let lan = self.lan_bytes();
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people, far above its rounding")]
        (lan > 0).then(|| (lan as f64 - self.wan_bytes() as f64) / lan as f64 * 100.0)
    }

    fn lesson(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in [&self.hit, &self.validated, &self.stale, &self.collapsed, &self.origin] {
            sum.add(counts);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, lan_bytes: u64, wan_bytes: u64) -> Counts {
        Counts { requests, lan_bytes, wan_bytes }
    }

    #[test]
    fn the_share_saved_counts_the_night_too() {
        let site = SiteCounts {
            hit: counts(9, 900, 0),
            origin: counts(1, 100, 100),
            night: counts(1, 0, 100),
            from_box: counts(5, 5_000, 0),
            ..SiteCounts::default()
        };
        assert_eq!(site.requests(), 15);
        assert_eq!(site.requests_kept_local(), 9);
        assert_eq!((site.lan_bytes(), site.wan_bytes()), (1_000, 200));
        assert_eq!(site.saved_percent(), Some(80.0));
    }

    #[test]
    fn a_night_that_nobody_read_saved_less_than_nothing() {
        let mut site = SiteCounts { night: counts(10, 0, 300), ..SiteCounts::default() };
        assert_eq!(site.saved_percent(), None);
        site.hit = counts(1, 100, 0);
        assert_eq!(site.saved_percent(), Some(-200.0));
    }

    #[test]
    fn every_source_has_its_own_column() {
        let all = [Source::Hit, Source::Validated, Source::Stale, Source::Collapsed, Source::Origin, Source::Box];
        let mut seen: Vec<_> = all.into_iter().map(|source| Column::Person(source).index()).collect();
        seen.push(Column::Night.index());
        assert_eq!(seen, (0..Column::COUNT).collect::<Vec<_>>());
        let mut site = SiteCounts::default();
        for index in seen {
            assert!(site.column(index).is_empty(), "column {index} is shared");
            *site.column(index) = counts(1, 1, 1);
        }
    }
}
