//! Which devices trust the CA, as far as the box can know: by their network, or because they have shown it.
//!
//! A device that is not known to trust it never sees a certificate of ours for a site: with HSTS it could not get past
//! the warning. All of this is in memory alone, bounded, and forgotten after some hours; none of it is ever written or
//! logged. An address is what tells devices apart; those behind one address translator are one device.

mod device;
mod devices;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use bulaq_allowlist::HostName;
use ipnet::IpNet;

use self::devices::Devices;
use crate::clock::Clock;

/// How many hosts must have been refused by a device that had passed the probe, each for want of trust in the CA,
/// before the proof counts for nothing: one or two are apps that pin their certificate.
const REFUSALS_AGAINST_PROOF: usize = 3;

/// Whom to trust to trust us, and for how long.
#[derive(Clone, Debug)]
pub struct TrustOptions {
    /// Networks whose devices all have the CA: the managed ones.
    pub networks: Vec<IpNet>,
    /// For how long a device that has passed the probe is remembered.
    pub remembered: Duration,
    /// For how long a host is passed through to a device that has refused our certificate for it.
    pub splice_after_refusal: Duration,
}

impl Default for TrustOptions {
    /// The box itself, 12 hours (a school day and its homework), 6 hours.
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network in its usual form"));
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        Self { networks: loopback.to_vec(), remembered: hours(12), splice_after_refusal: hours(6) }
    }
}

/// How it is known that a device trusts the CA. All that is ever told of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is in one of the configured networks.
    Network,
    /// It has passed the probe.
    Probe,
}

impl Class {
    /// As a log line says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Network => "a device of a trusting network",
            Self::Probe => "a device that had passed the probe",
        }
    }
}

/// How a device stands to our certificate for one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It trusts the CA.
    Trusts(Class),
    /// It may or may not.
    Unknown,
    /// It has refused our certificate for this host, not long ago.
    Refused,
}

/// What a refusal says about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// That it does not know who signed: an alert such as `unknown_ca`.
    OfTheCa,
    /// That it does not take this certificate for this host: as an app that pins another.
    OfTheHost,
    /// The same, but it only left: void as soon as the device does use the certificate.
    ByLeaving,
}

/// What is known of the devices. Shared behind an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Trust {
    options: TrustOptions,
    clock: Clock,
    devices: Devices,
}

impl Trust {
    /// Nothing is known yet but the networks.
    pub fn new(options: TrustOptions, clock: Clock) -> Self {
        Self { options, clock, devices: Devices::default() }
    }

    /// How the device at `peer` stands to our certificate for `host`.
    pub fn standing(&self, peer: IpAddr, host: &HostName) -> Standing {
        let (now, within) = (self.clock.now(), self.options.splice_after_refusal);
        let has_refused = self.devices.look(peer, |device| device.has_refused(host, now, within));
        match self.class_of(peer) {
            _ if has_refused == Some(true) => Standing::Refused,
            Some(class) => Standing::Trusts(class),
            None => Standing::Unknown,
        }
    }

    /// Whether the device at `peer` is known to trust the CA.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.class_of(peer).is_some()
    }

    fn class_of(&self, peer: IpAddr) -> Option<Class> {
        let peer = peer.to_canonical();
        if self.options.networks.iter().any(|network| network.contains(&peer)) {
            return Some(Class::Network);
        }
        let now = self.clock.now();
        let has_proved = self.devices.look(peer, |device| device.has_proved(now, self.options.remembered))?;
        has_proved.then_some(Class::Probe)
    }

    /// The device has passed the probe: a request of its came over TLS under a certificate of the CA. It counts for
    /// nothing right after [`Trust::probe_refused`].
    pub fn proved(&self, peer: IpAddr) {
        self.devices.learn(peer, |device| device.prove(self.clock.now()));
    }

    /// The device has refused the probe, saying that it does not trust the CA. That takes away the proof, which may
    /// have come from another device at this address, and none is taken from it for the next minutes.
    pub fn probe_refused(&self, peer: IpAddr) {
        self.devices.learn(peer, |device| device.refuse_probe(self.clock.now()));
    }

    /// The device uses our certificate for the host: a request of its came under it. What seemed to be a refusal by
    /// leaving was the close of a connection too many.
    pub fn used(&self, peer: IpAddr, host: &HostName) {
        self.devices.learn(peer, |device| device.use_host(host, self.clock.now()));
    }

    /// Our certificate for the host is shown to the device from now on, until [`Trust::has_told`].
    pub fn shown(&self, peer: IpAddr, host: &HostName) {
        self.devices.learn(peer, |device| device.show(host));
    }

    /// On one connection the device has gone on, refused, or left.
    pub fn has_told(&self, peer: IpAddr, host: &HostName) {
        self.devices.look(peer, |device| device.has_told(host)); // it may have been forgotten since
    }

    /// On how many connections the device has still to say what it thinks of our certificate for the host.
    pub fn shown_on(&self, peer: IpAddr, host: &HostName) -> usize {
        self.devices.look(peer, |device| device.shown_on(host)).unwrap_or(0)
    }

    /// Whether the device has used our certificate for the host within the last `within`.
    pub fn has_used(&self, peer: IpAddr, host: &HostName, within: Duration) -> bool {
        let now = self.clock.now();
        self.devices.look(peer, |device| device.has_used(host, now, within)).unwrap_or(false)
    }

    /// The device has refused our certificate for the host, which is passed through to it from now on. Tells whether
    /// that also took away the proof that it trusts the CA.
    pub fn refused(&self, peer: IpAddr, host: &HostName, refusal: Refusal) -> bool {
        let (now, within) = (self.clock.now(), self.options.splice_after_refusal);
        self.devices.learn(peer, |device| {
            device.refuse(host, refusal, now, within);
            let had_proved = device.has_proved(now, self.options.remembered);
            had_proved && device.refusals_of_the_ca(now, within) >= REFUSALS_AGAINST_PROOF && device.withdraw_proof()
        })
    }
}
