//! A client that writes what it is told and reads strictly what RFC 9112 says.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// One connection to the box.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// How an answer's content ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All bytes of the length, or the last chunk: the client takes it for whole.
    Whole,
    /// The connection ended where no end was announced: the client takes it for whole.
    Close,
    /// The connection ended too early: the client knows that it has only a part.
    Cut,
}

/// An answer as it came over the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    pub ending: Ending,
    /// The heads of the interim responses before it.
    pub interim: Vec<Answer>,
}

impl Answer {
    /// The values of all lines of a field, joined.
    pub fn field(&self, name: &str) -> Option<String> {
        let lines = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let values: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    pub fn is_whole(&self) -> bool {
        self.ending != Ending::Cut
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: soon("a connection to the box", TcpStream::connect(address)).await.unwrap(), unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The box may hang up before it has read everything; what it answered is still there to be read.
        let _ = soon("room for a request", self.stream.write_all(bytes.as_ref())).await;
    }

    /// A GET with these field lines (each with its line end), and its answer.
    pub async fn get(&mut self, host: &str, target: &str, fields: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
        self.answer(false).await.expect("an answer")
    }

    /// The next answer with the interim ones before it; none when the connection ended before it.
    pub async fn answer(&mut self, is_to_head: bool) -> Option<Answer> {
        let mut interim = Vec::new();
        loop {
            let mut answer = soon("the head of an answer", self.head()).await?;
            if (100..200).contains(&answer.status) {
                interim.push(answer);
                continue;
            }
            answer.interim = interim;
            let has_no_content = is_to_head || matches!(answer.status, 204 | 304);
            if !has_no_content {
                soon("the end of an answer", self.content(&mut answer)).await;
            }
            return Some(answer);
        }
    }

    /// The head of the next answer alone; [`Client::finish`] reads the content.
    pub async fn head_only(&mut self) -> Answer {
        soon("the head of an answer", self.head()).await.expect("an answer")
    }

    /// Waits until some content is there, without taking it.
    pub async fn has_some_content(&mut self) {
        if self.unread.is_empty() {
            soon("some content", self.more()).await.expect("some content");
        }
    }

    /// Reads the content that belongs to a head.
    pub async fn finish(&mut self, mut answer: Answer) -> Answer {
        soon("the end of an answer", self.content(&mut answer)).await;
        answer
    }

    /// Whether the box ends the connection without saying anything more.
    pub async fn is_ended(&mut self) -> bool {
        self.unread.is_empty() && soon("the end of the connection", self.more()).await.is_none()
    }

    async fn head(&mut self) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).expect("a head in UTF-8");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let fields = lines.map(|line| line.split_once(':').expect("a colon")).map(|(name, value)| {
            assert_eq!(name, name.trim(), "no white space around a name");
            (name.to_owned(), value.trim().to_owned())
        });
        let status = status.unwrap_or_else(|| panic!("no status: {status_line}"));
        Some(Answer { status, fields: fields.collect(), content: Vec::new(), ending: Ending::Cut, interim: Vec::new() })
    }

    async fn content(&mut self, answer: &mut Answer) {
        let (coding, length) = (answer.field("transfer-encoding"), answer.field("content-length"));
        assert!(coding.is_none() || length.is_none(), "both a coding and a length: {:?}", answer.fields);
        if coding.is_some() {
            self.chunks(answer).await;
        } else if let Some(length) = length {
            let length: usize = length.parse().expect("one length");
            let has_all = self.exactly(length, &mut answer.content).await;
            answer.ending = if has_all { Ending::Whole } else { Ending::Cut };
        } else {
            while self.more().await.is_some() {}
            answer.content.append(&mut self.unread);
            answer.ending = Ending::Close;
        }
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(line) = self.until(b"\r\n").await else { return };
            let line = String::from_utf8(line).unwrap();
            let size = usize::from_str_radix(line.trim_end().split(';').next().unwrap(), 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            let mut end = Vec::new();
            if !self.exactly(size, &mut answer.content).await || !self.exactly(2, &mut end).await {
                return;
            }
            assert_eq!(end, b"\r\n");
        }
        loop {
            match self.until(b"\r\n").await {
                None => return,
                Some(line) if line == b"\r\n" => break,
                Some(_trailer) => {}
            }
        }
        answer.ending = Ending::Whole;
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, count: usize, into: &mut Vec<u8>) -> bool {
        while self.unread.len() < count {
            if self.more().await.is_none() {
                into.append(&mut self.unread);
                return false;
            }
        }
        into.extend(self.unread.drain(..count));
        true
    }

    async fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await.ok()?;
        self.unread.extend_from_slice(&buffer[..read]);
        (read > 0).then_some(())
    }
}

/// A request over HTTP/2, without TLS and without being asked, and what its client understood of the answer: status 0 when
/// none came.
pub async fn over_http2(door: SocketAddr, request: http::Request<Empty<Bytes>>) -> Answer {
    let stream = soon("a connection to the box", TcpStream::connect(door)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let mut answer =
        Answer { status: 0, fields: Vec::new(), content: Vec::new(), ending: Ending::Cut, interim: Vec::new() };
    if let Ok(response) = soon("the head of an answer", sender.send_request(request)).await {
        let (head, mut body) = response.into_parts();
        answer.status = head.status.as_u16();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        answer.fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        answer.ending = loop {
            match soon("more of an answer", body.frame()).await {
                None => break Ending::Whole,
                Some(Err(_)) => break Ending::Cut,
                Some(Ok(frame)) => answer.content.extend(frame.into_data().unwrap_or_default()),
            }
        };
    }
    driving.abort();
    answer
}
