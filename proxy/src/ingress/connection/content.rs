//! The two bodies of an exchange at the door: what a client sends, bounded, and what it is sent, watched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::activity::{Activity, Busy};
use crate::request::{BodyError, RequestBody, ResponseBody};

/// No content; does not allocate.
pub(crate) fn empty() -> RequestBody {
    RequestBody::new(Empty::new().map_err(|never| match never {}))
}

/// What the client sends, up to `bytes_max` bytes within `wait`, without trailer fields: nobody behind the door needs
/// them, and merged into a head they would be a second way to say what the first has said.
pub(crate) fn of_request(incoming: Incoming, bytes_max: u64, wait: Duration, activity: &Arc<Activity>) -> RequestBody {
    if incoming.is_end_stream() {
        return empty();
    }
    let timer = Box::pin(sleep(wait));
    RequestBody::new(Bounded { incoming, left: bytes_max, bytes_max, timer, activity: Arc::clone(activity) })
}

struct Bounded {
    incoming: Incoming,
    left: u64,
    bytes_max: u64,
    timer: Pin<Box<Sleep>>,
    activity: Arc<Activity>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(|error| BodyError::Client(error.into()))?;
        // Trailer fields are the last frame.
        let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
        this.activity.moved();
        let Some(left) = this.left.checked_sub(data.len() as u64) else {
            return Poll::Ready(Some(Err(BodyError::TooLong { limit_bytes: this.bytes_max })));
        };
        this.left = left;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// What the client is sent. While it lives, the connection is busy.
pub(crate) struct Served {
    body: ResponseBody,
    busy: Busy,
    /// Why the body ended before its end, once that has been held back for a moment.
    failed: Option<BodyError>,
}

impl Served {
    pub(crate) fn new(body: ResponseBody, busy: Busy) -> Self {
        Self { body, busy, failed: None }
    }
}

impl Body for Served {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(failed) = self.failed.take() {
            return Poll::Ready(Some(Err(failed)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.busy.moved();
        if let Some(Err(failed)) = frame {
            // hyper drops what it has not written when a body fails: what came before the failure leaves first.
            self.failed = Some(failed);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
