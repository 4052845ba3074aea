//! TLS that ends here: the handshake, and what a device that does not go on with our certificate tells by that.
//!
//! A refusal shows in two ways. An alert is one, whenever it comes: in TLS 1.3 often as the first thing after a
//! handshake that our side took for done. A close is one when it comes within the handshake, or right after it without
//! a byte: apps that pin a certificate do that. Browsers open connections in advance and close them unused, but later;
//! and what they close at once, because another connection serves them, is told by that other connection: by its
//! requests, or, while it has still to say something, by what it will say.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bulaq_allowlist::HostName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, HandshakeKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::batched::batched;
use super::client_hello;
use super::close::linger;
use super::decide::{Shown, Whose};
use super::replay::Replay;
use crate::ingress::doors::Outcome;
use crate::ingress::trust::{Class, Refusal, Trust};
use crate::ingress::tunnel::Dial;
use crate::ingress::{Answers, Behind, Caller, connection};
use crate::portal::names;
use crate::request::Arrival;

/// How soon after the handshake a close without a byte means that the certificate was not liked. Apps compare a pinned
/// key within milliseconds; browsers keep a connection that they opened in advance for five seconds and more.
const LEAVES_AT_ONCE: Duration = Duration::from_secs(1);

/// A device that has used our certificate for a host within this time has no quarrel with it: a close is a close.
const USED_LATELY: Duration = Duration::from_secs(10 * 60);

/// HTTP/2 as ALPN names it (RFC 9113 §3.1).
const H2: &[u8] = b"h2";

/// How much is read at first after the handshake; a browser's first request fits.
const FIRST_BYTES: usize = 2 * 1024;

/// The one certificate that was decided on, for the one name, as the TLS library reads it.
#[derive(Debug)]
struct One {
    host: HostName,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for One {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = HostName::parse(hello.server_name()?).ok()?;
        (host == self.host).then(|| Arc::clone(&self.key))
    }
}

/// Shows the certificate and, if the client goes on, serves what it asks for.
pub(super) async fn terminate<S, D, I>(
    behind: Arc<Behind<S, D>>,
    stream: Replay<I>,
    hello: &client_hello::ClientHello,
    shown: Shown,
    arrival: Arrival,
    caller: Caller,
) where
    S: Answers,
    D: Dial,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Shown { host, key, whose } = shown;
    let config = behind.tls.of(hello, Arc::new(One { host: host.clone(), key }));
    let device = Device::shown(&behind.trust, caller.peer, host.clone(), whose);
    let handshake = TlsAcceptor::from(config).accept(stream).into_fallible();
    let mut tls = match timeout(behind.limits.head_wait(), handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err((error, stream))) => {
            tracing::debug!(%host, error = %error, "no TLS with a client");
            behind.doors.count(device.broke_off(&error));
            return linger(stream).await;
        }
        Err(_) => return behind.doors.count(Outcome::SlowHandshake),
    };
    let first = tokio::select! {
        first = first_bytes(&mut tls, behind.limits.idle()) => first,
        () = behind.shutdown.draining() => Err(Unused::Left),
    };
    match first {
        Ok(first) => {
            behind.doors.count(device.goes_on());
            let arrival = Arrival { is_secure: true, server_name: Some(host), ..arrival };
            if tls.get_ref().1.alpn_protocol() == Some(H2) {
                let (tls, departure) = batched(tls, behind.limits.write_wait());
                let depart = move |cx: &mut Context<'_>| departure.poll(cx);
                Box::pin(connection::serve(behind, Replay::new(first, tls), depart, arrival, caller)).await;
            } else {
                let tls = Replay::new(first, tls);
                Box::pin(connection::serve(behind, tls, connection::by_itself, arrival, caller)).await;
            }
        }
        Err(unused) => {
            // Who came back with a ticket was shown no certificate.
            let is_full = tls.get_ref().1.handshake_kind() != Some(HandshakeKind::Resumed);
            behind.doors.count(if is_full { device.left(&unused) } else { Outcome::Unused });
            let _ = timeout(LEAVES_AT_ONCE, tls.shutdown()).await; // whether it hears us does not matter
        }
    }
}

/// How a connection ended whose handshake was done and which was never used.
#[derive(Debug)]
enum Unused {
    /// With an alert.
    Alert(AlertDescription),
    /// By a close right after the handshake.
    LeftAtOnce,
    /// In some other way: it waited for too long, or the box is being shut down.
    Left,
}

/// What the client sends first.
async fn first_bytes<I>(tls: &mut TlsStream<I>, within: Duration) -> Result<Vec<u8>, Unused>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let done = Instant::now();
    let mut first = Vec::with_capacity(FIRST_BYTES);
    match timeout(within, tls.read_buf(&mut first)).await {
        Ok(Ok(1..)) => Ok(first),
        Ok(ended) => match ended.as_ref().map_err(alert_in) {
            Err(Some(alert)) => Err(Unused::Alert(alert)),
            _ if done.elapsed() < LEAVES_AT_ONCE => Err(Unused::LeftAtOnce),
            _ => Err(Unused::Left),
        },
        Err(_) => Err(Unused::Left),
    }
}

/// The alert that the client sent, if that is what the error is about.
fn alert_in(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Whether versions or ciphers do not meet: a device that is too old for us, not too strict.
fn is_incompatible(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(tls, Some(rustls::Error::PeerIncompatible(_)))
}

fn is_left(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// A device to which a certificate is shown on one connection, until what comes of it is known.
struct Device<'a> {
    trust: &'a Trust,
    peer: IpAddr,
    host: HostName,
    whose: Whose,
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        if let Whose::Site(_) = self.whose {
            self.trust.has_told(self.peer, &self.host);
        }
    }
}

impl<'a> Device<'a> {
    fn shown(trust: &'a Trust, peer: IpAddr, host: HostName, whose: Whose) -> Self {
        if let Whose::Site(_) = whose {
            trust.shown(peer, &host);
        }
        Self { trust, peer, host, whose }
    }

    /// The handshake was not finished.
    fn broke_off(self, error: &io::Error) -> Outcome {
        match alert_in(error) {
            Some(alert) => self.refused(alert),
            None if is_left(error) => self.closed(),
            None => {
                if let (Whose::Site(class), true) = (self.whose, is_incompatible(error)) {
                    self.splice_from_now_on(class, Refusal::OfTheHost, "a device does not speak our TLS");
                }
                Outcome::HandshakeFailed
            }
        }
    }

    /// The handshake was finished, and then nothing was asked.
    fn left(self, unused: &Unused) -> Outcome {
        match unused {
            Unused::Alert(alert) => self.refused(*alert),
            Unused::LeftAtOnce => self.closed(),
            Unused::Left => Outcome::Unused,
        }
    }

    /// It asks for something under our certificate.
    fn goes_on(self) -> Outcome {
        match self.whose {
            Whose::Own => Outcome::TerminatedOwn,
            Whose::Gateway => Outcome::TerminatedGateway,
            Whose::Site(class) => {
                self.trust.used(self.peer, &self.host);
                match class {
                    Class::Network => Outcome::TerminatedNetwork,
                    Class::Probe => Outcome::TerminatedProbe,
                }
            }
        }
    }

    fn refused(self, alert: AlertDescription) -> Outcome {
        use AlertDescription::{BadCertificate, CertificateUnknown, UnknownCA};
        // Libraries say any of these three when they don't know who signed.
        let is_of_the_ca = matches!(alert, UnknownCA | CertificateUnknown | BadCertificate);
        match self.whose {
            Whose::Own if self.host == *names::probe_name() => {
                if is_of_the_ca {
                    self.trust.probe_refused(self.peer);
                }
                Outcome::ProbeRefused
            }
            Whose::Own | Whose::Gateway => Outcome::CertificateRefused,
            Whose::Site(class) => {
                let refusal = if is_of_the_ca { Refusal::OfTheCa } else { Refusal::OfTheHost };
                self.splice_from_now_on(class, refusal, "a device refused the certificate");
                Outcome::CertificateRefused
            }
        }
    }

    fn closed(self) -> Outcome {
        match self.whose {
            Whose::Own if self.host == *names::probe_name() => Outcome::ProbeRefused,
            Whose::Site(class) if !self.has_another_word() => {
                self.splice_from_now_on(class, Refusal::ByLeaving, "a device left right after the certificate");
                Outcome::CertificateClosed
            }
            Whose::Own | Whose::Gateway | Whose::Site(_) => Outcome::Unused,
        }
    }

    /// Whether the device has said on another connection that it takes the certificate, or can still say so.
    fn has_another_word(&self) -> bool {
        self.trust.has_used(self.peer, &self.host, USED_LATELY) || self.trust.shown_on(self.peer, &self.host) > 1
    }

    fn splice_from_now_on(&self, class: Class, refusal: Refusal, why: &'static str) {
        let lost_proof = self.trust.refused(self.peer, &self.host, refusal);
        // Nothing more may be said of the device.
        tracing::info!(host = %self.host, device = class.words(), "{why}: the host is passed through to it for now");
        if lost_proof {
            tracing::info!("a device that had passed the probe refused several hosts: it must pass the probe again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::clock::Clock;
    use crate::ingress::TrustOptions;
    use crate::ingress::trust::Standing;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// What is counted, and how the device stands afterwards.
    fn told(whose: Whose, host: &str, ending: impl FnOnce(Device<'_>) -> Outcome) -> (Outcome, bool) {
        let trust = Trust::new(TrustOptions::default(), Clock::system());
        let host: HostName = host.parse().unwrap();
        let outcome = ending(Device::shown(&trust, PEER, host.clone(), whose));
        (outcome, trust.standing(PEER, &host) == Standing::Refused)
    }

    #[test]
    fn only_an_alert_about_the_ca_takes_the_proof_away() {
        use AlertDescription as Alert;
        let probe = names::probe_name();
        for (unused, is_trusted) in [
            (Unused::Alert(Alert::UnknownCA), false),
            (Unused::Alert(Alert::CertificateUnknown), false),
            (Unused::Alert(Alert::BadCertificate), false),
            (Unused::Alert(Alert::CertificateExpired), true),
            (Unused::LeftAtOnce, true),
            (Unused::Left, true),
        ] {
            let trust = Trust::new(TrustOptions { networks: vec![], ..TrustOptions::default() }, Clock::system());
            trust.proved(PEER);
            Device::shown(&trust, PEER, probe.clone(), Whose::Own).left(&unused);
            assert_eq!(trust.trusts(PEER), is_trusted, "{unused:?}");
        }
    }

    #[test]
    fn the_last_of_several_connections_tells() {
        let trust = Trust::new(TrustOptions::default(), Clock::system());
        let (site, host): (_, HostName) = (Whose::Site(Class::Network), "a.kz".parse().unwrap());
        let shown = || Device::shown(&trust, PEER, host.clone(), site);
        let is_refused = || trust.standing(PEER, &host) == Standing::Refused;

        let (one, two) = (shown(), shown());
        assert_eq!(one.left(&Unused::LeftAtOnce), Outcome::Unused, "browsers keep one of them");
        assert!(!is_refused());
        assert_eq!(two.left(&Unused::LeftAtOnce), Outcome::CertificateClosed, "an app that left them all");
        assert!(is_refused());

        let (one, two) = (shown(), shown());
        assert_eq!(two.goes_on(), Outcome::TerminatedNetwork);
        assert_eq!((one.left(&Unused::LeftAtOnce), is_refused()), (Outcome::Unused, false));
        drop(shown()); // the handshake took too long
        assert_eq!(trust.shown_on(PEER, &host), 0);
    }

    #[test]
    fn what_a_device_tells_by_its_leaving() {
        use AlertDescription as Alert;
        let site = Whose::Site(Class::Network);
        let alert = |alert| io::Error::new(ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        for description in [
            Alert::UnknownCA,
            Alert::BadCertificate,
            Alert::CertificateUnknown,
            Alert::CertificateExpired,
            Alert::CertificateRevoked,
            Alert::UnsupportedCertificate,
            Alert::AccessDenied,
            Alert::HandshakeFailure,
        ] {
            let refused = (Outcome::CertificateRefused, true);
            assert_eq!(told(site, "a.kz", |device| device.broke_off(&alert(description))), refused, "{description:?}");
            // TLS 1.3: as the first thing after a handshake that was done.
            assert_eq!(told(site, "a.kz", |device| device.left(&Unused::Alert(description))), refused);
            let probe = told(Whose::Own, "check.bulaq.internal", |device| device.broke_off(&alert(description)));
            assert_eq!(probe, (Outcome::ProbeRefused, false));
        }
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe] {
            let closed = told(site, "a.kz", |device| device.broke_off(&kind.into()));
            assert_eq!(closed, (Outcome::CertificateClosed, true), "{kind:?}");
        }
        assert_eq!(told(site, "a.kz", |device| device.left(&Unused::LeftAtOnce)), (Outcome::CertificateClosed, true));
        assert_eq!(told(site, "a.kz", |device| device.left(&Unused::Left)), (Outcome::Unused, false));
        assert_eq!(told(Whose::Own, "bulaq.internal", |device| device.left(&Unused::Left)), (Outcome::Unused, false));
        let old = rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled);
        let old = told(site, "a.kz", |device| device.broke_off(&io::Error::new(ErrorKind::InvalidData, old)));
        assert_eq!(old, (Outcome::HandshakeFailed, true), "passed through, it may get on with the origin");
        let broken = rustls::Error::DecryptError;
        let broken = told(site, "a.kz", |device| device.broke_off(&io::Error::new(ErrorKind::InvalidData, broken)));
        assert_eq!(broken, (Outcome::HandshakeFailed, false));
    }
}
