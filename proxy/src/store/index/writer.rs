//! The index's one thread: opens it, writes changes, makes checkpoints, opens it again after a failure.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::note::Note;
use super::opening::{self, Opened, Place};
use super::row::Row;
use super::rows::{Change, EngineError, Rows};
use super::{Index, IndexState, Inner};
use crate::store::disk::Operation;
use crate::store::files::Files;

/// How often what was written is made durable and noted. A power cut loses no more rows than this, and no file.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Changes taken from the overlay at a time.
const BATCH_ROWS: usize = 256;

/// How long changes wait for others, and how many at most: the engine writes whole leaves of rows, and of the more rows
/// there are the more fall into one leaf. A kill loses no more than this, and finds it in the files.
const GATHER: Duration = Duration::from_secs(2);
pub(super) const GATHER_ROWS: usize = 4096;

/// Owns the thread. Dropped, the thread ends without a note of an orderly stop, as after a crash.
pub(crate) struct Keeper {
    index: Arc<Index>,
    thread: Option<JoinHandle<()>>,
    files: Arc<Files>,
}

/// Starts the thread, which opens the index.
pub(crate) fn start(index: Arc<Index>, files: Arc<Files>, place: Place) -> io::Result<Keeper> {
    let mut keeper = Keeper { index, thread: None, files };
    let (index, files) = (Arc::clone(&keeper.index), Arc::clone(&keeper.files));
    let run = move || keep(&index, &files, &place);
    keeper.thread = Some(std::thread::Builder::new().name("store-index".into()).spawn(run)?);
    Ok(keeper)
}

impl Keeper {
    /// Closes the index in order, and waits so long for that; false when it is not closed then. Whatever the engine does, the
    /// box can stop: without the note of an orderly stop the next start reads the files.
    pub(crate) fn close_within(self, wait: Duration) -> bool {
        let (closed, is_closed) = mpsc::channel();
        let close = move || {
            self.close();
            let _ = closed.send(());
        };
        // A thread of its own, for which nobody waits at the end of the process.
        let is_begun = std::thread::Builder::new().name("store-close".into()).spawn(close).is_ok();
        is_begun && is_closed.recv_timeout(wait).is_ok()
    }

    /// Writes everything, makes it durable and leaves the note of an orderly stop. Waits for the disk.
    fn close(mut self) {
        self.end();
        let totals = self.index.totals();
        let written = {
            let inner = self.index.lock();
            // In memory, or not open: the files will be asked at the next start.
            (inner.state == IndexState::Ready).then(|| inner.engine.clone()).flatten()
        };
        let Some(engine) = written else { return };
        let is_written = drain_all(&self.index, &self.files, &*engine).and_then(|()| engine.checkpoint());
        let note = Note { is_clean: true, responses: totals.responses, bytes: totals.bytes };
        if let Err(error) = is_written.and_then(|()| note.write(&self.files.dir).map_err(EngineError::Io)) {
            let error = super::chain(&error);
            tracing::warn!(%error, "the index could not be closed in order; the next start reads the stored files");
        }
        self.index.lock().engine = None;
    }

    fn end(&mut self) {
        self.index.lock().is_closing = true;
        self.index.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
        self.index.lock().engine = None;
    }
}

fn keep(index: &Index, files: &Files, place: &Place) {
    let mut note = Note::read(&files.dir);
    if let Err(error) = Note::take_back(&files.dir) {
        tracing::warn!(%error, "the note of the last stop cannot be removed; the stored files are read instead");
        note = None;
    }
    loop {
        let Some(opened) = opening::open(index, files, place, note.take()) else { return };
        become_complete(index, opened);
        if let Some(bytes) = place.ballast_bytes {
            restore_ballast(files, place, bytes);
        }
        if write_until_failure(index, files) == Ended::Closing {
            return;
        }
        let inner = index.lock();
        let wait = index.wake.wait_timeout_while(inner, place.reopen_after, |inner| !inner.is_closing);
        let mut inner = wait.unwrap_or_else(PoisonError::into_inner).0;
        if inner.is_closing {
            return;
        }
        inner.has_failed = false;
    }
}

/// From now on the rows answer. The sums are those of the engine as the waiting changes will leave it.
fn become_complete(index: &Index, opened: Opened) {
    let mut inner = index.lock();
    let (mut totals, mut present) = (opened.totals, opened.present);
    for (key, new) in &inner.overlay {
        if let Some(old) = opened.engine.get(key).ok().flatten().and_then(|bytes| Row::decode(&bytes)) {
            totals.subtract(&old);
            present.remove(key);
        }
        if let Some(new) = new {
            totals.add(new);
            present.add(key);
        }
    }
    inner.totals = totals;
    inner.present = present;
    inner.engine = Some(opened.engine);
    inner.state = opened.state;
    drop(inner);
    index.wake.notify_all();
}

#[derive(PartialEq)]
enum Ended {
    Closing,
    Failed,
}

fn write_until_failure(index: &Index, files: &Files) -> Ended {
    let mut checkpoint_due: Option<Instant> = None;
    loop {
        let engine = {
            let mut inner = index.lock();
            loop {
                if inner.is_closing {
                    return Ended::Closing;
                }
                if inner.has_failed {
                    return Ended::Failed;
                }
                let is_due = checkpoint_due.is_some_and(|due| due <= Instant::now());
                if is_due || !inner.overlay.is_empty() {
                    break gathered(index, inner).engine.clone();
                }
                // With nothing written since the last checkpoint there is no timer at all.
                inner = match checkpoint_due {
                    None => index.wake.wait(inner).unwrap_or_else(PoisonError::into_inner),
                    Some(due) => {
                        let left = due.saturating_duration_since(Instant::now());
                        index.wake.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
        };
        let Some(engine) = engine else { return Ended::Failed };
        let result = match checkpoint_due {
            Some(due) if due <= Instant::now() => {
                checkpoint_due = None;
                checkpoint(index, files, &*engine)
            }
            _ => {
                checkpoint_due = checkpoint_due.or_else(|| Some(Instant::now() + CHECKPOINT_EVERY));
                drain(index, files, &*engine)
            }
        };
        if let Err(error) = result {
            index.fail::<()>(&error);
            return Ended::Failed;
        }
    }
}

/// Waits a moment for more changes, unless there are many already or something else is to be done.
fn gathered<'a>(index: &'a Index, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
    let is_gathering =
        |inner: &mut Inner| !inner.is_closing && !inner.has_failed && (1..GATHER_ROWS).contains(&inner.overlay.len());
    index.wake.wait_timeout_while(inner, GATHER, is_gathering).unwrap_or_else(PoisonError::into_inner).0
}

fn checkpoint(index: &Index, files: &Files, engine: &dyn Rows) -> Result<(), EngineError> {
    engine.checkpoint()?;
    let totals = index.totals();
    let note = Note { is_clean: false, responses: totals.responses, bytes: totals.bytes };
    // Only an estimate for the next start; on a full disk there is none.
    let _ = note.write(&files.dir);
    Ok(())
}

/// Writes the waiting changes in the order of their keys, some at a time; those that come meanwhile too, if theirs are yet to
/// come.
fn drain(index: &Index, files: &Files, engine: &dyn Rows) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let batch = index.lock().changed(&[], after.as_ref(), BATCH_ROWS);
        let Some((last, _)) = batch.last() else { return Ok(()) };
        after = Some(*last);
        files.disk.check(Operation::Index).map_err(EngineError::Io)?;
        let changes: Vec<Change> = batch.iter().map(|(key, row)| (*key, row.map(|row| row.encode()))).collect();
        engine.change(&changes)?;
        let mut inner = index.lock();
        for (key, row) in batch {
            // A change that was changed again meanwhile stays for the next round.
            if inner.overlay.get(&key) == Some(&row) {
                inner.overlay.remove(&key);
            }
        }
    }
}

/// The same until nothing waits.
fn drain_all(index: &Index, files: &Files, engine: &dyn Rows) -> Result<(), EngineError> {
    while !index.lock().overlay.is_empty() {
        drain(index, files, engine)?;
    }
    Ok(())
}

/// Keeps a file of zeros to give up when the index must be opened on a full disk.
fn restore_ballast(files: &Files, place: &Place, bytes: u64) {
    let is_there = std::fs::metadata(&place.ballast).is_ok_and(|metadata| metadata.len() == bytes);
    let has_room = files.disk.free_bytes(&files.dir).is_ok_and(|free| free / 4 > bytes);
    if is_there || !has_room {
        return;
    }
    let allocated = std::fs::File::create(&place.ballast)
        .and_then(|file| Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?));
    if let Err(error) = allocated {
        let _ = std::fs::remove_file(&place.ballast);
        tracing::debug!(%error, "no reserve file could be made");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, Weak};

    use super::super::rows::{MapRows, Page};
    use super::super::totals::Totals;
    use super::super::{Minutes, TagSet};
    use super::*;
    use crate::store::disk::Disk;
    use crate::store::name::{IndexKey, KEY_BYTES};

    fn row(generation: u64) -> Row {
        Row { generation, file_bytes: 1, stored_at: Minutes(1), pinned_until: Minutes(0), tags: TagSet(0) }
    }

    /// Rows under which the row that is being written changes once more.
    struct Meanwhile {
        rows: MapRows,
        index: Mutex<Weak<Index>>,
    }

    impl Rows for Meanwhile {
        fn change(&self, changes: &[Change]) -> Result<(), EngineError> {
            self.rows.change(changes)?;
            if let Some(index) = std::mem::take(&mut *self.index.lock().unwrap()).upgrade() {
                index.change(changes[0].0, Some(row(1)), Some(row(2)));
            }
            Ok(())
        }
        fn get(&self, key: &IndexKey) -> Result<Option<Vec<u8>>, EngineError> {
            self.rows.get(key)
        }
        fn scan_prefix(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Result<Page, EngineError> {
            self.rows.scan_prefix(prefix, after, max)
        }
        fn checkpoint(&self) -> Result<(), EngineError> {
            Ok(())
        }
        fn size_on_disk(&self) -> u64 {
            0
        }
    }

    #[test]
    fn an_engine_that_hangs_does_not_keep_the_box_from_stopping() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::prepare(dir.path().to_owned(), Disk::default()).unwrap());
        let (release, held) = mpsc::channel::<()>();
        let hangs = std::thread::spawn(move || held.recv().unwrap_or_default());
        let keeper = Keeper { index: Arc::new(Index::new(Totals::default())), thread: Some(hangs), files };
        assert!(!keeper.close_within(Duration::ZERO));
        drop(release);
    }

    #[test]
    fn a_row_that_changes_while_it_is_written_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::prepare(dir.path().to_owned(), Disk::default()).unwrap();
        let index = Arc::new(Index::new(Totals::default()));
        let rows = Meanwhile { rows: MapRows::default(), index: Mutex::new(Arc::downgrade(&index)) };
        let key = IndexKey([7; KEY_BYTES]);
        index.change(key, None, Some(row(1)));
        drain(&index, &files, &rows).unwrap();
        assert_eq!(index.lock().overlay.get(&key), Some(&Some(row(2))), "it came after its turn");
        drain(&index, &files, &rows).unwrap();
        assert_eq!(Row::decode(&rows.get(&key).unwrap().unwrap()), Some(row(2)));
        assert!(index.lock().overlay.is_empty());
    }
}
