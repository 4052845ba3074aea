//! The CA's folder: 0700, its keys 0600, each file written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::CaError;

/// Longest file that is read here; a key or a chain with hundreds of names has a few dozen kilobytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Its owner: a key.
    Owner,
    /// Everybody who reaches it: a certificate or a request.
    All,
}

/// Makes the folder if it is missing, and closes it to everybody else if it is not.
pub(super) fn make_folder(folder: &Path) -> Result<(), CaError> {
    let made = || {
        let is_new = !folder.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        if is_new { give_to_owner_of(above(folder), &File::open(folder)?) } else { Ok(()) }
    };
    made().map_err(|source| CaError::File { path: folder.to_owned(), source })
}

/// The text of a file, or None when there is none. A key that others could read is refused: they may have a copy.
///
/// # Errors
/// [`CaError::OpenToOthers`] with what to do; [`CaError::File`] when it cannot be read.
pub(super) fn read(path: &Path, who: Who) -> Result<Option<String>, CaError> {
    let failed = |source| CaError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Asked of what was opened and not of the name, which could lead elsewhere a moment later.
    let about = file.metadata().map_err(failed)?;
    if who == Who::Owner && about.permissions().mode() & 0o077 != 0 {
        return Err(CaError::OpenToOthers { path: path.to_owned() });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(text))
}

/// Writes a file beside its place, makes it durable and moves it there.
pub(super) fn write(path: &Path, text: &str, who: Who) -> Result<(), CaError> {
    let beside = path.with_extension("new");
    let written = || {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mode = if who == Who::Owner { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        let folder = above(path);
        give_to_owner_of(folder, &file)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|source| CaError::File { path: path.to_owned(), source })
}

/// Removes a file; one that is not there is as good.
pub(super) fn remove(path: &Path) -> Result<(), CaError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CaError::File { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

/// The folder that something is in, also when it is named without one.
fn above(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What root makes with `sudo bulaq ca …` belongs to the account that has the folder, or the service could not read it.
fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}
