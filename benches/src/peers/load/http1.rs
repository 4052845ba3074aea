//! A client of HTTP/1.1 that awaits one answer at a time.

use std::io::Write as _;

use anyhow::{Context as _, bail, ensure};

use super::connection::Pending;
use super::tally::Tally;
use crate::boxed::HOST;
use crate::peers::origin::end_of_head;

/// The most of an answer's head that is read.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a browser sends, in short.
pub(super) const AGENT: &str = "bulaq-benches";

#[derive(Default)]
pub(super) struct Client {
    awaited: Option<Pending>,
    /// The head of the answer, as far as it has come; none in its content.
    head: Option<Vec<u8>>,
}

impl Client {
    pub(super) fn has_room(&self) -> bool {
        self.awaited.is_none()
    }

    pub(super) fn ask(&mut self, pending: Pending, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(pending.path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(HOST.as_bytes());
        out.extend_from_slice(b"\r\nUser-Agent: ");
        out.extend_from_slice(AGENT.as_bytes());
        out.extend_from_slice(b"\r\nAccept: */*\r\n");
        if pending.is_part {
            let (first, last) = (pending.position, pending.position + pending.bytes - 1);
            write!(out, "Range: bytes={first}-{last}\r\n").expect("a vector takes everything");
        }
        out.extend_from_slice(b"\r\n");
        self.awaited = Some(pending);
        self.head.get_or_insert_default().clear();
    }

    /// The request that has no byte of an answer, so that it may be sent again (RFC 9110 §9.2.2).
    pub(super) fn take_unanswered(&mut self) -> anyhow::Result<Option<Pending>> {
        let has_begun = self.head.as_ref().is_none_or(|head| !head.is_empty());
        match self.awaited.take() {
            Some(pending) if has_begun => bail!("{}: the answer was cut off", pending.path),
            unanswered => Ok(unanswered),
        }
    }

    pub(super) fn ask_again(&mut self, pending: Pending, out: &mut Vec<u8>) {
        self.ask(pending, out);
    }

    /// How much content is to come that nobody compares.
    pub(super) fn droppable(&self) -> Option<u64> {
        let pending = self.awaited.as_ref().filter(|pending| self.head.is_none() && !pending.is_compared)?;
        Some(pending.left)
    }

    pub(super) fn dropped(&mut self, bytes: u64, tally: &mut Tally) {
        if let Some(pending) = &mut self.awaited {
            pending.skip(bytes);
        }
        self.end(tally);
    }

    pub(super) fn hear(&mut self, mut bytes: &[u8], tally: &mut Tally) -> anyhow::Result<()> {
        let pending = self.awaited.as_mut().context("an answer that nobody asked for")?;
        if let Some(head) = &mut self.head {
            // Most heads come in one piece with what follows them.
            let before = head.len();
            let end = if before == 0 {
                end_of_head(bytes)
            } else {
                head.extend_from_slice(bytes);
                end_of_head(head).map(|end| end - before)
            };
            let Some(end) = end else {
                if before == 0 {
                    head.extend_from_slice(bytes);
                }
                ensure!(head.len() <= HEAD_BYTES_MAX, "{}: the head of the answer does not end", pending.path);
                return Ok(());
            };
            let whole = if before == 0 { &bytes[..end] } else { &head[..before + end] };
            check(whole, pending)?;
            bytes = &bytes[end..];
            self.head = None;
        }
        pending.take(bytes)?;
        self.end(tally);
        Ok(())
    }

    fn end(&mut self, tally: &mut Tally) {
        if let Some(pending) = self.awaited.take_if(|pending| pending.left == 0) {
            tally.answered(pending.bytes, pending.due);
            self.head = Some(Vec::new());
        }
    }
}

/// Whether a head has the status and the length that it should have.
fn check(head: &[u8], pending: &Pending) -> anyhow::Result<()> {
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| text.parse().ok());
    pending.check_status(status.context("an answer without a status")?)?;
    let length = content_length(head).with_context(|| format!("{}: an answer without a length", pending.path))?;
    ensure!(length == pending.bytes, "{}: the length is {length} and not {}", pending.path, pending.bytes);
    Ok(())
}

fn content_length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|&byte| byte == b'\n');
    let line = lines.find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Wanted;
    use super::*;
    use crate::content::Content;
    use std::time::Instant;

    fn asked(is_compared: bool) -> (Client, Vec<u8>, Tally) {
        let wanted = Wanted { content: Content::new(7, 100), part: None };
        let mut client = Client::default();
        let mut out = Vec::new();
        client.ask(Pending::new("/a", &wanted, is_compared, Instant::now()), &mut out);
        (client, out, Tally::default())
    }

    fn answer(length: u64) -> Vec<u8> {
        let mut body = vec![0; 100];
        Content::new(7, 100).read(0, &mut body);
        [format!("HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: {length}\r\n\r\n").as_bytes(), &body].concat()
    }

    #[test]
    fn answers_come_in_any_pieces() {
        for size in [1, 7, 60, 1_000] {
            let (mut client, out, mut tally) = asked(true);
            assert!(out.starts_with(b"GET /a HTTP/1.1\r\nHost: ") && out.ends_with(b"\r\n\r\n"));
            for piece in answer(100).chunks(size) {
                client.hear(piece, &mut tally).unwrap();
            }
            assert!(client.has_room());
            assert_eq!((tally.requests, tally.content_bytes), (1, 100));
        }
    }

    #[test]
    fn wrong_answers_are_found() {
        let mut wrong = answer(100);
        *wrong.last_mut().unwrap() ^= 1;
        let heard = |is_compared, bytes: &[u8]| {
            let (mut client, _, mut tally) = asked(is_compared);
            client.hear(bytes, &mut tally).map_err(|error| error.to_string())
        };
        assert!(heard(true, &wrong).unwrap_err().contains("wrong bytes"));
        assert!(heard(false, &wrong).is_ok(), "nobody compares");
        assert!(heard(false, &answer(99)).unwrap_err().contains("the length is 99"));
        assert!(heard(false, b"HTTP/1.1 502 Bad\r\nContent-Length: 100\r\n\r\n").unwrap_err().contains("502"));
        assert!(heard(false, b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err().contains("without a length"));
        assert!(heard(false, &[answer(100), b"x".to_vec()].concat()).unwrap_err().contains("more content"));
    }

    #[test]
    fn only_what_has_no_answer_is_asked_again() {
        let (mut client, _, mut tally) = asked(true);
        assert!(client.take_unanswered().unwrap().is_some());
        let (mut begun, _, _) = asked(true);
        begun.hear(b"HTTP/1.1 2", &mut tally).unwrap();
        assert!(begun.take_unanswered().is_err());
    }
}
