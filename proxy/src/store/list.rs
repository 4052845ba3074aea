//! What is stored, page by page: for the portal's catalogue and for reports.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::find::stored_at;
use super::head_codec::decode_head;
use super::name::{FileName, IndexKey, KEY_BYTES, host_of, host_prefix};
use super::{Shared, Store};

/// One stored response in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its URL, with its query: not for logs.
    pub url: String,
    /// Its status.
    pub status: StatusCode,
    /// Its `Content-Type`, when it has a readable one.
    pub content_type: Option<String>,
    /// The length of its body in bytes.
    pub body_bytes: u64,
    /// How much of its body is here, in bytes; less than all of it for one that is stored in part.
    pub held_bytes: u64,
    /// When its body was stored.
    pub stored_at: SystemTime,
    /// The name of its file.
    pub id: String,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Stored responses, in no order that means anything, each once.
    pub listed: Vec<Listed>,
    /// Where the next page begins; none after the last one. A page can be empty and not be the last.
    pub next: Option<ListCursor>,
}

/// Where a listing goes on: complete responses come first, then those that are stored in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListCursor(After);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Complete(IndexKey),
    Incomplete(Option<IndexKey>),
}

impl Listed {
    /// Whether all of it is here.
    pub fn is_complete(&self) -> bool {
        self.held_bytes == self.body_bytes
    }
}

/// The most responses on a page: each costs an opened file.
const PAGE_MAX: usize = 512;

impl Store {
    /// Up to `max` (at most 512) stored responses, complete or in part, of one host (lower case, without port) or of all, after a cursor.
    pub async fn list(&self, host: Option<&str>, after: Option<ListCursor>, max: usize) -> Listing {
        let (shared, host) = (Arc::clone(&self.0), host.map(str::to_owned));
        let page = move || shared.list_page(host.as_deref(), after, max.clamp(1, PAGE_MAX));
        self.0.files.run_blocking(page).await.unwrap_or_default()
    }

    /// The hosts that something is stored of, up to `max`, in no order that means anything. Opens one file of each.
    pub async fn hosts(&self, max: usize) -> Vec<String> {
        let mut hosts = Vec::new();
        let mut after = None;
        while hosts.len() < max {
            let shared = Arc::clone(&self.0);
            let step = move || shared.next_host(after);
            let Ok(Some((host, next))) = self.0.files.run_blocking(step).await else { break };
            hosts.extend(host);
            after = Some(next);
        }
        hosts
    }

    /// The fields and the whole body of a listed response, checked, when the body has at most `body_bytes_max`. Goes past
    /// memory: looking at every page once does not push out what pupils use.
    pub async fn peek(&self, listed: &Listed, body_bytes_max: u64) -> Option<(HeaderMap, Bytes)> {
        let (shared, name) = (Arc::clone(&self.0), FileName::parse(&listed.id)?);
        let peek = move || {
            let found = shared.files.read(name, body_bytes_max).ok()?;
            Some((decode_head(&found.front.record.head)?.headers, found.small_body?))
        };
        self.0.files.run_blocking(peek).await.ok()?
    }
}

impl Shared {
    /// The host of the first file after a key, and the last key that it could have; a file that cannot be read is passed
    /// over alone.
    fn next_host(&self, after: Option<IndexKey>) -> Option<(Option<String>, IndexKey)> {
        let (name, _) = *self.page_of(&[], after, 1).first()?;
        let Ok(found) = self.files.read(name, 0) else { return Some((None, name.key)) };
        let mut last = IndexKey([u8::MAX; KEY_BYTES]);
        let prefix = host_prefix(host_of(&found.front.record.url));
        last.0[..prefix.len()].copy_from_slice(&prefix);
        Some((Some(host_of(&found.front.record.url).to_owned()), last))
    }

    fn list_page(&self, host: Option<&str>, after: Option<ListCursor>, max: usize) -> Listing {
        let prefix = host.map(host_prefix);
        let prefix = prefix.as_ref().map_or(&[][..], |prefix| &prefix[..]);
        let (listed, next): (Vec<Listed>, _) = match after.map(|after| after.0) {
            Some(After::Incomplete(after)) => {
                let page = self.page_of_parts(prefix, after, max);
                let next = page.last().map(|name| After::Incomplete(Some(name.key)));
                (page.into_iter().filter_map(|name| self.listed_part(name)).collect(), next)
            }
            Some(After::Complete(after)) => self.list_complete(prefix, Some(after), max),
            None => self.list_complete(prefix, None, max),
        };
        let is_meant = |listed: &Listed| host.is_none_or(|host| host_of(&listed.url) == host);
        Listing { listed: listed.into_iter().filter(is_meant).collect(), next: next.map(ListCursor) }
    }

    fn list_complete(&self, prefix: &[u8], after: Option<IndexKey>, max: usize) -> (Vec<Listed>, Option<After>) {
        let page = self.page_of(prefix, after, max);
        let next = match page.last() {
            Some((name, _)) => Some(After::Complete(name.key)),
            None => (self.parts.count() > 0).then_some(After::Incomplete(None)),
        };
        (page.into_iter().filter_map(|(name, _)| self.listed(name)).collect(), next)
    }

    fn listed_part(&self, name: FileName) -> Option<Listed> {
        let part = self.part_of_page(name)?;
        let head = part.head_parts();
        Some(Listed {
            url: part.url.to_string(),
            status: head.status,
            content_type: content_type_of(&head.headers),
            body_bytes: part.complete_length,
            held_bytes: part.blocks.held_bytes(),
            stored_at: stored_at(part.begun_at_ms),
            id: name.file_name(),
        })
    }

    fn listed(&self, name: FileName) -> Option<Listed> {
        // A file that is gone or damaged is left to whoever asks for the URL.
        let record = self.files.read(name, 0).ok()?.front.record;
        let head = decode_head(&record.head)?;
        Some(Listed {
            url: record.url.into(),
            status: head.status,
            content_type: content_type_of(&head.headers),
            body_bytes: record.body_bytes,
            held_bytes: record.body_bytes,
            stored_at: stored_at(record.stored_at_ms),
            id: name.file_name(),
        })
    }
}

fn content_type_of(fields: &HeaderMap) -> Option<String> {
    fields.get(CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}
