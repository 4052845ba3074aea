//! The one door out: every connection to the outside begins here, and needs a [`Permit`].
//!
//! A request goes through the shield (a place among those in flight; a pause for an origin that is ill), takes a
//! connection of the pool or opens one (name, checked addresses, socket, TLS), is cleaned of what must not leave, and
//! comes back as a response whose content ends only where the origin said that it ends. Redirects are answers like any
//! other; nothing is decompressed; no proxy of the environment is asked.

mod address;
mod body;
mod breaker;
mod connect;
mod connection;
mod exchange;
mod fields;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http1;
mod led;
pub mod options;
mod outgoing;
mod pool;
mod resolve;
mod shield;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use bulaq_allowlist::{HostName, Permit};
use http::{Request, Response};
use tokio::net::TcpStream;

pub use self::body::{OriginBody, WanBytes};
pub(crate) use self::fields::remove_what_never_leaves;
pub use self::options::{HostOverride, OriginOptions};
pub(crate) use self::tls::verifying;

pub use self::exchange::SecondTry;
use self::pool::{Key, Pool};
use self::resolve::Resolver;
use self::shield::Shield;
use self::tls::Tls;
use crate::clock::Clock;
use crate::ingress::Dial;
use crate::request::{ForwardError, RequestBody};

/// The way to all origins; cheap to clone, and all clones share connections and limits.
#[derive(Clone)]
pub struct Origin(Arc<Inner>);

struct Inner {
    options: OriginOptions,
    clock: Clock,
    resolver: Resolver,
    tls: Tls,
    pool: Arc<Pool>,
    shield: Shield,
}

/// Why there is no way out with these options.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// A file of extra roots cannot be read, or holds no usable certificate.
    #[error("the extra roots of site `{site}` in {} cannot be used: {detail}", file.display())]
    ExtraRoot {
        /// The site.
        site: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {detail}")]
    Tls {
        /// What is wrong.
        detail: String,
    },
    /// The name servers cannot be used.
    #[error("the name servers cannot be used: {detail}")]
    Resolver {
        /// What is wrong.
        detail: String,
    },
}

impl Origin {
    /// A way out. Opens no connection yet; reads the files of extra roots.
    ///
    /// # Errors
    /// [`OriginError`] when a file of extra roots is unusable, or TLS or the name servers cannot be set up.
    pub fn new(options: OriginOptions, clock: Clock) -> Result<Self, OriginError> {
        Ok(Self(Arc::new(Inner {
            resolver: Resolver::new(&options, clock.clone())?,
            tls: Tls::new(&options.extra_roots)?,
            pool: Pool::new(&options),
            shield: Shield::new(&options, clock.clone()),
            clock,
            options,
        })))
    }

    /// Sends a request to where the permit leads, and returns the head of the response once it is there.
    ///
    /// Only method, path, query, fields and content are taken from the request; scheme, host and port are the
    /// permit's. The response carries [`WanBytes`] among its extensions and only end-to-end fields.
    ///
    /// A request is sent a second time, once, when nothing of it was written, when the origin says that it did nothing
    /// with it, or, without content and with a safe method, when a connection of the pool was lost before the origin can
    /// have seen it; with [`SecondTry`] among its extensions also after any other refused or lost connection. Nothing else
    /// is repeated, and nothing twice.
    ///
    /// # Errors
    /// [`ForwardError`], in RFC 9209's words.
    pub async fn send(
        &self,
        permit: &Permit,
        request: Request<RequestBody>,
    ) -> Result<Response<OriginBody>, ForwardError> {
        let key = Key::from(permit);
        let (slot, watch) = self.0.shield.enter(&key).await?;
        match self.0.exchange(permit, key, slot, request).await {
            Ok(response) => {
                watch.answered(exchange::retry_after(&response, self.0.clock.now()));
                Ok(response)
            }
            Err(error) => {
                watch.failed(&error);
                Err(error)
            }
        }
    }

    /// Opens a bare connection to where the permit leads: for splice and CONNECT.
    ///
    /// # Errors
    /// [`ForwardError`], in RFC 9209's words.
    pub async fn connect(&self, permit: &Permit) -> Result<TcpStream, ForwardError> {
        let watch = self.0.shield.pass(&Key::from(permit))?;
        match self.0.socket(permit).await {
            Ok((stream, _round_trip)) => {
                watch.answered(None);
                Ok(stream)
            }
            Err(error) => {
                watch.failed(&error);
                Err(error)
            }
        }
    }
}

impl Origin {
    /// Where the permit's host leads; asked for now, or known from a moment ago.
    ///
    /// # Errors
    /// [`ForwardError`], in RFC 9209's words.
    pub(crate) async fn addresses(&self, permit: &Permit) -> Result<Vec<SocketAddr>, ForwardError> {
        self.0.resolver.resolve(permit).await
    }

    /// The hosts that were resolved in the last hours, each with the addresses that it led to.
    pub(crate) fn led(&self) -> impl Iterator<Item = (Arc<HostName>, Arc<[IpAddr]>)> {
        self.0.resolver.led()
    }
}

/// Tunnels go through the same door.
impl Dial for Origin {
    async fn dial(&self, permit: &Permit) -> Result<TcpStream, ForwardError> {
        self.connect(permit).await
    }

    async fn leads_to(&self, permit: &Permit, address: IpAddr) -> Result<bool, ForwardError> {
        self.0.resolver.leads_to(permit, address).await
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}
