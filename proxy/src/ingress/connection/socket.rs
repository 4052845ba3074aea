//! What a connection comes over: a socket of the system, or something that turns bytes into others before they leave.

use std::io;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// More follows at once, so nothing is sent yet (`MSG_MORE` of send(2); the same number on every Linux).
const MSG_MORE: i32 = 0x8000;

/// What a connection comes over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The socket, when what is written to it leaves as it is: then the system can send a file by it.
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl Transport for TcpStream {
    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

#[cfg(test)]
impl Transport for tokio::io::DuplexStream {}

/// Waits until the socket takes something, and calls `send` until that does not ask to wait.
pub(crate) fn poll_send<T>(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut send: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, &mut send) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            result => return Poll::Ready(result),
        }
    }
}

/// Writes what is to leave together with what is sent after it.
pub(crate) fn poll_send_more(socket: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    poll_send(socket, cx, || SockRef::from(socket).send_with_flags(bytes, MSG_MORE))
}
