//! TLS 1.3 handshakes, `tls-handshake-full` and `tls-handshake-resumed`, for a second of the contender's processor time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustls::{CipherSuite, NamedGroup};
use tokio::runtime::Runtime;

use super::steady;
use super::{Case, Scene, Turns};
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::running::Running;
use crate::tls::{self, KINDS, Kind};

/// Clients that shake hands at one time.
const CLIENTS: u32 = 8;

/// So many are made before it is looked whether the time is over.
const BATCH: u32 = 400;

const WORTH: &str = "for processor time";
const SPEED: &str = "rate";
const TICKETS: &str = "tickets of one";

pub(super) struct Handshakes {
    name: &'static str,
    kind: Kind,
}

pub(super) const FULL: Handshakes = Handshakes { name: "tls-handshake-full", kind: KINDS[0] };
pub(super) const RESUMED: Handshakes = Handshakes { name: "tls-handshake-resumed", kind: KINDS[2] };

impl Case for Handshakes {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> String {
        let kind = if self.kind.is_resumed { "resumed" } else { "full" };
        format!(
            "{kind} handshakes of TLS 1.3, X25519, AES-128, one P-256 certificate for all; {CLIENTS} clients, a connection for \
             each; everyone is looked at whether it is {kind}"
        )
    }

    fn rows(&self) -> Vec<Figure> {
        let mut worth = Figure::main(WORTH, "handshakes per CPU s", Better::More);
        if !self.kind.is_resumed {
            worth = worth.with_target(Target::RatioToNginxMin(2.0));
        }
        vec![
            worth,
            Figure::told(SPEED, "handshakes/s", Better::More),
            Figure::told(TICKETS, "", Better::Less),
            Figure::told(steady::BUSY, "% busy", Better::Less),
        ]
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let (identity, door) = (scene.world.identity(), running.https);
        runtime.block_on(tls::ask(&identity.client(KINDS[0])?, door))?;
        let terms = runtime.block_on(tls::terms(identity, self.kind, door))?;
        let (suite, group) = (CipherSuite::TLS13_AES_128_GCM_SHA256, NamedGroup::X25519);
        ensure!(terms.suite == Some(suite) && terms.group == Some(group), "it agrees on other things: {terms:?}");
        Ok(Box::new(Ready { scene: *scene, kind: self.kind, tickets: terms.tickets, runtime, running, _home: home }))
    }
}

struct Ready<'a> {
    scene: Scene<'a>,
    kind: Kind,
    tickets: u64,
    runtime: Runtime,
    // Ends before its folder goes.
    running: Running,
    _home: Home,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let (identity, door) = (self.scene.world.identity(), self.running.https);
        let asker = identity.client(KINDS[0])?;
        self.runtime.block_on(tls::ask(&asker, door))?;
        // Each client's first handshake is a full one: in the warm-up, which leaves tickets behind.
        let clients = tls::clients(identity, self.kind, CLIENTS)?;
        self.runtime.block_on(tls::shake_many(&clients, self.kind, door, CLIENTS, true))?;
        let (begun, cpu_s) = (Instant::now(), self.running.cpu_s()?);
        let mut made = 0;
        while begun.elapsed() < Duration::from_secs_f64(self.scene.seconds) {
            made += self.runtime.block_on(tls::shake_many(&clients, self.kind, door, BATCH, false))?;
        }
        let (took_s, cpu_s) = (begun.elapsed().as_secs_f64(), self.running.cpu_s()? - cpu_s);
        Ok(vec![
            (WORTH, f64::from(made) / cpu_s),
            (SPEED, f64::from(made) / took_s),
            (TICKETS, self.tickets as f64),
            (steady::BUSY, cpu_s / took_s * 100.0),
        ])
    }
}
