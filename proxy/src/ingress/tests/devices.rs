//! Which device gets what at the https door, and what the door learns from devices that refuse.

use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::https::{open, provider, root_of, trusting};
use super::*;
use crate::ingress::trust::Standing;

/// An origin that speaks TLS under a certificate of its own for the names, and says `origin` to each request.
pub(super) async fn origin(names: &[&str]) -> (SocketAddr, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let own = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let certificate = own.der().clone();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\norigin").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, certificate)
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn ask(test: &TestBox, root: &CertificateDer<'static>, host: &str, path: &str) -> io::Result<String> {
    let mut client = open(test, &trusting(root.clone(), &["http/1.1"]), host).await?;
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    Ok(rest(&mut client).await)
}

fn counts(test: &TestBox) -> Vec<(&'static str, u64)> {
    test.doors.all().filter(|counted| counted.count > 0).map(|counted| (counted.word, counted.count)).collect()
}

/// Waits until the door has counted so much in all; connections are judged after their clients have gone on.
pub(super) async fn counted(test: &TestBox, total: u64) -> Vec<(&'static str, u64)> {
    while test.doors.all().map(|counted| counted.count).sum::<u64>() < total {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    counts(test)
}

#[tokio::test]
async fn an_unknown_device_never_sees_our_certificate() {
    let (address, certificate) = origin(&["lessons.kz"]).await;
    let test = TestBox::trusting(&[], address).await;
    let answer = ask(&test, &certificate, "lessons.kz", "/").await.unwrap();
    assert!(answer.ends_with("origin"), "{answer}");
    assert!(ask(&test, &root_of(&test), "lessons.kz", "/").await.is_err(), "the origin's certificate, not ours");
    assert!(test.seen.requests().is_empty());
    assert_eq!(counted(&test, 2).await, [("spliced-unknown-device", 2)]);
}

#[tokio::test]
async fn a_device_that_refuses_is_passed_through_from_then_on() {
    let (address, certificate) = origin(&["lessons.kz", "portal.kz"]).await;
    let test = TestBox::trusting(&["127.0.0.0/8"], address).await;
    // It trusts the origin's certificate alone, as an app does that pins it.
    assert!(ask(&test, &certificate, "lessons.kz", "/").await.is_err());
    let answer = ask(&test, &certificate, "lessons.kz", "/").await.unwrap();
    assert!(answer.ends_with("origin"), "{answer}");
    assert_eq!(counted(&test, 2).await, [("spliced-after-refusal", 1), ("certificate-refused", 1)]);
    assert_eq!(test.trust.standing(LOOPBACK, &"lessons.kz".parse().unwrap()), Standing::Refused);
    assert!(test.trust.trusts(LOOPBACK), "the device is still trusted with other hosts");
}

/// A client that trusts our root and closes when its handshake is done, or after the first bytes of ours.
async fn leave(test: &TestBox, is_finished: bool) {
    if is_finished {
        drop(open(test, &trusting(root_of(test), &[]), "lessons.kz").await.unwrap());
        return;
    }
    let config = trusting(root_of(test), &[]).config().as_ref().clone();
    let name = "lessons.kz".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut client = TcpStream::connect(test.https).await.unwrap();
    client.write_all(&hello).await.unwrap();
    client.read_u8().await.unwrap();
}

#[tokio::test]
async fn leaving_right_after_our_certificate_is_a_refusal_unless_the_device_uses_it() {
    for is_finished in [false, true] {
        let test = TestBox::trusting(&["127.0.0.0/8"], SocketAddr::from(([127, 0, 0, 1], 9))).await;
        let host = "lessons.kz".parse().unwrap();
        leave(&test, is_finished).await;
        assert_eq!(counted(&test, 1).await, [("certificate-closed", 1)], "{is_finished}");
        assert_eq!(test.trust.standing(LOOPBACK, &host), Standing::Refused);

        // A browser that opens a connection too many closes it, and uses the other.
        let test = TestBox::trusting(&["127.0.0.0/8"], SocketAddr::from(([127, 0, 0, 1], 9))).await;
        let mut other = open(&test, &trusting(root_of(&test), &[]), "lessons.kz").await.unwrap();
        leave(&test, is_finished).await;
        assert_eq!(counted(&test, 1).await, [("unused", 1)]);
        assert!(matches!(test.trust.standing(LOOPBACK, &host), Standing::Trusts(_)), "the other has yet to tell");
        other.write_all(b"GET / HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n").await.unwrap();
        assert_eq!(statuses(&rest(&mut other).await), [200]);
        assert!(matches!(test.trust.standing(LOOPBACK, &host), Standing::Trusts(_)), "{is_finished}");
        leave(&test, is_finished).await;
        let counts = counted(&test, 3).await;
        assert_eq!(counts, [("terminated-network", 1), ("unused", 2)]);
        assert!(matches!(test.trust.standing(LOOPBACK, &host), Standing::Trusts(_)), "it has used it lately");
    }
}

#[tokio::test]
async fn a_connection_that_was_opened_in_advance_may_stay_unused() {
    let test = TestBox::trusting(&["127.0.0.0/8"], SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let client = open(&test, &trusting(root_of(&test), &[]), "lessons.kz").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await; // browsers keep them for five seconds and more
    drop(client);
    assert_eq!(counted(&test, 1).await, [("unused", 1)]);
    let host = "lessons.kz".parse().unwrap();
    assert!(matches!(test.trust.standing(LOOPBACK, &host), Standing::Trusts(_)));
}
