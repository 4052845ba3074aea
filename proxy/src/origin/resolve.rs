//! A permitted name to the addresses that may be connected to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bulaq_allowlist::{HostName, Permit};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use moka::sync::Cache;
use tokio::time::timeout;

use super::OriginError;
use super::address::is_public;
use super::led::Led;
use super::options::{HostOverride, OriginOptions};
use crate::clock::Clock;
use crate::request::ForwardError;

/// How long the system's answer is believed: it comes without its time to live.
const SYSTEM_ANSWER_TTL: Duration = Duration::from_secs(60);

/// The longest that any answer is believed, so that a moved origin is found again.
const ANSWER_TTL_MAX: Duration = Duration::from_secs(3600);

/// How long "no such name" is believed: short, because links of schools lie when they are down.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);

/// Names whose answers are remembered; a suffix rule lets clients make up names.
const ANSWERS_MAX: u64 = 4096;

/// Addresses of one name that are looked at; a hostile zone can list thousands.
const ADDRESSES_MAX: usize = 16;

/// Resolves names, and lets only addresses through that the site may be reached at.
pub(super) struct Resolver {
    overrides: HashMap<HostName, Vec<HostOverride>>,
    by: By,
    timeout: Duration,
    clock: Clock,
    led: Led,
}

enum By {
    /// Whatever the system does.
    System(Cache<HostName, Arc<[IpAddr]>>),
    /// These name servers alone: no hosts file, no search list. That is the way past a split-horizon resolver.
    Servers(Box<TokioResolver>),
}

impl Resolver {
    pub(super) fn new(options: &OriginOptions, clock: Clock) -> Result<Self, OriginError> {
        let by = if options.dns_servers.is_empty() {
            By::System(Cache::builder().max_capacity(ANSWERS_MAX).time_to_live(SYSTEM_ANSWER_TTL).build())
        } else {
            By::Servers(Box::new(of_servers(&options.dns_servers, options.dns_timeout)?))
        };
        let led = Led::new(clock.now());
        Ok(Self { overrides: options.hosts.clone(), by, timeout: options.dns_timeout, clock, led })
    }

    /// The addresses to try. They are what is then connected to: a second look-up could give another answer.
    pub(super) async fn resolve(&self, permit: &Permit) -> Result<Vec<SocketAddr>, ForwardError> {
        let host = permit.host();
        if let Some(overrides) = self.overrides.get(host) {
            let addresses: Vec<_> = overrides.iter().map(|o| o.address(permit.port())).collect();
            let found: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
            self.led.found(host, &found, self.clock.now());
            return Ok(addresses);
        }
        match self.ask(permit).await {
            Ok(addresses) => {
                self.led.answered(self.clock.now());
                self.led.found(host, &addresses, self.clock.now());
                Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, permit.port())).collect())
            }
            Err(error) => {
                self.led.failed(host, self.clock.now());
                Err(error)
            }
        }
    }

    async fn ask(&self, permit: &Permit) -> Result<Vec<IpAddr>, ForwardError> {
        let (host, site) = (permit.host(), permit.site());
        let found = timeout(self.timeout, self.look_up(host))
            .await
            .unwrap_or_else(|_| Err(ForwardError::DnsTimeout { host: host.to_string(), after: self.timeout }))?;
        permitted(&found, |address| site.names_address(address)).map_err(|no| match no {
            NoAddress::None => ForwardError::Dns { host: host.to_string() },
            NoAddress::Prohibited => ForwardError::DestinationIpProhibited { host: host.to_string() },
        })
    }

    /// Whether the permit's host leads to an address, or did in the last hours.
    pub(super) async fn leads_to(&self, permit: &Permit, address: IpAddr) -> Result<bool, ForwardError> {
        if self.led.has(permit.host(), address) {
            return Ok(true);
        }
        Ok(self.resolve(permit).await?.iter().any(|found| found.ip() == address))
    }

    /// What was resolved in the last hours.
    pub(super) fn led(&self) -> impl Iterator<Item = (Arc<HostName>, Arc<[IpAddr]>)> {
        self.led.all()
    }

    async fn look_up(&self, host: &HostName) -> Result<Arc<[IpAddr]>, ForwardError> {
        match &self.by {
            By::System(answers) => {
                if let Some(known) = answers.get(host) {
                    return Ok(known);
                }
                // The final dot keeps a search list from turning the name into another one.
                let found = tokio::net::lookup_host((format!("{host}."), 0))
                    .await
                    .map_err(|_| ForwardError::Dns { host: host.to_string() })?;
                let addresses: Arc<[IpAddr]> = found.map(|address| address.ip()).collect();
                answers.insert(host.clone(), Arc::clone(&addresses));
                Ok(addresses)
            }
            By::Servers(resolver) => {
                let found = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| match error {
                    NetError::Timeout => ForwardError::DnsTimeout { host: host.to_string(), after: self.timeout },
                    _ => ForwardError::Dns { host: host.to_string() },
                })?;
                Ok(found.iter().collect())
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum NoAddress {
    None,
    Prohibited,
}

/// Those of the found addresses that may be connected to: public ones, and those that the site's entry names.
fn permitted(found: &[IpAddr], is_named: impl Fn(IpAddr) -> bool) -> Result<Vec<IpAddr>, NoAddress> {
    if found.is_empty() {
        return Err(NoAddress::None);
    }
    let may: Vec<IpAddr> =
        found.iter().copied().filter(|&ip| is_public(ip) || is_named(ip)).take(ADDRESSES_MAX).collect();
    if may.is_empty() { Err(NoAddress::Prohibited) } else { Ok(may) }
}

fn of_servers(servers: &[SocketAddr], timeout: Duration) -> Result<TokioResolver, OriginError> {
    let name_servers = servers
        .iter()
        .map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            // A server's "no such name" is the answer; asking the others would only tell more people.
            NameServerConfig::new(server.ip(), true, connections.into())
        })
        .collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), name_servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let opts: &mut ResolverOpts = builder.options_mut();
    opts.use_hosts_file = ResolveHosts::Never;
    opts.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Two tries within the time that a request waits.
    opts.timeout = timeout / 2;
    opts.attempts = 1;
    opts.cache_size = ANSWERS_MAX;
    opts.positive_max_ttl = Some(ANSWER_TTL_MAX);
    opts.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    opts.case_randomization = true;
    builder.build().map_err(|error| OriginError::Resolver { detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_name_led_to_is_kept_while_no_name_server_answers() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = OriginOptions {
            dns_servers: vec![silent.local_addr().unwrap()],
            dns_timeout: Duration::from_millis(20),
            ..OriginOptions::default()
        };
        let clock = Clock::held(std::time::UNIX_EPOCH + Duration::from_secs(1_760_000_000));
        let resolver = Resolver::new(&options, clock.clone()).unwrap();
        let list = "[[site]]\nname = \"lessons\"\nhosts = [\"lessons.kz\", \"*.lessons.kz\"]\n";
        let list = bulaq_allowlist::Allowlist::parse("allowlist.toml", list).unwrap().allowlist;
        let address = "192.0.2.80".parse().unwrap();
        for host in ["lessons.kz", "a.lessons.kz"] {
            resolver.led.found(&host.parse().unwrap(), &[address], clock.now());
        }
        clock.advance(Duration::from_secs(7 * 3_600));
        let permit = list.permit_tunnel(&"lessons.kz".parse().unwrap(), 443).unwrap();
        assert!(resolver.resolve(&permit).await.is_err());
        assert!(resolver.leads_to(&permit, address).await.unwrap());
        let led: Vec<_> = resolver.led().filter(|(_, addresses)| addresses.contains(&address)).collect();
        assert_eq!(led.len(), 2, "the name below the wildcard too, which nobody has asked for");
        // Another name is answered again: what could not be asked for is kept, and the rest has its age.
        resolver.led.answered(clock.now());
        assert!(resolver.leads_to(&permit, address).await.unwrap());
        assert_eq!(resolver.led().filter(|(_, addresses)| addresses.contains(&address)).count(), 1);
    }

    #[test]
    fn a_permitted_name_cannot_be_turned_inward() {
        let named: IpAddr = "10.20.0.5".parse().unwrap();
        for (found, expected) in [
            (&[][..], Err(NoAddress::None)),
            (&["127.0.0.1"], Err(NoAddress::Prohibited)),
            (&["192.168.1.1", "::1"], Err(NoAddress::Prohibited)),
            (&["8.8.8.8", "127.0.0.1"], Ok(vec!["8.8.8.8"])),
            (&["10.20.0.5", "10.20.0.6"], Ok(vec!["10.20.0.5"])),
        ] {
            let parse = |text: &&str| text.parse::<IpAddr>().unwrap();
            let found: Vec<IpAddr> = found.iter().map(parse).collect();
            let expected = expected.map(|list: Vec<&str>| list.iter().map(parse).collect::<Vec<_>>());
            assert_eq!(permitted(&found, |ip| ip == named), expected);
        }
        let many: Vec<IpAddr> = (1..=255).map(|n| IpAddr::from([8, 8, 8, n])).collect();
        assert_eq!(permitted(&many, |_| false).unwrap().len(), ADDRESSES_MAX);
    }
}
