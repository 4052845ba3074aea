//! How fast a night is, beside the program that technicians mirror sites with.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use super::story::play;
use super::{Case, Scene, Turns};
use crate::peers::contenders::{BUDGET, Contender};
use crate::peers::figures::{Better, Figure};
use crate::peers::running::{Errand, children_cpu_s};
use crate::peers::site::{NAME, Site, body_of, start_path};
use crate::peers::visitor::Visitor;

/// Pages of the portal; each has 15 pictures.
const PAGES: u32 = 60;

const TIMES: &str = "rate, times wget's";

pub(super) struct Prefetch;

impl Case for Prefetch {
    fn name(&self) -> &'static str {
        "prefetch"
    }

    fn what(&self) -> String {
        format!(
            "a portal of {PAGES} pages with 15 pictures each is fetched whole: by a night of the box, which makes each answer \
             durable, and by wget --mirror, which has one connection and leaves writing to the system"
        )
    }

    fn rows(&self) -> Vec<Figure> {
        vec![
            Figure::main(TIMES, "", Better::More),
            Figure::told("rate", "objects/s", Better::More),
            Figure::told("CPU", "s", Better::Less),
            Figure::told("wget --mirror: rate", "objects/s", Better::More),
            Figure::told("wget --mirror: CPU", "s", Better::Less),
        ]
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        if contender != Contender::Bulaq {
            bail!("it fetches nothing ahead");
        }
        Ok(Box::new(Ready { scene: *scene, site: Site::start(PAGES)? }))
    }
}

struct Ready<'a> {
    scene: Scene<'a>,
    site: Site,
}

/// What a program fetched.
struct Fetched {
    took_s: f64,
    cpu_s: f64,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let count = self.site.paths().count() as f64;
        let (night, wget) = (self.night()?, self.wget()?);
        Ok(vec![
            (TIMES, wget.took_s / night.took_s),
            ("rate", count / night.took_s),
            ("CPU", night.cpu_s),
            ("wget --mirror: rate", count / wget.took_s),
            ("wget --mirror: CPU", wget.cpu_s),
        ])
    }
}

impl Ready<'_> {
    /// A night of a box that has nothing; afterwards everything is a hit, and right.
    fn night(&self) -> anyhow::Result<Fetched> {
        let world = self.scene.world;
        let home = Contender::Bulaq.settle_with_portal(world, BUDGET, self.site.address)?;
        let running = home.start(world)?;
        let (before_s, ours_s, begun) = (running.cpu_s()?, children_cpu_s()?, Instant::now());
        ensure!(home.night(world)?.wait()?.success(), "the night failed");
        let took_s = begun.elapsed().as_secs_f64();
        let cpu_s = running.cpu_s()? - before_s + children_cpu_s()? - ours_s;
        let asked = self.site.requests();
        play(async {
            let mut visitor = Visitor::of(running.http, NAME).await?;
            for path in self.site.paths() {
                let (_kind, body) = body_of(&path, PAGES).context("the portal has no such address")?;
                visitor.get(&path, None, &body).await?;
            }
            anyhow::Ok(())
        })??;
        let missed = self.site.requests() - asked;
        ensure!(missed == 0, "{missed} objects were not there after the night");
        Ok(Fetched { took_s, cpu_s })
    }

    /// One connection, one request after the other, on the core that the box had.
    fn wget(&self) -> anyhow::Result<Fetched> {
        let folder = tempfile::tempdir_in(self.scene.world.folder())?;
        let mut command = Command::new("wget");
        command.args(["--mirror", "--quiet", "--no-host-directories", "--no-config", "--no-proxy", "-e", "robots=off"]);
        command.arg(format!("http://{}{}", self.site.address, start_path())).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (before_s, begun) = (children_cpu_s()?, Instant::now());
        let wget = Errand::start(command, Contender::Bulaq.name(), self.scene.world.cores());
        let status = wget.context("wget is missing; it comes with wget")?.wait()?;
        ensure!(status.success(), "wget ended with {status}");
        let fetched = Fetched { took_s: begun.elapsed().as_secs_f64(), cpu_s: children_cpu_s()? - before_s };
        for path in self.site.paths() {
            let (_kind, body) = body_of(&path, PAGES).context("the portal has no such address")?;
            ensure!(std::fs::read(folder.path().join(&path[1..]))? == body, "wget has not the bytes of {path}");
        }
        Ok(fetched)
    }
}
