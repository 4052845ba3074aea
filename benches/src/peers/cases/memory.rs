//! What a store of many small objects costs: processor time to fill it, memory while it is there, room on the disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use super::story::{disk_bytes, visit_all};
use super::{Case, Scene, Turns};
use crate::peers::contenders::{BUDGET, Budget, Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::running::Running;

/// As long as a page's text, an icon or a piece of script.
const OBJECT_BYTES: u64 = 4096;

/// Connections that fill.
const CONNECTIONS: usize = 32;

/// Until a contender has done what it does after a start or a fill.
const SETTLE: Duration = Duration::from_secs(3);

/// The box's memory for bodies in this case: what remains is what it needs to know where things are.
const BOX_MEMORY_MIB: u64 = 8;

/// What an object may take in memory when it lies on the disk.
const BYTES_AN_OBJECT_MAX: f64 = 150.0;

/// The box with nothing stored.
const BASE_MIB_MAX: f64 = 40.0;

const MIB: f64 = 1_048_576.0;

/// Contenders whose store is full, for the cases that begin with one.
#[derive(Default)]
pub(super) struct FullStores(RefCell<HashMap<&'static str, FullStore>>);

/// A contender with a full store.
pub(super) struct FullStore {
    pub(super) running: Running,
    pub(super) home: Home,
}

/// Where the object with this number is.
pub(super) fn object(number: u32) -> String {
    format!("/fresh/{OBJECT_BYTES}/object-{number}")
}

impl FullStores {
    /// This contender with a full store, filled now unless an earlier case has left it.
    pub(super) fn take(&self, scene: &Scene<'_>, contender: Contender) -> anyhow::Result<FullStore> {
        if let Some(full) = self.0.borrow_mut().remove(contender.name()) {
            return Ok(full);
        }
        let (running, home) = start(scene, contender)?;
        fill(&running, 0..scene.objects)?;
        sleep(SETTLE);
        Ok(FullStore { running, home })
    }

    fn put(&self, full: FullStore) {
        self.0.borrow_mut().insert(full.home.contender.name(), full);
    }
}

fn start(scene: &Scene<'_>, contender: Contender) -> anyhow::Result<(Running, Home)> {
    let given = BUDGET;
    // Room for a million, with what files take beside their content.
    let disk_mib = given.disk_mib.max(u64::from(scene.objects) * 10 / 1024);
    let memory_mib = if contender == Contender::Bulaq { BOX_MEMORY_MIB } else { given.memory_mib };
    let home = scene.settle_with(contender, Budget { memory_mib, disk_mib })?;
    let running = home.start(scene.world)?;
    Ok((running, home))
}

fn fill(running: &Running, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
    visit_all(running.http, CONNECTIONS, numbers.map(object))?;
    Ok(())
}

pub(super) struct Memory(pub(super) Rc<FullStores>);

impl Case for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn what(&self) -> String {
        format!(
            "many objects of {OBJECT_BYTES} bytes are fetched once and stay: resident memory (PSS) of all processes without what the box's own memory for bodies ({BOX_MEMORY_MIB} MiB) holds"
        )
    }

    fn rows(&self) -> Vec<Figure> {
        let less = |name, unit| Figure::told(name, unit, Better::Less);
        vec![
            less("CPU to fill", "s").with_target(Target::RatioToNginxMin(1.0)),
            less("resident, empty", "MiB").with_target(Target::AtMost(BASE_MIB_MAX)),
            less("resident, full", "MiB"),
            Figure::main("resident bytes an object", "", Better::Less).with_target(Target::AtMost(BYTES_AN_OBJECT_MAX)),
            less("resident bytes an object, second half", ""),
            less("on disk", "MiB"),
        ]
    }

    /// It is filled once: what memory holds does not depend on the moment, and it takes minutes.
    fn rounds(&self, _wished: u32) -> u32 {
        1
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let scene = *scene;
        Ok(Box::new(Turn { scene, contender, stores: &self.0 }))
    }
}

struct Turn<'a> {
    scene: Scene<'a>,
    contender: Contender,
    stores: &'a FullStores,
}

impl Turns for Turn<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let (running, home) = start(&self.scene, self.contender)?;
        // Code that every request needs is loaded with the first ones.
        visit_all(running.http, CONNECTIONS, (0..1_000).map(|number| format!("/uncacheable/100/warm-{number}")))?;
        sleep(SETTLE);
        let (empty, cpu_s, disk) = (running.resident_bytes()?, running.cpu_s()?, disk_bytes(home.folder())?);
        let half = self.scene.objects / 2;
        fill(&running, 0..half)?;
        sleep(SETTLE);
        let halfway = running.resident_bytes()?;
        fill(&running, half..self.scene.objects)?;
        sleep(SETTLE);
        let (full, cpu_s) = (running.resident_bytes()?, running.cpu_s()? - cpu_s);
        let disk = disk_bytes(home.folder())?.saturating_sub(disk);
        let count = f64::from(self.scene.objects);
        let bodies = match self.contender {
            Contender::Bulaq => ((BOX_MEMORY_MIB << 20) as f64).min(count * OBJECT_BYTES as f64),
            _ => 0.0,
        };
        self.stores.put(FullStore { running, home });
        Ok(vec![
            ("CPU to fill", cpu_s),
            ("resident, empty", empty as f64 / MIB),
            ("resident, full", full as f64 / MIB),
            ("resident bytes an object", (full as f64 - empty as f64 - bodies) / count),
            ("resident bytes an object, second half", (full as f64 - halfway as f64) / (count / 2.0)),
            ("on disk", disk as f64 / MIB),
        ])
    }
}
