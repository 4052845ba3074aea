//! The demo's own folder: a configuration as an administrator would write it, and whatever the box then keeps.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::content::{BILIM_HOST, KITAP_HOST};

/// How many names are tried for the folder before giving up: one for each demo that could be running.
const NAMES_MAX: u32 = 1000;

/// A folder in the system's place for temporary files, closed to other accounts and removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes it, with `bulaq.toml` and `allowlist.toml` in it.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn make(pupils_at: SocketAddr, portal_at: SocketAddr) -> io::Result<Self> {
        let folder = Self(new_folder(&std::env::temp_dir())?);
        fs::write(folder.config(), config(pupils_at, portal_at))?;
        fs::write(folder.0.join("allowlist.toml"), ALLOWLIST)?;
        Ok(folder)
    }

    /// The box's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("bulaq.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which empties this place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new folder that no other account could have prepared: `create` fails on anything that is there, a link too.
fn new_folder(place: &Path) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let path = place.join(format!("bulaq-demo-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < NAMES_MAX => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// What the demo's school permits: two sites that live on this machine.
pub(crate) const ALLOWLIST: &str = r#"# What the demo's school permits.
[[site]]
name = "bilim"
title = { kk = "Білім: ашық сабақтар", ru = "Білім: открытые уроки", en = "Bilim: open lessons" }
hosts = ["http://bilim.localhost"]
addresses = ["127.0.0.1"]
traffic = "zero-rated"
languages = ["kk", "ru", "en"]

[site.prefetch]
start = ["/"]

[[site]]
name = "kitap"
title = { kk = "Кітап: шағын кітапхана", ru = "Кітап: маленькая библиотека", en = "Kitap: a small library" }
hosts = ["http://kitap.localhost"]
addresses = ["127.0.0.1"]
traffic = "zero-rated"
languages = ["kk", "ru", "en"]

[site.prefetch]
start = ["/"]
"#;

/// The box's configuration: doors on the loopback interface alone, and the two sites where the stand-in portals are.
fn config(pupils_at: SocketAddr, portal_at: SocketAddr) -> String {
    format!(
        r#"# The demo's box.
allowlist = "allowlist.toml"
data = "data"

[listen]
http = ["{pupils_at}"]
https = []
forward = []

[pages]
contact = "Айгүл Серікқызы, 12-кабинет"

[store]
size = "256 MiB"
keep-free = "16 MiB"
reserve = "1 MiB"

[origin.hosts]
"{BILIM_HOST}" = "{portal_at}"
"{KITAP_HOST}" = "{portal_at}"

[night]
window = "off"
site-requests-per-s = "off"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_closed_to_others_and_goes_with_the_demo() {
        use std::os::unix::fs::MetadataExt;
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        let folder = Folder::make(address, address).unwrap();
        let other = Folder::make(address, address).unwrap();
        assert_ne!(folder.0, other.0);
        assert_eq!(fs::metadata(&folder.0).unwrap().mode() & 0o777, 0o700);
        let path = folder.0.clone();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_allowlist_permits_both_portals_and_warns_of_nothing() {
        let loaded = bulaq_allowlist::Allowlist::parse("allowlist.toml", ALLOWLIST).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        for host in [BILIM_HOST, KITAP_HOST] {
            assert!(loaded.allowlist.site_of(&bulaq_allowlist::HostName::parse(host).unwrap()).is_some());
        }
    }
}
