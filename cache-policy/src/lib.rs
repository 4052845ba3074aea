//! RFC 9111 and its companions as pure decisions of a shared cache.
//!
//! | question | answered in | after |
//! | --- | --- | --- |
//! | may this request use the shared cache at all? | [`may_share`], [`school`] | RFC 9111 §4 |
//! | under which key? | [`CacheKey`] | RFC 9111 §2 |
//! | may this response be stored? | [`storable`] | RFC 9111 §3, §3.5; RFC 9110 §9.3.3 |
//! | what of it is stored? | [`StoredHead`], [`remove_hop_by_hop`] | RFC 9111 §3.1 |
//! | which stored response does a request select? | [`StoredHead::is_selected_by`], [`Vary`] | RFC 9111 §4.1 |
//! | in which of a site's languages? | [`choose_language`] | RFC 4647 §3.4 |
//! | how long is it fresh? | [`StoredHead::freshness_lifetime`] | RFC 9111 §4.2.1, §4.2.2; RFC 9213 |
//! | how old is it? | [`StoredHead::current_age`] | RFC 9111 §4.2.3 |
//! | reuse, validate or forward? | [`look_up`] | RFC 9111 §4, §5.2.1; RFC 5861 §3; RFC 8246 |
//! | how is the origin asked? | [`Conditional`] | RFC 9111 §4.3.1 |
//! | what does its 304 change? | [`freshen`], [`freshen_by_head`] | RFC 9111 §3.2, §4.3.4, §4.3.5 |
//! | the origin failed: may a stale one stand in? | [`stale_allowed`] | RFC 9111 §4.2.4; RFC 5861 §4 |
//! | does the client have it already? | [`evaluate_preconditions`], [`not_modified_head`] | RFC 9110 §13 |
//! | which bytes of it? | [`resolve_range`], [`ContentRange`] | RFC 9110 §14 |
//! | may a part be kept, and another joined to it? | [`storable_part`], [`continuation`] | RFC 9111 §3.3, §3.4 |
//! | which responses does the origin name together? | [`cache_tags`] | no RFC |
//! | what does an unsafe request make doubtful? | [`invalidated`] | RFC 9111 §4.4 |
//! | how are the people told who look after the cache? | [`CacheStatus`] | RFC 9211 |
//!
//! A proxy builds a [`PresentedRequest`] with the operator's [`SiteRule`] and asks [`look_up`]. What it forwards and
//! gets back it shows to [`storable`], and keeps as a [`StoredHead`].
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use bulaq_cache_policy::{Lookup, Options, PresentedRequest, SiteRule, StoredHead, look_up};
//! use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
//!
//! let (rule, options, now) = (SiteRule::default(), Options::default(), SystemTime::UNIX_EPOCH);
//! let (uri, no_fields) = ("http://lesson.kz/7".parse().unwrap(), HeaderMap::new());
//! let request = PresentedRequest::new(&Method::GET, &uri, &no_fields, &rule, &options);
//! let fields = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"))]);
//! let stored = StoredHead::new(&request, StatusCode::OK, fields, now, now);
//!
//! let after = |seconds| look_up(&[&stored], &request, now + Duration::from_secs(seconds));
//! assert!(matches!(after(59), Lookup::Reuse { .. }));
//! assert!(matches!(after(60), Lookup::Forward { .. }));
//! ```
//!
//! This crate never reads a clock (`now` is an argument), does no I/O, is not asynchronous, logs nothing, and knows no
//! site: what an operator decided about a path comes in as a [`SiteRule`]. It never looks at a cookie's or a token's
//! value.
#![forbid(unsafe_code)]

mod age;
mod cache_control;
mod cache_status;
mod cache_tags;
mod combine;
mod content_coding;
mod cookies;
mod delta_seconds;
mod entity_tag;
mod field;
mod freshen;
mod freshness;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hop_by_hop;
mod http_date;
mod invalidation;
mod key;
mod language;
mod options;
mod range;
mod request;
mod reuse;
mod same_tag;
pub mod school;
mod site_rule;
mod stale;
mod storable;
mod stored_head;
mod targeted;
#[cfg(test)]
mod testing;
mod token_names;
mod validation;
mod vary;

pub use age::CLOCK_BACK_MAX;
pub use cache_control::{RequestDirectives, ResponseDirectives, Scope, Seconds};
pub use cache_status::{CACHE_STATUS, CacheStatus, ForwardReason};
pub use cache_tags::{CACHE_TAG, CacheTag, SURROGATE_KEY, TAG_BYTES_MAX, TAGS_MAX, cache_tags};
pub use combine::{
    Changed, Continuation, StorablePart, StrongValidator, continuation, freshen_by_part, is_same_representation,
    is_strongly_validated, storable_part,
};
pub use cookies::{COUNTER_COOKIES, Cookies, SESSION_COOKIE_ENDS, SESSION_COOKIE_PARTS};
pub use delta_seconds::{DELTA_SECONDS_MAX, parse_delta_seconds};
pub use entity_tag::{EntityTag, EntityTags};
pub use freshen::{Freshening, freshen, freshen_by_head};
pub use freshness::{Lifetime, LifetimeSource};
pub use hop_by_hop::{HOP_BY_HOP, remove_hop_by_hop};
pub use http_date::{format_http_date, parse_http_date};
pub use invalidation::invalidated;
pub use key::CacheKey;
pub use language::choose_language;
pub use options::{Options, Profile};
pub use range::{ByteRange, ContentRange, GAP_MAX, RANGES_MAX, RangePlan, RangeSpec, parse_range, resolve_range};
pub use request::{Parsed, Pass, PresentedRequest, may_share};
pub use reuse::{Lookup, look_up};
pub use same_tag::{contradicts, share_a_tag, weaken_tag, without_dependent_range};
pub use school::speaks_for_all;

pub use site_rule::{Overrode, SiteRule, anonymise_request, anonymise_response};
pub use stale::{StaleCause, StalePermission, StaleUse, stale_allowed};
pub use storable::{NotStorable, Storable, storable};
pub use stored_head::{StoredHead, StoredHeadParts, age_field};
pub use targeted::{CDN_CACHE_CONTROL, parse_targeted};
pub use token_names::{TOKEN_PARAMETER_ENDS, TOKEN_PARAMETERS, has_token};
pub use validation::{Conditional, Precondition, evaluate_preconditions, not_modified_head, remove_preconditions};
pub use vary::{Selecting, Vary};
