//! A connection that speaks HTTP: each of its requests is admitted, given to the stack, and answered.
//!
//! `framing` gives its bytes one meaning, `guarded` its waits an end, `admit` its requests their order. What was answered
//! before is answered `beneath` hyper, from a memo (`quick`).

mod activity;
pub(super) mod admit;
#[cfg(feature = "benches")]
pub(crate) mod benches;
mod beneath;
pub(super) mod content;
pub(super) mod framing;
mod guarded;
mod quick;
mod socket;
mod streams;
pub(super) mod timer;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bulaq_allowlist::HostName;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;

use self::activity::Activity;
use self::admit::{Admitted, Door, Turned, admit};
use self::content::Served;
use self::guarded::{Guarded, Waits};
use self::quick::Quick;
pub(super) use self::socket::{Transport, UNSENT_BYTES_MAX, limit_unsent};
use self::streams::Streams;
use super::doors::Outcome;
use super::limits::{HEAD_BYTES_MAX, Limits};
use super::tls::{self, Connected, Decision, Expected, HTTPS_PORT};
use super::tunnel::Dial;
use super::{Answers, Behind, Caller, transparent};
use crate::portal::names;
use crate::request::repeat::MayRepeat;
use crate::request::{Arrival, ResponseBody};

/// Frames that a client may have reset and that are not yet cleaned up, on one HTTP/2 connection: more is an attack
/// (rapid reset, CVE-2023-44487), and the connection is ended.
const H2_RESETS_PENDING_MAX: usize = 20;
/// Streams that we had to reset because of the client's errors on one HTTP/2 connection (CVE-2025-8671).
const H2_ERRORS_MAX: usize = 200;
/// Bytes that wait to be sent on one HTTP/2 stream: as many as on an HTTP/1.1 connection. With 256 KiB a class of 500
/// streams held 164 MiB.
const H2_SEND_BYTES_MAX: usize = 64 * 1024;

/// How hyper is set for every connection; it hands what it reads by HTTP/2 to `streams`.
fn http(limits: &Limits, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    // The waits for heads are those of `Guarded`: hyper's own counts an idle connection as a slow one. More than 100
    // fields are refused by hyper's own number; setting it would cost an allocation a request.
    builder.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.h2_streams_max).unwrap_or(u32::MAX))
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(H2_RESETS_PENDING_MAX)
        .max_local_error_reset_streams(H2_ERRORS_MAX)
        .max_send_buf_size(H2_SEND_BYTES_MAX);
    builder
}

/// The departure of a connection whose flushes write at once.
pub(super) fn by_itself(_: &mut Context<'_>) -> Poll<io::Result<()>> {
    Poll::Ready(Ok(()))
}

/// Serves one connection until it ends, or until the box is shut down and its requests have been answered. After each
/// turn `depart` writes what has not left yet.
pub(super) async fn serve<S, D, I>(
    behind: Arc<Behind<S, D>>,
    io: I,
    depart: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    arrival: Arrival,
    caller: Caller,
) where
    S: Answers,
    D: Dial,
    I: Transport + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let quick = behind.repeats.as_ref().and_then(|repeats| Quick::new(repeats, &arrival));
    let io = TokioIo::new(Guarded::new(io, Waits::new(&behind.limits), Arc::clone(&activity)).with(quick));
    let service = service_fn(|request| {
        let (behind, arrival, activity, caller) =
            (Arc::clone(&behind), arrival.clone(), Arc::clone(&activity), caller.clone());
        async move { Ok::<_, Infallible>(answer(behind, arrival, activity, caller, request).await) }
    });
    let streams = Streams::default();
    let http = http(&behind.limits, streams.clone());
    let mut connection = std::pin::pin!(http.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = streams.drive(connection.as_mut(), &depart) => ended,
        () = behind.shutdown.draining() => {
            activity.drain();
            let drained = async {
                // An answer that has begun beneath hyper is finished before hyper hears of the end.
                let ended = poll_fn(|cx| match streams.poll(connection.as_mut(), &depart, cx) {
                    Poll::Ready(ended) => Poll::Ready(Some(ended)),
                    Poll::Pending if activity.is_answering() => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                });
                if let Some(ended) = ended.await {
                    return ended;
                }
                connection.as_mut().graceful_shutdown();
                streams.drive(connection, &depart).await
            };
            tokio::select! {
                ended = drained => ended,
                () = behind.cut.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        // Clients vanish all the time; what they sent is not repeated here.
        tracing::debug!(error = %error, "a connection ended badly");
    }
}

async fn answer<S, D>(
    behind: Arc<Behind<S, D>>,
    arrival: Arrival,
    activity: Arc<Activity>,
    caller: Caller,
    request: Request<Incoming>,
) -> Response<Served>
where
    S: Answers,
    D: Dial,
{
    let busy = activity.begin();
    let key = activity.asked();
    let (mut head, incoming) = request.into_parts();
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let (limits, version) = (&behind.limits, head.version);
    let is_last = version < Version::HTTP_11 || says_close(&head.headers);
    let content_bytes_max = limits.request_body_bytes_max;
    let door = Door { way: arrival.way, is_secure: arrival.is_secure, content_bytes_max };
    let is_head = head.method == Method::HEAD;
    let admitted = match (admit(door, &mut head), arrival.original) {
        // Over TLS the name in the ClientHello was compared, and no other is served.
        (Ok(Admitted::Request), Some(original)) if !arrival.is_secure => {
            let (list, mismatch) = (behind.allowlist.load_full(), behind.router.mismatch);
            let may_ask = Box::pin(transparent::may_ask(&behind.dial, &list, &head, original, mismatch)).await;
            if may_ask == Err(Turned::WrongDestination) {
                behind.doors.count(Outcome::WrongDestination);
            }
            may_ask.map(|()| Admitted::Request)
        }
        (admitted, _) => admitted,
    };
    let response = match admitted {
        Ok(Admitted::Request) => {
            let has_no_content = head.method == Method::GET || is_head;
            let body = if has_no_content {
                content::empty()
            } else {
                content::of_request(incoming, content_bytes_max, limits.request_body_wait(), &activity)
            };
            let is_probe = is_probe(&arrival, &head);
            if is_probe {
                behind.trust.proved(caller.peer);
            }
            let key = key.filter(|_| !is_probe); // each of them is noted, whatever its answer
            if key.is_some() {
                head.extensions.insert(MayRepeat);
            }
            let way = arrival.way;
            head.extensions.insert(arrival);
            // HTTP/1.0 knows no interim responses, and over HTTP/2 hyper has no way to send them (its pull request 4114).
            let interim = (version == Version::HTTP_11).then(|| Arc::clone(activity.interim()));
            if let Some(interim) = &interim {
                head.extensions.insert(interim.open());
            }
            let mut stack = behind.stack.clone();
            let Ok(()) = poll_fn(|cx| stack.poll_ready(cx)).await;
            let answering = stack.call(Request::from_parts(head, body));
            let Ok(response) = match interim {
                Some(interim) => interim.ahead_of(answering).await,
                None => answering.await,
            };
            if let (Some(key), Some(repeats)) = (key, &behind.repeats) {
                repeats.note(key, way, &response);
            }
            response
        }
        Ok(Admitted::Tunnel { host, port }) => match Box::pin(connect(&behind, caller.peer, &host, port)).await {
            Ok(connected) => open_tunnel(behind, connected, upgrade, Arc::clone(&activity), arrival, caller),
            Err(turned) => turned_away(turned, version),
        },
        Err(turned) => turned_away(turned, version),
    };
    if is_last || says_close(response.headers()) {
        activity.ends();
    }
    let response = if is_head { without_content(response) } else { response };
    response.map(|body| Served::new(body, busy))
}

/// Whether the connection is to end after this message. What else stands in such a field is no matter here.
fn says_close(headers: &HeaderMap) -> bool {
    let is_close = |option: &[u8]| option.trim_ascii().eq_ignore_ascii_case(b"close");
    headers.get_all(CONNECTION).iter().any(|line| line.as_bytes().split(|&byte| byte == b',').any(is_close))
}

/// The answer to a HEAD: the fields of the answer to a GET, and nothing after them (RFC 9110 §9.3.2). hyper sees to
/// that for HTTP/1.1 alone; over HTTP/2 a client takes content here for an error of the protocol.
fn without_content(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if response.body().is_end_stream() {
        return response;
    }
    let length = response.body().size_hint().exact();
    if let (Some(length), false) = (length, response.headers().contains_key(CONTENT_LENGTH)) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response.map(|_| content::empty())
}

/// Whether this is a request for the name that shows trust: it came over TLS that ended here, under our certificate.
fn is_probe(arrival: &Arrival, head: &Parts) -> bool {
    let probe = names::probe_name();
    arrival.is_secure
        && arrival.server_name.as_ref() == Some(probe)
        && head.headers.get(HOST).is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(probe.as_str().as_bytes()))
}

/// Asks the allowlist, and dials if the bytes will pass through: a client can still be told that it cannot be reached.
/// Nothing is connected to that is not permitted.
async fn connect<S, D: Dial>(behind: &Behind<S, D>, peer: IpAddr, host: &str, port: u16) -> Result<Connected, Turned> {
    let not_listed = || {
        behind.doors.count(Outcome::ConnectNotListed);
        Turned::TunnelNotListed
    };
    let host = HostName::parse(host).map_err(|_| not_listed())?;
    let expected = Expected { host: host.clone(), port };
    match tls::decide(behind, peer, &host, port) {
        Decision::Refuse(_) => Err(not_listed()),
        Decision::Terminate(_) if names::is_own(&host) && port != HTTPS_PORT => Err(not_listed()),
        Decision::Terminate(_) => {
            let permit = behind.allowlist.load().permit_tunnel(&host, port).ok();
            Ok(Connected { expected, permit, origin: None })
        }
        Decision::Splice(permit, _) => match behind.dial.dial(&permit).await {
            Ok(origin) => Ok(Connected { expected, permit: Some(permit), origin: Some(origin) }),
            Err(error) => {
                tracing::debug!(host = %permit.host(), error = %error, "no tunnel");
                behind.doors.count(Outcome::OriginUnreachable);
                Err(Turned::TunnelUnreachable)
            }
        },
    }
}

/// Answers 200 and, once that is sent, goes on as at the https door. What the client sent after its head waits until
/// then.
fn open_tunnel<S, D>(
    behind: Arc<Behind<S, D>>,
    connected: Connected,
    upgrade: Option<OnUpgrade>,
    activity: Arc<Activity>,
    arrival: Arrival,
    caller: Caller,
) -> Response<ResponseBody>
where
    S: Answers,
    D: Dial,
{
    let tasks = behind.tasks.clone();
    let cut = behind.cut.clone();
    let tunnel = in_tunnel(behind, connected, upgrade, activity, arrival, caller);
    tasks.spawn(async move {
        tokio::select! {
            () = tunnel => {}
            () = cut.cancelled() => {}
        }
    });
    Response::new(content::empty())
}

/// In a box of its own: inside a tunnel there may be TLS that ends here, and requests in that.
fn in_tunnel<S, D>(
    behind: Arc<Behind<S, D>>,
    connected: Connected,
    upgrade: Option<OnUpgrade>,
    activity: Arc<Activity>,
    arrival: Arrival,
    caller: Caller,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    S: Answers,
    D: Dial,
{
    Box::pin(async move {
        let Some(upgrade) = upgrade else { return };
        match upgrade.await {
            Ok(client) => {
                activity.becomes_tunnel();
                tls::serve_connected(behind, TokioIo::new(client), arrival, caller, connected).await;
            }
            Err(error) => tracing::debug!(error = %error, "a client left before its tunnel was open"),
        }
    })
}

/// The door's own answer: short and plain, for whoever set up the client. The connection ends with it.
fn turned_away(turned: Turned, version: Version) -> Response<ResponseBody> {
    tracing::debug!(reason = ?turned, "turned away at the door");
    let text = format!("Bulaq, the school's lesson cache: {turned}.\n");
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut response = Response::new(ResponseBody::new(body));
    *response.status_mut() = turned.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(turned, Turned::Trace) {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
