//! What is known of one device.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::HostName;

use super::Refusal;

/// Most hosts of each kind that are remembered of one device; the oldest goes first. Lists have some dozens of
/// `terminate` hosts, and a device that refuses them all does not trust the CA: then its proof goes.
const HOSTS_MAX: usize = 32;

/// For how long a device that has refused the probe cannot pass it. An address that came from another device, or that
/// several share, shows both within minutes; and who has just been given the CA need not wait for long.
const PROBE_REFUSED_FOR: Duration = Duration::from_secs(10 * 60);

/// When the device has passed the probe, which hosts it has refused, which it uses, and which it is being shown.
#[derive(Debug, Default)]
pub(super) struct Device {
    proved_at: Option<SystemTime>,
    probe_refused_at: Option<SystemTime>,
    refused: VecDeque<(HostName, Refusal, SystemTime)>,
    used: VecDeque<(HostName, SystemTime)>,
    /// On how many connections our certificate for a host has been shown and nothing said to it yet. No more than the
    /// device has connections.
    shown: Vec<(HostName, usize)>,
}

/// Whether `at` lies less than `within` before `now`. A clock that was set back makes what lies ahead of it void.
fn is_recent(at: SystemTime, now: SystemTime, within: Duration) -> bool {
    now.duration_since(at).is_ok_and(|since| since < within)
}

impl Device {
    pub(super) fn prove(&mut self, now: SystemTime) {
        if self.probe_refused_at.is_some_and(|at| is_recent(at, now, PROBE_REFUSED_FOR)) {
            return;
        }
        self.proved_at = Some(now);
        // It may have been given the CA just now: only what it refused for another reason stays refused.
        self.refused.retain(|(_, refusal, _)| *refusal != Refusal::OfTheCa);
    }

    pub(super) fn has_proved(&self, now: SystemTime, within: Duration) -> bool {
        self.proved_at.is_some_and(|at| is_recent(at, now, within))
    }

    pub(super) fn refuse_probe(&mut self, now: SystemTime) {
        self.proved_at = None;
        self.probe_refused_at = Some(now);
    }

    /// Tells whether there was a proof.
    pub(super) fn withdraw_proof(&mut self) -> bool {
        self.proved_at.take().is_some()
    }

    pub(super) fn refuse(&mut self, host: &HostName, refusal: Refusal, now: SystemTime, within: Duration) {
        self.refused.retain(|(known, _, at)| known != host && is_recent(*at, now, within));
        self.used.retain(|(known, _)| known != host);
        if self.refused.len() == HOSTS_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back((host.clone(), refusal, now));
    }

    pub(super) fn has_refused(&self, host: &HostName, now: SystemTime, within: Duration) -> bool {
        self.refused.iter().any(|(known, _, at)| known == host && is_recent(*at, now, within))
    }

    /// How many hosts it has refused because it does not know the CA.
    pub(super) fn refusals_of_the_ca(&self, now: SystemTime, within: Duration) -> usize {
        let counts = |(_, refusal, at): &&(HostName, Refusal, SystemTime)| {
            *refusal == Refusal::OfTheCa && is_recent(*at, now, within)
        };
        self.refused.iter().filter(counts).count()
    }

    pub(super) fn use_host(&mut self, host: &HostName, now: SystemTime) {
        self.refused.retain(|(known, refusal, _)| known != host || *refusal != Refusal::ByLeaving);
        self.used.retain(|(known, _)| known != host);
        if self.used.len() == HOSTS_MAX {
            self.used.pop_front();
        }
        self.used.push_back((host.clone(), now));
    }

    pub(super) fn has_used(&self, host: &HostName, now: SystemTime, within: Duration) -> bool {
        self.used.iter().any(|(known, at)| known == host && is_recent(*at, now, within))
    }

    pub(super) fn show(&mut self, host: &HostName) {
        match self.shown.iter_mut().find(|(known, _)| known == host) {
            Some((_, count)) => *count += 1,
            None => self.shown.push((host.clone(), 1)),
        }
    }

    /// One of those connections has told. The device may have been forgotten and met again since.
    pub(super) fn has_told(&mut self, host: &HostName) {
        let Some(at) = self.shown.iter().position(|(known, _)| known == host) else { return };
        self.shown[at].1 -= 1;
        if self.shown[at].1 == 0 {
            self.shown.swap_remove(at);
        }
    }

    pub(super) fn shown_on(&self, host: &HostName) -> usize {
        self.shown.iter().find(|(known, _)| known == host).map_or(0, |(_, count)| *count)
    }
}
