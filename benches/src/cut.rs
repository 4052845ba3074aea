//! The box, the site or the link goes away in the middle of a large body: what is fetched again, and is it right?

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::time::{sleep, timeout};

use crate::boxed::Home;
use crate::client;
use crate::content::{Content, Places};
use crate::origin::{Break, Manners, Origin};
use crate::report::{Report, Target};

/// What a cut may cost: the block that was under way.
const BLOCK_BYTES: u64 = 1 << 20;

/// What the system may hold between site and box when something is cut: sent, and not yet taken.
const IN_SOCKETS_BYTES: u64 = 256 << 10;

const MB: u64 = 1_000_000;

/// How fast the site sends: slowly enough that little waits in the system when something is cut.
const BYTES_PER_S: u64 = 20 * MB;

/// How long the link is down.
const DOWN_FOR: Duration = Duration::from_millis(1_500);

/// How often a client asks for the rest before it gives up.
const TRIES_MAX: usize = 20;

/// Between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The longest that a night may take.
const NIGHT_MAX: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Options {
    /// The body, in MB.
    #[arg(long, default_value_t = 48)]
    body_mb: u64,
    /// Cuts of each sort.
    #[arg(long, default_value_t = 4)]
    cuts: u64,
}

/// What is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Kill,
    Reset,
    Down,
    Night,
}

const CUTS: [(Cut, &str); 4] = [
    (Cut::Kill, "kill -9 of the box"),
    (Cut::Reset, "reset by the site"),
    (Cut::Down, "link down"),
    (Cut::Night, "kill -9 of a night"),
];

pub(crate) async fn measure(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let origin = Origin::start()?;
    let mut report = Report::new("cut");
    let mut places = Places::new(99);
    for (cut, name) in CUTS {
        let (mut again_max, mut again_sum, mut asked_after) = (0, 0, 0);
        for number in 0..options.cuts {
            let content = Content::new(1_000 + number, options.body_mb * MB);
            origin.set(content, Manners { bytes_per_s: Some(BYTES_PER_S), ..Manners::default() });
            let at = places.below(content.bytes);
            let home = Home::new(program, origin.address)?;
            let told = || format!("{name}, at byte {at}");
            let path = if cut == Cut::Night {
                night(&home, &origin, at).await
            } else {
                day(&home, &origin, cut, content, at).await
            };
            let path = path.with_context(told)?;
            let before = origin.sent().content_bytes();
            // What is there now is right, and is all of it.
            let boxed = home.serve()?;
            let mut answer = client::get(client::connect(boxed.http).await?, path, None).await.with_context(told)?;
            answer.read(&content, u64::MAX).await.with_context(told)?;
            ensure!(answer.position == content.bytes, "{}: the content ended at {}", told(), answer.position);
            // A player that goes on where it was may leave the block before it for later: it counts for this cut, too.
            let sent = origin.take();
            let again = sent.content_bytes() - sent.distinct_bytes();
            (again_max, again_sum) = (again.max(again_max), again_sum + again);
            asked_after += sent.content_bytes() - before;
        }
        report.tell(format!("{name}: cuts"), options.cuts as f64, "");
        report.tell(format!("{name}: fetched again, mean"), again_sum as f64 / options.cuts as f64 / 1024.0, "KiB");
        let most = Target::AtMost((BLOCK_BYTES + IN_SOCKETS_BYTES) as f64 / 1024.0);
        report.judge(format!("{name}: fetched again, most"), again_max as f64 / 1024.0, "KiB", most);
        report.tell(format!("{name}: of the whole, left for a second read"), asked_after as f64 / 1024.0, "KiB");
    }
    Ok(report)
}

/// A client fetches the body; something goes away in the middle; the client goes on from where it was.
async fn day(home: &Home, origin: &Origin, cut: Cut, content: Content, at: u64) -> anyhow::Result<&'static str> {
    const PATH: &str = "/video.mp4";
    let how = match cut {
        Cut::Reset => Some((at, Break::Reset)),
        Cut::Down => Some((at, Break::Silence)),
        Cut::Kill | Cut::Night => None,
    };
    origin.set(content, Manners { bytes_per_s: Some(BYTES_PER_S), breaks: how, ..Manners::default() });
    let mut boxed = home.serve()?;
    let (door, mut position) = (boxed.http, 0);
    let reading = async {
        let mut answer = client::get(client::connect(door).await?, PATH, None).await?;
        let ended = answer.read(&content, u64::MAX).await;
        position = answer.position;
        ended
    };
    let lost = match cut {
        Cut::Kill => {
            tokio::select! {
                ended = reading => ended,
                () = origin.has_sent(at) => Err(anyhow::anyhow!("killed")),
            }
        }
        Cut::Down => {
            let mend = async {
                origin.is_silent().await;
                sleep(DOWN_FOR).await;
                origin.mend();
            };
            tokio::join!(reading, mend).0
        }
        Cut::Reset | Cut::Night => reading.await,
    };
    if cut == Cut::Kill {
        boxed.kill()?;
        boxed = home.serve()?;
    }
    if lost.is_err() {
        // What the client has read stays with it, as with players; after a kill it begins anew.
        let from = if cut == Cut::Kill { 0 } else { position };
        go_on(boxed.http, PATH, content, from).await?;
    }
    // In order: a pupil has the last byte before the store has it, and this is no further cut.
    boxed.stop()?;
    Ok(PATH)
}

/// Asks for the rest until it is there.
async fn go_on(door: std::net::SocketAddr, path: &str, content: Content, mut position: u64) -> anyhow::Result<()> {
    for _ in 0..TRIES_MAX {
        let range = format!("bytes={position}-");
        let tried = async {
            let mut answer = client::get(client::connect(door).await?, path, Some(&range)).await?;
            ensure!(answer.status == 206 && answer.position == position, "the answer is {}", answer.status);
            let ended = answer.read(&content, u64::MAX).await;
            position = answer.position;
            ended
        };
        let ended = tried.await;
        if position == content.bytes {
            return Ok(());
        }
        ensure!(ended.as_ref().err().is_none_or(|error| !error.to_string().contains("wrong bytes")), "wrong bytes");
        sleep(TRY_AGAIN_AFTER).await;
    }
    anyhow::bail!("the rest from {position} on did not come")
}

/// A night fetches a page with the body; it is killed in the middle, and begun again.
async fn night(home: &Home, origin: &Origin, at: u64) -> anyhow::Result<&'static str> {
    let mut night = home.night()?;
    tokio::select! {
        () = origin.has_sent(at) => {}
        () = sleep(NIGHT_MAX) => anyhow::bail!("the night did not come to the body"),
    }
    night.kill()?;
    night.wait()?;
    let again = home.night()?;
    let ended = timeout(NIGHT_MAX, tokio::task::spawn_blocking(move || end_of(again))).await;
    ended.context("the night did not end")???;
    Ok("/night.mp4")
}

fn end_of(mut night: Child) -> anyhow::Result<()> {
    night.wait()?;
    Ok(())
}
