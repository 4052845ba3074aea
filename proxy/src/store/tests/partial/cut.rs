//! Killed at any moment, the power cut at any moment: what was put is there or is missing, and nothing is ever wrong.

use std::sync::LazyLock;

use super::*;

const BLOCKS: usize = 4;
const BYTES: usize = (BLOCKS - 1) * MIB + 500_000;

fn short_film() -> Bytes {
    static FILM: LazyLock<Bytes> = LazyLock::new(|| body(BYTES, 5));
    FILM.clone()
}

#[tokio::test]
async fn killed_after_any_block_the_rest_is_all_that_is_missing() {
    for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
        for kills in 1..1 << BLOCKS {
            let at = Box::new();
            let mut store = at.open();
            drop(begin(&store, URL, BYTES).await);
            let mut stored = None;
            for (count, block) in order.into_iter().enumerate() {
                if kills & 1 << count != 0 {
                    drop(store); // the files are what a kill leaves: nothing is written at the end
                    store = at.open();
                }
                let incomplete = found(&store, URL).await.pop().expect("it was begun");
                let mut here = order[..count].to_vec();
                here.sort_unstable();
                assert_eq!(held(&incomplete), here, "{kills:b}");
                if kills % 3 == 0 {
                    for &block in &order[..count] {
                        assert!(
                            read_block(&incomplete, block).await == Some(chunks(&short_film(), block).concat().into())
                        );
                    }
                }
                stored = put(&incomplete, &short_film(), block).await;
            }
            let stored = stored.expect("it is whole");
            assert_eq!(stored.body.digest, *blake3::hash(&short_film()).as_bytes(), "{kills:b}");
            assert!(served(&store, URL).await == Some(short_film()), "{kills:b}");
            assert_eq!(store.verify(|_, _| {}).await.damaged, []);
        }
    }
}

/// Begins, puts and freshens until the power goes; says which blocks were confirmed and whether the whole was.
async fn work(store: &Store) -> (Vec<u64>, bool) {
    let mut confirmed = Vec::new();
    let Ok(mut incomplete) = store.begin_incomplete(&key(URL), head("\"1\""), BYTES as u64, store.rules()).await else {
        return (confirmed, false);
    };
    for (number, block) in [2, 0, 3, 1].into_iter().enumerate() {
        match incomplete.put(block, &chunks(&short_film(), block)).await {
            Ok(Some(_)) => return (confirmed, true),
            Ok(None) => confirmed.push(block),
            Err(_) => {}
        }
        incomplete = store.freshen_incomplete(&incomplete, head(&format!("\"{}\"", number + 2)), store.rules()).await;
    }
    (confirmed, false)
}

#[tokio::test]
async fn the_power_may_go_after_any_change_to_a_part() {
    for has_unnamed in [true, false] {
        for operations in 0.. {
            let at = Box::new();
            if !has_unnamed {
                at.faults.refuse_unnamed_files();
            }
            let store = at.open_ready();
            at.faults.cut_power_after(operations);
            let (confirmed, is_whole) = work(&store).await;
            let is_over = !at.faults.is_power_cut();
            drop(store);
            at.faults.heal();
            check(&at, &confirmed, is_whole, &format!("after {operations} changes, unnamed {has_unnamed}")).await;
            if is_over {
                assert!(operations > 15 && is_whole, "the work changes the disk that often at least: {operations}");
                break;
            }
        }
    }
}

async fn check(at: &Box, confirmed: &[u64], is_whole: bool, context: &str) {
    let store = at.open_ready();
    let whole = served(&store, URL).await;
    assert!(whole.is_none() && !is_whole || whole == Some(short_film()), "{context}");
    assert!(part_files(at).len() <= 1, "{context}");
    if whole.is_some() {
        assert!(found(&store, URL).await.is_empty() && part_files(at).is_empty(), "{context}");
        return;
    }
    let incomplete = match found(&store, URL).await.pop() {
        Some(incomplete) => incomplete,
        None => {
            assert!(confirmed.is_empty(), "{context}: {confirmed:?}");
            begin(&store, URL, BYTES).await
        }
    };
    for &block in confirmed {
        assert!(incomplete.has_block(block), "{context}: {block}");
    }
    for block in 0..incomplete.blocks() {
        let is_here =
            read_block(&incomplete, block).await.is_some_and(|bytes| bytes == chunks(&short_film(), block).concat());
        assert_eq!(is_here, incomplete.has_block(block), "{context}: {block}");
        if !is_here {
            put(&incomplete, &short_film(), block).await;
        }
    }
    // Also one of which all blocks were there already: it was the publication that the power prevented.
    assert!(served(&store, URL).await == Some(short_film()), "{context}");
    assert_eq!((part_files(at).len(), store.usage().incomplete), (0, 0), "{context}");
    assert_eq!(store.verify(|_, _| {}).await.damaged, [], "{context}");
    assert_eq!(store.usage().responses, 1, "{context}");
}

/// The power goes between the second name and the end of the first: both are one file, and it is whole.
#[tokio::test]
async fn the_first_name_of_a_whole_one_goes_at_the_next_look() {
    let at = Box::new();
    let store = at.open_ready();
    let incomplete = begin(&store, URL, BYTES).await;
    let part = part_files(&at).pop().unwrap();
    for block in 0..4 {
        put(&incomplete, &short_film(), block).await;
    }
    drop(incomplete);
    store.close().await;
    std::fs::hard_link(&at.body_files()[0], &part).unwrap();
    let store = at.open_ready();
    assert!(found(&store, URL).await.is_empty() && part_files(&at).is_empty());
    assert!(served(&store, URL).await == Some(short_film()));
}

#[tokio::test]
async fn an_older_file_beside_its_successor_goes_and_strange_names_stay() {
    let at = Box::new();
    let store = at.open_ready();
    put(&*begin(&store, URL, BYTES).await, &short_film(), 0).await;
    store.close().await;
    let newer = part_files(&at).pop().unwrap();
    let name = newer.file_name().unwrap().to_str().unwrap();
    let older = newer.with_file_name(format!("{}-000000000001", name.split_once('-').unwrap().0));
    let strange = newer.with_file_name("lost+found");
    std::fs::copy(&newer, &older).unwrap();
    std::fs::write(&strange, b"x").unwrap();
    let store = at.open_ready();
    assert_eq!((store.usage().incomplete, part_files(&at)), (1, vec![newer, strange]));
    assert_eq!(held(&found(&store, URL).await[0]), [0]);
}
