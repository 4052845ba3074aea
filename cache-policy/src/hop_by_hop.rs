//! Fields that belong to one connection: neither stored nor forwarded. RFC 9110 §7.6.1, RFC 9111 §3.1.

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, EXPIRES, HOST,
    HeaderMap, HeaderName, PRAGMA, SET_COOKIE, VARY,
};

use crate::field;

/// Fields for one hop whether or not `Connection` names them. `Proxy-Authenticate`, `Proxy-Authorization` and
/// `Proxy-Authentication-Info` are for the next proxy, which we are (RFC 9110 §11.7).
pub const HOP_BY_HOP: [HeaderName; 11] = [
    HeaderName::from_static("connection"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("te"),
    HeaderName::from_static("trailer"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
    HeaderName::from_static("http2-settings"),
];

/// Fields that `Connection` cannot remove: what may be shared, and how the content is read, depends on them end to end,
/// so naming one there is an error (RFC 9110 §7.6.1) or an attack.
const NEVER_HOP_BY_HOP: [HeaderName; 13] = [
    AGE,
    CACHE_CONTROL,
    crate::targeted::CDN_CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    EXPIRES,
    HOST,
    PRAGMA,
    SET_COOKIE,
    VARY,
];

fn is_hop_by_hop(name: &HeaderName) -> bool {
    // None of the usual fields of a request or a response begins so.
    matches!(name.as_str().as_bytes().first(), Some(b'c' | b'k' | b'p' | b't' | b'u' | b'h'))
        && HOP_BY_HOP.contains(name)
}

/// What nearly all say who say anything: no field has the first name, and the second goes in any case.
fn is_usual_option(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive")
}

/// Removes what belongs to the connection, including every field that `Connection` names.
///
/// `Upgrade` goes too: a proxy that wants to forward an upgrade sets it anew.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return; // as in nearly all of HTTP/2; `Connection` is one of them
    }
    // Looked for among the fields that are there: a removal by name is a look-up, and of most names there is no field.
    let named: Vec<&[u8]> = field::members(headers, CONNECTION).filter(|name| !is_usual_option(name)).collect();
    let is_named = |name: &HeaderName| {
        named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str().as_bytes()))
            && !NEVER_HOP_BY_HOP.contains(name)
    };
    let unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| is_hop_by_hop(name) || is_named(name)).cloned().collect();
    for name in &unwanted {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    fn left(lines: &[(&str, &str)]) -> Vec<String> {
        let mut headers = fields(lines);
        remove_hop_by_hop(&mut headers);
        let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_belongs_to_the_connection_goes() {
        // RFC 9110 §7.6.1
        for name in HOP_BY_HOP {
            assert_eq!(left(&[(name.as_str(), "x"), ("c", "3")]), ["c"], "{name}");
        }
        assert_eq!(
            left(&[("connection", "A, b"), ("connection", "d"), ("a", "1"), ("B", "2"), ("c", "3"), ("d", "4")]),
            ["c"]
        );
    }

    #[test]
    fn connection_cannot_remove_what_caches_depend_on() {
        let named = "cache-control, vary, date, host, content-length, x";
        let lines = [("connection", named), ("cache-control", "private"), ("vary", "*"), ("date", "d"), ("x", "1")];
        assert_eq!(left(&lines), ["cache-control", "date", "vary"]);
    }
}
