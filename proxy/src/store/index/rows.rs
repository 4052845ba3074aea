//! The engine under the index: sled, or a map in memory when sled cannot be had. Nothing else names sled.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::store::disk::make_folder;
use crate::store::name::{IndexKey, KEY_BYTES};

/// Why the engine did not do what it was asked. Whoever gets one must not trust it any longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("the index engine failed")]
    Engine(#[source] sled::Error),
    /// sled panics on some damages; see `open` and `guarded`.
    #[error("the index engine panicked")]
    Panicked,
    #[error("a file of the index failed")]
    Io(#[source] std::io::Error),
}

/// What the index needs of an engine. Values are opaque; keys are [`IndexKey`]s in their order.
pub(crate) trait Rows: Send + Sync {
    fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError>;
    fn put(&self, key: &IndexKey, value: &[u8]) -> Result<(), EngineError>;
    fn remove(&self, key: &IndexKey) -> Result<(), EngineError>;
    /// Up to `max` rows whose keys begin with `prefix` and come after `after`, in order.
    fn scan_prefix(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Result<Page, EngineError>;
    /// Makes everything durable.
    fn checkpoint(&self) -> Result<(), EngineError>;
    /// What it takes of the disk, in bytes.
    fn size_on_disk(&self) -> u64;
}

/// Some rows, in order.
pub(crate) type Page = Vec<(IndexKey, Vec<u8>)>;

/// The rows in sled.
pub(crate) struct SledRows {
    tree: sled::Db,
    /// sled's `flush` only starts the write-back; this descriptor of its main file lets us wait for it.
    main_file: Option<File>,
}

/// sled panics where others return an error.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, EngineError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(EngineError::Engine),
        Err(_) => Err(EngineError::Panicked),
    }
}

impl SledRows {
    /// Opens or makes the index in `dir`. May take seconds, and must be given a thread of its own.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, EngineError> {
        make_folder(dir).map_err(EngineError::Io)?; // sled would make it open to others
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(Some(500));
        let tree = open_when_free(&config)?;
        let main_file = OpenOptions::new().read(true).write(true).open(dir.join("db")).ok();
        Ok(Self { tree, main_file })
    }
}

/// Opens sled, waiting a moment when its folder is locked: by an engine that is just being closed, or by a child
/// process between its fork and its exec.
fn open_when_free(config: &sled::Config) -> Result<sled::Db, EngineError> {
    let mut tries_left = LOCK_TRIES;
    loop {
        match guarded(|| config.open()) {
            Err(EngineError::Engine(sled::Error::Io(error)))
                if tries_left > 0 && error.to_string().contains(LOCKED) =>
            {
                tries_left -= 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            result => return result,
        }
    }
}

/// How often and how long a locked folder is waited for: a second in all.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How sled's error begins when its folder is locked; it has no kind of its own.
const LOCKED: &str = "could not acquire lock";

impl Rows for SledRows {
    fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError> {
        guarded(|| self.tree.get(key.0)).map(|value| value.map(|value| value.to_vec()))
    }

    fn put(&self, key: &IndexKey, value: &[u8]) -> Result<(), EngineError> {
        guarded(|| self.tree.insert(key.0, value)).map(drop)
    }

    fn remove(&self, key: &IndexKey) -> Result<(), EngineError> {
        guarded(|| self.tree.remove(key.0)).map(drop)
    }

    fn scan_prefix(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Result<Page, EngineError> {
        guarded(|| {
            let mut page = Vec::new();
            for row in self.tree.range::<&[u8], _>((start_of(prefix, after), Bound::Unbounded)).take(max) {
                let (key, value) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                // A key of another length was not put by us.
                if let Ok(key) = <[u8; KEY_BYTES]>::try_from(&*key) {
                    page.push((IndexKey(key), value.to_vec()));
                }
            }
            Ok(page)
        })
    }

    fn checkpoint(&self) -> Result<(), EngineError> {
        guarded(|| self.tree.flush())?;
        match &self.main_file {
            Some(file) => file.sync_data().map_err(EngineError::Io),
            None => Ok(()),
        }
    }

    fn size_on_disk(&self) -> u64 {
        guarded(|| self.tree.size_on_disk()).unwrap_or(0)
    }
}

fn start_of<'a>(prefix: &'a [u8], after: Option<&'a IndexKey>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if &after.0[..] >= prefix => Bound::Excluded(&after.0),
        _ => Bound::Included(prefix),
    }
}

/// The rows in memory: what the store falls back to when sled cannot be opened, rebuilt from the files at each start.
#[derive(Default)]
pub(crate) struct MapRows(RwLock<BTreeMap<IndexKey, Vec<u8>>>);

impl Rows for MapRows {
    fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn put(&self, key: &IndexKey, value: &[u8]) -> Result<(), EngineError> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(*key, value.to_vec());
        Ok(())
    }

    fn remove(&self, key: &IndexKey) -> Result<(), EngineError> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }

    fn scan_prefix(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Result<Page, EngineError> {
        let mut first = IndexKey([0; KEY_BYTES]);
        first.0[..prefix.len()].copy_from_slice(prefix);
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(*after),
            _ => Bound::Included(first),
        };
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let page = rows.range((start, Bound::Unbounded)).take_while(|(key, _)| key.0.starts_with(prefix));
        Ok(page.take(max).map(|(key, value)| (*key, value.clone())).collect())
    }

    fn checkpoint(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn size_on_disk(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: u8, url: u8, variant: u8) -> IndexKey {
        let mut key = [0; KEY_BYTES];
        (key[0], key[8], key[31]) = (host, url, variant);
        IndexKey(key)
    }

    /// One suite for both engines.
    fn behaves(rows: &dyn Rows) {
        assert_eq!(rows.get(&key(1, 1, 1)).unwrap(), None);
        for (host, url, variant) in [(1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1), (255, 255, 255)] {
            rows.put(&key(host, url, variant), &[host, url, variant]).unwrap();
        }
        rows.put(&key(1, 1, 2), b"again").unwrap();
        assert_eq!(rows.get(&key(1, 1, 2)).unwrap().unwrap(), b"again");
        let keys = |prefix: &[u8], after: Option<&IndexKey>, max| {
            rows.scan_prefix(prefix, after, max).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[], None, 99).len(), 5);
        assert_eq!(keys(&key(1, 0, 0).0[..8], None, 99), [key(1, 1, 1), key(1, 1, 2), key(1, 2, 1)]);
        assert_eq!(keys(&key(1, 1, 0).0[..24], None, 99), [key(1, 1, 1), key(1, 1, 2)]);
        assert_eq!(keys(&[255; 1], None, 99), [key(255, 255, 255)]);
        assert_eq!(keys(&[], None, 2), [key(1, 1, 1), key(1, 1, 2)]);
        assert_eq!(keys(&[], Some(&key(1, 1, 2)), 2), [key(1, 2, 1), key(2, 1, 1)]);
        assert_eq!(keys(&key(2, 0, 0).0[..8], Some(&key(1, 1, 2)), 9), [key(2, 1, 1)]);
        assert_eq!(keys(&key(1, 0, 0).0[..8], Some(&key(1, 2, 1)), 9), []);
        rows.remove(&key(1, 1, 1)).unwrap();
        rows.remove(&key(1, 1, 1)).unwrap();
        assert_eq!(rows.get(&key(1, 1, 1)).unwrap(), None);
        rows.checkpoint().unwrap();
        assert_eq!(keys(&[], None, 99).len(), 4);
    }

    #[test]
    fn sled_behaves_and_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        behaves(&SledRows::open(&path, 1 << 20).unwrap());
        let again = SledRows::open(&path, 1 << 20).unwrap();
        assert_eq!(again.get(&key(1, 1, 2)).unwrap().unwrap(), b"again");
        assert_eq!(again.scan_prefix(&[], None, 99).unwrap().len(), 4);
    }

    #[test]
    fn the_map_behaves() {
        behaves(&MapRows::default());
    }

    #[test]
    fn garbage_is_an_error_and_not_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        std::fs::write(&path, b"not a folder").unwrap();
        assert!(SledRows::open(&path, 1 << 20).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(SledRows::open(&path, 1 << 20).is_ok());
    }
}
