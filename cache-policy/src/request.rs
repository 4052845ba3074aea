//! A request as the cache sees it, parsed once at the edge; and whether it may use the shared cache at all.

use std::fmt;
use std::time::SystemTime;

use http::header::{
    AUTHORIZATION, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{Method, Uri};

use crate::cache_control::RequestDirectives;
use crate::cookies::Cookies;
use crate::entity_tag::EntityTags;
use crate::options::Options;
use crate::school;
use crate::site_rule::SiteRule;
use crate::token_names::has_token;

/// A request presented to the cache, with the operator's rule for its path. RFC 9111 §2 ("presented request").
#[derive(Clone)]
pub struct PresentedRequest<'a> {
    /// The method; case matters (RFC 9110 §9.1).
    pub method: &'a Method,
    /// The target URI in absolute form, as the proxy reconstructed it (RFC 9110 §7.1).
    pub target_uri: &'a Uri,
    /// The fields as the client sent them.
    pub headers: &'a HeaderMap,
    /// What the operator's rule for this path says.
    pub rule: &'a SiteRule,
    /// The settings for all sites.
    pub options: &'a Options,
    /// `Cache-Control` and `Pragma`.
    pub directives: RequestDirectives,
    /// Whether `Authorization` is there.
    pub has_authorization: bool,
    /// What the cookies' names tell; no cookies at all under an anonymous rule.
    pub cookies: Cookies,
    /// Whether the query carries something that looks like a token.
    pub has_token_in_query: bool,
}

/// What a request's target and fields say to the cache: for whoever presents one request more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    directives: RequestDirectives,
    has_authorization: bool,
    cookies: Cookies,
    has_token_in_query: bool,
}

impl Parsed {
    /// Parses them.
    pub fn of(target_uri: &Uri, headers: &HeaderMap, rule: &SiteRule) -> Self {
        Self {
            directives: RequestDirectives::parse(headers),
            has_authorization: headers.contains_key(AUTHORIZATION),
            cookies: if rule.anonymous { Cookies::None } else { Cookies::of(headers) },
            has_token_in_query: has_token(target_uri),
        }
    }
}

impl<'a> PresentedRequest<'a> {
    /// Parses what the decisions need, once.
    pub fn new(
        method: &'a Method,
        target_uri: &'a Uri,
        headers: &'a HeaderMap,
        rule: &'a SiteRule,
        options: &'a Options,
    ) -> Self {
        Self::of(Parsed::of(target_uri, headers, rule), method, target_uri, headers, rule, options)
    }

    /// The same of what was parsed before, from the same target and fields under the same rule.
    pub fn of(
        parsed: Parsed,
        method: &'a Method,
        target_uri: &'a Uri,
        headers: &'a HeaderMap,
        rule: &'a SiteRule,
        options: &'a Options,
    ) -> Self {
        let Parsed { directives, has_authorization, cookies, has_token_in_query } = parsed;
        Self { method, target_uri, headers, rule, options, directives, has_authorization, cookies, has_token_in_query }
    }

    /// Whether the request asks for a part of the representation. Only `GET` defines `Range` (RFC 9110 §14.2).
    pub fn asks_for_range(&self) -> bool {
        self.method == Method::GET && self.headers.contains_key(RANGE)
    }

    /// Whether the request carries any precondition (RFC 9110 §13.1).
    pub fn is_conditional(&self) -> bool {
        [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE]
            .iter()
            .any(|name| self.headers.contains_key(name))
    }

    pub(crate) fn if_none_match(&self) -> Option<EntityTags> {
        EntityTags::parse(self.headers, &IF_NONE_MATCH)
    }

    pub(crate) fn if_match(&self) -> Option<EntityTags> {
        EntityTags::parse(self.headers, &IF_MATCH)
    }

    pub(crate) fn date(&self, name: http::HeaderName, now: SystemTime) -> Option<SystemTime> {
        crate::http_date::date_field(self.headers, name, now)
    }
}

/// Leaves out the query and the fields, which may carry credentials.
impl fmt::Debug for PresentedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedRequest")
            .field("method", self.method)
            .field("host", &self.target_uri.host())
            .field("path", &self.target_uri.path())
            .field("directives", &self.directives)
            .finish_non_exhaustive()
    }
}

/// Why a request passes by the shared cache: it neither reuses nor stores, and collapses with no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Only `GET` and `HEAD` are answered from stored responses.
    Method,
    /// The operator's rule says never to store.
    RuleNeverStore,
    /// `Authorization` is there (school profile).
    Authorization,
    /// A cookie looks like a session (school profile).
    SessionCookie,
    /// The query looks as if it carried a token (school profile).
    TokenInQuery,
}

impl Pass {
    /// The stable word in `Cache-Status` details, logs and metrics.
    pub fn token(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RuleNeverStore => "rule-never-store",
            Self::Authorization => "authorization",
            Self::SessionCookie => "session-cookie",
            Self::TokenInQuery => "token-in-query",
        }
    }

    /// Every reason, for documentation and metrics.
    pub const ALL: [Self; 5] =
        [Self::Method, Self::RuleNeverStore, Self::Authorization, Self::SessionCookie, Self::TokenInQuery];
}

/// Whether the request may use the shared cache at all: be answered from it, and have its response stored.
///
/// RFC 9111 §4; the school profile adds what [`crate::school`] lists.
///
/// # Errors
/// Why it passes by. A `POST` passes with [`Pass::Method`], yet its response may be [`crate::storable`].
pub fn may_share(request: &PresentedRequest<'_>) -> Result<(), Pass> {
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Pass::Method);
    }
    if request.rule.never_store {
        return Err(Pass::RuleNeverStore);
    }
    school::may_share(request)
}
