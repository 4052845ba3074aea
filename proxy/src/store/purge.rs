//! Removing what is stored, or marking it stale, by URL, host, prefix or cache tag: an unsafe method's invalidation
//! (RFC 9111 §4.4) and an operator's purge.

use std::sync::Arc;

use bulaq_cache_policy::{CacheKey, CacheTag, cache_tags};
use http::HeaderMap;

use super::files::Flaw;
use super::head_codec::decode_head;
use super::in_flight::Arriving;
use super::index::{Row, TagSet};
use super::name::{FileName, IndexKey, UrlKey, host_of, host_prefix};
use super::{Shared, Store};

/// What a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All variants of a URL.
    Url(CacheKey),
    /// Every URL that begins so: an absolute URL up to any point after its host.
    Prefix(String),
    /// Everything of a host (lower case, without port).
    Host(String),
    /// What of a host has any of these tags.
    Tagged {
        /// Lower case, without port.
        host: String,
        /// At least one.
        tags: Vec<CacheTag>,
    },
}

/// What a purge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeMode {
    /// Removes it.
    Hard,
    /// Marks it stale: it is validated before its next use, and may still stand in for an origin that fails.
    Soft,
}

/// What a purge found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Responses.
    pub responses: u64,
    /// What they took of the disk, in bytes.
    pub bytes: u64,
}

/// Rows looked at between two looks at the clock of others: a purge of a large site is many short steps.
const PAGE_ROWS: usize = 256;

impl Store {
    /// Removes all variants of a URL, also one that is arriving now. Says how many there were.
    pub async fn remove(&self, key: &CacheKey) -> usize {
        let purged = self.purge(Scope::Url(key.clone()), PurgeMode::Hard).await;
        usize::try_from(purged.responses).unwrap_or(usize::MAX)
    }

    /// Removes what `scope` names, or marks it stale. What of it is arriving now is not stored.
    pub async fn purge(&self, scope: Scope, mode: PurgeMode) -> Purged {
        self.0.in_flight.invalidate(|arriving| scope.names_arriving(arriving));
        let scope = Arc::new(scope);
        // What is stored in part first: from then on none of it can become complete behind our back.
        let (shared, of_parts) = (Arc::clone(&self.0), Arc::clone(&scope));
        let parts = move || shared.purge_parts(&of_parts, mode);
        let mut purged = self.0.files.run_blocking(parts).await.unwrap_or_default();
        let mut after = None;
        loop {
            let (shared, scope) = (Arc::clone(&self.0), Arc::clone(&scope));
            let page = move || match &*scope {
                Scope::Url(key) => (shared.purge_url(key, mode), None),
                _ => shared.purge_page(&scope, mode, after),
            };
            let Ok((part, next)) = self.0.files.run_blocking(page).await else { return purged };
            purged.responses += part.responses;
            purged.bytes += part.bytes;
            match next {
                Some(next) => after = Some(next),
                None => return purged,
            }
        }
    }
}

impl Scope {
    /// What the index keys of all that it may name begin with.
    fn key_prefix(&self) -> Vec<u8> {
        match self {
            Self::Url(key) => UrlKey::of(key.as_str()).0.to_vec(),
            Self::Prefix(prefix) => host_prefix(host_of(prefix)).to_vec(),
            Self::Host(host) | Self::Tagged { host, .. } => host_prefix(host).to_vec(),
        }
    }

    fn names_url(&self, url: &str) -> bool {
        match self {
            Self::Url(key) => key.as_str() == url,
            Self::Prefix(prefix) => host_of(url) == host_of(prefix) && url.starts_with(prefix.as_str()),
            Self::Host(host) | Self::Tagged { host, .. } => host_of(url) == host,
        }
    }

    fn may_name(&self, set: TagSet) -> bool {
        match self {
            Self::Tagged { tags, .. } => tags.iter().any(|tag| set.may_have(tag)),
            Self::Url(_) | Self::Prefix(_) | Self::Host(_) => true,
        }
    }

    fn names_arriving(&self, arriving: &Arriving) -> bool {
        self.names_url(arriving.key.as_str()) && self.may_name(arriving.tags)
    }

    /// Whether it names a response; `headers` are asked for only where tags decide.
    fn names(&self, url: &str, headers: impl FnOnce() -> Option<HeaderMap>) -> bool {
        self.names_url(url)
            && match self {
                Self::Tagged { tags, .. } => {
                    headers().is_some_and(|headers| cache_tags(&headers).any(|tag| tags.contains(&tag)))
                }
                Self::Url(_) | Self::Prefix(_) | Self::Host(_) => true,
            }
    }
}

impl Shared {
    fn purge_parts(&self, scope: &Scope, mode: PurgeMode) -> Purged {
        let mut purged = Purged::default();
        for name in self.parts.names(&scope.key_prefix()) {
            if let Some(bytes) = self.purge_part(scope, mode, name) {
                purged.responses += 1;
                purged.bytes += bytes;
            }
        }
        self.sync_marks(mode, &purged);
        purged
    }

    /// Says what it takes of the disk when it was meant.
    fn purge_part(&self, scope: &Scope, mode: PurgeMode, name: FileName) -> Option<u64> {
        let stripe = self.stripe(name.key.url());
        let part = self.open_part(name)?;
        if !scope.names(&part.url, || Some(part.head_parts().headers)) {
            return None;
        }
        match mode {
            PurgeMode::Hard => self.remove_part(name),
            PurgeMode::Soft => {
                drop(stripe); // whoever writes the last block waits for it
                self.mark_part_stale(&part)
            }
        }
    }

    /// Without the index's help where that is not complete: a URL's own folder says it all.
    fn purge_url(&self, key: &CacheKey, mode: PurgeMode) -> Purged {
        let url = UrlKey::of(key.as_str());
        let _stripe = self.stripe(url);
        let mut purged = Purged::default();
        for (name, row) in self.variants_on_disk(url) {
            if self.purge_held(mode, name, row) {
                purged.responses += 1;
                purged.bytes += row.disk_bytes();
            }
        }
        self.memory.remove(key);
        self.sync_marks(mode, &purged);
        purged
    }

    fn purge_page(&self, scope: &Scope, mode: PurgeMode, after: Option<IndexKey>) -> (Purged, Option<IndexKey>) {
        let page = self.page_of(&scope.key_prefix(), after, PAGE_ROWS);
        let mut purged = Purged::default();
        for &(name, row) in page.iter().filter(|(_, row)| scope.may_name(row.tags)) {
            if self.purge_one(scope, mode, name) {
                purged.responses += 1;
                purged.bytes += row.disk_bytes();
            }
        }
        self.sync_marks(mode, &purged);
        (purged, page.last().map(|(name, _)| name.key))
    }

    fn purge_one(&self, scope: &Scope, mode: PurgeMode, name: FileName) -> bool {
        let _stripe = self.stripe(name.key.url());
        // It may have been replaced since the page was read: what is there now is asked.
        let Some(row) = self.row_on_disk(name.key) else { return false };
        let name = FileName { key: name.key, generation: row.generation };
        let found = match self.files.read(name, 0) {
            Ok(found) => found,
            Err(flaw) => return self.purge_flawed(name, row, flaw),
        };
        let headers = || decode_head(&found.front.record.head).map(|parts| parts.headers);
        if !scope.names(&found.front.record.url, headers) {
            if row.tags == TagSet::UNKNOWN
                && let Some(headers) = headers()
            {
                // Told once, so that the next purge need not open it.
                let tags = TagSet::of(&headers);
                self.index.change(name.key, Some(row), Some(Row { tags, ..row }));
            }
            return false;
        }
        if let Some(key) = super::cache_key(&found.front.record.url) {
            self.memory.remove(&key);
        }
        self.purge_held(mode, name, row)
    }

    /// The stripe must be held.
    fn purge_held(&self, mode: PurgeMode, name: FileName, row: Row) -> bool {
        match mode {
            PurgeMode::Hard => {
                self.index.change(name.key, Some(row), None);
                self.files.remove(name);
                true
            }
            PurgeMode::Soft => match self.mark_stale(name) {
                Ok(()) => true,
                Err(flaw) => self.purge_flawed(name, row, flaw),
            },
        }
    }

    /// Makes marks durable, for many files at once.
    fn sync_marks(&self, mode: PurgeMode, purged: &Purged) {
        if mode == PurgeMode::Soft
            && purged.responses > 0
            && let Err(error) =
                std::fs::File::open(&self.files.dir).and_then(|folder| self.files.disk.sync_all(&folder))
        {
            tracing::warn!(%error, "what was marked stale is so until the power goes; the disk may not remember it");
        }
    }

    /// What cannot be read is no response any more, unless the machine was only short of something.
    fn purge_flawed(&self, name: FileName, row: Row, flaw: Flaw) -> bool {
        let is_lost = !matches!(flaw, Flaw::Failed(_));
        self.lose(name, Some(row), flaw);
        is_lost
    }

    /// Some rows whose keys begin with `prefix` and come after `after`, in order; empty at the end. By the index, or while
    /// that is not complete by the folders.
    pub(crate) fn page_of(&self, prefix: &[u8], after: Option<IndexKey>, max: usize) -> Vec<(FileName, Row)> {
        if let Some(rows) = self.index.page(prefix, after.as_ref(), max) {
            return rows.into_iter().map(|(key, row)| (FileName { key, generation: row.generation }, row)).collect();
        }
        let mut names: Vec<FileName> = Vec::new();
        for folder in self.files.folders().unwrap_or_default() {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let all = entries.filter_map(|entry| FileName::parse(entry.file_name().to_str()?));
            names.extend(
                all.filter(|name| name.key.0.starts_with(prefix) && after.is_none_or(|after| name.key > after)),
            );
            // Only the first of them are wanted: memory stays bounded however many there are.
            names.sort_by_key(|name| (name.key, std::cmp::Reverse(name.generation)));
            names.dedup_by_key(|name| name.key);
            names.truncate(max);
        }
        names.into_iter().filter_map(|name| Some((name, self.row_of_file(name)?))).collect()
    }
}
