//! Where a connection was going, and whether the name in it leads there.
//!
//! A client writes two things: an address and a name. Only the name is believed, and only if the allowlist permits it;
//! the address is compared with what the box itself finds for the name, and never connected to. So a client that
//! names a permitted site on its way to another server cannot reach that server through the box, nor anything inside
//! the school, whatever the rules of the router are.
//!
//! What the box finds is not always what the client found: large sites give each resolver other addresses. The box
//! therefore remembers what it found in the last hours; what is still unknown is refused, unless the operator has set
//! that it be served from the site's own addresses as the box finds them (`mismatch`). When the name cannot be resolved
//! there is nothing to compare with; then nothing can be connected to either, and what is stored is served.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bulaq_allowlist::{Allowlist, HostName, HostNameError, Permit, Scheme};
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use tokio::net::TcpStream;

use super::socket::destination;
use super::{HTTP_PORT, HTTPS_PORT, Mismatch, Mode};
use crate::ingress::DoorKind;
use crate::ingress::connection::admit::Turned;
use crate::ingress::tunnel::Dial;

/// Why a connection at such a door is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::ingress) enum Stray {
    /// It was made to the door itself.
    #[error("not handed over by a rule of the router")]
    NotHandedOver,
    /// It was going to a port that this door is not for.
    #[error("it was going to another port than this door's")]
    OtherPort,
    /// It was going to the box: the rules take what they must not, and serving it could go round in a circle.
    #[error("it was going to the box itself; the rules must leave such connections alone")]
    Looped,
}

/// Where a connection at a door was going; none at doors that clients address themselves.
pub(in crate::ingress) fn original(
    stream: &TcpStream,
    kind: DoorKind,
    mode: Mode,
) -> Result<Option<SocketAddr>, Stray> {
    let port = match kind {
        DoorKind::TransparentHttp => HTTP_PORT,
        DoorKind::TransparentHttps => HTTPS_PORT,
        DoorKind::Http | DoorKind::Https | DoorKind::Forward => return Ok(None),
    };
    let original = destination(stream, mode).ok().flatten().ok_or(Stray::NotHandedOver)?;
    if original.port() != port {
        return Err(Stray::OtherPort);
    }
    if is_ours(original.ip()) {
        return Err(Stray::Looped);
    }
    Ok(Some(original))
}

/// Whether an address is one of this machine's. The kernel is asked from where it would send there: to an address of
/// its own it sends from that address. Nothing is sent.
fn is_ours(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, HTTPS_PORT))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

/// Whether a TLS connection on its way to `original` may go on under the name in its ClientHello. What is not permitted
/// goes on to where that is refused.
pub(in crate::ingress) async fn may_open<D: Dial>(
    dial: &D,
    allowlist: &Allowlist,
    host: &HostName,
    original: Option<SocketAddr>,
    mismatch: Mismatch,
) -> bool {
    match allowlist.permit_tunnel(host, HTTPS_PORT) {
        Ok(permit) => leads_to(dial, &permit, original, mismatch).await,
        Err(_) => true,
    }
}

/// Whether a connection to `original` may be served under the permit of the name in it.
async fn leads_to<D: Dial>(dial: &D, permit: &Permit, original: Option<SocketAddr>, mismatch: Mismatch) -> bool {
    match (original, mismatch) {
        (None, _) | (_, Mismatch::OwnAddress) => true,
        (Some(original), Mismatch::Refuse) => dial.leads_to(permit, original.ip()).await.unwrap_or(true),
    }
}

/// The same for one request at the http door: what is not permitted goes on to the stack, which refuses it with a page.
pub(in crate::ingress) async fn may_ask<D: Dial>(
    dial: &D,
    allowlist: &Allowlist,
    head: &Parts,
    original: SocketAddr,
    mismatch: Mismatch,
) -> Result<(), Turned> {
    let Some(authority) = authority(head) else { return Ok(()) }; // the stack says what is missing
    let host = match HostName::parse(authority.host()) {
        Ok(host) => host,
        // On another door an address means the box itself.
        Err(HostNameError::IpLiteral) => return Err(Turned::AddressLiteral),
        Err(_) => return Ok(()),
    };
    if authority.port_u16().is_some_and(|port| port != original.port()) {
        return Err(Turned::WrongDestination);
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(permit) = allowlist.permit(Scheme::Http, &host, original.port(), &head.method, path) else {
        return Ok(());
    };
    if leads_to(dial, &permit, Some(original), mismatch).await { Ok(()) } else { Err(Turned::WrongDestination) }
}

fn authority(head: &Parts) -> Option<Authority> {
    let written = head.uri.authority().cloned();
    written.or_else(|| Authority::try_from(head.headers.get(HOST)?.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::request::ForwardError;

    /// Knows two addresses of every name but one.
    #[derive(Clone, Default)]
    struct Known;

    impl Dial for Known {
        async fn dial(&self, _: &Permit) -> Result<TcpStream, ForwardError> {
            panic!("nothing is dialled to compare addresses")
        }

        async fn leads_to(&self, permit: &Permit, address: IpAddr) -> Result<bool, ForwardError> {
            let host = permit.host().to_string();
            if host == "down.kz" {
                return Err(ForwardError::Dns { host });
            }
            Ok(["192.0.2.80", "2001:db8::80"].iter().any(|known| known.parse() == Ok(address)))
        }
    }

    const LIST: &str = "[[site]]\nname = \"lessons\"\nhosts = [\"http://lessons.kz\", \"http://down.kz\"]\n";

    #[tokio::test]
    async fn a_request_passes_when_its_name_leads_where_it_was_going() {
        let list = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
        for (host, original, refuse, own) in [
            ("lessons.kz", "192.0.2.80:80", Ok(()), Ok(())),
            ("Lessons.kz:80", "[2001:db8::80]:80", Ok(()), Ok(())),
            ("lessons.kz", "198.51.100.6:80", Err(Turned::WrongDestination), Ok(())),
            ("lessons.kz", "10.0.0.5:80", Err(Turned::WrongDestination), Ok(())),
            ("lessons.kz:8080", "192.0.2.80:80", Err(Turned::WrongDestination), Err(Turned::WrongDestination)),
            // Nothing can be compared, and nothing connected to: what is stored may be served.
            ("down.kz", "192.0.2.99:80", Ok(()), Ok(())),
            // The stack refuses these.
            ("other.kz", "198.51.100.6:80", Ok(()), Ok(())),
            ("", "192.0.2.80:80", Ok(()), Ok(())),
            ("a b", "192.0.2.80:80", Ok(()), Ok(())),
            // An address is the box's own start page elsewhere, and no site's name here.
            ("198.51.100.6", "198.51.100.6:80", Err(Turned::AddressLiteral), Err(Turned::AddressLiteral)),
        ] {
            for (mismatch, expected) in [(Mismatch::Refuse, refuse), (Mismatch::OwnAddress, own)] {
                let mut request = Request::builder().uri("/a?b");
                if !host.is_empty() {
                    request = request.header(HOST, host);
                }
                let (head, ()) = request.body(()).unwrap().into_parts();
                let told = may_ask(&Known, &list, &head, original.parse().unwrap(), mismatch).await;
                assert_eq!(told, expected, "{host} at {original}, {mismatch:?}");
            }
        }
    }

    #[test]
    fn the_kernel_knows_which_addresses_are_ours() {
        for (address, expected) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("0.0.0.0", true), ("192.0.2.80", false)]
        {
            assert_eq!(is_ours(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn who_addresses_the_door_itself_is_not_served() {
        let listener = super::super::socket::bind("127.0.0.1:0".parse().unwrap(), Mode::Redirect).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        for (kind, mode, expected) in [
            (DoorKind::Http, Mode::Tproxy, Ok(None)),
            (DoorKind::TransparentHttp, Mode::Redirect, Err(Stray::NotHandedOver)),
            (DoorKind::TransparentHttp, Mode::Tproxy, Err(Stray::OtherPort)),
        ] {
            assert_eq!(original(&stream, kind, mode), expected, "{kind:?} {mode:?}");
        }
    }
}
