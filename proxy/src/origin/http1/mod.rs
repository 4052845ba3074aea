//! HTTP/1.1 as a client speaks it, one exchange at a time, in the task of the one who asks.
//!
//! A library's client would give each connection a task of its own, and hand every head and every piece of content over to
//! it and back: for answers that only pass through, that was most of the work. Here the one who waits reads the socket
//! itself. The bytes of a head are parsed by `httparse`, as the library does; what they mean is decided by
//! [`framing`](super::framing).

mod answer;
mod asking;
mod content;

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, TRANSFER_ENCODING};
use http::response::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

pub(super) use self::content::Decoder;

use self::answer::Answer;
use self::asking::Asking;
use super::framing::Length;
use super::outgoing::Outgoing;
use crate::request::InterimSender;
use crate::request::interim::INTERIM_MAX;

/// The first read of an answer: most heads, and most short answers whole.
const READ_BYTES_MIN: usize = 8 * 1024;

/// The most that one read takes, as long as reads come back full.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Less room than this is not read into.
const ROOM_BYTES_MIN: usize = 2 * 1024;

/// One connection that speaks HTTP/1.1.
pub(super) struct Wire {
    socket: Socket,
    asking: Asking,
    read: BytesMut,
    /// How much the next read takes.
    read_bytes: usize,
    timer: Timer,
    /// Whether the last answer lets the connection be used again.
    is_kept: bool,
    is_flushed: bool,
}

/// What it runs over.
pub(super) enum Socket {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS that has proved who is there.
    Tls(Box<TlsStream<TcpStream>>),
}

/// How it is found out whether an idle connection is quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// By what the runtime knows: for a request that may be sent again.
    Glance,
    /// By the system's own word: for one that may not.
    Hard,
}

/// A request as it is to be written.
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) target: &'a PathAndQuery,
    pub(super) fields: &'a HeaderMap,
    /// For whom the interim responses are, if for anybody.
    pub(super) interim: Option<&'a InterimSender>,
}

/// Why there is no answer.
pub(super) struct Failure {
    pub(super) why: Why,
    /// The content, when not one byte of the request was written.
    pub(super) unwritten: Option<Outgoing>,
    /// Whether some of an answer had come.
    pub(super) has_begun: bool,
}

/// What happened.
pub(super) enum Why {
    /// The connection ended, or was lost.
    Lost(io::Error),
    /// The answer cannot be read; in words without content.
    Unreadable(String),
    /// Nothing came for too long.
    TooLate,
    /// The request's content failed half-way.
    ContentFailed,
    /// More interim answers came than anybody needs.
    TooManyInterim,
}

impl Wire {
    /// A connection over an open socket.
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            asking: Asking::default(),
            read: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            timer: Timer::default(),
            is_kept: true,
            is_flushed: true,
        }
    }

    /// Whether it may carry another request: the last exchange is over on both sides, and the origin keeps it.
    pub(super) fn is_reusable(&self) -> bool {
        self.is_kept && self.is_flushed && self.asking.is_done() && self.read.is_empty()
    }

    /// Whether an idle connection is still quiet. An origin that has closed it, or said something that nobody asked for, is
    /// seen here as far as the runtime was told by now; `how` says whether the system is asked too, which costs a call.
    pub(super) fn is_quiet(&mut self, how: Look) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let is_quiet = self.is_reusable() && self.poll_read(&mut cx).is_pending();
        is_quiet && (how == Look::Glance || self.socket.has_nothing_to_read())
    }

    /// Sends a request and reads the head of its answer, and how its content is framed. `after` without a sign of life ends
    /// it: content that leaves is one, interim answers are none.
    pub(super) async fn exchange(
        &mut self,
        request: Request<'_>,
        content: Outgoing,
        after: Duration,
    ) -> Result<Parts, Failure> {
        self.asking.begin(request.method, request.target, request.fields, content);
        self.is_kept = false;
        self.timer.arm(after);
        let mut progress = Progress::default();
        let answered = poll_fn(|cx| self.poll_exchange(cx, &request, &mut progress, after)).await;
        let Progress { has_written, has_read, lost, .. } = progress;
        match answered {
            Ok(Answer { head, is_kept }) => {
                self.is_kept = is_kept && lost.is_none();
                Ok(head)
            }
            Err(why) => {
                // The system's own word about the write says more than the end that was read after it.
                let why = match (why, lost) {
                    (Why::Lost(_), Some(error)) => Why::Lost(error),
                    (why, _) => why,
                };
                let is_lost = matches!(why, Why::Lost(_));
                let unwritten = (is_lost && !has_written && !has_read).then_some(progress.content).flatten();
                Err(Failure { why, unwritten, has_begun: has_read })
            }
        }
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request<'_>,
        progress: &mut Progress,
        after: Duration,
    ) -> Poll<Result<Answer, Why>> {
        let mut written = 0;
        let outcome = self.poll_write(cx, &mut written);
        if written > 0 {
            progress.has_written = true;
            if self.asking.has_content() {
                self.timer.arm(after);
            }
        }
        match outcome {
            Ok(()) => {}
            Err(Unwritten::Content) => return Poll::Ready(Err(Why::ContentFailed)),
            Err(Unwritten::Socket(_)) if progress.lost.is_some() => {}
            Err(Unwritten::Socket(error)) => {
                // An answer may be there all the same: an origin that has heard enough says so and hangs up.
                progress.content = if progress.has_written { None } else { self.asking.give_back() };
                self.asking.give_up();
                progress.lost = Some(error);
            }
        }
        loop {
            let seen = std::mem::take(&mut progress.seen);
            if !self.read.is_empty()
                && let Some(answer) = answer::take(&mut self.read, seen).map_err(Why::Unreadable)?
            {
                if !answer.head.status.is_informational() || answer.head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(answer));
                }
                progress.interim += 1;
                if progress.interim > INTERIM_MAX {
                    return Poll::Ready(Err(Why::TooManyInterim));
                }
                if let Some(client) = request.interim {
                    client.send(answer.head.status, &answer.head.headers);
                }
                continue;
            }
            progress.seen = self.read.len();
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Why::Lost(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(Ok(_)) => progress.has_read = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Why::Lost(error))),
                Poll::Pending => break,
            }
        }
        self.timer.poll(cx).map(|()| Err(Why::TooLate))
    }

    /// The next piece of an answer's content; none at its end.
    ///
    /// # Errors
    /// The connection ended before the content, the content is not what its framing says, or nothing came for `after`.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        decoder: &mut Decoder,
        after: Duration,
    ) -> Poll<Option<Result<Bytes, ()>>> {
        if !(self.asking.is_done() && self.is_flushed) && self.poll_write(cx, &mut 0).is_err() {
            self.asking.give_up();
            (self.is_kept, self.is_flushed) = (false, true);
        }
        loop {
            match decoder.take(&mut self.read) {
                Ok(Some(piece)) => {
                    self.timer.is_armed = false;
                    return Poll::Ready(Some(Ok(piece)));
                }
                Ok(None) if decoder.has_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(content::Broken) => return Poll::Ready(Some(Err(()))),
            }
            if let Some(left) = decoder.left() {
                self.read_bytes = usize::try_from(left).unwrap_or(READ_BYTES_MAX).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => {
                    self.is_kept = false;
                    return Poll::Ready(decoder.end().err().map(|content::Broken| Err(())));
                }
                // Only content is progress: framing without any would hold the connection for ever.
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(()))),
                Poll::Pending => break,
            }
        }
        // Counted from when somebody began to wait: a slow reader is not the origin's fault.
        if !self.timer.is_armed {
            self.timer.arm(after);
        }
        ready!(self.timer.poll(cx));
        Poll::Ready(Some(Err(())))
    }

    /// How the content of an answer is read that is `length` long.
    pub(super) fn decoder(&mut self, head: &Parts, length: Length) -> Decoder {
        self.timer.is_armed = false;
        // What is coded, and may be read at all, is in chunks or of a coding that goes on to the end.
        let lines = head.headers.get_all(TRANSFER_ENCODING);
        let is_chunked = lines.iter().any(|line| line.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
        let decoder = Decoder::new(length, is_chunked);
        if decoder == Decoder::UntilEnd {
            self.is_kept = false;
        }
        decoder
    }

    /// Writes what can be written now, and adds to `count` how many bytes left, also when it fails after that.
    fn poll_write(&mut self, cx: &mut Context<'_>, count: &mut usize) -> Result<(), Unwritten> {
        while !self.asking.is_done() {
            match self.asking.poll_gather(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(asking::Aborted)) => return Err(Unwritten::Content),
                Poll::Pending if self.asking.bytes().is_empty() => break,
                Poll::Pending => {}
            }
            if self.asking.bytes().is_empty() {
                continue;
            }
            match Pin::new(&mut self.socket).poll_write(cx, self.asking.bytes()) {
                Poll::Ready(Ok(0)) => return Err(Unwritten::Socket(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.asking.wrote(written);
                    *count += written;
                }
                Poll::Ready(Err(error)) => return Err(Unwritten::Socket(error)),
                Poll::Pending => return Ok(()),
            }
        }
        // Pending means that TLS has records left over.
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.is_flushed = flushed.is_ready();
        match flushed {
            Poll::Ready(Err(error)) => Err(Unwritten::Socket(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < ROOM_BYTES_MIN {
            self.read.reserve(self.read_bytes);
        }
        let room = self.read.capacity() - self.read.len();
        let count = ready!(poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.read))?;
        if count == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }
}

impl Socket {
    /// Whether the system has neither bytes nor an end for us. The runtime hears of those only when it next asks for events.
    fn has_nothing_to_read(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let seen = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
        seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// What one exchange has seen so far.
#[derive(Default)]
struct Progress {
    has_written: bool,
    has_read: bool,
    /// How much of an unfinished head was looked at.
    seen: usize,
    interim: usize,
    /// How writing failed, and the content if nothing was written.
    lost: Option<io::Error>,
    content: Option<Outgoing>,
}

enum Unwritten {
    Content,
    Socket(io::Error),
}

/// One timer for all the waits of a connection: setting it forward, as nearly always, costs next to nothing.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
}

impl Timer {
    fn arm(&mut self, after: Duration) {
        self.is_armed = true;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + after),
            None => self.sleep = Some(Box::pin(sleep(after))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.is_armed => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::net::TcpListener;

    use super::*;
    use crate::request::BodyError;

    async fn connected() -> (TcpStream, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, Wire::new(Socket::Plain(ours)))
    }

    #[tokio::test]
    async fn an_end_is_seen_before_the_runtime_tells_of_it() {
        let (theirs, mut wire) = connected().await;
        for how in [Look::Glance, Look::Hard] {
            assert!(wire.is_quiet(how), "{how:?}");
        }
        drop(theirs);
        assert!(!wire.is_quiet(Look::Hard));
    }

    #[tokio::test]
    async fn what_was_written_before_a_failure_counts() {
        let (theirs, mut wire) = connected().await;
        // One that is gone for good: the first write is answered with a reset, the second one fails.
        SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
        let mut theirs = Some(theirs);
        let pieces =
            [Bytes::from(vec![7; GATHERED_BYTES]), Bytes::from_static(b"more")].into_iter().map(move |piece| {
                if piece.len() < GATHERED_BYTES {
                    theirs.take();
                }
                Ok::<_, BodyError>(Frame::data(piece))
            });
        let content = Outgoing::new(StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync());
        let (method, target, fields) = (Method::POST, PathAndQuery::from_static("/"), HeaderMap::new());
        wire.asking.begin(&method, &target, &fields, content);
        let mut written = 0;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let outcome = wire.poll_write(&mut cx, &mut written);
        assert!(matches!(outcome, Err(Unwritten::Socket(_))));
        assert!(written > GATHERED_BYTES, "{written}");
    }

    /// As much as is gathered for one write.
    const GATHERED_BYTES: usize = 16 * 1024;
}
