//! What the gateway's tests share: one list, one address, one page.

use bulaq_allowlist::{Allowlist, HostName, Scheme};

use super::map::Map;
use super::names::Address;

/// Two sites; one has a port, a plain host and a wildcard.
const LIST: &str = r#"
[[site]]
name = "a"
hosts = ["a.kz", "a.kz:8443", "http://plain.kz", "*.wild.kz"]
tls = "splice"

[[site]]
name = "e"
hosts = ["e-lessons.kz"]
tls = "splice"
"#;

pub(super) fn list() -> Allowlist {
    Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist
}

/// A gateway on a LAN without a certificate.
pub(super) fn address() -> Address {
    Address::new(HostName::parse("lessons.school.example").unwrap(), false, 80)
}

/// For a page of `https://a.kz`.
pub(super) fn map() -> Map {
    Map::new(list(), address(), Scheme::Https)
}
