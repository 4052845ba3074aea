//! Storing, finding, freshening, replacing, removing; and that a restart keeps all of it.

use bulaq_cache_policy::CacheTag;

use super::*;
use crate::store::{IndexState, Operation, PurgeMode, Scope, StoreError};

#[tokio::test]
async fn what_is_stored_is_found_now_and_after_a_restart() {
    let at = Box::new();
    let sizes = [0, 1, 10_000, 64 << 10, (64 << 10) + 1, MIB, MIB + 1, 3 * MIB + 77];
    let store = at.open_ready();
    for (seed, bytes) in sizes.into_iter().enumerate() {
        let url = format!("http://a.kz/{bytes}");
        let stored = fill(&store, &url, &body(bytes, seed as u8)).await;
        assert_eq!(stored.body_bytes(), bytes as u64);
        assert_eq!(stored.small_body().is_some(), bytes <= 64 << 10);
        assert!(store.find_in_memory(&key(&url)).is_some());
    }
    assert_eq!(store.usage().responses, sizes.len() as u64);
    store.forget_memory();
    assert!(store.find_in_memory(&key("http://a.kz/1")).is_none());
    for (seed, bytes) in sizes.into_iter().enumerate() {
        assert!(served(&store, &format!("http://a.kz/{bytes}")).await == Some(body(bytes, seed as u8)), "{bytes}");
    }
    let usage = store.usage();
    store.close().await;

    let store = at.open_ready();
    assert_eq!((store.usage().responses, store.usage().bytes), (usage.responses, usage.bytes));
    assert_eq!(store.usage().index_state, IndexState::Ready);
    for (seed, bytes) in sizes.into_iter().enumerate() {
        let url = format!("http://a.kz/{bytes}");
        assert!(served(&store, &url).await == Some(body(bytes, seed as u8)), "{bytes}");
        assert_eq!(etag_of(&find(&store, &url).await[0]), "\"1\"");
        assert_eq!(find(&store, &url).await[0].stored_at(), start());
    }
    assert_eq!(served(&store, "http://a.kz/none").await, None);
    assert_eq!(served(&store, "http://a.kz/1?x").await, None);
}

#[tokio::test]
async fn a_dropped_fill_leaves_nothing() {
    for has_unnamed in [true, false] {
        let at = Box::new();
        if !has_unnamed {
            at.faults.refuse_unnamed_files();
        }
        let store = at.open_ready();
        for bytes in [100, MIB] {
            let mut fill = store.begin(&key("http://a.kz/"), head("\"1\""), None, store.rules()).unwrap();
            fill.append(body(bytes, 1)).await.unwrap();
            drop(fill);
        }
        assert_eq!(served(&store, "http://a.kz/").await, None);
        assert_eq!(files_below(&at.path("bodies")).len() + files_below(&at.path("incoming")).len(), 0);
        assert_eq!(store.usage().bytes, 0);
        fill(&store, "http://a.kz/", &body(MIB, 2)).await;
        assert!(served(&store, "http://a.kz/").await == Some(body(MIB, 2)), "and the store goes on");
        assert_eq!(files_below(&at.path("incoming")).len(), 0);
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_not_stored() {
    let at = Box::new();
    let store = at.open_ready();
    for (announced, sent) in [(10, 9), (10, 11), (0, 1), (2 * MIB, MIB), (MIB, MIB + 1)] {
        let mut fill = store.begin(&key("http://a.kz/"), head("\"1\""), Some(announced as u64), store.rules()).unwrap();
        let result = match fill.append(body(sent, 1)).await {
            Ok(()) => fill.finish().await.map(drop),
            Err(refusal) => Err(refusal),
        };
        assert!(matches!(result, Err(StoreRefusal::LengthMismatch { .. })), "{announced} {sent}");
    }
    assert_eq!((served(&store, "http://a.kz/").await, at.body_files().len()), (None, 0));
}

#[tokio::test]
async fn a_new_response_replaces_the_old_one() {
    let at = Box::new();
    let store = at.open_ready();
    let url = "http://a.kz/";
    for seed in 0..4 {
        let bytes = [10, MIB, 20_000, 2 * MIB][seed as usize];
        fill(&store, url, &body(bytes, seed)).await;
        assert!(served(&store, url).await == Some(body(bytes, seed)));
        assert_eq!((at.body_files().len(), store.usage().responses), (1, 1));
    }
    store.close().await;
    assert!(served(&at.open_ready(), url).await == Some(body(2 * MIB, 3)));
}

#[tokio::test]
async fn variants_stand_side_by_side_up_to_a_limit() {
    let at = Box::with(|options| options.variants_max = 3);
    let store = at.open_ready();
    let url = "http://a.kz/";
    for (minute, language) in ["kk", "ru", "en", "kk", "de"].into_iter().enumerate() {
        at.clock.set(start() + Duration::from_secs(60 * minute as u64));
        let head = restore(parts(&[("vary", "accept-language"), ("etag", &format!("\"{language}\""))], Some(language)));
        try_fill(&store, url, head, &body(100, minute as u8)).await.unwrap();
    }
    let languages = |variants: &Variants| {
        let mut etags: Vec<String> = variants.iter().map(|stored| etag_of(stored).to_owned()).collect();
        etags.sort();
        etags
    };
    // The oldest was Russian, since Kazakh was stored again.
    assert_eq!(languages(&find(&store, url).await), ["\"de\"", "\"en\"", "\"kk\""]);
    store.forget_memory();
    assert_eq!(languages(&find(&store, url).await), ["\"de\"", "\"en\"", "\"kk\""]);
    assert_eq!((at.body_files().len(), store.usage().responses), (3, 3));
    assert_eq!(store.remove(&key(url)).await, 3);
    assert!(find(&store, url).await.is_empty());
    assert_eq!((at.body_files().len(), store.usage().responses, store.usage().bytes), (0, 0, 0));
}

#[tokio::test]
async fn the_least_used_variant_makes_room() {
    let at = Box::with(|options| options.variants_max = 4);
    let store = at.open_ready();
    let url = "http://a.kz/";
    let add = async |language: &str, minute: u64| {
        at.clock.set(start() + Duration::from_secs(60 * minute));
        let head = restore(parts(&[("vary", "accept-language"), ("etag", &format!("\"{language}\""))], Some(language)));
        try_fill(&store, url, head, &body(100, 1)).await.unwrap()
    };
    let (kk, ru, en) = (add("kk", 0).await, add("ru", 1).await, add("en", 2).await);
    for (stored, uses) in [(&kk, 9), (&ru, 2), (&en, 5)] {
        (0..uses).for_each(|_| store.touch(stored));
    }
    // A hundred that nobody asks for twice push out none that is used.
    for other in 0..100 {
        add(&format!("x{other}"), 3 + other).await;
    }
    let mut left: Vec<String> = find(&store, url).await.iter().map(|stored| etag_of(stored).to_owned()).collect();
    left.sort();
    assert_eq!(left, ["\"en\"", "\"kk\"", "\"ru\"", "\"x99\""]);
    // Of those that are used, the one that is used least.
    let last = find(&store, url).await.iter().find(|stored| etag_of(stored) == "\"x99\"").cloned().unwrap();
    (0..3).for_each(|_| store.touch(&last));
    add("de", 110).await;
    assert!(!find(&store, url).await.iter().any(|stored| etag_of(stored) == "\"ru\""));
    assert_eq!((at.body_files().len(), store.usage().responses), (4, 4));
}

#[tokio::test]
async fn a_soft_purge_marks_stale_and_keeps_across_a_restart() {
    let at = Box::new();
    let store = at.open_ready();
    let urls = ["http://a.kz/x/1", "http://a.kz/x/2", "http://a.kz/y", "http://b.kz/x/1"];
    for (seed, url) in urls.iter().enumerate() {
        let head = restore(parts(
            &[("cache-control", "max-age=600"), ("cache-tag", if seed % 2 == 0 { "even" } else { "odd" })],
            None,
        ));
        try_fill(&store, url, head, &body(if seed == 0 { 2 * MIB } else { 100 }, seed as u8)).await.unwrap();
    }
    let stale = async |store: &Store| {
        let mut stale = Vec::new();
        for url in urls {
            let variants = find(store, url).await;
            if variants[0].head.parts().is_marked_stale {
                assert!(!variants[0].head.is_fresh(start()));
                stale.push(url);
            }
        }
        stale
    };
    assert_eq!(store.purge(Scope::Prefix("http://a.kz/x/".into()), PurgeMode::Soft).await.responses, 2);
    assert_eq!(stale(&store).await, urls[..2]);
    store.close().await;
    let store = at.open_ready();
    assert_eq!(stale(&store).await, urls[..2]);
    assert_eq!(store.purge(Scope::Url(key(urls[3])), PurgeMode::Soft).await.responses, 1);
    let even = Scope::Tagged { host: "a.kz".into(), tags: CacheTag::new("EVEN").into_iter().collect() };
    assert_eq!(store.purge(even, PurgeMode::Soft).await.responses, 2, "of this host, those with the tag");
    assert_eq!(stale(&store).await, urls);
    // The body stays, and a 304 makes it fresh again.
    assert!(served(&store, urls[0]).await == Some(body(2 * MIB, 0)));
    let fresh = restore(parts(&[("cache-control", "max-age=600")], None));
    let fresh = store.freshen(&find(&store, urls[0]).await[0], fresh, store.rules()).await;
    assert!(fresh.head.is_fresh(start()));
    assert_eq!(stale(&store).await, urls[1..]);
    assert_eq!(store.verify(|_, _| {}).await.damaged, []);
}

#[tokio::test]
async fn tags_are_found_however_the_index_came_about() {
    let at = Box::new();
    let tagged = |tag: &str| Scope::Tagged { host: "a.kz".into(), tags: CacheTag::new(tag).into_iter().collect() };
    let purged = async |store: &Store, tag: &str| store.purge(tagged(tag), PurgeMode::Hard).await.responses;
    for way in ["rows", "files", "folders", "304"] {
        let store = at.open_ready();
        let mut first = None;
        for page in 0..20 {
            let head = restore(parts(&[("surrogate-key", &format!("all page-{page}"))], None));
            first = Some(try_fill(&store, &format!("http://a.kz/{page}"), head, &body(100, page)).await.unwrap());
        }
        let other = restore(parts(&[("cache-tag", "all, page-3")], None));
        try_fill(&store, "http://b.kz/3", other, &body(100, 1)).await.unwrap();
        let store = match way {
            "rows" => store,
            "304" => {
                let head = restore(parts(&[("cache-tag", "page-3")], None));
                store.freshen(&first.unwrap(), head, store.rules()).await;
                assert_eq!(purged(&store, "page-19").await, 0, "the 304 took the tag away");
                store
            }
            _ => {
                store.close().await;
                std::fs::remove_dir_all(at.path("index")).unwrap();
                if way == "folders" {
                    // No engine, and no rows: the folders are all there is.
                    at.faults.fail(Operation::Index, 0, u32::MAX, std::io::ErrorKind::Other);
                }
                if way == "folders" { at.open() } else { at.open_ready() }
            }
        };
        let expected = if way == "304" { 2 } else { 1 };
        assert_eq!(purged(&store, "page-3").await, expected, "{way}");
        assert_eq!(purged(&store, "page-3").await, 0, "{way}");
        assert_eq!(purged(&store, "all").await, 20 - expected, "{way}");
        assert_eq!(find(&store, "http://b.kz/3").await.len(), 1, "{way}: another host's tag is another tag");
        at.faults.heal();
        store.close().await;
    }
}

#[tokio::test]
async fn a_variant_joins_those_that_are_on_the_disk_only() {
    let at = Box::new();
    let store = at.open_ready();
    let url = "http://a.kz/";
    for language in ["kk", "ru"] {
        let head = restore(parts(&[("vary", "accept-language")], Some(language)));
        try_fill(&store, url, head, &body(100, 1)).await.unwrap();
        store.forget_memory();
    }
    assert_eq!(find(&store, url).await.len(), 2);
}

#[tokio::test]
async fn a_304_changes_the_head_and_not_the_body() {
    let long = "x".repeat(2000);
    for bytes in [5_000, 2 * MIB + 5] {
        let at = Box::new();
        let store = at.open_ready();
        let url = "http://a.kz/";
        let mut stored = fill(&store, url, &body(bytes, 1)).await;
        // The last ones do not fit the slot: the body moves to a new file.
        for etag in ["\"2\"", "\"3\"", "\"4\"", long.as_str(), "\"6\""] {
            let etag = format!("\"{}\"", etag.trim_matches('"'));
            stored = store.freshen(&stored, head(&etag), store.rules()).await;
            assert_eq!(etag_of(&stored), etag);
            assert_eq!(etag_of(&find(&store, url).await[0]), etag, "in memory");
            store.forget_memory();
            assert_eq!(etag_of(&find(&store, url).await[0]), etag, "on the disk");
            assert!(served(&store, url).await == Some(body(bytes, 1)));
            assert_eq!((at.body_files().len(), store.usage().responses), (1, 1));
            stored = find(&store, url).await[0].clone();
        }
        store.close().await;
        let store = at.open_ready();
        assert_eq!(etag_of(&find(&store, url).await[0]), "\"6\"");
        assert_eq!(store.verify(|_, _| {}).await.damaged, []);
    }
}

#[tokio::test]
async fn freshening_what_was_replaced_changes_nothing() {
    let at = Box::new();
    let store = at.open_ready();
    let url = "http://a.kz/";
    let old = fill(&store, url, &body(100, 1)).await;
    try_fill(&store, url, head("\"new\""), &body(100, 2)).await.unwrap();
    let answer = store.freshen(&old, head("\"late\""), store.rules()).await;
    assert_eq!((etag_of(&answer), answer.small_body().unwrap()), ("\"late\"", body(100, 1)), "it can still be used");
    assert_eq!(etag_of(&find(&store, url).await[0]), "\"new\"");
    store.forget_memory();
    assert_eq!(etag_of(&find(&store, url).await[0]), "\"new\"");
    assert!(served(&store, url).await == Some(body(100, 2)));
}

#[tokio::test]
async fn a_purge_takes_what_it_names_and_nothing_else() {
    let at = Box::new();
    let store = at.open_ready();
    let urls =
        ["http://a.kz/", "http://a.kz/x/1", "http://a.kz/x/2", "http://a.kz/y", "http://b.kz/x/1", "https://a.kz/x/1"];
    for url in urls {
        fill(&store, url, &body(100, 1)).await;
    }
    let left = async |store: &Store| {
        let mut left = Vec::new();
        for url in urls {
            if !find(store, url).await.is_empty() {
                left.push(url);
            }
        }
        left
    };
    let purged = store.purge(Scope::Prefix("http://a.kz/x/".into()), PurgeMode::Hard).await;
    assert_eq!((purged.responses, purged.bytes), (2, 8192));
    assert_eq!(left(&store).await, ["http://a.kz/", "http://a.kz/y", "http://b.kz/x/1", "https://a.kz/x/1"]);
    assert_eq!(store.remove(&key("http://a.kz/y")).await, 1);
    assert_eq!(store.remove(&key("http://a.kz/y")).await, 0);
    assert_eq!(store.purge(Scope::Host("a.kz".into()), PurgeMode::Hard).await.responses, 2);
    assert_eq!(left(&store).await, ["http://b.kz/x/1"]);
    store.close().await;
    let store = at.open_ready();
    assert_eq!(left(&store).await, ["http://b.kz/x/1"]);
    assert_eq!(store.usage().responses, 1);
}

#[tokio::test]
async fn a_purge_reaches_what_is_still_arriving() {
    let at = Box::new();
    let store = at.open_ready();
    let tagged = |tag: &str| Scope::Tagged { host: "a.kz".into(), tags: CacheTag::new(tag).into_iter().collect() };
    for (scope, reaches) in [
        (Scope::Url(key("http://a.kz/x")), true),
        (Scope::Host("a.kz".into()), true),
        (Scope::Prefix("http://a.kz/".into()), true),
        (tagged("algebra"), true),
        (tagged("geometry"), false),
    ] {
        for mode in [PurgeMode::Hard, PurgeMode::Soft] {
            let head = restore(parts(&[("cache-tag", "grade-7, algebra")], None));
            let mut fill = store.begin(&key("http://a.kz/x"), head, None, store.rules()).unwrap();
            fill.append(body(10, 1)).await.unwrap();
            store.purge(scope.clone(), mode).await;
            let stored = fill.finish().await;
            assert_eq!(matches!(stored, Err(StoreRefusal::Invalidated)), reaches, "{scope:?}");
            assert_eq!(find(&store, "http://a.kz/x").await.is_empty(), reaches, "{scope:?}");
            store.remove(&key("http://a.kz/x")).await;
        }
    }
    fill(&store, "http://a.kz/x", &body(10, 1)).await;
    assert_eq!(find(&store, "http://a.kz/x").await.len(), 1);
}

#[tokio::test]
async fn a_listing_shows_each_response_once() {
    let at = Box::new();
    let store = at.open();
    for is_complete in [false, true] {
        if is_complete {
            store.0.index.wait_until_complete();
        }
        for page in 0..30 {
            fill(&store, &format!("http://a.kz/{page}?q=1"), &body(100, page)).await;
        }
        fill(&store, "http://b.kz/", &body(5, 1)).await;
        for (host, expected) in [(Some("a.kz"), 30), (None, 31), (Some("c.kz"), 0)] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = store.list(host, after, 7).await;
                assert!(page.listed.len() <= 7 + 31, "pages are bounded");
                listed.extend(page.listed);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            listed.sort_by(|a, b| a.url.cmp(&b.url));
            listed.dedup_by(|a, b| a.url == b.url);
            assert_eq!(listed.len(), expected, "{host:?}");
            assert!(
                listed.iter().all(|one| one.content_type.as_deref() == Some("text/html") && one.stored_at == start())
            );
        }
    }
}

#[tokio::test]
async fn a_folder_has_one_store_at_a_time() {
    let at = Box::new();
    let store = at.open_ready();
    let second = Store::open(at.options(), at.clock.clone());
    let error = second.err().expect("the folder is taken");
    assert!(matches!(error, StoreError::InUse { .. }));
    assert!(error.to_string().contains("stop that one"), "{error}");
    store.close().await;
    drop(at.open_ready());
    drop(at.open_ready());
}

#[tokio::test]
async fn folders_and_files_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let at = Box::new();
    let store = at.open_ready();
    fill(&store, "http://a.kz/", &body(100, 1)).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["", "bodies", "incoming", "index"] {
        assert_eq!(mode(&at.path(folder)), 0o700, "{folder}");
    }
    let file = &at.body_files()[0];
    assert_eq!((mode(file), mode(file.parent().unwrap()), mode(&at.path("lock"))), (0o600, 0o700, 0o600));
}

#[tokio::test]
async fn nothing_is_begun_that_cannot_end() {
    let at = Box::with(|options| options.body_bytes_max = 1000);
    let store = at.open_ready();
    let begin = |head, length| store.begin(&key("http://a.kz/"), head, length, store.rules()).map(drop);
    assert!(begin(head("\"1\""), Some(1000)).is_ok());
    assert!(matches!(begin(head("\"1\""), Some(1001)), Err(StoreRefusal::TooLarge { limit_bytes: 1000 })));
    assert!(matches!(begin(head(&format!("\"{}\"", "x".repeat(200_000))), None), Err(StoreRefusal::HeadTooLarge)));
    let mut fill = store.begin(&key("http://a.kz/"), head("\"1\""), None, store.rules()).unwrap();
    assert!(matches!(fill.append(body(1001, 1)).await, Err(StoreRefusal::TooLarge { .. })));
    let clone = store.clone();
    store.close().await;
    assert!(matches!(
        clone.begin(&key("http://a.kz/"), head("\"1\""), None, clone.rules()),
        Err(StoreRefusal::Closing)
    ));
}

/// A head is written over a part of the file: wherever the power goes, one of the two heads is whole.
#[tokio::test]
async fn a_head_that_is_cut_while_it_is_written_leaves_the_old_one() {
    for cut in [0, 1, 15, 16, 17, 100, 200] {
        let at = Box::new();
        let store = at.open_ready();
        let mut stored = fill(&store, "http://a.kz/", &body(1000, 1)).await;
        for old in ["\"1\"", "\"2\"", "\"3\""] {
            at.faults.cut_write(cut);
            store.freshen(&stored, head("\"cut\""), store.rules()).await;
            store.forget_memory();
            stored = find(&store, "http://a.kz/").await.first().expect("it is still there").clone();
            assert_eq!(etag_of(&stored), old, "cut at {cut}");
            let next = format!("\"{}\"", old.trim_matches('"').parse::<u8>().unwrap() + 1);
            stored = store.freshen(&stored, head(&next), store.rules()).await;
        }
    }
}

#[tokio::test]
async fn what_memory_lets_go_is_gone_at_once() {
    let at = Box::new();
    let store = at.open_ready();
    let url = "http://a.kz/";
    for way in ["replaced", "removed"] {
        let stored = Arc::downgrade(&fill(&store, url, &body(3_000, 1)).await);
        assert!(find(&store, url).await.len() == 1 && stored.strong_count() > 0);
        match way {
            "replaced" => drop(fill(&store, url, &body(3_000, 2)).await),
            _ => drop(store.remove(&key(url)).await),
        }
        assert_eq!(stored.strong_count(), 0, "{way}");
    }
}
