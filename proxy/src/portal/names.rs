//! The names of the box itself, under `.internal`, which is reserved for private use and never delegated.
//!
//! They answer wherever the box's resolver, the school's, or the PAC file leads to the box; elsewhere they don't resolve,
//! and what asks them fails as it should.

use std::sync::LazyLock;

use bulaq_allowlist::HostName;

/// The box's own name: its start page.
pub fn box_name() -> &'static HostName {
    static NAME: LazyLock<HostName> = LazyLock::new(|| parsed("bulaq.internal"));
    &NAME
}

/// The name that a device is asked to reach over TLS, to show that it trusts the district's CA.
pub fn probe_name() -> &'static HostName {
    static NAME: LazyLock<HostName> = LazyLock::new(|| parsed("check.bulaq.internal"));
    &NAME
}

/// Whether `host` is one of the names that are the box's on every box. More can be configured.
pub fn is_own(host: &HostName) -> bool {
    host == box_name() || host == probe_name()
}

fn parsed(name: &str) -> HostName {
    HostName::parse(name).expect("a name of two or three plain labels")
}
