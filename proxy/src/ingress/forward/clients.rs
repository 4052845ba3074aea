//! Whose clients the box works for: its forward door, and its resolver's questions to others.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks whose clients may use the box as their proxy and as their resolver, so that it is never an open one.
///
/// A client from elsewhere is not answered at the forward door: its connection is reset before a byte of it is read.
/// An answer that explains would be worse for everybody who is meant. A browser that meets a reset goes on to the next
/// word of its PAC file, `DIRECT`, and has the plain Internet, where it takes a 403 to CONNECT for the last word; and
/// whoever looks for open proxies learns neither what this is nor what is on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    networks: Vec<IpNet>,
}

impl Default for Clients {
    /// Private, link-local and loopback addresses (RFC 1918, RFC 3927, RFC 4193, RFC 4291), all of IPv4 and IPv6.
    ///
    /// 100.64.0.0/10 (RFC 6598) is not among them: it is the provider's side of a school's link, shared with the
    /// provider's other customers. Global IPv6 addresses are not either: nothing in them says whose they are.
    fn default() -> Self {
        const NETWORKS: [&str; 8] = [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "127.0.0.0/8",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
        ];
        Self::new(NETWORKS.map(|network| network.parse().expect("a network in its usual form")).to_vec())
    }
}

impl Clients {
    /// The clients of these networks; of none, nobody's.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks }
    }

    /// Whether a client with this address is one of them. An IPv4 address in IPv6's clothes is the IPv4 address.
    pub fn has(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// The networks, as they were given.
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_the_clients_are_those_of_private_networks() {
        for (peer, is_one) in [
            ("10.200.3.4", true),
            ("172.16.0.1", true),
            ("172.31.255.254", true),
            ("172.32.0.1", false),
            ("192.168.1.20", true),
            ("192.169.1.20", false),
            ("169.254.7.7", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:192.168.1.20", true),
            ("::ffff:8.8.8.8", false),
            ("fd12:3456::1", true),
            ("fe80::1", true),
            ("fec0::1", false),
            ("100.64.0.1", false),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
            ("::", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(Clients::default().has(peer.parse().unwrap()), is_one, "{peer}");
        }
    }

    #[test]
    fn what_is_written_replaces_the_default() {
        let clients = Clients::new(vec!["2001:db8:7::/48".parse().unwrap(), "203.0.113.7/32".parse().unwrap()]);
        for (peer, is_one) in
            [("2001:db8:7::9", true), ("2001:db8:8::9", false), ("203.0.113.7", true), ("10.0.0.1", false)]
        {
            assert_eq!(clients.has(peer.parse().unwrap()), is_one, "{peer}");
        }
        assert!(!Clients::new(Vec::new()).has("127.0.0.1".parse().unwrap()));
    }
}
