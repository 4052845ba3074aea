//! A name server that gives every name the same answer.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What it says to every question.
#[derive(Clone, Copy)]
pub enum Answer {
    /// This address, and no IPv6 one.
    Address(Ipv4Addr),
    /// There is no such name.
    NoSuchName,
    /// Nothing at all.
    Silence,
}

/// The server; stops with its value.
pub struct NameServer {
    pub address: SocketAddr,
    answering: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl NameServer {
    pub async fn start(answer: Answer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let mut question = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if let Some(reply) = reply(&question[..length], answer) {
                    let _ = socket.send_to(&reply, from).await;
                }
            }
        });
        Self { address, answering }
    }
}

/// RFC 1035 §4: the header, the question again, and perhaps one record.
fn reply(message: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let name_end = 12 + message.get(12..)?.iter().position(|&byte| byte == 0)? + 1;
    let question = message.get(12..name_end + 4)?;
    let is_for_v4 = question[question.len() - 4..question.len() - 2] == [0, 1];
    let (code, address) = match answer {
        Answer::Silence => return None,
        Answer::NoSuchName => (3, None),
        Answer::Address(address) => (0, is_for_v4.then_some(address)),
    };
    let mut reply = message[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    reply.extend(question);
    if let Some(address) = address {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
