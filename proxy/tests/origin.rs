//! The way out, tried against origins that behave and origins that don't.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bulaq::clock::Clock;
use bulaq::origin::{HostOverride, OriginBody, OriginOptions, WanBytes};
use bulaq::request::{ForwardError, RequestBody};
use bulaq_allowlist::{Permit, Scheme};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use common::dns::{Answer, NameServer};
use common::origin::{Gate, Origin, Step, response, send};
use common::tls::Authority;
use common::{allowlist, permit, soon};

const HOST: &str = "portal.test";

fn options(origin: &Origin) -> OriginOptions {
    let to = HostOverride { ip: origin.address.ip(), port: Some(origin.address.port()) };
    OriginOptions { hosts: HashMap::from([(common::name(HOST), vec![to])]), ..OriginOptions::default() }
}

fn way_out(options: OriginOptions) -> bulaq::origin::Origin {
    bulaq::origin::Origin::new(options, Clock::system()).unwrap()
}

fn plain() -> Permit {
    permit(&allowlist(&[HOST], ""), Scheme::Http, HOST)
}

fn secure() -> Permit {
    permit(&allowlist(&[HOST], ""), Scheme::Https, HOST)
}

fn request(method: Method, target: &str) -> Request<RequestBody> {
    let content = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(target).body(content).unwrap()
}

fn with_content(method: Method, content: &'static str) -> Request<RequestBody> {
    let content = Full::new(Bytes::from_static(content.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri("/").body(content).unwrap()
}

/// What became of a request, in a word or two.
fn word(error: &ForwardError) -> &'static str {
    match error {
        ForwardError::Dns { .. } => "dns",
        ForwardError::DnsTimeout { .. } => "dns timeout",
        ForwardError::DestinationIpProhibited { .. } => "prohibited",
        ForwardError::ConnectionRefused { .. } => "refused",
        ForwardError::ConnectionTimeout { .. } => "connection timeout",
        ForwardError::ConnectionTerminated { .. } => "terminated",
        ForwardError::Tls { .. } => "tls",
        ForwardError::ResponseTimeout { .. } => "response timeout",
        ForwardError::ResponseIncomplete { .. } => "incomplete",
        ForwardError::Protocol { .. } => "protocol",
        ForwardError::Busy { .. } => "busy",
    }
}

async fn content(response: Response<OriginBody>) -> Result<String, ForwardError> {
    let content = soon("the end of the content", response.into_body().collect()).await?.to_bytes();
    Ok(String::from_utf8(content.to_vec()).unwrap())
}

/// The status and the content, or the word of the failure.
async fn told(way: &bulaq::origin::Origin, permit: &Permit, request: Request<RequestBody>) -> String {
    let response = match soon("an answer", way.send(permit, request)).await {
        Ok(response) => response,
        Err(error) => return word(&error).to_owned(),
    };
    let status = response.status().as_u16();
    match content(response).await {
        Ok(content) => format!("{status} {content}"),
        Err(error) => word(&error).to_owned(),
    }
}

async fn get(way: &bulaq::origin::Origin, permit: &Permit) -> String {
    told(way, permit, request(Method::GET, "/")).await
}

/// Every way in which an origin can end an answer, and how it must end here: a part is never taken for the whole.
#[tokio::test]
async fn a_broken_answer_is_never_taken_for_a_whole_one() {
    let many_fields: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many_interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17);
    let some_interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(16);
    let ok = |fields: &str, content: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{content}");
    let chunked = |content: &str| ok("Transfer-Encoding: chunked\r\n", content);
    use Step::{Close, Hang, Reset};
    let table: Vec<(&str, String, Step, &str)> = vec![
        // Fine ones.
        ("a length", ok("Content-Length: 5\r\n", "hello"), Hang, "200 hello"),
        ("a length, twice the same", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), Hang, "200 hello"),
        ("chunks", chunked("2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"), Hang, "200 hello"),
        ("chunks and trailers", chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), Hang, "200 hello"),
        ("up to the close", ok("", "hello"), Close, "200 hello"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello".into(), Close, "200 hello"),
        ("an unknown coding up to the close", ok("Transfer-Encoding: mystery\r\n", "hello"), Close, "200 hello"),
        ("nothing by status", "HTTP/1.1 204 No Content\r\n\r\n".into(), Hang, "204 "),
        ("not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".into(), Hang, "304 "),
        ("interim answers", some_interim + &ok("Content-Length: 2\r\n", "ok"), Hang, "200 ok"),
        // No head.
        ("closed at once", String::new(), Close, "terminated"),
        ("reset at once", String::new(), Reset, "terminated"),
        ("silent", String::new(), Hang, "response timeout"),
        ("half a status line", "HTTP/1.1 20".into(), Close, "terminated"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le".into(), Close, "terminated"),
        ("half a head, then silent", "HTTP/1.1 200 OK\r\nContent-Le".into(), Hang, "response timeout"),
        ("interim only", "HTTP/1.1 100 Continue\r\n\r\n".into(), Close, "terminated"),
        ("interim without end", many_interim, Hang, "protocol"),
        // Not HTTP.
        ("HTTP/0.9", "<html>hello</html>".into(), Close, "protocol"),
        ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n".into(), Hang, "protocol"),
        ("HTTP/2 in words", "HTTP/2.0 200 OK\r\n\r\n".into(), Hang, "protocol"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n".into(), Hang, "protocol"),
        ("a status of letters", "HTTP/1.1 abc OK\r\n\r\n".into(), Hang, "protocol"),
        ("a change of protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".into(), Hang, "protocol"),
        // A head that can be read in two ways.
        ("a field without colon", ok("Content-Length 5\r\n", "hello"), Close, "protocol"),
        ("a space before the colon", ok("Content-Length : 5\r\n", "hello"), Close, "protocol"),
        ("a folded line", ok("X: a\r\n b\r\nContent-Length: 5\r\n", "hello"), Close, "protocol"),
        ("a line that begins with a space", ok(" Content-Length: 5\r\n", "hello"), Close, "protocol"),
        ("a NUL", ok("X: a\0b\r\nContent-Length: 5\r\n", "hello"), Close, "protocol"),
        ("a CR alone", ok("X: a\rContent-Length: 9\r\nContent-Length: 5\r\n", "hello"), Close, "protocol"),
        ("too many fields", ok(&many_fields, ""), Close, "protocol"),
        ("too long a head", ok(&format!("X: {}\r\n", "a".repeat(70_000)), ""), Close, "protocol"),
        ("length and chunks", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), Hang, "protocol"),
        ("two lengths", ok("Content-Length: 5\r\nContent-Length: 4\r\n", "hello"), Hang, "protocol"),
        ("two lengths in a line", ok("Content-Length: 5, 4\r\n", "hello"), Hang, "protocol"),
        ("a length with a sign", ok("Content-Length: +5\r\n", "hello"), Hang, "protocol"),
        ("a negative length", ok("Content-Length: -5\r\n", "hello"), Hang, "protocol"),
        ("a hexadecimal length", ok("Content-Length: 0x5\r\n", "hello"), Hang, "protocol"),
        ("no length in the length", ok("Content-Length: \r\n", "hello"), Hang, "protocol"),
        ("an enormous length", ok("Content-Length: 18446744073709551616\r\n", "hello"), Hang, "protocol"),
        (
            "chunks in HTTP/1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            Close,
            "protocol",
        ),
        ("chunks of gzip", ok("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), Close, "protocol"),
        ("chunks of chunks", ok("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), Close, "protocol"),
        ("chunks inside", ok("Transfer-Encoding: chunked, x\r\n", "0\r\n\r\n"), Close, "protocol"),
        ("nearly chunks", ok("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), Close, "protocol"),
        // Content that stops.
        ("less than the length", ok("Content-Length: 9\r\n", "hello"), Close, "incomplete"),
        ("less than the length, reset", ok("Content-Length: 9\r\n", "hello"), Reset, "incomplete"),
        ("less than the length, silent", ok("Content-Length: 9\r\n", "hello"), Hang, "incomplete"),
        ("up to a reset", ok("", "hello"), Reset, "incomplete"),
        ("no last chunk", chunked("5\r\nhello\r\n"), Close, "incomplete"),
        ("no last chunk, silent", chunked("5\r\nhello\r\n"), Hang, "incomplete"),
        ("half a chunk", chunked("9\r\nhello"), Close, "incomplete"),
        ("a chunk without end", chunked("5\r\nhello0\r\n\r\n"), Close, "incomplete"),
        ("an unfinished last chunk", chunked("5\r\nhello\r\n0\r\n"), Close, "incomplete"),
        ("half a trailer", chunked("5\r\nhello\r\n0\r\nX-Sum"), Close, "incomplete"),
        ("a chunk size of letters", chunked("zz\r\nhello\r\n0\r\n\r\n"), Close, "incomplete"),
        ("a negative chunk size", chunked("-5\r\nhello\r\n0\r\n\r\n"), Close, "incomplete"),
        ("no chunk size", chunked("\r\nhello\r\n0\r\n\r\n"), Close, "incomplete"),
        ("an enormous chunk size", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), Close, "incomplete"),
        ("a chunk size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), Close, "incomplete"),
        ("a chunk line without CR", chunked("5\nhello\r\n0\r\n\r\n"), Close, "incomplete"),
        (
            "an endless chunk extension",
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(70_000))),
            Close,
            "incomplete",
        ),
    ];
    for (what, bytes, end, expected) in table {
        let origin = Origin::start(move |_| vec![send(&bytes), end.clone()]).await;
        let way = way_out(OriginOptions {
            head_timeout: Duration::from_millis(300),
            idle_body_timeout: Duration::from_millis(300),
            ..options(&origin)
        });
        assert_eq!(get(&way, &plain()).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_head_without_content_is_whole() {
    let origin = Origin::start(|_| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")]).await;
    let way = way_out(options(&origin));
    for _ in 0..2 {
        assert_eq!(told(&way, &plain(), request(Method::HEAD, "/")).await, "200 ");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn what_leaves_is_clean() {
    let origin =
        Origin::start(|_| response("200 OK", "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n", "ok")).await;
    let way = way_out(options(&origin));
    let mut asked = with_content(Method::GET, "hidden");
    *asked.uri_mut() = "http://elsewhere.test/lesson?a=b".parse().unwrap();
    for (name, value) in [
        ("host", "elsewhere.test"),
        ("x-forwarded-for", "10.1.2.3"),
        ("forwarded", "for=10.1.2.3"),
        ("x-original-url", "/admin"),
        ("transfer-encoding", "chunked"),
        ("content-length", "6"),
        ("connection", "x-secret"),
        ("x-secret", "1"),
        ("accept", "text/html"),
    ] {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = soon("an answer", way.send(&plain(), asked)).await.unwrap();
    assert!(answer.headers().get("connection").is_none() && answer.headers().get("x-hop").is_none());
    assert!(answer.headers().get("keep-alive").is_none());
    let wan_bytes = answer.extensions().get::<WanBytes>().unwrap().clone();
    let head_bytes = wan_bytes.so_far();
    assert!((20..200).contains(&head_bytes), "{head_bytes}");
    assert_eq!(content(answer).await.unwrap(), "ok");
    assert_eq!(wan_bytes.so_far(), head_bytes + 2);
    let mut lines: Vec<_> = origin.seen()[0].head.trim_end().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["GET /lesson?a=b HTTP/1.1", "accept: text/html", "host: portal.test", "via: 1.1 bulaq"]);
}

#[tokio::test]
async fn content_is_framed_by_what_it_is() {
    let origin = Origin::start(|_| response("200 OK", "", "ok")).await;
    let way = way_out(options(&origin));
    let mut known = with_content(Method::POST, "hello");
    known.headers_mut().insert("content-length", "99".parse().unwrap());
    assert_eq!(told(&way, &plain(), known).await, "200 ok");
    let pieces = futures_util::stream::iter([Ok(http_body::Frame::data(Bytes::from_static(b"hello")))]);
    let open = Request::post("/").header("content-length", "99").body(StreamBody::new(pieces).boxed_unsync()).unwrap();
    assert_eq!(told(&way, &plain(), open).await, "200 ok");
    let seen = origin.seen();
    assert_eq!((seen[0].field("content-length").as_deref(), &seen[0].content[..]), (Some("5"), &b"hello"[..]));
    assert_eq!(seen[1].field("content-length"), None);
    assert_eq!(seen[1].content, b"5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let origin = Origin::start(|_| response("302 Found", "Location: http://elsewhere.test/\r\n", "")).await;
    assert_eq!(get(&way_out(options(&origin)), &plain()).await, "302 ");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_is_used_again_but_never_one_that_said_too_much() {
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    let origin = Origin::start(move |_| vec![send(fine)]).await;
    let way = way_out(options(&origin));
    for _ in 0..5 {
        assert_eq!(get(&way, &plain()).await, "200 fine");
    }
    assert_eq!(origin.connections(), 1);

    // The second answer in one go is meant for a request that nobody has sent yet.
    let hidden = format!("{fine}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    for first in [hidden, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".into()] {
        let origin = Origin::start(move |seen| vec![send(if seen.connection == 0 { &first } else { fine })]).await;
        let way = way_out(options(&origin));
        get(&way, &plain()).await;
        assert_eq!(get(&way, &plain()).await, "200 fine");
        assert_eq!(origin.connections(), 2);
    }
}

#[tokio::test]
async fn a_connection_is_kept_by_who_reads_no_further_than_the_last_byte() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", chunked] {
        let origin = Origin::start(move |_| vec![send(answer)]).await;
        let way = way_out(options(&origin));
        for _ in 0..3 {
            let answer = soon("an answer", way.send(&plain(), request(Method::GET, "/"))).await.unwrap();
            let mut body = answer.into_body();
            let mut content = Vec::new();
            // As an HTTP server reads it.
            while !body.is_end_stream() {
                let Some(frame) = soon("a piece", body.frame()).await else { break };
                content.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            assert_eq!(content, b"hello");
        }
        assert_eq!(origin.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_content_has_left_is_taken() {
    // What the origin does not wait for is given up, and the connection with it.
    let origin = Origin::start(|_| vec![send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")]).await;
    let way = way_out(options(&origin));
    let endless = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, bulaq::request::BodyError>>();
    for connections in 1..3 {
        let first = futures_util::stream::iter([Ok(http_body::Frame::data(Bytes::from_static(b"0\r\n\r\n")))]);
        let content = StreamBody::new(futures_util::StreamExt::chain(first, endless.clone())).boxed_unsync();
        let asked = Request::post("/").body(content).unwrap();
        assert_eq!(told(&way, &plain(), asked).await, "413 big");
        assert_eq!(origin.connections(), connections);
    }
}

#[tokio::test]
async fn a_request_is_repeated_only_when_the_origin_cannot_have_seen_it() {
    for (method, end, expected, requests) in [
        (Method::GET, Step::Reset, "200 ok", 3),
        (Method::GET, Step::Close, "terminated", 2),
        (Method::POST, Step::Reset, "terminated", 2),
        (Method::DELETE, Step::Reset, "terminated", 2),
    ] {
        let the_end = end.clone();
        let origin = Origin::start(move |seen| match (seen.connection, seen.target()) {
            (0, "/second") => vec![the_end.clone()],
            _ => response("200 OK", "", "ok"),
        })
        .await;
        let way = way_out(options(&origin));
        assert_eq!(told(&way, &plain(), request(Method::GET, "/first")).await, "200 ok");
        assert_eq!(told(&way, &plain(), request(method.clone(), "/second")).await, expected, "{method}");
        assert_eq!(origin.seen().len(), requests, "{method}");
    }
    // On a new connection nothing is repeated at all.
    let origin = Origin::start(|_| vec![Step::Reset]).await;
    assert_eq!(get(&way_out(options(&origin)), &plain()).await, "terminated");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_is_not_kept_longer_than_the_origin_says() {
    let origin = Origin::start(|_| response("200 OK", "Keep-Alive: timeout=1\r\n", "ok")).await;
    let way = way_out(options(&origin));
    get(&way, &plain()).await;
    get(&way, &plain()).await;
    assert_eq!(origin.connections(), 2, "one second less a margin of one is nothing");
}

#[tokio::test]
async fn a_place_is_held_until_the_content_has_ended_or_is_dropped() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        vec![send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), Step::Wait(held.clone()), send("llo")]
    })
    .await;
    let way =
        way_out(OriginOptions { per_origin_max: 1, queue_timeout: Duration::from_millis(20), ..options(&origin) });
    let first = soon("an answer", way.send(&plain(), request(Method::GET, "/"))).await.unwrap();
    assert_eq!(get(&way, &plain()).await, "busy");
    gate.open();
    assert_eq!(content(first).await.unwrap(), "hello");
    let second = soon("an answer", way.send(&plain(), request(Method::GET, "/"))).await.unwrap();
    drop(second);
    gate.open();
    gate.open();
    assert_eq!(get(&way, &plain()).await, "200 hello");
}

#[tokio::test]
async fn a_dead_origin_is_refused_at_once_and_served_again_when_it_is_back() {
    let origin = Origin::start(|_| response("200 OK", "", "ok")).await;
    let options = options(&origin);
    origin.stop().await;
    let clock = Clock::held(std::time::SystemTime::now());
    let way = bulaq::origin::Origin::new(OriginOptions { failures_max: 3, ..options }, clock.clone()).unwrap();
    for expected in ["refused", "refused", "refused", "busy", "busy"] {
        assert_eq!(get(&way, &plain()).await, expected);
    }
    assert!(matches!(way.connect(&plain()).await, Err(ForwardError::Busy { .. })), "tunnels too");
    clock.advance(Duration::from_secs(1));
    assert_eq!(get(&way, &plain()).await, "refused");
    assert_eq!(get(&way, &plain()).await, "busy");
}

#[tokio::test]
async fn names_are_resolved_by_our_servers_and_never_turned_inward() {
    let origin = Origin::start(|_| response("200 OK", "", "ok")).await;
    let host = format!("{HOST}:{}", origin.address.port());
    for (answer, more, expected) in [
        (Answer::Address(Ipv4Addr::LOCALHOST), "", "prohibited"),
        (Answer::Address(Ipv4Addr::LOCALHOST), "addresses = [\"127.0.0.1\"]", "200 ok"),
        (Answer::Address(Ipv4Addr::new(169, 254, 169, 254)), "addresses = [\"127.0.0.1\"]", "prohibited"),
        (Answer::NoSuchName, "", "dns"),
        (Answer::Silence, "", "dns timeout"),
    ] {
        let server = NameServer::start(answer).await;
        let way = way_out(OriginOptions {
            dns_servers: vec![server.address],
            dns_timeout: Duration::from_millis(1000),
            ..OriginOptions::default()
        });
        let list = allowlist(&[&host], more);
        let permit = list.permit(Scheme::Http, &common::name(HOST), origin.address.port(), &Method::GET, "/").unwrap();
        assert_eq!(get(&way, &permit).await, expected);
        assert_eq!(way.connect(&permit).await.is_ok(), expected == "200 ok");
    }
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(origin.seen()[0].field("host").unwrap(), host);
}

#[tokio::test]
async fn an_origin_must_prove_who_it_is_before_it_hears_anything() {
    let authority = Authority::default();
    let folder = tempfile::tempdir().unwrap();
    let root = authority.write(&folder);
    let long_ago = rcgen::date_time_ymd(2020, 4, 6);
    let far_off = rcgen::date_time_ymd(2090, 1, 1);
    type Alter = Box<dyn FnOnce(&mut rcgen::CertificateParams)>;
    let cases: [(&str, &str, &str, Alter, &str); 5] = [
        ("its own", HOST, "portal", Box::new(|_| {}), "200 ok"),
        ("for another name", "elsewhere.test", "portal", Box::new(|_| {}), "tls"),
        ("vouched for another site only", HOST, "another", Box::new(|_| {}), "tls"),
        ("expired", HOST, "portal", Box::new(move |c| (c.not_before, c.not_after) = (long_ago, long_ago)), "tls"),
        ("not valid yet", HOST, "portal", Box::new(move |c| (c.not_before, c.not_after) = (far_off, far_off)), "tls"),
    ];
    for (what, host, site, alter, expected) in cases {
        let origin = Origin::start_tls(authority.acceptor(host, &[], alter), |_| response("200 OK", "", "ok")).await;
        let way = way_out(OriginOptions {
            extra_roots: HashMap::from([(site.to_owned(), vec![root.clone()])]),
            ..options(&origin)
        });
        assert_eq!(get(&way, &secure()).await, expected, "{what}");
        assert_eq!(origin.seen().len(), usize::from(expected == "200 ok"), "{what}");
    }
    // Something that does not speak TLS, and does not hang up either.
    let origin = Origin::start(|_| response("200 OK", "", "ok")).await;
    let way = way_out(OriginOptions { tls_timeout: Duration::from_millis(50), ..options(&origin) });
    assert_eq!(get(&way, &secure()).await, "connection timeout");
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn many_requests_share_one_http2_connection_and_fail_alone() {
    let authority = Authority::default();
    let folder = tempfile::tempdir().unwrap();
    let origin = common::h2::Origin::start(authority.acceptor(HOST, &["h2"], |_| {}), usize::MAX).await;
    let to = HostOverride { ip: origin.address.ip(), port: Some(origin.address.port()) };
    let way = way_out(OriginOptions {
        hosts: HashMap::from([(common::name(HOST), vec![to])]),
        extra_roots: HashMap::from([("portal".to_owned(), vec![authority.write(&folder)])]),
        ..OriginOptions::default()
    });
    let permit = secure();
    let all = (0..20).map(|n| {
        let mut asked = request(Method::GET, if n == 7 { "/cut" } else { "/a?b" });
        asked.headers_mut().insert("connection", "x-hop".parse().unwrap());
        asked.headers_mut().insert("x-hop", "1".parse().unwrap());
        told(&way, &permit, asked)
    });
    let told_all = futures_util::future::join_all(all).await;
    for (n, told) in told_all.iter().enumerate() {
        // A reset may overtake the head.
        let expected: &[&str] = if n == 7 { &["incomplete", "terminated"] } else { &["200 hello"] };
        assert!(expected.contains(&told.as_str()), "{n}: {told}");
    }
    assert_ne!(told(&way, &permit, request(Method::GET, "/short")).await, "200 hello");
    assert_eq!(origin.connections(), 1);
    let seen = &origin.seen()[0];
    assert_eq!(seen.uri.to_string(), "https://portal.test/a?b");
    assert_eq!(seen.headers.get("via").unwrap(), "1.1 bulaq");
    for gone in ["host", "connection", "x-hop"] {
        assert!(seen.headers.get(gone).is_none(), "{gone}");
    }
}

#[tokio::test]
async fn what_an_http2_origin_did_not_process_is_asked_again() {
    let authority = Authority::default();
    let folder = tempfile::tempdir().unwrap();
    let origin = common::h2::Origin::start(authority.acceptor(HOST, &["h2"], |_| {}), 5).await;
    let to = HostOverride { ip: origin.address.ip(), port: Some(origin.address.port()) };
    let way = way_out(OriginOptions {
        hosts: HashMap::from([(common::name(HOST), vec![to])]),
        extra_roots: HashMap::from([("portal".to_owned(), vec![authority.write(&folder)])]),
        ..OriginOptions::default()
    });
    let permit = secure();
    assert_eq!(told(&way, &permit, request(Method::GET, "/refused-first")).await, "200 hello");
    assert_eq!(told(&way, &permit, request(Method::POST, "/a")).await, "200 hello");
    // A night: a few at a time, over many connections that the origin ends in order.
    let night = (0..6).map(|_| async {
        for _ in 0..20 {
            assert_eq!(told(&way, &permit, request(Method::GET, "/a")).await, "200 hello");
        }
    });
    futures_util::future::join_all(night).await;
    assert!(origin.connections() > 5, "{}", origin.connections());
}

#[tokio::test]
async fn who_waits_for_a_connection_that_fails_does_not_try_again_one_by_one() {
    // It takes connections and never says a word of TLS.
    let origin = Origin::start(|_| response("200 OK", "", "ok")).await;
    let way = way_out(OriginOptions { tls_timeout: Duration::from_millis(300), ..options(&origin) });
    let permit = secure();
    let all = futures_util::future::join_all((0..20).map(|_| get(&way, &permit))).await;
    assert!(all.iter().all(|told| told == "connection timeout"), "{all:?}");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn many_requests_over_http1_and_tls_open_a_connection_each() {
    let authority = Authority::default();
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start_tls(authority.acceptor(HOST, &["http/1.1"], |_| {}), move |_| {
        let mut steps = vec![Step::Wait(held.clone())];
        steps.extend(response("200 OK", "", "ok"));
        steps
    })
    .await;
    let way = way_out(OriginOptions {
        extra_roots: HashMap::from([("portal".to_owned(), vec![authority.write(&folder)])]),
        ..options(&origin)
    });
    let permit = secure();
    let all = futures_util::future::join_all((0..20).map(|_| get(&way, &permit)));
    let open = async {
        origin.has_seen(20).await;
        gate.open_for_all();
    };
    let (all, ()) = tokio::join!(all, open);
    assert!(all.iter().all(|told| told == "200 ok"), "{all:?}");
    assert_eq!(origin.connections(), 20);
}

#[tokio::test]
async fn an_end_without_farewell_is_no_end_over_tls() {
    let authority = Authority::default();
    let folder = tempfile::tempdir().unwrap();
    let root = authority.write(&folder);
    for (end, expected) in [(Step::Close, "200 hello"), (Step::Cut, "incomplete")] {
        let acceptor = authority.acceptor(HOST, &["http/1.1"], |_| {});
        let origin =
            Origin::start_tls(acceptor, move |_| vec![send("HTTP/1.1 200 OK\r\n\r\nhello"), end.clone()]).await;
        let way = way_out(OriginOptions {
            extra_roots: HashMap::from([("portal".to_owned(), vec![root.clone()])]),
            ..options(&origin)
        });
        assert_eq!(get(&way, &secure()).await, expected);
    }
}
