//! The size that the matcher is built for: right there too. How fast it is, `benches/benches/allowlist.rs` shows.

use std::fmt::Write;

use bulaq_allowlist::{Allowlist, HostName, Scheme};
use http::Method;

const SITES: usize = 10_000;
const HOSTS_A_SITE: usize = 10;
const RULES_A_SITE: usize = 2;

#[test]
fn a_hundred_thousand_hosts_and_twenty_thousand_rules_are_matched_right() {
    let mut text = String::new();
    for site in 0..SITES {
        let hosts: Vec<String> = (0..HOSTS_A_SITE - 1).map(|host| format!("\"h{host}.s{site}.kz\"")).collect();
        writeln!(text, "[[site]]\nname = \"s{site}\"\nhosts = [{}, \"*.w.s{site}.kz\"]", hosts.join(", ")).unwrap();
        for rule in 0..RULES_A_SITE {
            writeln!(text, "[[site.rule]]\npath = \"/r{rule}/**\"\nnever-store = true").unwrap();
        }
    }
    let loaded = Allowlist::parse("allowlist.toml", &text).unwrap();
    let list = loaded.allowlist;
    // These sites are parts of sites, and nothing else is wrong with them.
    assert!(loaded.warnings.iter().all(|told| told.message().starts_with("only a part of this site")));
    assert_eq!(list.sites().iter().map(|site| site.hosts().len()).sum::<usize>(), 100_000);
    assert_eq!(list.sites().iter().map(|site| site.rules().len()).sum::<usize>(), 20_000);
    let permit = |host: &str, path: &str| {
        let host = HostName::parse(host).unwrap();
        let permit = list.permit(Scheme::Https, &host, 443, &Method::GET, path);
        permit.ok().map(|permit| (permit.site().name().to_owned(), permit.rule_index()))
    };
    for site in (0..SITES).step_by(97) {
        let name = format!("s{site}");
        assert_eq!(permit(&format!("h8.{name}.kz"), "/r1/x"), Some((name.clone(), Some(1))));
        assert_eq!(permit(&format!("h0.{name}.kz"), "/r2/x"), Some((name.clone(), None)));
        assert_eq!(permit(&format!("a.b.w.{name}.kz"), "/r0/"), Some((name.clone(), Some(0))));
        assert_eq!(permit(&format!("h9.{name}.kz"), "/"), None);
        assert_eq!(permit(&format!("{name}.kz"), "/"), None);
    }
}
