//! Content security policies: their hosts mapped, all else kept.
//!
//! A policy that was dropped would let a page load what its author forbade; one that was kept would forbid the gateway's
//! own names. Where a gateway name cannot say the same, the mapped policy says a little more, and never more than the
//! names of this gateway: `*.a.kz` and `https:` become every name below its domain.

use bulaq_allowlist::{HostName, HostPattern, Scheme};

use super::map::{Map, Mapped};

/// Longest policy that is mapped, in bytes. Real ones have up to 10 kB; a longer one is answered by one that allows the
/// page's own host alone.
const POLICY_BYTES_MAX: usize = 32 * 1024;

/// What stands for a policy that is too long.
const TOO_LONG: &str = "default-src 'self'";

/// Maps a policy, or several of them with commas between.
pub(super) fn mapped(policy: &str, map: &Map) -> String {
    if policy.len() > POLICY_BYTES_MAX {
        return TOO_LONG.to_owned();
    }
    let one = |policy: &str| {
        let directives = policy.split(';').filter_map(|directive| mapped_directive(directive.trim(), map));
        directives.collect::<Vec<_>>().join("; ")
    };
    policy.split(',').map(one).filter(|policy| !policy.is_empty()).collect::<Vec<_>>().join(", ")
}

fn mapped_directive(directive: &str, map: &Map) -> Option<String> {
    let (name, values) = directive.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((directive, ""));
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "" => None,
        // Reports would go to the site past the gateway, and integrity is no longer said of rewritten style sheets.
        "report-uri" | "report-to" | "require-sri-for" => None,
        "upgrade-insecure-requests" | "block-all-mixed-content" if map.address().scheme() == Scheme::Http => None,
        _ if lower.ends_with("-src")
            || lower.ends_with("-src-elem")
            || lower.ends_with("-src-attr")
            || matches!(lower.as_str(), "frame-ancestors" | "form-action" | "base-uri" | "navigate-to") =>
        {
            Some(mapped_sources(name, values, map))
        }
        _ => Some(directive.to_owned()),
    }
}

fn mapped_sources(name: &str, values: &str, map: &Map) -> String {
    let mut sources: Vec<String> = Vec::new();
    for value in values.split_ascii_whitespace() {
        for source in mapped_source(value, map) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    if sources.is_empty() {
        sources.push("'none'".to_owned());
    }
    format!("{name} {}", sources.join(" "))
}

/// One source expression (CSP Level 3 §2.3.1); nothing for a host that is not on the list.
fn mapped_source(value: &str, map: &Map) -> Vec<String> {
    if value.starts_with('\'') {
        let is_keyword = value.len() > 2 && value.ends_with('\'');
        return if is_keyword { vec![value.to_owned()] } else { Vec::new() };
    }
    if value == "*" {
        return vec![value.to_owned()];
    }
    let is_word = |scheme: &&str| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if let Some(scheme) = value.strip_suffix(':').filter(is_word) {
        let is_web = ["http", "https", "ws", "wss"].iter().any(|web| web.eq_ignore_ascii_case(scheme));
        return vec![if is_web { map.address().any() } else { value.to_owned() }];
    }
    let (scheme, rest) = match value.split_once("://") {
        // WebSockets do not pass; their host is only another way to name the site.
        Some((word, rest)) => (if word.eq_ignore_ascii_case("http") { "http" } else { "https" }, rest),
        None => ("https", value),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
    if let Some(above) = host.strip_prefix("*.") {
        let is_any_listed = HostName::parse(above).is_ok_and(|above| has_below(&above, map));
        return if is_any_listed { vec![map.address().any()] } else { Vec::new() };
    }
    let port = port.filter(|port| *port != "*").map(|port| format!(":{port}")).unwrap_or_default();
    match map.reference(&format!("{scheme}://{host}{port}{path}")) {
        Mapped::To(mapped) => vec![mapped],
        Mapped::Kept => vec![value.to_owned()],
        Mapped::Outside(_) => Vec::new(),
    }
}

/// Whether the list has a host below this name.
fn has_below(above: &HostName, map: &Map) -> bool {
    let mut entries = map.list().sites().iter().flat_map(|site| site.hosts());
    entries.any(|entry| match entry.pattern() {
        HostPattern::Exact(host) => host.is_below(above),
        HostPattern::Suffix(suffix) => suffix.is_at_or_below(above) || above.is_below(suffix),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::map;
    use super::*;

    #[test]
    fn policies_are_mapped_and_not_removed() {
        let a = "http://a-kz.lessons.school.example";
        let any = "http://*.lessons.school.example";
        for (policy, expected) in [
            ("default-src 'self'", "default-src 'self'".to_owned()),
            ("default-src 'none'; img-src data: blob:", "default-src 'none'; img-src data: blob:".to_owned()),
            (
                "script-src 'nonce-x' 'strict-dynamic' https://a.kz",
                format!("script-src 'nonce-x' 'strict-dynamic' {a}"),
            ),
            ("script-src a.kz https://a.kz/js/ a.kz:*", format!("script-src {a} {a}/js/")),
            ("img-src *", "img-src *".to_owned()),
            ("img-src https: http:", format!("img-src {any}")),
            ("connect-src wss://a.kz", format!("connect-src {a}")),
            ("img-src *.wild.kz", format!("img-src {any}")),
            ("img-src *.x.wild.kz", format!("img-src {any}")),
            ("img-src *.kz", format!("img-src {any}")),
            ("img-src *.games.example", "img-src 'none'".to_owned()),
            ("script-src games.example", "script-src 'none'".to_owned()),
            ("script-src 'self' games.example", "script-src 'self'".to_owned()),
            ("frame-ancestors 'none'", "frame-ancestors 'none'".to_owned()),
            (
                "frame-ancestors https://e-lessons.kz",
                "frame-ancestors http://e--lessons-kz.lessons.school.example".to_owned(),
            ),
            ("sandbox allow-scripts", "sandbox allow-scripts".to_owned()),
            ("upgrade-insecure-requests; default-src 'self'", "default-src 'self'".to_owned()),
            ("default-src 'self'; report-uri /csp; report-to x", "default-src 'self'".to_owned()),
            ("default-src 'self', img-src a.kz", format!("default-src 'self', img-src {a}")),
            ("form-action", "form-action 'none'".to_owned()),
            ("", String::new()),
            (";;", String::new()),
        ] {
            assert_eq!(mapped(policy, &map()), expected, "{policy}");
        }
        assert_eq!(mapped(&"a".repeat(POLICY_BYTES_MAX + 1), &map()), TOO_LONG);
    }

    proptest! {
        #[test]
        fn a_mapped_policy_names_no_other_host(sources in "( |'self'|https:|//|a\\.kz|\\*\\.|games\\.example|:[0-9]|/|;img-src |,img-src ){0,12}") {
            let policy = format!("default-src {sources}");
            for word in mapped(&policy, &map()).split([' ', ';', ',']).filter(|word| word.contains("//") && !word.starts_with('\'')) {
                prop_assert!(word.contains(".lessons.school.example"), "{policy} -> {word}");
            }
        }
    }
}
