//! A day's churn in ten minutes: new lessons push out old ones, others are validated and purged, and clients of every kind
//! come and go. Does the box grow?

mod clients;
mod watch;

use std::cell::Cell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};

use self::clients::Kind;
use self::watch::{Sample, growth};
use crate::boxed::HOST;
use crate::peers::{Budget, Contender, Home, Running, World};
use crate::report::{Report, Target};
use crate::tls::KINDS;

#[derive(Args)]
pub(crate) struct Options {
    /// How long, in minutes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Writes all samples as lines of "seconds MiB handles".
    #[arg(long, value_name = "FILE")]
    samples: Option<std::path::PathBuf>,
}

/// A store that is turned over many times, and caches (of bodies, and of the index) that are full soon: what grows after that
/// is a leak.
const SMALL: Budget = Budget { memory_mib: 16, disk_mib: 64, index_mib: 8 };

/// How often the box is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often somebody purges something.
const PURGE_EVERY: Duration = Duration::from_secs(2);

/// Until all who left are forgotten: longer than the box waits for any of them here.
const FAREWELL: Duration = Duration::from_secs(8);

/// Growth from the first third to the end, as the line through all samples says, that is still flat: an allocator keeps
/// what many sizes have left in it, and indexes have to fill.
const MEMORY_GROWTH_SHARE_MAX: f64 = 0.05;
const MEMORY_GROWTH_MIB_MAX: f64 = 4.0;
const HANDLES_GROWTH_MAX: f64 = 16.0;

/// Handles that may be open more than at the beginning when all have left: kept connections to the site, and files.
const HANDLES_KEPT_MAX: f64 = 64.0;

/// What was done, by kind of client.
#[derive(Clone, Default)]
struct Done(Rc<[Cell<u64>; clients::KINDS.len()]>);

impl Done {
    fn note(&self, kind: Kind) {
        let cell = &self.0[kind as usize];
        cell.set(cell.get() + 1);
    }

    fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].get()
    }
}

pub(crate) fn measure(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let program = program.canonicalize().with_context(|| format!("{} is not there", program.display()))?;
    let world = World::new(program)?;
    let home = Contender::Bulaq.settle(&world, SMALL)?;
    let running = home.start(&world)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let length = Duration::from_secs_f64(options.minutes.clamp(0.1, 24.0 * 60.0) * 60.0);
    LocalSet::new().block_on(&runtime, day(&world, &home, &running, length, options))
}

async fn day(
    world: &World,
    home: &Home,
    running: &Running,
    length: Duration,
    options: &Options,
) -> anyhow::Result<Report> {
    let tls = world.identity().client(KINDS[0])?;
    let done = Done::default();
    let begun = Instant::now();
    let end = begun + length;
    let first = look(running, begun)?;
    let mut all = Vec::new();
    for kind in clients::KINDS {
        for number in 0..kind.count() {
            let place = clients::Place { http: running.http, https: running.https, tls: tls.clone(), number, end };
            all.push(tokio::task::spawn_local(clients::go(kind, place, done.clone())));
        }
    }
    all.push(tokio::task::spawn_local(purge(world.bulaq().to_owned(), home.folder().to_owned(), end, done.clone())));
    let mut samples = Vec::new();
    while Instant::now() < end {
        sleep(LOOK_EVERY).await;
        samples.push(look(running, begun)?);
        if let Some(client) = all.iter().position(tokio::task::JoinHandle::is_finished) {
            // One that ends early has met an error.
            all.swap_remove(client).await??;
        }
    }
    for client in all {
        client.await??;
    }
    sleep_until(Instant::now() + FAREWELL).await;
    let last = look(running, begun)?;
    if let Some(file) = &options.samples {
        let lines: String =
            samples.iter().map(|one| format!("{:.0} {:.2} {}\n", one.at_s, one.mib, one.handles)).collect();
        std::fs::write(file, lines).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    report(&done, length, (first, &samples, last))
}

fn report(
    done: &Done,
    length: Duration,
    (first, samples, last): (Sample, &[Sample], Sample),
) -> anyhow::Result<Report> {
    let mut report = Report::new("churn");
    report.tell("how long", length.as_secs_f64() / 60.0, "min");
    for kind in clients::KINDS {
        ensure!(done.of(kind) > 0, "nobody was there of those who {}", kind.what());
        report.tell(format!("clients that {}", kind.what()), done.of(kind) as f64, "times");
    }
    let settled = &samples[samples.len() / 3..];
    ensure!(settled.len() >= 8, "the day was too short to say whether anything grows");
    let mean_mib = settled.iter().map(|sample| sample.mib).sum::<f64>() / settled.len() as f64;
    let memory = growth(settled, |sample| sample.mib);
    let handles = growth(settled, |sample| sample.handles);
    report.tell("resident memory at the beginning", first.mib, "MiB");
    report.tell("resident memory in the last two thirds, mean", mean_mib, "MiB");
    let most = (mean_mib * MEMORY_GROWTH_SHARE_MAX).max(MEMORY_GROWTH_MIB_MAX);
    report.judge("its growth over them", memory, "MiB", Target::AtMost(most));
    report.tell("resident memory when all have left", last.mib, "MiB");
    let mean_handles = settled.iter().map(|sample| sample.handles).sum::<f64>() / settled.len() as f64;
    report.tell("handles at the beginning", first.handles, "");
    report.tell("handles in the last two thirds, mean", mean_handles, "");
    report.judge("their growth over them", handles, "", Target::AtMost(HANDLES_GROWTH_MAX));
    let kept = last.handles - first.handles;
    report.judge("handles more than at the beginning when all have left", kept, "", Target::AtMost(HANDLES_KEPT_MAX));
    Ok(report)
}

fn look(running: &Running, begun: Instant) -> anyhow::Result<Sample> {
    let mut handles = 0;
    for process in running.processes() {
        handles += std::fs::read_dir(format!("/proc/{process}/fd")).context("its handles can't be counted")?.count();
    }
    let mib = running.resident_bytes()? as f64 / 1_048_576.0;
    Ok(Sample { at_s: begun.elapsed().as_secs_f64(), mib, handles: handles as f64 })
}

/// A technician with many wishes: one address, then all that begin alike.
async fn purge(
    program: std::path::PathBuf,
    folder: std::path::PathBuf,
    end: Instant,
    done: Done,
) -> anyhow::Result<()> {
    let mut round = 0_u64;
    while Instant::now() < end {
        sleep(PURGE_EVERY).await;
        round += 1;
        let mut command = Command::new(&program);
        command.arg("purge").current_dir(&folder).env_remove("BULAQ_CONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if round.is_multiple_of(2) {
            command.arg(format!("http://{HOST}{}", clients::hot(round)));
        } else {
            command.args(["--prefix", &format!("http://{HOST}/check/")]);
        }
        let status = tokio::task::spawn_blocking(move || command.status()).await?.context("no purge")?;
        // 1: nothing of it was stored.
        ensure!(matches!(status.code(), Some(0 | 1)), "a purge ended with {status}");
        done.note(Kind::Purger);
    }
    Ok(())
}
