//! The cap, the floor and a full disk, as they meet what is stored in part.

use std::io::ErrorKind;
use std::sync::LazyLock;

use super::*;
use crate::store::Operation;

const BYTES: usize = 3 * MIB + 5;

fn short_film() -> Bytes {
    static FILM: LazyLock<Bytes> = LazyLock::new(|| body(BYTES, 5));
    FILM.clone()
}

fn film_url(number: usize) -> String {
    format!("http://a.kz/film/{number}")
}

/// Whatever the disk refuses once, and when: nothing wrong is kept, and after that the film becomes whole.
#[tokio::test]
async fn a_disk_that_refuses_anything_once_loses_one_block_at_most() {
    use Operation::{Create, Open, Publish, Read, Rename, Sync, Unlink, Write};
    let mut refused = 0;
    for operation in [Create, Write, Sync, Publish, Open, Read, Unlink, Rename] {
        for (skip, kind) in (0..14).flat_map(|skip| [(skip, ErrorKind::StorageFull), (skip, ErrorKind::Other)]) {
            let at = Box::new();
            let store = at.open_ready();
            at.faults.fail(operation, skip, 1, kind);
            let context = format!("{operation:?} after {skip}, {kind:?}");
            refused += work(&store).await;
            at.faults.heal();
            let incomplete = match found(&store, URL).await.pop() {
                Some(incomplete) => incomplete,
                None if served(&store, URL).await.is_some() => continue,
                None => begin(&store, URL, BYTES).await,
            };
            for block in 0..4 {
                put(&incomplete, &short_film(), block).await;
                assert!(read_block(&incomplete, block).await.is_some(), "{context}");
            }
            drop(found(&store, URL).await); // one whose publication failed is tried again
            assert!(served(&store, URL).await == Some(short_film()), "{context}");
            assert_eq!(store.verify(|_, _| {}).await.damaged, [], "{context}");
            let on_disk: u64 =
                at.body_files().iter().map(|path| path.metadata().unwrap().len().next_multiple_of(4096)).sum();
            assert_eq!((store.usage().bytes, store.usage().incomplete), (on_disk, 0), "{context}");
        }
    }
    assert!(refused >= 20, "{refused}");
}

async fn work(store: &Store) -> usize {
    let Ok(mut incomplete) = store.begin_incomplete(&key(URL), head("\"1\""), BYTES as u64, store.rules()).await else {
        return 1;
    };
    let mut refused = 0;
    for block in [1, 0, 3, 2] {
        refused += usize::from(incomplete.put(block, &chunks(&short_film(), block)).await.is_err());
        incomplete = store.freshen_incomplete(&incomplete, head("\"2\""), store.rules()).await;
        let got = incomplete.read_at(block * BLOCK_BYTES, 5).await;
        assert!(got.is_err() || got.unwrap() == short_film().slice(block as usize * MIB..block as usize * MIB + 5));
    }
    refused
}

#[tokio::test]
async fn a_block_that_is_written_half_is_missing() {
    for bytes in [0, 1, 70_000, MIB - 1] {
        let at = Box::new();
        let store = at.open_ready();
        let incomplete = begin(&store, URL, BYTES).await;
        put(&incomplete, &short_film(), 0).await;
        at.faults.cut_write(bytes);
        let refused = incomplete.put(1, &chunks(&short_film(), 1)).await;
        assert!(matches!(refused, Err(StoreRefusal::DiskFull)), "{bytes}: {refused:?}");
        assert_eq!((held(&incomplete), incomplete.is_gone()), (vec![0], false));
        drop(incomplete);
        store.close().await;
        let store = at.open_ready();
        let incomplete = found(&store, URL).await.pop().unwrap();
        assert_eq!(held(&incomplete), [0]);
        assert!(read_block(&incomplete, 0).await == Some(short_film().slice(..MIB)), "{bytes}");
    }
}

#[tokio::test]
async fn what_is_stored_in_part_counts_and_idle_parts_go_for_room() {
    let at = Box::with(|options| options.bytes_max = 24 << 20);
    let store = at.open_ready();
    let playing = begin(&store, "http://a.kz/playing", BYTES).await;
    put(&playing, &short_film(), 1).await;
    for number in 0..30 {
        at.clock.advance(Duration::from_secs(600));
        let incomplete = begin(&store, &film_url(number), BYTES).await;
        for block in [3, 0] {
            put(&incomplete, &short_film(), block).await;
        }
        let usage = store.usage();
        assert!(usage.bytes <= usage.bytes_max, "{number}: {}", usage.bytes);
        let on_disk: u64 = part_files(&at).iter().map(|path| allocated(path)).sum();
        assert_eq!(usage.bytes, on_disk, "{number}");
    }
    assert!(store.usage().incomplete < 25, "the idle ones went: {}", store.usage().incomplete);
    assert!(!playing.is_gone() && held(&playing) == [1], "one that is used stays, though it is the oldest");
    // Complete ones push them out too.
    for number in 0..20 {
        at.clock.advance(Duration::from_secs(600));
        fill(&store, &format!("http://a.kz/{number}"), &body(MIB, 1)).await;
    }
    assert!(store.usage().incomplete < 8, "{}", store.usage().incomplete);
    assert!(!playing.is_gone());
    drop(playing);
    for number in 20..60 {
        at.clock.advance(Duration::from_secs(600));
        fill(&store, &format!("http://a.kz/{number}"), &body(MIB, 1)).await;
    }
    assert!(found(&store, "http://a.kz/playing").await.is_empty(), "its time is over");
}

fn allocated(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.metadata().unwrap().blocks() * 512
}

#[tokio::test]
async fn a_store_that_is_full_refuses_a_block_and_what_is_open_goes_on() {
    let at = Box::with(|options| options.bytes_max = 3 << 20);
    let store = at.open_ready();
    let refused = store.begin_incomplete(&key(URL), head("\"1\""), 4 * BLOCK_BYTES, store.rules()).await.map(drop);
    assert!(matches!(refused, Err(StoreRefusal::TooLarge { .. })), "{refused:?}");
    let first = begin(&store, URL, 2 * MIB + 500_000).await;
    let second = begin(&store, &film_url(2), 2 * MIB + 500_000).await;
    put(&first, &film(), 0).await;
    put(&second, &film(), 0).await;
    let refused = second.put(1, &chunks(&film(), 1)).await.map(drop);
    assert!(matches!(refused, Err(StoreRefusal::NoRoom)), "{refused:?}");
    assert!(!second.is_gone() && held(&second) == [0] && read_block(&second, 0).await.is_some());
    assert!(store.usage().bytes <= store.usage().bytes_max);
    drop(first);
    at.clock.advance(Duration::from_secs(60));
    put(&second, &film(), 1).await;
    assert_eq!((held(&second), store.usage().incomplete), (vec![0, 1], 1), "the idle one made room");
}

#[tokio::test]
async fn the_floor_of_free_disk_holds_for_parts() {
    let at = Box::with(|options| options.free_bytes_min = 1 << 30);
    let store = at.open_ready();
    let incomplete = begin(&store, URL, BYTES).await;
    put(&incomplete, &short_film(), 0).await;
    at.faults.set_free_bytes((1 << 30) + 1_000);
    assert!(matches!(incomplete.put(1, &chunks(&short_film(), 1)).await, Err(StoreRefusal::NoRoom)));
    let refused =
        store.begin_incomplete(&key(&film_url(1)), head("\"1\""), BYTES as u64, store.rules()).await.map(drop);
    assert!(matches!(refused, Err(StoreRefusal::NoRoom)), "{refused:?}");
    at.faults.heal();
    at.clock.advance(Duration::from_secs(60));
    for block in 1..4 {
        put(&incomplete, &short_film(), block).await;
    }
    assert!(served(&store, URL).await == Some(short_film()));
}

#[tokio::test]
async fn there_are_so_many_and_no_more() {
    const MOST: usize = 1024;
    let at = Box::new();
    let store = at.open_ready();
    for number in 0..MOST + 10 {
        at.clock.advance(Duration::from_secs(1));
        drop(begin(&store, &film_url(number), BYTES).await);
        if number > 5 {
            drop(found(&store, &film_url(3)).await);
        }
    }
    assert_eq!((store.usage().incomplete, part_files(&at).len()), (MOST as u64, MOST));
    for (number, is_there) in [(0, false), (2, false), (3, true), (11, true), (MOST + 9, true)] {
        assert_eq!(found(&store, &film_url(number)).await.len(), usize::from(is_there), "{number}");
    }
}

#[tokio::test]
async fn nothing_is_begun_that_cannot_end() {
    let at = Box::with(|options| options.body_bytes_max = 10 << 20);
    let store = at.open_ready();
    let begin = async |head, length| store.begin_incomplete(&key(URL), head, length, store.rules()).await.map(drop);
    assert!(matches!(begin(head("\"1\""), (10 << 20) + 1).await, Err(StoreRefusal::TooLarge { .. })));
    assert!(matches!(begin(head("\"1\""), u64::MAX).await, Err(StoreRefusal::TooLarge { .. })));
    let long = head(&format!("\"{}\"", "x".repeat(200_000)));
    assert!(matches!(begin(long, 5 << 20).await, Err(StoreRefusal::HeadTooLarge)));
    assert!(begin(head("\"1\""), 10 << 20).await.is_ok());
    let incomplete = found(&store, URL).await.pop().unwrap();
    store.clone().close().await;
    assert!(matches!(begin(head("\"1\""), 5).await, Err(StoreRefusal::Closing)));
    assert!(matches!(incomplete.put(0, &chunks(&film(), 0)).await, Err(StoreRefusal::Closing)));
}
