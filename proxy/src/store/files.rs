//! The folders of a store and the files in them: finding, reading and checking, setting damaged ones aside.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::disk::{Disk, make_folder};
use super::name::{FileName, IndexKey, UrlKey, folder_of};
use super::open_files::OpenFiles;
use super::record::{Damage, Front, decode_front, front_bytes};

/// Threads that may wait for the disk at a time. More would only queue in the disk; fewer would not let it merge
/// the flushes of many small files.
const BLOCKING_MAX: usize = 32;

/// What is read of a long file at first: room for the front of nearly any.
const FIRST_READ_BYTES: usize = 4096;

/// Damaged files that are kept for a person to look at; beyond that they are removed.
const DAMAGED_FILES_MAX: usize = 100;

/// Folders and files, and the threads that may wait for them.
pub(crate) struct Files {
    pub(crate) disk: Disk,
    pub(crate) dir: PathBuf,
    pub(crate) bodies: PathBuf,
    pub(crate) incoming: PathBuf,
    /// Incomplete responses, flat: there are few.
    pub(crate) parts: PathBuf,
    damaged: PathBuf,
    blocking: Arc<Semaphore>,
    /// Open files of long bodies that are being read.
    pub(crate) open: OpenFiles,
    started: Instant,
    /// Told of a damaged file, once it is known which response is lost by it.
    on_damage: OnceLock<DamageListener>,
}

type DamageListener = Box<dyn Fn(FileName, Damage) + Send + Sync>;

/// A file that was read and found whole.
pub(crate) struct Found {
    pub(crate) front: Front,
    /// The body, checked, when it is short.
    pub(crate) small_body: Option<Bytes>,
    pub(crate) file_bytes: u64,
}

/// Why a file gives no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("it is gone")]
    Missing,
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The machine is short of something; the file may be whole.
    #[error("it could not be read now")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        let raw = error.raw_os_error();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            // A link, a folder or a pipe in the place of a file; a bad sector.
            io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(Damage::Unreadable)
            }
            _ if raw == Some(Errno::IO.raw_os_error()) || raw == Some(Errno::LOOP.raw_os_error()) => {
                Self::Damaged(Damage::Unreadable)
            }
            _ => Self::Failed(error),
        }
    }
}

impl Files {
    /// Makes the folders and removes what an earlier process left unfinished.
    pub(crate) fn prepare(dir: PathBuf, disk: Disk) -> io::Result<Self> {
        let files = Self {
            disk,
            bodies: dir.join("bodies"),
            incoming: dir.join("incoming"),
            parts: dir.join("parts"),
            damaged: dir.join("damaged"),
            dir,
            blocking: Arc::new(Semaphore::new(BLOCKING_MAX)),
            open: OpenFiles::default(),
            started: Instant::now(),
            on_damage: OnceLock::new(),
        };
        // On a full disk a folder cannot be made; what can be read then is served all the same.
        for folder in [&files.bodies, &files.incoming] {
            make_folder(folder)?;
        }
        // Without it nothing is stored in parts; all else goes on.
        if let Err(error) = make_folder(&files.parts) {
            tracing::warn!(%error, "the folder for partly stored lessons cannot be made");
        }
        for left in fs::read_dir(&files.incoming)? {
            let _ = fs::remove_file(left?.path());
        }
        Ok(files)
    }

    /// For how long the store has been open, in milliseconds from one on; wraps after some weeks.
    pub(crate) fn running_ms(&self) -> u32 {
        (self.started.elapsed().as_millis() as u32).wrapping_add(1).max(1)
    }

    /// Who is to be told of damaged files.
    pub(crate) fn on_damage(&self, listener: impl Fn(FileName, Damage) + Send + Sync + 'static) {
        let _ = self.on_damage.set(Box::new(listener));
    }

    pub(crate) fn report_damage(&self, name: FileName, damage: Damage) {
        if let Some(listener) = self.on_damage.get() {
            listener(name, damage);
        }
    }

    /// Runs what may wait for the disk on a thread that may wait.
    ///
    /// # Errors
    /// When the runtime is shutting down, or the work panicked.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.blocking).acquire_owned().await.map_err(io::Error::other)?;
        let work = move || {
            let result = work();
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
    }

    /// Threads that wait for the disk now.
    #[cfg(test)]
    pub(crate) fn threads_in_use(&self) -> usize {
        BLOCKING_MAX - self.blocking.available_permits()
    }

    pub(crate) fn path(&self, name: FileName) -> PathBuf {
        name.path(&self.bodies)
    }

    /// Where an incomplete response of this name is.
    pub(crate) fn part_path(&self, name: FileName) -> PathBuf {
        self.parts.join(name.file_name())
    }

    /// The files of a URL, told from the names in its folder: of each variant the newest, and those that it replaced.
    pub(crate) fn names_of(&self, url: UrlKey) -> io::Result<Names> {
        let mut names = Names::default();
        match fs::read_dir(folder_of(&self.bodies, url)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(entries) => {
                for entry in entries {
                    if let Some(name) = entry?.file_name().to_str().and_then(FileName::parse)
                        && name.key.url() == url
                    {
                        names.add(name);
                    }
                }
            }
        }
        Ok(names)
    }

    /// The folders that hold bodies, at most 4,096.
    pub(crate) fn folders(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&self.bodies)?.map(|entry| Ok(entry?.path())).collect()
    }

    /// Reads a file's front and checks that it is the one of this name and whole in length; a body up to
    /// `body_bytes_max` is read and its checksum compared.
    pub(crate) fn read(&self, name: FileName, body_bytes_max: u64) -> Result<Found, Flaw> {
        let (file, metadata) = self.disk.open(&self.path(name), false)?;
        let file_bytes = metadata.len();
        let whole = usize::try_from(file_bytes).unwrap_or(usize::MAX);
        let fits_one_read = file_bytes <= body_bytes_max.saturating_add(FIRST_READ_BYTES as u64);
        let mut bytes = vec![0; if fits_one_read { whole } else { FIRST_READ_BYTES }];
        let read = self.disk.read_at(&file, &mut bytes, 0)?;
        bytes.truncate(read);
        let needed = front_bytes(&bytes)?;
        if needed > bytes.len() && whole > bytes.len() {
            bytes.resize(needed.min(whole), 0);
            let read = self.disk.read_at(&file, &mut bytes, 0)?;
            bytes.truncate(read);
        }
        let front = decode_front(&bytes)?;
        check_front(&front, name, file_bytes)?;
        let small_body = match front.record.body_bytes <= body_bytes_max {
            true => Some(self.small_body(&file, &front, &bytes)?),
            false => None,
        };
        Ok(Found { front, small_body, file_bytes })
    }

    /// The beginning of an open file, long enough for its front.
    pub(crate) fn front_of(&self, file: &File) -> Result<Vec<u8>, Flaw> {
        let mut bytes = vec![0; FIRST_READ_BYTES];
        let read = self.disk.read_at(file, &mut bytes, 0)?;
        bytes.truncate(read);
        let needed = front_bytes(&bytes)?;
        if needed > bytes.len() {
            bytes.resize(needed, 0);
            let read = self.disk.read_at(file, &mut bytes, 0)?;
            bytes.truncate(read);
        }
        Ok(bytes)
    }

    /// Whether nothing was ever written at the beginning of an incomplete file, as far as the disk knows.
    pub(crate) fn begins_in_zeros(&self, name: FileName) -> bool {
        let mut start = [0; 32];
        let read =
            self.disk.open(&self.part_path(name), false).and_then(|(file, _)| self.disk.read_at(&file, &mut start, 0));
        read.is_ok() && start == [0; 32]
    }

    fn small_body(&self, file: &File, front: &Front, read: &[u8]) -> Result<Bytes, Flaw> {
        let too_long = |_| Flaw::Damaged(Damage::Length);
        let start = usize::try_from(front.layout.body_offset).map_err(too_long)?;
        let length = usize::try_from(front.record.body_bytes).map_err(too_long)?;
        let body = match read.get(start..start + length) {
            Some(body) => Bytes::copy_from_slice(body),
            None => {
                let mut body = vec![0; length];
                if self.disk.read_at(file, &mut body, front.layout.body_offset)? != length {
                    return Err(Damage::Length.into());
                }
                body.into()
            }
        };
        if *blake3::hash(&body).as_bytes() != front.record.digest {
            return Err(Damage::Body.into());
        }
        Ok(body)
    }

    /// Takes a damaged file out of the store; keeps it where a person can look at it, up to a number of them.
    pub(crate) fn set_aside(&self, name: FileName, damage: Damage) {
        self.open.close(name);
        if !self.move_aside(name, &self.path(name), damage) {
            self.remove(name);
        }
    }

    /// The same for an incomplete one.
    pub(crate) fn set_part_aside(&self, name: FileName, damage: Damage) {
        if !self.move_aside(name, &self.part_path(name), damage) {
            self.remove_part(name);
        }
    }

    fn move_aside(&self, name: FileName, path: &Path, damage: Damage) -> bool {
        tracing::warn!(file = name.file_name(), %damage, "a stored file is damaged; it is set aside and will be fetched again");
        let is_crowded = fs::read_dir(&self.damaged).is_ok_and(|entries| entries.count() >= DAMAGED_FILES_MAX);
        let to = self.damaged.join(name.file_name());
        !is_crowded && make_folder(&self.damaged).and_then(|()| self.disk.rename(path, &to)).is_ok()
    }

    /// Removes a file, as far as the disk lets us: what stays is found by the next reconciliation.
    pub(crate) fn remove(&self, name: FileName) {
        self.open.close(name);
        self.unlink(name, &self.path(name));
    }

    /// The same for an incomplete one.
    pub(crate) fn remove_part(&self, name: FileName) {
        self.unlink(name, &self.part_path(name));
    }

    fn unlink(&self, name: FileName, path: &Path) {
        if let Err(error) = self.disk.unlink(path) {
            tracing::warn!(%error, file = name.file_name(), "a file of the store could not be removed");
        }
    }
}

/// Whether a front belongs to this name, and the file is as long as it says.
fn check_front(front: &Front, name: FileName, file_bytes: u64) -> Result<(), Damage> {
    if key_of(&front.record.url, &front.record.variant) != name.key {
        return Err(Damage::Name);
    }
    if front.layout.file_bytes(front.record.body_bytes) != file_bytes {
        return Err(Damage::Length);
    }
    Ok(())
}

/// The index key of a record.
pub(crate) fn key_of(url: &str, variant: &[u8]) -> IndexKey {
    UrlKey::of(url).variant(variant)
}

/// Names of files: the newest of each key, and older ones that a crash left beside them.
#[derive(Default)]
pub(crate) struct Names {
    newest: HashMap<IndexKey, u64>,
    pub(crate) superseded: Vec<FileName>,
}

impl Names {
    pub(crate) fn add(&mut self, name: FileName) {
        let newest = self.newest.entry(name.key).or_insert(name.generation);
        if *newest != name.generation {
            let generation = name.generation.min(*newest);
            *newest = name.generation.max(*newest);
            self.superseded.push(FileName { key: name.key, generation });
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = FileName> {
        self.newest.iter().map(|(&key, &generation)| FileName { key, generation })
    }
}
