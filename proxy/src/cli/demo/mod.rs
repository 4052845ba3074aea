//! `bulaq demo`: a night and a morning of a school, on one machine, with nothing to install.
//!
//! ```text
//! content → portal        two small sites of our own, served by a real origin that counts
//! folder  → school        a box, from a configuration file as an administrator would write it
//!           night         fetches both sites through the same stack as any request
//!           portal stops  its listener and its connections are closed
//! pupils                  thirty of them open whole pages at once over real sockets and compare every byte
//! claims                  what was promised, checked against what the portal, the store and the ledger saw
//! ```

mod claims;
mod content;
mod folder;
mod portal;
mod pupils;
mod school;
mod show;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use self::claims::{Claim, Evidence};
use self::content::{BILIM_HOST, KITAP_HOST, Site};
use self::folder::Folder;
use self::portal::{Portal, Seen};
use self::pupils::Morning;
use self::school::{Open, School};
use self::show::{Show, took};
use crate::config::quantity::{ByteSize, grouped};
use crate::prefetch::progress;
use crate::prefetch::report::NightReport;
use crate::shutdown::Shutdown;

/// How many ports after a taken one are tried before the system is asked for any.
const PORTS_TRIED: u16 = 20;

/// A host that no rule names; browsers resolve it to this machine, so the refusal can be looked at.
const UNLISTED_HOST: &str = "oyin.localhost";

/// How to show it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bulaq demo             then open the addresses that it prints\n  \
                        bulaq demo --once      checks its own claims and exits with their verdict\n\n\
                        Everything stays on this machine: no Internet, no root, nothing to install.")]
pub(super) struct DemoArgs {
    /// End when everything is shown; the exit status says whether every claim held
    #[arg(long)]
    once: bool,
    /// Where the start page is shown; another port when this one is taken
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// How many pupils open their lessons at the same moment
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=500))]
    pupils: u16,
}

/// Shows a night and a morning; then serves until Ctrl-C, unless it is to run once.
pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let show = Show::here();
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals().context("signals cannot be listened to")?;
    let story = tell(show, &args, &shutdown);
    let (open, _folder, claims) = tokio::select! {
        told = story => told?,
        () = shutdown.draining() => return Ok(ExitCode::FAILURE), // Ctrl-C in the middle of the story
    };
    show.gap();
    for claim in &claims {
        show.claim(claim.held, &claim.text);
        claim.against.iter().for_each(|reason| show.more(reason));
    }
    show.gap();
    let all_held = claims.iter().all(|claim| claim.held);
    if args.once {
        shutdown.ask();
    } else {
        show.step("Now", "it serves until Ctrl-C; try it with the network cable out");
    }
    open.end().await?;
    Ok(if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The story, up to the moment at which the box serves and the claims are checked.
async fn tell(show: Show, args: &DemoArgs, shutdown: &Shutdown) -> anyhow::Result<(Open, Folder, Vec<Claim>)> {
    show.title("Bulaq: a night and a morning of a school, on this machine alone");
    let sites = content::sites();
    show.step("Portals", describe(&sites));
    let portal = Portal::start(sites).await.context("the stand-in portals cannot listen on the loopback address")?;

    let pupils_at = free_address(args.port)?;
    if pupils_at.port() != args.port && args.port != 0 {
        show.step("Port", format_args!("{} is taken; taking {}", args.port, pupils_at.port()));
    }
    let folder = Folder::make(pupils_at, portal.address()).context("no folder for the demo's box")?;
    let school = School::open(&folder.config())?;
    let started = Instant::now();
    let report = school.night(&*progress::for_this_terminal(), CancellationToken::new()).await?;
    show_night(show, &report, portal.seen(), started.elapsed());

    let stopped = Arc::new(portal.stop().await);
    let after_night = stopped.seen();
    show.step("Portals", "stopped: their address refuses connections now");

    let open = school.serve(shutdown.clone())?;
    let morning = pupils::class(usize::from(args.pupils), open.address(), Arc::clone(&stopped)).await;
    show_morning(show, args.pupils, &morning);
    let totals = open.totals(morning.requests as u64).await?;
    show.gap();
    show.block(&totals.to_string());

    let (_, start_page) = pupils::look("localhost", "/", open.address()).await.unwrap_or_default();
    let evidence = Evidence {
        portal: &stopped,
        is_gone: stopped.is_gone().await,
        after_night,
        stored: &open.stored().await,
        morning: &morning,
        morning_wan_bytes: totals.all.wan_bytes_by_day(),
        unlisted_status: pupils::look(UNLISTED_HOST, "/", open.address()).await.map(|(status, _)| status),
        start_page: &start_page,
        port: open.address().port(),
    };
    let claims = claims::check(&evidence);
    if !args.once {
        show.gap();
        show_links(show, open.address());
    }
    Ok((open, folder, claims))
}

/// The wanted port of the loopback interface, one of the next, or any.
fn free_address(port: u16) -> anyhow::Result<SocketAddr> {
    let wanted = (port..=port.saturating_add(PORTS_TRIED)).chain([0]);
    for port in wanted {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    anyhow::bail!("no port of 127.0.0.1 can be listened on");
}

fn describe(sites: &[Site]) -> String {
    let resources = || sites.iter().flat_map(|site| site.resources.values());
    let pages = resources().filter(|resource| resource.is_page()).count();
    let bytes: usize = resources().map(|resource| resource.body.len()).sum();
    format!(
        "{BILIM_HOST} and {KITAP_HOST}: {pages} pages, {} pictures, styles and films, {}",
        resources().count() - pages,
        ByteSize(bytes as u64),
    )
}

fn show_night(show: Show, report: &NightReport, seen: Seen, elapsed: Duration) {
    let total = report.total();
    show.step(
        "Night",
        format_args!(
            "{}: {} stored, {} left out, {} failed in {}",
            report.end.as_str(),
            grouped(total.stored),
            grouped(total.skipped_total()),
            grouped(total.failed_total()),
            took(elapsed),
        ),
    );
    for (reason, left_out) in &total.skipped {
        show.more(format_args!("{} left out: {reason}", grouped(left_out.count)));
    }
    for (reason, failed) in &total.failed {
        show.more(format_args!("{} failed: {reason}", grouped(failed.count)));
    }
    show.more(format_args!("the portals saw {} requests and sent {}", grouped(seen.requests), ByteSize(seen.bytes)));
}

fn show_morning(show: Show, pupils: u16, morning: &Morning) {
    show.step(
        "Morning",
        format_args!(
            "{pupils} pupils opened {} pages with all their parts, at once: {} requests, {}, {} failed",
            grouped(morning.pages as u64),
            grouped(morning.requests as u64),
            ByteSize(morning.bytes),
            grouped(morning.failed as u64),
        ),
    );
    let (half, most) = (morning.percentile(50), morning.percentile(95));
    show.more(format_args!("half of the pages were complete within {}, 19 of 20 within {}", took(half), took(most)));
}

fn show_links(show: Show, address: SocketAddr) {
    let port = address.port();
    show.step("Open", "in a browser on this machine:");
    show.link(&format!("http://{address}/"), "the start page: which lessons are here");
    show.link(&format!("http://{BILIM_HOST}:{port}/kk/"), "the lesson portal, at its own name");
    show.link(&format!("http://{BILIM_HOST}:{port}/ru/science/water-cycle/"), "a lesson with a film");
    show.link(&format!("http://{KITAP_HOST}:{port}/en/"), "the small library");
    show.link(&format!("http://{UNLISTED_HOST}:{port}/"), "a site that is not on the list");
    show.link(&format!("http://{BILIM_HOST}:{port}/kk/account/"), "a page that may not be stored");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_gives_way_to_the_next_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_address(port).unwrap().port(), port);
        assert_ne!(free_address(0).unwrap().port(), 0);
    }

    /// The whole demo in one process: its claims are the test.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_claim_holds() {
        let args = DemoArgs { once: true, port: 0, pupils: 6 };
        let shutdown = Shutdown::new();
        let (open, folder, claims) = tell(Show::here(), &args, &shutdown).await.unwrap();
        let broken: Vec<_> = claims.iter().filter(|claim| !claim.held).collect();
        assert!(broken.is_empty(), "{broken:#?}");
        shutdown.ask();
        open.end().await.unwrap();
        drop(folder);
    }
}
