//! Reading bodies: ranges, many readers of one growing body, files that fail in the middle.

use super::*;
use crate::store::{BodyFile, Operation};

pub(super) async fn read_all(file: &BodyFile, until: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < until {
        let part = file.read_at(bytes.len() as u64, 1 << 20).await.unwrap();
        assert!(!part.is_empty());
        bytes.extend_from_slice(&part);
    }
    bytes
}

#[tokio::test]
async fn any_range_is_that_part_of_the_body() {
    let at = Box::new();
    let store = at.open_ready();
    for bytes in [1000, 3 * MIB + 9] {
        let url = format!("http://a.kz/{bytes}");
        fill(&store, &url, &body(bytes, 1)).await;
        store.forget_memory();
        let stored = find(&store, &url).await[0].clone();
        let whole = body(bytes, 1);
        let (end, mib) = (bytes as u64, MIB as u64);
        for range in [
            0..1,
            0..end,
            5..9,
            end - 1..end,
            end - 5..end + 5,
            end..end,
            end + 5..end + 9,
            mib - 1..mib + 1,
            7..2 * mib + 7,
        ] {
            let expected = &whole[(range.start.min(end) as usize)..(range.end.min(end) as usize)];
            assert_eq!(StoredBody::in_memory(&stored, range.clone()).is_some(), bytes == 1000);
            let part = StoredBody::open(&stored, range.clone()).await.unwrap();
            assert_eq!(http_body::Body::size_hint(&part).exact(), Some(expected.len() as u64));
            assert!(part.collect().await.unwrap().to_bytes() == expected, "{bytes}: {range:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_read_a_body_while_it_grows() {
    let at = Box::new();
    let store = at.open_ready();
    let whole = body(3 * MIB + 5, 1);
    let mut fill = store.begin(&key("http://a.kz/"), head("\"1\""), None, store.rules()).unwrap();
    let (progress, seen) = tokio::sync::watch::channel(0u64);
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (reader, mut seen) = (fill.reader(), seen.clone());
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while seen.changed().await.is_ok() {
                    let arrived = *seen.borrow_and_update();
                    assert!(reader.available_bytes() >= arrived);
                    while (bytes.len() as u64) < arrived {
                        bytes.extend_from_slice(&reader.read_at(bytes.len() as u64, 70_000).await.unwrap());
                    }
                }
                bytes
            })
        })
        .collect();
    drop(seen);
    let mut arrived = 0;
    // Small pieces at first, so that it is read while it is still in memory, then large ones.
    for piece in [1, 10, 1000, 60_000, 5_000, 300_000, 1, 200_000, 3 * MIB] {
        let end = whole.len().min(arrived + piece);
        fill.append(whole.slice(arrived..end)).await.unwrap();
        arrived = end;
        progress.send(arrived as u64).unwrap();
        assert!(read_all(&fill.reader(), arrived as u64).await == whole[..arrived]);
        tokio::task::yield_now().await;
    }
    let late = fill.reader();
    fill.finish().await.unwrap();
    drop(progress);
    for reader in readers {
        assert!(reader.await.unwrap() == whole);
    }
    assert!(read_all(&late, whole.len() as u64).await == whole, "also after the fill is over");
    assert!(late.read_at(whole.len() as u64, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_arrived_before_a_refusal_can_still_be_read() {
    for failing in [Operation::Create, Operation::Write, Operation::Sync, Operation::Publish] {
        for bytes in [1000, 300_000, 3 * MIB] {
            let at = Box::new();
            let store = at.open_ready();
            at.faults.fail(failing, 0, 1, std::io::ErrorKind::StorageFull);
            let whole = body(bytes, 1);
            let mut fill = store.begin(&key("http://a.kz/"), head("\"1\""), None, store.rules()).unwrap();
            let reader = fill.reader();
            let refusal = match fill.append(whole.clone()).await {
                Ok(()) => fill.finish().await.unwrap_err(),
                Err(refusal) => refusal,
            };
            assert!(matches!(refusal, StoreRefusal::DiskFull), "{failing:?} {bytes}: {refusal}");
            assert!(read_all(&reader, bytes as u64).await == whole, "{failing:?} {bytes}");
            assert_eq!((served(&store, "http://a.kz/").await, at.body_files().len()), (None, 0));
            // And well again without a hand.
            super::fill(&store, "http://a.kz/", &whole).await;
            assert!(served(&store, "http://a.kz/").await == Some(whole));
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_in_the_middle_ends_the_body_with_an_error() {
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://a.kz/", &body(3 * MIB, 1)).await;
    let stored = find(&store, "http://a.kz/").await[0].clone();
    at.faults.fail(Operation::Read, 3, u32::MAX, std::io::ErrorKind::Other);
    let part = StoredBody::open(&stored, 0..u64::MAX).await.unwrap();
    assert!(part.collect().await.is_err());
    at.faults.heal();
    assert!(served(&store, "http://a.kz/").await == Some(body(3 * MIB, 1)), "it may be read the next time");
}

#[tokio::test]
async fn a_reader_keeps_the_body_that_it_opened() {
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://a.kz/", &body(3 * MIB, 1)).await;
    let stored = find(&store, "http://a.kz/").await[0].clone();
    let reading = StoredBody::open(&stored, 0..u64::MAX).await.unwrap();
    fill(&store, "http://a.kz/", &body(2 * MIB, 2)).await;
    assert!(reading.collect().await.unwrap().to_bytes() == body(3 * MIB, 1));
    assert!(StoredBody::open(&stored, 0..u64::MAX).await.is_err(), "who comes later asks again");
    assert!(served(&store, "http://a.kz/").await == Some(body(2 * MIB, 2)));
}

#[tokio::test]
async fn thirty_who_ask_for_one_cold_page_load_it_once() {
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://a.kz/", &body(1000, 1)).await;
    store.forget_memory();
    let stripe = store.0.stripe(crate::store::UrlKey::of("http://a.kz/")); // nobody can load it yet
    let mut asked: Vec<_> = (0..30).map(|_| std::boxed::Box::pin(find(&store, "http://a.kz/"))).collect();
    for one in &mut asked {
        assert!(one.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
    }
    assert_eq!(store.0.files.threads_in_use(), 1);
    drop(stripe);
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|variants| variants.len() == 1));
    // And one who no longer waits leaves nothing behind.
    store.forget_memory();
    drop(find(&store, "http://a.kz/"));
    assert_eq!(find(&store, "http://a.kz/").await.len(), 1);
}

#[tokio::test]
async fn what_is_in_memory_can_be_had_at_any_time_and_loses_nothing() {
    let at = Box::new();
    let store = at.open_ready();
    let whole = body(5_000, 3);
    let mut fill = store.begin(&key("http://a.kz/"), head("\"1\""), None, store.rules()).unwrap();
    for (from, to) in [(0, 1_000), (1_000, 4_000), (4_000, 5_000)] {
        fill.append(whole.slice(from..to)).await.unwrap();
        assert_eq!(fill.in_memory().unwrap(), whole[..to]);
    }
    fill.finish().await.unwrap();
    store.forget_memory();
    assert!(served(&store, "http://a.kz/").await == Some(whole));
}

/// Whether the folder's file system can say what is in the page cache; where it cannot, every file is opened by a thread.
fn is_page_cache_told(at: &Box) -> bool {
    let path = at.dir.path().join("probe");
    std::fs::write(&path, b"x").unwrap();
    crate::store::disk::Disk::default().open_now(&path).is_some()
}

#[tokio::test]
async fn a_long_body_that_was_checked_is_opened_without_a_thread_while_it_is_the_same() {
    let at = Box::new();
    let (is_told, store, url) = (is_page_cache_told(&at), at.open_ready(), "http://a.kz/");
    for change in ["none", "shorter", "gone"] {
        fill(&store, url, &body(300_000, 1)).await;
        store.forget_memory();
        let stored = find(&store, url).await[0].clone();
        let opens_now = || {
            store.0.files.open.close(stored.body.name);
            stored.body_file_now().is_some()
        };
        assert!(!opens_now(), "nobody has checked it");
        assert!(served(&store, url).await == Some(body(300_000, 1)));
        assert_eq!(opens_now(), is_told);
        let path = store.0.files.path(stored.body.name);
        match change {
            "shorter" => std::fs::File::options().write(true).open(&path).unwrap().set_len(300_000).unwrap(),
            "gone" => std::fs::remove_file(&path).unwrap(),
            _ => continue,
        }
        assert!(!opens_now(), "{change}");
        assert_eq!(served(&store, url).await, None, "{change}");
    }
}
