//! Those who are compared: each is a folder with a configuration, from which it is started as often as wished.
//!
//! All have the same memory and disk ([`Budget`]), one worker, no access log, and collapse requests. Their configurations
//! are the templates beside this file, with the reason for each line that is not a default.

mod bulaq;
mod haproxy;
mod nginx;
mod passing;
mod squid;
mod trafficserver;
mod varnish;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::boxed::HOST;
use crate::peers::running::{Errand, Running};
use crate::peers::world::World;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contender {
    /// As Debian has it: `tcp_nopush on`.
    Nginx,
    /// With `tcp_nopush off`: better with bodies over 64 KiB on loopback, worse with small ones.
    NginxNodelay,
    Squid,
    /// With Hitch for TLS.
    Varnish,
    Trafficserver,
    Haproxy,
    Bulaq,
}

/// All of them, in the order of the table.
pub(crate) const ALL: [Contender; 7] = [
    Contender::Nginx,
    Contender::NginxNodelay,
    Contender::Squid,
    Contender::Varnish,
    Contender::Trafficserver,
    Contender::Haproxy,
    Contender::Bulaq,
];

/// What a contender says, in its folder.
const SAID: &str = "said.log";

/// How much of what a contender said is told when it does not start.
const SAID_BYTES_MAX: usize = 2_000;

/// What each may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Memory for bodies, in MiB.
    pub(crate) memory_mib: u64,
    /// The store on disk, in MiB.
    pub(crate) disk_mib: u64,
    /// What the box's index may keep in memory, in MiB.
    pub(crate) index_mib: u64,
}

/// As much as a small box has to give.
pub(crate) const BUDGET: Budget = Budget { memory_mib: 256, disk_mib: 4_096, index_mib: 64 };

/// One program of a contender.
#[derive(Debug)]
pub(crate) struct Program {
    name: PathBuf,
    arguments: Vec<String>,
    environment: &'static [(&'static str, &'static str)],
}

impl Program {
    fn new(name: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { name: name.into(), arguments, environment: &[] }
    }

    fn with(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    /// The command, to be run in `folder`.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        // What it says is told only when it fails.
        if let Ok(said) = fs::OpenOptions::new().create(true).append(true).open(folder.join(SAID)) {
            command.stderr(said);
        }
        command.env_remove("BULAQ_CONFIG").env_remove("RUST_LOG").envs(self.environment.iter().copied());
        command
    }
}

/// A contender's folder: its configuration, and what it stores. Goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) contender: Contender,
    folder: TempDir,
    /// The doors that it opens when it runs; the same each time.
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// What runs, the main one first.
    programs: Vec<Program>,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxNodelay => "nginx-nodelay",
            Self::Squid => "squid",
            Self::Varnish => "varnish",
            Self::Trafficserver => "trafficserver",
            Self::Haproxy => "haproxy",
            Self::Bulaq => "bulaq",
        }
    }

    /// What must be known to read its figures.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Nginx => "files, sendfile; tcp_nopush on, as Debian has it",
            Self::NginxNodelay => "the same with tcp_nopush off",
            Self::Squid => "memory and aufs; no HTTP/2",
            Self::Varnish => "stored in a mapped file; hitch in front for TLS",
            Self::Trafficserver => "memory and a store on disk of its own form",
            Self::Haproxy => "memory alone; no ranges, no collapsing",
            Self::Bulaq => "the release build, with `MALLOC_ARENA_MAX=2` as in its guide's service",
        }
    }

    /// What Debian calls the packages that bring it.
    fn packages(self) -> &'static str {
        match self {
            Self::Nginx | Self::NginxNodelay => "nginx-light",
            Self::Squid => "squid-openssl",
            Self::Varnish => "varnish hitch",
            Self::Trafficserver => "trafficserver",
            Self::Haproxy => "haproxy",
            Self::Bulaq => "bulaq",
        }
    }

    /// What it says of its version.
    ///
    /// # Errors
    /// When it is not installed.
    pub(crate) fn version(self, bulaq: &Path) -> anyhow::Result<String> {
        let said = |program: &Path, argument: &str| -> anyhow::Result<String> {
            let output = Command::new(program)
                .arg(argument)
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("{} is missing; it comes with {}", program.display(), self.packages()))?;
            let text = [output.stdout, output.stderr].concat();
            Ok(version_in(&String::from_utf8_lossy(&text)))
        };
        match self {
            Self::Nginx | Self::NginxNodelay => said(Path::new("nginx"), "-v"),
            Self::Squid => said(Path::new("squid"), "-v"),
            Self::Varnish => {
                let hitch = said(Path::new("hitch"), "--version")?;
                Ok(format!("{}, hitch {hitch}", said(Path::new("varnishd"), "-V")?))
            }
            Self::Trafficserver => said(Path::new("traffic_server"), "-V"),
            Self::Haproxy => said(Path::new("haproxy"), "-v"),
            Self::Bulaq => said(bulaq, "--version"),
        }
    }

    /// Writes its configuration into a folder of its own.
    ///
    /// # Errors
    /// When files can't be written, or what it needs to begin with can't be made.
    pub(crate) fn settle(self, world: &World, budget: Budget) -> anyhow::Result<Home> {
        self.settle_by(world, budget, |site| match self {
            Self::Nginx => nginx::settle(site, "on"),
            Self::NginxNodelay => nginx::settle(site, "off"),
            Self::Squid => squid::settle(site),
            Self::Varnish => varnish::settle(site),
            Self::Trafficserver => trafficserver::settle(site),
            Self::Haproxy => haproxy::settle(site),
            Self::Bulaq => bulaq::settle(site),
        })
    }

    /// As one that passes TLS through untouched.
    ///
    /// # Errors
    /// As with [`Contender::settle`], and when it can't do that.
    pub(crate) fn settle_passing(self, world: &World) -> anyhow::Result<Home> {
        self.settle_by(world, BUDGET, |site| passing::settle(self, site))
    }

    /// The box with a portal that its nights fetch.
    ///
    /// # Errors
    /// As with [`Contender::settle`], and when it has no nights.
    pub(crate) fn settle_with_portal(self, world: &World, budget: Budget, portal: SocketAddr) -> anyhow::Result<Home> {
        self.settle_by(world, budget, |site| match self {
            Self::Bulaq => bulaq::settle_with_portal(site, portal),
            _ => bail!("it has no nights"),
        })
    }

    fn settle_by(
        self,
        world: &World,
        budget: Budget,
        write: impl FnOnce(&Site<'_>) -> anyhow::Result<Vec<Program>>,
    ) -> anyhow::Result<Home> {
        let folder = tempfile::Builder::new().prefix(self.name()).tempdir_in(world.folder())?;
        readable(folder.path())?;
        let site = Site { folder: folder.path(), http: free_address()?, https: free_address()?, budget, world };
        let programs = write(&site).with_context(|| format!("{} can't be set up", self.name()))?;
        let (http, https) = (site.http, site.https);
        Ok(Home { contender: self, folder, http, https, programs })
    }
}

/// The first word of a program's self-description that begins with a digit.
fn version_in(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || "/()".contains(c));
    let is_version = |word: &&str| {
        let word = word.strip_prefix("varnish-").unwrap_or(word);
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
    };
    let word = words.into_iter().find(is_version).unwrap_or("unknown");
    word.strip_prefix("varnish-").unwrap_or(word).trim_end_matches([',', ';']).to_owned()
}

/// Ports for the contenders' doors: below those that Linux gives to outgoing connections (32768 and up), so that no client
/// has one when it is to be opened.
const PORT_FIRST: u16 = 16_384;
const PORT_LAST: u16 = 32_767;

/// An address of the loopback interface with a port that was free a moment ago, and that nobody else here was given: most
/// contenders can't tell which port the system chose.
///
/// # Errors
/// When all are taken.
fn free_address() -> anyhow::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(PORT_FIRST);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(port <= PORT_LAST, "no port is left between {PORT_FIRST} and {PORT_LAST}");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}

/// Some contenders work as a user of their own even when root starts them.
fn readable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// What a configuration is written from.
struct Site<'a> {
    folder: &'a Path,
    http: SocketAddr,
    https: SocketAddr,
    budget: Budget,
    world: &'a World,
}

impl Site<'_> {
    /// Writes a file from a template, and returns where it is.
    fn write(&self, name: &str, template: &str, more: &[(&str, String)]) -> anyhow::Result<String> {
        let identity = self.world.identity();
        let origin = self.world.origin().address;
        let budget = self.budget;
        let mut values: Vec<(&str, String)> = vec![
            ("folder", self.folder.display().to_string()),
            ("host", HOST.to_owned()),
            ("http", self.http.to_string()),
            ("http_ip", self.http.ip().to_string()),
            ("http_port", self.http.port().to_string()),
            ("https", self.https.to_string()),
            ("https_ip", self.https.ip().to_string()),
            ("https_port", self.https.port().to_string()),
            ("origin", origin.to_string()),
            ("origin_ip", origin.ip().to_string()),
            ("origin_port", origin.port().to_string()),
            ("certificate", identity.certificate.display().to_string()),
            ("key", identity.key.display().to_string()),
            ("pem", identity.pem.display().to_string()),
            ("root", identity.root.display().to_string()),
            ("memory_mib", budget.memory_mib.to_string()),
            ("memory_bytes", (budget.memory_mib << 20).to_string()),
            ("disk_mib", budget.disk_mib.to_string()),
            ("index_mib", budget.index_mib.to_string()),
        ];
        values.extend(more.iter().cloned());
        let path = self.folder.join(name);
        fs::write(&path, filled(template, &values)?).with_context(|| format!("{name} can't be written"))?;
        Ok(path.display().to_string())
    }
}

/// A template with `{{name}}` replaced by its value.
///
/// # Errors
/// When it names a value that there is not.
fn filled(template: &str, values: &[(&str, String)]) -> anyhow::Result<String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a name in a template does not end")?;
        let (_, value) = values.iter().find(|(known, _)| *known == name).with_context(|| format!("no {name}"))?;
        text += before;
        text += value;
        rest = after;
    }
    Ok(text + rest)
}

/// Whether this program runs as root, so that contenders must be told not to mind.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a folder to a user of the system, by whose name a contender works.
fn give(folder: &Path, user: &str) -> anyhow::Result<()> {
    let status = Command::new("chown").arg("-R").arg(user).arg(folder).status().context("chown is missing")?;
    ensure!(status.success(), "{} can't be given to {user}", folder.display());
    Ok(())
}

/// Runs a program that prepares something, to its end.
fn prepare(program: &str, arguments: &[&str], folder: &Path) -> anyhow::Result<()> {
    let output = Program::new(program, arguments).command(folder).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("{program} is missing"))?;
    if !output.status.success() {
        bail!("{program} says: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

impl Home {
    /// Starts it, and returns when it serves.
    ///
    /// # Errors
    /// When it ends or does not answer.
    pub(crate) fn start(&self, world: &World) -> anyhow::Result<Running> {
        let mut running = self.spawn(world)?;
        running.wait_until_it_serves().with_context(|| {
            let said = fs::read(self.folder.path().join(SAID)).unwrap_or_default();
            let last = &said[said.len().saturating_sub(SAID_BYTES_MAX)..];
            format!("{} does not start; it says: {}", self.contender.name(), String::from_utf8_lossy(last).trim())
        })?;
        Ok(running)
    }

    /// Starts it, and returns at once.
    ///
    /// # Errors
    /// When there is no such program.
    pub(crate) fn spawn(&self, world: &World) -> anyhow::Result<Running> {
        let commands = self.programs.iter().map(|program| program.command(self.folder.path())).collect();
        Running::spawn(commands, self.contender.name(), self.http, self.https, world.cores())
    }

    /// Starts a night of the box that runs here; it ends when the night is over.
    ///
    /// # Errors
    /// When there is no such program.
    pub(crate) fn night(&self, world: &World) -> anyhow::Result<Errand> {
        let mut command = Program::new(world.bulaq(), &["prefetch"]).command(self.folder.path());
        command.stderr(Stdio::null());
        Errand::start(command, self.contender.name(), world.cores())
    }

    /// Where it keeps what it stores.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let given: std::collections::BTreeSet<SocketAddr> = (0..200).map(|_| free_address().unwrap()).collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|address| (PORT_FIRST..=PORT_LAST).contains(&address.port())));
    }

    #[test]
    fn templates_are_filled_whole() {
        let values = [("a", "1".to_owned()), ("b", "{{a}}".to_owned())];
        assert_eq!(filled("x {{a}} y {{b}}{{a}}", &values).unwrap(), "x 1 y {{a}}1");
        assert!(filled("{{c}}", &values).is_err(), "an unknown name");
        assert!(filled("{{a", &values).is_err(), "no end");
    }

    #[test]
    fn versions_are_found_as_programs_tell_them() {
        for (said, version) in [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("Squid Cache: Version 5.7\nService Name: squid\n", "5.7"),
            ("varnishd (varnish-7.1.1 revision 7cee1c581bead20e88d101ab3d72afb29f14d87a)\n", "7.1.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/01/01 - https://haproxy.org/\n", "2.6.12-1+deb12u4"),
            ("hitch 1.7.2\n", "1.7.2"),
            ("Apache Traffic Server - traffic_server - 9.2.9 - (build # 1)\n", "9.2.9"),
            ("bulaq 0.1.0\n", "0.1.0"),
            ("?", "unknown"),
        ] {
            assert_eq!(version_in(said), version, "{said}");
        }
    }

    /// Every configuration is complete, says what all have in common, and leads to the origin.
    #[test]
    fn configurations_are_complete() {
        let world = World::new(PathBuf::from("/bulaq")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (http, https) = (free_address().unwrap(), free_address().unwrap());
        let site = Site { folder: folder.path(), http, https, budget: BUDGET, world: &world };
        let origin_port = world.origin().address.port().to_string();
        nginx::configure(&site, "off").unwrap();
        squid::configure(&site).unwrap();
        varnish::configure(&site).unwrap();
        trafficserver::configure(&site).unwrap();
        haproxy::configure(&site).unwrap();
        bulaq::settle(&site).unwrap();
        for name in ["nginx.conf", "squid.conf", "varnish.vcl", "remap.config", "haproxy.cfg", "bulaq.toml"] {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.contains(&origin_port), "{name} does not lead to the origin:\n{text}");
            assert!(!text.contains("{{"), "{name} is not filled:\n{text}");
        }
        for (name, collapses) in [
            ("nginx.conf", "proxy_cache_lock on"),
            ("squid.conf", "collapsed_forwarding on"),
            ("records.config", "enable_read_while_writer INT 1"),
        ] {
            assert!(fs::read_to_string(folder.path().join(name)).unwrap().contains(collapses), "{name}");
        }
    }
}
