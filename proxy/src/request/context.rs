//! What every request may use, made once at the start.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bulaq_allowlist::{Allowlist, HostName};
use tokio_util::task::TaskTracker;

use super::collapse::Flights;
use super::combine::Assemblies;
use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::origin::Origin;
use crate::portal::names;
use crate::portal::proxy_pac::{PacFiles, PacOptions};
use crate::portal::shelves::Shelves;
use crate::store::Store;

/// The rooms that a request passes through, and the settings of the request path itself.
pub struct Context {
    /// What the pupils may open; swapped whole when it is edited.
    pub allowlist: Arc<ArcSwap<Allowlist>>,
    /// What is kept.
    pub store: Store,
    /// The one door out.
    pub origin: Origin,
    /// The requests that are on their way.
    pub flights: Arc<Flights>,
    /// The incomplete responses that are in use.
    pub assemblies: Assemblies,
    /// The fills that are under way; they belong to no client.
    pub tasks: TaskTracker,
    /// The list that the start page shows.
    pub shelves: Shelves,
    /// The PAC files that were asked for.
    pub pac_files: PacFiles,
    /// Where exchanges are added up.
    pub ledger: Arc<Ledger>,
    /// The time.
    pub clock: Clock,
    /// The settings.
    pub options: RequestOptions,
}

/// Settings of the request path.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// How RFC 9111 is read.
    pub policy: bulaq_cache_policy::Options,
    /// The names at which the box shows its own start page, besides its addresses.
    pub own_names: Vec<HostName>,
    /// Whom a refusal page tells people to ask; none says "your teacher".
    pub contact: Option<String>,
    /// The most requests being answered at once; more are told to come again. Default 4,096.
    pub in_flight_max: usize,
    /// The gateway's domain, which is a name of the box too; none without a gateway.
    pub gateway: Option<HostName>,
    /// How long a reader waits for an origin while a stale response is at hand that may stand in. Default 3 s: a TCP
    /// handshake, TLS and an answer take 2.4 s on a satellite link of 600 ms, and who waits longer goes elsewhere.
    pub stale_after: Duration,
    /// What the PAC file says.
    pub pac: PacOptions,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self {
            policy: bulaq_cache_policy::Options::default(),
            own_names: HostName::parse("localhost")
                .into_iter()
                .chain([names::box_name().clone(), names::probe_name().clone()])
                .collect(),
            contact: None,
            in_flight_max: 4096,
            gateway: None,
            stale_after: Duration::from_secs(3),
            pac: PacOptions::default(),
        }
    }
}
