//! A client of a CONNECT that let the origin speak first. If what it then says is TLS, that must still name the host
//! of the CONNECT: who waits for a second is not let past the comparison.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bulaq_allowlist::HostName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client_hello::{self, Parsed};

/// Bytes that are read at a time until it is known what they are.
const PART_BYTES: usize = 2 * 1024;

/// Gives nothing of what the client says until that has been judged; writing is not touched.
#[derive(Debug)]
pub(super) struct Late<I> {
    io: I,
    host: HostName,
    /// What was read and not given. The parser ends its growth.
    held: Vec<u8>,
    is_judged: bool,
}

impl<I> Late<I> {
    /// A client whose TLS, if it speaks that, must be for this host.
    pub(super) fn new(io: I, host: HostName) -> Self {
        Self { io, host, held: Vec::new(), is_judged: false }
    }

    /// Whether what is held may pass; None while that cannot be told.
    fn judge(&self) -> Option<bool> {
        match client_hello::parse(&self.held) {
            Ok(Parsed::Partial) => None,
            Ok(Parsed::Whole(hello)) => {
                Some(hello.server_name.and_then(|name| HostName::parse(&name).ok()).as_ref() == Some(&self.host))
            }
            Err(error) => Some(error.may_be_another_protocol()),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Late<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.is_judged {
            let mut part = [0; PART_BYTES];
            let mut part = ReadBuf::new(&mut part);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                let is_silent = this.held.is_empty();
                return Poll::Ready(if is_silent { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            }
            this.held.extend_from_slice(part.filled());
            this.is_judged = match this.judge() {
                None => false,
                Some(true) => true,
                Some(false) => {
                    tracing::debug!(host = %this.host, "closed a tunnel: the late ClientHello is not for this host");
                    return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
                }
            };
        }
        if this.held.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let given = this.held.len().min(buf.remaining());
        buf.put_slice(&this.held[..given]);
        this.held.drain(..given);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Late<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
