//! The https door: splice, terminate, and no.

use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

pub(super) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn trusting(root: CertificateDer<'static>, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(super) async fn open(test: &TestBox, connector: &TlsConnector, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(test.https).await.unwrap();
    connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

pub(super) fn root_of(test: &TestBox) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(test.ca.root().unwrap().pem_path).unwrap()
}

#[tokio::test]
async fn a_terminated_site_is_served_over_http_1_and_2() {
    let test = TestBox::without_origin().await;
    let mut client = open(&test, &trusting(root_of(&test), &["http/1.1"]), "lessons.kz").await.unwrap();
    client.write_all(b"GET /1 HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(statuses(&rest(&mut client).await), [200]);

    let client = open(&test, &trusting(root_of(&test), &["h2", "http/1.1"]), "lessons.kz").await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://lessons.kz/2").body(content::empty()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    assert_eq!(test.seen.requests(), ["GET /1 lessons.kz", "GET /2 lessons.kz"]);
    let arrival = test.seen.arrival();
    assert!(arrival.is_secure);
    assert_eq!(arrival.server_name.unwrap().as_str(), "lessons.kz");
}

#[tokio::test]
async fn a_device_without_the_root_refuses_and_so_does_one_that_wants_another_name() {
    let test = TestBox::without_origin().await;
    let stranger = rcgen::generate_simple_self_signed(vec!["lessons.kz".to_owned()]).unwrap();
    assert!(open(&test, &trusting(stranger.cert.der().clone(), &[]), "lessons.kz").await.is_err());
    let refused = open(&test, &trusting(root_of(&test), &[]), "other.kz").await.unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
}

#[tokio::test]
async fn ambiguous_bytes_are_refused_inside_tls_too() {
    let test = TestBox::without_origin().await;
    let mut client = open(&test, &trusting(root_of(&test), &[]), "lessons.kz").await.unwrap();
    let bytes =
        b"POST / HTTP/1.1\r\nHost: lessons.kz\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.write_all(bytes).await.unwrap();
    assert_eq!(statuses(&rest(&mut client).await), [400]);
    assert!(test.seen.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_names_nothing_listed_gets_an_alert() {
    let test = TestBox::without_origin().await;
    // No server name: a client that dials an address.
    let refused = open(&test, &trusting(root_of(&test), &[]), "127.0.0.1").await.unwrap_err();
    assert!(refused.to_string().contains("MissingExtension"), "{refused}");
    assert_eq!(exchange(test.https, b"GET / HTTP/1.1\r\nHost: lessons.kz\r\n\r\n").await, "");
    assert!(test.dialled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_spliced_site_is_untouched_and_counted() {
    let own = rcgen::generate_simple_self_signed(vec!["portal.kz".to_owned()]).unwrap();
    let certificate = own.cert.der().clone();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(b"answer").await.unwrap();
        stream.shutdown().await.unwrap();
    });

    let mut test = TestBox::start(Limits::default(), address).await;
    let mut client = open(&test, &trusting(certificate.clone(), &[]), "portal.kz").await.unwrap();
    assert_eq!(client.get_ref().1.peer_certificates().unwrap(), [certificate], "the origin's own certificate");
    client.write_all(b"ask!").await.unwrap();
    assert_eq!(rest(&mut client).await, "answer");
    drop(client);
    let receipt = test.receipts.recv().await.unwrap();
    assert_eq!((receipt.permit.host().as_str(), receipt.permit.site().name()), ("portal.kz", "portal"));
    assert_eq!((receipt.way, receipt.lan_bytes), (Way::Reverse, receipt.wan_bytes));
    assert!(receipt.wan_bytes > 400 && receipt.sent_bytes > 200, "{receipt:?}");
    assert_eq!(*test.dialled.lock().unwrap(), ["portal.kz:443"]);
    assert!(test.seen.requests().is_empty());
}
