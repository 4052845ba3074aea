//! What a file may say, and what is told about one that may not be.

use http::Method;

use super::*;
use crate::site::Scheme;
use crate::{HostName, NotListed};

/// Reads a file that must be good.
fn load(text: &str) -> Loaded {
    match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded,
        Err(rejected) => panic!("{}", rendered(&rejected.diagnostics)),
    }
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|told| told.render(false)).collect::<Vec<_>>().join("\n\n")
}

/// All findings about a text, warnings and errors, as `line:column message → help`.
fn findings(text: &str) -> Vec<String> {
    let diagnostics = match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => rejected.diagnostics,
    };
    diagnostics.iter().map(|d| format!("{}:{} {} → {}", d.line, d.column, d.message, d.help().unwrap_or(""))).collect()
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

#[test]
fn a_request_gets_the_first_rule_that_is_for_it() {
    let list = load(
        r#"
[[site]]
name = "portal"
hosts = ["portal.kz", "*.portal.kz", "portal.kz:8443", "http://plain.portal.kz:8080"]
tls = "terminate"

[[site.rule]]
path = "/admin/**"
refuse = true

[[site.rule]]
path = "/api/**"
methods = ["POST"]
never-store = true

[[site.rule]]
path = "/**"
query = "*lang=*"
ignore-query = "utm_*"
"#,
    )
    .allowlist;
    let decide = |scheme, name: &str, port, method: &Method, path: &str| {
        list.permit(scheme, &host(name), port, method, path).map(|p| p.rule_index()).map_err(|e| e.reason())
    };
    use Scheme::{Http, Https};
    for (scheme, name, port, method, path, expected) in [
        (Https, "portal.kz", 443, Method::GET, "/", Ok(None)),
        (Https, "portal.kz", 443, Method::GET, "/?lang=kk", Ok(Some(2))),
        (Https, "portal.kz", 443, Method::GET, "/?ln=kk", Ok(None)),
        (Https, "portal.kz", 443, Method::POST, "/api/x", Ok(Some(1))),
        (Https, "portal.kz", 443, Method::GET, "/api/x", Ok(None)),
        (Https, "portal.kz", 443, Method::GET, "/admin/x?lang=kk", Err("refused-by-rule")),
        (Https, "portal.kz", 443, Method::GET, "/x/..//%61dmin/x", Err("refused-by-rule")),
        (Http, "portal.kz", 80, Method::GET, "/", Ok(None)),
        (Https, "portal.kz", 8443, Method::GET, "/", Ok(None)),
        (Http, "portal.kz", 443, Method::GET, "/", Err("port-not-listed")),
        (Https, "portal.kz", 80, Method::GET, "/", Err("port-not-listed")),
        (Https, "portal.kz", 8444, Method::GET, "/", Err("port-not-listed")),
        (Https, "a.b.portal.kz", 443, Method::GET, "/", Ok(None)),
        (Https, "a.b.portal.kz", 8443, Method::GET, "/", Err("port-not-listed")),
        (Http, "plain.portal.kz", 8080, Method::GET, "/", Ok(None)),
        (Https, "plain.portal.kz", 443, Method::GET, "/", Err("port-not-listed")),
        (Https, "notportal.kz", 443, Method::GET, "/", Err("host-not-listed")),
        (Https, "kz", 443, Method::GET, "/", Err("host-not-listed")),
    ] {
        assert_eq!(decide(scheme, name, port, &method, path), expected, "{scheme}://{name}:{port}{path}");
    }
    assert!(list.permit_tunnel(&host("portal.kz"), 443).is_ok());
    assert!(list.permit_tunnel(&host("portal.kz"), 8443).is_ok());
    assert!(matches!(list.permit_tunnel(&host("portal.kz"), 22), Err(NotListed::Port { .. })));
    assert!(matches!(list.permit_tunnel(&host("portal.kz"), 80), Err(NotListed::Port { .. })));
    assert!(matches!(list.permit_tunnel(&host("other.kz"), 443), Err(NotListed::Host { .. })));
}

#[test]
fn all_findings_are_told_at_once() {
    let found = findings(
        r#"
[[site]]
nam = "x"
hosts = ["10.0.0.1", "*.kz"]
tls = "splic"
"#,
    );
    assert_eq!(found.len(), 5, "{found:#?}");
}
