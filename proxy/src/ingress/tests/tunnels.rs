//! CONNECT: to whom a tunnel is opened, and what passes through it.

use super::*;

/// An origin that says `hello` and then repeats what it hears, one connection after the other.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                writer.write_all(b"hello ").await.unwrap();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

#[tokio::test]
async fn only_what_is_listed_is_connected_to() {
    for (target, host, status, dialled) in [
        ("portal.kz:8443", "portal.kz:8443", 200, Some("portal.kz:8443")),
        ("PORTAL.kz:8443", "portal.kz", 200, Some("portal.kz:8443")),
        ("lessons.kz:8443", "lessons.kz:8443", 200, Some("lessons.kz:8443")),
        ("portal.kz:80", "portal.kz:80", 403, None),
        ("portal.kz:22", "portal.kz:22", 403, None),
        ("plain.kz:443", "plain.kz:443", 403, None),
        ("other.kz:443", "other.kz:443", 403, None),
        ("xportal.kz:443", "xportal.kz:443", 403, None),
        ("a.portal.kz:443", "a.portal.kz:443", 403, None),
        ("127.0.0.1:443", "127.0.0.1:443", 403, None),
        ("[::1]:443", "[::1]:443", 403, None),
        ("2130706433:443", "2130706433:443", 403, None),
        ("0x7f.1:443", "0x7f.1:443", 403, None),
        ("localhost:443", "localhost:443", 403, None),
        ("portal.kz:443", "other.kz:443", 400, None),
        ("portal.kz", "portal.kz", 400, None),
        ("u@portal.kz:443", "portal.kz:443", 400, None),
        ("http://portal.kz:443/", "portal.kz:443", 400, None),
    ] {
        let mut test = TestBox::start(Limits::default(), echo().await).await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut client = TcpStream::connect(test.forward).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        if status == 200 {
            let head = read_until(&mut client, "\r\n\r\n").await;
            assert_eq!(statuses(&head), [200], "{target}");
            assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
            client.write_all(b"world").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(rest(&mut client).await, "hello world");
            let receipt = test.receipts.recv().await.unwrap();
            assert_eq!((receipt.lan_bytes, receipt.wan_bytes, receipt.sent_bytes), (11, 11, 5));
            assert_eq!(receipt.way, Way::Forward);
            assert_eq!(format!("{}:{}", receipt.permit.host(), receipt.permit.port()), dialled.unwrap());
        } else {
            // It closes: nothing that follows is read as a request or passed on.
            client.write_all(b"GET http://lessons.kz/ HTTP/1.1\r\nHost: lessons.kz\r\n\r\n").await.unwrap();
            assert_eq!(statuses(&rest(&mut client).await), [status], "{target}");
        }
        assert_eq!(test.dialled.lock().unwrap().first().map(String::as_str), dialled, "{target}");
        assert!(test.seen.requests().is_empty(), "{target}");
    }
}

#[tokio::test]
async fn an_origin_that_has_said_all_still_hears() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut test = TestBox::start(Limits::default(), listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(test.forward).await.unwrap();
    client.write_all(b"CONNECT portal.kz:8443 HTTP/1.1\r\nHost: portal.kz:8443\r\n\r\nfirst ").await.unwrap();
    let (mut origin, _) = listener.accept().await.unwrap();
    origin.write_all(b"all").await.unwrap();
    origin.shutdown().await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(rest(&mut client).await, "all");
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut origin).await, "first last");
    let receipt = test.receipts.recv().await.unwrap();
    assert_eq!((receipt.lan_bytes, receipt.wan_bytes, receipt.sent_bytes), (3, 3, 10));
}

#[tokio::test]
async fn bytes_sent_with_the_connect_wait_for_the_answer() {
    let mut test = TestBox::start(Limits::default(), echo().await).await;
    let mut client = TcpStream::connect(test.forward).await.unwrap();
    client.write_all(b"CONNECT portal.kz:8443 HTTP/1.1\r\nHost: portal.kz:8443\r\n\r\nea\nrly").await.unwrap();
    read_until(&mut client, "\r\n\r\nhello ea\nrly").await;
    drop(client);
    assert_eq!(test.receipts.recv().await.unwrap().sent_bytes, 6);
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_said() {
    let (nobody, _held) = nobody();
    let test = TestBox::start(Limits::default(), nobody).await;
    let answer = exchange(test.forward, b"CONNECT portal.kz:443 HTTP/1.1\r\nHost: portal.kz:443\r\n\r\n").await;
    assert_eq!(statuses(&answer), [502]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_closed() {
    let (client, ours) = tokio::io::duplex(64);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let allowlist = Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist;
    let permit = allowlist.permit_tunnel(&"portal.kz".parse().unwrap(), 443).unwrap();
    let (tell, mut receipts) = mpsc::unbounded_channel();
    let on_tunnel: OnTunnel = Arc::new(move |receipt| tell.send(receipt).unwrap_or_default());
    let idle = Duration::from_secs(600);
    let start = tokio::time::Instant::now();
    tunnel::run(ours, origin, b"first", (permit, Way::Reverse), idle, &CancellationToken::new(), &on_tunnel).await;
    // The first bytes move in the first period; the second is silent.
    assert!(start.elapsed() <= 2 * idle);
    assert_eq!(receipts.recv().await.unwrap().sent_bytes, 5);
    drop(client);
}
