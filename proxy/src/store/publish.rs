//! Making a written file visible: under its name, in the index, in memory; and removing what it replaces.

use std::io;
use std::sync::Arc;

use bulaq_cache_policy::{CacheKey, StoredHead};
use bytes::Bytes;

use super::Shared;
use super::body::Body;
use super::disk::Unpublished;
use super::error::StoreRefusal;
use super::files::key_of;
use super::find::stored_at;
use super::index::{Minutes, Row, TagSet};
use super::memory::Rules;
use super::name::{FileName, UrlKey};
use super::record::{Layout, Record};
use super::stored_response::{StoredResponse, Variants};

/// A file that is whole and durable and has no name yet.
pub(crate) struct Written {
    pub(crate) unpublished: Unpublished,
    pub(crate) layout: Layout,
    pub(crate) record: Record,
    pub(crate) small: Option<Bytes>,
    pub(crate) head: StoredHead,
    /// The rules that its head is of.
    pub(crate) rules: Rules,
}

/// Variants are told apart by days of idleness: a lesson's own rhythm.
const DAY_MINUTES: u32 = 24 * 60;

/// Names that are tried when one is taken: only a file that the index has lost can have taken it.
const NAME_TRIES: u64 = 8;

impl Shared {
    /// Publishes a file unless `is_invalidated` says that its URL was purged meanwhile. Waits for the disk.
    pub(crate) fn publish(
        &self,
        key: &CacheKey,
        written: Written,
        is_invalidated: impl Fn() -> bool,
    ) -> Result<Arc<StoredResponse>, StoreRefusal> {
        let url = UrlKey::of(key.as_str());
        let _stripe = self.stripe(url);
        if is_invalidated() {
            return Err(StoreRefusal::Invalidated);
        }
        self.publish_held(key, url, written)
    }

    /// The same, when the stripe is held already.
    pub(crate) fn publish_held(
        &self,
        key: &CacheKey,
        url: UrlKey,
        written: Written,
    ) -> Result<Arc<StoredResponse>, StoreRefusal> {
        let Written { unpublished, layout, record, small, head, rules } = written;
        let index_key = key_of(&record.url, &record.variant);
        let others = self.variants_on_disk(url);
        let old = others.iter().find(|(name, _)| name.key == index_key).copied();
        let file = Arc::clone(unpublished.file());
        let oldest = old.map_or(0, |(name, _)| name.generation + 1);
        let name =
            self.publish_named(unpublished, FileName { key: index_key, generation: oldest.max(self.now_ms()) })?;

        let row = Row {
            generation: name.generation,
            file_bytes: layout.file_bytes(record.body_bytes),
            stored_at: Minutes::of_millis(record.stored_at_ms),
            pinned_until: old.map_or(Minutes::default(), |(_, row)| row.pinned_until),
            tags: TagSet::of(head.headers()),
        };
        self.index.change(index_key, old.map(|(_, row)| row), Some(row));
        if let Some((old, _)) = old {
            self.files.remove(old);
        }
        self.remove_parts_of(index_key, &file);

        let body =
            Body::new(Arc::clone(&self.files), name, (layout.body_offset, record.body_bytes), record.digest, small);
        body.trust(file);
        let stored_at = stored_at(record.stored_at_ms);
        let stored = Arc::new(StoredResponse { head, key: key.clone(), body: Arc::new(body), stored_at });
        let others: Vec<_> = others.into_iter().filter(|(name, _)| name.key != index_key).collect();
        self.remember(key, &stored, others, rules);
        Ok(stored)
    }

    /// Links the file under the first name from `wanted` on that is free.
    fn publish_named(&self, mut unpublished: Unpublished, wanted: FileName) -> Result<FileName, StoreRefusal> {
        let mut name = wanted;
        for _ in 0..NAME_TRIES {
            name.generation = name.generation.min(FileName::GENERATION_MAX);
            match self.files.disk.publish(&mut unpublished, &self.files.path(name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name.generation += 1,
                result => return Ok(result.map(|()| name)?),
            }
        }
        Err(StoreRefusal::DiskFailed(io::ErrorKind::AlreadyExists.into()))
    }

    /// How little a variant is used: days without use, over uses.
    fn idleness(&self, name: &FileName, row: &Row) -> u64 {
        let usage = self.recency.of(&name.key);
        let now = Minutes::of(self.clock.now());
        let idle_days = u64::from(now.0.saturating_sub(row.stored_at.max(usage.last).0) / DAY_MINUTES) + 1;
        idle_days * 256 / u64::from(1 + usage.count)
    }

    /// Puts a new response among the variants in memory, within the limit on variants. The stripe is held.
    fn remember(&self, key: &CacheKey, stored: &Arc<StoredResponse>, mut others: Vec<(FileName, Row)>, rules: Rules) {
        let known = self.memory.get(key);
        // The least used last, and of those used alike the oldest: what nobody asks for twice must not push out what
        // everybody asks for, however many kinds of it come.
        others.sort_by_key(|(name, row)| (self.idleness(name, row), std::cmp::Reverse(row.stored_at)));
        while others.len() >= self.options.variants_max.max(1) {
            let Some((name, row)) = others.pop() else { break };
            self.index.change(name.key, Some(row), None);
            self.files.remove(name);
        }
        let kept = |other: &Arc<StoredResponse>| others.iter().any(|(name, _)| name.key == other.body.name.key);
        let in_memory = known.unwrap_or_else(|| Variants::from([]));
        let rest: Vec<_> = in_memory.iter().filter(|other| kept(other)).cloned().collect();
        if rest.len() == others.len() {
            self.memory.put(key, std::iter::once(Arc::clone(stored)).chain(rest).collect(), rules);
        } else {
            // Others are on the disk only: the next look-up brings all of them together.
            self.memory.remove(key);
        }
    }
}
