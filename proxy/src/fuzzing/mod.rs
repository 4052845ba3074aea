//! What must hold for any bytes from the wire, a file of ours or a command, as functions of one input each.
//!
//! The fuzz targets in `fuzz/` call these functions, and so does a test here with every file in `fuzz/seeds/`. What a
//! room keeps to itself is checked inside that room (`store/fuzzing.rs` and its like). Only built for fuzzing and for
//! tests; no part of the library's interface.
#![allow(clippy::missing_panics_doc, reason = "to panic is how these functions tell a finding")]

mod commands;

pub use crate::ingress::fuzzing::{client_hello, request_framing, request_head};
pub use crate::origin::fuzzing::response_framing;
pub use crate::prefetch::fuzzing::{links, robots, sitemap, unpack};
pub use crate::store::fuzzing::record;
pub use commands::control;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target; `fuzz/fuzz_targets/` has a file for each.
pub const TARGETS: [Target; 10] = [
    ("record", record),
    ("request_framing", request_framing),
    ("request_head", request_head),
    ("client_hello", client_hello),
    ("response_framing", response_framing),
    ("robots", robots),
    ("links", links),
    ("sitemap", sitemap),
    ("unpack", unpack),
    ("control", control),
];

/// The first line of an input, and what follows it.
pub(crate) fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, b""),
    }
}

/// Field lines; what is none is left out.
pub(crate) fn field_lines(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|&byte| byte == b'\n') {
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
        let (first, rest) = first_line(b"GET /\na: 1\nb:2\njunk\n");
        assert_eq!(first, b"GET /");
        let fields = field_lines(rest);
        assert_eq!((fields["a"].as_bytes(), fields["b"].as_bytes(), fields.len()), (&b"1"[..], &b"2"[..], 2));
    }
}
