//! How many questions a client may ask: a bucket each, in memory, forgotten when it is full again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::places::one_client;

/// Buckets in a table. Each costs some 60 bytes; a school has fewer clients, and an attacker who invents more shares one
/// bucket with all others that came too late.
const BUCKETS_MAX: usize = 8192;

/// How long a bucket takes to fill: what may come at once is this time's share.
const BURST: Duration = Duration::from_secs(2);

/// What an IPv6 /64 may ask, in shares of one client. All of a school may be in one /64, and of it one machine may use
/// every address.
const NETWORK_SHARES: f64 = 32.0;

/// How often at most a full table is looked through for buckets that may go: each time costs as much as many questions.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of the answers beyond a client's share, one in this many says "ask by TCP", where an address cannot be another's.
const TRUNCATED_ONE_IN: u32 = 3;

/// The buckets of all clients.
#[derive(Debug)]
pub(super) struct Rate {
    per_s: f64,
    /// By IPv6 address.
    addresses: Mutex<Table>,
    /// By IPv4 address and IPv6 /64.
    networks: Mutex<Table>,
    late: Mutex<Bucket>,
    strangers: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    looked_through: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    beyond: u32,
}

/// What a client may have now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// An answer.
    Within,
    /// By UDP, an answer that only says "ask by TCP".
    Truncated,
    /// Nothing.
    Beyond,
}

impl Bucket {
    fn full(per_s: f64, now: Instant) -> Self {
        Self { tokens: per_s * BURST.as_secs_f64(), at: now, beyond: 0 }
    }

    fn fill(&mut self, per_s: f64, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * per_s).min(per_s * BURST.as_secs_f64());
        self.at = now;
    }

    fn take(&mut self, per_s: f64, now: Instant) -> Share {
        self.fill(per_s, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            self.beyond = 0;
            return Share::Within;
        }
        self.beyond = self.beyond.wrapping_add(1);
        if self.beyond.is_multiple_of(TRUNCATED_ONE_IN) { Share::Truncated } else { Share::Beyond }
    }
}

impl Table {
    /// Takes from one bucket; None when there is no room for another.
    fn take(&mut self, whose: IpAddr, per_s: f64, now: Instant) -> Option<Share> {
        if !self.buckets.contains_key(&whose) && self.buckets.len() >= BUCKETS_MAX {
            let has_looked = |at: Instant| now.saturating_duration_since(at) < LOOK_EVERY;
            if self.looked_through.is_some_and(has_looked) {
                return None;
            }
            self.forget(now);
            if self.buckets.len() >= BUCKETS_MAX {
                return None;
            }
        }
        Some(self.buckets.entry(whose).or_insert_with(|| Bucket::full(per_s, now)).take(per_s, now))
    }

    /// Whoever has asked for nothing as long as a bucket fills is as good as new.
    fn forget(&mut self, now: Instant) {
        self.looked_through = Some(now);
        self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < BURST);
    }
}

impl Rate {
    pub(super) fn new(per_s: u64, now: Instant) -> Self {
        let per_s = per_s as f64;
        let bucket = || Mutex::new(Bucket::full(per_s, now));
        Self { per_s, addresses: Mutex::default(), networks: Mutex::default(), late: bucket(), strangers: bucket() }
    }

    /// Takes one question's share of a client of the school.
    pub(super) fn take(&self, peer: IpAddr, now: Instant) -> Share {
        let network = one_client(peer);
        if network.is_ipv4() {
            return self.take_of(network, self.per_s, now);
        }
        // Who comes too late for an own bucket has its network's.
        match lock(&self.addresses).take(peer, self.per_s, now) {
            Some(Share::Within) | None => self.take_of(network, self.per_s * NETWORK_SHARES, now),
            Some(beyond) => beyond,
        }
    }

    fn take_of(&self, network: IpAddr, per_s: f64, now: Instant) -> Share {
        let share = lock(&self.networks).take(network, per_s, now);
        share.unwrap_or_else(|| lock(&self.late).take(self.per_s, now))
    }

    /// Takes a question's share of all who are no clients; what they send may come from anybody, in any name.
    pub(super) fn take_of_strangers(&self, now: Instant) -> Share {
        match lock(&self.strangers).take(self.per_s, now) {
            Share::Within => Share::Within,
            Share::Truncated | Share::Beyond => Share::Beyond,
        }
    }

    /// Forgets the clients that have been quiet.
    pub(super) fn forget(&self, now: Instant) {
        for table in [&self.addresses, &self.networks] {
            let mut table = lock(table);
            table.forget(now);
            let room = table.buckets.len() * 2;
            table.buckets.shrink_to(room);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_share_and_no_more() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        let shares: Vec<_> = (0..26).map(|_| rate.take(ip("192.0.2.1"), start)).collect();
        assert!(shares[..20].iter().all(|share| *share == Share::Within));
        assert_eq!(
            shares[20..],
            [Share::Beyond, Share::Beyond, Share::Truncated, Share::Beyond, Share::Beyond, Share::Truncated]
        );
        assert_eq!(rate.take(ip("192.0.2.2"), start), Share::Within, "another client");
        let later = start + Duration::from_millis(100);
        assert_eq!(rate.take(ip("192.0.2.1"), later), Share::Within, "a tenth of a second, one question");
        assert_eq!(rate.take(ip("192.0.2.1"), later), Share::Beyond);
    }

    #[test]
    fn devices_of_one_ipv6_network_have_a_share_each() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        let device = |n: u32| ip(&format!("2001:db8::{n:x}"));
        for n in 0..32 {
            for _ in 0..20 {
                assert_eq!(rate.take(device(n), start), Share::Within, "device {n}");
            }
            assert_eq!(rate.take(device(n), start), Share::Beyond, "what is beyond its share takes nothing of others");
        }
        assert_eq!(rate.take(device(32), start), Share::Beyond, "their network's share");
        assert_eq!(rate.take(ip("2001:db8:0:1::1"), start), Share::Within, "another network");
    }

    #[test]
    fn invented_ipv6_addresses_cost_their_network_alone() {
        let start = Instant::now();
        let rate = Rate::new(100_000, start);
        for n in 0..BUCKETS_MAX as u32 * 2 {
            rate.take(ip(&format!("2001:db8::{n:x}")), start);
        }
        assert_eq!(rate.addresses.lock().unwrap().buckets.len(), BUCKETS_MAX);
        let late = rate.late.lock().unwrap().tokens;
        assert_eq!(rate.take(ip("2001:db8:0:1::1"), start), Share::Within);
        assert_eq!(rate.late.lock().unwrap().tokens, late, "it has its own network's share");
    }

    #[test]
    fn strangers_have_one_share_together_and_no_hint() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        let shares: Vec<_> = (0..26).map(|_| rate.take_of_strangers(start)).collect();
        assert!(shares[..20].iter().all(|share| *share == Share::Within));
        assert!(shares[20..].iter().all(|share| *share == Share::Beyond));
        assert_eq!(rate.take(ip("192.0.2.1"), start), Share::Within);
    }

    #[test]
    fn a_full_table_is_looked_through_now_and_then() {
        let start = Instant::now();
        let mut table = Table::default();
        for n in 0..BUCKETS_MAX as u32 {
            table.take(IpAddr::from(n.to_be_bytes()), 10.0, start);
        }
        let mut newcomer = |at: Instant| table.take(ip("192.0.2.1"), 10.0, at);
        assert_eq!(newcomer(start + BURST - LOOK_EVERY / 2), None, "all have asked just now");
        assert_eq!(newcomer(start + BURST), None, "it has just been looked");
        assert_eq!(newcomer(start + BURST + LOOK_EVERY / 2), Some(Share::Within));
        assert_eq!(table.buckets.len(), 1);
    }

    #[test]
    fn invented_clients_take_no_memory_and_no_bucket_of_others() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        assert_eq!(rate.take(ip("192.0.2.1"), start), Share::Within);
        for n in 0..BUCKETS_MAX as u32 * 2 {
            rate.take(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start);
        }
        assert!(rate.networks.lock().unwrap().buckets.len() <= BUCKETS_MAX);
        assert_eq!(rate.take(ip("192.0.2.1"), start), Share::Within);
        assert_ne!(rate.take(ip("172.16.0.1"), start), Share::Within, "the late ones' bucket is empty");
        rate.forget(start + BURST);
        assert!(rate.networks.lock().unwrap().buckets.is_empty());
    }
}
