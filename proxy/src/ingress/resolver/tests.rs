//! The resolver over real sockets, with resolvers of a school made here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use bulaq_allowlist::HostName;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::CNAME;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::shutdown::Shutdown;

mod bytes;

const LIST: &str = "[[site]]\nname = \"a\"\ntitle = { kk = \"a\", ru = \"a\", en = \"a\" }\nclass = \"public-lessons\"\ntraffic = \"metered\"\ntls = \"splice\"\nlanguages = [\"kk\"]\nhosts = [\"lessons.kz\", \"*.below.kz\"]\n";

// ---- A school's resolver ----

/// How a made resolver behaves.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// Answers by UDP are cut.
    truncates: bool,
    /// Letters come back in lower case.
    lowers: bool,
    /// Sends a forged packet before each answer by UDP.
    forges: bool,
    /// Says nothing but this.
    says: Option<ResponseCode>,
    /// Says nothing: by TCP the connection ends.
    hangs_up: bool,
    /// Says AD.
    validates: bool,
}

/// A resolver that answers every A with 203.0.113.7 and some names in its own ways; counts what it is asked.
struct School {
    address: SocketAddr,
    by_udp: Arc<AtomicUsize>,
    by_stream: Arc<AtomicUsize>,
    /// Answers wait for this.
    gate: Arc<Semaphore>,
    _stop: DropGuard,
}

impl School {
    async fn start(manner: Manner) -> Self {
        Self::over(manner, None).await
    }

    async fn over(manner: Manner, tls: Option<Arc<ServerConfig>>) -> Self {
        // An address of loopback for each: at one that others use, UDP's port of the same number may be taken.
        static SCHOOLS: AtomicUsize = AtomicUsize::new(1);
        let number = u8::try_from(SCHOOLS.fetch_add(1, Ordering::Relaxed)).unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::new(127, 53, 54, number), 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let (by_udp, by_stream) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let stop = CancellationToken::new();
        let (count, wait) = (Arc::clone(&by_udp), Arc::clone(&gate));
        let packets = async move {
            let mut packet = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut packet).await {
                count.fetch_add(1, Ordering::SeqCst);
                drop(wait.acquire().await.unwrap());
                let mut answer = answered(&packet[..length], manner);
                if manner.forges {
                    let mut forged = answer.clone();
                    forged.metadata.id ^= 1;
                    for record in &mut forged.answers {
                        record.data = RData::A(A::new(198, 51, 100, 66));
                    }
                    udp.send_to(&forged.to_vec().unwrap(), from).await.unwrap();
                }
                if manner.truncates {
                    answer = answer.truncate();
                }
                udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        };
        let (count, manner) = (Arc::clone(&by_stream), manner);
        let streams = async move {
            while let Ok((stream, _)) = tcp.accept().await {
                let (count, tls) = (Arc::clone(&count), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer_stream(stream, manner, &count).await,
                        Some(tls) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                                answer_stream(stream, manner, &count).await;
                            }
                        }
                    }
                });
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(packets));
        tokio::spawn(stop.clone().run_until_cancelled_owned(streams));
        Self { address, by_udp, by_stream, gate, _stop: stop.drop_guard() }
    }

    fn asked(&self) -> (usize, usize) {
        (self.by_udp.load(Ordering::SeqCst), self.by_stream.load(Ordering::SeqCst))
    }
}

async fn answer_stream(mut stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner, count: &AtomicUsize) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await.unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        if manner.hangs_up {
            return;
        }
        let answer = answered(&bytes, manner).to_vec().unwrap();
        stream.write_all(&(answer.len() as u16).to_be_bytes()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        stream.flush().await.unwrap();
    }
}

fn answered(bytes: &[u8], manner: Manner) -> Message {
    let asked = Message::from_vec(bytes).unwrap();
    assert!(asked.edns.as_ref().unwrap().options().as_ref().is_empty(), "no option of a client is passed on");
    let query = asked.queries[0].clone();
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.authentic_data = manner.validates;
    answer.queries.push(query.clone());
    if manner.lowers {
        answer.queries[0].name = query.name.to_lowercase();
    }
    if let Some(code) = manner.says {
        answer.metadata.response_code = code;
        return answer;
    }
    let name = query.name.to_lowercase().to_string();
    let record = |ttl, data| Record::from_rdata(query.name.clone(), ttl, data);
    let text = |text: &str| Name::from_ascii(text).unwrap();
    match (name.as_str(), query.query_type) {
        ("none.kz.", _) => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer.authorities.push(record(600, RData::SOA(SOA::new(text("kz."), text("kz."), 1, 1, 1, 1, 600))));
        }
        ("large.kz.", _) => {
            let address = |n: usize| record(60, RData::A(A::new(203, 0, 113, (n % 250) as u8)));
            answer.answers.extend((0..200).map(address));
        }
        ("alias.lessons.kz.", _) | ("lessons.kz.", RecordType::TXT) => {
            answer.answers.push(record(60, RData::CNAME(CNAME(text("cdn.example.")))));
        }
        (_, RecordType::A) => {
            answer.answers.push(record(3000, RData::A(A::new(203, 0, 113, 7))));
            answer.additionals.push(Record::from_rdata(text("bank.kz."), 60, RData::A(A::new(203, 0, 113, 8))));
        }
        _ => {}
    }
    answer
}

// ---- The box ----

struct Running {
    address: SocketAddr,
    resolver: Arc<Resolver>,
    shutdown: Shutdown,
    clock: Clock,
    _stop: DropGuard,
}

fn parts(upstreams: Vec<Upstream>) -> (Parts, Shutdown, Clock) {
    let shutdown = Shutdown::new();
    let clock = Clock::held(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
    let switch = Switch::new(shutdown.clone(), clock.clone());
    switch.doors_are_open(true);
    let parts = Parts {
        options: DnsOptions {
            answers: vec!["192.0.2.1".parse().unwrap()],
            upstreams,
            queries_per_s: 10_000,
            ..DnsOptions::default()
        },
        list: Arc::new(ArcSwap::from_pointee(Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist)),
        own: vec![HostPattern::Exact(HostName::parse("bulaq.internal").unwrap())],
        wpad: false,
        clients: Clients::default(),
        switch: Arc::new(switch),
        tls: trusting(RootCertStore::empty()),
        clock: clock.clone(),
    };
    (parts, shutdown, clock)
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

async fn run(upstreams: Vec<Upstream>, change: impl FnOnce(&mut Parts)) -> Running {
    let (mut parts, shutdown, clock) = parts(upstreams);
    change(&mut parts);
    let bound = BoundResolver::bind(&["127.53.55.1:0".parse().unwrap()]).unwrap();
    let address = bound.addresses()[0];
    let resolver = Arc::new(Resolver::new(parts));
    let stop = CancellationToken::new();
    tokio::spawn(bound.serve(Arc::clone(&resolver), stop.clone()));
    Running { address, resolver, shutdown, clock, _stop: stop.drop_guard() }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, payload: u16, dnssec_ok: bool) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
    message.edns = Some(edns);
    message
}

impl Running {
    async fn udp(&self, message: &Message) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&message.to_vec().unwrap(), self.address).await.unwrap();
        let mut packet = [0; 65535];
        let length = socket.recv(&mut packet).await.unwrap();
        let answer = Message::from_vec(&packet[..length]).unwrap();
        assert_eq!(answer.metadata.id, message.metadata.id);
        answer
    }

    async fn tcp(&self, messages: &[Message]) -> Vec<Message> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        for message in messages {
            let bytes = message.to_vec().unwrap();
            stream.write_all(&(bytes.len() as u16).to_be_bytes()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
        let mut answers = Vec::new();
        for _ in messages {
            let mut bytes = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut bytes).await.unwrap();
            answers.push(Message::from_vec(&bytes).unwrap());
        }
        answers
    }
}

fn addresses(message: &Message) -> Vec<String> {
    let text = |record: &Record| format!("{} {} {}", record.name, record.ttl, record.data);
    message.answers.iter().map(text).collect()
}

fn udp(school: &School) -> Vec<Upstream> {
    vec![Upstream::Udp(school.address)]
}

// ---- What a client sees ----

#[tokio::test]
async fn listed_names_lead_to_the_box_and_others_are_looked_up() {
    let school = School::start(Manner::default()).await;
    let running = run(udp(&school), |_| ()).await;
    let answer = running.udp(&question("LESSONS.kz.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["LESSONS.kz. 30 192.0.2.1"]);
    for (name, kind, code) in [
        ("lessons.kz.", RecordType::AAAA, ResponseCode::NoError),
        ("a.below.kz.", RecordType::HTTPS, ResponseCode::NoError),
        ("use-application-dns.net.", RecordType::A, ResponseCode::NXDomain),
        ("_dns.resolver.arpa.", RecordType::SVCB, ResponseCode::NoError),
    ] {
        let answer = running.udp(&question(name, kind)).await;
        assert_eq!(answer.metadata.response_code, code, "{name}");
        assert!(answer.answers.is_empty() && answer.authorities[0].record_type() == RecordType::SOA, "{answer}");
        assert_eq!(answer.authorities[0].ttl, 30);
    }
    assert_eq!(school.asked(), (0, 0), "none of that is anybody else's business");

    let answer = running.udp(&question("Other.kz.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["Other.kz. 3000 203.0.113.7"]);
    assert!(answer.metadata.recursion_available && answer.additionals.is_empty(), "{answer}");
    let counts = running.resolver.counts();
    assert_eq!((counts.queries, counts.redirected, counts.denied, counts.forwarded), (6, 3, 2, 1));
}

#[tokio::test]
async fn an_answer_is_asked_for_once_and_ages() {
    let school = School::start(Manner::default()).await;
    let running = run(udp(&school), |_| ()).await;
    for (after, ttl) in [(0, "3000"), (1000, "2000"), (2000, "3000")] {
        running.clock.advance(Duration::from_secs(after));
        let answer = running.udp(&question("other.kz.", RecordType::A)).await;
        assert_eq!(addresses(&answer), [format!("other.kz. {ttl} 203.0.113.7")]);
    }
    assert_eq!(school.asked(), (2, 0));
    for _ in 0..2 {
        let answer = running.udp(&question("none.kz.", RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(school.asked(), (3, 0), "a no is remembered too");
    running.udp(&with_edns(question("other.kz.", RecordType::A), 1232, true)).await;
    assert_eq!(school.asked(), (4, 0), "with signatures it is another answer");
    assert_eq!(running.resolver.remembered(), 3);
}

#[tokio::test]
async fn thirty_who_ask_at_once_are_one_question() {
    let school = School::start(Manner::default()).await;
    school.gate.forget_permits(Semaphore::MAX_PERMITS);
    let running = Arc::new(run(udp(&school), |_| ()).await);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let running = Arc::clone(&running);
        asking.spawn(async move { running.udp(&question("other.kz.", RecordType::A)).await });
    }
    let counts = || running.resolver.counts();
    while counts().forwarded + counts().cached < 30 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counts().forwarded, 1);
    school.gate.add_permits(100);
    for answer in asking.join_all().await {
        assert_eq!(addresses(&answer), ["other.kz. 3000 203.0.113.7"]);
    }
    assert_eq!(school.asked(), (1, 0));
    assert!(running.resolver.flights.lock().unwrap().is_empty(), "nobody waits for what has landed");
}

#[tokio::test]
async fn a_box_that_stops_or_is_paused_means_the_plain_internet() {
    let school = School::start(Manner::default()).await;
    let running = run(udp(&school), |_| ()).await;
    let to_box = ["lessons.kz. 30 192.0.2.1"];
    // Ten times less than the school's resolver says: devices are back at the box soon.
    let past_it = ["lessons.kz. 30 203.0.113.7"];
    let ask = async || addresses(&running.udp(&question("lessons.kz.", RecordType::A)).await);
    assert_eq!(ask().await, to_box);
    running.resolver.switch().pause(Some(Duration::from_secs(600)));
    assert_eq!(ask().await, past_it);
    running.clock.advance(Duration::from_secs(600));
    assert_eq!(ask().await, to_box);
    running.resolver.switch().doors_are_open(false);
    assert_eq!(ask().await, past_it);
    running.resolver.switch().doors_are_open(true);
    running.shutdown.ask();
    assert_eq!(ask().await, past_it, "it drains, and says the way around it");
}

#[tokio::test]
async fn aliases_do_not_lead_around_the_box() {
    let school = School::start(Manner::default()).await;
    let running = run(udp(&school), |_| ()).await;
    let answer = running.udp(&question("lessons.kz.", RecordType::TXT)).await;
    assert!(answer.answers.is_empty() && answer.metadata.response_code == ResponseCode::NoError, "{answer}");
    assert_eq!(school.asked().0, 1);
    let answer = running.udp(&question("alias.lessons.kz.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["alias.lessons.kz. 60 cdn.example."], "not on the list");
}

#[tokio::test]
async fn large_answers_are_bounded_by_udp_and_whole_by_tcp() {
    let school = School::start(Manner::default()).await;
    let running = run(vec![Upstream::Tcp(school.address)], |_| ()).await;
    for payload in [None, Some(512), Some(1232), Some(65535)] {
        let asked = question("large.kz.", RecordType::A);
        let asked = payload.map_or(asked.clone(), |payload| with_edns(asked, payload, false));
        let answer = running.udp(&asked).await;
        assert!(answer.metadata.truncation && answer.answers.is_empty(), "{payload:?}");
        assert_eq!(answer.edns.map(|edns| edns.max_payload()), payload.map(|_| 1232));
    }
    let answers = running.tcp(&[question("large.kz.", RecordType::A), question("lessons.kz.", RecordType::A)]).await;
    assert_eq!((answers[0].answers.len(), answers[0].metadata.truncation), (200, false));
    assert_eq!(addresses(&answers[1]), ["lessons.kz. 30 192.0.2.1"], "one connection, two questions");
    assert_eq!(school.asked(), (0, 1));
}

#[tokio::test]
async fn what_does_not_fit_into_a_packet_is_asked_for_by_tcp() {
    let school = School::start(Manner { truncates: true, ..Manner::default() }).await;
    let running = run(udp(&school), |_| ()).await;
    let answer = running.udp(&question("other.kz.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["other.kz. 3000 203.0.113.7"]);
    assert_eq!(school.asked(), (1, 1));
}

#[tokio::test]
async fn forged_answers_and_changed_letters_are_not_believed() {
    let school = School::start(Manner { forges: true, ..Manner::default() }).await;
    let running = run(udp(&school), |_| ()).await;
    let answer = running.udp(&question("other.kz.", RecordType::A)).await;
    assert_eq!(addresses(&answer), ["other.kz. 3000 203.0.113.7"]);

    let school = School::start(Manner { lowers: true, ..Manner::default() }).await;
    let running = run(udp(&school), |_| ()).await;
    for n in 0..6 {
        let name = format!("a-long-name-with-many-letters-{n}.kz.");
        let answer = running.udp(&question(&name, RecordType::A)).await;
        assert_eq!(addresses(&answer), [format!("{name} 3000 203.0.113.7")]);
    }
    assert_eq!(school.asked(), (6, 3), "after three times it is known to change them");
}

#[tokio::test]
async fn the_next_resolver_answers_when_the_first_fails() {
    let bad = School::start(Manner { says: Some(ResponseCode::ServFail), ..Manner::default() }).await;
    let good = School::start(Manner::default()).await;
    let running = run(vec![Upstream::Udp(bad.address), Upstream::Udp(good.address)], |_| ()).await;
    for name in ["one.kz.", "two.kz."] {
        let answer = running.udp(&question(name, RecordType::A)).await;
        assert_eq!(addresses(&answer), [format!("{name} 3000 203.0.113.7")]);
    }
    assert_eq!((bad.asked().0, good.asked().0), (2, 2), "a name that fails says nothing of the server");

    let running = run(udp(&bad), |_| ()).await;
    for _ in 0..2 {
        let answer = running.udp(&with_edns(question("one.kz.", RecordType::A), 1232, false)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(bad.asked().0, 5, "a failure is remembered for a moment");
    assert_eq!(running.resolver.counts().failed, 1);

    let filter = School::start(Manner { says: Some(ResponseCode::Refused), ..Manner::default() }).await;
    let good = School::start(Manner::default()).await;
    let running = run(vec![Upstream::Udp(filter.address), Upstream::Udp(good.address)], |_| ()).await;
    let answer = running.udp(&question("one.kz.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!((filter.asked().0, good.asked().0), (1, 0), "nobody leads around a filter");
}

#[tokio::test]
async fn a_resolver_is_ill_when_several_names_get_no_answer() {
    let bad = School::start(Manner { hangs_up: true, ..Manner::default() }).await;
    let good = School::start(Manner::default()).await;
    let running = run(vec![Upstream::Tcp(bad.address), Upstream::Tcp(good.address)], |_| ()).await;
    for (name, kind, asked) in [
        ("one.kz.", RecordType::A, 1),
        ("ONE.kz.", RecordType::AAAA, 2),
        ("one.kz.", RecordType::HTTPS, 3),
        ("two.kz.", RecordType::A, 4),
        ("three.kz.", RecordType::A, 5),
        ("four.kz.", RecordType::A, 5),
    ] {
        let answer = running.udp(&question(name, kind)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name}");
        assert_eq!(bad.asked().1, asked, "{name} {kind}: after three names, not three questions");
    }
    assert_eq!(good.asked().1, 6);
}

#[tokio::test]
async fn who_asks_for_names_that_nobody_answers_keeps_nobody_waiting() {
    let school = School::start(Manner::default()).await;
    school.gate.forget_permits(Semaphore::MAX_PERMITS);
    let running = run(udp(&school), |parts| parts.options.queries_per_s = QUERIES_PER_S.default).await;
    let greedy = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    for n in 0..40 {
        let asked = question(&format!("silent-{n}.kz."), RecordType::A).to_vec().unwrap();
        greedy.send_to(&asked, running.address).await.unwrap();
    }
    let counts = || running.resolver.counts();
    while counts().forwarded + counts().busy < 40 {
        tokio::task::yield_now().await;
    }
    assert_eq!((counts().forwarded, counts().busy), (32, 8), "an eighth of all for one");
    let mut packet = [0; 512];
    for _ in 0..8 {
        let length = greedy.recv(&mut packet).await.unwrap();
        assert_eq!(Message::from_vec(&packet[..length]).unwrap().metadata.response_code, ResponseCode::ServFail);
    }
    let other = question("other.kz.", RecordType::A);
    let asking = running.udp(&other);
    let answering = async {
        while counts().forwarded < 33 {
            tokio::task::yield_now().await;
        }
        school.gate.add_permits(100);
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert_eq!(addresses(&answer), ["other.kz. 3000 203.0.113.7"]);
}

#[tokio::test]
async fn resolvers_by_tls_must_show_their_certificate() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["dns.school.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let school = School::over(Manner { validates: true, ..Manner::default() }, Some(Arc::new(server))).await;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let tls = trusting(roots);
    let by_name =
        |name: &'static str| vec![Upstream::Tls { address: school.address, name: ServerName::try_from(name).unwrap() }];

    let running = run(by_name("dns.school.example"), |parts| parts.tls = Arc::clone(&tls)).await;
    for name in ["one.kz.", "two.kz."] {
        let answer = running.udp(&with_edns(question(name, RecordType::A), 1232, true)).await;
        assert_eq!(addresses(&answer), [format!("{name} 3000 203.0.113.7")]);
        assert!(answer.metadata.authentic_data, "what came by a verified connection is believed to be validated");
    }
    assert!(!running.udp(&question("one.kz.", RecordType::A)).await.metadata.authentic_data, "nobody asked for AD");
    assert_eq!(school.asked(), (0, 3));

    let running = run(by_name("another.example"), |parts| parts.tls = tls).await;
    let answer = running.udp(&question("one.kz.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let running = run(by_name("dns.school.example"), |_| ()).await;
    let answer = running.udp(&question("one.kz.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "nobody vouches for it");
    assert_eq!(school.asked(), (0, 3), "neither was asked anything");
}

#[tokio::test]
async fn validation_by_others_is_not_believed_over_udp() {
    let school = School::start(Manner { validates: true, ..Manner::default() }).await;
    let running = run(udp(&school), |_| ()).await;
    let answer = running.udp(&with_edns(question("other.kz.", RecordType::A), 1232, true)).await;
    assert!(!answer.metadata.authentic_data);
    assert!(answer.edns.unwrap().flags().dnssec_ok, "DO is given back (RFC 3225)");
}

#[tokio::test]
async fn only_clients_of_the_school_are_served_and_each_has_its_share() {
    let school = School::start(Manner::default()).await;
    let running = run(udp(&school), |parts| parts.clients = Clients::new(Vec::new())).await;
    for name in ["lessons.kz.", "other.kz."] {
        let answer = running.udp(&question(name, RecordType::A)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    }
    assert_eq!((school.asked(), running.resolver.counts().not_clients), ((0, 0), 2));

    let running = run(udp(&school), |parts| parts.options.queries_per_s = 10).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asked = question("lessons.kz.", RecordType::A).to_vec().unwrap();
    for _ in 0..40 {
        socket.send_to(&asked, running.address).await.unwrap();
    }
    while running.resolver.counts().queries < 40 {
        tokio::task::yield_now().await;
    }
    let (mut whole, mut cut, mut packet) = (0, 0, [0; 512]);
    while let Ok(length) = socket.try_recv(&mut packet) {
        let answer = Message::from_vec(&packet[..length]).unwrap();
        if answer.metadata.truncation {
            cut += 1
        } else {
            whole += 1
        }
        assert!(length <= asked.len() + 16, "no more than was asked, with one address");
    }
    assert!((20..=21).contains(&whole) && (6..=7).contains(&cut), "{whole} whole and {cut} cut of 40");
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&[&(asked.len() as u16).to_be_bytes()[..], &asked].concat()).await.unwrap();
    assert_eq!(stream.read(&mut packet).await.unwrap_or(0), 0, "by TCP the connection ends");
}

#[tokio::test]
async fn a_connection_that_sends_too_much_ends() {
    let school = School::start(Manner::default()).await;
    let running = run(udp(&school), |_| ()).await;
    for bytes in [&[0xff, 0xff, 0][..], &[0, 2, 1, 2], &[0, 0]] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "{bytes:?}");
    }
    let held: Vec<_> = futures_util::future::join_all((0..16).map(|_| TcpStream::connect(running.address))).await;
    let mut one_more = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(one_more.read(&mut [0; 16]).await.unwrap_or(0), 0, "sixteen are enough for one client");
    drop(held);
}
