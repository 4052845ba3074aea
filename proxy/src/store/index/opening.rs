//! Opening the index: the engine, and whether its rows are the files that are there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::note::Note;
use super::present::Present;
use super::row::{Minutes, Row};
use super::rows::{EngineError, MapRows, Rows, SledRows};
use super::tag_set::TagSet;
use super::{Index, IndexState, Totals};
use crate::store::disk::Operation;
use crate::store::files::{Files, Flaw, Names};
use crate::store::head_codec::decode_head;
use crate::store::name::{FileName, IndexKey};

/// The longest that the engine may take to open: five million rows on a slow disk took a quarter of this.
const OPEN_WAIT: Duration = Duration::from_secs(60);

/// Rows read from the engine at a time.
const PAGE_ROWS: usize = 1024;

/// An engine that takes more than this many bytes a row, and more than [`COMPACT_BYTES_MIN`], is written anew: sled
/// never gives space back.
const COMPACT_ROW_BYTES: u64 = 600;
const COMPACT_BYTES_MIN: u64 = 64 << 20;

/// Where the index lives.
pub(crate) struct Place {
    /// The folder of the engine.
    pub(crate) dir: PathBuf,
    /// What the engine may cache in memory, in bytes.
    pub(crate) cache_bytes: u64,
    /// A file to give up when the engine cannot be opened on a full disk.
    pub(crate) ballast: PathBuf,
    /// The length of that file; none when none is kept.
    pub(crate) ballast_bytes: Option<u64>,
    /// How long a failed engine is left alone before it is opened again.
    pub(crate) reopen_after: Duration,
}

/// An index whose rows are the files.
pub(super) struct Opened {
    pub(super) engine: Arc<dyn Rows>,
    pub(super) totals: Totals,
    /// Of which URLs there are rows.
    pub(super) present: Present,
    pub(super) state: IndexState,
}

/// Opens the engine and brings it into line with the files; falls back to memory when it must. `None` only
/// when the store is closed before it is done.
pub(super) fn open(index: &Index, files: &Files, place: &Place, note: Option<Note>) -> Option<Opened> {
    let mut note = note.filter(|note| note.is_clean && place.dir.exists());
    let aside = set_aside_path(&place.dir);
    // What an earlier opening moved aside was there to be looked at since; its room is wanted.
    remove_all(&aside);
    // As it is; then anew; then anew with the room that the old one took, in case the disk is full.
    for _ in 0..3 {
        match on_disk(index, files, place, note.take()) {
            Ok(opened) => return opened,
            Err(error) => {
                let error = super::chain(&error);
                tracing::warn!(%error, "the index cannot be used; it is moved aside and rebuilt from the stored files");
            }
        }
        remove_all(&aside);
        let _ = fs::rename(&place.dir, &aside);
    }
    tracing::warn!("no index can be written to the disk; it is kept in memory until the next start");
    let engine = MapRows::default();
    let Sums { totals, present } = reconcile(index, files, &engine, None).expect("a map in memory does not fail")?;
    Some(Opened { engine: Arc::new(engine), totals, present, state: IndexState::ReadyInMemory })
}

/// Where an index goes that cannot be used.
fn set_aside_path(dir: &Path) -> PathBuf {
    dir.with_extension("damaged")
}

/// Removes whatever is there, if anything.
fn remove_all(path: &Path) {
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
}

fn on_disk(index: &Index, files: &Files, place: &Place, note: Option<Note>) -> Result<Option<Opened>, EngineError> {
    let open = || {
        files.disk.check(Operation::Index).map_err(EngineError::Io)?;
        open_in_time(&place.dir, place.cache_bytes)
    };
    let mut engine = open();
    // What is damaged needs no room.
    let may_want_room = matches!(&engine, Err(error) if !matches!(error, EngineError::Damaged));
    if may_want_room && fs::remove_file(&place.ballast).is_ok() {
        tracing::warn!("the reserve file was given up to open the index");
        engine = open();
    }
    let mut engine = engine?;
    let Some(Sums { totals, present }) = reconcile(index, files, &engine, note)? else { return Ok(None) };
    if engine.size_on_disk() > COMPACT_BYTES_MIN.max(totals.responses.saturating_mul(COMPACT_ROW_BYTES)) {
        engine = compacted(engine, place)?;
    }
    Ok(Some(Opened { engine: Arc::new(engine), totals, present, state: IndexState::Ready }))
}

/// Opens sled in a thread of its own: on some damages it does not return for very long.
fn open_in_time(dir: &Path, cache_bytes: u64) -> Result<SledRows, EngineError> {
    let (opened, result) = mpsc::channel();
    let dir = dir.to_owned();
    let open = move || {
        // When nobody waits any longer, the engine is dropped here and closed by that.
        let _ = opened.send(SledRows::open(&dir, cache_bytes));
    };
    std::thread::Builder::new().name("index-open".into()).spawn(open).map_err(EngineError::Io)?;
    result.recv_timeout(OPEN_WAIT).unwrap_or(Err(EngineError::Panicked))
}

/// Copies all rows to a new engine and puts that in the place of the old one.
fn compacted(engine: SledRows, place: &Place) -> Result<SledRows, EngineError> {
    let beside = place.dir.with_extension("compact");
    remove_all(&beside);
    let fresh = SledRows::open(&beside, place.cache_bytes)?;
    each_page(&engine, |page| {
        let changes: Vec<_> = page.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
        fresh.change(&changes)
    })?;
    fresh.checkpoint()?;
    drop((fresh, engine));
    fs::remove_dir_all(&place.dir).and_then(|()| fs::rename(&beside, &place.dir)).map_err(EngineError::Io)?;
    SledRows::open(&place.dir, place.cache_bytes)
}

fn each_page(
    engine: &dyn Rows,
    mut visit: impl FnMut(&[(IndexKey, Vec<u8>)]) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let page = engine.scan_prefix(&[], after.as_ref(), PAGE_ROWS)?;
        visit(&page)?;
        match page.last() {
            Some((key, _)) if page.len() == PAGE_ROWS => after = Some(*key),
            _ => return Ok(()),
        }
    }
}

/// What the rows add up to.
#[derive(Default)]
struct Sums {
    totals: Totals,
    present: Present,
}

impl Sums {
    fn add(&mut self, key: &IndexKey, row: &Row) {
        self.totals.add(row);
        self.present.add(key);
    }
}

/// Makes the rows agree with the files. With the note of an orderly stop whose count is right, the rows are believed.
/// `None` when the store is closed before it is done.
fn reconcile(index: &Index, files: &Files, engine: &dyn Rows, note: Option<Note>) -> Result<Option<Sums>, EngineError> {
    let mut sums = Sums::default();
    let mut damaged = Vec::new();
    each_page(engine, |page| {
        for (key, value) in page {
            match Row::decode(value) {
                Some(row) => sums.add(key, &row),
                None => damaged.push(*key),
            }
        }
        Ok(())
    })?;
    if damaged.is_empty() && note.is_some_and(|note| note.responses == sums.totals.responses) {
        return Ok(Some(sums));
    }
    damaged.iter().try_for_each(|key| engine.remove(key))?;
    drop(sums);
    if !read_all_files(index, files, engine)? {
        return Ok(None);
    }
    let mut sums = Sums::default();
    each_page(engine, |page| {
        let rows = page.iter().filter_map(|(key, value)| Some((key, Row::decode(value)?)));
        rows.for_each(|(key, row)| sums.add(key, &row));
        Ok(())
    })?;
    Ok(Some(sums))
}

/// Gives every file its row and takes away rows without a file. False when the store is closed before it is done: the
/// rows must not be believed then.
fn read_all_files(index: &Index, files: &Files, engine: &dyn Rows) -> Result<bool, EngineError> {
    let mut unseen: HashMap<IndexKey, u64> = HashMap::new();
    each_page(engine, |page| {
        let rows = page.iter().filter_map(|(key, value)| Some((*key, Row::decode(value)?.generation)));
        unseen.extend(rows);
        Ok(())
    })?;
    let folders = files.folders().unwrap_or_default();
    let mut read = 0u64;
    for (at, folder) in folders.iter().enumerate() {
        let percent = u8::try_from(at * 100 / folders.len()).unwrap_or(100);
        index.lock().state = IndexState::Rebuilding { percent };
        if at % PROGRESS_FOLDERS == PROGRESS_FOLDERS - 1 {
            tracing::info!(percent, files = read, "reading the stored files to complete the index");
        }
        let names = names_in(folder);
        names.superseded.iter().for_each(|&name| files.remove(name));
        for name in names.iter() {
            if unseen.remove(&name.key) != Some(name.generation) {
                read += 1;
                restore_row(files, engine, name)?;
            }
        }
        if index.lock().is_closing {
            return Ok(false);
        }
    }
    if read > 0 {
        tracing::info!(files = read, "the index is complete again");
    }
    unseen.keys().try_for_each(|key| engine.remove(key))?;
    Ok(true)
}

/// Folders read between two lines of progress: some sixteen lines in all.
const PROGRESS_FOLDERS: usize = 256;

fn names_in(folder: &Path) -> Names {
    let mut names = Names::default();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_name().to_str().and_then(FileName::parse) {
            Some(name) => names.add(name),
            None => tracing::warn!(path = %entry.path().display(), "not a file of the store; it is left alone"),
        }
    }
    names
}

fn restore_row(files: &Files, engine: &dyn Rows, name: FileName) -> Result<(), EngineError> {
    match files.read(name, 0) {
        Ok(found) => {
            let row = Row {
                generation: name.generation,
                file_bytes: found.file_bytes,
                stored_at: Minutes::of_millis(found.front.record.stored_at_ms),
                pinned_until: Minutes::default(),
                tags: decode_head(&found.front.record.head).map_or(TagSet::UNKNOWN, |parts| TagSet::of(&parts.headers)),
            };
            engine.put(&name.key, &row.encode())
        }
        Err(flaw) => {
            match flaw {
                Flaw::Damaged(damage) => files.set_aside(name, damage),
                Flaw::Missing => {}
                Flaw::Failed(error) => tracing::warn!(%error, "a stored file could not be read; it is left out"),
            }
            engine.remove(&name.key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::name::UrlKey;

    #[test]
    fn a_compacted_engine_has_the_same_rows() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            dir: dir.path().join("index"),
            cache_bytes: 1 << 20,
            ballast: dir.path().join("ballast"),
            ballast_bytes: None,
            reopen_after: Duration::ZERO,
        };
        let engine = SledRows::open(&place.dir, place.cache_bytes).unwrap();
        let rows: HashMap<IndexKey, [u8; 3]> = (0..3000u16)
            .map(|at| (UrlKey::of(&format!("http://a.kz/{at}")).variant(b""), [at as u8, (at >> 8) as u8, 7]))
            .collect();
        for round in 0..3 {
            rows.iter().for_each(|(key, value)| engine.put(key, &value[..round + 1]).unwrap());
        }
        let engine = compacted(engine, &place).unwrap();
        let mut found = HashMap::new();
        each_page(&engine, |page| {
            found.extend(page.iter().map(|(key, value)| (*key, <[u8; 3]>::try_from(&value[..]).unwrap())));
            Ok(())
        })
        .unwrap();
        assert!(found == rows);
        assert!(!place.dir.with_extension("compact").exists());
    }
}
