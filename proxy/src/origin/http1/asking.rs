//! A request on its way onto the wire (RFC 9112 §3, §6, §7).

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderName, Method};
use http_body::Body;

use super::super::outgoing::Outgoing;

/// Bytes that are gathered before they are written. A piece of content is added whole, so it may be more.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// What there is to write: the head, and the content as it comes.
#[derive(Default)]
pub(super) struct Asking {
    bytes: BytesMut,
    content: Content,
    framing: Framing,
    has_content: bool,
    is_content_left: bool,
    /// Whether some of the content was taken in.
    is_begun: bool,
}

/// The lock is never taken: it lets those who only look at an answer hold on to its connection from several threads.
#[derive(Default)]
struct Content(Mutex<Option<Outgoing>>);

impl Content {
    fn get(&mut self) -> &mut Option<Outgoing> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Default)]
enum Framing {
    /// So many bytes are still to come.
    Known(u64),
    #[default]
    Chunked,
}

/// The content failed, or is not as long as it was said to be. What was begun cannot be ended in order.
#[derive(Debug)]
pub(super) struct Aborted;

impl Asking {
    /// Writes down a head, and keeps the content.
    pub(super) fn begin(&mut self, method: &Method, target: &PathAndQuery, fields: &HeaderMap, content: Outgoing) {
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.extend_from_slice(method.as_str().as_bytes());
        bytes.extend_from_slice(b" ");
        if !target.as_str().starts_with(['/', '*']) {
            bytes.extend_from_slice(b"/");
        }
        bytes.extend_from_slice(target.as_str().as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in fields.iter().filter(|(name, _)| !is_framing(name)) {
            line(bytes, name.as_str(), value.as_bytes());
        }
        let is_empty = content.is_empty();
        match content.size_hint().exact() {
            // Some servers wait for content with these methods unless told that there is none (RFC 9110 §8.6).
            Some(0) | None if is_empty => {
                if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
                    line(bytes, CONTENT_LENGTH.as_str(), b"0");
                }
            }
            Some(length) => {
                line(bytes, CONTENT_LENGTH.as_str(), length.to_string().as_bytes());
                self.framing = Framing::Known(length);
            }
            None => {
                line(bytes, TRANSFER_ENCODING.as_str(), b"chunked");
                self.framing = Framing::Chunked;
            }
        }
        bytes.extend_from_slice(b"\r\n");
        *self.content.get() = (!is_empty).then_some(content);
        self.is_content_left = !is_empty;
        (self.has_content, self.is_begun) = (!is_empty, false);
    }

    /// Whether all was handed on.
    pub(super) fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.is_content_left
    }

    /// What is to be written now.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// So many bytes of it were written.
    pub(super) fn wrote(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    /// Whether there is content, or was.
    pub(super) fn has_content(&self) -> bool {
        self.has_content
    }

    /// Gives the content back if none of it was taken in; for one of which nothing was written.
    pub(super) fn give_back(&mut self) -> Option<Outgoing> {
        match (self.has_content, self.is_begun) {
            (false, _) => Some(Outgoing::empty()),
            (true, false) => self.content.get().take(),
            (true, true) => None,
        }
    }

    /// Gives up what was not written.
    pub(super) fn give_up(&mut self) {
        self.bytes.clear();
        self.end_content();
    }

    fn end_content(&mut self) {
        *self.content.get() = None;
        self.is_content_left = false;
    }

    /// Takes in more of the content, as far as it is there; pending when there is none now.
    pub(super) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Aborted>> {
        while self.bytes.len() < GATHERED_BYTES_MAX {
            let Some(content) = self.content.get() else { break };
            match ready!(Pin::new(content).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.is_begun = true;
                    // Fields after the content may be dropped (RFC 9110 §6.5.1).
                    if let Ok(data) = frame.into_data() {
                        self.add(&data)?;
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Aborted)),
                None => {
                    self.end_content();
                    match self.framing {
                        Framing::Known(0) => {}
                        Framing::Known(_) => return Poll::Ready(Err(Aborted)),
                        Framing::Chunked => self.bytes.extend_from_slice(b"0\r\n\r\n"),
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn add(&mut self, data: &[u8]) -> Result<(), Aborted> {
        match &mut self.framing {
            Framing::Known(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Aborted)?;
                self.bytes.extend_from_slice(data);
            }
            Framing::Chunked if data.is_empty() => {} // a chunk of no bytes would end the content
            Framing::Chunked => {
                self.bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.bytes.extend_from_slice(data);
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// Fields that say how long the content is, or what becomes of the connection: they are ours to write.
fn is_framing(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION
}

fn line(bytes: &mut BytesMut, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;
    use crate::request::BodyError;

    fn written(method: Method, target: &'static str, content: Outgoing) -> Result<String, ()> {
        let fields = HeaderMap::from_iter([
            (CONTENT_LENGTH, HeaderValue::from_static("99")),
            (TRANSFER_ENCODING, HeaderValue::from_static("gzip")),
            (CONNECTION, HeaderValue::from_static("close")),
            (HeaderName::from_static("a"), HeaderValue::from_static("b")),
        ]);
        let mut asking = Asking::default();
        asking.begin(&method, &PathAndQuery::from_static(target), &fields, content);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while asking.is_content_left {
            match asking.poll_gather(&mut cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Aborted)) => return Err(()),
                Poll::Pending => panic!("all is there"),
            }
        }
        let text = String::from_utf8(asking.bytes.to_vec()).unwrap();
        asking.wrote(text.len());
        assert!(asking.is_done());
        Ok(text)
    }

    fn pieces(pieces: Vec<Result<&'static str, ()>>) -> Outgoing {
        let frames = pieces.into_iter().map(|piece| match piece {
            Ok(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Err(()) => Err(BodyError::TooSlow),
        });
        Outgoing::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())).boxed_unsync())
    }

    #[test]
    fn a_request_is_framed_by_its_content_alone() {
        let full = |text: &'static str| Outgoing::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
        for (method, target, content, expected) in [
            (Method::GET, "/a?b", Outgoing::empty(), Ok("GET /a?b HTTP/1.1\r\na: b\r\n\r\n")),
            (Method::OPTIONS, "*", Outgoing::empty(), Ok("OPTIONS * HTTP/1.1\r\na: b\r\n\r\n")),
            (Method::GET, "?b", Outgoing::empty(), Ok("GET /?b HTTP/1.1\r\na: b\r\n\r\n")),
            (Method::POST, "/", Outgoing::empty(), Ok("POST / HTTP/1.1\r\na: b\r\ncontent-length: 0\r\n\r\n")),
            (Method::POST, "/", full("hello"), Ok("POST / HTTP/1.1\r\na: b\r\ncontent-length: 5\r\n\r\nhello")),
            (
                Method::PUT,
                "/",
                pieces(vec![Ok("hel"), Ok(""), Ok("lo")]),
                Ok("PUT / HTTP/1.1\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
            ),
            (Method::PUT, "/", pieces(vec![Ok("hel"), Err(())]), Err(())),
        ] {
            assert_eq!(written(method, target, content), expected.map(str::to_owned));
        }
    }
}
