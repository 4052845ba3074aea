//! The box as it is shipped, in a folder of its own, seen as its system sees it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::peers::cpu_s;

/// The one site of the measurements.
pub(crate) const HOST: &str = "lessons.example.kz";

/// Lines of the box's log that are read for its doors' addresses.
const LOG_LINES_MAX: usize = 1_000;

/// The release build of the box, in the folder of this program.
pub(crate) fn beside_us() -> anyhow::Result<PathBuf> {
    let program = release_build()?;
    if !program.is_file() {
        bail!("{} is not there: run `cargo build --release -p bulaq` first, or give --bulaq", program.display());
    }
    Ok(program)
}

/// Where the release build of the box belongs.
pub(crate) fn release_build() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("bulaq"))
}

/// A folder with a configuration that leads to an origin. Outlives the boxes that run in it.
pub(crate) struct Home {
    folder: TempDir,
    program: PathBuf,
}

/// A box that serves until it is dropped.
pub(crate) struct Boxed {
    child: Child,
    /// Its door for clients that take it for the site.
    pub(crate) http: SocketAddr,
    /// The same with TLS, where there is one.
    pub(crate) https: Option<SocketAddr>,
}

impl Home {
    pub(crate) fn new(program: &Path, origin: SocketAddr) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = []\nforward = [\"127.0.0.1:0\"]\n\
             [store]\nkeep-free = \"0 B\"\nreserve = \"0 B\"\n[origin]\npause-timeout = \"1 s\"\nanswer-timeout = \"5 s\"\n\
             [origin.hosts]\n\"{HOST}\" = \"{origin}\"\n\
             [night]\nwindow = \"off\"\nsite-requests-per-s = \"off\"\n"
        );
        fs::write(folder.path().join("bulaq.toml"), config)?;
        let list = format!(
            "[[site]]\nname = \"lessons\"\nhosts = [\"{HOST}\"]\n\
             [site.prefetch]\nstart = [\"http://{HOST}/start.html\"]\n"
        );
        fs::write(folder.path().join("allowlist.toml"), list)?;
        Self::in_folder(folder, program)
    }

    /// One that ends TLS with this certificate, and leads nowhere.
    pub(crate) fn with_tls(program: &Path, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\nforward = [\"127.0.0.1:0\"]\n\
             [tls.certificates.\"{HOST}\"]\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [store]\nkeep-free = \"0 B\"\nreserve = \"0 B\"\n[night]\nwindow = \"off\"\n",
            certificate.display(),
            key.display()
        );
        fs::write(folder.path().join("bulaq.toml"), config)?;
        let list = format!("[[site]]\nname = \"lessons\"\nhosts = [\"{HOST}\"]\ntls = \"terminate\"\n");
        fs::write(folder.path().join("allowlist.toml"), list)?;
        Self::in_folder(folder, program)
    }

    fn in_folder(folder: TempDir, program: &Path) -> anyhow::Result<Self> {
        let program = program.canonicalize().with_context(|| format!("{} is not there", program.display()))?;
        Ok(Self { folder, program })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path()).env_remove("BULAQ_CONFIG").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts a box here, and returns when its doors are open.
    pub(crate) fn serve(&self) -> anyhow::Result<Boxed> {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().context("the box does not start")?;
        let mut log = BufReader::new(child.stderr.take().context("no log")?);
        let (mut http, mut https) = (None, None);
        for _ in 0..LOG_LINES_MAX {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                bail!("the box ended before its doors were open");
            }
            if let Some((_, address)) = line.trim_end().split_once("http is open address=") {
                http = address.parse().ok();
            }
            if let Some((_, address)) = line.trim_end().split_once("https is open address=") {
                https = address.parse().ok();
            }
            if let (Some(http), true) = (http, line.contains("proxy is open")) {
                // The rest of the log is read, so that the box never waits for us.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Ok(Boxed { child, http, https });
            }
        }
        bail!("the box does not say that its doors are open")
    }

    /// Starts a night that fetches the site now.
    pub(crate) fn night(&self) -> anyhow::Result<Child> {
        self.command(&["prefetch"]).stderr(Stdio::null()).spawn().context("the night does not start")
    }
}

impl Boxed {
    /// Ends it at once, without a chance to put anything in order.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it as a service manager does, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Processor time so far, in seconds.
    pub(crate) fn cpu_s(&self) -> anyhow::Result<f64> {
        cpu_s(self.child.id())
    }

    /// Resident memory now, in MiB; the peak is counted anew from here.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").context("the peak cannot be reset")?;
        self.status_mib("VmRSS:")
    }

    /// The most resident memory since the last look, in MiB.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
