//! Squid: one process, with threads for its disk.

use super::{Program, Site, give, is_root, prepare};

/// Whom Debian's package makes it work as: it refuses to be root.
const USER: &str = "proxy";

pub(super) fn settle(site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    let file = configure(site)?;
    if is_root() {
        give(site.folder, USER)?;
    }
    // The folders of its store are made beforehand.
    prepare("squid", &["-N", "-z", "-f", &file], site.folder)?;
    Ok(vec![Program::new("squid", &["-N", "-f", &file])])
}

pub(super) fn configure(site: &Site<'_>) -> anyhow::Result<String> {
    let user = if is_root() { format!("cache_effective_user {USER}") } else { String::new() };
    site.write("squid.conf", include_str!("squid.conf"), &[("user", user)])
}
