//! The request path at the stack: what is reused, validated, shared and refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bulaq::request::{Arrival, Handled, Source, Way};
use common::origin::{Gate, Origin, Step, response, send};
use common::rooms::TestBox;
use http::Method;
use http_body_util::BodyExt;
use tower::ServiceExt;

const HOST: &[&str] = &["lesson.test"];

fn fresh(content: &str) -> Vec<Step> {
    response("200 OK", "Cache-Control: max-age=60\r\nETag: \"1\"\r\nContent-Type: text/plain\r\n", content)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_fetched_once_reused_while_fresh_and_then_validated() {
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some(tag) if tag == "\"1\"" => {
            vec![send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n")]
        }
        _ => fresh("a lesson"),
    })
    .await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    let first = the_box.get("http://lesson.test/a").await;
    assert_eq!((first.status.as_u16(), first.text()), (200, "a lesson"));
    assert!(first.status_field().contains("fwd=uri-miss"), "{}", first.status_field());
    the_box.settled().await;

    the_box.clock.advance(Duration::from_secs(30));
    let second = the_box.get("http://lesson.test/a").await;
    assert_eq!(second.text(), "a lesson");
    assert_eq!(second.headers["age"], "30");
    assert!(second.status_field().starts_with("bulaq;hit;ttl=30"), "{}", second.status_field());
    assert_eq!(origin.seen().len(), 1);

    the_box.clock.advance(Duration::from_secs(60));
    let third = the_box.get("http://lesson.test/a").await;
    assert_eq!(third.text(), "a lesson");
    assert_eq!(third.handled.unwrap().source, Source::Validated);
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_pupils_on_one_cold_page_make_one_request() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        let mut steps = vec![send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 200000\r\n\r\n")];
        steps.push(send("x".repeat(100_000)));
        steps.push(Step::Wait(held.clone()));
        steps.push(send("y".repeat(100_000)));
        steps
    })
    .await;
    let the_box = Arc::new(TestBox::open(HOST, "", origin.address).await);
    let pupils: Vec<_> = (0..30)
        .map(|_| {
            let the_box = the_box.clone();
            tokio::spawn(async move { the_box.get("http://lesson.test/film").await })
        })
        .collect();
    origin.has_seen(1).await;
    gate.open_for_all();
    let whole = "x".repeat(100_000) + &"y".repeat(100_000);
    for pupil in pupils {
        assert_eq!(pupil.await.unwrap().text(), whole);
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_listed_gets_a_page_and_no_connection() {
    let origin = Origin::start(|_| fresh("never")).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    let told = the_box.ask(Method::GET, "http://games.test/", &[("accept-language", "ru")]).await;
    assert_eq!(told.status, 403);
    assert!(told.text().contains("games.test"));
    assert_eq!(told.headers["content-language"], "ru");
    assert_eq!(origin.connections(), 0);
}

/// The night notes down what is done; before, `kill -9` could leave the note without the page.
#[tokio::test(flavor = "multi_thread")]
async fn the_night_sees_the_end_of_a_page_only_when_it_is_stored() {
    let origin = Origin::start(|seen| fresh(&format!("the page {}", seen.target()))).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    for n in 0..20 {
        let url = format!("http://lesson.test/{n}");
        let told = the_box.ask_by(Way::Night, Method::GET, &url, &[]).await;
        assert_eq!(told.text(), format!("the page /{n}"));
        assert!(the_box.rooms.context.store.find_in_memory(&key_of(&url)).is_some(), "{url} is not stored yet");
    }
}

fn key_of(url: &str) -> bulaq_cache_policy::CacheKey {
    let key = bulaq_cache_policy::CacheKey::new(
        &url.parse().expect("a URL of this file"),
        &bulaq_cache_policy::SiteRule::default(),
    );
    key.expect("an absolute URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_allowlist_calls_private_is_not_served_from_the_store() {
    let origin = Origin::start(|_| response("200 OK", "Cache-Control: private\r\n", "a page")).await;
    let rule = "[[site.rule]]\npath = \"/**\"\nanonymous = true\nfresh-min = \"1h\"\n";
    let the_box = TestBox::open(HOST, rule, origin.address).await;
    the_box.get("http://lesson.test/a").await;
    the_box.settled().await;
    assert_eq!(the_box.get("http://lesson.test/a").await.handled.unwrap().source, Source::Hit);

    the_box.rooms.reload(common::allowlist(HOST, ""));
    let told = the_box.get("http://lesson.test/a").await;
    assert_eq!(told.handled.unwrap().source, Source::Origin);
    let left = the_box.rooms.context.store.list(None, None, 10).await;
    assert_eq!(left.listed, [], "it left the disk, too");
}

/// The head of an answer, with its content not yet read.
async fn begin(the_box: &TestBox, way: Way, url: &str) -> http::Response<bulaq::request::ResponseBody> {
    let mut request = http::Request::builder().uri(url).body(bulaq::request::asked::empty()).unwrap();
    let arrival = Arrival {
        way,
        is_secure: false,
        local_port: 8000,
        original: None,
        forward_door: None,
        server_name: None,
        may_see_status: true,
        may_purge: true,
    };
    request.extensions_mut().insert(arrival);
    common::soon("an answer", the_box.rooms.stack.clone().oneshot(request)).await.unwrap()
}

/// Half of a long response, the rest when the gate lets it pass.
fn in_halves(fields: &str, gate: &Gate) -> Vec<Step> {
    let half = "x".repeat(100_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n{fields}\r\n");
    vec![send(head), send(&half), Step::Wait(gate.clone()), send(&half)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_under_old_rules_is_neither_joined_nor_reused_under_new_ones() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| in_halves("Cache-Control: private\r\n", &held)).await;
    let rule = "[[site.rule]]\npath = \"/**\"\nanonymous = true\nfresh-min = \"1h\"\n";
    let the_box = TestBox::open(HOST, rule, origin.address).await;
    let under_way = begin(&the_box, Way::Forward, "http://lesson.test/a").await;

    the_box.rooms.reload(common::allowlist(HOST, ""));
    let other = begin(&the_box, Way::Forward, "http://lesson.test/a").await;
    assert_eq!(other.extensions().get::<Handled>().unwrap().source, Source::Origin);
    gate.open_for_all();
    drop((under_way, other));
    the_box.settled().await;
    let told = the_box.get("http://lesson.test/a").await;
    assert_eq!(told.handled.unwrap().source, Source::Origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_before_a_post_is_not_given_to_who_asks_after_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let gets = AtomicUsize::new(0);
    let origin = Origin::start(move |seen| match seen.method() {
        "POST" => response("200 OK", "", "noted"),
        _ if gets.fetch_add(1, Ordering::SeqCst) > 0 => fresh("after"),
        _ => [Step::Wait(held.clone())].into_iter().chain(fresh("before")).collect(),
    })
    .await;
    let the_box = Arc::new(TestBox::open(HOST, "", origin.address).await);
    let early = tokio::spawn({
        let the_box = the_box.clone();
        async move { the_box.get("http://lesson.test/a").await }
    });
    origin.has_seen(1).await;
    assert_eq!(the_box.ask(Method::POST, "http://lesson.test/a", &[]).await.text(), "noted");
    assert_eq!(the_box.get("http://lesson.test/a").await.text(), "after");
    gate.open_for_all();
    assert_eq!(early.await.unwrap().text(), "before");
    the_box.settled().await;
    assert_eq!(the_box.get("http://lesson.test/a").await.text(), "after");
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_request_that_fails_is_given_his_own_stale_copy() {
    let gate = Gate::default();
    let held = gate.clone();
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => response("200 OK", "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n", "урок"),
        _ => vec![Step::Wait(held.clone()), Step::Cut],
    })
    .await;
    let the_box = Arc::new(TestBox::open(HOST, "", origin.address).await);
    let url = "http://lesson.test/a";
    the_box.ask(Method::GET, url, &[("accept-language", "ru")]).await;
    the_box.settled().await;
    the_box.clock.advance(Duration::from_secs(120));
    let lead = tokio::spawn({
        let the_box = the_box.clone();
        async move { the_box.ask(Method::GET, url, &[("accept-language", "kk")]).await }
    });
    origin.has_seen(2).await;
    let mut follower = Box::pin(the_box.ask(Method::GET, url, &[("accept-language", "ru")]));
    assert!(futures_util::poll!(&mut follower).is_pending(), "it waits");
    gate.open_for_all();
    assert_eq!(lead.await.unwrap().status, 502);
    let told = follower.await;
    assert_eq!((told.status.as_u16(), told.text()), (200, "урок"));
    assert_eq!(told.handled.unwrap().source, Source::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_refreshes_nothing_behind_a_stale_answer() {
    let origin =
        Origin::start(|_| response("200 OK", "Cache-Control: max-age=1, stale-while-revalidate=60\r\n", "a lesson"))
            .await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    the_box.get("http://lesson.test/a").await;
    the_box.settled().await;
    the_box.clock.advance(Duration::from_secs(10));
    let told = the_box.ask(Method::HEAD, "http://lesson.test/a", &[]).await;
    assert_eq!(told.handled.unwrap().source, Source::Stale);
    the_box.settled().await;
    assert_eq!(origin.seen().len(), 1);
    the_box.get("http://lesson.test/a").await;
    the_box.settled().await;
    assert_eq!(the_box.get("http://lesson.test/a").await.handled.unwrap().source, Source::Hit);
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_if_cached_asks_no_origin_whoever_asks() {
    let origin = Origin::start(|_| fresh("never")).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    let only = ("cache-control", "only-if-cached");
    for private in [("authorization", "Basic eA=="), ("cookie", "sessionid=1"), ("accept", "*/*")] {
        let told = the_box.ask(Method::GET, "http://lesson.test/a", &[only, private]).await;
        assert_eq!(told.status, 504, "{private:?}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_night_fetches_ends_with_it_and_what_a_pupil_fetches_goes_on() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| in_halves("Cache-Control: max-age=60\r\n", &held)).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    for (way, path, is_stored) in [(Way::Night, "night", false), (Way::Forward, "pupil", true)] {
        let url = format!("http://lesson.test/{path}");
        drop(begin(&the_box, way, &url).await);
        gate.open();
        the_box.settled().await;
        assert_eq!(the_box.rooms.context.store.find_in_memory(&key_of(&url)).is_some(), is_stored, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_was_cut_goes_on_from_the_last_whole_block() {
    let parts = ["bytes=1048576-2097151", "bytes=2097152-3145727"];
    goes_on_after(Duration::ZERO, &parts).await;
}

/// A film without `Cache-Control` is stale by the next night: it is confirmed, and then the rest of it is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_was_cut_goes_on_when_the_origin_confirms_what_is_there() {
    let parts = ["bytes=1048576-2097151", "bytes=1048576-2097151", "bytes=2097152-3145727"];
    goes_on_after(Duration::from_secs(61), &parts).await;
}

async fn goes_on_after(pause: Duration, parts: &[&str]) {
    const MIB: usize = 1 << 20;
    let video: String = (0..3 * MIB).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let (whole, is_up) = (video.clone(), Arc::new(AtomicBool::new(false)));
    let up = Arc::clone(&is_up);
    let origin = Origin::start(move |seen| {
        let fields = "ETag: \"v1\"\r\nCache-Control: max-age=60\r\n";
        match seen.field("range") {
            None => {
                let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", whole.len());
                vec![send(head + &whole[..MIB + MIB / 2]), Step::Cut]
            }
            Some(_) if !up.load(Ordering::SeqCst) => vec![Step::Cut],
            Some(_) if seen.field("if-none-match").is_some() => response("304 Not Modified", fields, ""),
            Some(range) => {
                let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let fields = format!("{fields}Content-Range: bytes {first}-{last}/{}\r\n", whole.len());
                response("206 Partial Content", &fields, &whole[first..=last])
            }
        }
    })
    .await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    let url = "http://lesson.test/video";
    let cut = begin(&the_box, Way::Night, url).await;
    assert!(cut.into_body().collect().await.is_err(), "the line is down");
    the_box.settled().await;
    is_up.store(true, Ordering::SeqCst);
    the_box.clock.advance(pause);
    let before = origin.seen().len();
    let told = the_box.ask_by(Way::Night, Method::GET, url, &[]).await;
    assert!(told.text() == video);
    assert_eq!(told.handled.unwrap().source, Source::Origin, "so that the night reads it");
    let stored =
        the_box.rooms.context.store.find_in_memory(&key_of(url)).expect("the night's last byte is a stored one");
    assert_eq!(stored[0].body_bytes(), video.len() as u64);
    let asked: Vec<_> = origin.seen()[before..].iter().filter_map(|seen| seen.field("range")).collect();
    assert_eq!(asked, parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_page_tells_no_one_what_another_searched_for() {
    let origin = Origin::start(|seen| {
        let page = format!("<title>Page {}</title>", seen.target());
        response("200 OK", "Cache-Control: max-age=60\r\nContent-Type: text/html\r\n", &page)
    })
    .await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    for path in ["algebra", "search?q=worry"] {
        the_box.get(&format!("http://lesson.test/{path}")).await;
    }
    the_box.settled().await;
    let told = the_box.ask_by(Way::Reverse, Method::GET, "http://localhost/", &[]).await;
    assert!(told.text().contains("Page /algebra"), "{}", told.text());
    assert!(!told.text().contains("worry"), "{}", told.text());
}

/// Scripts of visitor counters set cookies that no server needs; a page that shows its cookies must not show a pupil's.
#[tokio::test(flavor = "multi_thread")]
async fn counter_cookies_do_not_reach_the_origin_and_others_pass_by_the_store() {
    let origin = Origin::start(|seen| fresh(&format!("cookies: {:?}", seen.field("cookie")))).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    let counted = the_box.ask(Method::GET, "http://lesson.test/a", &[("cookie", "_ga=GA1.2; _ym_uid=7")]).await;
    assert_eq!(counted.text(), "cookies: None");
    let known = the_box.ask(Method::GET, "http://lesson.test/b", &[("cookie", "_ga=GA1.2; name=Aigul")]).await;
    assert_eq!(known.text(), "cookies: Some(\"_ga=GA1.2; name=Aigul\")");
    the_box.settled().await;
    assert_eq!(the_box.get("http://lesson.test/a").await.handled.unwrap().source, Source::Hit);
    assert_eq!(the_box.get("http://lesson.test/b").await.text(), "cookies: None");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_night_finds_to_be_good_stays_for_the_day_as_well() {
    let origin = Origin::start(|_| response("200 OK", "Cache-Control: max-age=999999\r\n", "a lesson")).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    let by_night = || the_box.ask_by(Way::Night, Method::GET, "http://lesson.test/a", &[]);
    by_night().await;
    the_box.settled().await;
    let pinned = the_box.rooms.context.store.usage().pinned_bytes;
    the_box.clock.advance(Duration::from_secs(24 * 60 * 60 + 120));
    assert_eq!(the_box.rooms.context.store.usage().pinned_bytes, 0, "yesterday's pin is over");
    assert_eq!(by_night().await.handled.unwrap().source, Source::Hit);
    assert_eq!(the_box.rooms.context.store.usage().pinned_bytes, pinned);
}

/// Before, a 304 that came after the list had changed brought the freshness of the old rule into memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_304_across_a_reload_brings_nothing_of_the_old_rules() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.field("if-none-match") {
        Some(_) => vec![
            Step::Wait(held.clone()),
            send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n"),
        ],
        None => fresh("a lesson"),
    })
    .await;
    let rule = "[[site.rule]]\npath = \"/**\"\nfresh-min = \"10h\"\n";
    let the_box = Arc::new(TestBox::open(HOST, rule, origin.address).await);
    let url = "http://lesson.test/a";
    the_box.get(url).await;
    the_box.settled().await;
    the_box.clock.advance(Duration::from_secs(11 * 60 * 60));
    let under_old = tokio::spawn({
        let the_box = the_box.clone();
        async move { the_box.get(url).await }
    });
    origin.has_seen(2).await;
    the_box.rooms.reload(common::allowlist(HOST, ""));
    // It is in memory again, under the new rules.
    assert_eq!(the_box.ask(Method::GET, url, &[("cache-control", "only-if-cached")]).await.status, 504);
    gate.open_for_all();
    assert_eq!(under_old.await.unwrap().text(), "a lesson");
    the_box.settled().await;
    the_box.clock.advance(Duration::from_secs(120));
    assert_eq!(the_box.get(url).await.handled.unwrap().source, Source::Validated, "no 10 hours any more");
}

/// Before, an invalidation did not reach a request that nobody follows.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_alone_before_a_post_is_not_kept_after_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let gets = AtomicUsize::new(0);
    let origin = Origin::start(move |seen| match seen.method() {
        "POST" => response("200 OK", "", "noted"),
        _ => match gets.fetch_add(1, Ordering::SeqCst) {
            0 => response("200 OK", "Cache-Control: no-store\r\n", "not kept"),
            1 => [Step::Wait(held.clone())].into_iter().chain(fresh("before")).collect(),
            _ => fresh("after"),
        },
    })
    .await;
    let the_box = Arc::new(TestBox::open(HOST, "", origin.address).await);
    let url = "http://lesson.test/a";
    assert_eq!(the_box.get(url).await.text(), "not kept");
    let alone = tokio::spawn({
        let the_box = the_box.clone();
        async move { the_box.get(url).await }
    });
    origin.has_seen(2).await;
    assert_eq!(the_box.ask(Method::POST, url, &[]).await.text(), "noted");
    gate.open_for_all();
    assert_eq!(alone.await.unwrap().text(), "before");
    the_box.settled().await;
    assert_eq!(the_box.get(url).await.text(), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_learns_how_it_reaches_the_box() {
    let origin = Origin::start(|_| fresh("of the site itself")).await;
    let the_box = TestBox::open(HOST, "", origin.address).await;
    for (way, said) in [(Way::Reverse, "direct"), (Way::Forward, "proxy")] {
        for url in ["http://check.bulaq.internal/here.json", "http://lesson.test/.well-known/bulaq"] {
            let told = the_box.ask_by(way, Method::GET, url, &[]).await;
            let here: serde_json::Value = serde_json::from_str(told.text()).unwrap();
            assert_eq!((&here["bulaq"], &here["way"]), (&true.into(), &said.into()), "{url}");
            assert_eq!(here["now"], 1_790_000_000_000_u64, "{url}");
            assert_eq!(told.headers["access-control-allow-origin"], "*");
            assert_eq!(told.headers["cache-control"], "no-store");
        }
        let page = the_box.ask_by(way, Method::GET, "http://bulaq.internal/en/check/", &[]).await;
        assert!(page.text().contains("data-hosts=\"lesson.test\""));
        let script = the_box.ask_by(way, Method::GET, "http://bulaq.internal/check.js", &[]).await;
        assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
    }
    let asked = the_box.ask_by(Way::Reverse, Method::OPTIONS, "http://check.bulaq.internal/mark.svg", &[]).await;
    assert_eq!(
        (asked.status.as_u16(), &asked.headers["access-control-allow-private-network"]),
        (204, &"true".parse().unwrap())
    );
    let post = the_box.ask_by(Way::Reverse, Method::POST, "http://check.bulaq.internal/here.json", &[]).await;
    assert_eq!((post.status.as_u16(), &post.headers["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert!(origin.seen().is_empty(), "the site was asked for none of this");

    // The night is no device, a host that is not listed is no site, and another method is the site's own matter.
    assert_eq!(
        the_box.ask_by(Way::Night, Method::GET, "http://lesson.test/.well-known/bulaq", &[]).await.text(),
        "of the site itself"
    );
    assert_eq!(the_box.get("http://other.test/.well-known/bulaq").await.status.as_u16(), 403);
}
