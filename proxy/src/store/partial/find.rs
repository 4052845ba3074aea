//! Finding what is stored in part of a URL.

use std::sync::Arc;

use bulaq_cache_policy::CacheKey;

use super::super::files::Flaw;
use super::super::find::Restore;
use super::super::memory::Rules;
use super::super::name::{FileName, UrlKey};
use super::super::record::Damage;
use super::super::{Shared, Store};
use super::Incomplete;
use super::part::{Part, Used};

impl Store {
    /// What is stored in part of a URL, newest first. When there is nothing, or all of it is open, this waits for nothing;
    /// else fronts and sums are read on a thread that may wait for the disk. Heads are restored as by
    /// [`Store::find`]. What is damaged is set aside and not among the answer.
    pub async fn find_incomplete(&self, key: &CacheKey, rules: Rules, restore: impl Restore) -> Vec<Arc<Incomplete>> {
        if let Some(found) = self.0.find_open(key, rules) {
            return found;
        }
        let (shared, key) = (Arc::clone(&self.0), key.clone());
        let load = self.0.files.run_blocking(move || shared.load_incomplete(&key, rules, &restore));
        Box::pin(load).await.unwrap_or_default()
    }
}

impl Shared {
    /// All of a URL, when they are open and their heads are of these rules.
    fn find_open(self: &Arc<Self>, key: &CacheKey, rules: Rules) -> Option<Vec<Arc<Incomplete>>> {
        if self.parts.is_empty() {
            return Some(Vec::new());
        }
        let open = self.parts.open_of(UrlKey::of(key.as_str()), self.now_ms())?;
        let found = open.into_iter().filter(|part| *part.url == *key.as_str()).map(|part| {
            // One that is whole and could not be published is tried again, on a thread that may wait.
            let head = part.head_under(rules).filter(|_| !part.blocks.is_known_whole())?;
            Some(Arc::new(Incomplete { shared: Arc::clone(self), key: key.clone(), head, rules, part }))
        });
        found.collect::<Option<Vec<_>>>().map(newest_first)
    }

    fn load_incomplete(self: &Arc<Self>, key: &CacheKey, rules: Rules, restore: &impl Restore) -> Vec<Arc<Incomplete>> {
        let url = UrlKey::of(key.as_str());
        let stripe = self.stripe(url);
        let mut found = Vec::new();
        for name in self.parts.names(&url.0) {
            let Some(part) = self.open_part(name) else { continue };
            if *part.url == *key.as_str() {
                let head = part.restored_head(restore, rules);
                found.push(Arc::new(Incomplete { shared: Arc::clone(self), key: key.clone(), head, rules, part }));
            }
        }
        drop(stripe);
        found.iter().for_each(|incomplete| incomplete.complete_if_whole());
        newest_first(found)
    }

    /// Opens an incomplete response, or joins those who have it open. One that cannot be used is taken out. The stripe of
    /// its URL must be held.
    pub(crate) fn open_part(&self, name: FileName) -> Option<Used> {
        let opened = self.try_open_part(name);
        if let Err(Flaw::Failed(error)) = &opened {
            // Too few descriptors or the like: it may be read the next time.
            tracing::warn!(%error, "a partly stored file cannot be read now");
        }
        opened.ok()
    }

    /// The same, with the reason why not.
    pub(crate) fn try_open_part(&self, name: FileName) -> Result<Used, Flaw> {
        if let Some(part) = self.parts.open(name) {
            return Ok(part);
        }
        let loaded = Part::load(&self.files, name);
        match &loaded {
            Ok(_) | Err(Flaw::Failed(_)) => {}
            Err(Flaw::Missing) => drop(self.remove_part(name)),
            Err(Flaw::Damaged(damage)) => self.lose_part(name, *damage),
        }
        self.parts.loaded(loaded?, self.now_ms()).ok_or(Flaw::Missing)
    }

    /// Takes out an incomplete response whose file is damaged. The stripe of its URL must be held.
    pub(crate) fn lose_part(&self, name: FileName, damage: Damage) {
        if self.parts.remove(name).is_none() {
            return;
        }
        match damage {
            // Nothing of its beginning had reached the disk when the power went.
            Damage::Magic if self.files.begins_in_zeros(name) => self.files.remove_part(name),
            _ => self.files.set_part_aside(name, damage),
        }
    }
}

fn newest_first(mut found: Vec<Arc<Incomplete>>) -> Vec<Arc<Incomplete>> {
    found.sort_by_key(|incomplete| std::cmp::Reverse(incomplete.head.parts().response_time));
    found
}
