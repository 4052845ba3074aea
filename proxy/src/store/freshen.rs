//! A new head for a stored body: after a 304, or when an operator marks a response stale. RFC 9111 §4.3.4.
//!
//! The head goes into the slot that does not count, with the next sequence number: until its last byte is there the old
//! head counts. A head that has outgrown its slot takes the body along into a new file.

use std::sync::Arc;

use bulaq_cache_policy::StoredHead;

use super::error::StoreRefusal;
use super::files::Flaw;
use super::find::record_of;
use super::head_codec::{decode_head, encode_head};
use super::index::{Row, TagSet};
use super::memory::Rules;
use super::name::{FileName, UrlKey, folder_of};
use super::publish::Written;
use super::record::{Damage, Front, Layout, RECORD_BYTES_MAX, decode_front, encode_front, encode_slot};
use super::stored_response::{StoredResponse, Variants};
use super::sums::{BLOCK_BYTES, BodyHasher};
use super::{Shared, Store};

#[derive(Debug, thiserror::Error)]
enum NotFreshened {
    #[error("the stored file has a flaw: {0}")]
    Flaw(#[from] Flaw),
    #[error("the store refused it: {0}")]
    Refused(#[from] StoreRefusal),
    #[error("it was replaced meanwhile")]
    Replaced,
}

impl From<std::io::Error> for NotFreshened {
    fn from(error: std::io::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl Store {
    /// Gives a stored response a new head, made under `rules`. Returns the response to go on with, once it is durable. When the disk refuses,
    /// or the response was replaced or removed meanwhile, the answer can still be used; the store keeps what it has.
    pub async fn freshen(&self, stored: &Arc<StoredResponse>, head: StoredHead, rules: Rules) -> Arc<StoredResponse> {
        let (shared, stored) = (Arc::clone(&self.0), Arc::clone(stored));
        let unkept = Arc::new(stored.with_head(head.clone()));
        match self.0.files.run_blocking(move || shared.freshen(&stored, head, rules)).await {
            Ok(Ok(freshened)) => freshened,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a freshened head was not kept");
                unkept
            }
            Err(_) => unkept,
        }
    }
}

impl Shared {
    fn freshen(
        &self,
        stored: &Arc<StoredResponse>,
        head: StoredHead,
        rules: Rules,
    ) -> Result<Arc<StoredResponse>, NotFreshened> {
        let name = stored.body.name;
        let url = UrlKey::of(stored.key.as_str());
        let _stripe = self.stripe(url);
        let result = self.freshen_held(stored, head, rules);
        if let Err(NotFreshened::Flaw(Flaw::Damaged(damage))) = &result {
            let row = self.row_on_disk(name.key).filter(|row| row.generation == name.generation);
            self.lose(name, row, (*damage).into());
            self.memory.remove(&stored.key);
        }
        result
    }

    fn freshen_held(
        &self,
        stored: &Arc<StoredResponse>,
        head: StoredHead,
        rules: Rules,
    ) -> Result<Arc<StoredResponse>, NotFreshened> {
        let (name, body) = (stored.body.name, &stored.body);
        let (file, _) = self.files.disk.open(&self.files.path(name), true).map_err(Flaw::from)?;
        let front = decode_front(&self.files.front_of(&file)?).map_err(Flaw::from)?;
        if front.record.digest != body.digest || front.record.body_bytes != body.bytes {
            return Err(NotFreshened::Replaced);
        }
        let record = record_of(&stored.key, &head, front.record.stored_at_ms, body.bytes, body.digest);
        let encoded = record.encode();
        if encoded.len() > RECORD_BYTES_MAX {
            return Err(StoreRefusal::HeadTooLarge.into());
        }
        if record.variant != front.record.variant || !front.layout.fits(encoded.len()) {
            return self.move_body(stored, &file, front, head, rules);
        }
        let slot = front.slot.other();
        let bytes = encode_slot(front.sequence + 1, &encoded);
        self.files.disk.write_at(&file, &bytes, front.layout.slot_offset(slot))?;
        self.files.disk.sync(&file)?;
        let body = Arc::new(body.again());
        let freshened = Arc::new(StoredResponse { head, key: stored.key.clone(), body, stored_at: stored.stored_at });
        self.note_tags(name, &freshened.head);
        self.replace_in_memory(&freshened, rules);
        Ok(freshened)
    }

    /// A 304 may have brought other tags.
    fn note_tags(&self, name: FileName, head: &StoredHead) {
        let tags = TagSet::of(head.headers());
        if let Some(row) =
            self.row_on_disk(name.key).filter(|row| row.generation == name.generation && row.tags != tags)
        {
            self.index.change(name.key, Some(row), Some(Row { tags, ..row }));
        }
    }

    /// Marks a stored file stale (a soft purge), whatever rules hold. Durable once [`Disk::sync_all`](super::disk::Disk::sync_all)
    /// has run. The stripe must be held.
    pub(crate) fn mark_stale(&self, name: FileName) -> Result<(), Flaw> {
        let (file, _) = self.files.disk.open(&self.files.path(name), true)?;
        let Front { layout, slot, sequence, mut record } = decode_front(&self.files.front_of(&file)?)?;
        let mut parts = decode_head(&record.head).ok_or(Damage::Head)?;
        if parts.is_marked_stale {
            return Ok(());
        }
        parts.is_marked_stale = true;
        // One bit of it changes, so that it fits where the same record fitted.
        record.head = encode_head(&parts).into();
        let bytes = encode_slot(sequence + 1, &record.encode());
        Ok(self.files.disk.write_at(&file, &bytes, layout.slot_offset(slot.other()))?)
    }

    fn replace_in_memory(&self, freshened: &Arc<StoredResponse>, rules: Rules) {
        let Some(known) = self.memory.get(&freshened.key) else { return };
        let is_same = |other: &Arc<StoredResponse>| other.body.name == freshened.body.name;
        let variants: Variants =
            known.iter().map(|other| if is_same(other) { Arc::clone(freshened) } else { Arc::clone(other) }).collect();
        self.memory.put(&freshened.key, variants, rules);
    }

    /// Copies the body behind a larger head, checking it on the way.
    fn move_body(
        &self,
        stored: &Arc<StoredResponse>,
        file: &std::fs::File,
        front: Front,
        head: StoredHead,
        rules: Rules,
    ) -> Result<Arc<StoredResponse>, NotFreshened> {
        let (body, url) = (&stored.body, UrlKey::of(stored.key.as_str()));
        let record = record_of(&stored.key, &head, front.record.stored_at_ms, body.bytes, body.digest);
        let encoded = record.encode();
        let layout = Layout::new(encoded.len(), body.small.is_none());
        // The old file's room serves the new one: both are there for a moment only.
        let disk = &self.files.disk;
        let unpublished = disk.create(&folder_of(&self.files.bodies, url), &self.files.incoming)?;
        let mut hasher = BodyHasher::new();
        let mut buffer = vec![0; usize::try_from(BLOCK_BYTES.min(body.bytes)).expect("at most a block")];
        let mut at = 0;
        while at < body.bytes {
            let length = usize::try_from((body.bytes - at).min(BLOCK_BYTES)).expect("at most a block");
            if disk.read_at(file, &mut buffer[..length], front.layout.body_offset + at)? != length {
                return Err(Flaw::from(Damage::Length).into());
            }
            hasher.update(&buffer[..length]);
            disk.write_at(unpublished.file(), &buffer[..length], layout.body_offset + at)?;
            at += length as u64;
        }
        let sums = hasher.finish();
        if sums.digest != body.digest {
            return Err(Flaw::from(Damage::Body).into());
        }
        disk.write_at(unpublished.file(), &sums.trailer, layout.body_offset + body.bytes)?;
        disk.write_at(unpublished.file(), &encode_front(layout, &encoded), 0)?;
        disk.sync(unpublished.file())?;
        if record.variant != front.record.variant {
            // It is another variant from now on: the one that it was goes first, or both would be found.
            let row = self.row_on_disk(body.name.key);
            self.index.change(body.name.key, row, None);
            self.files.remove(body.name);
        }
        let written = Written { unpublished, layout, record, small: body.small.clone(), head, rules };
        Ok(self.publish_held(&stored.key, url, written)?)
    }
}
