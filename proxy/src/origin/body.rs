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

use super::connection::Connection;
use super::framing::Length;
use super::http1::Decoder;
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
    content: Content,
    host: HostName,
    wan_bytes: WanBytes,
    idle_timeout: Duration,
    has_ended: bool,
    held: Option<Held>,
}

/// The content as it comes over one protocol or the other.
pub(super) enum Content {
    /// Read from the wire that is held.
    Http1(Decoder),
    /// A stream of a connection that others share.
    Http2(Stream),
}

/// The content of an HTTP/2 stream.
pub(super) struct Stream {
    content: Incoming,
    length: Length,
    received_bytes: u64,
    idle: Idle,
}

/// What is given back when the content has ended.
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
    pub(super) key: Key,
}

struct Idle {
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl OriginBody {
    pub(super) fn new(content: Content, wan_bytes: WanBytes, idle_timeout: Duration, held: Held) -> Self {
        let host = held.key.host.clone();
        let mut body = Self { content, host, wan_bytes, idle_timeout, has_ended: false, held: Some(held) };
        body.end_if_whole();
        body
    }

    /// Whoever sees that there is nothing more does not poll for it.
    fn end_if_whole(&mut self) {
        if !self.has_ended && self.content.is_whole() {
            self.end();
        }
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

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        match &mut self.content {
            Content::Http1(decoder) => match self.held.as_mut().and_then(|held| held.connection.wire()) {
                Some(wire) => wire.poll_content(cx, decoder, self.idle_timeout).map_ok(Frame::data),
                None => Poll::Ready(Some(Err(()))),
            },
            Content::Http2(stream) => stream.poll(cx, self.idle_timeout),
        }
    }
}

impl Content {
    /// What an HTTP/2 stream brings.
    pub(super) fn of_stream(content: Incoming, length: Length) -> Self {
        let idle = Idle { timer: None, is_waiting: false };
        Self::Http2(Stream { content, length, received_bytes: 0, idle })
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Http1(decoder) => decoder.has_ended(),
            Self::Http2(stream) => stream.content.is_end_stream() && stream.has_all_bytes(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.content).poll_frame(cx) else {
            ready!(self.idle.poll_too_long(cx, timeout));
            return Poll::Ready(Some(Err(())));
        };
        self.idle.is_waiting = false;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.received_bytes = self.received_bytes.saturating_add(bytes);
                match self.length {
                    Length::Known(length) if self.received_bytes > length => Some(Err(())),
                    _ => Some(Ok(frame)),
                }
            }
            None if self.has_all_bytes() => None,
            None | Some(Err(_)) => Some(Err(())),
        })
    }

    fn has_all_bytes(&self) -> bool {
        match self.length {
            Length::Known(length) => self.received_bytes == length,
            // The HTTP library takes a stream that was reset with NO_ERROR for one that came to its end; we don't.
            Length::Open => self.content.is_end_stream(),
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
        Poll::Ready(match ready!(this.poll_content(cx)) {
            Some(Ok(frame)) => {
                this.wan_bytes.add(frame.data_ref().map_or(0, |data| data.len() as u64));
                // Whoever knows the length asks no further, and the connection must not be lost for that.
                this.end_if_whole();
                Some(Ok(frame))
            }
            Some(Err(())) => Some(Err(this.incomplete())),
            None => {
                this.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.content.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            _ if self.has_ended => SizeHint::with_exact(0),
            Content::Http1(decoder) => decoder.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Content::Http2(stream) => stream.content.size_hint(),
        }
    }
}

impl Idle {
    /// Ready once nothing came for the whole time-out, counted from when somebody began to wait: a slow reader is not
    /// the origin's fault.
    fn poll_too_long(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<()> {
        let deadline = Instant::now() + timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if !self.is_waiting {
            self.is_waiting = true;
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
