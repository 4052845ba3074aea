//! Every call that the store makes on its files, in one place, so that a test can make any of them fail.

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// What the store asks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Making a file.
    Create,
    /// Writing bytes of a body or a record.
    Write,
    /// Making what was written durable.
    Sync,
    /// Making a finished file visible under its name.
    Publish,
    /// Opening a file to read it.
    Open,
    /// Reading bytes.
    Read,
    /// Removing a file.
    Unlink,
    /// Moving a damaged file aside.
    Rename,
    /// Opening the index's engine, or writing to it.
    Index,
}

/// Scripted failures of the disk, for tests: nothing else makes one.
#[derive(Debug)]
pub struct Faults {
    scripts: Mutex<Vec<Script>>,
    /// Operations that may still happen before the machine "loses power".
    left: AtomicU64,
    free_bytes: AtomicU64,
    has_unnamed_files: AtomicBool,
}

#[derive(Debug)]
struct Script {
    operation: Operation,
    skip: u32,
    times: u32,
    kind: io::ErrorKind,
    /// How many bytes of a write reach the file before it fails.
    short: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            scripts: Mutex::default(),
            left: AtomicU64::new(u64::MAX),
            free_bytes: AtomicU64::new(u64::MAX),
            has_unnamed_files: AtomicBool::new(true),
        }
    }
}

impl Faults {
    /// Lets `operation` fail with `kind` for `times` times, after `skip` times without failure.
    pub fn fail(&self, operation: Operation, skip: u32, times: u32, kind: io::ErrorKind) {
        self.script(Script { operation, skip, times, kind, short: 0 });
    }

    /// Lets the next write stop after `bytes` bytes and fail as on a full disk.
    pub fn cut_write(&self, bytes: usize) {
        let kind = io::ErrorKind::StorageFull;
        self.script(Script { operation: Operation::Write, skip: 0, times: 1, kind, short: bytes });
    }

    /// Lets `operations` more changes reach the disk and none after that, as when the power goes.
    pub fn cut_power_after(&self, operations: u64) {
        self.left.store(operations, Ordering::SeqCst);
    }

    /// Whether the power went: a change was asked for that did not reach the disk.
    pub fn is_power_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// Makes the disk say that it has this much free; `u64::MAX` asks the real one again.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::SeqCst);
    }

    /// Makes a file system without unnamed files (`O_TMPFILE`), as some network and overlay ones are.
    pub fn refuse_unnamed_files(&self) {
        self.has_unnamed_files.store(false, Ordering::SeqCst);
    }

    /// Forgets all scripts: the disk is well again.
    pub fn heal(&self) {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.left.store(u64::MAX, Ordering::SeqCst);
        self.free_bytes.store(u64::MAX, Ordering::SeqCst);
    }

    /// Whether some failure is still to come.
    fn is_scripted(&self) -> bool {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|script| script.times > 0)
    }

    fn script(&self, script: Script) {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).push(script);
    }

    /// The failure of this operation, and for a write how much of it happens before.
    fn strike(&self, operation: Operation) -> Option<(io::Error, usize)> {
        if !matches!(operation, Operation::Open | Operation::Read | Operation::Index) {
            let spent = self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                u64::MAX | 0 => None,
                left => Some(left - 1),
            });
            if spent == Err(0) {
                return Some((io::Error::other("the power is cut"), 0));
            }
        }
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let script = scripts.iter_mut().find(|script| script.operation == operation && script.times > 0)?;
        if script.skip > 0 {
            script.skip -= 1;
            return None;
        }
        script.times -= 1;
        Some((script.kind.into(), script.short))
    }
}

/// The disk as the store sees it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Option<Arc<Faults>>);

/// How far apart the bytes are by which it is seen whether a part of a file is in memory: the system reads files ahead in
/// pieces of 128 KiB and more.
const PROBE_BYTES: usize = 256 << 10;

/// The most pieces that one system call takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// A file that is being written and that nobody can find yet. Dropped, nothing remains of it.
#[derive(Debug)]
pub(crate) struct Unpublished {
    file: Arc<File>,
    /// Its temporary name, on a file system without unnamed files; or the name that it had while it was incomplete.
    named: Option<PathBuf>,
    /// Whether it keeps that name when it is not published.
    is_kept: bool,
    disk: Disk,
}

impl Unpublished {
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if let Some(path) = self.named.take().filter(|_| !self.is_kept) {
            // What cannot be removed now is swept at the next start.
            let _ = self.disk.unlink(&path);
        }
    }
}

impl Disk {
    pub(crate) fn new(faults: Option<Arc<Faults>>) -> Self {
        Self(faults)
    }

    /// Fails when a script says so.
    pub(crate) fn check(&self, operation: Operation) -> io::Result<()> {
        match self.0.as_ref().and_then(|faults| faults.strike(operation)) {
            Some((error, _)) => Err(error),
            None => Ok(()),
        }
    }

    /// Begins a file that will belong in `folder`: without a name where the file system can, else in `incoming`.
    pub(crate) fn create(&self, folder: &Path, incoming: &Path) -> io::Result<Unpublished> {
        self.check(Operation::Create)?;
        let has_unnamed = self.0.as_ref().is_none_or(|faults| faults.has_unnamed_files.load(Ordering::SeqCst));
        if has_unnamed {
            match self.create_unnamed(folder) {
                Err(error) if is_unsupported(&error) => {}
                result => return result,
            }
        }
        self.create_named(incoming)
    }

    fn create_unnamed(&self, folder: &Path) -> io::Result<Unpublished> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR);
        let file = match open() {
            Err(rustix::io::Errno::NOENT) => {
                make_folder(folder)?;
                open()?
            }
            result => result?,
        };
        Ok(Unpublished { file: Arc::new(file.into()), named: None, is_kept: false, disk: self.clone() })
    }

    fn create_named(&self, incoming: &Path) -> io::Result<Unpublished> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = incoming.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Unpublished { file: Arc::new(file), named: Some(path), is_kept: false, disk: self.clone() })
    }

    /// A file that was incomplete and named, about to be published under another name. Dropped before that, it stays.
    pub(crate) fn completed(&self, file: Arc<File>, path: PathBuf) -> Unpublished {
        Unpublished { file, named: Some(path), is_kept: true, disk: self.clone() }
    }

    /// Gives a finished file its name. The name must be free.
    pub(crate) fn publish(&self, unpublished: &mut Unpublished, path: &Path) -> io::Result<()> {
        self.check(Operation::Publish)?;
        if let Some(named) = &unpublished.named {
            let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            make_folder(folder)?;
            // `link` and not `rename`: a name that exists is never replaced.
            fs::hard_link(named, path)?;
            let named = unpublished.named.take().expect("it was there a moment ago");
            let _ = fs::remove_file(named);
            return Ok(());
        }
        link_unnamed(&unpublished.file, path)
    }

    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some((error, short)) = self.0.as_ref().and_then(|faults| faults.strike(Operation::Write)) {
            let _ = file.write_all_at(&bytes[..short.min(bytes.len())], offset);
            return Err(error);
        }
        file.write_all_at(bytes, offset)
    }

    /// Writes chunks one behind the other, without copying them together first.
    pub(crate) fn write_chunks_at(&self, file: &File, chunks: &[Bytes], mut offset: u64) -> io::Result<()> {
        if let Some((error, short)) = self.0.as_ref().and_then(|faults| faults.strike(Operation::Write)) {
            let mut short = short;
            for chunk in chunks {
                let length = short.min(chunk.len());
                let _ = file.write_all_at(&chunk[..length], offset);
                (short, offset) = (short - length, offset + length as u64);
            }
            return Err(error);
        }
        for some in chunks.chunks(SLICES_MAX) {
            let mut slices: Vec<_> = some.iter().map(|chunk| io::IoSlice::new(chunk)).collect();
            let mut left = &mut slices[..];
            io::IoSlice::advance_slices(&mut left, 0); // empty ones at the beginning go
            while !left.is_empty() {
                match rustix::io::pwritev(file, left, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        offset += written as u64;
                        io::IoSlice::advance_slices(&mut left, written);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Makes a file this long; what was not written takes no room and reads as zeros.
    pub(crate) fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.check(Operation::Write)?;
        file.set_len(bytes)
    }

    /// Makes the content and the length of a file durable.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.check(Operation::Sync)?;
        file.sync_data()
    }

    /// Makes all that was written to the disk that holds `folder` durable, in one step for many files.
    pub(crate) fn sync_all(&self, folder: &File) -> io::Result<()> {
        self.check(Operation::Sync)?;
        Ok(rustix::fs::syncfs(folder)?)
    }

    /// Opens a regular file to read it; `for_writing` also to change its head. A symbolic link is refused.
    pub(crate) fn open(&self, path: &Path, for_writing: bool) -> io::Result<(File, Metadata)> {
        self.check(Operation::Open)?;
        // O_NONBLOCK: should someone have put a pipe there, opening it must not wait for the other end.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).write(for_writing).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        Ok((file, metadata))
    }

    /// The same for reading, when the system knows the file already and need not look on the disk for it; `None` when it
    /// would have to wait, and for any failure: a thread that may wait will tell.
    pub(crate) fn open_now(&self, path: &Path) -> Option<(File, Metadata)> {
        if self.0.as_ref().is_some_and(|faults| faults.is_scripted()) {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file: File =
            rustix::fs::openat2(CWD, path, flags, Mode::empty(), rustix::fs::ResolveFlags::CACHED).ok()?.into();
        let metadata = file.metadata().ok()?;
        metadata.is_file().then_some((file, metadata))
    }

    /// Reads until `buffer` is full or the file ends; says how much came.
    pub(crate) fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(Operation::Read)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Whether a part of a file is in the page cache; `None` when it is not.
    pub(crate) fn is_at_hand(&self, file: &File, offset: u64, length: usize) -> Option<io::Result<()>> {
        let last = length.checked_sub(1)?;
        for at in (0..last).step_by(PROBE_BYTES).chain([last]) {
            if let Err(error) = self.read_now(file, &mut [0], offset + at as u64)? {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    /// Has the system send a part of a file, which is at hand, to a socket that does not wait. (A page that has left the
    /// cache in between is waited for.)
    pub(crate) fn send(&self, file: &File, socket: impl AsFd, mut offset: u64, length: usize) -> io::Result<usize> {
        Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), length)?)
    }

    /// Reads what is in the page cache without waiting for the disk; `None` when it would have to wait.
    pub(crate) fn read_now(&self, file: &File, buffer: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
        if let Err(error) = self.check(Operation::Read) {
            return Some(Err(error));
        }
        let mut parts = [io::IoSliceMut::new(buffer)];
        match rustix::io::preadv2(file, &mut parts, offset, rustix::io::ReadWriteFlags::NOWAIT) {
            Ok(read) => Some(Ok(read)),
            // EAGAIN: not cached. Others: the file system does not know the flag. A thread that may wait will tell.
            Err(_) => None,
        }
    }

    /// Removes a file; that it is gone already is no failure.
    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Unlink)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Operation::Rename)?;
        fs::rename(from, to)
    }

    /// What the disk has free for us, in bytes.
    pub(crate) fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if let Some(faults) = &self.0 {
            let scripted = faults.free_bytes.load(Ordering::SeqCst);
            if scripted != u64::MAX {
                return Ok(scripted);
            }
        }
        let disk = rustix::fs::statvfs(dir)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// Gives a file without a name its first one.
fn link_unnamed(file: &File, path: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    /// Whether the kernel lets us name a file by its descriptor alone: Linux 6.10, or a privilege that the box does
    /// without.
    static BY_DESCRIPTOR: AtomicBool = AtomicBool::new(true);
    if BY_DESCRIPTOR.load(Ordering::Relaxed) {
        match rustix::fs::linkat(file, c"", CWD, path, AtFlags::EMPTY_PATH) {
            Err(Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                BY_DESCRIPTOR.store(false, Ordering::Relaxed);
            }
            result => return Ok(result?),
        }
    }
    let descriptor = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(rustix::fs::linkat(CWD, descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // Without support, old kernels take the flag for a plain open of the folder (EISDIR), others say EOPNOTSUPP;
    // ENOENT comes from file systems that know the folder but not the flag.
    [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL, Errno::NOENT]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

/// Makes a folder closed to other accounts; that it exists already is no failure.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a small file: written beside it, made durable, renamed.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_invisible_until_it_is_published_and_gone_when_it_is_not() {
        for has_unnamed in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let (folder, incoming) = (dir.path().join("bodies/abc"), dir.path().join("incoming"));
            make_folder(&incoming).unwrap();
            make_folder(&folder).unwrap();
            let faults = Arc::new(Faults::default());
            if !has_unnamed {
                faults.refuse_unnamed_files();
            }
            let disk = Disk::new(Some(faults));
            let count = |path: &Path| fs::read_dir(path).unwrap().count();

            let mut file = disk.create(&folder, &incoming).unwrap();
            disk.write_at(file.file(), b"whole", 0).unwrap();
            assert_eq!(count(&folder), 0);
            assert_eq!(count(&incoming), usize::from(!has_unnamed));
            disk.publish(&mut file, &folder.join("name")).unwrap();
            assert_eq!(fs::read(folder.join("name")).unwrap(), b"whole");
            assert_eq!(count(&incoming), 0);

            let mut second = disk.create(&folder, &incoming).unwrap();
            let again = disk.publish(&mut second, &folder.join("name")).map_err(|error| error.kind());
            assert_eq!(again, Err(io::ErrorKind::AlreadyExists), "a name is never replaced");
            drop(second);
            assert_eq!((count(&folder), count(&incoming)), (1, 0));
        }
    }

    #[test]
    fn a_script_strikes_when_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let disk = Disk::new(Some(Arc::clone(&faults)));
        let file = disk.create(dir.path(), dir.path()).unwrap();
        faults.fail(Operation::Write, 1, 1, io::ErrorKind::StorageFull);
        assert!(disk.write_at(file.file(), b"a", 0).is_ok());
        assert_eq!(disk.write_at(file.file(), b"b", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(disk.write_at(file.file(), b"c", 0).is_ok());
        faults.cut_write(2);
        assert!(disk.write_at(file.file(), b"wxyz", 0).is_err());
        let mut buffer = [0; 8];
        assert_eq!(disk.read_at(file.file(), &mut buffer, 0).unwrap(), 2);
        faults.cut_power_after(1);
        assert!(disk.sync(file.file()).is_ok() && disk.sync(file.file()).is_err());
        assert!(faults.is_power_cut());
        faults.heal();
        assert!(disk.sync(file.file()).is_ok());
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("file"), dir.path().join("link")).unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let disk = Disk::default();
        assert!(disk.open(&dir.path().join("file"), false).is_ok());
        for wrong in ["link", "pipe", "none"] {
            assert!(disk.open(&dir.path().join(wrong), false).is_err(), "{wrong}");
        }
    }
}
