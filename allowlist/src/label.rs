//! Gateway labels: a site's host as one DNS label, and back.
//!
//! A phone that does not trust the school's CA opens lessons at `<label>.<gateway domain>`, so each host must become one
//! label (RFC 1035 §2.3.4: 63 bytes of letters, digits and hyphens) that names it and no other.
//!
//! A dot becomes one hyphen and a hyphen two, a port follows behind three: `e-lessons.kz:8443` is
//! `e--lessons-kz---8443`. In a host name no hyphen stands beside a dot, so runs of hyphens say what they were. What would
//! have hyphens in its third and fourth place, which names are not to have except for `xn--` (RFC 5890 §2.3.1), is put
//! between `0-` and `-0`. What does not fit into a label is named by a digest that the list itself resolves: `1-…-1`
//! for a host of the list, `2-<what stands before>-…-2` for a host below one of its wildcards. No host name ends in a
//! number, so none of these is the label of another host.

use std::fmt;

use crate::allowlist::Allowlist;
use crate::host_name::HostName;
use crate::permit::NotListed;
use crate::site::{HostEntry, HostPattern, Scheme};

/// Longest label of a name (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Letters of a digest: 80 bits. A list has some thousand hosts; two of them agree by chance in one of 10^17 lists.
const DIGEST_LETTERS: usize = 16;

/// A host and port as one DNS label. Made by [`Label::of`] alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label(String);

/// What a label names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labelled {
    /// The host.
    pub host: HostName,
    /// The port, when it is not the scheme's own.
    pub port: Option<u16>,
}

impl Label {
    /// The label of a host, or None for one so long that only a list which names it could resolve its label, and this
    /// one does not name it.
    pub fn of(list: &Allowlist, host: &HostName, port: Option<u16>) -> Option<Label> {
        let whole = wrapped(written(host.as_str(), port));
        if whole.len() <= LABEL_BYTES_MAX {
            return Some(Label(whole));
        }
        let entry = list.entry_of(host)?;
        let label = match entry.pattern() {
            HostPattern::Exact(_) => format!("1-{}-1", digest(host.as_str(), port)),
            HostPattern::Suffix(suffix) => {
                let above = host.as_str().strip_suffix(suffix.as_str())?.strip_suffix('.')?;
                format!("2-{}-{}-2", written(above, port), digest(suffix.as_str(), None))
            }
        };
        (label.len() <= LABEL_BYTES_MAX).then_some(Label(label))
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Labelled {
    /// What a label names, whether or not the list permits it; None for what is no label of ours.
    ///
    /// Upper case is lower case, as in every name.
    pub fn read(list: &Allowlist, label: &str) -> Option<Labelled> {
        if label.len() > LABEL_BYTES_MAX {
            return None;
        }
        let label = label.to_ascii_lowercase();
        let between = |mark: char| {
            let inner = label.strip_prefix(mark)?.strip_prefix('-')?;
            inner.strip_suffix(mark)?.strip_suffix('-')
        };
        let labelled = if let Some(inner) = between('0') {
            read_written(inner)
        } else if let Some(digest) = between('1') {
            of_digest(list, digest)
        } else if let Some(inner) = between('2') {
            below_digest(list, inner)
        } else {
            read_written(&label)
        }?;
        // One host has one label: what reads the same but was written otherwise is nobody's.
        let is_its_label = Label::of(list, &labelled.host, labelled.port).is_some_and(|its| its.0 == label);
        is_its_label.then_some(labelled)
    }

    /// How the host is reached: https, unless the list names the host and permits that at no entry for this port.
    pub fn scheme(&self, list: &Allowlist) -> Scheme {
        match list.permit_tunnel(&self.host, self.port.unwrap_or(Scheme::Https.default_port())) {
            Err(NotListed::Port { .. }) => Scheme::Http,
            _ => Scheme::Https,
        }
    }
}

fn written(host: &str, port: Option<u16>) -> String {
    let mut label = String::with_capacity(host.len() + 8);
    for letter in host.chars() {
        match letter {
            '-' => label.push_str("--"),
            '.' => label.push('-'),
            letter => label.push(letter),
        }
    }
    if let Some(port) = port {
        label.push_str(&format!("---{port}"));
    }
    label
}

fn wrapped(label: String) -> String {
    if label.get(2..4) == Some("--") { format!("0-{label}-0") } else { label }
}

/// The host and port of a text that [`written`] made; None for any other.
fn read_written(text: &str) -> Option<Labelled> {
    let (name, port) = port_of(text)?;
    Some(Labelled { host: HostName::parse(&unwritten(name)?).ok()?, port })
}

/// What stands before three hyphens and the port behind them, if there are three: a longer run is hyphens of the name.
fn port_of(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once("---") {
        Some((name, port)) if !name.ends_with('-') && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = port.parse().ok().filter(|&port| port > 0)?;
            Some((name, Some(port)))
        }
        _ => Some((text, None)),
    }
}

/// Runs of hyphens back to what they were; None for a run that nothing makes.
fn unwritten(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('-') {
        name.push_str(&rest[..at]);
        let run = rest[at..].bytes().take_while(|&byte| byte == b'-').count();
        match run {
            1 => name.push('.'),
            run if run % 2 == 0 => name.extend(std::iter::repeat_n('-', run / 2)),
            _ => return None,
        }
        rest = &rest[at + run..];
    }
    name.push_str(rest);
    Some(name)
}

/// The digest of a host as it stands in the list.
fn digest(host: &str, port: Option<u16>) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = blake3::hash(format!("{host}:{}", port.unwrap_or(0)).as_bytes());
    let bits = hash.as_bytes().chunks(5).take(DIGEST_LETTERS / 8).flat_map(|five| {
        let number = five.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        (0..8).rev().map(move |at| (number >> (5 * at)) & 31)
    });
    bits.map(|five| char::from(LETTERS[five as usize])).collect()
}

/// Every entry of the list; looked through only for the few labels that need it.
fn entries(list: &Allowlist) -> impl Iterator<Item = &HostEntry> {
    list.sites().iter().flat_map(|site| site.hosts())
}

fn of_digest(list: &Allowlist, wanted: &str) -> Option<Labelled> {
    if wanted.len() != DIGEST_LETTERS {
        return None;
    }
    entries(list).find_map(|entry| {
        let HostPattern::Exact(host) = entry.pattern() else { return None };
        let ports = [None, entry.port()];
        let port = ports.into_iter().find(|port| digest(host.as_str(), *port) == wanted)?;
        Some(Labelled { host: host.clone(), port })
    })
}

fn below_digest(list: &Allowlist, inner: &str) -> Option<Labelled> {
    let at = inner.len().checked_sub(DIGEST_LETTERS)?;
    let wanted = inner.get(at..)?;
    let above = inner.get(..at)?.strip_suffix('-')?;
    let suffix = entries(list).find_map(|entry| match entry.pattern() {
        HostPattern::Suffix(suffix) if digest(suffix.as_str(), None) == wanted => Some(suffix),
        _ => None,
    })?;
    let (name, port) = port_of(above)?;
    let host = HostName::parse(&format!("{}.{suffix}", unwritten(name)?)).ok()?;
    Some(Labelled { host, port })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: &str = "a-very-long-name-of-a-learning-platform.with-many-parts.of-the-ministry.edu.kz";

    const WILD: &str = "wild.of-the-ministry-of-education.edu.kz";

    fn list() -> Allowlist {
        let text = format!(
            "[[site]]\nname = \"a\"\nhosts = [\"a.kz\", \"{LONG}\", \"{LONG}:8443\", \"http://plain.kz\", \"*.{WILD}\"]\n\
             tls = \"splice\"\n"
        );
        Allowlist::parse("allowlist.toml", &text).expect("it is a list").allowlist
    }

    fn host(text: &str) -> HostName {
        HostName::parse(text).expect("it is a host name")
    }

    #[test]
    fn a_host_is_one_label_and_back() {
        let list = list();
        for (name, port, expected) in [
            ("a.kz", None, "a-kz"),
            ("e-lessons.kz", None, "e--lessons-kz"),
            ("a.kz", Some(8443), "a-kz---8443"),
            ("e-lessons.kz", Some(80), "e--lessons-kz---80"),
            ("xn--80a.kz", None, "0-xn----80a-kz-0"),
            ("ab-c.kz", None, "0-ab--c-kz-0"),
            ("a--b.kz", None, "0-a----b-kz-0"),
            ("a-b.c-d.kz", None, "a--b-c--d-kz"),
            ("ab--c.kz", Some(8080), "0-ab----c-kz---8080-0"),
            ("0.kz", None, "0-kz"),
            ("1.a.kz", None, "1-a-kz"),
            ("kz", None, "kz"),
        ] {
            let host = host(name);
            let label = Label::of(&list, &host, port).expect("it fits");
            assert_eq!(label.as_str(), expected);
            assert_eq!(Labelled::read(&list, &expected.to_uppercase()), Some(Labelled { host, port }), "{expected}");
        }
    }

    #[test]
    fn what_does_not_fit_is_found_by_the_list() {
        let list = list();
        let below = format!("{}.{WILD}", ["abc-def"; 3].join("."));
        for (name, port, prefix) in [
            (LONG, None, "1-"),
            (LONG, Some(8443), "1-"),
            (below.as_str(), None, "2-"),
            (below.as_str(), Some(81), "2-"),
        ] {
            let host = host(name);
            let Some(label) = Label::of(&list, &host, port) else { panic!("{name} has no label") };
            assert!(label.as_str().starts_with(prefix) && label.as_str().len() <= 63, "{label}");
            assert_eq!(Labelled::read(&list, label.as_str()), Some(Labelled { host, port }), "{label}");
            assert_eq!(Labelled::read(&Allowlist::default(), label.as_str()), None, "only the list knows");
        }
        let unlisted = host(&format!("{LONG}.org"));
        assert_eq!(Label::of(&list, &unlisted, None), None);
        let too_long = host(&format!("{}.{WILD}", ["abc-def"; 6].join(".")));
        assert_eq!(Label::of(&list, &too_long, None), None);
    }

    #[test]
    fn what_no_host_has_is_no_label() {
        let list = list();
        for label in [
            "",
            "-",
            "a-",
            "-a",
            "a---b",
            "a-kz---",
            "a-kz---0",
            "a-kz---08",
            "a-kz---65536",
            "0--0",
            "0-a-kz-0",
            "1--1",
            "1-abc-1",
            "2--2",
            "2-a-2",
            "1-aaaaaaaaaaaaaaaa-1",
            "2-a-aaaaaaaaaaaaaaaa-2",
            "a_b",
            "a.b",
            "xn----80a-kz",
            "ab--c-kz",
            "ы",
            "1-2-3-4",
            "a-----b",
        ] {
            assert_eq!(Labelled::read(&list, label), None, "{label:?}");
        }
    }

    #[test]
    fn the_scheme_is_https_unless_no_entry_permits_it_for_the_port() {
        let text = "[[site]]\nname = \"a\"\ntls = \"splice\"\nhosts = [\"http://plain.kz\", \"*.wild.kz\", \
                    \"http://a.kz:8080\", \"a.kz\", \"b.kz:8443\", \"http://b.kz:8080\"]\n";
        let list = Allowlist::parse("allowlist.toml", text).expect("it is a list").allowlist;
        for (name, port, scheme) in [
            ("plain.kz", None, Scheme::Http),
            ("x.wild.kz", None, Scheme::Https),
            ("a.kz", None, Scheme::Https),
            ("a.kz", Some(8080), Scheme::Http),
            ("b.kz", None, Scheme::Https),
            ("b.kz", Some(8443), Scheme::Https),
            ("b.kz", Some(8080), Scheme::Http),
            ("unlisted.kz", None, Scheme::Https),
        ] {
            assert_eq!(Labelled { host: host(name), port }.scheme(&list), scheme, "{name} {port:?}");
        }
    }

    fn any_host() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", 1..5)
            .prop_map(|labels| format!("{}.kz", labels.join(".")))
    }

    proptest! {
        #[test]
        fn every_label_names_its_host_and_no_other(name in any_host(), port in proptest::option::of(1u16..)) {
            let list = Allowlist::default();
            let Ok(host) = HostName::parse(&name) else { return Ok(()) };
            if let Some(label) = Label::of(&list, &host, port) {
                prop_assert!(label.as_str().len() <= 63 && label.as_str().get(2..4) != Some("--"));
                let name = format!("{label}.school.example");
                prop_assert!(HostName::parse(&name).is_ok());
                prop_assert_eq!(Labelled::read(&list, label.as_str()), Some(Labelled { host, port }));
            }
        }

        #[test]
        fn what_can_be_read_is_the_label_of_what_was_read(label in "[a-z0-2-]{1,20}") {
            let list = list();
            if let Some(read) = Labelled::read(&list, &label) {
                prop_assert_eq!(Label::of(&list, &read.host, read.port).map(|label| label.0), Some(label));
            }
        }
    }
}
