//! The box is stopped, or loses its power, with a full store: how long until it helps again, and what it still knows.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::memory::{self, FullStore, FullStores, object};
use super::story::visit_all;
use super::{Case, Scene, Turns};
use crate::boxed::HOST;
use crate::content::Places;
use crate::peers::contenders::Contender;
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::origin::end_of_head;
use crate::peers::running::Running;
use crate::peers::visitor::body_of;

/// Objects that are asked for after a start, spread over all.
const SAMPLE: u32 = 2_000;

/// How long a start may take until there is an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// From the start to the first hit, with a hundred thousand objects and with more.
const FIRST_HIT_S_MAX: f64 = 0.1;
const FIRST_HIT_OF_MANY_S_MAX: f64 = 1.0;
const MANY: u32 = 500_000;

/// The object that is asked for first.
const FIRST: u32 = 7;

pub(super) struct Restart(pub(super) Rc<FullStores>);

/// What is asked of a store with so many objects.
pub(super) fn rows(objects: u32) -> Vec<Figure> {
    let less = |name| Figure::told(name, "s", Better::Less);
    let first_max = if objects < MANY { FIRST_HIT_S_MAX } else { FIRST_HIT_OF_MANY_S_MAX };
    let all = |name| Figure::told(name, "", Better::More).with_target(Target::AtLeast(1.0));
    vec![
        less("to stop"),
        Figure { is_main: true, ..less("to the first hit").with_target(Target::AtMost(first_max)) },
        all("hits of those stored"),
        less("to the first hit after a kill").with_target(Target::AtMost(first_max)),
        all("hits of those stored after a kill"),
    ]
}

impl Case for Restart {
    fn name(&self) -> &'static str {
        "restart"
    }

    fn what(&self) -> String {
        "with the store of the case memory: stopped in order, started, asked; then killed (-9), started, asked"
            .to_owned()
    }

    fn rows(&self) -> Vec<Figure> {
        rows(self.0.objects)
    }

    /// It may have to be filled first.
    fn limit(&self, _seconds: f64) -> Duration {
        memory::limit(self.0.objects)
    }

    fn rounds(&self, wished: u32) -> u32 {
        wished.min(3)
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let full = self.0.take(scene, contender)?;
        Ok(Box::new(Ready::new(scene, full, self.0.objects)))
    }
}

pub(super) struct Ready<'a> {
    scene: Scene<'a>,
    objects: u32,
    /// None only while it is being started again.
    full: Option<Running>,
    home: crate::peers::contenders::Home,
    places: Places,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let mut values = Vec::new();
        if let Some(running) = self.full.take() {
            values.push(("to stop", running.stop()?.as_secs_f64()));
        }
        let (first_s, share) = self.start_again()?;
        values.extend(first_s.map(|s| ("to the first hit", s)));
        values.push(("hits of those stored", share));
        // Dropped, it is killed.
        drop(self.full.take());
        let (first_s, share) = self.start_again()?;
        values.extend(first_s.map(|s| ("to the first hit after a kill", s)));
        values.push(("hits of those stored after a kill", share));
        Ok(values)
    }
}

impl<'a> Ready<'a> {
    /// A contender whose store has so many objects.
    pub(super) fn new(scene: &Scene<'a>, FullStore { running, home }: FullStore, objects: u32) -> Self {
        Self { scene: *scene, objects, full: Some(running), home, places: Places::new(7) }
    }

    /// Seconds from the start to the first answer, if that was a hit; and the share of hits among others that are stored.
    fn start_again(&mut self) -> anyhow::Result<(Option<f64>, f64)> {
        let origin = self.scene.world.origin();
        let asked = origin.asked().requests;
        let running = self.home.spawn(self.scene.world)?;
        first_answer(running.http, &object(FIRST), running.begun())?;
        let took = running.begun().elapsed().as_secs_f64();
        let is_hit = origin.asked().requests == asked;
        let asked = origin.asked().requests;
        let sample = sample(self.objects, self.places.below(u64::from(u32::MAX)));
        let count = sample.len();
        visit_all(running.http, 1, sample.into_iter().map(object))?;
        let missed = origin.asked().requests - asked;
        self.full = Some(running);
        Ok((is_hit.then_some(took), 1.0 - missed as f64 / count as f64))
    }
}

/// Some of the objects, evenly spread, each once: a second request for one would be a hit wherever the first was none.
fn sample(objects: u32, seed: u64) -> Vec<u32> {
    let step = (objects / SAMPLE).max(1);
    let first = u32::try_from(seed % u64::from(step)).unwrap_or(0);
    // The one that was asked for already tells nothing.
    (first..objects).step_by(step as usize).filter(|&number| number != FIRST).collect()
}

/// Asks until there is the right answer. A refused connection and an error page mean that it is not ready.
fn first_answer(door: SocketAddr, path: &str, begun: Instant) -> anyhow::Result<()> {
    let expected = body_of(path);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(door)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(1 << 20).read_to_end(&mut answer)?;
        Ok(answer)
    };
    while begun.elapsed() < PATIENCE {
        if let Ok(answer) = ask()
            && answer.starts_with(b"HTTP/1.1 200")
        {
            let end = end_of_head(&answer).unwrap_or(answer.len());
            ensure!(answer[end..] == expected, "wrong bytes after a start");
            return Ok(());
        }
        sleep(ASK_EVERY);
    }
    bail!("no answer {} s after a start", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_each_object_once_and_reaches_to_the_end() {
        for (objects, seed) in [(1_000, 5), (5_000, 1), (100_000, 49), (1_000_000, u64::MAX)] {
            let sample = sample(objects, seed);
            assert!(sample.is_sorted_by(|one, next| one < next), "{objects}");
            assert!(sample.len() >= 999.min(SAMPLE as usize) && sample.len() <= SAMPLE as usize * 2, "{objects}");
            assert!(sample.last().is_some_and(|&last| last < objects && last > objects / 10 * 9), "{objects}");
            assert!(!sample.contains(&FIRST));
        }
    }
}
