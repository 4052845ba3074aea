//! A stored response: its head, parsed and under the rules of now, and its body wherever that is.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{CacheKey, StoredHead};
use bytes::Bytes;

use super::body::{Body, BodyFile};

/// One stored response. Never changes: what replaces it is another one.
pub struct StoredResponse {
    /// What is stored of its head.
    pub head: StoredHead,
    pub(super) key: CacheKey,
    pub(super) body: Arc<Body>,
    pub(super) stored_at: SystemTime,
}

/// The stored variants of one URL, newest first. Empty when nothing is stored.
pub type Variants = Arc<[Arc<StoredResponse>]>;

impl StoredResponse {
    /// The cache key under which it is stored.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// The length of its body in bytes.
    pub fn body_bytes(&self) -> u64 {
        self.body.bytes
    }

    /// When its body was stored.
    pub fn stored_at(&self) -> SystemTime {
        self.stored_at
    }

    /// The same content with another head, for one answer: nothing of it is stored.
    pub fn with_head(&self, head: StoredHead) -> Self {
        Self { head, key: self.key.clone(), body: Arc::clone(&self.body), stored_at: self.stored_at }
    }

    /// The whole body, when it is short enough to be kept in memory.
    pub fn small_body(&self) -> Option<Bytes> {
        self.body.small.clone()
    }

    /// Opens the body for reading; checks it first, whole up to 32 MiB, else block by block as it is read.
    ///
    /// # Errors
    /// `NotFound` when it was replaced or removed meanwhile, `InvalidData` when it is damaged and was dropped: treat
    /// either as a miss and fetch it again. Others as the system reports them.
    pub async fn body_file(&self) -> io::Result<BodyFile> {
        self.body.open().await
    }

    /// The same, when nothing is left to check before the first byte and no thread has to wait for the disk.
    pub(crate) fn body_file_now(&self) -> Option<BodyFile> {
        self.body.open_now()
    }

    /// What it takes in memory, in bytes, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        let fields: usize =
            self.head.headers().iter().map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len()).sum();
        let small = self.body.small.as_ref().map_or(0, Bytes::len);
        RESPONSE_BYTES + self.key.as_str().len() + fields + small
    }
}

/// What a response takes beside its fields, URL and body, and a field beside its text. Estimated from the types.
const RESPONSE_BYTES: usize = 1200;
const FIELD_BYTES: usize = 120;

/// Says nothing of fields or queries: this ends up in debug output.
impl std::fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredResponse")
            .field("key", &self.key)
            .field("body_bytes", &self.body.bytes)
            .finish_non_exhaustive()
    }
}
