//! Parts of a representation: may one be kept, does a further one belong to it, and what it does to the stored head.
//! RFC 9110 §8.8.1, §14, §15.3.7; RFC 9111 §3.3, §3.4.
//!
//! A part is kept as a piece of the whole: its head is the one that a 200 would have had. Two parts are joined only when
//! a *strong validator* says that they are of the same bytes, and nothing else contradicts it. Some servers give one strong
//! entity tag to two codings or to two lengths; so coding, length and media type are compared as well.

use std::time::SystemTime;

use http::StatusCode;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
};

use crate::entity_tag::EntityTag;
use crate::field;
use crate::freshen::{self, Freshening};
use crate::http_date::date_field;
use crate::range::{ByteRange, ContentRange, RangeSpec};
use crate::request::PresentedRequest;
use crate::storable::{NotStorable, storable};
use crate::stored_head::StoredHead;
use crate::validation::{same_value, strong_last_modified};

/// What promises that two responses with it carry the same bytes, as its field value. RFC 9110 §8.8.1.
///
/// A strong entity tag; without any entity tag, a `Last-Modified` that is older than the response by a second or more
/// (§8.8.2.2). A weak tag promises nothing about bytes, and forbids to fall back on the date (§13.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrongValidator {
    /// A strong entity tag.
    EntityTag(HeaderValue),
    /// A date of modification, in its own spelling.
    LastModified(HeaderValue),
}

impl StrongValidator {
    /// The strong validator of a stored head; `None` when it has none.
    pub fn of(head: &StoredHead) -> Option<Self> {
        if head.headers().contains_key(ETAG) {
            return head.entity_tag().filter(|tag| !tag.weak).map(|tag| Self::EntityTag(tag.to_value()));
        }
        strong_last_modified(head)?;
        field::single(head.headers(), LAST_MODIFIED).cloned().map(Self::LastModified)
    }

    /// The value for `If-Range`.
    pub fn if_range(&self) -> &HeaderValue {
        match self {
            Self::EntityTag(value) | Self::LastModified(value) => value,
        }
    }

    /// Whether a part that was asked for with [`StrongValidator::if_range`] confirms it, byte for byte. The date may be
    /// left out of such a part (RFC 9110 §15.3.7); the tag may not.
    fn is_confirmed_by(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::EntityTag(own) => field::single(headers, ETAG) == Some(own),
            Self::LastModified(own) => {
                let modified = headers.get_all(LAST_MODIFIED);
                !headers.contains_key(ETAG) && modified.iter().all(|value| value == own)
            }
        }
    }
}

/// A 206 that may be kept as a part of the whole.
#[derive(Clone, Debug)]
pub struct StorablePart {
    /// The fields of the whole: without `Content-Range`, and with the complete length. The status is 200.
    pub headers: HeaderMap,
    /// Which bytes it carries.
    pub range: ByteRange,
    /// How long the whole is, in bytes.
    pub complete_length: u64,
}

impl StorablePart {
    /// Whether it is a part in name only, so that nothing needs to be joined to it.
    pub fn is_whole(&self) -> bool {
        self.range.len() == self.complete_length
    }
}

/// Whether a 206 may be kept as a part of the whole, and as which. RFC 9111 §3.3.
///
/// It must be one range in bytes of a known complete length that begins where `asked` (the range that we asked for)
/// does, a 200 with its fields must be [`storable`], and unless it is the whole it must have a strong validator.
///
/// # Errors
/// The first reason against it.
pub fn storable_part(
    request: &PresentedRequest<'_>,
    asked: RangeSpec,
    headers: &HeaderMap,
    response_time: SystemTime,
) -> Result<StorablePart, NotStorable> {
    let ContentRange { range, complete_length } = ContentRange::of(headers).ok_or(NotStorable::Partial)?;
    let (range, complete_length) = range.zip(complete_length).ok_or(NotStorable::Partial)?;
    let wanted = asked.resolve(complete_length).ok_or(NotStorable::Partial)?;
    if range.first != wanted.first || !is_length_right(headers, range) {
        return Err(NotStorable::Partial);
    }
    let mut whole = headers.clone();
    whole.remove(CONTENT_RANGE);
    whole.insert(CONTENT_LENGTH, HeaderValue::from(complete_length));
    let _overrode = storable(request, StatusCode::OK, &whole)?;
    let part = StorablePart { headers: whole, range, complete_length };
    if !part.is_whole() && !is_strongly_validated(headers, response_time) {
        return Err(NotStorable::PartWithoutValidator);
    }
    Ok(part)
}

/// Whether the origin's fields, untouched, have a strong validator: a stored head always has a `Date`, one that the origin
/// never sent says nothing about its clock.
pub fn is_strongly_validated(headers: &HeaderMap, response_time: SystemTime) -> bool {
    if headers.contains_key(ETAG) {
        return EntityTag::of(headers).is_some_and(|tag| !tag.weak);
    }
    let date = date_field(headers, DATE, response_time);
    let modified = date_field(headers, LAST_MODIFIED, response_time);
    date.zip(modified).is_some_and(|(date, modified)| date.duration_since(modified).is_ok_and(|gap| gap.as_secs() >= 1))
}

/// What an answer to a request for a further part of a stored response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// A part of the same representation, from where it was asked.
    Part(ByteRange),
    /// The same representation whole, from its first byte: this origin does not do ranges, or not now.
    Whole,
    /// The representation is another one, or is gone, or what came cannot be joined to what is stored: the stored parts are
    /// out of date.
    Changed(Changed),
    /// An answer that says nothing about the representation: an error, or a demand for credentials.
    NoPart,
}

/// In what an answer differs from the stored parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The validator, or a 200 where a part was asked for under it.
    Validator,
    /// The complete length, although the validator is the same.
    Length,
    /// The content coding, although the validator is the same.
    Coding,
    /// The media type, although the validator is the same.
    Type,
    /// Another range than the one that was asked for, or none that can be read.
    Range,
    /// The target has moved or is gone.
    Status,
}

impl Changed {
    /// The stable word in logs.
    pub fn token(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Length => "length",
            Self::Coding => "content-coding",
            Self::Type => "content-type",
            Self::Range => "range",
            Self::Status => "status",
        }
    }
}

/// Whether the answer to a request for the bytes from `first` on, made with `If-Range`, may be joined to what is stored of
/// a representation of `complete_length` bytes. RFC 9111 §3.4; RFC 9110 §15.3.7.
pub fn continuation(
    stored: &StoredHead,
    complete_length: u64,
    first: u64,
    status: StatusCode,
    headers: &HeaderMap,
) -> Continuation {
    let objection = differs(stored, complete_length, status, headers).map(Continuation::Changed);
    match status.as_u16() {
        206 => objection.unwrap_or_else(|| match ContentRange::of(headers).and_then(|it| it.range) {
            Some(range) if range.last >= complete_length => Continuation::Changed(Changed::Length),
            Some(range) if range.first == first && is_length_right(headers, range) => Continuation::Part(range),
            _ => Continuation::Changed(Changed::Range),
        }),
        200 => objection.unwrap_or(Continuation::Whole),
        201..=299 | 300..=303 | 305..=399 | 404 | 410 | 416 => Continuation::Changed(Changed::Status),
        _ => Continuation::NoPart,
    }
}

/// Whether a 200 with these fields is the representation of which parts are stored.
pub fn is_same_representation(stored: &StoredHead, complete_length: u64, headers: &HeaderMap) -> bool {
    differs(stored, complete_length, StatusCode::OK, headers).is_none()
}

/// Updates the stored head by the fields of a further part, as a 304 would (RFC 9111 §3.4: the new response's fields as
/// §3.2 says). Ask [`continuation`] first.
pub fn freshen_by_part(
    stored: &StoredHead,
    request: &PresentedRequest<'_>,
    part: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Freshening {
    freshen::updated(stored, request, part, request_time, response_time)
}

fn differs(stored: &StoredHead, complete_length: u64, status: StatusCode, headers: &HeaderMap) -> Option<Changed> {
    let is_confirmed = StrongValidator::of(stored).is_some_and(|own| own.is_confirmed_by(headers));
    // A part of a date's representation may leave the date out; a whole one was sent because the date did not match.
    let is_dated = status != StatusCode::OK || headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    if !is_confirmed || !is_dated {
        return Some(Changed::Validator);
    }
    let length = match status {
        StatusCode::OK => content_length(headers),
        _ => ContentRange::of(headers).and_then(|it| it.complete_length).or(Some(complete_length)),
    };
    if length != Some(complete_length) {
        return Some(Changed::Length);
    }
    if !same_value(stored.headers(), headers, &CONTENT_ENCODING) {
        return Some(Changed::Coding);
    }
    // A part that was asked for with `If-Range` need not repeat it.
    let has_type = headers.contains_key(CONTENT_TYPE);
    (has_type && !same_value(stored.headers(), headers, &CONTENT_TYPE)).then_some(Changed::Type)
}

/// Whether a part is as long as it says.
fn is_length_right(headers: &HeaderMap, range: ByteRange) -> bool {
    !headers.contains_key(CONTENT_LENGTH) || content_length(headers) == Some(range.len())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    field::single(headers, CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, at, date, fields, get, stored, t0};

    const TAG: (&str, &str) = ("etag", "\"a\"");
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const VIDEO: (&str, &str) = ("content-type", "video/mp4");

    fn part(asked: &Asked, spec: RangeSpec, lines: &[(&str, &str)]) -> Result<StorablePart, NotStorable> {
        storable_part(&asked.presented(), spec, &fields(lines), t0())
    }

    #[test]
    fn what_promises_the_same_bytes() {
        // RFC 9110 §8.8.1, §8.8.2.2, §13.1.5
        for (lines, expected) in [
            (&[TAG][..], Some("\"a\"".to_owned())),
            (&[TAG, ("last-modified", "@-60")], Some("\"a\"".to_owned())),
            (&[("etag", "W/\"a\""), ("last-modified", "@-60")], None),
            (&[("etag", "junk"), ("last-modified", "@-60")], None),
            (&[("etag", "\"a\""), ("etag", "\"b\"")], None),
            (&[("last-modified", "@-1")], Some(date(-1))),
            (&[("last-modified", "@0")], None),
            (&[("last-modified", "yesterday")], None),
            (&[], None),
        ] {
            let validator = StrongValidator::of(&stored(lines));
            assert_eq!(validator.map(|it| it.if_range().to_str().unwrap().to_owned()), expected, "{lines:?}");
            let mut dated = fields(lines);
            dated.insert(DATE, HeaderValue::try_from(date(0)).unwrap());
            assert_eq!(is_strongly_validated(&dated, t0()), expected.is_some(), "{lines:?}");
        }
        assert!(!is_strongly_validated(&fields(&[("last-modified", "@-60")]), t0()), "without the origin's own clock");
    }

    #[test]
    fn a_part_is_kept_as_a_piece_of_the_whole() {
        // RFC 9111 §3.3
        let range = ("content-range", "bytes 4-5/10");
        let from = RangeSpec::From(4, Some(5));
        let kept = part(&get(&[("range", "bytes=4-5")]), from, &[TAG, FRESH, range, ("content-length", "2")]).unwrap();
        assert_eq!((kept.range, kept.complete_length), (ByteRange::new(4, 5).unwrap(), 10));
        assert_eq!(kept.headers["content-length"], "10");
        assert!(!kept.headers.contains_key("content-range") && !kept.is_whole());
    }

    #[test]
    fn only_parts_that_can_be_completed_are_kept() {
        use NotStorable::{NoStore, PartWithoutValidator, Partial};
        let (from, suffix) = (RangeSpec::From(4, Some(5)), RangeSpec::Suffix(6));
        let range = ("content-range", "bytes 4-5/10");
        for (spec, lines, expected) in [
            (from, &[TAG, FRESH, range][..], None),
            (from, &[TAG, FRESH, ("content-range", "bytes 4-9/10")], None),
            (suffix, &[TAG, FRESH, ("content-range", "bytes 4-9/10")], None),
            (suffix, &[TAG, FRESH, ("content-range", "bytes 5-9/10")], Some(Partial)),
            (from, &[TAG, FRESH, ("content-range", "bytes 3-5/10")], Some(Partial)),
            (from, &[TAG, FRESH, ("content-range", "bytes 4-5/*")], Some(Partial)),
            (from, &[TAG, FRESH, ("content-range", "bytes */10")], Some(Partial)),
            (from, &[TAG, FRESH, ("content-range", "lessons 4-5/10")], Some(Partial)),
            (from, &[TAG, FRESH, range, range], Some(Partial)),
            (from, &[TAG, FRESH], Some(Partial)),
            (from, &[TAG, FRESH, range, ("content-length", "3")], Some(Partial)),
            (from, &[TAG, FRESH, range, ("content-length", "x")], Some(Partial)),
            (from, &[TAG, range, ("cache-control", "no-store")], Some(NoStore)),
            (from, &[("etag", "W/\"a\""), FRESH, range], Some(PartWithoutValidator)),
            (from, &[FRESH, range], Some(PartWithoutValidator)),
            (from, &[("last-modified", "@-60"), ("date", "@0"), FRESH, range], None),
            (from, &[("last-modified", "@-60"), FRESH, range], Some(PartWithoutValidator)),
        ] {
            assert_eq!(part(&get(&[("range", "x")]), spec, lines).err(), expected, "{spec:?} {lines:?}");
        }
        let whole = [FRESH, ("content-range", "bytes 0-9/10")];
        assert!(part(&get(&[]), RangeSpec::From(0, Some(99)), &whole).unwrap().is_whole(), "nothing is joined to it");
    }

    fn went_on(status: u16, lines: &[(&str, &str)]) -> Continuation {
        let head = stored(&[TAG, FRESH, VIDEO, ("content-length", "100")]);
        continuation(&head, 100, 10, StatusCode::from_u16(status).unwrap(), &fields(lines))
    }

    #[test]
    fn a_further_part_is_joined_only_when_nothing_contradicts() {
        // RFC 9111 §3.4; RFC 9110 §15.3.7
        use Continuation::{NoPart, Part, Whole};
        let changed = Continuation::Changed;
        let range = ("content-range", "bytes 10-19/100");
        let ten = Part(ByteRange::new(10, 19).unwrap());
        for (status, lines, expected) in [
            (206, &[TAG, range][..], ten),
            (206, &[TAG, VIDEO, range, ("content-length", "10")], ten),
            (206, &[TAG, ("content-range", "bytes 10-19/*")], ten),
            (206, &[TAG, ("content-range", "bytes 10-199/*")], changed(Changed::Length)),
            (206, &[TAG, ("content-range", "bytes 10-12/100")], Part(ByteRange::new(10, 12).unwrap())),
            (206, &[range], changed(Changed::Validator)),
            (206, &[("etag", "\"b\""), range], changed(Changed::Validator)),
            (206, &[("etag", "W/\"a\""), range], changed(Changed::Validator)),
            (206, &[TAG, ("content-range", "bytes 10-19/101")], changed(Changed::Length)),
            (206, &[TAG, range, ("content-encoding", "gzip")], changed(Changed::Coding)),
            (206, &[TAG, range, ("content-type", "text/html")], changed(Changed::Type)),
            (206, &[TAG, ("content-range", "bytes 0-9/100")], changed(Changed::Range)),
            (206, &[TAG, range, ("content-length", "9")], changed(Changed::Range)),
            (206, &[TAG, ("content-type", "multipart/byteranges; boundary=x")], changed(Changed::Type)),
            (206, &[TAG], changed(Changed::Range)),
            (200, &[TAG, VIDEO, ("content-length", "100")], Whole),
            (200, &[TAG, VIDEO], changed(Changed::Length)),
            (200, &[TAG, ("content-length", "99")], changed(Changed::Length)),
            (200, &[TAG, ("content-length", "100"), ("content-encoding", "gzip")], changed(Changed::Coding)),
            (200, &[("etag", "\"b\""), ("content-length", "100")], changed(Changed::Validator)),
            (301, &[], changed(Changed::Status)),
            (404, &[], changed(Changed::Status)),
            (410, &[], changed(Changed::Status)),
            (416, &[], changed(Changed::Status)),
            (401, &[], NoPart),
            (403, &[], NoPart),
            (429, &[], NoPart),
            (503, &[], NoPart),
        ] {
            assert_eq!(went_on(status, lines), expected, "{status} {lines:?}");
        }
    }

    #[test]
    fn a_date_is_a_strong_validator_when_the_origin_confirms_it() {
        let head = stored(&[("last-modified", "@-60"), FRESH]);
        let on = |status: u16, lines: &[(&str, &str)]| {
            let status = StatusCode::from_u16(status).unwrap();
            matches!(continuation(&head, 100, 10, status, &fields(lines)), Continuation::Part(_) | Continuation::Whole)
        };
        let range = ("content-range", "bytes 10-19/100");
        assert!(on(206, &[range]), "a part under If-Range need not repeat it");
        assert!(on(206, &[range, ("last-modified", "@-60")]));
        assert!(!on(206, &[range, ("last-modified", "@-59")]));
        assert!(!on(206, &[range, TAG]));
        assert!(on(200, &[("content-length", "100"), ("last-modified", "@-60")]));
        assert!(!on(200, &[("content-length", "100")]), "sent because the date did not match");
    }

    #[test]
    fn a_further_part_freshens_the_head() {
        // RFC 9111 §3.2, §3.4
        let head = stored(&[TAG, FRESH, VIDEO, ("content-length", "100"), ("x", "old")]);
        let new = fields(&[
            TAG,
            ("cache-control", "max-age=600"),
            ("content-range", "bytes 10-19/100"),
            ("content-length", "10"),
            ("x", "new"),
        ]);
        let asked = get(&[]);
        let Freshening::Freshened(head) = freshen_by_part(&head, &asked.presented(), &new, at(99), at(100)) else {
            panic!("it is still storable");
        };
        assert_eq!(
            (&head.headers()["x"], &head.headers()["content-length"]),
            (&"new".parse().unwrap(), &"100".parse().unwrap())
        );
        assert!(!head.headers().contains_key("content-range") && head.is_fresh(at(500)));
        assert_eq!(head.status(), StatusCode::OK);
        let ends = fields(&[TAG, ("cache-control", "private")]);
        let ended = freshen_by_part(&head, &asked.presented(), &ends, at(99), at(100));
        assert!(matches!(ended, Freshening::EndsStorage { reason: NotStorable::Private, .. }));
    }
}
