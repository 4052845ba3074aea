//! Varnish, and Hitch in front of it for TLS.

use super::{Program, Site, free_address, is_root};

/// Whom Debian's package makes Hitch work as: it refuses to be root.
const HITCH_USER: &str = "_hitch";

pub(super) fn settle(site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    let (vcl, hitch, inner) = configure(site)?;
    let folder = site.folder.join("work").display().to_string();
    let http = format!("http={},HTTP", site.http);
    let proxied = format!("proxied={inner},PROXY");
    // The store is a mapped file, so that it has the disk of the others; what is short-lived or passes through is in memory.
    let budget = site.budget;
    let main = format!("main=file,{}/store,{}m", site.folder.display(), budget.disk_mib);
    let transient = format!("Transient=malloc,{}m", budget.memory_mib);
    // No user of its own, one pool of threads for one core, and HTTP/2.
    #[rustfmt::skip]
    let arguments = [
        "-j", "none", "-F", "-n", &folder, "-f", &vcl, "-a", &http, "-a", &proxied, "-s", &main, "-s", &transient,
        "-p", "thread_pools=1", "-p", "feature=+http2", "-p", "listen_depth=4096",
    ];
    let config = format!("--config={hitch}");
    Ok(vec![Program::new("varnishd", &arguments), Program::new("hitch", &[&config])])
}

/// Varnish's file, Hitch's, and the address between them.
pub(super) fn configure(site: &Site<'_>) -> anyhow::Result<(String, String, String)> {
    let inner = free_address()?;
    let user = if is_root() { format!("user = \"{HITCH_USER}\"") } else { String::new() };
    let more = [("inner_ip", inner.ip().to_string()), ("inner_port", inner.port().to_string()), ("user", user)];
    let hitch = site.write("hitch.conf", include_str!("hitch.conf"), &more)?;
    let vcl = site.write("varnish.vcl", include_str!("varnish.vcl"), &[])?;
    Ok((vcl, hitch, inner.to_string()))
}
