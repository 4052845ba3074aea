//! What a box's certificates and nights say about its list.

use std::collections::{BTreeSet, HashMap};

use crate::evidence::{CaNames, Evidence, MissingPart};
use crate::file::build::Built;
use crate::file::report::Report;
use crate::host_name::HostName;
use crate::known;
use crate::site::{HostEntry, HostPattern, TlsMode};

/// Most hosts that one sentence names.
const HOSTS_TOLD: usize = 5;

/// How a technician gives the box an intermediate for today's list.
const ISSUE: &str = "run `bulaq ca issue` (`bulaq ca request` where the district has the root)";

/// Looks at all sites with what the box knows.
pub(super) fn all(report: &mut Report<'_>, sites: &[Built], evidence: &Evidence) {
    if let Some(ca) = &evidence.ca {
        certificates(report, sites, ca, &evidence.certified);
    }
    missing(report, sites, &evidence.missing);
}

/// Warns of hosts that are to be terminated and that no certificate can be made for.
fn certificates(report: &mut Report<'_>, sites: &[Built], ca: &CaNames, certified: &[HostPattern]) {
    let terminated = sites.iter().filter(|built| built.site.tls == TlsMode::Terminate);
    let entries = terminated.flat_map(|built| built.site.hosts.iter().zip(&built.spans.hosts));
    let entries = entries.filter(|(entry, _)| !entry.plain_http && !certified.iter().any(|it| takes_in(it, entry)));
    for (entry, span) in entries {
        let covers = |names: &Vec<HostName>| names.iter().any(|name| entry.host().is_at_or_below(name));
        let (why, help) = match (&ca.root, &ca.intermediate) {
            (None, _) => {
                let help = "make a root with `bulaq ca init`, then run `bulaq ca issue`; or write tls = \"splice\"";
                let message = "this box has no CA yet, so sites set to \"terminate\" are passed through";
                return report.warning(span, message, "passed through", help);
            }
            (Some(root), _) if !covers(root) => {
                let help = "make a new root with `bulaq ca init` in a new folder and give it to the devices, or write tls = \"splice\"";
                ("the root certificate", help)
            }
            (Some(_), None) => {
                let message =
                    "the root has issued nothing to this box, so sites set to \"terminate\" are passed through";
                return report.warning(span, message, "passed through", ISSUE);
            }
            (Some(_), Some(intermediate)) if !covers(intermediate) => ("the box's intermediate certificate", ISSUE),
            (Some(_), Some(_)) => continue,
        };
        let message =
            format!("{why} cannot vouch for \"{}\": it is passed through, nothing of it is kept", entry.pattern);
        report.warning(span, message, "passed through", help);
    }
}

fn takes_in(certified: &HostPattern, entry: &HostEntry) -> bool {
    match (certified, &entry.pattern) {
        (HostPattern::Exact(own), HostPattern::Exact(host)) => own == host,
        (HostPattern::Suffix(own), HostPattern::Exact(host)) => host.is_below(own),
        (HostPattern::Suffix(own), HostPattern::Suffix(host)) => own == host,
        (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
    }
}

/// Warns of hosts that stored pages need and that the list does not name: without the Internet these pages are incomplete.
fn missing(report: &mut Report<'_>, sites: &[Built], missing: &[MissingPart]) {
    let is_listed = |host: &HostName| {
        let entries = sites.iter().flat_map(|built| &built.site.hosts);
        entries.into_iter().any(|entry| match &entry.pattern {
            HostPattern::Exact(listed) => listed == host,
            HostPattern::Suffix(above) => host.is_below(above),
        })
    };
    let mut of_site: HashMap<&str, BTreeSet<&HostName>> = HashMap::new();
    for MissingPart { site, host } in missing {
        let is_shared = known::shared_in(&HostPattern::Exact(host.clone())).is_some();
        if !is_shared && !is_listed(host) {
            of_site.entry(site).or_default().insert(host);
        }
    }
    for built in sites {
        let Some(hosts) = of_site.get(&*built.site.name) else { continue };
        let mut told = hosts.iter().take(HOSTS_TOLD).map(|host| format!("\"{host}\"")).collect::<Vec<_>>().join(", ");
        if hosts.len() > HOSTS_TOLD {
            told += &format!(" and {} more", hosts.len() - HOSTS_TOLD);
        }
        let message = format!(
            "stored pages of this site load parts from {told}, which the list does not name: without the Internet, or \
             without its hosts, these pages are incomplete"
        );
        let help = "add to `hosts` those that belong to the site; the others it must do without";
        report.warning(&built.spans.name, message, "pages with missing parts", help);
    }
}
