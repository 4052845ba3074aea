//! What nobody may store: `pass-distinct` asks for addresses of which no two are the same, `pass-one` lets all clients ask
//! for one address at one time, as for a live table of results.

use std::time::Duration;

use super::steady::{self, CLIENTS, Distinct, P999, Paths, Reach};
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::load::{Clients, Compare, End, Load, Pace, Source, Speech};
use crate::peers::running::Running;

/// How long an answer is.
const BYTES: u64 = 1 << 10;

/// Requests a second when it is measured what the way through a contender adds.
const CALM_PER_S: f64 = 1_000.0;

/// The share of a turn's time for each of the two calm runs: straight to the origin, and through the contender.
const CALM_SHARE: f64 = 0.5;

/// What the box may add to an answer beyond what nginx adds, in milliseconds.
const ADDED_MS_MAX: f64 = 0.06;

/// In what time all but one of a thousand answers are there when all want the same, in milliseconds.
const P999_MS_MAX: f64 = 10.0;

const ADDED: &str = "added to the median";

pub(super) struct PassDistinct;

impl Case for PassDistinct {
    fn name(&self) -> &'static str {
        "pass-distinct"
    }

    fn what(&self) -> String {
        format!(
            "answers of {} KiB that nobody may store, all addresses distinct; HTTP/1.1, {CLIENTS} clients; then \
             {CALM_PER_S} requests/s, and what they take longer than straight from the origin",
            BYTES >> 10
        )
    }

    fn rows(&self) -> Vec<Figure> {
        let mut rows = steady::rows(steady::cost().with_target(Target::RatioToNginxMin(0.6)));
        rows.insert(1, Figure::told(ADDED, "ms", Better::Less).with_target(Target::AboveNginxMax(ADDED_MS_MAX)));
        rows
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        Ok(Box::new(Far { scene: *scene, source: Distinct::new("uncacheable", BYTES), running, home }))
    }
}

struct Far<'a> {
    scene: Scene<'a>,
    source: Distinct,
    // Ends before its folder goes.
    running: Running,
    home: Home,
}

impl Far<'_> {
    /// The median at a calm rate, in milliseconds.
    fn calm(&mut self, door: std::net::SocketAddr) -> anyhow::Result<f64> {
        let mut load = Load::open(Clients { door, speech: Speech::Http1, connections: CLIENTS })?;
        let end = End::After(Duration::from_secs_f64(self.scene.seconds * CALM_SHARE));
        let tally = load.run(&mut self.source, Pace::PerSecond(CALM_PER_S), end, Compare::Some)?;
        Ok(tally.quantile_ms(0.5))
    }
}

impl Turns for Far<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let clients = Clients { door: self.home.http, speech: Speech::Http1, connections: CLIENTS };
        let paid = steady::turn(&self.scene, &self.running, clients, &mut self.source, Pace::Closed, Reach::All)?;
        let mut values = paid.values();
        let direct = self.calm(self.scene.world.origin().address)?;
        values.push((ADDED, self.calm(self.home.http)? - direct));
        Ok(values)
    }
}

pub(super) struct PassOne;

impl Case for PassOne {
    fn name(&self) -> &'static str {
        "pass-one"
    }

    fn what(&self) -> String {
        format!("one answer of {} KiB that nobody may store; HTTP/1.1, {CLIENTS} clients at one time", BYTES >> 10)
    }

    fn rows(&self) -> Vec<Figure> {
        let mut rows = steady::rows(steady::cost().with_target(Target::RatioToNginxMin(2.0)));
        for row in rows.iter_mut().filter(|row| row.name == P999) {
            row.target = Some(Target::AtMost(P999_MS_MAX));
        }
        rows
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        Ok(Box::new(One { scene: *scene, source: Paths::new("uncacheable", BYTES, 1), running, home }))
    }
}

struct One<'a> {
    scene: Scene<'a>,
    source: Paths,
    // Ends before its folder goes.
    running: Running,
    home: Home,
}

impl Turns for One<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let clients = Clients { door: self.home.http, speech: Speech::Http1, connections: CLIENTS };
        let source: &mut dyn Source = &mut self.source;
        Ok(steady::turn(&self.scene, &self.running, clients, source, Pace::Closed, Reach::All)?.values())
    }
}
