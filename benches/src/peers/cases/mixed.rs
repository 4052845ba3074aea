//! `mixed-hit`: many addresses, few of them popular, more than the memory cache holds, so that the disk counts.

use super::steady::{self, CLIENTS, Paths, Reach};
use super::zipf::Zipf;
use super::{Case, Scene, Turns};
use crate::content::Places;
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Figure, Target};
use crate::peers::load::{Clients, Pace, Source, Speech, Wanted};
use crate::peers::running::Running;

/// Addresses.
const ADDRESSES: usize = 10_000;

/// How unevenly they are asked for; 0.6 to 1.0 is what caches of schools and campuses see.
const EXPONENT: f64 = 0.9;

/// Bodies have 1 to 256 KiB, small ones more often: their logarithms are spread evenly. 450 MiB in all.
const BYTES_MIN: f64 = 1024.0;
const BYTES_TIMES: f64 = 256.0;

pub(super) struct Mixed;

impl Case for Mixed {
    fn name(&self) -> &'static str {
        "mixed-hit"
    }

    fn what(&self) -> String {
        format!(
            "hits of 1 to 256 KiB, {ADDRESSES} addresses of 450 MiB in all, asked for after Zipf ({EXPONENT}); HTTP/1.1, \
             {CLIENTS} clients"
        )
    }

    fn rows(&self) -> Vec<Figure> {
        steady::rows(steady::cost().with_target(Target::RatioToNginxMin(1.1)))
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        let clients = Clients { door: home.http, speech: Speech::Http1, connections: CLIENTS };
        let paths = Paths::of((0..ADDRESSES).map(path).collect());
        steady::fill(scene, &clients, &paths)?;
        let source = Popular { paths, zipf: Zipf::new(ADDRESSES, EXPONENT), dice: Places::new(1) };
        Ok(Box::new(Ready { scene: *scene, clients, source, running, _home: home }))
    }
}

/// An address; its size has nothing to do with how popular it is.
fn path(number: usize) -> String {
    let share = unit(&mut Places::new(number as u64 * 2));
    let bytes = (BYTES_MIN * BYTES_TIMES.powf(share)) as u64;
    format!("/fresh/{bytes}/mixed-{number}")
}

/// A number from 0 to 1.
fn unit(dice: &mut Places) -> f64 {
    const STEPS: u64 = 1 << 52;
    dice.below(STEPS) as f64 / STEPS as f64
}

struct Popular {
    paths: Paths,
    zipf: Zipf,
    dice: Places,
}

impl Source for Popular {
    fn next(&mut self, path: &mut String) -> Option<Wanted> {
        path.push_str(self.paths.get(self.zipf.rank(unit(&mut self.dice))));
        steady::wanted(path)
    }
}

struct Ready<'a> {
    scene: Scene<'a>,
    clients: Clients,
    source: Popular,
    // Ends before its folder goes.
    running: Running,
    _home: Home,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let clients = self.clients.clone();
        let paid = steady::turn(&self.scene, &self.running, clients, &mut self.source, Pace::Closed, Reach::Nothing)?;
        Ok(paid.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::origin::content_of;

    #[test]
    fn it_is_more_than_the_memory_holds_and_less_than_the_disk() {
        let sizes: Vec<u64> = (0..ADDRESSES).map(|number| content_of(&path(number)).unwrap().bytes).collect();
        assert!(sizes.iter().all(|size| (1024..=256 * 1024).contains(size)));
        let mib = sizes.iter().sum::<u64>() >> 20;
        assert!((430..470).contains(&mib), "{mib} MiB");
        let budget = crate::peers::contenders::BUDGET;
        assert!(mib > budget.memory_mib && mib < budget.disk_mib);
    }
}
