//! From a file's text to an allowlist, or to all that is wrong with it.
//!
//! `draft` is the file as it is written, `build` makes sites of it, `lint` looks at what only shows between them.

mod build;
mod draft;
pub mod limits;
mod lint;
mod read;
mod report;
mod values;

use std::fmt;

use toml::de::DeTable;

use self::build::Built;
use self::draft::SiteDraft;
use self::limits::{DIAGNOSTICS_MAX, FILE_BYTES_MAX, FILE_RULES_MAX, HOSTS_MAX, SITES_MAX};
use self::report::{At, Report};
use crate::allowlist::Allowlist;
use crate::catalogue;
use crate::diagnostic::{Diagnostic, Severity, shown};
use crate::evidence::Evidence;
use crate::site::{Site, Source};

#[cfg(test)]
pub(crate) use self::lint::is_safe_for_its_class;
pub(crate) use self::read::edits;
pub use self::read::nearest;
pub(crate) use self::values::url;

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The list.
    pub allowlist: Allowlist,
    /// What in the file has no effect, or perhaps not the one that was meant.
    pub warnings: Vec<Diagnostic>,
}

/// A file that cannot be used, with all findings, warnings too, in the order of the file.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// The findings; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there were than are told ([`limits::DIAGNOSTICS_MAX`]).
    pub untold: usize,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.diagnostics.iter().filter(|told| told.severity == Severity::Error);
        match errors.clone().next() {
            Some(first) => write!(f, "{first}")?,
            None => f.write_str("the allowlist is refused")?,
        }
        match errors.count() + self.untold {
            0 | 1 => Ok(()),
            more => write!(f, " (and {} more)", more - 1),
        }
    }
}

impl std::error::Error for Rejected {}

pub(crate) fn parse(file_name: &str, text: &str, evidence: &Evidence) -> Result<Loaded, Rejected> {
    if text.len() > FILE_BYTES_MAX {
        let mut report = Report::new(file_name, Source::File, "");
        let message = format!("the file has {} bytes; the limit is {FILE_BYTES_MAX}", text.len());
        report.error(&(0..0), message, "too long", "use `*.` hosts in place of long lists");
        return Err(rejected(report));
    }
    let mut report = Report::new(file_name, Source::File, text);
    let built = sites(&mut report);
    lint::all(&mut report, &built, evidence);
    if report.has_errors() {
        return Err(rejected(report));
    }
    let allowlist = Allowlist::compile(built.into_iter().map(|built| built.site).collect());
    Ok(Loaded { allowlist, warnings: report.finish().0 })
}

fn rejected(report: Report<'_>) -> Rejected {
    let (diagnostics, untold) = report.finish();
    Rejected { diagnostics, untold }
}

/// Reads the text as TOML. With a mistake in the notation itself, only such mistakes are told: what stands
/// around one may be read wrongly.
fn toml<'t>(report: &mut Report<'t>) -> Option<DeTable<'t>> {
    let (document, errors) = DeTable::parse_recoverable(report.text());
    for error in errors.iter().take(DIAGNOSTICS_MAX) {
        let span = error.span().unwrap_or(0..0);
        let message = format!("this is not TOML: {}", error.message().lines().collect::<Vec<_>>().join("; "));
        report.error(&span, message, "here", "texts stand in quotes, lists in [ ], a site begins with [[site]]");
    }
    errors.is_empty().then(|| document.into_inner())
}

fn sites(report: &mut Report<'_>) -> Vec<Built> {
    let Some(document) = toml(report) else { return Vec::new() };
    read::check_keys(report, &document, &["site"], "an allowlist");
    let tables = read::tables(report, &document, "site", "[[site]]");
    if let Some(first) = tables.get(SITES_MAX) {
        let message = format!("the file has {} sites; the limit is {SITES_MAX}", tables.len());
        report.error(&first.span, message, "too many", "join sites, or split the list over boxes");
    }
    let mut built = Vec::with_capacity(tables.len().min(SITES_MAX));
    let (mut hosts, mut rules) = (0, 0);
    for table in tables.iter().take(SITES_MAX) {
        let Some(site) = site(report, table) else { continue };
        lint::site(report, &site);
        hosts += site.site.hosts.len();
        if hosts > HOSTS_MAX {
            let message = format!("with this site the file has more than {HOSTS_MAX} hosts, which is the limit");
            report.error(&site.spans.site, message, "too many", "use `*.` hosts in place of long lists");
            break;
        }
        rules += site.site.rules.len();
        if rules > FILE_RULES_MAX {
            let message = format!("with this site the file has more than {FILE_RULES_MAX} rules, which is the limit");
            report.error(&site.spans.site, message, "too many", "join rules by patterns");
            break;
        }
        built.push(site);
    }
    built
}

fn site(report: &mut Report<'_>, table: &At<&DeTable<'_>>) -> Option<Built> {
    let draft = draft::site(report, table);
    let (draft, base) = match (draft.catalogue.clone(), draft.profile.clone()) {
        (Some(_), Some(profile)) => {
            let help = "keep one: `catalogue` for a site of the country, `profile` for a server of your own";
            report.error(&profile.span, "a site has a `catalogue` or a `profile`, not both", "one too many", help);
            return None;
        }
        (Some(name), None) => (over(report, draft, &name, catalogue::entries(), "site")?, Some(name)),
        (None, Some(name)) => (over(report, draft, &name, catalogue::profiles(), "profile")?, Some(name)),
        (None, None) => (draft, None),
    };
    let known = base.and_then(|name| catalogue::find(&name.value)).map(catalogue::Entry::name);
    build::site(report, draft, known, true)
}

/// Lays a draft over the catalogue entry that it names.
fn over(
    report: &mut Report<'_>,
    draft: SiteDraft,
    name: &At<String>,
    entries: &'static [catalogue::Entry],
    what: &str,
) -> Option<SiteDraft> {
    if let Some(entry) = entries.iter().find(|entry| entry.name() == name.value) {
        let base = base(&mut catalogue_report(entry));
        return Some(match base {
            Some(base) => draft.over(base, &name.span),
            None => draft,
        });
    }
    let names: Vec<&str> = entries.iter().map(catalogue::Entry::name).collect();
    let help = match catalogue::find(&name.value) {
        Some(entry) if entry.is_profile() => {
            format!("it is a profile: write profile = \"{}\" and your `hosts`", name.value)
        }
        Some(_) => format!("it is a site of the catalogue: write catalogue = \"{}\"", name.value),
        None => match nearest(&name.value, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are: {}", names.join(", ")),
        },
    };
    report.error(&name.span, format!("the catalogue has no {what} \"{}\"", shown(&name.value)), "not known", help);
    None
}

/// A catalogue entry as a draft. A test reads every entry, so nothing is found in one at work.
fn base(report: &mut Report<'static>) -> Option<SiteDraft> {
    let document = toml(report)?;
    let tables = read::tables(report, &document, "site", "[[site]]");
    tables.first().map(|table| draft::site(report, table))
}

/// A catalogue entry as a site, by itself; a profile's has no hosts.
pub(crate) fn catalogue_site(entry: &'static catalogue::Entry) -> Result<Site, Rejected> {
    let mut report = catalogue_report(entry);
    let draft = base(&mut report);
    let built = draft.and_then(|draft| build::site(&mut report, draft, Some(entry.name()), !entry.is_profile()));
    match built {
        Some(built) if !report.has_errors() => Ok(built.site),
        _ => Err(rejected(report)),
    }
}

fn catalogue_report(entry: &'static catalogue::Entry) -> Report<'static> {
    Report::new(entry.name(), Source::Catalogue(entry.name()), entry.text())
}

#[cfg(test)]
mod tests;
