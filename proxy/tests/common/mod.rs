//! What the tests that use sockets share: an origin that does what a script says, and certificates for it.
//!
//! No test sleeps: each waits for an event, and every wait is bounded.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its own part of this module")]

pub mod bulaq;
pub mod client;
pub mod dns;
pub mod h2;
pub mod netns;
pub mod origin;
pub mod rooms;
pub mod tls;

use std::future::Future;
use std::time::Duration;

use bulaq_allowlist::{Allowlist, HostName, Permit, Scheme};

/// Longer than anything takes on a busy machine; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

pub fn name(host: &str) -> HostName {
    HostName::parse(host).unwrap()
}

/// A list with one public site of these hosts; more of the site's keys may follow.
pub fn allowlist(hosts: &[&str], more: &str) -> Allowlist {
    let text = format!(
        "[[site]]\nname = \"portal\"\ntitle = {{ kk = \"Портал\", ru = \"Портал\", en = \"Portal\" }}\n\
         class = \"public-lessons\"\ntraffic = \"zero-rated\"\ntls = \"terminate\"\nhosts = {hosts:?}\n{more}\n"
    );
    match Allowlist::parse("allowlist.toml", &text) {
        Ok(loaded) => loaded.allowlist,
        Err(rejected) => panic!("{rejected}"),
    }
}

/// A permit for the scheme's own port.
pub fn permit(list: &Allowlist, scheme: Scheme, host: &str) -> Permit {
    list.permit(scheme, &name(host), scheme.default_port(), &http::Method::GET, "/").unwrap()
}
