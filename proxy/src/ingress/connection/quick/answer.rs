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

use super::super::socket::{
    Transport, UNSENT_BYTES_MAX, UNSENT_OF_FILE_BYTES_MAX, limit_unsent, poll_send, poll_send_more,
};
use crate::request::repeat::{Content, Repeat, Tally};
use crate::store::BodyFile;

/// How much is read from a file at a time, where the system does not send it: few calls, and little that a slow client
/// holds.
const READ_BYTES: usize = 128 << 10;

/// How much the system is told to send at a time; not more than leaves in some hundreds of microseconds.
const SEND_BYTES: usize = 1 << 20;

/// With less than this to be sent, a larger limit on what waits in the kernel is not worth two calls.
const LIFTED_BYTES_MIN: u64 = UNSENT_OF_FILE_BYTES_MAX as u64;

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
    /// More of it than of other content may wait unsent in the kernel.
    is_lifted: bool,
}

impl Answer {
    pub(super) fn new(repeat: Repeat) -> Self {
        let Repeat { head, content, receipt } = repeat;
        let (piece, rest) = match content {
            Content::Memory(bytes) => (bytes, None),
            Content::File(file, left) => (Bytes::new(), Some(Rest { file, left, reading: None, is_lifted: false })),
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

    /// After a long wait: whether the client has made room nevertheless, but less than the system would tell of. Then some
    /// of it is used.
    pub(crate) fn is_moving<I: Transport>(&mut self, io: &I) -> bool {
        let (Some(socket), Some(rest)) = (io.plain(), self.rest.as_mut().filter(|rest| rest.is_lifted)) else {
            return false;
        };
        let Some(sent) = rest.send_untold(socket) else { return false };
        self.receipt.sent(sent);
        true
    }
}

impl Rest {
    /// Has the system send some of it; none when a thread has to read it first.
    fn poll_send(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        if !self.is_lifted && self.left.end - self.left.start >= LIFTED_BYTES_MIN {
            limit_unsent(socket, UNSENT_OF_FILE_BYTES_MAX)?;
            self.is_lifted = true;
        }
        let (file, offset) = (&self.file, self.left.start);
        let max = self.left_max(SEND_BYTES);
        let sent = ready!(poll_send(socket, cx, || file.send_now(socket, offset, max).transpose()))?;
        self.sent(socket, sent)?;
        Poll::Ready(Ok(sent))
    }

    /// Sends some of it if there is room, whether or not the system has told so.
    fn send_untold(&mut self, socket: &TcpStream) -> Option<usize> {
        let sent = self.file.send_now(socket, self.left.start, self.left_max(SEND_BYTES))?.ok()?;
        self.sent(socket, Some(sent)).ok()?;
        Some(sent)
    }

    /// Goes on after so much, and when that was the last of what the system sends itself, as with all other content.
    fn sent(&mut self, socket: &TcpStream, sent: Option<usize>) -> io::Result<()> {
        self.left.start += sent.unwrap_or_default() as u64;
        if self.is_lifted && (sent.is_none() || self.left.is_empty()) {
            self.is_lifted = false;
            limit_unsent(socket, UNSENT_BYTES_MAX)?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::UNIX_EPOCH;

    use bulaq_cache_policy::{CacheKey, Options, SiteRule, StoredHead, StoredHeadParts};
    use http::{HeaderMap, Method, StatusCode};
    use socket2::SockRef;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;
    use crate::store::{Store, StoreOptions};

    const BYTES: u64 = 4 * LIFTED_BYTES_MIN;

    /// A stored file that was just written, and its folder.
    async fn stored() -> (BodyFile, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(dir.path().join("store"));
        (options.free_bytes_min, options.ballast_bytes) = (0, 0);
        let store = Store::open(options, Clock::held(UNIX_EPOCH)).unwrap();
        let parts = StoredHeadParts {
            method: Method::GET,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            request_time: UNIX_EPOCH,
            response_time: UNIX_EPOCH,
            selecting: Vec::new(),
            request_had_cookies: false,
            request_had_authorization: false,
            is_marked_stale: false,
        };
        let head = StoredHead::from_parts(parts, &SiteRule::default(), &Options::default());
        let key = CacheKey::new(&"http://a.kz/film".parse().unwrap(), &SiteRule::default()).unwrap();
        let mut fill = store.begin(&key, head, Some(BYTES), store.rules()).unwrap();
        let content = Bytes::from(content());
        for piece in content.chunks(1 << 20) {
            fill.append(content.slice_ref(piece)).await.unwrap();
        }
        (fill.finish().await.unwrap().body_file_now().unwrap(), dir)
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        limit_unsent(&ours, UNSENT_BYTES_MAX).unwrap();
        (ours, client)
    }

    fn limit(socket: &TcpStream) -> u32 {
        SockRef::from(socket).tcp_notsent_lowat().unwrap()
    }

    #[tokio::test]
    async fn only_while_a_long_file_is_sent_more_of_it_may_wait() {
        let (file, _dir) = stored().await;
        for (start, while_sent) in [(0, UNSENT_OF_FILE_BYTES_MAX), (BYTES - LIFTED_BYTES_MIN + 1, UNSENT_BYTES_MAX)] {
            let (ours, mut client) = sockets().await;
            let reading = tokio::spawn(async move {
                let mut content = Vec::new();
                client.read_to_end(&mut content).await.map(|_| content)
            });
            let mut rest = Rest { file: file.clone(), left: start..BYTES, reading: None, is_lifted: false };
            while !rest.left.is_empty() {
                let sent = poll_fn(|cx| rest.poll_send(&ours, cx)).await.unwrap();
                assert!(sent.expect("it is in the page cache") > 0);
                assert_eq!(limit(&ours), if rest.left.is_empty() { UNSENT_BYTES_MAX } else { while_sent });
            }
            drop(ours);
            assert!(reading.await.unwrap().unwrap() == content()[usize::try_from(start).unwrap()..]);
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_a_little_is_seen_to_move() {
        let (file, _dir) = stored().await;
        let (ours, mut client) = sockets().await;
        SockRef::from(&ours).set_send_buffer_size(1 << 20).unwrap();
        let mut rest = Rest { file, left: 0..BYTES, reading: None, is_lifted: false };
        // The system tells of room when a third of all that waits has left: here it is never asked.
        let mut taken = Vec::new();
        while !rest.left.is_empty() {
            if rest.send_untold(&ours).is_none() {
                assert!(client.read_buf(&mut taken).await.unwrap() > 0);
            }
        }
        drop(ours);
        client.read_to_end(&mut taken).await.unwrap();
        assert!(taken == content());
    }

    fn content() -> Vec<u8> {
        (0..BYTES / 8).flat_map(u64::to_le_bytes).collect()
    }
}
