//! The box itself, whole, on free ports and with a clock that stands still.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use tower::ServiceExt;

use super::soon;

/// When it all happens: Monday, 6 April 2020, 03:00 UTC.
const MORNING_S: u64 = 1_586_142_000;

/// The same as a time.
pub fn morning() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(MORNING_S)
}

/// How hits are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hits {
    /// From the memo where it has them.
    Repeated,
    /// Each by the stack.
    Ordinary,
}

/// In what two boxes may differ that have the same list, origin and time.
pub struct Manner {
    pub hits: Hits,
    /// What is shown to clients over TLS.
    pub certificates: Certificates,
}

/// A running box. Its folder goes with it.
pub struct Bulaq {
    /// The door for clients that believe it to be the site.
    pub http: SocketAddr,
    /// The door for clients that know it as their proxy.
    pub forward: SocketAddr,
    /// The same as `http` with TLS, when there is one.
    pub https: Option<SocketAddr>,
    pub clock: Clock,
    pub rooms: Rooms,
    /// How many requests have come to the stack.
    pub reached: Arc<AtomicUsize>,
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
        let manner = Manner { hits: Hits::Repeated, certificates: Certificates::default() };
        Self::start_as(manner, folder, clock, list, hosts, origin, alter, alter_doors)
    }

    /// The same in another manner.
    #[allow(clippy::too_many_arguments, reason = "everything that can be said of a box")]
    pub fn start_as(
        manner: Manner,
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
                commit_delay: Duration::ZERO,
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
        let https = bound.https().first().copied();
        let reached = Arc::<AtomicUsize>::default();
        let counted = {
            let (reached, stack) = (Arc::clone(&reached), rooms.stack.clone());
            tower::service_fn(move |request| {
                reached.fetch_add(1, Ordering::SeqCst);
                stack.clone().oneshot(request)
            })
        };
        let gateway = GatewayOptions { domain: rooms.context.options.gateway.clone(), contact: None };
        let inside = Inside {
            stack: Gateway::new(gateway, Arc::clone(&rooms.context.allowlist), counted),
            repeats: (manner.hits == Hits::Repeated).then(|| rooms.repeats()),
            allowlist: Arc::clone(&rooms.context.allowlist),
            origin: rooms.context.origin.clone(),
            certificates: Arc::new(manner.certificates),
            trust: Arc::new(Trust::new(TrustOptions::default(), clock.clone())),
            doors: Arc::default(),
            shutdown: shutdown.clone(),
            on_tunnel: Arc::new(|_| {}),
        };
        let serving = tokio::spawn(async move { bound.serve(inside).await.unwrap() });
        Self { http, forward, https, clock, rooms, reached, shutdown, serving, folder }
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
