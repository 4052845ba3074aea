//! What a request must be to pass the door, and what is taken off it: one pure function over its head.
//!
//! Framing was judged before ([`super::framing`]); here it is the target, `Host` and the fields. What passes has one
//! meaning: by the reverse door an origin-form target and one `Host`, by the forward door an absolute-form target whose
//! authority is the only one, over HTTP/1.1 and HTTP/2 alike.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use crate::ingress::limits::{FIELDS_MAX, TARGET_BYTES_MAX};
use crate::request::Way;

/// Why a request does not pass; answered by the door itself, and the connection is then closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Turned {
    /// No `Host`, or more than one.
    #[error("the request must have exactly one Host field")]
    Hosts,
    /// A `Host` or authority that is no `name[:port]`.
    #[error("the host in the request is not a host name with an optional port")]
    BadAuthority,
    /// The target and `Host` name different hosts.
    #[error("the address and the Host field of the request name different hosts")]
    HostDisagrees,
    /// A target whose scheme is not that of the connection, or none that we know.
    #[error("the address in the request has a scheme that does not belong here")]
    BadScheme,
    /// A target in a form that this door does not take.
    #[error("this port does not take such requests: it is for {0}")]
    WrongDoor(&'static str),
    /// Content in a GET or HEAD (RFC 9110 §9.3.1 gives it no meaning).
    #[error("a {0} request must not have content")]
    Content(&'static str),
    /// The target is too long.
    #[error("the address is longer than {TARGET_BYTES_MAX} bytes")]
    TargetTooLong,
    /// Too many field lines.
    #[error("the request has more than {FIELDS_MAX} header fields")]
    TooManyFields,
    /// The content is longer than the box takes.
    #[error("the content is too long for this box")]
    ContentTooLong,
    /// An expectation other than `100-continue`.
    #[error("the Expect field asks for something that is not known here")]
    Expectation,
    /// TRACE, which would show one program the fields of another.
    #[error("the method TRACE is not available")]
    Trace,
    /// A WebSocket; the box does not pass it on yet.
    #[error("WebSocket connections are not available through this box yet")]
    WebSocket,
    /// CONNECT to what the allowlist does not permit.
    #[error("the allowlist of this school does not permit a connection to this host and port")]
    TunnelNotListed,
    /// A site asked for by its bare address, at a door where that is not the box's own.
    #[error("addresses without a name are not served")]
    AddressLiteral,
    /// A connection on its way to an address that is none of the named site's.
    #[error("this connection was going to an address that is not one of the site's as this box finds them")]
    WrongDestination,
    /// CONNECT to an origin that cannot be reached.
    #[error("the host cannot be reached at the moment")]
    TunnelUnreachable,
}

impl Turned {
    /// The status. No wildcard arm: a new reason does not build until someone picks its status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Hosts | Self::BadAuthority | Self::HostDisagrees | Self::BadScheme | Self::WrongDoor(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Content(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ContentTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Trace | Self::WebSocket => StatusCode::NOT_IMPLEMENTED,
            Self::TunnelNotListed | Self::AddressLiteral => StatusCode::FORBIDDEN,
            Self::WrongDestination => StatusCode::MISDIRECTED_REQUEST,
            Self::TunnelUnreachable => StatusCode::BAD_GATEWAY,
        }
    }
}

/// What the door knows about the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    /// Which door.
    pub(crate) way: Way,
    /// Whether TLS ends here.
    pub(crate) is_secure: bool,
    /// Most bytes of content.
    pub(crate) content_bytes_max: u64,
}

/// What passes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// A request for the stack; its head has been put in order.
    Request,
    /// CONNECT (RFC 9110 §9.3.6) to this host, which may be no host name yet, and port.
    Tunnel {
        /// As the client wrote it.
        host: String,
        /// Always there: CONNECT has no usual port.
        port: u16,
    },
}

/// Decides, and puts the head in order.
///
/// # Errors
/// [`Turned`] says what is wrong; the head is then not to be used.
pub(crate) fn admit(door: Door, head: &mut Parts) -> Result<Admitted, Turned> {
    if target_bytes(&head.uri) > TARGET_BYTES_MAX {
        return Err(Turned::TargetTooLong);
    }
    if head.headers.len() > FIELDS_MAX {
        return Err(Turned::TooManyFields);
    }
    let admitted = if head.method == Method::CONNECT {
        connect_target(door, head)?
    } else {
        match door.way {
            Way::Forward if !door.is_secure => forward_target(head)?,
            // Inside a CONNECT, too, the client believes to speak with the site.
            Way::Reverse | Way::Gateway | Way::Night | Way::Forward => reverse_target(door, head)?,
        }
        check_content(door, head)?;
        check_fields(head)?;
        Admitted::Request
    };
    take_off(&mut head.headers);
    Ok(admitted)
}

fn target_bytes(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |target| target.as_str().len()) + uri.authority().map_or(0, |it| it.as_str().len())
}

fn connect_target(door: Door, head: &Parts) -> Result<Admitted, Turned> {
    // Over HTTP/2 a tunnel would share its connection with requests; clients of a plain proxy port use HTTP/1.1.
    if door.way != Way::Forward || door.is_secure || head.version != Version::HTTP_11 {
        return Err(Turned::WrongDoor("web pages, not for CONNECT"));
    }
    let target = head.uri.authority().ok_or(Turned::BadAuthority)?.as_str();
    if head.uri.scheme().is_some() || head.uri.path_and_query().is_some() {
        return Err(Turned::BadAuthority);
    }
    let (host, port) = host_and_port(target).ok_or(Turned::BadAuthority)?;
    let port = port.ok_or(Turned::BadAuthority)?;
    // RFC 9112 §3.2: Host is demanded of CONNECT too. Old clients leave the port out of it.
    if let Some(named) = one_host(head)? {
        let (named, named_port) = host_and_port(named).ok_or(Turned::BadAuthority)?;
        if !named.eq_ignore_ascii_case(host) || named_port.is_some_and(|named| named != port) {
            return Err(Turned::HostDisagrees);
        }
    }
    Ok(Admitted::Tunnel { host: host.to_owned(), port })
}

/// By the reverse door: origin-form and `Host`. An absolute-form target, which RFC 9112 §3.2.2 asks servers to take,
/// and HTTP/2's pseudo-fields become that.
fn reverse_target(door: Door, head: &mut Parts) -> Result<(), Turned> {
    if let Some(scheme) = head.uri.scheme() {
        let ours = if door.is_secure { &Scheme::HTTPS } else { &Scheme::HTTP };
        if scheme != ours {
            return Err(Turned::BadScheme);
        }
    }
    let host = agreed_authority(head, door.is_secure)?;
    let target = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(host) = host {
        head.headers.insert(HOST, host);
        head.uri = Uri::from(target);
    }
    let is_options = head.method == Method::OPTIONS;
    match head.uri.path() {
        "*" if is_options => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err(Turned::BadAuthority),
    }
}

/// By the forward door: absolute-form. What is in origin-form was meant for a web server.
fn forward_target(head: &mut Parts) -> Result<(), Turned> {
    let is_secure = match head.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(_) => return Err(Turned::BadScheme),
        None => return Err(Turned::WrongDoor("browsers that are set to use it as their proxy")),
    };
    if let Some(host) = agreed_authority(head, is_secure)? {
        head.headers.insert(HOST, host);
    }
    Ok(())
}

/// The one authority that the target and `Host` agree on, when the target has one; whatever there is has been checked.
fn agreed_authority(head: &Parts, is_secure: bool) -> Result<Option<HeaderValue>, Turned> {
    let named = one_host(head)?;
    let named_parts = named.map(|named| host_and_port(named).ok_or(Turned::BadAuthority)).transpose()?;
    let Some(target) = head.uri.authority() else {
        // Without an authority in the target, Host is all there is; HTTP/1.0 may leave it out, and then no site is meant.
        return if named.is_some() { Ok(None) } else { Err(Turned::Hosts) };
    };
    let (host, port) = host_and_port(target.as_str()).ok_or(Turned::BadAuthority)?;
    if let Some((named, named_port)) = named_parts {
        let usual = if is_secure { 443 } else { 80 };
        let same_port = named_port.unwrap_or(usual) == port.unwrap_or(usual);
        if !named.eq_ignore_ascii_case(host) || !same_port {
            return Err(Turned::HostDisagrees);
        }
    }
    authority_value(target).map(Some)
}

fn authority_value(authority: &Authority) -> Result<HeaderValue, Turned> {
    HeaderValue::from_str(authority.as_str()).map_err(|_| Turned::BadAuthority)
}

/// The `Host` field: exactly one in HTTP/1.1 (RFC 9112 §3.2), at most one elsewhere.
fn one_host(head: &Parts) -> Result<Option<&str>, Turned> {
    let mut lines = head.headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().map(Some).map_err(|_| Turned::BadAuthority),
        (None, _) if head.version != Version::HTTP_11 => Ok(None),
        _ => Err(Turned::Hosts),
    }
}

/// `uri-host [":" port]` (RFC 9110 §7.2) without user information; an IPv6 address keeps its brackets.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => {
            let (host, rest) = authority.split_at(end + 2);
            let inner = &host[1..host.len() - 1];
            inner.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')).then_some(())?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_address = host.len() > 2 && host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || !is_address && !host.bytes().all(is_plain) {
        return None;
    }
    let Some(port) = port else { return Some((host, None)) };
    // `Host: a.kz:` is allowed by the grammar and means the usual port.
    if port.is_empty() {
        return Some((host, None));
    }
    let is_number = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = if is_number { port.parse().ok()? } else { return None };
    (port > 0).then_some((host, Some(port)))
}

fn check_content(door: Door, head: &mut Parts) -> Result<(), Turned> {
    // Framing is the connection's own business; what goes on has its length from the body itself.
    let is_chunked = head.headers.remove(TRANSFER_ENCODING).is_some();
    let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let has_content = is_chunked || length.is_some_and(|length| length > 0);
    match head.method {
        Method::GET if has_content => Err(Turned::Content("GET")),
        Method::HEAD if has_content => Err(Turned::Content("HEAD")),
        Method::GET | Method::HEAD => {
            head.headers.remove(CONTENT_LENGTH);
            Ok(())
        }
        _ if length.is_some_and(|length| length > door.content_bytes_max) => Err(Turned::ContentTooLong),
        _ => Ok(()),
    }
}

fn check_fields(head: &Parts) -> Result<(), Turned> {
    if head.method == Method::TRACE {
        return Err(Turned::Trace);
    }
    if head.headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Turned::Expectation);
    }
    let wants = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().starts_with(b"websocket");
    // Any other Upgrade (`h2c` from old clients) may be ignored (RFC 9110 §7.8): no 101 is sent, no bytes follow.
    if head.headers.get_all(UPGRADE).iter().any(wants) { Err(Turned::WebSocket) } else { Ok(()) }
}

/// Takes off what a client could say about itself or about another request than this one (promise 8), and
/// credentials for a proxy, which are for us or for nobody.
fn take_off(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_taken_off(name.as_str())).cloned() {
        headers.remove(name);
    }
}

fn is_taken_off(name: &str) -> bool {
    match name.as_bytes() {
        [b'x', b'-', rest @ ..] => {
            rest.starts_with(b"forwarded") || TAKEN_OFF_X.iter().any(|taken| taken.as_bytes() == rest)
        }
        [b'c' | b'f' | b'p' | b't' | b'u' | b'e', ..] => TAKEN_OFF.contains(&name),
        _ => false,
    }
}

/// After `x-`; everything that begins with `x-forwarded` goes too.
const TAKEN_OFF_X: [&str; 20] = [
    "original-url",
    "original-uri",
    "original-host",
    "original-forwarded-for",
    "rewrite-url",
    "rewrite-uri",
    "host",
    "http-host-override",
    "http-method-override",
    "http-method",
    "method-override",
    "real-ip",
    "client-ip",
    "cluster-client-ip",
    "originating-ip",
    "remote-ip",
    "remote-addr",
    "true-client-ip",
    "azure-clientip",
    "proxyuser-ip",
];

const TAKEN_OFF: [&str; 12] = [
    "forwarded",
    "forwarded-for",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "proxy-authorization",
    "proxy-connection",
    "proxy",
    "cf-ipcountry",
    "cluster-client-ip",
];

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    const REVERSE: Door = Door { way: Way::Reverse, is_secure: false, content_bytes_max: 100 };
    const SECURE: Door = Door { is_secure: true, ..REVERSE };
    const FORWARD: Door = Door { way: Way::Forward, ..REVERSE };

    fn head(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Every name that is taken off; each must be one that a field can have.
    fn names_taken_off() -> Vec<HeaderName> {
        let with_x = TAKEN_OFF_X.iter().map(|rest| format!("x-{rest}"));
        let others = TAKEN_OFF.into_iter().chain(["x-forwarded-for", "x-forwarded-host"]).map(str::to_owned);
        with_x.chain(others).map(|name| name.parse().unwrap()).collect()
    }

    /// `Ok("host target")` as the stack sees them, for a GET over HTTP/1.1 unless said otherwise.
    fn seen(door: Door, version: Version, target: &str, hosts: &[&str]) -> Result<String, Turned> {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let mut head = head(version, "GET", target, &fields);
        admit(door, &mut head)?;
        Ok(format!("{} {}", head.headers[HOST].to_str().unwrap(), head.uri))
    }

    #[test]
    fn what_passes_has_one_host_and_one_form() {
        use Turned::*;
        let h1 = Version::HTTP_11;
        let h2 = Version::HTTP_2;
        let h10 = Version::HTTP_10;
        let proxy = "browsers that are set to use it as their proxy";
        for (door, version, target, hosts, expected) in [
            (REVERSE, h1, "/a?b", &["a.kz"][..], Ok("a.kz /a?b")),
            (REVERSE, h1, "/", &["A.kz:8000"], Ok("A.kz:8000 /")),
            (REVERSE, h10, "/", &["a.kz"], Ok("a.kz /")),
            (REVERSE, h1, "http://a.kz/b", &["a.kz"], Ok("a.kz /b")),
            (REVERSE, h1, "http://a.kz", &["a.kz"], Ok("a.kz /")),
            (REVERSE, h1, "http://a.kz/b", &["A.KZ:80"], Ok("a.kz /b")),
            (REVERSE, h2, "http://a.kz/b", &[], Ok("a.kz /b")),
            (SECURE, h2, "https://a.kz/b", &["a.kz"], Ok("a.kz /b")),
            (SECURE, h2, "https://a.kz/b", &["a.kz:443"], Ok("a.kz /b")),
            (REVERSE, h1, "/", &[], Err(Hosts)),
            (REVERSE, h10, "/", &[], Err(Hosts)),
            (REVERSE, h2, "/", &[], Err(Hosts)),
            (REVERSE, h1, "/", &["a.kz", "a.kz"], Err(Hosts)),
            (REVERSE, h1, "/", &["a.kz", "b.kz"], Err(Hosts)),
            (SECURE, h2, "https://a.kz/", &["a.kz", "b.kz"], Err(Hosts)),
            (REVERSE, h1, "http://a.kz/", &[], Err(Hosts)),
            (REVERSE, h1, "/", &[""], Err(BadAuthority)),
            (REVERSE, h1, "/", &["user@a.kz"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz/b"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz, b.kz"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz:80:80"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz:http"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz:+80"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz:65536"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz:0"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["a.kz#b"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["[::1"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["[::1]x"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["[a.kz"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["[ a.kz/b@c"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["[]"], Err(BadAuthority)),
            (REVERSE, h1, "/", &["[::1]:80"], Ok("[::1]:80 /")),
            (REVERSE, h1, "http://user@a.kz/", &["a.kz"], Err(BadAuthority)),
            (REVERSE, h1, "http://a.kz/", &["b.kz"], Err(HostDisagrees)),
            (REVERSE, h1, "http://a.kz:81/", &["a.kz"], Err(HostDisagrees)),
            (SECURE, h2, "https://a.kz/", &["b.kz"], Err(HostDisagrees)),
            (REVERSE, h1, "https://a.kz/", &["a.kz"], Err(BadScheme)),
            (SECURE, h1, "http://a.kz/", &["a.kz"], Err(BadScheme)),
            (REVERSE, h1, "ftp://a.kz/", &["a.kz"], Err(BadScheme)),
            (FORWARD, h1, "http://a.kz/b", &["a.kz"], Ok("a.kz http://a.kz/b")),
            (FORWARD, h1, "https://a.kz/b", &["a.kz:443"], Ok("a.kz https://a.kz/b")),
            (FORWARD, h10, "http://a.kz/b", &[], Ok("a.kz http://a.kz/b")),
            (FORWARD, h2, "http://a.kz/b", &[], Ok("a.kz http://a.kz/b")),
            (FORWARD, h1, "http://a.kz/b", &[], Err(Hosts)),
            (FORWARD, h1, "http://a.kz/b", &["b.kz"], Err(HostDisagrees)),
            (FORWARD, h1, "http://u:p@a.kz/b", &["a.kz"], Err(BadAuthority)),
            (FORWARD, h1, "ftp://a.kz/b", &["a.kz"], Err(BadScheme)),
            (FORWARD, h1, "/b", &["a.kz"], Err(WrongDoor(proxy))),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(seen(door, version, target, hosts), expected, "{target} {hosts:?} {version:?} {door:?}");
        }
    }

    #[test]
    fn connect_is_for_the_forward_door_with_host_and_port() {
        use Turned::*;
        let pages = WrongDoor("web pages, not for CONNECT");
        let tunnel = |host: &str, port| Ok(Admitted::Tunnel { host: host.to_owned(), port });
        for (door, target, host, expected) in [
            (FORWARD, "a.kz:443", Some("a.kz:443"), tunnel("a.kz", 443)),
            (FORWARD, "a.kz:443", Some("A.kz"), tunnel("a.kz", 443)),
            (FORWARD, "a.kz:8443", Some("a.kz:8443"), tunnel("a.kz", 8443)),
            (FORWARD, "[::1]:443", Some("[::1]:443"), tunnel("[::1]", 443)),
            (FORWARD, "a.kz", Some("a.kz"), Err(BadAuthority)),
            (FORWARD, "a.kz:", Some("a.kz"), Err(BadAuthority)),
            (FORWARD, "http://a.kz:443/", Some("a.kz:443"), Err(BadAuthority)),
            (FORWARD, "u@a.kz:443", Some("a.kz:443"), Err(BadAuthority)),
            (FORWARD, "a.kz:443", Some("b.kz:443"), Err(HostDisagrees)),
            (FORWARD, "a.kz:443", Some("a.kz:80"), Err(HostDisagrees)),
            (FORWARD, "a.kz:443", None, Err(Hosts)),
            (REVERSE, "a.kz:443", Some("a.kz:443"), Err(pages)),
            (SECURE, "a.kz:443", Some("a.kz:443"), Err(pages)),
        ] {
            let fields: Vec<_> = host.iter().map(|host| ("host", *host)).collect();
            let mut head = head(Version::HTTP_11, "CONNECT", target, &fields);
            assert_eq!(admit(door, &mut head), expected, "{target} {host:?}");
        }
        let mut over_h2 = head(Version::HTTP_2, "CONNECT", "a.kz:443", &[]);
        assert_eq!(admit(FORWARD, &mut over_h2), Err(pages));
    }

    #[test]
    fn content_and_fields_that_are_turned_away() {
        use Turned::*;
        let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
        for (method, target, field, expected) in [
            ("GET", "/", ("content-length", "0"), Ok(Admitted::Request)),
            ("GET", "/", ("content-length", "5"), Err(Content("GET"))),
            ("HEAD", "/", ("transfer-encoding", "chunked"), Err(Content("HEAD"))),
            ("POST", "/", ("content-length", "100"), Ok(Admitted::Request)),
            ("POST", "/", ("transfer-encoding", "chunked"), Ok(Admitted::Request)),
            ("POST", "/", ("content-length", "101"), Err(ContentTooLong)),
            ("GET", long.as_str(), ("a", "b"), Err(TargetTooLong)),
            ("GET", &long[..TARGET_BYTES_MAX], ("a", "b"), Ok(Admitted::Request)),
            ("TRACE", "/", ("a", "b"), Err(Trace)),
            ("OPTIONS", "*", ("a", "b"), Ok(Admitted::Request)),
            ("GET", "*", ("a", "b"), Err(BadAuthority)),
            ("POST", "/", ("expect", "100-Continue"), Ok(Admitted::Request)),
            ("POST", "/", ("expect", "200-ok"), Err(Expectation)),
            ("GET", "/", ("upgrade", "WebSocket"), Err(WebSocket)),
            ("GET", "/", ("upgrade", "h2c"), Ok(Admitted::Request)),
        ] {
            let mut head = head(Version::HTTP_11, method, target, &[("host", "a.kz"), field]);
            assert_eq!(admit(REVERSE, &mut head), expected, "{method} {field:?}");
            assert!(!head.headers.contains_key(TRANSFER_ENCODING), "framing goes no further");
        }
        let mut many = head(Version::HTTP_11, "GET", "/", &[("host", "a.kz")]);
        for _ in 0..FIELDS_MAX {
            many.headers.append("a", HeaderValue::from_static("b"));
        }
        assert_eq!(admit(REVERSE, &mut many), Err(TooManyFields));
    }

    #[test]
    fn what_a_client_says_about_itself_is_taken_off() {
        let mut head =
            head(Version::HTTP_11, "GET", "/", &[("host", "a.kz"), ("cookie", "a=b"), ("x-requested-with", "x")]);
        for name in names_taken_off() {
            head.headers.append(&name, HeaderValue::from_static("1"));
            head.headers.append(&name, HeaderValue::from_static("2"));
        }
        admit(REVERSE, &mut head).unwrap();
        let mut left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["cookie", "host", "x-requested-with"]);
    }
}
