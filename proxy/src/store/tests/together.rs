//! Many tasks at once on few URLs: whatever the order, what is served is whole and the sums are right.

use super::*;

const TASKS: u64 = 16;
const STEPS: u64 = 60;
const URLS: u64 = 6;

/// A body that tells its URL and whether it is whole.
fn told(url: u64, seed: u64) -> Bytes {
    let bytes = if seed.is_multiple_of(5) { 300_000 } else { 3_000 };
    body(bytes + url as usize, url as u8)
}

fn is_told(url: u64, got: &Bytes) -> bool {
    *got == told(url, 0) || *got == told(url, 1)
}

async fn task(store: Store, task: u64) {
    for step in 0..STEPS {
        let mixed = (task * STEPS + step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (number, seed) = (mixed % URLS, mixed / 64);
        let url = format!("http://a.kz/{number}");
        match mixed / URLS % 8 {
            0..=2 => {
                // A purge may have come in between; then it is not stored, and that is right.
                let _ = try_fill(&store, &url, head(&format!("\"{seed}\"")), &told(number, seed)).await;
            }
            3 => drop(store.remove(&key(&url)).await),
            4 => store.forget_memory(),
            5 => {
                if let Some(stored) = find(&store, &url).await.first() {
                    let etag = "x".repeat(usize::try_from(seed % 900).unwrap());
                    let freshened = store.freshen(stored, head(&format!("\"{etag}\"")), store.rules()).await;
                    assert_eq!(etag_of(&freshened).len(), etag.len() + 2);
                }
            }
            _ => {
                for stored in find(&store, &url).await.iter() {
                    // Replaced since it was found: the request path asks again.
                    let Ok(reading) = StoredBody::open(stored, 0..u64::MAX).await else { continue };
                    let got = reading.collect().await.expect("whole once begun").to_bytes();
                    assert!(is_told(number, &got), "{url}: {} bytes", got.len());
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_few_urls() {
    let at = Box::with(|options| options.bytes_max = 2 << 20);
    let store = at.open(); // before, while and after the index becomes complete
    let tasks: Vec<_> = (0..TASKS).map(|number| tokio::spawn(task(store.clone(), number))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.0.index.wait_until_complete();
    agrees(&at, &store).await;
    store.close().await;
    agrees(&at, &at.open_ready()).await;
}

/// Whether index, memory, files and sums say the same.
async fn agrees(at: &Box, store: &Store) {
    let mut responses = 0;
    for number in 0..URLS {
        responses += find(store, &format!("http://a.kz/{number}")).await.len();
        if let Some(got) = served(store, &format!("http://a.kz/{number}")).await {
            assert!(is_told(number, &got));
        }
    }
    let (usage, files) = (store.usage(), at.body_files());
    assert_eq!((usage.responses, files.len()), (responses as u64, responses));
    let on_disk: u64 = files.iter().map(|path| path.metadata().unwrap().len().next_multiple_of(4096)).sum();
    assert_eq!(usage.bytes, on_disk);
    assert_eq!(store.verify(|_, _| {}).await.damaged, []);
}
