//! The box.

use super::{Program, Site};

/// One site, whose TLS ends here.
const ALLOWLIST: &str = "[[site]]\nname = \"lessons\"\nhosts = [\"{{host}}\"]\ntls = \"terminate\"\n";

pub(super) fn settle(site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    site.write("allowlist.toml", ALLOWLIST, &[])?;
    site.write("bulaq.toml", include_str!("bulaq.toml"), &[])?;
    Ok(vec![Program::new(site.world.bulaq(), &["serve"])])
}
