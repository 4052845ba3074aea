//! How many connections there may be, in all and for one client. Known in memory alone, while they last.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out places.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    clients: Arc<Clients>,
}

#[derive(Debug)]
struct Clients {
    each_max: u64,
    connections: Mutex<HashMap<IpAddr, u64>>,
}

/// A place among all connections, not yet given to a client.
#[derive(Debug)]
pub(super) struct Free {
    _permit: OwnedSemaphorePermit,
}

/// A client's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _free: Free,
    client: IpAddr,
    clients: Arc<Clients>,
}

impl Places {
    pub(super) fn new(all_max: u64, each_max: u64) -> Self {
        let all_max = usize::try_from(all_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let clients = Arc::new(Clients { each_max, connections: Mutex::default() });
        Self { free: Arc::new(Semaphore::new(all_max)), clients }
    }

    /// Waits until there is room for one more.
    pub(super) async fn free(&self) -> Free {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        Free { _permit: permit.expect("this semaphore is never closed") }
    }

    /// Gives the place to a client; None when it has as many as one may have.
    pub(super) fn give(&self, free: Free, peer: IpAddr) -> Option<Place> {
        let client = one_client(peer);
        let mut connections = self.clients.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(client).or_insert(0);
        if *count >= self.clients.each_max {
            return None;
        }
        *count += 1;
        Some(Place { _free: free, client, clients: Arc::clone(&self.clients) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.clients.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, of which one machine may use every address.
pub(super) fn one_client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn ask(places: &Places, peer: &str) -> Option<Place> {
        places.give(places.free().now_or_never()?, peer.parse().unwrap())
    }

    #[test]
    fn a_client_has_its_share_and_all_have_theirs() {
        let places = Places::new(3, 2);
        let first = ask(&places, "192.0.2.1").unwrap();
        let second = ask(&places, "::ffff:192.0.2.1").unwrap();
        assert!(ask(&places, "192.0.2.1").is_none(), "its share");
        drop(first);
        let third = ask(&places, "192.0.2.1").unwrap();
        let fourth = ask(&places, "192.0.2.2").unwrap();
        assert!(ask(&places, "192.0.2.3").is_none(), "everybody's share");
        drop((second, third, fourth));
        assert!(places.clients.connections.lock().unwrap().is_empty(), "nobody is remembered");
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let places = Places::new(9, 1);
        let _first = ask(&places, "2001:db8::1").unwrap();
        assert!(ask(&places, "2001:db8::ffff:2").is_none());
        assert!(ask(&places, "2001:db8:0:1::1").is_some());
    }
}
