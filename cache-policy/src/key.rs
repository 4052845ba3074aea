//! The primary cache key: the target URI in one canonical spelling. RFC 9111 §2; RFC 9110 §4.2.3.

use std::fmt;
use std::sync::Arc;

use http::Uri;

use crate::site_rule::SiteRule;

/// The primary cache key of a target URI.
///
/// Scheme and host in lower case, a default port and user information left out, an empty path as `/`. The rest of
/// the path and the query stay exactly as they came: only the origin knows what it tells apart. Query parameters that
/// the operator's rule calls not selecting are left out. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// The key of an absolute target URI under a rule; `None` when it names no scheme or no host.
    pub fn new(target: &Uri, rule: &SiteRule) -> Option<Self> {
        const SEPARATORS_AND_PORT_BYTES: usize = "://:65535/?".len();
        let scheme = target.scheme_str()?;
        let host = target.host().filter(|host| !host.is_empty())?;
        let path_bytes = target.path_and_query().map_or(0, |written| written.as_str().len());
        let mut key = String::with_capacity(scheme.len() + host.len() + path_bytes + SEPARATORS_AND_PORT_BYTES);
        key.push_str(scheme);
        key.make_ascii_lowercase();
        let default_port = default_port(&key);
        key.push_str("://");
        let before_host = key.len();
        key.push_str(host);
        key[before_host..].make_ascii_lowercase();
        if let Some(port) = target.port_u16().filter(|&port| Some(port) != default_port) {
            key.push_str(&format!(":{port}"));
        }
        key.push_str(if target.path().is_empty() { "/" } else { target.path() });
        if let Some(query) = target.query() {
            push_query(&mut key, query, rule);
        }
        Some(Self(key.into()))
    }

    /// The canonical URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key without its query: what may be logged at debug level.
    pub fn without_query(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }
}

/// Leaves the query out: keys end up in debug output.
impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheKey").field(&self.without_query()).finish()
    }
}

/// The port that a scheme implies.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn push_query(key: &mut String, query: &str, rule: &SiteRule) {
    if rule.ignored_parameters.is_empty() {
        key.push('?');
        key.push_str(query);
        return;
    }
    let mut separator = '?';
    for pair in query.split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        if !rule.ignored_parameters.iter().any(|pattern| is_named(name, pattern)) {
            key.push(separator);
            key.push_str(pair);
            separator = '&';
        }
    }
}

fn is_named(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uri: &str, ignored: &[&str]) -> Option<String> {
        let ignored_parameters = ignored.iter().map(|name| (*name).to_owned()).collect();
        let rule = SiteRule { ignored_parameters, ..SiteRule::default() };
        CacheKey::new(&uri.parse().unwrap(), &rule).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn a_target_has_one_spelling() {
        // RFC 9110 §4.2.3
        for (uri, expected) in [
            ("https://Lessons.EXAMPLE:443/A%2fb/../c?X=1&x=2", "https://lessons.example/A%2fb/../c?X=1&x=2"),
            ("http://a.example:80", "http://a.example/"),
            ("http://a.example:443/", "http://a.example:443/"),
            ("https://a.example:80/", "https://a.example:80/"),
            ("http://pupil:secret@a.example/x", "http://a.example/x"),
            ("http://a.example/?", "http://a.example/?"),
            ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
            ("http://a.example//x//", "http://a.example//x//"),
            ("http://A.Example/Path/CASE", "http://a.example/Path/CASE"),
            ("http://a.example/%2f", "http://a.example/%2f"),
            ("http://a.example/%2F", "http://a.example/%2F"),
            ("http://a.example/%7Ea", "http://a.example/%7Ea"),
            ("http://a.example/~a", "http://a.example/~a"),
            ("http://a.example/./a/../b", "http://a.example/./a/../b"),
            ("http://a.example/a", "http://a.example/a"),
            ("http://a.example/a/", "http://a.example/a/"),
            ("http://a.example/a?", "http://a.example/a?"),
            ("http://a.example/a;v=1", "http://a.example/a;v=1"),
            ("http://a.example/a?x=%31", "http://a.example/a?x=%31"),
            ("http://a.example/a?x=1&x=1", "http://a.example/a?x=1&x=1"),
            ("http://a.example/a?b&a", "http://a.example/a?b&a"),
            ("http://a.example/a?x=1#part", "http://a.example/a?x=1"),
            ("http://a.example?x", "http://a.example/?x"),
        ] {
            assert_eq!(key(uri, &[]).as_deref(), Some(expected), "{uri}");
        }
        for uri in ["/only/a/path", "a.example:80", "*"] {
            assert_eq!(key(uri, &[]), None, "{uri}");
        }
    }

    #[test]
    fn what_an_origin_may_tell_apart_has_keys_of_its_own() {
        let uris = [
            "/a",
            "/A",
            "/a/",
            "//a",
            "/./a",
            "/b/../a",
            "/%61",
            "/a?",
            "/a?x",
            "/a?x=",
            "/a?X=",
            "/a?x=1",
            "/a?x=1&",
            "/a?&x=1",
            "/a?y=2&x=1",
            "/a?x=1&y=2",
            "/a;x=1",
            "/a%3Fx=1",
            "/a%3fx=1",
            "/a?x=%2B",
            "/a?x=+",
            "/a?x=%20",
        ];
        let keys: std::collections::HashSet<_> =
            uris.iter().map(|uri| key(&format!("http://a.example{uri}"), &[])).collect();
        assert_eq!(keys.len(), uris.len());
        let origins = ["http://a.example/", "https://a.example/", "http://a.example:8080/", "http://b.a.example/"];
        let keys: std::collections::HashSet<_> = origins.iter().map(|uri| key(uri, &[])).collect();
        assert_eq!(keys.len(), origins.len());
    }

    #[test]
    fn a_rule_leaves_out_what_does_not_select() {
        for (query, expected) in [
            ("?a=1&utm_source=x&b=2", "?a=1&b=2"),
            ("?utm_source=x", ""),
            ("?utm_source&fbclid=1&utm_x=&b", "?b"),
            ("?UTM_source=1", "?UTM_source=1"),
            ("?b=2&a=1", "?b=2&a=1"),
            ("?xfbclid=1", "?xfbclid=1"),
            ("?a=1&&b=2", "?a=1&&b=2"),
        ] {
            let got = key(&format!("http://a.example/{query}"), &["utm_*", "fbclid"]);
            assert_eq!(got, Some(format!("http://a.example/{expected}")), "{query}");
        }
    }

    #[test]
    fn debug_output_shows_no_query() {
        let key = CacheKey::new(&"http://a.example/p?token=secret".parse().unwrap(), &SiteRule::default()).unwrap();
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(key.without_query(), "http://a.example/p");
    }
}
