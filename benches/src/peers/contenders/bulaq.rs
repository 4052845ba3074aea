//! The box.

use std::net::SocketAddr;

use super::{Program, Site};
use crate::peers::site as portal;

/// One site, whose TLS ends here.
const ALLOWLIST: &str = "[[site]]\nname = \"lessons\"\nhosts = [\"{{host}}\", \"*.{{host}}\"]\ntls = \"terminate\"\n";

/// A site that a night fetches as fast as it may.
const PORTAL: &str =
    "[[site]]\nname = \"portal\"\nhosts = [\"{{name}}\"]\n[site.prefetch]\nstart = [\"http://{{name}}{{start}}\"]\n";

/// What the operator's guide sets in the service.
const ENVIRONMENT: &[(&str, &str)] = &[("MALLOC_ARENA_MAX", "2")];

pub(super) fn settle(site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    site.write("allowlist.toml", ALLOWLIST, &[])?;
    site.write("bulaq.toml", include_str!("bulaq.toml"), &[])?;
    Ok(vec![Program::new(site.world.bulaq(), &["serve"]).with(ENVIRONMENT)])
}

/// With a portal beside the site, which a night fetches whole.
pub(super) fn settle_with_portal(site: &Site<'_>, portal: SocketAddr) -> anyhow::Result<Vec<Program>> {
    let start = portal::start_path();
    let more = [("portal", portal.to_string()), ("name", portal::NAME.to_owned()), ("start", start)];
    site.write("allowlist.toml", &[ALLOWLIST, PORTAL].concat(), &more)?;
    let hosts = "[origin.hosts]\n";
    let config = include_str!("bulaq.toml").replace(hosts, &[hosts, "\"{{name}}\" = \"{{portal}}\"\n"].concat());
    site.write("bulaq.toml", &config, &more)?;
    Ok(vec![Program::new(site.world.bulaq(), &["serve"]).with(ENVIRONMENT)])
}
