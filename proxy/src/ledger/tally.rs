//! Counters that a request bumps without waiting for another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::counts::{Column, Counts, SiteCounts};
use super::receipt::Receipt;
use crate::request::{Source, Way};

/// Copies of each counter. Threads take them in turn, so that two cores rarely bump the same cache line; a LAN box has
/// two to four cores.
const SHARDS: usize = 4;

/// The counters of all sites since they were last taken.
#[derive(Default)]
pub(crate) struct Tallies {
    /// By site; the site names come from the allowlist, which bounds them. A site's tally stays once it is made.
    zero_rated: ArcSwap<HashMap<Arc<str>, Arc<Tally>>>,
    metered: ArcSwap<HashMap<Arc<str>, Arc<Tally>>>,
    /// Requests that no site covers.
    refused: Tally,
}

/// One site's counters.
#[derive(Default)]
struct Tally([Shard; SHARDS]);

/// One copy of them, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard([Cell; Column::COUNT]);

#[derive(Default)]
struct Cell {
    requests: AtomicU64,
    lan_bytes: AtomicU64,
    wan_bytes: AtomicU64,
}

impl Tallies {
    /// Counts `receipt`.
    pub(crate) fn add(&self, receipt: &Receipt) {
        let (column, lan_bytes) = match receipt.way {
            Way::Night => (Column::Night, 0),
            Way::Reverse | Way::Forward | Way::Gateway => (Column::Person(receipt.source), receipt.lan_bytes),
        };
        let counts = Counts { requests: 1, lan_bytes, wan_bytes: receipt.wan_bytes };
        match &receipt.site {
            Some(site) => self.add_to(site, receipt.is_zero_rated, column, &counts),
            None => self.refused.add(column, &counts),
        }
    }

    /// Counts bytes of the link that no single receipt can carry: a fill outlives the exchange that began it.
    pub(crate) fn add_wan(&self, site: &Arc<str>, is_zero_rated: bool, way: Way, wan_bytes: u64) {
        let column = match way {
            Way::Night => Column::Night,
            Way::Reverse | Way::Forward | Way::Gateway => Column::Person(Source::Origin),
        };
        self.add_to(site, is_zero_rated, column, &Counts { wan_bytes, ..Counts::default() });
    }

    fn add_to(&self, site: &Arc<str>, is_zero_rated: bool, column: Column, counts: &Counts) {
        let tallies = if is_zero_rated { &self.zero_rated } else { &self.metered };
        if let Some(tally) = tallies.load().get(&**site) {
            return tally.add(column, counts);
        }
        // A site's first receipt since the start: rare enough to copy the map.
        tallies.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.entry(Arc::clone(site)).or_default();
            map
        });
        if let Some(tally) = tallies.load().get(&**site) {
            tally.add(column, counts);
        }
    }

    /// Empties every counter into `each(site, is_zero_rated, counts)`.
    pub(crate) fn take_into(&self, mut each: impl FnMut(Option<&str>, bool, &SiteCounts)) {
        for (tallies, is_zero_rated) in [(&self.zero_rated, true), (&self.metered, false)] {
            for (site, tally) in tallies.load().iter() {
                if let Some(counts) = tally.take() {
                    each(Some(site), is_zero_rated, &counts);
                }
            }
        }
        if let Some(counts) = self.refused.take() {
            each(None, false, &counts);
        }
    }
}

impl Tally {
    fn add(&self, column: Column, counts: &Counts) {
        let cell = &self.0[shard_of_thread()].0[column.index()];
        let pairs = [
            (&cell.requests, counts.requests),
            (&cell.lan_bytes, counts.lan_bytes),
            (&cell.wan_bytes, counts.wan_bytes),
        ];
        for (counter, more) in pairs.into_iter().filter(|(_, more)| *more > 0) {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// What was counted since the last call; none when nothing was.
    fn take(&self) -> Option<SiteCounts> {
        let mut counts = SiteCounts::default();
        let mut is_empty = true;
        for shard in &self.0 {
            for (index, cell) in shard.0.iter().enumerate() {
                let more = Counts {
                    requests: cell.requests.swap(0, Ordering::Relaxed),
                    lan_bytes: cell.lan_bytes.swap(0, Ordering::Relaxed),
                    wan_bytes: cell.wan_bytes.swap(0, Ordering::Relaxed),
                };
                if !more.is_empty() {
                    is_empty = false;
                    counts.column(index).add(&more);
                }
            }
        }
        (!is_empty).then_some(counts)
    }
}

/// The shard of the running thread, given out in turn at its first receipt.
fn shard_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    MINE.with(|mine| *mine)
}
