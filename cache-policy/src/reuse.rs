//! The decision: reuse a stored response, validate one, or forward. RFC 9111 §4, §5.2.1; RFC 5861 §3; RFC 8246.

use std::time::{Duration, SystemTime};

use crate::cache_status::ForwardReason;
use crate::request::{PresentedRequest, may_share};
use crate::school;
use crate::stored_head::StoredHead;
use crate::validation::Conditional;

/// What to do with a presented request. An `index` counts in the list that was given to [`look_up`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Answer from the stored response.
    Reuse {
        /// Which one.
        index: usize,
        /// What its `Age` field says.
        age: Duration,
        /// Whether it is fresh; if not, the request's `max-stale` allowed it.
        is_fresh: bool,
    },
    /// Answer from the stale stored response at once, and validate it meanwhile, outside this exchange.
    ReuseWhileRevalidating {
        /// Which one.
        index: usize,
        /// What its `Age` field says.
        age: Duration,
        /// What to add to the validating request; `None` when it has no validator and is simply fetched anew.
        conditional: Option<Conditional>,
    },
    /// Ask the origin whether the stored response may still be used.
    Validate {
        /// Which one; it also may stand in if the origin fails ([`crate::stale_allowed`]).
        index: usize,
        /// What to add to the request.
        conditional: Conditional,
        /// Why it is not reused as it is.
        why: ForwardReason,
    },
    /// Ask the origin as if nothing were stored.
    Forward {
        /// Why.
        why: ForwardReason,
        /// A selected stored response without validator, which may stand in if the origin fails.
        stale: Option<usize>,
    },
    /// `only-if-cached`, and nothing stored can be used: answer 504 (RFC 9111 §5.2.1.7).
    GatewayTimeout,
}

/// Decides for the responses stored under the request's cache key.
///
/// Of several that the request selects, the newest one that can be reused as it is wins, else the newest one.
pub fn look_up(stored: &[&StoredHead], request: &PresentedRequest<'_>, now: SystemTime) -> Lookup {
    let lookup = decide(stored, request, now);
    let must_forward = matches!(lookup, Lookup::Validate { .. } | Lookup::Forward { .. });
    if must_forward && request.directives.only_if_cached { Lookup::GatewayTimeout } else { lookup }
}

fn decide(stored: &[&StoredHead], request: &PresentedRequest<'_>, now: SystemTime) -> Lookup {
    let forward = |why| Lookup::Forward { why, stale: None };
    if let Err(pass) = may_share(request) {
        return forward(ForwardReason::of_pass(pass));
    }
    if stored.is_empty() {
        return forward(ForwardReason::UriMiss);
    }
    let selected = || stored.iter().enumerate().filter(|(_, head)| head.is_selected_by(request));
    if selected().next().is_none() {
        return forward(ForwardReason::VaryMiss);
    }
    // A cookie's owner gets no copy that may not be his; what is forwarded for him replaces nothing of the others.
    let usable = || selected().filter(|(_, head)| school::may_reuse_with_cookie(head, request));
    let newest = |heads: &mut dyn Iterator<Item = (usize, &&StoredHead)>| {
        heads.max_by_key(|(index, head)| (head.date(), head.parts().response_time, *index)).map(|(index, _)| index)
    };
    let reusable = |head: &StoredHead| objection(head, request, now).is_none();
    if request.directives.no_store {
        return forward(ForwardReason::Request);
    }
    match newest(&mut usable().filter(|(_, head)| reusable(head))) {
        Some(index) => {
            let head = stored[index];
            Lookup::Reuse { index, age: head.current_age(now), is_fresh: head.is_fresh(now) }
        }
        None => match newest(&mut usable()) {
            Some(index) => ask(index, stored[index], request, now),
            None => forward(ForwardReason::Bypass),
        },
    }
}

/// What to do with the selected response when it cannot be reused as it is.
fn ask(index: usize, head: &StoredHead, request: &PresentedRequest<'_>, now: SystemTime) -> Lookup {
    let why = objection(head, request, now).unwrap_or(ForwardReason::Stale);
    let conditional = Conditional::of(head);
    if why == ForwardReason::Stale && allows_revalidation_later(head, request, now) {
        return Lookup::ReuseWhileRevalidating { index, age: head.current_age(now), conditional };
    }
    match conditional {
        Some(conditional) => Lookup::Validate { index, conditional, why },
        None => Lookup::Forward { why, stale: Some(index) },
    }
}

/// Why a selected response cannot be reused as it is; `None` when it can.
fn objection(head: &StoredHead, request: &PresentedRequest<'_>, now: SystemTime) -> Option<ForwardReason> {
    let asked = &request.directives;
    let (age, is_fresh) = (head.current_age(now), head.is_fresh(now));
    if head.demands_validation() {
        return Some(ForwardReason::Stale);
    }
    if asked.no_cache {
        return Some(ForwardReason::Request);
    }
    if !is_fresh && !max_stale_allows(head, request, now) {
        return Some(ForwardReason::Stale);
    }
    // A reload asks for max-age=0; an immutable response need not be asked about while it is fresh (RFC 8246 §2).
    let is_settled = head.directives().immutable && is_fresh;
    let too_old = match asked.max_age {
        Some(Duration::ZERO) => !is_settled,
        Some(max) => age > max,
        None => false,
    };
    let ends_too_soon = asked.min_fresh.is_some_and(|min| head.fresh_for(now) < min);
    (too_old || ends_too_soon).then_some(ForwardReason::Request)
}

/// RFC 9111 §5.2.1.2, unless the origin forbids stale reuse (§4.2.4).
fn max_stale_allows(head: &StoredHead, request: &PresentedRequest<'_>, now: SystemTime) -> bool {
    !head.directives().forbids_stale()
        && request.directives.max_stale.is_some_and(|max| head.stale_for(now).is_some_and(|stale| stale <= max))
}

/// RFC 5861 §3: inside `stale-while-revalidate`, unless something forbids stale reuse or the request wants it newer.
fn allows_revalidation_later(head: &StoredHead, request: &PresentedRequest<'_>, now: SystemTime) -> bool {
    let asked = &request.directives;
    let window = head.directives().stale_while_revalidate.value();
    let is_inside = window.zip(head.stale_for(now)).is_some_and(|(window, stale)| stale <= window);
    is_inside
        && !head.parts().is_marked_stale
        && !head.directives().forbids_stale()
        && asked.max_age.is_none_or(|max| head.current_age(now) <= max)
        && asked.min_fresh.is_none()
}
