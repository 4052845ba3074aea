//! A response that is being stored: its body arrives, its head waits, nothing of it is visible until it is whole.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bulaq_cache_policy::{CacheKey, StoredHead};
use bytes::Bytes;

use super::body::BodyFile;
use super::disk::Unpublished;
use super::error::StoreRefusal;
use super::find::record_of;
use super::growing::Growing;
use super::in_flight::Ticket;
use super::index::TagSet;
use super::memory::Rules;
use super::name::UrlKey;
use super::publish::Written;
use super::record::{Layout, RECORD_BYTES_MAX, Record, encode_front};
use super::room::{Reservation, Reserved};
use super::stored_response::StoredResponse;
use super::sums::{BodyHasher, BodySums, trailer_bytes};
use super::{Shared, Store, commit, name};

/// A body up to this many bytes is gathered in memory until it is whole, if there is room, and then written with others:
/// who waits for its bytes does not wait for the disk.
const GATHERED_BODY_BYTES_MAX: u64 = 1 << 20;

/// A long body is written in pieces of at least this many bytes.
const WRITE_BYTES: usize = 256 << 10;

/// After this many bytes what was written is made durable, so that the end of a long body does not wait for all of it,
/// nor the disk's queue fill up with it.
const SYNC_BYTES: u64 = 64 << 20;

/// Room is taken in steps of this many bytes when nobody knows how long a body will be.
const RESERVE_BYTES: u64 = 8 << 20;

/// A response that is being stored. Dropped before [`Fill::finish`], nothing of it remains.
///
/// It goes from hand to hand before it is stored, so it is one word long.
pub struct Fill(Box<Begun>);

struct Begun {
    shared: Arc<Shared>,
    key: CacheKey,
    head: StoredHead,
    announced_bytes: Option<u64>,
    received_bytes: u64,
    growing: Arc<Growing>,
    ticket: Ticket,
    /// What its file will begin with, but for the body's length and hash.
    record: Record,
    record_bytes: usize,
    /// The rules that its head is of.
    rules: Rules,
    /// Whether the body is too long to be kept in memory, and has room there until it is whole.
    is_gathered: bool,
    /// The file, once the body is too long for memory.
    long: Option<Long>,
}

struct Long {
    /// Begins when the body has become too long for memory: a shorter one is hashed in one go when it is written.
    hasher: Box<BodyHasher>,
    unpublished: Unpublished,
    layout: Layout,
    reservation: Reservation,
    /// Body bytes written since they were last made durable.
    unsynced_bytes: u64,
}

impl Store {
    /// Begins to store a response whose body is about to arrive and whose head was made under `rules`. Never waits.
    ///
    /// # Errors
    /// When it is known already that it will not be stored.
    pub fn begin(
        &self,
        key: &CacheKey,
        head: StoredHead,
        content_length: Option<u64>,
        rules: Rules,
    ) -> Result<Fill, StoreRefusal> {
        let shared = &self.0;
        let limit_bytes = shared.options.body_bytes_max.min(shared.options.bytes_max);
        if shared.is_closing.load(Ordering::Acquire) {
            return Err(StoreRefusal::Closing);
        }
        if content_length.is_some_and(|length| length > limit_bytes) {
            return Err(StoreRefusal::TooLarge { limit_bytes });
        }
        if shared.index.is_behind() {
            return Err(StoreRefusal::IndexBehind);
        }
        if shared.is_full(content_length) {
            return Err(StoreRefusal::NoRoom);
        }
        let record = record_of(key, &head, shared.now_ms(), 0, [0; 32]);
        let record_bytes = record.encoded_bytes();
        if record_bytes > RECORD_BYTES_MAX {
            return Err(StoreRefusal::HeadTooLarge);
        }
        let kept_bytes_max = shared.options.memory_body_bytes_max;
        let expected = content_length.filter(|&length| length <= GATHERED_BODY_BYTES_MAX.max(kept_bytes_max));
        let expected = expected.map_or(0, |length| length.min(kept_bytes_max));
        Ok(Fill(Box::new(Begun {
            ticket: shared.in_flight.enter(key, TagSet::of(head.headers())),
            growing: Arc::new(Growing::new(Arc::clone(&shared.files), expected)),
            shared: Arc::clone(shared),
            key: key.clone(),
            head,
            announced_bytes: content_length,
            received_bytes: 0,
            record,
            record_bytes,
            rules,
            is_gathered: false,
            long: None,
        })))
    }
}

impl Fill {
    /// Adds bytes to the body.
    ///
    /// # Errors
    /// When it will not be stored after all. What arrived before can still be read; whoever delivers the response goes
    /// on without the store.
    pub async fn append(&mut self, chunk: Bytes) -> Result<(), StoreRefusal> {
        if self.0.takes_in_memory(&chunk)? { Ok(()) } else { Box::pin(self.0.write_out(chunk)).await }
    }

    /// The body as it grows: what was appended can be read at once, by anyone, also after this fill is finished or dropped.
    pub fn reader(&self) -> BodyFile {
        BodyFile::growing(Arc::clone(&self.0.growing))
    }

    /// What has arrived of a body that is short so far, in one piece, which the store keeps in memory too.
    pub fn in_memory(&self) -> Option<Bytes> {
        self.0.is_kept_in_memory().then(|| self.0.growing.whole())
    }

    /// Stores the response: its body is whole. Returns when it is durable and can be found.
    ///
    /// # Errors
    /// When the body has not the announced length, or the store cannot keep it. Nothing of it remains then.
    pub async fn finish(mut self) -> Result<Arc<StoredResponse>, StoreRefusal> {
        self.0.check_length()?;
        let shared = Arc::clone(&self.0.shared);
        match self.0.long.take() {
            Some(long) => shared.files.run_blocking(move || self.0.commit_long(long)).await?,
            None => shared.commit_soon(self).await,
        }
    }

    /// The same, where nobody waits for it: `done` is told of the outcome, by a thread of the store when the body is in memory.
    /// [`Store::close`] waits for all that was given here before it.
    pub async fn finish_behind(self, done: impl FnOnce(Result<Arc<StoredResponse>, StoreRefusal>) + Send + 'static) {
        if self.0.long.is_some() {
            return done(Box::pin(self.finish()).await);
        }
        match self.0.check_length() {
            Ok(()) => Arc::clone(&self.0.shared).commit_behind((self, Box::new(done))),
            Err(refusal) => done(Err(refusal)),
        }
    }

    /// Writes a body that is in memory to a file of its own, in one step. Waits for the disk.
    pub(super) fn write_whole(self, reserved: &mut Reserved<'_>) -> Result<ReadyToPublish, StoreRefusal> {
        self.0.write_whole(reserved)
    }

    /// How long the file of a body that is in memory will be.
    pub(super) fn whole_file_bytes(&self) -> u64 {
        self.0.layout().file_bytes(self.0.received_bytes)
    }
}

impl Begun {
    /// Adds bytes to a body that is in memory and stays there; false when it must go to a file.
    fn takes_in_memory(&mut self, chunk: &[u8]) -> Result<bool, StoreRefusal> {
        self.received_bytes += chunk.len() as u64;
        let limit_bytes = self.shared.options.body_bytes_max.min(self.shared.options.bytes_max);
        if self.received_bytes > limit_bytes {
            return Err(StoreRefusal::TooLarge { limit_bytes });
        }
        if let Some(announced_bytes) = self.announced_bytes.filter(|&announced| self.received_bytes > announced) {
            return Err(StoreRefusal::LengthMismatch { announced_bytes, received_bytes: self.received_bytes });
        }
        if self.ticket.is_invalidated() {
            return Err(StoreRefusal::Invalidated);
        }
        let is_in_memory = self.is_kept_in_memory() || self.long.is_none() && self.finds_room();
        if is_in_memory {
            self.growing.push(chunk);
        }
        Ok(is_in_memory)
    }

    fn is_kept_in_memory(&self) -> bool {
        self.received_bytes <= self.shared.options.memory_body_bytes_max
    }

    /// Whether there is room for this body in memory until it is whole; takes it when there is.
    fn finds_room(&mut self) -> bool {
        let bytes = self.announced_bytes.unwrap_or(GATHERED_BODY_BYTES_MAX);
        if self.received_bytes.max(bytes) > GATHERED_BODY_BYTES_MAX {
            return false;
        }
        if !self.is_gathered
            && let Ok(bytes) = u32::try_from(bytes)
            && let Ok(room) = Arc::clone(&self.shared.gathering).try_acquire_many_owned(bytes)
        {
            self.growing.gather(bytes as usize, room);
            self.is_gathered = true;
        }
        self.is_gathered
    }

    fn layout(&self) -> Layout {
        Layout::new(self.record_bytes, !self.is_kept_in_memory())
    }

    /// Adds bytes to a body that has become too long for memory.
    async fn write_out(&mut self, chunk: Bytes) -> Result<(), StoreRefusal> {
        let waiting = self.growing.push(&chunk);
        match &mut self.long {
            Some(long) => long.hasher.update(&chunk),
            None => self.spill().await?,
        }
        if waiting >= WRITE_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn check_length(&self) -> Result<(), StoreRefusal> {
        match self.announced_bytes.filter(|&announced| self.received_bytes != announced) {
            None => Ok(()),
            Some(announced_bytes) => {
                Err(StoreRefusal::LengthMismatch { announced_bytes, received_bytes: self.received_bytes })
            }
        }
    }

    /// Gives a body that has become too long for memory a file.
    async fn spill(&mut self) -> Result<(), StoreRefusal> {
        let layout = self.layout();
        let expected = self.announced_bytes.unwrap_or(self.received_bytes + RESERVE_BYTES);
        let (shared, url) = (Arc::clone(&self.shared), UrlKey::of(self.key.as_str()));
        let create = move || {
            let reservation = shared.reserve(layout.file_bytes(expected))?;
            let folder = name::folder_of(&shared.files.bodies, url);
            let unpublished = shared.files.disk.create(&folder, &shared.files.incoming)?;
            Ok::<_, StoreRefusal>((unpublished, reservation))
        };
        let (unpublished, reservation) = self.shared.files.run_blocking(create).await??;
        let mut hasher = Box::new(BodyHasher::new());
        self.growing.each_in_memory(|bytes| hasher.update(bytes));
        self.growing.spill(Arc::clone(unpublished.file()), layout.body_offset);
        self.long = Some(Long { hasher, unpublished, layout, reservation, unsynced_bytes: 0 });
        Ok(())
    }

    /// Writes what waits in memory to the file.
    async fn flush(&mut self) -> Result<(), StoreRefusal> {
        let Some(long) = &mut self.long else { return Ok(()) };
        let (offset, bytes) = self.growing.start_flush();
        long.unsynced_bytes += bytes.len() as u64;
        let is_sync_due = long.unsynced_bytes >= SYNC_BYTES;
        let needed = long.layout.file_bytes(offset + bytes.len() as u64);
        let missing = needed.saturating_sub(long.reservation.bytes());
        let (shared, file) = (Arc::clone(&self.shared), Arc::clone(long.unpublished.file()));
        let body_offset = long.layout.body_offset;
        let write = move || {
            let more = if missing > 0 { Some(shared.reserve(missing + RESERVE_BYTES)?) } else { None };
            shared.files.disk.write_at(&file, &bytes, body_offset + offset)?;
            if is_sync_due {
                shared.files.disk.sync(&file)?;
            }
            Ok::<_, StoreRefusal>(more)
        };
        let more = self.shared.files.run_blocking(write).await??;
        if is_sync_due {
            long.unsynced_bytes = 0;
        }
        if let Some(more) = more {
            long.reservation.merge(more);
        }
        self.growing.flushed();
        Ok(())
    }

    /// Writes what is missing of a long body, makes it durable and visible. Waits for the disk.
    fn commit_long(self: Box<Self>, long: Long) -> Result<Arc<StoredResponse>, StoreRefusal> {
        let Self { shared, mut record, .. } = *self;
        let Long { hasher, unpublished, layout, reservation, .. } = long;
        let BodySums { digest, trailer } = hasher.finish();
        (record.body_bytes, record.digest) = (self.received_bytes, digest);
        let (disk, file) = (&shared.files.disk, unpublished.file());
        let (offset, bytes) = self.growing.start_flush();
        disk.write_at(file, &bytes, layout.body_offset + offset)?;
        self.growing.flushed();
        debug_assert_eq!(trailer.len() as u64, trailer_bytes(self.received_bytes));
        disk.write_at(file, &trailer, layout.body_offset + self.received_bytes)?;
        disk.write_at(file, &encode_front(layout, &record.encode()), 0)?;
        disk.sync(file)?;
        let written = Written { unpublished, layout, record, small: None, head: self.head, rules: self.rules };
        let stored = shared.publish(&self.key, written, || self.ticket.is_invalidated())?;
        drop(reservation); // its bytes are counted by the index from here on
        Ok(stored)
    }

    fn write_whole(self: Box<Self>, reserved: &mut Reserved<'_>) -> Result<ReadyToPublish, StoreRefusal> {
        let (is_kept, layout) = (self.is_kept_in_memory(), self.layout());
        let Self { shared, key, mut record, .. } = *self;
        let body = self.growing.whole();
        let mut hasher = BodyHasher::new();
        hasher.update(&body);
        let BodySums { digest, trailer } = hasher.finish();
        (record.body_bytes, record.digest) = (self.received_bytes, digest);
        let reservation = reserved.take(layout.file_bytes(self.received_bytes))?;
        let disk = &shared.files.disk;
        let folder = name::folder_of(&shared.files.bodies, UrlKey::of(key.as_str()));
        let unpublished = disk.create(&folder, &shared.files.incoming)?;
        let front = encode_front(layout, &record.encode());
        disk.write_chunks_at(unpublished.file(), &commit::pieces(front, body.clone(), trailer), 0)?;
        let small = is_kept.then_some(body);
        if !is_kept {
            // Who still reads it reads the file from here on.
            self.growing.spill(Arc::clone(unpublished.file()), layout.body_offset);
            self.growing.flushed();
        }
        let written = Written { unpublished, layout, record, small, head: self.head, rules: self.rules };
        Ok(ReadyToPublish { key, written, ticket: self.ticket, reservation })
    }
}

/// A short body that is written, and neither durable nor visible yet.
pub(super) struct ReadyToPublish {
    pub(super) key: CacheKey,
    pub(super) written: Written,
    pub(super) ticket: Ticket,
    pub(super) reservation: Reservation,
}

impl ReadyToPublish {
    pub(super) fn file(&self) -> &File {
        self.written.unpublished.file()
    }
}
