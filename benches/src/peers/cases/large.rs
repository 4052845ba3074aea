//! A video of 64 MiB: `large-ranges` in parts of 1 MiB, `large-whole` whole, `large-tls` whole over TLS. What counts is
//! bytes for a second of processor time.

use super::steady::{self, Paid, Paths, Reach};
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::load::{Clients, Pace, Source, Speech, Wanted};
use crate::peers::running::Running;

/// Its length, and what players ask for at a time.
const BYTES: u64 = 64 << 20;
const PART_BYTES: u64 = 1 << 20;

/// Players at one time.
const CLIENTS: usize = 8;

const WORTH: &str = "for processor time";
const SPEED: &str = "speed";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Ranges,
    Whole,
    WholeOverTls,
}

pub(super) struct Large {
    name: &'static str,
    way: Way,
    ratio_min: f64,
}

pub(super) const RANGES: Large = Large { name: "large-ranges", way: Way::Ranges, ratio_min: 0.8 };
pub(super) const WHOLE: Large = Large { name: "large-whole", way: Way::Whole, ratio_min: 0.8 };
pub(super) const TLS: Large = Large { name: "large-tls", way: Way::WholeOverTls, ratio_min: 1.0 };

impl Case for Large {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> String {
        let (mib, part) = (BYTES >> 20, PART_BYTES >> 20);
        let how = match self.way {
            Way::Ranges => format!("in ranges of {part} MiB, HTTP/1.1"),
            Way::Whole => "whole, HTTP/1.1".to_owned(),
            Way::WholeOverTls => "whole, HTTP/1.1 over TLS 1.3".to_owned(),
        };
        format!("a hit of {mib} MiB {how}, {CLIENTS} clients")
    }

    fn rows(&self) -> Vec<Figure> {
        let worth = Figure::main(WORTH, "GB per CPU s", Better::More);
        let worth = worth.with_target(Target::RatioToNginxMin(self.ratio_min)).ahead_of_others();
        vec![
            worth,
            Figure::told(SPEED, "GB/s", Better::More),
            Figure::told(steady::BUSY, "% busy", Better::Less),
            Figure::told(steady::LOAD_BUSY, "% busy", Better::Less),
        ]
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        let (door, speech) = match self.way {
            Way::Ranges | Way::Whole => (home.http, Speech::Http1),
            Way::WholeOverTls => (home.https, Speech::Http1OverTls(scene.world.identity().speaker(b"http/1.1")?)),
        };
        let clients = Clients { door, speech, connections: CLIENTS };
        let whole = Paths::new("fresh", BYTES, 1);
        steady::fill(scene, &clients, &whole)?;
        let source: Box<dyn Source> = match self.way {
            Way::Ranges => Box::new(Parts { whole, next: 0 }),
            Way::Whole | Way::WholeOverTls => Box::new(whole),
        };
        Ok(Box::new(Ready { scene: *scene, clients, source, running, _home: home }))
    }
}

/// Parts of one body, one after the other and again.
struct Parts {
    whole: Paths,
    next: u64,
}

impl Source for Parts {
    fn next(&mut self, path: &mut String) -> Option<Wanted> {
        let wanted = self.whole.next(path)?;
        let start = self.next * PART_BYTES % BYTES;
        self.next += 1;
        Some(Wanted { part: Some(start..start + PART_BYTES), ..wanted })
    }
}

struct Ready<'a> {
    scene: Scene<'a>,
    clients: Clients,
    source: Box<dyn Source>,
    // Ends before its folder goes.
    running: Running,
    _home: Home,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let clients = self.clients.clone();
        let source = self.source.as_mut();
        let paid = steady::turn(&self.scene, &self.running, clients, source, Pace::Closed, Reach::Nothing)?;
        let Paid { tally, cpu_s, load_cpu_s } = paid;
        let (gigabytes, took_s) = (tally.content_bytes as f64 / 1e9, tally.took.as_secs_f64());
        Ok(vec![
            (WORTH, gigabytes / cpu_s),
            (SPEED, gigabytes / took_s),
            (steady::BUSY, cpu_s / took_s * 100.0),
            (steady::LOAD_BUSY, load_cpu_s / took_s * 100.0),
        ])
    }
}
