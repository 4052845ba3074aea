//! A guest and owners of cookies at the same moment on one URL whose content a cookie decides.

use futures_util::future::join_all;

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending};
use crate::common::origin::{Gate, Origin, Step, response, send};

/// Who asks: three guests, owners of cookies whose names tell nothing, owners of sessions; some twice.
const WHO: [&str; 11] = ["", "k1=a", "", "k1=b", "x=c", "sessionid=d", "", "k1=a", "wp-postpass_5f=e", "lang=f", "x=c"];

/// What the origin says beside the content; it forgets `Vary` and `private` each time.
const FORGETFUL: [&str; 4] = [
    "Cache-Control: max-age=60\r\nContent-Type: text/html\r\n",
    "Cache-Control: max-age=60\r\nETag: \"same\"\r\n",
    "Cache-Control: max-age=1, stale-while-revalidate=1\r\nETag: \"same\"\r\nContent-Type: text/html\r\n",
    "Last-Modified: Mon, 06 Apr 2015 00:00:00 GMT\r\nContent-Type: application/json\r\n",
];

const MINIMUM: &str = "[[site.rule]]\npath = \"/**\"\nfresh-min = \"1h\"\n";

async fn all_at_once(bulaq: &Bulaq, target: &str) -> Vec<Answer> {
    join_all(WHO.iter().map(|cookie| async move {
        let field = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
        Client::connect(bulaq.http).await.get(HOST, target, &field).await
    }))
    .await
}

#[tokio::test]
async fn a_crowd_of_guests_and_owners_cold_and_stale_gets_everybody_his_own() {
    for rule in ["", MINIMUM] {
        for fields in FORGETFUL {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::start(move |seen| {
                let who = seen.field("cookie").unwrap_or_default();
                let mut steps = vec![Step::Wait(held.clone())];
                // A guest's validation is confirmed; an owner's would be too, if it were sent.
                if seen.field("if-none-match").is_some() || seen.field("if-modified-since").is_some() {
                    steps.push(send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")));
                } else {
                    steps.extend(response("200 OK", fields, &format!("for {who}.")));
                }
                steps
            })
            .await;
            let bulaq = Bulaq::start(allowlist(&[HOST], rule), &[HOST], origin.address, |_| {}).await;
            let mut seen = 0;
            for phase in ["cold", "stale", "read from the disk"] {
                let open = async {
                    origin.has_seen(seen + 1).await;
                    WHO.iter().for_each(|_| gate.open());
                };
                let (answers, ()) = tokio::join!(all_at_once(&bulaq, "/diary"), open);
                for (who, answer) in WHO.iter().zip(answers) {
                    assert_eq!((answer.status, answer.ending), (200, Ending::Whole), "{phase}, {who}");
                    assert_eq!(answer.text(), format!("for {who}."), "{phase}, {fields:?}, {rule:?}");
                }
                bulaq.has_settled().await;
                seen = origin.seen().len();
                bulaq.clock.advance(std::time::Duration::from_secs(4000));
                bulaq.rooms.context.store.forget_memory();
            }
        }
    }
}

/// A 304 that ends sharing is for the one whom it answers: whoever waited asks for himself.
#[tokio::test]
async fn what_a_304_calls_private_is_not_handed_to_those_who_waited() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.field("if-none-match") {
        Some(_) => {
            let not_modified = "HTTP/1.1 304 Not Modified\r\nCache-Control: private\r\nETag: \"v1\"\r\n\r\n";
            vec![Step::Wait(held.clone()), send(not_modified)]
        }
        None => response("200 OK", "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n", "a page"),
    })
    .await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    let guest = || async { Client::connect(bulaq.http).await.get(HOST, "/a", "").await };
    assert_eq!(guest().await.text(), "a page");
    bulaq.has_settled().await;
    bulaq.clock.advance(std::time::Duration::from_secs(61));
    let open = async {
        origin.has_seen(2).await;
        gate.open_for_all();
    };
    let (answers, ()) = tokio::join!(join_all((0..5).map(|_| guest())), open);
    let private = answers.iter().filter(|answer| answer.field("cache-control").as_deref() == Some("private")).count();
    assert!(answers.iter().all(|answer| answer.text() == "a page"));
    assert_eq!(private, 1, "the one who asked");
    let validations = origin.seen().iter().filter(|seen| seen.field("if-none-match").is_some()).count();
    assert_eq!((validations, origin.seen().len() > 2), (1, true), "the others asked for themselves");
}
