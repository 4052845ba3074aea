//! `HAProxy`: one process, one thread, a cache in memory.

use super::{Program, Site};

pub(super) fn settle(site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    let file = configure(site)?;
    // In the foreground.
    Ok(vec![Program::new("haproxy", &["-db", "-f", &file])])
}

pub(super) fn configure(site: &Site<'_>) -> anyhow::Result<String> {
    let object_bytes_max = (site.budget.memory_mib << 20) / 2 - 1;
    let more = [("object_bytes_max", object_bytes_max.to_string())];
    site.write("haproxy.cfg", include_str!("haproxy.cfg"), &more)
}
