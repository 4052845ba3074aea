//! What may happen to the file of a part, as a table: no wrong byte goes out, and what is right is kept.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use super::*;

const BYTES: usize = 3 * MIB + 1_000;

fn short_film() -> Bytes {
    static FILM: LazyLock<Bytes> = LazyLock::new(|| body(BYTES, 5));
    FILM.clone()
}

/// A film of which blocks 0, 1 and 3 are here, closed; and the path of its file.
async fn prepared(at: &Box, url: &str, seed: u8) -> PathBuf {
    let before = part_files(at);
    let store = at.open_ready();
    let incomplete = begin(&store, url, BYTES).await;
    for block in [0, 1, 3] {
        put(&incomplete, &body(BYTES, seed), block).await;
    }
    drop(incomplete);
    store.close().await;
    part_files(at).into_iter().find(|path| !before.contains(path)).unwrap()
}

fn change(path: &Path, offset: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

fn cut(path: &Path, to: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(to).unwrap();
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Where the body begins, told from the file's end: the body and four sums.
fn body_offset(path: &Path) -> u64 {
    length(path) - BYTES as u64 - 4 * 32
}

type Harm = fn(&Path, &Path);

/// What is harmed, how, and which blocks can be read then; none when nothing of it is found any more.
const HARMS: &[(&str, Harm, Option<&[u64]>)] = &[
    ("nothing", |_, _| {}, Some(&[0, 1, 3])),
    ("a bit of a block", |path, _| flip(path, body_offset(path) + MIB as u64 + 77), Some(&[0, 3])),
    ("a block that never reached the disk", |path, _| change(path, body_offset(path), &[0; MIB]), Some(&[1, 3])),
    ("a bit of a sum", |path, _| flip(path, length(path) - 1), Some(&[0, 1])),
    ("a sum that never reached the disk", |path, _| change(path, length(path) - 128, &[0; 32]), Some(&[1, 3])),
    ("no sum reached the disk", |path, _| change(path, length(path) - 128, &[0; 128]), Some(&[])),
    ("a sum without its block", |path, _| change(path, length(path) - 64, &[7; 32]), Some(&[0, 1, 3])),
    (
        "two sums exchanged",
        |path, _| {
            let bytes = fs::read(path).unwrap();
            let sums = &bytes[bytes.len() - 128..];
            change(path, length(path) - 128, &[&sums[32..64], &sums[..32]].concat());
        },
        Some(&[3]),
    ),
    ("a bit of the preamble", |path, _| flip(path, 17), None),
    ("a bit of the head", |path, _| flip(path, 60), None),
    ("nothing of the beginning reached the disk", |path, _| change(path, 0, &[0; 4096]), None),
    ("cut to nothing", |path, _| cut(path, 0), None),
    ("cut in the head", |path, _| cut(path, 100), None),
    ("cut in the body", |path, _| cut(path, body_offset(path) + 5_000), None),
    ("cut in the sums", |path, _| cut(path, length(path) - 1), None),
    ("longer than it was", |path, _| cut(path, length(path) + 1), None),
    ("another's content", |path, other| assert!(fs::copy(other, path).unwrap() > 0), None),
    ("garbage", |path, _| fs::write(path, b"<html>not a record</html>").unwrap(), None),
    ("gone", |path, _| fs::remove_file(path).unwrap(), None),
    (
        "a symbolic link",
        |path, other| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(other, path).unwrap();
        },
        None,
    ),
    (
        "a folder",
        |path, _| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        None,
    ),
];

#[tokio::test]
async fn no_damage_lets_a_wrong_byte_out_and_what_is_right_is_kept() {
    for (name, harm, readable) in HARMS {
        let at = Box::new();
        let (other, path) = (prepared(&at, "http://a.kz/other", 6).await, prepared(&at, URL, 5).await);
        harm(&path, &other);
        let store = at.open_ready();
        let found_before = found(&store, URL).await.pop();
        assert_eq!(found_before.is_some(), readable.is_some(), "{name}");
        let incomplete = match found_before {
            Some(incomplete) => incomplete,
            None => begin(&store, URL, BYTES).await,
        };
        let mut readable_now = Vec::new();
        for block in 0..4 {
            if let Some(bytes) = read_block(&incomplete, block).await {
                assert!(bytes == chunks(&short_film(), block).concat(), "{name}: {block}");
                readable_now.push(block);
            }
        }
        assert_eq!(readable_now, readable.unwrap_or_default(), "{name}");
        assert_eq!(held(&incomplete), readable_now, "{name}");
        // Nothing that happened keeps it from becoming whole, and the other one is what it was.
        for block in (0..4).filter(|&block| !incomplete.has_block(block)).collect::<Vec<_>>() {
            put(&incomplete, &short_film(), block).await;
        }
        assert!(served(&store, URL).await == Some(short_film()), "{name}");
        assert_eq!(store.verify(|_, _| {}).await.damaged, [], "{name}");
        assert_eq!(held(&found(&store, "http://a.kz/other").await[0]), [0, 1, 3], "{name}");
        let is_power_cut = name.contains("reached the disk") || *name == "cut to nothing";
        let is_kept_aside = readable.is_none() && *name != "gone" && !is_power_cut;
        assert_eq!(files_below(&at.path("damaged")).len(), usize::from(is_kept_aside && *name != "a folder"), "{name}");
    }
}

/// Whatever was here before the start is compared before the whole is published, though nobody read it.
#[tokio::test]
async fn the_last_block_does_not_make_it_whole_when_an_older_one_is_wrong() {
    let at = Box::new();
    let path = prepared(&at, URL, 5).await;
    flip(&path, body_offset(&path) + 9);
    let store = at.open_ready();
    let incomplete = found(&store, URL).await.pop().unwrap();
    assert_eq!(held(&incomplete), [0, 1, 3]);
    assert!(put(&incomplete, &short_film(), 2).await.is_none(), "it seemed to be the last");
    assert_eq!(held(&incomplete), [1, 2, 3]);
    assert!(served(&store, URL).await.is_none());
    assert!(put(&incomplete, &short_film(), 0).await.is_some());
    assert!(served(&store, URL).await == Some(short_film()));
}

#[tokio::test]
async fn neither_kind_of_file_is_taken_for_the_other() {
    let at = Box::new();
    let path = prepared(&at, URL, 5).await;
    let store = at.open_ready();
    let whole = "http://a.kz/whole";
    fill(&store, whole, &body(BYTES, 1)).await;
    store.close().await;
    let body_path = at.body_files().pop().unwrap();
    let aside = body_path.with_extension("aside");
    // Each under the other's name, and each under a name of its own in the other's folder.
    fs::rename(&path, &aside).unwrap();
    fs::rename(&body_path, &path).unwrap();
    fs::rename(&aside, &body_path).unwrap();
    let store = at.open_ready();
    assert!(found(&store, URL).await.is_empty() && find(&store, whole).await.is_empty());
    store.close().await;

    let part = prepared(&at, URL, 5).await;
    let folder = at.path("bodies").join(&part.file_name().unwrap().to_str().unwrap()[16..19]);
    fs::create_dir_all(&folder).unwrap();
    fs::rename(&part, folder.join(part.file_name().unwrap())).unwrap();
    let store = at.open_ready();
    assert!(find(&store, URL).await.is_empty(), "an incomplete one is not served as the whole");
    let stored = fill(&store, URL, &short_film()).await;
    assert!(served(&store, URL).await == Some(short_film()));
    let moved = store.0.files.path(stored.body.name);
    store.close().await;
    fs::rename(&moved, at.path("parts").join(moved.file_name().unwrap())).unwrap();
    let store = at.open_ready();
    assert!(found(&store, URL).await.is_empty(), "nor the whole as an incomplete one");
}

#[tokio::test]
async fn a_running_store_survives_what_is_done_to_its_parts() {
    let at = Box::new();
    let store = at.open_ready();
    let incomplete = begin(&store, URL, BYTES).await;
    for block in [0, 1, 3] {
        put(&incomplete, &short_film(), block).await;
    }
    let path = part_files(&at).pop().unwrap();
    flip(&path, body_offset(&path) + 3);
    let verified = store.verify(|_, _| {}).await;
    assert_eq!((verified.blocks_lost, verified.damaged.len(), verified.bytes), (1, 0, MIB as u64 + 1_000));
    assert_eq!(held(&incomplete), [1, 3]);
    cut(&path, body_offset(&path) + 10);
    assert_eq!((read_block(&incomplete, 1).await, held(&incomplete)), (None, vec![3]));
    fs::remove_file(&path).unwrap();
    let refused = async {
        for block in [0, 1, 2, 3] {
            if let Err(refusal) = incomplete.put(block, &chunks(&short_film(), block)).await {
                return Some(refusal);
            }
        }
        read_block(&incomplete, 3).await;
        incomplete.put(3, &chunks(&short_film(), 3)).await.err()
    };
    assert!(refused.await.is_some(), "a file without a name cannot become whole");
    assert!(served(&store, URL).await.is_none());
    fill(&store, URL, &short_film()).await;
    assert!(served(&store, URL).await == Some(short_film()));
}
