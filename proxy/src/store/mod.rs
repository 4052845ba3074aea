//! What is kept: stored responses, in memory while they are hot, in files always.
//!
//! ```text
//! find_in_memory → memory (moka)                          a hot hit: no lock that waits, no disk, no index
//! find           → find     → index/ → files → record     a cold one: on a thread that may wait
//! begin          → fill     → growing → publish → index/  a miss: written unnamed, made durable (short ones together:
//!                                                         commit), then visible, then indexed
//! freshen        → freshen                                a 304: a new head for the same body
//! …_incomplete   → partial/                               a body of which some blocks are here: named from the beginning
//! remove, purge  → purge          reserve → room          what goes: by name, or by age and use when room is needed
//! ```
//!
//! **The files are the truth.** Each begins with its own record (`record.rs`) and is named after what it holds
//! (`name.rs`), so the index (`index/`) can be lost at any moment: look-ups go to the folders until it is complete again.
//! Whatever is read from a file is compared with its checksums first (`sums.rs`, `body.rs`); what fails is set aside
//! and counts as a miss. Every call on a file goes through `disk.rs`, where a test can make it fail.

#[cfg(feature = "benches")]
pub(crate) mod benches;
mod body;
mod commit;
mod disk;
mod error;
mod files;
mod fill;
mod find;
mod freshen;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod growing;
mod head_codec;
mod in_flight;
mod index;
mod list;
mod memory;
mod name;
mod open_files;
mod options;
mod partial;
mod publish;
mod purge;
mod recency;
mod record;
mod room;
mod stored_body;
mod stored_response;
mod sums;
mod verify;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bulaq_cache_policy::{CacheKey, SiteRule};
use tokio::sync::Semaphore;

pub use body::BodyFile;
pub use disk::{Faults, Operation};
pub use error::{StoreError, StoreRefusal};
pub use fill::Fill;
pub use find::Restore;
pub use index::IndexState;
pub use list::{ListCursor, Listed, Listing};
pub(crate) use memory::Place as MemoryPlace;
pub use memory::Rules;
pub use options::StoreOptions;
pub use partial::Incomplete;
pub use purge::{PurgeMode, Purged, Scope};
pub use stored_body::StoredBody;
pub use stored_response::{StoredResponse, Variants};
pub use sums::BLOCK_BYTES;
pub use verify::{DamagedFile, Verified};

use self::files::Files;
use self::index::{Index, Keeper, Minutes, Note, Place, Totals};
use self::memory::Memory;
use self::name::{FileName, UrlKey};
use self::recency::Recency;
use self::room::Room;
use crate::clock::Clock;

/// The store of one folder. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

/// What all parts of the store share.
pub(crate) struct Shared {
    options: StoreOptions,
    clock: Clock,
    files: Arc<Files>,
    index: Arc<Index>,
    memory: Memory,
    room: Arc<Room>,
    parts: partial::Parts,
    recency: Recency,
    in_flight: in_flight::InFlight,
    loading: find::Loading,
    commits: commit::Commits,
    /// A permit for each byte that may be gathered.
    gathering: Arc<Semaphore>,
    /// One lock for the URLs that share a number: whoever changes what is stored for a URL, or loads it, holds it.
    stripes: Box<[Mutex<()>]>,
    is_closing: AtomicBool,
    keeper: Mutex<Option<Keeper>>,
    /// Held for as long as the store is open. Last, so that it is released last.
    _lock: File,
}

/// Locks over all URLs: many more than there are threads that may wait.
const STRIPES: usize = 256;

/// How full the store is, and how it is.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Stored responses.
    pub responses: u64,
    /// What the store's files take of the disk, in bytes: complete and incomplete ones.
    pub bytes: u64,
    /// The most that they may take, in bytes.
    pub bytes_max: u64,
    /// Incomplete responses: of which some blocks are stored.
    pub incomplete: u64,
    /// What of `bytes` these take.
    pub incomplete_bytes: u64,
    /// What of `bytes` is pinned until a later time.
    pub pinned_bytes: u64,
    /// What the disk has free, in bytes; none when it cannot be told.
    pub free_bytes: Option<u64>,
    /// What heads and bodies take in memory, in bytes.
    pub memory_bytes: u64,
    /// How far the index is.
    pub index_state: IndexState,
}

impl Store {
    /// Opens the store in `options.dir`, which it then owns alone. Can be used at once: the index opens
    /// in a thread of its own, and until it is complete the store looks into its folders.
    ///
    /// # Errors
    /// When another process has the folder, or it cannot be made or written.
    pub fn open(options: StoreOptions, clock: Clock) -> Result<Self, StoreError> {
        let folder_error = |source| StoreError::Folder { dir: options.dir.clone(), source };
        disk::make_folder(&options.dir).map_err(folder_error)?;
        let lock = lock(&options.dir)?;
        let disk = disk::Disk::new(options.faults.clone());
        let files = Arc::new(Files::prepare(options.dir.clone(), disk).map_err(folder_error)?);
        let estimate =
            Note::read(&options.dir).map_or_else(Totals::default, |note| Totals::of(note.responses, note.bytes));
        let index = Arc::new(Index::new(estimate));
        let place = Place {
            dir: options.dir.join("index"),
            cache_bytes: options.index_cache_bytes,
            ballast: options.dir.join("ballast"),
            ballast_bytes: options.keeps_ballast().then_some(options.ballast_bytes),
            reopen_after: options.index_reopen_after,
        };
        let keeper = index::start(Arc::clone(&index), Arc::clone(&files), place).map_err(StoreError::Thread)?;
        let shared = Arc::new(Shared {
            memory: Memory::new(options.memory_bytes_max),
            room: Arc::new(Room::default()),
            parts: partial::Parts::find_all(&files),
            recency: Recency::default(),
            in_flight: in_flight::InFlight::default(),
            loading: find::Loading::default(),
            commits: commit::Commits::default(),
            gathering: Arc::new(Semaphore::new(options.gathered_bytes_max.min(Semaphore::MAX_PERMITS))),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            is_closing: AtomicBool::new(false),
            keeper: Mutex::new(Some(keeper)),
            options,
            clock,
            files,
            index,
            _lock: lock,
        });
        shared.listen_for_damage();
        Ok(Self(shared))
    }

    /// What is stored of a URL, from memory alone; `None` says nothing about the disk. For the hot path: no lock that
    /// waits for a disk, no allocation.
    pub fn find_in_memory(&self, key: &CacheKey) -> Option<Variants> {
        self.0.memory.get(key)
    }

    /// Where [`Store::find_in_memory`] finds it, for whoever will ask again.
    pub(crate) fn place_in_memory(&self, key: &CacheKey) -> Option<MemoryPlace> {
        self.0.memory.place(key)
    }

    /// What is in a place of memory: what `find_in_memory` would give, but that the memory does not learn of the use. `None`
    /// when it has to be looked for.
    pub(crate) fn at_place(&self, place: &MemoryPlace) -> Option<Variants> {
        self.0.memory.at(place)
    }

    /// Notes that a response was used. In memory only: a hit never writes.
    pub fn touch(&self, stored: &StoredResponse) {
        self.0.recency.touch(&stored.body.name.key, Minutes::of(self.0.clock.now()));
    }

    /// How full the store is. Asks the disk for its free space.
    pub fn usage(&self) -> Usage {
        let totals = self.0.index.totals();
        let incomplete_bytes = self.0.parts.disk_bytes();
        Usage {
            responses: totals.responses,
            bytes: totals.bytes + incomplete_bytes,
            incomplete: self.0.parts.count() as u64,
            incomplete_bytes,
            bytes_max: self.0.options.bytes_max,
            pinned_bytes: totals.pinned_bytes(Minutes::of(self.0.clock.now())),
            free_bytes: self.0.files.disk.free_bytes(&self.0.files.dir).ok(),
            memory_bytes: self.0.memory.bytes(),
            index_state: self.0.index.state(),
        }
    }

    /// Which of the operator's rules hold now. Whoever derives heads takes it *before* he looks at the rules: then what he
    /// derives under old ones while they change is known to be so, and not remembered.
    pub fn rules(&self) -> Rules {
        self.0.memory.rules()
    }

    /// Forgets what was derived from stored heads, after the operator's rules changed, and does not remember what is on its
    /// way in under the old ones. Nothing stored is lost.
    pub fn forget_memory(&self) {
        self.0.memory.change_rules();
    }

    /// Closes the store in order: what has arrived is written, nothing more is stored, the index is written and made
    /// durable, and the next start need not read the files. A disk that hangs is waited for twice for half a minute at
    /// most, by the runtime's timers. Later calls on other clones find nothing new.
    pub async fn close(self) {
        self.0.is_closing.store(true, Ordering::Release);
        if tokio::time::timeout(DISK_WAIT, self.0.commits.close()).await.is_err() {
            tracing::warn!(
                "the disk did not take in time what had arrived last; it is fetched again when it is asked for"
            );
        }
        let keeper = self.0.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            let is_closed = self.0.files.run_blocking(move || keeper.close_within(DISK_WAIT)).await;
            if !is_closed.unwrap_or(false) {
                tracing::warn!("the index did not close in time; the next start reads the stored files");
            }
        }
    }
}

impl Shared {
    pub(crate) fn stripe(&self, url: UrlKey) -> MutexGuard<'_, ()> {
        self.stripes[url.spread() % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let since = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// A file that turns out to be damaged while it is read goes, and its response with it. Called from any thread.
    fn listen_for_damage(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        self.files.on_damage(move |name: FileName, damage| {
            let Some(shared) = weak.upgrade() else { return };
            // A few system calls, once a damage: worth no thread of its own.
            shared.drop_damaged(name, damage);
        });
    }
}

/// The key of a URL that is in canonical form already; `None` when it is not.
pub(crate) fn cache_key(url: &str) -> Option<CacheKey> {
    let key = CacheKey::new(&url.parse().ok()?, &SiteRule::default())?;
    (key.as_str() == url).then_some(key)
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = open.map_err(|source| StoreError::Folder { dir: dir.to_owned(), source })?;
    let mut tries_left = LOCK_TRIES;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries_left > 0 => {
                tries_left -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(StoreError::Folder { dir: dir.to_owned(), source }),
        }
    }
}

/// How long the last bodies may take to be written, and then the index: a slow disk takes some seconds for either.
const DISK_WAIT: Duration = Duration::from_secs(30);

/// How often and how long a locked folder is waited for, half a second in all: a process that is being replaced may be in
/// its last moments.
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
