//! The dependencies have licences that we accept, come from the public registry, and none is banned: the list is
//! `deny.toml`, the tree is what cargo would build. Needs no network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace")
}

fn deny_file() -> toml::Table {
    std::fs::read_to_string(workspace().join("deny.toml")).unwrap().parse().unwrap()
}

/// Name and licence of every package that is built for this machine, tests and build scripts included.
fn packages() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--offline", "--locked", "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(package, licence)| (package.to_owned(), licence.trim_end_matches(" (*)").to_owned()))
        .collect()
}

/// Whether one of an expression's choices is allowed altogether. `/` is an old way to write `OR`.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_allowed = any_of(&mut words, allowed);
    is_allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut is_any = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        is_any |= all_of(words, allowed);
    }
    is_any
}

fn all_of(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let mut are_all = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        are_all &= one(words, allowed);
    }
    are_all
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let is_allowed = any_of(words, allowed);
        return words.next_if_eq(&")").is_some() && is_allowed;
    }
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next().unwrap_or_default();
        return allowed.contains(&format!("{word} WITH {exception}").as_str());
    }
    allowed.contains(&word)
}

#[test]
fn every_licence_is_one_that_we_accept() {
    let file = deny_file();
    let allowed: Vec<_> =
        file["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let packages = packages();
    assert!(packages.len() > 100, "the tree was not read: {packages:?}");
    let refused: Vec<_> = packages.iter().filter(|(_, licence)| !is_allowed(licence, &allowed)).collect();
    assert!(refused.is_empty(), "licences that deny.toml does not allow: {refused:#?}");
}

#[test]
fn nothing_banned_is_in_the_tree() {
    let file = deny_file();
    let banned: Vec<_> =
        file["bans"]["deny"].as_array().unwrap().iter().filter_map(|ban| ban["crate"].as_str()).collect();
    let packages = packages();
    let found: Vec<_> = packages
        .iter()
        .filter(|(package, _)| banned.contains(&package.split(' ').next().unwrap_or_default()))
        .collect();
    assert!(found.is_empty(), "banned by deny.toml: {found:#?}");
}

#[test]
fn everything_comes_from_the_public_registry_or_from_here() {
    let lock: toml::Table = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap().parse().unwrap();
    let foreign: Vec<_> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package.get("source")?.as_str())
        .filter(|source| !source.starts_with("registry+https://github.com/rust-lang/crates.io-index"))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("(MIT OR GPL-3.0) AND Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0 WITH Other", false),
        ("", false),
        ("(MIT", false),
        ("MIT)", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}
