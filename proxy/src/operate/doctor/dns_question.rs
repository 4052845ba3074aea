//! One question to one name server, as a device asks it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Longest wait for one answer; a device asks again after as long.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Tries of one question: a datagram may be lost.
const TRIES: usize = 2;

/// Datagrams that are looked at for one question: others may be late, or not from the server.
const DATAGRAMS_MAX: usize = 8;

/// Longest answer over UDP.
const ANSWER_BYTES_MAX: usize = 4096;

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These addresses; empty when it said only that there are records of the type.
    Records(Vec<IpAddr>),
    /// The name has no record of the type.
    NoData,
    /// There is no such name.
    NoSuchName,
    /// It refused, or failed.
    Failed,
    /// Nothing.
    Silence,
}

impl Said {
    /// The addresses that it gave.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Records(addresses) => addresses,
            _ => &[],
        }
    }

    /// Whether it gave records of the type that it was asked for.
    pub(super) fn has_records(&self) -> bool {
        matches!(self, Self::Records(_))
    }
}

/// Asks for the records of one type.
pub(super) async fn ask(server: SocketAddr, name: &str, record_type: RecordType) -> Said {
    for _ in 0..TRIES {
        if let Ok(Ok(said)) = timeout(ANSWER_WAIT, ask_once(server, name, record_type)).await {
            return said;
        }
    }
    Said::Silence
}

async fn ask_once(server: SocketAddr, name: &str, record_type: RecordType) -> io::Result<Said> {
    let name = Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
    let any =
        if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { "::".parse().map_err(io::Error::other)? };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    // The port of a new socket is chosen by the system for each question; the number says which of late answers is meant.
    let id = socket.local_addr()?.port();
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), record_type));
    socket.send(&question.to_vec().map_err(io::Error::other)?).await?;
    let mut bytes = [0; ANSWER_BYTES_MAX];
    for _ in 0..DATAGRAMS_MAX {
        let length = socket.recv(&mut bytes).await?;
        if let Ok(answer) = Message::from_vec(&bytes[..length])
            && answer.metadata.id == id
            && answer.metadata.message_type == MessageType::Response
        {
            return Ok(read(&answer, record_type));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn read(answer: &Message, record_type: RecordType) -> Said {
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Said::NoSuchName,
        _ => return Said::Failed,
    }
    let mut records = answer.answers.iter().filter(|record| record.record_type() == record_type).peekable();
    if records.peek().is_none() {
        return Said::NoData;
    }
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    Said::Records(records.filter_map(|record| address(&record.data)).collect())
}
