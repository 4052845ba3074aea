//! The cache tags of a response, so far as a row can hold them: enough to know which files need not be opened.
//!
//! A Bloom filter of 128 bits. What it says a response lacks, it lacks; what it says it may have, the file tells. So a
//! purge by tag reads rows and the few files that matter, rows keep their size whatever an origin sends, and no second
//! index can disagree with the first.

use bulaq_cache_policy::{CacheTag, cache_tags};
use http::HeaderMap;

/// Bits that each tag sets: with the usual handful of tags one file in some thousand is opened in vain.
const BITS_PER_TAG: usize = 3;

/// A set of tags that may say too much and never too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagSet(pub(crate) u128);

impl TagSet {
    /// Of a file whose head nobody has read: it may have any.
    pub(crate) const UNKNOWN: Self = Self(u128::MAX);

    /// The tags that a head lists.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(cache_tags(headers).fold(0, |bits, tag| bits | bits_of(&tag)))
    }

    /// Whether it may have this tag.
    pub(crate) fn may_have(self, tag: &CacheTag) -> bool {
        let bits = bits_of(tag);
        self.0 & bits == bits
    }
}

fn bits_of(tag: &CacheTag) -> u128 {
    let hash = blake3::hash(tag.as_bytes());
    hash.as_bytes()[..BITS_PER_TAG].iter().fold(0, |bits, byte| bits | 1 << (byte & 127))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> TagSet {
        TagSet::of(&HeaderMap::from_iter([(bulaq_cache_policy::CACHE_TAG, value.parse().unwrap())]))
    }

    #[test]
    fn what_a_response_has_is_never_denied() {
        let tag = |name: &str| CacheTag::new(name).unwrap();
        let names: Vec<String> = (0..40).map(|at| format!("lesson-{at}")).collect();
        let all = set(&names.join(","));
        assert!(names.iter().all(|name| all.may_have(&tag(name)) && TagSet::UNKNOWN.may_have(&tag(name))));
        assert!(!TagSet::of(&HeaderMap::new()).may_have(&tag("lesson-1")));
        let few = set("lesson-1, lesson-2, algebra, grade-7, kk");
        let mistaken = (100..10_100).filter(|at| few.may_have(&tag(&format!("lesson-{at}")))).count();
        assert!(mistaken < 50, "{mistaken} of 10,000");
    }
}
