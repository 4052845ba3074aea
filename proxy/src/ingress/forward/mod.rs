//! What belongs to the forward door alone: whose clients it serves, and where they find it.

mod clients;

use std::net::SocketAddr;

pub use self::clients::Clients;

/// The forward door for a client that came to the address `local` of ours: one at that very address, or one at all
/// addresses of the machine. None when clients that came there cannot reach any.
pub(super) fn door_beside(doors: &[SocketAddr], local: SocketAddr) -> Option<SocketAddr> {
    let ip = local.ip().to_canonical();
    let is_here = |door: &&SocketAddr| door.ip().to_canonical() == ip;
    // Where a door is at all IPv6 addresses, Linux lets IPv4 in by it too.
    let is_everywhere =
        |door: &&SocketAddr| door.ip().is_unspecified() && (door.is_ipv6() || door.is_ipv4() == ip.is_ipv4());
    let door = doors.iter().find(is_here).or_else(|| doors.iter().find(is_everywhere))?;
    Some(SocketAddr::new(ip, door.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_is_told_at_the_address_that_the_client_knows() {
        for (doors, local, expected) in [
            (&["0.0.0.0:3128"][..], "192.168.10.5:80", Some("192.168.10.5:3128")),
            (&["[::]:3128"], "192.168.10.5:80", Some("192.168.10.5:3128")),
            (&["[::]:3128"], "[::ffff:192.168.10.5]:80", Some("192.168.10.5:3128")),
            (&["[::]:3128"], "[fd00::5]:80", Some("[fd00::5]:3128")),
            (&["0.0.0.0:3128"], "[fd00::5]:80", None),
            (&["0.0.0.0:3128", "192.168.10.5:8080"], "192.168.10.5:80", Some("192.168.10.5:8080")),
            (&["127.0.0.1:3128"], "192.168.10.5:80", None),
            (&["127.0.0.1:3128"], "127.0.0.1:80", Some("127.0.0.1:3128")),
            (&[], "192.168.10.5:80", None),
        ] {
            let doors: Vec<SocketAddr> = doors.iter().map(|door| door.parse().unwrap()).collect();
            let told = door_beside(&doors, local.parse().unwrap()).map(|door| door.to_string());
            assert_eq!(told.as_deref(), expected, "{doors:?} {local}");
        }
    }
}
