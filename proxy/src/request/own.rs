//! The box's own pages, at its own names and addresses.

use http::header::{ACCEPT_LANGUAGE, ALLOW};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};

use super::{Arrival, Context, Handled, ResponseBody, Source};
use crate::portal::{pages, start};

/// The start page, or the plain page of what is not there. Nothing here is stored, and nobody is told apart.
pub(super) async fn answer(context: &Context, parts: &Parts, arrival: &Arrival) -> Response<ResponseBody> {
    let languages = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let page = match start::page_at(parts.uri.path(), languages) {
        Some(language) if is_read => {
            let list = context.allowlist.load_full();
            let shelves = context.shelves.seen_from(&list, &context.store, &context.clock, arrival).await;
            start::start(&shelves, language)
        }
        Some(_) => pages::plain(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", languages),
        None => pages::plain(StatusCode::NOT_FOUND, "no-such-page", languages),
    };
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
