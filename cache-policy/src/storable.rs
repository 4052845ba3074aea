//! May this response be stored? RFC 9111 §3, §3.5; RFC 9110 §9.3.3.

use http::header::{CONTENT_LOCATION, EXPIRES, HeaderMap};
use http::{Method, StatusCode};

use crate::cache_control::{ResponseDirectives, Scope};
use crate::freshness;
use crate::invalidation;
use crate::key::CacheKey;
use crate::request::{Pass, PresentedRequest, may_share};
use crate::school;
use crate::site_rule::{Overrode, sets_cookie};
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
    /// `206`: a part only.
    Partial,
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
    pub const ALL: [Self; 21] = [
        Self::Method,
        Self::Head,
        Self::Interim,
        Self::Partial,
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
    let (directives, is_targeted) = effective_directives(headers, request.options);
    let mut overrode = Overrode::default();
    check_status(status)?;
    check_request(request, status, headers)?;
    check_directives(request, status, &directives, &mut overrode)?;
    check_authorization(request, &directives)?;
    check_vary(request, headers)?;
    let is_explicit = says_freshness(headers, &directives, is_targeted);
    school::may_store(request, status, headers, &directives, is_explicit)?;
    let by_rule = request.rule.fresh_min.is_some() && freshness::floor_applies(status);
    if !(is_explicit || directives.public || by_rule || freshness::is_heuristically_cacheable(status)) {
        return Err(NotStorable::NoFreshness);
    }
    if request.method == Method::POST && !is_explicit {
        return Err(NotStorable::Method);
    }
    overrode.set_cookie = request.rule.anonymous && sets_cookie(headers);
    Ok(Storable { overrode })
}

/// `max-age`, `s-maxage` or `Expires` is there (RFC 9111 §3 does not ask whether it is valid).
fn says_freshness(headers: &HeaderMap, directives: &ResponseDirectives, is_targeted: bool) -> bool {
    directives.max_age.is_present()
        || directives.s_maxage.is_present()
        || (!is_targeted && headers.contains_key(EXPIRES))
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
    if request.method == Method::POST && !answers_for_own_uri(request, status, headers) {
        return Err(NotStorable::Method);
    }
    match may_share(request) {
        Ok(()) => {}
        Err(Pass::Method) if request.method == Method::POST => {
            if request.rule.never_store {
                return Err(NotStorable::RuleNeverStore);
            }
            school::may_share(request).map_err(not_storable)?;
        }
        Err(pass) => return Err(not_storable(pass)),
    }
    if request.directives.no_store { Err(NotStorable::RequestNoStore) } else { Ok(()) }
}

fn not_storable(pass: Pass) -> NotStorable {
    match pass {
        Pass::Method => NotStorable::Method,
        Pass::RuleNeverStore => NotStorable::RuleNeverStore,
        Pass::Authorization => NotStorable::Authorization,
        Pass::SessionCookie => NotStorable::SessionCookie,
        Pass::TokenInQuery => NotStorable::TokenInQuery,
    }
}

/// A successful `POST` response that says, by `Content-Location`, that it is what a `GET` of the same URI would give.
fn answers_for_own_uri(request: &PresentedRequest<'_>, status: StatusCode, headers: &HeaderMap) -> bool {
    let location = crate::field::single(headers, CONTENT_LOCATION);
    let Some(location) = location.and_then(|value| invalidation::resolve(request.target_uri, value)) else {
        return false;
    };
    let own = CacheKey::new(request.target_uri, &Default::default());
    status.is_success() && own.is_some() && own == CacheKey::new(&location, &Default::default())
}

/// `no-store`, `private` and `must-understand`, and where a rule sets them aside.
fn check_directives(
    request: &PresentedRequest<'_>,
    status: StatusCode,
    directives: &ResponseDirectives,
    overrode: &mut Overrode,
) -> Result<(), NotStorable> {
    let rule = request.rule;
    if directives.must_understand {
        // With a status that we understand, `no-store` is to be ignored (RFC 9111 §5.2.2.3).
        if !is_understood(status) {
            return Err(NotStorable::MustUnderstand);
        }
    } else if directives.no_store {
        if !(rule.anonymous && rule.fresh_min.is_some()) {
            return Err(NotStorable::NoStore);
        }
        overrode.no_store = true;
    }
    if directives.private == Scope::Whole {
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

/// RFC 9111 §3.5.
fn check_authorization(request: &PresentedRequest<'_>, directives: &ResponseDirectives) -> Result<(), NotStorable> {
    let allowed = directives.public || directives.must_revalidate || directives.s_maxage.is_present();
    if request.has_authorization && !allowed { Err(NotStorable::Authorization) } else { Ok(()) }
}

fn check_vary(request: &PresentedRequest<'_>, headers: &HeaderMap) -> Result<(), NotStorable> {
    match Vary::of(headers) {
        Vary::Star => Err(NotStorable::VaryStar),
        Vary::Fields(names) if vary::names_credential(request, &names) => Err(NotStorable::VaryCredential),
        Vary::Fields(_) => Ok(()),
    }
}
