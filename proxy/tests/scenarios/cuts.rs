//! Bodies in parts when things go wrong: cuts, changes, strange origins; and many at once.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bulaq::store::{Faults, Operation, PurgeMode, Scope};
use futures_util::future::join_all;

use super::{Cinema, FRESH, MIB, asked, get, is_part, range};
use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Client, Ending};
use crate::common::origin::{Gate, Origin, Seen, Step, send};

/// A cinema of which the answer number `nth` is altered.
async fn open_altered(
    cinema: &Arc<Cinema>,
    alter: impl Fn(usize, &Seen, String, Vec<u8>) -> Vec<Step> + Send + Sync + 'static,
) -> (Origin, Bulaq) {
    let (cinema, count) = (Arc::clone(cinema), AtomicUsize::new(0));
    let origin = Origin::start(move |seen| {
        let (head, content) = cinema.answer(seen);
        alter(count.fetch_add(1, Ordering::SeqCst), seen, head, content)
    })
    .await;
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    (origin, bulaq)
}

fn whole(head: String, content: &[u8]) -> Vec<Step> {
    vec![send([head.as_bytes(), content].concat())]
}

/// The first block and a little of the next; then the end without a word. Not half of the next: from there on a reader
/// asks for the one behind it, and which of the two requests comes first is chance.
fn broken_off(head: String, content: &[u8]) -> Vec<Step> {
    vec![send([head.as_bytes(), &content[..MIB + MIB / 4]].concat()), Step::Cut]
}

#[tokio::test]
async fn what_the_origin_breaks_off_is_continued_within_the_same_answer() {
    let cinema = Cinema::new(3 * MIB + 5, FRESH);
    let (origin, bulaq) = open_altered(&cinema, |nth, _, head, content| match nth {
        0 => broken_off(head, &content),
        _ => whole(head, &content),
    })
    .await;
    let answer = get(&bulaq, "").await;
    assert_eq!((answer.status, answer.ending), (200, Ending::Whole));
    assert!(answer.content == *cinema.video);
    bulaq.has_settled().await;
    // Which of them is first depends on how far the reader was when the origin broke off.
    let mut missing = asked(&origin);
    missing.sort();
    let expected = ["-", "bytes=1048576-2097151", "bytes=2097152-3145727", "bytes=3145728-3145732"];
    assert_eq!(missing, expected);
    assert!(get(&bulaq, "").await.content == *cinema.video);
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test]
async fn an_origin_that_does_no_ranges_is_continued_all_the_same() {
    let cinema = Cinema::new(3 * MIB + 5, FRESH);
    let video = Arc::clone(&cinema.video);
    let (origin, bulaq) = open_altered(&cinema, move |nth, _, _, _| {
        let head = format!("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\n{FRESH}Content-Length: {}\r\n\r\n", video.len());
        if nth == 0 { broken_off(head, &video) } else { whole(head, &video) }
    })
    .await;
    let answer = get(&bulaq, "").await;
    assert!(answer.ending == Ending::Whole && answer.content == *cinema.video);
    bulaq.has_settled().await;
    let asked_for = asked(&origin);
    assert!(asked_for.len() <= 3, "{asked_for:?}");
    assert!(is_part(&range(&bulaq, "5-9").await, &cinema.video, 5, 9));
    assert_eq!(asked(&origin), asked_for, "and then it is stored");
}

#[tokio::test]
async fn an_origin_that_breaks_off_again_and_again_is_given_up() {
    let cinema = Cinema::new(3 * MIB + 5, FRESH);
    let (origin, bulaq) = open_altered(&cinema, |nth, _, head, content| match nth {
        0 => broken_off(head, &content),
        _ => vec![send([head.as_bytes(), &content[..10]].concat()), Step::Cut],
    })
    .await;
    assert_eq!(get(&bulaq, "").await.ending, Ending::Cut);
    bulaq.has_settled().await;
    assert!(origin.seen().len() <= 5, "{:?}", asked(&origin));
}

#[tokio::test]
async fn an_origin_that_sends_one_byte_at_a_time_is_given_up() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    let video = Arc::clone(&cinema.video);
    let (origin, bulaq) = open_altered(&cinema, move |_, seen, _, _| {
        let range = seen.field("range").unwrap();
        let first: usize = range["bytes=".len()..range.find('-').unwrap()].parse().unwrap();
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\n{FRESH}Content-Length: 1\r\n\
             Content-Range: bytes {first}-{first}/{}\r\n\r\n",
            video.len()
        );
        whole(head, &video[first..=first])
    })
    .await;
    assert_eq!(range(&bulaq, "0-99").await.ending, Ending::Cut);
    bulaq.has_settled().await;
    // The first part, and the tries at the block that did not come.
    assert!(origin.seen().len() <= 4, "{:?}", asked(&origin));
}

#[tokio::test]
async fn who_is_in_the_middle_of_a_changed_video_is_cut_off() {
    let cinema = Cinema::new(3 * MIB + 5, FRESH);
    let changing = Arc::clone(&cinema);
    let (_origin, bulaq) = open_altered(&cinema, move |nth, _, head, content| {
        changing.change("\"v2\"");
        if nth == 0 { broken_off(head, &content) } else { whole(head, &content) }
    })
    .await;
    let cut = get(&bulaq, "").await;
    assert_eq!((cut.field("etag").as_deref(), cut.ending), (Some("\"v1\""), Ending::Cut));
    let whole = get(&bulaq, "").await;
    assert_eq!((whole.field("etag").as_deref(), whole.ending), (Some("\"v2\""), Ending::Whole));
}

/// What differs under the same strong entity tag is noticed and never joined; the client gets one of the two, whole.
#[tokio::test]
async fn parts_that_contradict_each_other_are_never_joined() {
    let length = format!("/{}", 3 * MIB);
    for (what, from, to) in [
        ("another length", length.as_str(), "/3145729"),
        ("a coding", "Content-Type", "Content-Encoding: gzip\r\nContent-Type"),
        ("another type", "video/mp4", "text/html"),
        ("a weak tag", "\"v1\"", "W/\"v1\""),
        ("no tag", "ETag: \"v1\"", "X-Tag: none"),
        ("another range", "bytes 2097152-", "bytes 2097151-"),
    ] {
        let cinema = Cinema::new(3 * MIB, FRESH);
        let (from, to) = (from.to_owned(), to.to_owned());
        let (origin, bulaq) = open_altered(&cinema, move |_, seen, head, content| {
            // Only what is to be joined is strange.
            let head = if seen.field("if-range").is_some() { head.replace(&from, &to) } else { head };
            whole(head, &content)
        })
        .await;
        range(&bulaq, "0-1").await;
        bulaq.has_settled().await;
        let answer = range(&bulaq, "2500000-2500009").await;
        assert!(is_part(&answer, &cinema.video, 2_500_000, 2_500_009), "{what}: {} {:?}", answer.status, answer.fields);
        bulaq.has_settled().await;
        let before = origin.seen().len();
        assert!(is_part(&range(&bulaq, "0-1").await, &cinema.video, 0, 1), "{what}");
        assert!(origin.seen().len() > before, "{what}: the old parts are gone");
    }
}

#[tokio::test]
async fn an_error_for_a_further_part_is_told_in_the_origins_words() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    let (_origin, bulaq) = open_altered(&cinema, |nth, _, head, content| match nth {
        0 => whole(head, &content),
        _ => vec![send("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!")],
    })
    .await;
    range(&bulaq, "0-1").await;
    bulaq.has_settled().await;
    let told = range(&bulaq, "2000000-2000001").await;
    assert_eq!((told.status, told.text()), (403, "no!".to_owned()));
    assert!(is_part(&range(&bulaq, "0-1").await, &cinema.video, 0, 1), "what is there is still good");
}

#[tokio::test]
async fn a_class_that_opens_one_cold_video_costs_one_video() {
    let cinema = Cinema::new(5 * MIB + 5, FRESH);
    let (origin, bulaq) = cinema.open().await;
    let class = join_all((0..30).map(|pupil| {
        let (bulaq, cinema) = (&bulaq, &cinema);
        async move {
            // Some begin at once, some in the middle; some ask for all of it.
            match pupil % 3 {
                0 => get(bulaq, "").await.content == *cinema.video,
                1 => is_part(&range(bulaq, "0-").await, &cinema.video, 0, 5 * MIB + 4),
                _ => is_part(&range(bulaq, "3000000-").await, &cinema.video, 3_000_000, 5 * MIB + 4),
            }
        }
    }));
    assert!(class.await.into_iter().all(|is_right| is_right));
    bulaq.has_settled().await;
    assert!(cinema.sent() * 100 <= cinema.video.len() * 105, "{} bytes in {:?}", cinema.sent(), asked(&origin));
}

#[tokio::test]
async fn a_player_that_jumps_and_leaves_costs_little_more_than_it_was_given() {
    let cinema = Cinema::new(40 * MIB, FRESH);
    let (origin, bulaq) = cinema.open().await;
    let mut jumps = 0;
    // Opens, jumps to the middle, jumps back into what it has, and plays on.
    for (first, bytes) in [(0, 6 * MIB), (20 * MIB + 7, 6 * MIB), (2 * MIB, 7 * MIB)] {
        let last = first + bytes - 1;
        assert!(is_part(&range(&bulaq, &format!("{first}-{last}")).await, &cinema.video, first, last));
        bulaq.has_settled().await;
        jumps += 1;
    }
    let distinct = 9 * MIB + 6 * MIB;
    assert!(cinema.sent() <= distinct + jumps * MIB, "{} bytes in {:?}", cinema.sent(), asked(&origin));
    // One that asks for everything and leaves has not caused everything to come.
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("GET /video HTTP/1.1\r\nHost: {HOST}\r\nRange: bytes=0-\r\n\r\n")).await;
    client.head_only().await;
    drop(client);
    bulaq.has_settled().await;
    assert!(cinema.sent() < 40 * MIB, "{} bytes in {:?}", cinema.sent(), asked(&origin));
}

#[tokio::test]
async fn what_was_stored_in_part_outlives_a_restart() {
    let cinema = Cinema::new(3 * MIB + 5, FRESH);
    let (origin, bulaq) = cinema.open().await;
    range(&bulaq, "0-1").await;
    range(&bulaq, "2097152-2097153").await;
    let folder = bulaq.stop().await;
    let bulaq = Bulaq::start_in(folder, allowlist(&[HOST], ""), &[HOST], origin.address, |_| {});
    assert!(get(&bulaq, "").await.content == *cinema.video);
    bulaq.has_settled().await;
    let expected = ["bytes=0-1048575", "bytes=2097152-3145727", "bytes=1048576-2097151", "bytes=3145728-3145732"];
    assert_eq!(asked(&origin), expected);
}

#[tokio::test]
async fn a_purge_while_it_arrives_lets_readers_finish_and_keeps_nothing() {
    let (cinema, gate) = (Cinema::new(3 * MIB + 5, FRESH), Gate::default());
    let held = gate.clone();
    let (origin, bulaq) = open_altered(&cinema, move |nth, _, head, content| {
        let (first, second) = content.split_at(content.len() / 2);
        match nth {
            0 => vec![send([head.as_bytes(), first].concat()), Step::Wait(held.clone()), send(second)],
            _ => whole(head, &content),
        }
    })
    .await;
    let mut client = Client::connect(bulaq.http).await;
    client.send(format!("GET /video HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let head = client.head_only().await;
    client.has_some_content().await;
    let purged = bulaq.rooms.context.store.purge(Scope::Host(HOST.to_owned()), PurgeMode::Hard).await;
    gate.open();
    let answer = client.finish(head).await;
    assert!(answer.ending == Ending::Whole && answer.content == *cinema.video, "{purged:?}");
    bulaq.has_settled().await;
    let before = origin.seen().len();
    assert!(is_part(&range(&bulaq, "0-1").await, &cinema.video, 0, 1));
    assert_eq!(origin.seen().len(), before + 1, "nothing of it is left");
}

#[tokio::test]
async fn a_disk_that_fails_in_the_middle_stops_no_reader() {
    let cinema = Cinema::new(4 * MIB + 5, FRESH);
    for skip in [0, 1, 3, 6] {
        let faults = Arc::new(Faults::default());
        let serving = Arc::clone(&cinema);
        let origin = Origin::start(move |seen| serving.steps(seen)).await;
        let given = Arc::clone(&faults);
        let alter = move |options: &mut bulaq::serve::RoomOptions| options.store.faults = Some(given);
        let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, alter).await;
        faults.fail(Operation::Write, skip, u32::MAX, ErrorKind::StorageFull);
        let class = join_all((0..5).map(|_| get(&bulaq, ""))).await;
        for answer in class {
            assert!(answer.ending == Ending::Whole && answer.content == *cinema.video, "{skip}");
        }
        assert!(is_part(&range(&bulaq, "3000000-3000009").await, &cinema.video, 3_000_000, 3_000_009), "{skip}");
        bulaq.has_settled().await;
    }
}

#[tokio::test]
async fn a_further_part_of_a_guests_video_is_asked_for_without_a_pupils_cookie() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    let (origin, bulaq) = cinema.open().await;
    range(&bulaq, "0-1").await;
    let with = |name| format!("Range: bytes=0-3000000\r\nCookie: name={name}\r\n");
    for name in ["aigul", "dias"] {
        assert!(is_part(&get(&bulaq, &with(name)).await, &cinema.video, 0, 3_000_000));
    }
    bulaq.has_settled().await;
    assert!(origin.seen().iter().all(|seen| seen.field("cookie").is_none()), "{:?}", asked(&origin));
    assert_eq!(cinema.sent(), 3 * MIB);
}

#[tokio::test]
async fn a_part_that_may_not_be_stored_says_nothing_about_the_whole() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    cinema.change("W/\"v1\"");
    let (origin, bulaq) = cinema.open().await;
    assert!(is_part(&range(&bulaq, "0-1").await, &cinema.video, 0, 1));
    bulaq.has_settled().await;
    for answer in join_all((0..5).map(|_| get(&bulaq, ""))).await {
        assert!(answer.ending == Ending::Whole && answer.content == *cinema.video);
    }
    assert_eq!(asked(&origin), ["bytes=0-1048575", "-"]);
}

/// Machines behind one name that do not agree on the tag: nothing can be joined, and the film can be watched all the same.
#[tokio::test]
async fn a_film_whose_parts_do_not_belong_together_is_passed_on() {
    let cinema = Cinema::new(3 * MIB, FRESH);
    let changing = Arc::clone(&cinema);
    let (origin, bulaq) = open_altered(&cinema, move |nth, _, head, content| {
        changing.change(&format!("\"v{nth}\""));
        whole(head, &content)
    })
    .await;
    for _ in 0..2 {
        assert_eq!(range(&bulaq, "0-").await.ending, Ending::Cut);
        bulaq.has_settled().await;
    }
    assert!(is_part(&range(&bulaq, "0-").await, &cinema.video, 0, 3 * MIB - 1));
    assert_eq!(asked(&origin).last().map(String::as_str), Some("bytes=0-"));
}

#[tokio::test]
async fn an_older_whole_video_stands_in_for_the_missing_part_of_a_newer_one() {
    let cinema = Cinema::new(3 * MIB, "Cache-Control: max-age=60\r\n");
    let changing = Arc::clone(&cinema);
    let (_origin, bulaq) = open_altered(&cinema, move |nth, _, head, content| {
        changing.change("\"v2\"");
        match nth {
            0 => whole(head, &content),
            1 => broken_off(head, &content),
            _ => vec![Step::Cut],
        }
    })
    .await;
    assert_eq!(get(&bulaq, "").await.ending, Ending::Whole);
    bulaq.has_settled().await;
    bulaq.clock.advance(Duration::from_secs(100));
    assert_eq!(get(&bulaq, "").await.ending, Ending::Cut);
    bulaq.has_settled().await;
    let older = range(&bulaq, "2500000-2500009").await;
    assert!(is_part(&older, &cinema.video, 2_500_000, 2_500_009), "{} {:?}", older.status, older.fields);
    assert_eq!(older.field("etag").as_deref(), Some("\"v1\""));
}
