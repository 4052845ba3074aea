//! What is repeated from the memo is, byte for byte, what the ordinary path says: two boxes, one of them without a memo,
//! are told the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bulaq::ca::{CertificateFile, CertificateName, Certificates};
use bulaq::ledger::{Counts, Period};
use bulaq::request::purge::purge_url;
use bulaq::store::PurgeMode;
use bulaq_cache_policy::{CacheKey, SiteRule};
use common::bulaq::{Bulaq, Hits, Manner, morning};
use common::client::Client;
use common::origin::{Origin, Seen, Step, response};
use common::tls::Authority;
use common::{allowlist, soon};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "lesson.test";
const SITE: &str = "[[site.rule]]\npath = \"/open/**\"\nanonymous = true\nfresh-min = \"1h\"\n";

/// The last request of every conversation: its answer ends the connection.
const END: &str = "GET /end HTTP/1.1\r\nHost: lesson.test\r\nConnection: close\r\n\r\n";

/// The lessons: each target has fields of its own, and content that tells what was asked for.
fn lesson(seen: &Seen) -> Vec<Step> {
    let said = |name: &str| seen.field(name).unwrap_or_default();
    let path = seen.target().split('?').next().unwrap();
    let fresh = "Cache-Control: max-age=60\r\nETag: \"1\"\r\n";
    let (fields, content) = match path {
        "/empty" => (fresh.to_owned(), String::new()),
        "/short" => ("Cache-Control: max-age=2\r\n".to_owned(), "soon over".to_owned()),
        "/plain" => {
            (format!("{fresh}Content-Type: text/plain\r\nSet-Nothing: a\r\nX: 1\r\nX: 2\r\n"), "0123456789".repeat(100))
        }
        "/status" => {
            (format!("{fresh}Cache-Status: bulaq;hit;ttl=5\r\nCache-Status: far; hit\r\nAge: 3\r\n"), "s".into())
        }
        "/languages" => (format!("{fresh}Vary: Accept-Language\r\n"), format!("in {}", said("accept-language"))),
        "/coded" => (format!("{fresh}Vary: Accept-Encoding\r\n"), "coded".to_owned()),
        "/agents" => (format!("{fresh}Vary: User-Agent\r\n"), format!("for {}", said("user-agent"))),
        "/cookies" => (fresh.to_owned(), format!("of {}", said("cookie"))),
        "/private" => ("Cache-Control: private, max-age=60\r\n".to_owned(), format!("of {}", said("cookie"))),
        "/long" => (fresh.to_owned(), "a longer lesson ".repeat(10_000)),
        "/film" => (fresh.to_owned(), film()),
        _ => (fresh.to_owned(), format!("{} for {}", seen.target(), said("referer"))),
    };
    response("200 OK", &fields, &content)
}

/// 8 MiB of which no two stretches are alike.
fn film() -> String {
    (0..1u64 << 20).map(|at| format!("{:08x}", at.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)).collect()
}

/// Two boxes that differ in the memo alone.
struct Pair {
    boxes: [(Bulaq, Origin); 2],
    /// How they are spoken to over TLS, if that is how.
    tls: Option<TlsConnector>,
}

impl Pair {
    async fn start() -> Self {
        Self::start_by(None).await
    }

    /// Two boxes that are spoken to, and speak to the origin, over TLS.
    async fn start_over_tls() -> Self {
        Self::start_by(Some(Authority::default())).await
    }

    async fn start_by(authority: Option<Authority>) -> Self {
        let boxes =
            [Self::one(Hits::Repeated, authority.as_ref()).await, Self::one(Hits::Ordinary, authority.as_ref()).await];
        let pair = Self { boxes, tls: authority.map(|authority| authority.connector()) };
        for target in
            ["/empty", "/short", "/plain", "/status", "/languages", "/coded", "/cookies", "/long", "/a", "/end"]
        {
            pair.knows(target).await;
        }
        pair
    }

    async fn one(hits: Hits, authority: Option<&Authority>) -> (Bulaq, Origin) {
        let (folder, clock) = (Arc::new(tempfile::tempdir().unwrap()), bulaq::clock::Clock::held(morning()));
        let list = allowlist(&[HOST], SITE);
        let Some(authority) = authority else {
            let manner = Manner { hits, certificates: Certificates::default() };
            let origin = Origin::start(lesson).await;
            return (Bulaq::start_as(manner, folder, clock, list, &[HOST], origin.address, |_| {}, |_| {}), origin);
        };
        let origin = Origin::start_tls(authority.acceptor(HOST, &["http/1.1"], |_| {}), lesson).await;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        authority.write_pair(HOST, &certificate, &key);
        let names = vec![CertificateName::Host(common::name(HOST))];
        let certificates = Certificates::new(&[CertificateFile { names, certificate, key }], None).unwrap();
        let root = authority.write(&folder);
        let bulaq = Bulaq::start_as(
            Manner { hits, certificates },
            folder,
            clock,
            list,
            &[HOST],
            origin.address,
            |rooms| rooms.origin.extra_roots = [("portal".to_owned(), vec![root])].into(),
            |doors| doors.https = vec![([127, 0, 0, 1], 0).into()],
        );
        (bulaq, origin)
    }

    /// Asks until it is stored, and the memo has it.
    async fn knows(&self, target: &str) {
        for (bulaq, _) in &self.boxes {
            for _ in 0..3 {
                self.conversation(bulaq, &[get(target, "Connection: keep-alive\r\n").as_bytes(), END.as_bytes()]).await;
                bulaq.has_settled().await;
            }
        }
    }

    /// Says the same to both, in these parts; what they answered, which must be the same.
    async fn told(&self, parts: &[&[u8]]) -> String {
        let repeated = self.conversation(&self.boxes[0].0, parts).await;
        let ordinary = self.conversation(&self.boxes[1].0, parts).await;
        let told = || parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>();
        // A reset, when bytes came after the box had ended the connection, takes what was not read yet from the client.
        let is_alike = match (&repeated, &ordinary) {
            ((repeated, false), (ordinary, false)) => repeated == ordinary,
            ((repeated, _), (ordinary, _)) => repeated.starts_with(ordinary) || ordinary.starts_with(repeated),
        };
        assert!(is_alike, "{:?} was answered with\n{repeated:?} and\n{ordinary:?}", told());
        let (repeated, _) = repeated;
        repeated
    }

    /// The same once everything that is asked for is stored, so that nothing depends on when a fill ends.
    async fn told_again(&self, parts: &[&[u8]]) -> String {
        for (bulaq, _) in &self.boxes {
            self.conversation(bulaq, parts).await;
            bulaq.has_settled().await;
        }
        let told = self.told(parts).await;
        for (bulaq, _) in &self.boxes {
            bulaq.has_settled().await;
        }
        told
    }

    /// Sends the parts and reads until the box ends the connection.
    /// Says whether that was by a reset.
    async fn conversation(&self, bulaq: &Bulaq, parts: &[&[u8]]) -> (String, bool) {
        let address = if self.tls.is_some() { bulaq.https.unwrap() } else { bulaq.http };
        let stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (bytes, is_reset) = match &self.tls {
            Some(tls) => {
                let name = HOST.try_into().unwrap();
                talk(soon("the handshake", tls.connect(name, stream)).await.unwrap(), parts).await
            }
            None => talk(stream, parts).await,
        };
        (masked(&String::from_utf8_lossy(&bytes)), is_reset)
    }

    /// How many requests came to each stack.
    fn reached(&self) -> [usize; 2] {
        [0, 1].map(|one| self.boxes[one].0.reached.load(Ordering::SeqCst))
    }

    /// How many requests the ledgers counted, with how much content, and what the origins were asked for; the same of
    /// both. (Whether one that comes at the end of a fill is a hit or a follower is for the machine to say.)
    fn accounts(&self) -> String {
        let [repeated, ordinary] = [0, 1].map(|one| {
            let (bulaq, origin) = &self.boxes[one];
            let ledger = &bulaq.rooms.context.ledger;
            let all = ledger.totals(Period::day(ledger.today())).unwrap().all;
            let columns = [all.hit, all.validated, all.stale, all.collapsed, all.origin, all.from_box];
            let sum = |of: fn(&Counts) -> u64| columns.iter().map(of).sum::<u64>();
            let asked: BTreeSet<_> = origin.seen().iter().map(|seen| seen.target().to_owned()).collect();
            format!(
                "{} requests, {} lan_bytes {asked:?}",
                sum(|counts| counts.requests),
                sum(|counts| counts.lan_bytes)
            )
        });
        assert_eq!(repeated, ordinary);
        repeated
    }

    fn advance(&self, seconds: u64) {
        self.boxes.iter().for_each(|(bulaq, _)| bulaq.clock.advance(Duration::from_secs(seconds)));
    }
}

/// What was read until the end, and whether that end was a reset.
async fn talk(stream: impl AsyncRead + AsyncWrite, parts: &[&[u8]]) -> (Vec<u8>, bool) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = async {
        for part in parts {
            // A box that has refused reads nothing more.
            writer.write_all(part).await?;
            writer.flush().await?;
            tokio::task::yield_now().await;
        }
        std::io::Result::Ok(())
    };
    let mut bytes = Vec::new();
    let reading = reader.read_to_end(&mut bytes);
    let (written, read) = soon("the end of the conversation", async { tokio::join!(writing, reading) }).await;
    // The kernel tells of a reset once: a writer that was told of it leaves the reader what looks like an ordinary end.
    (bytes, written.is_err() || read.is_err())
}

/// Without the dates that hyper adds to what the box says by itself: its clock cannot be held.
fn masked(answer: &str) -> String {
    let is_of_today = |line: &str| line.starts_with("date: ") && !line.contains(" 2020 ");
    let lines = answer.split("\r\n").map(|line| if is_of_today(line) { "date: today" } else { line });
    lines.collect::<Vec<_>>().join("\r\n")
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_the_memo_is_that_of_the_ordinary_path() {
    let pair = Pair::start().await;
    let empty = get("/empty", "");
    pair.told(&[(empty.repeat(3) + END).as_bytes()]).await;
    for target in ["/plain", "/status", "/languages", "/coded", "/a", "/a?b=c", "/open/x"] {
        pair.knows(target).await;
        let before = pair.reached();
        let request = get(target, "");
        pair.told(&[(request.repeat(40) + END).as_bytes()]).await;
        let reached = [0, 1].map(|one| pair.reached()[one] - before[one]);
        assert_eq!(reached, [1, 41], "{target}: all but the last are repeated");
    }
    let agents = get("/agents", "User-Agent: a\r\n") + &get("/agents", "User-Agent: b\r\n");
    let said = pair.told_again(&[(agents.repeat(3) + END).as_bytes()]).await;
    assert_eq!((said.matches("for a").count(), said.matches("for b").count()), (3, 3));
    assert!(pair.accounts().contains("lan_bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn age_ttl_and_the_end_of_freshness_are_those_of_now() {
    let pair = Pair::start().await;
    let requests = get("/plain", "") + &get("/short", "") + &get("/status", "") + END;
    let mut answers = Vec::new();
    for seconds in [0, 1, 1, 7, 40, 9, 1, 100] {
        pair.advance(seconds);
        answers.push(pair.told(&[requests.as_bytes()]).await);
        pair.boxes[0].0.has_settled().await;
        pair.boxes[1].0.has_settled().await;
    }
    assert!(answers[1].contains("age: 1\r\n") && answers[1].contains("ttl=59"), "{}", answers[1]);
    for (bulaq, _) in &pair.boxes {
        bulaq.clock.set(morning());
    }
    pair.told(&[requests.as_bytes()]).await;
    pair.accounts();
}

/// Requests of every kind between two that are repeated.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_between_two_repeated_answers_is_answered_as_ever() {
    let pair = Pair::start().await;
    let field = |line: &str| get("/plain", &format!("{line}\r\n"));
    let long = field(&format!("Referer: {}", "r".repeat(9_000)));
    let table = [
        field("User-Agent: Mozilla/5.0"),
        field("User-Agent:   spaced  "),
        field("uSER-aGENT: x\r\nCONNECTION: Keep-Alive"),
        field("User-Agent: a\r\nUser-Agent: b"),
        field("Accept: text/html\r\nAccept: */*"),
        field("Accept-Encoding: gzip, br"),
        field("Accept-Encoding: identity;q=0"),
        field("Accept-Language: kk"),
        field("Cookie: PHPSESSID=1"),
        field("Cookie: _ga=1"),
        field("Authorization: Basic x"),
        field("Range: bytes=2-5"),
        field("Range: bytes=0-1,5-6"),
        field("If-None-Match: \"1\""),
        field("If-Modified-Since: Mon, 06 Apr 2020 03:00:00 GMT"),
        field("Cache-Control: no-cache"),
        field("Cache-Control: only-if-cached"),
        field("Pragma: no-cache"),
        field("Connection: close, User-Agent"),
        field("Connection: Accept"),
        field("Upgrade: websocket\r\nConnection: upgrade"),
        field("Expect: 100-continue"),
        field("Expect: 200-ok"),
        field("Host: lesson.test"),
        field("Host: other.test"),
        field("X-Forwarded-Host: other.test"),
        field("X-HTTP-Method-Override: POST"),
        field("Content-Length: 0"),
        field("Content-Length: 4") + "abcd",
        field("Content-Length: 44") + &get("/plain", ""),
        field("Content-Length: 4\r\nContent-Length: 4") + "abcd",
        field("Transfer-Encoding: chunked") + "0\r\n\r\n",
        field("Transfer-Encoding: chunked\r\nContent-Length: 5") + "0\r\n\r\n",
        field("Transfer-Encoding: xchunked") + "0\r\n\r\n",
        field("User-Agent : x"),
        field("User-Agent: a\r\n folded"),
        field(" User-Agent: a"),
        field("User-Agent: a\0b"),
        field("User-Agent: a\x7fb"),
        field("User-Agent: a\u{e4}b"),
        field("User-Agent: a\tb"),
        field("User-Agent: a\rb"),
        field("User-Agent"),
        field(": empty"),
        long,
        get("/plain", "").replace("\r\n", "\n"),
        get("/plain", "").replacen("\r\n", "\n", 1),
        get("/plain", "").replace("Host: lesson.test", "Host: LESSON.test:80"),
        get("/plain", "").replace("Host: lesson.test", "Host: games.test"),
        get("/plain", "").replace("Host: lesson.test", "Host:"),
        get("/plain", "").replace("Host: lesson.test\r\n", ""),
        get("/plain", "").replace("HTTP/1.1", "HTTP/1.0"),
        get("/plain", "").replace("HTTP/1.1", "HTTP/1.1 "),
        get("/plain", "").replace("HTTP/1.1", "HTTP/1.2"),
        get("/plain", "").replace("GET ", "GET  "),
        get("/posted", "").replace("GET ", "get "),
        get("/plain", "").replace("GET ", "HEAD "),
        get("/plain", "").replace("GET ", "OPTIONS "),
        get("/plain", "").replace("GET ", "TRACE "),
        get("/plain", "").replace("GET ", "PURGE "),
        get("/posted", "").replace("GET ", "POST "),
        get("/plain#part", ""),
        get("/plain?", ""),
        get("/pl%61in", ""),
        get("http://lesson.test/plain", ""),
        get("http://other.test/plain", ""),
        get("*", ""),
        get("lesson.test:443", "").replace("GET ", "CONNECT "),
        get("/long", ""),
        get("/private", "Cookie: a=1\r\n"),
        format!("\r\n{}", get("/plain", "")),
        format!("\r\n\r\n{}", get("/plain", "")),
        "POST /posted HTTP/1.1\r\nHost: lesson.test\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        "\0\0\0".to_owned(),
    ];
    for between in &table {
        let usual = get("/plain", "");
        pair.told_again(&[format!("{usual}{usual}{between}{usual}{usual}{END}").as_bytes()]).await;
        pair.told_again(&[between.as_bytes(), usual.as_bytes(), usual.as_bytes(), END.as_bytes()]).await;
    }
    // At the beginning of a connection this is HTTP/2, whose frames come in no certain order.
    let usual = get("/plain", "");
    pair.told_again(&[format!("{usual}{usual}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{usual}").as_bytes()]).await;
    for (bulaq, _) in &pair.boxes {
        bulaq.has_settled().await;
    }
    pair.accounts();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_may_come_in_any_two_parts() {
    let pair = Pair::start().await;
    let usual = get("/plain", "User-Agent: x\r\n");
    let all = format!("{usual}{}{END}", get("/cookies", "Cookie: a=1\r\n"));
    for at in 0..all.len() {
        let (one, other) = all.as_bytes().split_at(at);
        pair.told_again(&[one, other]).await;
    }
}

#[test]
fn any_conversation_is_answered_alike() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pair = runtime.block_on(Pair::start());
    let piece = prop_oneof![
        6 => Just(get("/plain", "")),
        3 => Just(get("/a", "User-Agent: x\r\nAccept: */*\r\n")),
        2 => Just(get("/languages", "Accept-Language: ru\r\n")),
        1 => Just(get("/plain", "If-None-Match: \"1\"\r\n")),
        1 => Just(get("/plain", "Range: bytes=3-\r\n")),
        1 => Just(get("/plain", "").replace("GET", "HEAD")),
        1 => Just(get("/cookies", "Cookie: a=1\r\n")),
        1 => Just(get("/long", "")),
        1 => Just("POST /x HTTP/1.1\r\nHost: lesson.test\r\nContent-Length: 3\r\n\r\nabc".to_owned()),
        1 => Just("GET /plain HTTP/1.1\r\n".to_owned()),
        1 => Just("Host: lesson.test\r\n\r\n".to_owned()),
        1 => Just("\r\n".to_owned()),
        1 => "[ ,;:/(){}]{0,5}(\r\n)?", // no token, which would be a method that ends what is stored
    ];
    let conversations = (prop::collection::vec(piece, 0..8), prop::collection::vec(0..400usize, 0..4));
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let tested = runner.run(&conversations, |(pieces, cuts)| {
        let bytes = (pieces.concat() + END).into_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        runtime.block_on(pair.told_again(&parts));
        Ok(())
    });
    tested.unwrap();
    runtime.block_on(async {
        for (bulaq, _) in &pair.boxes {
            bulaq.has_settled().await;
        }
    });
    pair.accounts();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_a_new_list_and_a_replacement_hold_at_once() {
    let origin = Origin::start({
        let count = std::sync::atomic::AtomicUsize::new(0);
        move |seen| {
            let fields = match seen.field("cache-control") {
                Some(_) => "Cache-Control: max-age=60, public\r\n",
                None => "Cache-Control: max-age=60\r\n",
            };
            response("200 OK", fields, &format!("content {}", count.fetch_add(1, Ordering::SeqCst)))
        }
    })
    .await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    let mut client = Client::connect(bulaq.http).await;
    let key = CacheKey::new(&format!("http://{HOST}/a").parse().unwrap(), &SiteRule::default()).unwrap();
    let warm = async |client: &mut Client, expected: &str| {
        for _ in 0..3 {
            assert_eq!(client.get(HOST, "/a", "").await.text(), expected);
            bulaq.has_settled().await;
        }
        let before = bulaq.reached.load(Ordering::SeqCst);
        assert_eq!(client.get(HOST, "/a", "").await.text(), expected);
        assert_eq!(bulaq.reached.load(Ordering::SeqCst), before, "it is repeated");
    };
    warm(&mut client, "content 0").await;
    purge_url(&bulaq.rooms.context, &key, PurgeMode::Hard).await;
    warm(&mut client, "content 1").await;
    purge_url(&bulaq.rooms.context, &key, PurgeMode::Soft).await;
    warm(&mut client, "content 2").await;
    client.get(HOST, "/a", "Cache-Control: no-cache\r\n").await;
    bulaq.has_settled().await;
    warm(&mut client, "content 3").await;
    bulaq.rooms.context.store.forget_memory();
    warm(&mut client, "content 3").await;
    bulaq.rooms.reload(allowlist(&[HOST], "[[site.rule]]\npath = \"/**\"\nnever-store = true\n"));
    assert_eq!(client.get(HOST, "/a", "").await.text(), "content 4");
    bulaq.rooms.reload(allowlist(&["other.test"], ""));
    assert_eq!(client.get(HOST, "/a", "").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_their_parts_are_repeated_too() {
    let pair = Pair::start().await;
    let part = |target: &str, range: &str| get(target, &format!("Range: {range}\r\n"));
    for target in ["/plain", "/long", "/film"] {
        pair.knows(target).await;
        pair.told(&[(part(target, "bytes=1-1") + END).as_bytes()]).await;
        let before = pair.reached();
        let mut requests = String::new();
        for range in ["0-0", "0-", "7-99", "998-1005", "100-5000000000", "999-", "000-009"] {
            requests += &part(target, &format!("bytes={range}"));
            requests += &get(target, "");
        }
        pair.told(&[(requests + END).as_bytes()]).await;
        let reached = [0, 1].map(|one| pair.reached()[one] - before[one]);
        assert_eq!(reached, [1, 15], "{target}: all but the last are repeated");
        for range in ["9-5", "-5", "0-1,4-5", "99999999-", "0 - 5", "0-5 ", "+1-5", "9999999999999999999-", "a-b", ""] {
            for unit in ["bytes=", "bytes =", "Bytes=", "lines="] {
                let request = part(target, &format!("{unit}{range}"));
                let answer = pair.told(&[(request.clone() + &request + END).as_bytes()]).await;
                assert_eq!(answer.matches("HTTP/1.1 ").count(), 3);
            }
        }
        let conditional = get(target, "Range: bytes=0-5\r\nIf-Range: \"2\"\r\n");
        pair.told(&[(conditional + END).as_bytes()]).await;
    }
    pair.accounts();
}

/// A client that takes little at a time.
async fn slow_client(bulaq: &Bulaq) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    soon("a connection", socket.connect(bulaq.http)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_finished_before_the_box_stops() {
    let mut pair = Pair::start().await;
    pair.knows("/film").await;
    let before = pair.reached();
    for (bulaq, _) in &mut pair.boxes {
        let mut client = slow_client(bulaq).await;
        // The second was not begun when the box was asked to stop.
        client.write_all(get("/film", "").repeat(2).as_bytes()).await.unwrap();
        let mut answer = vec![0; 20];
        soon("the beginning", client.read_exact(&mut answer)).await.unwrap();
        bulaq.ask_to_stop();
        soon("the rest", client.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && content == film());
        bulaq.has_stopped().await;
    }
    let reached = [0, 1].map(|one| pair.reached()[one] - before[one]);
    assert_eq!(reached, [0, 1]);
    pair.accounts();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_that_leaves_has_taken_is_counted() {
    let pair = Pair::start().await;
    pair.knows("/film").await;
    let (bulaq, _) = &pair.boxes[0];
    let counted = || {
        let ledger = &bulaq.rooms.context.ledger;
        ledger.totals(Period::day(ledger.today())).unwrap().all
    };
    let before = counted();
    let mut client = slow_client(bulaq).await;
    client.write_all(get("/film", "").as_bytes()).await.unwrap();
    soon("the beginning", client.read_exact(&mut [0; 1000])).await.unwrap();
    drop(client);
    let gone = async {
        while counted() == before {
            tokio::task::yield_now().await;
        }
    };
    soon("the receipt", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_answers_are_the_same_too() {
    let pair = Pair::start_over_tls().await;
    for target in ["/plain", "/long", "/film"] {
        pair.knows(target).await;
        let (usual, part) = (get(target, ""), get(target, "Range: bytes=5-99999\r\n"));
        pair.told(&[(part.clone() + END).as_bytes()]).await;
        let before = pair.reached();
        let all = usual.repeat(3) + &part + &usual + &part + END;
        pair.told(&[all.as_bytes()]).await;
        let reached = [0, 1].map(|one| pair.reached()[one] - before[one]);
        assert_eq!(reached, [1, 7], "{target}: all but the last are repeated");
        let between = get(target, "If-None-Match: \"1\"\r\n");
        pair.told(&[(usual.clone() + &between + &usual + END).as_bytes()]).await;
        pair.told(&[&usual.as_bytes()[..30], &usual.as_bytes()[30..], usual.as_bytes(), END.as_bytes()]).await;
    }
    pair.accounts();
}
