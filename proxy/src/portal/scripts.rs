//! The scripts of our pages: small, without words of their own, served from the box.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};

/// The script at this path of the box's own address.
pub fn at(path: &str) -> Option<Response<Bytes>> {
    let script = match path {
        "/start.js" => include_str!("start.js"),
        "/check.js" => include_str!("check.js"),
        _ => return None,
    };
    let mut response = Response::new(Bytes::from_static(script.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Some(response)
}
