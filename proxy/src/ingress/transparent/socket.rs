//! Sockets to which the kernel may hand connections of others, and where those were going.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Mode;
use crate::ingress::listener::BACKLOG;

/// Binds one address of a door. In tproxy mode the socket may answer in the name of any address, which needs
/// `CAP_NET_ADMIN`: `PermissionDenied` without it.
pub(in crate::ingress) fn bind(address: SocketAddr, mode: Mode) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The rules name a door of each family, and one at `[::]` must not take the place of that at `0.0.0.0`.
        socket.set_only_v6(true)?;
    }
    if mode == Mode::Tproxy {
        if address.is_ipv4() {
            socket.set_ip_transparent_v4(true)?;
        } else {
            socket.set_ip_transparent_v6(true)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Where the connection was going; none when no rule handed it over.
pub(super) fn destination(stream: &TcpStream, mode: Mode) -> io::Result<Option<SocketAddr>> {
    let local = stream.local_addr()?;
    let original = match mode {
        Mode::Tproxy => Some(local),
        Mode::Redirect => {
            let socket = SockRef::from(stream);
            let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
            // Without a rule the kernel either knows nothing of the connection or tells the door's own address.
            original.ok().and_then(|address| address.as_socket()).filter(|&original| original != local)
        }
    };
    Ok(original.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port())))
}
