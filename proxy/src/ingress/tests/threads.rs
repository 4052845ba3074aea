//! Connections are served by the threads that the doors were given, and whoever is free takes the next.

use std::convert::Infallible;
use std::sync::mpsc::channel;
use std::thread;

use super::*;
use crate::workers::Workers;

#[tokio::test]
async fn while_one_thread_works_another_takes_the_next_connection() {
    let workers = Workers::start(2).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (let_go, held) = channel::<()>();
    let held = Arc::new(Mutex::new(Some(held)));
    let stack = tower::service_fn(move |_| {
        let (tell, held) = (tell.clone(), held.lock().unwrap().take());
        async move {
            tell.send(thread::current().name().map(str::to_owned)).unwrap();
            // The first request keeps its whole thread until the second is answered.
            if let Some(held) = held {
                held.recv().unwrap();
            }
            Ok::<_, Infallible>(Response::new(content::empty()))
        }
    });
    let test = TestBox::on(&workers, stack).await;
    let request = b"GET / HTTP/1.1\r\nHost: lessons.kz\r\nConnection: close\r\n\r\n";
    let door = test.http;
    let first = tokio::spawn(async move { statuses(&exchange(door, request).await) });
    let busy = told.recv().await.unwrap().unwrap();
    assert_eq!(statuses(&exchange(door, request).await), [200]);
    let other = told.recv().await.unwrap().unwrap();
    let_go.send(()).unwrap();
    assert_eq!(first.await.unwrap(), [200]);
    let mut names = [busy, other];
    names.sort();
    assert_eq!(names, ["door-0", "door-1"]);
    test.shutdown.ask();
    test.serving.await.unwrap();
}
