//! A head of HTTP/1.1 as it goes out, but for what changes with time.

use bulaq_cache_policy::CACHE_STATUS;
use http::header::{AGE, CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Response};

use crate::request::ResponseBody;

/// The longest head that is noted: heads of sites have some 500 bytes, few more than 2 KiB.
const HEAD_BYTES_MAX: usize = 4 * 1024;

/// The beginning of our own member of `Cache-Status` for a hit; the seconds follow.
const STATUS_OF_A_HIT: &[u8] = b"bulaq;hit;ttl=";

/// Fields about the connection, by which hyper would write something else than the fields.
const OF_THE_CONNECTION: [HeaderName; 4] = [CONNECTION, TRANSFER_ENCODING, TRAILER, UPGRADE];

/// The bytes that hyper writes for a head, without the digits of `Age` and of `ttl`.
#[derive(Debug)]
pub(super) struct Head {
    text: Box<[u8]>,
    /// Where the digits of `Age` belong.
    age_at: usize,
    /// Where those of `ttl` belong.
    ttl_at: Option<usize>,
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
        let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
        let (mut age_at, mut ttl_at) = (None, None);
        // Ours is behind those of the caches nearer to the origin.
        let mut statuses_before = fields.get_all(CACHE_STATUS).iter().count().checked_sub(1).filter(|_| shows_status);
        for (name, value) in fields {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            if *name == AGE {
                digits(value.as_bytes())?;
                age_at = Some(text.len());
            } else if *name == CACHE_STATUS && statuses_before == Some(0) {
                ttl_at = Some(text.len() + STATUS_OF_A_HIT.len());
                text.extend_from_slice(our_status(value)?);
            } else {
                text.extend_from_slice(value.as_bytes());
            }
            if *name == CACHE_STATUS {
                statuses_before = statuses_before.and_then(|before| before.checked_sub(1));
            }
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        if text.len() > HEAD_BYTES_MAX || shows_status != ttl_at.is_some() {
            return None;
        }
        Some(Self { text: text.into(), age_at: age_at?, ttl_at })
    }

    /// The head of an answer with this `Age` and `ttl`.
    pub(super) fn at(&self, age: u64, ttl_s: u64) -> Vec<u8> {
        let (age, ttl) = ((self.age_at, Digits::of(age)), self.ttl_at.map(|at| (at, Digits::of(ttl_s))));
        let (first, second) = match ttl {
            Some(ttl) if ttl.0 < age.0 => (ttl, Some(age)),
            ttl => (age, ttl),
        };
        let mut head = Vec::with_capacity(self.text.len() + 2 * DIGITS_MAX);
        head.extend_from_slice(&self.text[..first.0]);
        head.extend_from_slice(first.1.as_bytes());
        let rest = match &second {
            Some((at, digits)) => {
                head.extend_from_slice(&self.text[first.0..*at]);
                head.extend_from_slice(digits.as_bytes());
                *at
            }
            None => first.0,
        };
        head.extend_from_slice(&self.text[rest..]);
        head
    }

    /// What it takes in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
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

/// A number in decimal.
struct Digits {
    digits: [u8; DIGITS_MAX],
    start: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let (mut digits, mut start) = ([b'0'; DIGITS_MAX], DIGITS_MAX);
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(number % 10).expect("less than ten");
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
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
            let text = String::from_utf8(head.at(65, 0)).unwrap();
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
                .at(u64::MAX, 12)
                .ends_with(b"ttl=12\r\ndate: today\r\ncontent-length: 3\r\nage: 18446744073709551615\r\n\r\n")
        );
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
