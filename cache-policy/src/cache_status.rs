//! `Cache-Status`: how this cache handled a request, for those who look after it. RFC 9211.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::field::is_token_byte;
use crate::request::Pass;

/// The field's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Room for what a member usually is.
const MEMBER_BYTES: usize = 96;

/// Why a request was forwarded: the `fwd` values of RFC 9211 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// The cache was configured not to handle this request.
    Bypass,
    /// The method requires it.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// Something is stored for the URI, but not for the request's selecting fields.
    VaryMiss,
    /// Nothing stored could satisfy the request, and no other value says it better.
    Miss,
    /// A fresh response was there, but the request's directives did not allow its reuse.
    Request,
    /// A response was there, but stale.
    Stale,
    /// A part was there, but not all that the request needs.
    Partial,
}

impl ForwardReason {
    /// Every value.
    pub const ALL: [Self; 8] = [
        Self::Bypass,
        Self::Method,
        Self::UriMiss,
        Self::VaryMiss,
        Self::Miss,
        Self::Request,
        Self::Stale,
        Self::Partial,
    ];

    /// The value as RFC 9211 spells it.
    pub fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }

    /// The value for a request that passes by the cache.
    pub fn of_pass(pass: Pass) -> Self {
        if pass == Pass::Method { Self::Method } else { Self::Bypass }
    }
}

/// One cache's member of `Cache-Status`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CacheStatus {
    /// Answered from the cache without forwarding.
    pub hit: bool,
    /// Why it was forwarded.
    pub fwd: Option<ForwardReason>,
    /// The status of the origin's answer, when it differs from ours.
    pub fwd_status: Option<StatusCode>,
    /// How long the response stays fresh, in seconds; negative when it is stale.
    pub ttl_s: Option<i64>,
    /// Whether the origin's answer was stored.
    pub stored: bool,
    /// Whether the request waited for another's answer.
    pub collapsed: bool,
    /// The cache key; only where the operator wants it shown.
    pub key: Option<String>,
    /// Further words of ours: reasons such as [`crate::NotStorable::token`].
    pub detail: Option<Cow<'static, str>>,
}

impl CacheStatus {
    /// The seconds that a response stays fresh (RFC 9211 §2.4), from how long it is fresh or has been stale.
    pub fn ttl_s(fresh_for: Duration, stale_for: Duration) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if fresh_for > Duration::ZERO { seconds(fresh_for) } else { -seconds(stale_for) }
    }

    /// The member as a structured field item: the cache's name and its parameters.
    ///
    /// What a structured field cannot carry is left out: a key or a detail with other than visible ASCII characters.
    pub fn to_value(&self, cache_name: &str) -> HeaderValue {
        let mut text = String::with_capacity(MEMBER_BYTES);
        if is_token(cache_name) {
            text.push_str(cache_name);
        } else if is_string(cache_name) {
            push_string(&mut text, cache_name);
        } else {
            text.push_str("cache");
        }
        if self.hit {
            text.push_str(";hit");
        }
        if let Some(fwd) = self.fwd {
            text.push_str(";fwd=");
            text.push_str(fwd.token());
        }
        if let Some(status) = self.fwd_status {
            text.push_str(";fwd-status=");
            text.push_str(status.as_str());
        }
        if let Some(ttl) = self.ttl_s {
            write!(text, ";ttl={}", in_range(ttl)).expect("memory takes it");
        }
        if self.stored {
            text.push_str(";stored");
        }
        if self.collapsed {
            text.push_str(";collapsed");
        }
        for (name, value) in [(";key=", self.key.as_deref()), (";detail=", self.detail.as_deref())] {
            if let Some(value) = value.filter(|value| is_string(value)) {
                text.push_str(name);
                push_string(&mut text, value);
            }
        }
        HeaderValue::try_from(text).expect("a structured field item is visible ASCII")
    }

    /// Adds this cache's member behind those of the caches nearer to the origin (RFC 9211 §2).
    pub fn append(&self, cache_name: &str, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.to_value(cache_name));
    }
}

/// Integers of structured fields have at most 15 digits (RFC 9651 §3.3.1).
fn in_range(number: i64) -> i64 {
    const MAX: i64 = 999_999_999_999_999;
    number.clamp(-MAX, MAX)
}

/// RFC 9651 §3.3.4.
fn is_token(text: &str) -> bool {
    let may_follow = |byte: u8| is_token_byte(byte) || matches!(byte, b':' | b'/');
    let is_start = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'*';
    text.as_bytes().first().is_some_and(is_start) && text.bytes().all(may_follow)
}

/// RFC 9651 §3.3.3.
fn is_string(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn push_string(text: &mut String, value: &str) {
    text.push('"');
    for part in value.split_inclusive(['"', '\\']) {
        match part.strip_suffix(['"', '\\']) {
            Some(before) => {
                text.push_str(before);
                text.push('\\');
                text.push_str(&part[before.len()..]);
            }
            None => text.push_str(part),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfv::{ItemSerializer, StringRef, TokenRef, key_ref, token_ref};

    use super::*;

    fn printed(name: &str, status: &CacheStatus) -> String {
        status.to_value(name).to_str().unwrap().to_owned()
    }

    #[test]
    fn every_parameter_is_printed() {
        // RFC 9211 §2
        let hit = CacheStatus { hit: true, ttl_s: Some(376), ..CacheStatus::default() };
        assert_eq!(printed("Bulaq", &hit), "Bulaq;hit;ttl=376");
        let all = CacheStatus {
            hit: false,
            fwd: Some(ForwardReason::Stale),
            fwd_status: Some(StatusCode::NOT_MODIFIED),
            ttl_s: Some(-5),
            stored: true,
            collapsed: true,
            key: Some("http://a.example/".into()),
            detail: Some("set-cookie".into()),
        };
        let expected =
            "Bulaq;fwd=stale;fwd-status=304;ttl=-5;stored;collapsed;key=\"http://a.example/\";detail=\"set-cookie\"";
        assert_eq!(printed("Bulaq", &all), expected);
        assert_eq!(printed("box 7", &CacheStatus::default()), "\"box 7\"");
    }

    #[test]
    fn what_a_structured_field_cannot_carry_is_left_out() {
        // RFC 9651 §3.3
        let odd = CacheStatus { detail: Some("сабақ".into()), ttl_s: Some(i64::MIN), ..CacheStatus::default() };
        assert_eq!(printed("бұлақ", &odd), "cache;ttl=-999999999999999");
        let quoted = CacheStatus { detail: Some("a \"b\" \\".into()), ..CacheStatus::default() };
        assert_eq!(printed("Bulaq", &quoted), r#"Bulaq;detail="a \"b\" \\""#);
    }

    /// The same by the library that reads structured fields.
    fn by_the_library(name: &str, status: &CacheStatus) -> String {
        let mut item = match (TokenRef::from_str(name), StringRef::from_str(name)) {
            (Ok(token), _) => ItemSerializer::new().bare_item(token),
            (Err(_), Ok(string)) => ItemSerializer::new().bare_item(string),
            (Err(_), Err(_)) => ItemSerializer::new().bare_item(token_ref("cache")),
        };
        if let Some(ttl) = status.ttl_s {
            item = item.parameter(key_ref("ttl"), sfv::Integer::try_from(in_range(ttl)).unwrap());
        }
        for (name, text) in [("key", status.key.as_deref()), ("detail", status.detail.as_deref())] {
            if let Some(text) = text.and_then(|text| StringRef::from_str(text).ok()) {
                item = item.parameter(key_ref(name), text);
            }
        }
        item.finish()
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_a_structured_field(
            name in r#"[a-z*0-9:/!"\\\\ ~қ]{0,6}"#,
            key in proptest::option::of(r#"[a"\\\\ \t~қ]{0,8}"#),
            detail in proptest::option::of(".{0,20}"),
            ttl_s: Option<i64>,
        ) {
            let status = CacheStatus { key, detail: detail.map(Cow::Owned), ttl_s, ..CacheStatus::default() };
            prop_assert_eq!(printed(&name, &status), by_the_library(&name, &status));
        }
    }

    #[test]
    fn the_member_goes_behind_those_of_other_caches() {
        // RFC 9211 §2
        let mut headers = crate::testing::fields(&[("cache-status", "Origin;hit")]);
        CacheStatus { fwd: Some(ForwardReason::UriMiss), ..CacheStatus::default() }.append("Bulaq", &mut headers);
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["Origin;hit", "Bulaq;fwd=uri-miss"]);
    }

    #[test]
    fn forward_reasons_are_the_rfcs() {
        // RFC 9211 §2.2
        let words: Vec<_> = ForwardReason::ALL.iter().map(|reason| reason.token()).collect();
        assert_eq!(words, ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]);
    }

    #[test]
    fn ttl_is_negative_for_what_is_stale() {
        // RFC 9211 §2.4
        let seconds = Duration::from_secs;
        assert_eq!(CacheStatus::ttl_s(seconds(5), seconds(0)), 5);
        assert_eq!(CacheStatus::ttl_s(seconds(0), seconds(7)), -7);
    }
}
