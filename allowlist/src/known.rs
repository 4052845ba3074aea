//! What is known of hosts by name: which are shared by pages of many sites, and which must not be decrypted.
//!
//! The names are data (`known/*.toml`); each stands for itself and for every name below it.

use std::collections::{HashMap, HashSet};
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

/// What a host is that should not be decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pinned {
    /// Why, to stand after "it is".
    pub(crate) why: &'static str,
    /// Whether a list that terminates it is refused; it breaks something all the same.
    pub(crate) is_never: bool,
}

/// Names with what is known of each, found from names and patterns.
struct Names<T> {
    groups: Vec<T>,
    at: HashMap<&'static str, usize>,
    /// Every name that a known one is below.
    above: HashSet<&'static str>,
}

impl<T> Names<T> {
    /// Reads a file of tables, each with `hosts` and what `group` makes of the rest.
    fn read(text: &'static str, group: impl Fn(&DeTable<'static>) -> Option<T>) -> Self {
        let mut names = Self { groups: Vec::new(), at: HashMap::new(), above: HashSet::new() };
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
                    names.above.insert(above);
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

    /// The known names below this one, in their order.
    fn below(&self, host: &HostName) -> Vec<(&'static str, &T)> {
        if !self.above.contains(host.as_str()) {
            return Vec::new();
        }
        let is_below = |name: &str| name.strip_suffix(host.as_str()).is_some_and(|rest| rest.ends_with('.'));
        let below = self.at.iter().filter(|(name, _)| is_below(name));
        let mut below: Vec<_> = below.filter_map(|(name, &group)| Some((*name, self.groups.get(group)?))).collect();
        below.sort_unstable_by_key(|(name, _)| *name);
        below
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

static PINNED_FILE: &str = include_str!("../known/pinned.toml");

static PINNED: LazyLock<Names<Pinned>> = LazyLock::new(|| {
    Names::read(PINNED_FILE, |table| {
        let is_never = match text_of(table.get("verdict")?.get_ref(), PINNED_FILE)? {
            "never" => true,
            "breaks" => false,
            _ => return None,
        };
        Some(Pinned { why: text_of(table.get("why")?.get_ref(), PINNED_FILE)?, is_never })
    })
});

/// What is known against decrypting a host.
pub(crate) fn pinned(host: &HostName) -> Option<&'static Pinned> {
    PINNED.of(host)
}

/// The hosts below a name that should not be decrypted.
pub(crate) fn pinned_below(host: &HostName) -> Vec<(&'static str, &'static Pinned)> {
    PINNED.below(host)
}

/// The shared host that an entry names or takes in, if it does.
pub(crate) fn shared_in(pattern: &HostPattern) -> Option<&'static Shared> {
    match pattern {
        HostPattern::Exact(host) => SHARED.of(host),
        HostPattern::Suffix(host) => SHARED.of(host).or_else(|| SHARED.below(host).first().map(|&(_, shared)| shared)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_names_are_names_and_stand_once() {
        for (file, known, least) in [(SHARED_FILE, &SHARED.at, 40), (PINNED_FILE, &PINNED.at, 130)] {
            assert!(known.len() > least, "{}", known.len());
            let is_told = |line: &&str| !["what", "why", "#"].iter().any(|word| line.starts_with(word));
            let parts = file.lines().filter(is_told).flat_map(|line| line.split('"').skip(1).step_by(2));
            let hosts: Vec<_> = parts.filter(|part| part.contains('.')).collect();
            assert_eq!(hosts.len(), known.len(), "a name stands twice");
            for host in hosts {
                let name = HostName::parse(host).unwrap_or_else(|error| panic!("{host}: {error}"));
                assert_eq!(name.as_str(), host);
                assert!(name.labels() > 1, "{host}");
            }
        }
    }

    #[test]
    fn the_nearest_name_counts() {
        let is_never = |host| pinned(&HostName::parse(host).unwrap()).map(|pinned| pinned.is_never);
        for (host, expected) in [
            ("kaspi.kz", Some(true)),
            ("pay.kaspi.kz", Some(true)),
            ("accounts.google.com", Some(true)),
            ("drive.google.com", Some(false)),
            ("connectivitycheck.gstatic.com", Some(true)),
            ("www.gstatic.com", Some(false)),
            ("notkaspi.kz", None),
            ("bilimland.kz", None),
        ] {
            assert_eq!(is_never(host), expected, "{host}");
        }
        let below: Vec<_> = pinned_below(&HostName::parse("windows.net").unwrap());
        assert_eq!(below.len(), 2);
        assert!(pinned_below(&HostName::parse("bilimland.kz").unwrap()).is_empty());
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
