//! Directives of `Cache-Control`, parsed once into typed fields. RFC 9111 §5.2; RFC 5861; RFC 8246.
//!
//! Names ignore case, every field line counts, an argument may be a token or a quoted string. A directive that this
//! crate does not know is skipped.

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, EXPIRES, HeaderMap,
    HeaderName, PRAGMA, VARY,
};

use crate::delta_seconds::parse_delta_seconds;
use crate::field;

/// A directive whose argument is a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Seconds {
    /// The directive did not come.
    #[default]
    Absent,
    /// It came once, or more often with one and the same value.
    Is(Duration),
    /// Its argument is missing or no `delta-seconds`, or two lines contradict each other. A response counts as stale
    /// then (RFC 9111 §4.2.1).
    Invalid,
}

impl Seconds {
    /// The value, when the directive came and is valid.
    pub fn value(self) -> Option<Duration> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the directive came, valid or not.
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }

    fn and(self, argument: Option<&[u8]>) -> Self {
        let new = argument.and_then(parse_delta_seconds).map_or(Self::Invalid, Self::Is);
        if self == Self::Absent || self == new { new } else { Self::Invalid }
    }
}

/// `no-cache` or `private`: for the whole response, or for the named fields of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Scope {
    /// The directive did not come.
    #[default]
    Absent,
    /// Only these fields are meant: they are not stored, the rest may be.
    Fields(Vec<HeaderName>),
    /// The whole response is meant. Also when the list of names is empty or unreadable, or names a field without which
    /// what is stored would mean something else (RFC 9111 §5.2.2.4 allows that for any list).
    Whole,
}

impl Scope {
    fn and(&mut self, argument: Option<&[u8]>) {
        let new = argument.and_then(field_names);
        *self = match (std::mem::take(self), new) {
            (Self::Absent, Some(names)) => Self::Fields(names),
            (Self::Fields(mut known), Some(names)) => {
                known.extend(names);
                Self::Fields(known)
            }
            (_, None) | (Self::Whole, _) => Self::Whole,
        };
    }

    /// The fields that are named; empty when none or all are meant.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Absent | Self::Whole => &[],
        }
    }
}

/// Fields that decide about reuse or describe the stored bytes: a response is not stored without them.
const NEVER_APART: [HeaderName; 11] = [
    AGE,
    CACHE_CONTROL,
    crate::targeted::CDN_CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    EXPIRES,
    PRAGMA,
    VARY,
];

fn field_names(argument: &[u8]) -> Option<Vec<HeaderName>> {
    let names: Option<Vec<_>> = field::split(argument, b',').map(|name| HeaderName::from_bytes(name).ok()).collect();
    names.filter(|names| !names.is_empty() && !names.iter().any(|name| NEVER_APART.contains(name)))
}

/// What a response says about its storage and reuse. RFC 9111 §5.2.2, RFC 5861, RFC 8246.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResponseDirectives {
    /// `max-age`
    pub max_age: Seconds,
    /// `s-maxage`
    pub s_maxage: Seconds,
    /// `no-cache`, for all or for some fields
    pub no_cache: Scope,
    /// `private`, for all or for some fields
    pub private: Scope,
    /// `no-store`
    pub no_store: bool,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `must-understand`
    pub must_understand: bool,
    /// `no-transform`
    pub no_transform: bool,
    /// `immutable` (RFC 8246)
    pub immutable: bool,
    /// `stale-while-revalidate` (RFC 5861 §3)
    pub stale_while_revalidate: Seconds,
    /// `stale-if-error` (RFC 5861 §4)
    pub stale_if_error: Seconds,
}

impl ResponseDirectives {
    /// Reads every `Cache-Control` line of a response.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for (name, argument) in directives_of(headers) {
            directives.add(&name, argument.as_deref());
        }
        directives
    }

    pub(crate) fn add(&mut self, name: &str, argument: Option<&[u8]>) {
        match name {
            "max-age" => self.max_age = self.max_age.and(argument),
            "s-maxage" => self.s_maxage = self.s_maxage.and(argument),
            "no-cache" => self.no_cache.and(argument),
            "private" => self.private.and(argument),
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "no-transform" => self.no_transform = true,
            "immutable" => self.immutable = true,
            "stale-while-revalidate" => self.stale_while_revalidate = self.stale_while_revalidate.and(argument),
            "stale-if-error" => self.stale_if_error = self.stale_if_error.and(argument),
            _ => {}
        }
    }

    /// Whether a stale copy must not be used without the origin's word, whatever happened to the origin:
    /// `must-revalidate`, `proxy-revalidate`, `no-cache`, and `s-maxage`, which implies `proxy-revalidate`
    /// (RFC 9111 §5.2.2.2, §5.2.2.8, §5.2.2.10).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache == Scope::Whole || self.s_maxage.is_present()
    }
}

/// What a request asks of caches. RFC 9111 §5.2.1, §5.4; RFC 5861 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RequestDirectives {
    /// `max-age`: no older than this
    pub max_age: Option<Duration>,
    /// `min-fresh`: fresh for at least this much longer
    pub min_fresh: Option<Duration>,
    /// `max-stale`: stale by at most this; without an argument, by any time
    pub max_stale: Option<Duration>,
    /// `no-cache`, also as `Pragma: no-cache` when there is no `Cache-Control` at all
    pub no_cache: bool,
    /// `no-store`
    pub no_store: bool,
    /// `no-transform`
    pub no_transform: bool,
    /// `only-if-cached`
    pub only_if_cached: bool,
    /// `stale-if-error`
    pub stale_if_error: Option<Duration>,
}

impl RequestDirectives {
    /// Reads every `Cache-Control` line of a request, and `Pragma` when there is none. An argument that is no number
    /// counts as the strictest one: zero for `max-age`, `max-stale` and `stale-if-error`; for `min-fresh`, validation.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for (name, argument) in directives_of(headers) {
            let seconds = argument.as_deref().map(parse_delta_seconds);
            match name.as_str() {
                "max-age" => directives.max_age = strictest(directives.max_age, seconds, Duration::min),
                "min-fresh" => {
                    directives.min_fresh =
                        Some(seconds.flatten().unwrap_or(Duration::MAX).max(directives.min_fresh.unwrap_or_default()));
                }
                "max-stale" => {
                    let any = seconds.is_none().then_some(Some(Duration::MAX)).or(seconds);
                    directives.max_stale = strictest(directives.max_stale, any, Duration::min);
                }
                "stale-if-error" => {
                    directives.stale_if_error = strictest(directives.stale_if_error, seconds, Duration::min);
                }
                "no-cache" => directives.no_cache = true,
                "no-store" => directives.no_store = true,
                "no-transform" => directives.no_transform = true,
                "only-if-cached" => directives.only_if_cached = true,
                _ => {}
            }
        }
        if !headers.contains_key(CACHE_CONTROL) {
            directives.no_cache = field::members(headers, PRAGMA).any(|it| it.eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }
}

fn strictest(
    known: Option<Duration>,
    new: Option<Option<Duration>>,
    choose: fn(Duration, Duration) -> Duration,
) -> Option<Duration> {
    let new = new.flatten().unwrap_or_default();
    Some(known.map_or(new, |known| choose(known, new)))
}

/// Every directive: its name in lower case, its argument unquoted. What is no directive is skipped.
///
/// An argument in another shape than a token or a quoted string is kept as it came, so that it counts as invalid.
fn directives_of(headers: &HeaderMap) -> impl Iterator<Item = (String, Option<Vec<u8>>)> {
    field::members(headers, CACHE_CONTROL).filter_map(|member| {
        let (name, argument) = match member.iter().position(|&byte| byte == b'=') {
            Some(at) => (&member[..at], Some(&member[at + 1..])),
            None => (member, None),
        };
        if name.is_empty() || !name.iter().all(|&byte| field::is_token_byte(byte)) {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let argument = argument.map(|text| field::token_or_quoted(text).unwrap_or_else(|| text.to_vec()));
        Some((name, argument))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fields, s};

    fn response(lines: &[&str]) -> ResponseDirectives {
        let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        ResponseDirectives::parse(&fields(&lines))
    }

    #[test]
    fn seconds_of_a_response() {
        // RFC 9111 §5.2, §5.2.2.1, §4.2.1
        for (lines, expected) in [
            (&["max-age=3600"][..], Seconds::Is(s(3600))),
            (&["MaX-aGe=3600"], Seconds::Is(s(3600))),
            (&["max-age=\"3600\""], Seconds::Is(s(3600))),
            (&["max-age=003600"], Seconds::Is(s(3600))),
            (&["foobar, max-age=3600"], Seconds::Is(s(3600))),
            (&["foo=\"a, max-age=1\", max-age=3600"], Seconds::Is(s(3600))),
            (&["max-age=3600", "max-age=3600"], Seconds::Is(s(3600))),
            (&["max-age=99999999999"], Seconds::Is(s(1 << 31))),
            (&["extension=\"max-age=3600\""], Seconds::Absent),
            (&["max-age =3600"], Seconds::Absent),
            (&["max-age= 3600"], Seconds::Invalid),
            (&["max-age='3600'"], Seconds::Invalid),
            (&["max-age=-3600"], Seconds::Invalid),
            (&["max-age=3600.0"], Seconds::Invalid),
            (&["max-age=3600a"], Seconds::Invalid),
            (&["max-age"], Seconds::Invalid),
            (&["max-age="], Seconds::Invalid),
            (&["max-age=1800, max-age=1"], Seconds::Invalid),
            (&["max-age=1", "max-age=1800"], Seconds::Invalid),
        ] {
            assert_eq!(response(lines).max_age, expected, "{lines:?}");
        }
    }

    #[test]
    fn every_flag_of_a_response_is_read_in_any_case() {
        // RFC 9111 §5.2.2; RFC 8246
        let all =
            response(&["No-StOrE, PUBLIC, must-Revalidate", "proxy-revalidate,must-understand,no-transform,IMMUTABLE"]);
        assert!(all.no_store && all.public && all.must_revalidate && all.proxy_revalidate);
        assert!(all.must_understand && all.no_transform && all.immutable);
        assert!(response(&["no-store=x"]).no_store, "an argument that should not be there changes nothing");
        assert_eq!(response(&["x-no-store, no_store"]), ResponseDirectives::default());
    }

    #[test]
    fn private_and_no_cache_may_name_fields() {
        // RFC 9111 §5.2.2.4, §5.2.2.7
        let names =
            |names: &[&'static str]| Scope::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect());
        for (lines, expected) in [
            (&["no-cache"][..], Scope::Whole),
            (&["No-CaChE"], Scope::Whole),
            (&["no-cache=\"a\""], names(&["a"])),
            (&["no-cache=\"A, b\""], names(&["a", "b"])),
            (&["no-cache=a"], names(&["a"])),
            (&["no-cache=\"a\"", "no-cache=\"b\""], names(&["a", "b"])),
            (&["no-cache=\"a\", no-cache"], Scope::Whole),
            (&["no-cache, no-cache=\"a\""], Scope::Whole),
            (&["no-cache=\"\""], Scope::Whole),
            (&["no-cache=\"a b\""], Scope::Whole),
            (&["no-cache=\"a, Cache-Control\""], Scope::Whole),
            (&["no-cache=content-type"], Scope::Whole),
            (&["private=\"a\""], Scope::Absent),
        ] {
            assert_eq!(response(lines).no_cache, expected, "{lines:?}");
        }
        assert_eq!(response(&["private=\"a\""]).private, names(&["a"]));
    }

    #[test]
    fn stale_reuse_is_forbidden_by_four_directives() {
        // RFC 9111 §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10
        for line in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2"] {
            assert!(response(&[line]).forbids_stale(), "{line}");
        }
        for line in ["max-age=2", "no-cache=\"a\"", "stale-if-error=5", "public"] {
            assert!(!response(&[line]).forbids_stale(), "{line}");
        }
    }

    #[test]
    fn directives_of_a_request() {
        // RFC 9111 §5.2.1; RFC 5861 §4
        let request = |lines: &[(&str, &str)]| RequestDirectives::parse(&fields(lines));
        let cc = |line: &str| request(&[("cache-control", line)]);
        assert_eq!(cc("max-age=5").max_age, Some(s(5)));
        assert_eq!(cc("max-age=5, max-age=3").max_age, Some(s(3)), "the strictest wins");
        assert_eq!(cc("max-age=x").max_age, Some(s(0)));
        assert_eq!(cc("max-stale").max_stale, Some(Duration::MAX));
        assert_eq!(cc("max-stale=7").max_stale, Some(s(7)));
        assert_eq!(cc("max-stale=x").max_stale, Some(s(0)));
        assert_eq!(cc("min-fresh=9, min-fresh=8").min_fresh, Some(s(9)));
        assert_eq!(cc("min-fresh").min_fresh, Some(Duration::MAX));
        assert_eq!(cc("stale-if-error=60").stale_if_error, Some(s(60)));
        let all = cc("No-Cache, no-STORE, no-transform, only-if-cached");
        assert!(all.no_cache && all.no_store && all.no_transform && all.only_if_cached);
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        // RFC 9111 §5.4
        let no_cache = |lines: &[(&str, &str)]| RequestDirectives::parse(&fields(lines)).no_cache;
        assert!(no_cache(&[("pragma", "No-Cache")]));
        assert!(no_cache(&[("pragma", "foo, no-cache")]));
        assert!(!no_cache(&[("pragma", "foo")]));
        assert!(!no_cache(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]));
    }
}
