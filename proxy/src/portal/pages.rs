//! The pages that say no: not on the list, out of reach, not understood. Pure functions from plain data to a response.

use std::time::{Duration, SystemTime};

use askama::Template;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};

use super::{Language, sheet, words};
use crate::request::ForwardError;

/// Longest host or contact that a page shows, in characters; a DNS name is shorter (RFC 1035 §2.3.4).
const SHOWN_CHARS_MAX: usize = 253;

/// What the page for a host that no rule names says.
#[derive(Clone, Copy, Debug)]
pub struct RefusalPage<'a> {
    /// The host, as the client asked for it.
    pub host: &'a str,
    /// The refusal's stable word, as in `Cache-Status` and the metrics.
    pub reason: &'a str,
    /// Whom to ask, as configured; none says "your teacher".
    pub contact: Option<&'a str>,
}

/// What the page for an origin that gave no usable answer says.
#[derive(Clone, Copy, Debug)]
pub struct OutagePage<'a> {
    /// The site's host.
    pub host: &'a str,
    /// 502 or 504; another status is shown as it is.
    pub status: StatusCode,
    /// The failure's stable word.
    pub reason: &'a str,
    /// What went wrong, in the reader's words.
    pub trouble: Trouble,
    /// Why no stored copy could help.
    pub copy: StoredCopy,
    /// Since when this origin has failed, if that is known.
    pub down_since: Option<SystemTime>,
    /// When asking again makes sense; also sent as `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Whom to ask, as configured; none says "your teacher".
    pub contact: Option<&'a str>,
}

/// What went wrong on the way to an origin, as far as a pupil or teacher can use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its name has no address.
    NoAddress,
    /// The name server did not answer.
    NameServerSilent,
    /// Its name leads where its site may not lead.
    AddressProhibited,
    /// Refused, or no connection in time.
    Unreachable,
    /// Its certificate is wrong.
    NotTrusted,
    /// Connected, but silent.
    NoAnswer,
    /// An answer that is cut short, not HTTP, or an error of its own (5xx).
    BrokenAnswer,
    /// Our own limit or back-off for this origin.
    Busy,
}

impl From<&ForwardError> for Trouble {
    fn from(error: &ForwardError) -> Self {
        match error {
            ForwardError::Dns { .. } => Self::NoAddress,
            ForwardError::DnsTimeout { .. } => Self::NameServerSilent,
            ForwardError::DestinationIpProhibited { .. } => Self::AddressProhibited,
            ForwardError::ConnectionRefused { .. } | ForwardError::ConnectionTimeout { .. } => Self::Unreachable,
            ForwardError::Tls { .. } => Self::NotTrusted,
            ForwardError::ResponseTimeout { .. } => Self::NoAnswer,
            ForwardError::ConnectionTerminated { .. }
            | ForwardError::ResponseIncomplete { .. }
            | ForwardError::Protocol { .. } => Self::BrokenAnswer,
            ForwardError::Busy { .. } => Self::Busy,
        }
    }
}

/// Why no stored response could be served instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredCopy {
    /// Nothing is stored for this page.
    None,
    /// The origin forbids serving it stale (`must-revalidate`, `no-cache` and the like).
    MustBeValidated,
    /// It is older than the rules allow.
    TooOld,
}

/// Why the gateway answers with a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayNo {
    /// The host is not on the list.
    Outside,
    /// The request would write.
    Writes,
    /// The site asks for credentials.
    SignIn,
    /// The name is no site's.
    UnknownName,
}

impl GatewayNo {
    /// The status. A 401 would have to ask for the credentials that do not pass.
    fn status(self) -> StatusCode {
        match self {
            Self::Outside | Self::SignIn => StatusCode::FORBIDDEN,
            Self::Writes => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownName => StatusCode::NOT_FOUND,
        }
    }

    /// The stable word.
    fn token(self) -> &'static str {
        match self {
            Self::Outside => "gateway-outside",
            Self::Writes => "gateway-read-only",
            Self::SignIn => "gateway-no-sign-in",
            Self::UnknownName => "gateway-unknown-name",
        }
    }
}

/// What a gateway name cannot do, and why. It may stand in a frame of a lesson, where the outside was.
pub fn gateway(no: GatewayNo, host: &str, contact: Option<&str>, accept_language: Option<&str>) -> Response<Bytes> {
    struct GatewayPage<'a> {
        host: &'a str,
        reason: &'a str,
        contact: Option<&'a str>,
    }
    #[derive(Template)]
    #[template(path = "portal/gateway.html")]
    struct Gateway<'a> {
        language: Language,
        said: (&'static str, &'static str, &'static str),
        page: GatewayPage<'a>,
    }
    let language = Language::choose(accept_language);
    let (title, lead, advice) = words::gateway(no);
    let said = (language.says(title), language.says(lead), language.says(advice));
    let page = GatewayPage { host: clip(host), reason: no.token(), contact: contact.map(clip) };
    let mut response = finish(no.status(), language, &Gateway { language, said, page });
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, sheet::FRAMED_POLICY.clone());
    if no == GatewayNo::Writes {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// 403: no rule names this host; nobody was connected to.
pub fn refusal(page: &RefusalPage<'_>, accept_language: Option<&str>) -> Response<Bytes> {
    #[derive(Template)]
    #[template(path = "portal/refusal.html")]
    struct Refusal<'a> {
        language: Language,
        page: RefusalPage<'a>,
    }
    let language = Language::choose(accept_language);
    let page = RefusalPage { host: clip(page.host), contact: page.contact.map(clip), ..*page };
    finish(StatusCode::FORBIDDEN, language, &Refusal { language, page })
}

/// 502 or 504: the origin gave no usable answer and the store could not help. Says what is known.
pub fn outage(page: &OutagePage<'_>, accept_language: Option<&str>) -> Response<Bytes> {
    #[derive(Template)]
    #[template(path = "portal/outage.html")]
    struct Outage<'a> {
        language: Language,
        page: OutagePage<'a>,
        trouble: &'static str,
        copy: &'static str,
        down_since: Option<Moment>,
        retry_after_s: Option<u64>,
    }
    let language = Language::choose(accept_language);
    let retry_after_s = page.retry_after.map(|after| after.as_secs().max(1));
    let down_since = page.down_since.and_then(Moment::of);
    let trouble = language.says(words::trouble(page.trouble));
    let copy = language.says(words::copy(page.copy));
    let page = OutagePage { host: clip(page.host), contact: page.contact.map(clip), ..*page };
    let mut response =
        finish(page.status, language, &Outage { language, page, trouble, copy, down_since, retry_after_s });
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Any other refusal (400, 404, 405, 413, 414, 421, 431, 500, 503): one sentence and what to do.
pub fn plain(status: StatusCode, reason: &str, accept_language: Option<&str>) -> Response<Bytes> {
    struct PlainPage<'a> {
        reason: &'a str,
    }
    #[derive(Template)]
    #[template(path = "portal/plain.html")]
    struct Plain<'a> {
        language: Language,
        status: StatusCode,
        said: (&'static str, &'static str),
        page: PlainPage<'a>,
    }
    let language = Language::choose(accept_language);
    let (title, advice) = words::plain(status);
    let said = (language.says(title), language.says(advice));
    let page = Plain { language, status, said, page: PlainPage { reason: clip(reason) } };
    let mut response = finish(status, language, &page);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// The page as a response: never stored, nothing loaded, no script, one language of three.
pub(super) fn finish(status: StatusCode, language: Language, page: &impl Template) -> Response<Bytes> {
    let body = Bytes::from(page.render().expect("our templates write to memory and call nothing that can fail"));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, sheet::POLICY.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    *response.body_mut() = body;
    response
}

/// The first [`SHOWN_CHARS_MAX`] characters.
fn clip(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// A moment for reading: the box's local time, and for machines.
struct Moment {
    machine: String,
    shown: String,
}

impl Moment {
    fn of(time: SystemTime) -> Option<Self> {
        let stamp = jiff::Timestamp::try_from(time).ok()?;
        let local = stamp.to_zoned(jiff::tz::TimeZone::system());
        Some(Self {
            machine: local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            shown: local.strftime("%d.%m.%Y %H:%M").to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response<Bytes>) -> &str {
        std::str::from_utf8(response.body()).unwrap()
    }

    const ASKED: [(&str, &str); 3] = [("kk", "kk"), ("ru-RU,ru;q=0.9", "ru"), ("en", "en")];

    #[test]
    fn a_refusal_names_the_host_and_whom_to_ask_in_the_readers_language() {
        let page =
            RefusalPage { host: "games.example", reason: "not-listed", contact: Some("Айгүл, 12-кабинет") };
        let titles = ["Бұл сайт тізімде жоқ", "Этого сайта нет в списке", "This site is not on the list"];
        for ((asked, tag), title) in ASKED.into_iter().zip(titles) {
            let response = refusal(&page, Some(asked));
            assert_eq!(response.status(), 403);
            assert_eq!(response.headers()[CONTENT_LANGUAGE], tag);
            for part in ["games.example", "not-listed", "Айгүл, 12-кабинет", title, &format!("<html lang=\"{tag}\">")]
            {
                assert!(text(&response).contains(part), "{tag}: {part}");
            }
        }
        let unnamed = refusal(&RefusalPage { contact: None, ..page }, Some("ru"));
        assert!(text(&unnamed).contains("к учителю"));
    }

    #[test]
    fn what_others_wrote_stays_text() {
        let hostile = "\"><script>alert(1)</script><style>*{}";
        let page = RefusalPage { host: hostile, reason: hostile, contact: Some(hostile) };
        let body = refusal(&page, None);
        assert!(!text(&body).contains("<script"));
        assert_eq!(text(&body).matches("<style>").count(), 1);
        assert!(text(&body).contains("&#60;script&#62;"));
    }

    #[test]
    fn a_long_host_is_cut() {
        let long = "ұ".repeat(5000);
        let page = RefusalPage { host: &long, reason: "not-listed", contact: None };
        assert!(!text(&refusal(&page, None)).contains(&"ұ".repeat(SHOWN_CHARS_MAX + 1)));
    }

    #[test]
    fn an_outage_says_what_is_known() {
        let page = OutagePage {
            host: "bilim.example",
            status: StatusCode::GATEWAY_TIMEOUT,
            reason: "connection-timeout",
            trouble: Trouble::from(&ForwardError::ConnectionTimeout {
                host: "bilim.example".into(),
                after: Duration::from_secs(10),
            }),
            copy: StoredCopy::MustBeValidated,
            down_since: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)),
            retry_after: Some(Duration::from_millis(200)),
            contact: None,
        };
        let response = outage(&page, Some("en"));
        assert_eq!(response.status(), 504);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        for part in ["bilim.example", "No connection to the site", "without a check", "<time datetime=\"2026-09-2"] {
            assert!(text(&response).contains(part), "{part}");
        }
        let bare = outage(&OutagePage { down_since: None, retry_after: None, ..page }, Some("kk"));
        assert!(!bare.headers().contains_key(RETRY_AFTER));
        assert!(!text(&bare).contains("<time"));
    }

    #[test]
    fn the_plain_pages_have_their_own_words() {
        for status in [400, 404, 405, 413, 414, 421, 431, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let response = plain(status, "ambiguous-framing", Some("en"));
            assert_eq!(response.status(), status);
            assert!(text(&response).contains("ambiguous-framing"));
            assert_eq!(response.headers().contains_key(ALLOW), status == 405);
        }
    }

    #[test]
    fn the_gateways_pages_say_why_and_may_stand_in_a_frame() {
        for (no, status, title) in [
            (GatewayNo::Outside, 403, "This link leads outside"),
            (GatewayNo::Writes, 405, "Here you can only read"),
            (GatewayNo::SignIn, 403, "This page asks you to sign in"),
            (GatewayNo::UnknownName, 404, "There is no such address"),
        ] {
            let response = gateway(no, "games.example", Some("Айгүл"), Some("en"));
            assert_eq!(response.status(), status);
            for part in [title, "games.example", "Айгүл", no.token()] {
                assert!(text(&response).contains(part), "{part}");
            }
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("frame-ancestors")
            );
            assert_eq!(response.headers().contains_key(ALLOW), status == 405);
            let titles: std::collections::BTreeSet<_> =
                ASKED.map(|(asked, _)| text(&gateway(no, "", None, Some(asked))).to_owned()).into_iter().collect();
            assert_eq!(titles.len(), 3, "each language has its own words");
        }
    }

    #[test]
    fn a_page_is_not_stored_and_loads_nothing() {
        let response = plain(StatusCode::BAD_REQUEST, "bad-request", None);
        let headers = response.headers();
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[VARY], "Accept-Language");
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(!policy.contains("unsafe"));
        let text = text(&response).replace("http://www.w3.org/2000/svg", ""); // the icon's name space, fetched by nobody
        for outside in ["<script", "src=", "<img", "style=\"", "http://", "https://"] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert_eq!(headers[CONTENT_LENGTH], response.body().len().to_string().as_str());
        assert!(!headers.contains_key(http::header::SET_COOKIE));
    }
}
