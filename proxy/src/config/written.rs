//! The file as written: a TOML tree whose every value knows where it stands, and all that is wrong with it.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;

use bulaq_allowlist::{Diagnostic, Severity, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::Limit;
use super::quantity::{BitRate, ByteSize, Period};

/// Most findings that are told of one file; a file that is not a configuration has one a line.
const FINDINGS_MAX: usize = 100;

/// Most members of a list and entries of a table that are read; more is a mistake, not a school.
const MEMBERS_MAX: usize = 1_000;

/// The text and what was found in it so far.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    findings: RefCell<Vec<Diagnostic>>,
}

/// Where something stands in the text, in bytes.
pub(super) type Span = Range<usize>;

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, findings: RefCell::default() }
    }

    pub(super) fn error(&self, span: &Span, message: impl Into<String>, label: &str, help: Option<String>) {
        self.push(Severity::Error, span, message, label, help);
    }

    pub(super) fn warning(&self, span: &Span, message: impl Into<String>, label: &str, help: Option<String>) {
        self.push(Severity::Warning, span, message, label, help);
    }

    fn push(&self, severity: Severity, span: &Span, message: impl Into<String>, label: &str, help: Option<String>) {
        let mut findings = self.findings.borrow_mut();
        if findings.len() < FINDINGS_MAX {
            findings.push(Diagnostic::new(severity, (self.file, self.text), span.clone(), message, label, help));
        }
    }

    /// The findings in the order of the file.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| (finding.span().start, finding.span().end));
        findings
    }
}

/// A number with its unit, as it can be written for a key.
pub(super) trait Quantity: Copy + PartialOrd + Display {
    /// Reads the value, or says what should stand there.
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

impl Quantity for u64 {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let expected = || "a whole number is expected".to_owned();
        let number = value.as_integer().ok_or_else(expected)?;
        Self::from_str_radix(number.as_str(), number.radix()).map_err(|_| expected())
    }
}

impl Quantity for f64 {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = match value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err("a number is expected".to_owned()),
        };
        text.parse().ok().filter(|number: &Self| number.is_finite()).ok_or_else(|| "a number is expected".to_owned())
    }
}

fn read_text<T, E: Display>(
    value: &DeValue<'_>,
    example: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, String> {
    match value {
        DeValue::String(text) => parse(text).map_err(|error| format!("{error}, as in {example}")),
        _ => Err(format!("a text with a unit is expected, as in {example}")),
    }
}

impl Quantity for ByteSize {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        read_text(value, "\"200 GiB\"", Self::parse)
    }
}

impl Quantity for Period {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        read_text(value, "\"10 s\"", Self::parse)
    }
}

impl Quantity for BitRate {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        read_text(value, "\"20 Mbit/s\"", Self::parse)
    }
}

/// One table of the file. Each key is asked for once; what nobody asked for is unknown.
pub(super) struct Section<'a, 't> {
    report: &'a Report<'t>,
    name: &'a str,
    table: Option<&'a DeTable<'t>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a, 't> Section<'a, 't> {
    /// The whole file; `name` is empty.
    pub(super) fn root(report: &'a Report<'t>, table: &'a DeTable<'t>) -> Self {
        Self { report, name: "", table: Some(table), asked: RefCell::default() }
    }

    /// The table `[key]`; absent, all its keys have their defaults.
    pub(super) fn section(&self, key: &'static str) -> Section<'a, 't> {
        let table = self.value(key).and_then(|value| {
            if value.get_ref().as_table().is_none() {
                let help = format!("write [{key}] on a line of its own and its keys below");
                self.report.error(&value.span(), format!("`{key}` is a section"), "a value", Some(help));
            }
            value.get_ref().as_table()
        });
        Section { report: self.report, name: key, table, asked: RefCell::default() }
    }

    pub(super) fn report(&self) -> &'a Report<'t> {
        self.report
    }

    /// The value of `key`, if it is written.
    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.table.and_then(|table| table.get(key))
    }

    /// The key as it is told in messages.
    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// A quantity within its limit; refused and replaced by the default otherwise, so that reading can go on.
    pub(super) fn limited<T: Quantity>(&self, key: &'static str, limit: &Limit<T>) -> T {
        self.value(key).and_then(|value| self.within(key, value, limit)).unwrap_or(limit.default)
    }

    /// As [`Section::limited`], with `"off"` for no limit at all; `default` holds when nothing is written.
    pub(super) fn limited_or_off<T: Quantity>(
        &self,
        key: &'static str,
        limit: &Limit<T>,
        default: Option<T>,
    ) -> Option<T> {
        match self.value(key) {
            None => default,
            Some(value) if value.get_ref().as_str() == Some("off") => None,
            Some(value) => self.within(key, value, limit),
        }
    }

    fn within<T: Quantity>(&self, key: &str, value: &Spanned<DeValue<'_>>, limit: &Limit<T>) -> Option<T> {
        let key = self.full(key);
        match T::read(value.get_ref()) {
            Err(expected) => {
                self.report.error(&value.span(), format!("`{key}`: {expected}"), "cannot be read", None);
                None
            }
            Ok(value_read) if !limit.holds(value_read) => {
                let message = format!("`{key}` is {value_read}; it can be {}", limit.range());
                self.report.error(&value.span(), message, "out of range", None);
                None
            }
            Ok(value_read) => Some(value_read),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let message = format!("`{}`: true or false is expected", self.full(key));
            self.report.error(&value.span(), message, "neither", None);
            default
        })
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let Some((text, span)) = self.text(key) else { return default };
        words.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let message = format!("`{}` can be {}", self.full(key), known.join(", "));
                let help = nearest(text, &known).map(|near| format!("did you mean \"{near}\"?"));
                self.report.error(&span, message, "not one of them", help);
                default
            },
            |(_, choice)| *choice,
        )
    }

    /// A text, and where it stands.
    pub(super) fn text(&self, key: &'static str) -> Option<(&'a str, Span)> {
        let value = self.value(key)?;
        self.as_text(key, value).map(|text| (text, value.span()))
    }

    fn as_text(&self, key: &str, value: &'a Spanned<DeValue<'t>>) -> Option<&'a str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let message = format!("`{}`: a text in quotation marks is expected", self.full(key));
            self.report.error(&value.span(), message, "not a text", None);
        }
        text
    }

    /// A text that `parse` understands; `expected` says what it should be.
    pub(super) fn parsed<T, E: Display>(&self, key: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let (text, span) = self.text(key)?;
        self.told(key, &span, parse(text))
    }

    fn told<T, E: Display>(&self, key: &str, span: &Span, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.report.error(span, format!("`{}`: {error}", self.full(key)), "cannot be read", None);
                None
            }
        }
    }

    /// A list of texts that `parse` understands; none when the key is not written.
    pub(super) fn list<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        Some(self.members(key, value, &parse))
    }

    /// One text or a list of texts.
    fn members<T, E: Display>(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'t>>,
        parse: &impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let one = |value: &'a Spanned<DeValue<'t>>| {
            let text = self.as_text(key, value)?;
            self.told(key, &value.span(), parse(text))
        };
        match value.get_ref() {
            DeValue::Array(members) if members.len() <= MEMBERS_MAX => members.iter().filter_map(one).collect(),
            DeValue::Array(_) => {
                let message = format!("`{}` has more than {MEMBERS_MAX} members", self.full(key));
                self.report.error(&value.span(), message, "too many", None);
                Vec::new()
            }
            _ => one(value).into_iter().collect(),
        }
    }

    /// A table whose keys are the administrator's: each entry's name and its one or several texts.
    pub(super) fn entries<K, T, E: Display, F: Display>(
        &self,
        key: &'static str,
        parse_name: impl Fn(&str) -> Result<K, E>,
        parse: impl Fn(&str) -> Result<T, F>,
    ) -> Vec<(K, Vec<T>)> {
        let full = self.full(key);
        self.table_entries(key)
            .filter_map(|(name, value)| {
                let known = self.told(key, &name.span(), parse_name(name.get_ref()))?;
                Some((known, Section { name: &full, ..self.alike() }.members(name.get_ref(), value, &parse)))
            })
            .collect()
    }

    /// A table whose entries are tables: each entry's name and `each` of its section.
    pub(super) fn sections<K, T, E: Display>(
        &self,
        key: &'static str,
        parse_name: impl Fn(&str) -> Result<K, E>,
        each: impl Fn(&Section<'_, 't>, &Span) -> Option<T>,
    ) -> Vec<(K, T)> {
        let mut sections = Vec::new();
        for (name, value) in self.table_entries(key) {
            let full = format!("{}.\"{}\"", self.full(key), name.get_ref());
            let Some(table) = value.get_ref().as_table() else {
                self.report.error(&value.span(), format!("`{full}` is a section"), "a value", None);
                continue;
            };
            let section = Section { report: self.report, name: &full, table: Some(table), asked: RefCell::default() };
            let read = each(&section, &name.span());
            section.done();
            if let (Some(name), Some(read)) = (self.told(key, &name.span(), parse_name(name.get_ref())), read) {
                sections.push((name, read));
            }
        }
        sections
    }

    fn table_entries(
        &self,
        key: &'static str,
    ) -> impl Iterator<Item = (&'a Spanned<std::borrow::Cow<'t, str>>, &'a Spanned<DeValue<'t>>)> + use<'a, 't> {
        let table = self.value(key).and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.report.error(&value.span(), format!("`{}` is a section", self.full(key)), "a value", None);
            }
            table.filter(|table| {
                let is_readable = table.len() <= MEMBERS_MAX;
                if !is_readable {
                    let message = format!("`{}` has more than {MEMBERS_MAX} entries", self.full(key));
                    self.report.error(&value.span(), message, "too many", None);
                }
                is_readable
            })
        });
        table.into_iter().flat_map(|table| table.iter())
    }

    fn alike(&self) -> Section<'a, 't> {
        Section { report: self.report, name: self.name, table: None, asked: RefCell::default() }
    }

    /// Where `key` stands, for a finding about its value later.
    pub(super) fn span(&self, key: &str) -> Span {
        self.table.and_then(|table| table.get(key)).map(Spanned::span).unwrap_or_default()
    }

    /// Refuses the keys that nobody asked for, with the one that was probably meant.
    pub(super) fn done(&self) {
        let known = self.asked.borrow();
        for key in self.table.iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let place = if self.name.is_empty() { "at the top".to_owned() } else { format!("in [{}]", self.name) };
            let help = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known {place}: {}", known.join(", ")),
            };
            let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
            self.report.error(&key.span(), format!("unknown key `{shown}` {place}"), "not known", Some(help));
        }
    }
}
