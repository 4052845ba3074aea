//! A site of our own: made-up content with ranges, as slow as wished, that can break off; and it counts what it sends.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::content::Content;

/// What waits in the system to be sent: little, so that what was written is what crossed.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// Content is written in such pieces.
const PIECE_BYTES: usize = 16 * 1024;

/// The most of a request's head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How the site behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// How long it thinks before it answers.
    pub(crate) wait: Duration,
    /// How fast it sends content; none for as fast as it goes.
    pub(crate) bytes_per_s: Option<u64>,
    /// Where in a body it breaks off next, and how.
    pub(crate) breaks: Option<(u64, Break)>,
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// With a reset.
    Reset,
    /// It goes silent, and so does every new one until [`Origin::mend`].
    Silence,
}

/// What was sent since the last [`Origin::take`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Requests.
    pub(crate) requests: u64,
    /// Bytes written to sockets, heads too.
    pub(crate) bytes: u64,
    /// When the first byte of content was written, and the last.
    pub(crate) first_byte: Option<Instant>,
    pub(crate) last_byte: Option<Instant>,
    /// The parts of the content that were sent, one for each response.
    parts: Vec<Range<u64>>,
}

impl Sent {
    /// Bytes of content, also those that were sent before.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }

    /// Bytes of content, each place counted once.
    pub(crate) fn distinct_bytes(&self) -> u64 {
        distinct_bytes(self.parts.clone())
    }
}

/// How many different places these ranges cover.
pub(crate) fn distinct_bytes(mut parts: Vec<Range<u64>>) -> u64 {
    parts.sort_by_key(|part| part.start);
    let mut end = 0;
    let mut distinct = 0;
    for part in parts {
        let start = part.start.max(end);
        distinct += part.end.saturating_sub(start);
        end = end.max(part.end);
    }
    distinct
}

/// The site; ends with the runtime.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    content: Mutex<Content>,
    manners: Mutex<Manners>,
    sent: Mutex<Sent>,
    is_silent: tokio::sync::watch::Sender<bool>,
    content_bytes: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Origin {
    /// A site at a free port; videos and lessons have the content last [set](Origin::set).
    pub(crate) fn start() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(1024).context("the origin cannot listen")?;
        let state = Arc::new(State {
            content: Mutex::new(Content::new(0, 0)),
            manners: Mutex::default(),
            sent: Mutex::default(),
            is_silent: tokio::sync::watch::Sender::new(false),
            content_bytes: AtomicU64::new(0),
        });
        let address = listener.local_addr()?;
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state })
    }

    /// What it sends from now on, and how; the count begins anew.
    pub(crate) fn set(&self, content: Content, manners: Manners) {
        *lock(&self.state.content) = content;
        *lock(&self.state.manners) = manners;
        self.take();
    }

    /// What was sent so far.
    pub(crate) fn sent(&self) -> Sent {
        lock(&self.state.sent).clone()
    }

    /// What was sent so far; the count begins anew.
    pub(crate) fn take(&self) -> Sent {
        self.state.content_bytes.store(0, Ordering::SeqCst);
        std::mem::take(&mut *lock(&self.state.sent))
    }

    /// Waits until so many bytes of content were sent.
    pub(crate) async fn has_sent(&self, bytes: u64) {
        while self.state.content_bytes.load(Ordering::SeqCst) < bytes {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until it has gone silent.
    pub(crate) async fn is_silent(&self) {
        let mut silent = self.state.is_silent.subscribe();
        let _never_closed = silent.wait_for(|is_silent| *is_silent).await;
    }

    /// The silence is over.
    pub(crate) fn mend(&self) {
        self.state.is_silent.send_replace(false);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A box that hangs up is part of the measurement.
            let _ended = converse(stream, &state).await;
        });
    }
}

async fn converse(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    while let Some(head) = head(&mut stream, &mut unread).await? {
        if *state.is_silent.borrow() {
            return silence(&mut stream).await;
        }
        answer(&mut stream, &head, state).await?;
    }
    Ok(())
}

async fn head(stream: &mut TcpStream, unread: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&unread[..end]).into_owned();
            unread.drain(..end + 4);
            return Ok(Some(head));
        }
        if unread.len() > HEAD_BYTES_MAX || stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
}

/// Nothing more, until the other side ends it.
async fn silence(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn answer(stream: &mut TcpStream, request: &str, state: &State) -> std::io::Result<()> {
    let (content, manners) = (*lock(&state.content), *lock(&state.manners));
    lock(&state.sent).requests += 1;
    sleep(manners.wait).await;
    let path = request.split(' ').nth(1).unwrap_or("/");
    if !(path.ends_with(".mp4") || path.starts_with("/lesson")) {
        return small(stream, path, state).await;
    }
    let part = range(request, content.bytes);
    let mut head = match &part {
        Some(part) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\n",
            part.start,
            part.end - 1,
            content.bytes
        ),
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let part = part.unwrap_or(0..content.bytes);
    head += &format!(
        "Content-Length: {}\r\nContent-Type: video/mp4\r\nCache-Control: max-age=86400\r\nETag: \"v1\"\r\n\
         Accept-Ranges: bytes\r\n\r\n",
        part.end - part.start
    );
    stream.write_all(head.as_bytes()).await?;
    let mine = {
        let mut sent = lock(&state.sent);
        sent.bytes += head.len() as u64;
        sent.parts.push(part.start..part.start);
        sent.parts.len() - 1
    };
    if request.starts_with("HEAD ") {
        return Ok(());
    }
    send(stream, content, part, mine, manners, state).await
}

async fn send(
    stream: &mut TcpStream,
    content: Content,
    part: Range<u64>,
    mine: usize,
    manners: Manners,
    state: &State,
) -> std::io::Result<()> {
    let begun = Instant::now();
    let mut piece = vec![0; PIECE_BYTES];
    let mut position = part.start;
    while position < part.end {
        let most = usize::try_from(part.end - position).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut count = content.read(position, &mut piece[..most]);
        let breaks = lock(&state.manners).breaks.filter(|(at, _)| (position..position + count as u64).contains(at));
        if let Some((at, _)) = breaks {
            count = usize::try_from(at - position).unwrap_or(0);
        }
        stream.write_all(&piece[..count]).await?;
        position += count as u64;
        note(state, mine, count as u64);
        if let Some((_, how)) = breaks {
            lock(&state.manners).breaks = None;
            if how == Break::Reset {
                // What was written first is let through: a reset takes the place of the next byte.
                sleep(Duration::from_millis(20)).await;
                stream.set_zero_linger()?;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            state.is_silent.send_replace(true);
            return silence(stream).await;
        }
        if let Some(bytes_per_s) = manners.bytes_per_s {
            sleep_until(begun + Duration::from_secs_f64((position - part.start) as f64 / bytes_per_s as f64)).await;
        }
    }
    Ok(())
}

fn note(state: &State, mine: usize, count: u64) {
    let mut sent = lock(&state.sent);
    let now = Instant::now();
    sent.bytes += count;
    sent.first_byte.get_or_insert(now);
    sent.last_byte = Some(now);
    // A count that began anew in between is another measurement's.
    if let Some(part) = sent.parts.get_mut(mine) {
        part.end += count;
    }
    state.content_bytes.fetch_add(count, Ordering::SeqCst);
}

/// The pages of a night: one that leads to a video. Nights look for `robots.txt` and a sitemap too; there is none.
async fn small(stream: &mut TcpStream, path: &str, state: &State) -> std::io::Result<()> {
    let page = "<!doctype html><title>Lesson</title><video src=\"/night.mp4\"></video>";
    let text = if !path.ends_with(".html") {
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()
    } else {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=86400\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        )
    };
    lock(&state.sent).bytes += text.len() as u64;
    stream.write_all(text.as_bytes()).await
}

/// The range that a request asks for, if it is one that there is, and its condition holds.
fn range(request: &str, length: u64) -> Option<Range<u64>> {
    let field = |name: &str| {
        let mut lines = request.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if field("if-range").is_some_and(|validator| validator != "\"v1\"") {
        return None;
    }
    let (first, last) = field("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let range = if first.is_empty() {
        length.saturating_sub(last.parse().ok()?)..length
    } else {
        let end = if last.is_empty() { length } else { last.parse::<u64>().ok()?.checked_add(1)? };
        first.parse().ok()?..end.min(length)
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_browsers_write_them() {
        let asked = |line: &str| range(&format!("GET / HTTP/1.1\r\n{line}"), 100);
        assert_eq!(asked("Range: bytes=0-"), Some(0..100));
        assert_eq!(asked("range: bytes=10-19"), Some(10..20));
        assert_eq!(asked("Range: bytes=90-200"), Some(90..100));
        assert_eq!(asked("Range: bytes=-5"), Some(95..100));
        assert_eq!(asked("Range: bytes=100-"), None);
        assert_eq!(asked("Host: a"), None);
        assert_eq!(asked("If-Range: \"v0\"\r\nRange: bytes=0-1"), None);
    }

    #[test]
    fn a_place_that_was_sent_twice_counts_once() {
        assert_eq!(distinct_bytes(vec![0..10, 5..15, 20..30, 22..23]), 25);
        assert_eq!(distinct_bytes(vec![]), 0);
    }
}
