//! `bulaq allowlist check`: what is wrong with a file, for people and for programs.

use std::io::{self, Write};

use bulaq_allowlist::{Allowlist, Diagnostic, Evidence, Loaded, Severity};
use serde_json::{Value, json};

use super::{REFUSED, counted, tell};

/// A file that was looked at.
pub(super) struct Checked<'t> {
    name: String,
    text: &'t str,
    list: Option<Allowlist>,
    findings: Vec<Diagnostic>,
    untold: usize,
    /// What could not be looked at beside the file.
    notes: Vec<String>,
}

impl<'t> Checked<'t> {
    pub(super) fn new(name: String, text: &'t str, evidence: &Evidence, notes: Vec<String>) -> Self {
        let (list, findings, untold) = match Allowlist::parse_with(&name, text, evidence) {
            Ok(Loaded { allowlist, warnings }) => (Some(allowlist), warnings, 0),
            Err(rejected) => (None, rejected.diagnostics, rejected.untold),
        };
        Self { name, text, list, findings, untold, notes }
    }

    pub(super) fn status(&self, strict: bool) -> u8 {
        match &self.list {
            Some(_) => u8::from(strict && !self.findings.is_empty()),
            None => REFUSED,
        }
    }

    /// How many sites, hosts and rules the list has.
    fn counts(&self) -> Option<(usize, usize, usize)> {
        let sites = self.list.as_ref()?.sites();
        let hosts = sites.iter().map(|site| site.hosts().len()).sum();
        Some((sites.len(), hosts, sites.iter().map(|site| site.rules().len()).sum()))
    }

    pub(super) fn tell(&self, colour: bool, out: &mut impl Write) -> io::Result<()> {
        tell(&self.findings, self.untold, colour, out)?;
        for note in &self.notes {
            writeln!(out, "note: {note}\n")?;
        }
        let name = &self.name;
        let errors = self.findings.iter().filter(|told| told.severity() == Severity::Error).count();
        let warnings = self.findings.len() - errors;
        if let Some((sites, hosts, rules)) = self.counts() {
            let (sites, hosts, rules) = (counted(sites, "site"), counted(hosts, "host"), counted(rules, "rule"));
            let found = if warnings == 0 { "good".to_owned() } else { counted(warnings, "warning") };
            writeln!(out, "{name}: {found}; {sites}, {hosts}, {rules}")
        } else {
            let warnings = if warnings == 0 { String::new() } else { format!(", {}", counted(warnings, "warning")) };
            writeln!(out, "{name} is refused: {}{warnings}", counted(errors, "error"))
        }
    }

    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let verdict = match &self.list {
            None => "refused",
            Some(_) if self.findings.is_empty() => "good",
            Some(_) => "warnings",
        };
        let counts = self.counts();
        let told = json!({
            "file": self.name,
            "verdict": verdict,
            "sites": counts.map(|(sites, ..)| sites),
            "hosts": counts.map(|(_, hosts, _)| hosts),
            "rules": counts.map(|(.., rules)| rules),
            "findings": self.findings.iter().map(|found| self.finding(found)).collect::<Vec<_>>(),
            "untold": self.untold,
            "notes": self.notes,
        });
        writeln!(out, "{told:#}")
    }

    fn finding(&self, found: &Diagnostic) -> Value {
        json!({
            "severity": if found.severity() == Severity::Error { "error" } else { "warning" },
            "line": found.line(),
            "column": found.column(),
            "text": self.text.get(found.span()),
            "message": found.message(),
            "help": found.help(),
        })
    }
}
