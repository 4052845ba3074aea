//! The site behind all contenders: fast, one thread, and it counts what it is asked.
//!
//! An address says what comes: `/MANNER/BYTES/NAME`, where the manner is
//!
//! | manner | answer |
//! | --- | --- |
//! | `fresh` | may be reused for a day |
//! | `fresh-S` | may be reused for S seconds |
//! | `check` | stored, and validated each time (`no-cache`); 304 to who has it |
//! | `uncacheable` | `no-store` |
//! | `slow-W-S` | as `fresh`; begins after W ms and is sent within S ms |
//!
//! The content is made from NAME; whoever knows the address can [make it again](content_of). One port speaks HTTP/1.1 in
//! the clear and over TLS.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;

use crate::content::Content;
use crate::tls::Identity;

/// The most of a request's head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Content is written in such pieces.
const PIECE_BYTES: usize = 256 * 1024;

/// A slow answer is sent in so many pieces.
const SLOW_PIECES: u32 = 100;

/// The first byte of a TLS connection (RFC 8446 §5.1: a handshake record).
const TLS_HANDSHAKE: u8 = 22;

/// What it was asked.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    not_modified: AtomicU64,
    content_bytes: AtomicU64,
    slow_times: Mutex<Option<(std::time::Instant, std::time::Instant)>>,
}

/// What it was asked, up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) requests: u64,
    /// Those among them that were answered with 304.
    pub(crate) not_modified: u64,
    /// Bytes of content that were sent.
    pub(crate) content_bytes: u64,
}

impl Asked {
    /// What came since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            not_modified: self.not_modified - before.not_modified,
            content_bytes: self.content_bytes - before.content_bytes,
        }
    }
}

/// The site; serves to the end of the process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

impl Origin {
    /// Starts it in a thread of its own, on the cores of this one.
    pub(crate) fn start(identity: &Identity) -> anyhow::Result<Self> {
        let counts = Arc::new(Counts::default());
        let tls = identity.server()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listen = async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            socket.listen(4096)
        };
        let listener = runtime.block_on(listen).context("the origin cannot listen")?;
        let address = listener.local_addr()?;
        let for_thread = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("origin".into())
            .spawn(move || runtime.block_on(accept(listener, tls, for_thread)))?;
        Ok(Self { address, counts })
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            requests: self.counts.requests.load(Ordering::SeqCst),
            not_modified: self.counts.not_modified.load(Ordering::SeqCst),
            content_bytes: self.counts.content_bytes.load(Ordering::SeqCst),
        }
    }

    /// When the first and the last content of the latest slow answer was sent, as far as it is.
    pub(crate) fn slow_times(&self) -> Option<(std::time::Instant, std::time::Instant)> {
        *self.counts.slow_times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, counts: Arc<Counts>) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many are open, perhaps: some will be closed.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (acceptor, counts) = (acceptor.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            // Whoever hangs up is done.
            let _ended = serve(stream, &acceptor, &counts).await;
        });
    }
}

async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        return converse(acceptor.accept(stream).await?, counts).await;
    }
    converse(stream, counts).await
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, counts: &Counts) -> std::io::Result<()> {
    let mut unread = Vec::with_capacity(4096);
    let mut out = Vec::with_capacity(4096);
    loop {
        let Some(end) = end_of_head(&unread) else {
            if unread.len() > HEAD_BYTES_MAX || stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let asked = std::str::from_utf8(&unread[..end]).ok().and_then(Request::parse);
        unread.drain(..end);
        let Some(request) = asked else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
            continue;
        };
        counts.requests.fetch_add(1, Ordering::SeqCst);
        answer(&mut stream, &request, &mut out, counts).await?;
        // What a full socket did not take of an answer over TLS waits here, and nothing else would send it.
        stream.flush().await?;
    }
}

/// Where a head ends, behind its empty line.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    manner: Manner,
    bytes: u64,
    name: u64,
    part: Option<Range<u64>>,
    has_it: bool,
    is_head: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Fresh { s: u64 },
    Check,
    Uncacheable,
    Slow { wait: Duration, send: Duration },
}

/// A day: longer than any measurement.
const FRESH_S: u64 = 86_400;

impl Manner {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('-');
        let (kind, mut numbers) = (words.next()?, words.map(str::parse::<u64>));
        let mut number = || numbers.next().transpose().ok();
        let manner = match kind {
            "fresh" => Self::Fresh { s: number()?.unwrap_or(FRESH_S) },
            "check" => Self::Check,
            "uncacheable" => Self::Uncacheable,
            "slow" => Self::Slow { wait: Duration::from_millis(number()??), send: Duration::from_millis(number()??) },
            _ => return None,
        };
        Some(manner)
    }

    fn cache_control(self) -> String {
        match self {
            Self::Fresh { s } => format!("max-age={s}"),
            Self::Check => "no-cache".into(),
            Self::Uncacheable => "no-store".into(),
            Self::Slow { .. } => format!("max-age={FRESH_S}"),
        }
    }
}

/// A number for a name: FNV-1a.
fn number_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// What is at an address of the origin.
pub(crate) fn content_of(path: &str) -> Option<Content> {
    let mut parts = path.strip_prefix('/')?.splitn(3, '/').skip(1);
    let bytes = parts.next()?.parse().ok()?;
    Some(Content::new(number_of(parts.next()?), bytes))
}

impl Request {
    fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        // A proxy may ask for the whole address.
        let path = target.strip_prefix("http://").map_or(target, |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
        let content = content_of(path)?;
        let mut parts = path.split('/').skip(1);
        let manner = Manner::parse(parts.next()?)?;
        let name = number_of(path.splitn(4, '/').nth(3)?);
        let mut request =
            Self { manner, bytes: content.bytes, name, part: None, has_it: false, is_head: method == "HEAD" };
        let tag = request.tag();
        for line in lines {
            let Some((field, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if field.eq_ignore_ascii_case("range") {
                request.part = part_of(value, content.bytes);
            } else if field.eq_ignore_ascii_case("if-none-match") {
                request.has_it = value.contains(&tag);
            } else if field.eq_ignore_ascii_case("if-range") && value != tag {
                request.part = None;
            }
        }
        Some(request)
    }

    fn tag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.name, self.bytes)
    }
}

/// One range of bytes, if it is one that there is.
fn part_of(value: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let part = if first.is_empty() {
        length.saturating_sub(last.parse().ok()?)..length
    } else {
        let end = if last.is_empty() { length } else { last.parse::<u64>().ok()?.checked_add(1)? };
        first.parse().ok()?..end.min(length)
    };
    (part.start < part.end).then_some(part)
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    out: &mut Vec<u8>,
    counts: &Counts,
) -> std::io::Result<()> {
    use std::io::Write as _;
    let content = Content::new(request.name, request.bytes);
    out.clear();
    let is_unchanged = request.has_it && request.manner != Manner::Uncacheable;
    let part = request.part.clone().unwrap_or(0..content.bytes);
    let status = match (&request.part, is_unchanged) {
        (_, true) => "304 Not Modified",
        (Some(_), _) => "206 Partial Content",
        (None, _) => "200 OK",
    };
    let (date, cache_control) = (httpdate::fmt_http_date(SystemTime::now()), request.manner.cache_control());
    write!(out, "HTTP/1.1 {status}\r\nDate: {date}\r\nCache-Control: {cache_control}\r\nETag: {}\r\n", request.tag())?;
    if !is_unchanged {
        let length = part.end - part.start;
        out.extend_from_slice(b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: video/mp4\r\n");
        write!(out, "Accept-Ranges: bytes\r\nContent-Length: {length}\r\n")?;
        if request.part.is_some() {
            write!(out, "Content-Range: bytes {}-{}/{}\r\n", part.start, part.end - 1, content.bytes)?;
        }
    }
    out.extend_from_slice(b"\r\n");
    if is_unchanged {
        counts.not_modified.fetch_add(1, Ordering::SeqCst);
    }
    if is_unchanged || request.is_head {
        return stream.write_all(out).await;
    }
    counts.content_bytes.fetch_add(part.end - part.start, Ordering::SeqCst);
    match request.manner {
        Manner::Slow { wait, send } => send_slowly(stream, out, content, part, (wait, send), counts).await,
        _ => send_at_once(stream, out, content, part).await,
    }
}

async fn send_at_once(
    stream: &mut (impl AsyncWrite + Unpin),
    out: &mut Vec<u8>,
    content: Content,
    part: Range<u64>,
) -> std::io::Result<()> {
    let mut position = part.start;
    loop {
        let left = usize::try_from(part.end - position).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let begin = out.len();
        out.resize(begin + left, 0);
        position += content.read(position, &mut out[begin..]) as u64;
        stream.write_all(out).await?;
        out.clear();
        if position >= part.end {
            return Ok(());
        }
    }
}

async fn send_slowly(
    stream: &mut (impl AsyncWrite + Unpin),
    head: &[u8],
    content: Content,
    part: Range<u64>,
    (wait, send): (Duration, Duration),
    counts: &Counts,
) -> std::io::Result<()> {
    sleep(wait).await;
    let begun = Instant::now();
    stream.write_all(head).await?;
    let length = part.end - part.start;
    let mut piece = vec![0; usize::try_from(length.div_ceil(u64::from(SLOW_PIECES))).unwrap_or(PIECE_BYTES)];
    for number in 0..SLOW_PIECES {
        let position = part.start + u64::from(number) * piece.len() as u64;
        if position >= part.end {
            break;
        }
        let most = usize::try_from(part.end - position).unwrap_or(piece.len()).min(piece.len());
        let count = content.read(position, &mut piece[..most]);
        stream.write_all(&piece[..count]).await?;
        *counts.slow_times.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((begun.into_std(), std::time::Instant::now()));
        // The first piece goes at once, the last one at the end.
        sleep_until(begun + send * (number + 1) / SLOW_PIECES).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str, more: &str) -> Option<Request> {
        Request::parse(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n"))
    }

    #[test]
    fn addresses_say_what_comes() {
        let manner = |path: &str| parsed(path, "").map(|request| request.manner);
        assert_eq!(manner("/fresh/10/a"), Some(Manner::Fresh { s: FRESH_S }));
        assert_eq!(manner("http://a/fresh-60/10/a"), Some(Manner::Fresh { s: 60 }));
        assert_eq!(manner("/check/10/a"), Some(Manner::Check));
        assert_eq!(manner("/uncacheable/10/a/b"), Some(Manner::Uncacheable));
        let slow = Manner::Slow { wait: Duration::from_secs(2), send: Duration::from_millis(1500) };
        assert_eq!(manner("/slow-2000-1500/10/a"), Some(slow));
        for wrong in ["/", "/fresh/x/a", "/fresh/10", "/fast/10/a", "/slow-1/10/a", "/fresh-x/1/a"] {
            assert_eq!(manner(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_has_it_is_told_so() {
        let tag = parsed("/check/10/a", "").unwrap().tag();
        assert!(parsed("/check/10/a", &format!("If-None-Match: {tag}")).unwrap().has_it);
        assert!(!parsed("/check/10/b", &format!("If-None-Match: {tag}")).unwrap().has_it);
        assert_eq!(parsed("/fresh/10/a", "Range: bytes=2-5").unwrap().part, Some(2..6));
        assert_eq!(parsed("/fresh/10/a", "Range: bytes=2-5\r\nIf-Range: \"x\"").unwrap().part, None);
    }

    /// Over a connection that takes little at a time: what it does not take waits in the TLS session.
    #[test]
    fn who_reads_slowly_gets_all_over_tls() {
        const BYTES: usize = 100_000;
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::new(folder.path()).unwrap();
        let acceptor = TlsAcceptor::from(identity.server().unwrap());
        let client = tokio_rustls::TlsConnector::from(identity.speaker(b"http/1.1").unwrap());
        let name = rustls_pki_types::ServerName::try_from(crate::boxed::HOST).unwrap();
        let (ours, theirs) = tokio::io::duplex(1_000);
        let counts = Counts::default();
        let serve = async { converse(acceptor.accept(theirs).await.unwrap(), &counts).await };
        let read = async {
            let mut stream = client.connect(name, ours).await.unwrap();
            stream.write_all(format!("GET /fresh/{BYTES}/a HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
            let (mut piece, mut count) = ([0; 1024], 0);
            while count < BYTES {
                count += stream.read(&mut piece).await.unwrap();
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let both = async {
            tokio::select! { () = read => true, _ = serve => false }
        };
        // Without the end of the answer, both would wait for each other.
        let patience = Duration::from_secs(10);
        assert!(runtime.block_on(async { tokio::time::timeout(patience, both).await }).unwrap());
    }
}
