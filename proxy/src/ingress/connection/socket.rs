//! What a connection comes over: a socket of the system, or something that turns bytes into others before they leave.

use std::io;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// More follows at once, so nothing is sent yet (`MSG_MORE` of send(2); the same number on every Linux).
const MSG_MORE: i32 = 0x8000;

/// How much of an answer may wait unsent in the kernel, in bytes: some milliseconds of a school's network. Without a bound
/// the kernel takes megabytes for a client that reads slowly or is about to leave: of a film, bytes that the thin link
/// carried for nobody, and of a class of slow clients, memory that no limit of ours counts.
pub(crate) const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// The same while a long file is sent that is stored whole: its bytes cost the link nothing any more, and what waits are
/// references to pages of the page cache. The most that the kernel lets one socket have; of memory of its own that is some
/// 64 KiB, and the kernel's own sizing gives slow clients far less. Where it paces what it sends (BBR), each byte costs
/// half as much again with the usual limit.
pub(crate) const UNSENT_OF_FILE_BYTES_MAX: u32 = 4 << 20;

/// Sets how much may wait unsent in the kernel.
pub(crate) fn limit_unsent(socket: &TcpStream, bytes: u32) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(bytes)
}

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
