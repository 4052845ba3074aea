//! What is known of hosts by name: which are shared by pages of many sites, and which must not be decrypted.
//!
//! The names are data (`known/*.toml`); each stands for itself and for every name below it.

use std::collections::HashMap;
use std::sync::LazyLock;

use toml::de::{DeTable, DeValue};

use crate::host_name::HostName;
use crate::site::HostPattern;

/// A host whose files pages of many sites load.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared {
    /// What it is, to stand after "is": "jsDelivr, which serves …".
    pub what: &'static str,
}

/// Names with what is known of each, found from names and patterns.
struct Names<T> {
    groups: Vec<T>,
    at: HashMap<&'static str, usize>,
    /// Every name that a known one is below, with one that is below it.
    above: HashMap<&'static str, &'static str>,
}

impl<T> Names<T> {
    /// Reads a file of tables, each with `hosts` and what `group` makes of the rest.
    fn read(text: &'static str, group: impl Fn(&DeTable<'static>) -> Option<T>) -> Self {
        let mut names = Self { groups: Vec::new(), at: HashMap::new(), above: HashMap::new() };
        let document = DeTable::parse(text).expect("these files are built into the program, and a test reads them");
        for value in document.get_ref().values() {
            let table = value.get_ref().as_table().expect("each group is a table");
            names.groups.push(group(table).expect("each group says what it is"));
            let hosts = table.get("hosts").and_then(|hosts| hosts.get_ref().as_array()).expect("each group has hosts");
            for host in hosts.iter() {
                let host = text_of(host.get_ref(), text).expect("a host is a text without escapes");
                names.at.insert(host, names.groups.len() - 1);
                let mut rest = host;
                while let Some((_, above)) = rest.split_once('.') {
                    names.above.entry(above).or_insert(host);
                    rest = above;
                }
            }
        }
        names
    }

    /// What is known of a name, or of one that it is below; the nearest counts.
    fn of(&self, host: &HostName) -> Option<&T> {
        let mut rest = Some(host.as_str());
        while let Some(name) = rest {
            if let Some(&group) = self.at.get(name) {
                return self.groups.get(group);
            }
            rest = name.split_once('.').map(|(_, above)| above);
        }
        None
    }

    /// A known name that is below this one, though this one is not known itself.
    fn below(&self, host: &HostName) -> Option<(&'static str, &T)> {
        let name = *self.above.get(host.as_str())?;
        Some((name, self.groups.get(*self.at.get(name)?)?))
    }
}

/// The text as it stands in the file, which lives as long as the program. None when it needed unescaping.
fn text_of(value: &DeValue<'_>, file: &'static str) -> Option<&'static str> {
    let text = value.as_str()?;
    let at = file.find(text)?;
    file.get(at..at + text.len())
}

static SHARED_FILE: &str = include_str!("../known/shared.toml");

static SHARED: LazyLock<Names<Shared>> = LazyLock::new(|| {
    Names::read(SHARED_FILE, |table| Some(Shared { what: text_of(table.get("what")?.get_ref(), SHARED_FILE)? }))
});

/// The shared host that an entry names or takes in, if it does.
pub(crate) fn shared_in(pattern: &HostPattern) -> Option<&'static Shared> {
    match pattern {
        HostPattern::Exact(host) => SHARED.of(host),
        HostPattern::Suffix(host) => SHARED.of(host).or_else(|| SHARED.below(host).map(|(_, shared)| shared)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_names_are_names_and_stand_once() {
        assert!(SHARED.at.len() > 40);
        let written = SHARED_FILE.lines().filter(|line| !line.starts_with("what")).flat_map(|line| line.split('"'));
        let hosts: Vec<_> = written.filter(|part| part.contains('.') && !part.contains(['#', ' '])).collect();
        assert_eq!(hosts.len(), SHARED.at.len(), "a name stands twice");
        for host in hosts {
            let name = HostName::parse(host).unwrap_or_else(|error| panic!("{host}: {error}"));
            assert_eq!(name.as_str(), host);
            assert!(!name.is_public_suffix(), "{host}");
        }
    }

    #[test]
    fn a_name_is_known_with_all_that_is_below_it() {
        let exact = |name| HostPattern::Exact(HostName::parse(name).unwrap());
        let suffix = |name| HostPattern::Suffix(HostName::parse(name).unwrap());
        for (pattern, is_shared) in [
            (exact("cdn.jsdelivr.net"), true),
            (exact("a.cdn.jsdelivr.net"), true),
            (exact("jsdelivr.net"), false),
            (suffix("jsdelivr.net"), true),
            (suffix("cdn.jsdelivr.net"), true),
            (suffix("a.cdn.jsdelivr.net"), true),
            (exact("notunpkg.com"), false),
            (exact("bilimland.kz"), false),
            (suffix("bilimland.kz"), false),
        ] {
            assert_eq!(shared_in(&pattern).is_some(), is_shared, "{pattern}");
        }
    }
}
