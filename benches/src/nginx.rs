//! nginx with the same certificate, to compare with.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::boxed::cpu_s;
use crate::tls::Identity;

/// How long it may take to open its door.
const START_WAIT: Duration = Duration::from_secs(10);

/// A server that ends TLS and has nothing to give; until it is dropped.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) https: SocketAddr,
    _folder: TempDir,
}

fn config(folder: &Path, https: SocketAddr, identity: &Identity) -> String {
    let folder = folder.display();
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    // As the box does: tickets and no memory of sessions; TLS 1.2 and 1.3; HTTP/2 offered.
    format!(
        "daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log stderr error;\n{}\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;\n\
         uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\n\
         server {{ listen {https} ssl http2 backlog=1024; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519:prime256v1; ssl_session_tickets on; ssl_session_cache off; return 204; }} }}\n",
        if rustix::process::getuid().is_root() { "user root;\n" } else { "" },
    )
}

impl Nginx {
    /// # Errors
    /// When it is not installed, or does not open its door.
    pub(crate) fn start(identity: &Identity) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // It does not tell a port that the system chose, so one is chosen and let go.
        let https = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config(folder.path(), https, identity))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-e").arg("stderr").arg("-c").arg(&file).stdin(Stdio::null());
        let mut child =
            command.spawn().context("nginx is missing; install it (apt-get install nginx-light) and run this again")?;
        let begun = Instant::now();
        while TcpStream::connect(https).is_err() {
            if begun.elapsed() > START_WAIT || child.try_wait()?.is_some() {
                let _ = child.kill();
                let _ = child.wait();
                bail!("nginx did not open its door; what it says is above");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { child, https, _folder: folder })
    }

    /// Processor time so far of the master and its workers, in seconds.
    pub(crate) fn cpu_s(&self) -> anyhow::Result<f64> {
        let master = self.child.id();
        let workers = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let mut sum = cpu_s(master)?;
        for worker in workers.split_whitespace() {
            sum += cpu_s(worker.parse()?)?;
        }
        Ok(sum)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked, not killed: a master that is killed leaves its workers behind.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
