//! The https door: each connection is decided at its ClientHello, before the box has said a word.

pub(super) mod client_hello;
mod replay;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bulaq_allowlist::{Allowlist, HostName, Permit, TlsMode};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::replay::Replay;
use super::places::Place;
use super::tunnel::{self, Dial};
use super::{Answers, Behind, connection, transparent};
use crate::ca::{CaError, Certificates};
use crate::request::{Arrival, Way};

/// The port of https, and the only one that a spliced connection leads to: the ClientHello does not say another.
const HTTPS_PORT: u16 = 443;

/// A fatal alert `unrecognized_name` (RFC 8446 §6.2, RFC 6066 §3), as a record.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What becomes of a connection.
#[derive(Debug)]
enum Decision {
    /// The name is not listed, or there is none: nothing is connected to.
    Refuse,
    /// The bytes go to the origin untouched.
    Splice(Permit),
    /// TLS ends here.
    Terminate(HostName),
}

/// Decides by name. A host that should be terminated but has no certificate is spliced: a pupil then sees the site
/// and not a warning.
fn decide(allowlist: &Allowlist, certificates: &Certificates, server_name: Option<&str>) -> Decision {
    let Some(host) = server_name.and_then(|name| HostName::parse(name).ok()) else { return Decision::Refuse };
    let Ok(permit) = allowlist.permit_tunnel(&host, HTTPS_PORT) else { return Decision::Refuse };
    match permit.site().tls() {
        TlsMode::Splice => Decision::Splice(permit),
        TlsMode::Terminate => match certificates.certified_key(&permit) {
            Ok(_) => Decision::Terminate(host),
            Err(error) => {
                say_why_spliced(&host, &error);
                Decision::Splice(permit)
            }
        },
    }
}

fn say_why_spliced(host: &HostName, error: &CaError) {
    // Whoever starts the box is told once which names are left out; here it would be said with every connection.
    tracing::debug!(%host, error = %error, "spliced, though the allowlist says terminate");
}

/// How TLS is ended for every host: TLS 1.2 or 1.3, HTTP/2 or 1.1, tickets for quick returns.
pub(super) fn server_config(
    allowlist: Arc<ArcSwap<Allowlist>>,
    certificates: Arc<Certificates>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let resolver = Arc::new(Resolver { allowlist, certificates });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Finds the certificate by the name as the TLS library has read it, so that nothing hangs on our own reading.
#[derive(Debug)]
struct Resolver {
    allowlist: Arc<ArcSwap<Allowlist>>,
    certificates: Arc<Certificates>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = HostName::parse(hello.server_name()?).ok()?;
        let permit = self.allowlist.load().permit_tunnel(&host, HTTPS_PORT).ok()?;
        self.certificates.certified_key(&permit).ok()
    }
}

/// Serves one connection of the https door.
pub(super) async fn serve<S, D>(behind: Arc<Behind<S, D>>, mut stream: TcpStream, arrival: Arrival, place: Arc<Place>)
where
    S: Answers,
    D: Dial,
{
    let mut seen = Vec::with_capacity(2048);
    let hello = tokio::select! {
        hello = client_hello::read(&mut stream, &mut seen, behind.limits.head_wait()) => hello,
        () = behind.shutdown.draining() => return,
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(error) => {
            tracing::debug!(error = %error, "no ClientHello");
            return;
        }
    };
    let list = behind.allowlist.load_full();
    if let Some(host) = hello.server_name.as_deref().and_then(|name| HostName::parse(name).ok())
        && !transparent::may_open(&behind.dial, &list, &host, arrival.original, behind.router.mismatch).await
    {
        tracing::debug!(%host, "closed: it was going to an address that is none of the site's");
        return refuse(stream).await;
    }
    let decision = decide(&list, &behind.certificates, hello.server_name.as_deref());
    match decision {
        Decision::Refuse => refuse(stream).await,
        Decision::Splice(permit) => splice(&behind, stream, &seen, permit).await,
        Decision::Terminate(host) => terminate(behind, stream, seen, host, arrival, place).await,
    }
}

async fn refuse(mut stream: TcpStream) {
    // Seven bytes always fit into a new socket's buffer; whether the client still listens does not matter.
    let _ = stream.write_all(&UNRECOGNIZED_NAME).await;
    let _ = stream.shutdown().await;
}

async fn splice<S, D: Dial>(behind: &Behind<S, D>, stream: TcpStream, seen: &[u8], permit: Permit) {
    match behind.dial.dial(&permit).await {
        Ok(origin) => {
            let idle = behind.limits.tunnel_idle();
            tunnel::run(stream, origin, seen, (permit, Way::Reverse), idle, &behind.cut, &behind.on_tunnel).await;
        }
        Err(error) => tracing::debug!(host = %permit.host(), error = %error, "cannot splice"),
    }
}

async fn terminate<S, D>(
    behind: Arc<Behind<S, D>>,
    stream: TcpStream,
    seen: Vec<u8>,
    host: HostName,
    arrival: Arrival,
    place: Arc<Place>,
) where
    S: Answers,
    D: Dial,
{
    let acceptor = TlsAcceptor::from(Arc::clone(&behind.tls));
    let handshake = acceptor.accept(Replay::new(seen, stream));
    let tls = match timeout(behind.limits.head_wait(), handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            // Most often a device that does not trust the CA.
            tracing::debug!(%host, error = %error, "no TLS with a client");
            return;
        }
        Err(_) => return,
    };
    let agreed = tls.get_ref().1.server_name().and_then(|name| HostName::parse(name).ok());
    if agreed.as_ref() != Some(&host) {
        return; // the library read another name than we did: nobody should go on
    }
    let arrival = Arrival { is_secure: true, server_name: Some(host), ..arrival };
    connection::serve(behind, tls, arrival, place).await;
}
