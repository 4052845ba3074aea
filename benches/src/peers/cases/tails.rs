//! Does who asks for a lesson notice that the box has something else to do?

use std::time::Duration;

use anyhow::Context as _;

use super::steady::{self, Distinct, Paths};
use super::{Case, Scene, Turns, story};
use crate::peers::contenders::{BUDGET, Budget, Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::load::{Clients, Compare, End, Load, Pace, Speech, Tally};
use crate::peers::running::Running;
use crate::peers::site::Site;

/// What is asked for: one lesson's worth of small answers, always in memory.
const HOT: usize = 64;
const HOT_BYTES: u64 = 10 << 10;
const CONNECTIONS: usize = 32;

/// How often: far below what the slowest can do.
const HITS_PER_S: f64 = 2_000.0;

/// A small store, which is full before it is measured.
const SMALL: Budget = Budget { memory_mib: 16, disk_mib: 64, ..BUDGET };
const NEW_BYTES: u64 = 16 << 10;
const OLD: u64 = 5_000;

/// What then comes in and pushes out old ones: two megabytes a second, as much as a school's link brings.
const NEW_PER_S: f64 = 128.0;
const NEW_CONNECTIONS: usize = 2;

/// A turn is so many times as long as others': a thousandth of the answers must be a number.
const TIMES_AS_LONG: f64 = 3.0;

/// Pages of the portal that a night fetches meanwhile: more than it can while it is measured.
const PAGES: u32 = 600;

/// What one of a thousand may wait longer than at rest, in milliseconds: nobody notices that.
const ADDED_MS_MAX: f64 = 5.0;

/// Less than that is nothing, and told as that: nobody is a thousand times better by chance.
const ADDED_MS_MIN: f64 = 0.1;

pub(super) struct Tails;

impl Case for Tails {
    fn name(&self) -> &'static str {
        "tails"
    }

    fn what(&self) -> String {
        format!(
            "hits of 10 KiB, {HITS_PER_S} a second, times from when a request was due: at rest, while a full store takes in \
             {NEW_PER_S} new objects a second, and in a night"
        )
    }

    fn rows(&self) -> Vec<Figure> {
        let less = |name| Figure::told(name, "ms", Better::Less);
        vec![
            less("at rest, p99"),
            less("at rest, p99.9"),
            less("while it evicts, p99"),
            less("while it evicts, p99.9"),
            Figure {
                is_main: true,
                ..less("p99.9 more than at rest, while it evicts").with_target(Target::AtMost(ADDED_MS_MAX))
            },
            less("in a night, p99"),
            less("in a night, p99.9"),
            less("p99.9 more than at rest, in a night").with_target(Target::AtMost(ADDED_MS_MAX)),
        ]
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle_with(contender, SMALL)?;
        let running = home.start(scene.world)?;
        let clients = clients(&running);
        let hot = Paths::new("fresh", HOT_BYTES, HOT);
        story::visit_all(running.http, CONNECTIONS, (0..OLD).map(|number| format!("/fresh/{NEW_BYTES}/old-{number}")))?;
        steady::fill(scene, &clients, &hot)?;
        let portal = if contender == Contender::Bulaq { Some(Site::start(PAGES)?) } else { None };
        let new = Distinct::new("fresh", NEW_BYTES);
        Ok(Box::new(Ready { scene: *scene, clients, hot, new: Some(new), portal, _running: running, _home: home }))
    }
}

fn clients(running: &Running) -> Clients {
    Clients { door: running.http, speech: Speech::Http1, connections: CONNECTIONS }
}

struct Ready<'a> {
    scene: Scene<'a>,
    clients: Clients,
    hot: Paths,
    /// None only while another thread asks for it.
    new: Option<Distinct>,
    portal: Option<Site>,
    // Ends before its folder goes.
    _running: Running,
    _home: Home,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let length = Duration::from_secs_f64(self.scene.seconds * TIMES_AS_LONG);
        let rest = hits(&self.clients, &mut self.hot, length)?;
        let evicting = self.while_it_evicts(length)?;
        let mut values = vec![
            ("at rest, p99", rest.quantile_ms(0.99)),
            ("at rest, p99.9", rest.quantile_ms(0.999)),
            ("while it evicts, p99", evicting.quantile_ms(0.99)),
            ("while it evicts, p99.9", evicting.quantile_ms(0.999)),
            ("p99.9 more than at rest, while it evicts", added_ms(&rest, &evicting)),
        ];
        if let Some(portal) = &self.portal {
            let night = in_a_night(&self.scene, portal, &mut self.hot, length)?;
            values.push(("in a night, p99", night.quantile_ms(0.99)));
            values.push(("in a night, p99.9", night.quantile_ms(0.999)));
            values.push(("p99.9 more than at rest, in a night", added_ms(&rest, &night)));
        }
        Ok(values)
    }
}

impl Ready<'_> {
    fn while_it_evicts(&mut self, length: Duration) -> anyhow::Result<Tally> {
        let mut new = self.new.take().context("nothing new is left")?;
        let newcomers = Clients { connections: NEW_CONNECTIONS, ..self.clients.clone() };
        let filling = std::thread::spawn(move || {
            let filled = Load::open(newcomers)
                .and_then(|mut load| load.run(&mut new, Pace::PerSecond(NEW_PER_S), End::After(length), Compare::Some));
            (new, filled)
        });
        let tally = hits(&self.clients, &mut self.hot, length);
        let (new, filled) = filling.join().map_err(|_| anyhow::anyhow!("the thread that fills has died"))?;
        self.new = Some(new);
        filled?;
        tally
    }
}

/// How much longer one of a thousand waits than at rest.
fn added_ms(rest: &Tally, busy: &Tally) -> f64 {
    (busy.quantile_ms(0.999) - rest.quantile_ms(0.999)).max(ADDED_MS_MIN)
}

/// Hits at their pace.
fn hits(clients: &Clients, hot: &mut Paths, length: Duration) -> anyhow::Result<Tally> {
    let mut load = Load::open(clients.clone())?;
    load.run(hot, Pace::PerSecond(HITS_PER_S), End::After(length), Compare::Some)
}

/// The same on a box of its own that has the hot answers and nothing of the portal yet.
fn in_a_night(scene: &Scene<'_>, portal: &Site, hot: &mut Paths, length: Duration) -> anyhow::Result<Tally> {
    let home = Contender::Bulaq.settle_with_portal(scene.world, BUDGET, portal.address)?;
    let running = home.start(scene.world)?;
    let clients = clients(&running);
    steady::fill(scene, &clients, hot)?;
    let asked = portal.requests();
    let mut night = home.night(scene.world)?;
    let tally = hits(&clients, hot, length);
    let has_ended = night.has_ended()?;
    // It goes with the box; only who waits for it is told to leave.
    drop(night);
    anyhow::ensure!(portal.requests() > asked, "no night took place");
    anyhow::ensure!(!has_ended, "the night was over before all was measured");
    tally
}
