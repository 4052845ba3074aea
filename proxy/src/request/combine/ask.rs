//! The first request for a part: which bytes of something that is not stored yet are asked for, in place of those that
//! the client asked for.

use std::sync::Arc;

use bulaq_cache_policy::{PresentedRequest, RangeSpec, parse_range};
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RANGE};

use super::assembly::Assembly;
use super::fetch::{coding_of, range_of};
use crate::store::BLOCK_BYTES;

/// What a flight asks for in place of the whole.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which part.
    pub range: RangeSpec,
    /// What is stored in part already, when it is that which is being validated.
    pub known: Option<Arc<Assembly>>,
}

impl Wanted {
    /// Makes a request for the whole one for this part.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(RANGE, range_field(self.range));
        if let Some(known) = &self.known {
            headers.insert(ACCEPT_ENCODING, coding_of(known.incomplete().head()));
        }
    }
}

/// The part to ask for when a request for a range meets nothing stored: the block in which its first range begins, or, of
/// a suffix, the last bytes, since only their number is known; what else it needs is asked for when the length is known.
/// None for a request whose range is not counted in bytes, or not valid: it goes to the origin as it is.
pub fn first_part(presented: &PresentedRequest<'_>) -> Option<RangeSpec> {
    let mut lines = presented.headers.get_all(RANGE).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else { return None };
    match *parse_range(value.as_bytes())?.first()? {
        RangeSpec::From(first, _) => block_at(first),
        RangeSpec::Suffix(0) => None,
        RangeSpec::Suffix(_) => Some(RangeSpec::Suffix(BLOCK_BYTES)),
    }
}

/// The whole block that has the byte at `offset`.
pub(super) fn block_at(offset: u64) -> Option<RangeSpec> {
    let first = offset / BLOCK_BYTES * BLOCK_BYTES;
    Some(RangeSpec::From(first, Some(first.checked_add(BLOCK_BYTES - 1).filter(|&last| last < u64::MAX)?)))
}

/// `Range` for such a part.
fn range_field(part: RangeSpec) -> HeaderValue {
    match part {
        RangeSpec::From(first, Some(last)) => range_of(first..last.saturating_add(1)),
        RangeSpec::From(first, None) => text(format!("bytes={first}-")),
        RangeSpec::Suffix(length) => text(format!("bytes=-{length}")),
    }
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits are valid in a field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulaq_cache_policy::{Options, SiteRule};
    use http::{HeaderMap, Method, Uri};

    #[test]
    fn a_part_is_asked_for_by_whole_blocks() {
        for (asked, expected) in [
            ("bytes=0-", Some("bytes=0-1048575")),
            ("bytes=5-9", Some("bytes=0-1048575")),
            ("bytes=1048576-1048577", Some("bytes=1048576-2097151")),
            ("bytes=3000000-", Some("bytes=2097152-3145727")),
            ("bytes=3000000-9000000", Some("bytes=2097152-3145727")),
            ("bytes=5-6,3000000-3000001", Some("bytes=0-1048575")),
            ("bytes=-1", Some("bytes=-1048576")),
            ("bytes=-99999999", Some("bytes=-1048576")),
            ("bytes=-0", None),
            ("bytes=99999999999999999999-", None),
            ("lessons=1-2", None),
            ("bytes=2-1", None),
            ("bytes", None),
        ] {
            let (uri, rule, options) = (Uri::from_static("http://a.test/"), SiteRule::default(), Options::default());
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(asked))]);
            let presented = PresentedRequest::new(&Method::GET, &uri, &headers, &rule, &options);
            let part = first_part(&presented).map(range_field);
            assert_eq!(part.as_ref().map(|value| value.to_str().unwrap()), expected, "{asked}");
        }
    }
}
