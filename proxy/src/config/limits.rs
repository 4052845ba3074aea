//! Every number that can be configured: its least, its default and its most, and why.
//!
//! A value outside is refused with the range; nothing is clamped in silence. Limits that cannot be configured stand
//! beside the code that keeps them.

use std::fmt::Display;
use std::time::Duration;

use super::quantity::{BitRate, ByteSize, Period};
use crate::ingress::resolver;
use crate::origin::options as origin;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The bounds of one setting, and what holds when nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<T> {
    /// The least.
    pub min: T,
    /// What holds when nothing is written.
    pub default: T,
    /// The most.
    pub max: T,
}

impl<T: Copy + PartialOrd + Display> Limit<T> {
    /// A limit with its least value, its default and its most.
    pub const fn new(min: T, default: T, max: T) -> Self {
        Self { min, default, max }
    }

    /// Whether `value` is within.
    pub fn holds(&self, value: T) -> bool {
        self.min <= value && value <= self.max
    }

    /// The range in words.
    pub fn range(&self) -> String {
        format!("{} to {}", self.min, self.max)
    }
}

const fn seconds(min: u64, default: u64, max: u64) -> Limit<Period> {
    Limit::new(Period(Duration::from_secs(min)), Period(Duration::from_secs(default)), Period(Duration::from_secs(max)))
}

const fn bytes(min: u64, default: u64, max: u64) -> Limit<ByteSize> {
    Limit::new(ByteSize(min), ByteSize(default), ByteSize(max))
}

const fn times(bounds: origin::Bounds<Duration>) -> Limit<Period> {
    Limit::new(Period(bounds.min), Period(bounds.default), Period(bounds.max))
}

const fn counts(bounds: origin::Bounds<usize>) -> Limit<u64> {
    Limit::new(bounds.min as u64, bounds.default as u64, bounds.max as u64)
}

// ---- The request path ----

/// `requests-max`: requests that are answered at once. A request in work holds some tens of kilobytes; a box of 8 GiB
/// holds the most.
pub const REQUESTS_MAX: Limit<u64> = Limit::new(16, 4_096, 65_536);

/// `workers`: threads that serve connections. 0 is one for each processor of the machine, which is best unless another
/// program on it needs some for itself; more than there are processors gain nothing.
pub const WORKERS: Limit<u64> = Limit::new(0, 0, 64);

// ---- [trust] ----

/// `remembered`: how long a device that has passed the probe is taken to trust the CA. A school day by default; an
/// address is given to another device after a week at most.
pub const TRUST_REMEMBERED: Limit<Period> = seconds(60, 12 * 3_600, 7 * 86_400);

/// `splice-after-refusal`: how long a host is passed through to a device that has refused its certificate.
pub const SPLICE_AFTER_REFUSAL: Limit<Period> = seconds(60, 6 * 3_600, 7 * 86_400);

// ---- [store] ----

/// `size`: the store on disk. Less than the least holds no night of one site; more than the most needs an index in
/// memory that a LAN box does not have.
pub const STORE_SIZE: Limit<ByteSize> = bytes(64 * MIB, 50 * GIB, 64 * TIB);

/// `keep-free`: what stays free on the disk. Zero is for a partition that is the store's alone.
pub const STORE_KEEP_FREE: Limit<ByteSize> = bytes(0, GIB, 16 * TIB);

/// `memory`: heads and small bodies in memory. The least holds the start pages of a few sites.
pub const STORE_MEMORY: Limit<ByteSize> = bytes(8 * MIB, 256 * MIB, 256 * GIB);

/// `memory-body-max`: the longest body that is kept in memory. A larger one is read from its file at the speed of the
/// system's own cache.
pub const STORE_MEMORY_BODY_MAX: Limit<ByteSize> = bytes(0, 64 * KIB, 16 * MIB);

/// `body-max`: the longest body that is stored. A lesson video of an hour takes about 1 GiB.
pub const STORE_BODY_MAX: Limit<ByteSize> = bytes(MIB, 4 * GIB, 64 * GIB);

/// `variants-max`: answers kept for one URL (`Vary`). Three languages times two encodings are six.
pub const STORE_VARIANTS_MAX: Limit<u64> = Limit::new(1, 32, 256);

/// `index-memory`: what the index may cache; at its worst it needs up to five times as much.
pub const STORE_INDEX_MEMORY: Limit<ByteSize> = bytes(8 * MIB, 64 * MIB, 4 * GIB);

/// `pinned-percent-max`: the part of the store that nights may hold, so that they cannot push out what pupils use.
pub const STORE_PINNED_PERCENT_MAX: Limit<u64> = Limit::new(0, 60, 95);

/// `reserve`: a file given up when the index cannot be opened on a full disk; zero keeps none.
pub const STORE_RESERVE: Limit<ByteSize> = bytes(0, 64 * MIB, GIB);

// ---- [origin] ----

/// `dns-timeout`
pub const DNS_TIMEOUT: Limit<Period> = times(origin::DNS_TIMEOUT);
/// `connect-timeout`
pub const CONNECT_TIMEOUT: Limit<Period> = times(origin::CONNECT_TIMEOUT);
/// `tls-timeout`
pub const TLS_TIMEOUT: Limit<Period> = times(origin::TLS_TIMEOUT);
/// `answer-timeout`
pub const ANSWER_TIMEOUT: Limit<Period> = times(origin::HEAD_TIMEOUT);
/// `pause-timeout`
pub const PAUSE_TIMEOUT: Limit<Period> = times(origin::IDLE_BODY_TIMEOUT);
/// `queue-timeout`
pub const QUEUE_TIMEOUT: Limit<Period> = times(origin::QUEUE_TIMEOUT);
/// `idle-timeout`
pub const IDLE_TIMEOUT: Limit<Period> = times(origin::POOL_IDLE_TIMEOUT);
/// `idle-connections-max`
pub const IDLE_CONNECTIONS_MAX: Limit<u64> = counts(origin::POOL_IDLE_MAX);
/// `requests-per-origin-max`
pub const REQUESTS_PER_ORIGIN_MAX: Limit<u64> = counts(origin::PER_ORIGIN_MAX);
/// `requests-max` towards all origins together.
pub const ORIGIN_REQUESTS_MAX: Limit<u64> = counts(origin::IN_FLIGHT_MAX);
/// `waiting-max`
pub const WAITING_MAX: Limit<u64> = counts(origin::WAITING_MAX);
/// `next-address-after`
pub const NEXT_ADDRESS_AFTER: Limit<Period> = times(origin::HAPPY_EYEBALLS_DELAY);
/// `failures-max`
pub const FAILURES_MAX: Limit<u64> =
    Limit::new(origin::FAILURES_MAX.min as u64, origin::FAILURES_MAX.default as u64, origin::FAILURES_MAX.max as u64);
/// `back-off-max`
pub const BACK_OFF_MAX: Limit<Period> = times(origin::BACK_OFF_MAX);
/// `retry-after-max`
pub const RETRY_AFTER_MAX: Limit<Period> = times(origin::RETRY_AFTER_MAX);

// ---- [dns] ----

/// `ttl`
pub const DNS_TTL: Limit<Period> = times(resolver::TTL);
/// `cache`
pub const DNS_CACHE: Limit<ByteSize> =
    bytes(resolver::CACHE_BYTES.min, resolver::CACHE_BYTES.default, resolver::CACHE_BYTES.max);
/// `queries-per-client-per-s`
pub const DNS_QUERIES_PER_S: Limit<u64> =
    Limit::new(resolver::QUERIES_PER_S.min, resolver::QUERIES_PER_S.default, resolver::QUERIES_PER_S.max);

// ---- [night] ----

/// `pages-max` of a whole night. The most takes more than a week at 16 requests a second.
pub const NIGHT_PAGES_MAX: Limit<u64> = Limit::new(1, 500_000, 10_000_000);

/// `bytes-max` of a whole night: what a link of 20 Mbit/s brings in eight hours is about 64 GiB.
pub const NIGHT_BYTES_MAX: Limit<ByteSize> = bytes(MIB, 64 * GIB, 16 * TIB);

/// `requests-max` under way at once in a night.
pub const NIGHT_REQUESTS_MAX: Limit<u64> = Limit::new(1, 16, 256);

/// `bandwidth`, when it is set. The least lets a page of 100 kB through in under a minute.
pub const NIGHT_BANDWIDTH: Limit<BitRate> = Limit::new(BitRate(16_000), BitRate(0), BitRate(100_000_000_000));

/// `site-pages-max` of one site in a night.
pub const SITE_PAGES_MAX: Limit<u64> = Limit::new(1, 100_000, 10_000_000);

/// `site-bytes-max` of one site in a night: a few hundred lesson videos.
pub const SITE_BYTES_MAX: Limit<ByteSize> = bytes(MIB, 16 * GIB, 16 * TIB);

/// `site-requests-max`: under way at once at one site; a browser opens six.
pub const SITE_REQUESTS_MAX: Limit<u64> = Limit::new(1, 4, 64);

/// `site-requests-per-s`, unless it is off. A class that clicks asks for more.
pub const SITE_REQUESTS_PER_S: Limit<f64> = Limit::new(0.01, 8.0, 1_000_000.0);

/// `reports-kept`: a month of nights.
pub const REPORTS_KEPT: Limit<u64> = Limit::new(1, 30, 3_660);

/// `resume-within`: a night that broke off longer ago starts anew; what it had fetched must be validated anyway.
pub const RESUME_WITHIN: Limit<Period> = seconds(0, 18 * 3_600, 7 * 86_400);

// ---- [cache] ----

/// `heuristic-percent`: RFC 9111 §4.2.2 names 10; zero means no heuristic freshness.
pub const HEURISTIC_PERCENT: Limit<u64> = Limit::new(0, 10, 50);

/// `heuristic-max`: a page of 1985 must not be fresh for four years.
pub const HEURISTIC_MAX: Limit<Period> = seconds(0, 86_400, 30 * 86_400);

/// `targeted-max`: what a site's CDN may keep for a year, the site can purge there and not here.
pub const TARGETED_MAX: Limit<Period> = seconds(0, 86_400, 365 * 86_400);

/// `stale-max`: how old a stand-in may be while an origin cannot be reached: a school year.
pub const STALE_MAX: Limit<Period> = seconds(0, 365 * 86_400, 3_650 * 86_400);

/// `stale-after`: how long a reader waits for an origin while a stale lesson is at hand. Connection, TLS and answer take
/// 2.4 s on a satellite link; a minute is longer than any origin is waited for by default.
pub const STALE_AFTER: Limit<Period> = seconds(1, 3, 60);

// ---- [ledger] ----

/// `keep-days`: a school year and a month to compare it with; ten years at most.
pub const LEDGER_KEEP_DAYS: Limit<u64> = Limit::new(1, crate::ledger::LedgerOptions::RETENTION_DAYS as u64, 3_660);
