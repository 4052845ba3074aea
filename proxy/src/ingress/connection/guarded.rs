//! A client's connection under guard: strict framing, and no waiting without end.
//!
//! Sits between the socket (or TLS) and hyper. In place of a refused byte comes [`NONSENSE`], and then the connection
//! reads as ended: hyper answers 400 and closes, and every request before it is served. What was answered before is
//! answered here, and hyper never sees it (`beneath`).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::framing::{Framing, Phase};
use super::quick::{Answer, Quick};
use super::socket::Transport;
use super::timer::Timer;
use crate::ingress::limits::Limits;

/// For how many idle periods in a row a request may be in progress without any of its content moving. The stack
/// bounds its own waits far below (an origin's time-outs); this is for clients that never open an HTTP/2 window.
const STALLED_PERIODS_MAX: u32 = 4;

/// What no HTTP parser takes: NUL is allowed nowhere in a head or a chunk's size. The end of a head follows, for
/// hyper looks for that before it parses at all.
const NONSENSE: &[u8] = b"\0\r\n\r\n";

/// The least bytes of one write that count as content moving.
const CONTENT_WRITE_BYTES_MIN: usize = 1024;

/// How long each phase may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    head: Duration,
    idle: Duration,
    write: Duration,
}

impl Waits {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { head: limits.head_wait(), idle: limits.idle(), write: limits.write_wait() }
    }

    fn of(self, phase: Phase) -> Duration {
        match phase {
            Phase::First | Phase::Head | Phase::Content => self.head,
            Phase::Between | Phase::Http2 | Phase::Tunnel => self.idle,
        }
    }
}

/// The guarded connection.
#[derive(Debug)]
pub(crate) struct Guarded<I> {
    pub(super) io: I,
    pub(super) framing: Framing,
    waits: Waits,
    pub(super) activity: Arc<Activity>,
    /// A byte was refused, or nobody asked for anything for too long: nothing more is read.
    pub(super) has_ended: bool,
    /// What is still to be read instead.
    instead: &'static [u8],
    read_timer: Timer,
    /// The phase that the read timer is for, the progress when it was set, and for how many periods it stood still.
    reading: (Phase, u32, u32),
    write_timer: Timer,
    /// The rest of interim responses whose writing has begun; nothing may come between.
    pub(super) begun: VecDeque<u8>,
    /// The memo, where answers may be given beneath hyper.
    pub(super) quick: Option<Quick>,
    /// The answer that is being given there.
    pub(super) answer: Option<Answer>,
    /// What was read and is neither answered nor given up to hyper.
    pub(super) held: Vec<u8>,
    /// How many requests had ended when hyper last held nothing more to write.
    pub(super) flushed: u64,
}

impl<I> Guarded<I> {
    pub(crate) fn new(io: I, waits: Waits, activity: Arc<Activity>) -> Self {
        Self {
            io,
            framing: Framing::new(),
            waits,
            activity,
            has_ended: false,
            instead: &[],
            read_timer: Timer::default(),
            reading: (Phase::First, 0, 0),
            write_timer: Timer::default(),
            begun: VecDeque::new(),
            quick: None,
            answer: None,
            held: Vec::new(),
            flushed: 0,
        }
    }

    /// The same, with answers beneath hyper.
    pub(crate) fn with(self, quick: Option<Quick>) -> Self {
        Self { quick, ..self }
    }

    fn read_instead(&mut self, buf: &mut ReadBuf<'_>) {
        let (now, later) = self.instead.split_at(self.instead.len().min(buf.remaining()));
        buf.put_slice(now);
        self.instead = later;
    }

    /// While nothing can be read: whether that has lasted too long.
    pub(super) fn poll_read_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_tunnel() {
            return Poll::Pending;
        }
        let phase = self.framing.phase();
        let wait = self.waits.of(phase);
        if self.reading.0 != phase {
            self.read_timer.disarm();
        }
        if self.read_timer.arm(wait) {
            self.reading = (phase, self.activity.progress(), 0);
        }
        loop {
            ready!(self.read_timer.poll(cx));
            let (_, seen, stalled) = self.reading;
            let now = self.activity.progress();
            let is_busy = self.activity.is_busy();
            let stalled = if now == seen { stalled + 1 } else { 0 };
            if is_busy && stalled >= STALLED_PERIODS_MAX.max(self.stalled_periods_max(wait)) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            if !is_busy && now == seen {
                // Between requests an orderly end; in the middle of one a failure.
                self.has_ended = true;
                let is_orderly = matches!(phase, Phase::Between | Phase::Http2);
                return Poll::Ready(if is_orderly { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) });
            }
            self.read_timer.disarm();
            self.read_timer.arm(wait);
            self.reading = (phase, now, stalled);
        }
    }

    /// Short phases get more periods, so that standing still means the same time in each.
    fn stalled_periods_max(&self, wait: Duration) -> u32 {
        let periods = (self.waits.idle * STALLED_PERIODS_MAX).as_secs() / wait.as_secs().max(1);
        u32::try_from(periods).unwrap_or(u32::MAX)
    }

    /// While nothing can be written: whether that has lasted too long.
    fn poll_write_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.activity.is_tunnel() {
            return Poll::Pending;
        }
        self.write_timer.arm(self.waits.write);
        ready!(self.write_timer.poll(cx));
        self.write_timer.disarm();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Content that leaves is progress. The small frames of HTTP/2 (acknowledgements, pings) are not: a client can
    /// ask for those for ever.
    pub(super) fn watch_content(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(CONTENT_WRITE_BYTES_MIN..)) = written {
            self.activity.moved();
        }
        self.watch_write(cx, written)
    }

    /// Passes on what a write gave, and watches over it while it gives nothing.
    pub(super) fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer.disarm();
            return written;
        }
        self.poll_write_wait(cx).map(Err)
    }
}

impl<I> Guarded<I> {
    /// Gives up what was just put into `buf`, from `before` on, if it has one meaning.
    pub(super) fn give_up(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        if let Err(refused) = self.framing.take(&buf.filled()[before..]) {
            tracing::debug!(why = ?refused.why, "refused a request with ambiguous framing");
            self.has_ended = true;
            self.instead = NONSENSE;
            buf.set_filled(before + refused.at);
            self.read_instead(buf);
        }
    }
}

impl<I: Transport> AsyncRead for Guarded<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended {
            this.read_instead(buf);
            return Poll::Ready(Ok(()));
        }
        if this.quick.is_some() {
            ready!(this.poll_answer(cx))?;
            if this.may_answer() {
                return this.poll_beneath(cx, buf);
            }
            if !this.held.is_empty() {
                let held = std::mem::take(&mut this.held);
                this.give(&held, buf);
                return Poll::Ready(Ok(()));
            }
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) else {
            return this.poll_read_wait(cx);
        };
        read?;
        this.give_up(buf, before);
        Poll::Ready(Ok(()))
    }
}

impl<I: Transport> Guarded<I> {
    /// Writes the rest of what was begun in hyper's place.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.begun.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, self.begun.as_slices().0);
            match ready!(self.watch_write(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.begun.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Transport> AsyncWrite for Guarded<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        ready!(this.poll_begun(cx))?;
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.watch_content(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        ready!(this.poll_begun(cx))?;
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.watch_content(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        // hyper flushes us when it holds nothing more itself. So all of the earlier answers has been written, and the
        // answer that waits for these has not begun.
        let ended = this.activity.ended();
        this.begun.extend(this.activity.interim().take().unwrap_or_default());
        ready!(this.poll_begun(cx))?;
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        ready!(this.watch_write(cx, flushed))?;
        // Not before: while TLS still holds some of an answer, hyper does not take the connection for idle, and must read
        // neither an end nor a request.
        this.flushed = ended;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        this.watch_write(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    fn guarded() -> (DuplexStream, Guarded<DuplexStream>, Arc<Activity>) {
        let (client, ours) = duplex(1024);
        let activity = Arc::new(Activity::default());
        let guarded = Guarded::new(ours, Waits::new(&Limits::default()), Arc::clone(&activity));
        (client, guarded, activity)
    }

    /// Sends each part, reading it back; then how long reading waits and how it ends.
    async fn waits_after(parts: &[&[u8]]) -> (u64, Result<usize, io::ErrorKind>) {
        let (mut client, mut guarded, _activity) = guarded();
        let mut buf = vec![0; 1024];
        for part in parts {
            client.write_all(part).await.unwrap();
            assert_eq!(guarded.read(&mut buf).await.unwrap(), part.len());
        }
        let start = Instant::now();
        let end = guarded.read(&mut buf).await.map_err(|error| error.kind());
        (start.elapsed().as_secs(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn every_wait_for_a_client_ends() {
        let Limits { head_wait_s: head, idle_s: idle, .. } = Limits::default();
        let cut = Err(io::ErrorKind::TimedOut);
        assert_eq!(waits_after(&[]).await, (head, cut), "says nothing");
        assert_eq!(waits_after(&[b"GET"]).await, (head, cut), "stops in the request line");
        assert_eq!(waits_after(&[b"GET / HTTP/1.1\r\n", b"A: b\r\n"]).await, (head, cut), "stops in the head");
        assert_eq!(waits_after(&[b"GET / HTTP/1.1\r\n\r\n"]).await, (idle, Ok(0)), "asks for nothing more");
        let post = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(waits_after(&[post]).await, (head, cut), "content that nobody waits for");
        assert_eq!(waits_after(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]).await, (idle, Ok(0)), "opens no stream");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_all_the_same() {
        let (mut client, mut guarded, _activity) = guarded();
        let start = Instant::now();
        let dripping = tokio::spawn(async move {
            while client.write_all(b"G").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let mut buf = [0; 64];
        let end = loop {
            match guarded.read(&mut buf).await {
                Ok(_) => {}
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(end, io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), Limits::default().head_wait_s);
        drop(guarded);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_is_not_idle_but_may_not_stand_still_for_ever() {
        let (mut client, mut guarded, activity) = guarded();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut buf = [0; 64];
        assert!(guarded.read(&mut buf).await.unwrap() > 0);
        let busy = activity.begin();
        let start = Instant::now();
        let end = guarded.read(&mut buf).await.map_err(|error| error.kind());
        assert_eq!(end, Err(io::ErrorKind::TimedOut));
        assert_eq!(start.elapsed().as_secs(), Limits::default().idle_s * u64::from(STALLED_PERIODS_MAX));
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut() {
        let (client, mut guarded, _activity) = guarded();
        let start = Instant::now();
        let end = guarded.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!((end.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, Limits::default().write_wait_s));
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_tunnel_that_is_open_may_be_quiet() {
        let Limits { idle_s: idle, write_wait_s: write, .. } = Limits::default();
        let requests = b"GET /1 HTTP/1.1\r\n\r\nCONNECT a.kz:443 HTTP/1.1\r\n\r\n";
        let cut = Err(io::ErrorKind::TimedOut);
        assert_eq!(waits_after(&[requests]).await, (idle, cut), "one that is not granted");
        for is_busy in [true, false] {
            let (mut client, mut guarded, activity) = guarded();
            client.write_all(requests).await.unwrap();
            assert_eq!(guarded.read(&mut [0; 1024]).await.unwrap(), requests.len());
            let _busy = is_busy.then(|| activity.begin());
            let start = Instant::now();
            let end = guarded.write_all(&[0; 4096]).await.unwrap_err();
            assert_eq!((end.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, write), "{is_busy}");
        }
        let (mut client, mut guarded, activity) = guarded();
        client.write_all(requests).await.unwrap();
        assert_eq!(guarded.read(&mut [0; 1024]).await.unwrap(), requests.len());
        activity.becomes_tunnel();
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(tokio::time::timeout(day, guarded.read(&mut [0; 64])).await.is_err(), "its limit is the tunnel's own");
        assert!(tokio::time::timeout(day, guarded.write_all(&[0; 4096])).await.is_err());
    }

    #[tokio::test]
    async fn an_interim_response_is_written_whole_between_what_hyper_writes() {
        let (mut client, ours) = duplex(7);
        let activity = Arc::<Activity>::default();
        let mut guarded = Guarded::new(ours, Waits::new(&Limits::default()), Arc::clone(&activity));
        let writing = tokio::spawn(async move {
            guarded.write_all(b"the answer before, ").await.unwrap();
            let sender = activity.interim().open();
            sender.send(http::StatusCode::PROCESSING, &http::HeaderMap::new());
            // Not before hyper has nothing more of its own, as it says by a flush.
            guarded.write_all(b"to its end, ").await.unwrap();
            // A flush that stops half-way (the pipe takes 7 bytes), and an answer right after it.
            let flushed =
                Pin::new(&mut guarded).poll_flush(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
            assert!(!flushed);
            guarded.write_all(b"the answer").await.unwrap();
        });
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        writing.await.unwrap();
        let interim = "HTTP/1.1 102 Processing\r\nvia: 1.1 bulaq\r\n\r\n";
        assert_eq!(seen, format!("the answer before, to its end, {interim}the answer"));
    }

    #[tokio::test]
    async fn nonsense_and_the_end_come_instead_of_a_refused_byte() {
        let (mut client, mut guarded, _activity) = guarded();
        client.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\nA: b\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        let mut few = [0; 7];
        loop {
            match guarded.read(&mut few).await.unwrap() {
                0 => break,
                read => seen.extend_from_slice(&few[..read]),
            }
        }
        assert_eq!(seen, b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\0\r\n\r\n");
    }
}
