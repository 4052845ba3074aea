//! The content of a request on its way out, watched so that a slow upload is not taken for a silent origin.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::request::{BodyError, RequestBody};

/// A request's content that tells when it moves on.
pub(super) struct Outgoing {
    content: Option<RequestBody>,
    /// None where there is no content to move.
    moved: Option<Arc<Notify>>,
}

impl Outgoing {
    /// No content at all.
    pub(super) fn empty() -> Self {
        Self { content: None, moved: None }
    }

    /// The content, and what is notified of each piece of it that leaves. The second is for one who waits alone.
    pub(super) fn new(content: RequestBody) -> Self {
        let content = (!content.is_end_stream()).then_some(content);
        let moved = content.is_some().then(Arc::default);
        Self { content, moved }
    }

    /// Notified of each piece of content that leaves.
    pub(super) fn moved(&self) -> Arc<Notify> {
        self.moved.clone().unwrap_or_default()
    }

    /// Whether there is nothing to send, so that the request can be made a second time.
    pub(super) fn is_empty(&self) -> bool {
        self.content.is_none()
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(content) = &mut this.content else { return Poll::Ready(None) };
        let frame = Pin::new(content).poll_frame(cx);
        if let (true, Some(moved)) = (frame.is_ready(), &this.moved) {
            moved.notify_one();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.content.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.content.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
