//! One job from question to links: what runs beside others, off the loop that decides.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::Semaphore;
use url::Url;

use super::budget::Mood;
use super::extract::{self, Document, Link, Sitemap, Unpacked};
use super::fetch::{Fetched, Fetcher, Stack, Throttle};
use super::journal::Role;
use super::robots::Robots;
use super::scope::{Planned, REDIRECTS_MAX, Scope};
use super::verdict::{self, Verdict};

/// Documents above this size are read on a thread of their own, so that they hold up no other request.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// What a document refers to.
#[derive(Debug, Default)]
pub(super) struct Leads {
    pub(super) links: Vec<Link>,
    pub(super) sitemap: Sitemap,
    pub(super) redirect: Option<Url>,
}

/// A job after its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) verdict: Verdict,
    pub(super) mood: Mood,
    /// Bytes of body that came from the origin.
    pub(super) bytes: u64,
    pub(super) leads: Leads,
}

/// Asks for an address and reads what it refers to.
pub(super) async fn ask<S: Stack>(
    fetcher: Fetcher<S>,
    planned: &Planned,
    url: &Url,
    role: Role,
    throttles: &[Arc<Throttle>],
) -> Asked {
    let readers = Arc::clone(&fetcher.readers);
    let mut fetched = fetcher.get(planned, role, throttles).await;
    let (verdict, mood) = verdict::judge(&fetched.answer, role);
    let bytes = fetched.bytes;
    let mut leads = Leads::default();
    if matches!(verdict, Verdict::Done(_)) {
        let redirect = fetched.redirect.take();
        if fetched.answer.status.is_success() && !fetched.content.is_empty() {
            leads = read_aside(fetched, url.clone(), role, &readers).await;
        }
        leads.redirect = redirect;
    }
    Asked { verdict, mood, bytes, leads }
}

async fn read_aside(fetched: Fetched, url: Url, role: Role, readers: &Semaphore) -> Leads {
    if fetched.content.len() <= INLINE_BYTES_MAX && fetched.content_encoding.is_none() {
        return read(&fetched, &url, role);
    }
    let _reading = readers.acquire().await; // never closed; without it the bound would only be looser
    // It ends early only with the whole process, or by a fault of ours; the address is stored all the same.
    tokio::task::spawn_blocking(move || read(&fetched, &url, role)).await.unwrap_or_default()
}

fn read(fetched: &Fetched, url: &Url, role: Role) -> Leads {
    let content: Cow<'_, [u8]> = match extract::unpack(fetched.content_encoding.as_deref(), &fetched.content) {
        Unpacked::Plain => fetched.content.as_slice().into(),
        Unpacked::Whole(content) | Unpacked::Cut(content) => content.into(),
        Unpacked::Unknown => return Leads::default(),
    };
    let document = Document { url, content_type: fetched.content_type.as_deref(), content: &content };
    if matches!(role, Role::Sitemap | Role::GuessedSitemap) {
        return Leads { sitemap: extract::sitemap(document), ..Leads::default() };
    }
    let mut links = extract::extract(document);
    if fetched.is_nofollow {
        for link in links.iter_mut().filter(|link| link.kind == extract::Kind::Page) {
            link.is_nofollow = true;
        }
    }
    Leads { links, ..Leads::default() }
}

/// What an origin's robots.txt says, or that it can't be told.
#[derive(Debug)]
pub(super) struct RobotsAsked {
    pub(super) robots: Option<Robots>,
    pub(super) mood: Mood,
    pub(super) bytes: u64,
}

/// Asks an origin for its robots.txt, over redirects to whatever the allowlist permits (RFC 9309 §2.3.1).
pub(super) async fn ask_robots<S: Stack>(
    fetcher: Fetcher<S>,
    scope: &Scope,
    origin: &str,
    throttles: &[Arc<Throttle>],
) -> RobotsAsked {
    let mut bytes = 0;
    let mut url = Url::parse(origin).ok().and_then(|origin| origin.join("/robots.txt").ok());
    for _ in 0..=REDIRECTS_MAX {
        // Where we may not go, there is no robots.txt for us.
        let Some(planned) = url.as_ref().and_then(|url| scope.plan(url).ok()) else { break };
        let fetched = fetcher.clone().get(&planned, Role::GuessedSitemap, throttles).await;
        bytes += fetched.bytes;
        let (verdict, mood) = verdict::judge(&fetched.answer, Role::GuessedSitemap);
        if matches!(verdict, Verdict::Again { .. }) {
            // 5xx, 429 or no answer: unreachable. An older one that is stored still counts.
            let is_old = fetched.answer.source == crate::request::Source::Stale && fetched.answer.status.is_success();
            let mood = if mood == Mood::Well { Mood::AsksForPause(None) } else { mood };
            return RobotsAsked { robots: is_old.then(|| robots_of(&fetched)), mood, bytes };
        }
        match fetched.redirect {
            Some(next) => url = Some(next),
            None if fetched.answer.status.is_success() => {
                return RobotsAsked { robots: Some(robots_of(&fetched)), mood: Mood::Well, bytes };
            }
            None => break,
        }
    }
    RobotsAsked { robots: Some(Robots::allow_all()), mood: Mood::Well, bytes }
}

fn robots_of(fetched: &Fetched) -> Robots {
    match extract::unpack(fetched.content_encoding.as_deref(), &fetched.content) {
        Unpacked::Whole(content) | Unpacked::Cut(content) => Robots::parse(&content),
        Unpacked::Plain | Unpacked::Unknown => Robots::parse(&fetched.content),
    }
}
