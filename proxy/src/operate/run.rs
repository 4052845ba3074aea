//! `serve`: a box from the first check to the last file closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulaq_allowlist::{Allowlist, Traffic};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::certificates;
use super::control::{Control, ControlError};
use super::desk::Desk;
use super::names::Names;
use super::operations::Operations;
use super::socket_path;
use crate::ca::{Ca, CaError, Certificates};
use crate::clock::Clock;
use crate::config::Config;
use crate::ingress::gateway::{Gateway, GatewayOptions};
use crate::ingress::transparent::RouterOptions;
use crate::ingress::transparent::keeper::keep;
use crate::ingress::{Bound, Ingress, IngressError, Inside, OnTunnel, Trust, TunnelReceipt};
use crate::ledger::{Ledger, Receipt};
use crate::origin::{Origin, OriginError};
use crate::prefetch::progress::LogLines;
use crate::request::{Source, Stack};
use crate::serve::OpenError;
use crate::shutdown::Shutdown;
use crate::workers::Workers;

/// How long fills and a night that is told to stop may take to come to an end after the last connection.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// Why a box does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data folder cannot be made.
    #[error("the data folder {} cannot be used", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A room does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No key for the box's certificates can be made.
    #[error("the box can make no certificates")]
    Ca(#[from] CaError),
    /// A door.
    #[error(transparent)]
    Ingress(#[from] IngressError),
    /// Who vouches for resolvers by TLS.
    #[error("TLS towards other resolvers cannot be set up")]
    Tls(#[from] OriginError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The threads that serve.
    #[error("the system gives no threads to serve with")]
    Workers(#[source] std::io::Error),
    /// The signals.
    #[error("the system refuses to tell signals")]
    Signals(#[source] std::io::Error),
}

/// Opens everything, serves until a signal asks for the end, and closes everything.
///
/// # Errors
/// [`RunError`] names what did not open; nothing was served then.
pub async fn run(config: Config, list: Allowlist) -> Result<(), RunError> {
    let shutdown = Shutdown::new();
    let opened = open(config, list)?;
    shutdown.listen_for_signals().map_err(RunError::Signals)?;
    let hang_up = signal(SignalKind::hangup()).map_err(RunError::Signals)?;
    opened.serve(shutdown, hang_up).await
}

/// A box whose rooms and doors are open.
struct Opened {
    desk: Arc<Desk>,
    bound: Bound,
    names: Option<Names>,
    control: Control,
    certificates: Arc<Certificates>,
    router: RouterOptions,
    trust: Arc<Trust>,
    workers: Workers,
}

fn open(config: Config, list: Allowlist) -> Result<Opened, RunError> {
    make_private(&config.data).map_err(|source| RunError::Data { path: config.data.clone(), source })?;
    let clock = Clock::system();
    let ca = Arc::new(Ca::unread(&config.data.join("ca"), clock.clone())?);
    let certificates = Arc::new(Certificates::unread(&config.certificates, Some(ca)));
    certificates::look_first(&certificates, &list);
    let trust = Arc::new(Trust::new(config.trust.clone(), clock.clone()));
    // The store's lock comes before the doors and the socket: of two boxes in one folder the second ends here.
    let desk = Arc::new(Desk::open(&config, list, Some(Arc::clone(&certificates)), clock)?);
    let router = config.ingress.router.clone();
    let names = Names::open(&config)?;
    let bound = Ingress::bind(config.ingress)?;
    let control = Control::open(&socket_path(&config.data))?;
    let workers = Workers::start(config.workers).map_err(RunError::Workers)?;
    for (door, addresses) in
        [("http", bound.http()), ("https", bound.https()), ("proxy", bound.forward()), ("router", bound.router())]
    {
        for address in addresses {
            info!(%address, "{door} is open");
        }
    }
    Ok(Opened { desk, bound, names, control, certificates, router, trust, workers })
}

impl Opened {
    async fn serve(self, shutdown: Shutdown, hang_up: Signal) -> Result<(), RunError> {
        let Self { desk, bound, names, control, certificates, router, trust, workers } = self;
        let stop = CancellationToken::new();
        let beside = Beside::start(&desk, control, router, &shutdown, &stop);
        let ended_at_once = [
            tokio::spawn(reload_on_signal(Arc::clone(&desk), hang_up)),
            tokio::spawn(certificates::watch(Arc::clone(&desk), Arc::clone(&certificates))),
            // The night ends when draining begins, not after the last download.
            tokio::spawn(stop_when_draining(stop.clone(), shutdown.clone())),
        ];
        let inside = inside(&desk, certificates, trust, &shutdown);
        let names = names.map(|names| names.answer(&desk, &shutdown));
        if let Some(names) = &names {
            names.doors_are_open();
        }
        let served = bound.on(&workers).serve(inside).await;
        if let Some(names) = names {
            names.end().await;
        }
        stop.cancel();
        ended_at_once.iter().for_each(JoinHandle::abort);
        beside.end(&shutdown).await;
        tokio::select! {
            () = desk.rooms().clone().close(CLOSE_WAIT) => {}
            // Whoever asks twice does not wait for fills; what is stored is whole, and the ledger loses a minute at most.
            () = shutdown.at_once() => desk.rooms().clone().close(Duration::ZERO).await,
        }
        info!("closed");
        Ok(served?)
    }
}

/// What every connection needs.
fn inside(
    desk: &Desk,
    certificates: Arc<Certificates>,
    trust: Arc<Trust>,
    shutdown: &Shutdown,
) -> Inside<Gateway<Stack>, Origin> {
    let rooms = desk.rooms();
    let context = &rooms.context;
    let gateway = GatewayOptions { domain: context.options.gateway.clone(), contact: context.options.contact.clone() };
    Inside {
        stack: Gateway::new(gateway, Arc::clone(&context.allowlist), rooms.stack.clone()),
        repeats: Some(rooms.repeats()),
        allowlist: Arc::clone(&context.allowlist),
        origin: context.origin.clone(),
        certificates,
        trust,
        doors: Arc::clone(desk.doors()),
        shutdown: shutdown.clone(),
        on_tunnel: receipts_of_tunnels(Arc::clone(&context.ledger)),
    }
}

/// What goes on beside serving, and is waited for at the end.
struct Beside {
    night: JoinHandle<()>,
    control: JoinHandle<()>,
    ledger: JoinHandle<()>,
    rules: JoinHandle<()>,
}

impl Beside {
    fn start(
        desk: &Arc<Desk>,
        control: Control,
        router: RouterOptions,
        shutdown: &Shutdown,
        stop: &CancellationToken,
    ) -> Self {
        let context = Arc::clone(&desk.rooms().context);
        let stopped = || stop.clone().cancelled_owned();
        Self {
            night: tokio::spawn({
                let (desk, stop) = (Arc::clone(desk), stop.clone());
                async move { desk.nights(&LogLines::default(), stop).await }
            }),
            control: tokio::spawn(control.serve(Arc::clone(desk), stopped())),
            ledger: tokio::spawn(Arc::clone(&context.ledger).keep(stopped())),
            rules: tokio::spawn({
                let (list, origin) = (Arc::clone(&context.allowlist), context.origin.clone());
                let shutdown = shutdown.clone();
                async move {
                    if router.is_on() {
                        keep(router, list, origin, shutdown).await;
                    }
                }
            }),
        }
    }

    /// Waits for each, for a bounded time, after it was told to stop.
    async fn end(self, shutdown: &Shutdown) {
        for (name, task) in [
            ("the night", self.night),
            ("the control socket", self.control),
            ("the ledger", self.ledger),
            ("the router's rules", self.rules),
        ] {
            tokio::select! {
                ended = tokio::time::timeout(CLOSE_WAIT, task) => if ended.is_err() {
                    warn!("{name} did not end in time");
                },
                () = shutdown.at_once() => {}
            }
        }
    }
}

async fn stop_when_draining(stop: CancellationToken, shutdown: Shutdown) {
    shutdown.draining().await;
    stop.cancel();
}

/// Makes the folder, closed to other accounts; one that is there stays as it is.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Bytes of a tunnel count like those of any other exchange.
fn receipts_of_tunnels(ledger: Arc<Ledger>) -> OnTunnel {
    Arc::new(move |tunnel: TunnelReceipt| {
        let site = tunnel.permit.site();
        ledger.add(&Receipt {
            site: Some(site.name().into()),
            is_zero_rated: site.traffic() == Traffic::ZeroRated,
            way: tunnel.way,
            source: Source::Origin,
            status: 200,
            reason: "tunnel",
            lan_bytes: tunnel.lan_bytes,
            wan_bytes: tunnel.wan_bytes,
        });
    })
}

/// SIGHUP reads the allowlist and the certificates again.
async fn reload_on_signal(desk: Arc<Desk>, mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        match desk.reload().await {
            Ok(done) => {
                let (sites, warnings) = (done.sites, done.warnings.len());
                info!(sites, warnings, "the allowlist and the certificates are read again");
                done.certificates.iter().for_each(|warning| warn!("{warning}"));
            }
            Err(failure) => warn!("{failure}; `bulaq allowlist check` says more"),
        }
    }
}
