//! A school in network namespaces: pupils, the box as their router, and an Internet of a few servers. The rules are
//! those that `bulaq router rules` writes, and the box is the built program.
//!
//! Needs root, ip and nft. IPv4 and IPv6 alike wherever nothing else is said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::cell::Cell;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::netns::Namespace;
use common::origin::{Origin, Seen, Step};
use common::tls::Authority;
use common::{PATIENCE, soon};
use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

/// Where the sites are, in both families.
const LESSONS: [&str; 2] = ["192.0.2.80", "2001:db8::80"];
const FILMS: [&str; 2] = ["192.0.2.81", "2001:db8::81"];
/// A server that is of no permitted site.
const OTHER: [&str; 2] = ["192.0.2.66", "2001:db8::66"];
/// The box, as pupils see it.
const BOX: [&str; 2] = ["10.1.0.1", "fd01::1"];
/// A server inside the school, at the Internet's end of the wire because that is where routes lead.
const INNER: [&str; 2] = ["10.9.0.5", "fd09::5"];

/// The rights of a box in the router's path, as its service file gives them.
const RIGHTS: &str = "--bounding-set=-all,+net_admin,+net_bind_service";

const LIST: &str = r#"
[[site]]
name = "lessons"
hosts = ["lessons.example.kz"]
tls = "terminate"

[[site]]
name = "films"
hosts = ["films.example.kz"]
tls = "splice"
"#;

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// A server with its two ports in each family.
struct Server {
    plain: [Origin; 2],
    secure: [Origin; 2],
}

impl Server {
    fn start(internet: &Namespace, ips: [&str; 2], name: &'static str, world: &Authority) -> Self {
        let plain = ips.map(|ip| Origin::on(internet.listen(&at(ip, 80).to_string()), None, answering(name)));
        let secure = ips.map(|ip| {
            let tls = world.acceptor(name, &["http/1.1"], |_| {});
            Origin::on(internet.listen(&at(ip, 443).to_string()), Some(tls), answering(name))
        });
        Self { plain, secure }
    }

    fn connections(&self) -> usize {
        self.plain.iter().chain(&self.secure).map(Origin::connections).sum()
    }
}

/// Tells its name, and whether the request came by the box.
fn answering(name: &'static str) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    move |seen| {
        let way = if seen.field("via").is_some() { "by the box" } else { "straight" };
        let fresh = if seen.target() == "/kept" { "max-age=3600" } else { "no-store" };
        let body = format!("{name} {way}");
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ncache-control: {fresh}\r\n");
        vec![Step::Send(format!("{head}connection: close\r\n\r\n{body}").into_bytes()), Step::Close]
    }
}

/// The school; the box is not running yet.
struct School {
    pupil: Namespace,
    router: Namespace,
    internet: Namespace,
    lessons: Server,
    films: Server,
    other: Server,
    inner: Server,
    /// Vouches for the servers of the Internet.
    world: Authority,
    /// Vouches for what the box shows.
    district: Authority,
    folder: tempfile::TempDir,
}

impl School {
    /// With these lines in `[router]`.
    fn new(router_section: &str) -> Self {
        let (pupil, router, internet) = (Namespace::new("pupil"), Namespace::new("router"), Namespace::new("internet"));
        Namespace::link(
            (&pupil, "eth0", &["10.1.0.2/24", "fd01::2/64"]),
            (&router, "lan0", &["10.1.0.1/24", "fd01::1/64"]),
        );
        let servers = [LESSONS, FILMS, OTHER]
            .concat()
            .into_iter()
            .map(|ip| format!("{ip}/{}", if ip.contains(':') { 64 } else { 24 }));
        let addresses: Vec<String> = servers.chain(["10.9.0.5/24".to_owned(), "fd09::5/64".to_owned()]).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let outside = ["192.0.2.1/24", "2001:db8::1/64", "10.9.0.1/24", "fd09::1/64"];
        Namespace::link((&router, "wan0", &outside), (&internet, "eth0", &addresses));
        for (namespace, via) in [(&pupil, BOX), (&internet, ["192.0.2.1", "2001:db8::1"])] {
            namespace.run("ip", &["route", "add", "default", "via", via[0]]);
            namespace.run("ip", &["-6", "route", "add", "default", "via", via[1]]);
        }
        router.write("/proc/sys/net/ipv4/ip_forward", "1");
        router.write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        // A kernel that finds a packet's socket without asking the routes would hide a missing rule.
        router.write("/proc/sys/net/ipv4/tcp_early_demux", "0");

        let (world, district) = (Authority::default(), Authority::default());
        let server = |ips, name| Server::start(&internet, ips, name, &world);
        let (lessons, films) = (server(LESSONS, "lessons.example.kz"), server(FILMS, "films.example.kz"));
        let (other, inner) = (server(OTHER, "other.example.kz"), server(INNER, "inner.example.kz"));
        let folder = folder(router_section, &world, &district);
        Self { pupil, router, internet, lessons, films, other, inner, world, district, folder }
    }

    fn bulaq(&self, arguments: &[&str]) -> Command {
        let mut command = self.router.command(env!("CARGO_BIN_EXE_bulaq"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("BULAQ_CONFIG").env_remove("RUST_LOG");
        command
    }

    /// Runs the script that a command writes.
    fn script(&self, arguments: &[&str]) {
        let written = self.bulaq(arguments).output().unwrap();
        assert!(written.status.success(), "{written:?}");
        self.router.run("sh", &["-c", &String::from_utf8(written.stdout).unwrap()]);
    }

    /// Loads the rules, starts the box, and waits until connections are handed over.
    async fn serve(&self) -> Serving {
        self.script(&["router", "rules"]);
        // With what the service is given, and no more.
        let mut serve = self.router.command("setpriv");
        serve.args([RIGHTS, env!("CARGO_BIN_EXE_bulaq"), "serve"]).current_dir(self.folder.path());
        let serving = Serving::start(serve);
        until("connections are handed over", || async {
            let mut answers = Vec::new();
            for ip in LESSONS {
                answers.push(self.get(ip, "lessons.example.kz").await);
            }
            answers.iter().all(|answer| answer.contains("by the box"))
        })
        .await;
        serving
    }

    /// What a pupil gets to a plain request with this `Host` to this address; empty when the connection is closed.
    async fn get(&self, ip: &str, host: &str) -> String {
        self.ask(ip, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }

    async fn ask(&self, ip: &str, request: &str) -> String {
        match self.pupil.connect(at(ip, 80)) {
            Ok(stream) => exchange(stream, request).await,
            Err(error) => format!("{:?}", error.kind()),
        }
    }

    /// The same over TLS, by a pupil who trusts one authority.
    async fn get_over_tls(&self, ip: &str, host: &'static str, trusted: &Authority) -> String {
        let stream = match self.pupil.connect(at(ip, 443)) {
            Ok(stream) => stream,
            Err(error) => return format!("{:?}", error.kind()),
        };
        let name = ServerName::try_from(host).unwrap();
        match soon("a TLS handshake", trusted.connector().connect(name, stream)).await {
            Ok(stream) => {
                exchange(stream, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
            }
            Err(error) => format!("no TLS: {error}"),
        }
    }

    /// What becomes of a QUIC packet to a server that listens: whether it is refused on its way, or heard.
    async fn is_quic_refused(&self, ip: &str) -> bool {
        let bound = |namespace: &Namespace, address: SocketAddr| {
            let socket = namespace.inside(|| UdpSocket::bind(address).unwrap());
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let server = bound(&self.internet, at(ip, 443));
        let pupil = bound(&self.pupil, at(if ip.contains(':') { "::" } else { "0.0.0.0" }, 0));
        pupil.connect(at(ip, 443)).unwrap();
        pupil.send(&[0xc0; 1200]).unwrap();
        let is_refused = || pupil.recv(&mut [0; 16]).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        let is_heard = || server.recv(&mut [0; 16]).is_ok();
        let told = Cell::new(None);
        until("a QUIC packet arrives or is refused", || async {
            let now = if is_heard() { Some(false) } else { is_refused().then_some(true) };
            told.set(now);
            now.is_some()
        })
        .await;
        told.get().unwrap()
    }

    /// How many connections the box's doors have counted under this word.
    fn counted(&self, word: &str) -> u64 {
        let status = self.bulaq(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let doors = status["doors"].as_array().unwrap();
        doors.iter().find(|door| door["word"] == word).map_or(0, |door| door["count"].as_u64().unwrap())
    }

    /// Tables, routing rules and routes of the box.
    fn rules(&self) -> String {
        let shown = |program: &str, arguments: &[&str]| self.router.run(program, arguments);
        let routes = |family: &str| {
            let output = self.router.command("ip").args([family, "route", "show", "table", "6200"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        [shown("nft", &["list", "ruleset"]), shown("ip", &["rule"]), shown("ip", &["-6", "rule"])].concat()
            + &routes("-4")
            + &routes("-6")
    }
}

/// A box's folder: configuration, list, and the certificates that both sides go by.
fn folder(router_section: &str, world: &Authority, district: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    world.write(&folder);
    district.write_pair("lessons.example.kz", &path("lessons.pem"), &path("lessons.key"));
    let config = format!(
        r#"
data = "data"
[listen]
http = ["127.0.0.1:0"]
https = []
forward = []
stop-timeout = "60 s"
[store]
keep-free = "0 B"
[night]
window = "off"
[trust]
networks = ["10.1.0.0/24", "fd01::/64"]
[tls.certificates."lessons.example.kz"]
certificate = "lessons.pem"
key = "lessons.key"
[origin.extra-roots]
lessons = "root.pem"
films = "root.pem"
[origin.hosts]
"lessons.example.kz" = {LESSONS:?}
"films.example.kz" = {FILMS:?}
[router]
interfaces = ["lan0"]
{router_section}
"#
    );
    std::fs::write(path("bulaq.toml"), config).unwrap();
    std::fs::write(path("allowlist.toml"), LIST).unwrap();
    folder
}

/// Doors for packets that come as they are.
const TPROXY: &str = r#"
http = ["127.0.0.1:8080", "[::1]:8080"]
https = ["127.0.0.1:8443", "[::1]:8443"]
"#;
/// Doors for rewritten ones.
const REDIRECT: &str = r#"
mode = "redirect"
http = ["0.0.0.0:8080", "[::]:8080"]
https = ["0.0.0.0:8443", "[::]:8443"]
"#;

/// A box at work; killed when dropped.
struct Serving {
    process: Child,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let serving = Self { process };
        let (mut line, mut doors, mut told) = (String::new(), 0, String::new());
        while doors < 4 {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the box ended before its doors were open: {told}");
            doors += usize::from(line.contains("router is open"));
            told.push_str(&line);
        }
        // A full pipe would stop the box.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
        serving
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let mut answer = Vec::new();
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = soon("the end of an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks again until it is so: what the kernel does by itself tells nobody.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let asked = async {
        while !is_so().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE * 2, asked).await.is_err() {
        panic!("{what}: not so after {:?}", PATIENCE * 2);
    }
}

/// http, https that is spliced and https that ends at the box, of both families.
async fn the_sites_are_served(school: &School) {
    let (ended, spliced) = (school.counted("terminated-network"), school.counted("spliced-by-list"));
    for ip in LESSONS {
        let told = school.get(ip, "lessons.example.kz").await;
        assert!(told.ends_with("lessons.example.kz by the box"), "{ip}: {told}");
        let told = school.get_over_tls(ip, "lessons.example.kz", &school.district).await;
        assert!(told.ends_with("lessons.example.kz by the box"), "{ip}: {told}");
    }
    for ip in FILMS {
        let connections = school.films.connections();
        let told = school.get_over_tls(ip, "films.example.kz", &school.world).await;
        assert!(told.ends_with("films.example.kz straight"), "{ip}: {told}");
        assert_eq!(
            school.films.connections(),
            connections + 1,
            "one connection each: the box's own is not handed to it"
        );
    }
    assert_eq!(school.counted("terminated-network"), ended + 2);
    assert_eq!(school.counted("spliced-by-list"), spliced + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_comes_to_the_box_and_nothing_else() {
    let school = School::new(TPROXY);
    let before = school.rules();
    let _serving = school.serve().await;
    the_sites_are_served(&school).await;
    for (site, other) in LESSONS.into_iter().zip(OTHER) {
        assert!(school.is_quic_refused(site).await, "{site}");
        assert!(!school.is_quic_refused(other).await, "{other}");
        assert!(school.get(other, "other.example.kz").await.ends_with("other.example.kz straight"), "{other}");
        let told = school.get_over_tls(other, "other.example.kz", &school.world).await;
        assert!(told.ends_with("other.example.kz straight"), "{other}: {told}");
    }
    for ip in BOX {
        assert_eq!(school.get(ip, "lessons.example.kz").await, "ConnectionRefused", "the box has no such door: {ip}");
    }

    drop(_serving);
    school.script(&["router", "rules", "--remove"]);
    assert_eq!(school.rules(), before, "nothing stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_lead_there_reaches_nobody() {
    let school = School::new(&format!("{TPROXY}take = \"all\"\n"));
    let _serving = school.serve().await;
    the_sites_are_served(&school).await;
    // Rules of the router's own that hand over what they must not: private addresses, and the box.
    for (family, addresses) in [("ip", [INNER[0], BOX[0]]), ("ip6", [INNER[1], BOX[1]])] {
        let rule =
            format!("insert rule inet bulaq pupils {family} daddr {{ {}, {} }} jump taken", addresses[0], addresses[1]);
        school.router.run("nft", &[&rule]);
    }
    for family in 0..2 {
        let (lessons, other, inner) = (LESSONS[family], OTHER[family], INNER[family]);
        let connections = school.lessons.connections();
        for (ip, host, status) in [
            (other, "other.example.kz", "403"),
            (other, "lessons.example.kz", "421"),
            (inner, "lessons.example.kz", "421"),
            (inner, "inner.example.kz", "403"),
            (FILMS[family], "lessons.example.kz", "421"),
            (lessons, "lessons.example.kz:8080", "421"),
            (lessons, "192.0.2.80", "403"),
        ] {
            let told = school.get(ip, host).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{host} at {ip}: {told}");
        }
        let told = school.ask(lessons, "GET / HTTP/1.0\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 400 ") || told.starts_with("HTTP/1.0 400 "), "{told}");
        for (ip, host) in [(other, "other.example.kz"), (other, "films.example.kz"), (inner, "lessons.example.kz")] {
            let told = school.get_over_tls(ip, host, &school.world).await;
            assert!(told.starts_with("no TLS: ") && told.contains("UnrecognisedName"), "{host} at {ip}: {told}");
        }
        assert_eq!(school.get(BOX[family], "lessons.example.kz").await, "", "to the box itself");
        assert_eq!(school.lessons.connections(), connections, "nothing was asked for on behalf of a lie");
        assert!(school.is_quic_refused(other).await, "{other}");
    }
    assert_eq!(school.counted("wrong-destination"), 2 * (4 + 2), "four over http and two over TLS in each family");
    assert_eq!((school.counted("not-listed"), school.counted("looped")), (2, 2));
    assert_eq!((school.other.connections(), school.inner.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_may_be_served_from_the_sites_own() {
    let school = School::new(&format!("{TPROXY}take = \"all\"\nmismatch = \"own-address\"\n"));
    let _serving = school.serve().await;
    for ip in OTHER {
        let told = school.get(ip, "lessons.example.kz").await;
        assert!(told.ends_with("lessons.example.kz by the box"), "{ip}: {told}");
        let told = school.get_over_tls(ip, "films.example.kz", &school.world).await;
        assert!(told.ends_with("films.example.kz straight"), "{ip}: {told}");
    }
    assert_eq!(school.other.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_stops_leaves_the_plain_internet() {
    let school = School::new(TPROXY);
    let serving = school.serve().await;
    serving.signal(Signal::KILL);
    for ip in LESSONS {
        until("the plain Internet", || async { school.get(ip, "lessons.example.kz").await.ends_with("straight") })
            .await;
        let told = school.get_over_tls(ip, "lessons.example.kz", &school.world).await;
        assert!(told.ends_with("straight"), "{ip}: {told}");
    }
    drop(serving);

    // One that is asked to stop finishes what it has, while new connections pass by it.
    let serving = school.serve().await;
    let stream = school.pupil.connect(at(FILMS[0], 443)).unwrap();
    let name = ServerName::try_from("films.example.kz").unwrap();
    let open = soon("a TLS handshake", school.world.connector().connect(name, stream)).await.unwrap();
    serving.signal(Signal::TERM);
    until("the plain Internet", || async { school.get(LESSONS[0], "lessons.example.kz").await.ends_with("straight") })
        .await;
    let told = exchange(open, "GET / HTTP/1.1\r\nHost: films.example.kz\r\nConnection: close\r\n\r\n").await;
    assert!(told.ends_with("films.example.kz straight"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_lessons_are_there_while_the_uplink_is_down() {
    let school = School::new(TPROXY);
    let _serving = school.serve().await;
    let kept = "GET /kept HTTP/1.1\r\nHost: lessons.example.kz\r\nConnection: close\r\n\r\n";
    let over_tls = async |ip| {
        let stream = school.pupil.connect(at(ip, 443)).unwrap();
        let name = ServerName::try_from("lessons.example.kz").unwrap();
        let stream = soon("a TLS handshake", school.district.connector().connect(name, stream)).await.unwrap();
        exchange(stream, kept).await
    };
    for uplink in ["up", "down"] {
        school.router.run("ip", &["link", "set", "wan0", uplink]);
        for ip in LESSONS {
            for told in [school.ask(ip, kept).await, over_tls(ip).await] {
                assert!(told.ends_with("lessons.example.kz by the box"), "{ip}, uplink {uplink}: {told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_connections_are_served_alike() {
    let school = School::new(REDIRECT);
    let serving = school.serve().await;
    the_sites_are_served(&school).await;
    for ip in LESSONS {
        assert!(school.is_quic_refused(ip).await, "{ip}");
    }
    // The door itself is for nobody.
    let direct = school.pupil.connect(at(BOX[0], 8080)).unwrap();
    let told = exchange(direct, "GET / HTTP/1.1\r\nHost: lessons.example.kz\r\nConnection: close\r\n\r\n").await;
    assert_eq!((told.as_str(), school.counted("not-handed-over")), ("", 1));
    serving.signal(Signal::KILL);
    for ip in LESSONS {
        until("the plain Internet", || async { school.get(ip, "lessons.example.kz").await.ends_with("straight") })
            .await;
    }
    school.script(&["router", "rules", "--remove"]);
}

#[test]
fn a_box_without_the_right_says_which() {
    let router = Namespace::new("router");
    let (world, district) = (Authority::default(), Authority::default());
    let folder = folder(TPROXY, &world, &district);
    let output = router
        .command("setpriv")
        .args([
            "--bounding-set=-net_admin,-net_raw",
            "--inh-caps=-net_admin,-net_raw",
            env!("CARGO_BIN_EXE_bulaq"),
            "serve",
        ])
        .current_dir(folder.path() as &Path)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("127.0.0.1:8080") && told.contains("AmbientCapabilities=CAP_NET_ADMIN"), "{told}");
}
