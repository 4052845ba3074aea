//! The first words of a TLS client, read without answering: which name it asks for.
//!
//! The box decides between splice and terminate before it has sent a byte, so it reads the ClientHello (RFC 8446
//! §4.1.2) itself and keeps the bytes, to be replayed to the origin or to our own TLS. The reader is lenient about
//! everything but the framing: what it does not need it skips, so that a splice never depends on our taste.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::close::Alert;
use crate::ingress::doors::Outcome;

/// Most bytes of records that a ClientHello may take.
///
/// Browsers send 500 to 2,000 bytes (1,200 of them a post-quantum key share, so that it spans TCP segments); a
/// session ticket may add a few kilobytes. 16 KiB is also the most that one record can hold.
pub(crate) const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;

/// Most records over which a ClientHello may be spread; an honest client uses one, a few split it on purpose.
const RECORDS_MAX: usize = 64;

/// Most extensions that are looked at. Browsers send about 20.
const EXTENSIONS_MAX: usize = 128;

/// What the ClientHello asks for, as it says it; nothing here is checked or normalised yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClientHello {
    /// The first `host_name` of the server_name extension (RFC 6066 §3); none when the client sends none, as it
    /// must when it dials an address. With Encrypted Client Hello (RFC 9849) this is the outer, public name.
    pub(crate) server_name: Option<String>,
    /// Whether TLS 1.3 is among the versions of the supported_versions extension (RFC 8446 §4.2.1).
    pub(crate) offers_tls13: bool,
    /// Whether a cipher suite with ChaCha20-Poly1305 is the first that we know of those it names: so do devices without
    /// instructions for AES.
    pub(crate) prefers_chacha20: bool,
}

/// How far the bytes so far lead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed.
    Partial,
    /// The whole ClientHello is there.
    Whole(ClientHello),
}

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    /// The bytes are no TLS.
    #[error("the client does not speak TLS")]
    NotTls,
    /// The bytes look like an HTTP request.
    #[error("the client speaks HTTP without TLS")]
    PlainHttp,
    /// A hello in the form of SSL 2.0, which RFC 6176 §3 lets a server refuse.
    #[error("the client speaks SSL 2.0")]
    Ssl2,
    /// A TLS record of another kind, or another handshake message.
    #[error("the client's first message is no ClientHello")]
    UnexpectedMessage,
    /// A ClientHello or a record that breaks its own lengths, or names two hosts.
    #[error("the client's first message is malformed: {0}")]
    Malformed(&'static str),
    /// A record longer than a record can be.
    #[error("the client's first record is longer than {CLIENT_HELLO_BYTES_MAX} bytes")]
    LongRecord,
    /// A ClientHello longer than any honest one.
    #[error("the client's first message is longer than {CLIENT_HELLO_BYTES_MAX} bytes")]
    TooLong,
    /// A ClientHello in crumbs.
    #[error("the client's first message is spread over more than {RECORDS_MAX} records")]
    TooManyRecords,
    /// The client took too long.
    #[error("the client did not finish its first message in time")]
    TooSlow,
    /// The client never sent a byte.
    #[error("the client never said a word")]
    Silent,
    /// The connection failed or ended before.
    #[error("the client's connection ended before its first message was whole")]
    Gone(#[source] io::Error),
}

impl HelloError {
    /// As what the door counts it.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::NotTls => Outcome::NotTls,
            Self::PlainHttp => Outcome::PlainHttp,
            Self::Ssl2 => Outcome::Ssl2,
            Self::UnexpectedMessage => Outcome::UnexpectedMessage,
            Self::Malformed(_) => Outcome::MalformedHello,
            Self::LongRecord | Self::TooLong | Self::TooManyRecords => Outcome::OversizedHello,
            Self::TooSlow => Outcome::SlowHello,
            Self::Silent => Outcome::Silent,
            Self::Gone(_) => Outcome::UnfinishedHello,
        }
    }

    /// What the client is told; nothing where it would not understand it, or has left.
    pub(super) fn alert(&self) -> Option<Alert> {
        match self {
            Self::NotTls | Self::PlainHttp | Self::TooSlow | Self::Silent | Self::Gone(_) => None,
            Self::Ssl2 => Some(Alert::ProtocolVersion),
            Self::UnexpectedMessage => Some(Alert::UnexpectedMessage),
            Self::Malformed(_) => Some(Alert::DecodeError),
            Self::LongRecord => Some(Alert::RecordOverflow),
            Self::TooLong | Self::TooManyRecords => Some(Alert::IllegalParameter),
        }
    }

    /// Whether the bytes may be those of another protocol.
    pub(super) fn may_be_another_protocol(&self) -> bool {
        matches!(self, Self::NotTls | Self::PlainHttp | Self::Ssl2 | Self::UnexpectedMessage)
    }
}

/// Reads until the ClientHello is whole. The bytes read stay in `seen`, to be replayed: all of them, also those that
/// follow the ClientHello.
///
/// # Errors
/// [`HelloError`]; `seen` then holds what was read so far.
pub(crate) async fn read<I: AsyncRead + Unpin>(
    io: &mut I,
    seen: &mut Vec<u8>,
    within: Duration,
) -> Result<ClientHello, HelloError> {
    match timeout(within, read_untimed(io, seen)).await {
        Ok(Err(HelloError::Gone(_))) | Err(_) if seen.is_empty() => Err(HelloError::Silent),
        Ok(ended) => ended,
        Err(_) => Err(HelloError::TooSlow),
    }
}

async fn read_untimed<I: AsyncRead + Unpin>(io: &mut I, seen: &mut Vec<u8>) -> Result<ClientHello, HelloError> {
    loop {
        if let Parsed::Whole(hello) = parse(seen)? {
            return Ok(hello);
        }
        // Each round reads at least a byte, and the parser ends the loop once `seen` is full.
        let room = CLIENT_HELLO_BYTES_MAX.saturating_sub(seen.len()).max(1);
        let read = (&mut *io).take(room as u64).read_buf(seen).await.map_err(HelloError::Gone)?;
        if read == 0 {
            return Err(HelloError::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Looks at the bytes that a client sent first.
///
/// # Errors
/// [`HelloError`] as soon as the bytes cannot become a ClientHello.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, HelloError> {
    let mut message = Vec::new();
    let mut records = Cursor(bytes);
    for _ in 0..RECORDS_MAX {
        let Some(record) = next_record(&mut records)? else {
            return if bytes.len() >= CLIENT_HELLO_BYTES_MAX { Err(HelloError::TooLong) } else { Ok(Parsed::Partial) };
        };
        message.extend_from_slice(record);
        if message[0] != HANDSHAKE_CLIENT_HELLO {
            return Err(HelloError::UnexpectedMessage);
        }
        let mut handshake = Cursor(&message[1..]);
        let Some(length) = handshake.u24() else { continue };
        if length > CLIENT_HELLO_BYTES_MAX {
            return Err(HelloError::TooLong);
        }
        if let Some(body) = handshake.take(length) {
            return parse_body(body).map(Parsed::Whole).ok_or(HelloError::Malformed("a length leads outside"));
        }
    }
    Err(HelloError::TooManyRecords)
}

const CONTENT_HANDSHAKE: u8 = 22;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_SUPPORTED_VERSIONS: u16 = 43;
const TLS13: [u8; 2] = [3, 4];
const NAME_TYPE_HOST: u8 = 0;

/// The content of the next record (RFC 8446 §5.1), or None while it is not whole.
fn next_record<'a>(records: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, HelloError> {
    match records.0 {
        [] => return Ok(None),
        [CONTENT_HANDSHAKE, ..] => {}
        other => return not_a_handshake(other),
    }
    // The legacy version is 3.1 from nearly everybody, 3.0 or 3.3 from a few; the major number never differs.
    if records.0.get(1).is_some_and(|&major| major != 3) {
        return Err(HelloError::NotTls);
    }
    let mut cursor = Cursor(records.0);
    let (Some(_), Some(length)) = (cursor.take(3), cursor.u16()) else { return Ok(None) };
    let length = usize::from(length);
    if length == 0 {
        return Err(HelloError::Malformed("a record is empty"));
    }
    if length > CLIENT_HELLO_BYTES_MAX {
        return Err(HelloError::LongRecord);
    }
    let Some(content) = cursor.take(length) else { return Ok(None) };
    *records = cursor;
    Ok(Some(content))
}

/// What bytes are that do not begin as a handshake does; None while that cannot be told.
fn not_a_handshake(bytes: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    match (bytes[0], bytes.get(1), bytes.get(2)) {
        // Change-cipher-spec, alert, application data, heartbeat: a TLS connection, but not its beginning.
        (20..=24, Some(3), _) => Err(HelloError::UnexpectedMessage),
        (20..=24, None, _) => Ok(None),
        // Two bytes of length with the upper bit set, then message type 1 (RFC 5246 appendix E.2).
        (0x80.., _, Some(&HANDSHAKE_CLIENT_HELLO)) => Err(HelloError::Ssl2),
        (0x80.., _, None) => Ok(None),
        // Every method in use is upper case.
        (b'A'..=b'Z', ..) => Err(HelloError::PlainHttp),
        _ => Err(HelloError::NotTls),
    }
}

/// The fields of RFC 8446 §4.1.2 in order; None when a length leads outside.
fn parse_body(body: &[u8]) -> Option<ClientHello> {
    let mut cursor = Cursor(body);
    cursor.take(2 + 32)?; // legacy_version, random
    let session_id = cursor.u8()?;
    cursor.take(usize::from(session_id))?;
    let cipher_suites = cursor.u16()?;
    let cipher_suites = cursor.take(usize::from(cipher_suites))?;
    let compression_methods = cursor.u8()?;
    cursor.take(usize::from(compression_methods))?;
    let mut hello = ClientHello { prefers_chacha20: prefers_chacha20(cipher_suites), ..ClientHello::default() };
    if cursor.0.is_empty() {
        return Some(hello); // TLS 1.2 allows a ClientHello without extensions
    }
    let length = cursor.u16()?;
    let mut extensions = Cursor(cursor.take(usize::from(length))?);
    for _ in 0..EXTENSIONS_MAX {
        if extensions.0.is_empty() {
            return Some(hello);
        }
        let kind = extensions.u16()?;
        let length = extensions.u16()?;
        let content = extensions.take(usize::from(length))?;
        if kind == EXTENSION_SERVER_NAME {
            // Two would let the box and the origin read different names.
            if hello.server_name.is_some() {
                return None;
            }
            hello.server_name = Some(parse_server_name(content)?);
        }
        if kind == EXTENSION_SUPPORTED_VERSIONS {
            // One byte of length and pairs; what else stands there is the other side's business.
            let versions = content.get(1..).unwrap_or_default();
            hello.offers_tls13 |= versions.chunks_exact(2).any(|version| version == TLS13);
        }
    }
    None
}

/// Whether ChaCha20-Poly1305 stands before AES-GCM. What is neither (values for another purpose, those of RFC 8701 that
/// mean nothing) is skipped.
fn prefers_chacha20(cipher_suites: &[u8]) -> bool {
    let is_chacha20 = |suite: &[u8]| match suite {
        [0x13, 0x03] | [0xcc, 0xa8..=0xaa] => Some(true),
        [0x13, 0x01 | 0x02] | [0xc0, 0x2b | 0x2c | 0x2f | 0x30] => Some(false),
        _ => None,
    };
    cipher_suites.chunks_exact(2).find_map(is_chacha20).unwrap_or(false)
}

/// The one `host_name` of the list; RFC 6066 §3 allows one of each type and no other type was ever made.
fn parse_server_name(content: &[u8]) -> Option<String> {
    let mut cursor = Cursor(content);
    let length = cursor.u16()?;
    let mut list = Cursor(cursor.take(usize::from(length))?);
    if !cursor.0.is_empty() || list.u8()? != NAME_TYPE_HOST {
        return None;
    }
    let length = list.u16()?;
    let name = list.take(usize::from(length))?;
    if name.is_empty() || !list.0.is_empty() {
        return None;
    }
    // An A-label is ASCII (RFC 6066 §3); anything else names no host that we or the origin could know.
    name.is_ascii().then(|| String::from_utf8_lossy(name).into_owned())
}

/// Reads big-endian numbers and slices from the front; None when too little is left, and then nothing is taken.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u24(&mut self) -> Option<usize> {
        self.take(3).map(|bytes| usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend((content.len() as u16).to_be_bytes());
        bytes.extend(content);
        bytes
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        let mut list = vec![NAME_TYPE_HOST];
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(name);
        let mut content = (list.len() as u16).to_be_bytes().to_vec();
        content.extend(list);
        extension(EXTENSION_SERVER_NAME, &content)
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0); // session id
        body.extend([0, 2, 0x13, 0x01]); // one cipher suite
        body.extend([1, 0]); // no compression
        let extensions = extensions.concat();
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut message = vec![HANDSHAKE_CLIENT_HELLO, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        message
    }

    fn records(message: &[u8], content_bytes: usize) -> Vec<u8> {
        let record =
            |content: &[u8]| [&[CONTENT_HANDSHAKE, 3, 1], &(content.len() as u16).to_be_bytes()[..], content].concat();
        message.chunks(content_bytes).flat_map(record).collect()
    }

    fn name_of(bytes: &[u8]) -> Option<Option<String>> {
        match parse(bytes) {
            Ok(Parsed::Whole(hello)) => Some(hello.server_name),
            _ => None,
        }
    }

    #[test]
    fn the_name_is_found_among_everything_else() {
        let grease = extension(0x4a4a, &[]);
        let ech = extension(0xfe0d, &[0; 200]);
        let key_share = extension(51, &[9; 1300]);
        for (extensions, name) in [
            (vec![sni(b"bilimland.kz")], Some("bilimland.kz")),
            (vec![grease.clone(), sni(b"Media.BilimLand.kz"), key_share], Some("Media.BilimLand.kz")),
            (vec![ech, sni(b"public.example"), grease], Some("public.example")),
            (vec![sni(b"192.0.2.1")], Some("192.0.2.1")),
            (vec![extension(43, &[4, 0x4a, 0x4a, 3, 4])], None),
            (vec![], None),
        ] {
            let message = hello(&extensions);
            for content_bytes in [1, 5, 100, 16_000] {
                if message.len().div_ceil(content_bytes) <= RECORDS_MAX {
                    let found = name_of(&records(&message, content_bytes));
                    assert_eq!(found, Some(name.map(str::to_owned)), "{extensions:?} in {content_bytes}");
                }
            }
        }
    }

    #[test]
    fn what_is_malformed_or_ambiguous_is_refused() {
        let short_list = extension(EXTENSION_SERVER_NAME, &[0, 9, 0, 0, 1, b'a']);
        let other_type = extension(EXTENSION_SERVER_NAME, &[0, 4, 1, 0, 1, b'a']);
        let two_names = extension(EXTENSION_SERVER_NAME, &[0, 8, 0, 0, 1, b'a', 0, 0, 1, b'b']);
        for extensions in [
            vec![sni(b"a.kz"), sni(b"b.kz")],
            vec![sni(b"")],
            vec![sni("білім.қаз".as_bytes())],
            vec![short_list],
            vec![other_type],
            vec![two_names],
            vec![vec![0, 0, 0, 9, 1]],
            vec![extension(1, &[]); EXTENSIONS_MAX + 1],
        ] {
            let bytes = records(&hello(&extensions), 16_000);
            assert!(matches!(parse(&bytes), Err(HelloError::Malformed(_))), "{extensions:?}");
        }
        use Outcome::{MalformedHello, NotTls, OversizedHello, PlainHttp, Ssl2, UnexpectedMessage};
        for (bytes, outcome, alert) in [
            (&b"GET / HTTP/1.1\r\n"[..], PlainHttp, None),
            (b"G", PlainHttp, None),
            (b"PRI * HTTP/2.0\r\n", PlainHttp, None),
            (b"SSH-2.0-x\r\n", PlainHttp, None), // as good as it, to us
            (b"\x16\x02\x00", NotTls, None),
            (b"\x00\x01\x02", NotTls, None),
            (b"\x14\x02", NotTls, None),
            (b"\xff\xff\x02", NotTls, None),
            (b"\x80\x2e\x01\x00\x02", Ssl2, Some(Alert::ProtocolVersion)),
            (b"\x16\x03\x01\x00\x00", MalformedHello, Some(Alert::DecodeError)),
            (b"\x15\x03\x01\x00\x02", UnexpectedMessage, Some(Alert::UnexpectedMessage)),
            (b"\x17\x03\x03\x00\x02", UnexpectedMessage, Some(Alert::UnexpectedMessage)),
            (b"\x16\x03\x01\x00\x01\x02", UnexpectedMessage, Some(Alert::UnexpectedMessage)),
            (b"\x16\x03\x01\xff\xff", OversizedHello, Some(Alert::RecordOverflow)),
            (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", OversizedHello, Some(Alert::IllegalParameter)),
        ] {
            let error = parse(bytes).unwrap_err();
            assert_eq!((error.outcome(), error.alert()), (outcome, alert), "{bytes:?}");
        }
        for bytes in [&b""[..], b"\x80", b"\xff\x01", b"\x15", b"\x16"] {
            assert_eq!(parse(bytes).unwrap(), Parsed::Partial, "{bytes:?}");
        }
        let crumbs = records(&hello(&[sni(b"a-name-with-some-length.kz")]), 1);
        assert!(matches!(parse(&crumbs), Err(HelloError::TooManyRecords)), "one byte a record");
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_read_can_be_replayed_and_a_slow_client_is_cut() {
        let bytes = records(&hello(&[sni(b"bilimland.kz")]), 16_000);
        let (mut client, mut ours) = tokio::io::duplex(64);
        let sent = bytes.clone();
        let writer = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        let mut seen = Vec::new();
        let found = read(&mut ours, &mut seen, Duration::from_secs(10)).await.unwrap();
        assert_eq!(found.server_name.as_deref(), Some("bilimland.kz"));
        assert_eq!(seen, bytes);
        drop(writer);

        let (mut client, mut ours) = tokio::io::duplex(64);
        client.write_all(&bytes[..20]).await.unwrap();
        let cut = read(&mut ours, &mut Vec::new(), Duration::from_secs(10)).await;
        assert!(matches!(cut, Err(HelloError::TooSlow)));
        client.write_all(&bytes[..20]).await.unwrap();
        drop(client);
        let gone = read(&mut ours, &mut Vec::new(), Duration::from_secs(10)).await;
        assert!(matches!(gone, Err(HelloError::Gone(_))));
        let silent = read(&mut ours, &mut Vec::new(), Duration::from_secs(10)).await;
        assert!(matches!(silent, Err(HelloError::Silent)));
    }

    #[test]
    fn it_is_seen_whether_tls_1_3_is_offered() {
        for (versions, offers) in [
            (Some(&[2, 3, 4][..]), true),
            (Some(&[6, 0x4a, 0x4a, 3, 4, 3, 3]), true),
            (Some(&[4, 3, 3, 3, 2]), false),
            (Some(&[3, 0, 3, 4]), false),
            (Some(&[]), false),
            (None, false),
        ] {
            let extensions: Vec<_> = versions.iter().map(|versions| extension(43, versions)).collect();
            match parse(&records(&hello(&extensions), 16_000)) {
                Ok(Parsed::Whole(hello)) => assert_eq!(hello.offers_tls13, offers, "{versions:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn it_is_seen_whether_chacha20_is_preferred() {
        for (suites, prefers) in [
            (&[][..], false),
            (&[0x13, 0x03], true),
            (&[0x13, 0x01, 0x13, 0x02, 0x13, 0x03], false),
            (&[0x2a, 0x2a, 0x13, 0x03, 0x13, 0x01], true), // as RFC 8701 has it
            (&[0x00, 0xff, 0xcc, 0xa9, 0xc0, 0x2b], true), // as RFC 5746 has it, TLS 1.2
            (&[0xc0, 0x2f, 0xcc, 0xa8], false),
            (&[0x00, 0x2f, 0x00], false),
        ] {
            assert_eq!(prefers_chacha20(suites), prefers, "{suites:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damage_never_makes_it_panic_and_a_prefix_is_never_whole(
            name in "[a-z]{1,40}\\.kz", at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let bytes = records(&hello(&[extension(0x2a2a, &[]), sni(name.as_bytes())]), 16_000);
            prop_assert_eq!(name_of(&bytes), Some(Some(name)));
            let at = at.index(bytes.len());
            prop_assert!(matches!(parse(&bytes[..at]), Ok(Parsed::Partial)));
            let mut damaged = bytes;
            damaged[at] = byte;
            let _ = parse(&damaged);
        }
    }
}
