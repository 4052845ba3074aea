//! The streams of an HTTP/2 connection, begun by the connection's own task.
//!
//! hyper hands each stream's answer to an executor. Most answers are in memory and need no waiting: a task of its own
//! costs such a stream more than its answer. So what a connection has read together is begun together, in its own task, and
//! only what has to wait becomes a task. The answers that were ready then leave together.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use tower::BoxError;

/// Streams that have been read and not begun. Bounded by the number of streams that a connection may have open.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<VecDeque<Stream>>>);

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(Box::pin(stream));
    }
}

impl Streams {
    /// Polls the connection to its end, begins what it reads, and lets go what it has written.
    ///
    /// # Errors
    /// The connection's own, and those of `depart`.
    pub(super) async fn drive<C>(
        &self,
        mut connection: Pin<&mut C>,
        depart: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Result<(), BoxError>
    where
        C: Future<Output = Result<(), BoxError>>,
    {
        poll_fn(|cx| self.poll(connection.as_mut(), &depart, cx)).await
    }

    /// One turn of the connection.
    ///
    /// # Errors
    /// As [`Streams::drive`].
    pub(super) fn poll<C>(
        &self,
        connection: Pin<&mut C>,
        depart: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>>
    where
        C: Future<Output = Result<(), BoxError>>,
    {
        let polled = connection.poll(cx);
        self.begin();
        match (polled, depart(cx)) {
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            (polled, _) => polled,
        }
    }

    /// Begins what was read; must be called after each poll of the connection, in the same task.
    fn begin(&self) {
        // Nobody need be woken for what is not ready: it is polled again as soon as it is a task.
        let mut nobody = Context::from_waker(Waker::noop());
        while let Some(mut stream) = self.next() {
            // As in a task of its own, a panic ends this stream and no other; its message is in the log.
            let polled = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut nobody)));
            if let Ok(Poll::Pending) = polled {
                tokio::spawn(stream);
            }
        }
    }

    fn next(&self) -> Option<Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_ready_is_done_at_once_and_the_rest_goes_on_by_itself() {
        let streams = Streams::default();
        let (done, seen) = std::sync::mpsc::channel();
        let (answer, waiting) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let ready = done.clone();
        streams.execute(async move { ready.send("ready").unwrap() });
        streams.execute(async move {
            done.send("begun").unwrap();
            waiting.await.unwrap();
            ended.send(()).unwrap();
        });
        assert!(seen.try_recv().is_err(), "not before the connection has read all that is there");
        streams.begin();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["ready", "begun"]);
        answer.send(()).unwrap();
        end.await.unwrap();
    }
}
