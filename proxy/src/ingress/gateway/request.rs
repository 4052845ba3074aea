//! A request for a gateway name, put into the origin's words.

use bulaq_allowlist::{Allowlist, HostName};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, PROXY_AUTHORIZATION,
    REFERER,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::names::Address;
use crate::request::{Arrival, InterimSender, Way};

/// What a browser says when it fetches the script of a service worker (Service Workers §"Update").
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Fields that say who the reader is, besides those that HTTP itself defines.
const COOKIE2: HeaderName = HeaderName::from_static("cookie2");

/// Why a request for a site is answered with a page of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It would write: only GET and HEAD are passed.
    Writes,
    /// It would install a service worker, whose scope would be the gateway's name and not the site's.
    ServiceWorker,
}

/// Whether the request is one that the gateway passes.
pub(super) fn check(head: &Parts) -> Result<(), Refused> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Refused::Writes);
    }
    if head.headers.contains_key(SERVICE_WORKER) {
        return Err(Refused::ServiceWorker);
    }
    Ok(())
}

/// Gives the head the origin's address and takes off what says who asks. `origin` is scheme, host and port.
///
/// None for an address that cannot be written so.
pub(super) fn mapped(head: &mut Parts, origin: &str, address: &Address, list: &Allowlist) -> Option<()> {
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = format!("{origin}{path}").parse::<Uri>().ok()?;
    head.headers.remove(HOST);
    // Hints would name the origin's own addresses.
    head.extensions.remove::<InterimSender>();
    anonymise(&mut head.headers);
    for name in [REFERER, ORIGIN] {
        let back = head.headers.get(&name).and_then(|value| address.back(list, value.to_str().ok()?));
        match back.and_then(|back| HeaderValue::try_from(back).ok()) {
            Some(back) => head.headers.insert(name, back),
            None => head.headers.remove(name),
        };
    }
    accept_what_can_be_read(&mut head.headers);
    Some(())
}

/// Without cookies and credentials.
fn anonymise(headers: &mut HeaderMap) {
    for name in [COOKIE, COOKIE2, AUTHORIZATION, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
}

/// Asks for no coding that we could not undo before rewriting; of those that are left, for what the client accepts.
fn accept_what_can_be_read(headers: &mut HeaderMap) {
    let accepts = |coding: &str| {
        let members = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        members.flat_map(|line| line.split(',')).any(|member| {
            let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
            let weight = parameters.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(coding) && weight.is_none_or(|weight| weight > 0.0)
        })
    };
    let value = match (accepts("gzip"), accepts("br")) {
        (true, true) => "gzip, br",
        (true, false) => "gzip",
        (false, true) => "br",
        (false, false) => "identity",
    };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
}

/// The arrival as the stack hears it: by the gateway, at the port that the reader's browser knows.
pub(super) fn arrival(arrival: &Arrival, port: u16) -> Arrival {
    Arrival { way: Way::Gateway, local_port: port, server_name: None, ..arrival.clone() }
}

/// Whether a TLS connection that was opened for `server_name` may ask for `host`: browsers use one connection for all
/// names of the wildcard certificate.
pub(super) fn is_opened_for(server_name: Option<&HostName>, domain: &HostName) -> bool {
    server_name.is_none_or(|name| name.is_at_or_below(domain))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::testing::{address, list};
    use super::*;

    fn head(method: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/x?y");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn nothing_that_says_who_asks_reaches_the_origin() {
        let mut head = head(
            "GET",
            &[
                ("host", "a-kz.lessons.school.example"),
                ("cookie", "a=b"),
                ("cookie2", "a"),
                ("authorization", "Basic x"),
                ("proxy-authorization", "Basic x"),
                ("referer", "http://e--lessons-kz.lessons.school.example/page?q"),
                ("origin", "http://e--lessons-kz.lessons.school.example"),
                ("accept-encoding", "gzip, deflate;q=0.5, br;q=0, zstd"),
                ("accept-language", "kk"),
            ],
        );
        mapped(&mut head, "https://a.kz", &address(), &list()).unwrap();
        assert_eq!(head.uri, "https://a.kz/x?y");
        let mut left: Vec<_> =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "accept-encoding: gzip",
                "accept-language: kk",
                "origin: https://e-lessons.kz",
                "referer: https://e-lessons.kz/page?q",
            ]
        );
    }

    #[test]
    fn a_foreign_referer_is_dropped() {
        for referer in [
            "http://games-example.lessons.school.example/",
            "https://games.example/",
            "http://lessons.school.example/",
            "x",
        ] {
            let mut head = head("GET", &[("referer", referer), ("origin", "null")]);
            mapped(&mut head, "https://a.kz", &address(), &list()).unwrap();
            assert_eq!(head.headers.keys().collect::<Vec<_>>(), ["accept-encoding"], "{referer}");
        }
    }

    #[test]
    fn only_reading_passes() {
        for (method, fields, expected) in [
            ("GET", &[][..], Ok(())),
            ("HEAD", &[], Ok(())),
            ("POST", &[], Err(Refused::Writes)),
            ("OPTIONS", &[], Err(Refused::Writes)),
            ("PURGE", &[], Err(Refused::Writes)),
            ("GET", &[("service-worker", "script")], Err(Refused::ServiceWorker)),
        ] {
            assert_eq!(check(&head(method, fields)), expected, "{method}");
        }
    }
}
