//! One connection that speaks HTTP.

use std::io;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use bulaq_allowlist::HostName;
use http::header::{HeaderMap, HeaderName};
use http::response::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::http1::{self, Failure, Look, Socket, Why, Wire};
use super::options::HEAD_BYTES_MAX;
use super::outgoing::Outgoing;
use crate::request::ForwardError;

/// Flow control of one stream: more than a link of 4 Mbit/s and 600 ms holds (300 kB), and little enough to buffer.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Flow control of a connection: a few streams at full speed.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// How often a silent HTTP/2 connection with requests on it is asked for a sign of life, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take to be ready again after a response; it has only to notice that it is.
const READY_TIMEOUT: Duration = Duration::from_millis(100);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One request at a time.
    Http1,
    /// Many at once.
    Http2,
}

/// A connection to an origin, ready for a request.
pub(super) struct Connection {
    sender: Sender,
    /// Whether it carried a request before, so that it may have died of old age meanwhile.
    pub(super) is_reused: bool,
    /// How long the origin said it keeps an idle connection (`Keep-Alive: timeout`).
    pub(super) keep_alive: Option<Duration>,
    /// How long a packet takes there and back, as seen when connecting.
    round_trip: Duration,
    /// The thread that opened it, whose runtime watches its socket.
    pub(super) opened_by: ThreadId,
}

enum Sender {
    Http1(Box<Wire>),
    /// With what is the same for all handles to one connection.
    Http2(http2::SendRequest<Outgoing>, Arc<()>),
}

/// Why a request got no response.
pub(super) struct Unsent {
    /// What happened.
    pub(super) error: ForwardError,
    /// The request's content, when not one byte of it was written.
    pub(super) content: Option<Outgoing>,
    /// What became of it at the origin.
    pub(super) fate: Fate,
}

/// What is known of a request that got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The origin says that it did nothing with it (RFC 9113 §8.7).
    NotProcessed,
    /// The connection was lost in a way that lets one believe that the origin never saw it.
    LostUnseen,
    /// The origin may have seen it.
    Unknown,
}

impl Connection {
    /// HTTP/1.1 on an open socket.
    pub(super) fn http1(socket: Socket, round_trip: Duration) -> Self {
        Self::new(Sender::Http1(Box::new(Wire::new(socket))), round_trip)
    }

    /// Begins to speak HTTP/2 on a socket.
    pub(super) async fn http2<S>(host: &HostName, stream: S, round_trip: Duration) -> Result<Self, ForwardError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ForwardError::ConnectionTerminated { host: host.to_string() })?;
        // It ends when the senders and the responses are gone; its errors reach whoever waits for a response.
        tokio::spawn(connection);
        Ok(Self::new(Sender::Http2(sender, Arc::default()), round_trip))
    }

    fn new(sender: Sender, round_trip: Duration) -> Self {
        Self { sender, is_reused: false, keep_alive: None, round_trip, opened_by: thread::current().id() }
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.sender {
            Sender::Http1(_) => Protocol::Http1,
            Sender::Http2(..) => Protocol::Http2,
        }
    }

    /// A second handle to the same connection, when it can carry several requests.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender, identity) => {
                let sender = Sender::Http2(sender.clone(), Arc::clone(identity));
                Some(Self { is_reused: true, ..Self::new(sender, self.round_trip) })
            }
        }
    }

    /// Whether both are handles to one connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.sender, &other.sender) {
            (Sender::Http2(_, mine), Sender::Http2(_, theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        }
    }

    /// Whether it is known to be of no more use.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(wire) => !wire.is_reusable(),
            Sender::Http2(sender, _) => sender.is_closed(),
        }
    }

    /// Whether it can take a request now. An HTTP/1.1 connection on which the origin sent more than it was asked for
    /// says no.
    pub(super) async fn is_ready(&mut self, how: Look) -> bool {
        match &mut self.sender {
            Sender::Http1(wire) => wire.is_quiet(how),
            Sender::Http2(sender, _) => timeout(READY_TIMEOUT, sender.ready()).await.is_ok_and(|ready| ready.is_ok()),
        }
    }

    /// The wire itself, where it is HTTP/1.1.
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.sender {
            Sender::Http1(wire) => Some(wire),
            Sender::Http2(..) => None,
        }
    }

    /// Sends a request over HTTP/1.1.
    pub(super) async fn ask(
        &mut self,
        host: &HostName,
        request: http1::Request<'_>,
        content: Outgoing,
        after: Duration,
    ) -> Result<Parts, Unsent> {
        let begun = tokio::time::Instant::now();
        let crossing_time = self.crossing_time();
        let Sender::Http1(wire) = &mut self.sender else {
            let error = ForwardError::ConnectionTerminated { host: host.to_string() };
            return Err(Unsent { error, content: Some(content), fate: Fate::Unknown });
        };
        let Failure { why, unwritten, has_begun } = match wire.exchange(request, content, after).await {
            Ok(head) => {
                self.keep_alive = keep_alive(&head.headers);
                return Ok(head);
            }
            Err(failure) => failure,
        };
        let is_lost = matches!(&why, Why::Lost(error) if tls_cause(error).is_none());
        let is_reset = matches!(&why, Why::Lost(error) if is_reset(error));
        let fate = match is_lost && !has_begun && (is_reset || begun.elapsed() < crossing_time) {
            true => Fate::LostUnseen,
            false => Fate::Unknown,
        };
        Err(Unsent { error: of_wire(host, why, after), content: unwritten, fate })
    }

    /// Sends a request over HTTP/2.
    pub(super) async fn send(
        &mut self,
        host: &HostName,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Unsent> {
        let begun = tokio::time::Instant::now();
        let crossing_time = self.crossing_time();
        let Sender::Http2(sender, _) = &mut self.sender else {
            let error = ForwardError::ConnectionTerminated { host: host.to_string() };
            return Err(Unsent { error, content: Some(request.into_body()), fate: Fate::Unknown });
        };
        sender.try_send_request(request).await.map_err(|mut failed| {
            let cause = failed.error();
            let error = of_hyper(host, cause);
            let is_lost = matches!(error, ForwardError::ConnectionTerminated { .. });
            let was_reset = causes(cause).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(is_reset);
            let fate = match is_lost {
                true if is_not_processed(cause) => Fate::NotProcessed,
                true if was_reset || begun.elapsed() < crossing_time => Fate::LostUnseen,
                _ => Fate::Unknown,
            };
            Unsent { error, content: failed.take_message().map(Request::into_body), fate }
        })
    }

    /// The time in which a "closed" can come that left the origin before our request arrived there.
    ///
    /// On a LAN it is too short to tell that from an origin that answers with a hang-up, so there it is none.
    fn crossing_time(&self) -> Duration {
        const FAR: Duration = Duration::from_millis(20);
        if self.round_trip < FAR { Duration::ZERO } else { self.round_trip }
    }
}

/// A reset means that the origin's system threw our bytes away unread.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// What TLS says, if that is what failed.
fn tls_cause(error: &io::Error) -> Option<String> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).map(ToString::to_string)
}

/// What became of an exchange over HTTP/1.1, in our words.
fn of_wire(host: &HostName, why: Why, after: Duration) -> ForwardError {
    let host = host.to_string();
    match why {
        Why::Lost(error) => match tls_cause(&error) {
            Some(detail) => ForwardError::Tls { host, detail },
            None => ForwardError::ConnectionTerminated { host },
        },
        Why::Unreadable(detail) => ForwardError::Protocol { host, detail },
        Why::TooManyInterim => ForwardError::Protocol { host, detail: "too many interim answers".to_owned() },
        Why::ContentFailed => ForwardError::ConnectionTerminated { host },
        Why::TooLate => ForwardError::ResponseTimeout { host, after },
    }
}

/// The origin refused the stream, or ended the connection in order before it came to it. Servers do the latter after
/// some hundred or thousand requests on one connection, and a night meets that often.
fn is_not_processed(error: &hyper::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(|error| {
        let is_orderly_end = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (is_orderly_end || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn causes(error: &hyper::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// What the library says, in our words.
fn of_hyper(host: &HostName, error: &hyper::Error) -> ForwardError {
    let host = host.to_string();
    let has_tls_cause = || causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).find_map(tls_cause);
    if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
        ForwardError::Protocol { host, detail: error.to_string() }
    } else if let Some(detail) = has_tls_cause() {
        ForwardError::Tls { host, detail }
    } else {
        ForwardError::ConnectionTerminated { host }
    }
}

/// `Keep-Alive: timeout=5, max=100`: the seconds, if they are there (RFC 2068 §19.7.1).
fn keep_alive(fields: &HeaderMap) -> Option<Duration> {
    let text = fields.get(&KEEP_ALIVE)?.to_str().ok()?;
    let seconds = text.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_says_how_long_it_keeps_a_connection() {
        for (value, expected) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=100", Some(5)),
            ("max=100, timeout=15", Some(15)),
            ("max=100", None),
            ("timeout=-5", None),
            ("timeout=", None),
        ] {
            let fields = HeaderMap::from_iter([("keep-alive".parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(keep_alive(&fields), expected.map(Duration::from_secs), "{value}");
        }
    }
}
