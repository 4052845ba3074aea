//! CONNECT: what passes inside it is decided at its ClientHello, as at the https door.

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::devices::{counted, origin};
use super::https::{root_of, trusting};
use super::*;

/// Opens a tunnel through the forward door.
async fn tunnel_to(test: &TestBox, target: &str) -> TcpStream {
    let mut client = TcpStream::connect(test.forward).await.unwrap();
    client.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(statuses(&head), [200], "{target}");
    client
}

async fn open(test: &TestBox, target: &str, connector: &TlsConnector, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = tunnel_to(test, target).await;
    connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

#[tokio::test]
async fn a_trusting_device_is_answered_by_the_box_without_an_origin() {
    let test = TestBox::without_origin().await;
    for (target, host) in [("lessons.kz:443", "lessons.kz"), ("lessons.kz:8443", "lessons.kz:8443")] {
        let mut client = open(&test, target, &trusting(root_of(&test), &["http/1.1"]), "lessons.kz").await.unwrap();
        let request = format!("GET /1?q HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(statuses(&rest(&mut client).await), [200]);
        let arrival = test.seen.arrival();
        assert_eq!((arrival.way, arrival.is_secure, arrival.is_at_site()), (Way::Forward, true, true));
        assert_eq!(arrival.server_name.unwrap().as_str(), "lessons.kz");
    }
    assert_eq!(test.seen.requests(), ["GET /1?q lessons.kz", "GET /1?q lessons.kz:8443"]);
    assert!(test.dialled.lock().unwrap().is_empty());
    assert_eq!(counted(&test, 2).await, [("terminated-network", 2)]);
}

#[tokio::test]
async fn an_unknown_device_is_passed_through() {
    let (address, certificate) = origin(&["lessons.kz"]).await;
    let mut test = TestBox::trusting(&[], address).await;
    let mut client = open(&test, "lessons.kz:443", &trusting(certificate, &[]), "lessons.kz").await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: lessons.kz\r\n\r\n").await.unwrap();
    assert!(rest(&mut client).await.ends_with("origin"));
    drop(client);
    assert_eq!(test.receipts.recv().await.unwrap().way, Way::Forward);
    assert_eq!(counted(&test, 1).await, [("spliced-unknown-device", 1)]);
    assert!(test.seen.requests().is_empty());
}

#[tokio::test]
async fn a_name_that_disagrees_with_the_target_is_refused() {
    let (address, certificate) = origin(&["lessons.kz", "portal.kz"]).await;
    for networks in [&["127.0.0.0/8"][..], &[]] {
        let test = TestBox::trusting(networks, address).await;
        for (nth, (target, name)) in
            [("portal.kz:443", "lessons.kz"), ("lessons.kz:443", "portal.kz"), ("portal.kz:8443", "lessons.kz")]
                .into_iter()
                .enumerate()
        {
            let connector = trusting(certificate.clone(), &[]);
            let refused = open(&test, target, &connector, name).await.unwrap_err();
            assert!(refused.to_string().contains("UnrecognisedName"), "{target} {name}: {refused}");
            assert_eq!(counted(&test, nth as u64 + 1).await, [("name-disagrees", nth as u64 + 1)]);
        }
        assert!(test.seen.requests().is_empty());
    }
}

#[tokio::test]
async fn the_port_of_https_takes_tls_alone_and_waits_for_nobody_for_ever() {
    let (address, _) = origin(&["portal.kz"]).await;
    let test = TestBox::start(Limits { head_wait_s: 1, ..Limits::default() }, address).await;
    for host in ["portal.kz:443", "lessons.kz:443"] {
        let mut client = tunnel_to(&test, host).await;
        client.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        assert_eq!(rest(&mut client).await, "");
        assert_eq!(rest(&mut tunnel_to(&test, host).await).await, "", "nobody says anything");
    }
    assert_eq!(counted(&test, 4).await, [("silent", 2), ("connect-not-tls", 2)]);
    assert!(test.seen.requests().is_empty());
}

#[tokio::test]
async fn at_another_port_the_origin_may_speak_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut test = TestBox::start(Limits::default(), listener.local_addr().unwrap()).await;
    for host in ["portal.kz:8443", "lessons.kz:8443"] {
        let mut client = tunnel_to(&test, host).await;
        let greeting = async {
            let (mut origin, _) = listener.accept().await.unwrap();
            origin.write_all(b"220 ready").await.unwrap();
        };
        let (told, ()) = tokio::join!(rest(&mut client), greeting);
        assert_eq!(told, "220 ready");
        client.shutdown().await.unwrap();
        assert_eq!(test.receipts.recv().await.unwrap().lan_bytes, 9);
    }
    assert_eq!(counted(&test, 2).await, [("tunnelled", 2)]);
}

#[tokio::test]
async fn tls_that_comes_late_must_still_be_for_the_target() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let test = TestBox::start(Limits::default(), listener.local_addr().unwrap()).await;
    let named = |name: &[u8]| hellos::hello(Some(name), &[]);
    let cases = [
        (named(b"portal.kz"), true),
        (named(b"lessons.kz"), false),
        (hellos::hello(None, &[]), false),
        (b"\x16\x03\x01\x7f\xff".to_vec(), false),
        (b"EHLO school\r\n".to_vec(), true),
        (b"\0\0\0\x2f".to_vec(), true),
    ];
    let mut tunnels = Vec::new();
    for (said, passes) in cases {
        let client = tunnel_to(&test, "portal.kz:8443").await;
        let (mut origin, _) = listener.accept().await.unwrap();
        origin.write_all(b"220 ready").await.unwrap();
        tunnels.push((client, origin, said, passes));
    }
    for (mut client, mut origin, said, passes) in tunnels {
        assert_eq!(read_until(&mut client, "ready").await, "220 ready"); // it has waited for its second
        // In two parts, the first of which says nothing yet.
        let (first, last) = said.split_at(1);
        client.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(last).await.unwrap();
        let _ = client.shutdown().await;
        let mut heard = Vec::new();
        let _ = origin.read_to_end(&mut heard).await; // who is refused may be reset
        assert_eq!(heard, if passes { said.as_slice() } else { &[] }, "{said:?}");
    }
}

#[tokio::test]
async fn there_is_no_tunnel_in_a_tunnel() {
    let test = TestBox::without_origin().await;
    let connector = trusting(root_of(&test), &["http/1.1"]);
    for request in [
        "CONNECT portal.kz:443 HTTP/1.1\r\nHost: portal.kz:443\r\n\r\n",
        "GET http://lessons.kz/ HTTP/1.1\r\nHost: lessons.kz\r\n\r\n",
    ] {
        let mut client = open(&test, "lessons.kz:443", &connector, "lessons.kz").await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(statuses(&rest(&mut client).await), [400], "{request}");
    }
    assert!(test.seen.requests().is_empty() && test.dialled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_the_box_ends_tunnels() {
    let test = TestBox::start(Limits { drain_s: 0, ..Limits::default() }, origin(&["portal.kz"]).await.0).await;
    let mut client = tunnel_to(&test, "portal.kz:443").await;
    test.shutdown.ask();
    assert_eq!(rest(&mut client).await, "");
    test.serving.await.unwrap();
}
