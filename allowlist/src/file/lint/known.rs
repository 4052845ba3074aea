//! Hosts that are known by name: shared by pages of many sites, or not to be decrypted.

use std::ops::Range;

use super::Hosts;
use crate::file::build::Built;
use crate::file::report::Report;
use crate::host_name::HostName;
use crate::known::{self, Pinned};
use crate::site::{HostEntry, HostPattern, Source, TlsMode};

/// Says of hosts that pages of many sites load what becomes of them. The catalogue's entries say it themselves.
pub(super) fn shared(report: &mut Report<'_>, sites: &[Built]) {
    for (entry, span) in written(sites) {
        let Some(shared) = known::shared_in(&entry.pattern) else { continue };
        let message = format!(
            "\"{}\" is {}: DNS and the PAC file do not lead it to the box, or browsers would block it in all pages that \
             are not on this list",
            entry.pattern, shared.what
        );
        let help = "leave it out, unless the box is in the router's path: there it is kept as well";
        report.warning(span, message, "shared with other sites", help);
    }
}

fn written(sites: &[Built]) -> impl Iterator<Item = (&HostEntry, &Range<usize>)> {
    let entries = sites.iter().flat_map(|built| built.site.hosts.iter().zip(&built.spans.hosts));
    entries.filter(|(entry, _)| entry.at.source == Source::File)
}

/// Refuses to decrypt what must not be, and warns of what breaks.
pub(super) fn pinned(report: &mut Report<'_>, sites: &[Built], hosts: &Hosts<'_>) {
    for (index, built) in sites.iter().enumerate().filter(|(_, built)| built.site.tls == TlsMode::Terminate) {
        let entries = built.site.hosts.iter().zip(&built.spans.hosts).filter(|(entry, _)| !entry.plain_http);
        for (entry, span) in entries {
            match (&entry.pattern, known::pinned(entry.host())) {
                (_, Some(pinned)) => tell(report, span, &entry.pattern.to_string(), pinned),
                (HostPattern::Exact(_), None) => {}
                (HostPattern::Suffix(above), None) => below(report, span, above, (index, hosts)),
            }
        }
    }
}

/// The worst of what a wildcard takes in, but for what another site of the list takes out.
fn below(report: &mut Report<'_>, span: &Range<usize>, above: &HostName, (index, hosts): (usize, &Hosts<'_>)) {
    let is_ours = |name: &str| {
        let other = hosts.exact.get(name).copied();
        let other = other.or_else(|| Some(hosts.suffix_above(&HostName::parse(name).ok()?)?.1));
        other == Some(index)
    };
    let below = known::pinned_below(above);
    let ours = || below.iter().filter(|(name, _)| is_ours(name));
    if let Some((name, pinned)) = ours().find(|(_, pinned)| pinned.is_never).or_else(|| ours().next()) {
        tell(report, span, name, pinned);
    }
}

fn tell(report: &mut Report<'_>, span: &Range<usize>, host: &str, pinned: &Pinned) {
    let help =
        format!("write tls = \"splice\"; if the rest of the site is to be kept, give \"{host}\" a site of its own");
    if pinned.is_never {
        report.error(span, format!("\"{host}\" must not be decrypted: it is {}", pinned.why), "never decrypted", help);
    } else {
        let message = format!("\"{host}\" breaks when it is decrypted: it is {}", pinned.why);
        report.warning(span, message, "breaks when decrypted", help);
    }
}
