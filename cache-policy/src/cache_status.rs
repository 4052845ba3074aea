//! `Cache-Status`: how this cache handled a request, for those who look after it. RFC 9211.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Integer, ItemSerializer, StringRef, TokenRef, key_ref, token_ref};

use crate::request::Pass;

/// The field's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

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
    pub detail: Option<String>,
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
        let mut item = match (TokenRef::from_str(cache_name), StringRef::from_str(cache_name)) {
            (Ok(token), _) => ItemSerializer::new().bare_item(token),
            (Err(_), Ok(string)) => ItemSerializer::new().bare_item(string),
            (Err(_), Err(_)) => ItemSerializer::new().bare_item(token_ref("cache")),
        };
        if self.hit {
            item = item.parameter(key_ref("hit"), true);
        }
        if let Some(fwd) = self.fwd {
            item = item.parameter(key_ref("fwd"), token_ref(fwd.token()));
        }
        if let Some(status) = self.fwd_status {
            item = item.parameter(key_ref("fwd-status"), status.as_u16());
        }
        if let Some(ttl) = self.ttl_s {
            item = item.parameter(key_ref("ttl"), in_range(ttl));
        }
        if self.stored {
            item = item.parameter(key_ref("stored"), true);
        }
        if self.collapsed {
            item = item.parameter(key_ref("collapsed"), true);
        }
        for (name, text) in [("key", &self.key), ("detail", &self.detail)] {
            if let Some(text) = text.as_deref().and_then(|text| StringRef::from_str(text).ok()) {
                item = item.parameter(key_ref(name), text);
            }
        }
        HeaderValue::try_from(item.finish()).expect("a structured field item is visible ASCII")
    }

    /// Adds this cache's member behind those of the caches nearer to the origin (RFC 9211 §2).
    pub fn append(&self, cache_name: &str, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.to_value(cache_name));
    }
}

/// Integers of structured fields have at most 15 digits (RFC 9651 §3.3.1).
fn in_range(number: i64) -> Integer {
    const MAX: i64 = 999_999_999_999_999;
    Integer::try_from(number.clamp(-MAX, MAX)).expect("clamped to the range of structured fields")
}

#[cfg(test)]
mod tests {
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
