//! One strong entity tag for two videos: another length, other bytes, another coding. Whatever the origin mixes up, every
//! answer is of one of them, and says of which.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending};
use crate::common::origin::{Origin, Seen, Step, send};

const MIB: usize = 1 << 20;

/// One of the two: its bytes, and the coding that it says it is in.
struct Video {
    bytes: Vec<u8>,
    coding: Option<&'static str>,
}

impl Video {
    /// Bytes of which each stretch tells where it is from.
    fn new(bytes: usize, seed: u64, coding: Option<&'static str>) -> Self {
        let byte = |at: u64| ((at ^ seed << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
        Self { bytes: (0..bytes as u64).map(byte).collect(), coding }
    }

    /// The answer to a request for it; a range is always given, whatever `If-Range` says, as the tag is always the same.
    fn answer(&self, seen: &Seen, does_ranges: bool) -> Vec<Step> {
        let coding = self.coding.map_or(String::new(), |coding| format!("Content-Encoding: {coding}\r\n"));
        let fields = format!("ETag: \"v1\"\r\nContent-Type: video/mp4\r\nCache-Control: max-age=600\r\n{coding}");
        let range = seen.field("range").filter(|_| does_ranges);
        let (status, content) = match range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
            None => ("200 OK".to_owned(), &self.bytes[..]),
            Some((first, last)) => {
                let (first, length): (usize, usize) = (first.parse().unwrap(), self.bytes.len());
                let last = last.parse().unwrap_or(length).min(length - 1);
                let status = format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{length}");
                (status, &self.bytes[first..=last])
            }
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n", content.len());
        vec![send([head.as_bytes(), content].concat())]
    }
}

async fn get(bulaq: &Bulaq, fields: &str) -> Answer {
    Client::connect(bulaq.http).await.get(HOST, "/video", fields).await
}

/// Whether an answer is of one of the two, as it says; an error or a cut one is no lie.
fn is_honest(answer: &Answer, videos: &[Video; 2]) -> bool {
    if answer.status >= 400 || answer.ending == Ending::Cut {
        return true;
    }
    videos.iter().any(|video| {
        if answer.field("content-encoding").as_deref() != video.coding {
            return false;
        }
        let Some(range) = answer.field("content-range") else { return answer.content == video.bytes };
        let (part, length) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
        let (first, last) = part.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        length == video.bytes.len().to_string() && video.bytes.get(first..=last) == Some(&answer.content[..])
    })
}

/// The origin gives the first video to so many requests and the second one to all others.
async fn play(videos: [Video; 2], first_ones: usize, does_ranges: bool, asked: &[&str]) {
    let videos = Arc::new(videos);
    let (count, told) = (AtomicUsize::new(0), Arc::clone(&videos));
    let origin = Origin::start(move |seen| {
        let which = usize::from(count.fetch_add(1, Ordering::SeqCst) >= first_ones);
        told[which].answer(seen, does_ranges || which == 0)
    })
    .await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    for (index, fields) in asked.iter().enumerate() {
        let answer = get(&bulaq, fields).await;
        let told = (answer.status, answer.ending, answer.content.len(), &answer.fields);
        assert!(is_honest(&answer, &videos), "request {index} ({fields:?}) after {first_ones}: {told:?}");
        bulaq.has_settled().await;
    }
}

/// A player that opens, jumps, jumps back, and then somebody who wants all of it.
const PLAYER: [&str; 6] = [
    "Range: bytes=0-99\r\n",
    "Range: bytes=2097152-2097251\r\n",
    "Range: bytes=50-149\r\n",
    "Range: bytes=1048000-2100000\r\nIf-Range: \"v1\"\r\n",
    "",
    "Range: bytes=3000000-3000010\r\n",
];

#[tokio::test]
async fn parts_of_two_lengths_under_one_strong_tag_are_never_joined() {
    for first_ones in 1..=3 {
        for does_ranges in [true, false] {
            for length in [4 * MIB, 3 * MIB + 7] {
                let videos = [Video::new(3 * MIB, 1, None), Video::new(length, 2, None)];
                play(videos, first_ones, does_ranges, &PLAYER).await;
            }
        }
    }
}

#[tokio::test]
async fn parts_of_two_codings_under_one_strong_tag_are_never_joined() {
    let gzip = PLAYER.map(|fields| format!("{fields}Accept-Encoding: gzip\r\n"));
    let gzip = gzip.each_ref().map(String::as_str);
    for first_ones in 1..=3 {
        for does_ranges in [true, false] {
            let videos = || [Video::new(3 * MIB, 1, None), Video::new(3 * MIB, 2, Some("gzip"))];
            play(videos(), first_ones, does_ranges, &gzip).await;
            let [plain, coded] = videos();
            play([coded, plain], first_ones, does_ranges, &gzip).await;
        }
    }
}
