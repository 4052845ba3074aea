//! Records that leave together: what a connection writes in one turn is one call to the system.
//!
//! hyper flushes HTTP/2 frame by frame, and each flush of TLS is a write to the socket. A page's thirty files, asked for
//! at once and answered from memory, would be thirty writes. Here a flush does nothing; the connection's task flushes
//! once, when hyper has no more to say ([`Departure`]). A full buffer (64 KiB, by the TLS library) is written at once.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::ingress::connection::timer::Timer;

/// The connection for hyper.
#[derive(Debug)]
pub(super) struct Batched<I>(Shared<I>);

/// The other handle of the same, for the task that drives hyper. Both are used by that one task: nobody waits.
#[derive(Debug)]
pub(super) struct Departure<I> {
    tls: Shared<I>,
    /// How long a client may take nothing of what waits to leave.
    wait: Duration,
    timer: Mutex<Timer>,
}

#[derive(Debug)]
struct Shared<I>(Arc<Mutex<TlsStream<I>>>);

impl<I> Shared<I> {
    fn lock(&self) -> MutexGuard<'_, TlsStream<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two handles; a client that takes nothing for `wait` is given up.
pub(super) fn batched<I>(tls: TlsStream<I>, wait: Duration) -> (Batched<I>, Departure<I>) {
    let tls = Arc::new(Mutex::new(tls));
    let departure = Departure { tls: Shared(Arc::clone(&tls)), wait, timer: Mutex::default() };
    (Batched(Shared(tls)), departure)
}

impl<I: AsyncRead + AsyncWrite + Unpin> Departure<I> {
    /// Writes what waits to leave.
    ///
    /// # Errors
    /// The connection's own, and `TimedOut` when the client has taken nothing for too long: nobody else sees that, since
    /// what hyper wrote was taken here.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut tls = self.tls.lock();
        if !tls.get_ref().1.wants_write() {
            return Poll::Ready(Ok(()));
        }
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        let (socket, connection) = tls.get_mut();
        io::Write::flush(&mut connection.writer())?;
        while connection.wants_write() {
            match connection.write_tls(&mut Now { socket, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => timer.disarm(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timer.arm(self.wait);
                    return timer.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(socket).poll_flush(cx)
    }
}

/// What can be written to a socket now; the task is woken when it takes more.
struct Now<'a, 'c, I> {
    socket: &'a mut I,
    cx: &'a mut Context<'c>,
}

impl<I: AsyncWrite + Unpin> Now<'_, '_, I> {
    fn now<T>(written: Poll<io::Result<T>>) -> io::Result<T> {
        match written {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<I: AsyncWrite + Unpin> io::Write for Now<'_, '_, I> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.socket).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::now(Pin::new(&mut *self.socket).poll_flush(self.cx))
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, timeout};
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    /// A connection that counts what is written to it at once.
    struct Counting(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counting {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    async fn connected(pipe_bytes: usize) -> (client::TlsStream<DuplexStream>, TlsStream<Counting>, Arc<AtomicUsize>) {
        let own = rcgen::generate_simple_self_signed(vec!["a.kz".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (theirs, ours) = duplex(pipe_bytes);
        let writes = Arc::<AtomicUsize>::default();
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
        let (client, server) = tokio::join!(
            connector.connect(ServerName::try_from("a.kz").unwrap(), theirs),
            acceptor.accept(Counting(ours, Arc::clone(&writes))),
        );
        (client.unwrap(), server.unwrap(), writes)
    }

    #[tokio::test]
    async fn what_is_written_in_a_turn_leaves_in_one_write() {
        let (mut client, server, writes) = connected(1 << 20).await;
        let (mut batched, departure) = batched(server, WAIT);
        let before = writes.load(Ordering::Relaxed);
        for frame in 0..30 {
            batched.write_all(&[frame; 1_000]).await.unwrap();
            batched.flush().await.unwrap();
        }
        assert_eq!(writes.load(Ordering::Relaxed), before, "nothing leaves by itself");
        poll_fn(|cx| departure.poll(cx)).await.unwrap();
        assert_eq!(writes.load(Ordering::Relaxed), before + 1);
        let mut seen = vec![0; 30_000];
        client.read_exact(&mut seen).await.unwrap();
        assert!(seen.chunks(1_000).zip(0..).all(|(chunk, frame)| chunk.iter().all(|&byte| byte == frame)));
        poll_fn(|cx| departure.poll(cx)).await.unwrap();
        assert_eq!(writes.load(Ordering::Relaxed), before + 1, "nothing is left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut client, server, _) = connected(4096).await;
        let (mut batched, departure) = batched(server, WAIT);
        // Little enough for the TLS library to take it all, so that hyper waits for nothing.
        batched.write_all(&[7; 60_000]).await.unwrap();
        let begun = Instant::now();
        let mut seen = vec![0; 1_000];
        for _ in 0..10 {
            // One who reads slowly reads.
            let almost = timeout(WAIT - Duration::from_secs(1), poll_fn(|cx| departure.poll(cx)));
            assert!(almost.await.is_err(), "{:?}", begun.elapsed());
            while let Ok(read) = timeout(Duration::ZERO, client.read(&mut seen)).await {
                read.unwrap();
            }
        }
        let ended = poll_fn(|cx| departure.poll(cx)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() > WAIT * 9);
    }

    #[tokio::test]
    async fn more_than_fits_leaves_and_the_rest_with_the_end() {
        let (mut client, server, _) = connected(1024).await;
        let (mut batched, _departure) = batched(server, WAIT);
        let body: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
        let sent = body.clone();
        let sending = tokio::spawn(async move {
            batched.write_all(&sent).await.unwrap();
            batched.shutdown().await.unwrap();
        });
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        assert!(seen == body);
        sending.await.unwrap();
    }
}
