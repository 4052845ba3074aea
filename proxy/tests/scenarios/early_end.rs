//! A 200 whose content ends early: whatever the origin and the client speak, the client sees the failure, nothing of it is
//! stored as whole, and the next request asks again.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::poll;
use h2::Reason;
use http_body_util::Empty;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending, over_http2};
use crate::common::origin::{Origin, Step, send};
use crate::common::tls::Authority;

/// What a client speaks.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Http1,
    Http2,
}

/// A box that vouches for the authority and waits no longer than a test can.
async fn start(origin: SocketAddr, authority: &Authority, folder: &TempDir) -> Bulaq {
    let root = authority.write(folder);
    Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin, |options| {
        options.origin.extra_roots = HashMap::from([("portal".to_owned(), vec![root])]);
        options.origin.idle_body_timeout = Duration::from_millis(300);
    })
    .await
}

async fn get(bulaq: &Bulaq, speaks: Speaks, scheme: &str) -> Answer {
    let url = format!("{scheme}://{HOST}/lesson");
    match speaks {
        Speaks::Http1 => {
            let mut client = Client::connect(bulaq.forward).await;
            client.send(format!("GET {url} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            // The failure may be there before the head has left; then the connection ends without one.
            let nothing =
                Answer { status: 0, fields: Vec::new(), content: Vec::new(), ending: Ending::Cut, interim: Vec::new() };
            client.answer(false).await.unwrap_or(nothing)
        }
        Speaks::Http2 => {
            let request = http::Request::get(url).body(Empty::<Bytes>::new()).unwrap();
            over_http2(bulaq.forward, request).await
        }
    }
}

/// Asks twice: each time the failure must be seen, and the second time the origin must be asked again.
async fn must_fail(bulaq: &Bulaq, scheme: &str, what: &str, asked: impl Fn() -> usize) {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let before = asked();
        for time in 1..=2 {
            let answer = get(bulaq, speaks, scheme).await;
            // A reset may overtake the head; then there is an error in its place.
            let is_seen = answer.ending == Ending::Cut || answer.status >= 500;
            assert!(is_seen, "{what}, {speaks:?}, time {time}: told as whole: {answer:?}");
            bulaq.has_settled().await;
            assert_eq!(bulaq.rooms.context.store.usage().responses, 0, "{what}, {speaks:?}: stored as whole");
            assert!(asked() >= before + time, "{what}, {speaks:?}: not asked again");
        }
    }
}

/// The same lesson when it comes whole: once for both clients.
async fn must_succeed(bulaq: &Bulaq, scheme: &str, what: &str, asked: impl Fn() -> usize) {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let answer = get(bulaq, speaks, scheme).await;
        assert_eq!((answer.status, answer.ending, answer.text()), (200, Ending::Whole, "hello".into()), "{what}");
        bulaq.has_settled().await;
    }
    assert_eq!(asked(), 1, "{what}");
}

/// How an HTTP/1.1 origin frames its content, what it sends of it, and how it ends.
const OVER_HTTP1: &[(&str, &str, Step)] = &[
    ("a short length, closed", "Content-Length: 100\r\n\r\nhello", Step::Close),
    ("a short length, cut", "Content-Length: 100\r\n\r\nhello", Step::Cut),
    ("a short length, reset", "Content-Length: 100\r\n\r\nhello", Step::Reset),
    ("a short length, silent", "Content-Length: 100\r\n\r\nhello", Step::Hang),
    ("nothing of its length", "Content-Length: 5\r\n\r\n", Step::Close),
    ("no last chunk, closed", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Step::Close),
    ("no last chunk, cut", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Step::Cut),
    ("no last chunk, silent", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Step::Hang),
    ("half a chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", Step::Close),
    ("half a last chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Step::Close),
    ("no chunk size", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", Step::Close),
];

fn answer(framing: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: \"v1\"\r\n{framing}")
}

#[tokio::test]
async fn a_cut_answer_of_an_http1_origin_is_told_and_not_stored() {
    let (authority, folder) = (Authority::default(), tempfile::tempdir().unwrap());
    for (what, framing, end) in OVER_HTTP1 {
        for scheme in ["http", "https"] {
            let script = move |_: &_| vec![send(answer(framing)), end.clone()];
            let origin = match scheme {
                "http" => Origin::start(script).await,
                _ => Origin::start_tls(authority.acceptor(HOST, &["http/1.1"], |_| {}), script).await,
            };
            let bulaq = start(origin.address, &authority, &folder).await;
            must_fail(&bulaq, scheme, &format!("{what}, {scheme}"), || origin.seen().len()).await;
        }
    }
}

/// Content up to the end of the connection is whole only where TLS says farewell.
#[tokio::test]
async fn a_connection_without_farewell_is_no_end_of_content() {
    let (authority, folder) = (Authority::default(), tempfile::tempdir().unwrap());
    for (end, is_whole) in [(Step::Close, true), (Step::Cut, false), (Step::Reset, false)] {
        let told = end.clone();
        let script = move |_: &_| vec![send(answer("\r\nhello")), told.clone()];
        let origin = Origin::start_tls(authority.acceptor(HOST, &["http/1.1"], |_| {}), script).await;
        let bulaq = start(origin.address, &authority, &folder).await;
        let asked = || origin.seen().len();
        if is_whole {
            must_succeed(&bulaq, "https", "farewell", asked).await;
        } else {
            must_fail(&bulaq, "https", "no farewell", asked).await;
        }
    }
}

/// How an HTTP/2 origin ends an answer of which it has sent five bytes.
#[derive(Clone, Copy, Debug)]
enum StreamEnd {
    /// With END_STREAM.
    Stream,
    /// With RST_STREAM.
    Reset(Reason),
    /// With GOAWAY for the whole connection, which then closes.
    GoAway(Reason),
    /// With a GOAWAY that promises to finish what has begun, and then without finishing.
    GoAwayAndCut,
    /// By closing the connection.
    Cut,
}

/// An HTTP/2 origin that ends every answer so; with a length that is announced, perhaps.
struct Http2Origin {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Http2Origin {
    async fn start(acceptor: TlsAcceptor, end: StreamEnd, length: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&asked);
        let accepting = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tasks.spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    converse(h2::server::handshake(stream).await.unwrap(), end, length, &counted).await;
                });
            }
        });
        Self { address, asked, accepting }
    }
}

async fn converse<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut connection: h2::server::Connection<T, Bytes>,
    end: StreamEnd,
    length: Option<&str>,
    asked: &AtomicUsize,
) {
    let mut open = Vec::new();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        asked.fetch_add(1, Ordering::SeqCst);
        let mut head = http::Response::builder().header("cache-control", "max-age=600").header("etag", "\"v1\"");
        if let Some(length) = length {
            head = head.header("content-length", length);
        }
        let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(b"hello"), matches!(end, StreamEnd::Stream)).unwrap();
        // A reset would take along what is not yet written.
        for _ in 0..10 {
            let _ = poll!(poll_fn(|cx| connection.poll_closed(cx)));
            tokio::task::yield_now().await;
        }
        match end {
            StreamEnd::Stream => {}
            StreamEnd::Reset(reason) => stream.send_reset(reason),
            StreamEnd::GoAway(reason) => connection.abrupt_shutdown(reason),
            StreamEnd::GoAwayAndCut => {
                connection.graceful_shutdown();
                let _ = poll!(poll_fn(|cx| connection.poll_closed(cx)));
                return;
            }
            StreamEnd::Cut => return,
        }
        open.push(stream);
    }
}

#[tokio::test]
async fn a_cut_answer_of_an_http2_origin_is_told_and_not_stored() {
    let (authority, folder) = (Authority::default(), tempfile::tempdir().unwrap());
    let ends = [
        StreamEnd::Reset(Reason::INTERNAL_ERROR),
        StreamEnd::Reset(Reason::CANCEL),
        // What some libraries take for an end in order.
        StreamEnd::Reset(Reason::NO_ERROR),
        StreamEnd::GoAway(Reason::INTERNAL_ERROR),
        StreamEnd::GoAway(Reason::NO_ERROR),
        StreamEnd::GoAwayAndCut,
        StreamEnd::Cut,
    ];
    let cases = ends.into_iter().flat_map(|end| [(end, None), (end, Some("100"))]);
    for (end, length) in cases.chain([(StreamEnd::Stream, Some("100"))]) {
        let acceptor = authority.acceptor(HOST, &["h2"], |_| {});
        let origin = Http2Origin::start(acceptor, end, length).await;
        let bulaq = start(origin.address, &authority, &folder).await;
        let asked = || origin.asked.load(Ordering::SeqCst);
        must_fail(&bulaq, "https", &format!("{end:?}, length {length:?}"), asked).await;
    }
    for length in [None, Some("5")] {
        let acceptor = authority.acceptor(HOST, &["h2"], |_| {});
        let origin = Http2Origin::start(acceptor, StreamEnd::Stream, length).await;
        let bulaq = start(origin.address, &authority, &folder).await;
        must_succeed(&bulaq, "https", "END_STREAM", || origin.asked.load(Ordering::SeqCst)).await;
    }
}
