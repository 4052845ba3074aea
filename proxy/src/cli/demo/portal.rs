//! The stand-in portals as a real little origin: HTTP/1.1 on loopback, counted, and stoppable for good.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::content::{Resource, Site};

/// Most connections at a time; the night opens a few, and a stand-in needs no more.
const CONNECTIONS_MAX: usize = 128;

/// Longest wait for a request's head on a connection.
const HEAD_WAIT: Duration = Duration::from_secs(30);

/// When all of the content was last changed. A fixed day, so that two runs of the demo say the same.
const LAST_MODIFIED: &str = "Tue, 01 Sep 2026 06:00:00 GMT";

/// What the portals were asked for and sent, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Requests, whatever the answer.
    pub(crate) requests: u64,
    /// Bytes of content sent.
    pub(crate) bytes: u64,
}

/// The running portals. Stopping consumes them; the listener and every connection are closed then.
pub(crate) struct Portal {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    sites: BTreeMap<&'static str, Site>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Says how much they saw, not what they hold.
impl std::fmt::Debug for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopped").field("address", &self.address).field("seen", &self.seen()).finish_non_exhaustive()
    }
}

/// What the portals were, once they are stopped: their counters, and what they would answer.
pub(crate) struct Stopped {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Portal {
    /// Starts both portals on one free port of the loopback interface; which is asked is decided by `Host`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(crate) async fn start(sites: impl IntoIterator<Item = Site>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let sites = sites.into_iter().map(|site| (site.host, site)).collect();
        let shared = Arc::new(Shared { sites, requests: AtomicU64::new(0), bytes: AtomicU64::new(0) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where they listen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What they have seen so far.
    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen()
    }

    /// Closes the listener and every connection, and returns when they are closed.
    pub(crate) async fn stop(self) -> Stopped {
        self.accepting.abort();
        // The task owns the listener and its connections; once it has ended they are gone. An abort is no error here.
        let _ended = self.accepting.await;
        Stopped { address: self.address, shared: self.shared }
    }
}

impl Stopped {
    /// What they had seen when they stopped; it cannot grow any more.
    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen()
    }

    /// Whether their port refuses connections, tried once.
    pub(crate) async fn is_gone(&self) -> bool {
        TcpStream::connect(self.address).await.is_err()
    }

    /// What the portal would have answered for a path of a host, if it has such a path.
    pub(crate) fn resource(&self, host: &str, path: &str) -> Option<&Resource> {
        self.shared.sites.get(host)?.resources.get(path)
    }

    /// Every path that a host serves, in order.
    pub(crate) fn paths(&self, host: &str) -> impl Iterator<Item = (&str, &Resource)> {
        let site = self.shared.sites.get(host);
        site.into_iter().flat_map(|site| site.resources.iter().map(|(path, resource)| (path.as_str(), resource)))
    }
}

impl Shared {
    fn seen(&self) -> Seen {
        Seen { requests: self.requests.load(Ordering::Acquire), bytes: self.bytes.load(Ordering::Acquire) }
    }
}

/// Accepts until aborted; the connections end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&shared, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that leaves early is its own affair.
            let _ended = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WAIT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(slot);
        });
    }
}

/// Counts a request and answers it.
fn answer<B>(shared: &Shared, request: &Request<B>) -> Response<Full<Bytes>> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let resource = shared.sites.get(host).and_then(|site| site.resources.get(request.uri().path()));
    let response = respond(resource, request.method(), request.headers());
    shared.requests.fetch_add(1, Ordering::AcqRel);
    let bytes = if request.method() == Method::HEAD { 0 } else { response.body().len() };
    shared.bytes.fetch_add(bytes as u64, Ordering::AcqRel);
    response.map(Full::new)
}

/// What a well-behaved origin answers: RFC 9110 §13.2.2's order of preconditions, then the range, then the whole.
fn respond(resource: Option<&Resource>, method: &Method, fields: &HeaderMap) -> Response<Bytes> {
    let Some(resource) = resource else {
        return plain(StatusCode::NOT_FOUND, "no such page\n");
    };
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let etag = format!("\"{}\"", &blake3::hash(&resource.body).to_hex()[..16]);
    let mut response = Response::new(Bytes::new());
    describe(response.headers_mut(), resource, &etag);
    if is_unchanged(fields, &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        return response;
    }
    let length = resource.body.len();
    match fields.get(header::RANGE).filter(|_| range_applies(fields, &etag)).map(|range| parse_range(range, length)) {
        Some(Asked::Part(part)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(
                response.headers_mut(),
                header::CONTENT_RANGE,
                &format!("bytes {}-{}/{length}", part.start, part.end - 1),
            );
            *response.body_mut() = resource.body.slice(part);
        }
        Some(Asked::Unsatisfiable) => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{length}"));
        }
        Some(Asked::Whole) | None => *response.body_mut() = resource.body.clone(),
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The fields that a 200, a 206 and a 304 share.
fn describe(fields: &mut HeaderMap, resource: &Resource, etag: &str) {
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(resource.content_type));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(resource.cache_control));
    if let Some(language) = resource.language {
        fields.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language));
    }
    if resource.is_private() {
        fields.insert(header::SET_COOKIE, HeaderValue::from_static("session=demo; Path=/; HttpOnly; SameSite=Lax"));
        return;
    }
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::LAST_MODIFIED, HeaderValue::from_static(LAST_MODIFIED));
    insert(fields, header::ETAG, etag);
}

fn insert(fields: &mut HeaderMap, name: header::HeaderName, value: &str) {
    fields.insert(name, HeaderValue::from_str(value).expect("digits, hex and quotes make a field value"));
}

/// Whether the client has it already (RFC 9110 §13.1.2, §13.1.3).
fn is_unchanged(fields: &HeaderMap, etag: &str) -> bool {
    if let Some(known) = fields.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) {
        return known.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag);
    }
    fields.get(header::IF_MODIFIED_SINCE).is_some_and(|since| since == LAST_MODIFIED)
}

/// Whether `If-Range` lets the range through (RFC 9110 §13.1.5).
fn range_applies(fields: &HeaderMap, etag: &str) -> bool {
    fields.get(header::IF_RANGE).is_none_or(|known| known == etag || known == LAST_MODIFIED)
}

/// What a `Range` field asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Part(Range<usize>),
    Unsatisfiable,
    /// Not a byte range, several, or malformed: an origin may ignore it (RFC 9110 §14.2).
    Whole,
}

fn parse_range(range: &HeaderValue, length: usize) -> Asked {
    let bounds = range.to_str().ok().and_then(|range| range.strip_prefix("bytes=")).and_then(|set| set.split_once('-'));
    let Some((first, last)) = bounds else { return Asked::Whole };
    let part = match (first.parse::<usize>(), last.parse::<usize>(), last.is_empty(), first.is_empty()) {
        (Ok(first), Ok(last), ..) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), _, true, _) => first..length,
        (_, Ok(count), _, true) if count > 0 => length.saturating_sub(count)..length,
        _ => return Asked::Whole,
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::super::content::{self, BILIM_HOST};
    use super::*;

    fn ask(path: &str, fields: &[(&'static str, &str)]) -> Response<Bytes> {
        let [bilim, _] = content::sites();
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        respond(bilim.resources.get(path), &Method::GET, &map)
    }

    #[test]
    fn a_page_comes_whole_once_and_then_as_304() {
        let first = ask("/kk/", &[]);
        assert_eq!(first.status(), 200);
        let etag = first.headers()[header::ETAG].to_str().unwrap();
        for fields in
            [[("if-none-match", etag)], [("if-modified-since", LAST_MODIFIED)], [("if-none-match", "\"x\", *")]]
        {
            let again = ask("/kk/", &fields);
            assert_eq!(again.status(), 304, "{fields:?}");
            assert!(again.body().is_empty());
            assert_eq!(again.headers()[header::ETAG], etag);
        }
        assert_eq!(ask("/kk/", &[("if-none-match", "\"other\""), ("if-modified-since", LAST_MODIFIED)]).status(), 200);
        assert_eq!(ask("/nowhere/", &[]).status(), 404);
    }

    #[test]
    fn a_range_comes_as_206_with_its_place() {
        let [bilim, _] = content::sites();
        let film = bilim.resources.keys().find(|path| path.ends_with(".webm")).unwrap();
        let whole = ask(film, &[]).into_body();
        let length = whole.len();
        //           Range              status  start   end
        let cases = [
            ("bytes=0-99", 206, 0, 100),
            ("bytes=100-", 206, 100, length),
            ("bytes=-10", 206, length - 10, length),
            ("bytes=0-99999999", 206, 0, length),
            ("bytes=99999999-", 416, 0, 0),
            ("bytes=5-2", 200, 0, length),
            ("bytes=0-1,3-4", 200, 0, length),
            ("lines=0-1", 200, 0, length),
            ("bytes=-0", 200, 0, length),
        ];
        for (range, status, start, end) in cases {
            let response = ask(film, &[("range", range)]);
            assert_eq!(response.status(), status, "{range}");
            assert_eq!(response.body(), &whole.slice(start..end), "{range}");
            assert_eq!(response.headers().contains_key(header::CONTENT_RANGE), status != 200, "{range}");
        }
        assert_eq!(ask(film, &[("range", "bytes=0-9"), ("if-range", "\"old\"")]).status(), 200);
    }

    #[test]
    fn the_account_sets_a_cookie_and_may_not_be_stored() {
        let response = ask("/ru/account/", &[]);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
        assert!(response.headers().contains_key(header::SET_COOKIE));
        assert!(!response.headers().contains_key(header::ETAG));
    }

    #[tokio::test]
    async fn a_stopped_portal_is_gone_and_has_counted() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let portal = Portal::start(content::sites()).await.unwrap();
        let mut stream = TcpStream::connect(portal.address()).await.unwrap();
        let request = format!("GET /robots.txt HTTP/1.1\r\nHost: {BILIM_HOST}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        assert_eq!(portal.seen().requests, 1);
        assert!(portal.seen().bytes > 0);
        let stopped = portal.stop().await;
        assert!(stopped.is_gone().await);
        // The idle connection was closed too.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(stopped.seen().requests, 1);
        assert!(stopped.resource(BILIM_HOST, "/kk/").is_some());
    }
}
