//! One answer on its way out.
//!
//! Short content is in memory and leaves together with the head. Of long content, which is in a file, the system sends the
//! parts itself where what is written leaves as it is; else they are read and written. In neither case does anything wait
//! for the disk but a thread that may.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::net::TcpStream;

use super::super::socket::{Transport, poll_send, poll_send_more};
use crate::request::repeat::{Content, Repeat, Tally};
use crate::store::BodyFile;

/// How much is read from a file at a time, where the system does not send it: few calls, and little that a slow client
/// holds.
const READ_BYTES: usize = 128 << 10;

/// How much the system is told to send at a time; not more than leaves in some hundreds of microseconds.
const SEND_BYTES: usize = 1 << 20;

/// An answer of which some may have left.
pub(crate) struct Answer {
    head: Vec<u8>,
    /// How much of the head has left.
    written: usize,
    /// What is next of the content, when it is in memory.
    piece: Bytes,
    /// What comes after that.
    rest: Option<Rest>,
    receipt: Tally,
}

/// Content in a file.
struct Rest {
    file: BodyFile,
    left: Range<u64>,
    /// A thread is reading the next piece.
    reading: Option<Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>>,
}

impl Answer {
    pub(super) fn new(repeat: Repeat) -> Self {
        let Repeat { head, content, receipt } = repeat;
        let (piece, rest) = match content {
            Content::Memory(bytes) => (bytes, None),
            Content::File(file, left) => (Bytes::new(), Some(Rest { file, left, reading: None })),
        };
        Self { head, written: 0, piece, rest, receipt }
    }

    /// Whether all of it was written.
    pub(crate) fn is_written(&self) -> bool {
        let has_rest = self.rest.as_ref().is_some_and(|rest| !rest.left.is_empty());
        self.written == self.head.len() && self.piece.is_empty() && !has_rest
    }

    /// Writes as much as `io` takes at once, head and content together.
    pub(crate) fn poll_write<I: Transport>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.head[self.written..];
        if self.piece.is_empty()
            && let Some(rest) = self.rest.as_mut().filter(|rest| !rest.left.is_empty())
        {
            if let Some(socket) = io.plain().filter(|_| rest.reading.is_none()) {
                if !head.is_empty() {
                    let written = ready!(poll_send_more(socket, cx, head))?;
                    self.written += written;
                    return Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) });
                }
                if let Some(sent) = ready!(rest.poll_send(socket, cx))? {
                    self.receipt.sent(sent);
                    return Poll::Ready(Ok(sent));
                }
            }
            self.piece = ready!(rest.poll_piece(cx))?;
        }
        let written = match (head.is_empty(), io.is_write_vectored()) {
            (true, _) => Pin::new(io).poll_write(cx, &self.piece),
            (false, true) => Pin::new(io).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&self.piece)]),
            (false, false) => Pin::new(io).poll_write(cx, head),
        };
        let written = ready!(written)?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_head = written.min(head.len());
        self.written += of_head;
        self.piece.advance(written - of_head);
        self.receipt.sent(written - of_head);
        Poll::Ready(Ok(written))
    }
}

impl Rest {
    /// Has the system send some of it; none when a thread has to read it first.
    fn poll_send(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let (file, offset) = (&self.file, self.left.start);
        let max = self.left_max(SEND_BYTES);
        let sent = ready!(poll_send(socket, cx, || file.send_now(socket, offset, max).transpose()))?;
        self.left.start += sent.unwrap_or_default() as u64;
        Poll::Ready(Ok(sent))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let (offset, max) = (self.left.start, self.left_max(READ_BYTES));
        let piece = match &mut self.reading {
            Some(reading) => ready!(reading.as_mut().poll(cx)),
            None => match self.file.read_now(offset, max) {
                Some(piece) => piece,
                None => {
                    let file = self.file.clone();
                    let reading = self.reading.insert(Box::pin(async move { file.read_at(offset, max).await }));
                    ready!(reading.as_mut().poll(cx))
                }
            },
        };
        self.reading = None;
        let piece = piece?;
        if piece.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left.start += piece.len() as u64;
        Poll::Ready(Ok(piece))
    }

    fn left_max(&self, max: usize) -> usize {
        usize::try_from(self.left.end - self.left.start).unwrap_or(max).min(max)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("in_hand", &self.piece.len()).finish_non_exhaustive()
    }
}
