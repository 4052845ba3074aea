//! When the origin fails: may a stale response stand in? RFC 9111 §4.2.4; RFC 5861 §4.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::request::PresentedRequest;
use crate::school;
use crate::stored_head::StoredHead;

/// How the origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleCause {
    /// It answered with a server error (500, 502, 503 or 504; RFC 5861 §4).
    OriginError(StatusCode),
    /// No connection, or it was cut before the answer.
    Unreachable,
    /// No answer in time.
    Timeout,
}

/// A stale response may stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleUse {
    /// What its `Age` field says.
    pub age: Duration,
    /// How long it has been stale; zero when it is fresh and the request alone wanted it validated.
    pub stale_for: Duration,
    /// What permits it.
    pub by: StalePermission,
}

/// What permits a stale response to stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StalePermission {
    /// It is still fresh; the request had asked for a validation.
    Fresh,
    /// The operator's rule.
    Rule,
    /// `stale-if-error` of the response or the request.
    StaleIfError,
    /// The origin said nothing against it and cannot be asked.
    Disconnected,
}

/// Whether a stored response may answer because the origin failed.
///
/// Never against `must-revalidate`, `proxy-revalidate`, `no-cache` or `s-maxage`, and never an old error in place of
/// today's. A rule's `stale_max` decides for how
/// long; without one `stale-if-error`, or else [`crate::Options::stale_max`]: an answer with a server error may be
/// taken as no answer at all (RFC 9111 §4.3.3).
pub fn stale_allowed(
    stored: &StoredHead,
    request: &PresentedRequest<'_>,
    cause: StaleCause,
    now: SystemTime,
) -> Option<StaleUse> {
    let is_error = match cause {
        StaleCause::OriginError(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
        StaleCause::Unreachable | StaleCause::Timeout => true,
    };
    let may = is_error && crate::may_share(request).is_ok() && stored.serves(request);
    let is_silent = !matches!(cause, StaleCause::OriginError(_));
    let is_his = school::may_reuse_with_cookie(stored, request);
    if !may || stored.demands_validation() || !(is_his || is_silent && school::is_guests_copy(stored)) {
        return None;
    }
    // After the clock was set back nobody knows for how long: it is stale, and it may be just so.
    let stale_for = stored.stale_for(now).unwrap_or_default();
    let by = if stored.is_fresh(now) {
        Some(if is_his { StalePermission::Fresh } else { StalePermission::Disconnected })
    } else if stored.directives().forbids_stale() || stored.status().is_server_error() {
        None
    } else {
        permission(stored, request, stale_for)
    };
    by.map(|by| StaleUse { age: stored.current_age(now), stale_for, by })
}

fn permission(stored: &StoredHead, request: &PresentedRequest<'_>, stale_for: Duration) -> Option<StalePermission> {
    if let Some(max) = request.rule.stale_max {
        return (stale_for <= max).then_some(StalePermission::Rule);
    }
    let by_response = stored.directives().stale_if_error.value();
    let by_request = request.directives.stale_if_error;
    if by_response.max(by_request).is_some_and(|max| stale_for <= max) {
        return Some(StalePermission::StaleIfError);
    }
    (stale_for <= request.options.stale_max).then_some(StalePermission::Disconnected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SiteRule;
    use crate::testing::{Asked, at, get, s, stored, t0};

    const CAUSES: [StaleCause; 3] =
        [StaleCause::Unreachable, StaleCause::Timeout, StaleCause::OriginError(StatusCode::SERVICE_UNAVAILABLE)];

    fn by(cache_control: &str, asked: &Asked, cause: StaleCause, now_s: u64) -> Option<StalePermission> {
        let head = asked.stored(200, &[("cache-control", cache_control)]);
        stale_allowed(&head, &asked.presented(), cause, at(now_s)).map(|stale| stale.by)
    }

    #[test]
    fn an_old_error_does_not_stand_in_for_a_new_one() {
        let may = |status, now_s| {
            let head = get(&[]).stored(status, &[("cache-control", "max-age=60")]);
            stale_allowed(&head, &get(&[]).presented(), CAUSES[2], at(now_s)).is_some()
        };
        for (status, now_s, expected) in
            [(200, 61, true), (404, 61, true), (503, 61, false), (500, 61, false), (503, 59, true)]
        {
            assert_eq!(may(status, now_s), expected, "{status} {now_s}");
        }
    }

    #[test]
    fn a_stale_response_stands_in_for_a_failing_origin() {
        // RFC 9111 §4.2.4, §4.3.3; RFC 5861 §4
        for cause in CAUSES {
            assert_eq!(by("max-age=2", &get(&[]), cause, 60), Some(StalePermission::Disconnected), "{cause:?}");
            assert_eq!(by("max-age=2, stale-if-error=60", &get(&[]), cause, 62), Some(StalePermission::StaleIfError));
            assert_eq!(
                by("max-age=60", &get(&[("cache-control", "no-cache")]), cause, 9),
                Some(StalePermission::Fresh)
            );
        }
        for status in [500, 502, 503, 504] {
            let cause = StaleCause::OriginError(StatusCode::from_u16(status).unwrap());
            assert!(by("max-age=2", &get(&[]), cause, 60).is_some(), "{status}");
        }
        for status in [400, 404, 410, 501, 505] {
            let cause = StaleCause::OriginError(StatusCode::from_u16(status).unwrap());
            assert_eq!(by("max-age=2, stale-if-error=600", &get(&[]), cause, 60), None, "{status}");
        }
    }

    #[test]
    fn the_origin_may_forbid_it() {
        // RFC 9111 §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10
        let rule = SiteRule { stale_max: Some(s(9000)), ..SiteRule::default() };
        for line in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=2"] {
            let line = format!("max-age=2, {line}, stale-if-error=600");
            for cause in CAUSES {
                assert_eq!(by(&line, &get(&[]), cause, 60), None, "{line}");
                assert_eq!(by(&line, &get(&[]).rule(rule.clone()), cause, 60), None, "{line}");
            }
        }
        assert_eq!(by("no-cache, max-age=600", &get(&[]), StaleCause::Timeout, 1), None, "though it is fresh");
        let fresh = by("must-revalidate, max-age=60", &get(&[]), StaleCause::Timeout, 1);
        assert_eq!(fresh, Some(StalePermission::Fresh));
    }

    #[test]
    fn it_has_an_end() {
        let cause = StaleCause::Unreachable;
        let mut asked = get(&[]);
        asked.options.stale_max = s(100);
        assert_eq!(by("max-age=2", &asked, cause, 102), Some(StalePermission::Disconnected));
        assert_eq!(by("max-age=2", &asked, cause, 103), None);
        let ruled = |stale_max| get(&[]).rule(SiteRule { stale_max: Some(s(stale_max)), ..SiteRule::default() });
        assert_eq!(by("max-age=2", &ruled(10), cause, 12), Some(StalePermission::Rule));
        assert_eq!(by("max-age=2, stale-if-error=99", &ruled(10), cause, 13), None, "the rule decides");
        let asks = get(&[("cache-control", "stale-if-error=500")]);
        assert_eq!(by("max-age=2, stale-if-error=5", &asks, cause, 60), Some(StalePermission::StaleIfError));
    }

    #[test]
    fn it_is_told_how_old_and_how_stale_it_is() {
        let head = stored(&[("cache-control", "max-age=2")]);
        let asked = get(&[]);
        let told = stale_allowed(&head, &asked.presented(), StaleCause::Timeout, at(60)).unwrap();
        assert_eq!((told.age, told.stale_for), (s(60), s(58)));
        let set_back = stale_allowed(&head, &asked.presented(), StaleCause::Timeout, t0() - s(9000)).unwrap();
        assert_eq!((set_back.age, set_back.by), (s(0), StalePermission::Disconnected));
    }

    #[test]
    fn nobody_gets_what_he_would_not_get_fresh() {
        let allowed = |head: &StoredHead, asked: &Asked| {
            stale_allowed(head, &asked.presented(), StaleCause::Unreachable, at(60)).is_some()
        };
        let page = stored(&[("cache-control", "max-age=2"), ("content-type", "text/html")]);
        assert!(allowed(&page, &get(&[])));
        let with_cookie = get(&[("cookie", "lang=kk")]);
        assert!(allowed(&page, &with_cookie), "the guest's copy, while the origin is silent");
        let error = StaleCause::OriginError(StatusCode::BAD_GATEWAY);
        assert_eq!(stale_allowed(&page, &with_cookie.presented(), error, at(60)), None);
        let fresh = stale_allowed(&page, &with_cookie.presented(), StaleCause::Timeout, at(1)).unwrap();
        assert_eq!(fresh.by, StalePermission::Disconnected);
        let owners = with_cookie.stored(200, &[("cache-control", "max-age=2")]);
        assert!(!allowed(&owners, &get(&[])) && !allowed(&owners, &get(&[("cookie", "lang=kk")])));
        assert!(!allowed(&page, &get(&[("cookie", "sid=1")])));
        assert!(!allowed(&page, &get(&[]).method("POST")));
        let varying = get(&[("foo", "1")]).stored(200, &[("vary", "Foo")]);
        assert!(!allowed(&varying, &get(&[("foo", "2")])));
    }
}
