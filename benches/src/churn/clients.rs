//! Who comes and goes: good clients of every kind, slow ones, and broken ones.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::Done;
use crate::boxed::HOST;
use crate::client::Http2;
use crate::content::Places;
use crate::peers::{Visitor, body_of, content_of};
use crate::tls;

/// One kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Newcomer,
    Checker,
    Passer,
    PasserOverTls,
    PasserOverHttp2,
    Slow,
    Broken,
    Purger,
}

pub(super) const KINDS: [Kind; 8] = [
    Kind::Newcomer,
    Kind::Checker,
    Kind::Passer,
    Kind::PasserOverTls,
    Kind::PasserOverHttp2,
    Kind::Slow,
    Kind::Broken,
    Kind::Purger,
];

/// Addresses that many ask for.
const HOT: u64 = 100;

/// Addresses that are validated.
const CHECKED: u64 = 200;

/// New objects are so long at the most.
const NEW_BYTES_MAX: u64 = 64 << 10;

/// What slow clients read, and how: 10 kB/s for some seconds, then they are gone.
const SLOW_PATHS: u64 = 20;
const SLOW_BYTES: u64 = 1 << 20;
const SLOW_READ_BYTES: usize = 1_000;
const SLOW_READ_EVERY: Duration = Duration::from_millis(100);
const SLOW_READS: u32 = 40;

/// How long a broken client stays, waiting for an answer to what is none.
const BROKEN_STAY: Duration = Duration::from_secs(1);

/// What broken clients send, at either door; then they are gone.
static BROKEN: [(&str, &[u8]); 8] = [
    ("nothing", b""),
    ("half a head", b"GET /fresh/10/a HTTP/1.1\r\nHost: less"),
    ("no HTTP", b"\x00\x01\x02\xff\xfe helo\r\n\r\n"),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    ("half a body", b"POST /x HTTP/1.1\r\nHost: lessons.example.kz\r\nContent-Length: 1000\r\n\r\nabc"),
    ("half HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00"),
    ("wrong HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("half a ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
];

/// Where a client is, and until when.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) tls: TlsConnector,
    /// Among those of its kind.
    pub(super) number: u64,
    pub(super) end: Instant,
}

/// An address that many ask for.
pub(super) fn hot(number: u64) -> String {
    format!("/fresh/10240/hot-{}", number % HOT)
}

impl Kind {
    /// How many are there at one time. Purges are made elsewhere.
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Newcomer => 4,
            Self::Checker | Self::Passer | Self::PasserOverTls | Self::PasserOverHttp2 => 2,
            Self::Slow => 10,
            Self::Broken => 8,
            Self::Purger => 0,
        }
    }

    /// From one thing that each does to the next.
    fn pause(self) -> Duration {
        Duration::from_millis(match self {
            Self::Newcomer => 20,
            Self::Checker => 40,
            Self::Passer | Self::PasserOverTls | Self::PasserOverHttp2 => 100,
            Self::Slow | Self::Broken => 50,
            Self::Purger => 2_000,
        })
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Newcomer => "fetch what is new",
            Self::Checker => "have something validated",
            Self::Passer => "connect and ask once",
            Self::PasserOverTls => "do so over TLS",
            Self::PasserOverHttp2 => "do so over HTTP/2",
            Self::Slow => "read slowly and leave",
            Self::Broken => "are broken",
            Self::Purger => "purge",
        }
    }
}

/// Lives to the end of the day.
///
/// # Errors
/// When a good client is served badly. What becomes of a broken one is no error.
pub(super) async fn go(kind: Kind, place: Place, done: Done) -> anyhow::Result<()> {
    let mut places = Places::new(place.number.wrapping_mul(1_000_003) + kind as u64);
    let mut kept = None;
    for turn in 0.. {
        if Instant::now() >= place.end {
            break;
        }
        match kind {
            Kind::Newcomer => {
                let bytes = 1 + places.below(NEW_BYTES_MAX);
                ask(&mut kept, &place, &format!("/fresh/{bytes}/new-{}-{turn}", place.number)).await?;
            }
            Kind::Checker => {
                let number = places.below(CHECKED);
                let manner = if turn % 2 == 0 { "check" } else { "fresh-1" };
                ask(&mut kept, &place, &format!("/{manner}/4096/checked-{number}")).await?;
            }
            Kind::Passer => ask(&mut None, &place, &hot(places.below(HOT))).await?,
            Kind::PasserOverTls => tls::ask(&place.tls, place.https).await?,
            Kind::PasserOverHttp2 => over_http2(&place, &mut places).await?,
            Kind::Slow => slow(&place, &mut places).await?,
            Kind::Broken => broken(&place, turn).await,
            Kind::Purger => (),
        }
        done.note(kind);
        sleep(kind.pause()).await;
    }
    Ok(())
}

/// Asks on the connection that was kept, or on a new one that is kept.
async fn ask(kept: &mut Option<Visitor>, place: &Place, path: &str) -> anyhow::Result<()> {
    let visitor = match kept {
        Some(visitor) => visitor,
        None => kept.insert(Visitor::connect(place.http).await?),
    };
    visitor.get(path, None, &body_of(path)).await?;
    Ok(())
}

async fn over_http2(place: &Place, places: &mut Places) -> anyhow::Result<()> {
    let connection = Http2::connect(place.http).await?;
    for _ in 0..5 {
        let path = hot(places.below(HOT));
        let Some(content) = content_of(&path) else { continue };
        let mut answer = connection.clone().get(&path, None).await?;
        answer.read(&content, u64::MAX).await?;
        ensure!(answer.position == content.bytes, "{path}: the content ended at {}", answer.position);
    }
    Ok(())
}

async fn slow(place: &Place, places: &mut Places) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(place.http).await?;
    let path = format!("/fresh/{SLOW_BYTES}/slow-{}", places.below(SLOW_PATHS));
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
    let mut piece = [0; SLOW_READ_BYTES];
    let reads = 1 + places.below(u64::from(SLOW_READS));
    for _ in 0..reads {
        ensure!(stream.read(&mut piece).await? > 0, "{path}: the connection ended");
        if Instant::now() >= place.end {
            break;
        }
        sleep(SLOW_READ_EVERY).await;
    }
    Ok(())
}

/// Sends something that is none, waits a little, and is gone; every other time with a reset.
async fn broken(place: &Place, turn: u64) {
    let which = (turn + place.number) as usize % (BROKEN.len() * 2);
    let door = if which < BROKEN.len() { place.http } else { place.https };
    let Ok(mut stream) = TcpStream::connect(door).await else { return };
    let (_what, bytes) = BROKEN[which % BROKEN.len()];
    if stream.write_all(bytes).await.is_err() {
        return;
    }
    let _answer = timeout(BROKEN_STAY, stream.read(&mut [0; 1024])).await;
    if turn.is_multiple_of(2) {
        let _reset = stream.set_zero_linger();
    }
}
