//! One direction of a tunnel.
//!
//! Its buffer is there only while bytes are on their way: there may be thousands of tunnels, and most are quiet. It grows
//! with what comes, since each read and write costs the same however long it is.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// The first buffer: a sign-in, or a page's request.
const BYTES_MIN: usize = 8 * 1024;

/// The longest: from here on longer reads gain little.
const BYTES_MAX: usize = 64 * 1024;

/// Copies both ways until both sides have ended, and passes each end on.
///
/// # Errors
/// The first of either side.
pub(super) async fn both_ways<A, B>(a: &mut A, b: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (OneWay::default(), OneWay::default());
    poll_fn(|cx| {
        let (there, back) = (there.poll(cx, a, b)?, back.poll(cx, b, a)?);
        if there.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// What is on its way in one direction.
#[derive(Debug)]
struct OneWay {
    buffer: Vec<u8>,
    /// How much of the buffer has been written.
    written: usize,
    /// How much the next read takes.
    length: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The reader's end was read, and is to be passed on.
    Ended,
    Closed,
}

impl Default for OneWay {
    fn default() -> Self {
        Self { buffer: Vec::new(), written: 0, length: BYTES_MIN, stage: Stage::Open }
    }
}

impl OneWay {
    /// Ready when the end has been passed on.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while self.written < self.buffer.len() {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.written..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => self.written += written,
                }
            }
            self.buffer.clear();
            self.written = 0;
            match self.stage {
                Stage::Closed => return Poll::Ready(Ok(())),
                Stage::Ended => {
                    self.buffer = Vec::new();
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.stage = Stage::Closed;
                }
                Stage::Open => match self.poll_read(cx, from)? {
                    Poll::Ready(0) => self.stage = Stage::Ended,
                    Poll::Ready(_) => {}
                    Poll::Pending => {
                        self.buffer = Vec::new();
                        return match Pin::new(to).poll_flush(cx) {
                            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                            _ => Poll::Pending,
                        };
                    }
                },
            }
        }
    }

    fn poll_read<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<io::Result<usize>> {
        self.buffer.reserve_exact(self.length);
        let read = ready!(poll_read_buf(Pin::new(from), cx, &mut self.buffer))?;
        if read >= self.length {
            self.length = (self.length * 2).min(BYTES_MAX);
        } else if read < self.length / 4 {
            self.length = (self.length / 2).max(BYTES_MIN);
        }
        Poll::Ready(Ok(read))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Bytes that do not repeat soon.
    fn bytes(count: usize, seed: usize) -> Vec<u8> {
        (0..count).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
    }

    #[tokio::test]
    async fn each_end_gets_what_the_other_sends_and_hears_of_its_end() {
        for (there, back) in [(0, 0), (1, 0), (0, 70_000), (300_000, 300_001), (5, 1_000_000)] {
            let ((mut client, mut a), (mut b, mut origin)) = (duplex(1_000), duplex(3_000));
            let (sent, answered) = (bytes(there, 1), bytes(back, 2));
            let tunnel = async { both_ways(&mut a, &mut b).await.unwrap() };
            let talk = async {
                client.write_all(&sent).await.unwrap();
                client.shutdown().await.unwrap();
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                assert!(got == answered, "{there}, {back}");
            };
            let serve = async {
                let mut got = Vec::new();
                origin.read_to_end(&mut got).await.unwrap();
                assert!(got == sent, "{there}, {back}: the end of the one direction comes before the other begins");
                origin.write_all(&answered).await.unwrap();
                origin.shutdown().await.unwrap();
            };
            tokio::join!(tunnel, talk, serve);
        }
    }

    #[tokio::test]
    async fn a_side_that_breaks_ends_both_directions() {
        let ((mut client, mut a), (mut b, origin)) = (duplex(64), duplex(64));
        drop(origin);
        client.write_all(b"to nobody").await.unwrap();
        assert_eq!(both_ways(&mut a, &mut b).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_buffer_grows_with_what_comes_and_is_gone_when_nothing_does() {
        let ((mut from, mut a), (mut b, mut to)) = (duplex(1 << 20), duplex(1 << 20));
        let mut cx = Context::from_waker(Waker::noop());
        let mut way = OneWay::default();
        assert!(way.poll(&mut cx, &mut a, &mut b).is_pending());
        assert_eq!((way.buffer.capacity(), way.length), (0, BYTES_MIN));

        // 8 + 16 + 32 + 64 KiB, and 8 more of them.
        let film = bytes(632 * 1024, 3);
        from.write_all(&film).await.unwrap();
        assert!(way.poll(&mut cx, &mut a, &mut b).is_pending());
        assert_eq!((way.buffer.capacity(), way.length), (0, BYTES_MAX));
        let mut got = vec![0; film.len()];
        to.read_exact(&mut got).await.unwrap();
        assert!(got == film);

        for length in [BYTES_MAX / 2, BYTES_MAX / 4, BYTES_MIN, BYTES_MIN] {
            from.write_all(b"a word").await.unwrap();
            assert!(way.poll(&mut cx, &mut a, &mut b).is_pending());
            assert_eq!((way.buffer.capacity(), way.length), (0, length));
        }
    }

    #[tokio::test]
    async fn what_a_slow_reader_leaves_is_kept_and_no_more_is_read() {
        let ((mut from, mut a), (mut b, mut to)) = (duplex(1 << 20), duplex(1_000));
        let mut cx = Context::from_waker(Waker::noop());
        let mut way = OneWay::default();
        let sent = bytes(20_000, 4);
        from.write_all(&sent).await.unwrap();
        assert!(way.poll(&mut cx, &mut a, &mut b).is_pending());
        assert_eq!((way.buffer.len(), way.written), (BYTES_MIN, 1_000));
        let mut got = vec![0; sent.len()];
        for piece in got.chunks_mut(1_000) {
            to.read_exact(piece).await.unwrap();
            assert!(way.poll(&mut cx, &mut a, &mut b).is_pending());
        }
        assert!(got == sent);
        assert_eq!(way.buffer.capacity(), 0);
    }
}
