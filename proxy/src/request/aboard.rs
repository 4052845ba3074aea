//! A flight in the task of the one who began it, for as long as he waits; from then on in a task of its own.
//!
//! Most answers that nobody may share are over when their first reader has them: a task, its wake-ups and the way of the
//! answer from one task to the other would cost more than the rest. What goes on after that, or after the reader has left,
//! belongs to no client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A flight under way. Dropped before it is over, it goes on by itself.
pub struct Aboard(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Aboard {
    /// Begins a flight, which is one of `tasks` until it is over.
    pub fn new(tasks: &TaskTracker, flight: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(tasks.track_future(flight))))
    }

    /// Waits for something that the flight brings, and lets it fly meanwhile.
    pub async fn until<T>(&mut self, arrives: impl Future<Output = T>) -> T {
        let mut arrives = pin!(arrives);
        poll_fn(|cx| {
            // Taken out meanwhile: one that panics is not flown again.
            if let Some(mut flight) = self.0.take()
                && flight.as_mut().poll(cx).is_pending()
            {
                self.0 = Some(flight);
            }
            arrives.as_mut().poll(cx)
        })
        .await
    }
}

impl Drop for Aboard {
    fn drop(&mut self) {
        // Without a runtime the box has stopped, and every flight with it.
        if let (Some(flight), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_flight_is_flown_while_somebody_waits_and_goes_on_when_he_has_left() {
        for leaves_early in [false, true] {
            let tasks = TaskTracker::new();
            let ((begin, begun), (finish, finished)) = (oneshot::channel(), oneshot::channel::<()>());
            let (end, ended) = oneshot::channel();
            let mut aboard = Aboard::new(&tasks, async move {
                begin.send(()).unwrap();
                finished.await.unwrap();
                end.send(()).unwrap();
            });
            if !leaves_early {
                aboard.until(begun).await.unwrap();
            }
            assert_eq!(tasks.len(), 1);
            drop(aboard);
            finish.send(()).unwrap();
            ended.await.unwrap();
            tasks.close();
            tasks.wait().await;
        }
    }

    #[tokio::test]
    async fn what_is_over_in_the_waiters_task_is_over() {
        let tasks = TaskTracker::new();
        let (end, ended) = oneshot::channel();
        let mut aboard = Aboard::new(&tasks, async move { end.send(7).unwrap() });
        assert_eq!(aboard.until(ended).await, Ok(7));
        assert!(aboard.0.is_none() && tasks.is_empty());
    }

    #[test]
    fn without_a_runtime_it_ends() {
        let tasks = TaskTracker::new();
        drop(Aboard::new(&tasks, std::future::pending()));
        assert!(tasks.is_empty());
    }
}
