//! What a device asks for to find out how it reaches the box: a mark to load, and a few words of JSON.
//!
//! Both say nothing of the device and nothing of the school, so every page may read them. That they were loaded from
//! `check.bulaq.internal` over TLS is what shows that the device trusts the district's CA; the door takes note of it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::request::{Arrival, Way};

/// The mark's path at the box's own names.
pub const MARK: &str = "/mark.svg";

/// The path at the box's own names that says that this is the box, how the request came and what time it is there.
pub const HERE: &str = "/here.json";

/// The same at every permitted host: answered by the box, so that who reaches the site itself sees something else.
pub const HERE_AT_SITES: &str = "/.well-known/bulaq";

/// A tick, in a colour that is seen on light and dark ground.
const TICK: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20" viewBox="0 0 20 20"><circle cx="10" cy="10" r="10" fill="#0f7a53"/><path d="M5 10.5l3.4 3.4L15 7" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round"/></svg>"##;

/// Lets a browser ask without a question to its user, where it holds the page to be less private than the box
/// (Private Network Access, as browsers before 2026 have it). Pages of the box itself need no such leave.
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// 200: the tick.
pub fn mark() -> Response<Bytes> {
    open(TICK.into(), "image/svg+xml")
}

/// 200: that this is the box, by which way the request came, and the box's time in milliseconds since 1970.
pub fn here(arrival: &Arrival, now: SystemTime) -> Response<Bytes> {
    let way = if arrival.way == Way::Forward { "proxy" } else { "direct" };
    let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let secure = arrival.is_secure;
    open(format!(r#"{{"bulaq":true,"way":"{way}","secure":{secure},"now":{millis}}}"#).into(), "application/json")
}

/// 204: every page may ask for the mark and the words.
pub fn preflight() -> Response<Bytes> {
    let mut response = open(Bytes::new(), "text/plain");
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    response
}

/// An answer that every page may read and nobody keeps.
fn open(body: Bytes, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_words_are_json_and_say_nothing_of_the_device() {
        let arrival = Arrival {
            way: Way::Forward,
            is_secure: true,
            local_port: 443,
            original: None,
            forward_door: None,
            server_name: None,
            may_see_status: true,
            may_purge: true,
        };
        let response = here(&arrival, UNIX_EPOCH + Duration::from_millis(1_500));
        let told: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(told, serde_json::json!({ "bulaq": true, "way": "proxy", "secure": true, "now": 1500 }));
    }

    #[test]
    fn every_page_may_read_them_and_nobody_keeps_them() {
        for response in [mark(), preflight()] {
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
        assert_eq!(preflight().headers()[ALLOW_PRIVATE_NETWORK], "true");
        assert_eq!(mark().headers()[CROSS_ORIGIN_RESOURCE_POLICY], "cross-origin");
    }
}
