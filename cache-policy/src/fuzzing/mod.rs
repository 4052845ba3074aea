//! What must hold for any bytes from the wire, as functions of one input each.
//!
//! The fuzz targets in `fuzz/` call these functions, and so does a test here with every file in `fuzz/seeds/`. Inputs
//! are text, so that a person can write a seed: sections of field lines, with an empty line between them. Only built
//! for fuzzing and for tests; no part of the crate's interface.
#![allow(clippy::missing_panics_doc, reason = "to panic is how these functions tell a finding")]

mod combine;
mod decision;
mod fields;

pub use combine::{cache_tag, combine};
pub use decision::decision;
pub use fields::{cache_control, date, entity_tag, range, structured_fields, vary};

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `fuzz/fuzz_targets/` has a file for each.
pub const TARGETS: [Target; 9] = [
    ("cache_control", cache_control),
    ("vary", vary),
    ("range", range),
    ("date", date),
    ("structured_fields", structured_fields),
    ("entity_tag", entity_tag),
    ("decision", decision),
    ("combine", combine),
    ("cache_tag", cache_tag),
];

/// The parts of an input between its empty lines.
fn sections(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let section = rest?;
        let end = section.windows(2).position(|pair| pair == b"\n\n");
        rest = end.map(|end| &section[end + 2..]);
        Some(&section[..end.unwrap_or(section.len())])
    })
}

fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// Every line as a value of one field; what no field value can be is left out.
fn values(section: &[u8], name: HeaderName) -> HeaderMap {
    let values = lines(section).filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok());
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name.clone(), value);
    }
    headers
}

/// Field lines; what is none is left out.
fn field_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
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

    #[test]
    fn inputs_are_read_as_a_person_writes_them() {
        let parts: Vec<_> = sections(b"a: 1\nb:2\n\nc\n\n").collect();
        assert_eq!(parts, [&b"a: 1\nb:2"[..], b"c", b""]);
        let fields = field_lines(lines(parts[0]));
        assert_eq!((fields["a"].as_bytes(), fields["b"].as_bytes()), (&b"1"[..], &b"2"[..]));
    }
}
