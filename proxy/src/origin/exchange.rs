//! One request and its response: connection, fields, time-outs, one careful second try.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bulaq_allowlist::{HostName, Permit, Scheme};
use bytes::Bytes;
use http::header::{HOST, HeaderMap, RETRY_AFTER};
use http::response::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::body::{Content, Held, OriginBody, WanBytes};
use super::connection::{Connection, Fate, Protocol, Unsent};
use super::http1::{self, Look, Socket};
use super::outgoing::Outgoing;
use super::pool::Key;
use super::shield::Slot;
use super::{Inner, connect, fields, framing};
use crate::request::interim::INTERIM_MAX;
use crate::request::{ForwardError, InterimSender, RequestBody};

/// How long before a second try: an origin that is being restarted, or a balancer that has just lost a server, needs a
/// moment, and who waits for a cold page does not notice it.
const SECOND_TRY_AFTER: Duration = Duration::from_millis(100);

/// Among a request's extensions: it may be sent once more when the connection was refused, or lost before the first byte
/// of the answer (RFC 9110 §9.2.2). Only with a safe method and without content, and not after a time-out, which has cost
/// the whole wait already.
#[derive(Clone, Copy, Debug)]
pub struct SecondTry;

/// An origin's answer: over HTTP/2 its content is a stream, over HTTP/1.1 it is read from the connection.
struct Answer {
    head: Parts,
    stream: Option<Incoming>,
}

/// The head of a request, ready to be written onto any connection to its origin.
struct Head {
    method: Method,
    scheme: Scheme,
    /// Host and port, as in `Host`.
    authority: HeaderValue,
    target: PathAndQuery,
    fields: HeaderMap,
    may_try_again: bool,
    /// For whom its interim responses are, if for anybody.
    interim: Option<InterimSender>,
}

impl Inner {
    pub(super) async fn exchange(
        &self,
        permit: &Permit,
        key: Key,
        slot: Slot,
        request: Request<RequestBody>,
    ) -> Result<Response<OriginBody>, ForwardError> {
        let (head, content) = self.prepare(permit, request)?;
        let (mut connection, answer) = self.send_on_some(permit, &key, &head, content).await?;
        let (mut head, length) =
            framing::read(answer.head.status, answer.head.version, &answer.head.headers, &head.method)
                .map(|length| (answer.head, length))
                .map_err(|detail| protocol(&key.host, detail))?;
        let content = match (answer.stream, connection.wire()) {
            (Some(stream), _) => Content::of_stream(stream, length),
            (None, Some(wire)) => Content::Http1(wire.decoder(&head, length)),
            (None, None) => return Err(protocol(&key.host, "an answer without a stream")),
        };
        let wan_bytes = WanBytes::default();
        wan_bytes.add(head_bytes(&head.headers));
        fields::strip_hop_by_hop(&mut head.headers);
        fields::one_length(&mut head.headers);
        head.extensions.insert(wan_bytes.clone());
        let held = Held { slot, connection, pool: Arc::clone(&self.pool), key };
        let body = OriginBody::new(content, wan_bytes, self.options.idle_body_timeout, held);
        Ok(Response::from_parts(head, body))
    }

    /// A socket to where the permit leads, and how long a packet takes there and back.
    pub(super) async fn socket(&self, permit: &Permit) -> Result<(TcpStream, Duration), ForwardError> {
        let host = || permit.host().to_string();
        let after = self.options.connect_timeout;
        let opened = async {
            let addresses: Vec<SocketAddr> = self.resolver.resolve(permit).await?;
            connect::connect(&addresses, self.options.happy_eyeballs_delay).await.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => ForwardError::ConnectionTimeout { host: host(), after },
                _ => ForwardError::ConnectionRefused { host: host() },
            })
        };
        timeout(after, opened).await.unwrap_or_else(|_| Err(ForwardError::ConnectionTimeout { host: host(), after }))
    }

    fn prepare(&self, permit: &Permit, request: Request<RequestBody>) -> Result<(Head, Outgoing), ForwardError> {
        let wrong = |detail| protocol(permit.host(), detail);
        let (mut head, content) = request.into_parts();
        if head.method == Method::CONNECT {
            return Err(wrong("a tunnel cannot be made with a request"));
        }
        let host = if permit.port() == permit.scheme().default_port() {
            permit.host().to_string()
        } else {
            format!("{}:{}", permit.host(), permit.port())
        };
        let host =
            HeaderValue::from_maybe_shared(Bytes::from(host)).map_err(|_| wrong("its name does not fit into Host"))?;
        fields::leave(&mut head.headers, &host, &self.options.via)
            .map_err(|fields::Loop| wrong("this request came round in a circle"))?;
        // Content of a GET means nothing (RFC 9110 §9.3.1), and is how requests are smuggled.
        let takes_content = !matches!(head.method, Method::GET | Method::HEAD | Method::TRACE);
        let content = if takes_content { Outgoing::new(content) } else { Outgoing::empty() };
        let head = Head {
            method: head.method,
            scheme: permit.scheme(),
            authority: host,
            target: head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            fields: head.headers,
            may_try_again: head.extensions.get::<SecondTry>().is_some(),
            interim: head.extensions.remove(),
        };
        Ok((head, content))
    }

    async fn send_on_some(
        &self,
        permit: &Permit,
        key: &Key,
        head: &Head,
        content: Outgoing,
    ) -> Result<(Connection, Answer), ForwardError> {
        let (is_empty, is_safe) = (content.is_empty(), is_safe(&head.method));
        let mut may_try_again = head.may_try_again && is_empty && is_safe;
        // What may be sent once more finds out by itself.
        let how = if may_try_again { Look::Glance } else { Look::Hard };
        let mut connection = match self.pool.take(key, how).await {
            Some(connection) => connection,
            // In a box, as whatever is not needed for each request.
            None => match Box::pin(self.open_gated(permit, key)).await {
                Err(ForwardError::ConnectionRefused { .. }) if may_try_again => {
                    may_try_again = false;
                    sleep(SECOND_TRY_AFTER).await;
                    Box::pin(self.open_gated(permit, key)).await?
                }
                opened => opened?,
            },
        };
        let unsent = match self.send_on(&mut connection, &key.host, head, content).await {
            Ok(response) => return Ok((connection, response)),
            Err(unsent) => unsent,
        };
        let content = match (unsent.content, unsent.fate) {
            // Only a connection that was there before can have died before the request was written.
            (Some(unwritten), _) if connection.is_reused => unwritten,
            (None, Fate::NotProcessed) if is_empty => Outgoing::empty(),
            (None, Fate::LostUnseen) if is_empty && is_safe && connection.is_reused => Outgoing::empty(),
            (_, _) if may_try_again && matches!(unsent.error, ForwardError::ConnectionTerminated { .. }) => {
                sleep(SECOND_TRY_AFTER).await;
                Outgoing::empty()
            }
            _ => return Err(unsent.error),
        };
        self.pool.forget(key, &connection);
        let mut connection = match connection.protocol() {
            Protocol::Http1 => Box::pin(self.open(permit, key)).await?,
            Protocol::Http2 => Box::pin(self.open_gated(permit, key)).await?,
        };
        match Box::pin(self.send_on(&mut connection, &key.host, head, content)).await {
            Ok(response) => Ok((connection, response)),
            Err(unsent) => Err(unsent.error),
        }
    }

    async fn send_on(
        &self,
        connection: &mut Connection,
        host: &HostName,
        head: &Head,
        content: Outgoing,
    ) -> Result<Answer, Unsent> {
        let after = self.options.head_timeout;
        match connection.protocol() {
            Protocol::Http1 => {
                let request = http1::Request {
                    method: &head.method,
                    target: &head.target,
                    fields: &head.fields,
                    interim: head.interim.as_ref(),
                };
                let head = connection.ask(host, request, content, after).await?;
                Ok(Answer { head, stream: None })
            }
            Protocol::Http2 => {
                let sent = Box::pin(self.send_on_stream(connection, host, head, content)).await;
                let (head, stream) = sent?.into_parts();
                Ok(Answer { head, stream: Some(stream) })
            }
        }
    }

    async fn send_on_stream(
        &self,
        connection: &mut Connection,
        host: &HostName,
        head: &Head,
        content: Outgoing,
    ) -> Result<Response<Incoming>, Unsent> {
        let failed = |error| Unsent { error, content: None, fate: Fate::Unknown };
        let after = self.options.head_timeout;
        let moved = content.moved();
        let mut request =
            head.request(content).map_err(|_| failed(protocol(host, "its name does not fit into a URL")))?;
        let interim = Interim::watch(&mut request, head.interim.clone());
        let too_many = || failed(protocol(host, "too many interim answers"));
        let sending = connection.send(host, request);
        tokio::pin!(sending);
        let mut deadline = Instant::now() + after;
        loop {
            tokio::select! {
                sent = &mut sending => return if interim.are_too_many() { Err(too_many()) } else { sent },
                // The origin may well wait for the whole content before it answers.
                () = moved.notified() => deadline = Instant::now() + after,
                () = interim.exceeded.notified() => return Err(too_many()),
                () = sleep_until(deadline) => {
                    return Err(failed(ForwardError::ResponseTimeout { host: host.to_string(), after }));
                }
            }
        }
    }

    /// Opens a connection, but lets one that is being opened already finish first: it may carry this request too, and
    /// if it fails, this one need not fail by itself once more. The wait is bounded by the other's own time-outs.
    async fn open_gated(&self, permit: &Permit, key: &Key) -> Result<Connection, ForwardError> {
        let Some(gate) = self.pool.gate(key) else { return self.open(permit, key).await };
        let came = Instant::now();
        let mut last_failure = gate.lock().await;
        if let Some(connection) = self.pool.take(key, Look::Hard).await {
            return Ok(connection);
        }
        match &*last_failure {
            Some((at, error)) if *at >= came => return Err(error.clone()),
            _ => {}
        }
        if self.pool.gate(key).is_none() {
            // One request at a time on each connection, as is known now: all may open theirs at once.
            drop(last_failure);
            return self.open(permit, key).await;
        }
        let opened = self.open(permit, key).await;
        *last_failure = opened.as_ref().err().map(|error| (Instant::now(), error.clone()));
        opened
    }

    async fn open(&self, permit: &Permit, key: &Key) -> Result<Connection, ForwardError> {
        let (stream, round_trip) = self.socket(permit).await?;
        let after = self.options.tls_timeout;
        let connection = match key.scheme {
            Scheme::Http => Connection::http1(Socket::Plain(stream), round_trip),
            Scheme::Https => {
                let handshake = self.tls.handshake(&key.site, &key.host, stream);
                let stream = timeout(after, handshake)
                    .await
                    .unwrap_or_else(|_| Err(ForwardError::ConnectionTimeout { host: key.host.to_string(), after }))?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Connection::http2(&key.host, stream, round_trip).await?,
                    _ => Connection::http1(Socket::Tls(Box::new(stream)), round_trip),
                }
            }
        };
        self.pool.learn(key, &connection);
        Ok(connection)
    }
}

impl Head {
    /// The request as HTTP/2 sends it.
    fn request(&self, content: Outgoing) -> Result<Request<Outgoing>, http::Error> {
        let mut fields = self.fields.clone();
        // `:authority` takes its place (RFC 9113 §8.3.1).
        fields.remove(HOST);
        let authority = Authority::try_from(self.authority.as_bytes())?;
        let uri = Uri::builder()
            .scheme(self.scheme.as_str())
            .authority(authority)
            .path_and_query(self.target.clone())
            .build()?;
        let mut request = Request::new(content);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = fields;
        Ok(request)
    }
}

/// Whether a method asks for nothing to be changed, so that asking twice is harmless (RFC 9110 §9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The interim answers (1xx) to one request.
#[derive(Default)]
struct Interim {
    seen: AtomicUsize,
    exceeded: Notify,
}

impl Interim {
    /// Counts them, and passes them on. Over HTTP/2 the library drops them unseen (hyper, pull request 4114).
    fn watch(request: &mut Request<Outgoing>, client: Option<InterimSender>) -> Arc<Self> {
        let interim = Arc::new(Self::default());
        let counted = Arc::clone(&interim);
        hyper::ext::on_informational(request, move |response| {
            counted.seen.fetch_add(1, Ordering::Relaxed);
            if counted.are_too_many() {
                counted.exceeded.notify_one();
            } else if let Some(client) = &client {
                client.send(response.status(), response.headers());
            }
        });
        interim
    }

    fn are_too_many(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > INTERIM_MAX
    }
}

fn protocol(host: &HostName, detail: &str) -> ForwardError {
    ForwardError::Protocol { host: host.to_string(), detail: detail.to_owned() }
}

/// The bytes of a head as HTTP/1.1 writes it.
fn head_bytes(fields: &HeaderMap) -> u64 {
    const STATUS_LINE_AND_END: usize = "HTTP/1.1 200 OK\r\n\r\n".len();
    let lines: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    (lines + STATUS_LINE_AND_END) as u64
}

/// The pause that an origin asks for: `Retry-After` in seconds or as a date, with 429 or 503 (RFC 9110 §10.2.3).
pub(super) fn retry_after<B>(response: &Response<B>, now: SystemTime) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_origin_asks_for_a_pause() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        for (status, value, expected) in [
            (503, "120", Some(Duration::from_secs(120))),
            (429, "0", Some(Duration::ZERO)),
            (429, "99999999999999999999999", Some(Duration::MAX)),
            (503, "Sun, 06 Nov 1994 08:50:37 GMT", Some(Duration::from_secs(60))),
            (503, "Sun, 06 Nov 1994 08:48:37 GMT", Some(Duration::ZERO)),
            (503, "soon", None),
            (503, "", None),
            (200, "120", None),
            (500, "120", None),
        ] {
            let response = Response::builder().status(status).header(RETRY_AFTER, value).body(()).unwrap();
            assert_eq!(retry_after(&response, now), expected, "{status} {value}");
        }
    }
}
