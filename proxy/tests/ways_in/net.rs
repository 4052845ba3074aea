//! A town of network namespaces: the Internet, the box, and devices of the school on one LAN.
//!
//! Nothing of it touches the machine's own network: cables are laid inside, names are unique, and all goes with its value.
//!
//! ```text
//!   web 84.23.10.80 (sites), .53 (resolver) ── 84.23.10.2 box 10.77.0.1 ── bridge ── 10.77.0.11, … devices; .139, … managed
//! ```

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The box's address on the LAN.
pub const BOX: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The part of the LAN in which every device is managed.
pub const MANAGED: &str = "10.77.0.128/25";

/// All sites of this Internet; a public address, since that is what browsers and the box judge it by.
pub const WEB: Ipv4Addr = Ipv4Addr::new(84, 23, 10, 80);

/// The resolver of the school's provider.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(84, 23, 10, 53);

/// Towns of this process so far.
static TOWNS: AtomicU32 = AtomicU32::new(0);

/// One machine.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    name: String,
    /// Its address.
    address: Ipv4Addr,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        let _ = fs::remove_dir_all(self.etc());
    }
}

impl Inner {
    /// What `ip netns exec` lays over `/etc`.
    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

/// Runs `ip`; what it needs is said when it fails.
fn ip(arguments: &str) {
    let out = Command::new("ip").args(arguments.split(' ')).output().unwrap_or_else(|error| {
        panic!("this test wants `ip` (apt-get install iproute2): {error}");
    });
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success(),
        "this test makes network namespaces, for which it must run as root: ip {arguments}: {said}"
    );
}

impl Machine {
    fn new(name: String, address: Ipv4Addr) -> Self {
        ip(&format!("netns add {name}"));
        let machine = Self(Arc::new(Inner { name, address }));
        // An IPv6 address of the link's own that comes a second later would be a change of network to a browser.
        machine.inside(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")).unwrap();
        machine.ip("link set lo up");
        machine
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// Runs `ip` there.
    pub fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.0.name));
    }

    /// A command that will run there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0.name, program]);
        command
    }

    /// Runs a command there to its end: what it printed, or what it complained of.
    pub fn run(&self, line: &str) -> Result<String, String> {
        let mut words = line.split(' ');
        let out = self.command(words.next().unwrap_or_default()).args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr) + &text(&out.stdout)) }
    }

    /// Whom its programs ask for addresses.
    pub fn resolve_by(&self, resolver: Ipv4Addr) {
        fs::create_dir_all(self.0.etc()).unwrap();
        fs::write(self.0.etc().join("resolv.conf"), format!("nameserver {resolver}\n")).unwrap();
    }

    /// Tells its programs that these names are at `address`, as an entry in a school's DNS does.
    pub fn knows(&self, names: &[&str], address: Ipv4Addr) {
        self.knows_each(&names.iter().map(|name| (address, *name)).collect::<Vec<_>>());
    }

    /// The same for several addresses.
    pub fn knows_each(&self, names: &[(Ipv4Addr, &str)]) {
        fs::create_dir_all(self.0.etc()).unwrap();
        let lines: String = names.iter().map(|(address, name)| format!("{address} {name}\n")).collect();
        fs::write(self.0.etc().join("hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
    }

    /// Does something on a thread that stands there. A socket stays where it was made.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let place = File::open(format!("/run/netns/{}", self.0.name))?;
        std::thread::scope(|scope| {
            let there = scope.spawn(move || {
                move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?;
                what()
            });
            there.join().unwrap()
        })
    }

    pub fn listen(&self, address: SocketAddr) -> TcpListener {
        self.inside(|| TcpListener::bind(address)).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.inside(|| TcpStream::connect(address))
    }

    pub fn datagrams(&self, address: SocketAddr) -> UdpSocket {
        self.inside(|| UdpSocket::bind(address)).unwrap_or_else(|error| panic!("{address}: {error}"))
    }
}

/// The whole of it.
pub struct Town {
    pub web: Machine,
    pub school: Machine,
    prefix: String,
    devices: u8,
}

impl Town {
    /// The Internet, the box's machine, which routes, and a LAN without devices.
    pub fn new() -> Self {
        let number = TOWNS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("bulaq-{}-{number}", std::process::id());
        let web = Machine::new(format!("{prefix}-web"), WEB);
        let school = Machine::new(format!("{prefix}-box"), BOX);
        web.ip(&format!("link add wan type veth peer name wan netns {prefix}-box"));
        web.ip(&format!("address add {WEB}/24 dev wan"));
        web.ip(&format!("address add {RESOLVER}/24 dev wan"));
        web.ip("link set wan up");
        web.ip("route add default via 84.23.10.2");
        school.ip("address add 84.23.10.2/24 dev wan");
        school.ip("link set wan up");
        school.ip("link add lan type bridge");
        school.ip(&format!("address add {BOX}/24 dev lan"));
        school.ip("link set lan up");
        school.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
        // Where the module is loaded, what crosses a bridge would meet the router's rules before it is routed.
        let bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        school.inside(|| if Path::new(bridged).exists() { fs::write(bridged, "0") } else { Ok(()) }).unwrap();
        school.resolve_by(RESOLVER);
        Self { web, school, prefix, devices: 0 }
    }

    /// Another device on the LAN, which asks `resolver` for addresses.
    pub fn device(&mut self, resolver: Ipv4Addr, is_managed: bool) -> Machine {
        self.devices += 1;
        let (prefix, number) = (&self.prefix, self.devices);
        let address = Ipv4Addr::new(10, 77, 0, if is_managed { 138 } else { 10 } + number);
        let device = Machine::new(format!("{prefix}-d{number}"), address);
        device.ip(&format!("link add lan type veth peer name d{number} netns {prefix}-box"));
        self.school.ip(&format!("link set d{number} master lan up"));
        device.ip(&format!("address add {address}/24 dev lan"));
        device.ip("link set lan up");
        device.ip(&format!("route add default via {BOX}"));
        device.resolve_by(resolver);
        device
    }
}

/// A port at an address.
pub fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), port)
}
