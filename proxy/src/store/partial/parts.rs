//! The incomplete responses of a store, by name: which there are, what they take of the disk, which of them are open.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use super::super::files::{Files, Names};
use super::super::name::{FileName, IndexKey, KEY_BYTES, UrlKey};
use super::part::{Part, Used};

/// Incomplete responses kept at most; the one that was not used for longest makes room for a new one. A school watches
/// some dozens of videos a day; each takes a name in one folder and 200 bytes of memory.
pub(crate) const INCOMPLETE_MAX: usize = 1024;

/// Incomplete responses that nobody uses now and that stay open all the same, with what is known of their blocks.
const OPEN_MAX: usize = 64;

/// All incomplete responses.
#[derive(Default)]
pub(crate) struct Parts(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<IndexKey, Entry>,
    bytes: u64,
}

struct Entry {
    generation: u64,
    disk_bytes: u64,
    used_ms: u64,
    /// The one that all users share, as long as there is a user.
    live: Weak<Part>,
    /// The same, for some of those that were used last.
    kept: Option<Arc<Part>>,
}

/// An incomplete response that may be evicted.
pub(crate) struct Idle {
    pub(crate) name: FileName,
    pub(crate) disk_bytes: u64,
    pub(crate) used_ms: u64,
}

impl Parts {
    /// What earlier processes left: names and sizes only. One folder is read.
    pub(crate) fn find_all(files: &Files) -> Self {
        let mut names = Names::default();
        for entry in std::fs::read_dir(&files.parts).into_iter().flatten().flatten() {
            match entry.file_name().to_str().and_then(FileName::parse) {
                Some(name) => names.add(name),
                None => tracing::warn!(path = %entry.path().display(), "not a file of the store; it is left alone"),
            }
        }
        names.superseded.iter().for_each(|&name| files.remove_part(name));
        let parts = Self::default();
        for name in names.iter() {
            let Ok(metadata) = std::fs::symlink_metadata(files.part_path(name)) else { continue };
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let used = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let used_ms = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
            let disk_bytes = metadata.blocks() * 512;
            let entry = Entry { generation: name.generation, disk_bytes, used_ms, live: Weak::new(), kept: None };
            parts.lock().put(name.key, entry);
        }
        parts
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all of them take of the disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.lock().bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().entries.len()
    }

    /// Those whose index keys begin with `prefix`.
    pub(crate) fn names(&self, prefix: &[u8]) -> Vec<FileName> {
        self.lock().within(prefix).map(|(key, entry)| entry.name(*key)).collect()
    }

    /// Whether nothing at all is stored in part.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// Those of a URL that are open, when all of them are; `None` when the disk must be asked for one.
    pub(crate) fn open_of(&self, url: UrlKey, now_ms: u64) -> Option<Vec<Used>> {
        let mut inner = self.lock();
        let all: Option<Vec<Arc<Part>>> = inner.within(&url.0).map(|(_, entry)| entry.live.upgrade()).collect();
        let all: Vec<Used> = all?.into_iter().map(Used::new).collect();
        for part in &all {
            inner.keep(part, now_ms);
        }
        Some(all)
    }

    /// An open one.
    pub(crate) fn open(&self, name: FileName) -> Option<Used> {
        let inner = self.lock();
        inner.entry(name)?.live.upgrade().map(Used::new)
    }

    /// Notes one that was just loaded under its name; none when it was removed meanwhile. The stripe of its URL is held.
    pub(crate) fn loaded(&self, part: Part, now_ms: u64) -> Option<Used> {
        let part = Used::new(Arc::new(part));
        let disk_bytes = part.disk_bytes();
        let mut inner = self.lock();
        inner.entry(part.name)?;
        inner.resize(part.name, disk_bytes);
        inner.keep(&part, now_ms);
        Some(part)
    }

    /// Notes a new one; whatever was noted under its key must have been removed.
    pub(crate) fn add(&self, part: &Used, now_ms: u64) {
        let disk_bytes = part.disk_bytes();
        let mut inner = self.lock();
        let generation = part.name.generation;
        inner.put(part.name.key, Entry { generation, disk_bytes, used_ms: now_ms, live: Weak::new(), kept: None });
        inner.keep(part, now_ms);
    }

    /// Something was written to it.
    pub(crate) fn grown(&self, part: &Part, now_ms: u64) {
        let disk_bytes = part.disk_bytes();
        let mut inner = self.lock();
        inner.resize(part.name, disk_bytes);
        if let Some(entry) = inner.entry_mut(part.name) {
            entry.used_ms = now_ms;
        }
    }

    /// Takes one out: from then on nothing that is put into it takes effect. Says what it took of the disk; none when it was
    /// not there. Its file is the caller's to remove.
    pub(crate) fn remove(&self, name: FileName) -> Option<u64> {
        self.lock().remove(name)
    }

    /// The same, unless somebody uses it.
    pub(crate) fn remove_idle(&self, name: FileName) -> Option<u64> {
        let mut inner = self.lock();
        if inner.entry(name)?.is_used() {
            return None;
        }
        inner.remove(name)
    }

    /// Takes one out that is complete and lives on as a stored response.
    pub(crate) fn completed(&self, name: FileName) {
        let mut inner = self.lock();
        if inner.entry(name).is_some() {
            inner.take(&name.key);
        }
    }

    /// Some that nobody uses, from a random place on.
    pub(crate) fn some_idle(&self, random: u64, max: usize) -> Vec<Idle> {
        let inner = self.lock();
        let mut start = IndexKey([0; KEY_BYTES]);
        start.0[..8].copy_from_slice(&random.to_be_bytes());
        let all = inner.entries.range(start..).chain(inner.entries.range(..start));
        all.filter(|(_, entry)| !entry.is_used()).take(max).map(|(key, entry)| entry.idle(*key)).collect()
    }

    /// The one that was not used for longest, of those whose keys begin with `prefix`; none when all are in use.
    pub(crate) fn longest_idle(&self, prefix: &[u8]) -> Option<Idle> {
        let inner = self.lock();
        let idle = inner.within(prefix).filter(|(_, entry)| !entry.is_used());
        idle.min_by_key(|(_, entry)| entry.used_ms).map(|(key, entry)| entry.idle(*key))
    }
}

impl Inner {
    fn within<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a IndexKey, &'a Entry)> {
        let mut first = IndexKey([0; KEY_BYTES]);
        first.0[..prefix.len()].copy_from_slice(prefix);
        let from = (Bound::Included(first), Bound::Unbounded);
        self.entries.range(from).take_while(move |(key, _)| key.0.starts_with(prefix))
    }

    fn entry(&self, name: FileName) -> Option<&Entry> {
        self.entries.get(&name.key).filter(|entry| entry.generation == name.generation)
    }

    fn entry_mut(&mut self, name: FileName) -> Option<&mut Entry> {
        self.entries.get_mut(&name.key).filter(|entry| entry.generation == name.generation)
    }

    fn put(&mut self, key: IndexKey, entry: Entry) {
        self.bytes += entry.disk_bytes;
        if let Some(old) = self.entries.insert(key, entry) {
            self.bytes -= old.disk_bytes;
        }
    }

    fn take(&mut self, key: &IndexKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.bytes -= entry.disk_bytes;
        Some(entry)
    }

    fn remove(&mut self, name: FileName) -> Option<u64> {
        self.entry(name)?;
        let entry = self.take(&name.key)?;
        if let Some(part) = entry.live.upgrade() {
            part.set_gone();
        }
        Some(entry.disk_bytes)
    }

    fn resize(&mut self, name: FileName, disk_bytes: u64) {
        let Some(entry) = self.entry_mut(name) else { return };
        let old = std::mem::replace(&mut entry.disk_bytes, disk_bytes);
        self.bytes = self.bytes - old + disk_bytes;
    }

    /// Notes a use, and keeps the part open beyond it, up to a number of them.
    fn keep(&mut self, part: &Used, now_ms: u64) {
        let Some(entry) = self.entry_mut(part.name) else { return };
        entry.used_ms = now_ms;
        entry.live = Arc::downgrade(part.part());
        if entry.kept.is_some() {
            return;
        }
        entry.kept = Some(Arc::clone(part.part()));
        let kept = || self.entries.iter().filter(|(_, entry)| entry.kept.is_some());
        if kept().count() > OPEN_MAX
            && let Some(oldest) = kept().min_by_key(|(_, entry)| entry.used_ms).map(|(key, _)| *key)
            && let Some(entry) = self.entries.get_mut(&oldest)
        {
            entry.kept = None;
        }
    }
}

impl Entry {
    fn name(&self, key: IndexKey) -> FileName {
        FileName { key, generation: self.generation }
    }

    fn is_used(&self) -> bool {
        self.live.upgrade().is_some_and(|part| part.is_used())
    }

    fn idle(&self, key: IndexKey) -> Idle {
        Idle { name: self.name(key), disk_bytes: self.disk_bytes, used_ms: self.used_ms }
    }
}
