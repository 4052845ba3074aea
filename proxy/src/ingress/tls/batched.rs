//! Records that leave together: what a connection writes in one turn is one call to the system.
//!
//! hyper flushes HTTP/2 frame by frame, and each flush of TLS is a write to the socket. A page's thirty files, asked for
//! at once and answered from memory, would be thirty writes. Here a flush does nothing; the connection's task flushes
//! once, when hyper has no more to say ([`Departure`]). A full buffer (64 KiB, by the TLS library) is written at once.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// The connection for hyper.
#[derive(Debug)]
pub(super) struct Batched<I>(Shared<I>);

/// The other handle of the same, for the task that drives hyper. Both are used by that one task: nobody waits.
#[derive(Debug)]
pub(super) struct Departure<I>(Shared<I>);

#[derive(Debug)]
struct Shared<I>(Arc<Mutex<TlsStream<I>>>);

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, TlsStream<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn batched<I>(tls: TlsStream<I>) -> (Batched<I>, Departure<I>) {
    let tls = Arc::new(Mutex::new(tls));
    (Batched(Shared(Arc::clone(&tls))), Departure(Shared(tls)))
}

impl<I: AsyncRead + AsyncWrite + Unpin> Departure<I> {
    /// Writes what waits to leave.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut tls = self.0.lock();
        if !tls.get_ref().1.wants_write() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *tls).poll_flush(cx)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Batched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(cx, buf)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Batched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut tls = self.0.lock();
        loop {
            let taken = io::Write::write_vectored(&mut tls.get_mut().1.writer(), bufs)?;
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            ready!(Pin::new(&mut *tls).poll_flush(cx))?; // it is full
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the departure does
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(cx)
    }
}
