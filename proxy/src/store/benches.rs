//! What the store keeps to itself and measurements ask for: the record at a file's beginning, and the index.

use std::path::Path;
use std::time::Duration;

use bulaq_cache_policy::StoredHeadParts;

use super::head_codec::{decode_head, encode_head};
use super::index::{IndexState, Minutes, Row, TagSet};
use super::name::UrlKey;
use super::record::{Layout, Record, decode_front, encode_front};
use super::{Store, StoreError, StoreOptions};
use crate::clock::Clock;

/// What is written down of a response, and read again.
pub struct RecordSample {
    url: String,
    parts: StoredHeadParts,
    body_bytes: u64,
}

impl RecordSample {
    /// Of a response to a request for `url`.
    pub fn new(url: &str, parts: &StoredHeadParts, body_bytes: u64) -> Self {
        Self { url: url.to_owned(), parts: parts.clone(), body_bytes }
    }

    /// The beginning of its file, from the head on.
    pub fn encode(&self) -> Vec<u8> {
        let record = Record {
            url: self.url.as_str().into(),
            variant: [].into(),
            head: encode_head(&self.parts).into(),
            stored_at_ms: 0,
            body_bytes: self.body_bytes,
            digest: [7; 32],
        };
        let record = record.encode();
        encode_front(Layout::new(record.len(), false), &record)
    }

    /// Whether this is the beginning of its file: read as far as the head's fields, as for a hit from the disk.
    pub fn is_read_from(&self, front: &[u8]) -> bool {
        let Ok(front) = decode_front(front) else { return false };
        decode_head(&front.record.head).is_some_and(|parts| parts.headers.len() == self.parts.headers.len())
    }
}

/// An index of many responses; there are no files.
pub struct IndexSample {
    store: Store,
}

impl IndexSample {
    /// Opens one in an empty folder, with `rows` responses at these addresses, all written to the engine.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(dir: &Path, rows: usize, url: impl Fn(usize) -> String) -> Result<Self, StoreError> {
        let mut options = StoreOptions::new(dir);
        (options.free_bytes_min, options.ballast_bytes) = (0, 0);
        let store = Store::open(options.clone(), Clock::system())?;
        while store.usage().index_state != IndexState::Ready {
            std::thread::sleep(WAIT);
        }
        for number in 0..rows {
            let row = Row {
                generation: 1,
                file_bytes: 11_000,
                stored_at: Minutes(29_833_333),
                pinned_until: Minutes(0),
                tags: TagSet(0),
            };
            store.0.index.change(UrlKey::of(&url(number)).variant(&[]), None, Some(row));
        }
        // An orderly stop writes what waits, and the next start believes it.
        store.close().await;
        let store = Store::open(options, Clock::system())?;
        while store.usage().index_state != IndexState::Ready {
            std::thread::sleep(WAIT);
        }
        Ok(Self { store })
    }

    /// Whether a response is stored for this address, as a look-up for a hit from the disk asks.
    pub fn has(&self, url: &str) -> bool {
        self.store.0.index.variants_of(UrlKey::of(url)).is_some_and(|variants| !variants.is_empty())
    }
}

/// How often it is looked whether the index is complete.
const WAIT: Duration = Duration::from_millis(1);
