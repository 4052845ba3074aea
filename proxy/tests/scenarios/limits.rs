//! Promise 16: what is bounded, at the bound and beyond it.

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::Client;
use crate::common::origin::{Origin, response, send};

async fn status(bulaq: &Bulaq, target: &str, fields: &str) -> u16 {
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")).await;
    client.answer(false).await.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn a_request_has_its_bounds() {
    let origin = Origin::start(|_| response("200 OK", "", "ok")).await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    let fields = |count: usize| (0..count).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    let long = |bytes: usize| format!("X: {}\r\n", "a".repeat(bytes));
    for (what, target, fields, expected) in [
        ("a target of 8 kB", path(8 * 1024), String::new(), 200),
        ("a longer one", path(8 * 1024 + 1), String::new(), 414),
        ("a much longer one", path(60_000), String::new(), 414),
        ("many fields", "/".to_owned(), fields(90), 200),
        ("too many", "/".to_owned(), fields(101), 431),
        ("a long field", "/".to_owned(), long(30_000), 200),
        ("too long a head", "/".to_owned(), long(70_000), 431),
    ] {
        assert_eq!(status(&bulaq, &target, &fields).await, expected, "{what}");
    }
}

#[tokio::test]
async fn many_ranges_are_the_whole_or_nothing() {
    let content = "0123456789".repeat(100);
    let whole = content.clone();
    let origin = Origin::start(move |_| response("200 OK", "Cache-Control: max-age=600\r\n", &content)).await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    let ranges = |count: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("{}-{}", n * 20, n * 20 + 1)).collect();
        format!("Range: bytes={}\r\n", list.join(","))
    };
    assert_eq!(status(&bulaq, "/a", "").await, 200);
    // While it still arrives, several ranges of it are answered with the whole.
    bulaq.has_settled().await;
    assert_eq!(status(&bulaq, "/a", &ranges(8)).await, 206);
    for field in [ranges(9), ranges(40), format!("Range: bytes={}\r\n", ["0-999"; 8].join(","))] {
        let mut client = Client::connect(bulaq.http).await;
        let answer = client.get(HOST, "/a", &field).await;
        assert!(matches!(answer.status, 200 | 416), "{field}: {}", answer.status);
        assert!(answer.content.len() <= whole.len());
    }
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn variants_of_one_page_do_not_grow_without_end() {
    let origin = Origin::start(|seen| {
        let language = seen.field("accept-language").unwrap_or_default();
        response("200 OK", "Cache-Control: max-age=600\r\nVary: Accept-Language\r\n", &language)
    })
    .await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    let mut client = Client::connect(bulaq.http).await;
    for n in 0..100 {
        let answer = client.get(HOST, "/a", &format!("Accept-Language: x-{n}\r\n")).await;
        assert_eq!(answer.text(), format!("x-{n}"));
        bulaq.has_settled().await;
    }
    assert!(bulaq.rooms.context.store.usage().responses <= 32);
}

#[tokio::test]
async fn interim_answers_are_not_stored_and_not_endless() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nok";
    for (count, expected) in [(1, 200), (16, 200), (17, 502)] {
        let origin = Origin::start(move |_| vec![send(interim.repeat(count) + last)]).await;
        let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
        assert_eq!(status(&bulaq, "/a", "").await, expected, "{count}");
    }
}
