//! The box's own pages, at its own names and addresses.

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, ALLOW};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};

use super::target::TargetUri;
use super::{Arrival, Context, Handled, ResponseBody, Source, Way};
use crate::ingress::gateway::Address;
use crate::portal::{check, pages, probe, scripts, start};

/// The start page, what finds out how a device reaches the box, or the plain page of what is not there. Nothing here is
/// stored, and nobody is told apart.
pub(super) async fn answer(context: &Context, parts: &Parts, arrival: &Arrival) -> Response<ResponseBody> {
    let languages = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let path = parts.uri.path();
    let is_probe = path == probe::MARK || path == probe::HERE;
    if is_probe && parts.method == Method::OPTIONS {
        return finish(parts, probe::preflight());
    }
    let page = if is_probe && is_read {
        if path == probe::MARK { probe::mark() } else { probe::here(arrival, context.clock.now()) }
    } else if let Some(file) = pac_file(context, parts, arrival).filter(|_| is_read) {
        file
    } else if let Some(script) = scripts::at(path).filter(|_| is_read) {
        script
    } else if let Some(language) = check::page_at(path, languages).filter(|_| is_read) {
        check::check(&check::hosts_of(&context.allowlist.load()), language)
    } else {
        match start::page_at(path, languages) {
            Some(language) if is_read => {
                let list = context.allowlist.load_full();
                let domain = context.options.gateway.clone().filter(|_| arrival.way == Way::Gateway);
                let gateway = domain.map(|domain| Address::new(domain, arrival.is_secure, arrival.local_port));
                let shelves = &context.shelves;
                let shelves = shelves.seen_from(&list, &context.store, &context.clock, arrival, gateway.as_ref()).await;
                start::start(&shelves, language)
            }
            None if is_read => pages::plain(StatusCode::NOT_FOUND, "no-such-page", languages),
            _ => pages::plain(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", languages),
        }
    };
    finish(parts, page)
}

/// What the box says for a permitted host at the one path that is its own there: that the host leads to it. None when
/// the request is for the site, or comes from the night, which is no device.
pub(super) fn answer_at_site(
    context: &Context,
    parts: &Parts,
    arrival: &Arrival,
    target: &TargetUri,
) -> Option<Response<ResponseBody>> {
    let is_asked = target.path_and_query.path() == probe::HERE_AT_SITES
        && (parts.method == Method::GET || parts.method == Method::HEAD)
        && arrival.way != Way::Night
        && context.allowlist.load().site_of(&target.host).is_some();
    is_asked.then(|| finish(parts, probe::here(arrival, context.clock.now())))
}

/// `/proxy.pac` for this client, when the request is for it.
fn pac_file(context: &Context, parts: &Parts, arrival: &Arrival) -> Option<Response<Bytes>> {
    let options = &context.options;
    let asked = (parts.uri.path(), &parts.headers);
    let list = context.allowlist.load_full();
    context.pac_files.answer(asked, &list, &options.own_names, &options.pac, arrival.forward_door)
}

fn finish(parts: &Parts, page: Response<Bytes>) -> Response<ResponseBody> {
    let mut response = page.map(|body| match parts.method {
        Method::HEAD => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        _ => Full::new(body).map_err(|never| match never {}).boxed_unsync(),
    });
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    let handled = Handled { permit: None, source: Source::Box, is_stored: false, reason: "own-page" };
    response.extensions_mut().insert(handled);
    response
}
