//! Many at once: what cannot be told as a list of exchanges.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::HOST;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending};
use crate::common::origin::{Gate, Origin, Seen, Step, response, send};
use crate::common::{allowlist, soon};

/// A class.
pub(crate) const PUPILS: usize = 30;

pub(crate) async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> (Origin, Bulaq) {
    let origin = Origin::start(script).await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    (origin, bulaq)
}

/// Asks and waits for the head; then the content has begun, too.
async fn ask(bulaq: &Bulaq, fields: &str) -> (Client, Answer) {
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("GET /lesson HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")).await;
    let head = client.head_only().await;
    (client, head)
}

pub(crate) async fn get(bulaq: &Bulaq) -> Answer {
    Client::connect(bulaq.http).await.get(HOST, "/lesson", "").await
}

pub(crate) fn lesson() -> String {
    (0..40_000).map(|n| format!("{n:05};")).collect()
}

/// A lesson of which the second half waits for the gate, and then the end comes.
fn in_two_halves(gate: &Gate, ending: Step) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    let (gate, lesson) = (gate.clone(), lesson());
    move |_| {
        let (first, second) = lesson.split_at(lesson.len() / 2);
        let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n", lesson.len());
        let second = match ending {
            Step::Close => send(second),
            _ => send(&second[..10]),
        };
        vec![send(head + first), Step::Wait(gate.clone()), second, ending.clone()]
    }
}

#[tokio::test]
async fn a_class_that_opens_a_cold_lesson_costs_one_request_and_reads_while_it_arrives() {
    let gate = Gate::default();
    let (origin, bulaq) = start(in_two_halves(&gate, Step::Close)).await;
    let mut class = join_all((0..PUPILS).map(|_| ask(&bulaq, ""))).await;
    for (client, _) in &mut class {
        client.has_some_content().await;
    }
    gate.open();
    let answers = join_all(class.into_iter().map(|(mut client, head)| async move { client.finish(head).await })).await;
    for answer in answers {
        assert_eq!((answer.status, answer.ending), (200, Ending::Whole));
        assert!(answer.text() == lesson());
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn the_fill_goes_on_when_the_one_who_caused_it_leaves() {
    let gate = Gate::default();
    let (origin, bulaq) = start(in_two_halves(&gate, Step::Close)).await;
    let (first, _head) = ask(&bulaq, "").await;
    let (mut second, head) = ask(&bulaq, "").await;
    drop(first);
    gate.open();
    assert!(second.finish(head).await.text() == lesson());
    assert!(get(&bulaq).await.text() == lesson());
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn nobody_takes_a_part_for_the_whole_when_the_origin_breaks_off() {
    for ending in [Step::Cut, Step::Reset] {
        let gate = Gate::default();
        let (origin, bulaq) = start(in_two_halves(&gate, ending)).await;
        let class = join_all((0..10).map(|_| ask(&bulaq, ""))).await;
        gate.open_for_all();
        for (mut client, head) in class {
            assert_eq!(client.finish(head).await.ending, Ending::Cut);
        }
        // Nothing of it was kept: the next one asks again, and is told the same.
        assert_eq!(get(&bulaq).await.ending, Ending::Cut);
        assert_eq!(origin.seen().len(), 2);
    }
}

#[tokio::test]
async fn one_failure_is_told_to_all_who_wait() {
    let gate = Gate::default();
    let held = gate.clone();
    let (origin, bulaq) = start(move |_| vec![Step::Wait(held.clone()), Step::Close]).await;
    let first = tokio::spawn({
        let door = bulaq.http;
        async move { Client::connect(door).await.get(HOST, "/lesson", "").await }
    });
    origin.has_seen(1).await;
    gate.open_for_all();
    let told = soon("an answer", first).await.unwrap();
    assert_eq!((told.status, told.ending), (502, Ending::Whole));
    assert_eq!(get(&bulaq).await.status, 502);
    assert_eq!(origin.seen().len(), 4, "each with its second try");
}

#[tokio::test]
async fn who_asks_after_the_last_byte_came_is_not_given_what_may_not_be_reused() {
    let count = AtomicUsize::new(0);
    let (origin, bulaq) = start(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        response("200 OK", "Cache-Control: no-cache\r\n", &n.to_string())
    })
    .await;
    // The store may still be at work on the last one when the next comes; so often that this happens.
    const TIMES: usize = 300;
    let mut client = Client::connect(bulaq.http).await;
    for n in 0..TIMES {
        assert_eq!(client.get(HOST, "/lesson", "").await.text(), n.to_string());
    }
    assert_eq!(origin.seen().len(), TIMES);
}

#[tokio::test]
async fn interim_responses_go_to_one_of_a_class_and_keep_their_place_on_the_wire() {
    let gate = Gate::default();
    let held = gate.clone();
    let (origin, bulaq) = start(move |seen| {
        let mut steps = vec![send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), Step::Wait(held.clone())];
        steps.push(send("HTTP/1.1 102 Processing\r\n\r\n"));
        steps.extend(response("200 OK", "Cache-Control: max-age=600\r\n", seen.target()));
        steps
    })
    .await;
    let mut leader = Client::connect(bulaq.http).await;
    leader.send(format!("GET /1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    // It is there before the origin goes on.
    assert_eq!(leader.head_only().await.field("link").as_deref(), Some("</a.css>"));
    let mut follower = Client::connect(bulaq.http).await;
    follower.send(format!("GET /1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    // Three requests at once on one connection: each one's interim responses come right before its answer.
    let mut hasty = Client::connect(bulaq.http).await;
    let requests = ["/2", "/3", "/4"].map(|target| format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    hasty.send(requests.concat()).await;
    gate.open_for_all();
    let answer = leader.answer(false).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("/1", 1));
    for target in ["/2", "/3", "/4"] {
        let answer = hasty.answer(false).await.unwrap();
        let interim: Vec<_> = answer.interim.iter().map(|interim| interim.status).collect();
        assert_eq!((answer.text().as_str(), &interim[..]), (target, &[103, 102][..]));
    }
    let answer = follower.answer(false).await.unwrap();
    // Who waits for another's request gets none; it may have come too late to wait.
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("/1", 0));
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_the_fast_one() {
    // More than all buffers on the way together.
    let video = "0123456789abcdef".repeat(1 << 20);
    let whole = video.clone();
    let (origin, bulaq) = start(move |_| response("200 OK", "Cache-Control: max-age=600\r\n", &whole)).await;
    let (mut slow, head) = ask(&bulaq, "").await;
    assert!(get(&bulaq).await.text() == video);
    let answer = slow.finish(head).await;
    assert!(answer.ending == Ending::Cut || answer.text() == video);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn what_may_not_be_shared_is_not_shared_by_waiting_for_it_either() {
    for field in ["Cache-Control: no-store", "Cache-Control: private", "Set-Cookie: session={n}", "Vary: *"] {
        let (gate, count) = (Gate::default(), AtomicUsize::new(0));
        let held = gate.clone();
        let (origin, bulaq) = start(move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let field = field.replace("{n}", &n.to_string());
            let mut steps = vec![Step::Wait(held.clone())];
            steps.extend(response("200 OK", &format!("{field}\r\n"), &n.to_string()));
            steps
        })
        .await;
        let class = join_all((0..PUPILS).map(|_| get(&bulaq)));
        let open = async {
            origin.has_seen(1).await;
            gate.open_for_all();
        };
        let (answers, ()) = tokio::join!(class, open);
        let mut told: Vec<_> = answers.iter().map(Answer::text).collect();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), PUPILS, "{field}: everybody has an answer of their own");
    }
}

#[tokio::test]
async fn pupils_who_ask_at_the_same_moment_see_their_own_marks() {
    for fields in
        ["", "Cache-Control: max-age=600\r\n", "ETag: \"same\"\r\nLast-Modified: Mon, 06 Apr 2020 00:00:00 GMT\r\n"]
    {
        let (_origin, bulaq) = start(move |seen| {
            // It forgets Vary and private.
            response("200 OK", fields, &format!("marks of {}", seen.field("cookie").unwrap_or_default()))
        })
        .await;
        let pupils = (0..PUPILS).map(|n| {
            let bulaq = &bulaq;
            async move {
                let mut client = Client::connect(bulaq.http).await;
                for _ in 0..3 {
                    let cookie = format!("sid=pupil-{n}");
                    let answer = client.get(HOST, "/diary", &format!("Cookie: {cookie}\r\n")).await;
                    assert_eq!(answer.text(), format!("marks of {cookie}"));
                }
            }
        });
        join_all(pupils).await;
        let nobody = Client::connect(bulaq.http).await.get(HOST, "/diary", "").await;
        assert_eq!(nobody.text(), "marks of ");
    }
}

/// What a portal may say about its personal pages when it forgets `Vary` and `private`.
const FORGETFUL: &[&str] = &[
    "",
    "Cache-Control: max-age=600\r\n",
    "Cache-Control: max-age=600, must-revalidate\r\nETag: \"same\"\r\n",
    "Cache-Control: max-age=0, stale-while-revalidate=600\r\nETag: \"same\"\r\n",
    "Cache-Control: no-cache\r\nETag: \"same\"\r\n",
    "Cache-Control: immutable, max-age=600\r\n",
    "Expires: Tue, 07 Apr 2020 00:00:00 GMT\r\nDate: Mon, 06 Apr 2020 03:00:00 GMT\r\n",
    "Last-Modified: Mon, 06 Apr 2015 00:00:00 GMT\r\nDate: Mon, 06 Apr 2020 03:00:00 GMT\r\n",
    "ETag: \"same\"\r\nLast-Modified: Mon, 06 Apr 2015 00:00:00 GMT\r\n",
    "Vary: Accept-Encoding\r\nCache-Control: max-age=600\r\n",
];

/// How portals call the cookie that says who somebody is; the last ones tell nothing by their names.
const COOKIES: &[&str] = &["PHPSESSID", "sid", "auth", "kundelik_ticket", "x", "k1"];

/// Two pupils and somebody without an account ask for the same page, in every order that matters.
#[tokio::test]
async fn two_pupils_never_see_each_others_answers_in_any_shape() {
    const ORDERS: [[usize; 3]; 4] = [[1, 2, 0], [0, 1, 2], [1, 0, 2], [2, 1, 0]];
    const NAMES: [&str; 3] = ["nobody", "aigerim", "daniyar"];
    const FRESH: &str = "[[site.rule]]\npath = \"/**\"\nfresh-min = \"1h\"\n";
    for rule in ["", FRESH] {
        let origin = Origin::start(|seen| {
            let shape: usize = seen.target().rsplit('/').next().unwrap().parse().unwrap();
            let cookie = seen.field("cookie").unwrap_or_default();
            let who = cookie.split_once('=').map_or("nobody", |(_, who)| who);
            let fields = format!("Content-Type: text/html\r\n{}", FORGETFUL[shape % FORGETFUL.len()]);
            response("200 OK", &fields, &format!("marks of {who}"))
        })
        .await;
        let bulaq = Bulaq::start(allowlist(&[HOST], rule), &[HOST], origin.address, |_| {}).await;
        let mut client = Client::connect(bulaq.http).await;
        let mut page = 0;
        for cookie in COOKIES {
            for order in ORDERS {
                for _ in FORGETFUL {
                    page += 1;
                    for who in order {
                        let field =
                            if who == 0 { String::new() } else { format!("Cookie: {cookie}={}\r\n", NAMES[who]) };
                        let told = client.get(HOST, &format!("/{cookie}/{page}"), &field).await.text();
                        let others = NAMES.iter().enumerate().filter(|&(other, _)| other != who && other != 0);
                        for (_, other) in others {
                            let shape = FORGETFUL[page % FORGETFUL.len()];
                            assert!(
                                !told.contains(other),
                                "{}: {told} ({cookie}, {order:?}, {shape:?}, {rule:?})",
                                NAMES[who]
                            );
                        }
                        let shape = FORGETFUL[page % FORGETFUL.len()];
                        assert!(
                            who == 0 || told.contains(NAMES[who]),
                            "{} has an account: {told} ({cookie}, {order:?}, {shape:?}, {rule:?})",
                            NAMES[who]
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn an_origin_that_is_back_is_asked_again_within_five_seconds() {
    let script = |_: &Seen| response("200 OK", "", "back");
    let (origin, bulaq) = start(script).await;
    let address = origin.address;
    origin.stop().await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(get(&bulaq).await.status);
    }
    assert!(statuses.iter().all(|status| (502..=504).contains(status)), "{statuses:?}");
    assert_eq!(statuses[7], 503, "by now it is left alone: {statuses:?}");
    let _origin = Origin::start_at(address, script).await;
    bulaq.clock.advance(Duration::from_secs(5));
    assert_eq!(get(&bulaq).await.text(), "back");
}

#[tokio::test]
async fn a_download_that_has_begun_is_finished_before_the_box_stops() {
    let gate = Gate::default();
    let (_origin, mut bulaq) = start(in_two_halves(&gate, Step::Close)).await;
    let (mut client, head) = ask(&bulaq, "").await;
    bulaq.ask_to_stop();
    // The doors close before the download ends.
    soon("the closing of the door", async {
        while TcpStream::connect(bulaq.http).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    let answer = client.finish(head).await;
    assert_eq!(answer.ending, Ending::Whole);
    assert!(answer.text() == lesson());
    drop(client);
    bulaq.has_stopped().await;
}

#[tokio::test]
async fn http2_without_being_asked_is_the_same_cache() {
    let (origin, bulaq) = start(|_| response("200 OK", "Cache-Control: max-age=600\r\n", "lesson")).await;
    assert_eq!(get(&bulaq).await.text(), "lesson");
    let stream = TcpStream::connect(bulaq.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asked = |uri: &str| http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
    let answer = soon("an answer", sender.send_request(asked("http://portal.test/lesson"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "lesson");
    let refused = soon("an answer", sender.send_request(asked("http://elsewhere.test/"))).await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn an_http2_client_gets_no_interim_response_and_its_answer_all_the_same() {
    let script = |_: &Seen| {
        let mut steps = vec![send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")];
        steps.extend(response("200 OK", "", "lesson"));
        steps
    };
    let (_origin, bulaq) = start(script).await;
    let stream = TcpStream::connect(bulaq.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asked = http::Request::get("http://portal.test/lesson").body(Empty::<Bytes>::new()).unwrap();
    let answer = soon("an answer", sender.send_request(asked)).await.unwrap();
    assert!(!answer.headers().contains_key("link"));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "lesson");
}

#[tokio::test]
async fn a_broken_answer_is_broken_for_http2_clients_too() {
    let gate = Gate::default();
    let (_origin, bulaq) = start(in_two_halves(&gate, Step::Cut)).await;
    gate.open_for_all();
    let stream = TcpStream::connect(bulaq.http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asked = http::Request::get("http://portal.test/lesson").body(Empty::<Bytes>::new()).unwrap();
    if let Ok(answer) = soon("an answer", sender.send_request(asked)).await {
        assert!(soon("the end of the content", answer.into_body().collect()).await.is_err());
    }
}

#[tokio::test]
async fn a_tunnel_leads_to_a_listed_host_and_nowhere_else() {
    let origin = Origin::start(|seen| response("200 OK", "", seen.target())).await;
    // A port that the list names may speak what it likes; at the port of https, TLS alone is taken for the site.
    let list = allowlist(&[HOST, &format!("{HOST}:8080")], "");
    let bulaq = Bulaq::start(list, &[HOST], origin.address, |_| {}).await;
    let mut client = Client::connect(bulaq.forward).await;
    client.send(format!("CONNECT {HOST}:8080 HTTP/1.1\r\nHost: {HOST}:8080\r\n\r\n")).await;
    assert_eq!(client.head_only().await.status, 200);
    assert_eq!(client.get(HOST, "/inside", "").await.text(), "/inside");
    assert_eq!(origin.connections(), 1);

    let mut client = Client::connect(bulaq.forward).await;
    client.send(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n")).await;
    assert_eq!(client.head_only().await.status, 200);
    client.send(format!("GET /inside HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert!(client.is_ended().await, "no TLS");
    assert_eq!(origin.seen().len(), 1, "and the origin heard nothing of it");
}
