//! What `[dns]` says.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use rustls_pki_types::ServerName;

use crate::origin::options::Bounds;

/// The port of a name server.
pub const DNS_PORT: u16 = 53;

/// The port of a name server over TLS (RFC 7858 §3.1).
const DOT_PORT: u16 = 853;

/// How long devices remember that a name leads to the box. The most is a minute, so that a laptop that goes home, and a
/// school whose box stops, are back on the plain Internet before anybody calls; less than five seconds only makes work.
pub const TTL: Bounds<Duration> =
    Bounds { min: Duration::from_secs(5), default: Duration::from_secs(30), max: Duration::from_secs(60) };

/// Memory for answers of the school's resolvers, in bytes. The default holds some ten thousand names: more than a
/// school uses within their times to live.
pub const CACHE_BYTES: Bounds<u64> = Bounds { min: 1 << 20, default: 8 << 20, max: 256 << 20 };

/// Questions that one client (an address) may ask in a second. A page asks some tens at once; the most is for a name server
/// of the school that asks for everybody.
pub const QUERIES_PER_S: Bounds<u64> = Bounds { min: 10, default: 200, max: 100_000 };

/// The resolver's settings; it is off while `listen` is empty.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// The box's own addresses at which it answers, UDP and TCP. Never a wildcard: an answer must leave by the address that
    /// was asked.
    pub listen: Vec<SocketAddr>,
    /// The addresses given for names that lead to the box.
    pub answers: Vec<IpAddr>,
    /// The school's resolvers, in order of preference.
    pub upstreams: Vec<Upstream>,
    /// The time to live of answers that lead to the box, and the most for its names when they don't.
    pub ttl: Duration,
    /// Memory for the answers of others.
    pub cache_bytes: u64,
    /// Questions of one client in a second.
    pub queries_per_s: u64,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            answers: Vec::new(),
            upstreams: Vec::new(),
            ttl: TTL.default,
            cache_bytes: CACHE_BYTES.default,
            queries_per_s: QUERIES_PER_S.default,
        }
    }
}

/// A resolver of the school, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// By UDP, and by TCP what does not fit.
    Udp(SocketAddr),
    /// By TCP alone.
    Tcp(SocketAddr),
    /// By TLS (RFC 7858), with its certificate verified for this name.
    Tls {
        /// Where.
        address: SocketAddr,
        /// Who must answer there.
        name: ServerName<'static>,
    },
}

impl Upstream {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp(address) | Self::Tls { address, .. } => *address,
        }
    }
}

/// Why a text is no upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No address of that form.
    #[error("an address is expected, as in \"192.0.2.53\", \"tcp://192.0.2.53\" or \"tls://192.0.2.53#dns.example\"")]
    Address,
    /// TLS without the name that the certificate must have.
    #[error("the name in the server's certificate is missing, as in \"tls://192.0.2.53#dns.example\"")]
    NoName,
    /// A name where none is used.
    #[error("a name after # is only for tls://")]
    Name,
    /// Nobody is there.
    #[error("that is no address of a server")]
    NotOne,
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
        let (place, name) = match rest.split_once('#') {
            Some((place, name)) => (place, Some(name)),
            None => (rest, None),
        };
        let port = if scheme == "tls" { DOT_PORT } else { DNS_PORT };
        let address = address(place, port).ok_or(UpstreamError::Address)?;
        if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
            return Err(UpstreamError::NotOne);
        }
        match (scheme, name) {
            ("udp", None) => Ok(Self::Udp(address)),
            ("tcp", None) => Ok(Self::Tcp(address)),
            ("udp" | "tcp", Some(_)) => Err(UpstreamError::Name),
            ("tls", Some(name)) => {
                let name = ServerName::try_from(name.to_owned()).map_err(|_| UpstreamError::NoName)?;
                Ok(Self::Tls { address, name })
            }
            ("tls", None) => Err(UpstreamError::NoName),
            _ => Err(UpstreamError::Address),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls { address, name } => write!(f, "tls://{address}#{}", name.to_str()),
        }
    }
}

/// An address with or without a port; IPv6 with a port in brackets, without one with or without them.
pub fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(|ip| SocketAddr::new(ip.into(), port))
    };
    text.parse().ok().or_else(bare).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_in_every_form() {
        for (text, expected) in [
            ("192.0.2.53", Ok("192.0.2.53:53")),
            ("192.0.2.53:5353", Ok("192.0.2.53:5353")),
            ("2001:db8::53", Ok("[2001:db8::53]:53")),
            ("[2001:db8::53]", Ok("[2001:db8::53]:53")),
            ("tcp://192.0.2.53", Ok("tcp://192.0.2.53:53")),
            ("tls://192.0.2.53#dns.example", Ok("tls://192.0.2.53:853#dns.example")),
            ("tls://[2001:db8::53]:8853#dns.example", Ok("tls://[2001:db8::53]:8853#dns.example")),
            ("tls://192.0.2.53", Err(UpstreamError::NoName)),
            ("tls://192.0.2.53#", Err(UpstreamError::NoName)),
            ("192.0.2.53#dns.example", Err(UpstreamError::Name)),
            ("https://192.0.2.53", Err(UpstreamError::Address)),
            ("dns.example", Err(UpstreamError::Address)),
            ("0.0.0.0", Err(UpstreamError::NotOne)),
            ("192.0.2.53:0", Err(UpstreamError::NotOne)),
            ("", Err(UpstreamError::Address)),
        ] {
            let read = text.parse::<Upstream>().map(|upstream| upstream.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }
}
