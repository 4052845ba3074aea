//! nginx: one master, one worker, files on disk.

use super::{Program, Site, is_root};

/// Memory for keys: of a million stored responses, whatever there is for bodies.
const KEYS_MIB_MIN: u64 = 128;

pub(super) fn settle(site: &Site<'_>, nopush: &str) -> anyhow::Result<Vec<Program>> {
    let file = configure(site, nopush)?;
    let folder = site.folder.display().to_string();
    Ok(vec![Program::new("nginx", &["-p", &folder, "-e", "stderr", "-c", &file])])
}

pub(super) fn configure(site: &Site<'_>, nopush: &str) -> anyhow::Result<String> {
    // Its workers would be another user's and could not read a temporary folder.
    let user = if is_root() { "user root;" } else { "" };
    let keys_mib = (site.budget.memory_mib / 2).max(KEYS_MIB_MIN);
    let more = [("nopush", nopush.to_owned()), ("user", user.to_owned()), ("keys_mib", keys_mib.to_string())];
    site.write("nginx.conf", include_str!("nginx.conf"), &more)
}
