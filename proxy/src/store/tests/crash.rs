//! The power goes at any moment, the process is killed at any moment: nothing torn, nothing lost that was whole.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// What the store is asked to do until the power goes; what it confirmed is in the answer.
#[derive(Default, Debug)]
struct Confirmed {
    small: bool,
    large: bool,
    second: bool,
    freshened: bool,
    moved: bool,
}

async fn work(store: &Store, faults: &Faults) -> Confirmed {
    let small = try_fill(store, "http://a.kz/small", head("\"1\""), &body(5_000, 1)).await.is_ok();
    let large = try_fill(store, "http://a.kz/large", head("\"1\""), &body(2 * MIB, 2)).await.is_ok();
    let second = try_fill(store, "http://a.kz/small", head("\"1\""), &body(9_000, 3)).await.is_ok();
    let mut confirmed = Confirmed { small, large, second, ..Confirmed::default() };
    for (etag, is_done) in
        [("\"2\"".to_owned(), &mut confirmed.freshened), (format!("\"{}\"", "x".repeat(900)), &mut confirmed.moved)]
    {
        if let Some(stored) = find(store, "http://a.kz/large").await.first() {
            store.freshen(stored, head(&etag), store.rules()).await;
            *is_done = !faults.is_power_cut();
        }
    }
    confirmed
}

#[tokio::test]
async fn the_power_may_go_after_any_change() {
    for has_unnamed in [true, false] {
        for index_too in [true, false] {
            let mut operations = 0;
            loop {
                let at = Box::new();
                if !has_unnamed {
                    at.faults.refuse_unnamed_files();
                }
                let store = if index_too { at.open_ready() } else { at.open() };
                at.faults.cut_power_after(operations);
                let confirmed = work(&store, &at.faults).await;
                let is_over = !at.faults.is_power_cut();
                drop(store);
                at.faults.heal();
                check(&at, &confirmed, &format!("after {operations} operations, unnamed {has_unnamed}: {confirmed:?}"))
                    .await;
                if is_over {
                    assert!(operations > 20, "the work changes the disk that often at least");
                    break;
                }
                operations += 1;
            }
        }
    }
}

async fn check(at: &Box, confirmed: &Confirmed, context: &str) {
    let store = at.open();
    for is_complete in [false, true] {
        if is_complete {
            store.0.index.wait_until_complete();
            store.forget_memory();
        }
        let small = served(&store, "http://a.kz/small").await;
        let large = served(&store, "http://a.kz/large").await;
        match (confirmed.small, confirmed.second) {
            (_, true) => assert!(small == Some(body(9_000, 3)), "{context}"),
            (true, false) => assert!(small == Some(body(5_000, 1)) || small == Some(body(9_000, 3)), "{context}"),
            (false, false) => assert!(small.is_none() || small == Some(body(5_000, 1)), "{context}"),
        }
        assert!(large == Some(body(2 * MIB, 2)) || large.is_none() && !confirmed.large, "{context}");
        if let Some(stored) = find(&store, "http://a.kz/large").await.first() {
            let etag = etag_of(stored);
            assert!(!confirmed.moved || etag.len() > 900, "{context}: {etag}");
            assert!(!confirmed.freshened || etag != "\"1\"", "{context}: {etag}");
        }
    }
    assert!(at.body_files().len() <= 2 && files_below(&at.path("incoming")).is_empty(), "{context}");
    assert_eq!(store.usage().responses, at.body_files().len() as u64, "{context}");
    assert_eq!(store.verify(|_, _| {}).await.damaged, [], "{context}");
}

/// Where a child process is told to work; the test that runs in it does nothing without.
const CHILD_DIR: &str = "BULAQ_STORE_TEST_DIR";

/// Responses of a child's work, large ones among them, until it is killed.
const CHILD_FILLS: usize = 5_000;

fn child_body(at: usize) -> Bytes {
    body(if at.is_multiple_of(7) { MIB + at } else { 2_000 + at }, at as u8)
}

#[tokio::test]
async fn a_child_that_is_to_be_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let options = StoreOptions { free_bytes_min: 0, ballast_bytes: 0, ..StoreOptions::new(dir) };
    let store = Store::open(options, Clock::held(start())).unwrap();
    let first: usize = files_below(&store.0.files.bodies).len();
    for at in first..first + CHILD_FILLS {
        fill(&store, &format!("http://a.kz/{at}"), &child_body(at)).await;
        println!("stored {at}");
    }
}

/// Kills a process that stores, five times at different moments, and starts where it ended.
#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_stored() {
    let at = Box::new();
    let dir = at.dir.path().join("store");
    let mut stored = Vec::new();
    for kill in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::a_child_that_is_to_be_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.rsplit_once("stored ")?.1.parse::<usize>().ok());
        // Where in the next fill the signal arrives is left to chance.
        stored.extend(numbers.take(5 + 9 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = at.open();
        for &number in &stored {
            assert!(served(&store, &format!("http://a.kz/{number}")).await == Some(child_body(number)), "{number}");
        }
        store.0.index.wait_until_complete();
        assert_eq!(store.verify(|_, _| {}).await.damaged, []);
        assert_eq!(store.usage().responses, at.body_files().len() as u64);
        assert!(store.usage().responses >= stored.len() as u64);
    }
    assert_eq!(stored.len(), 5 * 5 + 9 * 10);
}
