//! Which stored responses an unsafe request makes doubtful. RFC 9111 §4.4.

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderValue, LOCATION};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, StatusCode, Uri};

use crate::field;
use crate::key::default_port;
use crate::request::PresentedRequest;

/// The URIs whose stored responses are to be removed: after a successful unsafe request its target, and what
/// `Location` and `Content-Location` name on the same origin. Empty otherwise.
///
/// A method that is not known to be safe counts as unsafe.
pub fn invalidated(request: &PresentedRequest<'_>, status: StatusCode, headers: &HeaderMap) -> Vec<Uri> {
    let is_non_error = status.is_success() || status.is_redirection();
    if is_safe(request.method) || !is_non_error {
        return Vec::new();
    }
    let mut uris = vec![request.target_uri.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let named = field::single(headers, name).and_then(|value| resolve(request.target_uri, value));
        uris.extend(named.filter(|uri| is_same_origin(uri, request.target_uri)));
    }
    uris.dedup();
    uris
}

/// Methods that change nothing (RFC 9110 §9.2.1). `CONNECT` names no resource of an origin.
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::CONNECT].contains(method)
}

/// The URI that a reference names relative to a base (RFC 3986 §5.2); `None` when it is no URI with a host.
pub(crate) fn resolve(base: &Uri, reference: &HeaderValue) -> Option<Uri> {
    let reference = std::str::from_utf8(reference.as_bytes()).ok()?.trim();
    let reference = reference.split('#').next().unwrap_or_default();
    if let Ok(uri) = reference.parse::<Uri>()
        && uri.scheme().is_some()
    {
        return Some(uri);
    }
    let scheme = base.scheme()?;
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    let path = match reference.bytes().next() {
        None => base.path_and_query()?.as_str().to_owned(),
        Some(b'/') => normal_path(reference),
        Some(b'?') => format!("{}{reference}", base.path()),
        Some(_) => {
            let folder = base.path().rfind('/').map_or("/", |end| &base.path()[..=end]);
            normal_path(&format!("{folder}{reference}"))
        }
    };
    build(scheme, base, &path)
}

fn build(scheme: &Scheme, base: &Uri, path: &str) -> Option<Uri> {
    let path: PathAndQuery = path.parse().ok()?;
    Uri::builder().scheme(scheme.clone()).authority(base.authority()?.clone()).path_and_query(path).build().ok()
}

/// Resolves `.` and `..` segments of a path, leaving its query alone (RFC 3986 §5.2.4).
fn normal_path(reference: &str) -> String {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
        if is_last && matches!(segment, "." | "..") {
            segments.push("");
        }
    }
    let path = format!("/{}", segments.join("/"));
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().or_else(|| default_port(uri.scheme_str()?));
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fields, get};

    fn named(method: &str, status: u16, lines: &[(&str, &str)]) -> Vec<String> {
        let asked = get(&[]).method(method);
        let status = StatusCode::from_u16(status).unwrap();
        invalidated(&asked.presented(), status, &fields(lines)).iter().map(Uri::to_string).collect()
    }

    const OWN: &str = "https://lessons.example/algebra/7";

    #[test]
    fn a_successful_unsafe_request_makes_its_target_doubtful() {
        // RFC 9111 §4.4
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"] {
            for status in [200, 201, 204, 302, 303] {
                assert_eq!(named(method, status, &[]), [OWN], "{method} {status}");
            }
            for status in [400, 404, 500, 503] {
                assert!(named(method, status, &[]).is_empty(), "{method} {status}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"] {
            assert!(named(method, 200, &[]).is_empty(), "{method}");
        }
    }

    #[test]
    fn location_and_content_location_count_on_the_same_origin() {
        // RFC 9111 §4.4
        let other = |lines: &[(&str, &str)]| named("POST", 201, lines)[1..].to_vec();
        assert_eq!(
            other(&[("location", "/a"), ("content-location", "b?c=1")]),
            ["https://lessons.example/a", "https://lessons.example/algebra/b?c=1"]
        );
        assert_eq!(other(&[("location", "https://LESSONS.example:443/a")]), ["https://LESSONS.example:443/a"]);
        for foreign in
            ["https://other.example/a", "http://lessons.example/a", "https://lessons.example:8443/a", "//b.example/"]
        {
            assert!(other(&[("location", foreign)]).is_empty(), "{foreign}");
        }
        assert!(other(&[("location", "/a"), ("location", "/b")]).is_empty());
        assert!(other(&[("location", OWN)]).is_empty(), "its own target once");
    }

    #[test]
    fn references_are_resolved() {
        // RFC 3986 §5.2, §5.4
        let base: Uri = "http://a.example/b/c/d;p?q".parse().unwrap();
        for (reference, expected) in [
            ("g", "http://a.example/b/c/g"),
            ("./g", "http://a.example/b/c/g"),
            ("g/", "http://a.example/b/c/g/"),
            ("/g", "http://a.example/g"),
            ("//g.example", "http://g.example/"),
            ("?y", "http://a.example/b/c/d;p?y"),
            ("g?y#s", "http://a.example/b/c/g?y"),
            ("#s", "http://a.example/b/c/d;p?q"),
            ("", "http://a.example/b/c/d;p?q"),
            (".", "http://a.example/b/c/"),
            ("..", "http://a.example/b/"),
            ("../g", "http://a.example/b/g"),
            ("../../../g", "http://a.example/g"),
            ("g?y/./x", "http://a.example/b/c/g?y/./x"),
            ("https://h.example/x", "https://h.example/x"),
        ] {
            let resolved = resolve(&base, &HeaderValue::from_static(reference)).map(|uri| uri.to_string());
            assert_eq!(resolved.as_deref(), Some(expected), "{reference}");
        }
        assert_eq!(resolve(&base, &HeaderValue::from_static("a b")), None);
        assert_eq!(resolve(&base, &HeaderValue::from_bytes(b"\xff").unwrap()), None);
    }
}
