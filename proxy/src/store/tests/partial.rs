//! Responses of which some blocks are stored: blocks come in any order, through restarts, until the response is whole.

use bulaq_cache_policy::CacheTag;

use super::*;
use crate::store::{BLOCK_BYTES, Incomplete, PurgeMode, Scope};

const URL: &str = "http://a.kz/film";

/// A film's length: blocks whole and one that is not.
const FILM_BYTES: usize = 5 * MIB + 77;

fn film() -> Bytes {
    body(FILM_BYTES, 9)
}

/// The bytes of a block, as they came: in pieces of odd lengths.
fn chunks(body: &Bytes, block: u64) -> Vec<Bytes> {
    let start = (block * BLOCK_BYTES) as usize;
    let whole = body.slice(start..body.len().min(start + MIB));
    let cuts = [0, 1, 1, 70_001, whole.len()].map(|cut| cut.min(whole.len()));
    cuts.windows(2).map(|ends| whole.slice(ends[0]..ends[1])).collect()
}

async fn begin(store: &Store, url: &str, bytes: usize) -> Arc<Incomplete> {
    store.begin_incomplete(&key(url), head("\"1\""), bytes as u64).await.unwrap()
}

async fn put(incomplete: &Incomplete, body: &Bytes, block: u64) -> Option<Arc<StoredResponse>> {
    incomplete.put(block, &chunks(body, block)).await.unwrap()
}

async fn found(store: &Store, url: &str) -> Vec<Arc<Incomplete>> {
    store.find_incomplete(&key(url), restore).await
}

/// All bytes of a block, as its readers get them; none when it is missing.
async fn read_block(incomplete: &Incomplete, block: u64) -> Option<Bytes> {
    let (mut at, end) = (block * BLOCK_BYTES, incomplete.complete_length().min((block + 1) * BLOCK_BYTES));
    let mut bytes = Vec::new();
    while at < end {
        match incomplete.read_at(at, 300_000).await {
            Ok(part) => {
                assert!(!part.is_empty());
                at += part.len() as u64;
                bytes.extend_from_slice(&part);
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                return None;
            }
        }
    }
    assert_eq!(at, end, "a read goes never past the block");
    Some(bytes.into())
}

fn held(incomplete: &Incomplete) -> Vec<u64> {
    (0..incomplete.blocks()).filter(|&block| incomplete.has_block(block)).collect()
}

fn part_files(at: &Box) -> Vec<PathBuf> {
    files_below(&at.path("parts"))
}

#[tokio::test]
async fn blocks_come_in_any_order_and_then_it_is_whole() {
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]] {
        let at = Box::new();
        let store = at.open_ready();
        assert!(found(&store, URL).await.is_empty());
        let incomplete = begin(&store, URL, FILM_BYTES).await;
        assert_eq!(
            (incomplete.blocks(), incomplete.held_bytes(), incomplete.complete_length()),
            (6, 0, FILM_BYTES as u64)
        );
        let mut stored = None;
        for (count, block) in order.into_iter().enumerate() {
            assert!(stored.is_none() && find(&store, URL).await.is_empty(), "not whole");
            assert!(!incomplete.has_block(block));
            assert_eq!(read_block(&incomplete, block).await, None);
            stored = put(&incomplete, &film(), block).await;
            assert_eq!(held(&incomplete).len(), count + 1);
            assert!(read_block(&incomplete, block).await == Some(chunks(&film(), block).concat().into()));
            assert!(put(&incomplete, &film(), block).await.is_none(), "a second time it changes nothing");
        }
        let stored = stored.expect("the last block makes it whole");
        assert_eq!(incomplete.held_bytes(), FILM_BYTES as u64);
        assert_eq!((stored.body_bytes(), stored.body.digest), (FILM_BYTES as u64, *blake3::hash(&film()).as_bytes()));
        assert!(served(&store, URL).await == Some(film()));
        assert!(found(&store, URL).await.is_empty() && part_files(&at).is_empty());
        assert!(read_block(&incomplete, 3).await.is_some(), "who has it open goes on");
        let usage = store.usage();
        assert_eq!((usage.responses, usage.incomplete, usage.incomplete_bytes), (1, 0, 0));
        assert_eq!(usage.bytes, at.body_files()[0].metadata().unwrap().len().next_multiple_of(4096));
        // The same file as one that came in one go, but for its name and the room in its head.
        let whole = fill(&store, "http://a.kz/other", &film()).await;
        assert_eq!(whole.body.digest, stored.body.digest);
        drop((incomplete, stored, whole));
        store.close().await;
        let store = at.open_ready();
        assert!(served(&store, URL).await == Some(film()));
        assert_eq!(store.verify(|_, _| {}).await.damaged, []);
    }
}

#[tokio::test]
async fn a_purge_knows_what_is_stored_in_part() {
    let at = Box::new();
    let tagged = |tag: &str| Scope::Tagged { host: "a.kz".into(), tags: CacheTag::new(tag).into_iter().collect() };
    let store = at.open_ready();
    let film = film();
    let head = restore(parts(&[("etag", "\"1\""), ("cache-control", "max-age=600"), ("cache-tag", "films")], None));
    let incomplete = store.begin_incomplete(&key(URL), head, FILM_BYTES as u64).await.unwrap();
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
    store.freshen_incomplete(&found(&store, URL).await[0], confirmed).await;
    assert!(!is_stale(&store).await);
    assert_eq!(store.purge(tagged("films"), PurgeMode::Hard).await.responses, 0, "it has lost the tag");
    for scope in [Scope::Url(key(URL)), Scope::Prefix("http://a.kz/f".into()), Scope::Host("a.kz".into())] {
        assert_eq!(store.purge(scope.clone(), PurgeMode::Soft).await.responses, 1, "{scope:?}");
        assert_eq!(store.purge(scope.clone(), PurgeMode::Hard).await.responses, 1, "{scope:?}");
        assert!(found(&store, URL).await.is_empty() && part_files(&at).is_empty());
        begin(&store, URL, FILM_BYTES).await;
    }
}
