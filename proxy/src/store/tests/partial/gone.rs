//! Removed, purged or replaced: it is gone at once, nothing that is put into it is kept, and who reads it can go on.

use std::sync::LazyLock;

use bulaq_cache_policy::CacheTag;

use super::*;
use crate::store::{PurgeMode, Scope};

const BYTES: usize = 2 * MIB + 5;

fn short_film() -> Bytes {
    static FILM: LazyLock<Bytes> = LazyLock::new(|| body(BYTES, 5));
    FILM.clone()
}

async fn with_a_block(store: &Store, url: &str) -> Arc<Incomplete> {
    let incomplete = begin(store, url, BYTES).await;
    put(&incomplete, &short_film(), 0).await;
    incomplete
}

#[tokio::test]
async fn whatever_removes_it_no_put_takes_effect_and_reads_go_on() {
    for is_open in [true, false] {
        for way in 0..6 {
            let at = Box::new();
            let store = at.open_ready();
            let url = "http://a.kz/x/film";
            let incomplete = with_a_block(&store, url).await;
            let (store, incomplete) = if is_open {
                (store, Some(incomplete))
            } else {
                drop(incomplete);
                store.close().await;
                (at.open_ready(), None)
            };
            match way {
                0 => assert_eq!(store.remove(&key(url)).await, 1),
                1 => assert_eq!(store.purge(Scope::Host("a.kz".into()), PurgeMode::Hard).await.responses, 1),
                2 => {
                    let purged = store.purge(Scope::Prefix("http://a.kz/x/".into()), PurgeMode::Hard).await;
                    assert!(purged.responses == 1 && purged.bytes > BLOCK_BYTES);
                }
                3 => drop(fill(&store, url, &body(10, 1)).await),
                4 => drop(begin(&store, url, BYTES).await),
                _ => store.remove_incomplete(&found(&store, url).await[0]).await,
            }
            let context = format!("way {way}, open: {is_open}");
            if let Some(incomplete) = incomplete {
                assert!(incomplete.is_gone(), "{context}");
                for block in 0..3 {
                    let refused = incomplete.put(block, &chunks(&short_film(), block)).await;
                    assert!(matches!(refused, Err(StoreRefusal::Invalidated)), "{context}: {refused:?}");
                }
                assert!(read_block(&incomplete, 0).await == Some(short_film().slice(..MIB)), "{context}");
            }
            let left = found(&store, url).await;
            assert!(left.iter().all(|one| held(one).is_empty()) && left.len() == usize::from(way == 4), "{context}");
            assert_eq!(part_files(&at).len(), usize::from(way == 4), "{context}");
            assert_eq!(find(&store, url).await.len(), usize::from(way == 3), "{context}");
            assert!(store.usage().incomplete_bytes < MIB as u64, "{context}");
        }
    }
}

#[tokio::test]
async fn a_purge_takes_what_it_names_of_parts_too_and_nothing_else() {
    let urls = ["http://a.kz/", "http://a.kz/x/1", "http://a.kz/x/2", "http://b.kz/x/1", "https://a.kz/x/1"];
    let at = Box::new();
    let mut store = at.open_ready();
    for url in urls {
        drop(with_a_block(&store, url).await);
    }
    for restarts in [false, true] {
        if restarts {
            store.close().await;
            store = at.open_ready();
            assert_eq!(store.purge(Scope::Host("a.kz".into()), PurgeMode::Hard).await.responses, 2);
        } else {
            assert_eq!(store.purge(Scope::Prefix("http://a.kz/x/".into()), PurgeMode::Hard).await.responses, 2);
        }
        let mut left = Vec::new();
        for url in urls {
            left.extend(found(&store, url).await.iter().map(|one| one.key().as_str().to_owned()));
        }
        let expected: &[&str] =
            if restarts { &["http://b.kz/x/1"] } else { &["http://a.kz/", "http://b.kz/x/1", "https://a.kz/x/1"] };
        assert_eq!(left, expected);
    }
}

/// The last block and a purge at the same moment, again and again: either it was whole before and is purged, or it
/// never becomes whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_purge_while_the_last_block_comes() {
    let at = Box::new();
    let store = at.open_ready();
    for round in 0..30 {
        let url = format!("http://a.kz/{round}");
        let incomplete = with_a_block(&store, &url).await;
        put(&incomplete, &short_film(), 1).await;
        let (putting, purging) = (Arc::clone(&incomplete), store.clone());
        let last = tokio::spawn(async move { putting.put(2, &chunks(&short_film(), 2)).await.map(drop) });
        let purge = tokio::spawn(async move {
            match round % 3 {
                0 => purging.remove(&key(&format!("http://a.kz/{round}"))).await as u64,
                1 => purging.purge(Scope::Host("a.kz".into()), PurgeMode::Hard).await.responses,
                _ => purging.purge(Scope::Prefix("http://a.kz/".into()), PurgeMode::Hard).await.responses,
            }
        });
        assert!(purge.await.unwrap() > 0);
        let outcome = last.await.unwrap();
        assert!(matches!(outcome, Ok(()) | Err(StoreRefusal::Invalidated)), "{outcome:?}");
        assert!(find(&store, &url).await.is_empty() && found(&store, &url).await.is_empty(), "{round}");
    }
    assert_eq!((at.body_files().len(), part_files(&at).len(), store.usage().bytes), (0, 0, 0));
}

#[tokio::test]
async fn what_became_whole_takes_the_place_of_the_whole_that_was() {
    let at = Box::new();
    let store = at.open_ready();
    let old = fill(&store, URL, &body(5_000, 1)).await;
    let incomplete = store.begin_incomplete(&key(URL), head("\"2\""), BYTES as u64, store.rules()).await.unwrap();
    for block in 0..3 {
        assert_eq!(etag_of(&find(&store, URL).await[0]), "\"1\"", "until then the old one is there");
        put(&incomplete, &short_film(), block).await;
    }
    assert_eq!(etag_of(&find(&store, URL).await[0]), "\"2\"");
    assert!(served(&store, URL).await == Some(short_film()));
    assert_eq!((at.body_files().len(), store.usage().responses), (1, 1));
    assert_eq!(old.small_body(), Some(body(5_000, 1)));
    assert_eq!(store.remove(&key(URL)).await, 1);
    assert!(read_block(&incomplete, 2).await == Some(short_film().slice(2 * MIB..)), "and who reads it can go on");
    let held_now = found(&store, URL).await.len();
    assert_eq!((held_now, store.usage().bytes), (0, 0));
}

#[tokio::test]
async fn a_purge_knows_what_is_stored_in_part() {
    let at = Box::new();
    let tagged = |tag: &str| Scope::Tagged { host: "a.kz".into(), tags: CacheTag::new(tag).into_iter().collect() };
    let store = at.open_ready();
    let film = film();
    let head = restore(parts(&[("etag", "\"1\""), ("cache-control", "max-age=600"), ("cache-tag", "films")], None));
    let incomplete = store.begin_incomplete(&key(URL), head, FILM_BYTES as u64, store.rules()).await.unwrap();
    put(&incomplete, &film, 2).await;
    assert_eq!(store.purge(tagged("books"), PurgeMode::Hard).await.responses, 0);
    assert_eq!(store.purge(tagged("films"), PurgeMode::Soft).await.responses, 1);
    let is_stale = async |store: &Store| found(store, URL).await[0].head().parts().is_marked_stale;
    assert!(is_stale(&store).await);
    put(&incomplete, &film, 0).await;
    drop(incomplete);
    store.close().await;

    let store = at.open_ready();
    assert!(is_stale(&store).await, "the file says it too");
    assert_eq!(held(&found(&store, URL).await[0]), [0, 2], "the blocks stay");
    let confirmed = restore(parts(&[("etag", "\"1\""), ("cache-control", "max-age=600")], None));
    store.freshen_incomplete(&found(&store, URL).await[0], confirmed, store.rules()).await;
    assert!(!is_stale(&store).await);
    assert_eq!(store.purge(tagged("films"), PurgeMode::Hard).await.responses, 0, "it has lost the tag");
    for scope in [Scope::Url(key(URL)), Scope::Prefix("http://a.kz/f".into()), Scope::Host("a.kz".into())] {
        assert_eq!(store.purge(scope.clone(), PurgeMode::Soft).await.responses, 1, "{scope:?}");
        assert_eq!(store.purge(scope.clone(), PurgeMode::Hard).await.responses, 1, "{scope:?}");
        assert!(found(&store, URL).await.is_empty() && part_files(&at).is_empty());
        begin(&store, URL, FILM_BYTES).await;
    }
}
