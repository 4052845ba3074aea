//! How long a response is fresh. RFC 9111 §4.2.1, §4.2.2.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{EXPIRES, HeaderMap, LAST_MODIFIED};

use crate::cache_control::{ResponseDirectives, Scope, Seconds};
use crate::delta_seconds::{DELTA_SECONDS_MAX, elapsed};
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
    /// Whether `date` is only our own clock's word, and that clock was never set ([`is_undated`]).
    pub(crate) is_undated: bool,
}

/// 1 January 2020: a clock that says less was never set, since this program did not exist then.
const CLOCKS_SET_AFTER: Duration = Duration::from_secs(1_577_836_800);

/// Whether a response that came at `response_time` has no date but that of a clock that was never set. An `Expires` of today
/// would then mean half a century. (Once stored, it has a `Date` of ours.)
pub(crate) fn is_undated(date: SystemTime, response_time: SystemTime) -> bool {
    let is_unset = response_time < SystemTime::UNIX_EPOCH + CLOCKS_SET_AFTER;
    is_unset && date <= response_time && elapsed(date, response_time) < Duration::from_secs(1)
}

/// The lifetime as the origin and the heuristic give it, without any rule.
///
/// `s-maxage` wins over `max-age`, which wins over `Expires` minus `Date`; with none, the heuristic applies. A value
/// that contradicts itself or cannot be read makes the response stale.
pub(crate) fn lifetime(basis: &Basis<'_>, options: &Options) -> Lifetime {
    let lifetime = said(basis, options);
    if !basis.is_targeted || lifetime.duration <= options.targeted_max {
        return lifetime;
    }
    let directives = ResponseDirectives::parse(basis.headers);
    let for_all = said(&Basis { directives: &directives, is_targeted: false, ..*basis }, options);
    Lifetime { duration: lifetime.duration.min(for_all.duration.max(options.targeted_max)), ..lifetime }
}

/// The lifetime that one set of fields gives.
fn said(basis: &Basis<'_>, options: &Options) -> Lifetime {
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
            _ if basis.is_undated => of(LifetimeSource::Invalid, Duration::ZERO),
            Some(expires) => {
                // As long as any number of seconds may say (RFC 9111 §1.2.2): no age would ever reach the year 9999.
                let longest = Duration::from_secs(DELTA_SECONDS_MAX);
                of(LifetimeSource::Expires, elapsed(basis.date, expires).min(longest))
            }
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

/// Whether a rule's floor applies to a status: successes and redirects (a start page often is one), so that no error
/// lives longer than its origin said.
pub(crate) fn floor_applies(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Status codes that RFC 9110 §15.1 calls heuristically cacheable.
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, get, s, stored};

    fn lifetime(lines: &[(&str, &str)]) -> (u64, LifetimeSource) {
        let lifetime = stored(lines).lifetime();
        (lifetime.duration.as_secs(), lifetime.source)
    }

    #[test]
    fn the_origin_says_how_long() {
        // RFC 9111 §4.2.1
        use LifetimeSource::{Expires, Invalid, MaxAge, Nothing, SMaxage};
        let cc = "cache-control";
        for (lines, expected) in [
            (&[][..], (0, Nothing)),
            (&[(cc, "max-age=3600")], (3600, MaxAge)),
            (&[(cc, "max-age=0"), ("expires", "@3600")], (0, MaxAge)),
            (&[(cc, "max-age=3600"), ("expires", "@-7200")], (3600, MaxAge)),
            (&[(cc, "max-age=3600"), ("expires", "0")], (3600, MaxAge)),
            (&[(cc, "max-age=1, s-maxage=3600")], (3600, SMaxage)),
            (&[(cc, "s-maxage=1"), (cc, "max-age=3600")], (1, SMaxage)),
            (&[(cc, "max-age=0, s-maxage=3600"), ("expires", "@-10")], (3600, SMaxage)),
            (&[(cc, "s-maxage=x, max-age=3600")], (0, Invalid)),
            (&[(cc, "max-age='3600'"), ("expires", "@3600")], (0, Invalid)),
            (&[(cc, "max-age=1800, max-age=1")], (0, Invalid)),
            (&[("expires", "@2592000")], (2_592_000, Expires)),
            (&[("expires", "@0")], (0, Expires)),
            (&[("expires", "@-10")], (0, Expires)),
            (&[("expires", "0")], (0, Invalid)),
            (&[("expires", "@60"), ("expires", "@60")], (0, Invalid)),
            // Expires minus Date, whatever our clock says.
            (&[("expires", "@300"), ("date", "@400")], (0, Expires)),
            (&[("expires", "@10"), ("date", "@-10")], (20, Expires)),
            (&[("expires", "@20"), ("date", "@10")], (10, Expires)),
            (&[("expires", "@86460"), ("date", "@86400")], (60, Expires)),
            (&[("expires", "@10"), ("date", "foo")], (10, Expires)),
            (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], (DELTA_SECONDS_MAX, Expires)),
        ] {
            assert_eq!(lifetime(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn without_a_word_a_share_of_the_time_unchanged_counts() {
        // RFC 9111 §4.2.2
        use LifetimeSource::{Expires, Heuristic, Nothing};
        let year_1985 = "Tue, 01 Jan 1985 00:00:00 GMT";
        for (lines, expected) in [
            (&[("last-modified", "@-1000")][..], (100, Heuristic)),
            (&[("last-modified", "@-5")], (0, Heuristic)),
            (&[("last-modified", "@10")], (0, Heuristic)),
            (&[("last-modified", year_1985)], (86_400, Heuristic)),
            (&[("last-modified", "yesterday")], (0, Nothing)),
            (&[("last-modified", "@-1000"), ("expires", "@5")], (5, Expires)),
            (&[("etag", "\"a\"")], (0, Nothing)),
        ] {
            assert_eq!(lifetime(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_heuristic_depends_on_the_status() {
        // RFC 9111 §4.2.2; RFC 9110 §15.1
        let lifetime = |asked: Asked, status, lines: &[(&str, &str)]| asked.stored(status, lines).lifetime().duration;
        let unchanged = [("last-modified", "@-1000")];
        let public = [("last-modified", "@-1000"), ("cache-control", "public")];
        for status in [200, 203, 204, 404, 405, 410, 414, 501] {
            assert_eq!(lifetime(get(&[]).rfc(), status, &unchanged), s(100), "{status}");
        }
        for status in [201, 202, 403, 502, 503, 504, 599] {
            assert_eq!(lifetime(get(&[]).rfc(), status, &unchanged), s(0), "{status}");
            assert_eq!(lifetime(get(&[]).rfc(), status, &public), s(100), "{status}");
        }
        assert_eq!(lifetime(get(&[]), 404, &unchanged), s(0), "deviation `error-without-freshness`");
        assert_eq!(lifetime(get(&[]), 203, &unchanged), s(100));
    }

    #[test]
    fn a_targeted_field_stands_alone() {
        // RFC 9213 §2.2
        use LifetimeSource::{Heuristic, MaxAge, Nothing};
        let cdn = |value| ("cdn-cache-control", value);
        for (lines, expected) in [
            (&[("cache-control", "max-age=1"), cdn("max-age=3600")][..], (3600, MaxAge)),
            (&[("cache-control", "max-age=3600"), cdn("max-age=1")], (1, MaxAge)),
            (&[("expires", "@3600"), cdn("max-age=0")], (0, MaxAge)),
            (&[("expires", "@3600"), cdn("foo")], (0, Nothing)),
            (&[("last-modified", "@-1000"), cdn("foo")], (100, Heuristic)),
            (&[("cache-control", "max-age=1"), cdn("max-age =100")], (1, MaxAge)),
        ] {
            assert_eq!(lifetime(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_targeted_field_gives_no_year_that_nobody_could_take_back() {
        // RFC 9213 §2.2
        let cdn = ("cdn-cache-control", "max-age=31536000");
        for (other, expected) in [
            (("cache-control", "max-age=0"), 86_400),
            (("cache-control", "no-store"), 86_400),
            (("cache-control", "max-age=604800"), 604_800),
            (("expires", "@604800"), 604_800),
            (("cache-control", "max-age=99999999"), 31_536_000),
        ] {
            assert_eq!(lifetime(&[other, cdn]).0, expected, "{other:?}");
        }
        assert_eq!(lifetime(&[("cache-control", "max-age=0"), ("cdn-cache-control", "max-age=86400")]).0, 86_400);
    }

    #[test]
    fn a_rule_sets_a_floor_and_a_ceiling() {
        let under = |min: Option<u64>, max: Option<u64>, status, lines: &[(&str, &str)]| {
            let rule = SiteRule { fresh_min: min.map(s), fresh_max: max.map(s), ..SiteRule::default() };
            let head = get(&[]).rule(rule).stored(status, lines);
            (head.freshness_lifetime().as_secs(), head.overrode().to_string())
        };
        let hour = [("cache-control", "max-age=3600")];
        assert_eq!(under(None, None, 200, &hour), (3600, String::new()));
        assert_eq!(under(Some(7200), None, 200, &hour), (7200, "fresh-min".into()));
        assert_eq!(under(Some(60), None, 200, &hour), (3600, String::new()));
        assert_eq!(under(None, Some(60), 200, &hour), (60, "fresh-max".into()));
        assert_eq!(under(Some(7200), Some(60), 200, &hour), (60, "fresh-max".into()), "the ceiling wins");
        assert_eq!(under(Some(7200), Some(5000), 200, &hour), (5000, "fresh-min".into()));
        assert_eq!(under(Some(60), None, 200, &[]), (60, "fresh-min".into()));
        assert_eq!(under(Some(60), None, 200, &[("cache-control", "no-cache")]), (60, "fresh-min+no-cache".into()));
        for status in [203, 301, 302, 308] {
            assert_eq!(under(Some(7200), None, status, &hour).0, 7200, "{status}");
        }
        for status in [404, 410, 500] {
            assert_eq!(under(Some(7200), None, status, &hour), (3600, String::new()), "{status}");
        }
    }
}
