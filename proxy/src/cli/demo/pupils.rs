//! Simulated pupils: real sockets, real HTTP, every part of every page, and every byte compared with the portal's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, RANGE};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::content::{BILIM_HOST, KITAP_HOST, TAGS};
use super::portal::Stopped;

/// Longest wait for one whole answer. A box that holds the lesson answers in milliseconds.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Longest answer that a pupil reads; the film is a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A player asks for the beginning of a film first, and then for the rest.
const FIRST_RANGE_BYTES: usize = 32 << 10;

/// Most failures that are kept in words; the rest is counted.
const FAILURES_KEPT_MAX: usize = 20;

/// Most style sheets that import one another.
const IMPORTS_MAX: usize = 8;

/// The lesson with the film, which every pupil opens at the same moment.
const FILM_LESSON: &str = "/science/water-cycle/";

/// What the pupils did.
#[derive(Debug, Default)]
pub(crate) struct Morning {
    /// Pages opened with all their parts.
    pub(crate) pages: usize,
    /// Requests made.
    pub(crate) requests: usize,
    /// Bytes of content received.
    pub(crate) bytes: u64,
    /// Requests that did not bring exactly what the portal would have sent.
    pub(crate) failed: usize,
    /// The first few failures, in words.
    pub(crate) failures: Vec<String>,
    /// How long each page took until its last part was there, shortest first.
    pub(crate) page_times: Vec<Duration>,
}

impl Morning {
    /// The time within which `percent` of the pages were complete.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let last = self.page_times.len().saturating_sub(1);
        self.page_times.get(last * percent / 100).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.pages += other.pages;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.failed += other.failed;
        let room = FAILURES_KEPT_MAX.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
        self.page_times.extend(other.page_times);
    }

    fn fail(&mut self, what: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_KEPT_MAX {
            self.failures.push(what);
        }
    }
}

/// Lets `count` pupils open their pages through the box at `address`, all at once, and compares every answer with what
/// the stopped portal would have sent.
pub(crate) async fn class(count: usize, address: SocketAddr, portal: Arc<Stopped>) -> Morning {
    let bell = Arc::new(Barrier::new(count));
    let mut pupils = JoinSet::new();
    for number in 0..count {
        let (bell, portal) = (Arc::clone(&bell), Arc::clone(&portal));
        let pages = timetable(number, &portal);
        pupils.spawn(async move {
            let mut pupil = Pupil::new(number, address, portal);
            bell.wait().await;
            for (host, path) in pages {
                pupil.open(host, &path).await;
            }
            pupil.morning
        });
    }
    let mut morning = Morning::default();
    while let Some(pupil) = pupils.join_next().await {
        match pupil {
            Ok(pupil) => morning.add(pupil),
            Err(error) => morning.fail(format!("a pupil gave up: {error}")),
        }
    }
    morning.page_times.sort_unstable();
    morning
}

/// One answer for anybody: its status and content; none when there is no answer.
pub(crate) async fn look(host: &str, path: &str, address: SocketAddr) -> Option<(u16, String)> {
    let browser: Browser = Client::builder(TokioExecutor::new()).build(BoxConnector(address));
    let request = Request::get(format!("http://{host}:{}{path}", address.port())).body(Empty::new()).ok()?;
    let answer = async {
        let response = browser.request(request).await.ok()?;
        let status = response.status().as_u16();
        let content = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&content).into_owned()))
    };
    tokio::time::timeout(ANSWER_WAIT, answer).await.ok()?
}

/// What a pupil opens: the front page, the lesson with the film together with the class, two lessons of the own
/// choice, and a page of the library.
fn timetable(number: usize, portal: &Stopped) -> Vec<(&'static str, String)> {
    let tag = TAGS[number % TAGS.len()];
    let of_site = |host| -> Vec<String> {
        let pages = portal.paths(host).filter(|(_, page)| page.is_page() && !page.is_private());
        let public = pages.filter(|(path, _)| path.starts_with(&format!("/{tag}/")) && !path.contains("/teachers/"));
        public.map(|(path, _)| path.to_owned()).collect()
    };
    let (lessons, books) = (of_site(BILIM_HOST), of_site(KITAP_HOST));
    let mut pages = vec![(BILIM_HOST, format!("/{tag}/")), (BILIM_HOST, format!("/{tag}{FILM_LESSON}"))];
    let turn = number / TAGS.len();
    pages.extend(
        (0..2)
            .filter_map(|more| lessons.get((turn * 2 + more) % lessons.len().max(1)))
            .map(|path| (BILIM_HOST, path.clone())),
    );
    pages.extend(books.get(turn % books.len().max(1)).map(|path| (KITAP_HOST, path.clone())));
    pages
}

/// The client of one pupil: it knows one address and asks it for every host, as a school's DNS makes it.
type Browser = Client<BoxConnector, Empty<Bytes>>;

/// Dials the box, whatever the host of the address is.
#[derive(Clone)]
struct BoxConnector(SocketAddr);

impl tower::Service<Uri> for BoxConnector {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

struct Pupil {
    browser: Browser,
    address: SocketAddr,
    tag: &'static str,
    portal: Arc<Stopped>,
    morning: Morning,
}

impl Pupil {
    fn new(number: usize, address: SocketAddr, portal: Arc<Stopped>) -> Self {
        let browser = Client::builder(TokioExecutor::new()).build(BoxConnector(address));
        Self { browser, address, tag: TAGS[number % TAGS.len()], portal, morning: Morning::default() }
    }

    /// Opens one page and everything on it.
    async fn open(&mut self, host: &'static str, path: &str) {
        let start = Instant::now();
        let Some(page) = self.fetch(host, path, None).await else { return };
        let mut parts = parts_of(&page, path);
        let mut done = 0;
        // Style sheets name more parts; the list grows while it is worked off, and IMPORTS_MAX bounds the growth.
        let mut sheets = 0;
        while done < parts.len() {
            let part = parts[done].clone();
            done += 1;
            if part.ends_with(".webm") {
                self.play(host, &part).await;
            } else if let Some(content) = self.fetch(host, &part, None).await
                && part.ends_with(".css")
                && sheets < IMPORTS_MAX
            {
                sheets += 1;
                let named =
                    parts_of(&content, &part).into_iter().filter(|part| !parts.contains(part)).collect::<Vec<_>>();
                parts.extend(named);
            }
        }
        self.morning.pages += 1;
        self.morning.page_times.push(start.elapsed());
    }

    /// Plays a film as a browser does: its beginning, then the rest.
    async fn play(&mut self, host: &str, path: &str) {
        for range in [format!("bytes=0-{}", FIRST_RANGE_BYTES - 1), format!("bytes={FIRST_RANGE_BYTES}-")] {
            self.fetch(host, path, Some(&range)).await;
        }
    }

    /// One request; the content when it is exactly what the portal would have sent.
    async fn fetch(&mut self, host: &str, path: &str, range: Option<&str>) -> Option<Bytes> {
        self.morning.requests += 1;
        match tokio::time::timeout(ANSWER_WAIT, self.ask(host, path, range)).await {
            Ok(Ok((status, content))) => {
                self.morning.bytes += content.len() as u64;
                if let Some(wrong) = self.differs(host, path, range, status, &content) {
                    self.morning.fail(format!("{host}{path}: {wrong}"));
                    return None;
                }
                Some(content)
            }
            Ok(Err(error)) => {
                self.morning.fail(format!("{host}{path}: {error}"));
                None
            }
            Err(_) => {
                self.morning.fail(format!("{host}{path}: no answer within {} s", ANSWER_WAIT.as_secs()));
                None
            }
        }
    }

    async fn ask(
        &self,
        host: &str,
        path: &str,
        range: Option<&str>,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut request = Request::get(format!("http://{host}:{}{path}", self.address.port()));
        request = request.header(ACCEPT_LANGUAGE, self.tag);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let response = self.browser.request(request.body(Empty::new())?).await?;
        let status = response.status();
        let content = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok((status, content))
    }

    /// What is wrong with an answer, if anything.
    fn differs(
        &self,
        host: &str,
        path: &str,
        range: Option<&str>,
        status: StatusCode,
        content: &Bytes,
    ) -> Option<String> {
        let wanted = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if status != wanted {
            return Some(format!("status {status}"));
        }
        let whole = &self.portal.resource(host, path)?.body;
        let expected = match range {
            None => whole.clone(),
            Some(range) if range.starts_with("bytes=0-") => whole.slice(..FIRST_RANGE_BYTES.min(whole.len())),
            Some(_) => whole.slice(FIRST_RANGE_BYTES.min(whole.len())..),
        };
        (*content != expected).then(|| "other bytes than the portal's".to_owned())
    }
}

/// The parts that a page or a style sheet of ours names, as absolute paths, in order and without repeats. Our own
/// markup is regular, so this needs no parser; the night, which reads anybody's pages, has one.
fn parts_of(content: &[u8], at: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    let mut parts = Vec::new();
    for (mark, end) in [("src=\"", '"'), ("poster=\"", '"'), ("srcset=\"", ' '), ("url(\"", '"')] {
        parts.extend(text.split(mark).skip(1).filter_map(|rest| rest.split(end).next()).map(str::to_owned));
    }
    for link in text.split("<link ").skip(1).filter_map(|rest| rest.split('>').next()) {
        if link.contains("rel=\"stylesheet\"") || link.contains("rel=\"icon\"") {
            parts.extend(link.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    let folder = at.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut absolute = Vec::new();
    for part in parts {
        let part = if part.starts_with('/') { part } else { format!("{folder}/{part}") };
        if !absolute.contains(&part) {
            absolute.push(part);
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::super::content;
    use super::super::portal::Portal;
    use super::*;

    #[test]
    fn a_lesson_has_all_its_parts() {
        let [bilim, _] = content::sites();
        let page = &bilim.resources["/kk/science/water-cycle/"].body;
        let parts = parts_of(page, "/kk/science/water-cycle/");
        for wanted in [".webm", ".kk.", ".ru.", ".en.", "water-cycle.", "poster", "site.", "reader.", "icon."] {
            assert!(parts.iter().any(|part| part.contains(wanted)), "{wanted} in {parts:?}");
        }
        assert!(parts.iter().all(|part| bilim.resources.contains_key(part)), "{parts:?}");
        let sheet = parts.iter().find(|part| part.contains("/site.")).unwrap();
        let named = parts_of(&bilim.resources[sheet].body, sheet);
        assert_eq!(named.len(), 2, "{named:?}");
    }

    /// The portals' answers as a morning that needs no box: what `class` counts when everything is as it should be.
    #[tokio::test]
    async fn pupils_open_whole_pages_and_notice_what_is_missing() {
        let portal = Portal::start(content::sites()).await.unwrap();
        let reference = Arc::new(Portal::start(content::sites()).await.unwrap().stop().await);
        let morning = class(6, portal.address(), Arc::clone(&reference)).await;
        assert_eq!((morning.failed, morning.pages), (0, 30), "{:?}", morning.failures);
        assert_eq!(morning.requests as u64, portal.seen().requests);
        assert_eq!(morning.bytes, portal.seen().bytes);
        assert!(morning.percentile(50) <= morning.percentile(95));

        let address = portal.address();
        portal.stop().await;
        let none = class(3, address, reference).await;
        assert_eq!(none.pages, 0);
        assert_eq!(none.failed, none.requests);
        assert!(!none.failures.is_empty());
    }
}
