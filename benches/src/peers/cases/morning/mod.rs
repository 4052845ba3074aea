//! A school morning: 30 classes open their lessons within a minute.

mod plan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::plan::{CLASSES, OBJECTS, PUPILS, Plan, Visit};
use super::story::play;
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::running::Running;
use crate::peers::visitor::{Visitor, body_of};
use crate::report::quantile;

/// Connections of a browser to one site.
const CONNECTIONS: usize = 6;

/// What a perfect cache asks for that does not store what it would have to validate, as a share of the requests.
const REQUESTS_SHARE_MAX: f64 = 0.1176;

pub(super) struct Morning {
    pub(super) length: Duration,
}

impl Case for Morning {
    fn name(&self) -> &'static str {
        "morning"
    }

    fn what(&self) -> String {
        format!(
            "{CLASSES} classes of {PUPILS} pupils open a lesson of {OBJECTS} objects each within {} s: one of them must be \
             checked each time, one is the pupil's own, 18 may be stored; cold at first",
            self.length.as_secs()
        )
    }

    fn rows(&self) -> Vec<Figure> {
        let less = |name, unit| Figure::told(name, unit, Better::Less);
        vec![
            Figure {
                is_main: true,
                ..less("requests to the origin, of all", "").with_target(Target::AtMost(REQUESTS_SHARE_MAX))
            },
            Figure::told("of them answered with 304", "", Better::More),
            less("bytes from the origin, of all", ""),
            less("a lesson's objects, p50", "ms"),
            less("a lesson's objects, p99", "ms").with_target(Target::RatioToNginxMin(1.0)).ahead_of_others(),
            less("CPU", "s"),
        ]
    }

    fn limit(&self, _seconds: f64) -> Duration {
        self.length + Duration::from_secs(90)
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        Ok(Box::new(Day { scene: *scene, length: self.length, running, _home: home, number: 0 }))
    }
}

struct Day<'a> {
    scene: Scene<'a>,
    length: Duration,
    running: Running,
    _home: Home,
    number: u32,
}

impl Turns for Day<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        self.number += 1;
        let plan = Plan::new(self.length, self.number);
        let count = (plan.visits.len() * OBJECTS) as f64;
        let origin = self.scene.world.origin();
        let (asked, cpu_s) = (origin.asked(), self.running.cpu_s()?);
        let (mut took_ms, bytes) = play(pass(Rc::new(plan), self.running.http))??;
        let (asked, cpu_s) = (origin.asked().since(asked), self.running.cpu_s()? - cpu_s);
        Ok(vec![
            ("requests to the origin, of all", asked.requests as f64 / count),
            ("of them answered with 304", asked.not_modified as f64),
            ("bytes from the origin, of all", asked.content_bytes as f64 / bytes as f64),
            ("a lesson's objects, p50", quantile(&mut took_ms, 0.5)),
            ("a lesson's objects, p99", quantile(&mut took_ms, 0.99)),
            ("CPU", cpu_s),
        ])
    }
}

/// What lessons consist of, made once.
#[derive(Default)]
struct Bodies(RefCell<HashMap<String, Rc<[u8]>>>);

impl Bodies {
    fn of(&self, path: &str) -> Rc<[u8]> {
        let mut known = self.0.borrow_mut();
        Rc::clone(known.entry(path.to_owned()).or_insert_with(|| body_of(path).into()))
    }
}

/// Lets the morning pass: how long each pupil's lesson took, in milliseconds, and how many bytes all got.
async fn pass(plan: Rc<Plan>, door: SocketAddr) -> anyhow::Result<(Vec<f64>, u64)> {
    let bodies = Rc::new(Bodies::default());
    for visit in &plan.visits {
        let (page, parts) = plan.paths(visit);
        std::iter::once(page).chain(parts).for_each(|path| drop(bodies.of(&path)));
    }
    let begin = Instant::now();
    let pupils: Vec<_> = plan
        .visits
        .iter()
        .map(|visit| {
            let (plan, visit, bodies) = (Rc::clone(&plan), visit.clone(), Rc::clone(&bodies));
            tokio::task::spawn_local(async move {
                sleep_until(begin + visit.at).await;
                open(&plan, &visit, door, &bodies).await
            })
        })
        .collect();
    let (mut took_ms, mut bytes) = (Vec::new(), 0);
    for pupil in pupils {
        let (took, count) = pupil.await??;
        took_ms.push(took.as_secs_f64() * 1_000.0);
        bytes += count;
    }
    Ok((took_ms, bytes))
}

/// One pupil opens a lesson as a browser does: the page first, then its parts over several connections.
async fn open(plan: &Plan, visit: &Visit, door: SocketAddr, bodies: &Rc<Bodies>) -> anyhow::Result<(Duration, u64)> {
    let begun = Instant::now();
    let (page, parts) = plan.paths(visit);
    let body = bodies.of(&page);
    let mut bytes = body.len() as u64;
    let mut first = Visitor::connect(door).await?;
    first.get(&page, None, &body).await?;
    let parts = Rc::new(RefCell::new(parts.into_iter()));
    let mut kept = Some(first);
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (kept, parts, bodies) = (kept.take(), Rc::clone(&parts), Rc::clone(bodies));
            tokio::task::spawn_local(async move {
                let mut visitor = match kept {
                    Some(visitor) => visitor,
                    None => Visitor::connect(door).await?,
                };
                let mut bytes = 0;
                loop {
                    let next = parts.borrow_mut().next();
                    let Some(path) = next else { return anyhow::Ok(bytes) };
                    let body = bodies.of(&path);
                    visitor.get(&path, None, &body).await?;
                    bytes += body.len() as u64;
                }
            })
        })
        .collect();
    for connection in connections {
        bytes += connection.await??;
    }
    Ok((begun.elapsed(), bytes))
}
