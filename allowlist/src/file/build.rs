//! From a draft to a site: what is missing is filled in or asked for, what cannot be is refused.

use std::ops::Range;

use super::draft::{PrefetchDraft, SiteDraft, TitleDraft};
use super::limits::DEPTH_DEFAULT;
use super::report::{At, Report};
use super::values::{self, WrittenHost};
use crate::diagnostic::shown;
use crate::rule::Rule;
use crate::site::{Class, HostEntry, HostPattern, Prefetch, Scheme, Site, StartPage, Title, TlsMode, Traffic};

/// A site, and where its parts stand in the file that is read, for the findings that come later.
pub(super) struct Built {
    pub(super) site: Site,
    pub(super) spans: Spans,
}

/// What findings about a site underline.
pub(super) struct Spans {
    pub(super) site: Range<usize>,
    pub(super) name: Range<usize>,
    pub(super) hosts: Vec<Range<usize>>,
    pub(super) rules: Vec<Range<usize>>,
    /// The start pages as the file has them; `Site` has only those that the night can use.
    pub(super) start: Vec<At<StartPage>>,
}

/// Makes a site of a draft. None when something that it needs is missing, which is then told.
///
/// Without hosts only a catalogue profile is whole; `needs_hosts` says that this is none.
pub(super) fn site(
    report: &mut Report<'_>,
    draft: SiteDraft,
    catalogue: Option<&'static str>,
    needs_hosts: bool,
) -> Option<Built> {
    let header = draft.place.span.clone();
    if draft.name.is_none() {
        report.error(&header, "this site has no usable `name`", "no name", "write name = \"bilimland\"");
    }
    if draft.hosts.is_none() && needs_hosts {
        report.error(
            &header,
            "this site has no `hosts`",
            "no hosts",
            "write hosts = [\"bilimland.kz\", \"*.bilimland.kz\"]",
        );
    }
    let written = draft.hosts.as_ref().map_or(&[][..], |hosts| &hosts.value);
    let (hosts, host_spans) = hosts(report, written);
    let name = draft.name?;
    if needs_hosts && hosts.is_empty() {
        return None;
    }
    let tls = draft.tls.as_ref().map_or(TlsMode::Splice, |tls| tls.value);
    let (prefetch, start) = prefetch(report, &draft.prefetch, &hosts, tls);
    let (rules, rule_spans) = draft.rules.into_iter().map(|rule| (rule.value, rule.span)).unzip();
    let site = Site {
        title: title(draft.title.map(|title| title.value).unwrap_or_default(), &name.value),
        name: name.value.into(),
        class: draft.class.map_or(Class::PublicLessons, |class| class.value),
        traffic: draft.traffic.map_or(Traffic::Metered, |traffic| traffic.value),
        tls,
        languages: draft.languages.map_or_else(Vec::new, |list| list.value.into_iter().map(Into::into).collect()),
        subjects: draft.subjects.map_or_else(Vec::new, |list| list.value.into_iter().map(Into::into).collect()),
        hosts,
        addresses: draft.addresses.map_or_else(Vec::new, |list| list.value),
        rules,
        otherwise: Rule::silent(draft.place.position),
        prefetch,
        catalogue,
        file: report.file().clone(),
        at: draft.place.position,
    };
    let spans = Spans { site: header, name: name.span, hosts: host_spans, rules: rule_spans, start };
    Some(Built { site, spans })
}

/// The title, each language from the nearest that was written.
fn title(draft: TitleDraft, name: &str) -> Title {
    let first =
        |choices: [&Option<String>; 3]| choices.into_iter().flatten().next().map_or(name, String::as_str).into();
    let TitleDraft { kk, ru, en } = &draft;
    Title { kk: first([kk, ru, en]), ru: first([ru, kk, en]), en: first([en, ru, kk]) }
}

fn hosts(report: &mut Report<'_>, written: &[At<WrittenHost>]) -> (Vec<HostEntry>, Vec<Range<usize>>) {
    let mut hosts = Vec::with_capacity(written.len());
    let mut spans = Vec::with_capacity(written.len());
    for host in written {
        if is_listable(report, host) {
            let WrittenHost { pattern, plain_http, port } = host.value.clone();
            hosts.push(HostEntry { pattern, plain_http, port, at: host.position });
            spans.push(host.span.clone());
        }
    }
    (hosts, spans)
}

/// Refuses hosts that would permit what belongs to everybody.
fn is_listable(report: &mut Report<'_>, host: &At<WrittenHost>) -> bool {
    let span = &host.span;
    match &host.value.pattern {
        HostPattern::Exact(name) if name.is_local() => true,
        HostPattern::Exact(name) if name.labels() == 1 => {
            let message = format!("\"{name}\" is a single word, not a host on the Internet");
            report.error(span, message, "too short", format!("write the whole name, such as \"school.{name}\""));
            false
        }
        HostPattern::Exact(name) => {
            if name.is_public_suffix() {
                let message = format!("\"{name}\" is a public suffix: this permits that one host and nothing below it");
                report.warning(span, message, "a public suffix", "is the name of one site's host meant?");
            }
            true
        }
        HostPattern::Suffix(name) if name.is_local() => true,
        HostPattern::Suffix(name) if name.is_public_suffix() => {
            let message = format!("\"*.{name}\" would permit every site of everybody: `{name}` is a public suffix");
            let help = format!("name the site: \"*.bilimland.{name}\"");
            report.error(span, message, "a public suffix", help);
            false
        }
        HostPattern::Suffix(_) => true,
    }
}

fn prefetch(
    report: &mut Report<'_>,
    draft: &PrefetchDraft,
    hosts: &[HostEntry],
    tls: TlsMode,
) -> (Option<Prefetch>, Vec<At<StartPage>>) {
    let Some(place) = &draft.place else { return (None, Vec::new()) };
    let written = draft.start.as_ref().map_or(&[][..], |start| &start.value);
    let mut pages = Vec::with_capacity(written.len());
    for text in written {
        if let Some(page) = start_page(report, text, hosts) {
            pages.push(At { value: page, span: text.span.clone(), position: text.position });
        }
    }
    if written.is_empty() && !hosts.is_empty() {
        let help = "write start = [\"/\"], or take [site.prefetch] away";
        report.warning(&place.span, "the night has no page to begin with", "no `start`", help);
    }
    // A spliced connection never reaches the store, so a page fetched for it would be fetched for nobody.
    let is_reachable = |page: &StartPage| tls == TlsMode::Terminate || page.scheme == Scheme::Http;
    let start: Vec<StartPage> = pages.iter().map(|page| page.value.clone()).filter(is_reachable).collect();
    let counted = |at: &Option<At<u64>>| at.as_ref().map(|at| at.value);
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let prefetch = Prefetch {
        start,
        sitemaps: draft.sitemaps.as_ref().is_none_or(|at| at.value),
        depth: counted(&draft.depth).map_or(DEPTH_DEFAULT, narrow),
        include: draft.include.as_ref().map_or_else(Vec::new, |at| at.value.clone()),
        exclude: draft.exclude.as_ref().map_or_else(Vec::new, |at| at.value.clone()),
        pages_max: counted(&draft.pages_max),
        bytes_max: counted(&draft.bytes_max),
        requests_per_second: draft.requests_per_second.as_ref().map(|at| at.value),
        in_flight_max: counted(&draft.in_flight_max).map(narrow),
    };
    (Some(prefetch).filter(|prefetch| !prefetch.start.is_empty()), pages)
}

/// A start page: a path on the site's first host that has a whole name, or an absolute URL.
fn start_page(report: &mut Report<'_>, text: &At<String>, hosts: &[HostEntry]) -> Option<StartPage> {
    if text.value.starts_with('/') && !text.value.starts_with("//") {
        let is_exact = |entry: &&HostEntry| matches!(entry.pattern, HostPattern::Exact(_));
        let Some(entry) = hosts.iter().find(is_exact) else {
            // Without any host the missing `hosts` is told already, or this is a profile.
            if !hosts.is_empty() {
                let help = "write the whole URL, or list the page's host by its whole name in `hosts`";
                report.error(&text.span, "which host is this path on? The site has only `*.` hosts", "no host", help);
            }
            return None;
        };
        let scheme = if entry.plain_http { Scheme::Http } else { Scheme::Https };
        return Some(StartPage {
            scheme,
            host: entry.host().clone(),
            port: entry.port.unwrap_or(scheme.default_port()),
            path_and_query: values::path_and_query(&text.value).into(),
        });
    }
    let url = match values::url(&text.value) {
        Ok(url) => url,
        Err(wrong) => {
            let help = format!("{}, or a path that begins with /", wrong.help);
            report.error(&text.span, wrong.message, wrong.label, help);
            return None;
        }
    };
    let names = |entry: &&HostEntry| match &entry.pattern {
        HostPattern::Exact(name) => *name == url.host,
        HostPattern::Suffix(name) => url.host.is_below(name),
    };
    let mut naming = hosts.iter().filter(names).peekable();
    if naming.peek().is_none() {
        let message = format!("\"{}\" is not one of this site's hosts", shown(url.host.as_str()));
        let help = format!("add \"{}\" to this site's `hosts`, or begin at one of them", url.host);
        report.error(&text.span, message, "outside the site", help);
        return None;
    }
    if !naming.any(|entry| entry.permits(url.scheme, url.port)) {
        let message = format!("{}://{}:{} is not permitted by this site's hosts", url.scheme, url.host, url.port);
        let help = format!("write \"{}:{}\" in `hosts`, or leave the port out here", url.host, url.port);
        report.error(&text.span, message, "another port or scheme", help);
        return None;
    }
    let path_and_query = url.path_and_query.into();
    Some(StartPage { scheme: url.scheme, host: url.host, port: url.port, path_and_query })
}
