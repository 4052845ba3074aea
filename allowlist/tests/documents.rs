//! The documents for operators say what the code does.

use std::path::Path;

use bulaq_allowlist::{Allowlist, Loaded};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("the documents lie beside the crate")
}

fn load(name: &str, text: &str) -> Loaded {
    Allowlist::parse(name, text).unwrap_or_else(|rejected| {
        let told: Vec<String> = rejected.diagnostics.iter().map(|told| told.render(false)).collect();
        panic!("{}", told.join("\n"))
    })
}

#[test]
fn every_example_in_the_guide_is_good() {
    let guide = read("../docs/allowlist.md");
    let examples: Vec<&str> =
        guide.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() >= 4, "the guide has lost its examples");
    for example in examples {
        let warnings = load("docs/allowlist.md", example).warnings;
        assert!(warnings.is_empty(), "{example}\n{warnings:#?}");
    }
}

#[test]
fn the_example_file_shows_the_defaults() {
    let loaded = load("example.toml", &read("example.toml"));
    assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
    let list = loaded.allowlist;
    let plain = load(
        "plain.toml",
        "[[site]]\nname = \"lessons\"\nhosts = [\"lessons.example.kz\", \"*.lessons.example.kz\"]\n\
         [[site]]\nname = \"textbooks\"\nhosts = [\"textbooks.example.kz\"]\ntls = \"terminate\"\n\
         [[site.rule]]\npath = \"/\"\n[site.prefetch]\nstart = [\"/\"]\n",
    )
    .allowlist;
    let (shown, default) = (list.site("lessons").unwrap(), plain.site("lessons").unwrap());
    assert_eq!(shown.title(), default.title());
    assert_eq!(shown.class(), default.class());
    assert_eq!(shown.traffic(), default.traffic());
    assert_eq!(shown.tls(), default.tls());
    assert_eq!(shown.languages(), default.languages());
    assert_eq!(shown.subjects(), default.subjects());
    assert_eq!(shown.addresses(), default.addresses());
    let (shown, default) = (list.site("textbooks").unwrap(), plain.site("textbooks").unwrap());
    let (rule, silent) = (&shown.rules()[0], &default.rules()[0]);
    assert_eq!((rule.refuse, rule.never_store, rule.anonymous), (silent.refuse, silent.never_store, silent.anonymous));
    let (shown, default) = (shown.prefetch().unwrap(), default.prefetch().unwrap());
    assert_eq!((shown.sitemaps(), shown.depth()), (default.sitemaps(), default.depth()));
    for path in ["/", "/a/b", "/x.pdf"] {
        assert_eq!(shown.includes(path), default.includes(path), "{path}");
    }
}
