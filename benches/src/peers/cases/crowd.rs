//! A class opens one page at one moment, and its site is slow.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Context as _;
use tokio::sync::Barrier;
use tokio::time::Instant;

use super::story::play;
use super::{Case, Scene, Turns};
use crate::client::Http2;
use crate::peers::contenders::{Contender, Home};
use crate::peers::figures::{Better, Figure, Target};
use crate::peers::origin::content_of;
use crate::peers::running::Running;
use crate::peers::visitor::{Seen, Visitor, body_of};
use crate::peers::world::World;
use crate::report::quantile;

/// Clients, each with a connection; over HTTP/2, each with a stream.
const CLIENTS: usize = 500;

/// Streams that share one HTTP/2 connection, as the tabs and images of a browser do.
const STREAMS_PER_CONNECTION: usize = 50;

/// The page, and how its site sends it: it begins after 2 s and ends after 3.5 s.
const PAGE_BYTES: u64 = 1 << 20;
const MANNER: &str = "slow-2000-1500";

/// From the origin's first byte to that of 99 of 100 clients, in milliseconds.
const FIRST_BYTE_MS_MAX: f64 = 30.0;

/// Processor time for all of them.
const CPU_S_MAX: f64 = 0.25;

pub(crate) struct Crowd;

/// How a crowd asks, and the names of its rows.
struct Way {
    range: Option<&'static str>,
    is_http2: bool,
    requests: &'static str,
    first_p50: &'static str,
    first_p99: &'static str,
    last_p50: &'static str,
    cpu: &'static str,
}

static WHOLE: Way = Way {
    range: None,
    is_http2: false,
    requests: "requests to the origin",
    first_p50: "first byte after the origin's, p50",
    first_p99: "first byte after the origin's, p99",
    last_p50: "last byte after the origin's, p50",
    cpu: "CPU",
};

/// What a crowd also does, with the box alone: nobody else answers ranges of what is still coming, or speaks HTTP/2 in
/// the clear as well.
static OTHERS: [Way; 2] = [
    Way {
        range: Some("bytes=0-"),
        is_http2: false,
        requests: "ranges: requests to the origin",
        first_p50: "ranges: first byte after the origin's, p50",
        first_p99: "ranges: first byte after the origin's, p99",
        last_p50: "ranges: last byte after the origin's, p50",
        cpu: "ranges: CPU",
    },
    Way {
        range: None,
        is_http2: true,
        requests: "HTTP/2: requests to the origin",
        first_p50: "HTTP/2: first byte after the origin's, p50",
        first_p99: "HTTP/2: first byte after the origin's, p99",
        last_p50: "HTTP/2: last byte after the origin's, p50",
        cpu: "HTTP/2: CPU",
    },
];

impl Way {
    fn rows(&self, is_main: bool) -> Vec<Figure> {
        let most = |name, unit, most| Figure::told(name, unit, Better::Less).with_target(Target::AtMost(most));
        // A range of a page is asked for as such first; the rest of the page is a second request.
        let requests_max = if self.range.is_some() { 2.0 } else { 1.0 };
        vec![
            most(self.requests, "", requests_max),
            Figure::told(self.first_p50, "ms", Better::Less),
            Figure { is_main, ..most(self.first_p99, "ms", FIRST_BYTE_MS_MAX) },
            Figure::told(self.last_p50, "ms", Better::Less),
            most(self.cpu, "s", CPU_S_MAX),
        ]
    }
}

impl Case for Crowd {
    fn name(&self) -> &'static str {
        "crowd"
    }

    fn what(&self) -> String {
        format!(
            "{CLIENTS} clients ask for one cold page of 1 MiB at one moment; its site begins after 2 s and ends after 3.5 s"
        )
    }

    fn rows(&self) -> Vec<Figure> {
        let mut rows = WHOLE.rows(true);
        rows.extend(OTHERS.iter().flat_map(|way| way.rows(false)));
        rows
    }

    fn begin<'a>(&'a self, scene: &Scene<'a>, contender: Contender) -> anyhow::Result<Box<dyn Turns + 'a>> {
        let home = scene.settle(contender)?;
        let running = home.start(scene.world)?;
        Ok(Box::new(Ready { world: scene.world, home, running, pages: 0 }))
    }
}

struct Ready<'a> {
    world: &'a World,
    running: Running,
    home: Home,
    pages: u32,
}

impl Turns for Ready<'_> {
    fn turn(&mut self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let mut values = self.one(&WHOLE)?;
        if self.home.contender == Contender::Bulaq {
            for way in &OTHERS {
                values.extend(self.one(way).with_context(|| way.requests)?);
            }
        }
        Ok(values)
    }
}

impl Ready<'_> {
    fn one(&mut self, way: &'static Way) -> anyhow::Result<Vec<(&'static str, f64)>> {
        self.pages += 1;
        let path = format!("/{MANNER}/{PAGE_BYTES}/page-{}", self.pages);
        let (asked, cpu_s) = (self.world.origin().asked(), self.running.cpu_s()?);
        let crowd = if way.is_http2 {
            play(over_http2(self.running.http, &path))
        } else {
            play(over_http1(self.running.http, &path, way.range))
        };
        let seen = crowd??;
        let cpu_s = self.running.cpu_s()? - cpu_s;
        let asked = self.world.origin().asked().since(asked);
        let (first, last) = self.world.origin().slow_times().context("the origin sent nothing")?;
        let mut firsts: Vec<f64> = seen.iter().map(|client| ms_after(client.first_byte, first)).collect();
        let mut lasts: Vec<f64> = seen.iter().map(|client| ms_after(client.end, last)).collect();
        Ok(vec![
            (way.requests, asked.requests as f64),
            (way.first_p50, quantile(&mut firsts, 0.5)),
            (way.first_p99, quantile(&mut firsts, 0.99)),
            (way.last_p50, quantile(&mut lasts, 0.5)),
            (way.cpu, cpu_s),
        ])
    }
}

fn ms_after(then: Instant, since: std::time::Instant) -> f64 {
    then.into_std().saturating_duration_since(since).as_secs_f64() * 1_000.0
}

async fn over_http1(door: SocketAddr, path: &str, range: Option<&'static str>) -> anyhow::Result<Vec<Seen>> {
    let (expected, path): (Rc<[u8]>, Rc<str>) = (body_of(path).into(), path.into());
    let ready = Rc::new(Barrier::new(CLIENTS));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (expected, path, ready) = (Rc::clone(&expected), Rc::clone(&path), Rc::clone(&ready));
        clients.push(tokio::task::spawn_local(async move {
            let mut visitor = Visitor::connect(door).await?;
            ready.wait().await;
            visitor.get(&path, range, &expected).await
        }));
    }
    all(clients).await
}

async fn over_http2(door: SocketAddr, path: &str) -> anyhow::Result<Vec<Seen>> {
    let content = content_of(path).context("not an address of the origin")?;
    let path: Rc<str> = path.into();
    let ready = Rc::new(Barrier::new(CLIENTS));
    let mut clients = Vec::new();
    let mut shared = Http2::connect(door).await?;
    for number in 0..CLIENTS {
        if number > 0 && number % STREAMS_PER_CONNECTION == 0 {
            shared = Http2::connect(door).await?;
        }
        let (path, ready, http2) = (Rc::clone(&path), Rc::clone(&ready), shared.clone());
        clients.push(tokio::task::spawn_local(async move {
            ready.wait().await;
            let mut answer = http2.get(&path, None).await?;
            answer.next(&content).await?.context("no content")?;
            let first_byte = Instant::now();
            answer.read(&content, u64::MAX).await?;
            anyhow::ensure!(answer.position == content.bytes, "the content ended at {}", answer.position);
            Ok(Seen { first_byte, end: Instant::now() })
        }));
    }
    all(clients).await
}

async fn all(clients: Vec<tokio::task::JoinHandle<anyhow::Result<Seen>>>) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::with_capacity(clients.len());
    for client in clients {
        seen.push(client.await??);
    }
    Ok(seen)
}
