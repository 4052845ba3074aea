//! `[dns]`: the box's resolver.

use std::net::{IpAddr, SocketAddr};

use super::Section;
use crate::config::limits;
use crate::ingress::IngressOptions;
use crate::ingress::resolver::{DNS_PORT, DnsOptions, Upstream, address};
use crate::origin::OriginOptions;

/// Addresses that are given for a name. A device tries each; a box has one or two of either family.
const ANSWERS_MAX: usize = 8;

/// Servers of the school; of more than a few none is better.
const UPSTREAMS_MAX: usize = 8;

/// Reads `[dns]`. When it is on, the box's own look-ups go to its upstreams unless `[origin] dns-servers` says where to:
/// asked by way of the resolver itself, every site would be the box.
pub(super) fn dns(section: &Section<'_, '_>, doors: &IngressOptions, origin: &mut OriginOptions) -> DnsOptions {
    let listen = section.list("listen", listen).unwrap_or_default();
    let answers = section.list("answers", answer).unwrap_or_default();
    let options = DnsOptions {
        answers: if answers.is_empty() { told_by(&listen) } else { answers },
        upstreams: section.list("upstreams", str::parse::<Upstream>).unwrap_or_default(),
        ttl: section.limited("ttl", &limits::DNS_TTL).0,
        cache_bytes: section.limited("cache", &limits::DNS_CACHE).0,
        queries_per_s: section.limited("queries-per-client-per-s", &limits::DNS_QUERIES_PER_S),
        listen,
    };
    if !options.listen.is_empty() {
        check(section, &options, origin);
        tell_of_doors(section, doors);
        tell_of_clients(section, &options, doors);
        if origin.dns_servers.is_empty() {
            let plain = |upstream: &Upstream| !matches!(upstream, Upstream::Tls { .. });
            origin.dns_servers = options.upstreams.iter().filter(|up| plain(up)).map(Upstream::address).collect();
        }
    }
    section.done();
    options
}

fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    let address = address(text, DNS_PORT).ok_or("an address of this box is expected, as in \"192.168.10.5\"")?;
    if address.ip().is_unspecified() {
        return Err("write the box's own addresses: an answer must leave by the address that was asked");
    }
    Ok(address)
}

fn answer(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "an address of this box is expected, as in \"192.168.10.5\"")?;
    if address.is_unspecified() || address.is_multicast() || is_link_local(address) {
        return Err("devices cannot reach the box by this address");
    }
    Ok(address)
}

/// fe80::/10 means another machine on every link.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Where devices ask, they also find the lessons.
fn told_by(listen: &[SocketAddr]) -> Vec<IpAddr> {
    let mut answers: Vec<IpAddr> = Vec::new();
    for address in listen.iter().map(SocketAddr::ip) {
        if !is_link_local(address) && !answers.contains(&address) {
            answers.push(address);
        }
    }
    answers
}

fn check(section: &Section<'_, '_>, options: &DnsOptions, origin: &OriginOptions) {
    let refuse = |key: &str, message: &str, label: &str, help: &str| {
        let span = Some(section.span(key)).filter(|span| !span.is_empty()).unwrap_or_else(|| section.span("listen"));
        section.report().error(&span, message, label, Some(help.to_owned()));
    };
    let help = "write your school's resolvers, as in upstreams = [\"192.0.2.53\"]";
    if options.upstreams.is_empty() {
        refuse("upstreams", "`dns.upstreams` is empty: other names could not be looked up", "needs upstreams", help);
    } else if origin.dns_servers.is_empty() && options.upstreams.iter().all(|up| matches!(up, Upstream::Tls { .. })) {
        let help = "name one for the box's own look-ups, which do not use TLS: [origin] dns-servers = [\"192.0.2.53\"]";
        refuse("upstreams", "all of `dns.upstreams` are tls://", "the box needs another", help);
    }
    if options.upstreams.len() > UPSTREAMS_MAX {
        refuse("upstreams", &format!("`dns.upstreams` has more than {UPSTREAMS_MAX} members"), "too many", help);
    }
    if options.answers.len() > ANSWERS_MAX {
        let help = "two addresses of either family are enough";
        refuse("answers", &format!("`dns.answers` has more than {ANSWERS_MAX} members"), "too many", help);
    }
    let is_the_box = |address: SocketAddr| {
        let ports = options.listen.iter().map(SocketAddr::port);
        let ips = options.listen.iter().map(SocketAddr::ip).chain(options.answers.iter().copied());
        ports.into_iter().any(|port| port == address.port() && port != 0)
            && ips.into_iter().any(|ip| ip == address.ip())
    };
    let help = "write another resolver, or the box would ask itself";
    if let Some(upstream) = options.upstreams.iter().find(|upstream| is_the_box(upstream.address())) {
        refuse("upstreams", &format!("`dns.upstreams`: {upstream} is this resolver itself"), "a loop", help);
    }
    if let Some(server) = origin.dns_servers.iter().find(|server| is_the_box(**server)) {
        let message = format!("`origin.dns-servers`: {server} is the box's own resolver, which answers with the box");
        refuse("listen", &message, "asked by the box itself", help);
    }
}

/// Names that lead to a box without a door there lead nowhere.
fn tell_of_doors(section: &Section<'_, '_>, doors: &IngressOptions) {
    for (name, port, door) in [("http", 80, &doors.http), ("https", 443, &doors.https)] {
        if !door.iter().any(|address| address.port() == port) {
            let message =
                format!("`dns.listen` leads devices to port {port} of this box, where `listen.{name}` is not");
            let help = format!("open that door, or let the firewall redirect port {port} to it");
            section.report().warning(&section.span("listen"), message, "no door", Some(help));
        }
    }
}

/// A device takes an address of the same network to ask by, and strangers are refused.
fn tell_of_clients(section: &Section<'_, '_>, options: &DnsOptions, doors: &IngressOptions) {
    for ip in options.listen.iter().map(SocketAddr::ip).filter(|ip| !doors.clients.has(*ip)) {
        let message =
            format!("`dns.listen` has {ip}, which is not in `clients`: devices of its network get no answers there");
        let help = "add your school's own network to `clients`, beside those that are there: a list of yours replaces the \
                    default";
        section.report().warning(&section.span("listen"), message, "refuses its neighbours", Some(help.to_owned()));
    }
}
