//! A client of HTTP/2 (RFC 9113) that asks for what it knows: it reads frames and counts content, and of heads only the
//! status.

use anyhow::{Context as _, bail, ensure};

use super::connection::Pending;
use super::http1::AGENT;
use super::tally::Tally;
use crate::boxed::HOST;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream of a frame (§4.1).
const FRAME_HEAD_BYTES: usize = 9;

/// The longest frame that we take: what a peer may send unless told otherwise (§4.2).
const FRAME_BYTES_MAX: usize = 16_384;

/// What a connection and a stream may have on their way: nobody is to wait for us.
const WINDOW_BYTES: u32 = 64 << 20;

/// The window of a connection begins with this (§6.9.2).
const FIRST_WINDOW_BYTES: u32 = 65_535;

/// What a peer's HPACK table has at least, unless it says otherwise (RFC 7541 §4.2).
const TABLE_BYTES: u32 = 4_096;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
}

mod flag {
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
    pub(super) const PRIORITY: u8 = 32;
}

pub(super) struct Client {
    streams_max: usize,
    next_stream: u32,
    streams: Vec<Stream>,
    /// What has come of a frame that is not whole.
    unread: Vec<u8>,
    /// Content that has come since the window was last opened.
    taken: u32,
    /// Whether the fields of every request are in the peer's table.
    are_fields_known: bool,
}

struct Stream {
    number: u32,
    pending: Pending,
    has_head: bool,
}

impl Client {
    pub(super) fn new(streams_max: usize, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(PREFACE);
        // No pushes, and wide windows (§6.5.2).
        let settings = [(2_u16, 0), (4, WINDOW_BYTES)];
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        frame(out, kind::SETTINGS, 0, 0, &payload);
        frame(out, kind::WINDOW_UPDATE, 0, 0, &(WINDOW_BYTES - FIRST_WINDOW_BYTES).to_be_bytes());
        Self {
            streams_max,
            next_stream: 1,
            streams: Vec::with_capacity(streams_max),
            unread: Vec::new(),
            taken: 0,
            are_fields_known: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.streams.len() < self.streams_max
    }

    pub(super) fn ask(&mut self, pending: Pending, out: &mut Vec<u8>) -> anyhow::Result<()> {
        // `:method: GET` and `:scheme: https` are in the static table (RFC 7541, appendix A).
        let mut block = vec![0x82, 0x87];
        // `:path`, literally, and not to be remembered.
        literal(&mut block, 0x04, &pending.path);
        if self.are_fields_known {
            // The three that were remembered; the last one has the first place, 62.
            block.extend([0x80 | 64, 0x80 | 63, 0x80 | 62]);
        } else {
            // `:authority`, `accept` and `user-agent`, to be remembered.
            literal(&mut block, 0x40 | 1, HOST);
            literal(&mut block, 0x40 | 19, "*/*");
            literal(&mut block, 0x40 | 58, AGENT);
            self.are_fields_known = true;
        }
        ensure!(!pending.is_part, "parts are asked for with HTTP/1.1");
        frame(out, kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, self.next_stream, &block);
        self.streams.push(Stream { number: self.next_stream, pending, has_head: false });
        self.next_stream += 2;
        Ok(())
    }

    pub(super) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> anyhow::Result<()> {
        if self.unread.is_empty() {
            let used = self.frames(bytes, out, tally)?;
            self.unread.extend_from_slice(&bytes[used..]);
        } else {
            let mut unread = std::mem::take(&mut self.unread);
            unread.extend_from_slice(bytes);
            let used = self.frames(&unread, out, tally)?;
            unread.drain(..used);
            self.unread = unread;
        }
        if self.taken > WINDOW_BYTES / 2 {
            frame(out, kind::WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
        Ok(())
    }

    /// Reads the whole frames; how many bytes they had.
    fn frames(&mut self, bytes: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> anyhow::Result<usize> {
        let mut used = 0;
        while let Some(head) = bytes.get(used..used + FRAME_HEAD_BYTES) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
            let begin = used + FRAME_HEAD_BYTES;
            let Some(payload) = bytes.get(begin..begin + length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
            self.frame(head[3], head[4], stream, payload, out, tally)?;
            used = begin + length;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        match kind {
            kind::DATA => {
                self.taken += u32::try_from(payload.len())?;
                let content = without_padding(flags, payload, 0)?;
                let (at, stream) = self.stream(stream)?;
                ensure!(stream.has_head, "{}: content before the head", stream.pending.path);
                stream.pending.take(content)?;
                self.end(flags, at, tally)
            }
            kind::HEADERS => {
                ensure!(flags & flag::END_HEADERS != 0, "a head in more than one frame");
                let priority = if flags & flag::PRIORITY != 0 { 5 } else { 0 };
                let block = without_padding(flags, payload, priority)?;
                let (at, stream) = self.stream(stream)?;
                if !stream.has_head {
                    stream.pending.check_status(status(block).context("an answer whose status is not understood")?)?;
                    stream.has_head = true;
                }
                self.end(flags, at, tally)
            }
            kind::SETTINGS if flags & flag::ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    let is_table = setting[..2] == [0, 1];
                    ensure!(!is_table || value >= TABLE_BYTES, "it remembers only {value} bytes of fields");
                }
                frame(out, kind::SETTINGS, flag::ACK, 0, &[]);
                Ok(())
            }
            kind::PING if flags & flag::ACK == 0 => {
                frame(out, kind::PING, flag::ACK, 0, payload);
                Ok(())
            }
            kind::RST_STREAM => bail!("a stream was reset: {payload:?}"),
            kind::GOAWAY => bail!("the connection is to be closed: {payload:?}"),
            // Windows are for those who send content; what is unknown is passed over (§4.1).
            _ => Ok(()),
        }
    }

    fn stream(&mut self, number: u32) -> anyhow::Result<(usize, &mut Stream)> {
        let mut streams = self.streams.iter_mut().enumerate();
        streams.find(|(_, stream)| stream.number == number).context("an answer that nobody asked for")
    }

    fn end(&mut self, flags: u8, at: usize, tally: &mut Tally) -> anyhow::Result<()> {
        if flags & flag::END_STREAM != 0 {
            let pending = self.streams.swap_remove(at).pending;
            ensure!(pending.left == 0, "{}: {} bytes are missing", pending.path, pending.left);
            tally.answered(pending.bytes, pending.due);
        }
        Ok(())
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("our frames are short").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A field with a name from the static table and a value as it is (RFC 7541 §6.2). `first` has the representation's bits.
fn literal(block: &mut Vec<u8>, first: u8, value: &str) {
    // Indices that don't fit into their bits go on in a second byte (§5.1).
    let limit = if first & 0x40 != 0 { 63 } else { 15 };
    debug_assert!(first & limit < limit, "the index fits");
    block.push(first);
    let length = u8::try_from(value.len()).ok().filter(|&length| length < 127);
    block.push(length.expect("our values are short"));
    block.extend_from_slice(value.as_bytes());
}

/// A payload without its padding and what stands before it.
fn without_padding(flags: u8, payload: &[u8], before: usize) -> anyhow::Result<&[u8]> {
    let (padding, begin) = match payload.first() {
        Some(&padding) if flags & flag::PADDED != 0 => (usize::from(padding), 1),
        _ => (0, 0),
    };
    let end = payload.len().checked_sub(padding).context("more padding than frame")?;
    payload.get(begin + before..end).context("a frame that is too short")
}

/// The status, which is the first field of an answer (RFC 9113 §8.3), as servers write it: from the static table, or
/// literally with its name from there.
fn status(mut block: &[u8]) -> Option<u16> {
    // The size of the table may be set before it (RFC 7541 §6.3).
    while block.first()? & 0xe0 == 0x20 {
        let is_long = block[0] & 0x1f == 0x1f;
        let more = if is_long { block.iter().skip(1).position(|byte| byte & 0x80 == 0)? + 1 } else { 0 };
        block = block.get(1 + more..)?;
    }
    Some(match *block.first()? {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        // A name of the static table (8 to 14 are all `:status`), and three digits that are not coded.
        first if (8..=14).contains(&(first & 0x3f)) || (8..=14).contains(&(first & 0x0f)) => {
            let digits = block.get(2..5).filter(|_| block[1] == 3)?;
            std::str::from_utf8(digits).ok()?.parse().ok()?
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Wanted;
    use super::*;
    use crate::content::Content;
    use std::time::Instant;

    fn asked() -> (Client, Vec<u8>, Tally) {
        let wanted = Wanted { content: Content::new(7, 100), part: None };
        let mut out = Vec::new();
        let mut client = Client::new(2, &mut out);
        out.clear();
        client.ask(Pending::new("/a", &wanted, true, Instant::now()), &mut out).unwrap();
        (client, out, Tally::default())
    }

    fn answer(status: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 100];
        Content::new(7, 100).read(0, &mut body);
        let mut bytes = Vec::new();
        frame(&mut bytes, kind::SETTINGS, 0, 0, &[]);
        frame(&mut bytes, kind::HEADERS, flag::END_HEADERS, 1, status);
        frame(&mut bytes, kind::DATA, 0, 1, &body[..60]);
        let padded = [&[3][..], &body[60..], &[0; 3]].concat();
        frame(&mut bytes, kind::DATA, flag::END_STREAM | flag::PADDED, 1, &padded);
        bytes
    }

    #[test]
    fn answers_come_in_any_pieces() {
        for size in [1, 7, 60, 1_000] {
            let (mut client, mut out, mut tally) = asked();
            out.clear();
            for piece in answer(&[0x3f, 0x81, 0x00, 0x88]).chunks(size) {
                client.hear(piece, &mut out, &mut tally).unwrap();
            }
            assert!(client.is_idle());
            assert_eq!((tally.requests, tally.content_bytes), (1, 100));
            assert_eq!(out, [0, 0, 0, kind::SETTINGS, flag::ACK, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn wrong_answers_are_found() {
        let heard = |bytes: &[u8]| {
            let (mut client, mut out, mut tally) = asked();
            client.hear(bytes, &mut out, &mut tally).map_err(|error| error.to_string())
        };
        assert!(heard(&answer(&[0x8d])).unwrap_err().contains("the status is 404"));
        assert!(heard(&answer(&[0x48, 3, b'5', b'0', b'2'])).unwrap_err().contains("502"));
        let mut wrong = answer(&[0x88]);
        let last = wrong.len() - 4;
        wrong[last] ^= 1;
        assert!(heard(&wrong).unwrap_err().contains("wrong bytes"));
        let mut short = Vec::new();
        frame(&mut short, kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &[0x88]);
        assert!(heard(&short).unwrap_err().contains("100 bytes are missing"));
    }

    #[test]
    fn the_second_request_names_what_the_first_has_told() {
        let (mut client, first, _) = asked();
        let wanted = Wanted { content: Content::new(7, 100), part: None };
        let mut second = Vec::new();
        client.ask(Pending::new("/a", &wanted, true, Instant::now()), &mut second).unwrap();
        assert!(!client.has_room());
        assert!(second.len() < first.len() && second.ends_with(&[0xc0, 0xbf, 0xbe]));
    }
}
