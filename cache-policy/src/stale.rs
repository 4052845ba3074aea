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
/// Never against `must-revalidate`, `proxy-revalidate`, `no-cache` or `s-maxage`. A rule's `stale_max` decides for how
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
    let may = is_error
        && crate::may_share(request).is_ok()
        && stored.is_selected_by(request)
        && school::may_reuse_with_cookie(stored, request);
    if !may || stored.demands_validation() {
        return None;
    }
    // After the clock was set back nobody knows for how long: it is stale, and it may be just so.
    let stale_for = stored.stale_for(now).unwrap_or_default();
    let by = if stored.is_fresh(now) {
        Some(StalePermission::Fresh)
    } else if stored.directives().forbids_stale() {
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
