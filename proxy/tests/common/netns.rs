//! Network namespaces: several machines in one, made by a test and gone with it.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};

use super::PATIENCE;

/// What the tests with namespaces cannot do without.
const NEEDS: &str = "network namespaces need root and the programs ip and nft (apt-get install iproute2 nftables)";

/// A machine of its own, as far as its network goes. Removed when dropped, with its interfaces.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// With loopback up, and no duplicate address detection: nobody else is on these links.
    pub fn new(what: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bulaq-{}-{number}-{what}", std::process::id());
        ran(Command::new("ip").args(["netns", "add", &name]));
        let made = Self { name };
        made.run("ip", &["link", "set", "lo", "up"]);
        for setting in ["all/accept_dad", "default/accept_dad"] {
            made.write(&format!("/proc/sys/net/ipv6/conf/{setting}"), "0");
        }
        made
    }

    /// Two ends of a wire, each in its namespace, with its addresses.
    pub fn link(one: (&Self, &str, &[&str]), other: (&Self, &str, &[&str])) {
        let ends = ["link", "add", one.1, "type", "veth", "peer", "name", other.1, "netns", &other.0.name];
        one.0.run("ip", &ends);
        for (namespace, interface, addresses) in [one, other] {
            for address in addresses {
                namespace.run("ip", &["address", "add", address, "dev", interface]);
            }
            namespace.run("ip", &["link", "set", interface, "up"]);
        }
    }

    /// A program that will run in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program in it that must succeed; what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = ran(self.command(program).args(arguments));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes one of its settings.
    pub fn write(&self, path: &str, value: &str) {
        self.inside(|| std::fs::write(path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    /// Does something on a thread that is in it; sockets made there stay in it.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let place = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).expect(NEEDS);
                what()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A socket that listens in it.
    pub fn listen(&self, address: &str) -> TcpListener {
        let listener = self.inside(|| std::net::TcpListener::bind(address).unwrap());
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    }

    /// A connection from it.
    pub fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = self.inside(|| std::net::TcpStream::connect_timeout(&address, PATIENCE))?;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Runs a program that must succeed.
fn ran(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{NEEDS}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{NEEDS}; {command:?}: {said}");
    output
}
