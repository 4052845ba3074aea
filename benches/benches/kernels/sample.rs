//! What the kernels work on: a pupil's request as a browser writes it, and a lesson as a site answers.

use std::time::{Duration, SystemTime};

use bulaq_cache_policy::{Options, PresentedRequest, SiteRule, StoredHead};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

/// The site of all samples.
pub(crate) const HOST: &str = "bilimland.kz";

/// The moment of all samples: a school day at eight.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// The fields of a navigation within a site, as a current browser sends them, `Host` among them.
pub(crate) fn request_fields() -> HeaderMap {
    fields(&[
        ("host", HOST),
        ("connection", "keep-alive"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "kk-KZ,kk;q=0.9,ru;q=0.8,en-US;q=0.7,en;q=0.6"),
        ("referer", "http://bilimland.kz/kk/physics/grade-8"),
        ("upgrade-insecure-requests", "1"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ])
}

/// The fields of a stored answer.
pub(crate) fn response_fields() -> HeaderMap {
    fields(&[
        ("date", "Mon, 21 Sep 2026 14:13:10 GMT"),
        ("server", "nginx"),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "public, max-age=86400"),
        ("etag", "\"66f1a2b3-2800\""),
        ("last-modified", "Mon, 14 Sep 2026 08:00:00 GMT"),
        ("vary", "Accept-Encoding"),
        ("x-content-type-options", "nosniff"),
    ])
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for &(name, value) in lines {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields
}

/// The address of lesson `number`.
pub(crate) fn uri(number: usize) -> Uri {
    let uri = format!("http://{HOST}/kk/physics/grade-8/lesson-{number}.html").parse();
    uri.expect("digits in a path make a URI")
}

/// The stored head of the answer to such a request.
pub(crate) fn stored_head() -> StoredHead {
    let (uri, rule, options, fields) = (uri(0), SiteRule::default(), Options::default(), request_fields());
    let request = PresentedRequest::new(&Method::GET, &uri, &fields, &rule, &options);
    StoredHead::new(&request, StatusCode::OK, response_fields(), now(), now())
}

/// 10 KiB of content.
pub(crate) fn content() -> Bytes {
    b"A lesson of ten kibibytes, by words. ".iter().copied().cycle().take(10 << 10).collect()
}
