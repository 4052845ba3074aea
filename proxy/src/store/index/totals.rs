//! How much is stored, added up as rows come and go.

use std::collections::BTreeMap;

use super::row::{Minutes, Row};

/// The sums over all rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// How many responses.
    pub(crate) responses: u64,
    /// What their files take of the disk.
    pub(crate) bytes: u64,
    /// What of that is pinned, by the minute at which the pin ends.
    pinned: BTreeMap<Minutes, u64>,
}

impl Totals {
    pub(crate) fn of(responses: u64, bytes: u64) -> Self {
        Self { responses, bytes, pinned: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, row: &Row) {
        self.responses += 1;
        self.bytes += row.disk_bytes();
        if row.pinned_until != Minutes::default() {
            *self.pinned.entry(row.pinned_until).or_default() += row.disk_bytes();
        }
    }

    /// Saturating: before the index is complete, a row may go that was not counted yet.
    pub(crate) fn subtract(&mut self, row: &Row) {
        self.responses = self.responses.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(row.disk_bytes());
        if let Some(pinned) = self.pinned.get_mut(&row.pinned_until) {
            *pinned = pinned.saturating_sub(row.disk_bytes());
            if *pinned == 0 {
                self.pinned.remove(&row.pinned_until);
            }
        }
    }

    /// Bytes that are pinned now ([`Row::is_pinned`]).
    pub(crate) fn pinned_bytes(&self, now: Minutes) -> u64 {
        self.pinned.range(now..=now.pins_end_by()).filter(|(until, _)| **until > now).map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::TagSet;
    use super::*;

    #[test]
    fn what_is_added_can_be_taken_away() {
        let row = |bytes, until| Row {
            generation: 1,
            file_bytes: bytes,
            stored_at: Minutes(5),
            pinned_until: Minutes(until),
            tags: TagSet(0),
        };
        let mut totals = Totals::default();
        for row in [row(1, 0), row(5000, 10), row(4096, 20)] {
            totals.add(&row);
        }
        assert_eq!((totals.responses, totals.bytes), (3, 4096 + 8192 + 4096));
        assert_eq!(totals.pinned_bytes(Minutes(9)), 8192 + 4096);
        assert_eq!(totals.pinned_bytes(Minutes(10)), 4096, "a pin ends at its minute");
        for row in [row(1, 0), row(5000, 10), row(4096, 20), row(1, 0)] {
            totals.subtract(&row);
        }
        assert_eq!(totals, Totals::default());
    }
}
