//! The machine: time zone, open files, IPv6.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use jiff::tz::TimeZone;
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;

const CHECK: &str = "machine";

/// What is known of the machine.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The zone's name, or none when the system's has none.
    zone: Option<String>,
    /// Whether nights begin by themselves, so that the zone matters.
    has_window: bool,
    /// Files that a process of this account may open at most; none without a limit.
    files_max: Option<u64>,
    connections_max: u64,
    /// Whether it reaches the world by IPv6.
    has_global_v6: bool,
    /// Whether a door takes IPv6.
    listens_v6: bool,
}

/// Looks at the machine. No packet is sent.
pub(super) fn gather(config: &Config) -> Facts {
    let doors = [&config.ingress.http, &config.ingress.https];
    Facts {
        zone: zone_name(&config.time_zone),
        has_window: config.window.is_some(),
        files_max: getrlimit(Resource::Nofile).maximum,
        connections_max: config.ingress.limits.connections_max,
        has_global_v6: has_global_v6(),
        listens_v6: doors.iter().any(|door| door.iter().any(SocketAddr::is_ipv6)),
    }
}

fn zone_name(zone: &TimeZone) -> Option<String> {
    zone.iana_name().map(str::to_owned)
}

/// Whether the system has a route to the Internet by IPv6, and an address of its own for it.
fn has_global_v6() -> bool {
    // A connected UDP socket sends nothing; the system only chooses the address. This one is of a root name
    // server, which stays.
    let Ok(socket) = UdpSocket::bind("[::]:0") else { return false };
    let chosen = socket.connect("[2001:500:2f::f]:53").and_then(|()| socket.local_addr());
    chosen.is_ok_and(|local| matches!(local.ip(), IpAddr::V6(ip) if ip.segments()[0] & 0xe000 == 0x2000))
}

/// What that means.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![match facts.zone.as_deref() {
        Some(zone) if !matches!(zone, "UTC" | "Etc/UTC" | "Etc/Unknown") => {
            Finding::ok(CHECK, format!("local time is that of {zone}"))
        }
        _ if !facts.has_window => Finding::ok(CHECK, "local time is UTC; nights are started by hand"),
        _ => Finding::warning(
            CHECK,
            "local time is UTC or not known, so the night's hours are not the school's",
            "write time-zone = \"Asia/Almaty\" at the top of bulaq.toml, or set the machine's: timedatectl set-timezone",
        ),
    }];
    // As the doors count it: a socket to the client, one to the site and a stored file.
    findings.push(match facts.files_max {
        Some(files) if files / 3 < facts.connections_max => Finding::warning(
            CHECK,
            format!("{files} open files allow {} connections; {} are configured", files / 3, facts.connections_max),
            "raise LimitNOFILE of the service (this is the limit of the account that ran this)",
        ),
        _ => Finding::ok(CHECK, "enough open files are allowed"),
    });
    if facts.has_global_v6 && !facts.listens_v6 {
        findings.push(Finding::warning(
            CHECK,
            "this machine has IPv6, and no door for sites listens on it",
            "devices with IPv6 go around the box unless names that lead to it have no AAAA; or listen on \"[::]:443\" and \
             \"[::]:80\" and answer AAAA with the box's address",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::tests::worst;
    use super::*;

    #[test]
    fn zone_files_and_ipv6_are_judged() {
        let good = Facts {
            zone: Some("Asia/Almaty".to_owned()),
            has_window: true,
            files_max: Some(65_536),
            connections_max: 4_096,
            has_global_v6: false,
            listens_v6: false,
        };
        let utc = || Some("UTC".to_owned());
        for (facts, state) in [
            (good.clone(), State::Ok),
            (Facts { zone: utc(), ..good.clone() }, State::Warning),
            (Facts { zone: None, ..good.clone() }, State::Warning),
            (Facts { zone: utc(), has_window: false, ..good.clone() }, State::Ok),
            (Facts { files_max: Some(1_024), ..good.clone() }, State::Warning),
            (Facts { files_max: None, ..good.clone() }, State::Ok),
            (Facts { has_global_v6: true, ..good.clone() }, State::Warning),
            (Facts { has_global_v6: true, listens_v6: true, ..good }, State::Ok),
        ] {
            assert_eq!(worst(&judge(&facts)), state, "{facts:?}");
        }
    }
}
