//! The target URI of a request (RFC 9110 §7.1), rebuilt from what the client wrote and the door it came by.

use bulaq_allowlist::{HostName, HostNameError, Scheme};
use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::uri::{self, Authority, PathAndQuery};
use http::{HeaderMap, Uri};

use super::Refusal;
use super::arrival::{Arrival, Way};

/// The longest path and query that is served, in bytes. Browsers stop at 2 MB, lesson sites below 2 kB.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A site's URI.
    Site(TargetUri),
    /// The box itself, at one of its own names or addresses.
    Own,
}

/// A target URI whose parts are valid and normalised; path and query are as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUri {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The site's host.
    pub host: HostName,
    /// The port at the origin.
    pub port: u16,
    /// Path and query, exact.
    pub path_and_query: PathAndQuery,
}

impl TargetUri {
    /// The absolute form. A default port is left out, so that equal targets print alike.
    pub fn to_uri(&self) -> Uri {
        const VALID: &str = "a valid host name, a number and a path that was parsed before make a URI";
        let mut parts = uri::Parts::default();
        parts.scheme = Some(match self.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
        parts.authority = Some(Authority::from_maybe_shared(Bytes::from(self.authority())).expect(VALID));
        parts.path_and_query = Some(self.path_and_query.clone());
        Uri::from_parts(parts).expect(VALID)
    }

    /// Host, and port unless it is the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.as_str().to_owned()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What the request is for, or why that cannot be told.
///
/// On the reverse doors the `Host` (in HTTP/2 `:authority`) names the site, and our own listener's port stands for the
/// scheme's own port; inside a CONNECT it names the site too. On the others the absolute form does, and a `Host` that disagrees is refused rather than
/// overruled: somebody is trying to be understood in two ways.
///
/// # Errors
/// [`Refusal::BadRequest`] for what is missing or contradictory, [`Refusal::Misdirected`] where TLS was opened for
/// another host, [`Refusal::UriTooLong`].
pub fn target(parts: &Parts, arrival: &Arrival, own_names: &[HostName]) -> Result<Target, Refusal> {
    let path_and_query = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if path_and_query.as_str().len() > TARGET_BYTES_MAX {
        return Err(Refusal::UriTooLong { limit_bytes: TARGET_BYTES_MAX });
    }
    let host_field = host_field(&parts.headers)?;
    let authority = match (parts.uri.authority(), host_field) {
        (Some(written), Some(field)) if !agree(written, &field) => {
            return Err(Refusal::BadRequest("the request names two different hosts"));
        }
        (Some(written), _) => written.clone(),
        (None, Some(field)) if arrival.is_at_site() => field,
        (None, _) => return Err(Refusal::BadRequest("the request does not say which host it is for")),
    };
    if authority.as_str().contains('@') {
        return Err(Refusal::BadRequest("the address must not contain a user name"));
    }
    let scheme = scheme(parts, arrival)?;
    // Over TLS nearly every request names the host of the ClientHello, letter by letter.
    let of_hello = arrival.server_name.as_ref().filter(|name| name.as_str() == authority.host());
    let host = match of_hello.cloned().map_or_else(|| HostName::parse(authority.host()), Ok) {
        Ok(host) => host,
        Err(_) if arrival.server_name.is_some() => return Err(Refusal::Misdirected),
        Err(HostNameError::IpLiteral) if arrival.way == Way::Reverse => return Ok(Target::Own),
        Err(HostNameError::IpLiteral) => return Err(Refusal::AddressLiteral),
        Err(_) => return Err(Refusal::BadRequest("the host name is not valid")),
    };
    if arrival.server_name.as_ref().is_some_and(|name| *name != host) {
        return Err(Refusal::Misdirected);
    }
    if own_names.contains(&host) {
        return Ok(Target::Own);
    }
    let port = match authority.port() {
        Some(port) if arrival.way != Way::Reverse || port.as_u16() != arrival.local_port => port.as_u16(),
        Some(_) | None => scheme.default_port(),
    };
    Ok(Target::Site(TargetUri { scheme, host, port, path_and_query }))
}

fn scheme(parts: &Parts, arrival: &Arrival) -> Result<Scheme, Refusal> {
    let of_door = if arrival.is_secure { Scheme::Https } else { Scheme::Http };
    match (arrival.is_at_site(), parts.uri.scheme_str()) {
        // The door decides: an HTTP/1.1 client may write anything in an absolute form to what it takes for the origin.
        (true, _) => Ok(of_door),
        (_, Some(word)) => Scheme::parse(word).ok_or(Refusal::BadRequest("only http and https addresses are served")),
        (_, None) => Err(Refusal::BadRequest("a proxy needs the whole address, beginning with http://")),
    }
}

fn host_field(headers: &HeaderMap) -> Result<Option<Authority>, Refusal> {
    let mut lines = headers.get_all(HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Refusal::BadRequest("the request has more than one Host field"));
    }
    let authority = Authority::try_from(line.as_bytes());
    authority.map(Some).map_err(|_| Refusal::BadRequest("the Host field is not valid"))
}

fn agree(written: &Authority, field: &Authority) -> bool {
    written.host().eq_ignore_ascii_case(field.host()) && written.port_u16() == field.port_u16()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn arrival(way: Way) -> Arrival {
        Arrival {
            way,
            is_secure: false,
            local_port: 8000,
            original: None,
            forward_door: None,
            server_name: None,
            may_see_status: false,
            may_purge: false,
        }
    }

    /// The target as text, `own`, or the refusal's token.
    fn told(way: Way, uri: &str, hosts: &[&str]) -> String {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match target(&parts, &arrival(way), &[HostName::parse("localhost").unwrap()]) {
            Ok(Target::Site(target)) => target.to_uri().to_string(),
            Ok(Target::Own) => String::from("own"),
            Err(refusal) => refusal.token().to_owned(),
        }
    }

    #[test]
    fn the_target_uri_is_rebuilt_from_the_door_and_the_host() {
        use Way::{Forward, Night, Reverse};
        let table: &[(Way, &str, &[&str], &str)] = &[
            (Reverse, "/a?b", &["Bilimland.KZ"], "http://bilimland.kz/a?b"),
            (Reverse, "/", &["bilimland.kz:8000"], "http://bilimland.kz/"), // our port means theirs
            (Reverse, "/", &["bilimland.kz:80"], "http://bilimland.kz/"),
            (Reverse, "/", &["bilimland.kz:8443"], "http://bilimland.kz:8443/"),
            (Reverse, "/", &["bilimland.kz."], "http://bilimland.kz/"),
            (Reverse, "/", &["localhost:8000"], "own"),
            (Reverse, "/", &["127.0.0.1:8000"], "own"),
            (Reverse, "/", &["[::1]:8000"], "own"),
            (Reverse, "/", &[], "bad-request"),
            (Reverse, "/", &["a.kz", "a.kz"], "bad-request"),
            (Reverse, "/", &["user@a.kz"], "bad-request"),
            (Reverse, "/", &["a.kz/b"], "bad-request"),
            (Reverse, "http://a.kz/", &["b.kz"], "bad-request"),
            (Reverse, "https://a.kz/", &["a.kz"], "http://a.kz/"), // the door decides the scheme
            (Forward, "http://a.kz/x", &["a.kz"], "http://a.kz/x"),
            (Forward, "https://a.kz:8000/", &[], "https://a.kz:8000/"), // no meaning of our port here
            (Forward, "/x", &["a.kz"], "bad-request"),
            (Forward, "ftp://a.kz/", &["a.kz"], "bad-request"),
            (Forward, "http://10.0.0.1/", &[], "address-literal"),
            (Forward, "http://a.kz/", &["b.kz"], "bad-request"),
            (Night, "https://a.kz/x", &[], "https://a.kz/x"),
        ];
        for (way, uri, hosts, expected) in table {
            assert_eq!(told(*way, uri, hosts), *expected, "{way:?} {uri} {hosts:?}");
        }
        assert_eq!(told(Reverse, &format!("/{}", "a".repeat(TARGET_BYTES_MAX)), &["a.kz"]), "uri-too-long");
    }

    #[test]
    fn a_tls_connection_serves_only_the_host_that_it_was_opened_for() {
        let (parts, ()) = Request::builder().uri("/").header(HOST, "b.kz").body(()).unwrap().into_parts();
        let opened = Arrival { server_name: HostName::parse("a.kz").ok(), is_secure: true, ..arrival(Way::Reverse) };
        assert!(matches!(target(&parts, &opened, &[]), Err(Refusal::Misdirected)));
        let own = [HostName::parse("b.kz").unwrap()];
        assert!(matches!(target(&parts, &opened, &own), Err(Refusal::Misdirected)), "the box's own names too");
        let (parts, ()) = Request::builder().uri("/").header(HOST, "127.0.0.1").body(()).unwrap().into_parts();
        assert!(matches!(target(&parts, &opened, &[]), Err(Refusal::Misdirected)));
    }

    #[test]
    fn a_reader_of_a_gateway_over_tls_reads_a_site_of_plain_http() {
        let (parts, ()) = Request::builder().uri("http://a.kz/x").body(()).unwrap().into_parts();
        let read = Arrival { is_secure: true, local_port: 443, ..arrival(Way::Gateway) };
        let Ok(Target::Site(target)) = target(&parts, &read, &[]) else { panic!("it is a site's") };
        assert_eq!(target.to_uri(), "http://a.kz/x");
    }

    #[test]
    fn inside_a_connect_targets_are_those_of_the_site() {
        let opened = Arrival { server_name: HostName::parse("a.kz").ok(), is_secure: true, ..arrival(Way::Forward) };
        for (host, expected) in [
            ("a.kz", Ok("https://a.kz/x")),
            ("A.kz:443", Ok("https://a.kz/x")),
            ("a.kz:8000", Ok("https://a.kz:8000/x")), // the port of the proxy means nothing here
            ("b.kz", Err("misdirected")),
            ("10.0.0.1", Err("misdirected")),
        ] {
            let (parts, ()) = Request::builder().uri("/x").header(HOST, host).body(()).unwrap().into_parts();
            let told = match target(&parts, &opened, &[]) {
                Ok(Target::Site(target)) => Ok(target.to_uri().to_string()),
                Ok(Target::Own) => Ok(String::from("own")),
                Err(refusal) => Err(refusal.token()),
            };
            assert_eq!(told, expected.map(str::to_owned), "{host}");
        }
    }
}
