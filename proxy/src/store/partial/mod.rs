//! Incomplete responses (RFC 9111 §3.3): bodies of which some blocks are here, until the last one comes (§3.4).
//!
//! ```text
//! find_incomplete  → parts             which there are of a URL: from memory, else one file's front and sums are read
//! begin_incomplete → front             a file at its full length, with holes, named from the beginning
//! put              → part → complete   a block, then its sum; after the last one it becomes an ordinary stored response
//! read_at          → part              a block that is here, compared with its sum if it was written before this start
//! ```
//!
//! A file is named in its own folder from the moment when it is begun, so that a kill leaves it; nothing is made durable
//! for each block, since a block that a power cut spoiled is noticed by its sum and is simply missing again. No row of
//! the index speaks of these files: there are few, and the folder is read at the start.

mod begin;
pub(super) mod blocks;
mod complete;
mod find;
pub(super) mod front;
mod part;
mod parts;
mod verify;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bulaq_cache_policy::{CacheKey, StoredHead};
use bytes::Bytes;

pub(crate) use self::parts::Parts;

use self::part::Used;
use super::Shared;
use super::error::StoreRefusal;
use super::memory::Rules;
use super::stored_response::StoredResponse;
use super::sums::{BLOCK_BYTES, block_sum};

/// After this many bytes what was written is made durable, so that the last block does not wait for all of them.
const SYNC_BYTES: u64 = 64 << 20;

/// A response of whose body some blocks are stored. Blocks may be added and read by many at once. Evicted by no one as
/// long as it is held; it goes on being readable when it was removed, or has become complete.
pub struct Incomplete {
    shared: Arc<Shared>,
    key: CacheKey,
    head: Arc<StoredHead>,
    /// The rules that its head is of.
    rules: Rules,
    part: Used,
}

impl Incomplete {
    /// The cache key under which it is stored.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// What is stored of its head: as of a 200 with the complete body.
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The operator's rules that its head is of.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The length of the complete body in bytes.
    pub fn complete_length(&self) -> u64 {
        self.part.complete_length
    }

    /// How many blocks the complete body has; all are [`BLOCK_BYTES`] long but the last.
    pub fn blocks(&self) -> u64 {
        self.part.blocks.count()
    }

    /// Whether a block is here. It may turn out not to be when it is read: [`Incomplete::read_at`] then says `NotFound`, and
    /// this says no from then on.
    pub fn has_block(&self, block: u64) -> bool {
        self.part.blocks.is_held(block)
    }

    /// How many bytes of the body are here.
    pub fn held_bytes(&self) -> u64 {
        self.part.blocks.held_bytes()
    }

    /// Whether both are the same incomplete response, if under different heads.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.part.part(), other.part.part())
    }

    /// Whether it was removed, purged, replaced or evicted: nothing that is put into it is kept. What it holds can still
    /// be read.
    pub fn is_gone(&self) -> bool {
        self.part.is_gone()
    }

    /// Adds a whole block ([`BLOCK_BYTES`], the last one shorter), given as the chunks in which it came. A block that is
    /// here already stays as it is. Returns the complete response when this was the last block that was missing: it is
    /// durable then, and found from now on.
    ///
    /// # Errors
    /// When the block is not kept: it is not as long as it must be, the store is full or being closed, the disk failed, or
    /// this [is gone](Incomplete::is_gone). Blocks that were put before stay.
    pub async fn put(&self, block: u64, chunks: &[Bytes]) -> Result<Option<Arc<StoredResponse>>, StoreRefusal> {
        let received_bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let announced_bytes = self.part.blocks.length_of(block);
        if received_bytes != announced_bytes || announced_bytes == 0 {
            return Err(StoreRefusal::LengthMismatch { announced_bytes, received_bytes });
        }
        if self.has_block(block) && !self.is_gone() {
            return Ok(None);
        }
        // With what belongs to it: should the caller go away meanwhile, the block is written all the same.
        let (this, chunks) = (self.again(), chunks.to_vec());
        self.shared.files.run_blocking(move || this.put_now(block, &chunks)).await?
    }

    /// Up to `max` bytes from `offset` on, never past the end of the block; fewer are no sign of the end, none are.
    ///
    /// # Errors
    /// `NotFound` when the block is not here, or is not what was written: it is to be fetched. Others as the system
    /// reports them.
    pub async fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        if let Some(result) = self.read_now(offset, max) {
            return result;
        }
        let this = self.again();
        let read = move || {
            let result = this.part.read_at(offset, max);
            this.complete_if_whole();
            result
        };
        self.shared.files.run_blocking(read).await?
    }

    /// The same, when it needs no thread that may wait for the disk.
    pub fn read_now(&self, offset: u64, max: usize) -> Option<io::Result<Bytes>> {
        if offset >= self.complete_length() || max == 0 {
            return Some(Ok(Bytes::new()));
        }
        self.part.read_now(offset, max)
    }

    fn put_now(&self, block: u64, chunks: &[Bytes]) -> Result<Option<Arc<StoredResponse>>, StoreRefusal> {
        let (part, shared) = (&*self.part, &self.shared);
        let sum = block_sum(block, part.complete_length, chunks.iter().map(|chunk| &chunk[..]));
        let mut writer = part.writer();
        if shared.is_closing.load(Ordering::Acquire) {
            return Err(StoreRefusal::Closing);
        }
        if part.is_gone() {
            return Err(StoreRefusal::Invalidated);
        }
        if part.blocks.is_held(block) {
            return Ok(None); // another was faster
        }
        let room = shared.reserve(part.blocks.length_of(block))?;
        let written = part.write(block, sum, chunks);
        shared.parts.grown(part, shared.now_ms());
        drop(room); // its bytes are counted by the parts from here on
        written?;
        writer.unsynced_bytes += part.blocks.length_of(block);
        if !part.blocks.is_whole() {
            if writer.unsynced_bytes >= SYNC_BYTES {
                self.sync(&mut writer)?;
            }
            return Ok(None);
        }
        let whole = (part.blocks.count() == 1 && part.complete_length <= shared.options.memory_body_bytes_max)
            .then(|| Bytes::from(chunks.concat()));
        self.complete(&mut writer, whole)
    }

    fn again(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            key: self.key.clone(),
            head: Arc::clone(&self.head),
            rules: self.rules,
            part: self.part.clone(),
        }
    }
}

/// Says nothing of fields or queries: this ends up in debug output.
impl std::fmt::Debug for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incomplete")
            .field("key", &self.key)
            .field("held_bytes", &self.held_bytes())
            .field("complete_length", &self.complete_length())
            .finish_non_exhaustive()
    }
}

const _: () = assert!(SYNC_BYTES >= BLOCK_BYTES);
