//! Clients that compare every byte they get.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::boxed::HOST;
use crate::content::Content;

/// What one HTTP/2 stream may have on its way, and all streams of a connection together: enough that a client's slow
/// streams, which take nothing, leave the fast ones of the same connection what they need. What is measured is the box's
/// share of the blame, not the client's.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// How long a client waits for the next bytes. Longer than any wait that is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client lets the system receive ahead of it: little, so that what was given is what was wanted.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// One read of a socket.
const READ_BYTES: usize = 64 * 1024;

/// The most of an answer's head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An answer of which the head is there.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where in the content the next byte stands.
    pub(crate) position: u64,
    /// How many bytes are to come.
    pub(crate) left: u64,
    source: Source,
}

enum Source {
    Http1(TcpStream, BytesMut),
    Http2(Incoming),
}

/// A connection that speaks HTTP/2, shared by several clients as by the tabs of a browser.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Empty<Bytes>>);

/// A connection to the box that is ready to ask.
pub(crate) async fn connect(door: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    Ok(timeout(PATIENCE, socket.connect(door)).await.context("no connection in time")??)
}

/// Asks over HTTP/1.1 on this connection, and reads the head.
pub(crate) async fn get(mut stream: TcpStream, path: &str, range: Option<&str>) -> anyhow::Result<Answer> {
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{range}\r\n").as_bytes()).await?;
    let mut unread = BytesMut::new();
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(unread.len() <= HEAD_BYTES_MAX, "the head of the answer does not end");
        let read = timeout(PATIENCE, stream.read_buf(&mut unread)).await.context("no answer in time")??;
        ensure!(read > 0, "the connection ended before the answer");
    };
    let head = String::from_utf8(unread.split_to(end).to_vec())?;
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
    let left = field("content-length").context("an answer without a length")?.parse()?;
    let position = field("content-range").and_then(start_of).unwrap_or(0);
    Ok(Answer { status, position, left, source: Source::Http1(stream, unread) })
}

fn start_of(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

impl Http2 {
    /// A connection that speaks HTTP/2 at once.
    pub(crate) async fn connect(door: SocketAddr) -> anyhow::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(door)).await.context("no connection in time")??;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(STREAM_WINDOW_BYTES).initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Asks, and waits for the head.
    pub(crate) async fn get(mut self, path: &str, range: Option<&str>) -> anyhow::Result<Answer> {
        let mut request = Request::get(format!("http://{HOST}{path}"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = timeout(PATIENCE, self.0.send_request(request.body(Empty::new())?)).await;
        let (head, body) = answer.context("no answer in time")??.into_parts();
        let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let left = field("content-length").context("an answer without a length")?.parse()?;
        let position = field("content-range").and_then(start_of).unwrap_or(0);
        Ok(Answer { status: head.status.as_u16(), position, left, source: Source::Http2(body) })
    }
}

impl Answer {
    /// The next bytes, compared; none at the end.
    ///
    /// # Errors
    /// When the content ends too early, does not come, or is wrong.
    pub(crate) async fn next(&mut self, content: &Content) -> anyhow::Result<Option<usize>> {
        if self.left == 0 {
            return Ok(None);
        }
        let bytes = timeout(PATIENCE, self.source.next(self.left)).await.context("no content in time")??;
        if !content.is_at(self.position, &bytes) {
            bail!("wrong bytes between {} and {}", self.position, self.position + bytes.len() as u64);
        }
        self.position += bytes.len() as u64;
        self.left = self.left.checked_sub(bytes.len() as u64).context("more content than announced")?;
        Ok(Some(bytes.len()))
    }

    /// Reads on until so many bytes came, or the end.
    ///
    /// # Errors
    /// As [`Answer::next`]. `position` then tells how far it came.
    pub(crate) async fn read(&mut self, content: &Content, bytes: u64) -> anyhow::Result<()> {
        let end = self.position.saturating_add(bytes);
        while self.position < end && self.next(content).await?.is_some() {}
        Ok(())
    }
}

impl Source {
    async fn next(&mut self, left: u64) -> anyhow::Result<Bytes> {
        match self {
            Self::Http1(stream, unread) => {
                if unread.is_empty() {
                    unread.reserve(READ_BYTES);
                    ensure!(stream.read_buf(unread).await? > 0, "the content was cut off");
                }
                let count = unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                Ok(unread.split_to(count).freeze())
            }
            Self::Http2(body) => loop {
                let frame = body.frame().await.context("the content was cut off")??;
                if let Ok(bytes) = frame.into_data() {
                    return Ok(bytes);
                }
            },
        }
    }
}
