//! What it costs to wait: at night, and through every weekend.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::story::visit_all;
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::running::Running;

/// How long nothing is asked.
const REST: Duration = Duration::from_secs(10);

/// Until what the last requests caused is done.
const SETTLE: Duration = Duration::from_secs(3);

/// Processor time in a second.
const CPU_MS_MAX: f64 = 1.0;

pub(super) struct Idle;

impl Case for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn what(&self) -> String {
        format!("{} s without a request, after 1,000 that were answered and stored", REST.as_secs())
    }

    fn rows(&self) -> Vec<Figure> {
        vec![Figure::main("CPU in a second", "ms", Better::Less).with_target(Target::AtMost(CPU_MS_MAX))]
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        visit_all(running.http, 16, (0..1_000).map(|number| format!("/fresh/4096/idle-{number}")))?;
        sleep(SETTLE);
        let since = (Instant::now(), running.cpu_s()?);
        Ok(Box::new(Resting { since, running, _home: home }))
    }
}

/// All rest at the same time, from when they were ready: what one does then is not what another does.
struct Resting {
    since: (Instant, f64),
    running: Running,
    _home: Home,
}

impl Turns for Resting {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let (begun, cpu_s) = self.since;
        sleep(REST.saturating_sub(begun.elapsed()));
        let now = (Instant::now(), self.running.cpu_s()?);
        let cpu_ms = (now.1 - cpu_s) * 1_000.0 / now.0.duration_since(begun).as_secs_f64();
        self.since = now;
        Ok(vec![("CPU in a second", cpu_ms)])
    }
}
