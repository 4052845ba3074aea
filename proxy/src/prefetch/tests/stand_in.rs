//! A stack without sockets: a site as a table, and a store that remembers which of its addresses it has.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bulaq_allowlist::Allowlist;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::Service;

use super::super::{Night, NightLimits, NightOptions, SiteLimits};
use crate::clock::Clock;
use crate::request::{Arrival, BodyError, Handled, RequestBody, ResponseBody, Source, Way};

/// What the table says about one address.
#[derive(Clone)]
pub(super) enum Reply {
    /// A page of this markup.
    Page(String),
    /// Content of this type.
    Content(&'static str, String),
    /// A redirect.
    To(&'static str),
    /// A status without content.
    Status(u16),
    /// 503 with `Retry-After`, so often; then the page.
    Busy(u32, &'static str, String),
    /// The box found no origin.
    NoOrigin,
    /// Content that breaks off, so often; then the page.
    Cut(u32, String),
    /// A page that the policy does not store.
    Personal(String),
}

pub(super) fn page(links: &[&str]) -> Reply {
    Reply::Page(links.iter().map(|link| format!("<a href='{link}'>")).collect())
}

/// Answers for what the table does not have.
pub(super) type Otherwise = fn(&str) -> Reply;

/// A stack made of a table.
#[derive(Clone)]
pub(super) struct StandIn(Arc<Inner>);

struct Inner {
    table: BTreeMap<&'static str, Reply>,
    otherwise: Otherwise,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the origin was asked, in its order.
    asked: Vec<String>,
    /// What is stored, and whether it is still fresh.
    stored: HashMap<String, bool>,
    tries: HashMap<String, u32>,
    /// Called at each request with how many came before.
    at_request: Option<Box<dyn Fn(usize) + Send>>,
}

impl StandIn {
    pub(super) fn new(table: &[(&'static str, Reply)]) -> Self {
        Self::with_otherwise(table, |_| Reply::Status(404))
    }

    pub(super) fn with_otherwise(table: &[(&'static str, Reply)], otherwise: Otherwise) -> Self {
        let table = table.iter().cloned().collect();
        Self(Arc::new(Inner { table, otherwise, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no test panics while it holds this")
    }

    /// What the origin was asked for since the last call.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// What is stored, sorted.
    pub(super) fn stored(&self) -> Vec<String> {
        let mut stored: Vec<_> = self.state().stored.keys().cloned().collect();
        stored.sort();
        stored
    }

    /// The store loses all that it has.
    pub(super) fn lose(&self) {
        self.state().stored.clear();
    }

    /// All that is stored needs validation from now on.
    pub(super) fn expire(&self) {
        self.state().stored.values_mut().for_each(|is_fresh| *is_fresh = false);
    }

    pub(super) fn at_request(&self, call: impl Fn(usize) + Send + 'static) {
        self.state().at_request = Some(Box::new(call));
    }

    fn answer(&self, request: &Request<RequestBody>) -> Response<ResponseBody> {
        let url = request.uri().to_string();
        let mut state = self.state();
        if state.stored.get(&url) == Some(&true) {
            drop(state);
            return self.response(&self.reply(&url), Source::Hit, true);
        }
        let before = state.asked.len();
        state.asked.push(url.clone());
        if let Some(call) = &state.at_request {
            call(before);
        }
        let tries = state.tries.entry(url.clone()).or_default();
        *tries += 1;
        let tries = *tries;
        if let Some(is_fresh) = state.stored.get_mut(&url) {
            *is_fresh = true;
            drop(state);
            return self.response(&self.reply(&url), Source::Validated, true);
        }
        let reply = match self.reply(&url) {
            Reply::Busy(times, after, _) if tries <= times => {
                let mut response = self.response(&Reply::Status(503), Source::Origin, false);
                response.headers_mut().insert("retry-after", after.parse().expect("a value"));
                return response;
            }
            Reply::Cut(times, _) if tries <= times => {
                let frames: [Result<_, BodyError>; 2] =
                    [Ok(http_body::Frame::data(Bytes::from_static(b"<a href='/never'>"))), Err(BodyError::TooSlow)];
                let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
                return head(200, "text/html", Source::Origin, true, body);
            }
            Reply::Busy(_, _, markup) | Reply::Cut(_, markup) => Reply::Page(markup),
            reply => reply,
        };
        let is_stored = matches!(reply, Reply::Page(_) | Reply::Content(..) | Reply::To(_));
        if is_stored {
            state.stored.insert(url, true);
        }
        drop(state);
        self.response(&reply, Source::Origin, is_stored)
    }

    fn reply(&self, url: &str) -> Reply {
        self.0.table.get(url).cloned().unwrap_or_else(|| (self.0.otherwise)(url))
    }

    fn response(&self, reply: &Reply, source: Source, is_stored: bool) -> Response<ResponseBody> {
        let full = |text: &str| Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed_unsync();
        match reply {
            Reply::Page(markup) | Reply::Personal(markup) | Reply::Busy(_, _, markup) | Reply::Cut(_, markup) => {
                head(200, "text/html", source, is_stored, full(markup))
            }
            Reply::Content(content_type, content) => head(200, content_type, source, is_stored, full(content)),
            Reply::To(target) => {
                let mut response = head(301, "text/html", source, is_stored, full(""));
                let target = http::HeaderValue::from_bytes(target.as_bytes()).expect("a value");
                response.headers_mut().insert("location", target);
                response
            }
            Reply::Status(status) => head(*status, "text/html", source, is_stored, full("")),
            Reply::NoOrigin => head(502, "text/html", Source::Box, false, full("")),
        }
    }
}

fn head(
    status: u16,
    content_type: &str,
    source: Source,
    is_stored: bool,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", content_type.parse().expect("a value"));
    response.extensions_mut().insert(Handled { permit: None, source, is_stored, reason: "no-store" });
    response
}

impl Service<Request<RequestBody>> for StandIn {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let arrival = request.extensions().get::<Arrival>().expect("every job says how it came");
        assert_eq!(arrival.way, Way::Night);
        let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        assert!(!names.iter().any(|name| matches!(*name, "cookie" | "authorization" | "referer")), "{names:?}");
        assert_eq!(request.headers()["host"], request.uri().authority().expect("absolute").as_str());
        assert!(request.headers()["user-agent"].to_str().expect("ASCII").starts_with("Bulaq/"));
        ready(Ok(self.answer(&request)))
    }
}

/// One site, `a.kz`, beginning at its root; these lines go into its `[site.prefetch]`.
pub(super) fn allowlist(prefetch: &str) -> Arc<ArcSwap<Allowlist>> {
    let text = format!(
        r#"
        [[site]]
        name = "a"
        hosts = ["a.kz", "m.a.kz"]
        tls = "terminate"

        [[site.rule]]
        path = "/never-stored/**"
        never-store = true

        [[site.rule]]
        path = "/refused/**"
        refuse = true

        [[site.rule]]
        path = "/**"
        ignore-query = ["utm_*"]

        [site.prefetch]
        start = ["http://a.kz/"]
        {prefetch}

        [[site]]
        name = "b"
        hosts = ["b.kz"]
        tls = "terminate"

        [[site]]
        name = "spliced"
        hosts = ["s.kz"]
        tls = "splice"
        "#
    );
    let loaded = Allowlist::parse("allowlist.toml", &text).expect("a list");
    Arc::new(ArcSwap::from_pointee(loaded.allowlist))
}

/// Saturday evening.
pub(super) fn clock() -> Clock {
    Clock::held("2026-11-21T17:00:00Z".parse::<jiff::Timestamp>().expect("a moment").into())
}

/// Without pauses and one request at a time, so that the order is known.
pub(super) fn options() -> NightOptions {
    NightOptions {
        night: NightLimits { in_flight_max: 1, ..NightLimits::default() },
        site: SiteLimits { requests_per_second: None, ..SiteLimits::default() },
        zone: jiff::tz::TimeZone::UTC,
        ..NightOptions::default()
    }
}

pub(super) fn night(
    options: NightOptions,
    prefetch: &str,
    stack: &StandIn,
    clock: &Clock,
    data: &std::path::Path,
) -> Night<StandIn> {
    Night::new(options, allowlist(prefetch), stack.clone(), clock.clone(), data).with_held_time()
}
