//! 500 clients open one cold page at one moment; its site thinks for two seconds and then sends it slowly.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::boxed::{Boxed, Home};
use crate::client::{self, Answer, Http2};
use crate::content::Content;
use crate::origin::{Manners, Origin};
use crate::report::{Report, Target, quantile};

/// From the origin's first byte to a client's, in milliseconds.
const FIRST_BYTE_MS_MAX: f64 = 50.0;

/// From the origin's last byte to a fast client's, in milliseconds: two gigabits a second, shared by 450 clients.
const LAST_BYTE_MS_MAX: f64 = 4_000.0;

/// Resident memory above idle for one client, in KiB: a connection with its buffers, and no part of the body of its own.
const MEMORY_KIB_MAX: f64 = 160.0;

/// Streams that share one HTTP/2 connection.
const STREAMS_PER_CONNECTION: usize = 50;

#[derive(Args)]
pub(crate) struct Options {
    /// Clients in all.
    #[arg(long, default_value_t = 500)]
    clients: usize,
    /// How many of them read 10 kB/s.
    #[arg(long, default_value_t = 50)]
    slow: usize,
}

/// The page's length in bytes.
const PAGE_BYTES: u64 = 2_000_000;

/// How long the site thinks, and how fast it then sends: the page takes 1.5 s.
const WAIT: Duration = Duration::from_secs(2);
const BYTES_PER_S: u64 = PAGE_BYTES * 2 / 3;

/// A slow client reads so much, ten times a second.
const SLOW_READ_BYTES: u64 = 1_000;
const SLOW_READ_EVERY: Duration = Duration::from_millis(100);

struct Crowd {
    name: &'static str,
    path: &'static str,
    range: Option<&'static str>,
    is_http2: bool,
}

static CROWDS: [Crowd; 3] = [
    Crowd { name: "HTTP/1.1", path: "/lesson-1", range: None, is_http2: false },
    Crowd { name: "HTTP/1.1, bytes=0-", path: "/lesson-2", range: Some("bytes=0-"), is_http2: false },
    Crowd { name: "HTTP/2", path: "/lesson-3", range: None, is_http2: true },
];

pub(crate) async fn measure(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let origin = Origin::start()?;
    let mut report = Report::new("crowd");
    for (number, crowd) in (1..).zip(&CROWDS) {
        // A box of its own for each, so that idle memory means the same.
        let home = Home::new(program, origin.address)?;
        let boxed = home.serve()?;
        let content = Content::new(number, PAGE_BYTES);
        origin.set(content, Manners { wait: WAIT, bytes_per_s: Some(BYTES_PER_S), breaks: None });
        one(crowd, &boxed, &origin, content, options, &mut report).await.with_context(|| crowd.name.to_owned())?;
    }
    Ok(report)
}

/// What one fast client saw.
struct Seen {
    first_byte: Instant,
    last_byte: Instant,
}

async fn one(
    crowd: &'static Crowd,
    boxed: &Boxed,
    origin: &Origin,
    content: Content,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (idle_mib, cpu_before_s) = (boxed.resident_mib()?, boxed.cpu_s()?);
    let slow_count = options.slow.min(options.clients);
    let ready = Arc::new(Barrier::new(options.clients));
    let (mut fast, mut slow) = (JoinSet::new(), JoinSet::new());
    let mut shared = None;
    for number in 0..options.clients {
        if crowd.is_http2 && number % STREAMS_PER_CONNECTION == 0 {
            shared = Some(Http2::connect(boxed.http).await?);
        }
        let asking = ask(crowd, boxed.http, shared.clone(), Arc::clone(&ready));
        // On a connection of many streams slow and fast ones are mixed.
        let is_slow = slow_count > 0 && number % (options.clients / slow_count).max(1) == 0;
        if is_slow {
            slow.spawn(async move { read_slowly(asking.await?, content).await });
        } else {
            fast.spawn(async move { read(asking.await?, content).await });
        }
    }
    let mut seen = Vec::new();
    while let Some(client) = fast.join_next().await {
        seen.push(client??);
    }
    let (peak_mib, cpu_s) = (boxed.peak_mib()?, boxed.cpu_s()? - cpu_before_s);
    // Slow ones must have come to no harm: an error would have ended them.
    while let Some(client) = slow.try_join_next() {
        client??;
    }
    slow.abort_all();
    tell(crowd, origin, options, &seen, report)?;
    report.tell(format!("{}: processor time of the box", crowd.name), cpu_s, "s");
    let per_client_kib = (peak_mib - idle_mib) * 1024.0 / options.clients as f64;
    report.tell(format!("{}: memory above idle", crowd.name), peak_mib - idle_mib, "MiB");
    let what = format!("{}: memory above idle, by client", crowd.name);
    report.judge(what, per_client_kib, "KiB", Target::AtMost(MEMORY_KIB_MAX));
    Ok(())
}

fn tell(
    crowd: &'static Crowd,
    origin: &Origin,
    options: &Options,
    seen: &[Seen],
    report: &mut Report,
) -> anyhow::Result<()> {
    let sent = origin.take();
    let (first, last) = sent.first_byte.zip(sent.last_byte).context("the origin sent nothing")?;
    let after = |then: Instant, since: Instant| then.saturating_duration_since(since).as_secs_f64() * 1_000.0;
    let mut firsts: Vec<_> = seen.iter().map(|client| after(client.first_byte, first)).collect();
    let mut lasts: Vec<_> = seen.iter().map(|client| after(client.last_byte, last)).collect();
    let name = crowd.name;
    report.tell(format!("{name}: clients"), options.clients as f64, "");
    if crowd.range.is_none() {
        report.judge(format!("{name}: requests to the origin"), sent.requests as f64, "", Target::Exactly(1.0));
    } else {
        report.tell(format!("{name}: requests to the origin"), sent.requests as f64, "");
    }
    let times = sent.content_bytes() as f64 / PAGE_BYTES as f64;
    report.judge(format!("{name}: page over the link"), times, "times", Target::Exactly(1.0));
    for (word, share) in [("half of them", 0.5), ("99 of 100", 0.99), ("the last", 1.0)] {
        let value = quantile(&mut firsts, share);
        let what = format!("{name}: first byte after the origin's, {word}");
        report.judge(what, value, "ms", Target::AtMost(FIRST_BYTE_MS_MAX));
    }
    let what = format!("{name}: end after the origin's, the last fast one");
    report.judge(what, quantile(&mut lasts, 1.0), "ms", Target::AtMost(LAST_BYTE_MS_MAX));
    Ok(())
}

async fn ask(
    crowd: &'static Crowd,
    door: std::net::SocketAddr,
    shared: Option<Http2>,
    ready: Arc<Barrier>,
) -> anyhow::Result<Answer> {
    match shared {
        Some(http2) => {
            ready.wait().await;
            http2.get(crowd.path, crowd.range).await
        }
        None => {
            let stream = client::connect(door).await?;
            ready.wait().await;
            client::get(stream, crowd.path, crowd.range).await
        }
    }
}

async fn read(mut answer: Answer, content: Content) -> anyhow::Result<Seen> {
    answer.next(&content).await?.context("no content")?;
    let first_byte = Instant::now();
    answer.read(&content, u64::MAX).await?;
    anyhow::ensure!(answer.position == content.bytes, "the content ended at {}", answer.position);
    Ok(Seen { first_byte, last_byte: Instant::now() })
}

async fn read_slowly(mut answer: Answer, content: Content) -> anyhow::Result<()> {
    while answer.left > 0 {
        answer.read(&content, SLOW_READ_BYTES).await?;
        sleep(SLOW_READ_EVERY).await;
    }
    Ok(())
}
