//! Whatever anybody writes and asks for.

use bulaq_allowlist::{Allowlist, HostName, Scheme};
use http::Method;
use proptest::prelude::*;

/// A host of few letters, so that hosts meet.
fn host() -> impl Strategy<Value = String> {
    "([ab]\\.){0,3}[ab]\\.(kz|test)"
}

/// An entry: a host, perhaps with `*.` before and a port behind it.
fn entry() -> impl Strategy<Value = (bool, String, Option<u16>)> {
    (any::<bool>(), host(), prop::option::of(8080_u16..8082))
}

fn list(sites: &[Vec<(bool, String, Option<u16>)>]) -> Option<Allowlist> {
    let mut text = String::new();
    for (index, entries) in sites.iter().enumerate() {
        let hosts: Vec<String> = entries
            .iter()
            .map(|(suffix, host, port)| {
                format!(
                    "\"{}{host}{}\"",
                    if *suffix { "*." } else { "" },
                    port.map_or(String::new(), |p| format!(":{p}"))
                )
            })
            .collect();
        text += &format!("[[site]]\nname = \"s{index}\"\nhosts = [{}]\n", hosts.join(", "));
    }
    Allowlist::parse("allowlist.toml", &text).ok().map(|loaded| loaded.allowlist)
}

/// The meaning, told in the slowest and plainest way: the most exact entry's site, and any of that site's entries
/// for the same name.
fn plainly(sites: &[Vec<(bool, String, Option<u16>)>], host: &str, port: u16) -> bool {
    let entries = || sites.iter().flatten();
    let exact: Vec<_> = entries().filter(|(suffix, name, _)| !suffix && name == host).collect();
    let below = |name: &str| host.ends_with(&format!(".{name}"));
    let longest = entries().filter(|(suffix, name, _)| *suffix && below(name)).map(|(_, name, _)| name.len()).max();
    let named: Vec<_> = if exact.is_empty() {
        entries().filter(|(suffix, name, _)| *suffix && below(name) && Some(name.len()) == longest).collect()
    } else {
        exact
    };
    named.iter().any(|(_, _, named)| port == 443 || *named == Some(port))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_permitted_that_no_entry_permits(
        sites in prop::collection::vec(prop::collection::vec(entry(), 1..4), 1..4),
        asked in prop::collection::vec((host(), prop::sample::select(vec![443_u16, 80, 8080, 8081, 22])), 1..20),
    ) {
        let Some(list) = list(&sites) else { return Ok(()) };
        for (host, port) in asked {
            let name = HostName::parse(&host).unwrap();
            let expected = plainly(&sites, &host, port);
            let request = list.permit(Scheme::Https, &name, port, &Method::GET, "/");
            prop_assert_eq!(request.is_ok(), expected, "{}:{} in {:?}", host, port, sites);
            let tunnel = list.permit_tunnel(&name, port);
            prop_assert_eq!(tunnel.is_ok(), expected);
            if let Ok(permit) = tunnel {
                prop_assert_eq!(permit.host(), &name);
                prop_assert_eq!(permit.port(), port);
                prop_assert!(permit.site().hosts().contains(permit.host_entry()));
            }
        }
    }

    #[test]
    fn any_text_is_a_list_or_findings(text in "\\PC{0,200}") {
        findings_are_whole(&text)?;
    }

    #[test]
    fn a_damaged_file_is_a_list_or_findings(cut in 0_usize..6000, len in 0_usize..40, put in "[\\[\\]\"='{}*a.\n]{0,4}") {
        let mut text = include_str!("../example.toml").to_owned();
        let floor = |mut at: usize, text: &str| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(cut, &text), floor(cut + len, &text));
        text.replace_range(start..end, &put);
        findings_are_whole(&text)?;
    }

    #[test]
    fn any_url_is_explained(url in "\\PC{0,60}") {
        let list = list(&[vec![(true, "a.kz".to_owned(), None)]]).unwrap();
        list.explain(&url);
    }
}

/// Parses a text; whatever is found points into it and can be told.
fn findings_are_whole(text: &str) -> Result<(), TestCaseError> {
    let diagnostics = match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => {
            prop_assert!(!rejected.diagnostics.is_empty());
            rejected.diagnostics
        }
    };
    for told in diagnostics {
        prop_assert!(told.span().start <= text.len(), "{told:?}");
        prop_assert!(told.line() >= 1 && told.column() >= 1);
        prop_assert!(told.render(false).contains(told.message()), "{told:?}");
    }
    Ok(())
}

#[test]
fn a_list_may_be_shared_between_threads() {
    fn is_shareable<T: Send + Sync + Clone + 'static>() {}
    is_shareable::<Allowlist>();
    is_shareable::<bulaq_allowlist::Permit>();
}
