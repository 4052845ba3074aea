//! What can be set about the way out, and between which bounds.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bulaq_allowlist::HostName;

/// The bounds of one setting. A value outside is refused by the configuration, never clamped in silence.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<T> {
    /// The least.
    pub min: T,
    /// What holds when nothing is written.
    pub default: T,
    /// The most.
    pub max: T,
}

const fn seconds(min: u64, default: u64, max: u64) -> Bounds<Duration> {
    Bounds { min: Duration::from_secs(min), default: Duration::from_secs(default), max: Duration::from_secs(max) }
}

/// Name look-up: two tries over a satellite link of 600 ms fit well; a dead name server must not use up the 5 s in
/// which a pupil is told.
pub const DNS_TIMEOUT: Bounds<Duration> = seconds(1, 2, 20);

/// Name look-up and TCP together. Under 5 s, so that a page that nobody has yet is refused within 5 s when the
/// uplink is dead, and over the 3 s after which TCP has tried twice.
pub const CONNECT_TIMEOUT: Bounds<Duration> = seconds(1, 4, 60);

/// The TLS handshake: two or three round trips and a few kilobytes of certificates on a thin link.
pub const TLS_TIMEOUT: Bounds<Duration> = seconds(1, 5, 60);

/// From the last byte of the request to the head of the response. Busy portals do take seconds.
pub const HEAD_TIMEOUT: Bounds<Duration> = seconds(1, 10, 300);

/// Between two pieces of content. A link that is cut leaves no other trace.
pub const IDLE_BODY_TIMEOUT: Bounds<Duration> = seconds(1, 30, 600);

/// How long a request may wait for a place among those in flight.
pub const QUEUE_TIMEOUT: Bounds<Duration> = seconds(1, 5, 60);

/// How long a connection is kept for the next request. Shorter than what most servers keep it (nginx 75 s), so that
/// they rarely close it under a request.
pub const POOL_IDLE_TIMEOUT: Bounds<Duration> = seconds(1, 20, 300);

/// Idle connections in all: each holds a socket and, with TLS, about 40 kB.
pub const POOL_IDLE_MAX: Bounds<usize> = Bounds { min: 0, default: 64, max: 1024 };

/// Requests in flight to one origin. A class that opens a cold page needs some dozens of files; the portal should
/// still see one polite client.
pub const PER_ORIGIN_MAX: Bounds<usize> = Bounds { min: 1, default: 64, max: 1024 };

/// Requests in flight in all; each may hold a socket and a few buffers.
pub const IN_FLIGHT_MAX: Bounds<usize> = Bounds { min: 1, default: 256, max: 8192 };

/// Requests that wait for a place, in all. More would wait in vain: [`QUEUE_TIMEOUT`] passes first.
pub const WAITING_MAX: Bounds<usize> = Bounds { min: 1, default: 512, max: 8192 };

/// Before the next address of a host is tried beside the first (RFC 8305 §8 recommends 250 ms).
pub const HAPPY_EYEBALLS_DELAY: Bounds<Duration> =
    Bounds { min: Duration::from_millis(10), default: Duration::from_millis(250), max: Duration::from_millis(2000) };

/// Failures in a row after which an origin gets a pause. One broken page or one lost packet must not count as death.
pub const FAILURES_MAX: Bounds<u32> = Bounds { min: 1, default: 5, max: 100 };

/// The longest pause after failures; pauses double up to it. An origin that is back must serve again within 5 s.
pub const BACK_OFF_MAX: Bounds<Duration> = seconds(1, 4, 300);

/// The longest pause that an origin's `Retry-After` can ask of a class that waits; the night has its own patience.
pub const RETRY_AFTER_MAX: Bounds<Duration> = seconds(0, 10, 600);

/// Bytes of a response's head. The same as what the box takes from clients.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Fields of a response's head.
pub(super) const HEAD_FIELDS_MAX: usize = 100;

/// Where the connections for one host go instead of to what DNS says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostOverride {
    /// The address; it may be private, because a person wrote it.
    pub ip: IpAddr,
    /// The port, if it is another one than the URL's.
    pub port: Option<u16>,
}

impl HostOverride {
    /// The address to connect to for a URL with this port.
    pub fn address(self, url_port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(url_port))
    }
}

/// `127.0.0.1`, `127.0.0.1:8443`, `::1` or `[::1]:8443`.
impl FromStr for HostOverride {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let address: SocketAddr = text.parse().map_err(|_| NotAnAddress)?;
        Ok(Self { ip: address.ip(), port: Some(address.port()) })
    }
}

/// The text is no IP address with or without a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address, with or without a port (`192.0.2.7`, `192.0.2.7:8443`, `[2001:db8::7]:8443`)")]
pub struct NotAnAddress;

/// Everything that can be set about the way out. The defaults are those of the constants of this module.
#[derive(Clone, Debug)]
pub struct OriginOptions {
    /// Hosts whose addresses are given here and not by DNS.
    pub hosts: HashMap<HostName, Vec<HostOverride>>,
    /// The name servers to ask; empty means the system's own way. Needed where the system's resolver is the box itself.
    pub dns_servers: Vec<SocketAddr>,
    /// By site name: files with more certificates (PEM) that this site's origins may be vouched for by.
    pub extra_roots: HashMap<String, Vec<PathBuf>>,
    /// The product token in `Via`.
    pub via: String,
    /// See [`DNS_TIMEOUT`].
    pub dns_timeout: Duration,
    /// See [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// See [`TLS_TIMEOUT`].
    pub tls_timeout: Duration,
    /// See [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// See [`IDLE_BODY_TIMEOUT`].
    pub idle_body_timeout: Duration,
    /// See [`QUEUE_TIMEOUT`].
    pub queue_timeout: Duration,
    /// See [`POOL_IDLE_TIMEOUT`].
    pub pool_idle_timeout: Duration,
    /// See [`POOL_IDLE_MAX`].
    pub pool_idle_max: usize,
    /// See [`PER_ORIGIN_MAX`].
    pub per_origin_max: usize,
    /// See [`IN_FLIGHT_MAX`].
    pub in_flight_max: usize,
    /// See [`WAITING_MAX`].
    pub waiting_max: usize,
    /// See [`HAPPY_EYEBALLS_DELAY`].
    pub happy_eyeballs_delay: Duration,
    /// See [`FAILURES_MAX`].
    pub failures_max: u32,
    /// See [`BACK_OFF_MAX`].
    pub back_off_max: Duration,
    /// See [`RETRY_AFTER_MAX`].
    pub retry_after_max: Duration,
}

impl Default for OriginOptions {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            dns_servers: Vec::new(),
            extra_roots: HashMap::new(),
            via: "bulaq".to_owned(),
            dns_timeout: DNS_TIMEOUT.default,
            connect_timeout: CONNECT_TIMEOUT.default,
            tls_timeout: TLS_TIMEOUT.default,
            head_timeout: HEAD_TIMEOUT.default,
            idle_body_timeout: IDLE_BODY_TIMEOUT.default,
            queue_timeout: QUEUE_TIMEOUT.default,
            pool_idle_timeout: POOL_IDLE_TIMEOUT.default,
            pool_idle_max: POOL_IDLE_MAX.default,
            per_origin_max: PER_ORIGIN_MAX.default,
            in_flight_max: IN_FLIGHT_MAX.default,
            waiting_max: WAITING_MAX.default,
            happy_eyeballs_delay: HAPPY_EYEBALLS_DELAY.default,
            failures_max: FAILURES_MAX.default,
            back_off_max: BACK_OFF_MAX.default,
            retry_after_max: RETRY_AFTER_MAX.default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_is_an_address_with_or_without_a_port() {
        for (text, expected) in [
            ("127.0.0.1", Ok("127.0.0.1:80")),
            ("127.0.0.1:8443", Ok("127.0.0.1:8443")),
            ("::1", Ok("[::1]:80")),
            ("[::1]:8443", Ok("[::1]:8443")),
            ("[::1]", Err(NotAnAddress)),
            ("bilimland.kz", Err(NotAnAddress)),
            ("127.1", Err(NotAnAddress)),
            ("", Err(NotAnAddress)),
        ] {
            let read = text.parse::<HostOverride>().map(|o| o.address(80).to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }
}
