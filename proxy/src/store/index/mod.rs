//! The index: which responses are stored, without opening their files. It may be lost at any time.
//!
//! Changes go into a bounded overlay in memory and are seen at once; one thread, which also opens the engine,
//! writes them to it. So a slow, full, broken or absent engine never makes a request wait: until the index is
//! complete the store looks into the folders instead, whose names say the same.

mod leaf;
mod note;
mod opening;
mod present;
mod row;
mod rows;
mod tag_set;
mod totals;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use note::Note;
pub(crate) use opening::Place;
pub(crate) use row::{Minutes, Row};
pub(crate) use tag_set::TagSet;
pub(crate) use totals::Totals;
pub(crate) use writer::{Keeper, start};

use self::present::Present;
use self::rows::{EngineError, Rows};
use super::name::{IndexKey, KEY_BYTES, UrlKey};

/// Changes that may wait for the engine: some 10 MiB, half a minute of the fastest night.
const OVERLAY_ROWS_MAX: usize = 65_536;

/// How far the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It is being opened; the store looks into its folders meanwhile.
    Opening,
    /// It is being made anew from the files; the store looks into its folders meanwhile.
    Rebuilding {
        /// How much of the folders is read, in per cent.
        percent: u8,
    },
    /// It is complete.
    Ready,
    /// It is complete, but in memory alone, since it cannot be written to the disk. It is rebuilt at the next start.
    ReadyInMemory,
}

/// The index as the rest of the store sees it.
pub(crate) struct Index {
    inner: Mutex<Inner>,
    /// Wakes the thread: something to write, a failure, or the end.
    wake: Condvar,
}

struct Inner {
    /// Changes that the engine does not have yet. `None` removes.
    overlay: BTreeMap<IndexKey, Option<Row>>,
    engine: Option<Arc<dyn Rows>>,
    state: IndexState,
    totals: Totals,
    /// What the rows are of, once they are complete.
    present: Present,
    has_failed: bool,
    is_closing: bool,
}

/// A row with its key.
pub(crate) type Keyed = (IndexKey, Row);

impl Index {
    pub(crate) fn new(totals: Totals) -> Self {
        let inner = Inner {
            overlay: BTreeMap::new(),
            engine: None,
            state: IndexState::Opening,
            totals,
            present: Present::default(),
            has_failed: false,
            is_closing: false,
        };
        Self { inner: Mutex::new(inner), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> IndexState {
        self.lock().state
    }

    pub(crate) fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    /// What all files take of the disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.lock().totals.bytes
    }

    /// Whether no more changes can be taken for now.
    pub(crate) fn is_behind(&self) -> bool {
        self.lock().overlay.len() >= OVERLAY_ROWS_MAX
    }

    /// One row; `None` when the index is not complete and the folders must be asked.
    pub(crate) fn get(&self, key: &IndexKey) -> Option<Option<Row>> {
        let engine = {
            let inner = self.lock();
            if let Some(row) = inner.overlay.get(key) {
                return Some(*row);
            }
            inner.complete_engine()?
        };
        match engine.get(key) {
            Ok(bytes) => Some(bytes.and_then(|bytes| Row::decode(&bytes))),
            Err(error) => self.fail(&error),
        }
    }

    /// Whether it is certain that nothing is stored of a URL, told from memory alone; false says nothing.
    pub(crate) fn surely_has_none(&self, url: UrlKey) -> bool {
        let inner = self.lock();
        inner.is_complete() && !inner.present.may_have(url)
    }

    /// All variants of a URL; `None` when the index is not complete and the folders must be asked.
    pub(crate) fn variants_of(&self, url: UrlKey) -> Option<Vec<Keyed>> {
        self.page(&url.0, None, VARIANTS_READ_MAX)
    }

    /// Up to about `max` rows whose keys begin with `prefix` and come after `after`, in order; `None` when the index is
    /// not complete. An empty page is the end.
    pub(crate) fn page(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Option<Vec<Keyed>> {
        let mut after = after.copied();
        // A page may vanish altogether under removals of the overlay; then the next one is asked for.
        loop {
            // The overlay first: what leaves it in the meantime is in the engine by then, and never in neither.
            let (engine, changed) = {
                let inner = self.lock();
                (inner.complete_engine()?, inner.changed(prefix, after.as_ref(), max))
            };
            let page = match engine.scan_prefix(prefix, after.as_ref(), max) {
                Ok(page) => page,
                Err(error) => return self.fail(&error),
            };
            let last_of_page = page.last().filter(|_| page.len() == max).map(|(key, _)| *key);
            let last_changed = changed.last().filter(|_| changed.len() == max).map(|(key, _)| *key);
            // Up to here both speak for every key.
            let last = last_of_page.into_iter().chain(last_changed).min();
            let rows = overlaid(page, changed, last);
            if !rows.is_empty() || last.is_none() {
                return Some(rows);
            }
            after = last;
        }
    }

    /// Changes a row: `new` replaces `old`. Seen at once, written soon.
    pub(crate) fn change(&self, key: IndexKey, old: Option<Row>, new: Option<Row>) {
        let mut inner = self.lock();
        if let Some(old) = old {
            inner.totals.subtract(&old);
        }
        if let Some(new) = &new {
            inner.totals.add(new);
        }
        match (old.is_some(), new.is_some()) {
            (false, true) => inner.present.add(&key),
            (true, false) => inner.present.remove(&key),
            _ => {}
        }
        inner.overlay.insert(key, new);
        // One that writes already finds the rest by itself.
        let is_news = matches!(inner.overlay.len(), 1 | writer::GATHER_ROWS);
        drop(inner);
        if is_news {
            self.wake.notify_all();
        }
    }

    /// Waits until the rows answer, so that a test need not guess.
    #[cfg(test)]
    pub(crate) fn wait_until_complete(&self) {
        let inner = self.wake.wait_while(self.lock(), |inner| inner.complete_engine().is_none());
        drop(inner.unwrap_or_else(PoisonError::into_inner));
    }

    /// The engine cannot be trusted any longer: the thread opens it anew, and until then the folders are asked.
    fn fail<T>(&self, error: &EngineError) -> Option<T> {
        tracing::warn!(error = %chain(error), "the index failed; the store looks into its folders until it is back");
        let mut inner = self.lock();
        inner.engine = None;
        inner.state = IndexState::Opening;
        inner.has_failed = true;
        drop(inner);
        self.wake.notify_all();
        None
    }
}

/// A page of the engine as changes alter it, up to the key `last`, or to the end.
fn overlaid(page: rows::Page, changed: Vec<(IndexKey, Option<Row>)>, last: Option<IndexKey>) -> Vec<Keyed> {
    let is_within = |key: &IndexKey| last.is_none_or(|last| *key <= last);
    let page = page.into_iter().filter(|(key, _)| is_within(key));
    let mut rows: BTreeMap<IndexKey, Row> = page.filter_map(|(key, value)| Some((key, Row::decode(&value)?))).collect();
    for (key, row) in changed.into_iter().filter(|(key, _)| is_within(key)) {
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
    }
    rows.into_iter().collect()
}

/// Rows read for one URL: more than there are variants, so that all are seen even after the limit was lowered.
const VARIANTS_READ_MAX: usize = 1024;

impl Inner {
    /// Up to `max` waiting changes whose keys begin with `prefix` and come after `after`, in order.
    fn changed(&self, prefix: &[u8], after: Option<&IndexKey>, max: usize) -> Vec<(IndexKey, Option<Row>)> {
        let mut first = IndexKey([0; KEY_BYTES]);
        first.0[..prefix.len()].copy_from_slice(prefix);
        let from = after.map_or(first, |after| first.max(*after));
        let within = self.overlay.range(from..).take_while(|(key, _)| key.0.starts_with(prefix));
        let later = within.filter(|(key, _)| after.is_none_or(|after| *key > after));
        later.take(max).map(|(key, row)| (*key, *row)).collect()
    }

    fn complete_engine(&self) -> Option<Arc<dyn Rows>> {
        self.engine.clone().filter(|_| self.is_complete())
    }

    fn is_complete(&self) -> bool {
        match self.state {
            IndexState::Ready | IndexState::ReadyInMemory => true,
            IndexState::Opening | IndexState::Rebuilding { .. } => false,
        }
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::rows::MapRows;
    use super::*;

    fn key(first: u8, last: u8) -> IndexKey {
        let mut key = [0; KEY_BYTES];
        (key[0], key[31]) = (first, last);
        IndexKey(key)
    }

    fn row(generation: u64) -> Row {
        Row { generation, file_bytes: 100, stored_at: Minutes(1), pinned_until: Minutes(0), tags: TagSet(0) }
    }

    #[test]
    fn pages_show_the_engine_as_waiting_changes_alter_it() {
        let index = Index::new(Totals::default());
        assert_eq!(index.page(&[], None, 5), None, "not complete");
        let engine = MapRows::default();
        for last in [1, 2, 3, 4, 7] {
            engine.put(&key(1, last), &row(1).encode()).unwrap();
        }
        engine.put(&key(2, 1), &row(1).encode()).unwrap();
        engine.put(&key(1, 9), b"no row").unwrap();
        {
            let mut inner = index.lock();
            inner.engine = Some(Arc::new(engine));
            inner.state = IndexState::Ready;
        }
        for last in [1, 2, 3] {
            index.change(key(1, last), Some(row(1)), None);
        }
        index.change(key(1, 4), Some(row(1)), Some(row(2)));
        for last in [5, 6, 8] {
            index.change(key(1, last), None, Some(row(3)));
        }
        index.change(key(3, 1), None, Some(row(3)));
        for max in 1..9 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = index.page(&[1], after.as_ref(), max).unwrap();
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                seen.extend(page.into_iter().map(|(key, row)| (key.0[31], row.generation)));
            }
            assert_eq!(seen, [(4, 2), (5, 3), (6, 3), (7, 1), (8, 3)], "{max} at a time");
        }
        assert_eq!(index.get(&key(1, 1)), Some(None));
        assert_eq!(index.get(&key(1, 7)), Some(Some(row(1))));
        assert_eq!(index.page(&[], None, 99).unwrap().len(), 7);
    }
}
