//! Finding what is stored of a URL: memory, else the index and the files, else (without an index) the folders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bulaq_cache_policy::{CacheKey, StoredHead, StoredHeadParts};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};

use super::body::Body;
use super::files::{Flaw, Found, Names};
use super::head_codec::decode_head;
use super::index::{Minutes, Row, TagSet};
use super::memory::Rules;
use super::name::{FileName, IndexKey, UrlKey};
use super::record::{Damage, Record};
use super::stored_response::{StoredResponse, Variants};
use super::{Shared, Store};

/// Loads under way: thirty pupils who ask for one cold page make one of them.
#[derive(Default)]
pub(crate) struct Loading(Arc<Mutex<Loads>>);

type Loads = HashMap<(CacheKey, Rules), WeakShared<BoxFuture<'static, Variants>>>;

/// Takes a load out of the map when it is done or nobody waits for it any more.
struct Leave {
    loads: Arc<Mutex<Loads>>,
    key: (CacheKey, Rules),
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Restores a head from what was written down, under the rules of now.
pub trait Restore: Fn(StoredHeadParts) -> StoredHead + Send + 'static {}

impl<F: Fn(StoredHeadParts) -> StoredHead + Send + 'static> Restore for F {}

impl Store {
    /// What is stored of a URL: from memory, else from the disk, on a thread that may wait for it. Heads that come from
    /// the disk are restored by `restore`, which knows these `rules`; memory keeps them so until
    /// [`Store::forget_memory`]. What is damaged is set aside and not among the answer.
    pub async fn find(&self, key: &CacheKey, rules: Rules, restore: impl Restore) -> Variants {
        match self.0.memory.get(key) {
            Some(variants) => variants,
            None if self.0.index.surely_has_none(UrlKey::of(key.as_str())) => Variants::from([]),
            None => self.load(key, rules, restore).await,
        }
    }

    fn load(&self, key: &CacheKey, rules: Rules, restore: impl Restore) -> SharedFuture<BoxFuture<'static, Variants>> {
        let mut loads = self.0.loading.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (key.clone(), rules);
        if let Some(load) = loads.get(&key).and_then(WeakShared::upgrade) {
            return load;
        }
        let leave = Leave { loads: Arc::clone(&self.0.loading.0), key: key.clone() };
        let shared = Arc::clone(&self.0);
        let load = async move {
            let leave = leave;
            let (files, (wanted, rules)) = (Arc::clone(&shared.files), leave.key.clone());
            let variants = files.run_blocking(move || shared.load(&wanted, restore, rules)).await;
            variants.unwrap_or_else(|_| Variants::from([]))
        };
        let load = load.boxed().shared();
        if let Some(weak) = load.downgrade() {
            loads.insert(key, weak);
        }
        load
    }
}

impl Shared {
    /// Loads all variants of a URL into memory. Waits for the disk.
    fn load(&self, key: &CacheKey, restore: impl Restore, rules: Rules) -> Variants {
        let url = UrlKey::of(key.as_str());
        let _stripe = self.stripe(url);
        if let Some(variants) = self.memory.get(key) {
            return variants;
        }
        let mut found: Vec<Arc<StoredResponse>> = Vec::new();
        for (name, row) in self.variants_on_disk(url) {
            match self.load_one(key, name, &restore) {
                Ok(stored) => found.push(Arc::new(stored)),
                Err(flaw) => self.lose(name, Some(row), flaw),
            }
        }
        found.sort_by_key(|stored| std::cmp::Reverse(stored.head.parts().response_time));
        let variants = Variants::from(found);
        if !variants.is_empty() {
            self.memory.put(key, Arc::clone(&variants), rules);
        }
        variants
    }

    fn load_one(&self, key: &CacheKey, name: FileName, restore: &impl Restore) -> Result<StoredResponse, Flaw> {
        let found = self.files.read(name, self.options.memory_body_bytes_max)?;
        if *found.front.record.url != *key.as_str() {
            return Err(Damage::Name.into());
        }
        let parts = decode_head(&found.front.record.head).ok_or(Damage::Head)?;
        let head = restore(parts);
        Ok(self.response(key, name, head, found))
    }

    fn response(&self, key: &CacheKey, name: FileName, head: StoredHead, found: Found) -> StoredResponse {
        let record = found.front.record;
        let place = (found.front.layout.body_offset, record.body_bytes);
        let body = Body::new(Arc::clone(&self.files), name, place, record.digest, found.small_body);
        StoredResponse { head, key: key.clone(), body: Arc::new(body), stored_at: stored_at(record.stored_at_ms) }
    }

    /// The files of a URL, by the index or, while that is not complete, by the folder. The stripe must be held.
    pub(crate) fn variants_on_disk(&self, url: UrlKey) -> Vec<(FileName, Row)> {
        if self.index.surely_has_none(url) {
            return Vec::new();
        }
        if let Some(rows) = self.index.variants_of(url) {
            return rows.into_iter().map(|(key, row)| (FileName { key, generation: row.generation }, row)).collect();
        }
        let names = self.files.names_of(url).unwrap_or_else(|error| {
            tracing::warn!(%error, "a folder of the store cannot be read");
            Names::default()
        });
        names.superseded.iter().for_each(|&name| self.files.remove(name));
        names.iter().filter_map(|name| Some((name, self.row_of_file(name)?))).collect()
    }

    /// One file's row, by the index or, while that is not complete, by the folder. The stripe must be held.
    pub(crate) fn row_on_disk(&self, key: IndexKey) -> Option<Row> {
        match self.index.get(&key) {
            Some(row) => row,
            None => self.variants_on_disk(key.url()).into_iter().find(|(name, _)| name.key == key).map(|(_, row)| row),
        }
    }

    /// A row made from what the file system says of a file.
    pub(crate) fn row_of_file(&self, name: FileName) -> Option<Row> {
        let metadata = std::fs::symlink_metadata(self.files.path(name)).ok()?;
        let stored_at = Minutes::of(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        Some(Row {
            generation: name.generation,
            file_bytes: metadata.len(),
            stored_at,
            pinned_until: Minutes::default(),
            tags: TagSet::UNKNOWN,
        })
    }

    /// Takes a file that gives no response out of the index, and out of its folder. The stripe must be held.
    pub(crate) fn lose(&self, name: FileName, row: Option<Row>, flaw: Flaw) {
        match flaw {
            // Too few descriptors or the like: it may be read the next time.
            Flaw::Failed(error) => {
                tracing::warn!(%error, "a stored file cannot be read now");
                return;
            }
            Flaw::Missing => {}
            Flaw::Damaged(damage) => self.files.set_aside(name, damage),
        }
        if row.is_some_and(|row| row.generation == name.generation) {
            self.index.change(name.key, row, None);
        }
    }

    /// Takes a file whose body turned out to be damaged out of the store.
    pub(crate) fn drop_damaged(&self, name: FileName, damage: Damage) {
        let _stripe = self.stripe(name.key.url());
        let url = self.files.read(name, 0).ok().map(|found| found.front.record.url);
        let row = self.row_on_disk(name.key).filter(|row| row.generation == name.generation);
        self.lose(name, row, damage.into());
        match url.and_then(|url| super::cache_key(&url)) {
            Some(key) => self.memory.remove(&key),
            // Its record is damaged as well, so nobody can say whose it was: all are loaded again when asked for.
            None => self.memory.clear(),
        }
    }
}

/// When a record was stored, as a time.
pub(crate) fn stored_at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The record of a response.
pub(crate) fn record_of(
    key: &CacheKey,
    head: &StoredHead,
    stored_at_ms: u64,
    body_bytes: u64,
    digest: [u8; 32],
) -> Record {
    Record {
        url: key.as_str().into(),
        variant: head.variant_key().into(),
        head: super::head_codec::encode_head(head.parts()).into(),
        stored_at_ms,
        body_bytes,
        digest,
    }
}
