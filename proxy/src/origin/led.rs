//! Where names led in the last hours: what a connection that a router hands over is compared with. Never where one goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bulaq_allowlist::HostName;
use moka::sync::Cache;

/// How long it is remembered where a name led. Large sites give out other addresses every few minutes and the same ones
/// again within hours.
const LED_FOR: Duration = Duration::from_secs(6 * 3600);

/// Names of which it is remembered; a suffix rule lets clients make up names.
const NAMES_MAX: u64 = 4096;

/// Addresses of one name that are remembered, the latest first.
const ADDRESSES_MAX: usize = 64;

/// The addresses of each name, each with when it was last found. Nothing grows old while no name can be looked up at
/// all, as when the link is down, nor what belongs to a name while that one cannot be.
pub(super) struct Led {
    names: Cache<HostName, Arc<[(IpAddr, SystemTime)]>>,
    /// When a name server last told where any name leads: what age is measured to.
    answered_at: Mutex<SystemTime>,
}

impl Led {
    pub(super) fn new(now: SystemTime) -> Self {
        Self { names: Cache::new(NAMES_MAX), answered_at: Mutex::new(now) }
    }

    /// A name server has answered.
    pub(super) fn answered(&self, now: SystemTime) {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The name leads to these addresses now.
    pub(super) fn found(&self, host: &HostName, addresses: &[IpAddr], now: SystemTime) {
        let mut led: Vec<_> = addresses.iter().map(|address| (*address, now)).collect();
        led.extend(self.known(host).into_iter().filter(|(address, _)| !addresses.contains(address)));
        led.truncate(ADDRESSES_MAX);
        self.names.insert(host.clone(), led.into());
    }

    /// It cannot be found out now where the name leads: it is taken to lead where it did.
    pub(super) fn failed(&self, host: &HostName, now: SystemTime) {
        let addresses: Vec<IpAddr> = self.known(host).into_iter().map(|(address, _)| address).collect();
        if !addresses.is_empty() {
            self.found(host, &addresses, now);
        }
    }

    /// Whether the name led to the address.
    pub(super) fn has(&self, host: &HostName, address: IpAddr) -> bool {
        self.known(host).iter().any(|(known, _)| *known == address)
    }

    /// All names with their addresses.
    pub(super) fn all(&self) -> impl Iterator<Item = (Arc<HostName>, Arc<[IpAddr]>)> {
        let names = self.names.iter();
        names.map(|(host, led)| (host, self.recent(&led).map(|(address, _)| address).collect()))
    }

    fn known(&self, host: &HostName) -> Vec<(IpAddr, SystemTime)> {
        self.names.get(host).map(|led| self.recent(&led).collect()).unwrap_or_default()
    }

    /// What lies ahead, because the clock was set back, counts as recent.
    fn recent(&self, led: &[(IpAddr, SystemTime)]) -> impl Iterator<Item = (IpAddr, SystemTime)> {
        let answered_at = *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = move |at: SystemTime| answered_at.duration_since(at).is_ok_and(|age| age >= LED_FOR);
        led.iter().copied().filter(move |(_, at)| !is_old(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn an_address_is_forgotten_when_other_answers_have_come_for_hours() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000);
        let led = Led::new(start);
        let [stable, moving, ill] = ["a.kz", "b.kz", "c.kz"].map(|name| name.parse::<HostName>().unwrap());
        let [first, second] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().unwrap());
        for host in [&stable, &moving, &ill] {
            led.found(host, &[first], start);
        }
        let has = |host| [led.has(host, first), led.has(host, second)];
        for hour in 1..=7 {
            let now = start + hour * HOUR;
            led.found(&stable, &[first], now);
            led.found(&moving, &[second], now);
            led.failed(&ill, now);
            led.answered(now);
            assert_eq!(has(&moving), [hour < 6, true], "{hour}");
        }
        assert_eq!((has(&stable), has(&ill)), ([true, false], [true, false]), "found again, or could not be asked for");
        led.failed(&moving, start + 7 * HOUR);
        assert_eq!(has(&moving), [false, true], "what was forgotten stays so");
        led.answered(start + 14 * HOUR);
        assert!(led.all().all(|(_, addresses)| addresses.is_empty()), "nobody asked for these any more");
    }

    #[test]
    fn memory_is_bounded() {
        let now = SystemTime::UNIX_EPOCH;
        let (led, host) = (Led::new(now), "a.kz".parse().unwrap());
        for last in 0..=255 {
            led.found(&host, &[IpAddr::from([192, 0, 2, last])], now);
        }
        let (_, addresses) = led.all().next().unwrap();
        assert_eq!((addresses.len(), addresses[0]), (ADDRESSES_MAX, IpAddr::from([192, 0, 2, 255])));
    }
}
