//! How long a response is fresh. RFC 9111 §4.2.1, §4.2.2.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{EXPIRES, HeaderMap, LAST_MODIFIED};

use crate::cache_control::{ResponseDirectives, Scope, Seconds};
use crate::delta_seconds::elapsed;
use crate::http_date::date_field;
use crate::options::Options;
use crate::site_rule::{Overrode, SiteRule};

/// Where a freshness lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifetimeSource {
    /// `s-maxage`
    SMaxage,
    /// `max-age`
    MaxAge,
    /// `Expires` minus `Date`
    Expires,
    /// A share of the time since `Last-Modified`
    Heuristic,
    /// Freshness information that contradicts itself or cannot be read: the response is stale
    Invalid,
    /// Nothing: the response is stale
    Nothing,
}

impl LifetimeSource {
    /// Whether the origin said it, validly or not (RFC 9111 §4.2.1), rather than we.
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::SMaxage | Self::MaxAge | Self::Expires)
    }
}

/// How long a response is fresh, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Counted from the response's generation at the origin. Zero when it is stale from the start.
    pub duration: Duration,
    /// Where it comes from before a rule changed it.
    pub source: LifetimeSource,
}

/// What a lifetime is made from.
pub(crate) struct Basis<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a ResponseDirectives,
    /// Whether a targeted field replaced `Cache-Control`, and so `Expires` too (RFC 9213 §2.2).
    pub(crate) is_targeted: bool,
    /// The value of `Date`, or when the response came.
    pub(crate) date: SystemTime,
}

/// The lifetime as the origin and the heuristic give it, without any rule.
///
/// `s-maxage` wins over `max-age`, which wins over `Expires` minus `Date`; with none, the heuristic applies. A value
/// that contradicts itself or cannot be read makes the response stale.
pub(crate) fn lifetime(basis: &Basis<'_>, options: &Options) -> Lifetime {
    let of = |source, duration| Lifetime { duration, source };
    for (seconds, source) in
        [(basis.directives.s_maxage, LifetimeSource::SMaxage), (basis.directives.max_age, LifetimeSource::MaxAge)]
    {
        match seconds {
            Seconds::Is(duration) => return of(source, duration),
            Seconds::Invalid => return of(LifetimeSource::Invalid, Duration::ZERO),
            Seconds::Absent => {}
        }
    }
    if !basis.is_targeted && basis.headers.contains_key(EXPIRES) {
        return match date_field(basis.headers, EXPIRES, basis.date) {
            Some(expires) => of(LifetimeSource::Expires, elapsed(basis.date, expires)),
            None => of(LifetimeSource::Invalid, Duration::ZERO),
        };
    }
    heuristic(basis, options)
        .map_or(of(LifetimeSource::Nothing, Duration::ZERO), |duration| of(LifetimeSource::Heuristic, duration))
}

/// A share of the time since `Last-Modified`, capped; only for a status that allows it or a response that is `public`.
fn heuristic(basis: &Basis<'_>, options: &Options) -> Option<Duration> {
    if !is_heuristically_cacheable(basis.status) && !basis.directives.public {
        return None;
    }
    if options.is_school() && !basis.status.is_success() {
        return None; // deviation `error-without-freshness`
    }
    let modified = date_field(basis.headers, LAST_MODIFIED, basis.date)?;
    let unchanged = elapsed(modified, basis.date);
    Some((unchanged / 100).saturating_mul(options.heuristic_percent).min(options.heuristic_max))
}

/// The lifetime under the operator's rule.
pub(crate) fn under_rule(lifetime: Lifetime, basis: &Basis<'_>, rule: &SiteRule, overrode: &mut Overrode) -> Lifetime {
    let floor = rule.fresh_min.filter(|_| floor_applies(basis.status));
    let duration = lifetime.duration.max(floor.unwrap_or_default()).min(rule.fresh_max.unwrap_or(Duration::MAX));
    overrode.lifetime_raised = duration > lifetime.duration;
    overrode.lifetime_lowered = duration < lifetime.duration;
    overrode.no_cache = floor.is_some() && basis.directives.no_cache == Scope::Whole;
    Lifetime { duration, ..lifetime }
}

/// Whether a rule's floor applies to a status: successes and permanent redirects, so that no error lives longer than
/// its origin said.
pub(crate) fn floor_applies(status: StatusCode) -> bool {
    (status.is_success() && status != StatusCode::PARTIAL_CONTENT)
        || status == StatusCode::MOVED_PERMANENTLY
        || status == StatusCode::PERMANENT_REDIRECT
}

/// Status codes that RFC 9110 §15.1 calls heuristically cacheable.
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}
