//! The head of a response as it is on the wire (RFC 9112 §4, §5).
//!
//! Only what has one meaning is read: no folded lines, no space before a colon, no control characters. Where the content
//! ends is decided by [`framing`](super::super::framing).

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, HeaderMap, HeaderName};
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::super::options::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};

/// A head that was read.
pub(super) struct Answer {
    pub(super) head: Parts,
    /// Whether the origin lets the connection be used again.
    pub(super) is_kept: bool,
}

/// Takes a head off the front of what was read; none when it is not whole yet. `seen` is how much of it was looked at
/// before.
///
/// # Errors
/// What is wrong with it, in words without content.
pub(super) fn take(read: &mut BytesMut, seen: usize) -> Result<Option<Answer>, String> {
    // What comes drop by drop is not read anew for each drop.
    if seen > 0 && !may_end_within(read, seen) {
        return within_bounds(read);
    }
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(read) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Complete(_)) => return Err("too long a head".to_owned()),
        Ok(httparse::Status::Partial) => return within_bounds(read),
        Err(httparse::Error::TooManyHeaders) => return Err("too many fields".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    // A copy of its own: fields that are kept must not keep a whole read alive.
    let bytes = Bytes::copy_from_slice(&read[..length]);
    let at = |part: &[u8]| {
        let from = part.as_ptr() as usize - read.as_ptr() as usize;
        bytes.slice(from..from + part.len())
    };
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| "a status that is none".to_owned())?;
    *response.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let reason = parsed.reason.unwrap_or_default();
    if !reason.is_empty()
        && Some(reason) != response.status().canonical_reason()
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    headers.reserve(parsed.headers.len() + FIELDS_ADDED);
    for field in parsed.headers.iter() {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| "an invalid name of a field".to_owned())?;
        let value =
            HeaderValue::from_maybe_shared(at(field.value)).map_err(|_| "an invalid value of a field".to_owned())?;
        headers.append(name, value);
    }
    let is_kept = is_kept(response.version(), response.headers());
    read.advance(length);
    let (head, ()) = response.into_parts();
    Ok(Some(Answer { head, is_kept }))
}

/// Room for what the box adds on the way to the client, so that the map is made once.
const FIELDS_ADDED: usize = 4;

fn within_bounds(read: &BytesMut) -> Result<Option<Answer>, String> {
    if read.len() >= HEAD_BYTES_MAX { Err("too long a head".to_owned()) } else { Ok(None) }
}

/// Whether an empty line ends in what is new.
fn may_end_within(read: &[u8], seen: usize) -> bool {
    let tail = &read[seen.saturating_sub(3).min(read.len())..];
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// RFC 9112 §9.3.
fn is_kept(version: Version, fields: &HeaderMap) -> bool {
    let says = |word: &str| {
        let lines = fields.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|option| option.trim().eq_ignore_ascii_case(word))
    };
    match version {
        Version::HTTP_10 => says("keep-alive") && !says("close"),
        _ => !says("close"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(u16, bool, usize)>, String> {
        let mut read = BytesMut::from(bytes);
        let answer = take(&mut read, 0)?;
        Ok(answer.map(|answer| (answer.head.status.as_u16(), answer.is_kept, read.len())))
    }

    #[test]
    fn whether_a_connection_is_kept_is_said_by_the_head() {
        for (head, is_kept) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x-hop, CLOSE\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x\r\nconnection: close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n\r\n", false),
        ] {
            assert_eq!(read(head.as_bytes()), Ok(Some((200, is_kept, 0))), "{head:?}");
        }
    }

    #[test]
    fn a_head_that_comes_drop_by_drop_is_the_same() {
        for text in ["HTTP/1.1 404 Gone Away\r\nA: b\r\nC: d\r\n\r\nrest", "HTTP/1.1 200\nA: b\n\nrest"] {
            let mut buffer = BytesMut::new();
            let (mut seen, mut answers) = (0, Vec::new());
            for byte in text.bytes() {
                buffer.extend_from_slice(&[byte]);
                if answers.is_empty() {
                    answers.extend(take(&mut buffer, seen).unwrap());
                    seen = buffer.len();
                }
            }
            assert_eq!((answers.len(), &buffer[..]), (1, &b"rest"[..]), "{text:?}");
            assert_eq!(answers[0].head.headers["a"], "b");
        }
    }

    #[test]
    fn a_reason_of_its_own_is_passed_on() {
        let reason = |text: &str| {
            let answer = take(&mut BytesMut::from(format!("HTTP/1.1 200 {text}\r\n\r\n").as_bytes()), 0).unwrap();
            answer.unwrap().head.extensions.get::<ReasonPhrase>().map(|reason| reason.as_bytes().to_vec())
        };
        assert_eq!(reason("OK"), None);
        assert_eq!(reason(""), None);
        assert_eq!(reason("Fine"), Some(b"Fine".to_vec()));
    }

    #[test]
    fn a_head_has_an_end_within_bounds() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        assert!(read(endless.as_bytes()).is_err());
        assert!(read(format!("{endless}\r\n\r\n").as_bytes()).is_err());
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(None));
    }
}
