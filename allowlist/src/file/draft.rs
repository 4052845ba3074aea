//! A site as it is written: every value with its place, nothing decided yet.
//!
//! A draft may be laid over another: over a catalogue entry's, whose rules then come after its own.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use http::Method;
use toml::de::DeTable;

use super::limits::{
    BYTES_MAX, DEPTH_MAX, FRESH_MAX_S, HOSTS_MAX, IN_FLIGHT_MAX, NAME_CHARS_MAX, PAGES_MAX, REQUESTS_PER_SECOND_MAX,
    RULES_MAX, START_PAGES_MAX,
};
use super::read;
use super::report::{At, Report};
use super::values::{self, WrittenHost, Wrong};
use crate::diagnostic::shown;
use crate::glob::{Glob, GlobError};
use crate::rule::Rule;
use crate::site::{Class, TlsMode, Traffic};

/// Everything that a `[[site]]` may say.
pub(crate) const SITE_KEYS: &[&str] = &[
    "name",
    "title",
    "catalogue",
    "profile",
    "class",
    "hosts",
    "traffic",
    "tls",
    "languages",
    "subjects",
    "addresses",
    "rule",
    "prefetch",
];

/// Everything that a `[[site.rule]]` may say.
pub(crate) const RULE_KEYS: &[&str] = &[
    "path",
    "query",
    "methods",
    "refuse",
    "never-store",
    "anonymous",
    "fresh-min",
    "fresh-max",
    "ignore-query",
    "select-query",
    "languages",
];

/// Everything that a `[site.prefetch]` may say.
pub(crate) const PREFETCH_KEYS: &[&str] = &[
    "start",
    "sitemaps",
    "depth",
    "include",
    "exclude",
    "pages-max",
    "bytes-max",
    "requests-per-second",
    "in-flight-max",
];

/// Everything that a title may say.
const TITLE_KEYS: &[&str] = &["kk", "ru", "en"];

/// A title in the languages that were written.
#[derive(Debug, Clone, Default)]
pub(super) struct TitleDraft {
    pub(super) kk: Option<String>,
    pub(super) ru: Option<String>,
    pub(super) en: Option<String>,
}

/// A site as it is written.
#[derive(Debug, Clone)]
pub(super) struct SiteDraft {
    /// The whole table; where `[[site]]` stands.
    pub(super) place: At<()>,
    pub(super) name: Option<At<String>>,
    pub(super) title: Option<At<TitleDraft>>,
    pub(super) catalogue: Option<At<String>>,
    pub(super) profile: Option<At<String>>,
    pub(super) class: Option<At<Class>>,
    pub(super) hosts: Option<At<Vec<At<WrittenHost>>>>,
    pub(super) traffic: Option<At<Traffic>>,
    pub(super) tls: Option<At<TlsMode>>,
    pub(super) languages: Option<At<Vec<String>>>,
    pub(super) subjects: Option<At<Vec<String>>>,
    pub(super) addresses: Option<At<Vec<IpAddr>>>,
    pub(super) rules: Vec<At<Rule>>,
    pub(super) prefetch: PrefetchDraft,
}

/// What the night fetches, as it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct PrefetchDraft {
    /// Where `[site.prefetch]` stands, if it does.
    pub(super) place: Option<At<()>>,
    pub(super) start: Option<At<Vec<At<String>>>>,
    pub(super) sitemaps: Option<At<bool>>,
    pub(super) depth: Option<At<u64>>,
    pub(super) include: Option<At<Vec<Glob>>>,
    pub(super) exclude: Option<At<Vec<Glob>>>,
    pub(super) pages_max: Option<At<u64>>,
    pub(super) bytes_max: Option<At<u64>>,
    pub(super) requests_per_second: Option<At<f64>>,
    pub(super) in_flight_max: Option<At<u64>>,
}

impl SiteDraft {
    /// This site with everything that it doesn't say taken from `base`; its own rules are tried before the base's.
    ///
    /// What comes from the base is underlined at `span`, the place in the file that names the base.
    pub(super) fn over(mut self, base: SiteDraft, span: &Range<usize>) -> SiteDraft {
        fn fill<T>(mine: &mut Option<At<T>>, base: Option<At<T>>, span: &Range<usize>) {
            if mine.is_none() {
                *mine = base.map(|at| At { span: span.clone(), ..at });
            }
        }
        fn moved<T>(list: At<Vec<At<T>>>, span: &Range<usize>) -> At<Vec<At<T>>> {
            list.map(|items| items.into_iter().map(|item| At { span: span.clone(), ..item }).collect())
        }
        fill(&mut self.name, base.name, span);
        fill(&mut self.title, base.title, span);
        fill(&mut self.class, base.class, span);
        fill(&mut self.hosts, base.hosts.map(|hosts| moved(hosts, span)), span);
        fill(&mut self.traffic, base.traffic, span);
        fill(&mut self.tls, base.tls, span);
        fill(&mut self.languages, base.languages, span);
        fill(&mut self.subjects, base.subjects, span);
        fill(&mut self.addresses, base.addresses, span);
        self.rules.extend(base.rules.into_iter().map(|rule| At { span: span.clone(), ..rule }));
        let (mine, base) = (&mut self.prefetch, base.prefetch);
        fill(&mut mine.place, base.place, span);
        fill(&mut mine.start, base.start.map(|start| moved(start, span)), span);
        fill(&mut mine.sitemaps, base.sitemaps, span);
        fill(&mut mine.depth, base.depth, span);
        fill(&mut mine.include, base.include, span);
        fill(&mut mine.exclude, base.exclude, span);
        fill(&mut mine.pages_max, base.pages_max, span);
        fill(&mut mine.bytes_max, base.bytes_max, span);
        fill(&mut mine.requests_per_second, base.requests_per_second, span);
        fill(&mut mine.in_flight_max, base.in_flight_max, span);
        self
    }
}

/// Tells what is wrong with a value, and goes on without it.
fn accept<T>(report: &mut Report<'_>, span: &Range<usize>, result: Result<T, Wrong>) -> Option<T> {
    result.map_err(|wrong| report.error(span, wrong.message, wrong.label, wrong.help)).ok()
}

/// Reads one `[[site]]`.
pub(super) fn site(report: &mut Report<'_>, table: &At<&DeTable<'_>>) -> SiteDraft {
    let (toml, place) =
        (table.value, At { value: (), span: header_span(report, &table.span), position: table.position });
    read::check_keys(report, toml, SITE_KEYS, "a [[site]]");
    SiteDraft {
        place,
        name: read::text(report, toml, "name", "\"bilimland\"").and_then(|name| check_name(report, name)),
        title: title(report, toml),
        catalogue: read::text(report, toml, "catalogue", "\"bilimland\""),
        profile: read::text(report, toml, "profile", "\"moodle\""),
        class: read::word(report, toml, "class", Class::WORDS),
        hosts: hosts(report, toml),
        traffic: read::word(report, toml, "traffic", Traffic::WORDS),
        tls: read::word(report, toml, "tls", TlsMode::WORDS),
        languages: languages(report, toml),
        subjects: read::few_texts(report, toml, "subjects", "[\"математика\"]").map(|list| {
            list.map(|texts| texts.into_iter().filter_map(|text| Some(read::title(report, text)?.value)).collect())
        }),
        addresses: addresses(report, toml),
        rules: rules(report, toml),
        prefetch: prefetch(report, toml),
    }
}

/// Only the first line of a table is underlined: `[[site]]`.
fn header_span(report: &Report<'_>, span: &Range<usize>) -> Range<usize> {
    let text = report.text().get(span.clone()).unwrap_or_default();
    let line = text.find(['\n', '\r']).unwrap_or(text.len());
    span.start..span.start + line
}

fn check_name(report: &mut Report<'_>, name: At<String>) -> Option<At<String>> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.value.is_empty() && name.value.chars().count() <= NAME_CHARS_MAX && name.value.chars().all(is_plain) {
        return Some(name);
    }
    let message = format!("`name` has 1 to {NAME_CHARS_MAX} small Latin letters, digits and hyphens");
    let plain: String =
        name.value.to_lowercase().chars().map(|c| if is_plain(c) { c } else { '-' }).take(NAME_CHARS_MAX).collect();
    let plain = plain.trim_matches('-');
    let help = if plain.is_empty() {
        "write for example \"bilimland\"; the name for people belongs in `title`".to_owned()
    } else {
        format!("write \"{plain}\"; the name for people belongs in `title`")
    };
    report.error(&name.span, message, "not a short name", help);
    None
}

fn title(report: &mut Report<'_>, toml: &DeTable<'_>) -> Option<At<TitleDraft>> {
    if toml.get("title")?.get_ref().is_str() {
        let text = read::text(report, toml, "title", "\"\"")?;
        let text = read::title(report, text)?;
        return Some(text.map(|one| TitleDraft { kk: Some(one.clone()), ru: Some(one.clone()), en: Some(one) }));
    }
    let table = read::table(report, toml, "title", "title = { kk = \"…\", ru = \"…\", en = \"…\" }")?;
    read::check_keys(report, table.value, TITLE_KEYS, "a title");
    let mut language = |key| {
        let text = read::text(report, table.value, key, "\"…\"")?;
        Some(read::title(report, text)?.value)
    };
    let draft = TitleDraft { kk: language("kk"), ru: language("ru"), en: language("en") };
    Some(At { value: draft, span: table.span, position: table.position })
}

fn hosts(report: &mut Report<'_>, toml: &DeTable<'_>) -> Option<At<Vec<At<WrittenHost>>>> {
    let list = read::texts(report, toml, "hosts", "[\"bilimland.kz\", \"*.bilimland.kz\"]", HOSTS_MAX)?;
    if list.value.is_empty() {
        report.error(&list.span, "`hosts` is empty", "no host", "write at least one: hosts = [\"bilimland.kz\"]");
    }
    Some(list.map(|texts| {
        let mut hosts = Vec::with_capacity(texts.len());
        for text in texts {
            if let Some(host) = accept(report, &text.span, values::host_entry(&text.value)) {
                hosts.push(text.map(|_| host));
            }
        }
        hosts
    }))
}

fn languages(report: &mut Report<'_>, toml: &DeTable<'_>) -> Option<At<Vec<String>>> {
    let list = read::few_texts(report, toml, "languages", "[\"kk\", \"ru\"]")?;
    Some(list.map(|texts| {
        let is_tag = |tag: &str| (2..=3).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_lowercase());
        let mut tags = Vec::with_capacity(texts.len());
        for text in texts {
            if is_tag(&text.value) {
                tags.push(text.value);
            } else {
                let message = format!("\"{}\" is not a language tag", shown(&text.value));
                report.error(&text.span, message, "not a tag", "write two letters: \"kk\", \"ru\", \"en\"");
            }
        }
        tags
    }))
}

fn addresses(report: &mut Report<'_>, toml: &DeTable<'_>) -> Option<At<Vec<IpAddr>>> {
    let list = read::few_texts(report, toml, "addresses", "[\"10.1.2.3\"]")?;
    Some(list.map(|texts| {
        let mut addresses = Vec::with_capacity(texts.len());
        for text in texts {
            match text.value.parse::<IpAddr>() {
                Ok(address) => addresses.push(address.to_canonical()),
                Err(_) => {
                    let message = format!("\"{}\" is not an IP address", shown(&text.value));
                    report.error(
                        &text.span,
                        message,
                        "not an IP address",
                        "write one like \"10.1.2.3\" or \"fd00::1\"",
                    );
                }
            }
        }
        addresses
    }))
}

fn rules(report: &mut Report<'_>, toml: &DeTable<'_>) -> Vec<At<Rule>> {
    let tables = read::tables(report, toml, "rule", "[[site.rule]]");
    if let Some(first) = tables.get(RULES_MAX) {
        let message = format!("this site has {} rules; the limit is {RULES_MAX}", tables.len());
        report.error(&first.span.clone(), message, "too many", "join rules by patterns, or split the site");
    }
    tables.iter().take(RULES_MAX).filter_map(|table| rule(report, table)).collect()
}

fn rule(report: &mut Report<'_>, table: &At<&DeTable<'_>>) -> Option<At<Rule>> {
    let toml = table.value;
    read::check_keys(report, toml, RULE_KEYS, "a [[site.rule]]");
    let header = header_span(report, &table.span);
    let path = read::text(report, toml, "path", "\"/lessons/**\"");
    if path.is_none() && !toml.contains_key("path") {
        report.error(&header, "this rule has no `path`", "no path", "write path = \"/**\" for all paths");
    }
    let path_glob = path.and_then(|path| path_glob(report, &path));
    let query = read::text(report, toml, "query", "\"*lang=kk*\"").and_then(|query| query_glob(report, &query));
    let mut flag = |key| read::boolean(report, toml, key).is_some_and(|flag| flag.value);
    let (refuse, never_store, anonymous) = (flag("refuse"), flag("never-store"), flag("anonymous"));
    let fresh_min = fresh(report, toml, "fresh-min");
    let fresh_max = fresh(report, toml, "fresh-max");
    if let (Some(min), Some(max)) = (&fresh_min, &fresh_max)
        && min.value > max.value
    {
        let help = "make `fresh-max` the longer one, or leave one of them out";
        report.error(&min.span, "`fresh-min` is longer than `fresh-max`", "longer than `fresh-max`", help);
    }
    let ignore_query = parameters(report, toml, "ignore-query", "[\"utm_*\", \"fbclid\"]");
    let select_query = parameters(report, toml, "select-query", "[\"id\", \"page\"]");
    if let (Some(_), Some(select)) = (&ignore_query, &select_query) {
        let help = "keep one of them: what `select-query` does not name is ignored anyway";
        report.error(&select.span, "`select-query` and `ignore-query` say the same twice", "the other list too", help);
    }
    let languages = languages(report, toml);
    if let Some(list) = languages.as_ref().filter(|list| list.value.len() < 2) {
        let help = "name the languages that the pages come in, or leave `languages` out";
        report.error(&list.span, "`languages` of a rule is for pages in several", "fewer than two", help);
    }
    let rule = Rule {
        path: path_glob?,
        query,
        methods: methods(report, toml),
        at: table.position,
        ignore_query: ignore_query.map_or_else(Vec::new, |list| list.value),
        select_query: select_query.map(|list| list.value),
        languages: languages.map_or_else(Vec::new, |list| list.value.into_iter().map(Into::into).collect()),
        refuse,
        never_store,
        anonymous,
        fresh_min: fresh_min.map(|at| at.value),
        fresh_max: fresh_max.map(|at| at.value),
    };
    Some(At { value: rule, span: header, position: table.position })
}

/// The patterns of names of query parameters under `key`.
fn parameters(report: &mut Report<'_>, toml: &DeTable<'_>, key: &str, example: &str) -> Option<At<Vec<Glob>>> {
    let list = read::few_texts(report, toml, key, example)?;
    Some(list.map(|names| names.iter().filter_map(|name| parameter_glob(report, key, name)).collect()))
}

fn fresh(report: &mut Report<'_>, toml: &DeTable<'_>, key: &str) -> Option<At<Duration>> {
    let text = read::text(report, toml, key, "\"1h\"")?;
    let duration = accept(report, &text.span, values::duration(&text.value))?;
    if duration.as_secs() > FRESH_MAX_S {
        let message = format!("`{key}` must be at most {} days", FRESH_MAX_S / 86_400);
        report.error(&text.span, message, "too long", "write for example \"365d\"");
        return None;
    }
    Some(text.map(|_| duration))
}

fn methods(report: &mut Report<'_>, toml: &DeTable<'_>) -> Vec<Method> {
    let Some(list) = read::few_texts(report, toml, "methods", "[\"GET\", \"HEAD\"]") else { return Vec::new() };
    if list.value.is_empty() {
        let help = "name at least one, or leave `methods` out for all";
        report.error(&list.span, "`methods` is empty: the rule is for no request", "no method", help);
    }
    let mut methods = Vec::with_capacity(list.value.len());
    for text in list.value {
        let upper = text.value.to_ascii_uppercase();
        match Method::from_bytes(upper.as_bytes()) {
            // Methods are case-sensitive (RFC 9110 §9.1), and nobody means another one by `get`.
            Ok(method) if upper == text.value => methods.push(method),
            Ok(_) => {
                let message = format!("methods are written in capitals: \"{}\"", shown(&text.value));
                report.error(&text.span, message, "not in capitals", format!("write \"{}\"", shown(&upper)));
            }
            Err(_) => {
                let message = format!("\"{}\" is not a method", shown(&text.value));
                report.error(&text.span, message, "not a method", "write for example \"GET\" or \"POST\"");
            }
        }
    }
    methods
}

/// A pattern of paths.
fn path_glob(report: &mut Report<'_>, text: &At<String>) -> Option<Glob> {
    let path = &text.value;
    if Glob::looks_like_a_query(path) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let help = format!("write path = \"{}\" and query = \"{}\"", shown(path), shown(query));
        let message = "a query does not belong in a path: `?` stands for one character";
        report.error(&text.span, message, "a query in it", help);
        return None;
    }
    if crate::path::has_odd_segments(path) {
        let help = "write the path as browsers send it, without //, /./ and /../ in it";
        report.error(&text.span, "no request has such a path", "//, /./ or /../", help);
        return None;
    }
    glob(report, text, Glob::path(path))
}

fn query_glob(report: &mut Report<'_>, text: &At<String>) -> Option<Glob> {
    if let Some(rest) = text.value.strip_prefix('?')
        && rest.contains('=')
    {
        let help = format!("write query = \"{}\"", shown(rest));
        report.error(&text.span, "the query begins behind `?`", "`?` stands for one character", help);
        return None;
    }
    glob(report, text, Glob::text(&text.value))
}

fn parameter_glob(report: &mut Report<'_>, key: &str, text: &At<String>) -> Option<Glob> {
    if text.value.contains(['=', '&']) {
        let name = text.value.split(['=', '&']).next().unwrap_or_default();
        let help = format!("write only the name: \"{}\"", shown(name));
        report.error(&text.span, format!("`{key}` lists names of parameters"), "more than a name", help);
        return None;
    }
    glob(report, text, Glob::text(&text.value))
}

fn glob(report: &mut Report<'_>, text: &At<String>, result: Result<Glob, GlobError>) -> Option<Glob> {
    let error = match result {
        Ok(glob) => return Some(glob),
        Err(error) => error,
    };
    let help = match error {
        GlobError::Empty => "write \"/**\" for all paths".to_owned(),
        GlobError::TooLong => "shorten it by `*` and `**`".to_owned(),
        GlobError::NoSlash if text.value.starts_with('*') => format!("write \"/**/{}\"", shown(&text.value)),
        GlobError::NoSlash => format!("write \"/{}\"", shown(&text.value)),
    };
    report.error(&text.span, format!("\"{}\" is not a pattern: {error}", shown(&text.value)), "not a pattern", help);
    None
}

fn prefetch(report: &mut Report<'_>, toml: &DeTable<'_>) -> PrefetchDraft {
    let Some(table) = read::table(report, toml, "prefetch", "[site.prefetch]") else {
        return PrefetchDraft::default();
    };
    let toml = table.value;
    read::check_keys(report, toml, PREFETCH_KEYS, "[site.prefetch]");
    let place = At { value: (), span: header_span(report, &table.span), position: table.position };
    let mut globs = |key: &str| {
        let list = read::few_texts(report, toml, key, "[\"/kk/**\"]")?;
        Some(list.map(|texts| texts.iter().filter_map(|text| path_glob(report, text)).collect()))
    };
    let (include, exclude) = (globs("include"), globs("exclude"));
    let bytes_max = read::text(report, toml, "bytes-max", "\"2 GiB\"").and_then(|text| {
        let bytes = accept(report, &text.span, values::bytes(&text.value))?;
        if bytes == 0 || bytes > BYTES_MAX {
            report.error(&text.span, "`bytes-max` must be from 1 byte to 16 TiB", "out of range", "");
            return None;
        }
        Some(text.map(|_| bytes))
    });
    PrefetchDraft {
        place: Some(place),
        start: read::texts(report, toml, "start", "[\"/kk/\"]", START_PAGES_MAX),
        sitemaps: read::boolean(report, toml, "sitemaps"),
        depth: read::whole_number(report, toml, "depth", 0..u64::from(DEPTH_MAX) + 1),
        include,
        exclude,
        pages_max: read::whole_number(report, toml, "pages-max", 1..PAGES_MAX + 1),
        bytes_max,
        requests_per_second: read::positive(report, toml, "requests-per-second", REQUESTS_PER_SECOND_MAX),
        in_flight_max: read::whole_number(report, toml, "in-flight-max", 1..u64::from(IN_FLIGHT_MAX) + 1),
    }
}
