//! Where noted answers are: a table of fixed size in which nobody waits for anybody.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use bulaq_cache_policy::CacheKey;

use super::head::Head;
use crate::ledger::Receipt;
use crate::store::{MemoryPlace, StoredResponse};

/// How many answers there is room for: the pages and pictures of a morning's lessons in the words of two browsers.
/// Three times as many as fit the bytes: an answer that finds no place is given the long way each time.
const SLOTS: usize = 32_768;

/// In how many places an answer may stand.
const WAYS: usize = 4;

/// The most that all answers take, in bytes; most take less than 1 KiB.
const BYTES_MAX: usize = 16 << 20;

/// Of so many uses the memory learns of one. Its counting costs more than all else about a use, and what it counts is
/// compared with one another.
const USES_PER_COUNT: u32 = 8;

/// A noted answer.
#[derive(Debug)]
pub(super) struct Entry {
    key: Box<[u8]>,
    pub(super) cache_key: CacheKey,
    /// What was stored of the URL when it was given; the place of the list is not used again while this lives.
    pub(super) variants: Weak<[Arc<StoredResponse>]>,
    /// Where these are.
    pub(super) place: MemoryPlace,
    /// Which of the variants it was given from.
    pub(super) index: usize,
    /// Which of the variants were fresh, a bit each.
    pub(super) fresh: u32,
    pub(super) head: Head,
    /// What it is counted as.
    pub(super) receipt: Receipt,
    /// Since its place was last wanted for another.
    was_used: AtomicBool,
    /// How often it was used; wraps.
    uses: AtomicU32,
}

impl Entry {
    pub(super) fn new(
        key: Box<[u8]>,
        cache_key: CacheKey,
        place: MemoryPlace,
        (variants, index, fresh): (Weak<[Arc<StoredResponse>]>, usize, u32),
        head: Head,
        receipt: Receipt,
    ) -> Self {
        let (was_used, uses) = (AtomicBool::new(false), AtomicU32::new(0));
        Self { key, cache_key, variants, place, index, fresh, head, receipt, was_used, uses }
    }

    /// Whether the memory is to learn of this use.
    pub(super) fn is_counted(&self) -> bool {
        // Two at one time may count as one: nothing depends on it.
        let uses = self.uses.load(Ordering::Relaxed);
        self.uses.store(uses.wrapping_add(1), Ordering::Relaxed);
        uses.is_multiple_of(USES_PER_COUNT)
    }

    fn bytes(&self) -> usize {
        let site = self.receipt.site.as_ref().map_or(0, |site| site.len());
        size_of::<Self>() + self.key.len() + self.cache_key.as_str().len() + self.head.bytes() + site
    }

    fn is_gone(&self) -> bool {
        self.variants.strong_count() == 0
    }
}

/// Answers by their keys. An answer for which there is no room is forgotten: the ordinary path gives it again.
pub(super) struct Table {
    slots: Box<[ArcSwapOption<Entry>]>,
    /// Of its own secret: nobody can choose keys that meet.
    hasher: RandomState,
    bytes: AtomicUsize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| ArcSwapOption::empty()).collect(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Table {
    fn ways(&self, key: &[u8]) -> &[ArcSwapOption<Entry>] {
        let sets = (SLOTS / WAYS) as u64;
        let set = usize::try_from(self.hasher.hash_one(key) % sets).expect("less than the slots");
        &self.slots[set * WAYS..][..WAYS]
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Arc<Entry>> {
        let found = self.ways(key).iter().find_map(|slot| {
            let entry = slot.load();
            entry.as_ref().filter(|entry| *entry.key == *key).map(Arc::clone)
        })?;
        // Written only once, so that it stays in every core's cache.
        if !found.was_used.load(Ordering::Relaxed) {
            found.was_used.store(true, Ordering::Relaxed);
        }
        Some(found)
    }

    /// Notes an answer in place of an older one with the same key, of one that is gone, or of one that was not used for longer.
    pub(super) fn put(&self, entry: Entry) {
        let ways = self.ways(&entry.key);
        let is_free = |slot: &&ArcSwapOption<Entry>| match &*slot.load() {
            Some(there) => there.key == entry.key || there.is_gone(),
            None => true,
        };
        let is_unused = |slot: &&ArcSwapOption<Entry>| {
            slot.load().as_ref().is_none_or(|there| !there.was_used.swap(false, Ordering::Relaxed))
        };
        let slot = ways.iter().find(is_free).or_else(|| ways.iter().find(is_unused)).unwrap_or(&ways[0]);
        let bytes = entry.bytes();
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let left = slot.swap(Some(Arc::new(entry))).map_or(0, |left| left.bytes());
        self.bytes.fetch_sub(left, Ordering::Relaxed);
        // Two who note the same at one time may count each other's.
        if total.saturating_sub(left) > BYTES_MAX
            && let Some(over) = slot.swap(None)
        {
            self.bytes.fetch_sub(over.bytes(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use bulaq_cache_policy::SiteRule;
    use http::{HeaderMap, HeaderValue, Response};
    use http_body_util::{BodyExt, Empty};

    use super::*;
    use crate::request::{ResponseBody, Source, Way};

    fn entry(key: String, head_bytes: usize, variants: &Arc<[Arc<StoredResponse>]>) -> Entry {
        let mut fields = HeaderMap::new();
        for name in ["date", "age"] {
            fields.insert(name, HeaderValue::from_static("1"));
        }
        fields.insert("content-length", HeaderValue::from_static("1"));
        fields.insert("x", HeaderValue::try_from("x".repeat(head_bytes)).unwrap());
        let mut response = Response::new(ResponseBody::new(Empty::new().map_err(|never| match never {})));
        *response.headers_mut() = fields;
        let (way, source) = (Way::Reverse, Source::Hit);
        let (site, is_zero_rated, lan_bytes, wan_bytes) = (None, true, 0, 0);
        let receipt = Receipt { site, is_zero_rated, way, source, status: 200, reason: "hit", lan_bytes, wan_bytes };
        let cache_key = CacheKey::new(&"http://a.kz/".parse().unwrap(), &SiteRule::default()).unwrap();
        let head = Head::of(&response, false).unwrap();
        let place = MemoryPlace::alone(Arc::clone(variants));
        Entry::new(key.into_bytes().into(), cache_key, place, (Arc::downgrade(variants), 0, 1), head, receipt)
    }

    fn kept(table: &Table) -> usize {
        table.slots.iter().filter(|slot| slot.load().is_some()).count()
    }

    #[test]
    fn there_is_room_for_so_many_answers_and_so_many_bytes() {
        let stored: Arc<[Arc<StoredResponse>]> = Arc::from([]);
        for head_bytes in [1, 4_000] {
            let table = Table::default();
            for n in 0..2 * SLOTS {
                table.put(entry(n.to_string(), head_bytes, &stored));
                assert!(table.bytes.load(Ordering::Relaxed) <= BYTES_MAX);
            }
            let bytes: usize = table.slots.iter().map(|slot| slot.load().as_ref().map_or(0, |it| it.bytes())).sum();
            assert_eq!(bytes, table.bytes.load(Ordering::Relaxed));
            assert!((SLOTS / 16..=SLOTS).contains(&kept(&table)), "{head_bytes}: {}", kept(&table));
        }
    }

    #[test]
    fn an_answer_is_found_by_all_of_its_key_until_another_takes_its_place() {
        let table = Table::default();
        let stored: Arc<[Arc<StoredResponse>]> = Arc::from([]);
        table.put(entry("a".to_owned(), 1, &stored));
        assert!(table.find(b"a").is_some() && table.find(b"b").is_none() && table.find(b"").is_none());
        table.put(entry("a".to_owned(), 99, &stored));
        assert_eq!(kept(&table), 1);
        assert!(table.find(b"a").unwrap().head.bytes() > 99);
    }
}
