//! Parts of a stored response: which bytes a request asks for, and how a part is named.
//! RFC 9110 §14; RFC 9111 §3.4.

use std::fmt;

use http::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};

use crate::field;
use crate::request::PresentedRequest;
use crate::stored_head::StoredHead;
use crate::validation::if_range_matches;

/// The most ranges that one request is given; with more it gets the whole (RFC 9110 §14.2 allows that, and asks for
/// it where ranges are many or overlap).
pub const RANGES_MAX: usize = 8;

/// Gaps of up to this many bytes between two asked ranges are sent along: a part's own header costs as much
/// (RFC 9110 §15.3.7.2).
pub const GAP_MAX: u64 = 80;

/// A run of bytes, both ends included, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, at least `first`.
    pub last: u64,
}

impl ByteRange {
    /// The range between two offsets, both included; `None` when it would be empty or too long to count.
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last && last < u64::MAX).then_some(Self { first, last })
    }

    /// How many bytes it has, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What to send of a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangePlan {
    /// 200 with all of it: no range was asked for, or not one that counts.
    Whole,
    /// 206 with one part and `Content-Range`.
    Single(ByteRange),
    /// 206 as `multipart/byteranges`: between two and [`RANGES_MAX`] parts that don't touch, in the order asked for.
    Multi(Vec<ByteRange>),
    /// 416 with `Content-Range: bytes */LENGTH`.
    Unsatisfiable,
}

/// Decides which bytes of a stored complete response a request is sent.
///
/// `complete_length` is the length of the stored body in bytes. A `Range` counts only in a `GET`, for a stored 200,
/// in bytes, with valid syntax, and when `If-Range` matches; preconditions are evaluated before
/// ([`crate::evaluate_preconditions`]).
pub fn resolve_range(request: &PresentedRequest<'_>, stored: &StoredHead, complete_length: u64) -> RangePlan {
    let counts = request.method == Method::GET && stored.status() == StatusCode::OK;
    let Some(value) = field::single(request.headers, RANGE).filter(|_| counts) else { return RangePlan::Whole };
    if !if_range_matches(request, stored) {
        return RangePlan::Whole;
    }
    match parse_range(value.as_bytes()) {
        Some(specs) => plan(&specs, complete_length),
        None => RangePlan::Whole,
    }
}

/// One `range-spec` of bytes (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// From this offset, to this one or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

impl RangeSpec {
    /// The bytes of a representation of this length; `None` when it has none of them.
    pub fn resolve(self, complete_length: u64) -> Option<ByteRange> {
        let end = complete_length.checked_sub(1)?;
        match self {
            Self::From(first, last) => ByteRange::new(first, last.unwrap_or(end).min(end)),
            Self::Suffix(0) => None,
            Self::Suffix(length) => ByteRange::new(complete_length.saturating_sub(length), end),
        }
    }
}

/// Reads a `Range` in bytes. `None` when the unit is another, the syntax is wrong, or there are more than
/// [`RANGES_MAX`]: the field is ignored then.
pub fn parse_range(value: &[u8]) -> Option<Vec<RangeSpec>> {
    let at = value.iter().position(|&byte| byte == b'=')?;
    if !value[..at].trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for member in field::split(&value[at + 1..], b',') {
        if specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(parse_spec(member)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(member: &[u8]) -> Option<RangeSpec> {
    let at = member.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (&member[..at], &member[at + 1..]);
    if first.is_empty() {
        return Some(RangeSpec::Suffix(offset(last)?));
    }
    let first = offset(first)?;
    let last = if last.is_empty() { None } else { Some(offset(last)?) };
    last.is_none_or(|last| first <= last).then_some(RangeSpec::From(first, last))
}

/// Digits; what does not fit is as far as one can count.
fn offset(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
        text.iter().try_fold(0, add).unwrap_or(u64::MAX)
    })
}

/// Joins what overlaps or nearly touches; ranges that overlap more than twice are answered with the whole.
fn plan(specs: &[RangeSpec], complete_length: u64) -> RangePlan {
    let ranges: Vec<ByteRange> = specs.iter().filter_map(|spec| spec.resolve(complete_length)).collect();
    let asked = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.len()));
    if ranges.is_empty() {
        // The end of an empty representation is satisfiable, but no Content-Range can say so.
        let is_empty_end = |spec: &RangeSpec| complete_length == 0 && matches!(spec, RangeSpec::Suffix(1..));
        return if specs.iter().any(is_empty_end) { RangePlan::Whole } else { RangePlan::Unsatisfiable };
    }
    if ranges.len() > 1 && asked > complete_length {
        return RangePlan::Whole;
    }
    let mut joined: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        join(&mut joined, range);
    }
    match joined.as_slice() {
        [one] => RangePlan::Single(*one),
        _ => RangePlan::Multi(joined),
    }
}

/// Adds a range, merged with every one that it overlaps or nearly touches; the merged one takes the earliest's place.
fn join(joined: &mut Vec<ByteRange>, range: ByteRange) {
    let is_near = |a: ByteRange, b: ByteRange| {
        a.first <= b.last.saturating_add(GAP_MAX + 1) && b.first <= a.last.saturating_add(GAP_MAX + 1)
    };
    let mut merged = range;
    let mut place = joined.len();
    while let Some(at) = joined.iter().position(|&known| is_near(known, merged)) {
        let known = joined.remove(at);
        merged = ByteRange { first: known.first.min(merged.first), last: known.last.max(merged.last) };
        place = place.min(at);
    }
    joined.insert(place.min(joined.len()), merged);
}

/// The value of `Content-Range` in bytes. RFC 9110 §14.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes that the part has; `None` in a 416.
    pub range: Option<ByteRange>,
    /// The length of the whole, when it is known.
    pub complete_length: Option<u64>,
}

impl ContentRange {
    /// Reads the field; `None` when it is absent, came twice, is in another unit, or contradicts itself.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(field::single(headers, CONTENT_RANGE)?.as_bytes())
    }

    /// Reads a field value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (unit, rest) = value.split_at_checked(5)?;
        let rest = rest.strip_prefix(b" ").filter(|_| unit.eq_ignore_ascii_case(b"bytes"))?;
        let slash = rest.iter().position(|&byte| byte == b'/')?;
        let complete_length = match &rest[slash + 1..] {
            b"*" => None,
            number => Some(exact(number)?),
        };
        let range = match &rest[..slash] {
            b"*" => None,
            range => {
                let dash = range.iter().position(|&byte| byte == b'-')?;
                Some(ByteRange::new(exact(&range[..dash])?, exact(&range[dash + 1..])?)?)
            }
        };
        let is_inside = range.zip(complete_length).is_none_or(|(range, length)| range.last < length);
        (is_inside && (range.is_some() || complete_length.is_some())).then_some(Self { range, complete_length })
    }

    /// The field value.
    pub fn to_value(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("digits and signs are visible ASCII")
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some(range) => write!(f, "bytes {}-{}/", range.first, range.last)?,
            None => f.write_str("bytes */")?,
        }
        match self.complete_length {
            Some(length) => write!(f, "{length}"),
            None => f.write_str("*"),
        }
    }
}

fn exact(text: &[u8]) -> Option<u64> {
    offset(text).filter(|&number| number < u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{get, stored};

    fn range(first: u64, last: u64) -> ByteRange {
        ByteRange::new(first, last).unwrap()
    }

    fn resolved(value: &str, complete_length: u64) -> RangePlan {
        resolve_range(&get(&[("range", value)]).presented(), &stored(&[("etag", "\"a\"")]), complete_length)
    }

    #[test]
    fn one_range() {
        // RFC 9110 §14.1.2, §14.2
        for (value, expected) in [
            ("bytes=0-1", RangePlan::Single(range(0, 1))),
            ("bytes=1-", RangePlan::Single(range(1, 10))),
            ("bytes=-1", RangePlan::Single(range(10, 10))),
            ("bytes=-99", RangePlan::Single(range(0, 10))),
            ("bytes=5-99999999999999999999999", RangePlan::Single(range(5, 10))),
            ("Bytes=0-1", RangePlan::Single(range(0, 1))),
            ("bytes= 0-1 ,", RangePlan::Single(range(0, 1))),
            ("bytes=11-", RangePlan::Unsatisfiable),
            ("bytes=11-20", RangePlan::Unsatisfiable),
            ("bytes=99999999999999999999999-", RangePlan::Unsatisfiable),
            ("bytes=-0", RangePlan::Unsatisfiable),
            ("bytes=2-1", RangePlan::Whole),
            ("bytes=", RangePlan::Whole),
            ("bytes=-", RangePlan::Whole),
            ("bytes=a-b", RangePlan::Whole),
            ("bytes=1-2-3", RangePlan::Whole),
            ("bytes=+1-2", RangePlan::Whole),
            ("bytes=0-1;x", RangePlan::Whole),
            ("lines=0-1", RangePlan::Whole),
            ("0-1", RangePlan::Whole),
        ] {
            assert_eq!(resolved(value, 11), expected, "{value}");
        }
        assert_eq!(resolved("bytes=0-", 0), RangePlan::Unsatisfiable);
        assert_eq!(resolved("bytes=-5", 0), RangePlan::Whole, "nothing could say which bytes");
    }

    #[test]
    fn several_ranges_are_joined_and_bounded() {
        // RFC 9110 §14.2, §15.3.7.2, §17.15
        let multi = |ranges: &[(u64, u64)]| RangePlan::Multi(ranges.iter().map(|&(a, b)| range(a, b)).collect());
        for (value, expected) in [
            ("bytes=0-9, 500-509", multi(&[(0, 9), (500, 509)])),
            ("bytes=500-509, 0-9", multi(&[(500, 509), (0, 9)])),
            ("bytes=0-9, 10-19", RangePlan::Single(range(0, 19))),
            ("bytes=0-9, 5-14", RangePlan::Single(range(0, 14))),
            ("bytes=0-9, 90-99", RangePlan::Single(range(0, 99))),
            ("bytes=0-9, 91-99", multi(&[(0, 9), (91, 99)])),
            ("bytes=0-9, 200-209, 100-120", RangePlan::Multi(vec![range(0, 9), range(100, 209)])),
            ("bytes=0-9, 300-309, 100-250", RangePlan::Multi(vec![range(0, 9), range(100, 309)])),
            ("bytes=0-9, 2000-", RangePlan::Single(range(0, 9))),
            ("bytes=2000-, 3000-", RangePlan::Unsatisfiable),
            ("bytes=0-, 0-", RangePlan::Whole),
            ("bytes=0-, -1", RangePlan::Whole),
            ("bytes=0-9, x", RangePlan::Whole),
            ("bytes=0-,1-,2-,3-,4-", RangePlan::Whole),
        ] {
            assert_eq!(resolved(value, 1000), expected, "{value}");
        }
        let many = |count: u64| {
            let parts: Vec<_> = (0..count).map(|part| format!("{}-{}", part * 1000, part * 1000)).collect();
            resolved(&format!("bytes={}", parts.join(",")), 1_000_000)
        };
        assert!(matches!(many(RANGES_MAX as u64), RangePlan::Multi(parts) if parts.len() == RANGES_MAX));
        assert_eq!(many(RANGES_MAX as u64 + 1), RangePlan::Whole);
    }

    #[test]
    fn a_range_counts_only_where_it_is_defined() {
        // RFC 9110 §14.2, §13.1.5
        let asked = |lines: &[(&str, &str)]| get(lines);
        let part = ("range", "bytes=0-1");
        let head = stored(&[("etag", "\"a\"")]);
        let plan = |asked: &crate::testing::Asked, head: &StoredHead| resolve_range(&asked.presented(), head, 11);
        assert_eq!(plan(&asked(&[]), &head), RangePlan::Whole);
        assert_eq!(plan(&asked(&[part]).method("HEAD"), &head), RangePlan::Whole);
        assert_eq!(plan(&asked(&[part, part]), &head), RangePlan::Whole, "two lines are no list here");
        assert_eq!(plan(&asked(&[part]), &get(&[]).stored(404, &[])), RangePlan::Whole);
        assert_eq!(plan(&asked(&[part, ("if-range", "\"b\"")]), &head), RangePlan::Whole);
        assert_eq!(plan(&asked(&[part, ("if-range", "\"a\"")]), &head), RangePlan::Single(range(0, 1)));
        assert!(asked(&[part]).presented().asks_for_range());
        assert!(!asked(&[part]).method("HEAD").presented().asks_for_range());
    }

    #[test]
    fn content_range_is_read_strictly_and_written() {
        // RFC 9110 §14.4
        for text in ["bytes 4-9/10", "bytes 0-0/1", "bytes 4-9/*", "bytes */10", "bytes */0"] {
            assert_eq!(ContentRange::parse(text.as_bytes()).unwrap().to_value(), text);
        }
        assert_eq!(ContentRange::parse(b"BYTES 4-9/10").unwrap().range, Some(range(4, 9)));
        for text in [
            "",
            "bytes",
            "bytes 4-9",
            "bytes=4-9/10",
            "bytes  4-9/10",
            "bytes 9-4/10",
            "bytes 4-10/10",
            "bytes -9/10",
            "bytes 4-/10",
            "bytes */*",
            "bytes 4-9/x",
            "bytes 4-9/10 ",
            "lines 4-9/10",
            "bytes 0-18446744073709551615/*",
            "bytes 4-9/99999999999999999999999",
        ] {
            assert_eq!(ContentRange::parse(text.as_bytes()), None, "{text}");
        }
        let twice = crate::testing::fields(&[("content-range", "bytes 4-9/10"), ("content-range", "bytes 4-9/10")]);
        assert_eq!(ContentRange::of(&twice), None);
    }
}
