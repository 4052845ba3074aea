//! In the router's path: doors for connections that were going to a site and are handed over by the router's rules.
//!
//! With *tproxy* the packets come as they are: the socket's own address is the site's, and the browser sees the site's
//! public address. With *redirect* the kernel rewrites the destination and remembers the original one. Either way the
//! box never connects to that address. It asks which name the client wants (SNI, `Host`), lets the allowlist permit
//! it, resolves it itself, and compares: `destination` has the rule. `rules` writes what makes the kernel hand over
//! connections, `keeper` what makes it stop when the box does not serve.

mod bridge;
mod destination;
pub(crate) mod keeper;
mod rules;
mod socket;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

pub(super) use self::destination::{Stray, may_ask, may_open, original};
pub use self::rules::{RulesError, install, remove};
pub(super) use self::socket::bind;

/// The ports that the rules hand over, and that these doors take: http and https at their own.
pub(super) const HTTP_PORT: u16 = 80;
/// See [`HTTP_PORT`].
pub(super) const HTTPS_PORT: u16 = 443;

/// The doors for what a router hands over, and what its rules look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterOptions {
    /// For connections that were going to port 80; none: such connections are not taken.
    pub http: Vec<SocketAddr>,
    /// For connections that were going to port 443.
    pub https: Vec<SocketAddr>,
    /// How connections are handed over.
    pub mode: Mode,
    /// The interfaces at which pupils' connections come in; what comes in elsewhere is left alone.
    pub interfaces: Vec<Interface>,
    /// Which connections are handed over.
    pub take: Take,
    /// What becomes of a connection to an address that is not one of the named site's.
    pub mismatch: Mismatch,
}

impl RouterOptions {
    /// Whether there is a door.
    pub fn is_on(&self) -> bool {
        !self.http.is_empty() || !self.https.is_empty()
    }
}

/// How the kernel hands a connection over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Packets come with their original destination; needs `CAP_NET_ADMIN` and a routing rule.
    #[default]
    Tproxy,
    /// The destination is rewritten to the door's and asked for afterwards.
    Redirect,
}

/// Which connections the rules hand over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// Those to addresses that permitted names lead to; everything else stays as it was.
    #[default]
    Listed,
    /// Every one but those to private addresses: what is not on the allowlist is refused by the box.
    All,
}

/// What becomes of a connection whose destination is none of the addresses that the box finds for the name in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mismatch {
    /// It is refused.
    #[default]
    Refuse,
    /// It is served from the site's own addresses as the box finds them; its destination is still not connected to.
    OwnAddress,
}

/// The name of a network interface: up to 15 letters, digits, `.`, `_` and `-`. The kernel takes stranger ones; these
/// need no quoting anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(String);

/// Bytes of an interface's name (`IFNAMSIZ` less the final zero).
const INTERFACE_BYTES_MAX: usize = 15;

/// A text that is no interface's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a network interface is expected, as in \"lan0\" (`ip link` shows them)")]
pub struct NotAnInterface;

impl FromStr for Interface {
    type Err = NotAnInterface;

    fn from_str(text: &str) -> Result<Self, NotAnInterface> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = (1..=INTERFACE_BYTES_MAX).contains(&text.len())
            && text.bytes().all(is_plain)
            && !text.starts_with(['.', '-']);
        if is_name { Ok(Self(text.to_owned())) } else { Err(NotAnInterface) }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_a_name_that_needs_no_quoting() {
        for (text, is_name) in [
            ("lan0", true),
            ("br-lan", true),
            ("eth0.20", true),
            ("wlp3s0_pupils", true),
            ("enp0s31f6abcdef", true),
            ("enp0s31f6abcdefg", false),
            ("", false),
            ("-x", false),
            (".", false),
            ("a b", false),
            ("lan\"", false),
            ("lan;reboot", false),
            ("ләп0", false),
        ] {
            assert_eq!(text.parse::<Interface>().is_ok(), is_name, "{text:?}");
        }
    }
}
