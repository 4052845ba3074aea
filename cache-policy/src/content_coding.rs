//! Content codings: which ones a request accepts, so that no client is handed a body that it cannot read.
//! RFC 9110 §8.4, §12.5.3.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName,
    HeaderValue, VARY,
};

use crate::field;

/// Codings that clients negotiate. Only about these a request's `Accept-Encoding` is asked.
const KNOWN: [&[u8]; 5] = [b"gzip", b"br", b"zstd", b"deflate", b"compress"];

/// Codings that a cache can undo for who does not accept them.
const UNDOABLE: [&[u8]; 2] = [b"gzip", b"br"];

/// More codings than this on one body are no real response, and each costs a walk over the request's field.
const CODINGS_MAX: usize = 4;

/// A coding's name without its `x-` alias (RFC 9110 §8.4.1); names ignore case.
fn alias_resolved(coding: &[u8]) -> &[u8] {
    match coding.strip_prefix(b"x-").or_else(|| coding.strip_prefix(b"X-")) {
        Some(name) if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"compress") => name,
        _ => coding,
    }
}

/// A coding's one spelling: in lower case, its alias resolved.
fn canonical(coding: &[u8]) -> Vec<u8> {
    alias_resolved(coding).to_ascii_lowercase()
}

/// The content codings of a response in the order in which they were applied; `identity` left out.
pub(crate) fn of_response(headers: &HeaderMap) -> Vec<Vec<u8>> {
    field::members(headers, CONTENT_ENCODING).map(canonical).filter(|coding| coding != b"identity").collect()
}

/// Whether a body in these codings can be decoded on its way to a client.
pub(crate) fn can_be_undone(codings: &[Vec<u8>]) -> bool {
    matches!(codings, [only] if UNDOABLE.contains(&only.as_slice()))
}

/// What tells the length or a digest of the coded bytes, or offers parts of them.
const OF_CODED_BYTES: [HeaderName; 8] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Makes the fields of a response those of its decoded body: another representation, equal in meaning, so that its entity
/// tag is a weak one (RFC 9110 §8.8.1).
pub(crate) fn describe_decoded(headers: &mut HeaderMap) {
    for name in &OF_CODED_BYTES {
        headers.remove(name);
    }
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    if let Some(Ok(weak)) = strong.map(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())) {
        headers.insert(ETAG, weak);
    }
    let is_named = field::members(headers, VARY)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes()));
    if !is_named {
        headers.append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }
}

/// The codings that a request accepts, sorted, each once, without weights: two requests with the same set mean the
/// same to nearly every server.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let mut codings: Vec<_> = field::members(headers, ACCEPT_ENCODING)
        .filter_map(|member| {
            let (coding, weight) = weighted(member);
            (weight > 0).then(|| canonical(coding))
        })
        .filter(|coding| coding != b"identity")
        .collect();
    codings.sort();
    codings.dedup();
    codings
}

/// Whether a client that sent these request fields can read a body in these codings.
///
/// Without `Accept-Encoding` the RFC would accept any coding; a client that asked for none gets none here. Codings
/// that clients don't negotiate are not judged.
pub(crate) fn accepts(headers: &HeaderMap, codings: &[Vec<u8>]) -> bool {
    if codings.is_empty() {
        return weight_of(headers, b"identity").unwrap_or(1) > 0;
    }
    codings.len() <= CODINGS_MAX
        && codings
            .iter()
            .filter(|coding| KNOWN.contains(&coding.as_slice()))
            .all(|coding| weight_of(headers, coding).unwrap_or(0) > 0)
}

/// The weight for one coding in thousandths; `*` speaks for what is not named. `identity` is only excluded by `*`
/// with weight 0.
fn weight_of(headers: &HeaderMap, wanted: &[u8]) -> Option<u16> {
    let mut any = None;
    for member in field::members(headers, ACCEPT_ENCODING) {
        let (coding, weight) = weighted(member);
        if alias_resolved(coding).eq_ignore_ascii_case(wanted) {
            return Some(weight);
        }
        if coding == b"*" {
            any = Some(weight);
        }
    }
    any
}

/// A member's name and its weight in thousandths. A weight that cannot be read counts as 0.
pub(crate) fn weighted(member: &[u8]) -> (&[u8], u16) {
    let mut parts = field::split(member, b';');
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|parameter| match parameter {
        [b'q' | b'Q', rest @ ..] => rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start),
        _ => None,
    });
    (name, weight.map_or(1000, qvalue))
}

/// `0`, `0.5`, `1.000` and the like, in thousandths (RFC 9110 §12.4.2).
fn qvalue(text: &[u8]) -> u16 {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return 0,
    };
    let fraction = (0..3).try_fold(0u16, |sum, at| match fraction.get(at) {
        None => Some(sum * 10),
        Some(digit) if digit.is_ascii_digit() => Some(sum * 10 + u16::from(digit - b'0')),
        Some(_) => None,
    });
    match (whole, fraction) {
        (b'0', Some(fraction)) => fraction,
        (b'1', Some(0)) => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    fn accepts(accept: Option<&str>, coding: &str) -> bool {
        let request = fields(&accept.map(|value| ("accept-encoding", value)).into_iter().collect::<Vec<_>>());
        super::accepts(&request, &of_response(&fields(&[("content-encoding", coding)])))
    }

    #[test]
    fn a_body_goes_only_to_who_can_read_it() {
        // RFC 9110 §12.5.3
        for (accept, coding, expected) in [
            (Some("gzip, br"), "gzip", true),
            (Some("gzip, br"), "br", true),
            (Some("GZIP"), "x-gzip", true),
            (Some("x-gzip"), "gzip", true),
            (Some("*"), "gzip", true),
            (Some("gzip;q=0.1"), "gzip", true),
            (Some("gzip; q=0"), "gzip", false),
            (Some("*, gzip;q=0.000"), "gzip", false),
            (Some("gzip;q=2"), "gzip", false),
            (Some("gzip;q=x"), "gzip", false),
            (Some("br"), "gzip", false),
            (Some(""), "gzip", false),
            (None, "gzip", false),
            (Some("gzip"), "gzip, br", false),
            (Some("gzip, br"), "br, gzip", true),
            (None, "identity", true),
            (None, "", true),
            (Some("gzip"), "", true),
            (Some("gzip, identity;q=0"), "", false),
            (Some("gzip, *;q=0"), "", false),
            (Some("identity, *;q=0"), "", true),
            (None, "our-own", true),
            (Some("gzip"), "gzip, gzip, gzip, gzip, gzip", false),
        ] {
            assert_eq!(accepts(accept, coding), expected, "{accept:?} {coding}");
        }
    }

    #[test]
    fn decoded_fields_tell_nothing_of_the_coded_bytes() {
        // RFC 9110 §8.8.1; RFC 9530 §2, §3
        let mut headers = fields(&[
            ("content-encoding", "gzip"),
            ("content-length", "9"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
            ("content-type", "text/html"),
            ("etag", "\"a\""),
        ]);
        describe_decoded(&mut headers);
        assert_eq!(headers, fields(&[("content-type", "text/html"), ("etag", "W/\"a\""), ("vary", "accept-encoding")]));
        for (vary, tag) in [("Accept-Encoding, Foo", "W/\"a\""), ("*", "W/\"a\""), ("accept-encoding", "unquoted")] {
            let mut headers = fields(&[("vary", vary), ("etag", tag)]);
            describe_decoded(&mut headers);
            assert_eq!(headers, fields(&[("vary", vary), ("etag", tag)]));
        }
    }

    #[test]
    fn the_accepted_set_forgets_order_and_weight() {
        let set = |value: &str| accepted(&fields(&[("accept-encoding", value)])).join(&b"+"[..]);
        assert_eq!(set("gzip, deflate, br"), b"br+deflate+gzip");
        assert_eq!(set("br;q=1.0, X-GZIP;q=0.8,deflate , gzip"), b"br+deflate+gzip");
        assert_eq!(set("gzip, br;q=0, identity"), b"gzip");
    }
}
