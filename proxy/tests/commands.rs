//! The commands as a technician types them, against the built program: set up, fetch, serve, look, change, stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// A portal of three pages on a free port; counts what it was asked for pages.
struct Portal {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// Hears of each request for a page that the portal holds back.
    held: mpsc::Receiver<TcpStream>,
}

impl Portal {
    fn start() -> Self {
        Self::holding("")
    }

    /// One that never answers when asked for this path.
    fn holding(path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let (hold, held) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let request = head_of(&stream);
                if !path.is_empty() && request.starts_with(&format!("GET {path} ")) {
                    let _ = hold.send(stream);
                } else {
                    answer(&stream, &request, &counter);
                }
            }
        });
        Self { address, asked, held }
    }
}

fn head_of(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while reader.read_line(&mut request).is_ok_and(|length| length > 2) {}
    request
}

fn answer(mut stream: &TcpStream, request: &str, asked: &AtomicUsize) {
    let pages = HashMap::from([
        ("/", "<title>Start</title><a href=/a>A</a><a href=/b>B</a>"),
        ("/a", "<title>A</title>lesson a"),
        ("/b", "<title>B</title>lesson b"),
    ]);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, fresh, body) = match pages.get(path) {
        Some(body) => ("200 OK", "max-age=86400", *body),
        None => ("404 Not Found", "no-store", ""),
    };
    if status.starts_with("200") {
        asked.fetch_add(1, Ordering::SeqCst);
    }
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncache-control: {fresh}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

/// A folder with a configuration for one site, whose host leads to `origin`.
fn box_for(origin: SocketAddr) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
data = "data"
[listen]
http = ["127.0.0.1:0"]
https = []
forward = ["127.0.0.1:0"]
[store]
keep-free = "0 B"
[night]
window = "off"
site-requests-per-s = "off"
[origin.hosts]
"lessons.example.kz" = "{origin}"
"#
    );
    fs::write(folder.path().join("bulaq.toml"), config).unwrap();
    fs::write(
        folder.path().join("allowlist.toml"),
        r#"
[[site]]
name = "lessons"
hosts = ["lessons.example.kz", "*.lessons.example.kz"]
[site.prefetch]
start = ["http://lessons.example.kz/"]
"#,
    )
    .unwrap();
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulaq"));
    command.args(arguments).current_dir(folder).env_remove("BULAQ_CONFIG").env_remove("RUST_LOG");
    command
}

fn bulaq(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// What a command that succeeds prints.
fn told(folder: &Path, arguments: &[&str]) -> String {
    let output = bulaq(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Longest wait for something that happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn wait_with_output(mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A box that serves until it is dropped or told to stop.
struct Serving {
    process: Process,
    log: BufReader<std::process::ChildStderr>,
    http: SocketAddr,
}

impl Serving {
    fn start(folder: &Path) -> Self {
        let mut process = Process(command(folder, &["serve"]).stderr(Stdio::piped()).spawn().unwrap());
        let mut log = BufReader::new(process.0.stderr.take().unwrap());
        let mut http = None;
        loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the box ended before its doors were open");
            if let Some((_, address)) = line.trim_end().split_once("http is open address=") {
                http = address.parse().ok();
            }
            if line.contains("proxy is open") {
                let http = http.expect("the http door opens before the proxy's");
                return Self { process, log, http };
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: lessons.example.kz\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Reads the log up to a line with these words.
    fn wait_for(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended without {words:?}");
        }
        line
    }
}

#[test]
fn a_box_is_set_up_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let written = told(folder.path(), &["init", "etc"]);
    assert!(written.contains("written   etc/bulaq.toml"), "{written}");
    let checked = told(folder.path(), &["serve", "--check", "--config", "etc/bulaq.toml"]);
    assert!(checked.starts_with("The configuration is good."), "{checked}");

    fs::write(folder.path().join("etc/bulaq.toml"), "[store]\nsize = \"1 KiB\"\nmemmory = 1\n").unwrap();
    let refused = bulaq(folder.path(), &["serve", "--check", "--config", "etc/bulaq.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    let findings = String::from_utf8(refused.stderr).unwrap();
    assert!(findings.contains("`store.size` is 1 KiB; it can be 64 MiB to 64 TiB"), "{findings}");
    assert!(findings.contains("did you mean `memory`?"), "{findings}");
    assert!(findings.contains("etc/bulaq.toml:2:8"), "{findings}");

    let config = r#"
[tls.certificates."lessons.example.kz"]
certificate = "nowhere.pem"
key = "nowhere.key"
[origin.hosts]
"other.example.kz" = "192.0.2.7"
"#;
    fs::write(folder.path().join("etc/bulaq.toml"), config).unwrap();
    let unreadable = bulaq(folder.path(), &["serve", "--check", "--config", "etc/bulaq.toml"]);
    assert_eq!(unreadable.status.code(), Some(1));
    let told = String::from_utf8(unreadable.stderr).unwrap();
    assert!(told.contains("names other.example.kz, which is of no site"), "{told}");
    assert!(told.contains("etc/nowhere.pem"), "{told}");

    fs::write(folder.path().join("etc/bulaq.toml"), "[origin.extra-roots]\nbilimlnd = \"own.pem\"\n").unwrap();
    let refused = bulaq(folder.path(), &["serve", "--check", "--config", "etc/bulaq.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("did you mean bilimland?"));
    fs::write(folder.path().join("etc/bulaq.toml"), "[origin.extra-roots]\nbilimland = \"own.pem\"\n").unwrap();
    let unreadable = bulaq(folder.path(), &["serve", "--check", "--config", "etc/bulaq.toml"]);
    assert_eq!(unreadable.status.code(), Some(1));
    assert!(String::from_utf8(unreadable.stderr).unwrap().contains("etc/own.pem"));

    let missing = bulaq(folder.path(), &["serve"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("`bulaq init FOLDER` writes one"));
}

#[test]
fn a_night_by_hand_and_a_day_without_the_portal() {
    let portal = Portal::start();
    let folder = box_for(portal.address);
    let report = told(folder.path(), &["prefetch"]);
    assert!(report.contains("lessons                           3 "), "{report}");
    assert_eq!(portal.asked.load(Ordering::SeqCst), 3);
    assert_eq!(told(folder.path(), &["report"]), report);

    let mut serving = Serving::start(folder.path());
    for _ in 0..12 {
        assert!(serving.get("/a").ends_with("lesson a"));
    }
    assert_eq!(portal.asked.load(Ordering::SeqCst), 3, "the day came from the box");
    let status = told(folder.path(), &["status"]);
    assert!(status.contains("serves 1 site") && status.contains("3 pages"), "{status}");
    let status: serde_json::Value = serde_json::from_str(&told(folder.path(), &["status", "--json"])).unwrap();
    assert!(status["sites"] == 1 && status["doors"].is_array(), "{status}");
    let ledger: serde_json::Value = serde_json::from_str(&told(folder.path(), &["ledger", "--json"])).unwrap();
    assert_eq!(ledger["all"]["hit"]["requests"], 12);
    assert!(told(folder.path(), &["ledger", "--hours"]).contains("12 requests"));
    assert!(told(folder.path(), &["store", "verify"]).contains("Nothing is damaged."));

    assert_eq!(told(folder.path(), &["purge", "http://lessons.example.kz/a"]), "1 stored page removed.\n");
    assert_eq!(
        told(folder.path(), &["purge", "--soft", "http://lessons.example.kz/b"]),
        "1 stored page marked stale.\n"
    );
    assert_eq!(told(folder.path(), &["purge", "--site", "lessons"]), "2 stored pages removed.\n");
    for (nothing, told) in [
        (&["http://lessons.example.kz/a"][..], "nothing is stored there\n"),
        (&["--site", "lessons", "--tag", "grade-7", "--soft"], "nothing is stored there\n"),
        (&["http://elsewhere.example.kz/"], "the allowlist has no site with the host elsewhere.example.kz\n"),
        (&["--site", "lesson"], "the allowlist has no site lesson; did you mean lessons?\n"),
        (&["lessons"], "that is not an address; write it as in a browser, with http:// or https://\n"),
    ] {
        let output = bulaq(folder.path(), &[&["purge"], nothing].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && error.ends_with(told), "{nothing:?}: {error}");
    }
    for place in [&["http://lessons.example.kz/a"][..], &["--prefix", "http://lessons.example.kz/"]] {
        let output = bulaq(folder.path(), &[&["purge", "--tag", "grade-7"], place].concat());
        assert_eq!(output.status.code(), Some(2), "tags are a site's: {place:?}");
    }
    assert!(serving.get("/a").ends_with("lesson a"));
    assert_eq!(portal.asked.load(Ordering::SeqCst), 4, "what was purged is fetched again");

    serving.signal(rustix::process::Signal::TERM);
    assert!(serving.process.0.wait().unwrap().success());
    serving.wait_for("closed");
    let ledger: serde_json::Value = serde_json::from_str(&told(folder.path(), &["ledger", "--json"])).unwrap();
    assert_eq!(ledger["all"]["hit"]["requests"], 12, "the count outlives the process");
    assert_eq!(bulaq(folder.path(), &["status"]).status.code(), Some(1));
}

#[test]
fn an_interrupted_night_says_so_and_the_next_one_goes_on() {
    let portal = Portal::holding("/b");
    let folder = box_for(portal.address);
    let night = command(folder.path(), &["prefetch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let night = Process(night);
    let held = portal.held.recv_timeout(PATIENCE).expect("the night asks for the page that is held back");
    rustix::process::kill_process(rustix::process::Pid::from_child(&night.0), rustix::process::Signal::INT).unwrap();
    let ended = night.wait_with_output();
    drop(held);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report = told(folder.path(), &["report"]);
    assert!(report.contains("stopped"), "{report}");

    let whole = Portal::start();
    let config = fs::read_to_string(folder.path().join("bulaq.toml")).unwrap();
    let config = config.replace(&portal.address.to_string(), &whole.address.to_string());
    fs::write(folder.path().join("bulaq.toml"), config).unwrap();
    let report = told(folder.path(), &["prefetch"]);
    assert!(report.contains("resumed: complete"), "{report}");
    assert_eq!(whole.asked.load(Ordering::SeqCst), 1, "what the first night stored is not fetched again");
}

#[test]
fn a_bad_allowlist_is_refused_and_the_old_one_stays() {
    let portal = Portal::start();
    let folder = box_for(portal.address);
    let mut serving = Serving::start(folder.path());
    assert!(serving.get("/b").ends_with("lesson b"));

    let good = fs::read_to_string(folder.path().join("allowlist.toml")).unwrap();
    fs::write(folder.path().join("allowlist.toml"), format!("{good}\nnonsense = 1\n")).unwrap();
    let refused = bulaq(folder.path(), &["reload"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("unknown key `nonsense`"));
    serving.signal(rustix::process::Signal::HUP);
    assert!(serving.wait_for("nonsense").contains("the old list stays"));
    assert!(serving.get("/b").starts_with("HTTP/1.1 200"));

    fs::remove_file(folder.path().join("allowlist.toml")).unwrap();
    let gone = bulaq(folder.path(), &["reload"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr).unwrap().contains("cannot be read (No such file"));

    fs::write(folder.path().join("allowlist.toml"), good.replace("lessons.example.kz", "other.example.kz")).unwrap();
    assert_eq!(told(folder.path(), &["reload"]), "The box permits 1 site now.\n");
    assert!(serving.get("/b").starts_with("HTTP/1.1 403"));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = box_for("127.0.0.1:1".parse().unwrap());
    let mut check = command(folder.path(), &["serve", "--check"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader); // as `| head` does when it has seen enough
    let left = check.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8(left.stderr).unwrap();
    assert!(left.status.success() && !told.contains("panicked") && !told.contains("pipe"), "{told}");
}

#[test]
fn a_second_box_in_one_folder_is_refused() {
    let portal = Portal::start();
    let folder = box_for(portal.address);
    let serving = Serving::start(folder.path());
    let second = bulaq(folder.path(), &["serve"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(told(folder.path(), &["status"]).contains("serves"), "the first still answers its socket");
    drop(serving);
}

#[test]
fn broken_certificates_keep_no_box_from_serving() {
    let portal = Portal::start();
    let folder = box_for(portal.address);
    let (config, ca) = (folder.path().join("bulaq.toml"), folder.path().join("data/ca"));
    let certificate = "[tls.certificates.\"lessons.example.kz\"]\ncertificate = \"no.pem\"\nkey = \"no.key\"\n";
    fs::write(&config, fs::read_to_string(&config).unwrap() + certificate).unwrap();
    fs::create_dir_all(&ca).unwrap();
    fs::write(ca.join("root.pem"), "half a certificate").unwrap();
    let serving = Serving::start(folder.path());
    assert!(serving.get("/a").ends_with("lesson a"));
}

/// A name server of the school that leads every name to this machine, and says no where devices ask whether they may look
/// up names elsewhere. It ends with the test.
fn school_name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let name_end = 12 + bytes[12..length].iter().position(|&byte| byte == 0).unwrap() + 1;
            let question = &bytes[12..name_end + 4];
            let is_denied = [&b"use-application-dns"[..], b"mask"].iter().any(|no| question[1..].starts_with(no));
            let has_address = !is_denied && question[question.len() - 4..question.len() - 2] == [0, 1];
            let mut reply = bytes[..2].to_vec();
            reply.extend([0x81, if is_denied { 0x83 } else { 0x80 }, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
            reply.extend(question);
            if has_address {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    address
}

/// What `bulaq doctor` finds: its exit status, and for each finding its check, state and sentence.
fn examined(folder: &Path, name_server: SocketAddr) -> (Option<i32>, Vec<[String; 3]>) {
    let output = bulaq(folder, &["doctor", "--json", "--dns", &name_server.to_string()]);
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = findings.as_array().unwrap().iter();
    (output.status.code(), findings.map(|it| ["check", "state", "what"].map(|key| text(it, key))).collect())
}

#[test]
fn the_doctor_finds_a_healthy_box_healthy() {
    let portal = Portal::start();
    let folder = box_for(portal.address);
    let config = fs::read_to_string(folder.path().join("bulaq.toml")).unwrap();
    // A store that fits on any disk.
    fs::write(folder.path().join("bulaq.toml"), config.replace("[store]", "[store]\nsize = \"64 MiB\"")).unwrap();
    let _serving = Serving::start(folder.path());
    let (status, findings) = examined(folder.path(), school_name_server());
    let states = |check: &str| -> Vec<&str> {
        findings.iter().filter(|[of, ..]| of == check).map(|[_, state, _]| state.as_str()).collect()
    };
    assert_eq!(status, Some(0), "{findings:?}");
    for check in ["allowlist", "service", "upstream", "disk"] {
        assert_eq!(states(check), ["ok"], "{check}: {findings:?}");
    }
    assert!(states("doors").iter().all(|state| *state == "ok"), "{findings:?}");
    // What devices get by DHCP cannot be seen, and the doctor says so.
    assert_eq!(states("dns"), ["ok", "unknown"], "{findings:?}");
    let name_server = school_name_server().to_string();
    let told = told(folder.path(), &["doctor", "--inside-only", "--dns", &name_server]);
    assert!(told.contains("the box serves, version") && !told.contains("upstream"), "{told}");
}

#[test]
fn the_doctor_finds_what_a_sick_box_has() {
    // Addresses that no other test uses: what was given back there stays free.
    let folder = box_for(TcpListener::bind("127.53.53.5:0").unwrap().local_addr().unwrap());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = fs::read_to_string(folder.path().join("bulaq.toml")).unwrap();
    let config = config.replacen("127.0.0.1:0", &other.local_addr().unwrap().to_string(), 1);
    let certificate = "[tls.certificates.\"lessons.example.kz\"]\ncertificate = \"no.pem\"\nkey = \"no.key\"\n";
    fs::write(folder.path().join("bulaq.toml"), format!("{config}{certificate}")).unwrap();
    let (status, findings) = examined(folder.path(), UdpSocket::bind("127.53.53.5:0").unwrap().local_addr().unwrap());
    assert_eq!(status, Some(1));
    for (check, state, words) in [
        ("service", "warning", "no box serves"),
        ("doors", "error", "taken by `"),
        ("dns", "error", "does not answer"),
        ("upstream", "error", "the link is down"),
        ("clock", "unknown", "no site told the time"),
        ("certificates", "error", "no.pem for lessons.example.kz cannot be read"),
        ("disk", "unknown", "is not there"),
    ] {
        let is_it = |[of, is, what]: &[String; 3]| of == check && is == state && what.contains(words);
        assert!(findings.iter().any(is_it), "{check} {state} {words}: {findings:?}");
    }
    let told = bulaq(folder.path(), &["doctor", "--inside-only"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("ERROR    doors") && told.contains("→ stop that program"), "{told}");
}
