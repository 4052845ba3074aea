//! TLS that is passed through: the box sees a name and then only bytes.

use super::steady::{self, Paths, Reach};
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure};
use crate::peers::load::{Clients, Pace, Speech};
use crate::peers::running::Running;

/// Connections, each with one download after the other.
const CONNECTIONS: usize = 4;

/// As long as a piece of a video.
const OBJECT_BYTES: u64 = 8 << 20;

/// How many of them there are.
const ADDRESSES: usize = 4;

const RATE: &str = "GB a CPU second";

pub(super) struct Splice;

impl Case for Splice {
    fn name(&self) -> &'static str {
        "splice"
    }

    fn what(&self) -> String {
        format!(
            "TLS 1.3 is passed through to the site by its name: downloads of {} MiB, {CONNECTIONS} clients",
            OBJECT_BYTES >> 20
        )
    }

    fn rows(&self) -> Vec<Figure> {
        vec![Figure::main(RATE, "GB", Better::More), Figure::told(steady::BUSY, "% busy", Better::Less)]
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = contender.settle_passing(scene.world)?;
        let running = home.start(scene.world)?;
        let speech = Speech::Http1OverTls(scene.world.identity().speaker(b"http/1.1")?);
        let clients = Clients { door: home.https, speech, connections: CONNECTIONS };
        let paths = Paths::new("fresh", OBJECT_BYTES, ADDRESSES);
        Ok(Box::new(Ready { scene: *scene, clients, paths, running, _home: home }))
    }
}

struct Ready<'a> {
    scene: Scene<'a>,
    clients: Clients,
    paths: Paths,
    // Ends before its folder goes.
    running: Running,
    _home: Home,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let clients = self.clients.clone();
        let paid = steady::turn(&self.scene, &self.running, clients, &mut self.paths, Pace::Closed, Reach::All)?;
        let busy = paid.cpu_s / paid.tally.took.as_secs_f64() * 100.0;
        Ok(vec![(RATE, paid.tally.content_bytes as f64 / 1e9 / paid.cpu_s), (steady::BUSY, busy)])
    }
}
