//! What the start page lists: the stored pages of the allow-listed sites, with the titles that they give themselves.
//!
//! A page's title is read from its stored body once and remembered under the name of its file, which is another one when
//! the page changes. Reading goes past the store's memory, so that listing never pushes out what pupils use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::{Allowlist, HostName, Scheme, Site};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::sync::Mutex;
use url::Url;

use super::start::{LESSONS_SHOWN_MAX, Lesson, SiteShelf};
use super::title::{self, Named};
use crate::clock::Clock;
use crate::ingress::gateway::Address;
use crate::prefetch::extract;
use crate::request::Arrival;
use crate::store::{Listed, Store};

/// How long a listing is shown before it is made again; a night adds pages, a day hardly any.
const LISTING_KEPT: Duration = Duration::from_secs(20);

/// Most stored responses that one listing looks at. Each costs an opened file; the start page of a box with more shows
/// what it has found by then, and says that there is more.
const LOOKED_AT_MAX: usize = 20_000;

/// Most pages of one site whose titles are read for one listing, and so are shown.
const TITLES_MAX: usize = LESSONS_SHOWN_MAX;

/// Longest page whose title is read. Lessons are far shorter; a longer page is listed by its address.
const PAGE_BYTES_MAX: u64 = 2 << 20;

/// How many stored responses one question to the store asks for.
const STEP: usize = 512;

/// The list of what is stored, made at most once in `LISTING_KEPT` however many ask.
#[derive(Debug, Default)]
pub struct Shelves(Mutex<Listing>);

#[derive(Debug, Default)]
struct Listing {
    made_at: Option<SystemTime>,
    sites: Vec<ListedSite>,
    /// What pages call themselves, by the name of their file.
    names: HashMap<String, Named>,
}

/// The pages of one host of a site, without the addresses at which this or that door serves them.
#[derive(Debug)]
struct ListedSite {
    site: Arc<Site>,
    host: HostName,
    scheme: Scheme,
    pages: Vec<(Url, Named)>,
    left_out: usize,
}

impl Shelves {
    /// The shelves as seen through the door of `arrival`: one for each host that has stored pages, in the allowlist's order.
    ///
    /// With a gateway its links are gateway names, for devices that no other door serves.
    ///
    /// Whoever comes first after `LISTING_KEPT` waits for the new list, and so do those who come meanwhile.
    pub async fn seen_from(
        &self,
        allowlist: &Allowlist,
        store: &Store,
        clock: &Clock,
        arrival: &Arrival,
        gateway: Option<&Address>,
    ) -> Vec<SiteShelf> {
        let mut listing = self.0.lock().await;
        let now = clock.now();
        // A clock that was set back makes a new list too.
        let age = listing.made_at.map(|made_at| now.duration_since(made_at));
        if !matches!(age, Some(Ok(age)) if age < LISTING_KEPT) {
            listing.make(store, allowlist).await;
            listing.made_at = Some(now);
        }
        let origin = |site: &ListedSite| match gateway {
            Some(gateway) => gateway.of(allowlist, &site.host, None),
            None => Some(site.address(arrival)),
        };
        listing.sites.iter().filter_map(|site| Some(site.seen_at(&origin(site)?))).collect()
    }
}

impl Listing {
    async fn make(&mut self, store: &Store, allowlist: &Allowlist) {
        let mut pages = stored_pages(store, allowlist).await;
        let mut known = std::mem::take(&mut self.names);
        self.sites.clear();
        for site in allowlist.sites() {
            for ((scheme, host), mut listed) in pages.remove(site.name()).unwrap_or_default() {
                // The shallow pages are the ones that lead to the others.
                listed.sort_by_cached_key(|(url, _)| (url.path().matches('/').count(), url.path().to_owned()));
                let left_out = listed.len().saturating_sub(TITLES_MAX);
                listed.truncate(TITLES_MAX);
                let mut shown = Vec::with_capacity(listed.len());
                for (url, stored) in listed {
                    let named = match known.remove(&stored.id) {
                        Some(named) => named,
                        None => name(store, &stored).await,
                    };
                    self.names.insert(stored.id, named.clone());
                    shown.push((url, named));
                }
                self.sites.push(ListedSite { site: Arc::clone(site), host, scheme, pages: shown, left_out });
            }
        }
    }
}

/// Stored pages by site, and by scheme and host within it.
type Pages = HashMap<String, BTreeMap<(Scheme, HostName), Vec<(Url, Listed)>>>;

/// All stored pages whose site the allowlist still has.
async fn stored_pages(store: &Store, allowlist: &Allowlist) -> Pages {
    let mut pages = Pages::new();
    let (mut after, mut looked_at) = (None, 0);
    while looked_at < LOOKED_AT_MAX {
        let step = store.list(None, after, STEP).await;
        looked_at += STEP;
        for listed in step.listed.into_iter().filter(is_page) {
            let Ok(url) = Url::parse(&listed.url) else { continue };
            let place = url.host_str().and_then(|host| HostName::parse(host).ok());
            let (Some(host), Some(scheme)) = (place, Scheme::parse(url.scheme())) else { continue };
            // Only the scheme's own port: the links of the start page can name no other.
            if let (Some(site), None) = (allowlist.site_of(&host), url.port()) {
                let hosts = pages.entry(site.name().to_owned()).or_default();
                hosts.entry((scheme, host)).or_default().push((url, listed));
            }
        }
        after = step.next;
        if after.is_none() {
            break;
        }
    }
    pages
}

/// Whether a stored response is a page for people, all of it here, and not an error or a page's part. One with a query is not shown to
/// others: it may be what a pupil typed into a search.
fn is_page(listed: &Listed) -> bool {
    let media_type = listed.content_type.as_deref().unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is_markup = ["text/html", "application/xhtml+xml"].iter().any(|html| essence.eq_ignore_ascii_case(html));
    listed.status == StatusCode::OK && listed.is_complete() && is_markup && !listed.url.contains('?')
}

/// What a stored page calls itself; nothing when it is long, damaged or gone.
async fn name(store: &Store, listed: &Listed) -> Named {
    let Some((fields, content)) = store.peek(listed, PAGE_BYTES_MAX).await else { return Named::default() };
    let field = |name| fields.get(name).and_then(|value| value.to_str().ok());
    let markup = extract::markup_text(field(CONTENT_TYPE), field(CONTENT_ENCODING), &content);
    markup.map(|markup| title::named(&markup)).unwrap_or_default()
}

impl ListedSite {
    /// The shelf whose addresses begin with `origin`.
    fn seen_at(&self, origin: &str) -> SiteShelf {
        let lessons = self.pages.iter().map(|(url, named)| Lesson {
            title: named.title.clone(),
            language: named.language,
            url: format!("{origin}{}", &url[url::Position::BeforePath..url::Position::AfterQuery]),
        });
        let title = self.site.title();
        SiteShelf {
            titles: super::Language::ALL.map(|language| title.in_language(language.tag()).to_owned()),
            host: self.host.to_unicode(),
            front: format!("{origin}/"),
            lessons: lessons.collect(),
            left_out: self.left_out,
        }
    }

    /// Scheme, host and port as the reader reaches them: the port of the reader's own door where it serves the scheme.
    fn address(&self, arrival: &Arrival) -> String {
        let is_same_door = arrival.is_secure == (self.scheme == Scheme::Https);
        let port = if is_same_door && arrival.local_port != self.scheme.default_port() {
            format!(":{}", arrival.local_port)
        } else {
            String::new()
        };
        format!("{}://{}{port}", self.scheme, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Way;

    #[test]
    fn links_lead_through_the_readers_own_door() {
        let list = "[[site]]\nname = \"a\"\ntitle = { kk = \"К\", ru = \"Р\", en = \"E\" }\nhosts = [\"bilim.kz\"]\n";
        let list = Allowlist::parse("allowlist.toml", list).unwrap().allowlist;
        let address = |scheme: Scheme, local_port, is_secure| {
            let pages = vec![(Url::parse("http://bilim.kz/kk/?a=1#x").unwrap(), Named::default())];
            let host = HostName::parse("bilim.kz").unwrap();
            let site = ListedSite { site: Arc::clone(&list.sites()[0]), host, scheme, pages, left_out: 3 };
            let arrival = Arrival {
                way: Way::Reverse,
                is_secure,
                local_port,
                original: None,
                forward_door: None,
                server_name: None,
                may_see_status: false,
                may_purge: false,
            };
            let shelf = site.seen_at(&site.address(&arrival));
            assert_eq!((shelf.titles.concat().as_str(), shelf.left_out), ("КРE", 3));
            assert_eq!(format!("{}kk/?a=1", shelf.front), shelf.lessons[0].url);
            shelf.front
        };
        assert_eq!(address(Scheme::Http, 8000, false), "http://bilim.kz:8000/");
        assert_eq!(address(Scheme::Http, 80, false), "http://bilim.kz/");
        assert_eq!(address(Scheme::Https, 443, true), "https://bilim.kz/");
        assert_eq!(address(Scheme::Https, 8443, true), "https://bilim.kz:8443/");
        // Through the other door: the scheme's own port is the only one that anybody can know.
        assert_eq!(address(Scheme::Https, 8000, false), "https://bilim.kz/");
        assert_eq!(address(Scheme::Http, 8443, true), "http://bilim.kz/");
    }
}
