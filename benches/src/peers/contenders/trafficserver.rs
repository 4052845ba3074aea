//! Apache Traffic Server: its server process without the manager, in a tree of folders of its own.

use std::fs;

use super::{Program, Site};

/// The folders that it wants to know.
const FOLDERS: &str = "prefix: {{folder}}
exec_prefix: {{folder}}
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: {{folder}}
datadir: {{folder}}/data
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {{folder}}/run
runtimedir: {{folder}}/run
logdir: {{folder}}/log
cachedir: {{folder}}/cache
";

pub(super) fn settle(site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    let root = configure(site)?;
    Ok(vec![Program::new("traffic_server", &[&format!("--run-root={root}"), "--bind_stdout", "/dev/null"])])
}

pub(super) fn configure(site: &Site<'_>) -> anyhow::Result<String> {
    for name in ["data", "run", "log", "cache"] {
        fs::create_dir_all(site.folder.join(name))?;
    }
    let identity = site.world.identity();
    let identity_folder = identity.certificate.parent().unwrap_or(site.folder).display().to_string();
    site.write("records.config", include_str!("records.config"), &[("identity_folder", identity_folder)])?;
    site.write("storage.config", "{{folder}}/cache {{disk_mib}}M\n", &[])?;
    let remap = "map http://{{host}}/ http://{{origin}}/\nmap https://{{host}}/ http://{{origin}}/\n";
    site.write("remap.config", remap, &[])?;
    let certificate = "dest_ip=* ssl_cert_name={{certificate}} ssl_key_name={{key}}\n";
    site.write("ssl_multicert.config", certificate, &[])?;
    let allow = "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n";
    site.write("ip_allow.yaml", allow, &[])?;
    for empty in ["plugin.config", "parent.config", "cache.config", "hosting.config", "volume.config"] {
        site.write(empty, "", &[])?;
    }
    site.write("runroot.yaml", FOLDERS, &[])
}
