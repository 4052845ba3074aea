//! When a response was last used and how often, roughly, in a table of fixed size: a hit writes one word, if any.
//!
//! Two responses may share a word; then one of them seems to be used more than it is and stays a little longer.

use std::sync::atomic::{AtomicU32, Ordering};

use super::index::Minutes;
use super::name::IndexKey;

/// Words in the table: 1 MiB, few collisions up to some 100,000 responses in use.
const WORDS: usize = 1 << 18;

/// Time is kept in units of four minutes, so that it fits 24 bits until the year 2097.
const MINUTES_PER_UNIT: u32 = 4;

/// The table. Each word: 24 bits of time, 8 bits of uses.
pub(crate) struct Recency(Box<[AtomicU32]>);

impl Default for Recency {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU32::new(0)).collect())
    }
}

/// What is known of a response's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) last: Minutes,
    pub(crate) count: u32,
}

impl Recency {
    fn word(&self, key: &IndexKey) -> &AtomicU32 {
        let bytes = [key.0[12] ^ key.0[24], key.0[13] ^ key.0[25], key.0[14] ^ key.0[26], 0];
        &self.0[u32::from_le_bytes(bytes) as usize % WORDS]
    }

    /// Notes a use. Writes only when something changes, so that a hot response's word stays in every core's cache.
    pub(crate) fn touch(&self, key: &IndexKey, now: Minutes) {
        let word = self.word(key);
        let known = word.load(Ordering::Relaxed);
        let count = (known & 0xff).saturating_add(1).min(0xff);
        let new = (now.0 / MINUTES_PER_UNIT) << 8 | count;
        if new != known {
            word.store(new, Ordering::Relaxed);
        }
    }

    pub(crate) fn of(&self, key: &IndexKey) -> Use {
        let word = self.word(key).load(Ordering::Relaxed);
        Use { last: Minutes((word >> 8) * MINUTES_PER_UNIT), count: word & 0xff }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::name::UrlKey;

    #[test]
    fn uses_are_counted_up_to_a_limit() {
        let recency = Recency::default();
        let (used, other) = (UrlKey::of("http://a.kz/").variant(b""), UrlKey::of("http://a.kz/2").variant(b""));
        for at in 0..300 {
            recency.touch(&used, Minutes(29_000_000 + at));
        }
        assert_eq!(recency.of(&used), Use { last: Minutes(29_000_296), count: 255 });
        assert_eq!(recency.of(&other), Use { last: Minutes(0), count: 0 });
    }
}
