//! What is derived under rules that no longer hold is used where it is, and never remembered.

use super::*;

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
