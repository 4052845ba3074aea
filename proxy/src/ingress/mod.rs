//! How a connection reaches the box, and what is refused at the door.
//!
//! Three kinds of door that clients address. *http*: the client believes us to be the site, so its `Host` says which.
//! *https*: the same with TLS; the name in the ClientHello and what is known of the device (`trust`) decide between
//! splice, terminate and no. *forward*: the client knows us as its proxy (absolute-form, CONNECT). Each turns what comes into one kind of request, with an
//! [`Arrival`](crate::request::Arrival) that says how it came and not from whom, and gives it to the stack.
//!
//! A fourth kind takes what clients address to the sites themselves and a router hands over (`transparent`).
//!
//! On the way: `connection/framing` refuses bytes with two meanings before hyper sees them, `guarded` ends every wait,
//! `admit` puts heads in order. WebSocket is answered with 501; another `Upgrade` is ignored, as RFC 9110 §7.8
//! allows; bytes are tunnelled after a 200 to CONNECT and at no other time. HTTP/3 has no door.

mod connection;
pub mod doors;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod gateway;
pub mod limits;
mod listener;
mod places;
pub mod resolver;
#[cfg(test)]
mod tests;
mod tls;
pub mod transparent;
pub mod trust;
mod tunnel;

#[cfg(feature = "benches")]
pub(crate) use connection::benches;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bulaq_allowlist::{Allowlist, HostName};
use http::{Request, Response};
use ipnet::IpNet;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

pub use self::doors::Doors;
pub use self::forward::Clients;
pub use self::limits::Limits;
pub use self::trust::{Trust, TrustOptions};
pub use self::tunnel::{Dial, OnTunnel, TunnelReceipt};

use self::limits::OutOfRange;
use self::places::{PerClient, Place, Places};
use self::transparent::{Mode, RouterOptions};
use crate::ca::Certificates;
use crate::request::{Repeats, RequestBody, ResponseBody};
use crate::shutdown::Shutdown;
use crate::workers::Workers;

/// Where the box listens, and how much it takes.
#[derive(Clone, Debug)]
pub struct IngressOptions {
    /// For clients that believe us to be the site, without TLS; also HTTP/2 without being asked.
    pub http: Vec<SocketAddr>,
    /// The same with TLS.
    pub https: Vec<SocketAddr>,
    /// For clients that know us as their proxy.
    pub forward: Vec<SocketAddr>,
    /// Whose clients may see `Cache-Status`: the operators' networks.
    pub operators: Vec<IpNet>,
    /// Whose clients may send `PURGE`; nobody's by default: `bulaq purge` on the box does the same.
    pub purgers: Vec<IpNet>,
    /// The gateway's domain; https connections to it and to names below it end at the box.
    pub gateway: Option<HostName>,
    /// Whose clients the forward door serves.
    pub clients: Clients,
    /// The doors for what a router hands over.
    pub router: RouterOptions,
    /// How much is taken, and for how long.
    pub limits: Limits,
}

impl Default for IngressOptions {
    /// No door yet; the operators are those who sit at the box itself.
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network in its usual form"));
        let (http, https, forward) = (Vec::new(), Vec::new(), Vec::new());
        let (operators, purgers, clients) = (loopback.to_vec(), Vec::new(), Clients::default());
        let router = RouterOptions::default();
        Self { http, https, forward, operators, purgers, gateway: None, clients, router, limits: Limits::default() }
    }
}

/// Why the box cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// Another program, or another Bulaq, has the port.
    #[error("{address} is taken by another program; stop that, or choose another port (`ss -ltnp` shows who has it)")]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// A port below 1024 without the right to it.
    #[error(
        "{address} needs a right that this account does not have; choose a port from 1024 up, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE"
    )]
    Privilege {
        /// The address.
        address: SocketAddr,
    },
    /// A door for what a router hands over, without the right to answer in the name of others.
    #[error(
        "{address} is to take connections that were going elsewhere, which needs a right that this account does not have; give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE"
    )]
    Transparency {
        /// The address.
        address: SocketAddr,
    },
    /// An address that this machine does not have.
    #[error("{address} is not an address of this machine; `ip address` shows those it has")]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A limit outside its range.
    #[error(transparent)]
    Limit(#[from] OutOfRange),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DoorKind {
    Http,
    Https,
    Forward,
    /// What a router hands over that was going to port 80.
    TransparentHttp,
    /// The same of port 443.
    TransparentHttps,
}

/// The ways in.
#[derive(Debug)]
pub struct Ingress;

impl Ingress {
    /// Opens all doors; none stays open when one cannot be. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`IngressError`] names the address and says what to do.
    pub fn bind(options: IngressOptions) -> Result<Bound, IngressError> {
        options.limits.check()?;
        let router = &options.router;
        let doors = [
            (DoorKind::Http, &options.http),
            (DoorKind::Https, &options.https),
            (DoorKind::Forward, &options.forward),
            (DoorKind::TransparentHttp, &router.http),
            (DoorKind::TransparentHttps, &router.https),
        ];
        let mut listeners = Vec::new();
        for (kind, addresses) in doors {
            for &address in addresses {
                let failed = |source| explain(address, kind, router.mode, source);
                let listener = match kind {
                    DoorKind::Http | DoorKind::Https | DoorKind::Forward => listener::bind(address),
                    DoorKind::TransparentHttp | DoorKind::TransparentHttps => transparent::bind(address, router.mode),
                }
                .map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                listeners.push((kind, local, listener));
            }
        }
        Ok(Bound { listeners, options, threads: Vec::new() })
    }
}

fn explain(address: SocketAddr, kind: DoorKind, mode: Mode, source: io::Error) -> IngressError {
    let is_of_router = matches!(kind, DoorKind::TransparentHttp | DoorKind::TransparentHttps);
    match source.kind() {
        io::ErrorKind::PermissionDenied if is_of_router && mode == Mode::Tproxy => {
            IngressError::Transparency { address }
        }
        io::ErrorKind::AddrInUse => IngressError::Taken { address },
        io::ErrorKind::PermissionDenied => IngressError::Privilege { address },
        io::ErrorKind::AddrNotAvailable => IngressError::NotOurs { address },
        _ => IngressError::Listen { address, source },
    }
}

/// Doors that are open; nobody answers yet.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<(DoorKind, SocketAddr, TcpListener)>,
    options: IngressOptions,
    /// The threads that are to serve.
    threads: Vec<Handle>,
}

/// What answers requests: the stack. Every service with these types is one.
pub trait Answers:
    Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What stands behind the doors.
pub struct Inside<S, D> {
    /// The stack that answers every request.
    pub stack: S,
    /// The answers that are repeated without asking the stack; none where it is to be asked each time.
    pub repeats: Option<Arc<Repeats>>,
    /// The list of today; a new one is swapped in.
    pub allowlist: Arc<ArcSwap<Allowlist>>,
    /// The way to origins, for tunnels.
    pub origin: D,
    /// What is shown to clients of `terminate` sites.
    pub certificates: Arc<Certificates>,
    /// Which devices trust the CA.
    pub trust: Arc<Trust>,
    /// What the doors did, counted.
    pub doors: Arc<Doors>,
    /// Ends it.
    pub shutdown: Shutdown,
    /// Hears of each tunnel that has ended.
    pub on_tunnel: OnTunnel,
}

/// Who is at the other end of a connection, as far as the door must know. It goes no further than the door.
#[derive(Clone, Debug)]
struct Caller {
    peer: IpAddr,
    /// Its place among all connections, kept for as long as anything of the connection lasts.
    _place: Arc<Place>,
}

/// What every connection shares.
struct Behind<S, D> {
    stack: S,
    repeats: Option<Arc<Repeats>>,
    allowlist: Arc<ArcSwap<Allowlist>>,
    dial: D,
    certificates: Arc<Certificates>,
    trust: Arc<Trust>,
    doors: Arc<Doors>,
    /// How TLS is ended, but for the certificate.
    tls: tls::Settings,
    limits: Limits,
    operators: Vec<IpNet>,
    purgers: Vec<IpNet>,
    gateway: Option<HostName>,
    clients: Clients,
    router: RouterOptions,
    /// The forward doors' addresses.
    forward: Vec<SocketAddr>,
    places: Places,
    tasks: TaskTracker,
    shutdown: Shutdown,
    /// The end of everything that draining has not ended.
    cut: CancellationToken,
    on_tunnel: OnTunnel,
}

impl<S, D> Behind<S, D> {
    fn new(inside: Inside<S, D>, options: IngressOptions) -> Result<Self, IngressError> {
        let IngressOptions { limits, operators, purgers, gateway, clients, router, forward, .. } = options;
        let Inside { stack, repeats, allowlist, origin, certificates, trust, doors, shutdown, on_tunnel } = inside;
        let tls = tls::Settings::new().map_err(IngressError::Tls)?;
        Ok(Self {
            stack,
            repeats,
            allowlist,
            dial: origin,
            certificates,
            trust,
            doors,
            tls,
            places: Places::new(connections_max(&limits), PerClient::new(limits.connections_per_client_max)),
            limits,
            operators,
            purgers,
            gateway,
            clients,
            router,
            forward,
            tasks: TaskTracker::new(),
            shutdown,
            cut: CancellationToken::new(),
            on_tunnel,
        })
    }
}

impl<S, D> Behind<S, D> {
    /// Where a client that came to `local` finds the forward door, if that door serves it.
    fn forward_door(&self, local: SocketAddr, peer: IpAddr) -> Option<SocketAddr> {
        forward::door_beside(&self.forward, local).filter(|_| self.clients.has(peer))
    }
}

impl Bound {
    /// The http doors' addresses, with the ports that the system chose where 0 was asked for.
    pub fn http(&self) -> Vec<SocketAddr> {
        self.addresses(DoorKind::Http)
    }

    /// The https doors' addresses.
    pub fn https(&self) -> Vec<SocketAddr> {
        self.addresses(DoorKind::Https)
    }

    /// The forward doors' addresses.
    pub fn forward(&self) -> Vec<SocketAddr> {
        self.addresses(DoorKind::Forward)
    }

    /// The addresses of the doors for what a router hands over: http, then https.
    pub fn router(&self) -> Vec<SocketAddr> {
        [self.addresses(DoorKind::TransparentHttp), self.addresses(DoorKind::TransparentHttps)].concat()
    }

    fn addresses(&self, wanted: DoorKind) -> Vec<SocketAddr> {
        self.listeners.iter().filter(|(kind, _, _)| *kind == wanted).map(|(_, local, _)| *local).collect()
    }

    /// Has these threads serve the connections, each those that it takes; without any it is the caller's.
    #[must_use]
    pub fn on(self, workers: &Workers) -> Self {
        Self { threads: workers.handles().to_vec(), ..self }
    }

    /// Serves until the shutdown is asked for; then takes nothing new and lets what has begun finish, for as long as
    /// `drain_s` allows. Returns when the last connection has ended.
    ///
    /// # Errors
    /// At once: [`IngressError::Tls`] when TLS cannot be set up, [`IngressError::Listen`] when a socket cannot be shared
    /// among the threads.
    pub async fn serve<S, D>(mut self, inside: Inside<S, D>) -> Result<(), IngressError>
    where
        S: Answers,
        D: Dial,
    {
        let shutdown = inside.shutdown.clone();
        self.options.forward = self.forward(); // with the ports that the system chose
        if self.threads.is_empty() {
            self.threads.push(Handle::current());
        }
        let behind = Arc::new(Behind::new(inside, self.options)?);
        let tasks = behind.tasks.clone();
        for (kind, address, listener) in self.listeners {
            let shared = listener::share(listener, &self.threads);
            for (listener, thread) in shared.map_err(|source| IngressError::Listen { address, source })? {
                tasks.spawn_on(listener::accept(Arc::clone(&behind), listener, kind), thread);
            }
        }
        tasks.close();
        shutdown.draining().await;
        tokio::select! {
            ended = timeout(behind.limits.drain(), tasks.wait()) => if ended.is_err() {
                tracing::info!(connections = tasks.len(), "connections that did not end in time are cut");
            },
            () = shutdown.at_once() => {}
        }
        behind.cut.cancel();
        tasks.wait().await;
        Ok(())
    }
}

/// As many connections as the configuration says, if that many files may be open: each may need a socket of its own,
/// one to an origin and a stored file. What the system grants us at most is asked for first.
fn connections_max(limits: &Limits) -> u64 {
    let mut files = getrlimit(Resource::Nofile);
    if files.current < files.maximum
        && setrlimit(Resource::Nofile, rustix::process::Rlimit { current: files.maximum, ..files }).is_ok()
    {
        files.current = files.maximum;
    }
    let affordable = files.current.map_or(u64::MAX, |files| files / 3).max(limits::CONNECTIONS_MAX.min);
    if affordable < limits.connections_max {
        tracing::warn!(
            affordable,
            configured = limits.connections_max,
            "fewer connections than configured: raise the limit of open files (LimitNOFILE of the service)"
        );
    }
    limits.connections_max.min(affordable)
}
