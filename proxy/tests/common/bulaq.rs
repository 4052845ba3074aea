//! The box itself, whole, on free ports and with a clock that stands still.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulaq::ca::Certificates;
use bulaq::clock::Clock;
use bulaq::ingress::gateway::{Gateway, GatewayOptions};
use bulaq::ingress::{Ingress, IngressOptions, Inside, Trust, TrustOptions};
use bulaq::ledger::LedgerOptions;
use bulaq::origin::{HostOverride, OriginOptions};
use bulaq::request::RequestOptions;
use bulaq::serve::{RoomOptions, Rooms};
use bulaq::shutdown::Shutdown;
use bulaq::store::StoreOptions;
use bulaq_allowlist::Allowlist;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::soon;

/// When it all happens: Monday, 6 April 2020, 03:00 UTC.
const MORNING_S: u64 = 1_586_142_000;

/// The same as a time.
pub fn morning() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(MORNING_S)
}

/// A running box. Its folder goes with it.
pub struct Bulaq {
    /// The door for clients that believe it to be the site.
    pub http: SocketAddr,
    /// The door for clients that know it as their proxy.
    pub forward: SocketAddr,
    pub clock: Clock,
    pub rooms: Rooms,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    /// Where it keeps its files.
    pub folder: Arc<TempDir>,
}

impl Bulaq {
    /// A box whose list is `list` and for which these hosts are at `origin`.
    pub async fn start(
        list: Allowlist,
        hosts: &[&str],
        origin: SocketAddr,
        alter: impl FnOnce(&mut RoomOptions),
    ) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), list, hosts, origin, alter)
    }

    /// The same in a folder where another box was before.
    pub fn start_in(
        folder: Arc<TempDir>,
        list: Allowlist,
        hosts: &[&str],
        origin: SocketAddr,
        alter: impl FnOnce(&mut RoomOptions),
    ) -> Self {
        Self::start_with(folder, list, hosts, origin, alter, |_| {})
    }

    /// The same with other doors.
    pub fn start_with(
        folder: Arc<TempDir>,
        list: Allowlist,
        hosts: &[&str],
        origin: SocketAddr,
        alter: impl FnOnce(&mut RoomOptions),
        alter_doors: impl FnOnce(&mut IngressOptions),
    ) -> Self {
        Self::start_at(folder, Clock::held(morning()), list, hosts, origin, alter, alter_doors)
    }

    /// The same with a clock that stands elsewhere.
    pub fn start_at(
        folder: Arc<TempDir>,
        clock: Clock,
        list: Allowlist,
        hosts: &[&str],
        origin: SocketAddr,
        alter: impl FnOnce(&mut RoomOptions),
        alter_doors: impl FnOnce(&mut IngressOptions),
    ) -> Self {
        let to = HostOverride { ip: origin.ip(), port: Some(origin.port()) };
        let hosts: HashMap<_, _> = hosts.iter().map(|host| (super::name(host), vec![to])).collect();
        let mut options = RoomOptions {
            data: folder.path().to_owned(),
            store: StoreOptions {
                ballast_bytes: 0,
                free_bytes_min: 0,
                ..StoreOptions::new(folder.path().join("store"))
            },
            origin: OriginOptions { hosts, ..OriginOptions::default() },
            ledger: LedgerOptions::default(),
            request: RequestOptions::default(),
        };
        alter(&mut options);
        let rooms = Rooms::open(options, list, clock.clone()).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut doors = IngressOptions { http: vec![any], forward: vec![any], ..IngressOptions::default() };
        alter_doors(&mut doors);
        let bound = Ingress::bind(doors).unwrap();
        let (http, forward, shutdown) = (bound.http()[0], bound.forward()[0], Shutdown::new());
        let gateway = GatewayOptions { domain: rooms.context.options.gateway.clone(), contact: None };
        let inside = Inside {
            stack: Gateway::new(gateway, Arc::clone(&rooms.context.allowlist), rooms.stack.clone()),
            allowlist: Arc::clone(&rooms.context.allowlist),
            origin: rooms.context.origin.clone(),
            certificates: Arc::new(Certificates::default()),
            trust: Arc::new(Trust::new(TrustOptions::default(), clock.clone())),
            doors: Arc::default(),
            shutdown: shutdown.clone(),
            on_tunnel: Arc::new(|_| {}),
        };
        let serving = tokio::spawn(async move { bound.serve(inside).await.unwrap() });
        Self { http, forward, clock, rooms, shutdown, serving, folder }
    }

    /// Asks it to stop, and goes on: what has begun may finish.
    pub fn ask_to_stop(&self) {
        self.shutdown.ask();
    }

    /// Waits until it has stopped.
    pub async fn has_stopped(&mut self) {
        soon("the end of the box", &mut self.serving).await.unwrap();
    }

    /// Stops it in order, and gives back its folder.
    pub async fn stop(mut self) -> Arc<TempDir> {
        self.ask_to_stop();
        self.has_stopped().await;
        self.rooms.clone().close(super::PATIENCE).await;
        Arc::clone(&self.folder)
    }

    /// Waits until the store has everything that clients have.
    pub async fn has_settled(&self) {
        let tasks = &self.rooms.context.tasks;
        tasks.close();
        soon("the end of the fills", tasks.wait()).await;
        tasks.reopen();
    }
}

impl Drop for Bulaq {
    fn drop(&mut self) {
        self.shutdown.ask_at_once();
    }
}
