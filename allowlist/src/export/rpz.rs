//! A response policy zone, for BIND and Unbound: exact names and wildcards mean what they mean on the list, and a type
//! that has no record in the zone is NODATA.

use super::special::{self, Denial};
use super::{Answers, Meant, Redirected, line};

/// The zone's name in the texts.
const ZONE: &str = "rpz.bulaq.internal";

/// Who loads the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loader {
    Bind,
    Unbound,
}

pub(super) fn text(loader: Loader, redirected: &Redirected, answers: &Answers) -> String {
    let mut text = String::from(match loader {
        Loader::Bind => {
            "; Bulaq's names for BIND 9, as a response policy zone. In named.conf:\n\
             ;   options { … response-policy { zone \"rpz.bulaq.internal\"; } qname-wait-recurse no break-dnssec yes; };\n\
             ;   zone \"rpz.bulaq.internal\" { type primary; file \"/etc/bind/bulaq.rpz\"; allow-query { none; }; };\n\
             ; Without `qname-wait-recurse no` nothing is answered while the link is down; without `break-dnssec yes`\n\
             ; clients that ask for signatures are led around the box. Then: named-checkconf && rndc reload\n"
        }
        Loader::Unbound => {
            "; Bulaq's names for Unbound 1.10 and later, as a response policy zone. In unbound.conf:\n\
             ;   server:\n\
             ;     module-config: \"respip validator iterator\"\n\
             ;   rpz:\n\
             ;     name: \"rpz.bulaq.internal.\"\n\
             ;     zonefile: \"/etc/unbound/bulaq.rpz\"\n\
             ; Then: unbound-checkconf && unbound-control reload\n"
        }
    });
    text.push_str("; Make it again with `bulaq dns export` when the allowlist or the box's addresses change.\n");
    let (ttl, serial) = (answers.ttl_s, answers.serial);
    line(&mut text, format_args!("$ORIGIN {ZONE}."));
    line(&mut text, format_args!("$TTL {ttl}"));
    line(&mut text, format_args!("@ SOA localhost. hostmaster.localhost. {serial} 3600 600 86400 {ttl}"));
    line(&mut text, format_args!("@ NS localhost."));
    for (host, meant) in redirected.bundles() {
        if meant != Meant::Below {
            addresses(&mut text, host.as_str(), answers);
        }
        if meant != Meant::Name {
            addresses(&mut text, &format!("*.{host}"), answers);
        }
    }
    for special in special::NAMES {
        let target = match special.denial {
            Denial::NoSuchName => ".",
            Denial::NoData => "*.",
        };
        line(&mut text, format_args!("; {}", special.about));
        line(&mut text, format_args!("{} CNAME {target}", special.name));
        line(&mut text, format_args!("*.{} CNAME {target}", special.name));
    }
    text
}

fn addresses(text: &mut String, owner: &str, answers: &Answers) {
    for address in &answers.v4 {
        line(text, format_args!("{owner} A {address}"));
    }
    for address in &answers.v6 {
        line(text, format_args!("{owner} AAAA {address}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{answers, redirected};

    #[test]
    fn a_zone_has_the_list_and_the_denials() {
        let text = text(
            Loader::Bind,
            &redirected(&["exact.kz", "*.below.kz", "both.kz", "*.both.kz"]),
            &answers(&["192.0.2.1", "2001:db8::1"]),
        );
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(';')).collect();
        assert_eq!(
            lines[..6],
            [
                "$ORIGIN rpz.bulaq.internal.",
                "$TTL 30",
                "@ SOA localhost. hostmaster.localhost. 7 3600 600 86400 30",
                "@ NS localhost.",
                "*.below.kz A 192.0.2.1",
                "*.below.kz AAAA 2001:db8::1",
            ]
        );
        for expected in [
            "exact.kz A 192.0.2.1",
            "*.both.kz AAAA 2001:db8::1",
            "mask.icloud.com CNAME .",
            "*.resolver.arpa CNAME *.",
        ] {
            assert!(lines.contains(&expected), "{expected}:\n{text}");
        }
        assert!(!lines.iter().any(|line| line.starts_with("below.kz") || line.starts_with("*.exact.kz")), "{text}");
    }
}
