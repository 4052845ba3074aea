//! A school's portal, made up: pages with pictures that lead to each other, for programs that fetch all of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::origin::end_of_head;
use crate::content::{Content, Places};

/// By which name it is known.
pub(crate) const NAME: &str = "portal.example.kz";

/// Pictures on each page.
const PICTURES: u32 = 15;

/// The longest picture.
const PICTURE_BYTES_MAX: u64 = 60_000;

/// Pages that the first one leads to directly; each leads on to as many.
const LINKS: u32 = 8;

/// The most of a request's head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The portal; serves to the end of the process.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pages: u32,
    requests: Arc<AtomicU64>,
}

impl Site {
    /// Starts one of so many pages in a thread of its own, on the cores of this one.
    pub(crate) fn start(pages: u32) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("the portal cannot listen")?;
        listener.set_nonblocking(true)?;
        let (address, requests) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let for_thread = Arc::clone(&requests);
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                let requests = Arc::clone(&for_thread);
                tokio::spawn(async move {
                    // Whoever hangs up is done.
                    let _ended = converse(stream, pages, &requests).await;
                });
            }
        };
        std::thread::Builder::new().name("portal".into()).spawn(move || {
            let _ended: std::io::Result<()> = runtime.block_on(serve);
        })?;
        Ok(Self { address, pages, requests })
    }

    /// What it was asked so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// All its addresses: pages and pictures.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        (0..self.pages).flat_map(|page| {
            std::iter::once(page_path(page)).chain((0..PICTURES).map(move |at| picture_path(page, at)))
        })
    }
}

/// Where it begins.
pub(crate) fn start_path() -> String {
    page_path(0)
}

fn page_path(page: u32) -> String {
    format!("/page-{page}.html")
}

fn picture_path(page: u32, at: u32) -> String {
    format!("/picture-{page}-{at}.jpg")
}

/// What is at an address: its type and its bytes.
pub(crate) fn body_of(path: &str, pages: u32) -> Option<(&'static str, Vec<u8>)> {
    if let Some(page) = path.strip_prefix("/page-").and_then(|rest| rest.strip_suffix(".html")?.parse().ok()) {
        return (page < pages).then(|| ("text/html", html(page, pages).into_bytes()));
    }
    let (page, at) = path.strip_prefix("/picture-")?.strip_suffix(".jpg")?.split_once('-')?;
    let (page, at): (u32, u32) = (page.parse().ok()?, at.parse().ok()?);
    let seed = u64::from(page) * u64::from(PICTURES) + u64::from(at);
    let bytes = 1 + Places::new(seed).below(PICTURE_BYTES_MAX);
    let mut body = vec![0; usize::try_from(bytes).ok()?];
    Content::new(seed, bytes).read(0, &mut body);
    (page < pages && at < PICTURES).then_some(("image/jpeg", body))
}

/// A tree: page n leads to the pages n × 8 + 1 to n × 8 + 8.
fn html(page: u32, pages: u32) -> String {
    let mut text = format!("<!doctype html><html lang=kk><title>Lesson {page}</title><h1>Lesson {page}</h1>\n");
    for next in (1..=LINKS).map(|link| page * LINKS + link).filter(|&next| next < pages) {
        let _infallible =
            writeln!(text, "<p>What follows from this is in <a href=\"{}\">lesson {next}</a>.", page_path(next));
    }
    for at in 0..PICTURES {
        let _infallible = writeln!(text, "<p>Look: <img src=\"{}\" alt=\"picture {at}\">", picture_path(page, at));
    }
    text
}

async fn converse(mut stream: TcpStream, pages: u32, requests: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::new();
    loop {
        let Some(end) = end_of_head(&unread) else {
            if unread.len() > HEAD_BYTES_MAX || stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let path = std::str::from_utf8(&unread[..end])
            .ok()
            .and_then(|head| head.split(' ').nth(1))
            .unwrap_or_default()
            .to_owned();
        unread.drain(..end);
        let out = match body_of(&path, pages) {
            None => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Some((kind, body)) => {
                requests.fetch_add(1, Ordering::SeqCst);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: max-age=86400\r\n\
                     Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                [head.as_bytes(), &body].concat()
            }
        };
        stream.write_all(&out).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_is_found_from_the_first_page() {
        let pages = 50;
        let (mut found, mut open) = (BTreeSet::from([start_path()]), vec![start_path()]);
        while let Some(path) = open.pop() {
            let (kind, body) = body_of(&path, pages).unwrap();
            if kind != "text/html" {
                continue;
            }
            let text = String::from_utf8(body).unwrap();
            for link in text.split(['"']).filter(|word| word.starts_with('/')) {
                if found.insert(link.to_owned()) {
                    open.push(link.to_owned());
                }
            }
        }
        let all: BTreeSet<String> =
            Site { address: ([127, 0, 0, 1], 1).into(), pages, requests: Arc::default() }.paths().collect();
        assert_eq!(found, all);
        assert_eq!(all.len() as u32, pages * (1 + PICTURES));
    }

    #[test]
    fn there_is_nothing_else() {
        for wrong in ["/", "/page-50.html", "/page-x.html", "/picture-1-15.jpg", "/picture-50-0.jpg", "/robots.txt"] {
            assert!(body_of(wrong, 50).is_none(), "{wrong}");
        }
    }
}
