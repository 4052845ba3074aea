//! Beginning to store a response in parts, giving it a new head, and removing it.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bulaq_cache_policy::{CacheKey, StoredHead};

use super::super::error::StoreRefusal;
use super::super::files::{Flaw, key_of};
use super::super::find::record_of;
use super::super::head_codec::{decode_head, encode_head};
use super::super::memory::Rules;
use super::super::name::{FileName, IndexKey, UrlKey};
use super::super::record::{Damage, Layout, RECORD_BYTES_MAX, encode_front, encode_slot};
use super::super::{Shared, Store};
use super::Incomplete;
use super::front::{COMPLETION_BYTES, IncompleteRecord, decode_incomplete, layout_for};
use super::part::{NewPart, Part, Used, Writer};
use super::parts::INCOMPLETE_MAX;
use crate::store::sums::BLOCK_BYTES;

impl Store {
    /// Begins to store a response in parts; its head, made under `rules`, is what a 200 with the complete body would have. Replaces what was
    /// stored in part of the same variant. Nothing complete goes by this.
    ///
    /// # Errors
    /// When it is known already that nothing of it will be stored.
    pub async fn begin_incomplete(
        &self,
        key: &CacheKey,
        head: StoredHead,
        complete_length: u64,
        rules: Rules,
    ) -> Result<Arc<Incomplete>, StoreRefusal> {
        let (shared, key) = (Arc::clone(&self.0), key.clone());
        let begin = move || shared.begin_incomplete(key, Arc::new(head), complete_length, rules);
        self.0.files.run_blocking(begin).await?
    }

    /// Gives an incomplete response a new head, made under `rules`, after a 304 or a part that confirms it (RFC 9111 §3.4): the blocks stay, and
    /// who puts or reads them under the old head goes on. When the disk refuses, the answer can still be used; the
    /// store keeps the head that it has.
    pub async fn freshen_incomplete(
        &self,
        incomplete: &Arc<Incomplete>,
        head: StoredHead,
        rules: Rules,
    ) -> Arc<Incomplete> {
        let head = Arc::new(head);
        let freshened = Arc::new(Incomplete { head: Arc::clone(&head), rules, ..incomplete.again() });
        let this = Arc::clone(&freshened);
        match self.0.files.run_blocking(move || this.keep_head()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a freshened head was not kept"),
        }
        freshened
    }

    /// Removes an incomplete response: what is put into it from now on is not kept. Who reads it can go on.
    pub async fn remove_incomplete(&self, incomplete: &Incomplete) {
        let this = incomplete.again();
        let remove = move || {
            let name = this.part.name;
            let _stripe = this.shared.stripe(name.key.url());
            this.shared.remove_part(name);
        };
        // Only a runtime that is shutting down does not do it.
        let _ = self.0.files.run_blocking(remove).await;
    }
}

impl Shared {
    /// Takes an incomplete response out of the store. The stripe of its URL must be held. Says what it took of the disk.
    pub(crate) fn remove_part(&self, name: FileName) -> Option<u64> {
        let bytes = self.parts.remove(name)?;
        self.files.remove_part(name);
        Some(bytes)
    }

    fn begin_incomplete(
        self: &Arc<Self>,
        key: CacheKey,
        head: Arc<StoredHead>,
        complete_length: u64,
        rules: Rules,
    ) -> Result<Arc<Incomplete>, StoreRefusal> {
        let now_ms = self.now_ms();
        // Longer than the record of the file that is made now: the slots must hold the complete one too.
        let complete = record_of(&key, &head, now_ms, complete_length, [0; 32]);
        let record_bytes = complete.encode().len();
        self.may_begin(complete_length, record_bytes)?;
        let is_large = complete_length > self.options.memory_body_bytes_max;
        let layout = layout_for(record_bytes, is_large);
        let record = IncompleteRecord {
            url: complete.url,
            variant: complete.variant,
            head: complete.head,
            begun_at_ms: now_ms,
            complete_length,
        };
        let index_key = key_of(&record.url, &record.variant);

        // Before the stripe: what is evicted for it has stripes too.
        self.make_place(index_key.url())?;
        let room = self.reserve(layout.body_offset)?;
        let _stripe = self.stripe(index_key.url());
        let disk = &self.files.disk;
        let mut unpublished = disk.create(&self.files.parts, &self.files.incoming)?;
        let file = Arc::clone(unpublished.file());
        disk.set_len(&file, layout.file_bytes(complete_length))?;
        disk.write_at(&file, &encode_front(layout, &record.encode()), 0)?;
        let old = self.parts.names(&index_key.0).pop();
        let generation = now_ms.max(old.map_or(0, |old| old.generation + 1)).min(FileName::GENERATION_MAX);
        let name = FileName { key: index_key, generation };
        disk.publish(&mut unpublished, &self.files.part_path(name))?;
        if let Some(old) = old {
            self.remove_part(old);
        }
        let new = NewPart { name, layout, file, record, head: Arc::clone(&head), rules };
        let part = Used::new(Arc::new(Part::new(Arc::clone(&self.files), new)));
        self.parts.add(&part, now_ms);
        drop(room);
        Ok(Arc::new(Incomplete { shared: Arc::clone(self), key, head, rules, part }))
    }

    /// What is stored in part under a key goes when the whole is stored under it; but not the part that has just become the
    /// whole. The stripe is held.
    pub(crate) fn remove_parts_of(&self, key: IndexKey, whole: &Arc<File>) {
        for name in self.parts.names(&key.0) {
            let became_whole = self.parts.open(name).is_some_and(|part| Arc::ptr_eq(&part.file, whole));
            if !became_whole {
                self.remove_part(name);
            }
        }
    }

    fn may_begin(&self, complete_length: u64, record_bytes: usize) -> Result<(), StoreRefusal> {
        let limit_bytes = self.options.body_bytes_max.min(self.options.bytes_max);
        if self.is_closing.load(Ordering::Acquire) {
            return Err(StoreRefusal::Closing);
        }
        if complete_length > limit_bytes {
            return Err(StoreRefusal::TooLarge { limit_bytes });
        }
        if self.index.is_behind() {
            return Err(StoreRefusal::IndexBehind);
        }
        if self.is_full(Some(complete_length.min(BLOCK_BYTES))) {
            return Err(StoreRefusal::NoRoom);
        }
        if record_bytes > RECORD_BYTES_MAX {
            return Err(StoreRefusal::HeadTooLarge);
        }
        Ok(())
    }

    /// Lets the one go that was not used for longest, where a URL has as many variants as it may, or the store as many
    /// incomplete responses. No stripe may be held.
    fn make_place(&self, url: UrlKey) -> Result<(), StoreRefusal> {
        let is_crowded = self.parts.names(&url.0).len() >= self.options.variants_max.max(1);
        let prefix: &[u8] = if is_crowded { &url.0 } else { &[] };
        if !is_crowded && self.parts.count() < INCOMPLETE_MAX {
            return Ok(());
        }
        let idle = self.parts.longest_idle(prefix).ok_or(StoreRefusal::NoRoom)?;
        self.evict_part(idle.name);
        Ok(())
    }

    /// Marks an incomplete response stale (a soft purge), whatever rules hold; its blocks stay. One that has just become
    /// complete is left to the purge of what is complete. No stripe may be held. Says what it takes of the disk.
    pub(crate) fn mark_part_stale(&self, part: &Part) -> Option<u64> {
        let mut writer = part.writer();
        if part.is_gone() || writer.is_completed {
            return None;
        }
        match self.write_mark(part, &mut writer) {
            Ok(()) => Some(part.disk_bytes()),
            Err(error) => {
                tracing::warn!(%error, "a partly stored response cannot be marked stale now");
                None
            }
        }
    }

    fn write_mark(&self, part: &Part, writer: &mut Writer) -> Result<(), Flaw> {
        let mut record = decode_incomplete(&self.files.front_of(&part.file)?)?.record;
        let mut parts = decode_head(&record.head).ok_or(Damage::Head)?;
        parts.is_marked_stale = true;
        // One bit of it changes, so that it fits where the same record fitted.
        record.head = encode_head(&parts).into();
        let slot = writer.slot.other();
        let bytes = encode_slot(writer.sequence + 1, &record.encode());
        self.files.disk.write_at(&part.file, &bytes, part.layout.slot_offset(slot))?;
        (writer.slot, writer.sequence) = (slot, writer.sequence + 1);
        part.mark_head_stale();
        Ok(())
    }

    /// Removes an incomplete response unless somebody uses it. Says whether it is gone. No stripe may be held.
    pub(crate) fn evict_part(&self, name: FileName) -> bool {
        let _stripe = self.stripe(name.key.url());
        let is_gone = self.parts.remove_idle(name).is_some();
        if is_gone {
            self.files.remove_part(name);
        }
        is_gone
    }
}

impl Incomplete {
    /// Writes the head into the slot that does not count, from where it counts when its last byte is there.
    fn keep_head(&self) -> Result<(), StoreRefusal> {
        let part = &*self.part;
        let mut writer = part.writer();
        if part.is_gone() || writer.is_completed {
            return Err(StoreRefusal::Invalidated);
        }
        let record = IncompleteRecord {
            url: part.url.clone(),
            variant: self.head.variant_key().into(),
            head: encode_head(self.head.parts()).into(),
            begun_at_ms: part.begun_at_ms,
            complete_length: part.complete_length,
        };
        let encoded = record.encode();
        // One that has become another variant, or has outgrown its slot, is not kept: the file stays what it is called.
        if key_of(&record.url, &record.variant) != part.name.key || !fits(part.layout, encoded.len()) {
            return Err(StoreRefusal::HeadTooLarge);
        }
        let slot = writer.slot.other();
        let bytes = encode_slot(writer.sequence + 1, &encoded);
        self.shared.files.disk.write_at(&part.file, &bytes, part.layout.slot_offset(slot))?;
        (writer.slot, writer.sequence) = (slot, writer.sequence + 1);
        part.set_head(Arc::clone(&self.head), self.rules);
        Ok(())
    }
}

/// Whether a slot holds an incomplete record of this length, and the complete one that it will become.
fn fits(layout: Layout, record_bytes: usize) -> bool {
    layout.fits(record_bytes + COMPLETION_BYTES)
}
