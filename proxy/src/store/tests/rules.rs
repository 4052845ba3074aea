//! What is derived under rules that no longer hold is used where it is, and never remembered.

use super::*;
use crate::store::{PurgeMode, Scope};

#[tokio::test]
async fn what_is_of_old_rules_is_not_remembered() {
    let at = Box::new();
    let store = at.open_ready();
    let url = "http://a.kz/";
    let is_remembered = || store.find_in_memory(&key(url)).is_some();
    let old = store.rules();
    let mut fill = store.begin(&key(url), head("\"1\""), None, old).unwrap();
    fill.append(body(2000, 1)).await.unwrap();
    store.forget_memory();
    let stored = fill.finish().await.unwrap();
    assert!(!is_remembered(), "a fill that crosses the change");
    store.begin(&key(url), head("\"1\""), None, old).unwrap().finish().await.unwrap();
    assert!(!is_remembered(), "one that begins after it, for who asked before it");

    assert_eq!(store.find(&key(url), old, restore).await.len(), 1);
    assert!(!is_remembered(), "a look-up");
    assert_eq!(store.find(&key(url), store.rules(), restore).await.len(), 1);
    assert!(is_remembered());

    let known = store.find_in_memory(&key(url)).unwrap()[0].clone();
    let freshened = store.freshen(&known, head("\"2\""), old).await;
    assert_eq!(etag_of(&freshened), "\"2\"");
    assert!(!is_remembered(), "a 304");
    drop(stored);
    assert_eq!(etag_of(&store.find(&key(url), store.rules(), restore).await[0]), "\"2\"", "the disk has it");
}

#[tokio::test]
async fn a_place_in_memory_is_empty_as_soon_as_it_does_not_hold_any_more() {
    let url = "http://a.kz/";
    type Change = for<'a> fn(&'a Store, Arc<StoredResponse>) -> futures_util::future::BoxFuture<'a, ()>;
    let changes: [(&str, Change); 7] = [
        ("a 304", |store, stored| {
            std::boxed::Box::pin(async move { drop(store.freshen(&stored, head("\"2\""), store.rules()).await) })
        }),
        ("a replacement", |store, _| {
            std::boxed::Box::pin(async move { drop(fill(store, "http://a.kz/", &body(9, 2)).await) })
        }),
        ("another variant", |store, _| {
            let other = restore(parts(&[], Some("kk")));
            std::boxed::Box::pin(
                async move { drop(try_fill(store, "http://a.kz/", other, &body(9, 2)).await.unwrap()) },
            )
        }),
        ("a removal", |store, _| {
            std::boxed::Box::pin(async move { assert_eq!(store.remove(&key("http://a.kz/")).await, 1) })
        }),
        ("a soft purge", |store, _| {
            std::boxed::Box::pin(async move {
                assert_eq!(store.purge(Scope::Host("a.kz".to_owned()), PurgeMode::Soft).await.responses, 1)
            })
        }),
        ("other rules", |store, _| std::boxed::Box::pin(async move { store.forget_memory() })),
        ("a file that nobody can name any more", |store, _| {
            std::boxed::Box::pin(async move { store.0.memory.clear() })
        }),
    ];
    for (name, change) in changes {
        let at = Box::new();
        let store = at.open_ready();
        let stored = fill(&store, url, &body(100, 1)).await;
        let place = store.place_in_memory(&key(url)).unwrap();
        let there = store.at_place(&place).unwrap();
        assert!(Arc::ptr_eq(&there, &store.find_in_memory(&key(url)).unwrap()));
        change(&store, stored).await;
        assert!(store.at_place(&place).is_none(), "{name}");
        assert!(store.find_in_memory(&key(url)).is_none_or(|now| !Arc::ptr_eq(&there, &now)), "{name}");
    }
}

#[tokio::test]
async fn a_place_of_what_memory_has_no_room_for_is_empty_too() {
    let at = Box::with(|options| options.memory_bytes_max = 100_000);
    let store = at.open_ready();
    let mut places = Vec::new();
    for page in 0..100 {
        let url = format!("http://a.kz/{page}");
        fill(&store, &url, &body(5_000, 1)).await;
        places.extend(store.place_in_memory(&key(&url)).map(|place| (url, place)));
    }
    let empty = places.iter().filter(|(url, place)| {
        let found = store.find_in_memory(&key(url));
        let there = store.at_place(place);
        assert!(found.is_some() || there.is_none(), "{url}");
        there.is_none()
    });
    assert!(empty.count() > 0);
}
