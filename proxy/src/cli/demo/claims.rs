//! What the demo claims, checked: each claim is a sentence and whether it held.

use std::collections::BTreeSet;

use super::content::{BILIM_HOST, KITAP_HOST};
use super::portal::{Seen, Stopped};
use super::pupils::Morning;
use crate::config::quantity::grouped;

/// A sentence about the morning, and whether it is true.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The sentence.
    pub(crate) text: String,
    /// Whether it held.
    pub(crate) held: bool,
    /// What speaks against it, when it did not hold.
    pub(crate) against: Vec<String>,
}

/// What was seen, for the claims to be checked against.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    /// The portals, stopped.
    pub(crate) portal: &'a Stopped,
    /// Whether their port refused a connection after the morning.
    pub(crate) is_gone: bool,
    /// What the portals had seen when they stopped.
    pub(crate) after_night: Seen,
    /// The URLs of everything that is stored.
    pub(crate) stored: &'a BTreeSet<String>,
    /// What the pupils did.
    pub(crate) morning: &'a Morning,
    /// Bytes that the ledger says came over the link after the night.
    pub(crate) morning_wan_bytes: u64,
    /// The status for a host that no rule names.
    pub(crate) unlisted_status: Option<u16>,
    /// The start page's markup.
    pub(crate) start_page: &'a str,
    /// The box's port, as the start page's links have it.
    pub(crate) port: u16,
}

/// Most examples against a claim that are told.
const AGAINST_MAX: usize = 5;

/// Checks all claims, in the order of the story.
pub(crate) fn check(evidence: &Evidence<'_>) -> Vec<Claim> {
    let Evidence { portal, stored, morning, .. } = evidence;
    let urls = |wanted: fn(&str, &super::content::Resource) -> bool| -> Vec<String> {
        let hosts = [BILIM_HOST, KITAP_HOST].into_iter();
        hosts
            .flat_map(|host| portal.paths(host).map(move |(path, resource)| (host, path, resource)))
            .filter(|(_, path, resource)| wanted(path, resource))
            .map(|(host, path, _)| format!("http://{host}{path}"))
            .collect()
    };
    let public = urls(|path, resource| !resource.is_private() && !is_for_robots(path) && !path.contains("/teachers/"));
    let missing = public.iter().filter(|url| !stored.contains(*url)).cloned().collect();
    let private = urls(|_, resource| resource.is_private()).into_iter().filter(|url| stored.contains(url)).collect();
    let disallowed =
        urls(|path, _| path.contains("/teachers/")).into_iter().filter(|url| stored.contains(url)).collect();
    let pages = urls(|path, page| page.is_page() && !page.is_private() && !path.contains("/teachers/"));
    let unlisted = pages.iter().filter(|url| !evidence.lists(url)).cloned().collect();
    let after = portal.seen();
    let extra_requests = after.requests - evidence.after_night.requests;
    vec![
        claim(format!("The night stored all {} public pages and parts of both portals.", public.len()), missing),
        claim("It stored nothing that is private.".to_owned(), private),
        claim("It stayed away from what robots.txt disallows.".to_owned(), disallowed),
        told(
            format!(
                "{} lesson pages opened with the portals gone, each with all its parts.",
                grouped(morning.pages as u64)
            ),
            morning.pages > 0 && evidence.is_gone,
            "the portals still answered, or no page was opened",
        ),
        claim_of_morning(morning),
        told(
            "The portals saw no request after the night.".to_owned(),
            extra_requests == 0,
            &format!("{extra_requests} requests"),
        ),
        told(
            "The ledger counts no byte over the link in the morning.".to_owned(),
            evidence.morning_wan_bytes == 0,
            &format!("{} bytes", evidence.morning_wan_bytes),
        ),
        told(
            "A site that is not on the list is refused.".to_owned(),
            evidence.unlisted_status == Some(403),
            &format!("status {:?}", evidence.unlisted_status),
        ),
        claim(format!("The start page lists all {} pages by their titles.", pages.len()), unlisted),
    ]
}

impl Evidence<'_> {
    /// Whether the start page links to a page, by a title of its own rather than by its address.
    fn lists(&self, url: &str) -> bool {
        let path = url.trim_start_matches("http://");
        let (host, path) = path.split_at(path.find('/').unwrap_or(path.len()));
        let link = format!("<a href=\"http://{host}:{}{path}\">", self.port);
        self.start_page.split(&link).skip(1).any(|text| !text.starts_with("http") && !text.starts_with('<'))
    }
}

/// What robots read of a site; the night does, but it is no lesson.
fn is_for_robots(path: &str) -> bool {
    matches!(path, "/robots.txt" | "/sitemap.xml")
}

fn claim_of_morning(morning: &Morning) -> Claim {
    let text = format!(
        "{} requests, {} failed; every byte was the portals' own.",
        grouped(morning.requests as u64),
        grouped(morning.failed as u64)
    );
    let against = morning.failures.iter().take(AGAINST_MAX).cloned().collect();
    Claim { text, held: morning.failed == 0, against }
}

/// A claim that nothing may speak against.
fn claim(text: String, mut against: Vec<String>) -> Claim {
    let held = against.is_empty();
    against.truncate(AGAINST_MAX);
    Claim { text, held, against }
}

fn told(text: String, held: bool, against: &str) -> Claim {
    Claim { text, held, against: if held { Vec::new() } else { vec![against.to_owned()] } }
}

#[cfg(test)]
mod tests {
    use super::super::content;
    use super::super::portal::Portal;
    use super::*;

    /// Claims that do not hold, by their place, when the evidence is changed in one way.
    async fn broken(change: impl FnOnce(&mut Evidence<'_>, &mut Morning, &mut BTreeSet<String>)) -> Vec<usize> {
        let portal = Portal::start(content::sites()).await.unwrap().stop().await;
        let public = |path: &str, resource: &content::Resource| !resource.is_private() && !path.contains("/teachers/");
        let mut stored = BTreeSet::new();
        for host in [BILIM_HOST, KITAP_HOST] {
            let paths = portal.paths(host).filter(|(path, resource)| public(path, resource));
            stored.extend(paths.map(|(path, _)| format!("http://{host}{path}")));
        }
        let mut morning = Morning { pages: 90, requests: 900, ..Morning::default() };
        let (empty, none) = (BTreeSet::new(), Morning::default());
        let link = |url: &String| format!("<a href=\"{}\">Title</a>", url.replace(".localhost", ".localhost:8000"));
        let start_page: String = stored.iter().map(link).collect();
        let mut evidence = Evidence {
            portal: &portal,
            is_gone: true,
            after_night: portal.seen(),
            stored: &empty,
            morning: &none,
            morning_wan_bytes: 0,
            unlisted_status: Some(403),
            start_page: &start_page,
            port: 8000,
        };
        change(&mut evidence, &mut morning, &mut stored);
        let evidence = Evidence { stored: &stored, morning: &morning, ..evidence };
        check(&evidence).iter().enumerate().filter(|(_, claim)| !claim.held).map(|(place, _)| place).collect()
    }

    #[tokio::test]
    async fn each_claim_fails_when_its_evidence_does() {
        assert_eq!(broken(|_, _, _| {}).await, [0; 0]);
        assert_eq!(broken(|_, _, stored| drop(stored.pop_first())).await, [0]);
        let account = || "http://bilim.localhost/kk/account/".to_owned();
        assert_eq!(broken(|_, _, stored| assert!(stored.insert(account()))).await, [1]);
        let teachers = || "http://bilim.localhost/kk/teachers/".to_owned();
        assert_eq!(broken(|_, _, stored| assert!(stored.insert(teachers()))).await, [2]);
        assert_eq!(broken(|evidence, _, _| evidence.is_gone = false).await, [3]);
        assert_eq!(broken(|_, morning, _| morning.pages = 0).await, [3]);
        assert_eq!(broken(|_, morning, _| morning.failed = 1).await, [4]);
        assert_eq!(broken(|evidence, _, _| evidence.morning_wan_bytes = 1).await, [6]);
        assert_eq!(broken(|evidence, _, _| evidence.unlisted_status = Some(200)).await, [7]);
        assert_eq!(broken(|evidence, _, _| evidence.start_page = "").await, [8]);
        assert_eq!(broken(|evidence, _, _| evidence.port = 9).await, [8]);
    }
}
