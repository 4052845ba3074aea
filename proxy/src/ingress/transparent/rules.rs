//! The rules of the kernel that hand connections over, as a script for `sh` that a technician can read before it runs.
//!
//! Whether the box serves is in the set of [`serving`], which the box renews every few seconds (`keeper`): when it stops
//! doing so, however it came to that, its ports leave the set, and connections flow as if there were no rules.
//! In tproxy mode the kernel sees to that at once, too: where nobody listens the rule does not apply.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{HTTP_PORT, HTTPS_PORT, Interface, Mode, RouterOptions, Take};

/// The table of the rules (family `inet`).
pub(super) const TABLE: &str = "bulaq";

/// Most addresses in a set. The list of a school leads to some hundreds.
pub(super) const LISTED_MAX: usize = 65_536;

/// The mark of packets that are for a door, and which bits of the mark are ours: eight that few programs use.
const MARK: &str = "0x6200/0xff00";
/// The same as nftables sets it.
const SET_MARK: &str = "meta mark set meta mark & 0xffff00ff | 0x00006200";
/// The routing table that takes marked packets to this machine.
const ROUTES: u32 = 6200;

/// Networks that are not the Internet: what pupils reach there is the school's business.
const PRIVATE_V4: &str =
    "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3";
/// The same of IPv6: all but global unicast.
const PRIVATE_V6: &str = "::/3, 4000::/2, 8000::/1";

/// Why there are no rules to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// No door that connections could be handed to.
    #[error(
        "[router] opens no door; write http = [\"127.0.0.1:8080\", \"[::1]:8080\"] and https = [\"127.0.0.1:8443\", \"[::1]:8443\"] there"
    )]
    NoDoor,
    /// Not even one interface.
    #[error(
        "nothing says where pupils' connections come in; name the interfaces, as in --lan lan0, or in [router] interfaces (`ip link` shows them)"
    )]
    NoInterface,
}

/// The script that puts the rules in place, instead of any that are there. IPv6 is left alone where no door has an
/// IPv6 address.
///
/// # Errors
/// [`RulesError`] says what is missing in the configuration.
pub fn install(options: &RouterOptions) -> Result<String, RulesError> {
    if !options.is_on() {
        return Err(RulesError::NoDoor);
    }
    if options.interfaces.is_empty() {
        return Err(RulesError::NoInterface);
    }
    let mut script = String::from(
        "#!/bin/sh\n# Hands pupils' connections to Bulaq while it serves. Made by `bulaq router rules`; run it as root on the box.\n\
         # What it does is undone by the script of `bulaq router rules --remove`.\nset -eu\n",
    );
    routes(&mut script, options);
    script.push_str("nft -f - <<'END'\n");
    table(&mut script, options);
    script.push_str("END\n");
    Ok(script)
}

/// The script that takes away everything that [`install`]'s puts in place, whatever the configuration was then.
pub fn remove() -> String {
    let mut script = String::from(
        "#!/bin/sh\n# Takes away the rules of `bulaq router rules`; run it as root on the box.\nset -eu\n",
    );
    let _ = writeln!(script, "nft -f - <<'END'\ntable inet {TABLE}\ndelete table inet {TABLE}\nEND");
    for family in [4, 6] {
        let _ = writeln!(script, "{}", no_routes(family));
    }
    script
}

/// Routes for marked packets: to this machine, whatever their destination is. Those of an earlier script go first.
fn routes(script: &mut String, options: &RouterOptions) {
    for family in [Family::V4, Family::V6] {
        let (number, all) = family.route();
        let _ = writeln!(script, "{}", no_routes(number));
        let has_door = family.door(&options.http).or(family.door(&options.https)).is_some();
        if options.mode != Mode::Tproxy || !has_door {
            continue;
        }
        let _ = writeln!(script, "ip -{number} route add local {all} dev lo table {ROUTES}");
        let _ = writeln!(script, "ip -{number} rule add fwmark {MARK} lookup {ROUTES}");
    }
}

/// The set of the ports that the box serves. Its name says how the rules hand connections over, so that a box that does it
/// otherwise, or at other ports, cannot keep rules alive that would lead pupils nowhere.
pub(super) fn serving(options: &RouterOptions) -> String {
    let mode = match options.mode {
        Mode::Tproxy => "tproxy",
        Mode::Redirect => "redirect",
    };
    let mut ports: Vec<_> = [&options.http, &options.https]
        .into_iter()
        .flat_map(|doors| [Family::V4, Family::V6].into_iter().filter_map(|family| family.door(doors)))
        .map(|door| door.port().to_string())
        .collect();
    ports.dedup();
    format!("serving_{mode}_{}", ports.join("_"))
}

fn no_routes(family: u8) -> String {
    format!(
        "ip -{family} rule del fwmark {MARK} lookup {ROUTES} 2>/dev/null || true\n\
         ip -{family} route flush table {ROUTES} 2>/dev/null || true"
    )
}

fn table(script: &mut String, options: &RouterOptions) {
    let serving = serving(options);
    let interfaces = options.interfaces.iter().map(Interface::to_string).collect::<Vec<_>>().join("\", \"");
    let (hook, listed) = match options.mode {
        Mode::Tproxy => ("filter hook prerouting priority mangle", "socket transparent 1 "),
        Mode::Redirect => ("nat hook prerouting priority dstnat", ""),
    };
    let _ = write!(
        script,
        "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\
         \t# The ports that the box serves now. It renews them; they leave by themselves.\n\
         \tset {serving} {{ type inet_service; flags timeout; }}\n\
         \t# Where permitted names lead, as the box finds them.\n\
         \tset listed4 {{ type ipv4_addr; size {LISTED_MAX}; }}\n\
         \tset listed6 {{ type ipv6_addr; size {LISTED_MAX}; }}\n\
         \tchain arriving {{\n\
         \t\ttype {hook}; policy accept;\n\
         \t\tiifname {{ \"{interfaces}\" }} meta l4proto tcp jump pupils\n\
         \t}}\n\
         \tchain pupils {{\n\
         \t\t# The box's own pages, and what is no one's in particular.\n\
         \t\tfib daddr type {{ local, broadcast, anycast, multicast }} return\n"
    );
    if !listed.is_empty() {
        let _ = write!(
            script,
            "\t\t# Connections that the box has already go on, even while it stops.\n\
             \t\ttcp dport {{ {HTTP_PORT}, {HTTPS_PORT} }} {listed}{SET_MARK} accept\n"
        );
    }
    taken(script, options.take, "\t\t", "jump taken");
    script.push_str("\t}\n\tchain taken {\n");
    for (doors, port) in [(&options.http, HTTP_PORT), (&options.https, HTTPS_PORT)] {
        for family in [Family::V4, Family::V6] {
            if let Some(door) = family.door(doors) {
                let _ =
                    writeln!(script, "\t\ttcp dport @{serving} tcp dport {port} {}", family.hand_over(door, options));
            }
        }
    }
    let _ = write!(
        script,
        "\t}}\n\
         \tchain passing {{\n\
         \t\ttype filter hook forward priority filter - 1; policy accept;\n\
         \t\t# QUIC would go around the box. It is refused at once, so that browsers use TCP without waiting.\n\
         \t\tiifname {{ \"{interfaces}\" }} udp dport {HTTPS_PORT} udp dport @{serving} jump quic\n\
         \t}}\n\
         \tchain quic {{\n"
    );
    taken(script, options.take, "\t\t", "reject with icmpx port-unreachable");
    script.push_str("\t}\n}\n");
}

/// The lines that say for which destinations `verdict` holds.
fn taken(script: &mut String, take: Take, indent: &str, verdict: &str) {
    let _ = write!(script, "{indent}ip daddr @listed4 {verdict}\n{indent}ip6 daddr @listed6 {verdict}\n");
    if take == Take::All {
        let _ = write!(
            script,
            "{indent}ip daddr {{ {PRIVATE_V4} }} return\n{indent}ip6 daddr {{ {PRIVATE_V6} }} return\n\
             {indent}{verdict}\n"
        );
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The first door of the family.
    fn door(self, doors: &[SocketAddr]) -> Option<SocketAddr> {
        doors.iter().copied().find(|door| door.is_ipv4() == (self == Self::V4))
    }

    /// As `ip` counts it, and all of its addresses.
    fn route(self) -> (u8, &'static str) {
        match self {
            Self::V4 => (4, "0.0.0.0/0"),
            Self::V6 => (6, "::/0"),
        }
    }

    fn hand_over(self, door: SocketAddr, options: &RouterOptions) -> String {
        let (words, nfproto) = match self {
            Self::V4 => ("ip", "ipv4"),
            Self::V6 => ("ip6", "ipv6"),
        };
        let port = door.port();
        match options.mode {
            Mode::Redirect => format!("meta nfproto {nfproto} redirect to :{port}"),
            Mode::Tproxy if door.ip().is_unspecified() => {
                format!("meta nfproto {nfproto} tproxy {words} to :{port} {SET_MARK} accept")
            }
            Mode::Tproxy => format!("tproxy {words} to {door} {SET_MARK} accept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TPROXY: &str = include_str!("../../../../packaging/nftables/tproxy.sh");
    const REDIRECT: &str = include_str!("../../../../packaging/nftables/redirect.sh");
    const REMOVE: &str = include_str!("../../../../packaging/nftables/remove.sh");

    fn options(mode: Mode, take: Take, http: &[&str], https: &[&str]) -> RouterOptions {
        let doors = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let interfaces = vec!["lan0".parse().unwrap()];
        RouterOptions { http: doors(http), https: doors(https), mode, interfaces, take, ..RouterOptions::default() }
    }

    #[test]
    fn the_shipped_rules_are_those_that_the_command_writes() {
        let http = ["127.0.0.1:8080", "[::1]:8080"];
        let tproxy = options(Mode::Tproxy, Take::Listed, &http, &["127.0.0.1:8443", "[::1]:8443"]);
        let redirect =
            options(Mode::Redirect, Take::Listed, &["0.0.0.0:8080", "[::]:8080"], &["0.0.0.0:8443", "[::]:8443"]);
        let told = [install(&tproxy).unwrap(), install(&redirect).unwrap(), remove()];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/nftables");
        for ((name, shipped), told) in
            [("tproxy.sh", TPROXY), ("redirect.sh", REDIRECT), ("remove.sh", REMOVE)].into_iter().zip(told)
        {
            assert_eq!(shipped, told, "{folder}/{name} is not what `bulaq router rules` writes");
        }
    }

    #[test]
    fn a_family_without_a_door_is_left_alone() {
        let script = install(&options(Mode::Tproxy, Take::All, &[], &["0.0.0.0:8443"])).unwrap();
        assert!(!script.contains("ip -6 rule add") && !script.contains("tproxy ip6"), "{script}");
        assert!(!script.contains("tcp dport 80 "), "{script}");
        assert!(script.contains("tcp dport 443 meta nfproto ipv4 tproxy ip to :8443 meta mark set"), "{script}");
    }

    #[test]
    fn a_box_of_other_settings_renews_no_port_of_these_rules() {
        let of = |mode, http: &[&str], https: &[&str]| serving(&options(mode, Take::Listed, http, https));
        let names = [
            of(Mode::Tproxy, &["0.0.0.0:8080", "[::]:8080"], &["0.0.0.0:8443", "[::]:8443"]),
            of(Mode::Redirect, &["0.0.0.0:8080", "[::]:8080"], &["0.0.0.0:8443", "[::]:8443"]),
            of(Mode::Tproxy, &["0.0.0.0:8081"], &["0.0.0.0:8443"]),
            of(Mode::Tproxy, &[], &["0.0.0.0:8443"]),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
        }
        assert_eq!(names[0], "serving_tproxy_8080_8443");
    }

    #[test]
    fn what_is_missing_is_said() {
        let closed = options(Mode::Tproxy, Take::Listed, &[], &[]);
        assert_eq!(install(&closed), Err(RulesError::NoDoor));
        let nowhere = RouterOptions { interfaces: Vec::new(), http: vec!["[::1]:80".parse().unwrap()], ..closed };
        assert_eq!(install(&nowhere), Err(RulesError::NoInterface));
    }
}
