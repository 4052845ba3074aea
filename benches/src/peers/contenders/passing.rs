//! Those who pass TLS through untouched: who reads the name in the ClientHello and leads the rest to the site.

use std::path::Path;

use anyhow::{bail, ensure};

use super::{Contender, Program, Site, is_root};

/// Debian's package libnginx-mod-stream brings it.
const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// One site, of which the box sees nothing but its name.
const ALLOWLIST: &str = "[[site]]\nname = \"lessons\"\nhosts = [\"{{host}}\"]\ntls = \"splice\"\n";

pub(super) fn settle(contender: Contender, site: &Site<'_>) -> anyhow::Result<Vec<Program>> {
    match contender {
        Contender::Nginx => {
            ensure!(
                Path::new(NGINX_MODULE).is_file(),
                "its stream module is missing; it comes with libnginx-mod-stream"
            );
            let user = if is_root() { "user root;" } else { "" };
            let more = [("user", user.to_owned()), ("module", NGINX_MODULE.to_owned())];
            let file = site.write("nginx.conf", include_str!("passing-nginx.conf"), &more)?;
            let folder = site.folder.display().to_string();
            Ok(vec![Program::new("nginx", &["-p", &folder, "-e", "stderr", "-c", &file])])
        }
        Contender::Haproxy => {
            let file = site.write("haproxy.cfg", include_str!("passing-haproxy.cfg"), &[])?;
            Ok(vec![Program::new("haproxy", &["-db", "-f", &file])])
        }
        Contender::Bulaq => {
            site.write("allowlist.toml", ALLOWLIST, &[])?;
            site.write("bulaq.toml", include_str!("bulaq.toml"), &[])?;
            Ok(vec![Program::new(site.world.bulaq(), &["serve"])])
        }
        Contender::NginxNodelay => bail!("tcp_nopush is no matter of its stream module"),
        Contender::Squid => {
            bail!("it splices what comes by CONNECT or from a router, not what is sent to it as to the site")
        }
        Contender::Varnish => bail!("neither it nor Hitch passes TLS through"),
        Contender::Trafficserver => bail!("its tunnels (sni.yaml) are not set up here"),
    }
}
