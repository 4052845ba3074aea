//! Name servers, asked as a device asks them: do the lesson sites lead to the box, whole, and by no way around it?

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use bulaq_allowlist::export::{Redirected, special};
use bulaq_allowlist::{Allowlist, HostPattern};
use futures_util::StreamExt;
use hickory_resolver::proto::rr::RecordType;

use super::dns_question::{Said, ask};
use super::{Finding, named};
use crate::config::Config;
use crate::config::quantity::counted;
use crate::portal::names::{box_name, probe_name};

const CHECK: &str = "dns";

/// Names of the list that are asked for at each server. A list is redirected by rule, so a sample shows what is wrong;
/// a whole long list would be felt by the server.
const NAMES_MAX: usize = 60;

/// Questions at one time.
const QUESTIONS_MAX: usize = 8;

/// Name servers that are asked.
const SERVERS_MAX: usize = 4;

/// The port of a name server.
const DNS_PORT: u16 = 53;

/// What one name server says.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    /// None when it answered nothing at all.
    says: Option<Says>,
}

/// Its answers.
#[derive(Debug, Default)]
pub(super) struct Says {
    names: Vec<NameSays>,
    /// Whether both names of the box lead to it.
    knows_the_box: bool,
    /// The names by which devices ask about encrypted name servers, and which it does not deny.
    undenied: Vec<&'static str>,
    /// Names of the list that were left out of the sample.
    left_out: usize,
}

/// Its answers for one name of the list.
#[derive(Clone, Debug, Default)]
pub(super) struct NameSays {
    name: String,
    site: String,
    /// IPv4 and IPv6 addresses that are the box's.
    leads_to_box: bool,
    /// Whether it gives addresses that are not the box's: by IPv4, by IPv6.
    leads_elsewhere: [bool; 2],
    /// Whether it has an HTTPS record (type 65): hints and keys that lead around the box.
    has_https_record: bool,
}

/// Asks these servers, or the machine's own.
pub(super) async fn gather(servers: &[SocketAddr], list: &Allowlist, config: &Config) -> Vec<Server> {
    let own;
    let servers = if servers.is_empty() {
        own = std::fs::read_to_string("/etc/resolv.conf").map(|text| of_resolv_conf(&text)).unwrap_or_default();
        &own[..]
    } else {
        servers
    };
    let sample = sample(list);
    let asked = servers.iter().take(SERVERS_MAX).map(|server| ask_server(*server, &sample, config));
    futures_util::future::join_all(asked).await
}

/// The name servers of a `resolv.conf` (resolv.conf(5)).
fn of_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_server)?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    servers.take(SERVERS_MAX).collect()
}

/// The names to ask for, each with its site, and how many there are in all. Below a wildcard a name is made up.
struct Sample {
    names: Vec<(String, String)>,
    left_out: usize,
}

fn sample(list: &Allowlist) -> Sample {
    let redirected = Redirected::of(list, &[]);
    let names: Vec<_> = redirected
        .patterns()
        .iter()
        .filter_map(|pattern| {
            let (host, name) = match pattern {
                HostPattern::Exact(host) => (host, host.to_string()),
                HostPattern::Suffix(host) => (host, format!("bulaq-check.{host}")),
            };
            let of_pattern = |site: &&std::sync::Arc<bulaq_allowlist::Site>| {
                site.hosts().iter().any(|entry| entry.pattern() == pattern)
            };
            let site = list.sites().iter().find(of_pattern).or_else(|| list.site_of(host))?;
            Some((name, site.name().to_owned()))
        })
        .collect();
    let left_out = names.len().saturating_sub(NAMES_MAX);
    Sample { names: names.into_iter().take(NAMES_MAX).collect(), left_out }
}

async fn ask_server(address: SocketAddr, sample: &Sample, config: &Config) -> Server {
    // A dead server is not asked a hundred times.
    let first = ask(address, box_name().as_str(), RecordType::A).await;
    if first == Said::Silence {
        return Server { address, says: None };
    }
    let is_box = |ip: &IpAddr| is_of_this_box(*ip, config);
    let probe = ask(address, probe_name().as_str(), RecordType::A).await;
    let knows_the_box = [first, probe].iter().all(|said| said.addresses().iter().any(is_box));
    let names = futures_util::stream::iter(&sample.names)
        .map(|(name, site)| async move {
            let [v4, v6, https] = [RecordType::A, RecordType::AAAA, RecordType::HTTPS];
            let (v4, v6) = (ask(address, name, v4).await, ask(address, name, v6).await);
            let https = ask(address, name, https).await;
            let elsewhere = |said: &Said| said.addresses().iter().any(|ip| !is_of_this_box(*ip, config));
            NameSays {
                name: name.clone(),
                site: site.clone(),
                leads_to_box: v4.addresses().iter().chain(v6.addresses()).any(|ip| is_of_this_box(*ip, config)),
                leads_elsewhere: [elsewhere(&v4), elsewhere(&v6)],
                has_https_record: https.has_records(),
            }
        })
        .buffered(QUESTIONS_MAX)
        .collect()
        .await;
    let mut undenied = Vec::new();
    for one in &special::NAMES {
        let (asked, record_type) = match one.name {
            // RFC 9462 §4: what a device asks for, and its type, which hickory calls SVCB.
            "resolver.arpa" => ("_dns.resolver.arpa", RecordType::SVCB),
            name => (name, RecordType::A),
        };
        if ask(address, asked, record_type).await.has_records() {
            undenied.push(one.name);
        }
    }
    Server { address, says: Some(Says { names, knows_the_box, undenied, left_out: sample.left_out }) }
}

/// Whether an address is this machine's: a socket can be bound to it. No packet is sent.
fn is_of_this_box(address: IpAddr, config: &Config) -> bool {
    let listed = [&config.ingress.http, &config.ingress.https, &config.ingress.forward];
    listed.iter().any(|door| door.iter().any(|door| door.ip() == address))
        || config.dns.answers.contains(&address)
        || (!address.is_unspecified() && UdpSocket::bind((address, 0)).is_ok())
}

/// What that means.
pub(super) fn judge(servers: &[Server]) -> Vec<Finding> {
    if servers.is_empty() {
        let advice = "name the one that devices get by DHCP: bulaq doctor --dns ADDRESS";
        return vec![Finding::unknown(CHECK, "no name server to ask is known", advice)];
    }
    let mut findings: Vec<_> = servers.iter().flat_map(judge_one).collect();
    let advice = "every name server that devices get must lead to the box: where DHCP gives two, they use both at once; \
                  look at the DHCP server, and at /check on a device";
    findings.push(Finding::unknown(CHECK, "which name servers devices get by DHCP cannot be seen from here", advice));
    findings
}

fn judge_one(Server { address, says }: &Server) -> Vec<Finding> {
    let Some(says) = says else {
        let advice =
            "is it the right address, and does it answer this machine? `bulaq doctor --dns ADDRESS` asks another";
        return vec![Finding::error(CHECK, format!("name server {address} does not answer"), advice)];
    };
    if says.names.is_empty() {
        return vec![Finding::unknown(CHECK, format!("name server {address}: no site to ask for"), "permit a site")];
    }
    let to_box = says.names.iter().filter(|name| name.leads_to_box).count();
    if to_box == 0 {
        let advice = "right where devices use the proxy setting or the box is the router; else `bulaq dns export` writes \
                      the entries for your name server";
        return vec![Finding::warning(CHECK, format!("name server {address} leads no site to the box"), advice)];
    }
    let mut findings = leaks(*address, says);
    if findings.is_empty() {
        let left_out = match says.left_out {
            0 => String::new(),
            more => format!(" ({more} more were not asked for)"),
        };
        let names = counted(says.names.len() as u64, "name");
        findings.push(Finding::ok(CHECK, format!("name server {address} leads {names} to the box{left_out}")));
    }
    if !says.knows_the_box {
        findings.push(Finding::warning(
            CHECK,
            format!("name server {address} does not lead {} and {} to the box", box_name(), probe_name()),
            "add them: without them no device can show that it trusts the CA; `bulaq dns export` has them",
        ));
    }
    if !says.undenied.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("name server {address} does not deny {}", named(&says.undenied)),
            "devices may then look up names elsewhere; `bulaq dns export` writes the entries that say no",
        ));
    }
    findings
}

/// The ways around the box that a name server leaves open.
fn leaks(address: SocketAddr, says: &Says) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sites: BTreeMap<&str, [Vec<&str>; 2]> = BTreeMap::new();
    for name in &says.names {
        sites.entry(&name.site).or_default()[usize::from(name.leads_to_box)].push(&name.name);
    }
    for (site, [around, to_box]) in &sites {
        if !around.is_empty() && !to_box.is_empty() {
            findings.push(Finding::error(
                CHECK,
                format!("name server {address}: of site {site}, {} does not lead to the box", named(around)),
                "lead all of a site's names or none: browsers block pages that load one part from inside and one from \
                 outside; `bulaq dns export` writes them all",
            ));
        }
    }
    let whole: Vec<&str> = sites.iter().filter(|(_, [_, to_box])| to_box.is_empty()).map(|(site, _)| *site).collect();
    if !whole.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("name server {address} does not lead {} to the box", named(&whole)),
            "was the list changed after its entries were made? `bulaq dns export` writes them anew",
        ));
    }
    let of = |is_so: &dyn Fn(&NameSays) -> bool| -> Vec<&str> {
        says.names.iter().filter(|name| name.leads_to_box && is_so(name)).map(|name| name.name.as_str()).collect()
    };
    let v4 = of(&|name| name.leads_elsewhere[0]);
    if !v4.is_empty() {
        let what = format!("name server {address} gives the box's address and others for {}", named(&v4));
        findings.push(Finding::error(CHECK, what, "give the box's address alone: devices use any of them"));
    }
    let v6 = of(&|name| name.leads_elsewhere[1]);
    if !v6.is_empty() {
        findings.push(Finding::error(
            CHECK,
            format!("name server {address} leads {} around the box by IPv6 (AAAA)", named(&v6)),
            "answer AAAA with the box's own address, or with none",
        ));
    }
    let https = of(&|name| name.has_https_record);
    if !https.is_empty() {
        findings.push(Finding::error(
            CHECK,
            format!("name server {address} passes on HTTPS records (type 65) of {}", named(&https)),
            "answer type 64 and 65 with no data for these names: addresses and keys in them lead around the box",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::tests::worst;
    use super::*;
    use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, AAAA, HTTPS, SVCB};
    use hickory_resolver::proto::rr::{Name, RData, Record};

    fn server(says: Says) -> Server {
        Server { address: "192.0.2.53:53".parse().unwrap(), says: Some(says) }
    }

    fn name(name: &str, leads_to_box: bool) -> NameSays {
        let site = name.rsplit('.').nth(1).unwrap().to_owned();
        NameSays { name: name.to_owned(), site, leads_to_box, ..NameSays::default() }
    }

    fn whole(names: Vec<NameSays>) -> Says {
        Says { names, knows_the_box: true, ..Says::default() }
    }

    #[test]
    fn a_split_bundle_and_each_leak_are_told() {
        let good = || vec![name("a.kz", true), name("media.a.kz", true)];
        let leak = |change: fn(&mut NameSays)| {
            let mut names = good();
            change(&mut names[1]);
            whole(names)
        };
        for (says, state, words) in [
            (whole(good()), State::Ok, "leads 2 names to the box"),
            (
                whole(vec![name("a.kz", true), name("media.a.kz", false)]),
                State::Error,
                "of site a, media.a.kz does not",
            ),
            (whole(vec![name("a.kz", true), name("b.kz", false)]), State::Warning, "does not lead b to the box"),
            (whole(vec![name("a.kz", false)]), State::Warning, "leads no site to the box"),
            (leak(|name| name.leads_elsewhere[0] = true), State::Error, "and others for media.a.kz"),
            (leak(|name| name.leads_elsewhere[1] = true), State::Error, "by IPv6"),
            (leak(|name| name.has_https_record = true), State::Error, "type 65"),
            (Says { knows_the_box: false, ..whole(good()) }, State::Warning, "check.bulaq.internal"),
            (Says { undenied: vec!["mask.icloud.com"], ..whole(good()) }, State::Warning, "deny mask.icloud.com"),
            (whole(Vec::new()), State::Unknown, "no site"),
        ] {
            let findings = judge_one(&server(says));
            assert_eq!(worst(&findings), state, "{findings:?}");
            assert!(findings.iter().any(|finding| finding.what.contains(words)), "{words}: {findings:?}");
        }
        let dead = Server { address: "192.0.2.53:53".parse().unwrap(), says: None };
        assert_eq!(judge(&[dead])[0].state, State::Error);
        assert_eq!(judge(&[])[0].state, State::Unknown);
    }

    /// A name server of the school: lessons lead to loopback, which is this machine's, and the rest is a mess.
    async fn stand_in() -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut bytes = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let asked = Message::from_vec(&bytes[..length]).unwrap();
                let query = asked.queries[0].clone();
                let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
                answer.add_query(query.clone());
                let name: Name = query.name().clone();
                let text = name.to_ascii();
                let data = match (text.trim_end_matches('.'), query.query_type()) {
                    ("use-application-dns.net" | "bulaq-check.a.kz", _) => None,
                    ("cdn.a.kz", RecordType::A) => Some(RData::A(A::new(192, 0, 2, 7))),
                    ("a.kz", RecordType::AAAA) => Some(RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
                    ("a.kz", RecordType::HTTPS) => Some(RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), Vec::new())))),
                    (_, RecordType::A) => Some(RData::A(A::new(127, 0, 0, 1))),
                    _ => None,
                };
                match data {
                    Some(data) => {
                        answer.add_answer(Record::from_rdata(name, 30, data));
                    }
                    None if text.starts_with("use-") => answer.metadata.response_code = ResponseCode::NXDomain,
                    None => {}
                }
                let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_name_server_is_asked_as_a_device_asks_it() {
        let list = "[[site]]\nname = \"a\"\nhosts = [\"a.kz\", \"cdn.a.kz\", \"*.a.kz\"]\n[[site]]\nname = \"b\"\nhosts = [\"b.kz\"]\n";
        let list = list.replace("\"cdn.a.kz\", \"*.a.kz\"", "\"cdn.a.kz\"");
        let list = Allowlist::parse("list.toml", &list).unwrap().allowlist;
        let config = Config::defaults(std::path::Path::new("/nowhere"));
        let servers = gather(&[stand_in().await], &list, &config).await;
        let says = servers[0].says.as_ref().unwrap();
        assert!(says.knows_the_box);
        assert_eq!(says.undenied, ["mask.icloud.com", "mask-h2.icloud.com", "mask.apple-dns.net"]);
        let told = |name: &str| says.names.iter().find(|says| says.name == name).unwrap().clone();
        assert!(told("a.kz").leads_to_box && told("a.kz").has_https_record && told("a.kz").leads_elsewhere[1]);
        assert!(!told("cdn.a.kz").leads_to_box && told("cdn.a.kz").leads_elsewhere[0]);
        assert!(told("b.kz").leads_to_box && !told("b.kz").has_https_record);
        assert_eq!(worst(&judge(&servers)), State::Error);
    }

    #[tokio::test]
    async fn a_dead_name_server_is_told_and_not_waited_for() {
        // An address that no other test uses: what was given back there stays free.
        let closed = UdpSocket::bind("127.53.53.3:0").unwrap().local_addr().unwrap();
        let config = Config::defaults(std::path::Path::new("/nowhere"));
        let servers = gather(&[closed], &Allowlist::default(), &config).await;
        assert!(servers[0].says.is_none());
    }

    #[test]
    fn the_machines_own_servers_are_found() {
        let text =
            "# by hand\nsearch school.kz\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n";
        let found: Vec<_> = of_resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.168.1.1:53", "[2001:db8::1]:53"]);
    }
}
