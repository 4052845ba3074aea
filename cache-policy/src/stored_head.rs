//! The head of a stored response: what is kept of it, and what follows from that, parsed once.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, HeaderMap, HeaderValue, LAST_MODIFIED};
use http::{Method, StatusCode};

use crate::age::{AgeBasis, age_value};
use crate::cache_control::{ResponseDirectives, Scope};
use crate::content_coding;
use crate::delta_seconds::plus;
use crate::entity_tag::EntityTag;
use crate::freshness::{self, Basis, Lifetime};
use crate::hop_by_hop::remove_hop_by_hop;
use crate::http_date::{date_field, format_http_date};
use crate::options::Options;
use crate::request::PresentedRequest;
use crate::site_rule::{Overrode, SiteRule, anonymise_response};
use crate::storable::{self, Kept, NotStorable};
use crate::targeted::parse_targeted;
use crate::vary::{self, Selecting, Vary};

/// What a store writes down of a response's head, and all that it needs to write down.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredHeadParts {
    /// The method of the request that it answered.
    pub method: Method,
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those that are not stored (RFC 9111 §3.1). `Date` is always there.
    pub headers: HeaderMap,
    /// When the request that it answered, or that validated it last, was sent.
    pub request_time: SystemTime,
    /// When the response, or the last one that freshened it, came.
    pub response_time: SystemTime,
    /// The fields that `Vary` names, sorted, with the normalised values that the request had.
    pub selecting: Vec<Selecting>,
    /// Whether the request carried a cookie by which a server may decide what to answer.
    pub request_had_cookies: bool,
    /// Whether the request carried `Authorization` (RFC 9111 §3.5).
    pub request_had_authorization: bool,
    /// Whether an operator has marked it stale (a soft purge). A validation ends that.
    pub is_marked_stale: bool,
}

/// The head of a stored response with everything derived from it under a rule.
#[derive(Clone, Debug)]
pub struct StoredHead {
    parts: StoredHeadParts,
    directives: ResponseDirectives,
    age: AgeBasis,
    initial_age: Duration,
    lifetime: Lifetime,
    overrode: Overrode,
    entity_tag: Option<EntityTag>,
    last_modified: Option<SystemTime>,
    codings: Vec<Vec<u8>>,
    by_result: bool,
    not_storable: Option<NotStorable>,
}

impl StoredHead {
    /// The head to store for a response that is [`crate::storable`]. `headers` are the origin's, untouched: what must
    /// not be stored is removed here.
    pub fn new(
        request: &PresentedRequest<'_>,
        status: StatusCode,
        headers: HeaderMap,
        request_time: SystemTime,
        response_time: SystemTime,
    ) -> Self {
        let names = match Vary::of(&headers) {
            Vary::Fields(names) => names,
            Vary::Star => Vec::new(), // no request selects it
        };
        let parts = StoredHeadParts {
            method: request.method.clone(),
            status,
            headers,
            request_time,
            response_time,
            selecting: vary::selecting(request, names),
            request_had_cookies: request.cookies.may_decide_content(),
            request_had_authorization: request.has_authorization,
            is_marked_stale: false,
        };
        Self::from_parts(parts, request.rule, request.options)
    }

    /// Restores a head from what a store wrote down; the rest is derived again under the rule and the options of now.
    pub fn from_parts(mut parts: StoredHeadParts, rule: &SiteRule, options: &Options) -> Self {
        let (directives, is_targeted) = effective_directives(&parts.headers, options);
        let kept = Kept {
            status: parts.status,
            headers: &parts.headers,
            directives: &directives,
            request_had_cookies: parts.request_had_cookies,
            request_had_authorization: parts.request_had_authorization,
        };
        let (mut overrode, not_storable) = match storable::may_keep(&kept, rule, options) {
            Ok(overrode) => (overrode, None),
            Err(reason) => (Overrode::default(), Some(reason)),
        };
        remove_not_stored(&mut parts.headers, &directives, rule, parts.response_time);
        let headers = &parts.headers;
        let date = date_field(headers, DATE, parts.response_time).unwrap_or(parts.response_time);
        let is_undated = freshness::is_undated(date, parts.response_time);
        let basis = Basis { status: parts.status, headers, directives: &directives, is_targeted, date, is_undated };
        let lifetime = freshness::lifetime(&basis, options);
        let lifetime = freshness::under_rule(lifetime, &basis, rule, &mut overrode);
        let (request_time, response_time) = (parts.request_time, parts.response_time);
        let age = AgeBasis { request_time, response_time, date, age_value: age_value(headers) };
        Self {
            initial_age: age.corrected_initial_age(),
            age,
            lifetime,
            overrode,
            entity_tag: EntityTag::of(headers),
            last_modified: date_field(headers, LAST_MODIFIED, date),
            codings: content_coding::of_response(headers),
            by_result: options.is_school(),
            not_storable,
            directives,
            parts,
        }
    }

    /// What a store writes down.
    pub fn parts(&self) -> &StoredHeadParts {
        &self.parts
    }

    /// Gives up the derived half.
    pub fn into_parts(self) -> StoredHeadParts {
        self.parts
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// Its stored fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Its directives: those of a targeted field where one replaced `Cache-Control`.
    pub fn directives(&self) -> &ResponseDirectives {
        &self.directives
    }

    /// Why it may no longer be stored, under the rule and options that it was restored with. No request selects it
    /// then; the store may remove it.
    pub fn not_storable(&self) -> Option<NotStorable> {
        self.not_storable
    }

    /// Where the operator's rule was followed and the origin said otherwise.
    pub fn overrode(&self) -> Overrode {
        self.overrode
    }

    /// Its entity tag, when it has a valid one.
    pub fn entity_tag(&self) -> Option<&EntityTag> {
        self.entity_tag.as_ref()
    }

    /// When it was last modified, when it says so validly.
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.last_modified
    }

    /// When it was generated: its `Date`, or when it came.
    pub fn date(&self) -> SystemTime {
        self.age.date
    }

    /// How long it is fresh, counted from its generation, and why.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// How long it is fresh, counted from its generation. Zero while it is marked stale. RFC 9111 §4.2.1.
    pub fn freshness_lifetime(&self) -> Duration {
        if self.parts.is_marked_stale { Duration::ZERO } else { self.lifetime.duration }
    }

    /// Whether the origin gave a lifetime by `s-maxage`, `max-age` or `Expires`, and not zero.
    pub fn has_explicit_freshness(&self) -> bool {
        self.lifetime.source.is_explicit()
    }

    /// Its age now. After the clock was set back it counts as the age that it came with. RFC 9111 §4.2.3.
    pub fn current_age(&self, now: SystemTime) -> Duration {
        plus(self.initial_age, self.age.resident_time(now).unwrap_or_default())
    }

    /// Whether it is fresh now. When the clock was set back so far that nobody knows its age, it is not.
    /// RFC 9111 §4.2.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.age.resident_time(now).is_some() && self.freshness_lifetime() > self.current_age(now)
    }

    /// How long it stays fresh from now on; zero when it is stale.
    pub fn fresh_for(&self, now: SystemTime) -> Duration {
        if self.is_fresh(now) { self.freshness_lifetime() - self.current_age(now) } else { Duration::ZERO }
    }

    /// How long it has been stale, zero when it is fresh; `None` when the clock was set back so far that nobody knows.
    pub fn stale_for(&self, now: SystemTime) -> Option<Duration> {
        self.age.resident_time(now)?;
        Some(self.current_age(now).saturating_sub(self.freshness_lifetime()))
    }

    /// Whether the origin wants every reuse validated, and no rule says otherwise.
    pub fn demands_validation(&self) -> bool {
        self.directives.no_cache == Scope::Whole && !self.overrode.no_cache
    }

    /// Whether the presented request selects it: the same values in the fields that `Vary` names, and a content coding
    /// that the request accepts. RFC 9111 §4.1.
    pub fn is_selected_by(&self, request: &PresentedRequest<'_>) -> bool {
        self.not_storable.is_none() && vary::matches(&self.parts.selecting, request, &self.codings)
    }

    /// Whether this response's `Vary` gives no reason to expect different answers to the two requests for its key.
    /// RFC 9111 §4.1.
    pub fn expects_one_answer_to(&self, one: &PresentedRequest<'_>, other: &PresentedRequest<'_>) -> bool {
        self.serves(one) && self.serves(other) || vary::are_alike(&self.parts.selecting, one, other)
    }

    /// Whether the presented request selects it, as it is or decoded.
    pub fn serves(&self, request: &PresentedRequest<'_>) -> bool {
        self.is_selected_by(request)
            || self.not_storable.is_none()
                && self.must_be_decoded_for(request)
                && vary::matches(&self.parts.selecting, request, &[])
    }

    /// Whether its body must be decoded before it goes to who sent this request, and can be: he accepts no content
    /// coding that it is in, and takes it without. Never under `no-transform` (RFC 9110 §7.7).
    pub fn must_be_decoded_for(&self, request: &PresentedRequest<'_>) -> bool {
        content_coding::can_be_undone(&self.codings)
            && !self.directives.no_transform
            && !content_coding::accepts(request.headers, &self.codings)
            && content_coding::accepts(request.headers, &[])
    }

    /// The fields to answer with when its body is decoded on the way ([`StoredHead::must_be_decoded_for`]).
    pub fn decoded_headers(&self, now: SystemTime) -> HeaderMap {
        let mut headers = self.reuse_headers(now);
        content_coding::describe_decoded(&mut headers);
        headers
    }

    /// Bytes that are equal exactly for responses that replace each other under one [`crate::CacheKey`]; the store
    /// hashes them.
    pub fn variant_key(&self) -> Vec<u8> {
        vary::variant_key(&self.parts.selecting, &self.codings, self.by_result)
    }

    /// The content codings of the stored body in the order in which they were applied, in lower case; empty for none.
    pub fn content_codings(&self) -> impl Iterator<Item = &[u8]> {
        self.codings.iter().map(Vec::as_slice)
    }

    /// Marks it stale (a soft purge): it is validated before its next reuse and may still stand in for an origin that
    /// fails.
    pub fn mark_stale(&mut self) {
        self.parts.is_marked_stale = true;
    }

    /// The fields to answer with on reuse: the stored ones with the `Age` of now. RFC 9111 §5.1.
    pub fn reuse_headers(&self, now: SystemTime) -> HeaderMap {
        let mut headers = self.parts.headers.clone();
        headers.insert(AGE, age_field(self.current_age(now)));
        headers
    }
}

/// `Age` as a field value, for a head that was serialised once and gets the age of each reuse.
pub fn age_field(age: Duration) -> HeaderValue {
    HeaderValue::from(age.as_secs().min(crate::DELTA_SECONDS_MAX))
}

/// The directives that count for this cache, and whether a targeted field gave them.
pub(crate) fn effective_directives(headers: &HeaderMap, options: &Options) -> (ResponseDirectives, bool) {
    match options.targeted_fields.then(|| parse_targeted(headers)).flatten() {
        Some(directives) => (directives, true),
        None => (ResponseDirectives::parse(headers), false),
    }
}

/// RFC 9111 §3.1, §5.2.2.4, §5.2.2.7; a missing or unreadable `Date` is added (RFC 9110 §6.6.1).
fn remove_not_stored(
    headers: &mut HeaderMap,
    directives: &ResponseDirectives,
    rule: &SiteRule,
    response_time: SystemTime,
) {
    remove_hop_by_hop(headers);
    for name in directives.private.fields().iter().chain(directives.no_cache.fields()) {
        headers.remove(name);
    }
    if rule.anonymous {
        anonymise_response(headers);
    }
    if date_field(headers, DATE, response_time).is_none() {
        headers.insert(DATE, format_http_date(response_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{anonymous, at, date, get, s, stored, t0};

    fn has(head: &StoredHead, name: &str) -> bool {
        head.headers().contains_key(name)
    }

    #[test]
    fn what_is_not_stored_is_gone() {
        // RFC 9111 §3.1, §5.2.2.4, §5.2.2.7
        let head = stored(&[
            ("connection", "a, close"),
            ("a", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "x"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("cache-control", "max-age=60, private=\"b\", no-cache=\"c\""),
            ("b", "2"),
            ("c", "3"),
            ("d", "4"),
        ]);
        let mut names: Vec<_> = head.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "d", "date"]);
    }

    #[test]
    fn cookies_are_kept_as_the_profile_and_the_rule_say() {
        let lines = [("set-cookie", "a=b"), ("set-cookie2", "c=d"), ("cache-control", "max-age=60")];
        assert!(has(&get(&[]).rfc().stored(200, &lines), "set-cookie"));
        let head = get(&[]).rule(anonymous()).stored(200, &lines);
        assert!(!has(&head, "set-cookie") && !has(&head, "set-cookie2"));
        assert!(head.overrode().set_cookie);
    }

    #[test]
    fn the_origins_date_is_kept_and_a_missing_one_added() {
        // RFC 9110 §6.6.1
        assert_eq!(stored(&[("date", "@-60")]).headers()["date"], date(-60));
        assert_eq!(stored(&[("date", "@-60")]).reuse_headers(at(9))["date"], date(-60));
        assert_eq!(stored(&[("date", "soon")]).headers()["date"], date(0));
        let asked = get(&[]);
        let none = StoredHead::new(&asked.presented(), StatusCode::OK, HeaderMap::new(), t0(), t0());
        assert_eq!(none.headers()["date"], date(0));
    }

    #[test]
    fn every_reuse_tells_its_age() {
        // RFC 9111 §4, §5.1
        let head = stored(&[("age", "30"), ("etag", "\"a\"")]);
        let headers = head.reuse_headers(at(5));
        assert_eq!(headers["age"], "35");
        assert_eq!(headers["etag"], "\"a\"");
        assert_eq!(age_field(s(1 << 40)), "2147483648");
    }

    #[test]
    fn freshness_ends_when_age_reaches_the_lifetime() {
        // RFC 9111 §4.2
        let head = stored(&[("cache-control", "max-age=60")]);
        assert!(head.is_fresh(at(59)) && !head.is_fresh(at(60)));
        assert_eq!((head.fresh_for(at(50)), head.fresh_for(at(70))), (s(10), s(0)));
        assert_eq!((head.stale_for(at(50)), head.stale_for(at(70))), (Some(s(0)), Some(s(10))));
    }

    #[test]
    fn marked_stale_it_is_stale_and_stays_so_on_disk() {
        let mut head = stored(&[("cache-control", "max-age=60")]);
        head.mark_stale();
        assert!(!head.is_fresh(t0()));
        let asked = get(&[]);
        let restored = StoredHead::from_parts(head.into_parts(), &asked.rule, &asked.options);
        assert!(!restored.is_fresh(t0()));
    }

    #[test]
    fn restored_from_its_parts_it_is_the_same() {
        let asked = get(&[("accept-language", "kk"), ("cookie", "lang=kk")]).rfc();
        let head =
            asked.stored(200, &[("vary", "Accept-Language"), ("cache-control", "s-maxage=9"), ("etag", "\"a\"")]);
        let again = StoredHead::from_parts(head.parts().clone(), &asked.rule, &asked.options);
        assert_eq!(again.parts(), head.parts());
        assert_eq!(again.variant_key(), head.variant_key());
        assert_eq!(again.lifetime(), head.lifetime());
        assert_eq!(again.current_age(at(5)), head.current_age(at(5)));
    }

    #[test]
    fn under_a_changed_rule_nothing_private_is_selected() {
        let under = |lines: &[(&str, &str)]| {
            let lasting = SiteRule { fresh_min: Some(s(60)), ..anonymous() };
            let head = get(&[]).rule(lasting).stored(200, lines);
            assert_eq!(head.not_storable(), None);
            let asked = get(&[]);
            let restored = StoredHead::from_parts(head.into_parts(), &asked.rule, &asked.options);
            assert_eq!(restored.is_selected_by(&asked.presented()), restored.not_storable().is_none());
            restored.not_storable()
        };
        assert_eq!(under(&[("cache-control", "private")]), Some(NotStorable::Private));
        assert_eq!(under(&[("cache-control", "no-store")]), Some(NotStorable::NoStore));
        assert_eq!(under(&[("cache-control", "max-age=5")]), None);
        let with_cookie = get(&[("cookie", "lang=kk")]).rfc().stored(200, &[("cache-control", "max-age=5")]);
        let asked = get(&[]);
        let restored = StoredHead::from_parts(with_cookie.into_parts(), &asked.rule, &asked.options);
        assert_eq!(restored.not_storable(), Some(NotStorable::CookieOnRequest));
        let never = SiteRule { never_store: true, ..SiteRule::default() };
        let restored = StoredHead::from_parts(stored(&[]).into_parts(), &never, &asked.options);
        assert_eq!(restored.not_storable(), Some(NotStorable::RuleNeverStore));
    }
}
