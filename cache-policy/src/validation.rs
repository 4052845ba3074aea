//! Validators: asking the origin with ours, answering a client that asks with its own.
//! RFC 9111 §4.3.1, §4.3.2; RFC 9110 §8.8, §13.

use std::time::{Duration, SystemTime};

use http::Method;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};

use crate::field;
use crate::http_date::{date_field, parse_http_date};
use crate::request::PresentedRequest;
use crate::stored_head::StoredHead;

/// The fields that make a request a validation of a stored response. RFC 9111 §4.3.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditional {
    /// `If-None-Match`: the stored entity tag.
    pub if_none_match: Option<HeaderValue>,
    /// `If-Modified-Since`: the stored `Last-Modified`, in its own spelling.
    pub if_modified_since: Option<HeaderValue>,
}

impl Conditional {
    /// The fields for a stored response; `None` when it has no validator.
    pub fn of(stored: &StoredHead) -> Option<Self> {
        let if_none_match = stored.entity_tag().map(crate::EntityTag::to_value);
        let if_modified_since =
            stored.last_modified().and_then(|_| field::single(stored.headers(), LAST_MODIFIED).cloned());
        let has_any = if_none_match.is_some() || if_modified_since.is_some();
        has_any.then_some(Self { if_none_match, if_modified_since })
    }

    /// Makes a request's fields a validation of the whole stored response: the client's own preconditions and its
    /// range go (they are answered from the stored response afterwards), ours come.
    pub fn apply(&self, headers: &mut HeaderMap) {
        remove_preconditions(headers);
        if let Some(value) = &self.if_none_match {
            headers.insert(IF_NONE_MATCH, value.clone());
        }
        if let Some(value) = &self.if_modified_since {
            headers.insert(IF_MODIFIED_SINCE, value.clone());
        }
    }
}

/// Removes a client's preconditions and its range, so that the origin answers with the whole representation.
pub fn remove_preconditions(headers: &mut HeaderMap) {
    for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE] {
        headers.remove(name);
    }
}

/// What a client's preconditions say about a stored response. RFC 9110 §13.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Answer with the stored response, or the part of it that is asked for.
    Proceed,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    Failed,
}

/// Evaluates a client's preconditions against the stored response that was selected for it.
///
/// Only for a stored success: with any other status they are ignored (RFC 9110 §13.2.1). `If-Match` wins over
/// `If-Unmodified-Since`, `If-None-Match` over `If-Modified-Since`. A stored response without `Last-Modified` is
/// compared by its `Date` (RFC 9111 §4.3.2).
pub fn evaluate_preconditions(request: &PresentedRequest<'_>, stored: &StoredHead, now: SystemTime) -> Precondition {
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    if !stored.status().is_success() || !is_read {
        return Precondition::Proceed;
    }
    let modified = stored.last_modified();
    match request.if_match() {
        Some(tags) if !tags.strongly_match(stored.entity_tag()) => return Precondition::Failed,
        Some(_) => {}
        None => {
            let since = request.date(IF_UNMODIFIED_SINCE, now);
            if since.zip(modified).is_some_and(|(since, modified)| modified > since) {
                return Precondition::Failed;
            }
        }
    }
    let is_unchanged = match request.if_none_match() {
        Some(tags) => tags.weakly_match(stored.entity_tag()),
        None => {
            let since = request.date(IF_MODIFIED_SINCE, now);
            since.is_some_and(|since| modified.unwrap_or(stored.date()) <= since)
        }
    };
    if is_unchanged { Precondition::NotModified } else { Precondition::Proceed }
}

/// The fields of a 304 answered from a stored response: all that [`StoredHead::reuse_headers`] gave, without those
/// that describe the content, which the client has (RFC 9110 §15.4.5).
pub fn not_modified_head(mut reuse_headers: HeaderMap) -> HeaderMap {
    for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE] {
        reuse_headers.remove(name);
    }
    if reuse_headers.contains_key(ETAG) {
        reuse_headers.remove(LAST_MODIFIED);
    }
    reuse_headers
}

/// Whether the part that a client asks for is of the stored representation, by its `If-Range`; true without one.
/// RFC 9110 §13.1.5: an entity tag must match strongly, a date exactly and only when `Last-Modified` is a strong
/// validator, that is, at least one second older than `Date` (§8.8.2.2).
pub(crate) fn if_range_matches(request: &PresentedRequest<'_>, stored: &StoredHead) -> bool {
    if !request.headers.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = field::single(request.headers, IF_RANGE) else { return false };
    if let Some(tag) = crate::EntityTag::parse(value.as_bytes()) {
        return stored.entity_tag().is_some_and(|own| own.strongly_equals(&tag));
    }
    let asked = parse_http_date(value.as_bytes(), stored.date());
    asked.is_some() && asked == strong_last_modified(stored)
}

/// `Last-Modified` when it identifies the bytes: the origin generated the response at least a second later.
pub(crate) fn strong_last_modified(stored: &StoredHead) -> Option<SystemTime> {
    let date = date_field(stored.headers(), DATE, stored.date())?;
    stored
        .last_modified()
        .filter(|&modified| date.duration_since(modified).is_ok_and(|gap| gap >= Duration::from_secs(1)))
}

/// Whether one field line of a list field is there once in both heads with the same bytes.
pub(crate) fn same_value(a: &HeaderMap, b: &HeaderMap, name: &HeaderName) -> bool {
    a.get_all(name).into_iter().eq(b.get_all(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, date, fields, get, stored, t0};

    #[test]
    fn a_validation_carries_our_validators_and_not_the_clients() {
        // RFC 9111 §4.3.1
        let mut headers = fields(&[
            ("if-none-match", "\"old\""),
            ("if-match", "\"x\""),
            ("if-modified-since", "@-9"),
            ("if-unmodified-since", "@-9"),
            ("if-range", "\"x\""),
            ("range", "bytes=0-1"),
            ("abc", "123"),
        ]);
        let head = stored(&[("etag", "W/\"new\""), ("last-modified", "@-60")]);
        Conditional::of(&head).unwrap().apply(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["abc", "if-modified-since", "if-none-match"]);
        assert_eq!(headers["if-none-match"], "W/\"new\"");
        assert_eq!(headers["if-modified-since"], date(-60));
    }

    #[test]
    fn only_valid_validators_are_used() {
        // RFC 9110 §8.8
        let validators = |lines: &[(&str, &str)]| {
            Conditional::of(&stored(lines)).map(|it| (it.if_none_match.is_some(), it.if_modified_since.is_some()))
        };
        assert_eq!(validators(&[]), None);
        assert_eq!(validators(&[("etag", "abc"), ("last-modified", "yesterday")]), None);
        assert_eq!(validators(&[("etag", "\"abc\"")]), Some((true, false)));
        assert_eq!(validators(&[("last-modified", "@-5"), ("etag", "abc")]), Some((false, true)));
        assert_eq!(validators(&[("last-modified", "@-5"), ("last-modified", "@-6")]), None);
    }

    fn evaluated(lines: &[(&str, &str)], asked: Asked) -> Precondition {
        evaluate_preconditions(&asked.presented(), &stored(lines), t0())
    }

    #[test]
    fn a_client_that_has_it_gets_304() {
        // RFC 9111 §4.3.2; RFC 9110 §13.1.2, §13.1.3, §13.2.2
        use Precondition::{NotModified, Proceed};
        let (inm, ims) = ("if-none-match", "if-modified-since");
        let both = [("etag", "\"abcdef\""), ("last-modified", "@-3000")];
        for (asked, expected) in [
            (&[][..], Proceed),
            (&[(inm, "\"abcdef\"")], NotModified),
            (&[(inm, "W/\"abcdef\"")], NotModified),
            (&[(inm, "\"1\", \"abcdef\"")], NotModified),
            (&[(inm, "*")], NotModified),
            (&[(inm, "\"1\"")], Proceed),
            (&[(inm, "abcdef")], Proceed),
            (&[(ims, "@-3000")], NotModified),
            (&[(ims, "@-2000")], NotModified),
            (&[(ims, "@-3001")], Proceed),
            (&[(ims, "yesterday")], Proceed),
            // If-None-Match decides alone.
            (&[(inm, "\"abcdef\""), (ims, "@-10000")], NotModified),
            (&[(inm, "\"1\""), (ims, "@-2000")], Proceed),
        ] {
            assert_eq!(evaluated(&both, get(asked)), expected, "{asked:?}");
            assert_eq!(evaluated(&both, get(asked).method("HEAD")), expected, "{asked:?}");
            assert_eq!(evaluated(&both, get(asked).method("POST")), Proceed);
        }
        let rfc850 = get(&[(ims, "Saturday, 21-Nov-26 05:10:00 GMT")]);
        assert_eq!(evaluated(&both, rfc850), NotModified);
        // Without Last-Modified the Date counts.
        assert_eq!(evaluated(&[], get(&[(ims, "@-3000")])), Proceed);
        assert_eq!(evaluated(&[], get(&[(ims, "@0")])), NotModified);
        assert_eq!(evaluated(&[], get(&[(inm, "*")])), NotModified);
    }

    #[test]
    fn a_client_that_wants_another_one_gets_412() {
        // RFC 9110 §13.1.1, §13.1.4
        use Precondition::{Failed, NotModified, Proceed};
        let (im, ius) = ("if-match", "if-unmodified-since");
        let both = [("etag", "\"a\""), ("last-modified", "@-3000")];
        for (asked, expected) in [
            (&[(im, "\"a\"")][..], Proceed),
            (&[(im, "*")], Proceed),
            (&[(im, "W/\"a\"")], Failed),
            (&[(im, "\"b\"")], Failed),
            (&[(ius, "@-3000")], Proceed),
            (&[(ius, "@-3001")], Failed),
            (&[(im, "\"a\""), (ius, "@-9000")], Proceed),
            (&[(im, "\"a\""), ("if-none-match", "\"a\"")], NotModified),
            (&[(im, "\"b\""), ("if-none-match", "\"a\"")], Failed),
        ] {
            assert_eq!(evaluated(&both, get(asked)), expected, "{asked:?}");
        }
    }

    #[test]
    fn preconditions_are_ignored_for_what_is_no_success() {
        // RFC 9110 §13.2.1
        let head = get(&[]).stored(404, &[("etag", "\"a\"")]);
        let asked = get(&[("if-none-match", "\"a\"")]);
        assert_eq!(evaluate_preconditions(&asked.presented(), &head, t0()), Precondition::Proceed);
    }

    #[test]
    fn a_304_tells_all_but_the_content() {
        // RFC 9110 §15.4.5
        let lines = [
            ("etag", "\"a\""),
            ("last-modified", "@-60"),
            ("cache-control", "max-age=60"),
            ("content-type", "text/html"),
            ("content-length", "7"),
            ("content-encoding", "gzip"),
            ("content-language", "kk"),
            ("content-range", "bytes 0-1/2"),
            ("content-location", "/x"),
            ("vary", "Foo"),
            ("expires", "@60"),
            ("access-control-allow-origin", "*"),
        ];
        let head = not_modified_head(stored(&lines).reuse_headers(t0()));
        let mut names: Vec<_> = head.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected = [
            "access-control-allow-origin",
            "age",
            "cache-control",
            "content-location",
            "date",
            "etag",
            "expires",
            "vary",
        ];
        assert_eq!(names, expected);
        let dated = not_modified_head(stored(&lines[1..2]).reuse_headers(t0()));
        assert!(dated.contains_key("last-modified"), "the only validator stays");
    }

    #[test]
    fn a_range_counts_only_for_the_same_bytes() {
        // RFC 9110 §13.1.5, §8.8.2.2
        let matches = |lines: &[(&str, &str)], if_range: &str| {
            if_range_matches(&get(&[("if-range", if_range)]).presented(), &stored(lines))
        };
        let strong = [("etag", "\"a\""), ("last-modified", "@-60")];
        assert!(matches(&strong, "\"a\""));
        assert!(!matches(&strong, "\"b\"") && !matches(&strong, "W/\"a\"") && !matches(&strong, "junk"));
        assert!(!matches(&[("etag", "W/\"a\"")], "W/\"a\"") && !matches(&[("etag", "W/\"a\"")], "\"a\""));
        assert!(matches(&strong, "@-60"));
        assert!(!matches(&strong, "@-59") && !matches(&strong, "@-61"), "exactly that date");
        assert!(!matches(&[("last-modified", "@0")], "@0"), "changed in the second in which it was sent");
        assert!(!matches(&[], "@0"));
        assert!(if_range_matches(&get(&[]).presented(), &stored(&[])));
    }
}
