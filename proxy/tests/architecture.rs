//! `docs/architecture.md` and the README name only paths that exist, and the code map names every folder of weight.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::{Path, PathBuf};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace")
}

/// What looks like a path of this repository in a document: words in backquotes or link targets with a `/` that begin
/// with one of the folders below, or end like a file at the top.
fn named_paths(text: &str) -> Vec<String> {
    const FOLDERS: [&str; 8] =
        ["cache-policy/", "allowlist/", "proxy/", "benches/", "docs/", "packaging/", ".ci/", "bench/"];
    let quoted = text.split('`').skip(1).step_by(2);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    quoted
        .chain(linked)
        .map(|word| word.split('#').next().unwrap_or_default().trim_start_matches("./").trim_start_matches("../"))
        .filter(|word| !word.contains([' ', '*', '{', '<', '…']))
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .map(str::to_owned)
        .collect()
}

fn missing(text: &str) -> Vec<String> {
    let is_there = |path: &String| workspace().join(path).exists();
    named_paths(text).into_iter().filter(|path| !is_there(path)).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap()
}

#[test]
fn every_path_that_a_document_names_exists() {
    for document in ["README.md", "docs/architecture.md", "docs/operator-guide.md", "docs/configuration.md"] {
        let text = read(document);
        assert_eq!(missing(&text), Vec::<String>::new(), "{document} names what is not there");
    }
    assert!(named_paths(&read("docs/architecture.md")).len() > 40, "the code map has become thin");
}

#[test]
fn the_code_map_names_every_room() {
    let map = read("docs/architecture.md");
    let mut rooms: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(workspace().join("proxy/src")).unwrap() {
        rooms.push(entry.unwrap().path());
    }
    assert!(rooms.len() > 8, "{rooms:?}");
    for room in rooms {
        let name = room.strip_prefix(workspace()).unwrap().display().to_string();
        let name = if room.is_dir() { format!("{name}/") } else { name };
        assert!(map.contains(&format!("`{name}`")), "docs/architecture.md does not mention `{name}`");
    }
}

#[test]
fn a_wrong_path_is_noticed() {
    let text =
        "See `proxy/src/nowhere.rs`, [this](docs/nothing.md#part), `proxy/src/lib.rs`, `cargo test`, `/etc/bulaq`.";
    assert_eq!(named_paths(text), ["proxy/src/nowhere.rs", "proxy/src/lib.rs", "docs/nothing.md"]);
    assert_eq!(missing(text), ["proxy/src/nowhere.rs", "docs/nothing.md"]);
}
