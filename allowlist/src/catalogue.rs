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

static ENTRIES: &[Entry] = entries![
    "bilimland",
    "daryn",
    "opiq",
    "itest",
    "100ballov",
    "play-nis",
    "stem-academia",
    "imektep",
    "makeathon-kazneuro",
    "kundelik",
    "mektep-edu",
    "bilimal",
    "google-classroom",
    "coursera",
    "zoom",
    "youtube",
    "balapan-tv",
    "qazaq-radio",
];

static PROFILES: &[Entry] = profiles!["moodle", "canvas", "univer", "platonus", "el-arna"];

static ENTRY_SITES: LazyLock<Vec<Site>> = LazyLock::new(|| sites(ENTRIES));
static PROFILE_SITES: LazyLock<Vec<Site>> = LazyLock::new(|| sites(PROFILES));

fn sites(entries: &'static [Entry]) -> Vec<Site> {
    let site =
        |entry| file::catalogue_site(entry).expect("every entry is built into the program, and a test reads each");
    entries.iter().map(site).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::allowlist::Allowlist;
    use crate::file::is_safe_for_its_class;
    use crate::site::{Class, HostPattern, TlsMode};

    fn all() -> impl Iterator<Item = &'static Entry> {
        entries().iter().chain(profiles())
    }

    #[test]
    fn every_entry_is_a_site_that_is_safe_for_its_class() {
        for entry in all() {
            let (name, site) = (entry.name(), entry.site());
            assert_eq!(site.name(), name);
            assert_eq!(site.hosts().is_empty(), entry.is_profile(), "{name}");
            assert_eq!(site.catalogue(), Some(name));
            assert!(is_safe_for_its_class(site), "{name}: its pages are not for everybody, and could be stored");
            // A promise about classes, asked without the code that the linter uses.
            if site.class().never_stores_pages() {
                assert!(site.rules().last().is_some_and(|rule| rule.never_store), "{name}: the last word");
                for rule in site.rules().iter().filter(|rule| !rule.never_store) {
                    assert!(rule.path().as_str() != "/**" && rule.fresh_min.is_none(), "{name}: {}", rule.path());
                }
            }
            if matches!(site.class(), Class::Video | Class::Conference) {
                assert_eq!(site.tls(), TlsMode::Splice, "{name}");
            }
        }
    }

    #[test]
    fn what_is_shared_freely_is_named_and_never_everything() {
        for entry in all() {
            for rule in entry.site().rules().iter().filter(|rule| rule.anonymous || rule.fresh_min.is_some()) {
                let path = rule.path().as_str();
                let named = path.split('/').filter(|segment| !segment.is_empty() && !segment.contains('*')).count();
                assert!(named >= 1, "{}: {path}", entry.name());
            }
        }
    }

    #[test]
    fn no_entry_names_what_belongs_to_everybody() {
        for entry in all() {
            for host in entry.site().hosts() {
                assert!(!host.host().is_public_suffix(), "{}: {host}", entry.name());
                if let HostPattern::Suffix(suffix) = host.pattern() {
                    assert!(suffix.registrable().is_some(), "{}: {host}", entry.name());
                }
            }
        }
    }

    #[test]
    fn all_entries_together_make_a_list_without_a_finding() {
        let sites = entries().iter().map(|entry| format!("[[site]]\ncatalogue = \"{}\"\n", entry.name()));
        let profiles = profiles().iter().map(|entry| {
            format!("[[site]]\nprofile = \"{0}\"\nhosts = [\"{0}.example.kz\", \"*.{0}.example.kz\"]\n", entry.name())
        });
        let text: String = sites.chain(profiles).collect();
        let loaded = Allowlist::parse("allowlist.toml", &text).unwrap();
        assert_eq!(loaded.allowlist.sites().len(), entries().len() + crate::catalogue::profiles().len());
        assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
        // Each by itself is a file too, so that an operator can copy one out and change it.
        for entry in entries() {
            assert!(Allowlist::parse(entry.name(), entry.text()).is_ok(), "{}", entry.name());
        }
    }

    #[test]
    fn every_entry_says_its_source_and_what_nobody_checked() {
        for entry in all() {
            assert!(entry.text().starts_with('#'), "{}", entry.name());
            assert!(entry.is_profile() || entry.text().contains("Source: "), "{}", entry.name());
            assert!(entry.text().contains("Not verified: ") || entry.name() == "el-arna", "{}", entry.name());
            let title = entry.site().title();
            assert!(["kk", "ru", "en"].iter().all(|tag| !title.in_language(tag).is_empty()), "{}", entry.name());
        }
    }

    #[test]
    fn every_file_of_the_catalogue_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
        let count = |folder: &Path| {
            let is_toml = |file: &std::fs::DirEntry| file.path().extension().is_some_and(|e| e == "toml");
            std::fs::read_dir(folder).unwrap().filter_map(Result::ok).filter(is_toml).count()
        };
        assert_eq!(count(&folder), entries().len());
        assert_eq!(count(&folder.join("profiles")), profiles().len());
    }

    #[test]
    fn the_sites_of_2020_are_there() {
        let loaded = entries().iter().map(|entry| format!("[[site]]\ncatalogue = \"{}\"\n", entry.name()));
        let list = Allowlist::parse("allowlist.toml", &loaded.collect::<String>()).unwrap().allowlist;
        for host in [
            "bilimland.kz",
            "daryn.online",
            "opiq.kz",
            "itest.kz",
            "100ballov.kz",
            "play.nis.edu.kz",
            "stem-academia.com",
            "imektep.kz",
            "makeathon.kazneuro.kz",
            "kundelik.kz",
            "mektep.edu.kz",
            "bilimal.kz",
            "classroom.google.com",
            "coursera.org",
            "zoom.us",
            "www.youtube.com",
            "balapantv-stream.qazcdn.com",
            "qazradio.fm",
        ] {
            let host = crate::HostName::parse(host).unwrap();
            assert!(list.site_of(&host).is_some_and(|site| site.catalogue().is_some()), "{host}");
        }
        for profile in ["moodle", "canvas", "univer", "platonus", "el-arna"] {
            assert!(find(profile).is_some_and(Entry::is_profile), "{profile}");
        }
    }
}
