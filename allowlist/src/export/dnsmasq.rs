//! dnsmasq, and Pi-hole, which has it inside.
//!
//! `address=` gives the addresses; `local=` keeps every other type (AAAA of a box without IPv6, HTTPS, SVCB) from being
//! asked of anybody, which makes it NODATA. A pattern `*.name` means the names below; where those are not on the list,
//! `server=…/#` gives them back to the ordinary servers. dnsmasq takes the longest pattern that fits.

use super::{Answers, Meant, Redirected, line, special};

/// For whom the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Dnsmasq,
    Pihole,
}

pub(super) fn text(flavour: Flavour, redirected: &Redirected, answers: &Answers) -> String {
    let mut text = String::from(match flavour {
        Flavour::Dnsmasq => {
            "# Bulaq's names for dnsmasq 2.86 and later.\n\
             # Put this file into /etc/dnsmasq.d/ (OpenWrt: /tmp/dnsmasq.d/ or a confdir of its own), then run:\n\
             #   dnsmasq --test && systemctl restart dnsmasq\n"
        }
        Flavour::Pihole => {
            "# Bulaq's names for Pi-hole 6.\n\
             # Put this file into /etc/dnsmasq.d/, then run:\n\
             #   pihole-FTL --config misc.etc_dnsmasq_d true && systemctl restart pihole-FTL\n"
        }
    });
    text.push_str(
        "# Make it again with `bulaq dns export` when the allowlist or the box's addresses change.\n\
         # dnsmasq gives these answers a time to live of 0: a device asks again for each connection.\n",
    );
    for (host, meant) in redirected.bundles() {
        let pattern = match meant {
            Meant::Name | Meant::Both => host.to_string(),
            Meant::Below => format!("*.{host}"),
        };
        for address in answers.all() {
            line(&mut text, format_args!("address=/{pattern}/{address}"));
        }
        line(&mut text, format_args!("local=/{pattern}/"));
        if meant == Meant::Name {
            line(&mut text, format_args!("server=/*.{host}/#"));
        }
    }
    for special in special::NAMES {
        line(&mut text, format_args!("# {}", special.about));
        line(&mut text, format_args!("address=/{}/", special.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{answers, redirected};

    #[test]
    fn names_below_are_given_back_where_they_are_not_on_the_list() {
        let text = text(
            Flavour::Dnsmasq,
            &redirected(&["exact.kz", "*.below.kz", "both.kz", "*.both.kz"]),
            &answers(&["192.0.2.1", "2001:db8::1"]),
        );
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |host: &str| lines.iter().copied().filter(|line| line.contains(host)).collect::<Vec<_>>();
        assert_eq!(
            of("exact.kz"),
            [
                "address=/exact.kz/192.0.2.1",
                "address=/exact.kz/2001:db8::1",
                "local=/exact.kz/",
                "server=/*.exact.kz/#"
            ]
        );
        assert_eq!(
            of("below.kz"),
            ["address=/*.below.kz/192.0.2.1", "address=/*.below.kz/2001:db8::1", "local=/*.below.kz/"]
        );
        assert_eq!(of("both.kz"), ["address=/both.kz/192.0.2.1", "address=/both.kz/2001:db8::1", "local=/both.kz/"]);
        assert_eq!(of("use-application"), ["address=/use-application-dns.net/"]);
    }

    #[test]
    fn each_server_is_started_again_by_a_command_that_it_has() {
        let (names, box_addresses) = (redirected(&["exact.kz"]), answers(&["192.0.2.1"]));
        for (flavour, command) in [
            (Flavour::Dnsmasq, "#   dnsmasq --test && systemctl restart dnsmasq\n"),
            // `pihole restartdns` ended with Pi-hole 5.
            (Flavour::Pihole, "#   pihole-FTL --config misc.etc_dnsmasq_d true && systemctl restart pihole-FTL\n"),
        ] {
            let text = text(flavour, &names, &box_addresses);
            assert!(text.contains(command), "{text}");
        }
    }
}
