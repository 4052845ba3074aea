//! What a night did: counted as it goes, kept as a file, shown by `bulaq report`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Addresses that are named for one reason at one site; the rest are only counted.
pub const EXAMPLES_MAX: usize = 20;

/// The reason for what a page needs and the list does not name. Its examples are the hosts: `https://cdn.example`.
pub const PART_NOT_LISTED: &str = "part-not-listed";

/// Reasons that are told apart at one site; further ones are counted as `other`. Our own words are fewer; the rest
/// is room for status codes that an origin makes up.
const REASONS_MAX: usize = 100;

/// Bytes of a report file that are read: far more than [`EXAMPLES_MAX`] and [`REASONS_MAX`] allow for a hundred sites.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// Report files that are looked at in the folder.
const REPORTS_MAX: usize = 10_000;

/// What one night did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightReport {
    /// When it began; for a resumed night, when its first part began.
    #[serde(with = "rfc3339")]
    pub started: Timestamp,
    /// When it was over.
    #[serde(with = "rfc3339")]
    pub ended: Timestamp,
    /// Whether it went on with the frontier of an interrupted one; its counts are then those of both parts.
    pub is_resumed: bool,
    /// Why it was over.
    pub end: End,
    /// What was asked of each site, by name.
    pub sites: BTreeMap<String, SiteReport>,
}

/// Why a night was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Nothing was left to do.
    Complete,
    /// A limit of the night or of a site was reached; [`SiteReport::limit`] says which.
    Limit,
    /// The window closed. What was left is kept for a resumption.
    Window,
    /// The box was shut down or the command interrupted. What was left is kept.
    Stopped,
}

impl End {
    /// The sentence for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Limit => "ended by a limit",
            Self::Window => "ended with its window",
            Self::Stopped => "stopped",
        }
    }
}

/// What one night did at one site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteReport {
    /// Fetched from the origin and stored.
    pub stored: u64,
    /// Stored before, and fresh enough for the coming day.
    pub fresh: u64,
    /// Stored before; the origin confirmed that it is unchanged (304).
    pub revalidated: u64,
    /// Bytes of bodies that came from the origin.
    pub bytes: u64,
    /// What was left out on purpose, by reason.
    pub skipped: BTreeMap<String, Reason>,
    /// What should have been stored and is not, by reason.
    pub failed: BTreeMap<String, Reason>,
    /// Known, but not reached before the end.
    pub left: u64,
    /// The limit that ended this site's part, if one did.
    pub limit: Option<String>,
}

/// How often something happened for one reason, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How many addresses.
    pub count: u64,
    /// The first [`EXAMPLES_MAX`] of them, without query and each once.
    pub examples: Vec<String>,
}

impl SiteReport {
    /// All that was skipped.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().map(|reason| reason.count).sum()
    }

    /// All that failed.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().map(|reason| reason.count).sum()
    }

    pub(super) fn skip(&mut self, reason: &str, url: &str) {
        let shown = if reason == PART_NOT_LISTED { origin_of(url) } else { url };
        note(&mut self.skipped, reason, shown);
    }

    pub(super) fn fail(&mut self, reason: &str, url: &str) {
        note(&mut self.failed, reason, url);
    }

    /// Takes one address back: it was skipped for a reason that holds no longer.
    pub(super) fn unskip(&mut self, reason: &str, url: &str) {
        if let Some(entry) = self.skipped.get_mut(reason) {
            entry.count = entry.count.saturating_sub(1);
            entry.examples.retain(|example| example != without_query(url));
            if entry.count == 0 {
                self.skipped.remove(reason);
            }
        }
    }
}

impl NightReport {
    /// All sites together.
    pub fn total(&self) -> SiteReport {
        let mut total = SiteReport::default();
        for site in self.sites.values() {
            total.stored += site.stored;
            total.fresh += site.fresh;
            total.revalidated += site.revalidated;
            total.bytes += site.bytes;
            total.left += site.left;
            for (into, from) in [(&mut total.skipped, &site.skipped), (&mut total.failed, &site.failed)] {
                for (reason, entry) in from {
                    into.entry(reason.clone()).or_default().count += entry.count;
                }
            }
        }
        total
    }

    /// Keeps the report in `folder` under the night's beginning, and removes all but the latest `kept`.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn save(&self, folder: &Path, kept: usize) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let name = format!("{}.json", self.started.strftime("%Y-%m-%dT%H%M%SZ"));
        let path = folder.join(name);
        let unfinished = path.with_extension("json.new");
        let mut file = super::file::create_private(&unfinished)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        let reports = saved(folder)?;
        for old in &reports[..reports.len().saturating_sub(kept.max(1))] {
            fs::remove_file(old)?;
        }
        Ok(path)
    }

    /// Reads one report.
    ///
    /// # Errors
    /// What the file system says, or `InvalidData` for a file that is no report.
    pub fn load(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        serde_json::from_reader(io::Read::take(io::BufReader::new(file), REPORT_BYTES_MAX)).map_err(io::Error::from)
    }
}

/// The report files in `folder`, the oldest first. None when there is no such folder yet.
///
/// # Errors
/// Whatever the file system says.
pub fn saved(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut reports = Vec::new();
    for entry in entries.take(REPORTS_MAX) {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            reports.push(path);
        }
    }
    reports.sort();
    Ok(reports)
}

/// An address as it may be written down: without query and fragment.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// The scheme, host and port of an absolute address.
fn origin_of(url: &str) -> &str {
    let from = url.find("://").map_or(0, |at| at + 3);
    url.get(from..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url, |at| &url[..from + at])
}

fn note(reasons: &mut BTreeMap<String, Reason>, reason: &str, url: &str) {
    let is_known = reasons.contains_key(reason);
    let name = if is_known || reasons.len() < REASONS_MAX { reason } else { "other" };
    let entry = reasons.entry(name.to_owned()).or_default();
    entry.count += 1;
    let shown = without_query(url);
    if entry.examples.len() < EXAMPLES_MAX && !entry.examples.iter().any(|example| example == shown) {
        entry.examples.push(shown.to_owned());
    }
}

mod rfc3339 {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(started: &str) -> NightReport {
        let mut site = SiteReport { stored: 2, bytes: 10, ..SiteReport::default() };
        site.skip("robots", "http://a.kz/private?pupil=7");
        site.fail("404", "http://a.kz/gone");
        let started: Timestamp = started.parse().expect("a moment");
        NightReport {
            started,
            ended: started,
            is_resumed: false,
            end: End::Complete,
            sites: BTreeMap::from([("a".to_owned(), site)]),
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_saved_and_names_no_query() {
        let folder = tempfile::tempdir().expect("a folder");
        let written = report("2026-11-21T17:00:00Z");
        let path = written.save(folder.path(), 3).expect("saved");
        assert_eq!(NightReport::load(&path).expect("read"), written);
        assert!(!fs::read_to_string(&path).expect("text").contains("pupil"));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        for day in 10..20 {
            report(&format!("2026-11-{day}T17:00:00Z")).save(folder.path(), 3).expect("saved");
        }
        let names: Vec<_> = saved(folder.path())
            .expect("listed")
            .iter()
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect();
        assert_eq!(names, ["2026-11-17T170000Z.json", "2026-11-18T170000Z.json", "2026-11-19T170000Z.json"]);
        assert!(saved(&folder.path().join("none")).expect("no folder is no report").is_empty());
    }

    #[test]
    fn of_a_part_that_is_not_listed_the_host_is_told_once() {
        let mut site = SiteReport::default();
        for url in ["https://cdn.kz/a?pupil=7", "https://cdn.kz/b", "http://cdn.kz:81", "https://other.kz?x=/", "odd"] {
            site.skip(PART_NOT_LISTED, url);
        }
        let Reason { count, examples } = &site.skipped[PART_NOT_LISTED];
        assert_eq!((*count, examples.len()), (5, 4));
        assert_eq!(examples[..3], ["https://cdn.kz", "http://cdn.kz:81", "https://other.kz"]);
    }

    #[test]
    fn examples_and_reasons_are_bounded_and_all_are_counted() {
        let mut site = SiteReport::default();
        for page in 0..1000 {
            site.fail("404", &format!("http://a.kz/{page}"));
            site.fail(&format!("{page}"), "http://a.kz/");
        }
        assert_eq!(site.failed_total(), 2000);
        assert_eq!(site.failed["404"].examples.len(), EXAMPLES_MAX);
        assert!(site.failed.len() <= REASONS_MAX + 1);
        assert!(site.failed["other"].count > 0);
    }
}
