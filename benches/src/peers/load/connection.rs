//! One connection of the load: a socket, TLS if there is any, and what is spoken on it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use rustix::net::RecvFlags;
use rustls::{ClientConnection, ProtocolVersion};
use rustls_pki_types::ServerName;

use super::{PATIENCE, Speech, Tally, Wanted, http1, http2};
use crate::boxed::HOST;
use crate::content::Content;

/// From so much content on that nobody compares, the system drops it without a copy: a client of our own is not to be what
/// is measured.
const DROPPED_BYTES_MIN: u64 = 32 * 1024;

/// An answer that is awaited.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) path: String,
    pub(super) content: Content,
    /// Whether a part was asked for, and so a 206 is right.
    pub(super) is_part: bool,
    /// Where the next byte stands, and how many are to come.
    pub(super) position: u64,
    pub(super) left: u64,
    pub(super) bytes: u64,
    pub(super) is_compared: bool,
    pub(super) due: Instant,
}

impl Pending {
    pub(super) fn new(path: &str, wanted: &Wanted, is_compared: bool, due: Instant) -> Self {
        let part = wanted.part.clone().unwrap_or(0..wanted.content.bytes);
        let bytes = part.end - part.start;
        Self {
            path: path.to_owned(),
            content: wanted.content,
            is_part: wanted.part.is_some(),
            position: part.start,
            left: bytes,
            bytes,
            is_compared,
            due,
        }
    }

    /// Whether this is the status that it should have.
    pub(super) fn check_status(&self, status: u16) -> anyhow::Result<()> {
        let wanted = if self.is_part { 206 } else { 200 };
        ensure!(status == wanted, "{}: the status is {status} and not {wanted}", self.path);
        Ok(())
    }

    /// Takes content that has come.
    pub(super) fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        ensure!(bytes.len() as u64 <= self.left, "{}: more content than asked for", self.path);
        if self.is_compared && !self.content.is_at(self.position, bytes) {
            let end = self.position + bytes.len() as u64;
            bail!("{}: wrong bytes between {} and {end}", self.path, self.position);
        }
        self.skip(bytes.len() as u64);
        Ok(())
    }

    /// Content has come that nobody saw.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.position += bytes;
        self.left -= bytes;
    }
}

enum Speaker {
    Http1(http1::Client),
    Http2(http2::Client),
}

pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    speaker: Speaker,
    /// What is to be written, in the clear.
    out: Vec<u8>,
    /// What the socket did not take of it; with TLS it waits in `tls`.
    is_waiting_to_write: bool,
}

impl Connection {
    pub(super) fn open(door: SocketAddr, speech: &Speech) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&door, PATIENCE).context("no connection")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let tls = match speech {
            Speech::Http1 => None,
            Speech::Http1OverTls(config) | Speech::Http2OverTls(config, _) => {
                let mut tls = ClientConnection::new(config.clone(), ServerName::try_from(HOST)?)?;
                tls.set_buffer_limit(None);
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket).context("no handshake")?;
                }
                ensure!(tls.protocol_version() == Some(ProtocolVersion::TLSv1_3), "it does not speak TLS 1.3");
                if matches!(speech, Speech::Http2OverTls(..)) {
                    ensure!(tls.alpn_protocol() == Some(b"h2"), "it does not speak HTTP/2");
                }
                Some(tls)
            }
        };
        socket.set_nonblocking(true)?;
        let mut out = Vec::with_capacity(4096);
        let speaker = match speech {
            Speech::Http2OverTls(_, streams) => Speaker::Http2(http2::Client::new(*streams, &mut out)),
            Speech::Http1 | Speech::Http1OverTls(_) => Speaker::Http1(http1::Client::default()),
        };
        Ok(Self { socket, tls, speaker, out, is_waiting_to_write: false })
    }

    /// A new connection in place of one that was closed; what was asked and not answered is asked again.
    pub(super) fn reopen(&mut self, door: SocketAddr, speech: &Speech) -> anyhow::Result<()> {
        let unanswered = match &mut self.speaker {
            Speaker::Http1(client) => client.take_unanswered()?,
            Speaker::Http2(_) => bail!("the HTTP/2 connection was closed"),
        };
        *self = Self::open(door, speech)?;
        if let (Some(pending), Speaker::Http1(client)) = (unanswered, &mut self.speaker) {
            client.ask_again(pending, &mut self.out);
        }
        Ok(())
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether nothing is awaited.
    pub(super) fn is_idle(&self) -> bool {
        match &self.speaker {
            Speaker::Http1(client) => client.has_room(),
            Speaker::Http2(client) => client.is_idle(),
        }
    }

    /// Whether one more request may be sent.
    pub(super) fn has_room(&self) -> bool {
        match &self.speaker {
            Speaker::Http1(client) => client.has_room(),
            Speaker::Http2(client) => client.has_room(),
        }
    }

    /// Puts a request among what is to be written.
    pub(super) fn ask(&mut self, path: &str, wanted: Wanted, is_compared: bool, due: Instant) -> anyhow::Result<()> {
        let pending = Pending::new(path, &wanted, is_compared, due);
        match &mut self.speaker {
            Speaker::Http1(client) => client.ask(pending, &mut self.out),
            Speaker::Http2(client) => client.ask(pending, &mut self.out)?,
        }
        Ok(())
    }

    /// Writes what the socket takes. Whether to be told when it takes more; none if that stays as it is.
    pub(super) fn flush(&mut self) -> anyhow::Result<Option<bool>> {
        if let Some(tls) = &mut self.tls {
            if !self.out.is_empty() {
                tls.writer().write_all(&self.out)?;
                self.out.clear();
            }
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => (),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return closed(error),
                }
            }
        } else {
            while !self.out.is_empty() {
                match self.socket.write(&self.out) {
                    Ok(count) if count == self.out.len() => self.out.clear(),
                    Ok(count) => drop(self.out.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return closed(error),
                }
            }
        }
        let wants_to_write = !self.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        let is_change = wants_to_write != self.is_waiting_to_write;
        self.is_waiting_to_write = wants_to_write;
        Ok(is_change.then_some(wants_to_write))
    }

    /// Reads what is there. Whether the connection is open.
    pub(super) fn read(&mut self, scratch: &mut [u8], tally: &mut Tally) -> anyhow::Result<bool> {
        if self.tls.is_some() { self.read_tls(scratch, tally) } else { self.read_plain(scratch, tally) }
    }

    fn read_plain(&mut self, scratch: &mut [u8], tally: &mut Tally) -> anyhow::Result<bool> {
        loop {
            let dropped = match &self.speaker {
                Speaker::Http1(client) => client.droppable().filter(|&bytes| bytes >= DROPPED_BYTES_MIN),
                Speaker::Http2(_) => None,
            };
            if let (Some(bytes), Speaker::Http1(client)) = (dropped, &mut self.speaker) {
                let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(scratch.len());
                match rustix::net::recv(&self.socket, &mut scratch[..most], RecvFlags::TRUNC) {
                    Ok((_, 0)) => return Ok(false),
                    Ok((_, count)) => client.dropped(count as u64, tally),
                    Err(rustix::io::Errno::AGAIN) => return Ok(true),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            match self.socket.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.hear(&scratch[..count], tally)?;
                    if count < scratch.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_tls(&mut self, scratch: &mut [u8], tally: &mut Tally) -> anyhow::Result<bool> {
        let mut is_open = true;
        loop {
            let tls = self.tls.as_mut().context("no TLS")?;
            match tls.read_tls(&mut self.socket) {
                Ok(0) => is_open = false,
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            let mut clear = tls.process_new_packets()?.plaintext_bytes_to_read();
            while clear > 0 {
                let tls = self.tls.as_mut().context("no TLS")?;
                let count = tls.reader().read(scratch)?;
                clear -= count;
                self.hear(&scratch[..count], tally)?;
            }
            if !is_open {
                return Ok(false);
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], tally: &mut Tally) -> anyhow::Result<()> {
        match &mut self.speaker {
            Speaker::Http1(client) => client.hear(bytes, tally),
            Speaker::Http2(client) => client.hear(bytes, &mut self.out, tally),
        }
    }
}

/// A connection that was closed while it was written to is found closed by the next read, and opened anew there.
fn closed(error: std::io::Error) -> anyhow::Result<Option<bool>> {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(None),
        _ => Err(error.into()),
    }
}
