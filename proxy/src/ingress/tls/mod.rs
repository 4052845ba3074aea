//! The https door, and CONNECT: each connection is decided at its ClientHello, before the box has said a word.
//!
//! TLS ends here only if the site says so, the device trusts the CA, and a certificate can be made; otherwise the bytes
//! pass to the permitted host untouched. What names no permitted host is closed with an alert that says so.

mod batched;
pub(super) mod client_hello;
mod close;
mod config;
mod decide;
mod late;
mod replay;
mod terminate;

use std::sync::Arc;
use std::time::Duration;

use bulaq_allowlist::{HostName, Permit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(super) use self::config::Settings;
pub(super) use self::decide::{Decision, decide};

use self::client_hello::{ClientHello, HelloError};
use self::close::{Alert, close};
use self::late::Late;
use self::replay::Replay;
use super::doors::Outcome;
use super::tunnel::{self, Dial};
use super::{Answers, Behind, Caller, transparent};
use crate::request::Arrival;

/// The port of https, and the only one that a spliced connection leads to: the ClientHello does not say another.
pub(super) const HTTPS_PORT: u16 = 443;

/// How long the client of a CONNECT to another port than that of https is waited for before the origin may speak first.
const SPEAKS_FIRST: Duration = Duration::from_secs(1);

/// Where a client wanted to be connected to, when it said so before its ClientHello; that must then name the same host.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The host.
    pub(super) host: HostName,
    /// The port at the origin.
    pub(super) port: u16,
}

/// Serves one connection that begins with a ClientHello.
pub(super) async fn serve<S, D, I>(behind: Arc<Behind<S, D>>, mut stream: I, arrival: Arrival, caller: Caller)
where
    S: Answers,
    D: Dial,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut seen = Vec::with_capacity(2048);
    let Some(hello) = read_hello(&behind, &mut stream, &mut seen).await else { return };
    match hello {
        Ok(hello) => Box::pin(carry_on(behind, stream, seen, &hello, arrival, caller, None, None)).await,
        Err(error) => refuse_bytes(&behind, stream, &error).await,
    }
}

/// Where a CONNECT leads that was answered with 200.
#[derive(Debug)]
pub(super) struct Connected {
    /// As the client said it.
    pub(super) expected: Expected,
    /// Under which permit; none for the box's own names.
    pub(super) permit: Option<Permit>,
    /// The connection to the origin, when it is known that the bytes pass through.
    pub(super) origin: Option<TcpStream>,
}

/// Serves what follows a CONNECT, after the 200.
pub(super) async fn serve_connected<S, D, I>(
    behind: Arc<Behind<S, D>>,
    mut stream: I,
    arrival: Arrival,
    caller: Caller,
    connected: Connected,
) where
    S: Answers,
    D: Dial,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Connected { expected, permit, origin } = connected;
    let mut seen = Vec::with_capacity(2048);
    // A port that the list names may speak what it likes, and may let the origin speak first.
    let other_protocol = permit.filter(|_| expected.port != HTTPS_PORT);
    if let Some(permit) = &other_protocol
        && timeout(SPEAKS_FIRST, stream.read_buf(&mut seen)).await.is_err()
    {
        let stream = Late::new(stream, expected.host);
        return splice(&behind, stream, &[], (permit.clone(), arrival), origin, Outcome::Tunnelled).await;
    }
    let Some(hello) = read_hello(&behind, &mut stream, &mut seen).await else { return };
    match (hello, other_protocol) {
        (Ok(hello), _) => carry_on(behind, stream, seen, &hello, arrival, caller, Some(expected), origin).await,
        (Err(error), Some(permit)) if error.may_be_another_protocol() => {
            splice(&behind, stream, &seen, (permit, arrival), origin, Outcome::Tunnelled).await;
        }
        (Err(HelloError::NotTls | HelloError::PlainHttp), _) => {
            behind.doors.count(Outcome::ConnectNotTls);
            close(stream, None).await;
        }
        (Err(error), _) => refuse_bytes(&behind, stream, &error).await,
    }
}

/// Reads the ClientHello into `seen`; none when the box is being shut down.
async fn read_hello<S, D, I: AsyncRead + Unpin>(
    behind: &Behind<S, D>,
    stream: &mut I,
    seen: &mut Vec<u8>,
) -> Option<Result<ClientHello, HelloError>> {
    tokio::select! {
        hello = client_hello::read(stream, seen, behind.limits.head_wait()) => Some(hello),
        () = behind.shutdown.draining() => None,
    }
}

async fn refuse_bytes<S, D, I>(behind: &Behind<S, D>, stream: I, error: &HelloError)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    tracing::debug!(error = %error, "no ClientHello");
    behind.doors.count(error.outcome());
    close(stream, error.alert()).await;
}

/// Does what is decided of a whole ClientHello.
#[expect(clippy::too_many_arguments, reason = "a connection in the middle of its life has that many parts")]
async fn carry_on<S, D, I>(
    behind: Arc<Behind<S, D>>,
    stream: I,
    seen: Vec<u8>,
    hello: &ClientHello,
    arrival: Arrival,
    caller: Caller,
    expected: Option<Expected>,
    origin: Option<TcpStream>,
) where
    S: Answers,
    D: Dial,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (host, port) = match named(hello, expected) {
        Ok(named) => named,
        Err((outcome, alert)) => {
            behind.doors.count(outcome);
            return close(stream, Some(alert)).await;
        }
    };
    let list = behind.allowlist.load_full();
    if !transparent::may_open(&behind.dial, &list, &host, arrival.original, behind.router.mismatch).await {
        tracing::debug!(%host, "closed: it was going to an address that is none of the site's");
        behind.doors.count(Outcome::WrongDestination);
        return close(stream, Some(Alert::UnrecognizedName)).await;
    }
    match decide(&behind, caller.peer, &host, port) {
        Decision::Refuse(outcome) => {
            tracing::debug!(%host, "closed at its ClientHello: {}", outcome.word());
            behind.doors.count(outcome);
            close(stream, Some(Alert::UnrecognizedName)).await;
        }
        Decision::Splice(permit, why) => {
            Box::pin(splice(&behind, stream, &seen, (permit, arrival), origin, why)).await;
        }
        Decision::Terminate(shown) => {
            let stream = Replay::new(seen, stream);
            Box::pin(terminate::terminate(behind, stream, hello, shown, arrival, caller)).await;
        }
    }
}

/// The host and port that a ClientHello leads to.
fn named(hello: &ClientHello, expected: Option<Expected>) -> Result<(HostName, u16), (Outcome, Alert)> {
    let Some(name) = &hello.server_name else {
        // RFC 8446 §9.2 has an alert for this, which TLS 1.2 does not know.
        let alert = if hello.offers_tls13 { Alert::MissingExtension } else { Alert::HandshakeFailure };
        return Err((Outcome::NoName, alert));
    };
    let host = HostName::parse(name).map_err(|_| (Outcome::BadName, Alert::UnrecognizedName))?;
    match expected {
        Some(expected) if expected.host != host => Err((Outcome::NameDisagrees, Alert::UnrecognizedName)),
        Some(expected) => Ok((host, expected.port)),
        None => Ok((host, HTTPS_PORT)),
    }
}

async fn splice<S, D, I>(
    behind: &Behind<S, D>,
    stream: I,
    seen: &[u8],
    (permit, arrival): (Permit, Arrival),
    origin: Option<TcpStream>,
    why: Outcome,
) where
    D: Dial,
    I: AsyncRead + AsyncWrite + Unpin,
{
    let origin = match origin {
        Some(origin) => Ok(origin),
        None => behind.dial.dial(&permit).await,
    };
    match origin {
        Ok(origin) => {
            behind.doors.count(why);
            let idle = behind.limits.tunnel_idle();
            tunnel::run(stream, origin, seen, (permit, arrival.way), idle, &behind.cut, &behind.on_tunnel).await;
        }
        Err(error) => {
            tracing::debug!(host = %permit.host(), error = %error, "cannot splice");
            behind.doors.count(Outcome::OriginUnreachable);
            let is_tls = why != Outcome::Tunnelled;
            close(stream, is_tls.then_some(Alert::InternalError)).await;
        }
    }
}
