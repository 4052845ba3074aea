//! Hits of one size, many addresses, all in whatever is fastest: `tiny-hit`, `small-hit`, `medium-hit`, `small-rate`, and
//! the same over TLS, `tls-hit-h1`, `tls-hit-h2` and `tls-hit-h2-one`.

use super::steady::{self, CLIENTS, COST, P50, P99, Paths, Reach};
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::load::{Clients, Pace, Speech};
use crate::peers::running::Running;

/// Different answers that are asked for in turns: a lesson's worth, for everybody in memory.
const ADDRESSES: usize = 64;

/// Requests a second of `small-rate`: far below what the slowest can do on one core.
const RATE_PER_S: f64 = 5_000.0;

/// Requests at one time on each connection with HTTP/2, as a browser's that opens a page; and one, as a player's. All
/// connections together have as many as there are clients otherwise.
const STREAMS: usize = 8;
const ONE_STREAM: usize = 1;

/// How clients reach it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    /// At a fixed rate.
    PlainAtRate,
    TlsHttp1,
    TlsHttp2 {
        streams: usize,
    },
}

/// Hits of one size by one way.
pub(super) struct Hits {
    name: &'static str,
    bytes: u64,
    way: Way,
    ratio_min: Option<f64>,
    is_ahead_of_others: bool,
}

const fn hits(name: &'static str, bytes: u64, way: Way, ratio_min: Option<f64>) -> Hits {
    Hits { name, bytes, way, ratio_min, is_ahead_of_others: false }
}

pub(super) const TINY: Hits = hits("tiny-hit", 1 << 10, Way::Plain, Some(0.95));
pub(super) const SMALL: Hits = hits("small-hit", 10 << 10, Way::Plain, Some(0.95));
pub(super) const MEDIUM: Hits =
    Hits { is_ahead_of_others: true, ..hits("medium-hit", 100 << 10, Way::Plain, Some(0.85)) };
pub(super) const SMALL_RATE: Hits = hits("small-rate", 10 << 10, Way::PlainAtRate, None);
pub(super) const TLS_H1: Hits = hits("tls-hit-h1", 10 << 10, Way::TlsHttp1, Some(1.3));
pub(super) const TLS_H2: Hits = hits("tls-hit-h2", 10 << 10, Way::TlsHttp2 { streams: STREAMS }, Some(0.95));
pub(super) const TLS_H2_ONE: Hits = hits("tls-hit-h2-one", 10 << 10, Way::TlsHttp2 { streams: ONE_STREAM }, None);

impl Case for Hits {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> String {
        let (kib, clients) = (self.bytes >> 10, CLIENTS);
        let how = match self.way {
            Way::Plain => format!("HTTP/1.1, {clients} clients"),
            Way::PlainAtRate => {
                format!("HTTP/1.1, {clients} clients, {RATE_PER_S} requests/s, times from when a request was due")
            }
            Way::TlsHttp1 => format!("HTTP/1.1 over TLS 1.3, {clients} clients"),
            Way::TlsHttp2 { streams } => {
                format!("HTTP/2 over TLS 1.3, {} connections, {streams} at one time on each", CLIENTS / streams)
            }
        };
        format!("hits of {kib} KiB, {ADDRESSES} addresses; {how}")
    }

    fn rows(&self) -> Vec<Figure> {
        let mut cost = steady::cost();
        if self.way == Way::PlainAtRate {
            cost.is_main = false;
        }
        cost.target = self.ratio_min.map(Target::RatioToNginxMin);
        cost.is_ahead_of_others = self.is_ahead_of_others;
        let mut rows = steady::rows(cost);
        if self.way == Way::PlainAtRate {
            for row in &mut rows {
                row.is_main = row.name == P50 || row.name == P99;
            }
            rows.sort_by_key(|row| row.name == COST);
        }
        debug_assert!(rows.iter().any(|row| row.is_main && row.better == Better::Less), "a case is about something");
        rows
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        let identity = scene.world.identity();
        let (door, speech, connections) = match self.way {
            Way::Plain | Way::PlainAtRate => (home.http, Speech::Http1, CLIENTS),
            Way::TlsHttp1 => (home.https, Speech::Http1OverTls(identity.speaker(b"http/1.1")?), CLIENTS),
            Way::TlsHttp2 { streams } => {
                (home.https, Speech::Http2OverTls(identity.speaker(b"h2")?, streams), CLIENTS / streams)
            }
        };
        let clients = Clients { door, speech, connections };
        let paths = Paths::new("fresh", self.bytes, ADDRESSES);
        steady::fill(scene, &clients, &paths)?;
        Ok(Box::new(Ready { scene: *scene, clients, paths, pace: self.pace(), running, _home: home }))
    }
}

impl Hits {
    fn pace(&self) -> Pace {
        if self.way == Way::PlainAtRate { Pace::PerSecond(RATE_PER_S) } else { Pace::Closed }
    }
}

struct Ready<'a> {
    scene: Scene<'a>,
    clients: Clients,
    paths: Paths,
    pace: Pace,
    // Ends before its folder goes.
    running: Running,
    _home: Home,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let clients = self.clients.clone();
        let paid = steady::turn(&self.scene, &self.running, clients, &mut self.paths, self.pace, Reach::Nothing)?;
        Ok(paid.values())
    }
}
