//! What may happen to files, as a table: each damage is noticed, the file dropped, and the response fetched again.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;

/// Does something to the file at the path; the other path is another stored file.
type Harm = fn(&Path, &Path);

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn cut(path: &Path, to: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(to).unwrap();
}

fn swap(path: &Path, other: &Path) {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside).unwrap();
    fs::rename(other, path).unwrap();
    fs::rename(&aside, other).unwrap();
}

const HARMS: &[(&str, Harm)] = &[
    ("cut to nothing", |path, _| cut(path, 0)),
    ("cut in the head", |path, _| cut(path, 100)),
    ("cut in the body", |path, _| cut(path, length(path) - 7)),
    ("longer than it was", |path, _| cut(path, length(path) + 1)),
    ("zeroed", |path, _| {
        let bytes = length(path);
        cut(path, 0);
        cut(path, bytes);
    }),
    ("a bit flipped in the preamble", |path, _| flip(path, 17)),
    ("a bit flipped in the head", |path, _| flip(path, 60)),
    ("a bit flipped at the body's end", |path, _| flip(path, length(path) - 1)),
    ("a bit flipped in the body's middle", |path, _| flip(path, length(path) * 3 / 4)),
    ("overwritten with another's content", |path, other| assert!(fs::copy(other, path).unwrap() > 0)),
    ("swapped with another", swap),
    ("a hard link to another", |path, other| {
        fs::remove_file(path).unwrap();
        fs::hard_link(other, path).unwrap();
    }),
    ("a symbolic link to another", |path, other| {
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(other, path).unwrap();
    }),
    ("a folder", |path, _| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("gone", |path, _| fs::remove_file(path).unwrap()),
    ("garbage", |path, _| fs::write(path, b"<html>not a record</html>").unwrap()),
];

/// Each damage to a short and to a long body, found by a running store and by one that starts with it.
#[tokio::test]
async fn a_damaged_file_is_never_served_and_can_be_stored_again() {
    for bytes in [3_000, 3 * MIB] {
        for restarts in [false, true] {
            for (name, harm) in HARMS {
                harmed(bytes, restarts, name, *harm).await;
            }
        }
    }
}

async fn harmed(bytes: usize, restarts: bool, name: &str, harm: Harm) {
    let context = format!("{name}, {bytes} bytes, restarts: {restarts}");
    let at = Box::new();
    let store = at.open_ready();
    let (url, other) = ("http://a.kz/harmed", "http://a.kz/other");
    fill(&store, url, &body(bytes, 1)).await;
    let path = at.body_files()[0].clone();
    fill(&store, other, &body(bytes, 2)).await;
    let other_path = at.body_files().into_iter().find(|one| *one != path).unwrap();

    let store = if restarts {
        store.close().await;
        harm(&path, &other_path);
        at.open_ready()
    } else {
        harm(&path, &other_path);
        store.forget_memory();
        store
    };
    let got = served(&store, url).await;
    assert!(got.is_none() || got == Some(body(bytes, 1)), "wrong bytes: {context}");
    // Noticed at the latest when the body is opened: from then on nothing is found, in memory neither.
    assert!(find(&store, url).await.is_empty(), "still found: {context}");
    fill(&store, url, &body(bytes, 3)).await;
    store.forget_memory();
    assert!(served(&store, url).await == Some(body(bytes, 3)), "not stored again: {context}");
    let other = served(&store, other).await;
    assert!(other.is_none() || other == Some(body(bytes, 2)), "the other: {context}");
}

/// A body that is too long to be checked as a whole first: its delivery breaks off at the damage, not after it.
#[tokio::test]
async fn a_long_delivery_breaks_off_at_a_damaged_block() {
    let at = Box::new();
    let store = at.open_ready();
    let bytes = 34 * MIB;
    let url = "http://a.kz/film";
    fill(&store, url, &body(bytes, 1)).await;
    store.close().await;
    flip(&at.body_files()[0], 20 * MIB as u64);

    let store = at.open_ready();
    let stored = find(&store, url).await[0].clone();
    let mut film = StoredBody::open(&stored, 0..u64::MAX).await.unwrap();
    let mut received = Vec::new();
    let error = loop {
        match film.frame().await.expect("it does not end early") {
            Ok(frame) => received.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, crate::request::BodyError::Store(_)), "{error}");
    assert_eq!(received.len() % MIB, 0);
    assert!(received.len() >= 19 * MIB && received.len() <= 20 * MIB, "{}", received.len());
    assert!(received == body(bytes, 1)[..received.len()]);
    assert!(find(&store, url).await.is_empty(), "and it is dropped");
    // A range before the damage would have been served.
    fill(&store, url, &body(bytes, 1)).await;
    let stored = find(&store, url).await[0].clone();
    let part = StoredBody::open(&stored, 5..77).await.unwrap().collect().await.unwrap().to_bytes();
    assert_eq!(part, body(bytes, 1)[5..77]);
}

#[tokio::test]
async fn a_file_that_changes_under_a_running_store_is_checked_again() {
    let at = Box::new();
    let store = at.open_ready();
    let url = "http://a.kz/";
    fill(&store, url, &body(3 * MIB, 1)).await;
    assert!(served(&store, url).await == Some(body(3 * MIB, 1)));
    flip(&at.body_files()[0], 2 * MIB as u64);
    assert_eq!(served(&store, url).await, None);
    assert!(find(&store, url).await.is_empty());
}

#[tokio::test]
async fn verify_finds_and_sets_aside_what_is_damaged() {
    let at = Box::new();
    let store = at.open_ready();
    for page in 0..8 {
        fill(&store, &format!("http://a.kz/{page}"), &body(if page < 4 { 5_000 } else { 2 * MIB }, page)).await;
    }
    let mut last = (0, 0);
    let verified = store.verify(|files, percent| last = (files, percent)).await;
    assert_eq!((verified.files, verified.damaged.len(), verified.unread), (8, 0, 0));
    assert_eq!(verified.bytes, 4 * 5_000 + 4 * 2 * MIB as u64);
    assert_eq!(last, (8, 100));

    let files = at.body_files();
    for file in [&files[0], &files[5]] {
        flip(file, length(file) - 1);
    }
    flip(&files[2], 70);
    swap(&files[3], &files[6]);
    let verified = store.verify(|_, _| {}).await;
    let mut damaged: Vec<&str> = verified.damaged.iter().map(|one| one.id.as_str()).collect();
    damaged.sort_unstable();
    let expected = [0, 2, 3, 5, 6].map(|at: usize| &files[at]).map(|path| path.file_name().unwrap().to_str().unwrap());
    assert_eq!(damaged, expected);
    assert!(verified.damaged.iter().filter(|one| one.host.as_deref() == Some("a.kz")).count() >= 2);
    assert_eq!((files_below(&at.path("damaged")).len(), at.body_files().len(), store.usage().responses), (5, 3, 3));
    assert_eq!(store.verify(|_, _| {}).await.damaged, []);
    let mut found = 0;
    for page in 0..8 {
        found += find(&store, &format!("http://a.kz/{page}")).await.len();
    }
    assert_eq!(found, 3, "and memory forgot them too");
}

#[tokio::test]
async fn a_machine_short_of_descriptors_loses_nothing() {
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://a.kz/", &body(100, 1)).await;
    store.forget_memory();
    at.faults.fail(crate::store::Operation::Open, 0, 1, std::io::ErrorKind::OutOfMemory);
    assert!(find(&store, "http://a.kz/").await.is_empty());
    assert_eq!(find(&store, "http://a.kz/").await.len(), 1);
}
