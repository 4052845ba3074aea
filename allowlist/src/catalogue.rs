//! The built-in catalogue: the sites that Kazakhstan's memorandum and ministry named in 2020, and profiles for
//! learning platforms that a school or university runs under a name of its own.
//!
//! Each entry is a file in the notation of `allowlist.toml`; its comments say where each fact comes from and what
//! nobody has checked. A list takes an entry with `catalogue = "bilimland"`, a profile with `profile = "moodle"`
//! and `hosts`; it may say anything else itself, and its own rules are tried before the entry's.

use std::sync::LazyLock;

use crate::file;
use crate::site::Site;

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Entry {
    name: &'static str,
    text: &'static str,
    is_profile: bool,
}

impl Entry {
    /// The word for `catalogue = "…"` or `profile = "…"`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The entry as it is written, with its comments.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Whether it is a profile, which has no hosts of its own.
    pub fn is_profile(&self) -> bool {
        self.is_profile
    }

    /// The entry as a site.
    pub fn site(&self) -> &'static Site {
        let (entries, sites) = if self.is_profile { (PROFILES, &*PROFILE_SITES) } else { (ENTRIES, &*ENTRY_SITES) };
        let index = entries.iter().position(|entry| entry.name == self.name);
        index.and_then(|index| sites.get(index)).expect("an entry is made in this file alone, and each has its site")
    }
}

/// The sites, with their hosts.
pub fn entries() -> &'static [Entry] {
    ENTRIES
}

/// The profiles for a self-hosted name.
pub fn profiles() -> &'static [Entry] {
    PROFILES
}

/// The entry or profile of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().chain(PROFILES).find(|entry| entry.name == name)
}

macro_rules! entries {
    ($($name:literal),+ $(,)?) => {
        &[$(Entry { name: $name, text: include_str!(concat!("../catalogue/", $name, ".toml")), is_profile: false }),+]
    };
}

macro_rules! profiles {
    ($($name:literal),+ $(,)?) => {
        &[$(Entry {
            name: $name,
            text: include_str!(concat!("../catalogue/profiles/", $name, ".toml")),
            is_profile: true,
        }),+]
    };
}

static ENTRIES: &[Entry] = entries!["bilimland",];

static PROFILES: &[Entry] = profiles!["moodle"];

static ENTRY_SITES: LazyLock<Vec<Site>> = LazyLock::new(|| sites(ENTRIES));
static PROFILE_SITES: LazyLock<Vec<Site>> = LazyLock::new(|| sites(PROFILES));

fn sites(entries: &'static [Entry]) -> Vec<Site> {
    let site =
        |entry| file::catalogue_site(entry).expect("every entry is built into the program, and a test reads each");
    entries.iter().map(site).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::is_safe_for_its_class;

    #[test]
    fn every_entry_is_a_site_that_is_safe_for_its_class() {
        for entry in entries().iter().chain(profiles()) {
            let site = entry.site();
            assert_eq!(site.name(), entry.name());
            assert_eq!(site.hosts().is_empty(), entry.is_profile(), "{}", entry.name());
            assert!(is_safe_for_its_class(site), "{}", entry.name());
        }
    }
}
