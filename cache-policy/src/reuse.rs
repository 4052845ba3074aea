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
        /// A selected stored response that may stand in if the origin fails ([`crate::stale_allowed`]).
        stale: Option<usize>,
    },
    /// `only-if-cached`, and nothing stored can be used: answer 504 (RFC 9111 §5.2.1.7).
    GatewayTimeout,
}

/// Decides for the responses stored under the request's cache key.
///
/// Of several that the request selects, the newest one that can be reused as it is wins, else the newest one; those whose
/// body must be decoded for the client ([`StoredHead::must_be_decoded_for`]) come last in either case.
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
    // One variant is the rule, and that it can go out as it is.
    if let [head] = stored
        && head.is_selected_by(request)
        && school::may_reuse_with_cookie(head, request)
        && !request.directives.no_store
        && objection(head, request, now).is_none()
    {
        return Lookup::Reuse { index: 0, age: head.current_age(now), is_fresh: head.is_fresh(now) };
    }
    let selected = || stored.iter().enumerate().filter(|(_, head)| head.serves(request));
    if selected().next().is_none() {
        return forward(ForwardReason::VaryMiss);
    }
    // A cookie's owner gets no copy that may not be his; what is forwarded for him replaces nothing of the others.
    let usable = || selected().filter(|(_, head)| school::may_reuse_with_cookie(head, request));
    let newest = |heads: &mut dyn Iterator<Item = (usize, &&StoredHead)>| {
        // What can go out as it is before what must be decoded.
        let rank = |(index, head): &(usize, &&StoredHead)| {
            (head.is_selected_by(request), head.date(), head.parts().response_time, *index)
        };
        heads.max_by_key(rank).map(|(index, _)| index)
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
            None => Lookup::Forward {
                why: ForwardReason::Bypass,
                stale: newest(&mut selected().filter(|(_, head)| school::is_guests_copy(head))),
            },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SiteRule;
    use crate::testing::{Asked, anonymous, at, get, s, stored, t0};

    /// A lookup among one stored response in a word.
    fn says(head: &StoredHead, asked: &Asked, now_s: u64) -> String {
        word(look_up(&[head], &asked.presented(), at(now_s)))
    }

    fn word(lookup: Lookup) -> String {
        match lookup {
            Lookup::Reuse { age, is_fresh, .. } => {
                format!("reuse {}{}", age.as_secs(), if is_fresh { "" } else { " stale" })
            }
            Lookup::ReuseWhileRevalidating { age, conditional, .. } => {
                format!("reuse {} and {}", age.as_secs(), conditional.map_or("fetch", |_| "validate"))
            }
            Lookup::Validate { why, .. } => format!("validate {}", why.token()),
            Lookup::Forward { why, stale } => {
                format!("forward {}{}", why.token(), if stale.is_some() { ", or stale" } else { "" })
            }
            Lookup::GatewayTimeout => "504".to_owned(),
        }
    }

    const TAG: (&str, &str) = ("etag", "\"a\"");

    #[test]
    fn a_fresh_response_is_reused_and_a_stale_one_is_not() {
        // RFC 9111 §4, §4.2
        let fresh = stored(&[("cache-control", "max-age=60")]);
        assert_eq!(says(&fresh, &get(&[]), 59), "reuse 59");
        assert_eq!(says(&fresh, &get(&[]), 60), "forward stale, or stale");
        assert_eq!(says(&fresh, &get(&[]).method("HEAD"), 59), "reuse 59");
        let tagged = stored(&[("cache-control", "max-age=60"), TAG]);
        assert_eq!(says(&tagged, &get(&[]), 60), "validate stale");
        assert_eq!(says(&stored(&[]), &get(&[]), 0), "forward stale, or stale", "no made-up freshness");
        assert_eq!(says(&stored(&[TAG]), &get(&[]), 0), "validate stale");
    }

    #[test]
    fn no_cache_always_validates() {
        // RFC 9111 §5.2.2.4
        for line in ["no-cache", "max-age=10000, No-CaChE"] {
            assert_eq!(says(&stored(&[("cache-control", line), TAG]), &get(&[]), 0), "validate stale");
            assert_eq!(says(&stored(&[("cache-control", line)]), &get(&[]), 0), "forward stale, or stale");
        }
        let named = stored(&[("cache-control", "no-cache=\"a\", max-age=60")]);
        assert_eq!(says(&named, &get(&[]), 0), "reuse 0");
        let floor = SiteRule { fresh_min: Some(s(60)), ..SiteRule::default() };
        let asked = get(&[]).rule(floor);
        let head = asked.stored(200, &[("cache-control", "no-cache"), TAG]);
        assert_eq!(says(&head, &asked, 59), "reuse 59", "a rule's floor overrides it");
        assert_eq!(says(&head, &asked, 60), "validate stale");
    }

    #[test]
    fn the_request_narrows_reuse() {
        // RFC 9111 §5.2.1, §5.4
        let head = stored(&[("cache-control", "max-age=3600"), TAG]);
        for (line, now_s, expected) in [
            ("max-age=0", 0, "validate request"),
            ("max-age=10", 10, "reuse 10"),
            ("max-age=10", 11, "validate request"),
            ("max-age=x", 0, "validate request"),
            ("min-fresh=60", 3540, "reuse 3540"),
            ("min-fresh=60", 3541, "validate request"),
            ("no-cache", 0, "validate request"),
            ("no-store", 0, "forward request"),
            ("max-stale", 3600, "reuse 3600 stale"),
            ("max-stale=10", 3610, "reuse 3610 stale"),
            ("max-stale=10", 3611, "validate stale"),
            ("max-stale=10, max-age=5", 3605, "validate request"),
            ("max-stale=10, min-fresh=1", 3605, "validate request"),
            ("only-if-cached", 0, "reuse 0"),
            ("only-if-cached", 3600, "504"),
            ("only-if-cached, max-stale", 3600, "reuse 3600 stale"),
            ("only-if-cached, no-cache", 0, "504"),
        ] {
            assert_eq!(says(&head, &get(&[("cache-control", line)]), now_s), expected, "{line}");
        }
        assert_eq!(says(&head, &get(&[("pragma", "no-cache")]), 0), "validate request");
        let nothing = look_up(&[], &get(&[("cache-control", "only-if-cached")]).presented(), t0());
        assert_eq!(nothing, Lookup::GatewayTimeout);
    }

    #[test]
    fn max_stale_cannot_override_the_origin() {
        // RFC 9111 §4.2.4
        for line in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
            let head = stored(&[("cache-control", &format!("max-age=60, {line}"))]);
            assert_eq!(says(&head, &get(&[("cache-control", "max-stale")]), 61), "forward stale, or stale", "{line}");
        }
    }

    #[test]
    fn an_immutable_response_is_not_asked_about_on_reload() {
        // RFC 8246 §2
        let head = stored(&[("cache-control", "max-age=3600, immutable"), TAG]);
        assert_eq!(says(&head, &get(&[("cache-control", "max-age=0")]), 5), "reuse 5");
        assert_eq!(says(&head, &get(&[("cache-control", "no-cache")]), 5), "validate request", "a forced reload");
        assert_eq!(says(&head, &get(&[("cache-control", "max-age=0")]), 3600), "validate stale");
    }

    #[test]
    fn stale_while_revalidate_has_a_window() {
        // RFC 5861 §3
        let head = stored(&[("cache-control", "max-age=1, stale-while-revalidate=4"), TAG]);
        assert_eq!(says(&head, &get(&[]), 0), "reuse 0");
        assert_eq!(says(&head, &get(&[]), 1), "reuse 1 and validate");
        assert_eq!(says(&head, &get(&[]), 5), "reuse 5 and validate");
        assert_eq!(says(&head, &get(&[]), 6), "validate stale");
        let untagged = stored(&[("cache-control", "max-age=1, stale-while-revalidate=4")]);
        assert_eq!(says(&untagged, &get(&[]), 5), "reuse 5 and fetch");
        for line in ["max-age=2", "min-fresh=1", "no-cache", "max-age=0"] {
            let said = says(&head, &get(&[("cache-control", line)]), 3);
            assert!(said.starts_with("validate"), "{line}: {said}");
        }
        for line in ["must-revalidate", "no-cache", "s-maxage=1"] {
            let line = format!("max-age=1, stale-while-revalidate=4, {line}");
            assert_eq!(says(&stored(&[("cache-control", &line), TAG]), &get(&[]), 3), "validate stale", "{line}");
        }
        let mut purged = stored(&[("cache-control", "max-age=60, stale-while-revalidate=60"), TAG]);
        purged.mark_stale();
        assert_eq!(says(&purged, &get(&[]), 3), "validate stale");
        let set_back = look_up(&[&head], &get(&[]).presented(), t0() - s(3600));
        assert_eq!(word(set_back), "validate stale", "nobody knows whether it is inside the window");
    }

    #[test]
    fn the_newest_selected_response_that_can_be_reused_wins() {
        // RFC 9111 §4, §4.1
        let foo = |value| get(&[("foo", value)]);
        let variant =
            |value, date, cc| foo(value).stored(200, &[("vary", "Foo"), ("date", date), ("cache-control", cc)]);
        let old = variant("1", "@-20", "max-age=3600");
        let new = variant("1", "@-10", "max-age=3600");
        let new_but_stale = variant("1", "@-5", "max-age=1");
        let other = variant("2", "@0", "max-age=3600");
        let index = |heads: &[&StoredHead], asked: Asked| match look_up(heads, &asked.presented(), at(1)) {
            Lookup::Reuse { index, .. } => Ok(index),
            other => Err(word(other)),
        };
        assert_eq!(index(&[&old, &new, &other], foo("1")), Ok(1));
        assert_eq!(index(&[&new, &old, &other], foo("1")), Ok(0));
        assert_eq!(index(&[&old, &new_but_stale, &other], foo("1")), Ok(0), "a fresh one before a newer stale one");
        assert_eq!(index(&[&old, &new, &other], foo("2")), Ok(2));
        assert_eq!(index(&[&old, &new, &other], foo("3")), Err("forward vary-miss".into()));
        assert_eq!(index(&[&new_but_stale, &other], foo("1")), Err("forward stale, or stale".into()));
        assert_eq!(index(&[], foo("1")), Err("forward uri-miss".into()));
    }

    #[test]
    fn who_accepts_no_coding_gets_it_decoded() {
        // RFC 9110 §12.5.3, §7.7
        let accept = |value: &str| if value.is_empty() { get(&[]) } else { get(&[("accept-encoding", value)]) };
        let coded = |asked: Asked, coding: &str, vary: &str, cc: &str| {
            asked.stored(200, &[("content-encoding", coding), ("vary", vary), ("cache-control", cc), TAG])
        };
        let ae = "Accept-Encoding";
        for (coding, vary, cc, asked, expected) in [
            ("gzip", ae, "max-age=60", "", "reuse 5"),
            ("br", ae, "max-age=60", "gzip", "reuse 5"),
            ("gzip", ae, "max-age=60", "identity", "reuse 5"),
            ("gzip", "", "max-age=60", "", "reuse 5"),
            ("gzip", ae, "max-age=60, no-transform", "", "forward vary-miss"),
            ("gzip", ae, "max-age=60", "br, identity;q=0", "forward vary-miss"),
            ("gzip", ae, "max-age=60", "*;q=0", "forward vary-miss"),
            ("zstd", ae, "max-age=60", "", "forward vary-miss"),
            ("gzip, br", ae, "max-age=60", "", "forward vary-miss"),
            ("gzip", "Accept-Encoding, Foo", "max-age=60", "", "reuse 5"),
            ("gzip", ae, "max-age=1", "", "validate stale"),
        ] {
            let head = coded(accept("gzip, br"), coding, vary, cc);
            assert_eq!(says(&head, &accept(asked), 5), expected, "{coding} {vary} {cc} {asked}");
        }
        let foo = coded(get(&[("foo", "1"), ("accept-encoding", "gzip")]), "gzip", "Foo", "max-age=60");
        assert_eq!(says(&foo, &get(&[("foo", "2")]), 5), "forward vary-miss", "only of the right variant");
        // The RFC's letter: other values of a field that Vary names select another response.
        let head = coded(accept("gzip").rfc(), "gzip", ae, "max-age=60");
        assert_eq!(says(&head, &accept("").rfc(), 5), "forward vary-miss");
        let head = coded(accept("gzip").rfc(), "gzip", "", "max-age=60");
        assert_eq!(says(&head, &accept("").rfc(), 5), "reuse 5");
        // One that can go out as it is wins, also when it is older.
        let plain = accept("").stored(200, &[("date", "@-30"), ("vary", ae), ("cache-control", "max-age=60")]);
        let zipped = coded(accept("gzip"), "gzip", ae, "max-age=60");
        let index = |asked: Asked| match look_up(&[&plain, &zipped], &asked.presented(), t0()) {
            Lookup::Reuse { index, .. } => index,
            other => panic!("{}", word(other)),
        };
        assert_eq!((index(accept("")), index(accept("gzip"))), (0, 1));
    }

    #[test]
    fn what_passes_by_the_cache_is_forwarded() {
        let head = stored(&[("cache-control", "public, max-age=60")]);
        assert_eq!(says(&head, &get(&[("cookie", "sid=1")]), 0), "forward bypass");
        assert_eq!(says(&head, &get(&[]).method("POST"), 0), "forward method");
        assert_eq!(says(&head, &get(&[("authorization", "x")]), 0), "forward bypass");
        assert_eq!(says(&head, &get(&[("authorization", "x")]).rfc(), 0), "reuse 0");
        let passing = get(&[("cookie", "sid=1"), ("cache-control", "only-if-cached")]);
        assert_eq!(says(&head, &passing, 0), "504");
    }

    #[test]
    fn a_cookie_of_any_name_gets_no_copy_that_may_not_be_its_owners() {
        // Deviation `cookie-reused`
        let cookie = || get(&[("cookie", "post-4711=open")]);
        let html = ("content-type", "text/html; charset=utf-8");
        let fresh = ("cache-control", "max-age=60");
        for (lines, expected) in [
            (&[fresh, html][..], "forward bypass, or stale"),
            (&[fresh, ("content-type", "application/ld+json")], "forward bypass, or stale"),
            (&[fresh], "forward bypass, or stale"),
            (&[("last-modified", "@-9000"), ("content-type", "image/png")], "forward bypass, or stale"),
            (&[fresh, ("content-type", "image/png")], "reuse 0"),
            (&[fresh, ("content-type", "Image/SVG+xml")], "reuse 0"),
            (&[fresh, ("content-type", "text/css")], "reuse 0"),
            (&[("cache-control", "public, max-age=60"), html], "reuse 0"),
            (&[("cache-control", "s-maxage=60"), html], "reuse 0"),
        ] {
            let head = stored(lines);
            assert_eq!(says(&head, &cookie(), 0), expected, "{lines:?}");
            assert!(says(&head, &get(&[("cookie", "_ga=1")]), 0).starts_with("reuse"), "counters decide nothing");
            assert!(says(&head, &cookie().rfc(), 0).starts_with("reuse"));
            let under_rule = cookie().rule(anonymous());
            assert!(says(&head, &under_rule, 0).starts_with("reuse"));
        }
        let owners = cookie().rfc().stored(200, &[fresh, ("content-type", "image/png")]);
        assert_eq!(says(&owners, &cookie(), 0), "forward bypass", "what another cookie's owner was given");
        let floor = SiteRule { fresh_min: Some(s(60)), ..SiteRule::default() };
        let asked = cookie().rule(floor.clone());
        let guest = get(&[]).rule(floor).stored(200, &[html]);
        assert_eq!(says(&guest, &asked, 0), "forward bypass, or stale", "a floor without anonymous changes nothing");
    }
}
