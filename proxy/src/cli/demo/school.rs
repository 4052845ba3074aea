//! The demo's school: a whole box, opened from its configuration file as `bulaq serve` would.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bulaq_allowlist::Allowlist;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::folder::ALLOWLIST;
use crate::ca::Certificates;
use crate::clock::Clock;
use crate::config::Config;
use crate::ingress::{Bound, Ingress, IngressError, Inside, Trust, TrustOptions};
use crate::ledger::{Period, Totals};
use crate::prefetch::Night;
use crate::prefetch::progress::Progress;
use crate::prefetch::report::NightReport;
use crate::request::Stack;
use crate::serve::{RoomOptions, Rooms};
use crate::shutdown::Shutdown;

/// How long the fills under way may take when the demo ends.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long the ledger may take to hear of an exchange whose last byte a pupil has already.
const RECEIPT_WAIT: Duration = Duration::from_secs(2);

/// How many stored responses one question to the store asks for.
const LIST_STEP: usize = 512;

/// The box of the demo's school.
pub(crate) struct School {
    rooms: Rooms,
    night: Night<Stack>,
    bound: Bound,
}

/// The box while it serves.
pub(crate) struct Open {
    rooms: Rooms,
    address: SocketAddr,
    serving: JoinHandle<Result<(), IngressError>>,
    shutdown: Shutdown,
}

impl School {
    /// Opens every room and every door of the configuration; nobody is answered yet.
    ///
    /// # Errors
    /// Whatever keeps a box from starting, with its place.
    pub(crate) fn open(config_file: &Path) -> anyhow::Result<Self> {
        let config = Config::load(config_file).context("the demo's own configuration")?.config;
        let list = Allowlist::parse("allowlist.toml", ALLOWLIST).context("the demo's own allowlist")?.allowlist;
        let bound = Ingress::bind(config.ingress)?;
        let options = RoomOptions {
            data: config.data.clone(),
            store: config.store,
            origin: config.origin,
            ledger: config.ledger,
            request: config.request,
        };
        let rooms = Rooms::open(options, list, Clock::system())?;
        let allowlist = Arc::clone(&rooms.context.allowlist);
        let night = Night::new(config.night, allowlist, rooms.stack.clone(), Clock::system(), &config.data);
        Ok(Self { rooms, night, bound })
    }

    /// Runs one night over all sites.
    ///
    /// # Errors
    /// When it cannot begin, or its report cannot be kept.
    pub(crate) async fn night(&self, progress: &dyn Progress, stop: CancellationToken) -> anyhow::Result<NightReport> {
        Ok(self.night.run(None, None, progress, stop).await?)
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// When the box has no certificates to show or no door, which its configuration rules out.
    pub(crate) fn serve(self, shutdown: Shutdown) -> anyhow::Result<Open> {
        let address = self.bound.http().first().copied().context("the demo's box has no door")?;
        let context = &self.rooms.context;
        let inside = Inside {
            stack: self.rooms.stack.clone(),
            repeats: Some(self.rooms.repeats()),
            allowlist: Arc::clone(&context.allowlist),
            origin: context.origin.clone(),
            certificates: Arc::new(Certificates::new(&[], None)?),
            trust: Arc::new(Trust::new(TrustOptions::default(), context.clock.clone())),
            doors: Arc::default(),
            shutdown: shutdown.clone(),
            on_tunnel: Arc::new(|_| {}), // no site of the demo is spliced
        };
        let serving = tokio::spawn(self.bound.serve(inside));
        Ok(Open { rooms: self.rooms, address, serving, shutdown })
    }
}

impl Open {
    /// Where pupils are answered.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URLs of everything that is stored whole.
    pub(crate) async fn stored(&self) -> BTreeSet<String> {
        let mut urls = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.rooms.context.store.list(None, after, LIST_STEP).await;
            urls.extend(page.listed.into_iter().filter(|listed| listed.is_complete()).map(|listed| listed.url));
            after = page.next;
            if after.is_none() {
                return urls;
            }
        }
    }

    /// The ledger of today, once it has heard of at least `requests` exchanges of pupils.
    ///
    /// # Errors
    /// When the ledger's files cannot be read.
    pub(crate) async fn totals(&self, requests: u64) -> anyhow::Result<Totals> {
        let ledger = &self.rooms.context.ledger;
        let today = Period::parse("today", ledger.today())?;
        let settled = async {
            while ledger.totals(today).is_ok_and(|totals| totals.all.requests() < requests) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // A receipt that is later than this is missing in the table, and the table is not what the claims stand on.
        let _late = tokio::time::timeout(RECEIPT_WAIT, settled).await;
        Ok(ledger.totals(today)?)
    }

    /// Waits for the end and closes everything in order.
    ///
    /// # Errors
    /// When serving failed.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.shutdown.draining().await;
        let served = self.serving.await.context("the doors did not close in order")?;
        self.rooms.close(CLOSE_WAIT).await;
        Ok(served?)
    }
}
