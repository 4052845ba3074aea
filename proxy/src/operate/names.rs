//! The resolver of a box that serves: opened with the doors, told when they are open, closed after them.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::desk::Desk;
use super::run::RunError;
use crate::config::Config;
use crate::ingress::Clients;
use crate::ingress::resolver::{BoundResolver, DnsOptions, Parts, Resolver, Switch};
use crate::origin::verifying;
use crate::shutdown::Shutdown;

/// Sockets that are bound; nobody answers yet.
pub(super) struct Names {
    bound: BoundResolver,
    options: DnsOptions,
    own: Vec<bulaq_allowlist::HostPattern>,
    clients: Clients,
    wpad: bool,
    tls: Arc<ClientConfig>,
}

/// A resolver at work.
pub(super) struct Answering {
    switch: Arc<Switch>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Names {
    /// Binds the sockets; none when `[dns]` is off.
    pub(super) fn open(config: &Config) -> Result<Option<Self>, RunError> {
        if config.dns.listen.is_empty() {
            return Ok(None);
        }
        let bound = BoundResolver::bind(&config.dns.listen)?;
        for address in bound.addresses() {
            info!(%address, "the resolver is open");
        }
        Ok(Some(Self {
            bound,
            options: config.dns.clone(),
            own: config.own_patterns(),
            clients: config.ingress.clients.clone(),
            wpad: config.request.pac.wpad,
            tls: verifying()?,
        }))
    }

    /// Begins to answer; names lead past the box until its doors are open.
    pub(super) fn answer(self, desk: &Desk, shutdown: &Shutdown) -> Answering {
        let context = &desk.rooms().context;
        let switch = Arc::new(Switch::new(shutdown.clone(), context.clock.clone()));
        let resolver = Arc::new(Resolver::new(Parts {
            options: self.options,
            list: Arc::clone(&context.allowlist),
            own: self.own,
            wpad: self.wpad,
            clients: self.clients,
            switch: Arc::clone(&switch),
            tls: self.tls,
            clock: context.clock.clone(),
        }));
        desk.has_resolver(Arc::clone(&resolver));
        let stop = CancellationToken::new();
        let task = tokio::spawn(self.bound.serve(resolver, stop.clone()));
        Answering { switch, stop, task }
    }
}

impl Answering {
    /// Says that connections are taken.
    pub(super) fn doors_are_open(&self) {
        self.switch.doors_are_open(true);
    }

    /// Ends it, once the last connection has ended: until then devices are told the way around the box.
    pub(super) async fn end(self) {
        self.switch.doors_are_open(false);
        self.stop.cancel();
        let _ = self.task.await; // it has nothing to tell
    }
}
