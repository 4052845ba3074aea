//! Where the school profile differs from RFC 9111's letter: every deviation by name, with its reason.
//!
//! One cache serves a whole class, sites forget `Vary` and `private`, and a wrong guess hands one pupil's page to
//! another. So the profile would rather forward once too often. [`DEVIATIONS`] is the table that the documentation
//! quotes. An anonymous rule ([`crate::SiteRule::anonymous`]) lifts the ones about cookies, tokens and credentials.

use std::time::{Duration, SystemTime};

use http::Uri;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, DATE, EXPECT, HeaderMap, HeaderName, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};

use crate::cache_control::ResponseDirectives;
use crate::field::MEMBERS_MAX;
use crate::freshness::{self, Basis};
use crate::http_date::date_field;
use crate::options::Options;
use crate::request::{Pass, PresentedRequest};
use crate::site_rule::{SiteRule, sets_cookie};
use crate::storable::{Kept, NotStorable};

/// One difference between the school profile and RFC 9111.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// Its stable name.
    pub name: &'static str,
    /// What the school profile does.
    pub does: &'static str,
    /// What the RFC would allow or ask.
    pub rfc: &'static str,
    /// Whether an anonymous rule lifts it.
    pub lifted_by_anonymous: bool,
}

/// Every difference between the school profile and RFC 9111.
pub const DEVIATIONS: [Deviation; 9] = [
    Deviation {
        name: "set-cookie",
        does: "a response with Set-Cookie is not stored, and a 304 never brings a cookie into a stored response",
        rfc: "RFC 9111 §7.3 lets it be stored and replayed",
        lifted_by_anonymous: true,
    },
    Deviation {
        name: "authorization",
        does: "a request with Authorization passes by the cache",
        rfc: "RFC 9111 §3.5 lets public, must-revalidate and s-maxage share it",
        lifted_by_anonymous: true,
    },
    Deviation {
        name: "session-cookie",
        does: "a request with a cookie that looks like a session passes by the cache",
        rfc: "RFC 9111 gives cookies no meaning without Vary",
        lifted_by_anonymous: true,
    },
    Deviation {
        name: "token-in-query",
        does: "a request whose query or path parameters look like a token passes by the cache",
        rfc: "RFC 9111 takes the target URI for the whole key",
        lifted_by_anonymous: true,
    },
    Deviation {
        name: "cookie-stored",
        does: "a response to a request with any cookie that a server may read is stored only with public or s-maxage",
        rfc: "RFC 9111 gives cookies no meaning without Vary",
        lifted_by_anonymous: true,
    },
    Deviation {
        name: "cookie-reused",
        does: "a request with such a cookie reuses only what is public or s-maxage, or, if it is no page or data \
               (HTML, JSON, XML), what was asked for without a cookie and has explicit freshness",
        rfc: "RFC 9111 gives cookies no meaning without Vary",
        lifted_by_anonymous: true,
    },
    Deviation {
        name: "error-without-freshness",
        does: "an error or a redirect is stored only with explicit freshness, never by heuristic",
        rfc: "RFC 9111 §4.2.2 allows a heuristic for some of them",
        lifted_by_anonymous: false,
    },
    Deviation {
        name: "provoked-error",
        does: "an error or a redirect is not stored when the request carried a field that may have caused it",
        rfc: "RFC 9111 §3 does not look at those fields",
        lifted_by_anonymous: false,
    },
    Deviation {
        name: "encoding-by-result",
        does: "under Vary: Accept-Encoding a stored response serves every request that accepts its content coding",
        rfc: "RFC 9111 §4.1 compares the field's value in the two requests",
        lifted_by_anonymous: false,
    },
];

/// What the names of a request's cookies tell. Values are never looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cookies {
    /// No cookie.
    None,
    /// Only cookies of visitor counters, which scripts in the browser set and read and no server looks at.
    Counters,
    /// Some other cookie, which may decide what the server answers.
    Other,
    /// A cookie that looks like a session, a login or an anti-forgery token.
    Session,
}

impl Cookies {
    /// Classifies the cookies of a request; the gravest one counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let pairs = || headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
        if pairs().nth(MEMBERS_MAX).is_some() {
            return Self::Session;
        }
        pairs()
            .map(|pair| pair.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii())
            .filter(|name| !name.is_empty())
            .map(|name| Self::named(&name.to_ascii_lowercase()))
            .max()
            .unwrap_or(Self::None)
    }

    fn named(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let is_counter = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == **pattern,
        };
        if COUNTER_COOKIES.iter().any(is_counter) {
            return Self::Counters;
        }
        let is_session = SESSION_COOKIE_PARTS.iter().any(|part| name.contains(part))
            || SESSION_COOKIE_ENDS.iter().any(|end| name.ends_with(end));
        if is_session { Self::Session } else { Self::Other }
    }

    /// Whether a server may decide by one of these cookies what to answer.
    pub fn may_decide_content(self) -> bool {
        self >= Self::Other
    }
}

/// Cookies of Google Analytics and its ads, Yandex Metrica, top.mail.ru, Matomo, Facebook, Hotjar and Clarity: set by
/// scripts for scripts. Lower case; `*` stands for any ending.
pub const COUNTER_COOKIES: [&str; 24] = [
    "_ga",
    "_ga_*",
    "_gat",
    "_gat_*",
    "_gid",
    "_gac_*",
    "_gcl_*",
    "__utma",
    "__utmb",
    "__utmc",
    "__utmt",
    "__utmv",
    "__utmz",
    "_ym_*",
    "tmr_*",
    "_pk_id.*",
    "_pk_ses.*",
    "_pk_ref.*",
    "_fbp",
    "_fbc",
    "_hjsessionuser_*",
    "_hjsession_*",
    "_clck",
    "_clsk",
];

/// What a session-like cookie's name contains, in lower case: PHPSESSID, JSESSIONID, MoodleSession, laravel_session,
/// wordpress_logged_in, wp-postpass, .ASPXAUTH, csrftoken, XSRF-TOKEN, remember_me and their like.
pub const SESSION_COOKIE_PARTS: [&str; 14] = [
    "sess", "auth", "token", "login", "logged", "remember", "jwt", "csrf", "xsrf", "pass", "user", "account", "sso",
    "ticket",
];

/// What a session-like cookie's name ends with, in lower case: `sid`, `connect.sid`, `CONCRETE5_uid`.
pub const SESSION_COOKIE_ENDS: [&str; 3] = ["sid", "uid", "identity"];

/// Names of query and path parameters that carry a credential or a signature, in lower case.
pub const TOKEN_PARAMETERS: [&str; 25] = [
    "access_token",
    "auth",
    "authorization",
    "apikey",
    "api_key",
    "api-key",
    "sid",
    "sig",
    "sign",
    "session",
    "sessionid",
    "session_id",
    "sesskey",
    "phpsessid",
    "jsessionid",
    "password",
    "passwd",
    "pwd",
    "secret",
    "ticket",
    "jwt",
    "hmac",
    "hdnea",
    "hdnts",
    "key-pair-id",
];

/// What a token-like parameter's name ends with: `id_token`, `wstoken`, `X-Amz-Signature`, `client_secret`.
pub const TOKEN_PARAMETER_ENDS: [&str; 6] = ["token", "signature", "_sig", "credential", "_secret", "otp"];

/// Whether the query, or a parameter in the path (`;jsessionid=…`), looks as if it carried a token. Values are not
/// looked at; names are percent-decoded and compared without case.
pub fn has_token(target: &Uri) -> bool {
    let in_query = target.query().unwrap_or_default().split(['&', ';']);
    let in_path = target.path().split(';').skip(1);
    let mut names = in_query.chain(in_path).map(|pair| pair.split(['=', '/']).next().unwrap_or_default());
    // A target with more parameters than we care to read is not worth sharing.
    names.by_ref().take(MEMBERS_MAX).any(is_token_parameter) || names.next().is_some()
}

fn is_token_parameter(name: &str) -> bool {
    let name = percent_decoded(name).to_ascii_lowercase();
    TOKEN_PARAMETERS.contains(&name.as_str()) || TOKEN_PARAMETER_ENDS.iter().any(|end| name.ends_with(end))
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The deviations `authorization`, `session-cookie` and `token-in-query`.
pub(crate) fn may_share(request: &PresentedRequest<'_>) -> Result<(), Pass> {
    if !request.options.is_school() || request.rule.anonymous {
        return Ok(());
    }
    if request.has_authorization {
        return Err(Pass::Authorization);
    }
    if request.cookies == Cookies::Session {
        return Err(Pass::SessionCookie);
    }
    if request.has_token_in_query {
        return Err(Pass::TokenInQuery);
    }
    Ok(())
}

/// The deviations `set-cookie` and `cookie-stored`.
pub(crate) fn may_keep(kept: &Kept<'_>, rule: &SiteRule, options: &Options) -> Result<(), NotStorable> {
    if !options.is_school() || rule.anonymous {
        return Ok(());
    }
    if sets_cookie(kept.headers) {
        return Err(NotStorable::SetCookie);
    }
    if kept.request_had_cookies && !is_declared_shared(kept.directives) {
        return Err(NotStorable::CookieOnRequest);
    }
    Ok(())
}

/// The deviations `error-without-freshness` and `provoked-error`.
///
/// Without `Date` the time of an `Expires` is not judged, and so does not count as freshness.
pub(crate) fn check_error(
    request: &PresentedRequest<'_>,
    kept: &Kept<'_>,
    is_targeted: bool,
) -> Result<(), NotStorable> {
    if !request.options.is_school() || kept.status.is_success() {
        return Ok(());
    }
    let date = date_field(kept.headers, DATE, SystemTime::UNIX_EPOCH);
    let has_directive = kept.directives.s_maxage.is_present() || kept.directives.max_age.is_present();
    let (status, headers, directives) = (kept.status, kept.headers, kept.directives);
    let basis = Basis { status, headers, directives, is_targeted, date: date.unwrap_or(SystemTime::UNIX_EPOCH) };
    let lifetime = freshness::lifetime(&basis, request.options);
    let is_known = has_directive || date.is_some();
    if !(is_known && lifetime.source.is_explicit() && lifetime.duration > Duration::ZERO) {
        return Err(NotStorable::ErrorWithoutFreshness);
    }
    if may_have_provoked(request) { Err(NotStorable::ProvokedError) } else { Ok(()) }
}

/// The deviation `cookie-reused`.
pub(crate) fn may_reuse_with_cookie(stored: &crate::StoredHead, request: &PresentedRequest<'_>) -> bool {
    if !request.options.is_school() || request.rule.anonymous || !request.cookies.may_decide_content() {
        return true;
    }
    is_declared_shared(stored.directives())
        || (!stored.parts().request_had_cookies
            && stored.has_explicit_freshness()
            && !is_page_or_data(stored.headers()))
}

/// The origin said, for a cache that serves many, that the response is for all of them.
fn is_declared_shared(directives: &ResponseDirectives) -> bool {
    directives.public || directives.s_maxage.value().is_some()
}

/// HTML, JSON, XML and what names no type: where a login shows. Pictures, styles, scripts and films are not.
fn is_page_or_data(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let media_type = String::from_utf8_lossy(media_type).to_ascii_lowercase();
    match media_type.as_str() {
        "image/svg+xml" => false,
        "" | "text/html" => true,
        other => ["json", "xml"].iter().any(|end| other.ends_with(end)),
    }
}

/// Fields that make servers choose another method or path than the request line names, or answer with an error.
const PROVOKING_FIELDS: [HeaderName; 16] = [
    RANGE,
    EXPECT,
    AUTHORIZATION,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("forwarded"),
];

/// A header section over this size is unusual enough to have caused an error: servers refuse from 8 kB on.
const USUAL_HEADER_BYTES_MAX: usize = 6 * 1024;
/// A header section of more lines is unusual enough to have caused an error.
const USUAL_HEADER_LINES_MAX: usize = 50;

fn may_have_provoked(request: &PresentedRequest<'_>) -> bool {
    let bytes = || request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    PROVOKING_FIELDS.iter().any(|name| request.headers.contains_key(name))
        || request.headers.len() > USUAL_HEADER_LINES_MAX
        || bytes() > USUAL_HEADER_BYTES_MAX
        || request.headers.values().any(|value| value.as_bytes().iter().any(u8::is_ascii_control))
}
