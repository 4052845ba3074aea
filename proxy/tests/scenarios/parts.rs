//! Parts of large bodies: what the origin is asked for, what clients get, and what is kept when something is cut.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending};
use crate::common::origin::{Origin, Seen, Step, send};

#[path = "cuts.rs"]
mod cuts;

const MIB: usize = 1 << 20;

/// A video of which no two stretches are alike.
fn video(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

/// An origin with one video, that does ranges as RFC 9110 says.
struct Cinema {
    video: Arc<Vec<u8>>,
    etag: Mutex<String>,
    fields: &'static str,
    /// How many bytes of content it has sent.
    sent: AtomicUsize,
}

impl Cinema {
    fn new(bytes: usize, fields: &'static str) -> Arc<Self> {
        let etag = Mutex::new("\"v1\"".to_owned());
        Arc::new(Self { video: Arc::new(video(bytes)), etag, fields, sent: AtomicUsize::new(0) })
    }

    fn change(&self, etag: &str) {
        *self.etag.lock().unwrap() = etag.to_owned();
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Head and content of the answer.
    fn answer(&self, seen: &Seen) -> (String, Vec<u8>) {
        let (etag, length) = (self.etag.lock().unwrap().clone(), self.video.len());
        let fields = format!("ETag: {etag}\r\nContent-Type: video/mp4\r\n{}", self.fields);
        if seen.field("if-none-match").as_ref() == Some(&etag) {
            return (format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"), Vec::new());
        }
        let range = seen.field("range").filter(|_| seen.field("if-range").is_none_or(|tag| tag == etag));
        let Some(range) = range else {
            return (format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n"), self.video.to_vec());
        };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, last.min(length - 1)),
            (Ok(first), Err(_)) => (first, length - 1),
            (Err(_), suffix) => (length.saturating_sub(suffix.unwrap()), length - 1),
        };
        if first >= length {
            return (
                format!("HTTP/1.1 416 No\r\nContent-Range: bytes */{length}\r\nContent-Length: 0\r\n\r\n"),
                Vec::new(),
            );
        }
        let content = self.video[first..=last].to_vec();
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{length}\r\nContent-Length: {}\r\n{fields}\r\n",
            content.len()
        );
        (head, content)
    }

    fn steps(&self, seen: &Seen) -> Vec<Step> {
        let (head, content) = self.answer(seen);
        self.sent.fetch_add(content.len(), Ordering::SeqCst);
        vec![send([head.as_bytes(), &content].concat())]
    }

    async fn open(self: &Arc<Self>) -> (Origin, Bulaq) {
        let cinema = Arc::clone(self);
        let origin = Origin::start(move |seen| cinema.steps(seen)).await;
        let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
        (origin, bulaq)
    }
}

const FRESH: &str = "Cache-Control: max-age=600\r\n";

async fn get(bulaq: &Bulaq, fields: &str) -> Answer {
    Client::connect(bulaq.http).await.get(HOST, "/video", fields).await
}

async fn range(bulaq: &Bulaq, range: &str) -> Answer {
    get(bulaq, &format!("Range: bytes={range}\r\n")).await
}

/// The ranges that the origin was asked for; `-` for the whole.
fn asked(origin: &Origin) -> Vec<String> {
    origin.seen().iter().map(|seen| seen.field("range").unwrap_or_else(|| "-".to_owned())).collect()
}

fn is_part(answer: &Answer, video: &[u8], first: usize, last: usize) -> bool {
    let range = format!("bytes {first}-{last}/{}", video.len());
    answer.status == 206
        && answer.ending == Ending::Whole
        && answer.field("content-range") == Some(range)
        && answer.content == video[first..=last]
}

#[tokio::test]
async fn a_range_of_a_cold_video_fetches_the_blocks_that_cover_it() {
    let cinema = Cinema::new(5 * MIB + 77, FRESH);
    let (origin, bulaq) = cinema.open().await;
    let video = &cinema.video[..];
    assert!(is_part(&range(&bulaq, "3000000-3000009").await, video, 3_000_000, 3_000_009));
    bulaq.has_settled().await;
    assert_eq!(asked(&origin), ["bytes=2097152-3145727"]);
    // Any range of what is there comes from the store.
    for (first, last) in [(2_097_152, 3_145_727), (2_500_000, 2_500_000), (3_145_720, 3_145_727)] {
        assert!(is_part(&range(&bulaq, &format!("{first}-{last}")).await, video, first, last));
    }
    assert_eq!(origin.seen().len(), 1);
    // What is missing is joined to it, under the validator.
    assert!(is_part(&range(&bulaq, "3000000-4300000").await, video, 3_000_000, 4_300_000));
    bulaq.has_settled().await;
    assert_eq!(asked(&origin)[1..], ["bytes=3145728-4194303", "bytes=4194304-5242879"]);
    for seen in &origin.seen()[1..] {
        assert_eq!(seen.field("if-range").as_deref(), Some("\"v1\""));
        assert_eq!(seen.field("accept-encoding").as_deref(), Some("identity"));
    }
    // The rest makes it whole, and then it needs no origin at all.
    let whole = get(&bulaq, "").await;
    assert!(whole.status == 200 && whole.content == video && whole.ending == Ending::Whole);
    bulaq.has_settled().await;
    assert_eq!(cinema.sent(), video.len());
    let stored = get(&bulaq, "").await;
    assert!(stored.content == video);
    assert_eq!(cinema.sent(), video.len());
    assert_eq!(bulaq.rooms.context.store.usage().responses, 1);
}

#[tokio::test]
async fn an_open_range_and_a_suffix_come_block_by_block() {
    let cinema = Cinema::new(3 * MIB + 77, FRESH);
    let (origin, bulaq) = cinema.open().await;
    let (video, last) = (&cinema.video[..], 3 * MIB + 76);
    assert!(is_part(&range(&bulaq, "-200000").await, video, last - 199_999, last));
    bulaq.has_settled().await;
    assert_eq!(asked(&origin), ["bytes=-1048576"]);
    assert!(is_part(&range(&bulaq, "-77").await, video, 3 * MIB, last), "the last block was kept");
    assert_eq!(origin.seen().len(), 1);
    assert!(is_part(&range(&bulaq, "0-").await, video, 0, last));
    bulaq.has_settled().await;
    assert_eq!(asked(&origin)[1..], ["bytes=0-1048575", "bytes=1048576-2097151", "bytes=2097152-3145727"]);
    assert!(is_part(&range(&bulaq, "-99999999").await, video, 0, last));
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test]
async fn several_ranges_come_from_parts_too() {
    let cinema = Cinema::new(4 * MIB, FRESH);
    let (origin, bulaq) = cinema.open().await;
    let answer = range(&bulaq, "10-19,3000000-3000009").await;
    assert_eq!((answer.status, answer.ending), (206, Ending::Whole));
    assert!(answer.field("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    for (first, last) in [(10, 19), (3_000_000, 3_000_009)] {
        let part = [
            format!("Content-Range: bytes {first}-{last}/{}\r\n\r\n", 4 * MIB).as_bytes(),
            &cinema.video[first..=last],
        ]
        .concat();
        assert!(answer.content.windows(part.len()).any(|window| window == part), "{first}-{last}");
    }
    bulaq.has_settled().await;
    assert_eq!(asked(&origin), ["bytes=0-1048575", "bytes=2097152-3145727"]);
    // Ranges that overlap without end are answered with the whole, once.
    let abusive = range(&bulaq, &["0-"; 8].join(",")).await;
    assert_eq!((abusive.status, abusive.content.len()), (200, 4 * MIB));
    bulaq.has_settled().await;
    assert_eq!(cinema.sent(), 4 * MIB);
}

#[tokio::test]
async fn a_range_beyond_the_end_is_told_so() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    let (origin, bulaq) = cinema.open().await;
    assert_eq!(range(&bulaq, "99999999-").await.status, 416);
    range(&bulaq, "0-1").await;
    bulaq.has_settled().await;
    let beyond = range(&bulaq, "99999999-").await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some(format!("bytes */{}", 3 * MIB))));
    assert_eq!(origin.seen().len(), 2, "what is stored in part knows its length");
}

#[tokio::test]
async fn head_and_conditions_are_answered_from_a_part() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    let (origin, bulaq) = cinema.open().await;
    range(&bulaq, "0-1").await;
    bulaq.has_settled().await;
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("HEAD /video HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let head = client.answer(true).await.unwrap();
    assert_eq!((head.status, head.field("content-length")), (200, Some((3 * MIB).to_string())));
    assert_eq!(head.field("content-range"), None);
    assert_eq!(get(&bulaq, "If-None-Match: \"v1\"\r\n").await.status, 304);
    assert_eq!(get(&bulaq, "If-Match: \"other\"\r\n").await.status, 412);
    assert_eq!(get(&bulaq, "Range: bytes=0-1\r\nIf-Range: \"v1\"\r\n").await.status, 206);
    assert_eq!(get(&bulaq, "Range: bytes=2000000-\r\nCache-Control: only-if-cached\r\n").await.status, 504);
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(get(&bulaq, "Range: bytes=0-1\r\nIf-Range: \"v0\"\r\n").await.content.len(), 3 * MIB);
}

#[tokio::test]
async fn a_changed_video_is_never_mixed_with_its_old_parts() {
    let cinema = Cinema::new(4 * MIB, FRESH);
    let (origin, bulaq) = cinema.open().await;
    range(&bulaq, "0-1").await;
    bulaq.has_settled().await;
    cinema.change("\"v2\"");
    // What is there is fresh; the rest is another video now, and comes as that one.
    let answer = range(&bulaq, "0-1").await;
    assert_eq!(answer.field("etag").as_deref(), Some("\"v1\""));
    let answer = range(&bulaq, "3000000-3000001").await;
    assert_eq!((answer.status, answer.field("etag").as_deref()), (206, Some("\"v2\"")));
    bulaq.has_settled().await;
    let before = origin.seen().len();
    assert_eq!(range(&bulaq, "0-1").await.field("etag").as_deref(), Some("\"v2\""), "the old parts are gone");
    assert!(origin.seen().len() > before);
}

#[tokio::test]
async fn stale_parts_are_validated_and_stand_in_when_the_origin_is_gone() {
    let cinema = Cinema::new(4 * MIB, "Cache-Control: max-age=60\r\n");
    let (origin, bulaq) = cinema.open().await;
    range(&bulaq, "0-1").await;
    bulaq.has_settled().await;
    bulaq.clock.advance(Duration::from_secs(100));
    assert!(is_part(&range(&bulaq, "5-9").await, &cinema.video, 5, 9));
    bulaq.has_settled().await;
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].field("if-none-match").as_deref(), Some("\"v1\""));
    assert_eq!(seen[1].field("range").as_deref(), Some("bytes=0-1048575"));
    assert_eq!(cinema.sent(), MIB, "a 304 brought no content");
    assert_eq!(range(&bulaq, "0-1").await.status, 206);
    assert_eq!(origin.seen().len(), 2, "and made it fresh again");
    // Stale again, and changed: a block of the new one comes, not all of it.
    bulaq.clock.advance(Duration::from_secs(100));
    cinema.change("\"v2\"");
    assert_eq!(range(&bulaq, "5-9").await.field("etag").as_deref(), Some("\"v2\""));
    bulaq.has_settled().await;
    assert_eq!(cinema.sent(), 2 * MIB);
    // Without the origin what is there stands in; what is not, cannot.
    bulaq.clock.advance(Duration::from_secs(100));
    origin.stop().await;
    assert!(is_part(&range(&bulaq, "5-9").await, &cinema.video, 5, 9));
    assert_eq!(range(&bulaq, "2000000-2000001").await.status, 502);
}
