//! What an operator's rule for a path may say, as an input to every question; and how an answer tells that it
//! followed the rule instead of the origin.

use std::fmt;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderName, SET_COOKIE};

/// What the operator's rule says about the paths that it covers. The default says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteRule {
    /// Nothing under this rule is stored or reused.
    pub never_store: bool,
    /// The path is the same for everybody: cookies are dropped both ways ([`anonymise_request`],
    /// [`anonymise_response`]), and cookies, session names and `private` no longer keep a response from being shared.
    pub anonymous: bool,
    /// Floor of the freshness lifetime of successful responses and redirects. It sets `no-cache` aside, and together
    /// with `anonymous` also `no-store`: many sites send both with every page because a session library does.
    pub fresh_min: Option<Duration>,
    /// Ceiling of the freshness lifetime; it wins over `fresh_min`.
    pub fresh_max: Option<Duration>,
    /// Query parameters that do not select content; [`crate::CacheKey`] leaves them out. Exact, case-sensitive names;
    /// a trailing `*` matches any ending.
    pub ignored_parameters: Vec<String>,
    /// How long past its freshness a response may stand in when the origin fails; replaces `stale-if-error` and
    /// [`crate::Options::stale_max`], and does not replace `must-revalidate` and its kin.
    pub stale_max: Option<Duration>,
}

/// Where a rule of the operator was followed and the origin said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Overrode {
    /// The lifetime was raised to `fresh_min`.
    pub lifetime_raised: bool,
    /// The lifetime was lowered to `fresh_max`.
    pub lifetime_lowered: bool,
    /// `Set-Cookie` was dropped (`anonymous`).
    pub set_cookie: bool,
    /// `private` was set aside (`anonymous`).
    pub private: bool,
    /// `no-store` was set aside (`anonymous` together with `fresh_min`).
    pub no_store: bool,
    /// `no-cache` was set aside (`fresh_min`).
    pub no_cache: bool,
}

impl Overrode {
    /// Whether any rule of the operator overrode the origin.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Stable words, joined by `+`, for `Cache-Status` details and logs; empty when nothing was overridden.
impl fmt::Display for Overrode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.lifetime_raised, "fresh-min"),
            (self.lifetime_lowered, "fresh-max"),
            (self.set_cookie, "set-cookie"),
            (self.private, "private"),
            (self.no_store, "no-store"),
            (self.no_cache, "no-cache"),
        ];
        let mut first = true;
        for (_, word) in words.into_iter().filter(|(said, _)| *said) {
            f.write_str(if first { "" } else { "+" })?;
            f.write_str(word)?;
            first = false;
        }
        Ok(())
    }
}

/// The obsolete field that some old clients and servers still send beside `Set-Cookie` (RFC 6265 §9.4).
const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");
/// The request half of the obsolete pair (RFC 6265 §9.3).
const COOKIE2: HeaderName = HeaderName::from_static("cookie2");

/// Removes what identifies a browser from a request that a rule calls anonymous, before it is parsed or forwarded.
pub fn anonymise_request(headers: &mut HeaderMap) {
    headers.remove(COOKIE);
    headers.remove(COOKIE2);
}

/// Removes cookies from a response that a rule calls anonymous, before it is stored or delivered.
pub fn anonymise_response(headers: &mut HeaderMap) {
    headers.remove(SET_COOKIE);
    headers.remove(SET_COOKIE2);
}

/// Whether the response sets a cookie.
pub(crate) fn sets_cookie(headers: &HeaderMap) -> bool {
    headers.contains_key(SET_COOKIE) || headers.contains_key(SET_COOKIE2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    #[test]
    fn an_anonymous_rule_drops_cookies_both_ways() {
        let mut request = fields(&[("cookie", "a=1"), ("cookie2", "$Version=1"), ("accept", "*/*")]);
        anonymise_request(&mut request);
        assert_eq!(request.keys().collect::<Vec<_>>(), ["accept"]);
        let mut response =
            fields(&[("set-cookie", "a=1"), ("set-cookie", "b=1"), ("set-cookie2", "c=1"), ("etag", "x")]);
        anonymise_response(&mut response);
        assert_eq!(response.keys().collect::<Vec<_>>(), ["etag"]);
    }

    #[test]
    fn what_was_overridden_is_told_in_stable_words() {
        assert!(!Overrode::default().any());
        let all = Overrode {
            lifetime_raised: true,
            lifetime_lowered: true,
            set_cookie: true,
            private: true,
            no_store: true,
            no_cache: true,
        };
        assert!(all.any());
        assert_eq!(all.to_string(), "fresh-min+fresh-max+set-cookie+private+no-store+no-cache");
    }
}
