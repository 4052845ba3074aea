//! Opening the index: the engine, and whether its rows are the files that are there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::note::Note;
use super::row::{Minutes, Row};
use super::rows::{EngineError, MapRows, Rows, SledRows, move_aside};
use super::{Index, IndexState, Totals};
use crate::store::files::{Files, Flaw, Names};
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
}

/// An index whose rows are the files.
pub(super) struct Opened {
    pub(super) engine: Arc<dyn Rows>,
    pub(super) totals: Totals,
    pub(super) state: IndexState,
}

/// Opens the engine and brings it into line with the files; falls back to memory when it must. Always succeeds.
pub(super) fn open(index: &Index, files: &Files, place: &Place, note: Option<Note>) -> Opened {
    let note = note.filter(|note| note.is_clean && place.dir.exists());
    match on_disk(index, files, place, note) {
        Ok(opened) => return opened,
        Err(error) => {
            let error = super::chain(&error);
            tracing::warn!(%error, "the index cannot be used; it is moved aside and rebuilt from the stored files");
        }
    }
    let _ = move_aside(&place.dir);
    match on_disk(index, files, place, None) {
        Ok(opened) => opened,
        Err(error) => {
            let error = super::chain(&error);
            tracing::warn!(%error, "no index can be written to the disk; it is kept in memory until the next start");
            let engine = MapRows::default();
            let totals = reconcile(index, files, &engine, None).expect("a map in memory does not fail");
            Opened { engine: Arc::new(engine), totals, state: IndexState::ReadyInMemory }
        }
    }
}

fn on_disk(index: &Index, files: &Files, place: &Place, note: Option<Note>) -> Result<Opened, EngineError> {
    let mut engine = open_in_time(&place.dir, place.cache_bytes);
    if engine.is_err() && fs::remove_file(&place.ballast).is_ok() {
        tracing::warn!("the reserve file was given up to open the index");
        engine = open_in_time(&place.dir, place.cache_bytes);
    }
    let mut engine = engine?;
    let totals = reconcile(index, files, &engine, note)?;
    if engine.size_on_disk() > COMPACT_BYTES_MIN.max(totals.responses.saturating_mul(COMPACT_ROW_BYTES)) {
        engine = compacted(engine, place)?;
    }
    Ok(Opened { engine: Arc::new(engine), totals, state: IndexState::Ready })
}

/// Opens sled in a thread of its own: on some damages it does not return for very long.
fn open_in_time(dir: &Path, cache_bytes: u64) -> Result<SledRows, EngineError> {
    let (opened, result) = mpsc::channel();
    let dir = dir.to_owned();
    let open = move || {
        // When nobody waits any longer, the engine is dropped here and closed by that.
        let _ = opened.send(SledRows::open(&dir, cache_bytes));
    };
    std::thread::Builder::new().name("index-open".into()).spawn(open).map_err(EngineError::Sync)?;
    result.recv_timeout(OPEN_WAIT).unwrap_or(Err(EngineError::Panicked))
}

/// Copies all rows to a new engine and puts that in the place of the old one.
fn compacted(engine: SledRows, place: &Place) -> Result<SledRows, EngineError> {
    let beside = place.dir.with_extension("compact");
    let _ = fs::remove_dir_all(&beside);
    let fresh = SledRows::open(&beside, place.cache_bytes)?;
    each_page(&engine, |page| page.iter().try_for_each(|(key, value)| fresh.put(key, value)))?;
    fresh.checkpoint()?;
    drop((fresh, engine));
    fs::remove_dir_all(&place.dir).and_then(|()| fs::rename(&beside, &place.dir)).map_err(EngineError::Sync)?;
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

/// Makes the rows agree with the files. With the note of an orderly stop whose count is right, the rows are believed.
fn reconcile(index: &Index, files: &Files, engine: &dyn Rows, note: Option<Note>) -> Result<Totals, EngineError> {
    let mut totals = Totals::default();
    let mut damaged = Vec::new();
    each_page(engine, |page| {
        for (key, value) in page {
            match Row::decode(value) {
                Some(row) => totals.add(&row),
                None => damaged.push(*key),
            }
        }
        Ok(())
    })?;
    if damaged.is_empty() && note.is_some_and(|note| note.responses == totals.responses) {
        return Ok(totals);
    }
    damaged.iter().try_for_each(|key| engine.remove(key))?;
    read_all_files(index, files, engine)?;
    let mut totals = Totals::default();
    each_page(engine, |page| {
        page.iter().filter_map(|(_, value)| Row::decode(value)).for_each(|row| totals.add(&row));
        Ok(())
    })?;
    Ok(totals)
}

fn read_all_files(index: &Index, files: &Files, engine: &dyn Rows) -> Result<(), EngineError> {
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
            return Ok(());
        }
    }
    if read > 0 {
        tracing::info!(files = read, "the index is complete again");
    }
    unseen.keys().try_for_each(|key| engine.remove(key))
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
