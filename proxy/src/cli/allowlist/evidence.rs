//! What the box of a configuration knows about its allowlist: its CA's names, its certificates, and what its nights saw.

use std::path::Path;

use bulaq_allowlist::{Allowlist, CaNames, Evidence, HostName, HostPattern, MissingPart};

use crate::ca::{CertificateName, Intermediate, Root, Scope, Standing};
use crate::clock::Clock;
use crate::config::Config;
use crate::prefetch::report::{NightReport, PART_NOT_LISTED, saved};

/// The nights whose reports are looked at: a week, in which every page was seen again.
const NIGHTS: usize = 7;

/// Gathers it. What cannot be read is told and left out: a check of the file is worth having all the same.
pub(super) fn gather(config: &Config) -> (Evidence, Vec<String>) {
    let mut notes = Vec::new();
    let ca = match Standing::read(&config.data.join("ca"), &Allowlist::default(), Clock::system().now()) {
        Ok(standing) => Some(ca_names(standing.root.as_ref(), standing.intermediate.as_ref())),
        Err(error) => {
            notes.push(format!("checked without the CA: {error}"));
            None
        }
    };
    let nights = config.data.join("nights");
    let missing = missing(&nights).unwrap_or_else(|error| {
        notes.push(format!("checked without the nights' reports in {}: {error}", nights.display()));
        Vec::new()
    });
    let certified = config.certificates.iter().flat_map(|file| &file.names).map(pattern).collect();
    (Evidence { ca, certified, missing }, notes)
}

fn ca_names(root: Option<&Root>, intermediate: Option<&Intermediate>) -> CaNames {
    let names = |scope: &Scope| scope.names().cloned().collect();
    CaNames { root: root.map(|root| names(&root.scope)), intermediate: intermediate.map(|it| names(&it.scope)) }
}

fn pattern(name: &CertificateName) -> HostPattern {
    match name {
        CertificateName::Host(host) => HostPattern::Exact(host.clone()),
        CertificateName::Below(above) => HostPattern::Suffix(above.clone()),
    }
}

/// The hosts that stored pages need and the list did not name, by the latest reports.
fn missing(nights: &Path) -> std::io::Result<Vec<MissingPart>> {
    let mut missing = Vec::new();
    for path in saved(nights)?.iter().rev().take(NIGHTS) {
        let Ok(report) = NightReport::load(path) else { continue };
        for (site, told) in &report.sites {
            let origins = told.skipped.get(PART_NOT_LISTED).into_iter().flat_map(|reason| &reason.examples);
            let hosts = origins.filter_map(|origin| {
                let authority = origin.split_once("://")?.1;
                HostName::parse(authority.split(':').next()?).ok()
            });
            missing.extend(hosts.map(|host| MissingPart { site: site.as_str().into(), host }));
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prefetch::report::{End, Reason, SiteReport};

    #[test]
    fn a_new_box_has_no_ca_and_no_nights_and_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::defaults(folder.path()) };
        let (evidence, notes) = gather(&config);
        assert_eq!(evidence, Evidence { ca: Some(CaNames::default()), ..Evidence::default() });
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn hosts_come_from_the_latest_reports() {
        let folder = tempfile::tempdir().unwrap();
        let started: jiff::Timestamp = "2026-11-21T17:00:00Z".parse().unwrap();
        let examples = ["https://cdn.kz", "http://media.kz:81", "https://192.0.2.1"].map(str::to_owned).to_vec();
        let reason = Reason { count: 5, examples };
        let skipped = BTreeMap::from([(PART_NOT_LISTED.to_owned(), reason)]);
        let site = SiteReport { skipped, ..SiteReport::default() };
        let sites = BTreeMap::from([("lessons".to_owned(), site)]);
        let report = NightReport { started, ended: started, is_resumed: false, end: End::Complete, sites };
        report.save(folder.path(), 3).unwrap();
        std::fs::write(folder.path().join("2026-11-22T170000Z.json"), "no report").unwrap();
        let hosts: Vec<_> =
            missing(folder.path()).unwrap().iter().map(|it| format!("{} {}", it.site, it.host)).collect();
        assert_eq!(hosts, ["lessons cdn.kz", "lessons media.kz"]);
    }
}
