//! Collapsed requests (RFC 9111 §4): how often the origin is asked when many want the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::HOST;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending};
use crate::common::origin::{Gate, Origin, Seen, Step, response, send};
use crate::common::{allowlist, soon};
use crate::crowd::{PUPILS, get, lesson, start};

/// So many at the same moment; `fields` by the number of each.
fn crowd(bulaq: &Bulaq, count: usize, fields: impl Fn(usize) -> String) -> Vec<JoinHandle<Answer>> {
    let ask = |n| {
        let (door, fields) = (bulaq.http, fields(n));
        tokio::spawn(async move { Client::connect(door).await.get(HOST, "/lesson", &fields).await })
    };
    (0..count).map(ask).collect()
}

fn nothing_more(_: usize) -> String {
    String::new()
}

async fn answers(crowd: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    join_all(crowd).await.into_iter().map(Result::unwrap).collect()
}

/// Waits until so many wait for what the origin will say.
async fn all_wait(bulaq: &Bulaq, count: usize) {
    soon("the crowd at the box", async {
        while bulaq.rooms.context.flights.waiting() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What the origin says to its requests in turn, the last one to all further ones; each answer waits for a gate of its own.
fn in_turn(gates: &[Gate], replies: Vec<Vec<Step>>) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    let (gates, count) = (gates.to_vec(), AtomicUsize::new(0));
    move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let gate = gates[n.min(gates.len() - 1)].clone();
        let mut steps = vec![Step::Wait(gate)];
        steps.extend(replies[n.min(replies.len() - 1)].clone());
        steps
    }
}

fn open() -> Gate {
    let gate = Gate::default();
    gate.open_for_all();
    gate
}

#[tokio::test]
async fn the_fill_goes_on_when_its_cause_leaves_before_the_head() {
    for with_follower in [true, false] {
        let gate = Gate::default();
        let well = response("200 OK", "Cache-Control: max-age=600\r\n", &lesson());
        let (origin, bulaq) = start(in_turn(std::slice::from_ref(&gate), vec![well])).await;
        let mut first = Client::connect(bulaq.http).await;
        first.send(format!("GET /lesson HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        origin.has_seen(1).await;
        let second = if with_follower { crowd(&bulaq, 1, nothing_more) } else { Vec::new() };
        all_wait(&bulaq, 1 + second.len()).await;
        drop(first);
        gate.open_for_all();
        for answer in answers(second).await {
            assert!(answer.text() == lesson());
        }
        assert!(get(&bulaq).await.text() == lesson());
        assert_eq!(origin.seen().len(), 1, "with a follower: {with_follower}");
    }
}

#[tokio::test]
async fn a_cold_request_whose_connection_is_lost_is_tried_once_more_and_no_more() {
    let well = response("200 OK", "Cache-Control: max-age=600\r\n", "lesson");
    for lost in [Step::Close, Step::Reset] {
        let (origin, bulaq) = start(in_turn(&[open()], vec![vec![lost.clone()], well.clone()])).await;
        assert_eq!(get(&bulaq).await.text(), "lesson");
        assert_eq!(origin.seen().len(), 2);

        let gate = Gate::default();
        let (origin, bulaq) = start(in_turn(&[gate.clone(), open()], vec![vec![lost.clone()]])).await;
        let crowd = crowd(&bulaq, PUPILS, nothing_more);
        all_wait(&bulaq, PUPILS).await;
        gate.open();
        for answer in answers(crowd).await {
            assert_eq!((answer.status, answer.ending), (502, Ending::Whole));
        }
        assert_eq!(origin.seen().len(), 2, "one failure for all who wait");
    }
    // On a connection that was used before, the first loss may be nobody's fault; it is two requests all the same.
    let replies = vec![well.clone(), vec![Step::Reset]];
    let (origin, bulaq) = start(in_turn(&[open()], replies)).await;
    let mut client = Client::connect(bulaq.http).await;
    assert_eq!(client.get(HOST, "/other", "").await.text(), "lesson");
    bulaq.has_settled().await;
    assert_eq!(get(&bulaq).await.status, 502);
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn what_could_do_harm_twice_or_has_cost_the_whole_wait_is_not_tried_again() {
    let (origin, bulaq) = start(|_| vec![Step::Close]).await;
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("POST /answers HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nfour")).await;
    assert_eq!(client.answer(false).await.unwrap().status, 502);
    assert_eq!(origin.seen().len(), 1);

    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |options| {
        options.origin.head_timeout = Duration::from_millis(200);
    })
    .await;
    assert_eq!(get(&bulaq).await.status, 504);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn what_is_not_storable_is_asked_for_by_all_at_once_and_this_is_known_for_a_while() {
    let (first, together) = (Gate::default(), Gate::default());
    let replies = vec![response("200 OK", "Cache-Control: no-store\r\n", "mine")];
    let (origin, bulaq) = start(in_turn(&[first.clone(), together.clone()], replies)).await;
    // A crowd behind one, of whose answer nobody else may have anything.
    let one = crowd(&bulaq, PUPILS, nothing_more);
    all_wait(&bulaq, PUPILS).await;
    origin.has_seen(1).await;
    first.open();
    origin.has_seen(PUPILS).await;
    // Another crowd, before anybody of the first has an answer: nobody waits for anybody.
    let other = crowd(&bulaq, PUPILS, nothing_more);
    origin.has_seen(2 * PUPILS).await;
    together.open_for_all();
    for answer in answers(one).await.into_iter().chain(answers(other).await) {
        assert_eq!(answer.text(), "mine");
    }
    // Not for ever: after a minute one goes first again.
    bulaq.clock.advance(Duration::from_secs(60));
    let begun = origin.seen().len();
    for answer in answers(crowd(&bulaq, PUPILS, nothing_more)).await {
        assert_eq!(answer.text(), "mine");
    }
    assert_eq!(origin.seen().len(), begun + PUPILS);
}

#[tokio::test]
async fn that_a_key_is_not_storable_is_forgotten_after_a_while_and_when_it_becomes_so() {
    for becomes_storable in [true, false] {
        let (gate, second) = (Gate::default(), response("200 OK", "Cache-Control: max-age=1\r\n", "ours"));
        let mine = response("200 OK", "Cache-Control: no-store\r\n", "mine");
        let replies = if becomes_storable { vec![mine, second.clone(), second] } else { vec![mine, second] };
        let gates = if becomes_storable { vec![open(), open(), gate.clone()] } else { vec![open(), gate.clone()] };
        let (origin, bulaq) = start(in_turn(&gates, replies)).await;
        assert_eq!(get(&bulaq).await.text(), "mine");
        if becomes_storable {
            assert_eq!(get(&bulaq).await.text(), "ours");
            bulaq.has_settled().await;
            bulaq.clock.advance(Duration::from_secs(2));
        } else {
            bulaq.clock.advance(Duration::from_secs(60));
        }
        let before = origin.seen().len();
        let crowd = crowd(&bulaq, PUPILS, nothing_more);
        all_wait(&bulaq, PUPILS).await;
        gate.open_for_all();
        for answer in answers(crowd).await {
            assert_eq!(answer.text(), "ours");
        }
        assert_eq!(origin.seen().len(), before + 1, "becomes storable: {becomes_storable}");
    }
}

#[tokio::test]
async fn a_crowd_at_a_stale_page_costs_one_validation_whatever_comes_of_it() {
    let stored = |cache_control: &str| response("200 OK", &format!("{cache_control}ETag: \"v1\"\r\n"), "old");
    let confirmed = vec![send("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n")];
    let changed = response("200 OK", "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n", "new");
    let ill = response("503 Service Unavailable", "", "ill");
    const AGES: &str = "Cache-Control: max-age=60\r\n";
    const STRICT: &str = "Cache-Control: max-age=60, must-revalidate\r\n";
    const NO_CACHE: &str = "Cache-Control: no-cache\r\n";
    for (cache_control, says, status, content) in [
        (AGES, &confirmed, 200, "old"),
        (AGES, &changed, 200, "new"),
        (AGES, &ill, 200, "old"),
        (STRICT, &confirmed, 200, "old"),
        (STRICT, &ill, 503, "ill"),
        (NO_CACHE, &confirmed, 200, "old"),
        (NO_CACHE, &changed, 200, "new"),
        (NO_CACHE, &ill, 503, "ill"),
    ] {
        let gate = Gate::default();
        let (origin, bulaq) = start(in_turn(&[open(), gate.clone()], vec![stored(cache_control), says.clone()])).await;
        assert_eq!(get(&bulaq).await.text(), "old");
        bulaq.has_settled().await;
        bulaq.clock.advance(Duration::from_secs(61));
        let crowd = crowd(&bulaq, PUPILS, nothing_more);
        all_wait(&bulaq, PUPILS).await;
        gate.open_for_all();
        for answer in answers(crowd).await {
            assert_eq!((answer.status, answer.text().as_str()), (status, content), "{cache_control} {status}");
        }
        let seen = origin.seen();
        assert_eq!(seen.len(), 2, "{cache_control} {status} {content}");
        assert_eq!(seen[1].field("if-none-match").as_deref(), Some("\"v1\""));
    }
}

#[tokio::test]
async fn an_origin_that_is_ill_is_not_asked_once_more_by_each_who_waits() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let gate = Gate::default();
        let back = response("200 OK", "", "back");
        let replies = vec![response(status, "Content-Type: text/plain\r\n", "ill"), back];
        let (origin, bulaq) = start(in_turn(&[gate.clone(), open()], replies)).await;
        let crowd = crowd(&bulaq, PUPILS, nothing_more);
        all_wait(&bulaq, PUPILS).await;
        gate.open();
        for answer in answers(crowd).await {
            assert_eq!((answer.status, answer.text().as_str()), (status[..3].parse().unwrap(), "ill"));
        }
        assert_eq!(origin.seen().len(), 1, "{status}");
        assert_eq!(get(&bulaq).await.text(), "back", "nothing of it was kept");
    }
}

#[tokio::test]
async fn what_the_store_cannot_take_still_crosses_the_link_once_for_a_crowd() {
    let gate = Gate::default();
    let script =
        in_turn(std::slice::from_ref(&gate), vec![response("200 OK", "Cache-Control: max-age=600\r\n", &lesson())]);
    let origin = Origin::start(script).await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |options| {
        options.store.body_bytes_max = 1_000;
    })
    .await;
    let crowd = crowd(&bulaq, PUPILS, nothing_more);
    all_wait(&bulaq, PUPILS).await;
    gate.open_for_all();
    for answer in answers(crowd).await {
        assert!(answer.text() == lesson());
    }
    assert_eq!(origin.seen().len(), 1);
}

const LANGUAGES: [&str; 3] = ["kk", "ru", "en"];

fn language(n: usize) -> String {
    format!("Accept-Language: {}\r\n", LANGUAGES[n % LANGUAGES.len()])
}

#[tokio::test]
async fn a_crowd_that_wants_several_variants_costs_one_request_for_each_and_none_waits_for_another() {
    for is_vary_known in [false, true] {
        let (first, others, count) = (Gate::default(), Gate::default(), AtomicUsize::new(0));
        let gates = [first.clone(), others.clone()];
        let (origin, bulaq) = start(move |seen: &Seen| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let fields = "Vary: Accept-Language\r\nCache-Control: max-age=60\r\n";
            let content = seen.field("accept-language").unwrap_or_default();
            let mut steps = if content == "tt" { Vec::new() } else { vec![Step::Wait(gates[n.min(1)].clone())] };
            steps.extend(response("200 OK", fields, &content));
            steps
        })
        .await;
        let before = if is_vary_known {
            let mut client = Client::connect(bulaq.http).await;
            assert_eq!(client.get(HOST, "/lesson", "Accept-Language: tt\r\n").await.text(), "tt");
            bulaq.has_settled().await;
            1
        } else {
            0
        };
        let crowd = crowd(&bulaq, PUPILS, language);
        all_wait(&bulaq, PUPILS).await;
        first.open();
        // All variants are under way before one of those that the first answer did not fit has come.
        origin.has_seen(before + LANGUAGES.len()).await;
        others.open_for_all();
        for (n, answer) in answers(crowd).await.into_iter().enumerate() {
            assert_eq!(answer.text(), LANGUAGES[n % LANGUAGES.len()]);
        }
        assert_eq!(origin.seen().len(), before + LANGUAGES.len(), "Vary is known: {is_vary_known}");
    }
}

#[tokio::test]
async fn a_refresh_behind_readers_backs_is_one_request_and_a_failed_one_has_a_pause() {
    let old = response("200 OK", "Cache-Control: max-age=60, stale-while-revalidate=600\r\nETag: \"v1\"\r\n", "old");
    let new = response("200 OK", "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n", "new");
    for failure in [response("500 Internal Server Error", "", "ill"), vec![Step::Close]] {
        let gate = Gate::default();
        let gates = [open(), gate.clone(), open()];
        let (origin, bulaq) = start(in_turn(&gates, vec![old.clone(), failure, new.clone()])).await;
        assert_eq!(get(&bulaq).await.text(), "old");
        bulaq.has_settled().await;
        bulaq.clock.advance(Duration::from_secs(61));
        // All have their answers while the refresh is still under way.
        for answer in answers(crowd(&bulaq, PUPILS, nothing_more)).await {
            assert_eq!(answer.text(), "old");
        }
        origin.has_seen(2).await;
        gate.open();
        bulaq.has_settled().await;
        for _ in 0..3 {
            assert_eq!(get(&bulaq).await.text(), "old");
            bulaq.has_settled().await;
        }
        assert_eq!(origin.seen().len(), 2, "a failed refresh is not tried again at once");
        bulaq.clock.advance(Duration::from_secs(10));
        assert_eq!(get(&bulaq).await.text(), "old");
        bulaq.has_settled().await;
        assert_eq!(get(&bulaq).await.text(), "new");
        assert_eq!(origin.seen().len(), 3);
    }
}

#[tokio::test]
async fn a_site_that_hangs_delays_a_stale_page_for_a_moment_only_and_its_answer_is_kept() {
    let gate = Gate::default();
    let old = response("200 OK", "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n", "old");
    let new = response("200 OK", "Cache-Control: max-age=60\r\nETag: \"v2\"\r\n", "new");
    let origin = Origin::start(in_turn(&[open(), gate.clone()], vec![old, new])).await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |options| {
        options.request.stale_after = Duration::from_millis(100);
    })
    .await;
    assert_eq!(get(&bulaq).await.text(), "old");
    bulaq.has_settled().await;
    bulaq.clock.advance(Duration::from_secs(61));
    // Both those who came first and those who come while it still hangs.
    for _ in 0..2 {
        for answer in answers(crowd(&bulaq, PUPILS, nothing_more)).await {
            assert_eq!(answer.text(), "old");
        }
    }
    gate.open();
    bulaq.has_settled().await;
    assert_eq!(get(&bulaq).await.text(), "new");
    assert_eq!(origin.seen().len(), 2, "the request that hung went on");
}
