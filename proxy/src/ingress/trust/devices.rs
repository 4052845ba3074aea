//! All devices that something is known of: how many there may be, and who is forgotten for whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::device::Device;
use crate::ingress::places::one_client;

/// Most devices that something is known of; the one that was met least recently goes first. A large school has 2,000.
pub(super) const DEVICES_MAX: usize = 4_096;

/// Most of them in one IPv6 /64, all of whose addresses one machine can use: so it makes the box forget devices of its
/// own network alone. A large room of laptops, each with the handful of addresses that IPv6 changes through in a day.
pub(super) const DEVICES_OF_ONE_CLIENT_MAX: usize = 1_024;

/// The devices by their addresses. Each is looked at for some microseconds, under one lock.
#[derive(Debug, Default)]
pub(super) struct Devices(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    devices: HashMap<IpAddr, Met>,
    /// How often any of them was met.
    meetings: u64,
}

#[derive(Debug, Default)]
struct Met {
    device: Device,
    /// Which of all the meetings was its last.
    last: u64,
}

impl Devices {
    /// Looks at the device, if it is known.
    pub(super) fn look<T>(&self, peer: IpAddr, at: impl FnOnce(&mut Device) -> T) -> Option<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.meet(peer.to_canonical()).map(at)
    }

    /// Learns something of the device, which may be new.
    pub(super) fn learn<T>(&self, peer: IpAddr, of: impl FnOnce(&mut Device) -> T) -> T {
        let peer = peer.to_canonical();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.devices.contains_key(&peer) {
            known.make_room_for(peer);
            known.devices.insert(peer, Met::default());
        }
        of(known.meet(peer).expect("it was there or has been put there"))
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().devices.len()
    }
}

impl Known {
    fn meet(&mut self, peer: IpAddr) -> Option<&mut Device> {
        self.meetings += 1;
        let met = self.devices.get_mut(&peer)?;
        met.last = self.meetings;
        Some(&mut met.device)
    }

    /// Looks at all of them, which a new device is worth: it has come with a TLS handshake.
    fn make_room_for(&mut self, peer: IpAddr) {
        let client = one_client(peer);
        let is_neighbour = |known: &IpAddr| one_client(*known) == client;
        if self.devices.keys().filter(|known| is_neighbour(known)).count() >= DEVICES_OF_ONE_CLIENT_MAX {
            self.forget_one(is_neighbour);
        } else if self.devices.len() >= DEVICES_MAX {
            self.forget_one(|_| true);
        }
    }

    fn forget_one(&mut self, among: impl Fn(&IpAddr) -> bool) {
        let candidates = self.devices.iter().filter(|(peer, _)| among(peer));
        if let Some(oldest) = candidates.min_by_key(|(_, met)| met.last).map(|(peer, _)| *peer) {
            self.devices.remove(&oldest);
        }
    }
}
