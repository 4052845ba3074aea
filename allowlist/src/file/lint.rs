//! What each value alone cannot show: rules that nothing reaches, sites that overlap, settings without effect.

mod evidence;
mod known;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use http::Method;

use super::build::Built;
use super::report::{At, Report};
use crate::evidence::Evidence;
use crate::host_name::HostName;
use crate::rule::Rule;
use crate::site::{HostEntry, HostPattern, Position, Scheme, Site, Source, StartPage, TlsMode};

/// How many entries before a host's second one are looked at for the same port: nobody names more ports.
const PORTS_COMPARED_MAX: usize = 1_000;

/// Looks at one site by itself.
pub(super) fn site(report: &mut Report<'_>, built: &Built) {
    unreachable_rules(report, built);
    contradictions(report, built);
    splice_without_effect(report, built);
    start_pages(report, built);
    class(report, built);
}

/// Looks at all sites together.
pub(super) fn all(report: &mut Report<'_>, sites: &[Built], evidence: &Evidence) {
    names(report, sites);
    let hosts = overlaps(report, sites);
    below_another(report, sites, &hosts);
    bundles(report, sites, &hosts);
    known::shared(report, sites);
    known::pinned(report, sites, &hosts);
    evidence::all(report, sites, evidence);
}

fn at(position: Position) -> String {
    match position.source {
        Source::File => format!("in line {}", position.line),
        Source::Catalogue(name) => format!("of the catalogue's \"{name}\""),
    }
}

/// Rules that come after one that is for all their requests. A file's own rules may shadow its catalogue entry's.
fn unreachable_rules(report: &mut Report<'_>, built: &Built) {
    let rules = &built.site.rules;
    for (index, (rule, span)) in rules.iter().zip(&built.spans.rules).enumerate() {
        if rule.at.source != Source::File && built.site.catalogue.is_some() {
            continue;
        }
        if let Some(earlier) = rules.iter().take(index).find(|earlier| earlier.covers(rule)) {
            let message = format!(
                "no request reaches this rule for \"{}\": the rule for \"{}\" {} is for all of them",
                rule.path,
                earlier.path,
                at(earlier.at)
            );
            report.warning(span, message, "never used", "move it before that rule: the first that fits is used");
        }
    }
}

/// Rules that say one thing and its opposite.
fn contradictions(report: &mut Report<'_>, built: &Built) {
    for (rule, span) in built.site.rules.iter().zip(&built.spans.rules) {
        let stronger = match (rule.refuse, rule.never_store) {
            (true, _) => "refuse",
            (false, true) => "never-store",
            (false, false) => continue,
        };
        let has_freshness = rule.fresh_min.is_some() || rule.fresh_max.is_some();
        if has_freshness || rule.narrows_requests() || (rule.refuse && (rule.never_store || rule.anonymous)) {
            let message = format!("`{stronger}` leaves the rest of this rule without effect");
            report.warning(
                span,
                message,
                "has more than it can do",
                format!("keep `{stronger}` or the rest, not both"),
            );
        }
    }
}

/// What is said of pages that the box never sees.
fn splice_without_effect(report: &mut Report<'_>, built: &Built) {
    let site = &built.site;
    let help = "write tls = \"terminate\", or begin a host of plain HTTP with http://";
    let is_seen = site.tls == TlsMode::Terminate || site.hosts.iter().any(|entry| entry.plain_http);
    for (rule, span) in site.rules.iter().zip(&built.spans.rules) {
        // A catalogue entry may have rules ready for a school that terminates the site.
        if !is_seen && rule.at.source == Source::File && (rule.lets_store() || rule.refuse) {
            let message = "this rule has no effect on https: the site is spliced, its pages are not seen";
            report.warning(span, message, "no effect on https", help);
        }
    }
    if site.tls == TlsMode::Splice {
        let is_unseen =
            |page: &&At<StartPage>| page.value.scheme == Scheme::Https && page.position.source == Source::File;
        for page in built.spans.start.iter().filter(is_unseen) {
            let message =
                "the night leaves this page out: the site is spliced, so no pupil would be given what is stored";
            report.warning(&page.span, message, "not fetched", help);
        }
    }
}

fn start_pages(report: &mut Report<'_>, built: &Built) {
    let Some(prefetch) = &built.site.prefetch else { return };
    for At { value: page, span, .. } in &built.spans.start {
        let path = page.path_and_query.split('?').next().unwrap_or_default();
        let query = page.path_and_query.split_once('?').map(|(_, query)| query);
        if !prefetch.includes(path) {
            let help = "begin at a page in the night's scope, or change `include` and `exclude`";
            report.warning(span, "`include` and `exclude` leave this start page out", "out of scope", help);
        }
        let path = crate::path::normalised(path);
        let rule = built.site.rules.iter().find(|rule| rule.is_for(&Method::GET, &path, query));
        if let Some(rule) = rule.filter(|rule| rule.refuse || rule.never_store) {
            let word = if rule.refuse { "refused" } else { "never stored" };
            let message = format!("this start page is {word}: the rule for \"{}\" {} says so", rule.path, at(rule.at));
            report.warning(span, message, "begins where nothing is kept", "begin elsewhere, or change that rule");
        }
    }
}

/// Whether a site's rules say the least that its class asks for: where pages are personal or licensed and the box
/// can see them, the last word for every path is not to store.
pub(crate) fn is_safe_for_its_class(site: &Site) -> bool {
    if !site.class.never_stores_pages() {
        return true;
    }
    let is_seen = site.tls == TlsMode::Terminate || site.hosts.iter().any(|entry| entry.plain_http);
    let everything = Rule::silent(site.at);
    let is_last_word = |rule: &Rule| (rule.never_store || rule.refuse) && rule.covers(&everything);
    // A rule that is for everything and stores would shadow the last word; rules for some paths are exceptions.
    match site.rules.iter().find(|rule| rule.covers(&everything)) {
        Some(rule) => is_last_word(rule),
        None => !is_seen,
    }
}

fn class(report: &mut Report<'_>, built: &Built) {
    if !is_safe_for_its_class(&built.site) {
        let message = format!(
            "a site of class \"{}\" holds pages that are not for everybody, and its rules let them be stored",
            built.site.class
        );
        let help = "end the site with [[site.rule]], path = \"/**\", never-store = true, or write tls = \"splice\"";
        report.warning(&built.spans.site, message, "no last rule that never stores", help);
    }
}

fn names(report: &mut Report<'_>, sites: &[Built]) {
    let mut seen: HashMap<&str, Position> = HashMap::with_capacity(sites.len());
    for built in sites {
        match seen.entry(&built.site.name) {
            Entry::Vacant(vacant) => {
                vacant.insert(built.site.at);
            }
            Entry::Occupied(first) => {
                let message = format!("the name \"{}\" is taken by the site {}", built.site.name, at(*first.get()));
                let help = "join the two sites, or give this one a `name` of its own";
                report.error(&built.spans.name, message, "a name twice", help);
            }
        }
    }
}

/// Which site lists a name as a host, and which as a suffix.
#[derive(Default)]
struct Hosts<'s> {
    exact: HashMap<&'s str, usize>,
    suffix: HashMap<&'s str, usize>,
}

impl<'s> Hosts<'s> {
    fn of(&mut self, pattern: &HostPattern) -> &mut HashMap<&'s str, usize> {
        match pattern {
            HostPattern::Exact(_) => &mut self.exact,
            HostPattern::Suffix(_) => &mut self.suffix,
        }
    }

    /// The longest listed suffix that a host is below, and the site that lists it.
    fn suffix_above<'h>(&self, host: &'h HostName) -> Option<(&'h str, usize)> {
        let mut rest = host.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(&site) = self.suffix.get(above) {
                return Some((above, site));
            }
            rest = above;
        }
        None
    }
}

/// Refuses a host that two sites name, and warns of one that a site names twice.
fn overlaps<'s>(report: &mut Report<'_>, sites: &'s [Built]) -> Hosts<'s> {
    let mut hosts = Hosts::default();
    for (index, built) in sites.iter().enumerate() {
        for (entry_index, (entry, span)) in built.site.hosts.iter().zip(&built.spans.hosts).enumerate() {
            let other = match hosts.of(&entry.pattern).entry(entry.host().as_str()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(index);
                    continue;
                }
                Entry::Occupied(occupied) => *occupied.get(),
            };
            if other != index {
                let (name, place) = sites.get(other).map_or(("", String::new()), |o| (&*o.site.name, at(o.site.at)));
                let message = format!("\"{}\" belongs to the site \"{name}\" {place} already", entry.pattern);
                report.error(span, message, "a host in two sites", "take it out of one of them");
                continue;
            }
            let before = built.site.hosts.iter().take(entry_index);
            let is_same = |before: &HostEntry| before.to_string() == entry.to_string();
            if before.rev().take(PORTS_COMPARED_MAX).any(is_same) {
                report.warning(span, format!("\"{entry}\" is listed twice"), "a second time", "take one away");
            }
        }
    }
    hosts
}

/// Warns where a site's host stands below another site's suffix: right if meant, a surprise if not.
fn below_another(report: &mut Report<'_>, sites: &[Built], hosts: &Hosts<'_>) {
    for (index, built) in sites.iter().enumerate() {
        for (entry, span) in built.site.hosts.iter().zip(&built.spans.hosts) {
            let Some((suffix, other)) = hosts.suffix_above(entry.host()).filter(|(_, other)| *other != index) else {
                continue;
            };
            let name = sites.get(other).map_or("", |other| &*other.site.name);
            let message = format!(
                "\"{}\" lies below \"*.{suffix}\" of the site \"{name}\": what \"{}\" says holds for it",
                entry.pattern, built.site.name
            );
            report.warning(span, message, "in two sites' reach", "this is right if you mean it: the longer name wins");
        }
    }
}

/// Warns where only a part of a site would come from the box.
///
/// Browsers block or ask when a page from a public address loads a part from a private one (Local Network
/// Access), so a page's host and all names below it must be listed together. That holds for what is spliced as well: DNS and
/// the PAC file lead it to the box too. The catalogue's spliced entries were written with that in mind.
fn bundles(report: &mut Report<'_>, sites: &[Built], hosts: &Hosts<'_>) {
    for built in sites {
        let is_known = built.site.tls == TlsMode::Splice;
        let mut told: Vec<HostName> = Vec::new();
        for (entry, span) in built.site.hosts.iter().zip(&built.spans.hosts) {
            let is_known = is_known && entry.at.source != Source::File;
            if is_known || crate::known::shared_in(&entry.pattern).is_some() {
                continue;
            }
            let Some(missing) = missing_beside(&entry.pattern, hosts) else { continue };
            let bundle = entry.host().registrable().unwrap_or_else(|| entry.host().clone());
            if !told.contains(&bundle) {
                split_bundle(report, span, &entry.pattern, &missing);
                told.push(bundle);
            }
        }
    }
}

fn split_bundle(report: &mut Report<'_>, span: &Range<usize>, listed: &HostPattern, missing: &str) {
    let message = format!(
        "only a part of this site would come from the box: \"{listed}\" is listed without {missing}; browsers may block \
         a page whose parts come from both sides"
    );
    report.warning(span, message, "a part of a site", format!("add {missing}"));
}

/// The entries that make a bundle of this one, when they are not listed by any site.
fn missing_beside(pattern: &HostPattern, hosts: &Hosts<'_>) -> Option<String> {
    match pattern {
        _ if host_of(pattern).is_local() || hosts.suffix_above(host_of(pattern)).is_some() => None,
        HostPattern::Exact(name) if hosts.suffix.contains_key(name.as_str()) => None,
        // Below it are other people's sites, and a wildcard for them all is refused.
        HostPattern::Exact(name) if name.is_public_suffix() => None,
        HostPattern::Exact(name) => {
            let above = name.registrable().filter(|above| name.as_str().strip_prefix("www.") == Some(above.as_str()));
            Some(match above {
                Some(above) => format!("\"{above}\" and \"*.{above}\""),
                None => format!("\"*.{name}\""),
            })
        }
        HostPattern::Suffix(name) => (!hosts.exact.contains_key(name.as_str())).then(|| format!("\"{name}\"")),
    }
}

fn host_of(pattern: &HostPattern) -> &HostName {
    match pattern {
        HostPattern::Exact(host) | HostPattern::Suffix(host) => host,
    }
}
