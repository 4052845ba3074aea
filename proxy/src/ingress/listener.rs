//! Sockets that listen, and what becomes of each connection that they take.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{EnterGuard, Handle};
use tokio::time::sleep;

use super::connection::{UNSENT_BYTES_MAX, limit_unsent};
use super::doors::Outcome;
use super::places::Place;
use super::tunnel::Dial;
use super::{Answers, Behind, Caller, DoorKind, connection, tls, transparent};
use crate::request::{Arrival, Way};

/// Connections that the kernel holds until we take them: a school's first minute of a lesson at once.
pub(super) const BACKLOG: i32 = 1024;

/// How long accepting pauses when the system has no room (most often: no more open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds one address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the old connections' end.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG.unsigned_abs())
}

/// The same socket for each thread: all wait at it, and who is free takes the next connection.
pub(super) fn share(listener: TcpListener, threads: &[Handle]) -> io::Result<Vec<(TcpListener, &Handle)>> {
    let listener = listener.into_std()?;
    let for_thread = |thread| {
        let _inside: EnterGuard<'_> = Handle::enter(thread);
        Ok((TcpListener::from_std(listener.try_clone()?)?, thread))
    };
    threads.iter().map(for_thread).collect()
}

/// Takes connections until the box is shut down.
pub(super) async fn accept<S, D>(behind: Arc<Behind<S, D>>, listener: TcpListener, kind: DoorKind)
where
    S: Answers,
    D: Dial,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = behind.shutdown.draining() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_of_one_connection(&error) {
                    tracing::warn!(error = %error, "no connection can be taken at the moment");
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        if kind == DoorKind::Forward && !behind.clients.has(peer.ip()) {
            behind.doors.count(Outcome::NotAClient);
            turn_off(stream);
            continue;
        }
        // One connection may wait here for a place, the next ones wait in the kernel.
        let free = tokio::select! {
            free = behind.places.free() => free,
            () = behind.shutdown.draining() => return,
        };
        let Some(place) = behind.places.give(free, peer.ip()) else {
            behind.doors.count(Outcome::TooMany);
            tracing::debug!("a client has too many connections");
            continue;
        };
        behind.tasks.spawn(serve(Arc::clone(&behind), stream, peer, kind, Arc::new(place)));
    }
}

/// Resets a connection from outside the clients' networks; nothing of it was read.
fn turn_off(stream: TcpStream) {
    // A linger of zero makes the close a reset at once, whether or not the client has sent something.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    tracing::debug!("the forward door reset a connection from outside `clients`");
}

/// Whether the error is about a client that left while it was in the queue.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve<S, D>(behind: Arc<Behind<S, D>>, stream: TcpStream, peer: SocketAddr, kind: DoorKind, place: Arc<Place>)
where
    S: Answers,
    D: Dial,
{
    if prepare(&stream).is_err() {
        return; // the client has left already
    }
    let Ok(local) = stream.local_addr() else { return };
    let original = match transparent::original(&stream, kind, behind.router.mode) {
        Ok(original) => original,
        Err(stray) => {
            behind.doors.count(Outcome::from(stray));
            tracing::debug!(reason = %stray, "a connection at a router's door is closed");
            return;
        }
    };
    let peer = peer.ip().to_canonical();
    let arrival = Arrival {
        way: if kind == DoorKind::Forward { Way::Forward } else { Way::Reverse },
        is_secure: false,
        local_port: original.unwrap_or(local).port(),
        original,
        forward_door: behind.forward_door(local, peer).filter(|_| original.is_none()),
        server_name: None,
        may_see_status: behind.operators.iter().any(|network| network.contains(&peer)),
        may_purge: behind.purgers.iter().any(|network| network.contains(&peer)),
    };
    let (cut, caller) = (behind.cut.clone(), Caller { peer, _place: place });
    let serving = async {
        match kind {
            DoorKind::Http | DoorKind::Forward | DoorKind::TransparentHttp => {
                Box::pin(connection::serve(behind, stream, connection::by_itself, arrival, caller)).await;
            }
            DoorKind::Https | DoorKind::TransparentHttps => Box::pin(tls::serve(behind, stream, arrival, caller)).await,
        }
    };
    tokio::select! {
        () = serving => {}
        () = cut.cancelled() => {}
    }
}

/// Sets how answers leave by this connection.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Answers are written whole; Nagle would only hold back their last segment.
    stream.set_nodelay(true)?;
    limit_unsent(stream, UNSENT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_takes_no_more_than_its_share_of_an_answer() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
    }
}
