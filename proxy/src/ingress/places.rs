//! How many connections there may be, in all and for one client. Known in memory alone, while they last.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out places.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    clients: PerClient,
}

/// How many of something each client may hold at one time.
#[derive(Debug)]
pub(super) struct PerClient {
    counts: Vec<Arc<Counts>>,
}

#[derive(Debug)]
struct Counts {
    each_max: u64,
    /// What counts as one.
    one: fn(IpAddr) -> IpAddr,
    held: Mutex<HashMap<IpAddr, u64>>,
}

/// One of the things that a client holds; free again when dropped.
#[derive(Debug)]
pub(super) struct Held {
    _counted: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    one: IpAddr,
    counts: Arc<Counts>,
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
    _held: Held,
}

impl Places {
    pub(super) fn new(all_max: u64, clients: PerClient) -> Self {
        let all_max = usize::try_from(all_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all_max)), clients }
    }

    /// Waits until there is room for one more.
    pub(super) async fn free(&self) -> Free {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        Free { _permit: permit.expect("this semaphore is never closed") }
    }

    /// Gives the place to a client; None when it has as many as one may have.
    pub(super) fn give(&self, free: Free, peer: IpAddr) -> Option<Place> {
        let held = self.clients.hold(peer)?;
        Some(Place { _free: free, _held: held })
    }
}

impl PerClient {
    /// So many for each client, as [`one_client`] has it.
    pub(super) fn new(each_max: u64) -> Self {
        Self { counts: vec![Counts::new(each_max, one_client)] }
    }

    /// So many for each address, and no more than `network_max` for all of an IPv6 /64: there a school's whole network
    /// is, and one machine may use every address of it.
    pub(super) fn by_address(each_max: u64, network_max: u64) -> Self {
        Self {
            counts: vec![
                Counts::new(each_max, |peer| peer.to_canonical()),
                Counts::new(network_max.max(each_max), one_client),
            ],
        }
    }

    /// Gives one to a client; None when it has as many as one may have.
    pub(super) fn hold(&self, peer: IpAddr) -> Option<Held> {
        let counted = self.counts.iter().map(|counts| counts.count(peer)).collect::<Option<_>>()?;
        Some(Held { _counted: counted })
    }
}

impl Counts {
    fn new(each_max: u64, one: fn(IpAddr) -> IpAddr) -> Arc<Self> {
        Arc::new(Self { each_max, one, held: Mutex::default() })
    }

    fn count(self: &Arc<Self>, peer: IpAddr) -> Option<Counted> {
        let one = (self.one)(peer);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(one).or_insert(0);
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        Some(Counted { one, counts: Arc::clone(self) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut held = self.counts.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.one) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.one);
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
        let places = Places::new(3, PerClient::new(2));
        let first = ask(&places, "192.0.2.1").unwrap();
        let second = ask(&places, "::ffff:192.0.2.1").unwrap();
        assert!(ask(&places, "192.0.2.1").is_none(), "its share");
        drop(first);
        let third = ask(&places, "192.0.2.1").unwrap();
        let fourth = ask(&places, "192.0.2.2").unwrap();
        assert!(ask(&places, "192.0.2.3").is_none(), "everybody's share");
        drop((second, third, fourth));
        assert!(places.clients.counts[0].held.lock().unwrap().is_empty(), "nobody is remembered");
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let places = Places::new(9, PerClient::new(1));
        let _first = ask(&places, "2001:db8::1").unwrap();
        assert!(ask(&places, "2001:db8::ffff:2").is_none());
        assert!(ask(&places, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn where_addresses_count_a_network_has_a_larger_share() {
        let clients = PerClient::by_address(2, 3);
        let hold = |peer: &str| clients.hold(peer.parse().unwrap());
        let held = [hold("2001:db8::1"), hold("2001:db8::1"), hold("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(hold("2001:db8::1").is_none(), "its share");
        assert!(hold("2001:db8::2").is_none(), "its network's");
        assert!(hold("2001:db8:0:1::1").is_some(), "another network");
        drop(held);
        assert!(clients.counts.iter().all(|counts| counts.held.lock().unwrap().is_empty()), "nobody is remembered");
    }
}
