//! How many questions a client may ask: a bucket each, in memory, forgotten when it is full again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::places::one_client;

/// Clients that are remembered. Each costs some 60 bytes; a school has fewer, and an attacker who invents more shares
/// one bucket with all others that came too late.
const CLIENTS_MAX: usize = 8192;

/// How long a bucket takes to fill: what may come at once is this time's share.
const BURST: Duration = Duration::from_secs(2);

/// Of the answers beyond a client's share, one in this many says "ask by TCP", where an address cannot be another's.
const TRUNCATED_ONE_IN: u32 = 3;

/// The buckets of all clients.
#[derive(Debug)]
pub(super) struct Rate {
    per_s: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    late: Mutex<Bucket>,
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

impl Rate {
    pub(super) fn new(per_s: u64, now: Instant) -> Self {
        let per_s = per_s as f64;
        Self { per_s, buckets: Mutex::default(), late: Mutex::new(Bucket::full(per_s, now)) }
    }

    /// Takes one question's share.
    pub(super) fn take(&self, peer: IpAddr, now: Instant) -> Share {
        let client = one_client(peer);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(&client) && buckets.len() >= CLIENTS_MAX {
            // Whoever has asked for nothing as long as a bucket fills is as good as new.
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < BURST);
            if buckets.len() >= CLIENTS_MAX {
                drop(buckets);
                return self.late.lock().unwrap_or_else(PoisonError::into_inner).take(self.per_s, now);
            }
        }
        buckets.entry(client).or_insert_with(|| Bucket::full(self.per_s, now)).take(self.per_s, now)
    }

    /// Forgets the clients that have been quiet.
    pub(super) fn forget(&self, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < BURST);
        let room = buckets.len() * 2;
        buckets.shrink_to(room);
    }
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
    fn one_ipv6_network_is_one_client() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        for n in 0..20 {
            assert_eq!(rate.take(ip(&format!("2001:db8::{n:x}")), start), Share::Within);
        }
        assert_eq!(rate.take(ip("2001:db8::ffff"), start), Share::Beyond);
    }

    #[test]
    fn invented_clients_take_no_memory_and_no_bucket_of_others() {
        let start = Instant::now();
        let rate = Rate::new(10, start);
        assert_eq!(rate.take(ip("192.0.2.1"), start), Share::Within);
        for n in 0..CLIENTS_MAX as u32 * 2 {
            rate.take(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start);
        }
        assert!(rate.buckets.lock().unwrap().len() <= CLIENTS_MAX);
        assert_eq!(rate.take(ip("192.0.2.1"), start), Share::Within);
        assert_ne!(rate.take(ip("172.16.0.1"), start), Share::Within, "the late ones' bucket is empty");
        rate.forget(start + BURST);
        assert!(rate.buckets.lock().unwrap().is_empty());
    }
}
