//! Removing what is stored, by URL, host or prefix: an unsafe method's invalidation (RFC 9111 §4.4) and an operator's purge.

use std::sync::Arc;

use bulaq_cache_policy::CacheKey;

use super::files::Flaw;
use super::index::Row;
use super::name::{FileName, IndexKey, UrlKey, host_of, host_prefix};
use super::{Shared, Store};

/// What a purge removed.
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
        self.0.in_flight.invalidate(|filling| filling == key);
        let (shared, key) = (Arc::clone(&self.0), key.clone());
        self.0.files.run_blocking(move || shared.remove(&key)).await.unwrap_or(0)
    }

    /// Removes everything of a host (lower case, without port).
    pub async fn purge_host(&self, host: &str) -> Purged {
        self.0.in_flight.invalidate(|filling| host_of(filling.as_str()) == host);
        self.purge(host.to_owned(), None).await
    }

    /// Removes every URL that begins with `prefix`, which is an absolute URL up to any point after its host.
    pub async fn purge_prefix(&self, prefix: &str) -> Purged {
        self.0.in_flight.invalidate(|filling| filling.as_str().starts_with(prefix));
        self.purge(host_of(prefix).to_owned(), Some(prefix.to_owned())).await
    }

    async fn purge(&self, host: String, prefix: Option<String>) -> Purged {
        // What is stored in part first: from then on none of it can become complete behind our back.
        let (shared, of_host, within) = (Arc::clone(&self.0), host.clone(), prefix.clone());
        let parts = move || shared.purge_parts(&of_host, within.as_deref());
        let mut purged = self.0.files.run_blocking(parts).await.unwrap_or_default();
        let mut after = None;
        loop {
            let (shared, host, prefix) = (Arc::clone(&self.0), host.clone(), prefix.clone());
            let page = move || shared.purge_page(&host, prefix.as_deref(), after);
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

impl Shared {
    fn remove(&self, key: &CacheKey) -> usize {
        let url = UrlKey::of(key.as_str());
        let _stripe = self.stripe(url);
        let variants = self.variants_on_disk(url);
        for &(name, row) in &variants {
            self.index.change(name.key, Some(row), None);
            self.files.remove(name);
        }
        self.memory.remove(key);
        let parts = self.parts.names(&url.0).into_iter().filter_map(|name| self.remove_part(name)).count();
        variants.len() + parts
    }

    fn purge_parts(&self, host: &str, prefix: Option<&str>) -> Purged {
        let mut purged = Purged::default();
        for name in self.parts.names(&host_prefix(host)) {
            let _stripe = self.stripe(name.key.url());
            let Some(part) = self.open_part(name) else { continue };
            let is_meant = host_of(&part.url) == host && prefix.is_none_or(|prefix| part.url.starts_with(prefix));
            if let Some(bytes) = is_meant.then(|| self.remove_part(name)).flatten() {
                purged.responses += 1;
                purged.bytes += bytes;
            }
        }
        purged
    }

    fn purge_page(&self, host: &str, prefix: Option<&str>, after: Option<IndexKey>) -> (Purged, Option<IndexKey>) {
        let page = self.page_of(&host_prefix(host), after, PAGE_ROWS);
        let mut purged = Purged::default();
        for &(name, row) in &page {
            if self.purge_one(host, prefix, name) {
                purged.responses += 1;
                purged.bytes += row.disk_bytes();
            }
        }
        (purged, page.last().map(|(name, _)| name.key))
    }

    fn purge_one(&self, host: &str, prefix: Option<&str>, name: FileName) -> bool {
        let _stripe = self.stripe(name.key.url());
        // It may have been replaced since the page was read: what is there now is asked.
        let Some(row) = self.row_on_disk(name.key) else { return false };
        let name = FileName { key: name.key, generation: row.generation };
        match self.files.read(name, 0) {
            Ok(found) => {
                let url = &found.front.record.url;
                if host_of(url) != host || prefix.is_some_and(|prefix| !url.starts_with(prefix)) {
                    return false;
                }
                if let Some(key) = super::cache_key(url) {
                    self.memory.remove(&key);
                }
                self.index.change(name.key, Some(row), None);
                self.files.remove(name);
                true
            }
            Err(flaw) => {
                let is_lost = !matches!(flaw, Flaw::Failed(_));
                self.lose(name, Some(row), flaw);
                is_lost
            }
        }
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
