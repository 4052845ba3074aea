//! Where one HTTP/1.1 request ends and the next begins, decided strictly and before hyper sees the bytes.
//!
//! hyper repairs what promise 7 refuses: it takes `Transfer-Encoding` beside `Content-Length` and drops the latter,
//! merges equal `Content-Length` lines, ends lines at a bare LF and ignores what chunk extensions say. None of it can
//! be seen in the request that it hands on. So this reader walks beside it over the same bytes. It knows only
//! framing (RFC 9112 §2.2, §6, §7.1); whatever else is wrong with a head, hyper refuses, and then the connection ends.

use std::io::BufRead;

use crate::ingress::limits::HEAD_BYTES_MAX;

/// Longest line of one chunk's size with its extensions. Sixteen digits are the most that mean anything.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Most bytes of trailer fields; they are dropped anyway.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a head before this reader gives up. hyper answers 431 at [`HEAD_BYTES_MAX`]; this is only the
/// bound of our own memory.
const LINE_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// How a client that speaks HTTP/2 without being asked begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Why the bytes have more than one meaning, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    /// A line that ends in LF without CR (RFC 9112 §2.2 lets us choose).
    BareLineFeed,
    /// More than one empty line before the request.
    EmptyLines,
    /// A request line that is not `method SP target SP version`.
    RequestLine,
    /// A field line that begins with white space (obs-fold) or has none or white space before its colon.
    FieldLine,
    /// `Content-Length` that is no plain number, or given twice, be it the same.
    ContentLength,
    /// `Transfer-Encoding` that is not exactly `chunked`, given twice, or in HTTP/1.0.
    TransferEncoding,
    /// `Transfer-Encoding` and `Content-Length` in one message.
    TwoFramings,
    /// CONNECT with content (RFC 9110 §9.3.6 gives it no meaning).
    ConnectContent,
    /// A chunk whose size, extension or end is not as RFC 9112 §7.1 says.
    Chunk,
    /// A line or trailer section without end.
    TooLong,
}

/// Bytes that must not be understood by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Index of the first byte that may not be passed on; the message is not complete before it.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) why: Ambiguity,
}

/// What the client is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was sent yet.
    First,
    /// Between two requests.
    Between,
    /// In a request's head.
    Head,
    /// In a request's content.
    Content,
    /// HTTP/2 frames, whose framing cannot be ambiguous.
    Http2,
    /// After a CONNECT: not ours to read.
    Tunnel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RequestLine,
    Fields,
    Fixed(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers(usize),
    Http2,
    Tunnel,
}

/// What the head says about its content.
#[derive(Debug, Default)]
struct Head {
    is_connect: bool,
    is_http_10: bool,
    content_length: Option<u64>,
    is_chunked: bool,
}

/// Walks over the bytes of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// The part of the present line that came in earlier reads.
    line: Vec<u8>,
    head: Head,
    empty_lines: u8,
    requests: u64,
    /// Whether a request was answered that never came by here.
    is_used: bool,
}

impl Framing {
    /// For a connection on which nothing was read yet.
    pub(crate) fn new() -> Self {
        Self {
            state: State::RequestLine,
            line: Vec::new(),
            head: Head::default(),
            empty_lines: 0,
            requests: 0,
            is_used: false,
        }
    }

    /// What the client is in the middle of.
    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::RequestLine if !self.line.is_empty() || self.empty_lines > 0 => Phase::Head,
            State::RequestLine if self.is_first() => Phase::First,
            State::RequestLine => Phase::Between,
            State::Fields => Phase::Head,
            State::Fixed(_) | State::ChunkSize | State::ChunkData(_) | State::ChunkEnd | State::Trailers(_) => {
                Phase::Content
            }
            State::Http2 => Phase::Http2,
            State::Tunnel => Phase::Tunnel,
        }
    }

    /// Whether the client is between two requests, or before the first.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::RequestLine && self.line.is_empty() && self.empty_lines == 0
    }

    /// How many requests' heads have passed.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// A request was answered without passing by here.
    pub(crate) fn answered_beneath(&mut self) {
        self.is_used = true;
    }

    fn is_first(&self) -> bool {
        self.requests == 0 && !self.is_used
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`Refused`]: nothing from its index on may be passed on, now or later.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.state {
                State::Http2 | State::Tunnel => return Ok(()),
                State::Fixed(left) => at += self.take_counted(rest, left, State::Fixed, State::RequestLine),
                State::ChunkData(left) => at += self.take_counted(rest, left, State::ChunkData, State::ChunkEnd),
                _ => at += self.take_line(rest).map_err(|why| Refused { at: refused_at(bytes, at), why })?,
            }
        }
        Ok(())
    }

    /// Passes up to `left` bytes of content; gives how many there were.
    fn take_counted(&mut self, rest: &[u8], left: u64, more: fn(u64) -> State, done: State) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - taken as u64;
        self.state = if left == 0 { done } else { more(left) };
        taken
    }

    /// Takes one line, or the beginning of one; gives how many bytes there were.
    fn take_line(&mut self, rest: &[u8]) -> Result<usize, Ambiguity> {
        // The standard library's fast search for a byte; it cannot fail on a slice.
        let taken = (&mut &*rest).skip_until(b'\n').unwrap_or(rest.len());
        let (line, is_whole) = (&rest[..taken], rest[..taken].ends_with(b"\n"));
        if self.line.len() + line.len() > self.line_bytes_max() {
            return Err(Ambiguity::TooLong);
        }
        if !is_whole {
            self.line.extend_from_slice(line);
            return Ok(taken);
        }
        if self.line.is_empty() {
            self.whole_line(line)?;
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.whole_line(&whole)?;
            whole.clear();
            self.line = whole;
        }
        Ok(taken)
    }

    fn line_bytes_max(&self) -> usize {
        match self.state {
            State::ChunkSize | State::ChunkEnd => CHUNK_LINE_BYTES_MAX,
            State::Trailers(before) => TRAILER_BYTES_MAX.saturating_sub(before),
            _ => LINE_BYTES_MAX,
        }
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), Ambiguity> {
        let content = line.strip_suffix(b"\r\n").ok_or(Ambiguity::BareLineFeed)?;
        self.state = match self.state {
            State::RequestLine if content.is_empty() => {
                self.empty_lines += 1;
                if self.empty_lines > 1 {
                    return Err(Ambiguity::EmptyLines);
                }
                State::RequestLine
            }
            State::RequestLine if line == H2_PREFACE && self.is_first() && self.empty_lines == 0 => State::Http2,
            State::RequestLine => {
                self.head = request_line(content)?;
                self.empty_lines = 0;
                State::Fields
            }
            State::Fields if content.is_empty() => self.end_of_head()?,
            State::Fields => {
                field_line(&mut self.head, content)?;
                State::Fields
            }
            State::ChunkSize => match chunk_size(content)? {
                0 => State::Trailers(0),
                size => State::ChunkData(size),
            },
            State::ChunkEnd if content.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err(Ambiguity::Chunk),
            State::Trailers(_) if content.is_empty() => State::RequestLine,
            State::Trailers(before) => {
                field_name(content)?;
                State::Trailers(before + line.len())
            }
            state @ (State::Fixed(_) | State::ChunkData(_) | State::Http2 | State::Tunnel) => state,
        };
        Ok(())
    }

    fn end_of_head(&mut self) -> Result<State, Ambiguity> {
        self.requests += 1;
        let head = &self.head;
        match (head.is_connect, head.is_chunked, head.content_length) {
            (_, true, Some(_)) => Err(Ambiguity::TwoFramings),
            (true, true, None) | (true, false, Some(1..)) => Err(Ambiguity::ConnectContent),
            (true, false, _) => Ok(State::Tunnel),
            (false, true, None) => Ok(State::ChunkSize),
            (false, false, Some(length @ 1..)) => Ok(State::Fixed(length)),
            (false, false, _) => Ok(State::RequestLine),
        }
    }
}

/// Where to cut: at the LF that would complete the bad line, or at the last byte if the line has no end yet.
fn refused_at(bytes: &[u8], line_at: usize) -> usize {
    bytes[line_at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len() - 1, |end| line_at + end)
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3), each separated by exactly one space.
fn request_line(line: &[u8]) -> Result<Head, Ambiguity> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Ambiguity::RequestLine);
    };
    // A fragment never belongs in a target, and hyper would cut it off in silence.
    if method.is_empty() || target.is_empty() || target.contains(&b'#') {
        return Err(Ambiguity::RequestLine);
    }
    let is_http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Ambiguity::RequestLine),
    };
    Ok(Head { is_connect: method == b"CONNECT", is_http_10, ..Head::default() })
}

/// The name of a field line, if nothing about its end is doubtful (RFC 9112 §5.1, §5.2).
fn field_name(line: &[u8]) -> Result<(&[u8], &[u8]), Ambiguity> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or(Ambiguity::FieldLine)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    match (name.first(), name.last()) {
        (Some(first), Some(last)) if *first > b' ' && *last > b' ' => Ok((name, value)),
        _ => Err(Ambiguity::FieldLine),
    }
}

fn field_line(head: &mut Head, line: &[u8]) -> Result<(), Ambiguity> {
    let (name, value) = field_name(line)?;
    if name.eq_ignore_ascii_case(b"content-length") {
        let length = decimal(trim(value)).ok_or(Ambiguity::ContentLength)?;
        if head.content_length.replace(length).is_some() {
            return Err(Ambiguity::ContentLength);
        }
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        let is_first = !std::mem::replace(&mut head.is_chunked, true);
        if !is_first || head.is_http_10 || !trim(value).eq_ignore_ascii_case(b"chunked") {
            return Err(Ambiguity::TransferEncoding);
        }
    }
    if head.is_chunked && head.content_length.is_some() { Err(Ambiguity::TwoFramings) } else { Ok(()) }
}

/// Without the white space that may stand around a field value: SP and HTAB only (RFC 9110 §5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// `1*DIGIT`, up to 18 of them: more than any disk holds, and no parser overflows.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number: u64, &digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

/// `1*HEXDIG`, up to 15 of them, and extensions that nobody can read in two ways: no quoted strings, no control bytes.
fn chunk_size(line: &[u8]) -> Result<u64, Ambiguity> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let is_fine = extension.first().is_none_or(|&byte| byte == b';') && extension.iter().all(is_plain);
    if digits.is_empty() || digits.len() > 15 || !is_fine {
        return Err(Ambiguity::Chunk);
    }
    let digits = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
    u64::from_str_radix(digits, 16).map_err(|_| Ambiguity::Chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The verdict on bytes that arrive at once, which must be the same when they arrive one by one.
    fn verdict(bytes: &[u8]) -> Result<Phase, Ambiguity> {
        let mut framing = Framing::new();
        let at_once = framing.take(bytes).map(|()| framing.phase()).map_err(|refused| refused.why);
        let mut framing = Framing::new();
        let one_by_one = bytes.iter().try_for_each(|byte| framing.take(&[*byte]));
        assert_eq!(at_once, one_by_one.map(|()| framing.phase()).map_err(|refused| refused.why));
        at_once
    }

    fn head(fields: &str) -> Result<Phase, Ambiguity> {
        verdict(format!("POST / HTTP/1.1\r\nHost: a.kz\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn heads_with_one_meaning_pass() {
        for (fields, phase) in [
            ("", Phase::Between),
            ("Content-Length: 0\r\n", Phase::Between),
            ("Content-Length: 5\r\n", Phase::Content),
            ("content-length:\t5 \r\n", Phase::Content),
            ("Transfer-Encoding: chunked\r\n", Phase::Content),
            ("transfer-encoding:CHUNKED\r\n", Phase::Content),
            ("X-Content-Length: +5\r\n", Phase::Between),
        ] {
            assert_eq!(head(fields), Ok(phase), "{fields:?}");
        }
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        use Ambiguity::*;
        for (fields, why) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", TwoFramings),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", TwoFramings),
            ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", TwoFramings),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", ContentLength),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", ContentLength),
            ("Content-Length: 5, 5\r\n", ContentLength),
            ("Content-Length: +5\r\n", ContentLength),
            ("Content-Length: -5\r\n", ContentLength),
            ("Content-Length: 5 5\r\n", ContentLength),
            ("Content-Length: 0x5\r\n", ContentLength),
            ("Content-Length:\r\n", ContentLength),
            ("Content-Length: 1844674407370955162\r\n", ContentLength),
            ("Transfer-Encoding: xchunked\r\n", TransferEncoding),
            ("Transfer-Encoding: chunked, chunked\r\n", TransferEncoding),
            ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
            ("Transfer-Encoding: identity\r\n", TransferEncoding),
            ("Transfer-Encoding: \x0bchunked\r\n", TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TransferEncoding),
            ("Content-Length : 5\r\n", FieldLine),
            (" Content-Length: 5\r\n", FieldLine),
            ("X: a\r\n b\r\n", FieldLine),
            ("Content-Length\r\n", FieldLine),
            (": 5\r\n", FieldLine),
            ("X: a\nContent-Length: 5\r\n", BareLineFeed),
            ("X: a\n", BareLineFeed),
        ] {
            assert_eq!(head(fields), Err(why), "{fields:?}");
        }
    }

    #[test]
    fn request_lines_and_messages() {
        use Ambiguity::*;
        for (bytes, expected) in [
            ("", Ok(Phase::First)),
            ("GET", Ok(Phase::Head)),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Ok(Phase::Between)),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Err(EmptyLines)),
            ("\nGET / HTTP/1.1\r\n\r\n", Err(BareLineFeed)),
            ("GET / HTTP/1.1\n\r\n", Err(BareLineFeed)),
            ("GET / HTTP/1.1\r\n\n", Err(BareLineFeed)),
            ("GET  / HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("GET\t/ HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("GET / HTTP/1.1 \r\n\r\n", Err(RequestLine)),
            ("GET /a b HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("GET /#a HTTP/1.1\r\n\r\n", Err(RequestLine)),
            ("GET /\r\n\r\n", Err(RequestLine)),
            ("GET / HTTP/1.2\r\n\r\n", Err(RequestLine)),
            ("GET / http/1.1\r\n\r\n", Err(RequestLine)),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(TransferEncoding)),
            ("CONNECT a.kz:443 HTTP/1.1\r\nHost: a.kz:443\r\n\r\n\x16\x03\x01\n", Ok(Phase::Tunnel)),
            ("CONNECT a.kz:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\n", Err(ConnectContent)),
            ("CONNECT a.kz:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Err(ConnectContent)),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\n\n", Ok(Phase::Http2)),
            ("GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\n\r\n", Err(RequestLine)),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nb", Ok(Phase::Between)),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nbGET", Ok(Phase::Head)),
        ] {
            assert_eq!(verdict(bytes.as_bytes()), expected, "{bytes:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(verdict(long.as_bytes()), Err(TooLong));
    }

    #[test]
    fn chunks_are_as_the_rfc_says_or_refused() {
        use Ambiguity::*;
        for (content, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n", Ok(Phase::Between)),
            ("5;a=b\r\nhello\r\n0;end\r\nX: y\r\n\r\n", Ok(Phase::Between)),
            ("00A\r\n0123456789\r\n", Ok(Phase::Content)),
            ("5\nhello\r\n0\r\n\r\n", Err(BareLineFeed)),
            ("5\r\nhello\n0\r\n\r\n", Err(BareLineFeed)),
            ("5\r\nhelloX\r\n0\r\n\r\n", Err(Chunk)),
            ("5\r\nhello\r\n0\r\n\n", Err(BareLineFeed)),
            ("0x5\r\nhello\r\n", Err(Chunk)),
            ("+5\r\nhello\r\n", Err(Chunk)),
            (" 5\r\nhello\r\n", Err(Chunk)),
            ("5 \r\nhello\r\n", Err(Chunk)),
            ("\r\n", Err(Chunk)),
            ("5;a=\"x\"\r\nhello\r\n", Err(Chunk)),
            ("5;a\nb\r\nhello\r\n", Err(BareLineFeed)),
            ("5;a\rb\r\nhello\r\n", Err(Chunk)),
            ("FFFFFFFFFFFFFFFF1\r\n", Err(Chunk)),
            ("10000000000000005\r\nhello", Err(Chunk)),
            ("0\r\n X: y\r\n\r\n", Err(FieldLine)),
            ("0\r\nX\r\n\r\n", Err(FieldLine)),
        ] {
            let bytes = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{content}");
            assert_eq!(verdict(bytes.as_bytes()), expected, "{content:?}");
        }
        let start = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let line = format!("{start}5;{}\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        assert_eq!(verdict(line.as_bytes()), Err(TooLong));
        let trailers = format!("{start}0\r\n{}", "X: y\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
        assert_eq!(verdict(trailers.as_bytes()), Err(TooLong));
    }

    #[test]
    fn the_cut_never_leaves_a_complete_message() {
        let bytes =
            b"GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let refused = Framing::new().take(bytes).unwrap_err();
        assert!(bytes[..refused.at].ends_with(b"Transfer-Encoding: chunked\r"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_alike_however_they_are_cut(
            bytes in prop::collection::vec(prop_oneof![
                Just(b"GET / HTTP/1.1\r\n".to_vec()), Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
                Just(b"Content-Length: 3\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"3\r\nabc\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..6),
            ], 0..12),
        ) {
            let _ = verdict(&bytes.concat());
        }
    }
}
