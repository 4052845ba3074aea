//! Players that jump about in a video that nobody has seen yet: what crosses the link for what they are given.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::boxed::Home;
use crate::client;
use crate::content::{Content, Places};
use crate::origin::{Manners, Origin, distinct_bytes};
use crate::report::{Report, Target};

/// Bytes over the link for each byte that is needed.
const LINK_BYTES_MAX: f64 = 1.05;

const MB: u64 = 1_000_000;

/// What one player reads before it jumps, and how much of it again after the jump back.
const WATCHED_BYTES: u64 = 60 * MB;

/// What each player of the class reads before it jumps.
const CLASS_WATCHED_BYTES: u64 = 12 * MB;

/// How often each player of the class jumps.
const CLASS_JUMPS: u64 = 3;

/// Between the starts of two players of the class.
const STAGGER: Duration = Duration::from_millis(150);

#[derive(Args)]
pub(crate) struct Options {
    /// The one player's video, in MB.
    #[arg(long, default_value_t = 700)]
    video_mb: u64,
    /// The class's video, in MB.
    #[arg(long, default_value_t = 200)]
    class_video_mb: u64,
    /// Players of the class.
    #[arg(long, default_value_t = 30)]
    players: u64,
}

pub(crate) async fn measure(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let origin = Origin::start()?;
    let mut report = Report::new("seek");
    one_player(program, &origin, Content::new(11, options.video_mb * MB), &mut report).await?;
    a_class(program, &origin, Content::new(12, options.class_video_mb * MB), options.players, &mut report).await?;
    Ok(report)
}

/// Opens, watches, jumps to the middle, watches, jumps back to what it has seen.
async fn one_player(program: &Path, origin: &Origin, video: Content, report: &mut Report) -> anyhow::Result<()> {
    let home = Home::new(program, origin.address)?;
    let boxed = home.serve()?;
    origin.set(video, Manners::default());
    let watched = WATCHED_BYTES.min(video.bytes / 3);
    let mut given = Vec::new();
    for start in [0, video.bytes / 2, watched / 3] {
        let bytes = if start == watched / 3 { watched / 3 } else { watched };
        given.push(watch(boxed.http, "/video.mp4", video, start, bytes).await?);
    }
    let sent = origin.take();
    let distinct = distinct_bytes(given) as f64;
    report.tell("one player: bytes given, each once", distinct / MB as f64, "MB");
    report.tell("one player: bytes over the link", sent.bytes as f64 / MB as f64, "MB");
    report.tell("one player: requests to the origin", sent.requests as f64, "");
    let what = "one player: over the link for each byte given";
    report.judge(what, sent.bytes as f64 / distinct, "", Target::AtMost(LINK_BYTES_MAX));
    Ok(())
}

/// Players that start one after another and jump to places of their own.
async fn a_class(
    program: &Path,
    origin: &Origin,
    video: Content,
    players: u64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let home = Home::new(program, origin.address)?;
    let boxed = home.serve()?;
    origin.set(video, Manners::default());
    let mut class = JoinSet::new();
    for player in 0..players {
        let door = boxed.http;
        class.spawn(async move {
            sleep(STAGGER * u32::try_from(player).unwrap_or(u32::MAX)).await;
            let mut places = Places::new(player << 32);
            let mut given = vec![watch(door, "/video.mp4", video, 0, CLASS_WATCHED_BYTES).await?];
            for _ in 0..CLASS_JUMPS {
                let start = places.below(video.bytes);
                given.push(watch(door, "/video.mp4", video, start, CLASS_WATCHED_BYTES).await?);
            }
            anyhow::Ok(given)
        });
    }
    let mut given = Vec::new();
    while let Some(player) = class.join_next().await {
        given.extend(player??);
    }
    let sent = origin.take();
    let bytes: u64 = given.iter().map(|part| part.end - part.start).sum();
    report.tell("class: players", players as f64, "");
    report.tell("class: bytes given", bytes as f64 / MB as f64, "MB");
    report.tell("class: bytes given, each once", distinct_bytes(given) as f64 / MB as f64, "MB");
    report.tell("class: bytes over the link", sent.bytes as f64 / MB as f64, "MB");
    report.tell("class: requests to the origin", sent.requests as f64, "");
    let what = "class: over the link for each byte of the video";
    report.judge(what, sent.bytes as f64 / video.bytes as f64, "", Target::AtMost(LINK_BYTES_MAX));
    Ok(())
}

/// Asks for the rest of the video from a place, reads so much, and hangs up, as players do. What was given.
async fn watch(door: SocketAddr, path: &str, video: Content, start: u64, bytes: u64) -> anyhow::Result<Range<u64>> {
    let stream = client::connect(door).await?;
    let mut answer = client::get(stream, path, Some(&format!("bytes={start}-"))).await?;
    anyhow::ensure!(answer.status == 206 && answer.position == start, "the answer is {}", answer.status);
    answer.read(&video, bytes).await?;
    Ok(start..answer.position)
}
