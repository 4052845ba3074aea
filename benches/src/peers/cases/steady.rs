//! What cases with steady load have in common: addresses, filling a store until all are hits, and a turn that is paid in
//! processor time.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::Scene;
use crate::peers::figures::{Better, Figure};
use crate::peers::load::{Clients, Compare, End, Load, Pace, Source, Speech, Tally, Wanted};
use crate::peers::origin::{Origin, content_of};
use crate::peers::running::{Running, cpu_s as cpu_s_of};

/// Clients of most cases, each with a connection of its own.
pub(super) const CLIENTS: usize = 64;

/// Clients that fill a store: many, for nginx's sake, whose answers of more than 64 KiB may each stall for 40 ms.
const FILLING_CLIENTS: usize = 64;

/// A store is asked for everything so often at most, until nothing reaches the origin any more: some write in the
/// background, and some keep only what was asked for twice.
const FILLS_MAX: usize = 6;

/// Before each turn, clients ask for this share of its time, so that it begins with what was used last in memory, and
/// with connections that have seen some use.
const WARM_UP_SHARE: f64 = 0.15;

/// Name of the row for which most cases are made.
pub(super) const COST: &str = "processor time";
pub(super) const RATE: &str = "rate";
pub(super) const P50: &str = "p50";
pub(super) const P99: &str = "p99";
pub(super) const P999: &str = "p99.9";
pub(super) const BUSY: &str = "contender's core";
/// Near 100 % of one core, the load is what is measured in the rows of time, though not in those of processor time.
pub(super) const LOAD_BUSY: &str = "load and origin";

/// The rows of most cases: what a request costs, how many there are, how long they take.
pub(super) fn rows(cost: Figure) -> Vec<Figure> {
    vec![
        cost,
        Figure::told(RATE, "requests/s", Better::More),
        Figure::told(P50, "ms", Better::Less),
        Figure::told(P99, "ms", Better::Less),
        Figure::told(P999, "ms", Better::Less),
        Figure::told(BUSY, "% busy", Better::Less),
        Figure::told(LOAD_BUSY, "% busy", Better::Less),
    ]
}

/// What a request costs: the row for which most cases are made.
pub(super) fn cost() -> Figure {
    Figure::main(COST, "CPU s per 100,000 requests", Better::Less)
}

/// Addresses of the origin, asked for one after the other and again.
#[derive(Clone)]
pub(super) struct Paths {
    paths: Vec<String>,
    next: usize,
}

impl Paths {
    /// `count` addresses of one manner and size.
    pub(super) fn new(manner: &str, bytes: u64, count: usize) -> Self {
        Self::of((0..count).map(|number| format!("/{manner}/{bytes}/{number}")).collect())
    }

    pub(super) fn of(paths: Vec<String>) -> Self {
        Self { paths, next: 0 }
    }

    pub(super) fn get(&self, at: usize) -> &str {
        &self.paths[at % self.paths.len()]
    }

    /// The same, each once.
    pub(super) fn once(&self) -> Once<'_> {
        Once(self.paths.iter())
    }
}

impl Source for Paths {
    fn next(&mut self, path: &mut String) -> Option<Wanted> {
        path.push_str(self.get(self.next));
        self.next += 1;
        wanted(path)
    }
}

/// Each address once.
pub(super) struct Once<'a>(std::slice::Iter<'a, String>);

impl Source for Once<'_> {
    fn next(&mut self, path: &mut String) -> Option<Wanted> {
        path.push_str(self.0.next()?);
        wanted(path)
    }
}

/// Addresses of which no two are the same.
pub(super) struct Distinct {
    manner: &'static str,
    bytes: u64,
    number: u64,
}

impl Distinct {
    pub(super) fn new(manner: &'static str, bytes: u64) -> Self {
        Self { manner, bytes, number: 0 }
    }
}

impl Source for Distinct {
    fn next(&mut self, path: &mut String) -> Option<Wanted> {
        self.number += 1;
        write!(path, "/{}/{}/{}", self.manner, self.bytes, self.number).ok()?;
        wanted(path)
    }
}

/// All of what is at an address.
pub(super) fn wanted(path: &str) -> Option<Wanted> {
    content_of(path).map(|content| Wanted { content, part: None })
}

/// Asks for everything, and compares every byte, until everything is a hit.
///
/// # Errors
/// When a byte is wrong, or something never becomes a hit.
pub(super) fn fill(scene: &Scene<'_>, clients: &Clients, paths: &Paths) -> anyhow::Result<()> {
    // One answer at a time on a connection, whatever is spoken later.
    let speech = match &clients.speech {
        Speech::Http2OverTls(config, _) => Speech::Http2OverTls(config.clone(), 1),
        other => other.clone(),
    };
    let mut load = Load::open(Clients { speech, connections: FILLING_CLIENTS, ..clients.clone() })?;
    let mut missed = 0;
    for _ in 0..FILLS_MAX {
        let before = scene.world.origin().asked();
        load.run(&mut paths.once(), Pace::Closed, End::WhenAllIsAsked, Compare::All)?;
        missed = scene.world.origin().asked().since(before).requests;
        if missed == 0 {
            return Ok(());
        }
    }
    bail!("{missed} of {} addresses are no hits, however often they are asked for", paths.paths.len())
}

/// Whether a turn may reach the origin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Every answer is a hit.
    Nothing,
    /// Every request goes on to the origin.
    All,
}

/// What a turn cost, and what it gave.
pub(super) struct Paid {
    pub(super) tally: Tally,
    pub(super) cpu_s: f64,
    /// What load and origin used meanwhile.
    pub(super) load_cpu_s: f64,
}

impl Paid {
    /// Values for [`rows`].
    pub(super) fn values(&self) -> Vec<(&'static str, f64)> {
        vec![
            (COST, self.cpu_s / self.tally.requests as f64 * 100_000.0),
            (RATE, self.tally.rate()),
            (P50, self.tally.quantile_ms(0.5)),
            (P99, self.tally.quantile_ms(0.99)),
            (P999, self.tally.quantile_ms(0.999)),
            (BUSY, self.cpu_s / self.tally.took.as_secs_f64() * 100.0),
            (LOAD_BUSY, self.load_cpu_s / self.tally.took.as_secs_f64() * 100.0),
        ]
    }
}

/// One turn of steady load: connections, a warm-up, and then what is measured.
///
/// # Errors
/// When an answer is wrong, or the origin is asked for what should be a hit.
pub(super) fn turn(
    scene: &Scene<'_>,
    running: &Running,
    clients: Clients,
    source: &mut dyn Source,
    pace: Pace,
    reach: Reach,
) -> anyhow::Result<Paid> {
    let mut load = Load::open(clients)?;
    let warm_up = End::After(Duration::from_secs_f64(scene.seconds * WARM_UP_SHARE));
    load.run(source, pace, warm_up, Compare::Some)?;
    let origin = scene.world.origin();
    let (asked, load_cpu_s, cpu_s) = (origin.asked(), cpu_s_of(std::process::id())?, running.cpu_s()?);
    let tally = load.run(source, pace, End::After(Duration::from_secs_f64(scene.seconds)), Compare::Some)?;
    let cpu_s = running.cpu_s()? - cpu_s;
    let paid = Paid { cpu_s, load_cpu_s: cpu_s_of(std::process::id())? - load_cpu_s, tally };
    check_reach(origin, asked.requests, &paid.tally, reach)?;
    Ok(paid)
}

fn check_reach(origin: &Origin, before: u64, tally: &Tally, reach: Reach) -> anyhow::Result<()> {
    let asked = origin.asked().requests - before;
    match reach {
        Reach::Nothing => ensure!(asked == 0, "{asked} of {} requests were no hits", tally.requests),
        Reach::All => {
            let answers = tally.requests;
            ensure!(
                asked >= answers,
                "it gave {answers} answers of which the origin made {asked}: clients who wait share what nobody may share"
            );
            ensure!(asked == answers, "the origin was asked {asked} times for {answers} answers");
        }
    }
    ensure!(tally.requests > 0, "nothing was answered");
    Ok(())
}
