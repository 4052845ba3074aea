//! The file of one incomplete response: reading its blocks, each compared before its first byte goes out, and writing them.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulaq_cache_policy::{StoredHead, StoredHeadParts};
use bytes::Bytes;

use super::super::body::READ_BYTES_MAX;
use super::super::files::{Files, Flaw, key_of};
use super::super::find::Restore;
use super::super::head_codec::decode_head;
use super::super::memory::Rules;
use super::super::name::FileName;
use super::super::record::{Damage, Layout, Slot};
use super::super::sums::{BLOCK_BYTES, block_sum, trailer_bytes};
use super::blocks::{Block, Blocks, Sum};
use super::front::{IncompleteRecord, decode_blocks, decode_incomplete, sum_offset};

/// One incomplete response. All who use it share this; it goes on being readable when its name is gone.
pub(crate) struct Part {
    pub(crate) name: FileName,
    pub(crate) url: Box<str>,
    pub(crate) complete_length: u64,
    pub(crate) begun_at_ms: u64,
    pub(crate) layout: Layout,
    pub(crate) file: Arc<File>,
    pub(crate) blocks: Blocks,
    head: Mutex<Head>,
    writer: Mutex<Writer>,
    is_gone: AtomicBool,
    users: AtomicUsize,
    files: Arc<Files>,
}

/// A head as it is written down, or as the rules of a moment have restored it; with these rules' number.
enum Head {
    Written(StoredHeadParts),
    Restored(Arc<StoredHead>, Rules),
}

impl Head {
    fn parts(&self) -> &StoredHeadParts {
        match self {
            Self::Written(parts) => parts,
            Self::Restored(head, _) => head.parts(),
        }
    }
}

/// What whoever writes to the file must know. One writes at a time, so that of two who bring the same block in different
/// words one is told that it is here already, and nobody ever reads a mixture.
pub(crate) struct Writer {
    /// The slot of the newest head, and its sequence number.
    pub(crate) slot: Slot,
    pub(crate) sequence: u64,
    /// Body bytes written since they were last made durable.
    pub(crate) unsynced_bytes: u64,
    pub(crate) is_completed: bool,
}

/// A file that was just made, and what is in it.
pub(crate) struct NewPart {
    pub(crate) name: FileName,
    pub(crate) layout: Layout,
    pub(crate) file: Arc<File>,
    pub(crate) record: IncompleteRecord,
    pub(crate) head: Arc<StoredHead>,
    pub(crate) rules: Rules,
}

impl Part {
    /// A part of which nothing is here yet.
    pub(crate) fn new(files: Arc<Files>, new: NewPart) -> Self {
        let NewPart { name, layout, file, record, head, rules } = new;
        let blocks = Blocks::all_missing(record.complete_length);
        Self::of(files, (name, layout, file), record, blocks, (Head::Restored(head, rules), Slot::A, 1))
    }

    fn of(
        files: Arc<Files>,
        (name, layout, file): (FileName, Layout, Arc<File>),
        record: IncompleteRecord,
        blocks: Blocks,
        (head, slot, sequence): (Head, Slot, u64),
    ) -> Self {
        Self {
            name,
            url: record.url,
            complete_length: record.complete_length,
            begun_at_ms: record.begun_at_ms,
            layout,
            file,
            blocks,
            head: Mutex::new(head),
            writer: Mutex::new(Writer { slot, sequence, unsynced_bytes: 0, is_completed: false }),
            is_gone: AtomicBool::new(false),
            users: AtomicUsize::new(0),
            files,
        }
    }

    /// Reads what an earlier process left. Waits for the disk.
    pub(crate) fn load(files: &Arc<Files>, name: FileName) -> Result<Self, Flaw> {
        use std::os::unix::fs::MetadataExt;
        let (file, metadata) = files.disk.open(&files.part_path(name), true)?;
        let bytes = files.front_of(&file)?;
        let front = decode_incomplete(&bytes)?;
        let record = front.record;
        if front.was_completed && metadata.nlink() > 1 {
            return Err(Flaw::Missing); // it is complete and has its other name; this one was about to go
        }
        if key_of(&record.url, &record.variant) != name.key {
            return Err(Damage::Name.into());
        }
        if front.layout.file_bytes(record.complete_length) != metadata.len() {
            return Err(Damage::Length.into());
        }
        if record.complete_length <= BLOCK_BYTES {
            return Err(Flaw::Missing); // one block, which did not come: there is nothing in it
        }
        let length = usize::try_from(trailer_bytes(record.complete_length)).map_err(|_| Damage::Length)?;
        let mut trailer = vec![0; length];
        if files.disk.read_at(&file, &mut trailer, front.layout.body_offset + record.complete_length)? != length {
            return Err(Damage::Length.into());
        }
        let blocks = decode_blocks(&trailer, record.complete_length).ok_or(Damage::Length)?;
        let blocks = Blocks::of(record.complete_length, blocks);
        let head = Head::Written(decode_head(&record.head).ok_or(Damage::Head)?);
        let head = (head, front.slot, front.sequence);
        Ok(Self::of(Arc::clone(files), (name, front.layout, Arc::new(file)), record, blocks, head))
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its head as the rules `rules` have made it; none when they have not been asked.
    pub(crate) fn head_under(&self, rules: Rules) -> Option<Arc<StoredHead>> {
        match &*self.head() {
            Head::Restored(head, of) if *of == rules => Some(Arc::clone(head)),
            Head::Restored(..) | Head::Written(_) => None,
        }
    }

    /// Its head under the rules of now, which `restore` knows and whose number is `rules`.
    pub(crate) fn restored_head(&self, restore: &impl Restore, rules: Rules) -> Arc<StoredHead> {
        let mut head = self.head();
        if let Head::Restored(head, of) = &*head
            && *of == rules
        {
            return Arc::clone(head);
        }
        let restored = Arc::new(restore(head.parts().clone()));
        *head = Head::Restored(Arc::clone(&restored), rules);
        restored
    }

    /// Its head as it is written down.
    pub(crate) fn head_parts(&self) -> StoredHeadParts {
        self.head().parts().clone()
    }

    /// Its newest head that the file holds, with the number of its rules; none before it was first restored.
    pub(crate) fn newest_head(&self) -> Option<(Arc<StoredHead>, Rules)> {
        match &*self.head() {
            Head::Restored(head, rules) => Some((Arc::clone(head), *rules)),
            Head::Written(_) => None,
        }
    }

    /// What the mark in the file says.
    pub(crate) fn mark_head_stale(&self) {
        match &mut *self.head() {
            Head::Restored(head, _) => Arc::make_mut(head).mark_stale(),
            Head::Written(parts) => parts.is_marked_stale = true,
        }
    }

    pub(crate) fn set_head(&self, new: Arc<StoredHead>, rules: Rules) {
        *self.head() = Head::Restored(new, rules);
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, when nobody writes now.
    pub(crate) fn try_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        self.writer.try_lock().ok()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    pub(crate) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::Release);
    }

    pub(crate) fn is_used(&self) -> bool {
        self.users.load(Ordering::Acquire) > 0
    }

    /// What its file takes of the disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map_or(0, |metadata| metadata.blocks() * 512)
    }

    /// Writes a block and then its sum. Waits for the disk.
    pub(crate) fn write(&self, block: u64, sum: Sum, chunks: &[Bytes]) -> io::Result<()> {
        let disk = &self.files.disk;
        disk.write_chunks_at(&self.file, chunks, self.layout.body_offset + block * BLOCK_BYTES)?;
        if let Some(offset) = sum_offset(self.layout, self.complete_length, block) {
            disk.write_at(&self.file, &sum, offset)?;
        }
        self.blocks.set(block, Block::Checked(sum));
        Ok(())
    }

    /// Reads a whole block and compares it with its sum. One that is not right is missing from then on; its sum stays in the
    /// file until it is written anew, and would be found wrong again. Waits for the disk.
    pub(crate) fn read_checked(&self, block: u64) -> io::Result<Bytes> {
        let known = self.blocks.get(block);
        let (Block::Unchecked(sum) | Block::Checked(sum)) = known else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut bytes = vec![0; usize::try_from(self.blocks.length_of(block)).expect("a block fits memory")];
        let read = self.files.disk.read_at(&self.file, &mut bytes, self.layout.body_offset + block * BLOCK_BYTES)?;
        bytes.truncate(read);
        if block_sum(block, self.complete_length, [&bytes[..]]) == sum {
            self.blocks.change(block, known, Block::Checked(sum));
            return Ok(bytes.into());
        }
        self.blocks.change(block, known, Block::Missing);
        tracing::info!(
            file = self.name.file_name(),
            block,
            "a block of a partly stored response is not right; it will be fetched again"
        );
        Err(io::ErrorKind::NotFound.into())
    }

    /// Up to `max` bytes of a held block; waits for the disk where it must.
    pub(crate) fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let block = offset / BLOCK_BYTES;
        let known = self.blocks.get(block);
        match known {
            Block::Missing => Err(io::ErrorKind::NotFound.into()),
            Block::Unchecked(_) => {
                let bytes = self.read_checked(block)?;
                let start = usize::try_from(offset % BLOCK_BYTES).expect("less than a block");
                Ok(bytes.slice(start..start + self.length(offset, max)))
            }
            Block::Checked(_) => {
                let mut bytes = vec![0; self.length(offset, max)];
                let read = self.files.disk.read_at(&self.file, &mut bytes, self.layout.body_offset + offset)?;
                self.took(block, known, bytes, read)
            }
        }
    }

    /// The same, when it needs no thread that may wait for the disk.
    pub(crate) fn read_now(&self, offset: u64, max: usize) -> Option<io::Result<Bytes>> {
        let block = offset / BLOCK_BYTES;
        let known = self.blocks.get(block);
        match known {
            Block::Missing => Some(Err(io::ErrorKind::NotFound.into())),
            Block::Unchecked(_) => None,
            Block::Checked(_) => {
                let mut bytes = vec![0; self.length(offset, max)];
                match self.files.disk.read_now(&self.file, &mut bytes, self.layout.body_offset + offset)? {
                    Ok(read) => Some(self.took(block, known, bytes, read)),
                    Err(error) => Some(Err(error)),
                }
            }
        }
    }

    /// What was read. Nothing at all of a held block means that somebody cut the file.
    fn took(&self, block: u64, known: Block, mut bytes: Vec<u8>, read: usize) -> io::Result<Bytes> {
        if read == 0 && !bytes.is_empty() {
            self.blocks.change(block, known, Block::Missing);
            return Err(io::ErrorKind::NotFound.into());
        }
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// How much a read at `offset` gives: not past the block, nor the body.
    fn length(&self, offset: u64, max: usize) -> usize {
        let left = self.complete_length.saturating_sub(offset).min(BLOCK_BYTES - offset % BLOCK_BYTES);
        max.min(READ_BYTES_MAX).min(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

/// A part that somebody reads or writes: eviction leaves it alone.
pub(crate) struct Used(Arc<Part>);

impl Used {
    pub(crate) fn new(part: Arc<Part>) -> Self {
        part.users.fetch_add(1, Ordering::AcqRel);
        Self(part)
    }

    pub(crate) fn part(&self) -> &Arc<Part> {
        &self.0
    }
}

impl Clone for Used {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deref for Used {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.0
    }
}
