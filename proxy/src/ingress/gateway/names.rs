//! The gateway's names: what a request's host asks for, and what a mapped address begins with.

use bulaq_allowlist::{Allowlist, HostName, Label, Labelled, Scheme};
use http::uri::Authority;

/// What a host in a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing of the gateway's.
    Elsewhere,
    /// The gateway's own start page: its domain, or `www` below it.
    Start,
    /// A host by its label; whether the list permits it is another question.
    Site(Labelled),
    /// A name below the domain that is nobody's label.
    Nobody,
}

/// Which place of the gateway with this domain a host is.
pub(super) fn place(domain: &HostName, list: &Allowlist, host: &str) -> Place {
    let Ok(host) = HostName::parse(host) else { return Place::Elsewhere };
    if host == *domain {
        return Place::Start;
    }
    let Some(label) = host.as_str().strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.')) else {
        return Place::Elsewhere;
    };
    if label == "www" {
        return Place::Start;
    }
    Labelled::read(list, label).map_or(Place::Nobody, Place::Site)
}

/// How a reader reaches the gateway: scheme and port of the door, and the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    scheme: Scheme,
    /// None for the scheme's own.
    port: Option<u16>,
    domain: HostName,
}

impl Address {
    /// The gateway with this domain behind a door.
    pub fn new(domain: HostName, is_secure: bool, port: u16) -> Self {
        let scheme = if is_secure { Scheme::Https } else { Scheme::Http };
        Self { scheme, port: (port != scheme.default_port()).then_some(port), domain }
    }

    /// The scheme of all its addresses.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The gateway's domain.
    pub(super) fn domain(&self) -> &HostName {
        &self.domain
    }

    /// What the address of a host begins with: scheme, name and port. None for a host too long for any label.
    pub fn of(&self, list: &Allowlist, host: &HostName, port: Option<u16>) -> Option<String> {
        let label = Label::of(list, host, port)?;
        Some(self.with(&format!("{label}.")))
    }

    /// The start page, without its path.
    pub(super) fn start(&self) -> String {
        self.with("")
    }

    /// What stands for any host of the gateway in a content security policy.
    pub(super) fn any(&self) -> String {
        self.with("*.")
    }

    fn with(&self, before: &str) -> String {
        let (scheme, domain) = (self.scheme, &self.domain);
        self.port.map_or_else(
            || format!("{scheme}://{before}{domain}"),
            |port| format!("{scheme}://{before}{domain}:{port}"),
        )
    }

    /// The origin's address of one of ours, for the fields in which a browser names the page that it comes from.
    pub(super) fn back(&self, list: &Allowlist, address: &str) -> Option<String> {
        let rest = address.strip_prefix(self.scheme.as_str())?.strip_prefix("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority: Authority = authority.parse().ok()?;
        let Place::Site(labelled) = place(&self.domain, list, authority.host()) else { return None };
        list.site_of(&labelled.host)?;
        Some(format!("{}{path}", origin_of(&labelled, list)))
    }
}

/// Scheme, host and port of what a label names.
pub(super) fn origin_of(labelled: &Labelled, list: &Allowlist) -> String {
    let (scheme, host) = (labelled.scheme(list), &labelled.host);
    labelled.port.map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{address, list};
    use super::*;

    #[test]
    fn a_host_is_the_start_page_a_site_or_nobody() {
        let domain = HostName::parse("lessons.school.example").unwrap();
        let site = |host: &str, port| Place::Site(Labelled { host: HostName::parse(host).unwrap(), port });
        for (host, expected) in [
            ("lessons.school.example", Place::Start),
            ("WWW.lessons.school.example", Place::Start),
            ("a-kz.Lessons.School.Example", site("a.kz", None)),
            ("a-kz---8443.lessons.school.example", site("a.kz", Some(8443))),
            ("games-example.lessons.school.example", site("games.example", None)),
            ("a.b.lessons.school.example", Place::Nobody),
            ("a---b.lessons.school.example", Place::Nobody),
            ("xlessons.school.example", Place::Elsewhere),
            ("school.example", Place::Elsewhere),
            ("a.kz", Place::Elsewhere),
            ("10.0.0.1", Place::Elsewhere),
        ] {
            assert_eq!(place(&domain, &list(), host), expected, "{host}");
        }
    }

    #[test]
    fn addresses_go_there_and_back() {
        let list = list();
        let host = HostName::parse("e-lessons.kz").unwrap();
        let domain = HostName::parse("lessons.school.example").unwrap();
        for (is_secure, port, expected) in [
            (false, 80, "http://e--lessons-kz.lessons.school.example"),
            (false, 8000, "http://e--lessons-kz.lessons.school.example:8000"),
            (true, 443, "https://e--lessons-kz.lessons.school.example"),
            (true, 80, "https://e--lessons-kz.lessons.school.example:80"),
        ] {
            let address = Address::new(domain.clone(), is_secure, port);
            assert_eq!(address.of(&list, &host, None).as_deref(), Some(expected));
            let there = format!("{expected}/x?y");
            assert_eq!(address.back(&list, &there).as_deref(), Some("https://e-lessons.kz/x?y"));
        }
        for (there, back) in [
            ("http://plain-kz.lessons.school.example", Some("http://plain.kz")),
            ("http://games-example.lessons.school.example/", None),
            ("http://lessons.school.example/", None),
            ("http://a.kz/", None),
            ("null", None),
        ] {
            assert_eq!(address().back(&list, there).as_deref(), back, "{there}");
        }
    }
}
