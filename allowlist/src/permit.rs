//! Proof that the allowlist permits a connection, and the ways in which it does not.

use std::sync::Arc;

use crate::host_name::HostName;
use crate::rule::Rule;
use crate::site::{HostEntry, Scheme, Site};

/// Proof that a site of the allowlist permits a host, a port and, unless it is for a tunnel, a request.
///
/// Whatever opens a connection to the outside demands one, so a host that no site names cannot be reached.
/// It keeps what it was made from, so it stays true to that list when the list is edited meanwhile.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(crate) scheme: Scheme,
    pub(crate) host: HostName,
    pub(crate) port: u16,
    pub(crate) site: Arc<Site>,
    /// An index into the site's hosts; only `Allowlist` writes it.
    pub(crate) entry: usize,
    pub(crate) rule: Option<usize>,
}

impl Permit {
    /// How the host is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Which host may be connected to.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// At which port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The site that permits it.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// What holds for the request: the first rule that is for it, or, with none, one that says nothing.
    pub fn rule(&self) -> &Rule {
        self.site.rule(self.rule)
    }

    /// Which of the site's rules that is, counted from 0; None when none is for the request.
    pub fn rule_index(&self) -> Option<usize> {
        self.rule
    }

    /// The entry of the site's `hosts` that names the host.
    pub fn host_entry(&self) -> &HostEntry {
        self.site.hosts.get(self.entry).expect("the index was taken from these hosts, which never change")
    }
}

/// Why the allowlist does not permit a request. [`NotListed::reason`] is the word for logs and metrics.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotListed {
    /// No site names the host.
    #[error("{host} is not on the allowlist")]
    Host {
        /// The host that was asked for.
        host: HostName,
    },
    /// A site names the host, but not with this scheme at this port.
    #[error("{host} is on the allowlist, but not {scheme} at port {port}")]
    Port {
        /// The host that was asked for.
        host: HostName,
        /// The scheme that was asked for.
        scheme: Scheme,
        /// The port that was asked for.
        port: u16,
        /// The site that names the host.
        site: Arc<Site>,
    },
    /// A rule of the site refuses such requests.
    #[error("{host} is on the allowlist, but a rule of its site refuses this path")]
    Refused {
        /// The host that was asked for.
        host: HostName,
        /// The site that names the host.
        site: Arc<Site>,
        /// Which of its rules refuses, counted from 0.
        rule: usize,
    },
}

impl NotListed {
    /// The reason in one word, the same in every log, metric and page.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Host { .. } => "host-not-listed",
            Self::Port { .. } => "port-not-listed",
            Self::Refused { .. } => "refused-by-rule",
        }
    }

    /// The host that was asked for.
    pub fn host(&self) -> &HostName {
        match self {
            Self::Host { host } | Self::Port { host, .. } | Self::Refused { host, .. } => host,
        }
    }

    /// The site that names the host, if one does.
    pub fn site(&self) -> Option<&Arc<Site>> {
        match self {
            Self::Host { .. } => None,
            Self::Port { site, .. } | Self::Refused { site, .. } => Some(site),
        }
    }
}
