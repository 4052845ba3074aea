//! A client that keeps its connection, asks for one thing after the other, and compares every byte.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::origin::{content_of, end_of_head};
use crate::boxed::HOST;

/// How long it waits for a connection or the next bytes: longer than any wait that is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most of an answer's head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One read of the socket.
const READ_BYTES: usize = 64 * 1024;

/// What is at an address of the origin.
///
/// # Panics
/// When there is nothing: addresses are ours.
pub(crate) fn body_of(path: &str) -> Vec<u8> {
    let content = content_of(path).expect("an address of the origin names its content");
    let mut body = vec![0; usize::try_from(content.bytes).expect("what is compared fits into memory")];
    content.read(0, &mut body);
    body
}

/// A client with its connection.
pub(crate) struct Visitor {
    host: &'static str,
    stream: TcpStream,
    unread: Vec<u8>,
}

/// When an answer came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The first byte of its content; of one without content, the end of its head.
    pub(crate) first_byte: Instant,
    pub(crate) end: Instant,
}

/// The head of an answer, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Where its content begins in the whole.
    start: usize,
    length: usize,
    is_last: bool,
}

impl Head {
    fn parse(text: &str, whole: usize) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        ensure!(matches!(status, "200" | "206"), "the answer is {status}");
        let (mut length, mut start, mut is_last) = (None, 0, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.parse()?),
                "content-range" => {
                    let range = value.strip_prefix("bytes ").and_then(|range| range.split('-').next());
                    start = range.context("an unknown Content-Range")?.parse()?;
                }
                "connection" => is_last = value.eq_ignore_ascii_case("close"),
                _ => (),
            }
        }
        let length = length.context("an answer without a length")?;
        ensure!(start + length <= whole, "{length} bytes from {start} on are more than there are");
        ensure!(status == "206" || length == whole, "{length} bytes are not the whole of {whole}");
        Ok(Self { start, length, is_last })
    }
}

impl Visitor {
    /// One who asks for the site that all cases have.
    pub(crate) async fn connect(door: SocketAddr) -> anyhow::Result<Self> {
        Self::of(door, HOST).await
    }

    /// One who asks for this site.
    pub(crate) async fn of(door: SocketAddr, host: &'static str) -> anyhow::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(door)).await.context("no connection in time")??;
        stream.set_nodelay(true)?;
        Ok(Self { host, stream, unread: Vec::with_capacity(READ_BYTES) })
    }

    /// Asks for an address, or a range of it, whose whole content is `expected`.
    ///
    /// # Errors
    /// When the answer does not come, is not a success, or has other bytes.
    pub(crate) async fn get(&mut self, path: &str, range: Option<&str>, expected: &[u8]) -> anyhow::Result<Seen> {
        let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{range}\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await?;
        self.answer(expected).await.with_context(|| path.to_owned())
    }

    async fn answer(&mut self, expected: &[u8]) -> anyhow::Result<Seen> {
        let end = loop {
            if let Some(end) = end_of_head(&self.unread) {
                break end;
            }
            ensure!(self.unread.len() <= HEAD_BYTES_MAX, "the head of the answer does not end");
            self.more().await?;
        };
        let head = Head::parse(std::str::from_utf8(&self.unread[..end])?, expected.len())?;
        self.unread.drain(..end);
        let expected = &expected[head.start..head.start + head.length];
        let (mut position, mut first_byte) = (0, None);
        while position < expected.len() {
            if self.unread.is_empty() {
                self.more().await?;
            }
            first_byte.get_or_insert_with(Instant::now);
            let count = self.unread.len().min(expected.len() - position);
            if self.unread[..count] != expected[position..position + count] {
                bail!("wrong bytes between {position} and {}", position + count);
            }
            position += count;
            self.unread.drain(..count);
        }
        ensure!(!head.is_last, "the connection was not kept");
        let end = Instant::now();
        Ok(Seen { first_byte: first_byte.unwrap_or(end), end })
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        self.unread.reserve(READ_BYTES);
        let read =
            timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await.context("nothing came in time")??;
        ensure!(read > 0, "the connection ended before the answer did");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_must_be_of_what_was_asked() {
        let head = |text: &str| Head::parse(text, 10).ok();
        let whole = Head { start: 0, length: 10, is_last: false };
        assert_eq!(head("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), Some(whole));
        let part = Head { start: 4, length: 2, is_last: true };
        let text = "HTTP/1.1 206 P\r\ncontent-range: bytes 4-5/10\r\nCONTENT-LENGTH: 2\r\nConnection: Close\r\n\r\n";
        assert_eq!(head(text), Some(part));
        for wrong in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 502 Bad\r\nContent-Length: 10\r\n\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes 9-10/10\r\nContent-Length: 2\r\n\r\n",
        ] {
            assert_eq!(head(wrong), None, "{wrong}");
        }
    }
}
