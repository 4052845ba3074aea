//! What `bulaq dns export` writes, loaded by the programs that it is for and asked by a client: exact names, wildcards,
//! AAAA and HTTPS, and the names by which devices ask about the network.
//!
//! dnsmasq, unbound, named and dig must be installed (`.ci/test` does it). Each is started here on a loopback port and
//! ended with the test; no service of the system is touched.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ALLOWLIST: &str = r#"
[[site]]
name = "a"
title = { kk = "a", ru = "a", en = "a" }
class = "public-lessons"
traffic = "metered"
tls = "splice"
languages = ["kk"]
hosts = ["exact.example.kz", "*.below.example.kz", "both.example.kz", "*.both.example.kz"]
"#;

/// Where everything leads that is not on the list.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// What is asked, and what must come: `-` for no data, `none` for no such name.
const QUESTIONS: [(&str, &str, &str); 25] = [
    ("exact.example.kz", "A", "192.0.2.1"),
    ("exact.example.kz", "AAAA", "2001:db8::1"),
    ("exact.example.kz", "TYPE65", "-"),
    ("exact.example.kz", "TYPE64", "-"),
    ("mail.exact.example.kz", "A", "203.0.113.7"),
    ("notexact.example.kz", "A", "203.0.113.7"),
    ("below.example.kz", "A", "203.0.113.7"),
    ("a.below.example.kz", "A", "192.0.2.1"),
    ("b.a.below.example.kz", "AAAA", "2001:db8::1"),
    ("b.a.below.example.kz", "TYPE65", "-"),
    ("notbelow.example.kz", "A", "203.0.113.7"),
    ("both.example.kz", "A", "192.0.2.1"),
    ("a.both.example.kz", "A", "192.0.2.1"),
    ("a.both.example.kz", "TYPE65", "-"),
    ("bulaq.internal", "A", "192.0.2.1"),
    ("check.bulaq.internal", "AAAA", "2001:db8::1"),
    ("other.example.kz", "A", "203.0.113.7"),
    ("use-application-dns.net", "A", "none"),
    ("use-application-dns.net", "AAAA", "none"),
    ("mask.icloud.com", "A", "none"),
    ("mask.icloud.com", "TYPE65", "none"),
    ("mask-h2.icloud.com", "AAAA", "none"),
    ("mask.apple-dns.net", "A", "none"),
    ("_dns.resolver.arpa", "TYPE64", "-"),
    ("www.icloud.com", "A", "203.0.113.7"),
];

#[test]
fn dnsmasq_leads_as_the_list_says() {
    let school = School::start();
    let folder = box_folder();
    for server in ["dnsmasq", "pihole"] {
        let export = exported(folder.path(), server, &["192.0.2.1", "2001:db8::1"]);
        let (port, config) = (free_port(), folder.path().join("dnsmasq.conf"));
        let text = format!(
            "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nserver=127.0.0.1#{}\nconf-file={}\n",
            school.port,
            export.display()
        );
        fs::write(&config, text).unwrap();
        let arguments = ["--test".to_owned(), format!("--conf-file={}", config.display())];
        accepted("dnsmasq", &arguments.each_ref().map(String::as_str));
        let _running =
            Running::start("dnsmasq", &["--keep-in-foreground", "--user=root", "--pid-file", &arguments[1]], port);
        // It denies discovery altogether, which is as good.
        check(port, server, |asked| if asked.0 == "_dns.resolver.arpa" { "none" } else { asked.2 });
    }
}

#[test]
fn unbound_leads_as_the_list_says() {
    let school = School::start();
    let folder = box_folder();
    let export = exported(folder.path(), "unbound", &["192.0.2.1", "2001:db8::1"]);
    let (port, config) = (free_port(), folder.path().join("unbound.conf"));
    let text = format!(
        "server:\n interface: 127.0.0.1@{port}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n \
         pidfile: \"{folder}/unbound.pid\"\n use-syslog: no\n do-not-query-localhost: no\n \
         module-config: \"respip validator iterator\"\nrpz:\n name: \"rpz.bulaq.internal.\"\n zonefile: \"{export}\"\n\
         forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@{upstream}\nremote-control:\n control-enable: no\n",
        folder = folder.path().display(),
        export = export.display(),
        upstream = school.port,
    );
    fs::write(&config, text).unwrap();
    accepted("unbound-checkconf", &[&config.display().to_string()]);
    let _running = Running::start("unbound", &["-d", "-c", &config.display().to_string()], port);
    check(port, "unbound", |asked| asked.2);
}

#[test]
fn bind_leads_as_the_list_says() {
    let school = School::start();
    let folder = box_folder();
    let export = exported(folder.path(), "bind-rpz", &["192.0.2.1", "2001:db8::1"]);
    accepted("named-checkzone", &["rpz.bulaq.internal", &export.display().to_string()]);
    let (port, config) = (free_port(), folder.path().join("named.conf"));
    let text = format!(
        "options {{ directory \"{folder}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n \
         pid-file \"{folder}/named.pid\"; session-keyfile none; recursion yes; forward only;\n \
         forwarders port {upstream} {{ 127.0.0.1; }}; dnssec-validation no;\n \
         response-policy {{ zone \"rpz.bulaq.internal\"; }} qname-wait-recurse no break-dnssec yes; }};\ncontrols {{ }};\n\
         zone \"rpz.bulaq.internal\" {{ type primary; file \"{export}\"; allow-query {{ none; }}; }};\n",
        folder = folder.path().display(),
        export = export.display(),
        upstream = school.port,
    );
    fs::write(&config, text).unwrap();
    accepted("named-checkconf", &[&config.display().to_string()]);
    let _running = Running::start("named", &["-g", "-c", &config.display().to_string()], port);
    check(port, "bind-rpz", |asked| asked.2);
}

#[test]
fn a_box_without_ipv6_leaves_no_way_around_it() {
    let school = School::start();
    let folder = box_folder();
    let export = exported(folder.path(), "dnsmasq", &["192.0.2.1"]);
    let (port, config) = (free_port(), folder.path().join("dnsmasq.conf"));
    let text = format!(
        "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nserver=127.0.0.1#{}\nconf-file={}\n",
        school.port,
        export.display()
    );
    fs::write(&config, text).unwrap();
    let config = format!("--conf-file={}", config.display());
    let _running = Running::start("dnsmasq", &["--keep-in-foreground", "--user=root", "--pid-file", &config], port);
    check(port, "dnsmasq", |asked| match asked {
        ("_dns.resolver.arpa", _, _) => "none",
        (_, "AAAA", "2001:db8::1") => "-",
        asked => asked.2,
    });
}

#[test]
fn an_export_without_an_address_says_what_to_write() {
    let folder = box_folder();
    let output = export(folder.path(), "dnsmasq", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--address"), "{output:?}");
    let output = export(folder.path(), "windows", &["192.0.2.1"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("[dns] listen"), "{output:?}");
}

// ---- The parts ----

fn check(port: u16, server: &str, expected: impl Fn((&'static str, &'static str, &'static str)) -> &'static str) {
    let wrong: Vec<String> = QUESTIONS
        .iter()
        .filter_map(|&asked| {
            let (answer, expected) = (ask(port, asked.0, asked.1), expected(asked));
            (answer != expected).then(|| format!("{} {}: {answer} instead of {expected}", asked.0, asked.1))
        })
        .collect();
    assert!(wrong.is_empty(), "{server}: {wrong:#?}");
}

/// What dig hears: an address, `-` for no data, `none` for no such name, or its own words.
fn ask(port: u16, name: &str, kind: &str) -> String {
    let port = port.to_string();
    let arguments = ["@127.0.0.1", "-p", &port, "+noall", "+comments", "+answer", "+time=5", "+tries=1", name, kind];
    let output = program("dig").args(arguments).output().unwrap_or_else(|error| lacks("dig", &error));
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = text.lines().find(|line| !line.starts_with(';') && !line.is_empty());
    match answer.and_then(|line| line.split_whitespace().last()) {
        Some(address) => address.to_owned(),
        None if text.contains("status: NXDOMAIN") => "none".to_owned(),
        None if text.contains("status: NOERROR") => "-".to_owned(),
        None => text,
    }
}

fn box_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bulaq.toml"), "data = \"data\"\n").unwrap();
    fs::write(folder.path().join("allowlist.toml"), ALLOWLIST).unwrap();
    folder
}

fn export(folder: &Path, server: &str, addresses: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulaq"));
    command.args(["dns", "export", "--for", server, "--config"]).arg(folder.join("bulaq.toml"));
    command.arg("--out").arg(folder.join("export"));
    for address in addresses {
        command.args(["--address", address]);
    }
    command.output().unwrap()
}

fn exported(folder: &Path, server: &str, addresses: &[&str]) -> PathBuf {
    let output = export(folder, server, addresses);
    assert!(output.status.success(), "{output:?}");
    folder.join("export")
}

/// Programs of servers are where only root looks by default.
fn program(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn lacks(name: &str, error: &std::io::Error) -> ! {
    panic!("{name} cannot be run ({error}); install dnsmasq-base, unbound, bind9 and bind9-dnsutils, as .ci/test does")
}

fn accepted(name: &str, arguments: &[&str]) {
    let output = program(name).args(arguments).output().unwrap_or_else(|error| lacks(name, &error));
    assert!(output.status.success(), "{name} refuses it: {output:?}");
}

/// A port of loopback that was free for UDP and TCP a moment ago.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// A server at work; ended with its value.
struct Running(Child);

impl Running {
    fn start(name: &str, arguments: &[&str], port: u16) -> Self {
        let mut child = program(name)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| lacks(name, &error));
        for _ in 0..200 {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{name} has ended: {status}");
            }
            if is_there(port) {
                return Self(child);
            }
        }
        let _ = child.kill();
        panic!("{name} does not answer");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Whether a question to the port has an answer within a moment. The socket is not connected: so it does not hear that
/// nobody is there yet, and waits.
fn is_there(port: u16) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05ready\x04test\x00\x00\x01\x00\x01";
    socket.send_to(question, ("127.0.0.1", port)).is_ok() && socket.recv(&mut [0; 512]).is_ok()
}

/// The Internet's DNS in small: every A is one address, and nothing else has a record.
struct School {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl School {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
                if let Some(reply) = reply(&packet[..length]) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Self { port, stop }
    }
}

impl Drop for School {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// RFC 1035 §4: the header, the question again, and perhaps one record.
fn reply(message: &[u8]) -> Option<Vec<u8>> {
    let name_end = 12 + message.get(12..)?.iter().position(|&byte| byte == 0)? + 1;
    let question = message.get(12..name_end + 4)?;
    let is_for_v4 = question[question.len() - 4..question.len() - 2] == [0, 1];
    let mut reply = message[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_for_v4), 0, 0, 0, 0]);
    reply.extend(question);
    if is_for_v4 {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(ELSEWHERE.octets());
    }
    Some(reply)
}
