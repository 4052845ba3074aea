//! The head of an answer, put into the gateway's names.

use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ALT_SVC, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, PROXY_AUTHENTICATE, REFRESH, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_FRAME_OPTIONS,
};
use http::{StatusCode, response};

use super::map::{Map, Mapped};
use super::tags::Mark;
use super::{csp, fields};

/// What never goes back to the reader: cookies and questions for credentials, promises that hold for the site's own name
/// and not for the gateway's, and ways past the gateway.
const REMOVED: [HeaderName; 17] = [
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    WWW_AUTHENTICATE,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("clear-site-data"),
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("public-key-pins"),
    HeaderName::from_static("expect-ct"),
    ALT_SVC,
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("speculation-rules"),
    HeaderName::from_static("onion-location"),
];

/// What is said of the bytes, and no longer true of the rewritten ones.
const OF_THE_BYTES: [HeaderName; 6] = [
    CONTENT_LENGTH,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Source maps are for developers, but their addresses are as good as any.
const SOURCE_MAPS: [HeaderName; 2] = [HeaderName::from_static("sourcemap"), HeaderName::from_static("x-sourcemap")];

/// Which timings a page of another host may see.
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// How a body is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTML; XHTML, SVG and DASH manifests are read by the same rules.
    Markup,
    /// A style sheet.
    Css,
    /// An HLS playlist (RFC 8216).
    Playlist,
}

impl Kind {
    /// By the media type; None for what passes untouched.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/html" | "application/xhtml+xml" | "image/svg+xml" | "application/dash+xml" => Some(Self::Markup),
            "text/css" => Some(Self::Css),
            "application/vnd.apple.mpegurl" | "application/x-mpegurl" | "audio/mpegurl" | "audio/x-mpegurl" => {
                Some(Self::Playlist)
            }
            _ => None,
        }
    }
}

/// The coding of a body; None for one that we cannot undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Brotli,
}

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_ENCODING).iter();
        let Some(line) = lines.next() else { return Some(Self::Identity) };
        let coding = line.to_str().ok()?.trim().to_ascii_lowercase();
        match coding.as_str() {
            _ if lines.next().is_some() => None,
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            _ => None,
        }
    }
}

/// Maps every field that names an address, for an answer of any kind.
pub(super) fn map_fields(headers: &mut HeaderMap, map: &Map) {
    for name in &REMOVED {
        headers.remove(name);
    }
    let visited = |value: &str| match map.reference(value) {
        Mapped::Kept => Some(value.to_owned()),
        Mapped::To(address) | Mapped::Outside(address) => Some(address),
    };
    let origins = |value: &str| {
        let origins = value.split(',').map(str::trim).filter_map(|origin| match origin {
            "*" | "null" => Some(origin.to_owned()),
            origin => map.origin(origin),
        });
        let origins = origins.collect::<Vec<_>>().join(", ");
        (!origins.is_empty()).then_some(origins)
    };
    each(headers, &[LOCATION, CONTENT_LOCATION], visited);
    each(headers, &SOURCE_MAPS, visited);
    each(headers, &[LINK], |value| fields::link(value, map));
    each(headers, &[REFRESH], |value| Some(fields::refresh(value, map).unwrap_or_else(|| value.to_owned())));
    each(headers, &[CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY], |value| {
        Some(csp::mapped(value, map)).filter(|policy| !policy.is_empty())
    });
    each(headers, &[ACCESS_CONTROL_ALLOW_ORIGIN, TIMING_ALLOW_ORIGIN], origins);
    // SAMEORIGIN and DENY mean the same between gateway names; the old third form names a host that browsers ignore.
    each(headers, &[X_FRAME_OPTIONS], |value| {
        Some(value.to_owned()).filter(|value| !value.trim().to_ascii_lowercase().starts_with("allow-from"))
    });
}

/// Each line of these fields, or without the line where `mapped` gives none.
fn each(headers: &mut HeaderMap, names: &[HeaderName], mapped: impl Fn(&str) -> Option<String>) {
    for name in names {
        if !headers.contains_key(name) {
            continue;
        }
        let lines: Vec<_> = headers.get_all(name).iter().cloned().collect();
        headers.remove(name);
        for line in lines {
            if let Some(value) = mapped_line(&line, &mapped) {
                headers.append(name, value);
            }
        }
    }
}

/// One line, mapped as text. Servers send addresses in raw UTF-8 and in older encodings; what is no UTF-8 is read letter for
/// byte (WHATWG Infra, "isomorphic decode") and so written again.
fn mapped_line(line: &HeaderValue, mapped: impl Fn(&str) -> Option<String>) -> Option<HeaderValue> {
    if let Ok(text) = str::from_utf8(line.as_bytes()) {
        return HeaderValue::try_from(mapped(text)?).ok();
    }
    let text: String = line.as_bytes().iter().copied().map(char::from).collect();
    let bytes = mapped(&text)?.chars().map(u8::try_from).collect::<Result<Vec<_>, _>>().ok()?;
    HeaderValue::from_bytes(&bytes).ok()
}

/// The head of a rewritten body: without what was said of the other bytes, with a tag of its own.
pub(super) fn rewritten(head: &mut response::Parts, mark: &Mark) {
    for name in &OF_THE_BYTES {
        head.headers.remove(name);
    }
    head.headers.remove(CONTENT_ENCODING);
    mark.derive(&mut head.headers);
}

/// Whether a body of this status is the whole of what its type says.
pub(super) fn has_whole_content(status: StatusCode) -> bool {
    !matches!(
        status,
        StatusCode::NO_CONTENT
            | StatusCode::NOT_MODIFIED
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::RANGE_NOT_SATISFIABLE
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::map;
    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn cookies_credentials_and_promises_do_not_go_back() {
        let mut headers = HeaderMap::new();
        for name in &REMOVED {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        headers.insert("x-kept", HeaderValue::from_static("1"));
        map_fields(&mut headers, &map());
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn addresses_in_fields_are_mapped() {
        let e = "http://e--lessons-kz.lessons.school.example";
        for (name, value, expected) in [
            ("location", "https://e-lessons.kz/x", Some(format!("{e}/x"))),
            ("location", "/x", Some("/x".to_owned())),
            ("location", "https://games.example/x", Some("http://games-example.lessons.school.example/".to_owned())),
            ("content-location", "//e-lessons.kz/x", Some(format!("{e}/x"))),
            ("refresh", "0; url=https://e-lessons.kz/", Some(format!("0; url={e}/"))),
            ("refresh", "5", Some("5".to_owned())),
            ("link", "<https://e-lessons.kz/x>; rel=preload", Some(format!("<{e}/x>; rel=preload"))),
            ("content-security-policy", "img-src e-lessons.kz", Some(format!("img-src {e}"))),
            ("content-security-policy", "report-uri /x", None),
            ("content-security-policy-report-only", "img-src e-lessons.kz", Some(format!("img-src {e}"))),
            ("access-control-allow-origin", "*", Some("*".to_owned())),
            ("access-control-allow-origin", "https://e-lessons.kz", Some(e.to_owned())),
            ("access-control-allow-origin", "https://games.example", None),
            ("timing-allow-origin", "https://e-lessons.kz, *", Some(format!("{e}, *"))),
            ("sourcemap", "https://e-lessons.kz/x.map", Some(format!("{e}/x.map"))),
            ("x-frame-options", "SAMEORIGIN", Some("SAMEORIGIN".to_owned())),
            ("x-frame-options", "ALLOW-FROM https://a.kz", None),
        ] {
            let mut headers = fields(&[(name, value)]);
            map_fields(&mut headers, &map());
            assert_eq!(headers.get(name).map(|value| value.to_str().unwrap().to_owned()), expected, "{name}: {value}");
        }
    }

    #[test]
    fn fields_that_are_not_ascii_are_mapped_byte_by_byte() {
        let e = b"http://e--lessons-kz.lessons.school.example";
        let with_e = |rest: &[u8]| [&e[..], rest].concat();
        for (name, value, expected) in [
            (LOCATION, "https://e-lessons.kz/урок".as_bytes(), with_e("/урок".as_bytes())),
            (LOCATION, "/урок".as_bytes(), "/урок".into()),
            (LOCATION, b"/\xf3\xf0\xee\xea", b"/\xf3\xf0\xee\xea".into()),
            (LOCATION, b"https://e-lessons.kz/\xf3\xf0", with_e(b"/\xf3\xf0")),
            (LOCATION, b"https://games.example/\xf3", b"http://games-example.lessons.school.example/".into()),
            (LINK, "</x>; title=\"урок\"".as_bytes(), "</x>; title=\"урок\"".into()),
            (CONTENT_SECURITY_POLICY, b"img-src 'self'; x-\xff y", b"img-src 'self'; x-\xff y".into()),
        ] {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_bytes(value).unwrap())]);
            map_fields(&mut headers, &map());
            let told = headers.get(&name).map(|value| value.as_bytes().to_vec());
            assert_eq!(told, Some(expected), "{name}: {}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn the_media_type_says_what_is_rewritten() {
        for (media_type, kind) in [
            ("text/html", Some(Kind::Markup)),
            ("Text/HTML; charset=utf-8", Some(Kind::Markup)),
            ("image/svg+xml", Some(Kind::Markup)),
            ("text/css", Some(Kind::Css)),
            ("application/vnd.apple.mpegurl", Some(Kind::Playlist)),
            ("text/javascript", None),
            ("image/png", None),
            ("video/mp4", None),
        ] {
            assert_eq!(Kind::of(&fields(&[("content-type", media_type)])), kind, "{media_type}");
        }
        for (coding, expected) in [
            ("gzip", Some(Coding::Gzip)),
            ("BR", Some(Coding::Brotli)),
            ("identity", Some(Coding::Identity)),
            ("zstd", None),
        ] {
            assert_eq!(Coding::of(&fields(&[("content-encoding", coding)])), expected, "{coding}");
        }
    }
}
