//! What must hold for any allowlist, host name and pattern, as functions of one input each.
//!
//! The fuzz targets in `fuzz/` call these functions, and so does a test here with every file in `fuzz/seeds/`. Only
//! built for fuzzing and for tests; no part of the crate's interface.
#![allow(clippy::missing_panics_doc, reason = "to panic is how these functions tell a finding")]

use std::collections::HashMap;

use http::Method;

use crate::file::limits::DIAGNOSTICS_MAX;
use crate::{Allowlist, Diagnostic, Glob, HostName, Scheme, path};

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `fuzz/fuzz_targets/` has a file for each.
pub const TARGETS: [Target; 2] = [("list_file", list_file), ("names", names)];

/// An allowlist: findings point into the file and can be shown, and a list that loads permits no host that it does not
/// name.
pub fn list_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let loaded = match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            assert!(!rejected.diagnostics.is_empty() && rejected.diagnostics.len() <= DIAGNOSTICS_MAX);
            rejected.diagnostics.iter().for_each(|told| check_diagnostic(told, text));
            return;
        }
    };
    assert!(loaded.warnings.len() <= DIAGNOSTICS_MAX);
    loaded.warnings.iter().for_each(|told| check_diagnostic(told, text));
    let list = loaded.allowlist;
    let other = HostName::parse("nobody-names-this.example").expect("a host name");
    for site in list.sites() {
        for entry in site.hosts() {
            let host = entry.host();
            assert_eq!(HostName::parse(host.as_str()).as_ref(), Ok(host));
            let owner = list.site_of(host);
            assert!(owner.is_none_or(|owner| owner.hosts().iter().any(|it| host.is_at_or_below(it.host()))));
        }
    }
    let is_named = list.sites().iter().flat_map(|site| site.hosts()).any(|entry| other.is_at_or_below(entry.host()));
    assert!(is_named || list.permit(Scheme::Https, &other, 443, &Method::GET, "/").is_err());
    let last = text.lines().last().unwrap_or_default();
    let explained = list.explain(last);
    assert!(explained.url.len() <= 4 * last.len() + 16);
}

fn check_diagnostic(told: &Diagnostic, text: &str) {
    let lines = text.matches('\n').count() + 1;
    assert!((1..=lines).contains(&(told.line() as usize)) && told.column() >= 1);
    assert!(!told.message().is_empty());
    let shown = told.render(false);
    assert!(shown.len() < 8 << 10, "a finding is short: {} bytes", shown.len());
}

/// Lines: a host name, a pattern of paths, a path, another pattern. A name is read as it was written, and a pattern means what a plainer
/// reader makes of it.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    host_name(line());
    let (pattern, path) = (line(), line());
    let normal = path::normalised(path);
    assert_eq!(path::normalised(&normal), normal);
    assert!(normal.len() <= 3 * path.len() + 1 && normal.starts_with('/') && normal.is_ascii());
    if let Ok(glob) = Glob::path(pattern) {
        assert_eq!(glob.as_str(), pattern);
        if let Ok(other) = Glob::path(line()) {
            // It may say no where the answer is yes, never the other way round.
            for path in [path, &normal] {
                assert!(!glob.covers(&other) || !other.matches(path) || glob.matches(path));
                assert!(!other.covers(&glob) || !glob.matches(path) || other.matches(path));
            }
        }
        let escaped = path::escapes(pattern);
        for path in [path, &normal] {
            if escaped.len() <= TOLD_BYTES_MAX && path.len() <= TOLD_BYTES_MAX {
                let told = Plainly { pattern: escaped.as_bytes(), path: path.as_bytes(), known: HashMap::new() };
                assert_eq!(glob.matches(path), told.matches(), "{pattern:?} {path:?}");
            }
        }
    }
    if let Ok(glob) = Glob::text(pattern) {
        assert!(pattern.contains(['*', '?']) || glob.matches(pattern));
    }
}

fn host_name(text: &str) {
    let Ok(name) = HostName::parse(text) else { return };
    let ascii = name.as_str();
    assert!(ascii.len() <= 253 && !ascii.is_empty() && !ascii.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert!(ascii.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)));
    assert_eq!(HostName::parse(ascii).as_ref(), Ok(&name));
    assert_eq!(HostName::parse(&format!("{ascii}.")).as_ref(), Ok(&name));
    assert_eq!(HostName::parse(&ascii.to_ascii_uppercase()).as_ref(), Ok(&name));
    assert!(name.is_at_or_below(&name) && !name.is_below(&name));
    if let Some(registrable) = name.registrable() {
        assert!(name.is_at_or_below(&registrable) && !registrable.is_public_suffix());
    }
    if let Ok(again) = HostName::parse(&name.to_unicode()) {
        assert_eq!(again, name, "a name that people read as another");
    }
}

/// Longest pattern and path that the plain reader is asked about: it is slow.
const TOLD_BYTES_MAX: usize = 48;

/// A pattern as its documentation tells it, tried in every way.
struct Plainly<'a> {
    pattern: &'a [u8],
    path: &'a [u8],
    known: HashMap<(usize, usize), bool>,
}

impl Plainly<'_> {
    fn matches(mut self) -> bool {
        self.matches_from(0, 0)
    }

    fn matches_from(&mut self, at: usize, place: usize) -> bool {
        if let Some(&known) = self.known.get(&(at, place)) {
            return known;
        }
        let (rest, path) = (&self.pattern[at..], &self.path[place..]);
        let stars = rest.iter().take_while(|&&byte| byte == b'*').count();
        let begins_segment = at == 0 || self.pattern[at - 1] == b'/';
        let matches = match (rest.first(), stars) {
            (None, _) => path.is_empty(),
            (Some(b'*'), 1) => {
                let run = path.iter().take_while(|&&byte| byte != b'/').count();
                (0..=run).any(|run| self.matches_from(at + 1, place + run))
            }
            (Some(b'*'), _) if begins_segment && rest.get(stars) == Some(&b'/') => {
                // Any number of whole segments.
                let ends: Vec<usize> = (0..path.len()).filter(|&end| path[end] == b'/').collect();
                self.matches_from(at + stars + 1, place)
                    || ends.into_iter().any(|end| self.matches_from(at + stars + 1, place + end + 1))
            }
            (Some(b'*'), _) => (0..=path.len()).any(|run| self.matches_from(at + stars, place + run)),
            (Some(b'?'), _) => path.first().is_some_and(|&byte| byte != b'/') && self.matches_from(at + 1, place + 1),
            (Some(byte), _) => path.first() == Some(byte) && self.matches_from(at + 1, place + 1),
        };
        self.known.insert((at, place), matches);
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_keep_every_promise() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");
        for (name, target) in TARGETS {
            assert!(std::fs::exists(format!("{folder}/fuzz_targets/{name}.rs")).unwrap(), "{name} has no target");
            let seeds = std::fs::read_dir(format!("{folder}/seeds/{name}")).unwrap();
            let seeds: Vec<_> = seeds.map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect();
            assert!(!seeds.is_empty(), "{name} has no seed");
            seeds.iter().for_each(|seed| target(seed));
        }
    }
}
