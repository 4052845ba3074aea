//! The store as its users meet it: one folder, one store, and what may happen to both.

mod commit;
mod crash;
mod damage;
mod gathered;
mod index;
mod life;
mod partial;
mod reading;
mod room;
mod rules;
mod together;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulaq_cache_policy::{CacheKey, Options, SiteRule, StoredHead, StoredHeadParts};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::{Faults, Store, StoreOptions, StoreRefusal, StoredBody, StoredResponse, Variants};
use crate::clock::Clock;

const MIB: usize = 1 << 20;

/// The morning of 6 April 2020.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_586_145_600)
}

/// A folder with a store in it, and what the store may not forget when it is opened again.
struct Box {
    dir: TempDir,
    clock: Clock,
    faults: Arc<Faults>,
    change: fn(&mut StoreOptions),
}

impl Box {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: fn(&mut StoreOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, clock: Clock::held(start()), faults: Arc::default(), change }
    }

    fn options(&self) -> StoreOptions {
        let mut options = StoreOptions::new(self.dir.path().join("store"));
        options.free_bytes_min = 0;
        options.index_cache_bytes = 1 << 20;
        options.ballast_bytes = 0;
        options.commit_delay = Duration::ZERO;
        options.index_reopen_after = Duration::ZERO;
        options.faults = Some(Arc::clone(&self.faults));
        (self.change)(&mut options);
        options
    }

    /// Opens the store; its index may not be complete yet.
    fn open(&self) -> Store {
        Store::open(self.options(), self.clock.clone()).unwrap()
    }

    /// Opens the store and waits for its index.
    fn open_ready(&self) -> Store {
        let store = self.open();
        store.0.index.wait_until_complete();
        store
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join("store").join(below)
    }

    /// All files of bodies, sorted.
    fn body_files(&self) -> Vec<PathBuf> {
        files_below(&self.path("bodies"))
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn key(url: &str) -> CacheKey {
    CacheKey::new(&url.parse().unwrap(), &SiteRule::default()).unwrap()
}

fn parts(fields: &[(&str, &str)], language: Option<&str>) -> StoredHeadParts {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let selecting = language.map(|language| (http::header::ACCEPT_LANGUAGE, Some(language.as_bytes().to_vec())));
    StoredHeadParts {
        method: Method::GET,
        status: StatusCode::OK,
        headers,
        request_time: start(),
        response_time: start(),
        selecting: selecting.into_iter().collect(),
        request_had_cookies: false,
        request_had_authorization: false,
        is_marked_stale: false,
    }
}

fn restore(parts: StoredHeadParts) -> StoredHead {
    StoredHead::from_parts(parts, &SiteRule::default(), &Options::default())
}

fn head(etag: &str) -> StoredHead {
    restore(parts(&[("etag", etag)], None))
}

/// A body that differs from others of its length by `seed`.
fn body(bytes: usize, seed: u8) -> Bytes {
    let mut body = Vec::with_capacity(bytes + 8);
    for word in 0..bytes as u64 / 8 + 1 {
        body.extend_from_slice(&(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(seed)).to_le_bytes());
    }
    body.truncate(bytes);
    body.into()
}

async fn try_fill(
    store: &Store,
    url: &str,
    head: StoredHead,
    body: &Bytes,
) -> Result<Arc<StoredResponse>, StoreRefusal> {
    let mut fill = store.begin(&key(url), head, Some(body.len() as u64), store.rules())?;
    let mut rest = body.clone();
    while !rest.is_empty() {
        fill.append(rest.split_to(rest.len().min(100_000))).await?;
    }
    fill.finish().await
}

async fn fill(store: &Store, url: &str, body: &Bytes) -> Arc<StoredResponse> {
    try_fill(store, url, head("\"1\""), body).await.unwrap()
}

async fn find(store: &Store, url: &str) -> Variants {
    store.find(&key(url), store.rules(), restore).await
}

/// The body of the only variant, read as a client would get it; none when nothing is stored.
async fn served(store: &Store, url: &str) -> Option<Bytes> {
    let variants = find(store, url).await;
    let [stored] = &*variants else {
        assert!(variants.is_empty(), "{url} has {} variants", variants.len());
        return None;
    };
    let body = StoredBody::open(stored, 0..u64::MAX).await.ok()?;
    Some(body.collect().await.expect("a body that was begun is served whole").to_bytes())
}

fn etag_of(stored: &StoredResponse) -> &str {
    stored.head.headers().get(ETAG).unwrap().to_str().unwrap()
}
