//! Responses of which some blocks are stored: blocks come in any order, through restarts, until the response is whole.

mod cut;
mod damage;
mod full;
mod gone;

use std::sync::LazyLock;

use super::*;
use crate::store::{BLOCK_BYTES, Incomplete};

const URL: &str = "http://a.kz/film";

/// A film's length: blocks whole and one that is not.
const FILM_BYTES: usize = 5 * MIB + 77;

fn film() -> Bytes {
    static FILM: LazyLock<Bytes> = LazyLock::new(|| body(FILM_BYTES, 9));
    FILM.clone()
}

/// The bytes of a block, as they came: in pieces of odd lengths.
fn chunks(body: &Bytes, block: u64) -> Vec<Bytes> {
    let start = (block * BLOCK_BYTES) as usize;
    let whole = body.slice(start..body.len().min(start + MIB));
    let cuts = [0, 1, 1, 70_001, whole.len()].map(|cut| cut.min(whole.len()));
    cuts.windows(2).map(|ends| whole.slice(ends[0]..ends[1])).collect()
}

async fn begin(store: &Store, url: &str, bytes: usize) -> Arc<Incomplete> {
    store.begin_incomplete(&key(url), head("\"1\""), bytes as u64, store.rules()).await.unwrap()
}

async fn put(incomplete: &Incomplete, body: &Bytes, block: u64) -> Option<Arc<StoredResponse>> {
    incomplete.put(block, &chunks(body, block)).await.unwrap()
}

async fn found(store: &Store, url: &str) -> Vec<Arc<Incomplete>> {
    store.find_incomplete(&key(url), store.rules(), restore).await
}

/// All bytes of a block, as its readers get them; none when it is missing.
async fn read_block(incomplete: &Incomplete, block: u64) -> Option<Bytes> {
    let (mut at, end) = (block * BLOCK_BYTES, incomplete.complete_length().min((block + 1) * BLOCK_BYTES));
    let mut bytes = Vec::new();
    while at < end {
        match incomplete.read_at(at, 300_000).await {
            Ok(part) => {
                assert!(!part.is_empty());
                at += part.len() as u64;
                bytes.extend_from_slice(&part);
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                return None;
            }
        }
    }
    assert_eq!(at, end, "a read goes never past the block");
    Some(bytes.into())
}

fn held(incomplete: &Incomplete) -> Vec<u64> {
    (0..incomplete.blocks()).filter(|&block| incomplete.has_block(block)).collect()
}

fn part_files(at: &Box) -> Vec<PathBuf> {
    files_below(&at.path("parts"))
}

#[tokio::test]
async fn blocks_come_in_any_order_and_then_it_is_whole() {
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]] {
        let at = Box::new();
        let store = at.open_ready();
        assert!(found(&store, URL).await.is_empty());
        let incomplete = begin(&store, URL, FILM_BYTES).await;
        assert_eq!(
            (incomplete.blocks(), incomplete.held_bytes(), incomplete.complete_length()),
            (6, 0, FILM_BYTES as u64)
        );
        let mut stored = None;
        for (count, block) in order.into_iter().enumerate() {
            assert!(stored.is_none() && find(&store, URL).await.is_empty(), "not whole");
            assert!(!incomplete.has_block(block));
            assert_eq!(read_block(&incomplete, block).await, None);
            stored = put(&incomplete, &film(), block).await;
            assert_eq!(held(&incomplete).len(), count + 1);
            assert!(read_block(&incomplete, block).await == Some(chunks(&film(), block).concat().into()));
            assert!(put(&incomplete, &film(), block).await.is_none(), "a second time it changes nothing");
        }
        let stored = stored.expect("the last block makes it whole");
        assert_eq!(incomplete.held_bytes(), FILM_BYTES as u64);
        assert_eq!((stored.body_bytes(), stored.body.digest), (FILM_BYTES as u64, *blake3::hash(&film()).as_bytes()));
        assert!(served(&store, URL).await == Some(film()));
        assert!(found(&store, URL).await.is_empty() && part_files(&at).is_empty());
        assert!(read_block(&incomplete, 3).await.is_some(), "who has it open goes on");
        let usage = store.usage();
        assert_eq!((usage.responses, usage.incomplete, usage.incomplete_bytes), (1, 0, 0));
        assert_eq!(usage.bytes, at.body_files()[0].metadata().unwrap().len().next_multiple_of(4096));
        // The same file as one that came in one go, but for its name and the room in its head.
        let whole = fill(&store, "http://a.kz/other", &film()).await;
        assert_eq!(whole.body.digest, stored.body.digest);
        drop((incomplete, stored, whole));
        store.close().await;
        let store = at.open_ready();
        assert!(served(&store, URL).await == Some(film()));
        assert_eq!(store.verify(|_, _| {}).await.damaged, []);
    }
}

#[tokio::test]
async fn short_bodies_and_those_that_end_with_a_block_become_whole_too() {
    for bytes in [1, 3_000, 64 << 10, (64 << 10) + 1, MIB - 1, MIB, MIB + 1, 2 * MIB] {
        let at = Box::new();
        let store = at.open_ready();
        let incomplete = begin(&store, URL, bytes).await;
        let mut stored = None;
        for block in (0..incomplete.blocks()).rev() {
            stored = put(&incomplete, &body(bytes, 4), block).await;
            assert_eq!(stored.is_some(), block == 0, "{bytes}");
        }
        let small = stored.expect("it is whole").small_body();
        assert_eq!(small, (bytes <= 64 << 10).then(|| body(bytes, 4)), "{bytes}");
        for _ in 0..2 {
            assert!(served(&store, URL).await == Some(body(bytes, 4)), "{bytes}");
            store.forget_memory();
        }
        assert!(read_block(&incomplete, 0).await == Some(body(bytes, 4).slice(..bytes.min(MIB))), "{bytes}");
        drop(incomplete);
        store.close().await;
        let store = at.open_ready();
        assert!(served(&store, URL).await == Some(body(bytes, 4)), "{bytes}");
        assert_eq!((part_files(&at).len(), store.verify(|_, _| {}).await.damaged.len()), (0, 0), "{bytes}");
    }
}

#[tokio::test]
async fn a_block_has_its_length_and_its_place() {
    let at = Box::new();
    let store = at.open_ready();
    let incomplete = begin(&store, URL, FILM_BYTES).await;
    for (block, bytes) in [(0, MIB - 1), (0, MIB + 1), (0, 0), (5, MIB), (5, 76), (6, 1), (6, 0), (u64::MAX, MIB)] {
        let refused = incomplete.put(block, &[body(bytes, 1)]).await;
        assert!(matches!(refused, Err(StoreRefusal::LengthMismatch { .. })), "{block} {bytes}");
        assert_eq!(held(&incomplete), [0; 0]);
    }
    for block in [6, 1 << 40, u64::MAX] {
        assert!(!incomplete.has_block(block));
    }
    assert_eq!(
        incomplete.read_at(FILM_BYTES as u64, 5).await.unwrap(),
        Bytes::new(),
        "beyond the end there is nothing"
    );
    put(&incomplete, &film(), 5).await;
    assert_eq!((held(&incomplete), incomplete.held_bytes()), (vec![5], 77));
    assert_eq!(incomplete.read_at(5 * BLOCK_BYTES + 70, 500).await.unwrap(), film().slice(FILM_BYTES - 7..));
}

#[tokio::test]
async fn what_is_held_warm_is_read_without_a_thread() {
    let at = Box::new();
    let store = at.open_ready();
    let incomplete = begin(&store, URL, FILM_BYTES).await;
    put(&incomplete, &film(), 2).await;
    let part = incomplete.read_now(2 * BLOCK_BYTES + 5, 100).expect("it was written a moment ago").unwrap();
    assert_eq!(part, film().slice(2 * MIB + 5..2 * MIB + 105));
    let missing = incomplete.read_now(0, 100).expect("that it is missing is known").unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn all_who_ask_share_one_and_a_new_one_replaces_it() {
    let at = Box::new();
    let store = at.open_ready();
    let first = begin(&store, URL, FILM_BYTES).await;
    put(&first, &film(), 1).await;
    let again = found(&store, URL).await.pop().expect("it was begun");
    assert!(again.is_same(&first) && held(&again) == [1]);
    put(&again, &film(), 2).await;
    assert_eq!(held(&first), [1, 2]);

    let second = store.begin_incomplete(&key(URL), head("\"2\""), 3 * BLOCK_BYTES, store.rules()).await.unwrap();
    assert!(first.is_gone() && again.is_gone() && !second.is_gone() && !second.is_same(&first));
    assert!(matches!(first.put(0, &chunks(&film(), 0)).await, Err(StoreRefusal::Invalidated)));
    assert!(read_block(&first, 1).await == Some(film().slice(MIB..2 * MIB)), "what was open goes on");
    let found = found(&store, URL).await;
    assert_eq!((found.len(), found[0].complete_length(), held(&found[0])), (1, 3 * BLOCK_BYTES, vec![]));
    assert_eq!((part_files(&at).len(), store.usage().incomplete), (1, 1));
}

#[tokio::test]
async fn variants_are_kept_apart_newest_first_and_within_a_limit() {
    let at = Box::with(|options| options.variants_max = 2);
    let store = at.open_ready();
    let of = |language: &str, second: u64| {
        let mut parts = parts(&[("vary", "accept-language"), ("etag", &format!("\"{language}\""))], Some(language));
        parts.response_time = start() + Duration::from_secs(second);
        restore(parts)
    };
    for (second, language) in ["kk", "ru", "en"].into_iter().enumerate() {
        at.clock.advance(Duration::from_secs(1));
        let incomplete = store
            .begin_incomplete(&key(URL), of(language, second as u64), FILM_BYTES as u64, store.rules())
            .await
            .unwrap();
        put(&incomplete, &body(FILM_BYTES, second as u8), second as u64).await;
    }
    let check = async |store: &Store| {
        let found = found(store, URL).await;
        let etags: Vec<_> = found.iter().map(|one| etag(one)).collect();
        assert_eq!(etags, ["\"en\"", "\"ru\""]);
        assert_eq!((held(&found[0]), held(&found[1])), (vec![2], vec![1]));
    };
    check(&store).await;
    store.close().await;
    check(&at.open()).await;
}

#[tokio::test]
async fn a_new_head_keeps_the_blocks_and_who_works_under_the_old_one_goes_on() {
    let at = Box::new();
    let store = at.open_ready();
    let old = begin(&store, URL, FILM_BYTES).await;
    put(&old, &film(), 0).await;
    let mut fresh = Arc::clone(&old);
    for number in 2..7 {
        fresh = store.freshen_incomplete(&fresh, head(&format!("\"{number}\"")), store.rules()).await;
    }
    assert!(fresh.is_same(&old) && etag(&fresh) == "\"6\"" && etag(&old) == "\"1\"");
    put(&old, &film(), 1).await;
    assert_eq!(held(&fresh), [0, 1]);
    assert_eq!(etag(&found(&store, URL).await[0]), "\"6\"");
    // One that is longer than its place is used, and not kept.
    let long = store.freshen_incomplete(&fresh, head(&format!("\"{}\"", "x".repeat(5_000))), store.rules()).await;
    assert_eq!(etag(&long).len(), 5_002);
    assert_eq!(etag(&found(&store, URL).await[0]), "\"6\"");
    drop((old, fresh, long));
    store.close().await;

    let store = at.open_ready();
    let incomplete = found(&store, URL).await.pop().unwrap();
    assert_eq!((etag(&incomplete), held(&incomplete)), ("\"6\"", vec![0, 1]));
    let older = Arc::clone(&incomplete);
    let fresh = store.freshen_incomplete(&incomplete, head("\"7\""), store.rules()).await;
    for block in 2..6 {
        put(&older, &film(), block).await;
    }
    assert_eq!(etag_of(&find(&store, URL).await[0]), "\"7\"", "it becomes whole under its newest head");
    store.freshen_incomplete(&fresh, head("\"8\""), store.rules()).await;
    store.forget_memory();
    assert_eq!(etag_of(&find(&store, URL).await[0]), "\"7\"", "and what it has become is freshened as such");
    assert!(served(&store, URL).await == Some(film()));
}

#[tokio::test]
async fn heads_follow_the_rules_of_now() {
    let at = Box::new();
    let store = at.open_ready();
    let incomplete = begin(&store, URL, FILM_BYTES).await;
    put(&incomplete, &film(), 0).await;
    let stale = |mut parts: StoredHeadParts| {
        parts.is_marked_stale = true;
        restore(parts)
    };
    let found = store.find_incomplete(&key(URL), store.rules(), stale).await;
    assert!(!found[0].head().parts().is_marked_stale, "the rules are those under which it was begun");
    store.forget_memory();
    let found = store.find_incomplete(&key(URL), store.rules(), stale).await;
    assert!(found[0].head().parts().is_marked_stale && found[0].is_same(&incomplete) && held(&found[0]) == [0]);
    // What is made under the old rules by one who asked before is taken for no more than that.
    let (old, late) = (incomplete.rules(), head("\"1\""));
    assert!(old != store.rules());
    store.freshen_incomplete(&incomplete, late, old).await;
    let found = store.find_incomplete(&key(URL), store.rules(), stale).await;
    assert!(found[0].head().parts().is_marked_stale);
}

/// Two who bring one block, in different words even: one of them wins, and nobody reads a mixture.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_put_the_same_blocks_at_once() {
    let at = Box::new();
    let store = at.open_ready();
    for round in 0..10 {
        let url = format!("http://a.kz/{round}");
        let incomplete = begin(&store, &url, 3 * MIB).await;
        let bodies = [body(3 * MIB, 1), body(3 * MIB, 2)];
        let tasks: Vec<_> = (0..12)
            .map(|task| {
                let (incomplete, body) = (Arc::clone(&incomplete), bodies[task % 2].clone());
                tokio::spawn(async move {
                    let mut whole = 0;
                    for block in 0..3 {
                        let block = (block + task as u64) % 3;
                        whole += usize::from(put(&incomplete, &body, block).await.is_some());
                        assert!(read_block(&incomplete, block).await.is_some());
                    }
                    whole
                })
            })
            .collect();
        let mut whole = 0;
        for task in tasks {
            whole += task.await.unwrap();
        }
        assert_eq!(whole, 1, "one of them is told that it is whole");
        let got = served(&store, &url).await.unwrap();
        for (at, block) in got.chunks(MIB).enumerate() {
            assert!(bodies.iter().any(|body| block == &body[at * MIB..(at + 1) * MIB]), "a mixture");
        }
    }
    let verified = store.verify(|_, _| {}).await;
    assert_eq!((verified.damaged.len(), verified.blocks_lost, part_files(&at).len()), (0, 0, 0));
}

#[tokio::test]
async fn usage_listing_and_verification_know_what_is_stored_in_part() {
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://b.kz/", &body(5_000, 1)).await;
    for (url, blocks) in [("http://a.kz/1", 1), ("http://a.kz/2", 2), ("http://c.kz/3", 3)] {
        let incomplete = begin(&store, url, FILM_BYTES).await;
        for block in 0..blocks {
            put(&incomplete, &film(), block).await;
        }
    }
    let mut store = Some(store);
    for restarts in [false, true] {
        if restarts {
            store.take().unwrap().close().await;
            store = Some(at.open_ready());
        }
        let store = store.as_ref().unwrap();
        let usage = store.usage();
        assert_eq!((usage.responses, usage.incomplete), (1, 3));
        assert!((6 * BLOCK_BYTES..7 * BLOCK_BYTES).contains(&usage.incomplete_bytes), "{}", usage.incomplete_bytes);
        assert_eq!(
            usage.bytes,
            usage.incomplete_bytes + at.body_files()[0].metadata().unwrap().len().next_multiple_of(4096)
        );
        for (host, expected) in [(None, 4), (Some("a.kz"), 2), (Some("b.kz"), 1), (Some("d.kz"), 0)] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = store.list(host, after, 2).await;
                listed.extend(page.listed);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(listed.len(), expected, "{host:?}");
            for one in listed {
                let is_whole = one.url == "http://b.kz/";
                assert_eq!((one.is_complete(), one.held_bytes < one.body_bytes), (is_whole, !is_whole));
                assert_eq!(store.peek(&one, u64::MAX).await.is_some(), is_whole);
                assert_eq!(one.content_type.as_deref(), Some("text/html"));
            }
        }
        let verified = store.verify(|_, _| {}).await;
        assert_eq!((verified.files, verified.bytes), (4, 5_000 + 6 * BLOCK_BYTES));
        assert_eq!((verified.damaged.len(), verified.blocks_lost, verified.unread), (0, 0, 0));
    }
}

fn etag(incomplete: &Incomplete) -> &str {
    incomplete.head().headers()[ETAG].to_str().unwrap()
}
