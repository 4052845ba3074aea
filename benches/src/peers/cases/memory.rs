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

/// The box's caches in this case, of bodies and of its index (the least that may be set): what remains is what it needs to
/// know where things are.
const BOX_MEMORY_MIB: u64 = 8;
const BOX_INDEX_MIB: u64 = 8;

/// Where the box's index is, in its folder.
const BOX_INDEX: &str = "data/store/index";

/// What filling may take for an object, where it takes a tenth of that on a quiet machine.
const FILL_AN_OBJECT_MAX: Duration = Duration::from_micros(1_500);

/// What an object may take in memory when it lies on the disk.
const BYTES_AN_OBJECT_MAX: f64 = 150.0;

/// The box with nothing stored.
const BASE_MIB_MAX: f64 = 40.0;

const MIB: f64 = 1_048_576.0;

pub(super) const CPU: &str = "CPU to fill";
const EMPTY: &str = "resident, empty";
const FULL: &str = "resident, full";
const AN_OBJECT: &str = "resident bytes an object";
const AN_OBJECT_LATER: &str = "resident bytes an object, second half";
const AN_OBJECT_WITH_CACHES: &str = "resident bytes an object, with the configured caches";
const DISK: &str = "on disk";

/// Contenders whose store is full, for the cases that begin with one.
pub(super) struct FullStores {
    pub(super) objects: u32,
    full: RefCell<HashMap<&'static str, FullStore>>,
}

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
    pub(super) fn new(objects: u32) -> Self {
        Self { objects, full: RefCell::default() }
    }

    /// This contender with a full store, filled now unless an earlier case has left it.
    pub(super) fn take(&self, scene: &Scene<'_>, contender: Contender) -> anyhow::Result<FullStore> {
        if let Some(full) = self.full.borrow_mut().remove(contender.name()) {
            return Ok(full);
        }
        let (running, home) = start(scene, contender, self.objects)?;
        fill(&running, 0..self.objects)?;
        sleep(SETTLE);
        Ok(FullStore { running, home })
    }

    fn put(&self, full: FullStore) {
        self.full.borrow_mut().insert(full.home.contender.name(), full);
    }
}

/// How long filling a store of so many objects may take.
pub(super) fn limit(objects: u32) -> Duration {
    Duration::from_secs(90) + FILL_AN_OBJECT_MAX * objects
}

fn start(scene: &Scene<'_>, contender: Contender, objects: u32) -> anyhow::Result<(Running, Home)> {
    let given = BUDGET;
    // Room for a million, with what files take beside their content.
    let disk_mib = given.disk_mib.max(u64::from(objects) * 10 / 1024);
    let memory_mib = if contender == Contender::Bulaq { BOX_MEMORY_MIB } else { given.memory_mib };
    let home = scene.settle_with(contender, Budget { memory_mib, disk_mib, index_mib: BOX_INDEX_MIB })?;
    let running = home.start(scene.world)?;
    Ok((running, home))
}

fn fill(running: &Running, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
    visit_all(running.http, CONNECTIONS, numbers.map(object))?;
    Ok(())
}

/// What is done with so many objects, and what counts.
pub(super) fn what(objects: u32) -> String {
    format!(
        "{objects} objects of {OBJECT_BYTES} bytes are fetched once and stay: resident memory (PSS) of all processes. The \
         box's caches are set to the least that may be: {BOX_MEMORY_MIB} MiB for bodies and {BOX_INDEX_MIB} MiB for the index \
         engine, and what is configured so does not count as an object's, but in the row that says so"
    )
}

pub(super) fn rows() -> Vec<Figure> {
    let less = |name, unit| Figure::told(name, unit, Better::Less);
    vec![
        less(CPU, "s").with_target(Target::RatioToNginxMin(1.0)),
        less(EMPTY, "MiB").with_target(Target::AtMost(BASE_MIB_MAX)),
        less(FULL, "MiB"),
        Figure { is_main: true, ..less(AN_OBJECT, "").with_target(Target::AtMost(BYTES_AN_OBJECT_MAX)) },
        less(AN_OBJECT_LATER, ""),
        less(AN_OBJECT_WITH_CACHES, ""),
        less(DISK, "MiB"),
    ]
}

/// Fills a store, and weighs the contender before, in the middle and after.
pub(super) fn fill_and_weigh(
    scene: &Scene<'_>,
    contender: Contender,
    objects: u32,
) -> anyhow::Result<(FullStore, Vec<(&'static str, f64)>)> {
    let (running, home) = start(scene, contender, objects)?;
    // Code that every request needs is loaded with the first ones.
    visit_all(running.http, CONNECTIONS, (0..1_000).map(|number| format!("/uncacheable/100/warm-{number}")))?;
    sleep(SETTLE);
    let (empty, cpu_s, disk) = (running.resident_bytes()?, running.cpu_s()?, disk_bytes(home.folder())?);
    let half = objects / 2;
    fill(&running, 0..half)?;
    sleep(SETTLE);
    let halfway = running.resident_bytes()?;
    fill(&running, half..objects)?;
    sleep(SETTLE);
    let (full, cpu_s) = (running.resident_bytes()?, running.cpu_s()? - cpu_s);
    let disk = disk_bytes(home.folder())?.saturating_sub(disk);
    let (empty, halfway, full, count) = (empty as f64, halfway as f64, full as f64, f64::from(objects));
    let caches = if contender == Contender::Bulaq { caches_bytes(&home, objects)? } else { 0 };
    let values = vec![
        (CPU, cpu_s),
        (EMPTY, empty / MIB),
        (FULL, full / MIB),
        (AN_OBJECT, (full - empty - caches as f64) / count),
        (AN_OBJECT_LATER, (full - halfway) / (count - f64::from(half))),
        (AN_OBJECT_WITH_CACHES, (full - empty) / count),
        (DISK, disk as f64 / MIB),
    ];
    Ok((FullStore { running, home }, values))
}

/// What the box's caches hold: all that is configured, unless there is not so much to hold.
fn caches_bytes(home: &Home, objects: u32) -> anyhow::Result<u64> {
    let bodies = (BOX_MEMORY_MIB << 20).min(u64::from(objects) * OBJECT_BYTES);
    let index = (BOX_INDEX_MIB << 20).min(disk_bytes(&home.folder().join(BOX_INDEX))?);
    Ok(bodies + index)
}

pub(super) struct Memory(pub(super) Rc<FullStores>);

impl Case for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn what(&self) -> String {
        what(self.0.objects)
    }

    fn rows(&self) -> Vec<Figure> {
        rows()
    }

    /// It is filled once: what memory holds does not depend on the moment, and it takes minutes.
    fn rounds(&self, _wished: u32) -> u32 {
        1
    }

    fn limit(&self, _seconds: f64) -> Duration {
        limit(self.0.objects)
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
        let (full, values) = fill_and_weigh(&self.scene, self.contender, self.stores.objects)?;
        self.stores.put(full);
        Ok(values)
    }
}
