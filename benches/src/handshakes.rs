//! TLS handshakes for a second of the server's processor time: the box beside nginx, with one certificate and key for
//! both, in turns (box, nginx, nginx, box, …), so that what else the machine does meets both alike.

use std::path::Path;

use clap::Args;

use crate::peers::{BUDGET, Contender, Running, World};
use crate::report::{Report, Target, quantile};
use crate::tls::{self, Identity, KINDS, Kind};

/// The least share of nginx's handshakes a CPU second that the box must reach in the median round.
const SHARE_MIN: f64 = 0.8;

/// Before a kind is measured, so many handshakes of it are made with each server.
const WARM_UP: u32 = 200;

#[derive(Args)]
pub(crate) struct Options {
    /// Handshakes with each server in a round.
    #[arg(long, default_value_t = 2_000)]
    handshakes: u32,
    /// Rounds; in each both servers have a turn.
    #[arg(long, default_value_t = 6)]
    rounds: u32,
    /// Clients at one time.
    #[arg(long, default_value_t = 8)]
    clients: u32,
}

/// One of the two, while it runs.
struct Server {
    running: Running,
    is_box: bool,
}

pub(crate) async fn measure(program: &Path, options: &Options) -> anyhow::Result<Report> {
    let world = World::new(program.to_owned())?;
    let identity = world.identity();
    let homes = [Contender::Bulaq.settle(&world, BUDGET)?, Contender::Nginx.settle(&world, BUDGET)?];
    let ours = Server { running: homes[0].start(&world)?, is_box: true };
    let theirs = Server { running: homes[1].start(&world)?, is_box: false };
    let mut report = Report::new("handshakes");
    for kind in KINDS {
        let mut shares = Vec::new();
        let (mut ours_all, mut theirs_all) = (Vec::new(), Vec::new());
        for server in [&ours, &theirs] {
            many(server, identity, kind, WARM_UP, options.clients).await?;
        }
        for round in 0..options.rounds {
            let turns = if round % 2 == 0 { [&ours, &theirs] } else { [&theirs, &ours] };
            let first = per_cpu_s(turns[0], identity, kind, options).await?;
            let second = per_cpu_s(turns[1], identity, kind, options).await?;
            let (our, their) = if round % 2 == 0 { (first, second) } else { (second, first) };
            ours_all.push(our);
            theirs_all.push(their);
            shares.push(our / their);
        }
        let name = kind.name;
        report.tell(format!("{name}: box"), quantile(&mut ours_all, 0.5).round(), "per CPU s");
        report.tell(format!("{name}: nginx"), quantile(&mut theirs_all, 0.5).round(), "per CPU s");
        let median = quantile(&mut shares, 0.5);
        report.judge(format!("{name}: box / nginx, median round"), median, "times", Target::AtLeast(SHARE_MIN));
        report.tell(format!("{name}: least round"), quantile(&mut shares, 0.0), "times");
        report.tell(format!("{name}: greatest round"), quantile(&mut shares, 1.0), "times");
    }
    Ok(report)
}

/// Handshakes for a second of the server's processor time, over one turn.
async fn per_cpu_s(server: &Server, identity: &Identity, kind: Kind, options: &Options) -> anyhow::Result<f64> {
    let before = server.running.cpu_s()?;
    let made = many(server, identity, kind, options.handshakes, options.clients).await?;
    Ok(f64::from(made) / (server.running.cpu_s()? - before))
}

/// At least so many handshakes, each of the kind that is wanted; how many it were. Where they are resumed, each client's
/// first is a whole one and counts too: one in hundreds.
async fn many(server: &Server, identity: &Identity, kind: Kind, count: u32, clients: u32) -> anyhow::Result<u32> {
    let door = server.running.https;
    if server.is_box {
        tls::ask(&identity.client(KINDS[0])?, door).await?;
    }
    let clients = tls::clients(identity, kind, clients)?;
    tls::shake_many(&clients, kind, door, count, true).await
}
