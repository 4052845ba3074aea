//! The cap, the floor, pins, and a full disk.

use super::*;
use crate::store::Operation;

fn small_cap(options: &mut StoreOptions) {
    options.bytes_max = 100 * 4096;
}

fn url(page: usize) -> String {
    format!("http://a.kz/{page}")
}

async fn found(store: &Store, pages: std::ops::Range<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    for page in pages {
        if !find(store, &url(page)).await.is_empty() {
            found.push(page);
        }
    }
    found
}

#[tokio::test]
async fn the_store_never_grows_past_its_cap() {
    let at = Box::with(small_cap);
    let store = at.open_ready();
    for page in 0..300 {
        at.clock.advance(Duration::from_secs(60));
        fill(&store, &url(page), &body(2000, page as u8)).await;
        assert!(store.usage().bytes <= store.usage().bytes_max, "after {page}");
    }
    let left = found(&store, 0..300).await;
    assert!(left.len() > 80 && left.len() <= 100, "{}", left.len());
    assert_eq!((store.usage().responses, at.body_files().len()), (left.len() as u64, left.len()));
    let median = left[left.len() / 2];
    assert!(median > 200, "the old ones went first: {median}");
    assert!(matches!(
        store.begin(&key(&url(1)), head("\"1\""), Some(100 * 4096 + 1), store.rules()).err(),
        Some(StoreRefusal::TooLarge { .. })
    ));
}

#[tokio::test]
async fn what_is_used_stays() {
    let at = Box::with(small_cap);
    let store = at.open_ready();
    for page in 0..300 {
        at.clock.advance(Duration::from_secs(600));
        fill(&store, &url(page), &body(2000, 1)).await;
        for used in 0..10.min(page) {
            if let Some(stored) = find(&store, &url(used)).await.first() {
                store.touch(stored);
            }
        }
    }
    assert_eq!(found(&store, 0..10).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_pinned_stays_until_its_time_and_takes_a_part_only() {
    let at = Box::with(|options| {
        small_cap(options);
        options.pinned_percent_max = 30;
    });
    let store = at.open_ready();
    let tomorrow = start() + Duration::from_secs(24 * 3600);
    let mut pinned = 0;
    for page in 0..50 {
        let stored = fill(&store, &url(page), &body(2000, 1)).await;
        pinned += usize::from(store.pin_until(&stored, tomorrow).await);
    }
    assert_eq!((pinned, store.usage().pinned_bytes), (30, 30 * 4096));
    for page in 50..400 {
        at.clock.advance(Duration::from_secs(60));
        fill(&store, &url(page), &body(2000, 1)).await;
    }
    assert_eq!(found(&store, 0..30).await, (0..30).collect::<Vec<_>>());
    store.close().await;

    let store = at.open_ready();
    assert_eq!(store.usage().pinned_bytes, 30 * 4096, "pins outlive a restart");
    at.clock.set(tomorrow);
    assert_eq!(store.usage().pinned_bytes, 0);
    for page in 400..800 {
        at.clock.advance(Duration::from_secs(60));
        fill(&store, &url(page), &body(2000, 1)).await;
    }
    assert!(found(&store, 0..30).await.len() < 10, "their time is over");
}

#[tokio::test]
async fn with_everything_pinned_nothing_more_is_stored_and_nothing_fails() {
    let at = Box::with(|options| {
        options.bytes_max = 10 * 4096;
        options.pinned_percent_max = 100;
    });
    let store = at.open_ready();
    for page in 0..9 {
        let stored = fill(&store, &url(page), &body(2000, 1)).await;
        store.pin_until(&stored, start() + Duration::from_secs(3600)).await;
    }
    fill(&store, &url(9), &body(2000, 1)).await;
    fill(&store, &url(10), &body(2000, 1)).await; // takes the only place that is not pinned
    let refusal = try_fill(&store, &url(11), head("\"1\""), &body(9000, 1)).await.unwrap_err();
    assert!(matches!(refusal, StoreRefusal::NoRoom), "{refusal}");
    // Whoever comes next is told at the beginning, and nobody looks through the folders again for a while.
    let refused = store.begin(&key(&url(12)), head("\"1\""), Some(9000), store.rules()).map(drop);
    assert!(matches!(refused, Err(StoreRefusal::NoRoom)), "{refused:?}");
    assert_eq!(found(&store, 0..9).await.len(), 9);
}

#[tokio::test]
async fn a_long_body_of_unknown_length_makes_room_as_it_grows() {
    let at = Box::with(|options| options.bytes_max = 24 << 20);
    let store = at.open_ready();
    for page in 0..20 {
        at.clock.advance(Duration::from_secs(60));
        fill(&store, &url(page), &body(MIB, 1)).await;
    }
    let mut fill = store.begin(&key("http://a.kz/film"), head("\"1\""), None, store.rules()).unwrap();
    for _ in 0..10 {
        fill.append(body(MIB, 7)).await.unwrap();
    }
    fill.finish().await.unwrap();
    assert!(store.usage().bytes <= 24 << 20);
    assert_eq!(served(&store, "http://a.kz/film").await.map(|body| body.len()), Some(10 * MIB));
    let mut endless = store.begin(&key("http://a.kz/endless"), head("\"1\""), None, store.rules()).unwrap();
    let mut refusal = None;
    for _ in 0..30 {
        if let Err(refused) = endless.append(body(MIB, 7)).await {
            refusal = Some(refused);
            break;
        }
    }
    assert!(matches!(refusal, Some(StoreRefusal::TooLarge { .. } | StoreRefusal::NoRoom)), "{refusal:?}");
    drop(endless);
    super::fill(&store, &url(99), &body(MIB, 1)).await;
}

#[tokio::test]
async fn the_floor_of_free_disk_is_kept_by_evicting_and_then_by_refusing() {
    let at = Box::with(|options| options.free_bytes_min = 1 << 30);
    let store = at.open_ready();
    for page in 0..5 {
        fill(&store, &url(page), &body(2000, 1)).await;
    }
    at.faults.set_free_bytes((1 << 30) - 1);
    let refusal = try_fill(&store, &url(5), head("\"1\""), &body(2000, 1)).await.unwrap_err();
    assert!(matches!(refusal, StoreRefusal::NoRoom), "{refusal}");
    assert_eq!(store.usage().free_bytes, Some((1 << 30) - 1));
    at.faults.heal();
    fill(&store, &url(5), &body(2000, 1)).await;
    assert_eq!(found(&store, 5..6).await, [5], "well again without a hand");
}

#[tokio::test]
async fn a_full_disk_refuses_and_what_is_stored_is_served() {
    for (operation, bytes) in [Operation::Create, Operation::Write, Operation::Sync, Operation::Publish]
        .into_iter()
        .flat_map(|operation| [(operation, 2000), (operation, 2 * MIB)])
    {
        let at = Box::new();
        let store = at.open_ready();
        fill(&store, &url(0), &body(bytes, 1)).await;
        at.faults.fail(operation, 0, u32::MAX, std::io::ErrorKind::StorageFull);
        for _ in 0..3 {
            let refusal = try_fill(&store, &url(0), head("\"2\""), &body(bytes, 2)).await.unwrap_err();
            assert!(matches!(refusal, StoreRefusal::DiskFull), "{operation:?}: {refusal}");
            assert!(served(&store, &url(0)).await == Some(body(bytes, 1)), "{operation:?}");
        }
        let stored = find(&store, &url(0)).await[0].clone();
        let freshened = store.freshen(&stored, head("\"3\""), store.rules()).await;
        assert_eq!(etag_of(&freshened), "\"3\"", "the answer can be given all the same");
        store.forget_memory();
        assert!(served(&store, &url(0)).await == Some(body(bytes, 1)), "{operation:?}");
        at.faults.heal();
        fill(&store, &url(0), &body(bytes, 3)).await;
        assert!(served(&store, &url(0)).await == Some(body(bytes, 3)), "{operation:?}");
        assert_eq!((at.body_files().len(), store.usage().responses), (1, 1), "{operation:?}");
    }
}

#[tokio::test]
async fn a_write_that_stops_half_way_leaves_nothing() {
    for bytes in [2000, 2 * MIB] {
        let at = Box::new();
        let store = at.open_ready();
        at.faults.cut_write(700);
        assert!(try_fill(&store, &url(0), head("\"1\""), &body(bytes, 1)).await.is_err());
        assert_eq!((at.body_files().len(), store.usage().bytes), (0, 0));
        let usage = store.usage();
        fill(&store, &url(0), &body(bytes, 1)).await;
        assert!(store.usage().bytes > usage.bytes);
    }
}

/// After a step back of the clock neither a pin nor a full store may last until that time comes again.
#[tokio::test]
async fn a_clock_that_steps_back_holds_no_place() {
    const MONTH: Duration = Duration::from_secs(30 * 86_400);
    const DAY: Duration = Duration::from_secs(86_400);
    let at = Box::with(|options| {
        options.bytes_max = 10 * 4096;
        options.pinned_percent_max = 100;
    });
    let store = at.open_ready();
    at.clock.advance(MONTH);
    for page in 0..9 {
        let stored = fill(&store, &url(page), &body(2000, 1)).await;
        store.pin_until(&stored, at.clock.now() + DAY).await;
    }
    fill(&store, &url(9), &body(2000, 1)).await;
    let refusal = try_fill(&store, &url(10), head("\"1\""), &body(9000, 1)).await.unwrap_err();
    assert!(matches!(refusal, StoreRefusal::NoRoom), "{refusal}");
    assert_eq!(store.usage().pinned_bytes, 9 * 4096);

    at.clock.set(at.clock.now() - MONTH);
    assert_eq!(store.usage().pinned_bytes, 0, "pins of another time");
    let stored = fill(&store, &url(11), &body(9000, 1)).await;
    assert!(store.pin_until(&stored, at.clock.now() + DAY).await, "the next night pins what it needs");
    let left = found(&store, 0..9).await;
    let again = find(&store, &url(left[0])).await[0].clone();
    assert!(store.pin_until(&again, at.clock.now() + DAY).await);
    assert_eq!(store.usage().pinned_bytes, (3 + 1) * 4096, "also what was pinned in the other time");
}
