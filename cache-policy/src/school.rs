//! Where the school profile differs from RFC 9111's letter: every deviation by name, with its reason.
//!
//! One cache serves a whole class, sites forget `Vary` and `private`, and a wrong guess hands one pupil's page to
//! another. So the profile would rather forward once too often. [`DEVIATIONS`] is the table that the documentation
//! quotes. An anonymous rule ([`crate::SiteRule::anonymous`]) lifts the ones about cookies, tokens and credentials.

use std::time::{Duration, SystemTime};

use http::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, EXPECT, HeaderMap, HeaderName, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};

use crate::cache_control::ResponseDirectives;
use crate::cookies::Cookies;
use crate::freshness::{self, Basis};
use crate::http_date::date_field;
use crate::options::Options;
use crate::request::{Pass, PresentedRequest};
use crate::site_rule::{SiteRule, sets_cookie};
use crate::storable::{Kept, NotStorable};
use crate::stored_head::{StoredHead, effective_directives};

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
pub const DEVIATIONS: [Deviation; 10] = [
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
               (text, JSON, XML) and no error or redirect, what was asked for without a cookie and has explicit freshness; while the origin \
               cannot be reached, also what was asked for without a cookie",
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
        name: "post",
        does: "the answer to a POST is never stored: one person's form would decide what all see",
        rfc: "RFC 9110 §9.3.3 lets one that names its own address by Content-Location answer a later GET",
        lifted_by_anonymous: false,
    },
    Deviation {
        name: "encoding-by-result",
        does: "under Vary: Accept-Encoding a stored response serves every request that accepts its content coding, \
               and decoded from gzip or br every other",
        rfc: "RFC 9111 §4.1 compares the field's value in the two requests",
        lifted_by_anonymous: false,
    },
];

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

/// The deviation `post`.
pub(crate) fn may_store_post(request: &PresentedRequest<'_>) -> bool {
    !request.options.is_school()
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
    let date_or_epoch = date.unwrap_or(SystemTime::UNIX_EPOCH);
    let basis = Basis { status, headers, directives, is_targeted, date: date_or_epoch, is_undated: false };
    let lifetime = freshness::lifetime(&basis, request.options);
    let is_known = has_directive || date.is_some();
    let has_freshness = is_known && lifetime.source.is_explicit() && lifetime.duration > Duration::ZERO;
    let has_floor = request.rule.fresh_min.is_some() && freshness::floor_applies(status);
    if !(has_freshness || has_floor) {
        return Err(NotStorable::ErrorWithoutFreshness);
    }
    if may_have_provoked(request) { Err(NotStorable::ProvokedError) } else { Ok(()) }
}

/// The deviation `cookie-reused`.
pub(crate) fn may_reuse_with_cookie(stored: &StoredHead, request: &PresentedRequest<'_>) -> bool {
    if !request.options.is_school() || request.rule.anonymous || !request.cookies.may_decide_content() {
        return true;
    }
    let is_plain_file = || stored.status().is_success() && !is_page_or_data(stored.headers());
    is_declared_shared(stored.directives())
        || (is_guests_copy(stored) && stored.has_explicit_freshness() && is_plain_file())
}

/// Whether an answer with these fields tells something about what *others* get: not when it answers a request that passes
/// by the cache, nor one with a cookie that may have decided it, unless it is declared shared.
pub fn speaks_for_all(request: &PresentedRequest<'_>, headers: &HeaderMap) -> bool {
    if crate::may_share(request).is_err() {
        return false;
    }
    let is_shared = || is_declared_shared(&effective_directives(headers, request.options).0);
    !request.options.is_school() || !request.cookies.may_decide_content() || is_shared()
}

/// The exception of `cookie-reused`: what anybody gets who sends no cookie tells nobody's secret, and while the origin
/// is silent it is better than nothing.
pub(crate) fn is_guests_copy(stored: &StoredHead) -> bool {
    !stored.parts().request_had_cookies
}

/// The origin said, for a cache that serves many, that the response is for all of them.
fn is_declared_shared(directives: &ResponseDirectives) -> bool {
    directives.public || directives.s_maxage.value().is_some()
}

/// Text, JSON, XML and what names no type: where a login shows. Pictures, styles, scripts, subtitles and films are not.
fn is_page_or_data(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let media_type = String::from_utf8_lossy(media_type).to_ascii_lowercase();
    match media_type.as_str() {
        "image/svg+xml" | "text/css" | "text/javascript" | "text/vtt" => false,
        "" => true,
        other => other.starts_with("text/") || ["json", "xml"].iter().any(|end| other.ends_with(end)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, anonymous, fields, get};
    use crate::{Pass, SiteRule, may_share, storable};

    fn stores(asked: &Asked, status: u16, lines: &[(&str, &str)]) -> Result<(), NotStorable> {
        storable(&asked.presented(), http::StatusCode::from_u16(status).unwrap(), &fields(lines)).map(|_| ())
    }

    #[test]
    fn deviations_that_pass_by_the_cache() {
        let share = |asked: Asked| may_share(&asked.presented());
        let session = || get(&[("cookie", "PHPSESSID=1")]);
        let token = || get(&[]).uri("https://a.example/?token=1");
        let credentials = || get(&[("authorization", "Basic eA==")]);
        assert_eq!(share(session()), Err(Pass::SessionCookie));
        assert_eq!(share(token()), Err(Pass::TokenInQuery));
        assert_eq!(share(credentials()), Err(Pass::Authorization));
        for make in [session, token, credentials] {
            assert_eq!(share(make().rule(anonymous())), Ok(()));
            assert_eq!(share(make().rfc()), Ok(()));
        }
        assert_eq!(share(get(&[("cookie", "lang=kk")])), Ok(()));
        let never = SiteRule { never_store: true, ..SiteRule::default() };
        assert_eq!(share(get(&[]).rule(never).rfc()), Err(Pass::RuleNeverStore));
        assert_eq!(share(get(&[]).method("POST").rfc()), Err(Pass::Method));
        assert_eq!(share(get(&[]).method("HEAD")), Ok(()));
    }

    #[test]
    fn cookies_keep_a_response_from_being_stored() {
        let cookie = || get(&[("cookie", "lang=kk")]);
        let long = ("cache-control", "max-age=3600");
        let refused = Err(NotStorable::CookieOnRequest);
        assert_eq!(stores(&cookie(), 200, &[long]), refused);
        assert_eq!(stores(&cookie(), 200, &[("cache-control", "public")]), Ok(()));
        assert_eq!(stores(&cookie(), 200, &[("cache-control", "s-maxage=1")]), Ok(()));
        assert_eq!(stores(&cookie(), 200, &[("cache-control", "s-maxage=x")]), refused);
        assert_eq!(stores(&cookie().rfc(), 200, &[long]), Ok(()));
        assert_eq!(stores(&cookie().rule(anonymous()), 200, &[long]), Ok(()));
        assert_eq!(stores(&get(&[("cookie", "_ga=1")]), 200, &[long]), Ok(()), "counters decide nothing");
        let floor = SiteRule { fresh_min: Some(crate::testing::s(60)), ..SiteRule::default() };
        assert_eq!(stores(&cookie().rule(floor), 200, &[long]), refused);
        for name in ["set-cookie", "set-cookie2"] {
            let sets = [("cache-control", "public, max-age=60"), (name, "a=b")];
            assert_eq!(stores(&get(&[]), 200, &sets), Err(NotStorable::SetCookie));
            assert_eq!(stores(&get(&[]).rfc(), 200, &sets), Ok(()));
            assert_eq!(stores(&get(&[]).rule(anonymous()), 200, &sets), Ok(()));
        }
        let session = get(&[("cookie", "sid=1")]);
        assert_eq!(stores(&session, 200, &[("cache-control", "public")]), Err(NotStorable::SessionCookie));
        let token = get(&[]).uri("https://a.example/?sig=1");
        assert_eq!(stores(&token, 200, &[long]), Err(NotStorable::TokenInQuery));
    }

    #[test]
    fn errors_and_redirects_want_explicit_freshness() {
        let long = ("last-modified", "@-9000");
        for status in [301, 302, 404, 410, 500, 501] {
            for lines in [
                &[long][..],
                &[long, ("cache-control", "public")],
                &[long, ("cache-control", "max-age=0")],
                &[long, ("cache-control", "max-age=x")],
                &[("expires", "@60")], // no Date to compare with
                &[("expires", "@0"), ("date", "@0")],
                &[("expires", "0"), ("date", "@0")],
            ] {
                let decided = stores(&get(&[]), status, lines);
                assert_eq!(decided, Err(NotStorable::ErrorWithoutFreshness), "{status} {lines:?}");
            }
            assert_eq!(stores(&get(&[]), status, &[("cache-control", "max-age=1")]), Ok(()));
            assert_eq!(stores(&get(&[]), status, &[("expires", "@1"), ("date", "@0")]), Ok(()));
            let floor = SiteRule { fresh_min: Some(crate::testing::s(60)), ..SiteRule::default() };
            let by_rule = if status < 400 { Ok(()) } else { Err(NotStorable::ErrorWithoutFreshness) };
            assert_eq!(stores(&get(&[]).rule(floor), status, &[]), by_rule, "{status}");
        }
        assert_eq!(stores(&get(&[]), 200, &[long]), Ok(()));
        assert_eq!(stores(&get(&[]).rfc(), 404, &[long]), Ok(()));
    }

    #[test]
    fn an_error_that_a_field_may_have_provoked_is_not_stored() {
        let fresh = [("cache-control", "public, max-age=60")];
        let long_value = "x".repeat(USUAL_HEADER_BYTES_MAX);
        let many: Vec<(&str, &str)> = vec![("x-a", "1"); USUAL_HEADER_LINES_MAX + 1];
        let one = |name: &'static str, value| get(&[(name, value)]);
        for asked in [
            one("range", "bytes=0-1"),
            one("expect", "100-continue"),
            one("if-match", "\"a\""),
            one("x-http-method-override", "POST"),
            one("x-original-url", "/admin"),
            one("x-forwarded-host", "evil.example"),
            one("x-pad", &long_value),
            one("x-tab", "a\tb"),
            get(&many),
        ] {
            assert_eq!(stores(&asked, 404, &fresh), Err(NotStorable::ProvokedError));
            assert_eq!(stores(&asked, 200, &fresh), Ok(()), "a success was not provoked");
            assert_eq!(stores(&asked.rfc(), 404, &fresh), Ok(()));
        }
    }

    #[test]
    fn every_deviation_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = DEVIATIONS.iter().map(|deviation| deviation.name).collect();
        assert_eq!(names.len(), DEVIATIONS.len());
    }
}
