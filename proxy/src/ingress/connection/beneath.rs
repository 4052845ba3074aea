//! When an answer is given beneath hyper.
//!
//! Only while nothing is outstanding: every head that hyper was given has come to the service, its answer has ended, and
//! hyper has flushed since. hyper drops an answer's content no earlier than it has put the last of it into its buffer, and
//! flushes us only with that buffer empty; so all that it had to write has been written, and nothing stands between our
//! bytes and the request that they answer. Of what it was given nothing is left either: it reads on only when what it has
//! is no whole head, and of the beginning of one `framing` would know. A head that hyper refuses by itself never comes to
//! the service, and from then on nothing is answered here.
//!
//! What was read and is not answered here is given up to hyper as it came. While an answer is on its way, hyper can
//! neither read, write, flush nor shut down: each of them goes on with the answer first.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::guarded::Guarded;
use super::quick::Look;
use super::socket::Transport;

/// How much is read at once, and the most that is held while an answer waits for its client. A browser's head has 1 KiB.
const READ_BYTES: usize = 8 * 1024;

/// Answers that one client gets in one turn, however many it asks for at once; then other connections have theirs.
const ANSWERS_PER_TURN_MAX: usize = 16;

/// Bytes that one client gets in one turn, however fast it takes them: well under a millisecond.
const TURN_BYTES_MAX: usize = 2 << 20;

impl<I: Transport> Guarded<I> {
    /// Whether nothing is outstanding.
    pub(super) fn may_answer(&self) -> bool {
        let given = self.framing.requests();
        let has_ended = given == self.activity.begun() && given == self.activity.ended();
        has_ended
            && given == self.flushed
            && self.framing.is_between()
            && self.begun.is_empty()
            && !self.activity.is_ending()
    }

    /// Answers what can be answered; what cannot is read by hyper.
    pub(super) fn poll_beneath(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut turns_left = ANSWERS_PER_TURN_MAX;
        loop {
            if self.activity.is_draining() {
                // As when hyper is told to end a connection on which nothing is outstanding.
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            let is_given = if self.held.is_empty() {
                let mut read = ReadBuf::uninit(&mut space);
                let Poll::Ready(result) = Pin::new(&mut self.io).poll_read(cx, &mut read) else {
                    return self.poll_read_wait(cx);
                };
                result?;
                if read.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll_answers(cx, read.filled(), buf, &mut turns_left))?
            } else {
                let held = std::mem::take(&mut self.held);
                ready!(self.poll_answers(cx, &held, buf, &mut turns_left))?
            };
            if is_given {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Answers the requests that `bytes` begin with and gives up the rest; says whether there was a rest. Pending when the
    /// client has to take something first, or has had its turn: then the rest is held.
    fn poll_answers(
        &mut self,
        cx: &mut Context<'_>,
        mut bytes: &[u8],
        buf: &mut ReadBuf<'_>,
        turns_left: &mut usize,
    ) -> Poll<io::Result<bool>> {
        while !bytes.is_empty() {
            if *turns_left == 0 {
                self.held = bytes.to_vec();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            *turns_left -= 1;
            let look = self.quick.as_ref().map_or(Look::Other, |quick| quick.look(bytes));
            let taken = match look {
                Look::Answer(answer, taken) => {
                    self.answer = Some(answer);
                    taken
                }
                Look::Unknown(key) => {
                    self.activity.ask(key);
                    self.give(bytes, buf);
                    return Poll::Ready(Ok(true));
                }
                Look::Other => {
                    self.give(bytes, buf);
                    return Poll::Ready(Ok(true));
                }
            };
            bytes = &bytes[taken..];
            self.framing.answered_beneath();
            self.activity.moved();
            let answered = self.poll_answer(cx);
            if answered.is_pending() {
                self.held = bytes.to_vec();
            }
            ready!(answered)?;
        }
        Poll::Ready(Ok(false))
    }

    /// Goes on with the answer that is on its way, if there is one.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut answer) = self.answer.take() else { return Poll::Ready(Ok(())) };
        let mut result = Poll::Ready(Ok(()));
        let mut turn_bytes_left = TURN_BYTES_MAX;
        while !answer.is_written() {
            if turn_bytes_left == 0 {
                self.answer = Some(answer);
                self.activity.set_answering(true);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let written = answer.poll_write(&mut self.io, cx);
            match self.watch_content(cx, written) {
                Poll::Ready(Ok(written)) => turn_bytes_left = turn_bytes_left.saturating_sub(written),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut && answer.is_moving(&self.io) => {
                    self.activity.moved()
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    result = Poll::Pending;
                    break;
                }
            }
        }
        if result.is_ready() {
            let flushed = Pin::new(&mut self.io).poll_flush(cx);
            result = self.watch_write(cx, flushed);
        }
        self.activity.set_answering(result.is_pending());
        if result.is_pending() {
            self.answer = Some(answer);
            // No wait without end for one who takes a byte now and then either.
            if let Poll::Ready(ended) = self.poll_read_wait(cx) {
                return Poll::Ready(ended.and(Err(io::ErrorKind::TimedOut.into())));
            }
        }
        result
    }

    /// Gives up what was read: as much as `buf` takes, the rest at the next reading.
    pub(super) fn give(&mut self, bytes: &[u8], buf: &mut ReadBuf<'_>) {
        let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
        let before = buf.filled().len();
        buf.put_slice(now);
        self.held = later.to_vec();
        self.give_up(buf, before);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

    use super::super::activity::Activity;
    use super::super::guarded::Waits;
    use super::*;
    use crate::ingress::limits::Limits;

    /// As TLS with a slow client: it takes all that is written and lets go of it later.
    struct Holding(DuplexStream, bool);

    impl Transport for Holding {}

    impl AsyncRead for Holding {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.1 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn nothing_is_answered_until_the_answer_before_has_left_and_never_after_the_last() {
        let (mut client, ours) = duplex(1024);
        let activity = Arc::new(Activity::default());
        let mut guarded = Guarded::new(Holding(ours, true), Waits::new(&Limits::default()), Arc::clone(&activity));
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(guarded.read(&mut [0; 64]).await.unwrap() > 0);
        assert!(!guarded.may_answer(), "it is given to hyper");
        drop(activity.begin());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut guarded).poll_flush(&mut cx).is_pending());
        assert!(!guarded.may_answer(), "some of its answer is still here");
        guarded.io.1 = false;
        assert!(Pin::new(&mut guarded).poll_flush(&mut cx).is_ready());
        assert!(guarded.may_answer());
        activity.ends();
        assert!(!guarded.may_answer(), "that answer ends the connection");
    }
}
