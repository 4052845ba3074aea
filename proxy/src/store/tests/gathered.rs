//! Bodies that are too long to be kept in memory, and are gathered there until they are whole.

use futures_util::FutureExt;

use super::reading::read_all;
use super::*;
use crate::store::Fill;

const URL: &str = "http://a.kz/";

fn begin(store: &Store, announced: Option<usize>) -> Fill {
    store.begin(&key(URL), head("\"1\""), announced.map(|bytes| bytes as u64), store.rules()).unwrap()
}

/// Adds it piece by piece, without waiting for anything if it is gathered.
async fn append(fill: &mut Fill, whole: &Bytes, is_gathered: bool) {
    for piece in whole.chunks(50_000) {
        let appending = fill.append(whole.slice_ref(piece));
        let appended = if is_gathered { appending.now_or_never().expect("at once") } else { appending.await };
        appended.unwrap();
    }
}

#[tokio::test]
async fn up_to_a_mebibyte_nothing_waits_for_the_disk() {
    for (bytes, announced, is_gathered) in [
        (65_536, Some(65_536), true),
        (65_537, Some(65_537), true),
        (300_000, Some(300_000), true),
        (300_000, None, true),
        (MIB, Some(MIB), true),
        (MIB, None, true),
        (MIB + 1, Some(MIB + 1), false),
        (MIB + 1, None, false),
    ] {
        let at = Box::new();
        let (store, whole) = (at.open_ready(), body(bytes, 1));
        let room = store.0.gathering.available_permits();
        let mut fill = begin(&store, announced);
        let early = fill.reader();
        append(&mut fill, &whole, is_gathered).await;
        let is_held = is_gathered && bytes > 65_536;
        assert_eq!(store.0.gathering.available_permits() < room, is_held, "{bytes} {announced:?}");
        assert!(read_all(&early, bytes as u64).await == whole);
        let stored = fill.finish().await.unwrap();
        assert_eq!(stored.body.small.is_some(), bytes <= 65_536, "{bytes}");
        assert_eq!(store.0.gathering.available_permits(), room, "though somebody still reads it");
        assert!(read_all(&early, bytes as u64).await == whole);
        assert!(served(&store, URL).await == Some(whole.clone()));
        store.forget_memory();
        assert!(served(&store, URL).await == Some(whole));
        store.close().await;
        assert_eq!(at.open_ready().verify(|_, _| {}).await.damaged, []);
    }
}

#[tokio::test]
async fn what_finds_no_room_is_written_as_it_arrives() {
    let at = Box::with(|options| options.gathered_bytes_max = 500_000);
    let (store, whole) = (at.open_ready(), body(300_000, 1));
    let begun = async |announced, is_gathered| {
        let mut fill = begin(&store, announced);
        append(&mut fill, &whole, is_gathered).await;
        fill
    };
    let first = begun(Some(300_000), true).await;
    begun(Some(300_000), false).await.finish().await.unwrap();
    let reader = first.reader();
    drop(first);
    assert_eq!(store.0.gathering.available_permits(), 200_000, "somebody still reads the first, from memory");
    drop(reader);
    begun(Some(300_000), true).await;
    begun(None, false).await; // it might be as long as a mebibyte
    assert_eq!(store.0.gathering.available_permits(), 500_000);
    assert!(served(&store, URL).await == Some(whole.clone()));
}
