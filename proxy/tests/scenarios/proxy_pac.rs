//! `/proxy.pac` over sockets: where it is, what it names, and that a browser that follows it is served.

use std::net::SocketAddr;
use std::sync::Arc;

use bulaq::ingress::Clients;
use bulaq::portal::proxy_pac::PacOptions;
use bulaq_allowlist::export::pac::ProxyAddress;

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client};
use crate::common::origin::{Origin, response};

async fn start(origin: &Origin, pac: PacOptions, clients: Clients) -> Bulaq {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (set, doors) = (
        |options: &mut bulaq::serve::RoomOptions| options.request.pac = pac,
        |doors: &mut bulaq::ingress::IngressOptions| doors.clients = clients,
    );
    Bulaq::start_with(folder, allowlist(&[HOST], ""), &[HOST], origin.address, set, doors)
}

async fn ask(door: SocketAddr, host: &str, target: &str, fields: &str) -> Answer {
    Client::connect(door).await.get(host, target, fields).await
}

#[tokio::test]
async fn the_file_names_the_forward_door_and_following_it_is_served() {
    let origin = Origin::start(|_| response("200 OK", "", "a lesson")).await;
    let bulaq = start(&origin, PacOptions::default(), Clients::default()).await;
    for host in ["bulaq.internal", "check.bulaq.internal", "127.0.0.1", &bulaq.http.to_string()] {
        let file = ask(bulaq.http, host, "/proxy.pac", "").await;
        assert_eq!(file.status, 200, "{host}");
        assert_eq!(file.field("content-type").as_deref(), Some("application/x-ns-proxy-autoconfig"));
        let via = format!("var VIA = \"PROXY {}; DIRECT\";", bulaq.forward);
        assert!(file.text().contains(&via), "{host}: {}", file.text());
        for name in [HOST, "bulaq.internal", "check.bulaq.internal"] {
            assert!(file.text().contains(&format!("\"{name}\": WEB")), "{name}");
        }
    }
    let tag = ask(bulaq.http, "bulaq.internal", "/proxy.pac", "").await.field("etag").unwrap();
    let again = ask(bulaq.http, "bulaq.internal", "/proxy.pac", &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((again.status, again.content.len(), again.field("etag")), (304, 0, Some(tag)));

    let lesson = ask(bulaq.forward, HOST, &format!("http://{HOST}/a"), "").await;
    assert_eq!((lesson.status, lesson.text()), (200, "a lesson".to_owned()));
    let own = ask(bulaq.forward, "bulaq.internal", "http://bulaq.internal/proxy.pac", "").await;
    assert_eq!(own.status, 200, "a browser that uses the file asks for it through the proxy");
}

#[tokio::test]
async fn a_client_that_the_forward_door_would_reset_is_not_sent_there() {
    let origin = Origin::start(|_| response("200 OK", "", "")).await;
    let proxy = ProxyAddress::parse("bulaq.internal:3128").ok();
    let bulaq = start(&origin, PacOptions { proxy, wpad: false }, Clients::new(Vec::new())).await;
    let file = ask(bulaq.http, "bulaq.internal", "/proxy.pac", "").await;
    assert_eq!(file.status, 200);
    assert!(file.text().contains("return \"DIRECT\"") && !file.text().contains("PROXY"), "{}", file.text());
}

#[tokio::test]
async fn wpad_is_answered_when_asked_for_and_at_the_sites_never() {
    let origin = Origin::start(|_| response("404 Not Found", "", "the site's own")).await;
    for wpad in [false, true] {
        let bulaq = start(&origin, PacOptions { proxy: None, wpad }, Clients::default()).await;
        for (host, target, expected) in [
            ("bulaq.internal", "/wpad.dat", if wpad { 200 } else { 404 }),
            ("wpad.school.kz", "/wpad.dat", if wpad { 200 } else { 403 }),
            ("wpad", "/wpad.dat", if wpad { 200 } else { 403 }),
            ("wpad", "/", 403),
            ("wpad.school.kz", "/proxy.pac", 403),
        ] {
            let answer = ask(bulaq.http, host, target, "").await;
            assert_eq!(answer.status, expected, "{host}{target} with wpad = {wpad}");
            assert_eq!(answer.text().contains("FindProxyForURL"), expected == 200, "{host}{target}");
        }
        for target in ["/wpad.dat", "/proxy.pac"] {
            assert_eq!(ask(bulaq.http, HOST, target, "").await.text(), "the site's own", "a site's own path");
        }
        let posted = "POST /proxy.pac HTTP/1.1\r\nHost: bulaq.internal\r\nContent-Length: 0\r\n\r\n";
        let mut client = Client::connect(bulaq.http).await;
        client.send(posted).await;
        assert!(matches!(client.answer(false).await.unwrap().status, 404 | 405));
    }
}
