//! The index is lost, late, wrong or garbage: what is stored is served all the same, and the index comes back.

use std::fs;

use futures_util::FutureExt;

use super::*;
use crate::store::{IndexState, Operation, PurgeMode, Scope};

const PAGES: u64 = 40;

fn url(page: u64) -> String {
    format!("http://host{}.kz/{page}", page % 3)
}

async fn stored_pages(at: &Box) {
    let store = at.open_ready();
    for page in 0..PAGES {
        fill(&store, &url(page), &body(1000, page as u8)).await;
    }
    store.close().await;
}

async fn all_served(store: &Store, context: &str) {
    for page in 0..PAGES {
        assert!(served(store, &url(page)).await == Some(body(1000, page as u8)), "{context}: page {page}");
    }
}

/// Ruins the index in a folder that belongs to a closed store.
type Ruin = fn(&Box);

const RUINS: &[(&str, Ruin)] = &[
    ("none", |_| {}),
    ("deleted", |at| fs::remove_dir_all(at.path("index")).unwrap()),
    ("a file in its place", |at| {
        fs::remove_dir_all(at.path("index")).unwrap();
        fs::write(at.path("index"), b"garbage").unwrap();
    }),
    ("garbage in its main file", |at| fs::write(at.path("index/db"), vec![0xa5; 1 << 20]).unwrap()),
    ("its main file zeroed", |at| fs::write(at.path("index/db"), vec![0; 1 << 19]).unwrap()),
    ("its main file cut", |at| {
        fs::OpenOptions::new().write(true).open(at.path("index/db")).unwrap().set_len(700).unwrap()
    }),
    ("its settings garbage", |at| fs::write(at.path("index/conf"), b"garbage").unwrap()),
    ("no note of an orderly stop", |at| fs::remove_file(at.path("note.json")).unwrap()),
    ("a note with another count", |at| {
        crate::store::index::Note { is_clean: true, responses: 7, bytes: 7 }.write(&at.path("")).unwrap();
    }),
    ("a garbage note", |at| fs::write(at.path("note.json"), b"{").unwrap()),
];

#[tokio::test]
async fn whatever_becomes_of_the_index_everything_is_served_at_once_and_after() {
    for (name, ruin) in RUINS {
        let at = Box::new();
        stored_pages(&at).await;
        ruin(&at);
        let store = at.open();
        all_served(&store, name).await; // most likely before the index is there
        store.0.index.wait_until_complete();
        assert_eq!(store.usage().index_state, IndexState::Ready, "{name}");
        assert_eq!((store.usage().responses, store.usage().bytes), (PAGES, PAGES * 4096), "{name}");
        store.forget_memory();
        all_served(&store, name).await;
        assert_eq!(store.purge(Scope::Host("host1.kz".into()), PurgeMode::Hard).await.responses, 13, "{name}");
        store.close().await;
        assert_eq!(at.open_ready().usage().responses, PAGES - 13, "{name}");
    }
}

#[tokio::test]
async fn rows_without_files_and_files_without_rows_are_put_right() {
    let at = Box::new();
    stored_pages(&at).await;
    let files = at.body_files();
    for file in &files[..5] {
        fs::remove_file(file).unwrap();
    }
    // Of an orderly stop the rows are believed, until a file is missed.
    let store = at.open_ready();
    let mut found = 0;
    for page in 0..PAGES {
        found += find(&store, &url(page)).await.len() as u64;
    }
    assert_eq!((found, store.usage().responses), (PAGES - 5, PAGES - 5));
    drop(store); // no orderly stop: the next start compares all
    fs::remove_file(&files[5]).unwrap();
    assert_eq!(at.open_ready().usage().responses, PAGES - 6);
}

#[tokio::test]
async fn an_older_file_beside_its_successor_goes() {
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://a.kz/", &body(100, 1)).await;
    let old = at.body_files()[0].clone();
    let copy = fs::read(&old).unwrap();
    at.clock.advance(Duration::from_secs(60));
    fill(&store, "http://a.kz/", &body(100, 2)).await;
    drop(store);
    fs::write(&old, copy).unwrap(); // as when the power went between the new file and the removal of the old
    let store = at.open();
    assert!(served(&store, "http://a.kz/").await == Some(body(100, 2)));
    store.0.index.wait_until_complete();
    assert_eq!((at.body_files().len(), store.usage().responses), (1, 1));
    assert!(!old.exists());
}

#[tokio::test]
async fn changes_made_while_the_index_opens_count() {
    let at = Box::new();
    stored_pages(&at).await;
    let _ = fs::remove_file(at.path("note.json"));
    let store = at.open();
    // However far the index is: replaced, removed and new ones are seen at once and counted in the end.
    fill(&store, &url(0), &body(9000, 1)).await;
    assert_eq!(store.remove(&key(&url(1))).await, 1);
    fill(&store, "http://new.kz/", &body(10, 1)).await;
    assert!(served(&store, &url(0)).await == Some(body(9000, 1)));
    assert_eq!(served(&store, &url(1)).await, None);
    store.0.index.wait_until_complete();
    let usage = store.usage();
    assert_eq!((usage.responses, usage.bytes), (PAGES, (PAGES - 1) * 4096 + 12288));
    store.close().await;
    let again = at.open_ready().usage();
    assert_eq!((again.responses, again.bytes), (usage.responses, usage.bytes));
}

#[tokio::test]
async fn unfinished_files_of_an_earlier_process_are_swept() {
    let at = Box::new();
    stored_pages(&at).await;
    fs::write(at.path("incoming/77-1"), b"half").unwrap();
    let foreign = at.body_files()[0].parent().unwrap().join("notes.txt");
    fs::write(&foreign, b"a person's").unwrap();
    fs::remove_file(at.path("note.json")).unwrap();
    let store = at.open_ready();
    assert!(files_below(&at.path("incoming")).is_empty());
    assert!(foreign.exists(), "what is not ours stays");
    assert_eq!(store.usage().responses, PAGES);
}

#[tokio::test]
async fn an_index_that_cannot_be_written_at_all_is_kept_in_memory() {
    let at = Box::new();
    stored_pages(&at).await;
    at.faults.fail(Operation::Index, 0, u32::MAX, std::io::ErrorKind::StorageFull);
    let store = at.open_ready();
    assert_eq!((store.usage().index_state, store.usage().responses), (IndexState::ReadyInMemory, PAGES));
    all_served(&store, "in memory").await;
    at.faults.heal();
    fill(&store, "http://new.kz/", &body(10, 1)).await;
    store.close().await;
    let store = at.open_ready();
    assert_eq!((store.usage().index_state, store.usage().responses), (IndexState::Ready, PAGES + 1));
}

#[tokio::test]
async fn the_reserve_is_given_up_to_open_the_index_on_a_full_disk_and_made_again() {
    let at = Box::with(|options| options.ballast_bytes = 1 << 20);
    stored_pages(&at).await;
    assert_eq!(fs::metadata(at.path("ballast")).unwrap().len(), 1 << 20);
    at.faults.fail(Operation::Index, 0, 1, std::io::ErrorKind::StorageFull);
    at.faults.set_free_bytes(0);
    let store = at.open_ready();
    assert_eq!((store.usage().index_state, store.usage().responses), (IndexState::Ready, PAGES));
    store.close().await;
    assert!(!at.path("ballast").exists());
    at.faults.heal();
    at.open_ready().close().await;
    assert!(at.path("ballast").exists());
}

#[tokio::test]
async fn an_index_that_fails_while_it_is_written_comes_back_without_losing_anything() {
    let at = Box::new();
    let store = at.open_ready();
    for page in 0..PAGES {
        at.faults.fail(Operation::Index, 0, 1, std::io::ErrorKind::StorageFull);
        fill(&store, &url(page), &body(1000, page as u8)).await;
        store.forget_memory();
        assert!(served(&store, &url(page)).await == Some(body(1000, page as u8)), "page {page}");
    }
    at.faults.heal();
    all_served(&store, "whatever the index does").await;
    store.0.index.wait_until_complete();
    assert_eq!((store.usage().responses, store.usage().bytes), (PAGES, PAGES * 4096));
    store.close().await;
    let store = at.open_ready();
    assert_eq!(store.usage().responses, PAGES);
    all_served(&store, "after a restart").await;
}

#[tokio::test]
async fn a_store_that_is_closed_while_its_index_is_rebuilt_begins_again() {
    let at = Box::new();
    stored_pages(&at).await;
    for _ in 0..5 {
        let _ = fs::remove_dir_all(at.path("index"));
        at.open().close().await;
        let store = at.open_ready();
        assert_eq!(store.usage().responses, PAGES);
        all_served(&store, "after the interruption").await;
        store.close().await;
    }
}

#[tokio::test]
async fn what_nobody_has_stored_is_known_without_the_disk() {
    let at = Box::new();
    fill(&at.open_ready(), &url(1), &body(9_000, 1)).await;
    // Told of rows that were there at the start, and of what came since.
    let store = at.open_ready();
    fill(&store, &url(2), &body(9_000, 2)).await;
    store.forget_memory();
    let at_once = |page| store.find(&key(&url(page)), store.rules(), restore).now_or_never();
    // The disk is asked, and on a good day has answered at once.
    assert!([1, 2].map(at_once).into_iter().all(|found| found.is_none_or(|found| found.len() == 1)));
    assert!(at_once(3).is_some_and(|found| found.is_empty()));
    store.remove(&key(&url(1))).await;
    assert!(at_once(1).is_some_and(|found| found.is_empty()));
    assert!(served(&store, &url(2)).await.is_some());
}

#[tokio::test]
async fn an_index_that_is_not_complete_denies_nothing() {
    let at = Box::new();
    stored_pages(&at).await;
    at.faults.fail(Operation::Index, 0, 1, std::io::ErrorKind::Other);
    let store = at.open();
    assert!(store.find(&key(&url(1)), store.rules(), restore).await.len() == 1, "whatever the index does meanwhile");
    store.0.index.wait_until_complete();
    assert!(store.remove(&key(&url(1))).await == 1 && served(&store, &url(1)).await.is_none());
}
