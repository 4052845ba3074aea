//! One answer on its way out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::request::repeat::{Repeat, Tally};

/// An answer of which some may have left.
pub(crate) struct Answer {
    head: Vec<u8>,
    /// How much of the head has left.
    written: usize,
    /// What is left of the content.
    body: Bytes,
    content_bytes: u64,
    receipt: Tally,
}

impl Answer {
    pub(super) fn new(repeat: Repeat) -> Self {
        let Repeat { head, body, receipt } = repeat;
        Self { head, written: 0, content_bytes: body.len() as u64, body, receipt }
    }

    /// Whether all of it was written.
    pub(crate) fn is_written(&self) -> bool {
        self.written == self.head.len() && self.body.is_empty()
    }

    /// Writes as much as `io` takes at once, head and content together.
    pub(crate) fn poll_write<I: AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let head = &self.head[self.written..];
        let written = match (head.is_empty(), io.is_write_vectored()) {
            (true, _) => Pin::new(io).poll_write(cx, &self.body),
            (false, true) => Pin::new(io).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&self.body)]),
            (false, false) => Pin::new(io).poll_write(cx, head),
        };
        let Poll::Ready(Ok(written)) = written else { return written };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_head = written.min(head.len());
        self.written += of_head;
        self.body.advance(written - of_head);
        self.receipt.sent(self.content_bytes - self.body.len() as u64);
        Poll::Ready(Ok(written))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("content_left", &self.body.len()).finish_non_exhaustive()
    }
}
