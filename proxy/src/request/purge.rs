//! Purging: what an operator wants gone, or asked about again, wherever it is: stored, arriving, or on its way.
//!
//! `bulaq purge` comes here by the control socket, and the method `PURGE` by the doors, from permitted addresses only.
//! No RFC defines that method; this is what users of other caches know. It is answered here and never forwarded.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bulaq_allowlist::{Allowlist, HostName, HostPattern, NotListed, Scheme, Site};
use bulaq_cache_policy::{CacheKey, CacheTag, cache_tags};
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};

use super::asked::key_of;
use super::collapse::OnItsWay;
use super::target::TargetUri;
use super::{Arrival, Context, Handled, Refusal, ResponseBody, Source};
use crate::config::quantity::counted;
use crate::store::{PurgeMode, Scope};

/// Hosts of one site that are purged by one command; a site with more is purged by its prefixes.
const HOSTS_MAX: usize = 10_000;

/// The method.
const PURGE: &str = "PURGE";

/// Ask for a soft purge with `1`; the second is the name that users of Fastly know.
const SOFT: [HeaderName; 2] = [HeaderName::from_static("soft-purge"), HeaderName::from_static("fastly-soft-purge")];

/// What browsers alone send, and pages cannot leave out (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Purges all variants of a URL. Says how many there were.
pub async fn purge_url(context: &Context, key: &CacheKey, mode: PurgeMode) -> u64 {
    context.flights.invalidate(|flying| flying == key);
    context.store.purge(Scope::Url(key.clone()), mode).await.responses
}

/// Purges every URL that begins with `prefix`, an absolute URL up to any point after its host, in the key's spelling.
pub async fn purge_prefix(context: &Context, prefix: &str, mode: PurgeMode) -> u64 {
    context.flights.invalidate(|flying| flying.as_str().starts_with(prefix));
    context.store.purge(Scope::Prefix(prefix.to_owned()), mode).await.responses
}

/// Purges everything of a site, or with `tags` what has any of them. Another site's tags are other tags.
pub async fn purge_site(context: &Context, list: &Allowlist, site: &Site, tags: &[CacheTag], mode: PurgeMode) -> u64 {
    let mut purged = 0;
    for host in hosts_of(context, list, site, tags).await {
        let host = host.as_str().to_owned();
        let scope = match tags {
            [] => Scope::Host(host),
            _ => Scope::Tagged { host, tags: tags.to_vec() },
        };
        purged += context.store.purge(scope, mode).await.responses;
    }
    purged
}

/// The hosts of a site: those that its entry names and, where it names suffixes, those that something is stored of or on
/// its way from. What is on its way is put out of date, unless its head is here and has none of `tags`.
async fn hosts_of(context: &Context, list: &Allowlist, site: &Site, tags: &[CacheTag]) -> BTreeSet<HostName> {
    let is_of_site = |host: &HostName| list.site_of(host).is_some_and(|owner| owner.name() == site.name());
    let mut hosts: BTreeSet<HostName> =
        site.hosts().iter().map(|entry| entry.host().clone()).filter(is_of_site).collect();
    let on_its_way = RefCell::new(BTreeSet::new());
    context.flights.invalidate_if(|flying: OnItsWay<'_>| {
        let Some(host) = host_of(flying.key).filter(is_of_site) else { return false };
        on_its_way.borrow_mut().insert(host);
        // Of what has no head yet nobody knows the tags.
        tags.is_empty() || flying.headers.is_none_or(|headers| cache_tags(headers).any(|tag| tags.contains(&tag)))
    });
    hosts.append(&mut on_its_way.into_inner());
    if site.hosts().iter().any(|entry| !matches!(entry.pattern(), HostPattern::Exact(_))) {
        let stored = context.store.hosts(HOSTS_MAX).await;
        hosts.extend(stored.iter().filter_map(|host| HostName::parse(host).ok()).filter(is_of_site));
    }
    hosts
}

fn host_of(key: &CacheKey) -> Option<HostName> {
    HostName::parse(key.as_str().parse::<Uri>().ok()?.host()?).ok()
}

// ---- The method ----

/// Whether a request asks for a purge, or as a browser's preflight whether it may: the origin hears of neither. The
/// method's name in small letters is another method to the RFC, and no origin's either.
pub fn is_purge(parts: &Parts) -> bool {
    let is_asked_before = parts.method == Method::OPTIONS
        && parts
            .headers
            .get_all(ACCESS_CONTROL_REQUEST_METHOD)
            .iter()
            .any(|method| method.as_bytes().trim_ascii().eq_ignore_ascii_case(PURGE.as_bytes()));
    is_asked_before || parts.method.as_str().eq_ignore_ascii_case(PURGE)
}

/// Answers `PURGE`: of the target URL, or with `Surrogate-Key` or `Cache-Tag` of what of its site has any of those tags.
/// 200 says how much was purged, 404 that there was nothing.
///
/// # Errors
/// [`Refusal::PurgeNotPermitted`] for an address that is not permitted and for a web page, whoever has it open;
/// [`Refusal::NotListed`] for a host that no site names.
pub async fn answer(
    context: &Context,
    parts: &Parts,
    arrival: &Arrival,
    target: &TargetUri,
) -> Result<Response<ResponseBody>, Refusal> {
    // A browser names the page that asks, in every request that is not a plain read.
    let is_of_a_page = parts.headers.contains_key(ORIGIN) || parts.headers.contains_key(SEC_FETCH_SITE);
    if !arrival.may_purge || is_of_a_page || parts.method == Method::OPTIONS {
        return Err(Refusal::PurgeNotPermitted);
    }
    let list = context.allowlist.load_full();
    let Some(site) = list.site_of(&target.host) else {
        return Err(NotListed::Host { host: target.host.clone() }.into());
    };
    let mode = mode_of(&parts.headers);
    let tags: Vec<CacheTag> = cache_tags(&parts.headers).collect();
    let purged = if tags.is_empty() {
        let mut purged = 0;
        for uri in both_schemes(target) {
            let key = key_of(&list, &uri).ok_or(Refusal::BadRequest("the address is not valid"))?;
            purged += purge_url(context, &key, mode).await;
        }
        purged
    } else {
        purge_site(context, &list, site, &tags, mode).await
    };
    Ok(told(purged, mode))
}

fn mode_of(headers: &HeaderMap) -> PurgeMode {
    let is_soft = |name: &HeaderName| headers.get(name).is_some_and(|value| value.as_bytes().trim_ascii() == b"1");
    if SOFT.iter().any(is_soft) { PurgeMode::Soft } else { PurgeMode::Hard }
}

/// A page and its other scheme's namesake: whoever purges by the door without TLS means the lesson, not the port.
fn both_schemes(target: &TargetUri) -> Vec<Uri> {
    if target.port != target.scheme.default_port() {
        return vec![target.to_uri()];
    }
    let with = |scheme: Scheme| TargetUri { scheme, port: scheme.default_port(), ..target.clone() }.to_uri();
    vec![with(Scheme::Http), with(Scheme::Https)]
}

fn told(purged: u64, mode: PurgeMode) -> Response<ResponseBody> {
    let text = match (purged, mode) {
        (0, _) => "Nothing is stored for it.\n".to_owned(),
        (_, PurgeMode::Hard) => format!("{} removed.\n", counted(purged, "stored page")),
        (_, PurgeMode::Soft) => format!("{} marked stale.\n", counted(purged, "stored page")),
    };
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = if purged == 0 { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let handled = Handled { permit: None, source: Source::Box, is_stored: false, reason: "purge" };
    response.extensions_mut().insert(handled);
    response
}
