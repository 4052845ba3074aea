//! May this response be stored? RFC 9111 §3, §3.5; RFC 9110 §9.3.3.

use http::header::{CONTENT_LOCATION, EXPIRES, HeaderMap};
use http::{Method, StatusCode};

use crate::cache_control::{ResponseDirectives, Scope};
use crate::freshness;
use crate::invalidation;
use crate::key::CacheKey;
use crate::options::Options;
use crate::request::{Pass, PresentedRequest, may_share};
use crate::school;
use crate::site_rule::{Overrode, SiteRule, sets_cookie};
use crate::stored_head::effective_directives;
use crate::vary::{self, Vary};

/// The response may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Storable {
    /// Where the operator's rule was followed and the origin said otherwise.
    pub overrode: Overrode,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStorable {
    /// The method's responses are not stored (RFC 9110 §9.2.3): neither `GET`, nor a `POST` that names its own URI
    /// and gives explicit freshness.
    Method,
    /// A response to `HEAD` has no content to store; it may freshen what is stored ([`crate::freshen_by_head`]).
    Head,
    /// An interim response is never a final answer (RFC 9110 §15.2).
    Interim,
    /// `206`: a part that cannot be kept as one ([`crate::storable_part`]): several ranges, an unknown complete length, or
    /// another range than the one that was asked for.
    Partial,
    /// `206` without a strong validator: nobody could tell whether a further part belongs to it (RFC 9111 §3.4).
    PartWithoutValidator,
    /// `304`: it freshens, it is not stored ([`crate::freshen`]).
    NotModified,
    /// The status answers this one request's credentials, range or precondition, not the target.
    RequestDependent,
    /// The operator's rule says never to store.
    RuleNeverStore,
    /// The request said `no-store`.
    RequestNoStore,
    /// The response said `no-store`.
    NoStore,
    /// `must-understand` with a status that this cache does not know (RFC 9111 §5.2.2.3).
    MustUnderstand,
    /// The response said `private`.
    Private,
    /// The request carried `Authorization` and the response does not allow sharing (RFC 9111 §3.5).
    Authorization,
    /// `Vary: *`, or a `Vary` that cannot be read.
    VaryStar,
    /// `Vary` names a credential that the request carried; it must not be written to disk.
    VaryCredential,
    /// A 304 brought a `Vary` with further fields, so nobody knows for whom the stored response is.
    VaryChanged,
    /// Neither explicit freshness nor a status that may be stored without it.
    NoFreshness,
    /// `Set-Cookie` (school profile).
    SetCookie,
    /// The request carried a cookie and the response is not declared shared (school profile).
    CookieOnRequest,
    /// A cookie looks like a session (school profile).
    SessionCookie,
    /// The query looks as if it carried a token (school profile).
    TokenInQuery,
    /// An error or a redirect without explicit freshness (school profile).
    ErrorWithoutFreshness,
    /// An error or a redirect that a field of the request may have caused (school profile).
    ProvokedError,
}

impl NotStorable {
    /// Every reason, for documentation and metrics.
    pub const ALL: [Self; 23] = [
        Self::Method,
        Self::Head,
        Self::Interim,
        Self::Partial,
        Self::PartWithoutValidator,
        Self::NotModified,
        Self::RequestDependent,
        Self::RuleNeverStore,
        Self::RequestNoStore,
        Self::NoStore,
        Self::MustUnderstand,
        Self::Private,
        Self::Authorization,
        Self::VaryStar,
        Self::VaryCredential,
        Self::VaryChanged,
        Self::NoFreshness,
        Self::SetCookie,
        Self::CookieOnRequest,
        Self::SessionCookie,
        Self::TokenInQuery,
        Self::ErrorWithoutFreshness,
        Self::ProvokedError,
    ];

    /// The stable word in `Cache-Status` details, logs and metrics.
    pub fn token(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Head => "head",
            Self::Interim => "interim",
            Self::Partial => "partial",
            Self::PartWithoutValidator => "part-without-validator",
            Self::NotModified => "not-modified",
            Self::RequestDependent => "request-dependent",
            Self::RuleNeverStore => "rule-never-store",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::MustUnderstand => "must-understand",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::VaryStar => "vary-star",
            Self::VaryCredential => "vary-credential",
            Self::VaryChanged => "vary-changed",
            Self::NoFreshness => "no-freshness",
            Self::SetCookie => "set-cookie",
            Self::CookieOnRequest => "cookie-on-request",
            Self::SessionCookie => "session-cookie",
            Self::TokenInQuery => "token-in-query",
            Self::ErrorWithoutFreshness => "error-without-freshness",
            Self::ProvokedError => "provoked-error",
        }
    }
}

/// Whether a shared cache may store the response to this request.
///
/// Call it with the response's fields as the origin sent them, before hop-by-hop fields or cookies are removed.
///
/// # Errors
/// The first reason against it.
pub fn storable(
    request: &PresentedRequest<'_>,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Storable, NotStorable> {
    check_status(status)?;
    check_request(request, status, headers)?;
    let (directives, is_targeted) = effective_directives(headers, request.options);
    let kept = Kept {
        status,
        headers,
        directives: &directives,
        request_had_cookies: request.cookies.may_decide_content(),
        request_had_authorization: request.has_authorization,
    };
    let overrode = may_keep(&kept, request.rule, request.options)?;
    if let Vary::Fields(names) = Vary::of(headers)
        && vary::names_credential(request, &names)
    {
        return Err(NotStorable::VaryCredential);
    }
    check_freshness(request, &kept, is_targeted)?;
    Ok(Storable { overrode })
}

/// What decides whether a response may be, and stay, in a shared store, whoever asks next.
pub(crate) struct Kept<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a ResponseDirectives,
    pub(crate) request_had_cookies: bool,
    pub(crate) request_had_authorization: bool,
}

/// Whether a response may be in a shared store; asked when it comes, when a 304 has changed it, and when it is restored
/// under a rule that may have changed.
pub(crate) fn may_keep(kept: &Kept<'_>, rule: &SiteRule, options: &Options) -> Result<Overrode, NotStorable> {
    if rule.never_store {
        return Err(NotStorable::RuleNeverStore);
    }
    let mut overrode = Overrode { set_cookie: rule.anonymous && sets_cookie(kept.headers), ..Overrode::default() };
    check_directives(kept, rule, &mut overrode)?;
    let directives = kept.directives;
    // RFC 9111 §3.5
    let allowed = directives.public || directives.must_revalidate || directives.s_maxage.value().is_some();
    if kept.request_had_authorization && !allowed {
        return Err(NotStorable::Authorization);
    }
    if Vary::of(kept.headers) == Vary::Star {
        return Err(NotStorable::VaryStar);
    }
    school::may_keep(kept, rule, options)?;
    Ok(overrode)
}

fn check_status(status: StatusCode) -> Result<(), NotStorable> {
    match status.as_u16() {
        100..=199 => Err(NotStorable::Interim),
        206 => Err(NotStorable::Partial),
        304 => Err(NotStorable::NotModified),
        // Proxy credentials, preconditions, ranges, misdirected and too-early requests: the next client's differ.
        407 | 412 | 416 | 417 | 421 | 425 | 431 => Err(NotStorable::RequestDependent),
        _ => Ok(()),
    }
}

fn check_request(request: &PresentedRequest<'_>, status: StatusCode, headers: &HeaderMap) -> Result<(), NotStorable> {
    if request.method == Method::HEAD {
        return Err(NotStorable::Head);
    }
    let shares = match may_share(request) {
        Err(Pass::Method) if school::may_store_post(request) && answers_for_own_uri(request, status, headers) => {
            school::may_share(request)
        }
        shares => shares,
    };
    shares.map_err(|pass| match pass {
        Pass::Method => NotStorable::Method,
        Pass::RuleNeverStore => NotStorable::RuleNeverStore,
        Pass::Authorization => NotStorable::Authorization,
        Pass::SessionCookie => NotStorable::SessionCookie,
        Pass::TokenInQuery => NotStorable::TokenInQuery,
    })?;
    if request.directives.no_store { Err(NotStorable::RequestNoStore) } else { Ok(()) }
}

/// A successful `POST` response that says, by `Content-Location`, that it is what a `GET` of the same URI would give.
/// RFC 9110 §9.3.3.
fn answers_for_own_uri(request: &PresentedRequest<'_>, status: StatusCode, headers: &HeaderMap) -> bool {
    let location = crate::field::single(headers, CONTENT_LOCATION);
    let Some(location) = location.and_then(|value| invalidation::resolve(request.target_uri, value)) else {
        return false;
    };
    let exact = SiteRule::default();
    let own = CacheKey::new(request.target_uri, &exact);
    let names_own = own.is_some() && own == CacheKey::new(&location, &exact);
    request.method == Method::POST && status.is_success() && names_own
}

/// `no-store`, `private` and `must-understand`, and where a rule sets them aside.
fn check_directives(kept: &Kept<'_>, rule: &SiteRule, overrode: &mut Overrode) -> Result<(), NotStorable> {
    if kept.directives.must_understand {
        // With a status that we understand, `no-store` is to be ignored (RFC 9111 §5.2.2.3).
        if !is_understood(kept.status) {
            return Err(NotStorable::MustUnderstand);
        }
    } else if kept.directives.no_store {
        if !(rule.anonymous && rule.fresh_min.is_some()) {
            return Err(NotStorable::NoStore);
        }
        overrode.no_store = true;
    }
    if kept.directives.private == Scope::Whole {
        if !rule.anonymous {
            return Err(NotStorable::Private);
        }
        overrode.private = true;
    }
    Ok(())
}

/// Status codes whose caching rules this crate implements: those of RFC 9110 §15.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

/// The last condition of RFC 9111 §3: something that says, or lets us say, how long the response is fresh.
fn check_freshness(request: &PresentedRequest<'_>, kept: &Kept<'_>, is_targeted: bool) -> Result<(), NotStorable> {
    let Kept { status, headers, directives, .. } = *kept;
    let says_freshness = directives.max_age.is_present()
        || directives.s_maxage.is_present()
        || (!is_targeted && headers.contains_key(EXPIRES));
    if request.method == Method::POST && !says_freshness {
        return Err(NotStorable::Method);
    }
    school::check_error(request, kept, is_targeted)?;
    let by_rule = request.rule.fresh_min.is_some() && freshness::floor_applies(status);
    let may = says_freshness || directives.public || by_rule || freshness::is_heuristically_cacheable(status);
    if may { Ok(()) } else { Err(NotStorable::NoFreshness) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, anonymous, fields, get, s};

    fn decide(asked: &Asked, status: u16, lines: &[(&str, &str)]) -> Result<(), NotStorable> {
        storable(&asked.presented(), StatusCode::from_u16(status).unwrap(), &fields(lines)).map(|_| ())
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    #[test]
    fn any_final_status_with_explicit_freshness_is_stored() {
        // RFC 9111 §3
        let rfc = get(&[]).rfc();
        for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
            for line in [FRESH, ("cache-control", "s-maxage=5"), ("expires", "@60")] {
                assert_eq!(decide(&rfc, status, &[line]), Ok(()), "{status} {line:?}");
                assert_eq!(decide(&get(&[]), status, &[line, ("date", "@0")]), Ok(()), "school, {status} {line:?}");
            }
        }
    }

    #[test]
    fn without_freshness_the_status_decides() {
        // RFC 9111 §3, §4.2.2; RFC 9110 §15.1
        let rfc = get(&[]).rfc();
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(decide(&rfc, status, &[]), Ok(()), "{status}");
        }
        for status in [201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599] {
            assert_eq!(decide(&rfc, status, &[]), Err(NotStorable::NoFreshness), "{status}");
            assert_eq!(decide(&rfc, status, &[("cache-control", "public")]), Ok(()), "{status}");
        }
    }

    #[test]
    fn some_answers_are_for_one_request_only() {
        for (status, reason) in [
            (100, NotStorable::Interim),
            (103, NotStorable::Interim),
            (206, NotStorable::Partial),
            (304, NotStorable::NotModified),
            (407, NotStorable::RequestDependent),
            (412, NotStorable::RequestDependent),
            (416, NotStorable::RequestDependent),
            (421, NotStorable::RequestDependent),
        ] {
            assert_eq!(decide(&get(&[]).rfc(), status, &[FRESH]), Err(reason), "{status}");
        }
    }

    #[test]
    fn the_directives_of_both_sides_decide() {
        // RFC 9111 §3, §5.2.1.5, §5.2.2.3, §5.2.2.5, §5.2.2.7
        let rfc = get(&[]).rfc();
        for (value, expected) in [
            ("no-store", Err(NotStorable::NoStore)),
            ("No-StOrE, max-age=60", Err(NotStorable::NoStore)),
            ("private, max-age=60", Err(NotStorable::Private)),
            ("private=\"a\", max-age=60", Ok(())),
            ("no-cache", Ok(())),
            ("no-store, must-understand, max-age=60", Ok(())),
            ("private, must-understand", Err(NotStorable::Private)),
        ] {
            assert_eq!(decide(&rfc, 200, &[("cache-control", value)]), expected, "{value}");
        }
        let unknown = [("cache-control", "max-age=3600, no-store, must-understand")];
        assert_eq!(decide(&rfc, 599, &unknown), Err(NotStorable::MustUnderstand));
        let asks_no_store = get(&[("cache-control", "no-store")]).rfc();
        assert_eq!(decide(&asks_no_store, 200, &[FRESH]), Err(NotStorable::RequestNoStore));
    }

    #[test]
    fn authorization_wants_leave_to_share() {
        // RFC 9111 §3.5
        let rfc = || get(&[("authorization", "FOO")]).rfc();
        for (value, expected) in [
            ("max-age=3600", Err(NotStorable::Authorization)),
            ("max-age=3600, public", Ok(())),
            ("max-age=3600, must-revalidate", Ok(())),
            ("s-maxage=3600", Ok(())),
            ("s-maxage=x", Err(NotStorable::Authorization)),
            ("max-age=3600, proxy-revalidate", Err(NotStorable::Authorization)),
        ] {
            assert_eq!(decide(&rfc(), 200, &[("cache-control", value)]), expected, "{value}");
        }
        let public = [("cache-control", "max-age=3600, public")];
        let school = get(&[("authorization", "FOO")]);
        assert_eq!(decide(&school, 200, &public), Err(NotStorable::Authorization));
        let school = get(&[("authorization", "FOO")]).rule(anonymous());
        assert_eq!(decide(&school, 200, &public), Ok(()));
        assert_eq!(decide(&school, 200, &[FRESH]), Err(NotStorable::Authorization));
    }

    #[test]
    fn a_star_in_vary_and_a_varying_credential_are_not_stored() {
        // RFC 9111 §4.1
        for vary in ["*", "foo, *", ", *", "*, foo", "foo bar"] {
            assert_eq!(decide(&get(&[]).rfc(), 200, &[FRESH, ("vary", vary)]), Err(NotStorable::VaryStar), "{vary}");
        }
        let twice = [FRESH, ("vary", ""), ("vary", "*")];
        assert_eq!(decide(&get(&[]), 200, &twice), Err(NotStorable::VaryStar));
        let with_cookie = get(&[("cookie", "lang=kk")]).rfc();
        let by_cookie = [FRESH, ("vary", "Accept, Cookie")];
        assert_eq!(decide(&with_cookie, 200, &by_cookie), Err(NotStorable::VaryCredential));
        assert_eq!(decide(&get(&[]), 200, &by_cookie), Ok(()), "a guest's");
        assert_eq!(decide(&get(&[("cookie", "lang=kk")]).rule(anonymous()), 200, &by_cookie), Ok(()));
    }

    #[test]
    fn of_the_methods_get_counts_and_a_post_that_names_its_own_uri() {
        // RFC 9110 §9.3.3; RFC 9111 §3
        let post = || get(&[]).method("POST").rfc();
        let own = ("content-location", "/algebra/7");
        assert_eq!(decide(&post(), 200, &[FRESH, own]), Ok(()));
        assert_eq!(
            decide(&post(), 200, &[FRESH, ("content-location", "https://LESSONS.example:443/algebra/7")]),
            Ok(())
        );
        assert_eq!(decide(&post(), 200, &[FRESH, ("content-location", "7")]), Ok(()));
        assert_eq!(decide(&post(), 200, &[FRESH, ("content-location", "")]), Ok(()));
        assert_eq!(decide(&get(&[]).method("POST"), 200, &[FRESH, own]), Err(NotStorable::Method), "deviation `post`");
        for (status, lines) in [
            (200, &[FRESH][..]),
            (200, &[own]),
            (200, &[FRESH, ("content-location", "/algebra/8")]),
            (200, &[FRESH, ("content-location", "http://lessons.example/algebra/7")]),
            (200, &[FRESH, own, own]),
            (400, &[FRESH, own]),
        ] {
            assert_eq!(decide(&post(), status, lines), Err(NotStorable::Method), "{status} {lines:?}");
        }
        assert_eq!(decide(&get(&[]).method("HEAD").rfc(), 200, &[FRESH]), Err(NotStorable::Head));
        for method in ["PUT", "DELETE", "OPTIONS", "M-SEARCH", "get"] {
            assert_eq!(
                decide(&get(&[]).method(method).rfc(), 200, &[FRESH, own]),
                Err(NotStorable::Method),
                "{method}"
            );
        }
    }

    #[test]
    fn a_rule_overrides_and_the_answer_says_so() {
        let overrode = |rule: SiteRule, lines: &[(&str, &str)]| {
            let asked = get(&[]).rule(rule);
            storable(&asked.presented(), StatusCode::OK, &fields(lines)).map(|storable| storable.overrode.to_string())
        };
        let floor = Some(s(60));
        let never = SiteRule { never_store: true, ..anonymous() };
        let lasting = || SiteRule { fresh_min: floor, ..anonymous() };
        assert_eq!(overrode(never, &[FRESH]), Err(NotStorable::RuleNeverStore));
        let cookie = ("set-cookie", "a=b");
        assert_eq!(overrode(anonymous(), &[FRESH, cookie]).unwrap(), "set-cookie");
        assert_eq!(overrode(anonymous(), &[("cache-control", "private")]).unwrap(), "private");
        assert_eq!(overrode(anonymous(), &[("cache-control", "no-store")]), Err(NotStorable::NoStore));
        assert_eq!(overrode(lasting(), &[("cache-control", "no-store"), cookie]).unwrap(), "set-cookie+no-store");
        assert_eq!(overrode(anonymous(), &[FRESH]).unwrap(), "");
        let only_floor = SiteRule { fresh_min: floor, ..SiteRule::default() };
        for (line, reason) in [
            (("cache-control", "no-store"), NotStorable::NoStore),
            (("cache-control", "private"), NotStorable::Private),
            (cookie, NotStorable::SetCookie),
        ] {
            assert_eq!(overrode(only_floor.clone(), &[line]), Err(reason), "{line:?}");
        }
        let asked = get(&[]).rule(only_floor).rfc();
        assert_eq!(decide(&asked, 201, &[]), Ok(()), "the floor is a freshness");
        assert_eq!(decide(&asked, 500, &[]), Err(NotStorable::NoFreshness), "but not for an error");
    }

    #[test]
    fn a_targeted_field_replaces_cache_control_and_expires() {
        // RFC 9213 §2.2
        let rfc = || get(&[]).rfc();
        let no_store = ("cache-control", "no-store");
        assert_eq!(decide(&rfc(), 200, &[no_store, ("cdn-cache-control", "max-age=10000")]), Ok(()));
        let refused = Err(NotStorable::NoStore);
        assert_eq!(decide(&rfc(), 200, &[FRESH, ("expires", "@60"), ("cdn-cache-control", "no-store")]), refused);
        assert_eq!(decide(&rfc(), 200, &[no_store, ("cdn-cache-control", "max-age=10000, &&&&&")]), refused);
        assert_eq!(decide(&rfc(), 200, &[no_store, ("cdn-cache-control", "max-age=\"10000\"")]), refused);
        let private = Err(NotStorable::Private);
        assert_eq!(decide(&rfc(), 200, &[FRESH, ("cdn-cache-control", "private")]), private);
        let mut off = rfc();
        off.options.targeted_fields = false;
        assert_eq!(decide(&off, 200, &[no_store, ("cdn-cache-control", "max-age=10000")]), refused);
        let expires = [("expires", "@60"), ("cdn-cache-control", "foo")];
        assert_eq!(decide(&rfc(), 500, &expires), Err(NotStorable::NoFreshness));
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = NotStorable::ALL.iter().map(|reason| reason.token()).collect();
        assert_eq!(words.len(), NotStorable::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }
}
