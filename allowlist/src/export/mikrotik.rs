//! RouterOS 7. Its static entries have one type each, and it asks others for the types that have none, so that AAAA and
//! HTTPS would lead around the box. Entries of type FWD ask the box's own resolver for all types instead.

use super::{Answers, Meant, Redirected, line, special};

pub(super) fn text(redirected: &Redirected, answers: &Answers) -> String {
    let mut text = String::from(
        "# Bulaq's names for MikroTik RouterOS 7. Upload the file, then run: /import file-name=bulaq.rsc\n\
         # The router asks the box's own resolver for these names: [dns] of bulaq.toml must be on, and its upstreams must\n\
         # not be this router. Run it again when the allowlist or the box's addresses change; it replaces what it made.\n\
         /ip dns static\n\
         remove [find comment=\"bulaq\"]\n",
    );
    let Some(target) = answers.all().next() else { return text };
    for (host, meant) in redirected.bundles() {
        let name = match meant {
            Meant::Name => format!("name={host}"),
            Meant::Both => format!("name={host} match-subdomain=yes"),
            // Both the expression and RouterOS' own strings take the backslash.
            Meant::Below => format!("regexp=\"\\\\.{}\\$\"", host.as_str().replace('.', "\\\\.")),
        };
        line(&mut text, format_args!("add comment=\"bulaq\" {name} type=FWD forward-to={target}"));
    }
    for special in special::NAMES {
        line(&mut text, format_args!("# {}", special.about));
        line(&mut text, format_args!("add comment=\"bulaq\" name={} match-subdomain=yes type=NXDOMAIN", special.name));
    }
    line(&mut text, format_args!("/ip dns cache flush"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{answers, redirected};

    #[test]
    fn each_kind_of_pattern_has_its_entry() {
        let text = text(&redirected(&["exact.kz", "*.below.kz", "both.kz", "*.both.kz"]), &answers(&["10.0.0.5"]));
        for expected in [
            "add comment=\"bulaq\" name=exact.kz type=FWD forward-to=10.0.0.5",
            r#"add comment="bulaq" regexp="\\.below\\.kz\$" type=FWD forward-to=10.0.0.5"#,
            "add comment=\"bulaq\" name=both.kz match-subdomain=yes type=FWD forward-to=10.0.0.5",
            "add comment=\"bulaq\" name=mask.icloud.com match-subdomain=yes type=NXDOMAIN",
            "remove [find comment=\"bulaq\"]",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
        }
    }
}
