//! What becomes of stored responses when their files do not stay as they were.

use std::fs;
use std::path::{Path, PathBuf};

use crate::HOST;
use crate::common::allowlist;
use crate::common::bulaq::Bulaq;
use crate::common::client::{Answer, Client, Ending};
use crate::common::origin::{Origin, Seen, Step, response};

/// A lesson that is kept in memory whole, and one that is read from its file.
const SIZES: [usize; 2] = [2_000, 300_000];

fn lesson(target: &str) -> String {
    let bytes: usize = target.rsplit('/').next().unwrap().parse().unwrap();
    target.chars().cycle().take(bytes).collect()
}

fn script(seen: &Seen) -> Vec<Step> {
    response("200 OK", "Cache-Control: max-age=600\r\n", &lesson(seen.target()))
}

async fn get(bulaq: &Bulaq, target: &str) -> Answer {
    Client::connect(bulaq.http).await.get(HOST, target, "").await
}

/// The files of stored responses: those that begin with a record and are as long as a lesson at least.
fn bodies(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("store").join("bodies")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn alter(file: &Path, how: fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    how(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// Promise 2: noticed, dropped and fetched again in the same request, so that the client sees 200.
#[tokio::test]
async fn a_damaged_file_is_fetched_again_in_the_same_request() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 5] = [
        ("cut", |bytes| bytes.truncate(bytes.len() - 3)),
        ("emptied", Vec::clear),
        ("zeroed", |bytes| {
            let end = bytes.len();
            bytes[end - 500..].fill(0);
        }),
        ("one bit in the content", |bytes| {
            let at = bytes.len() - 700;
            bytes[at] ^= 1;
        }),
        ("one bit in the record", |bytes| bytes[9] ^= 0x10),
    ];
    for (what, harm) in harms {
        for size in SIZES {
            let origin = Origin::start(script).await;
            let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
            let target = format!("/lesson/{size}");
            assert!(get(&bulaq, &target).await.text() == lesson(&target));
            bulaq.has_settled().await;
            let files = bodies(bulaq.folder.path());
            assert_eq!(files.len(), 1, "{files:?}");
            alter(&files[0], harm);
            bulaq.rooms.context.store.forget_memory();
            for _ in 0..2 {
                let answer = get(&bulaq, &target).await;
                assert_eq!((answer.status, answer.ending), (200, Ending::Whole), "{what}, {size}");
                assert!(answer.text() == lesson(&target), "{what}, {size}");
                bulaq.has_settled().await;
            }
            assert_eq!(origin.seen().len(), 2, "{what}, {size}: once at first, and once after the harm");
        }
    }
}

#[tokio::test]
async fn exchanged_files_do_not_exchange_their_lessons() {
    for size in SIZES {
        let origin = Origin::start(script).await;
        let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
        let targets = ["a", "b"].map(|name| format!("/{name}/{size}"));
        for target in &targets {
            get(&bulaq, target).await;
        }
        bulaq.has_settled().await;
        let files = bodies(bulaq.folder.path());
        let aside = bulaq.folder.path().join("aside");
        fs::rename(&files[0], &aside).unwrap();
        fs::rename(&files[1], &files[0]).unwrap();
        fs::rename(&aside, &files[1]).unwrap();
        bulaq.rooms.context.store.forget_memory();
        for target in &targets {
            let answer = get(&bulaq, target).await;
            assert!(answer.status == 200 && answer.text() == lesson(target), "{target}");
        }
    }
}

#[tokio::test]
async fn what_is_stored_outlives_a_restart_and_the_loss_of_the_index() {
    let origin = Origin::start(script).await;
    let targets: Vec<_> = (0..10).flat_map(|n| SIZES.map(|size| format!("/{n}/{size}"))).collect();
    let bulaq = Bulaq::start(allowlist(&[HOST], ""), &[HOST], origin.address, |_| {}).await;
    for target in &targets {
        get(&bulaq, target).await;
    }
    let folder = bulaq.stop().await;
    let address = origin.address;
    origin.stop().await;
    for is_index_lost in [false, true] {
        if is_index_lost {
            fs::remove_dir_all(folder.path().join("store").join("index")).unwrap();
        }
        let bulaq = Bulaq::start_in(folder.clone(), allowlist(&[HOST], ""), &[HOST], address, |_| {});
        for target in &targets {
            let answer = get(&bulaq, target).await;
            assert_eq!(answer.status, 200, "{target}, index lost: {is_index_lost}");
            assert!(answer.text() == lesson(target), "{target}, index lost: {is_index_lost}");
        }
        bulaq.stop().await;
    }
}
