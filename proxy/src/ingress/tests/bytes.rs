//! Raw bytes in, verdict out.

use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// Sends the bytes and, behind them, one clean request that asks for the end of the connection. Gives the statuses
/// of all answers and the requests that reached the stack.
async fn verdict(bytes: &str) -> (Vec<u16>, Vec<String>) {
    let test = TestBox::without_origin().await;
    let end = "GET /end HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n";
    let answer = exchange(test.http, format!("{bytes}{end}").as_bytes()).await;
    (statuses(&answer), test.seen.requests())
}

const END: &str = "GET /end a.kz";

#[tokio::test]
async fn what_has_one_meaning_passes() {
    for (bytes, seen) in [
        ("GET /1 HTTP/1.1\r\nHost: a.kz\r\n\r\n", "GET /1 a.kz"),
        ("\r\nGET /1 HTTP/1.1\r\nHost: a.kz\r\n\r\n", "GET /1 a.kz"),
        ("GET http://a.kz/1 HTTP/1.1\r\nHost: a.kz\r\n\r\n", "GET /1 a.kz"),
        ("GET /1 HTTP/1.1\r\nhOsT:a.kz\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", "GET /1 a.kz"),
        ("GET /1 HTTP/1.0\r\nHost: a.kz\r\nConnection: keep-alive\r\n\r\n", "GET /1 a.kz"),
        ("POST /1 HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 5\r\n\r\nhello", "POST /1 a.kz hello"),
        ("POST /1 HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 4\r\n\r\na\nb\n", "POST /1 a.kz a\nb"),
        (
            "POST /1 HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
            "POST /1 a.kz hello",
        ),
        (
            "POST /1 HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
            "POST /1 a.kz hello",
        ),
        ("GET /1 HTTP/1.1\r\nHost: a.kz\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "GET /1 a.kz"),
    ] {
        let (statuses, requests) = verdict(bytes).await;
        assert_eq!((statuses, requests), (vec![200, 200], vec![seen.to_owned(), END.to_owned()]), "{bytes:?}");
    }
}

#[tokio::test]
async fn what_has_two_meanings_is_refused_and_the_connection_closed() {
    let host = "Host: a.kz\r\n";
    let chunked = format!("POST /1 HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n");
    let long_name = "x".repeat(70_000);
    for (bytes, status) in [
        // Two framings, or a doubtful one.
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{chunked}Content-Length: 5\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 5 5\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: \r\n\r\n"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length : 5\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\nhello"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST /1 HTTP/1.1\r\n{host}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("{chunked}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST /1 HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        // Lines.
        (format!("GET /1 HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X : a\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n X: a\r\n{host}\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X: a\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\n{host}\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X\0: a\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X(y): a\r\n\r\n"), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}X\r\n\r\n"), 400),
        ("\r\n\r\n\r\n".to_owned(), 400),
        // Request lines.
        (format!("GET  /1 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /1  HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET\t/1 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /1 2 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /1#2 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /1 HTTP/1.2\r\n{host}\r\n"), 400),
        (format!("GET /1 HTTP/2.0\r\n{host}\r\n"), 400),
        (format!("GET /1 http/1.1\r\n{host}\r\n"), 400),
        ("GET /1\r\n\r\n".to_owned(), 400),
        (format!("G(T /1 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET 1 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET {} HTTP/1.1\r\n{host}\r\n", "/".repeat(9000)), 414),
        // Hosts.
        ("GET /1 HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /1 HTTP/1.1\r\n{host}{host}\r\n"), 400),
        ("GET /1 HTTP/1.1\r\nHost: a@b.kz\r\n\r\n".to_owned(), 400),
        ("GET /1 HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 400),
        (format!("GET http://b.kz/1 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET http://u@a.kz/1 HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET https://a.kz/1 HTTP/1.1\r\n{host}\r\n"), 400),
        // Heads.
        (format!("GET /1 HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(101)), 431),
        (format!("GET /1 HTTP/1.1\r\n{host}{long_name}: y\r\n\r\n"), 431),
        // What is not passed on.
        (format!("GET /1 HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), 501),
        (format!("TRACE /1 HTTP/1.1\r\n{host}\r\n"), 501),
        (format!("POST /1 HTTP/1.1\r\n{host}Expect: 200-ok\r\nContent-Length: 0\r\n\r\n"), 417),
        (format!("POST /1 HTTP/1.1\r\n{host}Content-Length: 16777217\r\n\r\n"), 413),
        (format!("CONNECT portal.kz:443 HTTP/1.1\r\n{host}\r\n"), 400),
    ] {
        let (statuses, requests) = verdict(&bytes).await;
        assert_eq!((statuses, requests), (vec![status], vec![]), "{:?}", &bytes[..bytes.len().min(120)]);
    }
}

#[tokio::test]
async fn requests_before_a_refused_one_are_answered() {
    let first = "GET /1 HTTP/1.1\r\nHost: a.kz\r\n\r\n";
    let bad = "POST /2 HTTP/1.1\r\nHost: a.kz\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (statuses, requests) = verdict(&format!("{first}{bad}0\r\n\r\n")).await;
    assert_eq!((statuses, requests), (vec![200, 400], vec!["GET /1 a.kz".to_owned()]));
}

#[tokio::test]
async fn a_bad_chunk_ends_the_content_and_nothing_behind_it_is_a_request() {
    let head = "POST /1 HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ] {
        let (statuses, requests) = verdict(&format!("{head}{chunks}")).await;
        assert_eq!(requests, ["POST /1 a.kz the client's request was cut short"], "{chunks:?}");
        assert_eq!(statuses, [400], "{chunks:?}");
    }
}

#[tokio::test]
async fn content_over_the_limit_is_cut_when_its_length_was_not_said() {
    let limits = Limits { request_body_bytes_max: 4, ..Limits::default() };
    let test = TestBox::start(limits, SocketAddr::from(([127, 0, 0, 1], 9))).await;
    let head = "POST /1 HTTP/1.1\r\nHost: a.kz\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let answer = exchange(test.http, format!("{head}5\r\nhello\r\n0\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), [400]);
    assert_eq!(test.seen.requests(), ["POST /1 a.kz the content is longer than 4 bytes"]);
}

#[tokio::test]
async fn the_door_says_what_is_wrong() {
    let test = TestBox::without_origin().await;
    let answer = exchange(test.http, b"GET /1 HTTP/1.1\r\nHost: a.kz\r\nHost: b.kz\r\n\r\n").await;
    assert!(answer.contains("connection: close") && answer.contains("cache-control: no-store"), "{answer}");
    assert!(answer.ends_with("Bulaq, the school's lesson cache: the request must have exactly one Host field.\n"));
    let answer = exchange(test.forward, b"GET / HTTP/1.1\r\nHost: a.kz\r\n\r\n").await;
    assert!(answer.contains("it is for browsers that are set to use it as their proxy"), "{answer}");
}

#[tokio::test]
async fn http2_by_prior_knowledge_passes_the_same_checks() {
    let fields = |authority: &str, others: &[(&str, &str)]| {
        let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/1"), (":authority", authority)];
        pseudo.iter().chain(others).flat_map(|(name, value)| literal(name, value)).collect::<Vec<u8>>()
    };
    for (block, seen) in [
        (fields("a.kz", &[]), vec!["GET /1 a.kz"]),
        (fields("a.kz", &[("host", "a.kz"), ("forwarded", "for=x")]), vec!["GET /1 a.kz"]),
        (fields("a.kz", &[("host", "b.kz")]), vec![]),
        (fields("u@a.kz", &[]), vec![]),
        (fields("a.kz", &[("transfer-encoding", "chunked")]), vec![]),
        (fields("a.kz", &[("connection", "keep-alive")]), vec![]),
        (fields("a.kz", &[("te", "gzip")]), vec![]),
        (fields("a.kz", &[("content-length", "5")]), vec![]),
        (fields("a.kz", &[("Upper", "a")]), vec![]),
        (fields("a.kz", &[("a", "b\r\nc: d")]), vec![]),
    ] {
        let test = TestBox::without_origin().await;
        let mut client = TcpStream::connect(test.http).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let (settings, headers) = (frame(4, 0, 0, &[]), frame(1, 0x5, 1, &block));
        // A last frame that no connection survives, so that reading ends.
        let end = frame(0, 0, 0, &[]);
        client.write_all(&[&preface[..], &settings, &headers, &frame(6, 0, 0, &[0; 8])].concat()).await.unwrap();
        // The answer to the ping comes after the request has been taken or refused.
        read_frames_until(&mut client, |kind, flags| kind == 6 && flags & 1 == 1).await;
        if !seen.is_empty() {
            read_frames_until(&mut client, |kind, _| kind == 0).await;
        }
        client.write_all(&end).await.unwrap();
        rest(&mut client).await;
        assert_eq!(test.seen.requests(), seen, "{}", String::from_utf8_lossy(&block));
    }
}

/// Of the doors' own answers, of pages that refuse and of lessons alike: what a stack answers is a body here.
#[tokio::test]
async fn the_answer_to_a_head_has_no_content() {
    let test = TestBox::without_origin().await;
    let stream = TcpStream::connect(test.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let head = Request::head("http://a.kz/1").body(content::empty()).unwrap();
    let response = sender.send_request(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "4");
    let content = response.into_body().collect().await.expect("the stream ends in order").to_bytes();
    assert!(content.is_empty());

    let answer = exchange(test.http, b"HEAD /1 HTTP/1.1\r\nHost: a.kz\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 4\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}
