//! What all contenders share: an origin, a certificate, a folder, and the machine's cores.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

use super::origin::Origin;
use crate::tls::Identity;

/// The surroundings of a comparison.
pub(crate) struct World {
    origin: Origin,
    identity: Identity,
    bulaq: PathBuf,
    cores: Cores,
    // Last, so that it goes last: it holds what the others use.
    folder: TempDir,
}

/// Who runs where: the contender has one core, load and origin have the others.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    parts: Option<Parts>,
}

#[derive(Clone, Copy)]
struct Parts {
    contender: CpuSet,
    load: CpuSet,
}

impl Cores {
    /// Divides the cores that this process may use; not, if there is only one.
    fn divide() -> anyhow::Result<Self> {
        let all = sched_getaffinity(None).context("which cores there are can't be read")?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core));
        let (Some(first), Some(second)) = (usable.next(), usable.next()) else { return Ok(Self { parts: None }) };
        let mut parts = Parts { contender: CpuSet::new(), load: CpuSet::new() };
        parts.contender.set(first);
        parts.load.set(second);
        for core in usable {
            parts.load.set(core);
        }
        Ok(Self { parts: Some(parts) })
    }

    /// From here on, this thread and those that it starts run where the load belongs.
    pub(super) fn take_the_load(&self) -> anyhow::Result<()> {
        self.parts.map_or(Ok(()), |parts| sched_setaffinity(None, &parts.load)).context("no core can be chosen")
    }

    /// Runs `start` on the contender's core, so that the process that it starts stays there.
    pub(super) fn on_the_contenders<T>(&self, start: impl FnOnce() -> T) -> anyhow::Result<T> {
        let Some(parts) = self.parts else { return Ok(start()) };
        sched_setaffinity(None, &parts.contender).context("no core can be chosen")?;
        let started = start();
        self.take_the_load()?;
        Ok(started)
    }

    /// Whether the contender has a core to itself.
    pub(super) fn are_divided(&self) -> bool {
        self.parts.is_some()
    }
}

impl World {
    /// An origin that serves and an empty folder; this thread goes to the load's cores. `bulaq` is the box's program.
    pub(crate) fn new(bulaq: PathBuf) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bulaq-peers-").tempdir()?;
        super::running::forget_on_signals(folder.path());
        {
            use std::os::unix::fs::PermissionsExt as _;
            // Some contenders work as a user of their own.
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        }
        let identity_folder = folder.path().join("identity");
        std::fs::create_dir(&identity_folder)?;
        let identity = Identity::new(&identity_folder)?;
        let cores = Cores::divide()?;
        cores.take_the_load()?;
        let origin = Origin::start(&identity)?;
        Ok(Self { origin, identity, bulaq, cores, folder })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The box's program.
    pub(crate) fn bulaq(&self) -> &Path {
        &self.bulaq
    }

    pub(crate) fn cores(&self) -> &Cores {
        &self.cores
    }

    /// Where contenders have their folders.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
