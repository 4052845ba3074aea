//! Of which URLs anything is stored, in memory: what nobody has stored yet is known to be a miss without asking the engine.
//!
//! A count for each URL's number. Two URLs that share a number make it say "maybe" once too often, never "no".

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::store::name::{IndexKey, UrlKey};

/// Tables, so that one that grows makes nobody wait for long: with a million responses each has 4,000.
const TABLES: usize = 256;

/// How many responses there are of a URL, for every URL: some 10 to 20 bytes a response.
#[derive(Debug)]
pub(crate) struct Present(Box<[HashMap<u32, u8, BuildHasherDefault<AsIs>>]>);

impl Default for Present {
    fn default() -> Self {
        Self((0..TABLES).map(|_| HashMap::default()).collect())
    }
}

impl Present {
    /// A response of this key is there that was not.
    pub(crate) fn add(&mut self, key: &IndexKey) {
        let (table, number) = place(key.url());
        let count = self.0[table].entry(number).or_default();
        *count = count.saturating_add(1);
    }

    /// A response of this key is there no longer.
    pub(crate) fn remove(&mut self, key: &IndexKey) {
        let (table, number) = place(key.url());
        match self.0[table].get_mut(&number) {
            // So many that they were not counted any more: it stays a "maybe".
            Some(&mut u8::MAX) | None => {}
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.0[table].remove(&number);
            }
        }
    }

    /// Whether anything may be stored of this URL.
    pub(crate) fn may_have(&self, url: UrlKey) -> bool {
        let (table, number) = place(url);
        self.0[table].contains_key(&number)
    }
}

/// The table of a URL and its number there: 40 bits of its hash.
fn place(url: UrlKey) -> (usize, u32) {
    let bytes = url.0;
    (usize::from(bytes[10]), u32::from_le_bytes([bytes[11], bytes[12], bytes[13], bytes[14]]))
}

/// The numbers are parts of a hash already; they only have to be spread over all 64 bits.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_denied() {
        let mut present = Present::default();
        let url = |at: u32| UrlKey::of(&format!("http://a.kz/{at}"));
        for at in 0..5_000 {
            present.add(&url(at).variant(b"kk"));
            present.add(&url(at).variant(b"ru"));
        }
        assert!((0..5_000).all(|at| present.may_have(url(at))));
        assert_eq!((5_000..100_000).filter(|&at| present.may_have(url(at))).count(), 0, "no two share 40 bits here");
        for at in 0..5_000 {
            present.remove(&url(at).variant(b"kk"));
        }
        assert!((0..5_000).all(|at| present.may_have(url(at))), "one of two is left");
        for at in 0..5_000 {
            present.remove(&url(at).variant(b"ru"));
            present.remove(&url(at).variant(b"en"));
        }
        assert!((0..5_000).all(|at| !present.may_have(url(at))));
    }

    #[test]
    fn what_could_not_be_counted_stays_a_maybe() {
        let mut present = Present::default();
        let key = UrlKey::of("http://a.kz/").variant(b"");
        (0..300).for_each(|_| present.add(&key));
        (0..300).for_each(|_| present.remove(&key));
        assert!(present.may_have(key.url()));
    }
}
