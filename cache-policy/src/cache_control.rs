//! Directives of `Cache-Control`, parsed once into typed fields. RFC 9111 §5.2; RFC 5861; RFC 8246.
//!
//! Names ignore case, every field line counts, an argument may be a token or a quoted string. A directive that this
//! crate does not know is skipped.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

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
    /// The whole response is meant. Also when the list of names is empty or unreadable.
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

fn field_names(argument: &[u8]) -> Option<Vec<HeaderName>> {
    let names: Option<Vec<_>> = field::split(argument, b',').map(|name| HeaderName::from_bytes(name).ok()).collect();
    names.filter(|names| !names.is_empty())
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
