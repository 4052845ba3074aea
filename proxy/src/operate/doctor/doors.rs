//! The doors: is somebody behind each, is it this box, and could it be opened if it is not?

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Finding;
use super::dns_question::{Said, ask};
use crate::ingress::IngressOptions;
use crate::portal::{names, probe};

const CHECK: &str = "doors";

/// The kind of the doors at which a router hands connections over.
const ROUTER: &str = "router";

/// The kind of the addresses at which the box answers DNS.
const DNS: &str = "dns";

/// What the system calls the process of the box.
const PROGRAM: &str = "bulaq";

/// Longest wait for a door of this machine to open and to answer. It is no further away than this process.
const DOOR_WAIT: Duration = Duration::from_secs(3);

/// Bytes of an answer that are looked at: a head and the words.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Processes, and open files of one, that are looked through for the owner of a port.
const PROCESSES_MAX: usize = 4096;
const FILES_MAX: usize = 4096;

/// A door of the configuration.
#[derive(Debug)]
pub(super) struct Door {
    kind: &'static str,
    address: SocketAddr,
    is: Is,
}

/// How a door is.
#[derive(Debug)]
pub(super) enum Is {
    /// The system chooses the port at each start.
    Chosen,
    /// The box answers there.
    Ours,
    /// Somebody takes connections there, and it is not the box.
    Foreign(Option<String>),
    /// The box serves, and nobody takes connections there.
    Shut,
    /// The box does not serve; the door could be opened.
    Free,
    /// A port that this account has no right to.
    NoRight,
    /// An address that this machine does not have.
    NotOurs,
    /// Somebody is there who, in these words, does not serve this question; it need not be wrong.
    Unclear(String),
    /// The system's words.
    Other(String),
}

/// Knocks at every door, or tries to open it when no box serves. `resolvers` are where the box answers DNS, and `lead` is
/// what its resolver says of where names lead; none when it has no resolver, or was not asked.
pub(super) async fn gather(
    options: &IngressOptions,
    resolvers: &[SocketAddr],
    is_serving: bool,
    lead: Option<&str>,
) -> Vec<Door> {
    let router = &options.router;
    let doors = [
        ("http", &options.http),
        ("https", &options.https),
        ("forward", &options.forward),
        (ROUTER, &router.http),
        (ROUTER, &router.https),
    ];
    let doors = doors.iter().flat_map(|(kind, addresses)| addresses.iter().map(|address| (*kind, *address)));
    let doors = doors.chain(resolvers.iter().map(|address| (DNS, *address)));
    let looked = doors.map(|(kind, address)| async move {
        let is = match (address.port(), is_serving) {
            (0, _) => Is::Chosen,
            (_, true) if kind == ROUTER => behind_the_router(address),
            (_, true) if kind == DNS => ask_resolver(address, lead).await,
            (_, false) if kind == DNS => try_to_open_for_dns(address),
            (_, true) => knock(kind, address).await,
            (_, false) => try_to_open(address),
        };
        Door { kind, address, is }
    });
    futures_util::future::join_all(looked).await
}

/// How a door of the router's is while the box serves. Nobody may come to it but by the router, so nobody knocks: it is
/// enough that the box has the port.
fn behind_the_router(address: SocketAddr) -> Is {
    match try_to_open(address) {
        Is::Free => Is::Shut,
        Is::Foreign(owner) if owner.as_deref().is_none_or(|owner| owner == PROGRAM) => Is::Ours,
        other => other,
    }
}

/// How the resolver is while the box serves: it answers for the box's own name.
async fn ask_resolver(address: SocketAddr, lead: Option<&str>) -> Is {
    let said = ask(reachable(address), names::box_name().as_str(), RecordType::A).await;
    of_resolver(&said, lead, || owner(address))
}

/// What an answer says of who gave it. The box's own resolver does not know the box while names lead past it, and refuses
/// who is not in `clients`, which this machine need not be.
fn of_resolver(said: &Said, lead: Option<&str>, owner: impl FnOnce() -> Option<String>) -> Is {
    let words = match said {
        Said::Silence => return Is::Shut,
        Said::Records(_) | Said::NoData => return Is::Ours,
        Said::Failed => "it has no answer for this machine",
        Said::NoSuchName => "it does not know the box's name",
    };
    let lead = lead.map(|lead| format!("{words}; {lead}"));
    let is_known = lead.is_some();
    unless_foreign(lead.unwrap_or_else(|| words.to_owned()), is_known, owner())
}

/// [`Is::Unclear`] with these words, unless another program has the port. Where this account may not see who has it, that
/// is the box if it `is_known` to be there.
fn unless_foreign(words: String, is_known: bool, owner: Option<String>) -> Is {
    if owner.as_deref().map_or(is_known, |owner| owner == PROGRAM) { Is::Unclear(words) } else { Is::Foreign(owner) }
}

/// DNS is asked over UDP and TCP; the system counts their ports apart.
fn try_to_open_for_dns(address: SocketAddr) -> Is {
    match UdpSocket::bind(address) {
        Ok(_) => try_to_open(address),
        Err(error) => why_not(&error, address),
    }
}

/// Where a client on this machine reaches a door.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn knock(kind: &'static str, address: SocketAddr) -> Is {
    let answered = timeout(DOOR_WAIT, async {
        let mut stream = TcpStream::connect(reachable(address)).await?;
        // What speaks TLS is not asked more than to take the connection.
        if kind == "https" {
            return Ok::<_, io::Error>(true);
        }
        let (name, path) = (names::box_name(), probe::HERE);
        let target = if kind == "forward" { format!("http://{name}{path}") } else { path.to_owned() };
        let request = format!("GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(answer.windows(12).any(|some| some == br#""bulaq":true"#))
    });
    match answered.await {
        Ok(Ok(true)) => Is::Ours,
        Ok(Ok(false)) => Is::Foreign(owner(address)),
        // So the box treats who is not in `clients` at the forward door, and who has too many connections.
        Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            unless_foreign("connections from this machine are reset".to_owned(), true, owner(address))
        }
        Ok(Err(_)) | Err(_) => Is::Shut,
    }
}

/// Opens the door for a moment. Nobody can come in: nothing accepts.
fn try_to_open(address: SocketAddr) -> Is {
    match TcpListener::bind(address) {
        Ok(_) => Is::Free,
        Err(error) => why_not(&error, address),
    }
}

fn why_not(error: &io::Error, address: SocketAddr) -> Is {
    match error.kind() {
        io::ErrorKind::AddrInUse => Is::Foreign(owner(address)),
        io::ErrorKind::PermissionDenied => Is::NoRight,
        io::ErrorKind::AddrNotAvailable => Is::NotOurs,
        _ => Is::Other(error.to_string()),
    }
}

/// The name of the program that listens at an address, as far as this account may see it.
fn owner(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let table = std::fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listening_inode(line, address).map(str::to_owned))
    })?;
    let socket = format!("socket:[{inode}]");
    let has_socket = |process: &Path| {
        let files = std::fs::read_dir(process.join("fd")).ok();
        let mut files = files.into_iter().flatten().take(FILES_MAX).flatten();
        files.any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket.as_str()))
    };
    let processes = std::fs::read_dir("/proc").ok()?.take(PROCESSES_MAX).flatten();
    let process = processes.map(|process| process.path()).find(|process| has_socket(process))?;
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(name.trim().chars().filter(|sign| !sign.is_control()).collect())
}

/// The inode of a line of `/proc/net/tcp` when that is of a socket which listens where `address` would.
fn listening_inode(line: &str, address: SocketAddr) -> Option<&str> {
    /// `TCP_LISTEN` of the kernel.
    const LISTENS: &str = "0A";
    let mut fields = line.split_whitespace();
    let (local, port) = fields.nth(1)?.rsplit_once(':')?;
    let is_meant = u16::from_str_radix(port, 16).ok()? == address.port()
        && fields.nth(1)? == LISTENS
        && overlap(address_of_kernel(local)?, address.ip());
    fields.nth(5).filter(|_| is_meant)
}

/// An address as the kernel writes it: words of 32 bits, each in the machine's own order.
fn address_of_kernel(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical())
        }
        _ => None,
    }
}

/// Whether one port cannot be had at both: they are the same, or one of them means all. `::` means those of IPv4, too.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let contains = |all: IpAddr, it: IpAddr| all.is_unspecified() && (all.is_ipv6() || it.is_ipv4());
    let (one, other) = (one.to_canonical(), other.to_canonical());
    one == other || contains(one, other) || contains(other, one)
}

/// What that means.
pub(super) fn judge(doors: &[Door]) -> Vec<Finding> {
    doors.iter().map(judge_one).collect()
}

fn judge_one(Door { kind, address, is }: &Door) -> Finding {
    let door = format!("{kind} {address}");
    match is {
        Is::Chosen => Finding::ok(CHECK, format!("{door}: the system chooses the port at each start")),
        Is::Ours => Finding::ok(CHECK, format!("{door}: the box answers")),
        Is::Free => Finding::ok(CHECK, format!("{door}: free for the box")),
        Is::Foreign(owner) => {
            let who = owner.as_deref().map_or_else(|| "another program".to_owned(), |name| format!("`{name}`"));
            let advice = "stop that program, or choose another port in [listen]; `ss -ltnp` as root shows it";
            Finding::error(CHECK, format!("{door}: taken by {who}"), advice)
        }
        Is::Shut => Finding::error(
            CHECK,
            format!("{door}: nobody takes connections, though a box serves"),
            "restart the service, so that it reads bulaq.toml again; then look at the firewall of this machine",
        ),
        Is::NoRight => Finding::unknown(
            CHECK,
            format!("{door}: this account has no right to this port"),
            "run this as the account of the service; the service needs AmbientCapabilities=CAP_NET_BIND_SERVICE, or a \
             port from 1024 up",
        ),
        Is::NotOurs => Finding::error(
            CHECK,
            format!("{door}: not an address of this machine"),
            "`ip address` shows those it has; write one of them, or 0.0.0.0, in [listen]",
        ),
        Is::Unclear(words) => Finding::unknown(
            CHECK,
            format!("{door}: {words}"),
            "if this machine's address is not in `clients`, or names were led past the box, so it should be; otherwise see \
             `bulaq status` and `ss -ltnp`",
        ),
        Is::Other(words) => {
            Finding::error(CHECK, format!("{door}: cannot be opened: {words}"), "choose another address in [listen]")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::ingress::transparent::RouterOptions;

    fn options(http: SocketAddr) -> IngressOptions {
        IngressOptions { http: vec![http], ..IngressOptions::default() }
    }

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// A port of an address that no other test uses: what was given back there stays free. At 127.0.0.1 it may be another
    /// test's a moment later, or a connection's on its way out.
    fn alone(test: u8) -> SocketAddr {
        SocketAddr::from(([127, 53, 53, test], 0))
    }

    #[tokio::test]
    async fn a_door_is_free_foreign_shut_or_not_of_this_machine() {
        let other = TcpListener::bind(alone(1)).unwrap();
        let taken = other.local_addr().unwrap();
        let found = gather(&options(taken), &[], false, None).await;
        let Is::Foreign(Some(owner)) = &found[0].is else { panic!("{found:?}") };
        let ours = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(owner, ours.trim(), "a process sees its own sockets");
        drop(other);
        assert!(matches!(gather(&options(taken), &[], false, None).await[0].is, Is::Free));
        assert!(matches!(gather(&options(taken), &[], true, None).await[0].is, Is::Shut));
        assert!(matches!(
            gather(&options("192.0.2.1:8080".parse().unwrap()), &[], false, None).await[0].is,
            Is::NotOurs
        ));
        assert!(matches!(gather(&options(any()), &[], false, None).await[0].is, Is::Chosen));

        let router = RouterOptions { https: vec![taken], ..RouterOptions::default() };
        let behind = IngressOptions { router, ..IngressOptions::default() };
        assert!(matches!(gather(&behind, &[], true, None).await[0].is, Is::Shut));
        let _other = TcpListener::bind(taken).unwrap();
        assert!(
            matches!(gather(&behind, &[], true, None).await[0].is, Is::Foreign(Some(_))),
            "this test is not the box"
        );
    }

    #[tokio::test]
    async fn the_resolvers_door_is_asked() {
        let other = UdpSocket::bind(alone(2)).unwrap();
        let taken = other.local_addr().unwrap();
        let found = gather(&IngressOptions::default(), &[taken], false, None).await;
        assert!(matches!(found[0].is, Is::Foreign(_)), "UDP is taken though TCP is free: {found:?}");
        drop(other);
        assert!(matches!(gather(&IngressOptions::default(), &[taken], false, None).await[0].is, Is::Free));
        assert!(matches!(gather(&IngressOptions::default(), &[taken], true, None).await[0].is, Is::Shut));
    }

    #[tokio::test]
    async fn another_server_is_not_taken_for_the_box() {
        for (words, is_ours) in [(r#"{"bulaq":true,"now":1}"#, true), ("<h1>It works!</h1>", false)] {
            let other = tokio::net::TcpListener::bind(any()).await.unwrap();
            let address = other.local_addr().unwrap();
            let answers = tokio::spawn(async move {
                let (mut stream, _) = other.accept().await.unwrap();
                let mut seen = [0; 1024];
                let read = stream.read(&mut seen).await.unwrap();
                assert!(seen[..read].starts_with(b"GET /here.json HTTP/1.1\r\nHost: bulaq.internal\r\n"));
                stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{words}").as_bytes()).await.unwrap();
            });
            let found = gather(&options(address), &[], true, None).await;
            assert_eq!(matches!(found[0].is, Is::Ours), is_ours, "{found:?}");
            answers.await.unwrap();
        }
    }

    #[test]
    fn every_state_says_what_to_do() {
        for (is, state) in [
            (Is::Chosen, State::Ok),
            (Is::Ours, State::Ok),
            (Is::Free, State::Ok),
            (Is::Foreign(Some("nginx".to_owned())), State::Error),
            (Is::Foreign(None), State::Error),
            (Is::Shut, State::Error),
            (Is::NoRight, State::Unknown),
            (Is::NotOurs, State::Error),
            (Is::Unclear("no answer".to_owned()), State::Unknown),
            (Is::Other("no".to_owned()), State::Error),
        ] {
            let finding = judge_one(&Door { kind: "http", address: any(), is });
            assert_eq!((finding.state, finding.advice.is_some()), (state, state != State::Ok), "{finding:?}");
        }
    }

    #[test]
    fn the_kernels_table_is_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0";
        let six =
            |local: &str| line.replace("0100007F", local).replace("00000000:0000 0A", &format!("{:032}:0000 0A", 0));
        let every = six(&"0".repeat(32));
        let mapped = six("0000000000000000FFFF00000100007F");
        let local = six("00000000000000000000000001000000");
        for (line, address, is_it) in [
            (line, "127.0.0.1:8080", true),
            (line, "0.0.0.0:8080", true),
            (line, "[::]:8080", true),
            (line, "127.0.0.1:8081", false),
            // As a resolver of the machine's own at 127.0.0.53 beside the box.
            (line, "192.168.10.5:8080", false),
            (line, "[::1]:8080", false),
            (&every, "192.168.10.5:8080", true),
            (&every, "[::1]:8080", true),
            (&mapped, "127.0.0.1:8080", true),
            (&mapped, "127.0.0.2:8080", false),
            (&local, "[::1]:8080", true),
            (&local, "0.0.0.0:8080", false),
            (&line.replace("0100007F", "00000000"), "192.168.10.5:8080", true),
            (&line.replace(" 0A ", " 01 "), "127.0.0.1:8080", false),
            ("  sl  local_address rem_address   st", "127.0.0.1:8080", false),
        ] {
            let inode = listening_inode(line, address.parse().unwrap());
            assert_eq!(inode, is_it.then_some("12345"), "{line} {address}");
        }
    }

    #[test]
    fn the_boxs_own_no_is_not_another_programs() {
        let (ours, other) = (Some("bulaq".to_owned()), Some("dnsmasq".to_owned()));
        let paused = Some("names lead past the box until `bulaq dns resume`");
        for (said, lead, owner, is_unclear) in [
            (Said::NoSuchName, paused, ours.clone(), true),
            (Said::NoSuchName, paused, None, true),
            (Said::Failed, Some("names lead to the box"), None, true),
            (Said::Failed, None, ours, true),
            (Said::Failed, paused, other.clone(), false),
            (Said::NoSuchName, None, other, false),
            (Said::NoSuchName, None, None, false),
        ] {
            let is = of_resolver(&said, lead, || owner.clone());
            assert_eq!(matches!(is, Is::Unclear(_)), is_unclear, "{said:?} {lead:?} {owner:?}: {is:?}");
            assert!(is_unclear || matches!(&is, Is::Foreign(who) if *who == owner), "{is:?}");
        }
    }
}
