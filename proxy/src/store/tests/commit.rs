//! Short bodies that are stored together: all of them or those that can be, each durable before it is visible.

use std::io::ErrorKind;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::*;
use crate::store::commit::{Done, ENOUGH, FLUSH_ALL_FILES};
use crate::store::name::UrlKey;
use crate::store::{DISK_WAIT, Operation};

fn url(at: usize) -> String {
    format!("http://a.kz/{at}")
}

/// How long each is: every fourth is too long to be kept in memory.
fn bytes(at: usize) -> usize {
    if at % 4 == 3 { 100_000 } else { 5_000 }
}

/// Stores so many bodies together; `before` is called when all have arrived and none is written.
async fn together(store: &Store, count: usize, before: impl AsyncFnOnce()) -> Vec<bool> {
    let (mut batch, mut results) = (Vec::new(), Vec::new());
    for at in 0..count {
        let mut fill = store.begin(&key(&url(at)), head("\"1\""), Some(bytes(at) as u64), store.rules()).unwrap();
        fill.append(body(bytes(at), at as u8)).await.unwrap();
        let (done, result) = oneshot::channel();
        let done: Done = std::boxed::Box::new(|result| drop(done.send(result)));
        batch.push((fill, done));
        results.push(result);
    }
    before().await;
    store.0.commit_together(batch);
    futures_util::future::join_all(results).await.into_iter().map(|result| result.unwrap().is_ok()).collect()
}

async fn check(store: &Store, is_stored: &[bool], context: &str) {
    for (at, &is_stored) in is_stored.iter().enumerate() {
        let expected = is_stored.then(|| body(bytes(at), at as u8));
        assert!(served(store, &url(at)).await == expected, "{context}: {at}");
    }
}

#[tokio::test]
async fn one_flush_makes_many_durable() {
    for (count, flushes) in [(1, 1), (FLUSH_ALL_FILES - 1, FLUSH_ALL_FILES - 1), (FLUSH_ALL_FILES, 1), (40, 1)] {
        let at = Box::new();
        let store = at.open_ready();
        // One more would fail.
        at.faults.fail(Operation::Sync, flushes as u32, 1, ErrorKind::Other);
        assert_eq!(together(&store, count, async || {}).await, vec![true; count]);
        store.forget_memory();
        check(&store, &vec![true; count], "from the disk").await;
        assert_eq!((store.usage().responses, at.body_files().len()), (count as u64, count));
    }
}

#[tokio::test]
async fn what_is_not_durable_is_not_visible() {
    for count in [FLUSH_ALL_FILES - 1, FLUSH_ALL_FILES] {
        let at = Box::new();
        let store = at.open_ready();
        at.faults.fail(Operation::Sync, 0, count as u32, ErrorKind::StorageFull);
        assert_eq!(together(&store, count, async || {}).await, vec![false; count]);
        check(&store, &vec![false; count], "not durable").await;
        assert_eq!((store.usage().responses, at.body_files().len()), (0, 0));
    }
}

#[tokio::test]
async fn one_that_cannot_be_stored_hinders_no_other() {
    let at = Box::new();
    let store = at.open_ready();
    at.faults.fail(Operation::Write, 2, 1, ErrorKind::StorageFull);
    let purge = async || assert_eq!(store.remove(&key(&url(5))).await, 0, "it has no file yet");
    let stored = together(&store, 8, purge).await;
    assert_eq!(stored, [true, true, false, true, true, false, true, true]);
    check(&store, &stored, "one not written, one purged").await;
}

#[tokio::test]
async fn the_power_may_go_while_many_are_stored() {
    for operations in 0.. {
        let at = Box::new();
        let store = at.open_ready();
        at.faults.cut_power_after(operations);
        let stored = together(&store, 6, async || {}).await;
        let is_over = !at.faults.is_power_cut();
        drop(store);
        at.faults.heal();
        let store = at.open_ready();
        check(&store, &stored, &format!("after {operations} operations")).await;
        assert_eq!(store.verify(|_, _| {}).await.damaged, []);
        if is_over {
            assert!(operations > 12, "the work changes the disk that often at least");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_arrive_at_once_are_stored() {
    let at = Box::new();
    let store = at.open_ready();
    let fills: Vec<_> = (0..300)
        .map(|at| {
            let store = store.clone();
            tokio::spawn(async move { fill(&store, &url(at), &body(bytes(at), at as u8)).await })
        })
        .collect();
    for fill in fills {
        fill.await.unwrap();
    }
    store.close().await;
    let store = at.open_ready();
    check(&store, &[true; 300], "after a restart").await;
}

/// Gives the store a body for which nobody waits; what becomes of it is told.
async fn give(store: &Store, at: usize, told: &std::sync::mpsc::Sender<bool>) {
    let mut fill = store.begin(&key(&url(at)), head("\"1\""), Some(bytes(at) as u64), store.rules()).unwrap();
    fill.append(body(bytes(at), at as u8)).await.unwrap();
    let told = told.clone();
    fill.finish_behind(move |outcome| told.send(outcome.is_ok()).unwrap()).await;
}

#[tokio::test]
async fn those_for_whom_nobody_waits_wait_for_others() {
    const SOON: Duration = Duration::from_secs(20);
    for (count, case) in [(6, "one for whom somebody waits"), (ENOUGH, "enough"), (6, "the end of the store")] {
        let at = Box::with(|options| options.commit_delay = Duration::from_secs(60));
        let store = at.open_ready();
        // They are made durable in one step: one more would fail.
        at.faults.fail(Operation::Sync, 1, 1, ErrorKind::Other);
        let (told, outcomes) = std::sync::mpsc::channel();
        for number in 0..count - 1 {
            give(&store, number, &told).await;
        }
        let last = async {
            match case {
                "enough" => give(&store, count - 1, &told).await,
                "the end of the store" => store.clone().close().await,
                _ => drop(fill(&store, &url(count - 1), &body(bytes(count - 1), count as u8 - 1)).await),
            }
        };
        tokio::time::timeout(SOON, last).await.expect(case);
        for number in 0..count - 1 {
            assert_eq!(outcomes.recv_timeout(SOON), Ok(true), "{case}: {number}");
        }
        check(&store, &vec![true; count - 1], case).await;
    }
}

#[tokio::test]
async fn what_has_arrived_is_stored_before_the_store_is_closed() {
    let at = Box::new();
    let store = at.open_ready();
    let mut fills = Vec::new();
    for at in 0..3 {
        let mut fill = store.begin(&key(&url(at)), head("\"1\""), Some(5_000), store.rules()).unwrap();
        fill.append(body(5_000, at as u8)).await.unwrap();
        fills.push(fill);
    }
    let late = fills.pop().unwrap();
    let (told, outcomes) = std::sync::mpsc::channel();
    let mut closing = std::pin::pin!(store.clone().close());
    {
        let _held = (store.0.stripe(UrlKey::of(&url(0))), store.0.stripe(UrlKey::of(&url(1))));
        for fill in fills {
            let told = told.clone();
            let given = fill.finish_behind(move |outcome| told.send(outcome.is_ok()).unwrap());
            given.now_or_never().expect("nobody waits for a short body");
        }
        assert!(closing.as_mut().now_or_never().is_none());
        assert!(store.0.keeper.lock().unwrap().is_some(), "the index is closed when all that has arrived is in it");
    }
    closing.await;
    late.finish_behind(move |outcome| told.send(outcome.is_ok()).unwrap()).await;
    assert_eq!(outcomes.iter().collect::<Vec<_>>(), [true, true, false], "too late is not stored");
    drop(store);
    let store = at.open_ready();
    assert_eq!((store.usage().responses, at.body_files().len()), (2, 2));
    check(&store, &[true, true, false], "after a restart").await;
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_keep_the_store_open() {
    let at = Box::new();
    let store = at.open_ready();
    let mut fill = store.begin(&key(&url(0)), head("\"1\""), Some(5_000), store.rules()).unwrap();
    fill.append(body(5_000, 0)).await.unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let hang: Done = std::boxed::Box::new(move |_| {
        let _ = released.recv();
    });
    store.0.commit_behind((fill, hang));
    tokio::time::pause();
    let closing = tokio::spawn(store.clone().close());
    while !store.0.is_closing.load(std::sync::atomic::Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(DISK_WAIT + Duration::from_secs(1)).await;
    closing.await.unwrap();
    drop(release);
}
