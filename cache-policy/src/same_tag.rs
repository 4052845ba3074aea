//! Strong entity tags that promise too much: some servers give a page and its compressed form, or two lengths of it, one
//! strong tag. What is known to be such a tag is told as a weak one, so that nobody joins parts by it.
//! RFC 9110 §8.8.1, §8.8.3.3; RFC 9111 §3.4.

use http::header::{ETAG, HeaderMap, IF_RANGE, RANGE};

use crate::content_coding;
use crate::entity_tag::EntityTag;
use crate::stored_head::StoredHead;

/// Whether two responses of one URL have the same strong entity tag although their content is coded differently.
pub fn share_a_tag(one: &StoredHead, other: &StoredHead) -> bool {
    let is_same = one.entity_tag().zip(other.entity_tag()).is_some_and(|(a, b)| a.strongly_equals(b));
    is_same && !one.content_codings().eq(other.content_codings())
}

/// Whether a new response shows that the strong entity tag of the stored one, which it carries too, does not stand for
/// its bytes: in the same coding, it has another length.
pub fn contradicts(stored: &StoredHead, stored_bytes: u64, new: &HeaderMap, new_bytes: Option<u64>) -> bool {
    let new_tag = EntityTag::of(new);
    let is_same = stored.entity_tag().zip(new_tag.as_ref()).is_some_and(|(a, b)| a.strongly_equals(b));
    let is_coded_alike = || stored.content_codings().eq(content_coding::of_response(new).iter().map(Vec::as_slice));
    is_same && new_bytes.is_some_and(|bytes| bytes != stored_bytes) && is_coded_alike()
}

/// Makes the entity tag of a response weak.
pub fn weaken_tag(headers: &mut HeaderMap) {
    if let Some(tag) = EntityTag::of(headers) {
        headers.insert(ETAG, tag.weakened().to_value());
    }
}

/// A request's fields without a range that depends on a strong entity tag: the answer is the whole then.
pub fn without_dependent_range(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    if headers.remove(IF_RANGE).is_some() {
        headers.remove(RANGE);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fields, stored};

    const TAG: (&str, &str) = ("etag", "\"a\"");
    const GZIP: (&str, &str) = ("content-encoding", "gzip");

    #[test]
    fn one_strong_tag_for_two_codings_is_noticed() {
        for (one, other, expected) in [
            (&[TAG][..], &[TAG, GZIP][..], true),
            (&[TAG, GZIP], &[TAG, GZIP], false),
            (&[TAG], &[TAG, ("content-encoding", "identity")], false),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\""), GZIP], false),
            (&[TAG], &[("etag", "\"b\""), GZIP], false),
            (&[], &[GZIP], false),
        ] {
            assert_eq!(share_a_tag(&stored(one), &stored(other)), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn one_strong_tag_for_two_lengths_is_noticed() {
        for (have, got, bytes, expected) in [
            (&[TAG][..], &[TAG][..], Some(11), true),
            (&[TAG], &[TAG], Some(10), false),
            (&[TAG], &[TAG], None, false),
            (&[TAG], &[TAG, GZIP], Some(11), false),
            (&[TAG, GZIP], &[TAG, GZIP], Some(11), true),
            (&[TAG], &[("etag", "W/\"a\"")], Some(11), false),
            (&[TAG], &[("etag", "\"b\"")], Some(11), false),
            (&[], &[TAG], Some(11), false),
        ] {
            assert_eq!(contradicts(&stored(have), 10, &fields(got), bytes), expected, "{have:?} {got:?} {bytes:?}");
        }
    }

    #[test]
    fn what_depends_on_such_a_tag_goes() {
        let mut head = fields(&[TAG]);
        weaken_tag(&mut head);
        assert_eq!(head["etag"], "W/\"a\"");
        weaken_tag(&mut head);
        assert_eq!(head["etag"], "W/\"a\"");
        let names = |lines: &[(&str, &str)]| without_dependent_range(&fields(lines)).len();
        assert_eq!(names(&[("range", "bytes=0-1"), ("if-range", "\"a\""), ("accept", "*/*")]), 1);
        assert_eq!(names(&[("range", "bytes=0-1")]), 1, "a range by itself is as good as the whole");
    }
}
