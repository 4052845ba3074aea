//! A thousand clients that send garbage and a thousand that never finish their first message, at the https door, while
//! others shake hands: these must not notice, and the slow ones are sent away.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::boxed::{Boxed, Home};
use crate::report::{Report, Target, quantile};
use crate::tls::{self, Identity, KINDS};

/// By how much the 99th percentile of a handshake may grow, in milliseconds, in the median round: less than anyone sees.
const P99_GROWTH_MS_MAX: f64 = 25.0;

/// Resident memory that the attackers may cost, in MiB.
const MEMORY_MIB_MAX: f64 = 64.0;

/// How long a slow one may stay: the box's `request-timeout`, and as much again for a busy machine.
const SLOW_STAYS_S_MAX: f64 = 16.0;

/// A slow one sends a byte of a ClientHello this often.
const SLOW_EVERY: Duration = Duration::from_millis(500);

/// The beginning of a TLS record with a ClientHello of 512 bytes.
const HELLO: [u8; 9] = [22, 3, 1, 2, 4, 1, 0, 2, 0];

/// Whoever is not sent away is given up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// Clients that send garbage, and as many that are slow.
    #[arg(long, default_value_t = 1_000)]
    attackers: u32,
    /// Handshakes of others in each half of a round.
    #[arg(long, default_value_t = 500)]
    handshakes: u32,
    /// Rounds: without the attackers, then with them.
    #[arg(long, default_value_t = 4)]
    rounds: u32,
}

/// Where the attackers come from: not from where the others do, as in a school.
const ATTACKERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

pub(crate) async fn measure(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let identity = Arc::new(Identity::new(folder.path())?);
    let home = Home::with_tls(program, &identity.certificate, &identity.key)?;
    let boxed = home.serve()?;
    let door = boxed.https.context("the box has no https door")?;
    others(&identity, door, options.handshakes).await?;
    let (mut without, mut with, mut growth, mut memory, mut stayed) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let calm = others(&identity, door, options.handshakes).await?;
        let (busy, mib, longest_s) = attacked(&identity, &boxed, door, options).await?;
        without.push(calm);
        with.push(busy);
        growth.push(busy - calm);
        memory.push(mib);
        stayed.push(longest_s);
    }
    let mut report = Report::new("hellos");
    report.tell("attackers of each kind", f64::from(options.attackers), "");
    report.tell("99th percentile without them", quantile(&mut without, 0.5), "ms");
    report.tell("99th percentile with them", quantile(&mut with, 0.5), "ms");
    let median = quantile(&mut growth, 0.5);
    report.judge("growth, median round", median, "ms", Target::AtMost(P99_GROWTH_MS_MAX));
    report.judge("memory for them, most", quantile(&mut memory, 1.0), "MiB", Target::AtMost(MEMORY_MIB_MAX));
    report.judge("a slow one stayed, longest", quantile(&mut stayed, 1.0), "s", Target::AtMost(SLOW_STAYS_S_MAX));
    Ok(report)
}

/// Handshakes of four clients, one after the other; the 99th percentile of their times in milliseconds. None may fail.
async fn others(identity: &Identity, door: SocketAddr, count: u32) -> anyhow::Result<f64> {
    tls::ask(&identity.client(KINDS[0])?, door).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let client = identity.client(KINDS[0])?;
        tasks.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count / 4 {
                let took = tls::shake(&client, IpAddr::V4(Ipv4Addr::LOCALHOST), door, None).await?;
                times.push(took.as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok(quantile(&mut times, 0.99))
}

/// The same while all attackers are there; how much memory they cost, and how long a slow one stayed.
async fn attacked(
    identity: &Identity,
    boxed: &Boxed,
    door: SocketAddr,
    options: &Options,
) -> anyhow::Result<(f64, f64, f64)> {
    let idle = boxed.resident_mib()?;
    let mut slow = JoinSet::new();
    for _ in 0..options.attackers {
        let stream = connect(door).await?;
        slow.spawn(drip(stream));
    }
    let mut garbage = JoinSet::new();
    for number in 0..options.attackers {
        garbage.spawn(async move { throw(connect(door).await?, number).await });
    }
    let busy = others(identity, door, options.handshakes).await?;
    while let Some(done) = garbage.join_next().await {
        done??;
    }
    let mib = boxed.peak_mib()? - idle;
    let mut longest = Duration::ZERO;
    while let Some(done) = slow.join_next().await {
        longest = longest.max(done??);
    }
    Ok((busy, mib, longest.as_secs_f64()))
}

async fn connect(door: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((ATTACKERS, 0).into())?;
    Ok(timeout(PATIENCE, socket.connect(door)).await.context("no connection in time")??)
}

/// A ClientHello, byte by byte; how long the box stood it.
async fn drip(mut stream: TcpStream) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut bytes = HELLO.into_iter().chain(std::iter::repeat(0));
    loop {
        ensure!(begun.elapsed() < PATIENCE, "a client that never finishes its first message is not sent away");
        let byte = bytes.next().unwrap_or_default();
        // Whichever comes first: the box ends it, or it is time for a byte.
        let mut answer = [0; 64];
        tokio::select! {
            read = stream.read(&mut answer) => if !matches!(read, Ok(more) if more > 0) {
                return Ok(begun.elapsed());
            },
            () = sleep(SLOW_EVERY) => if stream.write_all(&[byte]).await.is_err() {
                return Ok(begun.elapsed());
            },
        }
    }
}

/// Garbage of some kinds; the box must end the connection.
async fn throw(mut stream: TcpStream, number: u32) -> anyhow::Result<()> {
    let noise: Vec<u8> = (0..600_u32).map(|at| (at.wrapping_mul(2_654_435_761) ^ number) as u8).collect();
    let bytes: Vec<u8> = match number % 4 {
        0 => noise,
        1 => b"GET / HTTP/1.1\r\nHost: lessons.example.kz\r\n\r\n".to_vec(),
        // A whole record that says it is a ClientHello, with nothing true in it.
        2 => [&[22, 3, 1, 2, 88][..], &noise].concat(),
        // SSL 2.0's.
        _ => [&[0x80, 0x2e, 1, 3, 1, 0, 21, 0, 0, 0, 16][..], &noise[..37]].concat(),
    };
    // It may be ended before all is written.
    let _ = stream.write_all(&bytes).await;
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("garbage is not answered with an end")?;
    Ok(())
}
