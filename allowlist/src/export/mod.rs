//! The list as other programs read it.
//!
//! All of it is text made from the list alone. What is common to every format is here: [`Redirected`], the names that
//! lead to the box, whole bundles of them. A format that cannot say "the names below, and not the name itself" is not
//! used: a name that is not on the list must go on leading where it led.

mod dnsmasq;
mod mikrotik;
pub mod pac;
mod rpz;
pub mod special;
mod windows;

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::allowlist::Allowlist;
use crate::host_name::HostName;
use crate::known::{self, Shared};
use crate::site::{HostEntry, HostPattern, Site};

/// The names that lead to the box: every host and wildcard of every site, and the box's own.
///
/// Hosts of scripts and fonts that pages of many sites load are left out ([`left_out`]): led to the box, they would be
/// blocked or asked about in every page that is not on the list (Local Network Access).
///
/// Nothing is in it twice: a name that a wildcard covers is left out, and so is a wildcard below another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirected {
    patterns: Vec<HostPattern>,
}

impl Redirected {
    /// Those of a list, and these names of the box itself. `localhost` is every device's own and never among them.
    pub fn of(list: &Allowlist, own: &[HostPattern]) -> Self {
        let (mut exact, mut suffixes) = (BTreeSet::new(), BTreeSet::new());
        let own = own.iter().filter(|pattern| host_of(pattern).as_str() != "localhost");
        let listed = list.sites().iter().flat_map(|site| site.hosts()).map(HostEntry::pattern);
        let listed = listed.filter(|pattern| known::shared_in(pattern).is_none());
        for pattern in own.chain(listed) {
            match pattern {
                HostPattern::Exact(host) => exact.insert(host),
                HostPattern::Suffix(host) => suffixes.insert(host),
            };
        }
        let is_covered = |host: &HostName| suffixes_above(host).any(|above| suffixes.contains(&above));
        let mut patterns: Vec<HostPattern> = exact
            .into_iter()
            .filter(|host| !is_covered(host))
            .map(|host| HostPattern::Exact(host.clone()))
            .chain(suffixes.iter().filter(|host| !is_covered(host)).map(|host| HostPattern::Suffix((*host).clone())))
            .collect();
        // A name and what is below it stand together, the name first.
        patterns.sort_by(|one, other| (host_of(one), is_suffix(one)).cmp(&(host_of(other), is_suffix(other))));
        Self { patterns }
    }

    /// The patterns in the order of their names; a name before its wildcard.
    pub fn patterns(&self) -> &[HostPattern] {
        &self.patterns
    }

    /// Each name with what is meant of it: the name, what is below it, or both.
    fn bundles(&self) -> impl Iterator<Item = (&HostName, Meant)> {
        self.patterns.chunk_by(|one, other| host_of(one) == host_of(other)).map(|bundle| {
            let meant = match bundle {
                [HostPattern::Exact(_)] => Meant::Name,
                [HostPattern::Suffix(_)] => Meant::Below,
                _ => Meant::Both,
            };
            (host_of(&bundle[0]), meant)
        })
    }
}

/// Whether a name of the list leads to the box: what [`Redirected`] says, for one name.
pub fn leads(list: &Allowlist, host: &HostName) -> bool {
    list.entry_of(host).is_some_and(|entry| known::shared_in(entry.pattern()).is_none())
}

/// A listed name that no export leads to the box.
#[derive(Debug, Clone, Copy)]
pub struct LeftOut<'a> {
    /// The site that lists it.
    pub site: &'a Site,
    /// The entry.
    pub entry: &'a HostEntry,
    /// What it is.
    pub shared: &'static Shared,
}

/// The names of a list that stay with the Internet's own DNS, because pages of other sites use them too.
pub fn left_out(list: &Allowlist) -> impl Iterator<Item = LeftOut<'_>> {
    let entries = list.sites().iter().flat_map(|site| site.hosts().iter().map(move |entry| (&**site, entry)));
    entries.filter_map(|(site, entry)| Some(LeftOut { site, entry, shared: known::shared_in(entry.pattern())? }))
}

/// What of a name leads to the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    Name,
    Below,
    Both,
}

fn host_of(pattern: &HostPattern) -> &HostName {
    match pattern {
        HostPattern::Exact(host) | HostPattern::Suffix(host) => host,
    }
}

fn is_suffix(pattern: &HostPattern) -> bool {
    matches!(pattern, HostPattern::Suffix(_))
}

/// The names above this one, the nearest first.
fn suffixes_above(host: &HostName) -> impl Iterator<Item = HostName> {
    let above = |name: &str| name.split_once('.').map(|(_, above)| above.to_owned());
    std::iter::successors(above(host.as_str()), move |name| above(name)).filter_map(|name| HostName::parse(&name).ok())
}

/// Adds a line.
fn line(text: &mut String, content: fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("a String takes all that is written");
}

/// What a name server is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The box's IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// The box's IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
    /// How long a device may remember an answer, in seconds.
    pub ttl_s: u32,
    /// The serial number of a zone: larger each time that one is made.
    pub serial: u32,
}

impl Answers {
    /// Addresses of either family, as they stand in a configuration.
    pub fn new(addresses: &[IpAddr], ttl_s: u32, serial: u32) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        Self { v4, v6, ttl_s, serial }
    }

    fn all(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.iter().copied().map(IpAddr::V4).chain(self.v6.iter().copied().map(IpAddr::V6))
    }
}

/// A name server that a school may already have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameServer {
    /// dnsmasq 2.86 and later, as in OpenWrt.
    Dnsmasq,
    /// Unbound 1.10 and later, by a response policy zone.
    Unbound,
    /// BIND 9, by a response policy zone.
    BindRpz,
    /// Windows Server 2016 and later, by a recursion scope that asks the box.
    Windows,
    /// RouterOS 7, by static entries that ask the box.
    Mikrotik,
    /// Pi-hole 6, which has dnsmasq inside.
    Pihole,
}

impl NameServer {
    /// Every one with its word on the command line.
    pub const WORDS: [(&'static str, Self); 6] = [
        ("dnsmasq", Self::Dnsmasq),
        ("unbound", Self::Unbound),
        ("bind-rpz", Self::BindRpz),
        ("windows", Self::Windows),
        ("mikrotik", Self::Mikrotik),
        ("pihole", Self::Pihole),
    ];

    /// Whether it is told to ask the box's own resolver for the names, so that `[dns]` must be on. These cannot by
    /// themselves keep the types `AAAA` and `HTTPS` of a name from leading around the box, nor mean a wildcard exactly.
    pub fn asks_the_box(self) -> bool {
        matches!(self, Self::Windows | Self::Mikrotik)
    }

    /// The text for it.
    pub fn text(self, redirected: &Redirected, answers: &Answers) -> String {
        match self {
            Self::Dnsmasq => dnsmasq::text(dnsmasq::Flavour::Dnsmasq, redirected, answers),
            Self::Pihole => dnsmasq::text(dnsmasq::Flavour::Pihole, redirected, answers),
            Self::Unbound => rpz::text(rpz::Loader::Unbound, redirected, answers),
            Self::BindRpz => rpz::text(rpz::Loader::Bind, redirected, answers),
            Self::Windows => windows::text(redirected, answers),
            Self::Mikrotik => mikrotik::text(redirected, answers),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A list with these hosts.
    pub(crate) fn redirected(hosts: &[&str]) -> Redirected {
        let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
        let text = format!(
            "[[site]]\nname = \"a\"\ntitle = {{ kk = \"a\", ru = \"a\", en = \"a\" }}\nclass = \"public-lessons\"\ntraffic = \"metered\"\ntls = \"splice\"\nlanguages = [\"kk\"]\nhosts = [{}]\n",
            hosts.join(", ")
        );
        let loaded = Allowlist::parse("allowlist.toml", &text).unwrap_or_else(|rejected| panic!("{rejected:?}"));
        let own = ["localhost", "bulaq.internal"].map(|name| HostPattern::Exact(HostName::parse(name).unwrap()));
        Redirected::of(&loaded.allowlist, &own)
    }

    pub(crate) fn answers(addresses: &[&str]) -> Answers {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Answers::new(&addresses, 30, 7)
    }

    #[test]
    fn whole_bundles_are_redirected_and_nothing_twice() {
        for (hosts, expected) in [
            (&["b.kz", "*.b.kz", "www.b.kz", "*.x.b.kz"][..], &["b.kz", "*.b.kz", "bulaq.internal"][..]),
            (&["cdn.b.kz", "http://plain.kz", "port.kz:8443"], &["bulaq.internal", "cdn.b.kz", "plain.kz", "port.kz"]),
            (&["*.b.kz", "a.b.kz"], &["*.b.kz", "bulaq.internal"]),
            (&["xb.kz", "*.b.kz"], &["*.b.kz", "bulaq.internal", "xb.kz"]),
        ] {
            let patterns: Vec<_> = redirected(hosts).patterns().iter().map(ToString::to_string).collect();
            assert_eq!(patterns, expected, "{hosts:?}");
        }
    }

    #[test]
    fn what_other_sites_pages_load_stays_where_it_is() {
        let list = r#"
[[site]]
name = "lessons"
hosts = ["a.kz", "fonts.gstatic.com", "*.jsdelivr.net", "*.gravatar.com", "unpkg.com:8443"]
"#;
        let list = Allowlist::parse("allowlist.toml", list).unwrap().allowlist;
        let patterns: Vec<_> = Redirected::of(&list, &[]).patterns().iter().map(ToString::to_string).collect();
        assert_eq!(patterns, ["a.kz"]);
        let left: Vec<_> = left_out(&list).map(|left| format!("{} {}", left.site.name(), left.entry)).collect();
        let expected = ["fonts.gstatic.com", "*.jsdelivr.net", "*.gravatar.com", "unpkg.com:8443"];
        assert_eq!(left, expected.map(|host| format!("lessons {host}")));
    }

    #[test]
    fn every_entry_of_the_catalogue_can_be_led_to_the_box() {
        for entry in crate::catalogue::entries() {
            let text = format!("[[site]]\ncatalogue = \"{}\"\n", entry.name());
            let list = Allowlist::parse("allowlist.toml", &text).unwrap().allowlist;
            assert!(!Redirected::of(&list, &[]).patterns().is_empty(), "{}", entry.name());
        }
    }

    #[test]
    fn a_name_and_its_wildcard_make_one_bundle() {
        let redirected = redirected(&["b.kz", "*.b.kz", "*.c.kz"]);
        let bundles: Vec<_> = redirected.bundles().map(|(host, meant)| (host.as_str(), meant)).collect();
        assert_eq!(bundles, [("b.kz", Meant::Both), ("bulaq.internal", Meant::Name), ("c.kz", Meant::Below)]);
    }

    #[test]
    fn every_text_says_each_name_and_never_a_control_character() {
        let redirected = redirected(&["b.kz", "*.c.kz", "ұ.kz"]);
        let answers = answers(&["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1"]);
        assert_eq!((answers.v4.len(), answers.v6.len()), (2, 1));
        for (word, server) in NameServer::WORDS {
            let text = server.text(&redirected, &answers);
            for name in ["b.kz", "xn--", "bulaq.internal", "use-application-dns.net"] {
                assert!(text.contains(name), "{word} lacks {name}:\n{text}");
            }
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{word}");
            assert!(text.ends_with('\n'), "{word}");
        }
    }
}
