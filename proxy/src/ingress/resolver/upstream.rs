//! Asking the school's own resolvers: UDP, TCP for what does not fit, or TLS with the server's certificate verified.
//!
//! Against forged answers each question has a random number, a socket of its own and so a random port, and random
//! letters (0x20) where the server gives them back; an answer counts only when all of it fits.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::message::Content;
use super::options::Upstream;
use super::plan::DNAME;

/// How long one server may take by UDP: most of what a device waits before it asks again.
const UDP_WAIT: Duration = Duration::from_millis(1200);

/// How long one server may take by TCP or TLS, with the connection's set-up over a satellite.
const STREAM_WAIT: Duration = Duration::from_millis(3000);

/// How long a question may take in all. Devices give up after five seconds.
const ASK_WAIT: Duration = Duration::from_millis(4800);

/// Servers that one question is put to; a single one is asked again.
const ATTEMPTS_MAX: usize = 3;

/// How long a server that does not answer is asked last.
const ILL: Duration = Duration::from_secs(10);

/// Names in a row without an answer, after which that is the server's fault: of one name it may be the name's own servers'.
/// The next server may not know the school's own names, or not filter.
const UNANSWERED_MAX: usize = 3;

/// Packets by UDP that are looked at for one question: forged ones cost an attacker as much as us.
const PACKETS_MAX: usize = 16;

/// What a packet by UDP may have, in bytes. Servers are told [`PAYLOAD`] and some send more.
const PACKET_BYTES_MAX: usize = 4096;

/// What servers are told that fits into one packet (RFC 9715), in bytes.
const PAYLOAD: u16 = 1232;

/// Connections that are kept for the next question, for each server.
const IDLE_MAX: usize = 4;

/// How long a connection is kept; servers close theirs after ten seconds and more.
const IDLE_TIME: Duration = Duration::from_secs(8);

/// Answers with other letters than the question's, in a row, after which a server is believed to change them always.
const CHANGED_LETTERS_MAX: u32 = 3;

/// Records of an answer that are looked at; more than any school's name has.
const RECORDS_MAX: usize = 256;

/// Aliases that are followed in one answer.
const ALIASES_MAX: usize = 16;

/// Why no server answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nothing came in time.
    #[error("no answer in time")]
    Silence,
    /// The connection.
    #[error("no connection")]
    Io(#[from] io::Error),
    /// Not an answer to the question.
    #[error("not an answer to the question")]
    Other,
    /// The server could not, or would not.
    #[error("the server answered {0}")]
    Code(ResponseCode),
}

/// An answer, with its size on the wire in bytes.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) content: Content,
    pub(super) bytes: usize,
}

/// The school's resolvers.
pub(super) struct Upstreams {
    servers: Vec<Server>,
    tls: TlsConnector,
    started: Instant,
    /// Makes numbers of names, others in each run.
    numbers: RandomState,
}

struct Server {
    upstream: Upstream,
    /// Until when it is asked last, in milliseconds since the start.
    ill_until: AtomicU64,
    /// Names that got no answer since the last that got one, as numbers; [`UNANSWERED_MAX`] at most.
    unanswered: Mutex<HashSet<u64>>,
    changed_letters: AtomicU32,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
type Connection = Box<dyn Stream>;

impl Upstreams {
    pub(super) fn new(upstreams: Vec<Upstream>, tls: Arc<ClientConfig>) -> Self {
        let server = |upstream| Server {
            upstream,
            ill_until: AtomicU64::new(0),
            unanswered: Mutex::default(),
            changed_letters: AtomicU32::new(0),
            idle: Mutex::default(),
        };
        Self {
            servers: upstreams.into_iter().map(server).collect(),
            tls: TlsConnector::from(tls),
            started: Instant::now(),
            numbers: RandomState::new(),
        }
    }

    /// Puts a question to one server after the other until one answers. REFUSED is an answer that stays: the next server
    /// would only lead around a filter.
    pub(super) async fn ask(
        &self,
        query: &Query,
        dnssec_ok: bool,
        checking_disabled: bool,
    ) -> Result<Answered, AskError> {
        let asking = async {
            let mut last = AskError::Silence;
            for server in self.in_order().cycle().take(ATTEMPTS_MAX) {
                match self.ask_one(server, query, dnssec_ok, checking_disabled).await {
                    Ok(answered) => {
                        server.has_answered();
                        return Ok(answered);
                    }
                    Err(AskError::Code(code)) => {
                        server.has_answered();
                        last = AskError::Code(code);
                        if code == ResponseCode::Refused {
                            break;
                        }
                    }
                    Err(error) => {
                        let name = self.numbers.hash_one(query.name.to_lowercase());
                        server.has_not_answered(name, self.millis());
                        last = error;
                    }
                }
            }
            Err(last)
        };
        timeout(ASK_WAIT, asking).await.unwrap_or(Err(AskError::Silence))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The healthy ones as they are listed, then the others.
    fn in_order(&self) -> impl Iterator<Item = &Server> + Clone {
        let now = self.millis();
        let is_ill = move |server: &&Server| server.ill_until.load(Ordering::Relaxed) > now;
        let well = self.servers.iter().filter(move |server| !is_ill(server));
        well.chain(self.servers.iter().filter(is_ill))
    }

    async fn ask_one(
        &self,
        server: &Server,
        query: &Query,
        dnssec_ok: bool,
        checking_disabled: bool,
    ) -> Result<Answered, AskError> {
        let mut message = question(query, dnssec_ok, checking_disabled);
        if let Upstream::Udp(address) = server.upstream {
            let gives_letters_back = server.changed_letters.load(Ordering::Relaxed) < CHANGED_LETTERS_MAX;
            if gives_letters_back {
                message.queries[0].name.randomize_label_case();
            }
            match timeout(UDP_WAIT, by_udp(address, &message)).await.unwrap_or(Err(AskError::Silence))? {
                ByUdp::Whole(answer, bytes) => {
                    if gives_letters_back {
                        server.changed_letters.store(0, Ordering::Relaxed);
                    }
                    return content(answer, bytes, query, dnssec_ok, false);
                }
                ByUdp::Truncated => {}
                ByUdp::OtherLetters => {
                    server.changed_letters.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let asking = self.by_stream(server, &message);
        let (answer, bytes) = timeout(STREAM_WAIT, asking).await.unwrap_or(Err(AskError::Silence))?;
        // Only an answer that nobody on the way could change is believed to be validated.
        let is_verified = matches!(server.upstream, Upstream::Tls { .. });
        content(answer, bytes, query, dnssec_ok, is_verified)
    }

    /// Asks by a connection that is left over, or by a new one when the server has closed that.
    async fn by_stream(&self, server: &Server, message: &Message) -> Result<(Message, usize), AskError> {
        if let Some(connection) = server.idle_connection()
            && let Ok(answered) = exchange(connection, message, server).await
        {
            return Ok(answered);
        }
        let connection = self.connect(server).await?;
        exchange(connection, message, server).await
    }

    async fn connect(&self, server: &Server) -> Result<Connection, AskError> {
        let stream = TcpStream::connect(server.upstream.address()).await?;
        stream.set_nodelay(true)?;
        Ok(match &server.upstream {
            Upstream::Tls { name, .. } => Box::new(self.tls.connect(name.clone(), stream).await?),
            Upstream::Udp(_) | Upstream::Tcp(_) => Box::new(stream),
        })
    }
}

impl Server {
    fn has_answered(&self) {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.ill_until.store(0, Ordering::Relaxed);
    }

    /// Once it is ill, each further silence keeps it so until it answers.
    fn has_not_answered(&self, name: u64, now: u64) {
        let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        if unanswered.len() < UNANSWERED_MAX {
            unanswered.insert(name);
        }
        if unanswered.len() >= UNANSWERED_MAX {
            self.ill_until.store(now + ILL.as_millis() as u64, Ordering::Relaxed);
        }
    }

    fn idle_connection(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|(_, since)| now.saturating_duration_since(*since) < IDLE_TIME);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push((connection, Instant::now()));
        }
    }
}

fn question(query: &Query, dnssec_ok: bool, checking_disabled: bool) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = checking_disabled;
    let mut query = query.clone();
    query.name = query.name.to_lowercase();
    message.queries.push(query);
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0).set_dnssec_ok(dnssec_ok);
    message.edns = Some(edns);
    message
}

// ---- The wire ----

enum ByUdp {
    Whole(Message, usize),
    Truncated,
    /// The server does not give the letters back, or somebody guessed the rest.
    OtherLetters,
}

async fn by_udp(server: SocketAddr, message: &Message) -> Result<ByUdp, AskError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // From nobody else does anything come then, and a closed port is heard of.
    socket.connect(server).await?;
    socket.send(&encode(message)?).await?;
    let mut packet = vec![0; PACKET_BYTES_MAX];
    for _ in 0..PACKETS_MAX {
        let length = socket.recv(&mut packet).await?;
        let Ok(answer) = Message::from_vec(&packet[..length]) else { continue };
        match fits(&answer, message) {
            Fits::No => {}
            Fits::ButLetters => return Ok(ByUdp::OtherLetters),
            Fits::Yes if answer.metadata.truncation => return Ok(ByUdp::Truncated),
            Fits::Yes => return Ok(ByUdp::Whole(answer, length)),
        }
    }
    Err(AskError::Other)
}

async fn exchange(
    mut connection: Connection,
    message: &Message,
    server: &Server,
) -> Result<(Message, usize), AskError> {
    let bytes = encode(message)?;
    let length = u16::try_from(bytes.len()).map_err(|_| AskError::Other)?;
    // In one write, so that it leaves in one segment (RFC 7766 §8).
    connection.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    connection.flush().await?;
    let length = connection.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    connection.read_exact(&mut bytes).await?;
    let answer = Message::from_vec(&bytes).map_err(|_| AskError::Other)?;
    if fits(&answer, message) == Fits::No || answer.metadata.truncation {
        return Err(AskError::Other);
    }
    server.keep(connection);
    Ok((answer, bytes.len()))
}

fn encode(message: &Message) -> Result<Vec<u8>, AskError> {
    message.to_vec().map_err(|_| AskError::Other)
}

#[derive(Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    ButLetters,
    No,
}

/// Whether a message is the answer to a question.
fn fits(answer: &Message, asked: &Message) -> Fits {
    let [query] = &asked.queries[..] else { return Fits::No };
    let [echoed] = &answer.queries[..] else { return Fits::No };
    let is_answer = answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
        && answer.metadata.id == asked.metadata.id
        && echoed == query;
    match is_answer {
        false => Fits::No,
        true if echoed.name.eq_case(&query.name) => Fits::Yes,
        true => Fits::ButLetters,
    }
}

// ---- What is kept of an answer ----

fn content(
    answer: Message,
    bytes: usize,
    query: &Query,
    dnssec_ok: bool,
    is_verified: bool,
) -> Result<Answered, AskError> {
    let code = answer.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(AskError::Code(code));
    }
    let is_authentic = is_verified && answer.metadata.authentic_data;
    let answers = chain(answer.answers, query, dnssec_ok);
    let is_no =
        code == ResponseCode::NXDomain || !answers.iter().any(|record| record.record_type() == query.query_type);
    let is_wanted = |record: &Record| {
        let kind = record.record_type();
        record.dns_class == DNSClass::IN && ((is_no && kind == RecordType::SOA) || (dnssec_ok && kind.is_dnssec()))
    };
    let authorities = answer.authorities.into_iter().filter(is_wanted).take(RECORDS_MAX).collect();
    // What is in the additional section nobody has asked for.
    Ok(Answered { content: Content { code, is_authentic, answers, authorities, extended_error: None }, bytes })
}

/// The records that answer the question: of its name, and of the names that aliases lead to from there. What else a
/// server adds could only mislead.
fn chain(records: Vec<Record>, query: &Query, dnssec_ok: bool) -> Vec<Record> {
    let records: Vec<Record> =
        records.into_iter().filter(|record| record.dns_class == DNSClass::IN).take(RECORDS_MAX).collect();
    let mut names = vec![query.name.clone()];
    while names.len() <= ALIASES_MAX {
        let last = names.last().expect("it begins with one");
        let next = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *last => Some(target.0.clone()),
            _ => None,
        });
        match next {
            Some(next) if !names.contains(&next) => names.push(next),
            _ => break,
        }
    }
    let is_of_the_chain = |record: &Record| {
        let kind = record.record_type();
        let is_wanted = kind == query.query_type
            || kind == RecordType::CNAME
            || u16::from(kind) == DNAME
            || (dnssec_ok && kind.is_dnssec());
        let is_above = u16::from(kind) == DNAME || kind.is_dnssec();
        is_wanted && names.iter().any(|name| record.name == *name || (is_above && record.name.zone_of(name)))
    };
    records.into_iter().filter(is_of_the_chain).collect()
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn an_answer_must_fit_its_question() {
        let asked = question(&Query::query(name("Other.kz."), RecordType::A), false, false);
        let answer = |change: &dyn Fn(&mut Message)| {
            let mut answer = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
            answer.queries.clone_from(&asked.queries);
            change(&mut answer);
            fits(&answer, &asked)
        };
        assert_eq!(answer(&|_| ()), Fits::Yes);
        assert_eq!(answer(&|answer| answer.metadata.id ^= 1), Fits::No);
        assert_eq!(answer(&|answer| answer.metadata.message_type = MessageType::Query), Fits::No);
        assert_eq!(answer(&|answer| answer.queries.clear()), Fits::No);
        assert_eq!(answer(&|answer| answer.queries[0].query_type = RecordType::AAAA), Fits::No);
        assert_eq!(answer(&|answer| answer.queries[0].name = name("other.kz.evil.")), Fits::No);
        assert_eq!(answer(&|answer| answer.queries[0].name = name("OTHER.kz.")), Fits::ButLetters);
    }

    #[test]
    fn only_records_that_answer_are_kept() {
        let a = |owner: &str| Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, 1)));
        let alias = |owner: &str, target: &str| Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))));
        let kept = |records: Vec<Record>| {
            let query = Query::query(name("www.kz."), RecordType::A);
            chain(records, &query, false).iter().map(|record| record.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(kept(vec![a("WWW.kz."), a("bank.kz.")]), ["WWW.kz."]);
        assert_eq!(
            kept(vec![a("c.kz."), alias("www.kz.", "b.kz."), alias("b.kz.", "C.kz."), a("d.kz.")]),
            ["c.kz.", "www.kz.", "b.kz."]
        );
        assert_eq!(kept(vec![alias("www.kz.", "b.kz."), alias("b.kz.", "www.kz.")]), ["www.kz.", "b.kz."], "a loop");
        let many = (0..2 * RECORDS_MAX).map(|_| a("www.kz.")).collect();
        assert_eq!(kept(many).len(), RECORDS_MAX);
    }
}
