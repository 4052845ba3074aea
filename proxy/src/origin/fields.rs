//! Which fields cross the box: the last guard before the wire.

use bulaq_cache_policy::remove_hop_by_hop;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName, TRAILER, VIA};
use http::{HeaderMap, HeaderValue};

/// How often our own product token may be in `Via` already: a chain of parents is short, a loop is not.
pub(super) const VIA_HOPS_MAX: usize = 3;

/// The request went round in a circle (RFC 9110 §7.6.3).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loop;

/// Fields with which a client, or a box before us, says who or what is behind it, or asks for another target or
/// method than it sent. Origins believe them, so they must neither leave nor change a shared copy.
const NEVER_LEAVE: &[&str] = &[
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded-for",
    "true-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
];

fn never_leaves(name: &HeaderName) -> bool {
    let text = name.as_str();
    match text.as_bytes() {
        // Most fields of a request begin otherwise.
        [b'c' | b'e' | b'f' | b't', ..] | [b'x', b'-', ..] => {
            *name == FORWARDED
                || *name == EXPECT
                || *name == TRAILER
                || *name == CONTENT_LENGTH
                || text == "x-forwarded"
                || text.starts_with("x-forwarded-")
                || NEVER_LEAVE.contains(&text)
        }
        _ => false,
    }
}

/// Removes the fields of one connection, those that `Connection` names included (RFC 9110 §7.6.1), and whatever else is
/// between proxies. What caches depend on stays even if `Connection` names it: an answer must not become public by that.
pub(super) fn strip_hop_by_hop(fields: &mut HeaderMap) {
    remove_hop_by_hop(fields);
    remove_where(fields, |name| name.as_str().starts_with("proxy-"));
}

/// Of several lines of `Content-Length`, which said the same where the framing was read, and of one that says it several
/// times, one number is passed on (RFC 9110 §8.6).
pub(super) fn one_length(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return };
    if lines.next().is_none() && first.as_bytes().iter().all(u8::is_ascii_digit) {
        return;
    }
    let digits = first.as_bytes().split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    if let Ok(one) = HeaderValue::from_bytes(digits) {
        fields.insert(CONTENT_LENGTH, one);
    }
}

/// Removes what no origin may see. The request path calls it before it decides, so that what is dropped here cannot have
/// caused an answer either.
pub(crate) fn remove_what_never_leaves(fields: &mut HeaderMap) {
    remove_where(fields, never_leaves);
}

/// Makes a request's fields fit to leave the box; the framing is left to the connection, which knows the content.
///
/// # Errors
/// [`Loop`] when `Via` says that the request came through here too often already.
pub(super) fn leave(fields: &mut HeaderMap, host: &HeaderValue, via: &str) -> Result<(), Loop> {
    let hops = own_hops(fields, via);
    if hops > VIA_HOPS_MAX {
        return Err(Loop);
    }
    strip_hop_by_hop(fields);
    remove_what_never_leaves(fields);
    fields.insert(HOST, host.clone());
    // Our own hops only: others may name hosts of the school's network.
    let mut own = String::with_capacity((hops + 1) * ("1.1 , ".len() + via.len()));
    for hop in 0..=hops {
        own.push_str(if hop == 0 { "1.1 " } else { ", 1.1 " });
        own.push_str(via);
    }
    match HeaderValue::from_maybe_shared(Bytes::from(own)) {
        Ok(value) => fields.insert(VIA, value),
        Err(_) => fields.remove(VIA),
    };
    Ok(())
}

fn own_hops(fields: &HeaderMap, via: &str) -> usize {
    fields
        .get_all(VIA)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter(|hop| hop.split_ascii_whitespace().nth(1).is_some_and(|name| name.eq_ignore_ascii_case(via)))
        .count()
}

fn remove_where(fields: &mut HeaderMap, is_unwanted: fn(&HeaderName) -> bool) {
    // Mostly there are none, and then nothing is allocated.
    let unwanted: Vec<HeaderName> = fields.keys().filter(|name| is_unwanted(name)).cloned().collect();
    for name in unwanted {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn left(lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut fields = fields(lines);
        leave(&mut fields, &HeaderValue::from_static("portal.kz"), "bulaq").unwrap();
        let mut left: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        left
    }

    #[test]
    fn each_of_them_is_looked_at() {
        let others = ["forwarded", "expect", "trailer", "content-length", "x-forwarded", "x-forwarded-anything"];
        for name in NEVER_LEAVE.iter().copied().chain(others) {
            assert!(never_leaves(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn only_end_to_end_fields_leave_and_none_says_who_asked() {
        let dropped: Vec<(&'static str, &'static str)> = [
            "connection",
            "keep-alive",
            "te",
            "transfer-encoding",
            "upgrade",
            "proxy-connection",
            "proxy-authorization",
            "proxy-anything",
            "http2-settings",
            "trailer",
            "expect",
            "content-length",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-anything",
            "x-forwarded",
        ]
        .into_iter()
        .chain(NEVER_LEAVE.iter().copied())
        .map(|name| (name, "10.1.2.3"))
        .collect();
        assert_eq!(left(&dropped), ["host: portal.kz", "via: 1.1 bulaq"]);

        assert_eq!(
            left(&[
                ("host", "evil.kz"),
                ("accept", "text/html"),
                ("connection", "close, X-Secret"),
                ("connection", "x-other"),
                ("x-secret", "1"),
                ("x-other", "2"),
                ("cookie", "a=b"),
                ("via", "1.1 teacher-pc.school.kz"),
            ]),
            ["accept: text/html", "cookie: a=b", "host: portal.kz", "via: 1.1 bulaq"]
        );
    }

    #[test]
    fn a_length_is_passed_on_once() {
        for lines in [&["12"][..], &["12", "12"], &["12, 12"], &["12 ,12", "12"]] {
            let mut fields: HeaderMap =
                lines.iter().map(|&line| (CONTENT_LENGTH, HeaderValue::from_static(line))).collect();
            one_length(&mut fields);
            assert_eq!(fields.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["12"], "{lines:?}");
        }
        let mut none = HeaderMap::new();
        one_length(&mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn via_keeps_our_own_hops_and_ends_a_loop() {
        assert_eq!(
            left(&[("via", "1.1 pc, 1.1 BULAQ"), ("via", "2 bulaq (x)")]),
            ["host: portal.kz", "via: 1.1 bulaq, 1.1 bulaq, 1.1 bulaq"]
        );
        let mut fields = fields(&[("via", "1.1 bulaq, 1.1 bulaq, 1.1 bulaq, 1.1 bulaq")]);
        assert_eq!(leave(&mut fields, &HeaderValue::from_static("portal.kz"), "bulaq"), Err(Loop));
    }
}
