//! Findings about known hosts, and from what a box knows: tables of lists and what must be told.

use crate::allowlist::Allowlist;
use crate::diagnostic::{Diagnostic, Severity};
use crate::evidence::{CaNames, Evidence, MissingPart};
use crate::host_name::HostName;
use crate::site::HostPattern;

fn findings(text: &str, evidence: &Evidence) -> Vec<Diagnostic> {
    match Allowlist::parse_with("allowlist.toml", text, evidence) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => rejected.diagnostics,
    }
}

/// A list of sites, each `(hosts, tls)`; names are a, b, c.
fn list(sites: &[(&str, &str)]) -> String {
    let site = |(index, (hosts, tls)): (usize, &(&str, &str))| {
        let name = char::from(b'a' + u8::try_from(index).unwrap());
        format!("[[site]]\nname = \"{name}\"\nhosts = [{hosts}]\ntls = \"{tls}\"\n")
    };
    sites.iter().enumerate().map(site).collect()
}

/// `line label text` of each finding; `text` is what is underlined, and an error begins with `!`.
fn told(text: &str, evidence: &Evidence) -> Vec<String> {
    let one = |found: &Diagnostic| {
        let mark = if found.severity == Severity::Error { "!" } else { "" };
        format!("{mark}{} {} {}", found.line, found.label, &text[found.span.clone()])
    };
    findings(text, evidence).iter().map(one).collect()
}

fn check(sites: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(told(&list(sites), &Evidence::default()), expected, "{sites:?}");
}

#[test]
fn a_part_of_a_site_is_told_whatever_is_done_with_its_tls() {
    for tls in ["terminate", "splice"] {
        check(&[(r#""a.kz", "*.a.kz""#, tls)], &[]);
        check(&[(r#""a.kz""#, tls)], &[r#"3 a part of a site "a.kz""#]);
        check(&[(r#""*.a.kz""#, tls)], &[r#"3 a part of a site "*.a.kz""#]);
        check(&[(r#""www.a.kz""#, tls)], &[r#"3 a part of a site "www.a.kz""#]);
        check(&[(r#""a.kz", "static.a.kz""#, tls)], &[r#"3 a part of a site "a.kz""#]);
        // Another site of the list may have the rest.
        check(&[(r#""a.kz""#, tls), (r#""*.a.kz""#, tls)], &[]);
        check(&[(r#""box.internal", "a.localhost""#, tls)], &[]);
    }
}

#[test]
fn hosts_that_many_sites_share_are_told() {
    for host in
        [r#""fonts.googleapis.com""#, r#""cdn.jsdelivr.net""#, r#""*.jsdelivr.net""#, r#""code.jquery.com:8443""#]
    {
        let shared = format!("3 shared with other sites {host}");
        check(&[(&format!("\"a.kz\", \"*.a.kz\", {host}"), "splice")], &[&shared]);
        check(&[(host, "splice")], &[&shared]);
    }
    // Decrypted, Google's break on top of that.
    let both = [r#"3 shared with other sites "fonts.gstatic.com""#, r#"3 breaks when decrypted "fonts.gstatic.com""#];
    check(&[(r#""fonts.gstatic.com""#, "terminate")], &both);
    let google = "[[site]]\ncatalogue = \"google-classroom\"\n";
    assert!(told(google, &Evidence::default()).is_empty(), "the catalogue's own choice is not told");
}

#[test]
fn what_must_not_be_decrypted_is_refused_and_what_breaks_is_told() {
    let never = "!3 never decrypted";
    let breaks = "3 breaks when decrypted";
    for (hosts, expected) in [
        (r#""kaspi.kz", "*.kaspi.kz""#, Some(never)),
        (r#""idp.egov.kz", "*.idp.egov.kz""#, Some(never)),
        (r#""accounts.google.com", "*.accounts.google.com""#, Some(never)),
        (r#""drive.google.com", "*.drive.google.com""#, Some(breaks)),
        (r#""zoom.us", "*.zoom.us""#, Some(breaks)),
        (r#""http://kaspi.kz", "http://*.kaspi.kz""#, None),
        (r#""bilimland.kz", "*.bilimland.kz""#, None),
    ] {
        let each = hosts.split(", ").filter_map(|host| Some(format!("{} {host}", expected?)));
        let expected: Vec<String> = each.collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&[(hosts, "terminate")], &expected);
        check(&[(hosts, "splice")], &[]);
    }
    // A wildcard takes in what must not be decrypted, though its own name is nothing special.
    check(&[(r#""windows.net", "*.windows.net""#, "terminate")], &[r#"!3 never decrypted "*.windows.net""#]);
    let zoom = told("[[site]]\ncatalogue = \"zoom\"\ntls = \"terminate\"\n", &Evidence::default());
    assert!(zoom.iter().any(|told| told.contains("breaks when decrypted")), "{zoom:?}");
}

#[test]
fn a_site_of_its_own_takes_a_host_out_of_a_wildcard() {
    let rest = (r#""windows.net", "*.windows.net""#, "terminate");
    let out = (r#""login.windows.net", "*.login.windows.net""#, "splice");
    let other = (r#""enterpriseregistration.windows.net", "*.enterpriseregistration.windows.net""#, "splice");
    let found = told(&list(&[rest, out, other]), &Evidence::default());
    assert!(found.iter().all(|told| told.contains("in two sites' reach")), "{found:?}");
    let found = told(&list(&[rest, out]), &Evidence::default());
    assert!(found.contains(&"!3 never decrypted \"*.windows.net\"".to_owned()), "{found:?}");
}

#[test]
fn a_finding_says_why_and_what_to_write() {
    let text = list(&[(r#""pay.kaspi.kz", "*.pay.kaspi.kz""#, "terminate")]);
    let expected = r#"error: "pay.kaspi.kz" must not be decrypted: it is a bank: nobody but the account's owner may see what passes
 --> allowlist.toml:3:10
  |
3 | hosts = ["pay.kaspi.kz", "*.pay.kaspi.kz"]
  |          ^^^^^^^^^^^^^^ never decrypted
  |
  = help: write tls = "splice"; if the rest of the site is to be kept, give "pay.kaspi.kz" a site of its own"#;
    assert_eq!(findings(&text, &Evidence::default())[0].render(false), expected);
}

fn names(names: &[&str]) -> Option<Vec<HostName>> {
    Some(names.iter().map(|name| HostName::parse(name).unwrap()).collect())
}

#[test]
fn names_that_the_ca_cannot_cover_are_told_with_what_to_run() {
    let text = list(&[
        (r#""a.kz", "*.a.kz""#, "terminate"),
        (r#""b.kz", "*.b.kz", "http://plain.kz""#, "terminate"),
        (r#""c.kz", "*.c.kz""#, "splice"),
    ]);
    let text = text.replace("\"http://plain.kz\"", "\"http://plain.kz\", \"http://*.plain.kz\"");
    let (issue, init) = ("bulaq ca issue", "bulaq ca init");
    let everything = names(&["a.kz", "b.kz"]);
    for (root, intermediate, expected) in [
        (everything.clone(), everything.clone(), vec![]),
        (everything.clone(), names(&["a.kz", "bulaq.internal"]), vec![("b.kz", issue), ("*.b.kz", issue)]),
        (names(&["a.kz"]), names(&["a.kz"]), vec![("b.kz", init), ("*.b.kz", init)]),
        (names(&["a.kz"]), names(&[]), vec![("a.kz", issue), ("*.a.kz", issue), ("b.kz", init), ("*.b.kz", init)]),
        (everything, None, vec![("a.kz", issue)]),
        (None, None, vec![("a.kz", init)]),
    ] {
        let evidence = Evidence { ca: Some(CaNames { root, intermediate }), ..Evidence::default() };
        let findings = findings(&text, &evidence);
        let found: Vec<_> = findings
            .iter()
            .map(|found| {
                assert_eq!(found.label, "passed through");
                (text[found.span.clone()].trim_matches('"'), found.help().unwrap().split('`').nth(1).unwrap())
            })
            .collect();
        assert_eq!(found, expected, "{evidence:?}");
        assert!(Allowlist::parse_with("allowlist.toml", &text, &evidence).is_ok(), "evidence refuses nothing");
    }
    // A certificate that somebody gave the box needs no CA.
    let b = HostName::parse("b.kz").unwrap();
    let certified = vec![HostPattern::Exact(b.clone()), HostPattern::Suffix(b)];
    let ca = Some(CaNames { root: names(&["a.kz"]), intermediate: names(&["a.kz"]) });
    assert!(findings(&text, &Evidence { ca, certified, missing: Vec::new() }).is_empty());
    assert!(findings(&text, &Evidence::default()).is_empty(), "nothing is known of a CA");
}

#[test]
fn what_stored_pages_miss_is_told_at_their_site() {
    let text = list(&[(r#""a.kz", "*.a.kz""#, "terminate"), (r#""b.kz", "*.b.kz""#, "terminate")]);
    let part = |site: &str, host: &str| MissingPart { site: site.into(), host: HostName::parse(host).unwrap() };
    let missing = vec![
        part("a", "media.example"),
        part("a", "cdn.example"),
        part("a", "cdn.example"),
        part("a", "static.b.kz"),
        part("a", "fonts.gstatic.com"),
        part("gone", "x.example"),
    ];
    let evidence = Evidence { missing, ..Evidence::default() };
    let found = findings(&text, &evidence);
    assert_eq!(told(&text, &evidence), ["2 pages with missing parts \"a\""]);
    assert!(found[0].message.contains("from \"cdn.example\", \"media.example\", which"), "{}", found[0].message);
    let many = (0..9).map(|n| part("b", &format!("cdn{n}.example"))).collect();
    let found = findings(&text, &Evidence { missing: many, ..Evidence::default() });
    assert!(found[0].message.contains("\"cdn4.example\" and 4 more"), "{}", found[0].message);
}
