use std::time::{SystemTime, UNIX_EPOCH};

use super::devices::{DEVICES_MAX, DEVICES_OF_ONE_CLIENT_MAX};
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn morning() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_760_000_000)
}

fn trust() -> (Trust, Clock) {
    let clock = Clock::held(morning());
    let networks = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
    (Trust::new(TrustOptions { networks, ..TrustOptions::default() }, clock.clone()), clock)
}

fn peer(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

#[test]
fn a_device_is_trusted_by_its_network_or_by_the_probe_for_some_hours() {
    let (trust, clock) = trust();
    for (address, is_trusted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("10.2.0.1", false),
        ("2001:db8:1::7", true),
        ("2001:db8:2::7", false),
        ("127.0.0.1", false),
    ] {
        assert_eq!(trust.trusts(peer(address)), is_trusted, "{address}");
    }
    let phone = peer("10.2.0.1");
    assert_eq!(trust.standing(phone, &host("a.kz")), Standing::Unknown);
    trust.proved(phone);
    assert_eq!(trust.standing(phone, &host("a.kz")), Standing::Trusts(Class::Probe));
    assert!(trust.trusts(peer("::ffff:10.2.0.1")), "the same device");
    assert!(!trust.trusts(peer("10.2.0.2")), "another one");
    clock.advance(12 * HOUR - Duration::from_secs(1));
    assert!(trust.trusts(phone));
    clock.advance(Duration::from_secs(1));
    assert!(!trust.trusts(phone));
}

#[test]
fn neighbours_in_one_ipv6_network_are_told_apart() {
    let (trust, _) = trust();
    trust.proved(peer("2001:db8:2::7"));
    assert!(!trust.trusts(peer("2001:db8:2::8")));
}

#[test]
fn a_refused_host_is_passed_through_to_that_device_for_some_hours() {
    let (trust, clock) = trust();
    let (laptop, pinned) = (peer("10.1.0.5"), host("pinned.kz"));
    assert!(!trust.refused(laptop, &pinned, Refusal::OfTheHost), "there was no proof to take away");
    assert_eq!(trust.standing(laptop, &pinned), Standing::Refused);
    assert_eq!(trust.standing(laptop, &host("a.kz")), Standing::Trusts(Class::Network), "another host");
    assert_eq!(trust.standing(peer("10.1.0.6"), &pinned), Standing::Trusts(Class::Network), "another device");
    clock.advance(6 * HOUR);
    assert_eq!(trust.standing(laptop, &pinned), Standing::Trusts(Class::Network), "it may have changed");
}

#[test]
fn a_proof_falls_when_several_hosts_are_refused_for_want_of_trust() {
    let (trust, _) = trust();
    let phone = peer("10.2.0.1");
    for refusal in [Refusal::OfTheHost, Refusal::ByLeaving, Refusal::OfTheCa] {
        trust.proved(phone);
        let told: Vec<_> =
            ["a.kz", "b.kz", "b.kz", "c.kz", "d.kz"].map(|name| trust.refused(phone, &host(name), refusal)).into();
        let falls = refusal == Refusal::OfTheCa;
        assert_eq!(told, [false, false, false, falls, false], "{refusal:?}: three hosts, and it is told once");
        assert_eq!(trust.trusts(phone), !falls);
    }
    trust.proved(phone);
    assert_eq!(trust.standing(phone, &host("a.kz")), Standing::Trusts(Class::Probe), "the CA was given to it");
}

#[test]
fn a_refused_probe_takes_the_proof_away_and_none_is_taken_for_some_minutes() {
    let (trust, clock) = trust();
    let (address, laptop) = (peer("10.2.0.1"), peer("10.1.0.5"));
    trust.proved(address);
    trust.probe_refused(peer("::ffff:10.2.0.1"));
    assert!(!trust.trusts(address), "a phone has got the address of a laptop");
    for (minutes, is_trusted) in [(0, false), (9, false), (1, true)] {
        clock.advance(Duration::from_secs(minutes * 60));
        trust.proved(address);
        assert_eq!(trust.trusts(address), is_trusted, "{minutes}");
    }
    trust.probe_refused(laptop);
    assert!(trust.trusts(laptop), "a network counts by itself");
}

#[test]
fn a_clock_that_is_set_back_makes_no_proof_last() {
    let (trust, clock) = trust();
    trust.proved(peer("10.2.0.1"));
    clock.set(morning() - 1_000 * HOUR);
    assert!(!trust.trusts(peer("10.2.0.1")));
}

#[test]
fn what_is_used_is_known_until_it_is_refused() {
    let (trust, clock) = trust();
    let (laptop, used) = (peer("10.1.0.5"), host("a.kz"));
    assert!(!trust.has_used(laptop, &used, HOUR));
    trust.used(laptop, &used);
    assert!(trust.has_used(laptop, &used, HOUR) && !trust.has_used(laptop, &host("b.kz"), HOUR));
    clock.advance(HOUR);
    assert!(!trust.has_used(laptop, &used, HOUR));
    trust.used(laptop, &used);
    trust.refused(laptop, &used, Refusal::OfTheHost);
    assert!(!trust.has_used(laptop, &used, HOUR));
    trust.used(laptop, &used);
    assert_eq!(trust.standing(laptop, &used), Standing::Refused, "an alert is an alert");
    trust.refused(laptop, &host("b.kz"), Refusal::ByLeaving);
    assert_eq!(trust.standing(laptop, &host("b.kz")), Standing::Refused);
    trust.used(laptop, &host("b.kz"));
    assert_eq!(trust.standing(laptop, &host("b.kz")), Standing::Trusts(Class::Network), "a connection too many");
}

#[test]
fn connections_that_have_still_to_tell_are_counted() {
    let (trust, _) = trust();
    let (laptop, shown) = (peer("10.1.0.5"), host("a.kz"));
    let on = || trust.shown_on(laptop, &shown);
    trust.has_told(laptop, &shown);
    assert_eq!((on(), trust.devices.count()), (0, 0), "nothing is learned of a device that is not known");
    trust.shown(laptop, &shown);
    trust.shown(peer("::ffff:10.1.0.5"), &shown);
    trust.shown(laptop, &host("b.kz"));
    trust.shown(peer("10.1.0.6"), &shown);
    assert_eq!(on(), 2);
    for left in [1, 0, 0] {
        trust.has_told(laptop, &shown);
        assert_eq!(on(), left);
    }
    assert_eq!(trust.shown_on(peer("10.1.0.6"), &shown), 1);
}

#[test]
fn one_machine_makes_the_box_forget_its_own_network_alone() {
    let (trust, _) = trust();
    let (old, neighbour) = (peer("10.2.0.1"), peer("2001:db8:2::ffff:1"));
    trust.proved(old);
    trust.proved(neighbour);
    let network = u128::from("2001:db8:2::".parse::<std::net::Ipv6Addr>().unwrap());
    for address in 0..2 * DEVICES_MAX as u128 {
        trust.probe_refused(IpAddr::V6((network + address).into()));
    }
    assert!(trust.trusts(old), "met long before");
    assert!(!trust.trusts(neighbour));
    assert_eq!(trust.devices.count(), DEVICES_OF_ONE_CLIENT_MAX + 1);
}

#[test]
fn memory_is_bounded() {
    let (trust, _) = trust();
    for device in 0..2 * u32::try_from(DEVICES_MAX).unwrap() {
        trust.proved(IpAddr::from(device.to_be_bytes()));
    }
    assert_eq!(trust.devices.count(), DEVICES_MAX);
    assert!(!trust.trusts(peer("0.0.0.1")) && trust.trusts(peer("0.0.31.255")), "the oldest are forgotten");
    let phone = peer("10.2.0.1");
    for nth in 0..100 {
        trust.refused(phone, &host(&format!("host{nth}.kz")), Refusal::OfTheHost);
        trust.used(phone, &host(&format!("used{nth}.kz")));
    }
    assert_eq!(trust.standing(phone, &host("host0.kz")), Standing::Unknown);
    assert_eq!(trust.standing(phone, &host("host99.kz")), Standing::Refused);
    assert!(!trust.has_used(phone, &host("used0.kz"), HOUR) && trust.has_used(phone, &host("used99.kz"), HOUR));
}
