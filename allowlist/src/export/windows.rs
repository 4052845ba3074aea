//! Windows Server 2016 and later, in PowerShell. A zone for a name would take every name below it along, and there is no
//! record that denies type HTTPS alone, so a recursion scope asks the box's own resolver for the names of the list.

use super::{Answers, Redirected, line, special};

/// Patterns in one policy, so that no policy grows out of what its dialogs and logs can show.
const PATTERNS_MAX: usize = 20;

pub(super) fn text(redirected: &Redirected, answers: &Answers) -> String {
    let mut text = String::from(
        "# Bulaq's names for the DNS server of Windows Server 2016 and later. In an elevated PowerShell on that server:\n\
         #   powershell -ExecutionPolicy Bypass -File bulaq.ps1\n\
         # The server asks the box's own resolver for these names: [dns] of bulaq.toml must be on, and its upstreams must\n\
         # not be this server. Run it again when the allowlist or the box's addresses change; it replaces what it made.\n\
         $ErrorActionPreference = 'Stop'\n\
         Get-DnsServerQueryResolutionPolicy | Where-Object { $_.Name -like 'bulaq-*' } |\n    \
         ForEach-Object { Remove-DnsServerQueryResolutionPolicy -Name $_.Name -Force }\n\
         Get-DnsServerRecursionScope | Where-Object { $_.Name -eq 'bulaq' } |\n    \
         ForEach-Object { Remove-DnsServerRecursionScope -Name $_.Name -Force }\n",
    );
    let forwarders: Vec<_> = answers.all().map(|address| format!("'{address}'")).collect();
    let forwarders = forwarders.join(",");
    line(
        &mut text,
        format_args!("Add-DnsServerRecursionScope -Name 'bulaq' -Forwarder {forwarders} -EnableRecursion $true"),
    );
    let specials = special::NAMES.iter().flat_map(|special| [special.name.to_owned(), format!("*.{}", special.name)]);
    let patterns: Vec<String> = redirected.patterns().iter().map(ToString::to_string).chain(specials).collect();
    for (index, patterns) in patterns.chunks(PATTERNS_MAX).enumerate() {
        line(
            &mut text,
            format_args!(
                "Add-DnsServerQueryResolutionPolicy -Name 'bulaq-{}' -Action ALLOW -ApplyOnRecursion -RecursionScope 'bulaq' -Fqdn 'EQ,{}'",
                index + 1,
                patterns.join(",")
            ),
        );
    }
    line(&mut text, format_args!("Clear-DnsServerCache -Force"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{answers, redirected};

    #[test]
    fn patterns_are_shared_out_to_policies() {
        let hosts: Vec<String> = (0..25).map(|n| format!("h{n:02}.kz")).chain(["*.below.kz".to_owned()]).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let text = text(&redirected(&hosts), &answers(&["10.0.0.5", "2001:db8::5"]));
        assert!(text.contains("-Forwarder '10.0.0.5','2001:db8::5' -EnableRecursion $true"), "{text}");
        let policies: Vec<_> = text.lines().filter(|line| line.starts_with("Add-DnsServerQuery")).collect();
        assert_eq!(policies.len(), 2, "{text}");
        assert!(policies[0].contains("-Name 'bulaq-1' -Action ALLOW -ApplyOnRecursion -RecursionScope 'bulaq' -Fqdn 'EQ,*.below.kz,bulaq.internal,h00.kz,"), "{text}");
        assert!(policies[1].ends_with("resolver.arpa,*.resolver.arpa'"), "{text}");
        assert!(policies.iter().all(|line| line.matches(',').count() <= PATTERNS_MAX), "{text}");
    }
}
