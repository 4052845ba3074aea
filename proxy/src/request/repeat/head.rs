//! A head of HTTP/1.1 as it goes out, but for what changes with time.

use bulaq_cache_policy::{ByteRange, CACHE_STATUS, ContentRange};
use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderName, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Response, StatusCode};

use crate::request::ResponseBody;

/// The longest head that is noted: heads of sites have some 500 bytes, few more than 2 KiB.
const HEAD_BYTES_MAX: usize = 4 * 1024;

/// The beginning of our own member of `Cache-Status` for a hit; the seconds follow.
const STATUS_OF_A_HIT: &[u8] = b"bulaq;hit;ttl=";

/// Fields about the connection, by which hyper would write something else than the fields.
const OF_THE_CONNECTION: [HeaderName; 4] = [CONNECTION, TRANSFER_ENCODING, TRAILER, UPGRADE];

/// The bytes that hyper writes for a head, without what differs from answer to answer.
#[derive(Debug)]
pub(super) struct Head {
    text: Box<[u8]>,
    /// What is missing, and where; from the beginning to the end.
    holes: Vec<(usize, Hole)>,
}

/// What differs from answer to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// The digits of `Age`.
    Age,
    /// Those of `ttl`.
    Ttl,
    /// Those of the length of a part.
    Length,
    /// The place of a part in the whole.
    Part,
}

impl Head {
    /// None where it cannot be foretold what hyper would write, or where the digits are.
    pub(super) fn of(response: &Response<ResponseBody>, shows_status: bool) -> Option<Self> {
        let fields = response.headers();
        let is_once = |name: HeaderName| fields.get_all(name).iter().count() == 1;
        // The length of no content hyper writes in a place of its own.
        let has_content = fields.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        let is_plain = is_once(AGE) && is_once(DATE) && is_once(CONTENT_LENGTH) && has_content;
        if !is_plain || OF_THE_CONNECTION.iter().any(|name| fields.contains_key(name)) {
            return None;
        }
        let is_part = match response.status() {
            StatusCode::OK => false,
            StatusCode::PARTIAL_CONTENT if is_once(CONTENT_RANGE) => true,
            _ => return None,
        };
        let mut text =
            if is_part { b"HTTP/1.1 206 Partial Content\r\n".to_vec() } else { b"HTTP/1.1 200 OK\r\n".to_vec() };
        let mut holes = Vec::new();
        // Ours is behind those of the caches nearer to the origin.
        let mut statuses_before = fields.get_all(CACHE_STATUS).iter().count().checked_sub(1).filter(|_| shows_status);
        for (name, value) in fields {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            let hole = if *name == AGE {
                Some((digits(value.as_bytes()).map(|()| &b""[..])?, Hole::Age))
            } else if *name == CACHE_STATUS && statuses_before == Some(0) {
                Some((our_status(value)?, Hole::Ttl))
            } else if *name == CONTENT_LENGTH && is_part {
                Some((digits(value.as_bytes()).map(|()| &b""[..])?, Hole::Length))
            } else if *name == CONTENT_RANGE && is_part {
                ContentRange::parse(value.as_bytes())?.range?;
                Some((&b""[..], Hole::Part))
            } else {
                None
            };
            text.extend_from_slice(hole.map_or(value.as_bytes(), |(constant, _)| constant));
            holes.extend(hole.map(|(_, hole)| (text.len(), hole)));
            if *name == CACHE_STATUS {
                statuses_before = statuses_before.and_then(|before| before.checked_sub(1));
            }
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        let has_ttl = holes.iter().any(|(_, hole)| *hole == Hole::Ttl);
        (text.len() <= HEAD_BYTES_MAX && shows_status == has_ttl).then(|| Self { text: text.into(), holes })
    }

    /// The head of an answer with this `Age` and `ttl`, and this part of so many bytes if it is about a part.
    pub(super) fn at(&self, age: u64, ttl_s: u64, part: ByteRange, length: u64) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.text.len() + self.holes.len() * HOLE_BYTES_MAX);
        let mut written = 0;
        for &(at, hole) in &self.holes {
            head.extend_from_slice(&self.text[written..at]);
            written = at;
            match hole {
                Hole::Age => push_number(&mut head, age),
                Hole::Ttl => push_number(&mut head, ttl_s),
                Hole::Length => push_number(&mut head, part.len()),
                Hole::Part => push_part(&mut head, part, length),
            }
        }
        head.extend_from_slice(&self.text[written..]);
        head
    }

    /// What it takes in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.holes.capacity() * size_of::<(usize, Hole)>()
    }
}

/// What of our own member does not change.
fn our_status(value: &HeaderValue) -> Option<&[u8]> {
    let seconds = value.as_bytes().strip_prefix(STATUS_OF_A_HIT)?;
    digits(seconds)?;
    Some(STATUS_OF_A_HIT)
}

fn digits(text: &[u8]) -> Option<()> {
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then_some(())
}

/// As many digits as the greatest number has.
const DIGITS_MAX: usize = 20;

/// The most that fills a hole: `bytes`, three numbers and what stands between them.
const HOLE_BYTES_MAX: usize = 3 * DIGITS_MAX + 8;

/// Writes a number in decimal.
fn push_number(head: &mut Vec<u8>, mut number: u64) {
    let (mut digits, mut start) = ([b'0'; DIGITS_MAX], DIGITS_MAX);
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).expect("less than ten");
        number /= 10;
        if number == 0 {
            return head.extend_from_slice(&digits[start..]);
        }
    }
}

/// Writes what [`ContentRange`] says, without its detours.
fn push_part(head: &mut Vec<u8>, part: ByteRange, length: u64) {
    head.extend_from_slice(b"bytes ");
    push_number(head, part.first);
    head.push(b'-');
    push_number(head, part.last);
    head.push(b'/');
    push_number(head, length);
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};

    use super::*;

    fn head(fields: &[(&'static str, &'static str)], shows_status: bool) -> Option<Head> {
        let mut response = Response::new(ResponseBody::new(Empty::new().map_err(|never| match never {})));
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        Head::of(&response, shows_status)
    }

    const PLAIN: [(&str, &str); 3] = [("date", "today"), ("content-length", "3"), ("age", "7")];

    #[test]
    fn age_and_ttl_are_those_of_the_answer() {
        let at = |fields: &[(&'static str, &'static str)], shows_status| {
            let head = head(&[&PLAIN, fields].concat(), shows_status)?;
            let text = String::from_utf8(head.at(65, 0, part(0, 2), 3)).unwrap();
            text.strip_prefix("HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 3\r\nage: 65\r\n").map(str::to_owned)
        };
        assert_eq!(at(&[], false).unwrap(), "\r\n");
        assert_eq!(at(&[("cache-status", "bulaq;hit;ttl=9")], false).unwrap(), "cache-status: bulaq;hit;ttl=9\r\n\r\n");
        assert_eq!(at(&[("cache-status", "bulaq;hit;ttl=9")], true).unwrap(), "cache-status: bulaq;hit;ttl=0\r\n\r\n");
        let two = [("cache-status", "bulaq;hit;ttl=9"), ("x", "y"), ("cache-status", "bulaq;hit;ttl=10")];
        let both = "cache-status: bulaq;hit;ttl=9\r\ncache-status: bulaq;hit;ttl=0\r\nx: y\r\n\r\n";
        assert_eq!(at(&two, true).unwrap(), both);
        let before = head(&[("cache-status", "bulaq;hit;ttl=9"), PLAIN[0], PLAIN[1], PLAIN[2]], true).unwrap();
        assert!(
            before
                .at(u64::MAX, 12, part(0, 2), 3)
                .ends_with(b"ttl=12\r\ndate: today\r\ncontent-length: 3\r\nage: 18446744073709551615\r\n\r\n")
        );
    }

    fn part(first: u64, last: u64) -> ByteRange {
        ByteRange::new(first, last).unwrap()
    }

    #[test]
    fn a_part_says_which_it_is() {
        let mut response = Response::new(ResponseBody::new(Empty::new().map_err(|never| match never {})));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        for (name, value) in PLAIN.iter().chain([&("content-range", "bytes 4-6/9")]) {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let head = Head::of(&response, false).unwrap();
        let expected = "HTTP/1.1 206 Partial Content\r\ndate: today\r\ncontent-length: 10\r\nage: 1\r\n\
                        content-range: bytes 90-99/100\r\n\r\n";
        assert_eq!(String::from_utf8(head.at(1, 0, part(90, 99), 100)).unwrap(), expected);
        let content_range = ContentRange { range: Some(part(90, 99)), complete_length: Some(100) };
        assert!(expected.contains(&content_range.to_string()));
        response.headers_mut().remove(CONTENT_RANGE);
        assert!(Head::of(&response, false).is_none());
    }

    #[test]
    fn what_cannot_be_foretold_is_not_noted() {
        let with = |more: (&'static str, &'static str)| [&PLAIN[..], &[more]].concat();
        assert!(head(&PLAIN, false).is_some());
        assert!(head(&PLAIN, true).is_none(), "our member is missing");
        for missing in 0..PLAIN.len() {
            let rest: Vec<_> =
                PLAIN.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect();
            assert!(head(&rest, false).is_none(), "{missing}");
        }
        for more in [("age", "1"), ("connection", "close"), ("transfer-encoding", "chunked"), ("trailer", "x")] {
            assert!(head(&with(more), false).is_none(), "{more:?}");
        }
        assert!(head(&[PLAIN[0], ("content-length", "0"), PLAIN[2]], false).is_none());
        for status in ["bulaq;fwd=stale", "bulaq;hit;ttl=-9", "bulaq;hit;ttl=9;detail=\"x\"", "bulaq;hit;ttl="] {
            assert!(head(&with(("cache-status", status)), true).is_none(), "{status}");
        }
        assert!(head(&with(("x", Box::leak("x".repeat(HEAD_BYTES_MAX).into_boxed_str()))), false).is_none());
    }
}
