//! What the start page lists: the stored pages of the allow-listed sites, with the titles that they give themselves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::{Allowlist, HostPattern, Scheme, Site};
use http::Uri;
use tokio::sync::Mutex;

use super::Language;
use super::start::{LESSONS_SHOWN_MAX, Lesson, SiteShelf};
use crate::clock::Clock;
use crate::request::Arrival;
use crate::store::{ListCursor, Store};

/// How long a list of what is stored is shown before it is made anew: making it opens a file for each page.
const KEPT: Duration = Duration::from_secs(30);

/// The most stored responses of one host that are looked through.
const LISTED_MAX: usize = 50_000;

/// How many are taken from the store at a time.
const LISTED_AT_ONCE: usize = 512;

/// The list of what is stored, made at most once in [`KEPT`] however many ask.
#[derive(Debug, Default)]
pub struct Shelves(Mutex<Option<(SystemTime, Arc<Vec<Shelf>>)>>);

/// One site's stored pages, without the addresses at which this or that door serves them.
#[derive(Debug)]
struct Shelf {
    titles: [String; 3],
    host: String,
    scheme: Scheme,
    pages: Vec<Page>,
    left_out: usize,
}

#[derive(Debug)]
struct Page {
    title: String,
    language: Option<Language>,
    uri: Uri,
}

impl Shelves {
    /// The shelves as seen through the door of `arrival`. Sites of which nothing is stored are left out.
    pub async fn seen_from(
        &self,
        allowlist: &Allowlist,
        store: &Store,
        clock: &Clock,
        arrival: &Arrival,
    ) -> Vec<SiteShelf> {
        let mut kept = self.0.lock().await;
        let now = clock.now();
        let shelves = match &*kept {
            // A clock that was set back makes the list anew, too.
            Some((made, shelves)) if now.duration_since(*made).is_ok_and(|age| age < KEPT) => shelves.clone(),
            _ => {
                let shelves = Arc::new(make(allowlist, store).await);
                *kept = Some((now, shelves.clone()));
                shelves
            }
        };
        drop(kept);
        shelves.iter().map(|shelf| shelf.seen_from(arrival)).collect()
    }
}

impl Shelf {
    fn seen_from(&self, arrival: &Arrival) -> SiteShelf {
        let lesson = |page: &Page| Lesson {
            title: page.title.clone(),
            language: page.language,
            url: address(&page.uri, arrival),
        };
        let front = format!("{}://{}/", self.scheme, self.host);
        SiteShelf {
            titles: self.titles.clone(),
            host: self.host.clone(),
            front: front.parse().map_or(front, |uri| address(&uri, arrival)),
            lessons: self.pages.iter().map(lesson).collect(),
            left_out: self.left_out,
        }
    }
}

/// Where a stored page opens for somebody who came by this door: plain http keeps our own port.
fn address(uri: &Uri, arrival: &Arrival) -> String {
    let is_http = uri.scheme_str() == Some("http");
    let port = (is_http && !arrival.is_secure && arrival.local_port != 80).then_some(arrival.local_port);
    match (uri.host(), uri.port(), port) {
        (Some(host), None, Some(port)) => {
            format!("http://{host}:{port}{}", uri.path_and_query().map_or("/", |path| path.as_str()))
        }
        _ => uri.to_string(),
    }
}

async fn make(allowlist: &Allowlist, store: &Store) -> Vec<Shelf> {
    let mut shelves = Vec::new();
    for site in allowlist.sites() {
        let mut uris = Vec::new();
        for entry in site.hosts() {
            if let HostPattern::Exact(host) = entry.pattern() {
                stored_pages(store, host.as_str(), &mut uris).await;
            }
        }
        if let Some(first) = uris.first() {
            let scheme = first.scheme_str().and_then(Scheme::parse).unwrap_or(Scheme::Http);
            shelves.push(shelf(site, scheme, uris));
        }
    }
    shelves
}

/// The addresses of a host's stored pages, the shallow ones first.
async fn stored_pages(store: &Store, host: &str, uris: &mut Vec<Uri>) {
    let mut after: Option<ListCursor> = None;
    let mut looked_at = 0;
    loop {
        let listing = store.list(Some(host), after, LISTED_AT_ONCE).await;
        looked_at += LISTED_AT_ONCE;
        let pages = listing.listed.iter().filter(|one| {
            one.status.is_success() && one.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/html"))
        });
        uris.extend(pages.filter_map(|one| one.url.parse::<Uri>().ok()));
        after = listing.next;
        if after.is_none() || looked_at >= LISTED_MAX {
            break;
        }
    }
    uris.sort_by_cached_key(|uri| {
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        (path.matches('/').count(), path)
    });
    uris.dedup();
}

fn shelf(site: &Site, scheme: Scheme, uris: Vec<Uri>) -> Shelf {
    // The page shows no more of one language.
    let named = uris.len().min(LESSONS_SHOWN_MAX * Language::ALL.len());
    let left_out = uris.len() - named;
    let mut pages = Vec::with_capacity(named);
    for uri in uris.into_iter().take(named) {
        pages.push(Page { title: String::new(), language: None, uri });
    }
    let host = pages.first().and_then(|page| page.uri.host()).unwrap_or_default().to_owned();
    let titles = Language::ALL.map(|language| site.title().in_language(language.tag()).to_owned());
    Shelf { titles, host, scheme, pages, left_out }
}
