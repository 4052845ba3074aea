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
