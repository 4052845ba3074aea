//! The resolver's sockets: at each address one for UDP and one for TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::Transport;
use super::{Resolver, Step};
use crate::ingress::places::{PerClient, Place, Places};
use crate::ingress::{DoorKind, IngressError, explain, listener, transparent::Mode};

/// What a question may have, in bytes: far more than one with every option. What is longer is cut, and so is malformed.
const QUESTION_BYTES_MAX: usize = 4096;

/// Connections at one time; each has one question in work.
const CONNECTIONS_MAX: u64 = 256;

/// Connections of one client at one time.
const CONNECTIONS_PER_CLIENT_MAX: u64 = 16;

/// Connections of one IPv6 network at one time: half of all are for others, whatever one machine does with its addresses.
const CONNECTIONS_PER_NETWORK_MAX: u64 = CONNECTIONS_MAX / 2;

/// How long a connection may be without a question, and a question or an answer under way (RFC 7766 §6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// Questions by one connection, one after the other; then the client opens another.
const QUESTIONS_MAX: usize = 1000;

/// How long reading pauses when the system has no room.
const PAUSE: Duration = Duration::from_millis(100);

/// How often clients that have been quiet are forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// Sockets that are bound; nobody answers yet.
#[derive(Debug)]
pub struct BoundResolver {
    sockets: Vec<(UdpSocket, TcpListener)>,
}

impl BoundResolver {
    /// Binds each address for UDP and TCP. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`IngressError`] names the address and says what to do.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, IngressError> {
        let mut sockets = Vec::new();
        for &address in addresses {
            let failed = |source| explain(address, DoorKind::Http, Mode::default(), source);
            let tcp = listener::bind(address).map_err(failed)?;
            // The same port where the system chose it.
            let address = tcp.local_addr().map_err(failed)?;
            let udp = std::net::UdpSocket::bind(address).map_err(failed)?;
            udp.set_nonblocking(true).map_err(failed)?;
            sockets.push((UdpSocket::from_std(udp).map_err(failed)?, tcp));
        }
        Ok(Self { sockets })
    }

    /// Where it answers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|(udp, _)| udp.local_addr().ok()).collect()
    }

    /// Answers until `stop`. While the box drains it goes on, so that devices are told the way around it.
    pub async fn serve(self, resolver: Arc<Resolver>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let places = Arc::new(places());
        for (udp, tcp) in self.sockets {
            let (resolver_udp, resolver_tcp) = (Arc::clone(&resolver), Arc::clone(&resolver));
            let (stop_udp, stop_tcp) = (stop.clone(), stop.clone());
            let tcp = accept(resolver_tcp, tcp, Arc::clone(&places), stop.clone());
            tasks.spawn(async move { stop_udp.run_until_cancelled(answer_packets(resolver_udp, udp)).await });
            tasks.spawn(async move { stop_tcp.run_until_cancelled(tcp).await });
        }
        tasks.spawn({
            let stop = stop.clone();
            async move {
                let forgetting = async {
                    let mut ticks = interval(FORGET);
                    loop {
                        ticks.tick().await;
                        resolver.rate.forget(Instant::now());
                    }
                };
                stop.run_until_cancelled(forgetting).await
            }
        });
        tasks.close();
        tasks.wait().await;
    }
}

// ---- UDP ----

async fn answer_packets(resolver: Arc<Resolver>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut packet = vec![0; QUESTION_BYTES_MAX];
    loop {
        let (length, peer) = match socket.recv_from(&mut packet).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "no question can be read at the moment");
                sleep(PAUSE).await;
                continue;
            }
        };
        match resolver.at_once(&packet[..length], Transport::Udp, peer.ip().to_canonical()) {
            // What the kernel has no room for is lost as on any network; the device asks again.
            Step::Reply(reply) => drop(socket.try_send_to(&reply, peer)),
            Step::Nothing | Step::Close => {}
            Step::Ask(waiting) => {
                let (resolver, socket) = (Arc::clone(&resolver), Arc::clone(&socket));
                tokio::spawn(async move {
                    let reply = resolver.ask(waiting).await;
                    drop(socket.try_send_to(&reply, peer)); // as above
                });
            }
        }
    }
}

// ---- TCP ----

fn places() -> Places {
    Places::new(CONNECTIONS_MAX, PerClient::by_address(CONNECTIONS_PER_CLIENT_MAX, CONNECTIONS_PER_NETWORK_MAX))
}

async fn accept(resolver: Arc<Resolver>, listener: TcpListener, places: Arc<Places>, stop: CancellationToken) {
    loop {
        let free = places.free().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no connection can be taken at the moment");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.give(free, peer.ip()) else { continue };
        let (resolver, stop) = (Arc::clone(&resolver), stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(answer_connection(resolver, stream, peer, place)).await });
    }
}

/// Answers one question after the other. A client may send many at once; they wait in the kernel.
async fn answer_connection(resolver: Arc<Resolver>, mut stream: TcpStream, peer: SocketAddr, _place: Place) {
    if stream.set_nodelay(true).is_err() {
        return; // the client has left already
    }
    let peer = peer.ip().to_canonical();
    let mut question = vec![0; QUESTION_BYTES_MAX];
    for _ in 0..QUESTIONS_MAX {
        let Ok(Some(length)) = timeout(IDLE, read(&mut stream, &mut question)).await else { return };
        let reply = match resolver.at_once(&question[..length], Transport::Tcp, peer) {
            Step::Reply(reply) => reply,
            Step::Nothing | Step::Close => return,
            Step::Ask(waiting) => resolver.ask(waiting).await,
        };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        if !matches!(timeout(IDLE, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Reads one message; none when the client has left, or sends more than a question has.
async fn read(stream: &mut TcpStream, into: &mut [u8]) -> Option<usize> {
    let length = usize::from(stream.read_u16().await.ok()?);
    let into = into.get_mut(..length)?;
    stream.read_exact(into).await.ok()?;
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn devices_of_one_ipv6_network_have_connections_each() {
        let places = places();
        let mut held = Vec::new();
        for n in 0..=CONNECTIONS_PER_NETWORK_MAX {
            let device = u16::try_from(n / CONNECTIONS_PER_CLIENT_MAX).unwrap();
            let peer = [0xfd00, 0, 0, 0, 0, 0, 0, device].into();
            let place = places.give(places.free().await, peer);
            assert_eq!(place.is_some(), n < CONNECTIONS_PER_NETWORK_MAX, "connection {n}");
            held.extend(place);
        }
        let other = [0xfd00, 0, 0, 1, 0, 0, 0, 1].into();
        assert!(places.give(places.free().await, other).is_some(), "another network");
    }
}
