//! The last block has come: the response becomes an ordinary stored one. Nothing that this process wrote is read again.

use std::sync::Arc;

use bytes::Bytes;

use super::super::error::StoreRefusal;
use super::super::find::record_of;
use super::super::publish::Written;
use super::super::record::encode_slot;
use super::super::stored_response::StoredResponse;
use super::Incomplete;
use super::part::Writer;

impl Incomplete {
    /// Publishes the response if every block is here and right; blocks from before the last start are compared now. `whole`
    /// is the body when it is short enough for memory.
    pub(super) fn complete(
        &self,
        writer: &mut Writer,
        whole: Option<Bytes>,
    ) -> Result<Option<Arc<StoredResponse>>, StoreRefusal> {
        let part = &*self.part;
        if writer.is_completed {
            return Ok(None);
        }
        for block in part.blocks.unchecked() {
            match part.read_checked(block) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        let Some(digest) = part.blocks.digest() else { return Ok(None) };
        let Some((head, rules)) = part.newest_head() else { return Ok(None) };
        let record = record_of(&self.key, &head, self.shared.now_ms(), part.complete_length, digest);
        let encoded = record.encode();
        if !part.layout.fits(encoded.len()) {
            return Err(StoreRefusal::HeadTooLarge);
        }
        let bytes = encode_slot(writer.sequence + 1, &encoded);
        let disk = &self.shared.files.disk;
        disk.write_at(&part.file, &bytes, part.layout.slot_offset(writer.slot.other()))?;
        self.sync(writer)?;
        let unpublished = disk.completed(Arc::clone(&part.file), self.shared.files.part_path(part.name));
        let written = Written { unpublished, layout: part.layout, record, small: whole, head: (*head).clone(), rules };
        let stored = self.shared.publish(&self.key, written, || part.is_gone())?;
        writer.is_completed = true;
        self.shared.parts.completed(part.name);
        Ok(Some(stored))
    }

    /// Publishes a response of which all blocks were here at the start, once the last of them was found to be right: the
    /// power went, or the process was killed, between its last block and its publication.
    pub(super) fn complete_if_whole(&self) {
        let part = &*self.part;
        if part.is_gone() || !part.blocks.is_known_whole() {
            return;
        }
        // Whoever writes now has put the last block, and publishes it.
        let Some(mut writer) = part.try_writer() else { return };
        if let Err(error) = self.complete(&mut writer, None) {
            tracing::debug!(%error, "a response that has become complete could not be published");
        }
    }

    /// Makes durable what was written. When the disk does not do that, nobody knows what of it is there: it all goes.
    pub(super) fn sync(&self, writer: &mut Writer) -> Result<(), StoreRefusal> {
        if let Err(error) = self.shared.files.disk.sync(&self.part.file) {
            let name = self.part.name;
            let _stripe = self.shared.stripe(name.key.url());
            self.shared.remove_part(name);
            return Err(error.into());
        }
        writer.unsynced_bytes = 0;
        Ok(())
    }
}
