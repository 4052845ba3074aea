//! Gateway names over real sockets: what a phone without the CA gets, and what reaches the sites.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use common::allowlist;
use common::bulaq::Bulaq;
use common::client::{Answer, Client};
use common::origin::{Origin, Seen, Step, response, send};

const DOMAIN: &str = "lessons.school.example";
const LESSON: &str = "lesson-test.lessons.school.example";
const MEDIA: &str = "media--host-test.lessons.school.example";

const PAGE: &str = r#"<html><head><base href="http://lesson.test/dir/">
<link rel=stylesheet href="http://media-host.test/x.css" integrity="sha256-x">
<script src="//media-host.test/x.js" integrity="sha256-y"></script>
<style>body{background:url(http://media-host.test/b.png)}</style></head>
<body><a href="next.html">1</a><a href="https://lesson.test/a?b=1&amp;c=2">2</a><a href="https://games.example/x?who=me">3</a>
<img srcset="http://media-host.test/1.png 1x, https://games.example/2.png 2x"><iframe src="https://video.example/v"></iframe>
<script>var untouched = "http://lesson.test/";</script></body></html>"#;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::best());
    to.write_all(content).unwrap();
    to.finish().unwrap()
}

fn film() -> String {
    (0..40_000u32).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

fn sites(seen: &Seen) -> Vec<Step> {
    const FRESH: &str = "Cache-Control: max-age=600\r\n";
    let html =
        |more: &str, content: &str| response("200 OK", &format!("Content-Type: text/html\r\n{FRESH}{more}"), content);
    match seen.target() {
        "/page" => html(
            "ETag: \"v1\"\r\nContent-Security-Policy: script-src http://media-host.test 'self'; report-uri /r\r\n\
             Strict-Transport-Security: max-age=9\r\nLink: <http://media-host.test/x.css>; rel=preload; as=style\r\n",
            PAGE,
        ),
        "/gz" => {
            let content = gzip(PAGE.as_bytes());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n{FRESH}\
                 Content-Length: {}\r\n\r\n",
                content.len()
            );
            vec![send([head.as_bytes(), &content].concat())]
        }
        "/x.css" => response(
            "200 OK",
            &format!("Content-Type: text/css\r\nLast-Modified: Sun, 05 Apr 2020 03:00:00 GMT\r\n{FRESH}"),
            "@import \"http://lesson.test/y.css\";a{b:url(/i.png);c:url('https://games.example/i.png')}",
        ),
        "/film.mp4" => response(
            "200 OK",
            &format!("Content-Type: video/mp4\r\nETag: \"f\"\r\nAccept-Ranges: bytes\r\n{FRESH}"),
            &film(),
        ),
        "/away" => response("302 Found", "Location: http://media-host.test/x\r\n", ""),
        "/out" => response("302 Found", "Location: https://games.example/x?who=me\r\n", ""),
        "/cookie" => html("Set-Cookie: session=1\r\nSet-Cookie: more=2\r\n", "<p>hello"),
        "/locked" => response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "no"),
        "/font" => response(
            "200 OK",
            "Content-Type: font/woff2\r\nAccess-Control-Allow-Origin: http://lesson.test\r\nVary: Origin\r\n",
            "f",
        ),
        _ => response("404 Not Found", "Content-Type: text/plain\r\n", "nothing"),
    }
}

/// Two sites behind a box with a gateway.
async fn school() -> (Origin, Bulaq) {
    let origin = Origin::start(sites).await;
    let hosts = ["lesson.test", "media-host.test"];
    let list = allowlist(&["http://lesson.test", "http://media-host.test"], "");
    let bulaq = Bulaq::start(list, &hosts, origin.address, |options| {
        options.request.gateway = Some(common::name(DOMAIN));
    })
    .await;
    (origin, bulaq)
}

async fn get(bulaq: &Bulaq, host: &str, target: &str, fields: &str) -> Answer {
    Client::connect(bulaq.http).await.get(host, target, fields).await
}

/// `PAGE` as it leaves by a gateway of plain http at the usual port.
fn page_by_gateway() -> String {
    PAGE.replace("href=\"http://lesson.test/dir/\"", &format!("href=\"http://{LESSON}/dir/\""))
        .replace(
            "href=\"http://media-host.test/x.css\" integrity=\"sha256-x\"",
            &format!("href=\"http://{MEDIA}/x.css\""),
        )
        .replace("src=\"//media-host.test/x.js\"", &format!("src=\"http://{MEDIA}/x.js\""))
        .replace("url(http://media-host.test/b.png)", &format!("url(\"http://{MEDIA}/b.png\")"))
        .replace("https://lesson.test/a", &format!("http://{LESSON}/a"))
        .replace("https://games.example/x?who=me", &format!("http://games-example.{DOMAIN}/"))
        .replace("http://media-host.test/1.png", &format!("http://{MEDIA}/1.png"))
        .replace("https://games.example/2.png", "about:blank")
        .replace("https://video.example/v", &format!("http://video-example.{DOMAIN}/"))
}

#[tokio::test]
async fn a_page_is_rewritten_on_its_way_out_and_stored_as_it_was() {
    let (origin, bulaq) = school().await;
    for _ in 0..2 {
        let answer = get(&bulaq, LESSON, "/page", "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), page_by_gateway());
        assert!(answer.is_whole() && answer.field("content-length").is_none());
        assert_eq!(
            answer.field("content-security-policy").as_deref(),
            Some(&*format!("script-src http://{MEDIA} 'self'"))
        );
        assert_eq!(answer.field("link").as_deref(), Some(&*format!("<http://{MEDIA}/x.css>; rel=preload; as=style")));
        for gone in ["strict-transport-security", "set-cookie", "accept-ranges", "content-encoding"] {
            assert_eq!(answer.field(gone), None, "{gone}");
        }
        bulaq.has_settled().await;
    }
    assert_eq!(origin.seen().len(), 1, "the second came from the store");
    let original = get(&bulaq, "lesson.test", "/page", "").await;
    assert_eq!((original.text().as_str(), original.field("etag").as_deref()), (PAGE, Some("\"v1\"")));
    assert_eq!(origin.seen().len(), 1);
    // Another port is another address.
    let elsewhere = get(&bulaq, &format!("{LESSON}:8080"), "/page", "").await;
    assert!(elsewhere.text().contains(&format!("http://{MEDIA}:8080/x.js")));
    // HEAD tells the same head.
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("HEAD /page HTTP/1.1\r\nHost: {LESSON}\r\n\r\n")).await;
    let head = client.answer(true).await.unwrap();
    assert_eq!(head.field("etag"), get(&bulaq, LESSON, "/page", "").await.field("etag"));
    assert_eq!(head.field("content-length"), None);
}

#[tokio::test]
async fn style_sheets_and_compressed_pages_are_rewritten_too() {
    let (_origin, bulaq) = school().await;
    let sheet = get(&bulaq, MEDIA, "/x.css", "Accept-Encoding: gzip\r\n").await;
    let expected = format!("@import \"http://{LESSON}/y.css\";a{{b:url(/i.png);c:url(\"about:blank\")}}");
    assert_eq!(sheet.text(), expected);
    for coding in ["", "Accept-Encoding: gzip, deflate\r\n"] {
        let page = get(&bulaq, LESSON, "/gz", coding).await;
        assert_eq!((page.text(), page.field("content-encoding")), (page_by_gateway(), None), "{coding}");
    }
}

#[tokio::test]
async fn films_pass_untouched_and_in_parts() {
    let (_origin, bulaq) = school().await;
    let whole = get(&bulaq, LESSON, "/film.mp4", "").await;
    assert_eq!((whole.text(), whole.field("etag").as_deref()), (film(), Some("\"f\"")));
    bulaq.has_settled().await;
    let part = get(&bulaq, LESSON, "/film.mp4", "Range: bytes=100-199\r\nIf-Range: \"f\"\r\n").await;
    assert_eq!((part.status, part.text().as_str()), (206, &film()[100..200]));
    // Of a page there are no parts.
    let page = get(&bulaq, LESSON, "/page", "Range: bytes=0-9\r\n").await;
    assert_eq!((page.status, page.text()), (200, page_by_gateway()));
    bulaq.has_settled().await;
    let page = get(&bulaq, LESSON, "/page", "Range: bytes=0-9\r\n").await;
    assert_eq!((page.status, page.text()), (200, page_by_gateway()));
}

#[tokio::test]
async fn a_browsers_copy_is_confirmed_as_long_as_the_list_is_the_same() {
    let (origin, bulaq) = school().await;
    for (host, target) in [(LESSON, "/page"), (MEDIA, "/x.css")] {
        let tag = get(&bulaq, host, target, "").await.field("etag").unwrap();
        assert!(tag.starts_with("W/\"g"), "{tag}");
        bulaq.has_settled().await;
        let asked = origin.seen().len();
        let known = get(&bulaq, host, target, &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((known.status, known.field("etag")), (304, Some(tag.clone())));
        bulaq.clock.advance(Duration::from_secs(700)); // stale: the origin is asked, in its own words
        let known = get(&bulaq, host, target, &format!("If-None-Match: {tag}\r\n")).await;
        assert!(matches!(known.status, 200 | 304));
        bulaq.has_settled().await;
        let asked_again = origin.seen()[asked..].to_vec();
        assert!(asked_again.iter().all(|seen| !seen.head.contains("\"g")), "{asked_again:?}");
        let wider = allowlist(&["http://lesson.test", "http://media-host.test", "games.example"], "");
        let as_it_was = (*bulaq.rooms.context.allowlist.load_full()).clone();
        bulaq.rooms.reload(wider);
        let new = get(&bulaq, host, target, &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!(new.status, 200);
        assert!(new.text().contains("http://games-example."));
        bulaq.rooms.reload(as_it_was);
    }
}

#[tokio::test]
async fn nothing_that_says_who_asks_passes_in_either_direction() {
    let (origin, bulaq) = school().await;
    let fields = format!(
        "Cookie: a=b\r\nAuthorization: Basic eDp5\r\nReferer: http://{MEDIA}/p?q\r\nOrigin: http://{LESSON}\r\n"
    );
    let answer = get(&bulaq, LESSON, "/cookie", &fields).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "<p>hello"));
    assert_eq!(answer.field("set-cookie"), None);
    let font = get(&bulaq, MEDIA, "/font", &format!("Origin: http://{LESSON}\r\n")).await;
    assert_eq!(font.field("access-control-allow-origin").as_deref(), Some(&*format!("http://{LESSON}")));
    let seen = origin.seen();
    for seen in &seen {
        assert!(!seen.head.contains("school.example"), "{}", seen.head);
        assert_eq!((seen.field("cookie"), seen.field("authorization")), (None, None));
        assert_eq!(seen.field("origin").as_deref(), Some("http://lesson.test"));
    }
    assert_eq!(seen[0].field("referer").as_deref(), Some("http://media-host.test/p?q"));
    assert_eq!(
        (seen[0].field("host").as_deref(), seen[1].field("host").as_deref()),
        (Some("lesson.test"), Some("media-host.test"))
    );
}

#[tokio::test]
async fn what_a_gateway_cannot_do_is_told_and_not_tried() {
    let (origin, bulaq) = school().await;
    let english = "Accept-Language: en\r\n";
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("POST /login HTTP/1.1\r\nHost: {LESSON}\r\n{english}Content-Length: 3\r\n\r\na=b")).await;
    let posted = client.answer(false).await.unwrap();
    assert_eq!((posted.status, posted.field("allow").as_deref()), (405, Some("GET, HEAD")));
    assert!(posted.text().contains("Here you can only read"));
    for (host, fields, status, told) in [
        (format!("games-example.{DOMAIN}"), english.to_owned(), 403, "This link leads outside"),
        (format!("a---b.{DOMAIN}"), english.to_owned(), 404, "There is no such address"),
        (format!("a.b.{DOMAIN}"), "Accept-Language: ru\r\n".to_owned(), 404, "Такого адреса нет"),
        (LESSON.to_owned(), format!("{english}Service-Worker: script\r\n"), 403, "gateway-service-worker"),
    ] {
        let answer = get(&bulaq, &host, "/", &fields).await;
        assert_eq!(answer.status, status, "{host}");
        assert!(answer.text().contains(told), "{}", answer.text());
    }
    assert!(get(&bulaq, &format!("games-example.{DOMAIN}"), "/", english).await.text().contains("games.example"));
    assert_eq!(origin.seen().len(), 0);
    let locked = get(&bulaq, LESSON, "/locked", english).await;
    assert_eq!((locked.status, locked.field("www-authenticate")), (403, None));
    assert!(locked.text().contains("This page asks you to sign in"));
}

#[tokio::test]
async fn redirects_stay_inside() {
    let (_origin, bulaq) = school().await;
    for (target, expected) in
        [("/away", format!("http://{MEDIA}/x")), ("/out", format!("http://games-example.{DOMAIN}/"))]
    {
        let answer = get(&bulaq, LESSON, target, "").await;
        assert_eq!((answer.status, answer.field("location")), (302, Some(expected)));
    }
}

#[tokio::test]
async fn the_start_page_links_to_gateway_names_and_lessons_outlive_their_site() {
    let (origin, bulaq) = school().await;
    let url = format!("http://{LESSON}:8080/page");
    get(&bulaq, LESSON, "/page", "").await;
    bulaq.has_settled().await;
    for host in [DOMAIN.to_owned(), format!("www.{DOMAIN}")] {
        let start = get(&bulaq, &format!("{host}:8080"), "/", "Accept-Language: en\r\n").await;
        assert_eq!(start.status, 200);
        assert!(start.text().contains(&format!("<a href=\"{url}\">")), "{}", start.text());
    }
    origin.stop().await;
    bulaq.clock.advance(Duration::from_secs(7200));
    let answer = get(&bulaq, LESSON, "/page", "").await;
    assert_eq!((answer.status, answer.text()), (200, page_by_gateway()));
    let missing = get(&bulaq, LESSON, "/other", "Accept-Language: en\r\n").await;
    assert_eq!(missing.status, 502);
    assert!(missing.text().contains("lesson.test"));
}

#[tokio::test]
async fn without_a_domain_there_is_no_gateway() {
    let origin = Origin::start(sites).await;
    let bulaq = Bulaq::start(allowlist(&["http://lesson.test"], ""), &["lesson.test"], origin.address, |_| {}).await;
    assert_eq!(get(&bulaq, LESSON, "/page", "").await.status, 403);
    assert_eq!(get(&bulaq, "lesson.test", "/page", "").await.text(), PAGE);
}
