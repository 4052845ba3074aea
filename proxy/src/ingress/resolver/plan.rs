//! What is said to a question: one pure decision, before any socket or memory is looked at.

use bulaq_allowlist::export;
use bulaq_allowlist::export::special::{self, Denial};
use bulaq_allowlist::{Allowlist, HostName, HostPattern};
use hickory_proto::rr::{DNSClass, Name, RecordType};

/// What the decision depends on beside the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'f> {
    /// The list of today.
    pub(super) list: &'f Allowlist,
    /// The box's own names.
    pub(super) own: &'f [HostPattern],
    /// Whether names lead to the box now; if not, they are forwarded like all others.
    pub(super) leads: bool,
    /// Whether `wpad` and `wpad.*` are names of the box (`[pac] wpad`).
    pub(super) wpad: bool,
    /// Whether the question asks for recursion (RD).
    pub(super) recursion_desired: bool,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The box's IPv4 addresses; without one, no data.
    BoxV4,
    /// The box's IPv6 addresses; without one, no data.
    BoxV6,
    /// A name of the list has no record of this type, as far as a device may know.
    BoxNoData,
    /// The device itself (RFC 6761 §6.3).
    Loopback,
    /// No, for the name or for the type.
    Deny(Denial),
    /// Ask the school's resolvers.
    Forward(Forwarding),
    /// Not answered here.
    Refuse(Refused),
}

/// How a question is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// As any other.
    Plain,
    /// A name of the list while none leads to the box: devices come back soon.
    Briefly,
    /// Another type of a name that leads to the box (mail, verification): an alias in the answer would lead around it.
    WithoutAlias,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// ANY (RFC 8482), AXFR, IXFR and other types that are no records.
    Type,
    /// A class other than IN.
    Class,
    /// Without RD only what is said here is answered: what is in memory tells what others asked for.
    NoRecursionDesired,
}

/// Types that are no records of a name (RFC 6895 §3.1: OPT, and 128 to 255), and those of RFC 1035 that are obsolete and may hold
/// compressed names, which nobody but their reader could pass on.
fn is_no_record(kind: RecordType) -> bool {
    matches!(u16::from(kind), 0 | 3 | 4 | 7 | 8 | 9 | 14 | 41 | 128..=255)
}

/// Decides.
pub(super) fn plan(name: &Name, kind: RecordType, class: DNSClass, facts: &Facts<'_>) -> Plan {
    if class != DNSClass::IN {
        return Plan::Refuse(Refused::Class);
    }
    if is_no_record(kind) {
        return Plan::Refuse(Refused::Type);
    }
    let text = name.to_ascii().to_ascii_lowercase();
    let text = text.trim_end_matches('.');
    let is_wpad = text.split('.').next() == Some("wpad");
    if let Some(denial) = denial(text, is_wpad && !facts.wpad) {
        return Plan::Deny(denial);
    }
    if is_at_or_below(text, "localhost") {
        return if matches!(kind, RecordType::A | RecordType::AAAA) {
            Plan::Loopback
        } else {
            Plan::Deny(Denial::NoData)
        };
    }
    let forward = |forwarding| {
        if facts.recursion_desired { Plan::Forward(forwarding) } else { Plan::Refuse(Refused::NoRecursionDesired) }
    };
    let (host, has_prefix) = host(text);
    if !host.is_some_and(|host| is_wpad || is_listed(&host, facts)) {
        return forward(Forwarding::Plain);
    }
    if !facts.leads {
        return forward(Forwarding::Briefly);
    }
    match kind {
        RecordType::A if !has_prefix => Plan::BoxV4,
        RecordType::AAAA if !has_prefix => Plan::BoxV6,
        // Hints, keys for ECH and other protocols of the origin would all lead around the box (RFC 9460); names such as
        // `_8443._https.lessons.kz` are for the same.
        RecordType::SVCB | RecordType::HTTPS => Plan::BoxNoData,
        RecordType::CNAME | RecordType::ANAME => Plan::BoxNoData,
        _ if u16::from(kind) == DNAME => Plan::BoxNoData,
        _ => forward(Forwarding::WithoutAlias),
    }
}

/// RFC 6672.
pub(super) const DNAME: u16 = 39;

/// Names that are denied whatever the list says.
fn denial(text: &str, is_wpad: bool) -> Option<Denial> {
    if let Some(special) = special::NAMES.iter().find(|special| is_at_or_below(text, special.name)) {
        return Some(special.denial);
    }
    // A device that looks for a proxy by itself trusts whoever answers first; unless asked, the box is not that one.
    // RFC 6761 §6.4, RFC 7686: never in the DNS.
    (is_wpad || is_at_or_below(text, "invalid") || is_at_or_below(text, "onion")).then_some(Denial::NoSuchName)
}

fn is_at_or_below(text: &str, above: &str) -> bool {
    text.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The host of a question, without labels such as `_8443._https`, and whether there were any.
fn host(text: &str) -> (Option<HostName>, bool) {
    let mut rest = text;
    while let Some((label, above)) = rest.split_once('.').filter(|(label, _)| label.starts_with('_')) {
        debug_assert!(!label.is_empty(), "it begins with an underscore");
        rest = above;
    }
    (HostName::parse(rest).ok(), rest.len() != text.len())
}

fn is_listed(host: &HostName, facts: &Facts<'_>) -> bool {
    let is_own = facts.own.iter().any(|pattern| match pattern {
        HostPattern::Exact(own) => host == own,
        HostPattern::Suffix(own) => host.is_below(own),
    });
    is_own || export::leads(facts.list, host)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn list() -> Allowlist {
        let text = "[[site]]\nname = \"a\"\ntitle = { kk = \"a\", ru = \"a\", en = \"a\" }\nclass = \"public-lessons\"\ntraffic = \"metered\"\ntls = \"splice\"\nlanguages = [\"kk\"]\nhosts = [\"lessons.kz\", \"*.below.kz\", \"fonts.googleapis.com\"]\n";
        Allowlist::parse("allowlist.toml", text).unwrap().allowlist
    }

    fn planned(name: &str, kind: &str, leads: bool, recursion_desired: bool) -> Plan {
        let list = list();
        let own = [HostPattern::Exact(HostName::parse("bulaq.internal").unwrap())];
        let facts = Facts { list: &list, own: &own, leads, wpad: false, recursion_desired };
        let kind = kind.strip_prefix("TYPE").map_or_else(
            || RecordType::from_str(kind).unwrap(),
            |number| RecordType::from(number.parse::<u16>().unwrap()),
        );
        plan(&Name::from_ascii(name).unwrap(), kind, DNSClass::IN, &facts)
    }

    const PLAIN: Plan = Plan::Forward(Forwarding::Plain);
    const BRIEFLY: Plan = Plan::Forward(Forwarding::Briefly);
    const WITHOUT_ALIAS: Plan = Plan::Forward(Forwarding::WithoutAlias);
    const NO_NAME: Plan = Plan::Deny(Denial::NoSuchName);
    const NO_DATA: Plan = Plan::Deny(Denial::NoData);

    #[test]
    fn each_question_has_its_plan() {
        for (name, kind, expected) in [
            // The list, exactly.
            ("lessons.kz.", "A", Plan::BoxV4),
            ("LESSONS.kz.", "AAAA", Plan::BoxV6),
            ("lessons.kz.", "HTTPS", Plan::BoxNoData),
            ("lessons.kz.", "SVCB", Plan::BoxNoData),
            ("lessons.kz.", "CNAME", Plan::BoxNoData),
            ("lessons.kz.", "TYPE39", Plan::BoxNoData),
            ("lessons.kz.", "MX", WITHOUT_ALIAS),
            ("lessons.kz.", "TXT", WITHOUT_ALIAS),
            ("lessons.kz.", "DS", WITHOUT_ALIAS),
            ("mail.lessons.kz.", "A", PLAIN),
            ("xlessons.kz.", "A", PLAIN),
            ("below.kz.", "A", PLAIN),
            ("a.b.below.kz.", "A", Plan::BoxV4),
            ("xbelow.kz.", "A", PLAIN),
            // Listed, and of every other page too.
            ("fonts.googleapis.com.", "A", PLAIN),
            ("lessons.kz.evil.example.", "A", PLAIN),
            // Services of a listed name.
            ("_8443._https.lessons.kz.", "HTTPS", Plan::BoxNoData),
            ("_dmarc.lessons.kz.", "TXT", WITHOUT_ALIAS),
            ("_x.lessons.kz.", "A", WITHOUT_ALIAS),
            ("_8443._https.other.kz.", "HTTPS", PLAIN),
            // The box's own names.
            ("bulaq.internal.", "A", Plan::BoxV4),
            ("bulaq.internal.", "HTTPS", Plan::BoxNoData),
            ("other.internal.", "A", PLAIN),
            // Signals.
            ("use-application-dns.net.", "A", NO_NAME),
            ("Use-Application-DNS.net.", "TXT", NO_NAME),
            ("x.use-application-dns.net.", "A", NO_NAME),
            ("mask.icloud.com.", "HTTPS", NO_NAME),
            ("mask-h2.icloud.com.", "AAAA", NO_NAME),
            ("mask.apple-dns.net.", "A", NO_NAME),
            ("www.icloud.com.", "A", PLAIN),
            ("_dns.resolver.arpa.", "SVCB", NO_DATA),
            ("resolver.arpa.", "NS", NO_DATA),
            ("1.0.0.127.in-addr.arpa.", "PTR", PLAIN),
            ("wpad.", "A", NO_NAME),
            ("wpad.school.kz.", "A", NO_NAME),
            ("wpad.below.kz.", "A", NO_NAME),
            ("www.wpad.kz.", "A", PLAIN),
            ("localhost.", "A", Plan::Loopback),
            ("x.localhost.", "AAAA", Plan::Loopback),
            ("localhost.", "MX", NO_DATA),
            ("x.onion.", "A", NO_NAME),
            ("x.invalid.", "A", NO_NAME),
            // No records.
            ("other.kz.", "ANY", Plan::Refuse(Refused::Type)),
            ("lessons.kz.", "ANY", Plan::Refuse(Refused::Type)),
            ("other.kz.", "AXFR", Plan::Refuse(Refused::Type)),
            ("other.kz.", "TYPE251", Plan::Refuse(Refused::Type)),
            ("other.kz.", "TYPE41", Plan::Refuse(Refused::Type)),
            ("other.kz.", "TYPE14", Plan::Refuse(Refused::Type)),
            // All else.
            (".", "NS", PLAIN),
            ("printer.school.local.", "A", PLAIN),
            ("1.2.3.4.", "A", PLAIN),
            ("xn--a.kz.", "A", PLAIN),
            ("other.kz.", "TYPE65280", PLAIN),
        ] {
            assert_eq!(planned(name, kind, true, true), expected, "{name} {kind}");
        }
    }

    #[test]
    fn a_box_that_does_not_serve_leads_nobody() {
        for (name, kind, expected) in [
            ("lessons.kz.", "A", BRIEFLY),
            ("lessons.kz.", "HTTPS", BRIEFLY),
            ("a.below.kz.", "AAAA", BRIEFLY),
            ("bulaq.internal.", "A", BRIEFLY),
            ("other.kz.", "A", PLAIN),
            ("use-application-dns.net.", "A", NO_NAME),
        ] {
            assert_eq!(planned(name, kind, false, true), expected, "{name} {kind}");
        }
    }

    #[test]
    fn without_recursion_only_what_is_said_here_is_answered() {
        for (name, kind, expected) in [
            ("lessons.kz.", "A", Plan::BoxV4),
            ("lessons.kz.", "MX", Plan::Refuse(Refused::NoRecursionDesired)),
            ("other.kz.", "A", Plan::Refuse(Refused::NoRecursionDesired)),
            ("mask.icloud.com.", "A", NO_NAME),
        ] {
            assert_eq!(planned(name, kind, true, false), expected, "{name} {kind}");
        }
        let (list, own) = (list(), []);
        let facts = Facts { list: &list, own: &own, leads: true, wpad: true, recursion_desired: true };
        let version = Name::from_ascii("version.bind.").unwrap();
        assert_eq!(plan(&version, RecordType::TXT, DNSClass::CH, &facts), Plan::Refuse(Refused::Class));
        let wpad = Name::from_ascii("wpad.school.kz.").unwrap();
        assert_eq!(plan(&wpad, RecordType::A, DNSClass::IN, &facts), Plan::BoxV4, "asked for by [pac] wpad");
    }
}
