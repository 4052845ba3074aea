//! All sites of a file, compiled to answer one question quickly.
//!
//! Hosts are keys of a hash map; a name is looked up as it is, then without its first label, and so on, so that
//! the longest suffix wins and the cost depends on the labels of the name and not on the length of the list.
//! Then come the few rules of that one site.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use http::{Method, Uri};

use crate::evidence::Evidence;
use crate::file::{self, Loaded, Rejected};
use crate::host_name::HostName;
use crate::permit::{NotListed, Permit};
use crate::site::{HostEntry, HostPattern, Scheme, Site};

/// The sites that a school permits. Cheap to clone; never changes: a new file makes a new list.
#[derive(Debug, Clone, Default)]
pub struct Allowlist {
    compiled: Arc<Compiled>,
}

#[derive(Debug, Default)]
struct Compiled {
    sites: Vec<Arc<Site>>,
    by_name: HashMap<Arc<str>, usize>,
    hosts: HashMap<HostName, Named>,
}

/// What the list says of a name: as a host of its own, and as a suffix of others.
#[derive(Debug, Default, Clone)]
struct Named {
    exact: Option<Place>,
    suffix: Option<Place>,
}

/// A site, and which of its host entries; further entries are the same host with other ports.
#[derive(Debug, Clone)]
struct Place {
    site: usize,
    entry: usize,
    further: Vec<usize>,
}

impl Allowlist {
    /// Reads a file's text. `file_name` is only for messages.
    ///
    /// # Errors
    /// All that is wrong with the file at once, when something is; mere warnings come with the list.
    pub fn parse(file_name: &str, text: &str) -> Result<Loaded, Rejected> {
        file::parse(file_name, text, &Evidence::default())
    }

    /// As [`Allowlist::parse`], and also tells what a box's certificates and nights say about the list.
    ///
    /// # Errors
    /// As [`Allowlist::parse`]; evidence alone never refuses a file.
    pub fn parse_with(file_name: &str, text: &str, evidence: &Evidence) -> Result<Loaded, Rejected> {
        file::parse(file_name, text, evidence)
    }

    /// Compiles sites. A host that two of them name goes to the first: the file reader has refused that before.
    pub(crate) fn compile(sites: Vec<Site>) -> Allowlist {
        let sites: Vec<Arc<Site>> = sites.into_iter().map(Arc::new).collect();
        let mut hosts: HashMap<HostName, Named> = HashMap::with_capacity(sites.iter().map(|s| s.hosts.len()).sum());
        for (site_index, site) in sites.iter().enumerate() {
            for (entry_index, entry) in site.hosts.iter().enumerate() {
                let named = match hosts.entry(entry.host().clone()) {
                    Entry::Occupied(occupied) => occupied.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(Named::default()),
                };
                let place = match entry.pattern {
                    HostPattern::Exact(_) => &mut named.exact,
                    HostPattern::Suffix(_) => &mut named.suffix,
                };
                match place {
                    None => *place = Some(Place { site: site_index, entry: entry_index, further: Vec::new() }),
                    Some(place) if place.site == site_index => place.further.push(entry_index),
                    Some(_) => {}
                }
            }
        }
        let by_name = sites.iter().enumerate().map(|(index, site)| (Arc::clone(&site.name), index)).collect();
        Allowlist { compiled: Arc::new(Compiled { sites, by_name, hosts }) }
    }

    /// All sites, in the order of the file.
    pub fn sites(&self) -> &[Arc<Site>] {
        &self.compiled.sites
    }

    /// The site of this name.
    pub fn site(&self, name: &str) -> Option<&Arc<Site>> {
        self.compiled.by_name.get(name).and_then(|&index| self.compiled.sites.get(index))
    }

    /// The site that names this host, if one does: an exact name before a suffix, a longer suffix before a shorter.
    pub fn site_of(&self, host: &HostName) -> Option<&Arc<Site>> {
        self.place(host).and_then(|place| self.compiled.sites.get(place.site))
    }

    /// The entry that names this host, if one does: the first of them where several name it with different ports.
    pub fn entry_of(&self, host: &HostName) -> Option<&HostEntry> {
        self.place(host).and_then(|place| self.compiled.sites.get(place.site)?.hosts.get(place.entry))
    }

    /// Whether a request may be sent, and what the site's rules say about it.
    ///
    /// `path_and_query` is as it stands in the request target; rules see it with its escapes in one spelling.
    ///
    /// # Errors
    /// [`NotListed`] says whether the host, the port or a rule is in the way.
    pub fn permit(
        &self,
        scheme: Scheme,
        host: &HostName,
        port: u16,
        method: &Method,
        path_and_query: &str,
    ) -> Result<Permit, NotListed> {
        let mut permit = self.permit_host(scheme, host, port)?;
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let path = crate::path::normalised(path);
        permit.rule = permit.site.rules.iter().position(|rule| rule.is_for(method, &path, query));
        match permit.rule {
            Some(rule) if permit.rule().refuse => {
                Err(NotListed::Refused { host: permit.host, site: permit.site, rule })
            }
            _ => Ok(permit),
        }
    }

    /// Whether a request for an absolute URL may be sent; None when the URL is not one that this crate knows:
    /// neither http nor https, or without a host name.
    ///
    /// # Errors
    /// As [`Allowlist::permit`].
    pub fn permit_uri(&self, method: &Method, uri: &Uri) -> Option<Result<Permit, NotListed>> {
        let scheme = Scheme::parse(uri.scheme_str()?)?;
        let host = HostName::parse(uri.host()?).ok()?;
        let port = uri.port_u16().unwrap_or(scheme.default_port());
        let path_and_query = uri.path_and_query().map_or("/", |path_and_query| path_and_query.as_str());
        Some(self.permit(scheme, &host, port, method, path_and_query))
    }

    /// Whether a tunnel (CONNECT, or a spliced TLS connection) may be opened. The bytes inside are not seen, so
    /// rules for paths say nothing here; the port is one for TLS: 443 or one that the host's entry names.
    ///
    /// # Errors
    /// [`NotListed`] says whether the host or the port is in the way.
    pub fn permit_tunnel(&self, host: &HostName, port: u16) -> Result<Permit, NotListed> {
        self.permit_host(Scheme::Https, host, port)
    }

    fn permit_host(&self, scheme: Scheme, host: &HostName, port: u16) -> Result<Permit, NotListed> {
        let place = self.place(host).ok_or_else(|| NotListed::Host { host: host.clone() })?;
        let site = self.compiled.sites.get(place.site).expect("the index was taken from these sites");
        let permits = |&entry: &usize| site.hosts.get(entry).is_some_and(|entry| entry.permits(scheme, port));
        let entry = std::iter::once(place.entry).chain(place.further.iter().copied()).find(permits);
        match entry {
            Some(entry) => Ok(Permit { scheme, host: host.clone(), port, site: Arc::clone(site), entry, rule: None }),
            None => Err(NotListed::Port { host: host.clone(), scheme, port, site: Arc::clone(site) }),
        }
    }

    fn place(&self, host: &HostName) -> Option<&Place> {
        let hosts = &self.compiled.hosts;
        if let Some(place) = hosts.get(host).and_then(|named| named.exact.as_ref()) {
            return Some(place);
        }
        let mut rest = host.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(place) = hosts.get(above).and_then(|named| named.suffix.as_ref()) {
                return Some(place);
            }
            rest = above;
        }
        None
    }
}
