//! The resolver: names of the list lead to the box, all others are looked up by the school's own resolvers.
//!
//! `plan` decides, purely. `message` goes from bytes to a question and from an answer to bytes that are no more than
//! may be. What must be asked goes through `cache` and is asked once for all who wait (`upstream`). Only the school's
//! clients are served, each within its share (`rate`). [`Switch`] takes the box out of the answers while it does not
//! serve. No name is ever written or counted; in memory it is as long as its answer may be believed.

mod cache;
mod counts;
mod message;
mod options;
mod plan;
mod rate;
mod sockets;
mod switch;
#[cfg(test)]
mod tests;
mod upstream;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bulaq_allowlist::export::special::Denial;
use bulaq_allowlist::{Allowlist, HostPattern};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use self::counts::DnsCounts;
pub use self::options::{CACHE_BYTES, DNS_PORT, DnsOptions, QUERIES_PER_S, TTL, Upstream, address};
pub use self::sockets::BoundResolver;
pub use self::switch::{Leading, Switch};

use self::cache::{Answers, Key, Stored};
use self::counts::Counters;
use self::message::{Content, ExtendedError, Question, Read, Transport};
use self::plan::{DNAME, Facts, Forwarding, Plan};
use self::rate::{Rate, Share};
use self::upstream::Upstreams;
use super::Clients;
use super::places::{Held, PerClient};
use crate::clock::Clock;

/// Questions that the school's resolvers are asked at one time. Each has a socket.
const ASKED_MAX: usize = 256;

/// Clients that wait for an answer at one time: a school's first minute, many of them for the same.
const WAITING_MAX: usize = 2048;

/// The part of these that one client may have, so that who asks for names that nobody answers keeps nobody else waiting.
/// Who may ask for more has as much more.
const PARTS: u64 = 8;

/// What the resolver is made of.
pub struct Parts {
    /// `[dns]`.
    pub options: DnsOptions,
    /// The list of today.
    pub list: Arc<ArcSwap<Allowlist>>,
    /// The box's own names.
    pub own: Vec<HostPattern>,
    /// Whether `wpad` leads to the box.
    pub wpad: bool,
    /// Who may ask.
    pub clients: Clients,
    /// Whether names lead to the box.
    pub switch: Arc<Switch>,
    /// Who vouches for upstreams by TLS.
    pub tls: Arc<ClientConfig>,
    /// Tells the time.
    pub clock: Clock,
}

/// Answers questions.
pub struct Resolver {
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    ttl: Duration,
    list: Arc<ArcSwap<Allowlist>>,
    own: Vec<HostPattern>,
    wpad: bool,
    clients: Clients,
    switch: Arc<Switch>,
    clock: Clock,
    rate: Rate,
    answers: Answers,
    upstreams: Upstreams,
    /// What is being asked; whoever wants the same waits for it.
    flights: Mutex<HashMap<Key, watch::Receiver<Option<Arc<Stored>>>>>,
    asked: Arc<Semaphore>,
    asked_for: PerClient,
    waiting: Arc<Semaphore>,
    waiting_of: PerClient,
    counters: Counters,
}

/// What is made of a message at once.
enum Step {
    /// Send this.
    Reply(Vec<u8>),
    /// Send nothing.
    Nothing,
    /// Send nothing, and by a connection nothing more.
    Close,
    /// The school's resolvers are to be asked.
    Ask(Waiting),
}

/// A client that waits.
struct Waiting {
    question: Question,
    forwarding: Forwarding,
    peer: IpAddr,
    _place: (OwnedSemaphorePermit, Held),
}

impl Resolver {
    /// Makes one; [`BoundResolver::serve`] puts it to work.
    pub fn new(parts: Parts) -> Self {
        let Parts { options, list, own, wpad, clients, switch, tls, clock } = parts;
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in &options.answers {
            match address.to_canonical() {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        let part_of = |all: usize| part_of(all, options.queries_per_s);
        Self {
            v4,
            v6,
            ttl: options.ttl,
            list,
            own,
            wpad,
            clients,
            switch,
            clock,
            rate: Rate::new(options.queries_per_s, Instant::now()),
            answers: Answers::new(options.cache_bytes),
            upstreams: Upstreams::new(options.upstreams, tls),
            flights: Mutex::default(),
            asked: Arc::new(Semaphore::new(ASKED_MAX)),
            asked_for: part_of(ASKED_MAX),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            waiting_of: part_of(WAITING_MAX),
            counters: Counters::default(),
        }
    }

    /// What it did so far.
    pub fn counts(&self) -> DnsCounts {
        self.counters.read()
    }

    /// Answers in memory.
    pub fn remembered(&self) -> u64 {
        self.answers.len()
    }

    /// The switch.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// What can be said at once.
    fn at_once(&self, bytes: &[u8], transport: Transport, peer: IpAddr) -> Step {
        self.counters.queries();
        let (is_client, now) = (self.clients.has(peer), Instant::now());
        let share = if is_client { self.rate.take(peer, now) } else { self.rate.take_of_strangers(now) };
        if share != Share::Within {
            self.counters.too_many();
            return match (share, transport) {
                (_, Transport::Tcp) => Step::Close,
                (Share::Truncated, Transport::Udp) => match message::read(bytes, transport) {
                    Read::Question(question) => Step::Reply(question.truncated()),
                    Read::Wrong(_) | Read::Nothing => Step::Nothing,
                },
                _ => Step::Nothing,
            };
        }
        let question = match message::read(bytes, transport) {
            Read::Question(question) => *question,
            Read::Wrong(reply) => {
                self.counters.malformed();
                return Step::Reply(reply);
            }
            Read::Nothing => {
                self.counters.malformed();
                return Step::Close;
            }
        };
        if !is_client {
            self.counters.not_clients();
            return Step::Reply(question.reply(&refused()));
        }
        self.planned(question, peer)
    }

    fn planned(&self, question: Question, peer: IpAddr) -> Step {
        let list = self.list.load();
        let facts = Facts {
            list: &list,
            own: &self.own,
            leads: self.switch.leads(),
            wpad: self.wpad,
            recursion_desired: question.recursion_desired,
        };
        let plan = plan::plan(question.name(), question.kind(), question.class(), &facts);
        let content = match plan {
            Plan::BoxV4 => {
                let addresses = self.v4.iter().map(|address| RData::A(A(*address)));
                self.lead(&question, addresses)
            }
            Plan::BoxV6 => {
                let addresses = self.v6.iter().map(|address| RData::AAAA(AAAA(*address)));
                self.lead(&question, addresses)
            }
            Plan::BoxNoData => self.lead(&question, std::iter::empty()),
            Plan::Loopback => {
                self.counters.denied();
                let address = match question.kind() {
                    RecordType::A => RData::A(A(Ipv4Addr::LOCALHOST)),
                    _ => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
                };
                self.local(&question, ResponseCode::NoError, [address].into_iter())
            }
            Plan::Deny(denial) => {
                self.counters.denied();
                let code = match denial {
                    Denial::NoSuchName => ResponseCode::NXDomain,
                    Denial::NoData => ResponseCode::NoError,
                };
                self.local(&question, code, std::iter::empty()).because(ExtendedError::Filtered)
            }
            Plan::Refuse(_) => {
                self.counters.not_answered();
                refused()
            }
            Plan::Forward(forwarding) => return self.known(question, forwarding, peer),
        };
        Step::Reply(question.reply(&content))
    }

    fn lead(&self, question: &Question, addresses: impl Iterator<Item = RData>) -> Content {
        self.counters.redirected();
        self.local(question, ResponseCode::NoError, addresses).because(ExtendedError::Forged)
    }

    /// An answer of our own; without a record it has an SOA, so that it is remembered no longer than others.
    fn local(&self, question: &Question, code: ResponseCode, data: impl Iterator<Item = RData>) -> Content {
        let ttl = u32::try_from(self.ttl.as_secs()).unwrap_or(u32::MAX);
        let record = |data| Record::from_rdata(question.name().clone(), ttl, data);
        let answers: Vec<_> = data.map(record).collect();
        let authorities = if answers.is_empty() { vec![record(soa(ttl))] } else { Vec::new() };
        Content { answers, authorities, ..Content::code(code) }
    }

    /// Out of memory, if it is there; else it must be asked for.
    fn known(&self, question: Question, forwarding: Forwarding, peer: IpAddr) -> Step {
        if let Some(content) = self.answers.find(&Key::of(&question), self.clock.now(), self.ttl_max(forwarding)) {
            self.counters.cached();
            return Step::Reply(question.reply(&self.as_forwarded(content, &question, forwarding)));
        }
        let place = || Some((Arc::clone(&self.waiting).try_acquire_owned().ok()?, self.waiting_of.hold(peer)?));
        match place() {
            Some(place) => Step::Ask(Waiting { question, forwarding, peer, _place: place }),
            None => {
                self.counters.busy();
                Step::Reply(question.reply(&Content::code(ResponseCode::ServFail)))
            }
        }
    }

    /// Names of the list are remembered briefly, so that devices come back to the box.
    fn ttl_max(&self, forwarding: Forwarding) -> Duration {
        if forwarding == Forwarding::Briefly { self.ttl } else { Duration::MAX }
    }

    fn as_forwarded(&self, content: Content, question: &Question, forwarding: Forwarding) -> Content {
        let is_alias = |record: &Record| {
            let kind = record.record_type();
            kind == RecordType::CNAME || u16::from(kind) == DNAME
        };
        if forwarding == Forwarding::WithoutAlias && content.answers.iter().any(is_alias) {
            return self.local(question, ResponseCode::NoError, std::iter::empty());
        }
        content
    }

    /// Asks, or waits for the answer to who asked the same before.
    async fn ask(self: &Arc<Self>, waiting: Waiting) -> Vec<u8> {
        let Waiting { question, forwarding, peer, _place } = waiting;
        let key = Key::of(&question);
        let Some(mut flight) = self.flight(&key, &question, peer) else {
            self.counters.busy();
            return question.reply(&Content::code(ResponseCode::ServFail));
        };
        let content = match flight.wait_for(Option::is_some).await {
            Ok(stored) => match stored.as_ref() {
                Some(stored) => stored.fresh(self.ttl_max(forwarding)),
                None => Content::code(ResponseCode::ServFail),
            },
            // Whoever asked is gone without an answer.
            Err(_) => Content::code(ResponseCode::ServFail),
        };
        question.reply(&self.as_forwarded(content, &question, forwarding))
    }

    /// The flight that is under way, or a new one; None when there are too many, in all or of this client.
    fn flight(
        self: &Arc<Self>,
        key: &Key,
        question: &Question,
        peer: IpAddr,
    ) -> Option<watch::Receiver<Option<Arc<Stored>>>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            self.counters.cached();
            return Some(flight.clone());
        }
        let place = (Arc::clone(&self.asked).try_acquire_owned().ok()?, self.asked_for.hold(peer)?);
        let (landed, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        // The question is asked to its end whether or not who asked it first is still there.
        let lead = Lead { resolver: Arc::clone(self), key: key.clone(), landed, _place: place };
        tokio::spawn(lead.ask(question.clone()));
        Some(flight)
    }
}

/// Who asks for all that want the same. Dropped, nobody waits for it any more.
struct Lead {
    resolver: Arc<Resolver>,
    key: Key,
    landed: watch::Sender<Option<Arc<Stored>>>,
    _place: (OwnedSemaphorePermit, Held),
}

impl Lead {
    async fn ask(self, question: Question) {
        let resolver = &self.resolver;
        resolver.counters.forwarded();
        let asked = resolver.upstreams.ask(&question.query, question.dnssec_ok(), question.checking_disabled).await;
        let (content, bytes) = match asked {
            Ok(answered) => (answered.content, answered.bytes),
            Err(error) => {
                resolver.counters.failed();
                tracing::debug!(%error, "a question got no answer");
                (Content::code(ResponseCode::ServFail).because(ExtendedError::NoReachableAuthority), 0)
            }
        };
        let stored = Arc::new(Stored::new(content, question.kind(), bytes, resolver.clock.now()));
        resolver.answers.keep(self.key.clone(), &stored);
        self.landed.send_replace(Some(stored));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.resolver.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// One client's part of `all`, and half of them for an IPv6 network.
fn part_of(all: usize, queries_per_s: u64) -> PerClient {
    let all = all as u64;
    let each = (all / PARTS).saturating_mul(queries_per_s.div_ceil(QUERIES_PER_S.default)).min(all);
    PerClient::by_address(each, all / 2)
}

fn refused() -> Content {
    Content::code(ResponseCode::Refused).because(ExtendedError::Prohibited)
}

/// An SOA that says how long "no" may be remembered (RFC 2308 §5); nobody is to be asked about it.
fn soa(ttl: u32) -> RData {
    let name = |text: &str| Name::from_ascii(text).expect("two plain labels");
    RData::SOA(SOA::new(name("bulaq.internal."), name("nobody.invalid."), 1, 3600, 600, 86400, ttl))
}
