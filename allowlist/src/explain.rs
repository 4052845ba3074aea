//! Which site, host entry and rule decide a URL, and what is near when none does.

use http::Method;

use crate::allowlist::Allowlist;
use crate::file::{edits, url};
use crate::host_name::HostName;
use crate::permit::{NotListed, Permit};
use crate::site::{HostEntry, HostPattern, Scheme, Site};

/// How many near misses are told at most.
const NEAR_MAX: usize = 5;

/// Why a URL is permitted or not.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The URL as it was understood.
    pub url: String,
    /// The decision for a GET.
    pub verdict: Verdict,
    /// What is on the list and looks much like the host that is not.
    pub near: Vec<NearMiss>,
}

/// The decision for a URL.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// A request may be sent.
    Permitted(Permit),
    /// No request may be sent.
    NotListed(NotListed),
    /// The text is not a URL that a list could permit.
    NotAUrl {
        /// What is wrong with it.
        message: String,
        /// What to write instead.
        help: String,
    },
}

/// A host entry that almost names a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// The entry, as in a file.
    pub entry: String,
    /// The site that has it.
    pub site: String,
    /// How it is near, and what to add if the host belongs to that site.
    pub help: String,
}

impl Allowlist {
    /// Explains a URL. One without a scheme is taken for https, as it is typed.
    pub fn explain(&self, text: &str) -> Explanation {
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = match url(&with_scheme) {
            Ok(url) => url,
            Err(wrong) => {
                let verdict = Verdict::NotAUrl { message: wrong.message, help: wrong.help };
                return Explanation { url: text.to_owned(), verdict, near: Vec::new() };
            }
        };
        let port = if url.port == url.scheme.default_port() { String::new() } else { format!(":{}", url.port) };
        let shown = format!("{}://{}{port}{}", url.scheme, url.host, url.path_and_query);
        match self.permit(url.scheme, &url.host, url.port, &Method::GET, &url.path_and_query) {
            Ok(permit) => Explanation { url: shown, verdict: Verdict::Permitted(permit), near: Vec::new() },
            Err(not_listed) => {
                let near = match &not_listed {
                    NotListed::Host { host } => self.near_misses(host),
                    NotListed::Port { host, scheme, port, site } => vec![other_port(site, host, *scheme, *port)],
                    NotListed::Refused { .. } => Vec::new(),
                };
                Explanation { url: shown, verdict: Verdict::NotListed(not_listed), near }
            }
        }
    }

    /// The entries that almost name a host that no site names: the same site's other hosts, and names that
    /// differ by a slip of the hand. Looks at the whole list, so it is for people who ask and not for requests.
    pub fn near_misses(&self, host: &HostName) -> Vec<NearMiss> {
        let mut found: Vec<(usize, NearMiss)> = Vec::new();
        let registrable = host.registrable();
        for site in self.sites() {
            for entry in site.hosts() {
                if let Some((distance, help)) = nearness(entry, host, registrable.as_ref()) {
                    let near = NearMiss { entry: entry.to_string(), site: site.name().to_owned(), help };
                    found.push((distance, near));
                    // Keeps the nearest, and the memory small on a list where everything is near.
                    found.sort_by_key(|(distance, _)| *distance);
                    found.truncate(NEAR_MAX);
                }
            }
        }
        found.into_iter().map(|(_, near)| near).collect()
    }
}

/// How far an entry is from a host (0 is nearest), and what to add; None when they have nothing to do with each other.
fn nearness(entry: &HostEntry, host: &HostName, registrable: Option<&HostName>) -> Option<(usize, String)> {
    let listed = entry.host();
    let is_suffix = matches!(entry.pattern(), HostPattern::Suffix(_));
    if is_suffix && listed == host {
        return Some((0, format!("\"{entry}\" is for names below {host} and not for {host} itself: add \"{host}\"")));
    }
    if host.is_below(listed) {
        let all =
            if listed.is_public_suffix() { String::new() } else { format!(", or \"*.{listed}\" for all below it") };
        return Some((1, format!("{listed} is listed, but not {host}: add \"{host}\"{all}")));
    }
    if listed.is_below(host) {
        return Some((2, format!("\"{entry}\" is listed, but not {host} above it: add \"{host}\"")));
    }
    if registrable.is_some_and(|above| listed.is_at_or_below(above)) {
        return Some((3, format!("\"{entry}\" is listed, but not {host} beside it: add \"{host}\"")));
    }
    let slips = edits(listed.as_str(), host.as_str());
    let is_slip = slips <= 2 && host.as_str().len() >= 8;
    is_slip.then(|| (3 + slips, format!("{listed} is listed: is that the name you mean?")))
}

/// What a site permits of a host, when it is asked for another port or scheme.
fn other_port(site: &Site, host: &HostName, scheme: Scheme, port: u16) -> NearMiss {
    let names = |entry: &&HostEntry| match entry.pattern() {
        HostPattern::Exact(name) => name == host,
        HostPattern::Suffix(name) => host.is_below(name),
    };
    let entry = site.hosts().iter().find(names).map(ToString::to_string).unwrap_or_default();
    let help = if scheme == Scheme::Https && entry.starts_with("http://") {
        format!("\"{entry}\" permits plain HTTP alone: write it without http:// to permit https too")
    } else {
        format!("\"{entry}\" does not permit port {port}: add \"{host}:{port}\"")
    };
    NearMiss { entry, site: site.name().to_owned(), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Allowlist {
        let text = r#"
[[site]]
name = "bilimland"
hosts = ["bilimland.kz", "static.bilimland.kz"]
[[site]]
name = "portal"
hosts = ["*.portal.edu.kz", "http://old.portal.kz"]
"#;
        Allowlist::parse("allowlist.toml", text).unwrap().allowlist
    }

    #[test]
    fn what_is_near_says_what_to_add() {
        let list = list();
        for (url, entry, help) in [
            (
                "cdn.bilimland.kz",
                "bilimland.kz",
                "bilimland.kz is listed, but not cdn.bilimland.kz: add \"cdn.bilimland.kz\", or \"*.bilimland.kz\" for all below it",
            ),
            (
                "portal.edu.kz",
                "*.portal.edu.kz",
                "\"*.portal.edu.kz\" is for names below portal.edu.kz and not for portal.edu.kz itself: add \"portal.edu.kz\"",
            ),
            (
                "portal.kz",
                "http://old.portal.kz",
                "\"http://old.portal.kz\" is listed, but not portal.kz above it: add \"portal.kz\"",
            ),
            (
                "new.portal.kz",
                "http://old.portal.kz",
                "\"http://old.portal.kz\" is listed, but not new.portal.kz beside it: add \"new.portal.kz\"",
            ),
            ("bilimlnad.kz", "bilimland.kz", "bilimland.kz is listed: is that the name you mean?"),
            (
                "https://bilimland.kz:8443/",
                "bilimland.kz",
                "\"bilimland.kz\" does not permit port 8443: add \"bilimland.kz:8443\"",
            ),
            (
                "https://old.portal.kz/",
                "http://old.portal.kz",
                "\"http://old.portal.kz\" permits plain HTTP alone: write it without http:// to permit https too",
            ),
        ] {
            let explanation = list.explain(url);
            assert!(matches!(explanation.verdict, Verdict::NotListed(_)), "{url}");
            let first = explanation.near.first().unwrap_or_else(|| panic!("nothing is near {url}"));
            assert_eq!((first.entry.as_str(), first.help.as_str()), (entry, help), "{url}");
        }
        // Names that have nothing to do with the list have nothing near, though all are below .kz.
        assert_eq!(list.explain("https://bank.kz/").near, []);
        assert_eq!(list.explain("https://example.com/").near, []);
    }

    #[test]
    fn the_url_is_shown_as_it_was_understood() {
        let explanation = list().explain("  HTTP://Old.Portal.KZ.:80/a b#top ");
        assert_eq!(explanation.url, "http://old.portal.kz/a%20b");
        assert!(matches!(explanation.verdict, Verdict::Permitted(_)));
        assert!(matches!(list().explain("https://10.0.0.1/").verdict, Verdict::NotAUrl { .. }));
    }
}
