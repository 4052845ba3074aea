//! The engine under the index: sled, or a map in memory when sled cannot be had. Nothing else names sled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::leaf::{self, Leaf};
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
    /// Written by another version, or damaged without the engine's noticing.
    #[error("the index does not hold what it should")]
    Damaged,
}

/// What becomes of a row: its new value, or none when it goes.
pub(crate) type Change = (IndexKey, Option<Vec<u8>>);

/// What the index needs of an engine. Values are opaque; keys are [`IndexKey`]s in their order.
pub(crate) trait Rows: Send + Sync {
    fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError>;
    /// Makes changes, which are in the order of their keys, each key once. One thread at a time does.
    fn change(&self, changes: &[Change]) -> Result<(), EngineError>;
    fn put(&self, key: &IndexKey, value: &[u8]) -> Result<(), EngineError> {
        self.change(&[(*key, Some(value.to_vec()))])
    }
    fn remove(&self, key: &IndexKey) -> Result<(), EngineError> {
        self.change(&[(*key, None)])
    }
    /// Up to `max` rows whose keys begin with `prefix` and come after `after`, in order.
    fn scan_prefix(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Result<Page, EngineError>;
    /// Makes everything durable.
    fn checkpoint(&self) -> Result<(), EngineError>;
    /// What it takes of the disk, in bytes.
    fn size_on_disk(&self) -> u64;
}

/// Some rows, in order.
pub(crate) type Page = Vec<(IndexKey, Vec<u8>)>;

/// The rows in sled, in leaves (`leaf.rs`). There is one for every key: the first leaf has the lowest key that there can be.
///
/// sled is asked for single keys alone. Its batches make every reader wait; its way backwards from a key is not needed where the
/// keys of all leaves are known. With both, a box once could not stop; which of them it was, if either, is not known.
pub(crate) struct SledRows {
    tree: sled::Db,
    /// The keys of all leaves: a byte for each row, about.
    leaves: RwLock<BTreeSet<IndexKey>>,
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
        if guarded(|| tree.iter().next().transpose())?.is_none() {
            guarded(|| tree.insert(FIRST.0, leaf::encode(&[], None)))?;
        }
        let leaves = RwLock::new(all_leaves(&tree)?);
        let main_file = OpenOptions::new().read(true).write(true).open(dir.join("db")).ok();
        Ok(Self { tree, leaves, main_file })
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

/// The key of the first leaf.
const FIRST: IndexKey = IndexKey([0; KEY_BYTES]);

/// How often a reader looks again when a leaf was divided or joined between two of his looks.
const LOOKS_MAX: usize = 64;

/// The keys of all leaves. Each must begin where the one before it says, and hold no row of another: a crash between two of the
/// writes that divide or join leaves is seen here, as is whatever is no leaf.
fn all_leaves(tree: &sled::Db) -> Result<BTreeSet<IndexKey>, EngineError> {
    let (mut leaves, mut expected) = (BTreeSet::new(), Some(FIRST));
    let mut rows = tree.iter();
    while let Some((low, bytes)) = guarded(|| rows.next().transpose())? {
        let (low, leaf) = (key_of(&low)?, Leaf::read(&bytes).ok_or(EngineError::Damaged)?);
        let is_ours = |key: &IndexKey| *key >= low && leaf.next.is_none_or(|next| *key < next);
        if expected != Some(low) || !leaf.rows().all(|row| row.is_some_and(|(key, _)| is_ours(&key))) {
            return Err(EngineError::Damaged);
        }
        leaves.insert(low);
        expected = leaf.next;
    }
    if expected.is_none() { Ok(leaves) } else { Err(EngineError::Damaged) }
}

impl SledRows {
    /// The leaf that a key belongs to, with its own key.
    fn leaf_of(&self, key: &IndexKey) -> Result<(IndexKey, sled::IVec), EngineError> {
        for _ in 0..LOOKS_MAX {
            let low = self.read_leaves().range(..=key).next_back().copied().ok_or(EngineError::Damaged)?;
            // None: it was joined to the one before since.
            let Some(bytes) = guarded(|| self.tree.get(low.0))? else { continue };
            let next = Leaf::read(&bytes).ok_or(EngineError::Damaged)?.next;
            // Otherwise it was divided since.
            if next.is_none_or(|next| *key < next) {
                return Ok((low, bytes));
            }
        }
        Err(EngineError::Damaged)
    }

    fn read_leaves(&self) -> RwLockReadGuard<'_, BTreeSet<IndexKey>> {
        self.leaves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_leaves(&self) -> RwLockWriteGuard<'_, BTreeSet<IndexKey>> {
        self.leaves.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, low: IndexKey, rows: &[(IndexKey, &[u8])], next: Option<IndexKey>) -> Result<(), EngineError> {
        guarded(|| self.tree.insert(low.0, leaf::encode(rows, next))).map(drop)
    }

    /// Puts rows in the place of those of a leaf: in several leaves when they are many, in the one before when they are few.
    ///
    /// At each moment every row is where a reader looks for it: new leaves are there and known before the one that they
    /// are made of shrinks, and one that goes is in the one before it already.
    fn replace(&self, low: IndexKey, rows: &[(IndexKey, &[u8])], next: Option<IndexKey>) -> Result<(), EngineError> {
        if rows.len() > leaf::ROWS_MAX {
            let pieces: Vec<_> = rows.chunks(rows.len().div_ceil(rows.len().div_ceil(leaf::ROWS_MADE))).collect();
            let mut next = next;
            for piece in pieces[1..].iter().rev() {
                let new = piece[0].0;
                self.write(new, piece, next)?;
                self.write_leaves().insert(new);
                next = Some(new);
            }
            return self.write(low, pieces[0], next);
        }
        let before = self.read_leaves().range(..low).next_back().copied();
        if rows.len() < leaf::ROWS_MIN
            && let Some(before) = before
        {
            let bytes = guarded(|| self.tree.get(before.0))?.ok_or(EngineError::Damaged)?;
            let joined = Leaf::read(&bytes).and_then(|leaf| leaf.rows().collect::<Option<Vec<_>>>());
            let mut joined = joined.ok_or(EngineError::Damaged)?;
            joined.extend_from_slice(rows);
            if joined.len() <= leaf::ROWS_MADE {
                self.write(before, &joined, next)?;
                self.write_leaves().remove(&low);
                return guarded(|| self.tree.remove(low.0)).map(drop);
            }
        }
        self.write(low, rows, next)
    }
}

fn key_of(bytes: &[u8]) -> Result<IndexKey, EngineError> {
    bytes.try_into().map(IndexKey).map_err(|_| EngineError::Damaged)
}

impl Rows for SledRows {
    fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError> {
        let (_, bytes) = self.leaf_of(key)?;
        for row in Leaf::read(&bytes).ok_or(EngineError::Damaged)?.rows() {
            match row.ok_or(EngineError::Damaged)? {
                (found, value) if found == *key => return Ok(Some(value.to_vec())),
                (found, _) if found > *key => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    fn change(&self, mut changes: &[Change]) -> Result<(), EngineError> {
        while let Some((first, _)) = changes.first() {
            let (low, bytes) = self.leaf_of(first)?;
            let leaf = Leaf::read(&bytes).ok_or(EngineError::Damaged)?;
            // At least the first one: it is before the next leaf.
            let count = leaf.next.map_or(changes.len(), |next| changes.partition_point(|(key, _)| *key < next));
            let (of_leaf, later) = changes.split_at(count);
            let rows = leaf::changed(&leaf, of_leaf).ok_or(EngineError::Damaged)?;
            self.replace(low, &rows, leaf.next)?;
            changes = later;
        }
        Ok(())
    }

    fn scan_prefix(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Result<Page, EngineError> {
        let mut page = Vec::new();
        let mut from = FIRST;
        from.0[..prefix.len()].copy_from_slice(prefix);
        from = after.map_or(from, |after| from.max(*after));
        let (_, mut bytes) = self.leaf_of(&from)?;
        loop {
            let leaf = Leaf::read(&bytes).ok_or(EngineError::Damaged)?;
            for row in leaf.rows() {
                let (key, value) = row.ok_or(EngineError::Damaged)?;
                if key < from || Some(&key) == after {
                    continue;
                }
                if page.len() == max || !key.0.starts_with(prefix) {
                    return Ok(page);
                }
                page.push((key, value.to_vec()));
            }
            // What changes meanwhile moves rows to another leaf, and none across the next leaf's key.
            match leaf.next {
                Some(next) if next <= from => return Err(EngineError::Damaged),
                Some(next) if next.0[..prefix.len()] <= *prefix => {
                    from = next;
                    bytes = self.leaf_of(&next)?.1;
                }
                _ => return Ok(page),
            }
        }
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

/// The rows in memory: what the store falls back to when sled cannot be opened, rebuilt from the files at each start.
#[derive(Default)]
pub(crate) struct MapRows(RwLock<BTreeMap<IndexKey, Vec<u8>>>);

impl Rows for MapRows {
    fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn change(&self, changes: &[Change]) -> Result<(), EngineError> {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(*key, value.clone()),
                None => rows.remove(key),
            };
        }
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

    /// Many rows come and go, in order and out of it: leaves are divided and joined.
    #[test]
    fn both_engines_hold_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let (sled, map) = (SledRows::open(&path, 1 << 20).unwrap(), MapRows::default());
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (seed >> 33) % below
        };
        for round in 0..60u64 {
            let mut changes = BTreeMap::new();
            for _ in 0..random(300) {
                let key = key(random(2) as u8, random(40) as u8, random(40) as u8);
                let is_gone = random(10) < if round < 30 { 2 } else { 8 };
                changes.insert(key, (!is_gone).then(|| vec![round as u8; random(50) as usize]));
            }
            let changes: Vec<_> = changes.into_iter().collect();
            sled.change(&changes).unwrap();
            map.change(&changes).unwrap();
            let all = map.scan_prefix(&[], None, usize::MAX).unwrap();
            assert_eq!(sled.scan_prefix(&[], None, usize::MAX).unwrap(), all, "round {round}");
            for prefix in [vec![0], vec![1], key(1, random(40) as u8, 0).0[..24].to_vec()] {
                let after = (random(2) == 0).then(|| key(random(2) as u8, random(40) as u8, random(40) as u8));
                let max = 1 + random(100) as usize;
                let pages =
                    [&sled as &dyn Rows, &map].map(|rows| rows.scan_prefix(&prefix, after.as_ref(), max).unwrap());
                assert_eq!(pages[0], pages[1], "{prefix:?} after {after:?}");
            }
            for _ in 0..50 {
                let key = key(random(2) as u8, random(40) as u8, random(40) as u8);
                assert_eq!(sled.get(&key).unwrap(), map.get(&key).unwrap());
            }
        }
        let (rows, leaves) = (map.scan_prefix(&[], None, usize::MAX).unwrap(), sled.tree.len());
        assert!(rows.len() > 300 && leaves > 1, "else nothing was shown");
        assert!(leaves <= 1 + 2 * rows.len() / leaf::ROWS_MADE + 2, "{leaves} leaves for {} rows", rows.len());
        assert_eq!(sled.change(&rows.iter().map(|(key, _)| (*key, None)).collect::<Vec<_>>()).unwrap(), ());
        assert!(sled.scan_prefix(&[], None, 9).unwrap().is_empty() && sled.tree.len() <= 2, "{}", sled.tree.len());
    }

    /// What is done to leaves behind the engine's back.
    type Harm = fn(&sled::Db);

    #[test]
    fn what_is_no_leaf_is_told() {
        let harms: [(&str, Harm); 5] = [
            ("a row as an older version had them", |tree| drop(tree.insert(key(1, 1, 1).0, vec![0; 44]).unwrap())),
            ("the first leaf is gone", |tree| {
                tree.insert(key(1, 1, 1).0, leaf::encode(&[], None)).unwrap();
                drop(tree.remove(FIRST.0).unwrap());
            }),
            ("a leaf is missing", |tree| {
                drop(tree.insert(FIRST.0, leaf::encode(&[], Some(key(1, 1, 1)))).unwrap());
            }),
            ("one that the leaf before it does not name, as after a crash", |tree| {
                drop(tree.insert(key(1, 1, 1).0, leaf::encode(&[(key(1, 1, 1), b"x")], None)).unwrap());
            }),
            ("a row in the wrong leaf", |tree| {
                tree.insert(FIRST.0, leaf::encode(&[(key(2, 1, 1), b"x")], Some(key(1, 1, 1)))).unwrap();
                drop(tree.insert(key(1, 1, 1).0, leaf::encode(&[], None)).unwrap());
            }),
        ];
        for (what, harm) in harms {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("index");
            let rows = SledRows::open(&path, 1 << 20).unwrap();
            harm(&rows.tree);
            drop(rows);
            assert!(matches!(SledRows::open(&path, 1 << 20), Err(EngineError::Damaged)), "{what}");
        }
    }

    #[test]
    fn readers_find_what_is_there_while_leaves_are_divided_and_joined() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let rows = SledRows::open(&path, 1 << 20).unwrap();
        let all = |url: u8| (0..=255).map(move |variant| key(1, url, variant));
        let stay: Vec<Change> = (0..40).flat_map(all).step_by(16).map(|key| (key, Some(b"stays".to_vec()))).collect();
        let change = |is_there: bool| -> Vec<Change> {
            let others = (0..40).flat_map(all).enumerate().filter(|(at, _)| at % 16 != 0);
            others.map(|(_, key)| (key, is_there.then(|| b"comes and goes".to_vec()))).collect()
        };
        rows.change(&stay).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Acquire) {
                        for (key, value) in stay.iter().step_by(7) {
                            assert_eq!(rows.get(key).unwrap(), *value, "{key:?}");
                        }
                        let page = rows.scan_prefix(&[], None, usize::MAX).unwrap();
                        assert_eq!(page.iter().filter(|(_, value)| value == b"stays").count(), stay.len());
                        assert!(page.is_sorted_by(|one, other| one.0 < other.0));
                    }
                });
            }
            for is_there in [true, false, true, false] {
                for part in change(is_there).chunks(256) {
                    rows.change(part).unwrap();
                }
            }
            is_over.store(true, Ordering::Release);
        });
        assert_eq!(
            rows.scan_prefix(&[], None, usize::MAX).unwrap(),
            stay.iter().map(|(key, value)| (*key, value.clone().unwrap())).collect::<Page>()
        );
        let leaves = rows.read_leaves().clone();
        drop(rows);
        assert_eq!(SledRows::open(&path, 1 << 20).unwrap().leaves.into_inner().unwrap(), leaves);
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
