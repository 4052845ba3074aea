//! Cache tags: names that an origin gives its responses, so that all with one name can be purged together.
//!
//! No RFC defines them. `Cache-Tag` lists them with commas, `Surrogate-Key` with white space. Letter case does not count,
//! as the services that read `Cache-Tag` have it: a purge that takes too much costs a request, one that takes too little
//! leaves a wrong page.

use http::header::{HeaderMap, HeaderName};

use crate::field;

/// A list with commas.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// A list with white space.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The most tags that are read of one head: content systems that tag every part of a page send some hundreds.
pub const TAGS_MAX: usize = 1_000;

/// The longest tag that is read, in bytes; the services that read them take no longer ones.
pub const TAG_BYTES_MAX: usize = 1_024;

/// One tag, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheTag(Box<[u8]>);

impl CacheTag {
    /// A tag as somebody names it; `None` when no field could list it.
    pub fn new(name: &str) -> Option<Self> {
        Self::read(name.as_bytes()).filter(|tag| !tag.0.contains(&b','))
    }

    fn read(name: &[u8]) -> Option<Self> {
        let is_one = !name.is_empty() && name.len() <= TAG_BYTES_MAX;
        let is_plain = |byte: &u8| *byte > b' ' && *byte != 0x7f;
        (is_one && name.iter().all(is_plain)).then(|| Self(name.to_ascii_lowercase().into()))
    }

    /// Its bytes, in lower case.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The tags that a head lists, up to [`TAGS_MAX`]. What could be no tag is left out.
pub fn cache_tags(headers: &HeaderMap) -> impl Iterator<Item = CacheTag> {
    let by_commas = field::members(headers, CACHE_TAG);
    let by_spaces = headers
        .get_all(SURROGATE_KEY)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(u8::is_ascii_whitespace))
        .filter(|name| !name.is_empty());
    by_commas.chain(by_spaces).take(TAGS_MAX).filter_map(CacheTag::read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    fn tags(lines: &[(&str, &str)]) -> Vec<String> {
        cache_tags(&fields(lines)).map(|tag| String::from_utf8(tag.0.into()).unwrap()).collect()
    }

    #[test]
    fn tags_are_read_from_both_fields() {
        let long = "x".repeat(TAG_BYTES_MAX + 1);
        for (lines, expected) in [
            (&[][..], &[][..]),
            (&[("cache-tag", "lesson, Grade-7,,algebra")], &["lesson", "grade-7", "algebra"]),
            (&[("surrogate-key", "lesson  grade-7\talgebra ")], &["lesson", "grade-7", "algebra"]),
            (&[("cache-tag", "a"), ("cache-tag", "b"), ("surrogate-key", "c")], &["a", "b", "c"]),
            (&[("surrogate-key", "a,b")], &["a,b"]),
            (&[("cache-tag", "two words, one")], &["one"]),
            (&[("cache-tag", &format!("{long}, short"))], &["short"]),
        ] {
            assert_eq!(tags(lines), expected, "{lines:?}");
        }
        let many = (0..TAGS_MAX + 5).map(|at| at.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(tags(&[("surrogate-key", &many)]).len(), TAGS_MAX);
    }

    #[test]
    fn a_name_from_a_person_is_one_tag_or_none() {
        assert_eq!(CacheTag::new("Grade-7").unwrap().as_bytes(), b"grade-7");
        for wrong in ["", "two words", "a,b", "a\nb", &"x".repeat(TAG_BYTES_MAX + 1)] {
            assert_eq!(CacheTag::new(wrong), None, "{wrong}");
        }
    }
}
