//! Reading bodies: from memory, from a file that is still growing, or from a stored file, each block checked before
//! its first byte is given out.
//!
//! A short body was checked when it came into memory. A long one up to [`CHECK_FIRST_BYTES`] is checked whole when it is
//! first opened, so that a damaged one is fetched again within the same request; of a longer one each block is checked
//! when it is first read, and the delivery breaks off at a damaged block, never past it. What was checked is believed for
//! as long as the file keeps its identity, length and times of change.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use super::files::{Files, Flaw};
use super::growing::Growing;
use super::name::FileName;
use super::record::Damage;
use super::sums::{BLOCK_BYTES, BlockSums, blocks_of, trailer_bytes};

/// A long body up to this many bytes is checked whole before its first byte goes out: some tens of milliseconds, once.
pub(crate) const CHECK_FIRST_BYTES: u64 = 32 << 20;

/// The most that one read returns.
pub(crate) const READ_BYTES_MAX: usize = 256 << 10;

/// For how long a body of one block that was all in the page cache is taken to be there. What was used a moment ago is the
/// last to leave, and to ask each time takes as long as to send 16 KiB.
const AT_HAND_MS: u32 = 1000;

/// The body of a stored response: where it is, and what of it is known to be right.
pub(crate) struct Body {
    pub(crate) name: FileName,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: [u8; 32],
    /// The whole body, when it is short enough for memory.
    pub(crate) small: Option<Bytes>,
    checked: Checked,
    /// When all of it was last seen in the page cache ([`Files::running_ms`]); zero for never.
    at_hand_ms: AtomicU32,
    files: Arc<Files>,
}

/// What was compared with its checksum, and in which state the file was then.
struct Checked {
    stamp: Mutex<Option<Stamp>>,
    sums: OnceLock<BlockSums>,
    blocks: Box<[AtomicU64]>,
}

/// Changes whenever anything about a file's content does.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Checked {
    fn new(body_bytes: u64) -> Self {
        let words = usize::try_from(blocks_of(body_bytes).div_ceil(64)).expect("bodies are bounded");
        Self { stamp: Mutex::default(), sums: OnceLock::new(), blocks: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    fn is_checked(&self, block: u64) -> bool {
        let word = usize::try_from(block / 64).ok().and_then(|word| self.blocks.get(word));
        word.is_some_and(|word| word.load(Ordering::Acquire) & 1 << (block % 64) != 0)
    }

    fn set_checked(&self, block: u64) {
        if let Some(word) = usize::try_from(block / 64).ok().and_then(|word| self.blocks.get(word)) {
            word.fetch_or(1 << (block % 64), Ordering::AcqRel);
        }
    }

    /// Forgets what was checked when the file is not as it was then.
    fn compare(&self, stamp: Stamp) {
        let mut known = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != Some(stamp) {
            *known = Some(stamp);
            self.blocks.iter().for_each(|word| word.store(0, Ordering::Release));
        }
    }
}

impl Body {
    pub(crate) fn new(
        files: Arc<Files>,
        name: FileName,
        place: (u64, u64),
        digest: [u8; 32],
        small: Option<Bytes>,
    ) -> Self {
        let (offset, bytes) = place;
        let checked = Checked::new(if small.is_some() { 0 } else { bytes });
        Self { name, offset, bytes, digest, small, checked, at_hand_ms: AtomicU32::new(0), files }
    }

    /// Remembers that all of it was just written by ourselves, with the checksums that it has.
    pub(crate) fn trust(&self, file: Arc<File>) {
        if self.small.is_some() {
            return;
        }
        if let Ok(metadata) = file.metadata() {
            self.checked.compare(Stamp::of(&metadata));
            (0..blocks_of(self.bytes)).for_each(|block| self.checked.set_checked(block));
            self.files.open.keep(self.name, file);
        }
    }

    /// The same body under a new head.
    pub(crate) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.files), self.name, (self.offset, self.bytes), self.digest, self.small.clone())
    }

    /// Opens it for reading.
    pub(crate) async fn open(self: &Arc<Self>) -> io::Result<BodyFile> {
        if let Some(file) = self.open_now() {
            return Ok(file);
        }
        let body = Arc::clone(self);
        let opened = self.files.run_blocking(move || body.open_and_check()).await?;
        match opened {
            Ok(file) => Ok(BodyFile(Source::Stored { file, body: Arc::clone(self) })),
            Err(flaw) => Err(self.broken(flaw)),
        }
    }

    /// The same, when it needs no thread that may wait for the disk.
    pub(crate) fn open_now(self: &Arc<Self>) -> Option<BodyFile> {
        if let Some(small) = &self.small {
            return Some(BodyFile(Source::Memory(small.clone())));
        }
        self.file_now().map(|file| BodyFile(Source::Stored { file, body: Arc::clone(self) }))
    }

    /// Its file, when nothing is left to check before the first byte and the system need not look for it on the disk: the
    /// common case.
    fn file_now(&self) -> Option<Arc<File>> {
        if let Some(file) = self.files.open.get(self.name) {
            let metadata = file.metadata().ok()?;
            return self.is_all_checked(&metadata).then_some(file);
        }
        let is_known = self.checked.stamp.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let (file, metadata) = is_known.then(|| self.files.disk.open_now(&self.files.path(self.name)))??;
        let file = self.is_all_checked(&metadata).then(|| Arc::new(file))?;
        self.files.open.keep(self.name, Arc::clone(&file));
        Some(file)
    }

    fn is_all_checked(&self, metadata: &Metadata) -> bool {
        let known = *self.checked.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = metadata.nlink() > 0 && known == Some(Stamp::of(metadata));
        let sums_ready =
            blocks_of(self.bytes) < 2 || self.checked.sums.get().is_some() || self.is_every_block_checked();
        is_same && sums_ready && (self.bytes > CHECK_FIRST_BYTES || self.is_every_block_checked())
    }

    fn is_every_block_checked(&self) -> bool {
        (0..blocks_of(self.bytes)).all(|block| self.checked.is_checked(block))
    }

    fn open_and_check(&self) -> Result<Arc<File>, Flaw> {
        let file = match self.files.open.get(self.name) {
            Some(file) => file,
            None => Arc::new(self.files.disk.open(&self.files.path(self.name), false)?.0),
        };
        let metadata = file.metadata()?;
        if metadata.nlink() == 0 {
            self.files.open.close(self.name);
            return Err(Flaw::Missing);
        }
        if metadata.len() != self.offset + self.bytes + trailer_bytes(self.bytes) {
            return Err(Damage::Length.into());
        }
        self.checked.compare(Stamp::of(&metadata));
        if blocks_of(self.bytes) > 1 && self.checked.sums.get().is_none() {
            let _ = self.checked.sums.set(self.read_sums(&file)?);
        }
        if self.bytes <= CHECK_FIRST_BYTES {
            for block in (0..blocks_of(self.bytes)).filter(|&block| !self.checked.is_checked(block)) {
                self.read_checked(&file, block)?;
            }
        }
        self.files.open.keep(self.name, Arc::clone(&file));
        Ok(file)
    }

    fn read_sums(&self, file: &File) -> Result<BlockSums, Flaw> {
        let length = usize::try_from(trailer_bytes(self.bytes)).map_err(|_| Damage::Length)?;
        let mut trailer = vec![0; length];
        if self.files.disk.read_at(file, &mut trailer, self.offset + self.bytes)? != length {
            return Err(Damage::Length.into());
        }
        BlockSums::read(&trailer, self.bytes, &self.digest).ok_or_else(|| Damage::Body.into())
    }

    /// Reads a whole block and compares it with its checksum.
    fn read_checked(&self, file: &File, block: u64) -> Result<Bytes, Flaw> {
        let start = block * BLOCK_BYTES;
        let length = usize::try_from((self.bytes - start).min(BLOCK_BYTES)).expect("a block fits memory");
        let mut bytes = vec![0; length];
        if self.files.disk.read_at(file, &mut bytes, self.offset + start)? != length {
            return Err(Damage::Length.into());
        }
        let is_right = match self.checked.sums.get() {
            Some(sums) => sums.is_block(block, &bytes),
            None if blocks_of(self.bytes) < 2 => *blake3::hash(&bytes).as_bytes() == self.digest,
            None => self.read_sums(file)?.is_block(block, &bytes),
        };
        if !is_right {
            return Err(Damage::Body.into());
        }
        self.checked.set_checked(block);
        Ok(bytes.into())
    }

    /// Turns a flaw into what the reader gets, and has a damaged file taken out of the store.
    fn broken(&self, flaw: Flaw) -> io::Error {
        match flaw {
            Flaw::Damaged(damage) => {
                self.files.report_damage(self.name, damage);
                io::Error::new(io::ErrorKind::InvalidData, damage)
            }
            Flaw::Missing => io::Error::from(io::ErrorKind::NotFound),
            Flaw::Failed(error) => error,
        }
    }

    /// Reads from a block that was checked before, at most to its end.
    fn read_known(&self, file: &File, offset: u64, max: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.part(offset, max)];
        let read = self.files.disk.read_at(file, &mut bytes, self.offset + offset)?;
        if read == 0 && !bytes.is_empty() {
            return Err(self.broken(Damage::Length.into()));
        }
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// How much a read at `offset` gives: not past the block, nor the body.
    fn part(&self, offset: u64, max: usize) -> usize {
        let left = self.bytes.saturating_sub(offset).min(BLOCK_BYTES - offset % BLOCK_BYTES);
        max.min(READ_BYTES_MAX).min(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

/// A body that can be read at any offset: of a stored response, or of one that is still arriving.
#[derive(Clone)]
pub struct BodyFile(Source);

#[derive(Clone)]
enum Source {
    Memory(Bytes),
    Growing(Arc<Growing>),
    Stored { file: Arc<File>, body: Arc<Body> },
}

impl BodyFile {
    pub(crate) fn growing(growing: Arc<Growing>) -> Self {
        Self(Source::Growing(growing))
    }

    /// How many bytes can be read now: of a body that is still arriving, what has arrived.
    pub fn available_bytes(&self) -> u64 {
        match &self.0 {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::Growing(growing) => growing.available_bytes(),
            Source::Stored { body, .. } => body.bytes,
        }
    }

    /// Up to `max` bytes from `offset` on; fewer are no sign of the end, none are: of the body, or of what has arrived.
    ///
    /// # Errors
    /// `NotFound` when the file is gone, `InvalidData` when it is damaged: it is then dropped from the store and the
    /// response is to be fetched again. Others as the system reports them.
    pub async fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        if let Some(result) = self.read_now(offset, max) {
            return result;
        }
        match &self.0 {
            Source::Memory(_) => Ok(Bytes::new()),
            Source::Growing(growing) => {
                let growing = Arc::clone(growing);
                let files = Arc::clone(growing.files());
                files.run_blocking(move || growing.read_at(offset, max)).await?
            }
            Source::Stored { file, body } => {
                let (file, reading) = (Arc::clone(file), Arc::clone(body));
                body.files.run_blocking(move || reading.read_at(&file, offset, max)).await?
            }
        }
    }

    /// The same, when it needs no thread that may wait for the disk.
    pub(crate) fn read_now(&self, offset: u64, max: usize) -> Option<io::Result<Bytes>> {
        match &self.0 {
            Source::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Some(Ok(bytes.slice(start..bytes.len().min(start.saturating_add(max)))))
            }
            Source::Growing(growing) => growing.read_now(offset, max),
            Source::Stored { file, body } => body.read_now(file, offset, max),
        }
    }
}

impl BodyFile {
    /// Has the system send up to `max` bytes from `offset` on to a socket that does not wait. None when they are no stored
    /// file's, were not checked yet or are not in memory: then they are to be read.
    pub(crate) fn send_now(&self, socket: impl AsFd, offset: u64, max: usize) -> Option<io::Result<usize>> {
        match &self.0 {
            Source::Stored { file, body } => body.send_now(file, socket, offset, max),
            Source::Memory(_) | Source::Growing(_) => None,
        }
    }
}

impl Body {
    fn send_now(&self, file: &File, socket: impl AsFd, offset: u64, max: usize) -> Option<io::Result<usize>> {
        let left = self.bytes.saturating_sub(offset).min(BLOCK_BYTES - offset % BLOCK_BYTES);
        let max = max.min(usize::try_from(left).unwrap_or(usize::MAX));
        if max == 0 || !self.checked.is_checked(offset / BLOCK_BYTES) {
            return None;
        }
        if !self.was_at_hand() {
            if let Err(error) = self.files.disk.is_at_hand(file, self.offset + offset, max)? {
                return Some(Err(error));
            }
            if max as u64 == self.bytes {
                self.at_hand_ms.store(self.files.running_ms(), Ordering::Relaxed);
            }
        }
        match self.files.disk.send(file, socket, self.offset + offset, max) {
            Ok(0) => Some(Err(self.broken(Damage::Length.into()))),
            result => Some(result),
        }
    }

    /// Whether all of it was seen in the page cache a moment ago.
    fn was_at_hand(&self) -> bool {
        let then = self.at_hand_ms.load(Ordering::Relaxed);
        then != 0 && self.files.running_ms().wrapping_sub(then) < AT_HAND_MS
    }
}

impl Body {
    fn read_at(&self, file: &File, offset: u64, max: usize) -> io::Result<Bytes> {
        let block = offset / BLOCK_BYTES;
        if self.checked.is_checked(block) {
            return self.read_known(file, offset, max);
        }
        let bytes = self.read_checked(file, block).map_err(|flaw| self.broken(flaw))?;
        let start = usize::try_from(offset % BLOCK_BYTES).expect("less than a block");
        Ok(bytes.slice(start..start + self.part(offset, max).min(bytes.len() - start)))
    }

    fn read_now(&self, file: &File, offset: u64, max: usize) -> Option<io::Result<Bytes>> {
        if offset >= self.bytes || max == 0 {
            return Some(Ok(Bytes::new()));
        }
        if !self.checked.is_checked(offset / BLOCK_BYTES) {
            return None;
        }
        let mut bytes = vec![0; self.part(offset, max)];
        match self.files.disk.read_now(file, &mut bytes, self.offset + offset)? {
            Ok(0) => Some(Err(self.broken(Damage::Length.into()))),
            Ok(read) => {
                bytes.truncate(read);
                Some(Ok(bytes.into()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
