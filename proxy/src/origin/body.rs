//! A response's content on its way in: counted, never waited for without end, and never taken for whole when it isn't.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bulaq_allowlist::HostName;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::connection::{Connection, Protocol};
use super::framing::Length;
use super::pool::{Key, Pool};
use super::shield::Slot;
use crate::request::ForwardError;

/// How many bytes of head and content an exchange received from the origin; among the response's extensions.
///
/// Heads are counted as HTTP/1.1 would write them; TLS and framing are not counted.
#[derive(Clone, Debug, Default)]
pub struct WanBytes(Arc<AtomicU64>);

impl WanBytes {
    /// The bytes so far; all of them once the content has ended.
    pub fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The content of an origin's response.
///
/// It ends with `None` only when the origin said so: all bytes of `Content-Length`, the last chunk, the stream's end,
/// or, where nothing else is announced, an orderly close. Everything else is [`ForwardError::ResponseIncomplete`].
/// Dropping it early closes the stream, or the connection if it can carry only one.
pub struct OriginBody {
    content: Incoming,
    host: HostName,
    length: Length,
    /// Whether only the end of an HTTP/2 stream says that this was all.
    ends_with_stream: bool,
    received_bytes: u64,
    wan_bytes: WanBytes,
    idle: Idle,
    has_ended: bool,
    held: Option<Held>,
}

/// What is given back when the content has ended.
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
    pub(super) key: Key,
}

struct Idle {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl OriginBody {
    pub(super) fn new(
        content: Incoming,
        length: Length,
        wan_bytes: WanBytes,
        idle_timeout: Duration,
        held: Held,
    ) -> Self {
        let mut body = Self {
            content,
            host: held.key.host.clone(),
            length,
            ends_with_stream: held.connection.protocol() == Protocol::Http2 && length == Length::Open,
            received_bytes: 0,
            wan_bytes,
            idle: Idle { timeout: idle_timeout, timer: None, is_waiting: false },
            has_ended: false,
            held: Some(held),
        };
        // Whoever sees at once that there is nothing does not poll for it.
        if body.is_end_stream() {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        self.has_ended = true;
        if let Some(Held { slot, connection, pool, key }) = self.held.take() {
            pool.put(&key, connection);
            drop(slot);
        }
    }

    fn incomplete(&mut self) -> ForwardError {
        self.has_ended = true;
        self.held = None;
        ForwardError::ResponseIncomplete { host: self.host.to_string() }
    }

    fn has_all_bytes(&self) -> bool {
        match self.length {
            Length::Known(length) => self.received_bytes == length,
            // The HTTP library takes a stream that was reset with NO_ERROR for one that came to its end; we don't.
            Length::Open => !self.ends_with_stream || self.content.is_end_stream(),
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.content).poll_frame(cx) else {
            ready!(this.idle.poll_too_long(cx));
            return Poll::Ready(Some(Err(this.incomplete())));
        };
        this.idle.is_waiting = false;
        match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.received_bytes = this.received_bytes.saturating_add(bytes);
                this.wan_bytes.add(bytes);
                if matches!(this.length, Length::Known(length) if this.received_bytes > length) {
                    return Poll::Ready(Some(Err(this.incomplete())));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None if this.has_all_bytes() => {
                this.end();
                Poll::Ready(None)
            }
            None | Some(Err(_)) => Poll::Ready(Some(Err(this.incomplete()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || (self.content.is_end_stream() && self.has_all_bytes())
    }

    fn size_hint(&self) -> SizeHint {
        if self.has_ended { SizeHint::with_exact(0) } else { self.content.size_hint() }
    }
}

impl Idle {
    /// Ready once nothing came for the whole time-out, counted from when somebody began to wait: a slow reader is not
    /// the origin's fault.
    fn poll_too_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
