//! The cases of the public HTTP cache suite (`http-tests/cache-tests`) that the decisions of this crate decide, under
//! the suite's own names, in both profiles. What hangs on sockets is left to the proxy.
#![allow(clippy::unwrap_used, reason = "test code; clippy excepts only functions marked as tests")]

mod support;

use std::time::Duration;

use bulaq_cache_policy::Options;
use support::{Cache, Origin};

type Lines<'a> = &'a [(&'a str, &'a str)];

/// Two exchanges three seconds apart: the first fills, the second tells.
fn second(options: Options, status: u16, first: Lines<'_>, response: Lines<'_>, asked: Lines<'_>) -> String {
    let mut cache = Cache::new(options);
    cache.exchange("GET", first, Origin::Answers(status, response));
    cache.now += Duration::from_secs(3);
    cache.exchange("GET", asked, Origin::Answers(status, response))
}

fn both(id: &str, status: u16, first: Lines<'_>, response: Lines<'_>, asked: Lines<'_>, expected: &str) {
    for options in [Options::rfc9111(), Options::default()] {
        let profile = options.profile;
        assert_eq!(second(options, status, first, response, asked), expected, "{id}, {profile:?}");
    }
}

const CC: &str = "cache-control";
const CACHED: &str = "cached 200";
const NOT: &str = "forwarded 200";

#[test]
fn freshness() {
    for (id, response, expected) in [
        ("freshness-none", &[][..], NOT),
        ("freshness-max-age", &[(CC, "max-age=3600")], CACHED),
        ("freshness-max-age-stale", &[(CC, "max-age=2")], NOT),
        ("freshness-max-age-0", &[(CC, "max-age=0")], NOT),
        ("freshness-max-age-max-minus-1", &[(CC, "max-age=2147483647")], CACHED),
        ("freshness-max-age-max", &[(CC, "max-age=2147483648")], CACHED),
        ("freshness-max-age-max-plus-1", &[(CC, "max-age=2147483649")], CACHED),
        ("freshness-max-age-max-plus", &[(CC, "max-age=99999999999")], CACHED),
        ("freshness-max-age-age", &[(CC, "max-age=3600"), ("age", "7200")], NOT),
        ("freshness-max-age-expires", &[(CC, "max-age=3600"), ("expires", "@-7200")], CACHED),
        ("freshness-max-age-expires-invalid", &[(CC, "max-age=3600"), ("expires", "0")], CACHED),
        ("freshness-max-age-0-expires", &[("expires", "@3600"), (CC, "max-age=0")], NOT),
        ("freshness-max-age-extension", &[(CC, "foobar, max-age=3600")], CACHED),
        ("freshness-max-age-case-insenstive", &[(CC, "MaX-aGe=3600")], CACHED),
        ("freshness-max-age-negative", &[(CC, "max-age=-3600")], NOT),
        ("freshness-s-maxage-shared", &[(CC, "s-maxage=3600")], CACHED),
        ("freshness-max-age-s-maxage-shared-longer", &[(CC, "max-age=3600, s-maxage=1")], NOT),
        ("freshness-max-age-s-maxage-shared-longer-multiple", &[(CC, "max-age=3600"), (CC, "s-maxage=1")], NOT),
        ("freshness-max-age-s-maxage-shared-shorter", &[(CC, "max-age=1, s-maxage=3600")], CACHED),
        (
            "freshness-max-age-s-maxage-shared-shorter-expires",
            &[("expires", "@-10"), (CC, "max-age=0, s-maxage=3600")],
            CACHED,
        ),
        ("freshness-max-age-ignore-quoted", &[(CC, "extension=\"max-age=3600\", max-age=1")], NOT),
        ("freshness-max-age-ignore-quoted-rev", &[(CC, "max-age=1, extension=\"max-age=3600\"")], NOT),
        ("freshness-max-age-leading-zero", &[(CC, "max-age=003600")], CACHED),
        ("freshness-max-age-single-quoted", &[(CC, "max-age='3600'")], NOT),
        ("freshness-expires-future", &[("expires", "@2592000")], CACHED),
        ("freshness-expires-past", &[("expires", "@-2592000")], NOT),
        ("freshness-expires-present", &[("expires", "@0")], NOT),
        ("freshness-expires-old-date", &[("expires", "@300"), ("date", "@400")], NOT),
        ("freshness-expires-invalid", &[("expires", "0")], NOT),
        ("freshness-expires-invalid-date", &[("date", "foo"), ("expires", "@10")], CACHED),
        ("freshness-expires-age-slow-date", &[("date", "@-10"), ("expires", "@10"), ("age", "25")], NOT),
        ("freshness-expires-age-fast-date", &[("date", "@10"), ("expires", "@20"), ("age", "15")], NOT),
        ("freshness-expires-rfc850", &[("expires", "Thursday, 18-Aug-50 02:01:18 GMT")], CACHED),
        ("freshness-expires-ansi-c", &[("expires", "Thu Aug  8 02:01:18 2050")], CACHED),
        ("freshness-expires-wrong-case-weekday", &[("expires", "THU, 18 Aug 2050 02:01:18 GMT")], CACHED),
        ("freshness-expires-invalid-utc", &[("expires", "Thu, 18 Aug 2050 02:01:18 UTC")], NOT),
        ("freshness-expires-invalid-2-digit-year", &[("expires", "Thu, 18 Aug 50 02:01:18 GMT")], NOT),
    ] {
        both(id, 200, &[], response, &[], expected);
    }
}

#[test]
fn age() {
    for (id, ages, expected) in [
        ("age-parse-nonnumeric", &["abc"][..], CACHED),
        ("age-parse-negative", &["-7200"], CACHED),
        ("age-parse-float", &["7200.0"], CACHED),
        ("age-parse-large-minus-one", &["2147483647"], NOT),
        ("age-parse-large", &["2147483648"], NOT),
        ("age-parse-larger", &["2147483649"], NOT),
        ("age-parse-suffix", &["7200, 0"], NOT),
        ("age-parse-prefix", &["0, 7200"], CACHED),
        ("age-parse-suffix-twoline", &["7200", "0"], NOT),
        ("age-parse-prefix-twoline", &["0", "7200"], CACHED),
        ("age-parse-dup-0", &["0, 0"], CACHED),
        ("age-parse-dup-0-twoline", &["0", "0"], CACHED),
    ] {
        let mut response = vec![(CC, "max-age=3600")];
        response.extend(ages.iter().map(|age| ("age", *age)));
        both(id, 200, &[], &response, &[], expected);
    }
}

#[test]
fn response_directives() {
    let (fresh, tag) = ("max-age=10000", ("etag", "\"abcd\""));
    for (id, response, expected) in [
        ("cc-resp-private-shared", &[(CC, "private, max-age=3600")][..], NOT),
        ("cc-resp-no-store", &[(CC, "no-store")], NOT),
        ("cc-resp-no-store-case-insensitive", &[(CC, "No-StOrE")], NOT),
        ("cc-resp-no-store-fresh", &[(CC, "max-age=10000, no-store"), ("expires", "@10000")], NOT),
        ("cc-resp-no-cache", &[(CC, "max-age=10000, no-cache")], NOT),
        ("cc-resp-no-cache-case-insensitive", &[(CC, fresh), (CC, "No-CaChE")], NOT),
        ("cc-resp-no-cache-revalidate", &[(CC, "no-cache"), tag], "validated 200"),
        ("cc-resp-no-cache-revalidate-fresh", &[(CC, fresh), (CC, "no-cache"), tag], "validated 200"),
        ("cc-resp-must-revalidate-fresh", &[(CC, fresh), (CC, "must-revalidate"), tag], CACHED),
        ("cc-resp-must-revalidate-stale", &[(CC, "max-age=2, must-revalidate"), tag], "validated 200"),
        ("status-200-must-understand", &[(CC, "max-age=3600, no-store, must-understand")], CACHED),
    ] {
        both(id, 200, &[], response, &[], expected);
    }
    let unknown = [(CC, "max-age=3600, no-store, must-understand")];
    both("status-599-must-understand", 599, &[], &unknown, &[], "forwarded 599");
}

#[test]
fn status() {
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        let (fresh, stale) = (format!("status-{status}-fresh"), format!("status-{status}-stale"));
        both(&fresh, status, &[], &[(CC, "max-age=100000")], &[], &format!("cached {status}"));
        let expired = [("expires", "@-5000"), ("last-modified", "@-100000")];
        let said = second(Options::rfc9111(), status, &[], &expired, &[]);
        assert!(!said.starts_with("cached"), "{stale}: {said}");
    }
}

#[test]
fn heuristic() {
    let unchanged = [("last-modified", "@-86400")];
    let public = [("last-modified", "@-86400"), (CC, "public")];
    let said = |status, response| second(Options::rfc9111(), status, &[], response, &[]);
    for status in [200, 203, 204, 404, 405, 410, 414, 501] {
        assert_eq!(said(status, &unchanged), format!("cached {status}"), "heuristic-{status}-cached");
    }
    for status in [201, 202, 403, 502, 503, 504, 599] {
        assert_eq!(said(status, &unchanged), format!("forwarded {status}"), "heuristic-{status}-not_cached");
    }
    assert_eq!(said(599, &public), "cached 599", "heuristic-599-cached");
}

#[test]
fn targeted() {
    let cdn = "cdn-cache-control";
    for (id, response, expected) in [
        ("cdn-max-age", &[(cdn, "max-age=3600")][..], CACHED),
        ("cdn-max-age-max", &[(cdn, "max-age=2147483648")], CACHED),
        ("cdn-max-age-max-plus", &[(cdn, "max-age=99999999999")], CACHED),
        ("cdn-max-age-age", &[(cdn, "max-age=3600"), ("age", "7200")], NOT),
        ("cdn-max-age-0", &[(cdn, "max-age=0")], NOT),
        ("cdn-max-age-extension", &[(cdn, "foobar, max-age=3600")], CACHED),
        ("cdn-max-age-expires", &[(cdn, "max-age=3600"), ("expires", "@-10000")], CACHED),
        ("cdn-max-age-cc-max-age-invalid-expires", &[(cdn, "max-age=3600"), ("expires", "0")], CACHED),
        ("cdn-max-age-0-expires", &[(cdn, "max-age=0"), ("expires", "@10000")], NOT),
        ("cdn-max-age-short-cc-max-age", &[(CC, "max-age=1"), (cdn, "max-age=3600")], CACHED),
        ("cdn-max-age-long-cc-max-age", &[(CC, "max-age=3600"), (cdn, "max-age=1")], NOT),
        ("cdn-private", &[(cdn, "private"), (CC, "max-age=10000"), ("expires", "@10000")], NOT),
        ("cdn-no-cache", &[(cdn, "no-cache"), (CC, "max-age=10000"), ("expires", "@10000")], NOT),
        ("cdn-no-store-cc-fresh", &[(CC, "max-age=10000"), (cdn, "no-store")], NOT),
        ("cdn-fresh-cc-nostore", &[(CC, "no-store"), (cdn, "max-age=10000")], CACHED),
        ("cdn-cc-invalid-sh-type-unknown", &[(cdn, "max-age=10000, &&&&&"), (CC, "no-store")], NOT),
        ("cdn-cc-invalid-sh-type-wrong", &[(cdn, "max-age=\"10000\""), (CC, "no-store")], NOT),
    ] {
        both(id, 200, &[], response, &[], expected);
    }
}

#[test]
fn vary() {
    let (fresh, foo) = ((CC, "max-age=5000"), ("vary", "Foo"));
    for (id, response, first, asked, expected) in [
        ("vary-match", &[fresh, foo][..], &[("foo", "1")][..], &[("foo", "1")][..], CACHED),
        ("vary-no-match", &[fresh, foo], &[("foo", "1")], &[("foo", "2")], NOT),
        ("vary-omit-stored", &[fresh, foo], &[], &[("foo", "1")], NOT),
        ("vary-omit", &[fresh, foo], &[("foo", "1")], &[], NOT),
        ("vary-star", &[fresh, ("vary", "*")], &[("foo", "1")], &[("foo", "1")], NOT),
        ("vary-syntax-empty-star-lines", &[fresh, ("vary", ""), ("vary", "*")], &[], &[], NOT),
        ("vary-syntax-foo-star", &[fresh, ("vary", "Foo, *")], &[("foo", "1")], &[("foo", "1")], NOT),
        ("vary-normalise-combine", &[fresh, foo], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], CACHED),
        ("vary-normalise-space", &[fresh, foo], &[("foo", "1,2")], &[("foo", " 1, 2 ")], CACHED),
    ] {
        both(id, 200, first, response, asked, expected);
    }
    let by_language = [fresh, ("vary", "Accept-Language")];
    for (id, asked, expected) in [
        ("vary-normalise-lang-case", "eN, De", CACHED),
        ("vary-normalise-lang-space", " en ,   de", CACHED),
        ("vary-normalise-lang-order", "de, en", NOT), // left out on purpose: some sites rank by order
    ] {
        both(id, 200, &[("accept-language", "en, de")], &by_language, &[("accept-language", asked)], expected);
    }
}

#[test]
fn conditional() {
    let fresh = (CC, "max-age=100000");
    let strong = [fresh, ("etag", "\"abcdef\"")];
    let weak = [fresh, ("etag", "W/\"abcdef\"")];
    for (id, response, asked, expected) in [
        ("conditional-etag-strong-respond", &strong[..], &[("if-none-match", "\"abcdef\"")][..], "cached 304"),
        ("conditional-etag-weak-respond", &weak, &[("if-none-match", "W/\"abcdef\"")], "cached 304"),
        (
            "conditional-etag-strong-respond-multiple-second",
            &strong,
            &[("if-none-match", "\"1234\", \"abcdef\", \"5678\"")],
            "cached 304",
        ),
        (
            "conditional-etag-precedence",
            &[fresh, ("etag", "\"abcdef\""), ("last-modified", "@-5000")],
            &[("if-none-match", "\"abcdef\""), ("if-modified-since", "@-10000")],
            "cached 304",
        ),
        (
            "conditional-lm-fresh",
            &[fresh, ("last-modified", "Sat, 21 Nov 2026 05:00:00 GMT")],
            &[("if-modified-since", "Sat, 21 Nov 2026 05:00:00 GMT")],
            "cached 304",
        ),
        (
            "conditional-lm-fresh-earlier",
            &[fresh, ("last-modified", "@-3000")],
            &[("if-modified-since", "@-2000")],
            "cached 304",
        ),
        (
            "conditional-lm-stale",
            &[(CC, "max-age=2"), ("last-modified", "Sat, 21 Nov 2026 05:00:00 GMT")],
            &[("if-modified-since", "Sat, 21 Nov 2026 05:00:00 GMT")],
            "validated 304",
        ),
        ("conditional-lm-fresh-no-lm", &[fresh], &[("if-modified-since", "@-3000")], CACHED), // RFC 9111 §4.3.2 wants 200
        ("conditional-etag-strong-generate", &[(CC, "max-age=2"), ("etag", "\"abcdef\"")], &[], "validated 200"),
        ("conditional-etag-weak-generate-weak", &[(CC, "max-age=2"), ("etag", "W/\"abcdef\"")], &[], "validated 200"),
    ] {
        both(id, 200, &[], response, asked, expected);
    }
}

#[test]
fn partial() {
    for (id, range, expected) in [
        ("partial-store-complete-reuse-partial", "bytes=0-1", "cached 206 0-1"),
        ("partial-store-complete-reuse-partial-no-last", "bytes=1-", "cached 206 1-10"),
        ("partial-store-complete-reuse-partial-suffix", "bytes=-1", "cached 206 10-10"),
    ] {
        both(id, 200, &[], &[(CC, "max-age=3600")], &[("range", range)], expected);
    }
}

#[test]
fn invalidation() {
    let fresh = Origin::Answers(200, &[(CC, "max-age=100000")]);
    for options in [Options::rfc9111(), Options::default()] {
        for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
            for (status, expected) in [(200, NOT), (500, CACHED)] {
                let mut cache = Cache::new(options.clone());
                cache.exchange("GET", &[], fresh);
                cache.exchange(method, &[], Origin::Answers(status, &[]));
                assert_eq!(cache.exchange("GET", &[], fresh), expected, "invalidate-{method}, {status}");
            }
        }
        let expected = if options == Options::rfc9111() { CACHED } else { NOT };
        let mut cache = Cache::new(options);
        let own = [(CC, "max-age=3600"), ("content-location", "http://lessons.example/algebra")];
        cache.exchange("POST", &[], Origin::Answers(200, &own));
        assert_eq!(cache.exchange("GET", &[], fresh), expected, "method-POST");
    }
}

#[test]
fn stale() {
    for (id, response, expected) in [
        ("stale-close", &[(CC, "max-age=2")][..], CACHED),
        ("stale-sie-close", &[(CC, "max-age=2, stale-if-error=60")], CACHED),
        ("stale-close-must-revalidate", &[(CC, "max-age=2, must-revalidate")], "no answer"),
        ("stale-close-proxy-revalidate", &[(CC, "max-age=2, proxy-revalidate")], "no answer"),
        ("stale-close-no-cache", &[(CC, "max-age=2, no-cache")], "no answer"),
        ("stale-close-s-maxage=2", &[(CC, "max-age=2, s-maxage=2")], "no answer"),
        ("stale-while-revalidate", &[(CC, "max-age=1, stale-while-revalidate=3600"), ("etag", "\"abc\"")], CACHED),
    ] {
        for options in [Options::rfc9111(), Options::default()] {
            let mut cache = Cache::new(options);
            cache.exchange("GET", &[], Origin::Answers(200, response));
            cache.now += Duration::from_secs(3);
            assert_eq!(cache.exchange("GET", &[], Origin::Closes), expected, "{id}");
        }
    }
    let mut cache = Cache::new(Options::default());
    let response = [(CC, "max-age=1, stale-while-revalidate=4"), ("etag", "\"abc\"")];
    cache.exchange("GET", &[], Origin::Answers(200, &response));
    cache.now += Duration::from_secs(6);
    assert_eq!(
        cache.exchange("GET", &[], Origin::Answers(200, &response)),
        "validated 200",
        "stale-while-revalidate-window"
    );
}

#[test]
fn headers() {
    let kept = [
        ("test-header", "x"),
        ("x-content-foo", "x"),
        ("content-encoding", "x"),
        ("content-length", "10"),
        ("content-location", "/bar"),
        ("content-md5", "N7UdGUp1E+RbVvZSTy1R8g=="),
        ("content-range", "x"),
        ("content-security-policy", "default-src 'self'"),
        ("content-type", "text/plain;charset=utf-8"),
        ("clear-site-data", "cookies"),
        ("etag", "\"ghijkl\""),
        ("expires", "Mon, 11 Jan 2038 11:11:11 GMT"),
        ("public-key-pins", "x"),
        ("set-cookie", "a=c"),
        ("set-cookie2", "a=c"),
        ("x-frame-options", "sameorigin"),
        ("date", "Sat, 21 Nov 2026 05:59:59 GMT"),
    ];
    let dropped = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "a",
        "b",
    ];
    let mut response = vec![(CC, "max-age=3600")];
    response.extend(kept.iter().chain(&[("connection", "a, b")]));
    response.extend(dropped.iter().map(|name| (*name, "x")));
    let mut cache = Cache::new(Options::rfc9111());
    cache.exchange("GET", &[], Origin::Answers(200, &response));
    cache.now += Duration::from_secs(3);
    let reused = cache.stored[0].reuse_headers(cache.now);
    for (name, value) in kept {
        assert_eq!(reused[name], value, "headers-store-{name}");
    }
    for name in dropped {
        assert!(!reused.contains_key(name), "headers-store-{name}, headers-omit-headers-listed-in-Connection");
    }
    assert_eq!(reused["age"], "4", "other-age-gen");
}

#[test]
fn freshening() {
    for options in [Options::rfc9111(), Options::default()] {
        let mut cache = Cache::new(options);
        let stored = [(CC, "max-age=2"), ("etag", "\"1\""), ("test-header", "A"), ("content-length", "36")];
        cache.exchange("GET", &[], Origin::Answers(200, &stored));
        cache.now += Duration::from_secs(3);
        let update = [(CC, "max-age=3600"), ("etag", "\"1\""), ("test-header", "B"), ("content-length", "10")];
        assert_eq!(cache.exchange("GET", &[], Origin::Answers(200, &update)), "validated 200");
        let headers = cache.stored[0].headers();
        assert_eq!(headers["test-header"], "B", "304-etag-update-response-Test-Header");
        assert_eq!(headers["content-length"], "36", "304-etag-update-response-Content-Length");
        assert_eq!(headers[CC], "max-age=3600", "304-etag-update-response-Cache-Control");
        cache.now += Duration::from_secs(3);
        assert_eq!(cache.exchange("GET", &[], Origin::Closes), CACHED);
    }
}

/// The required and optimal tests that the school profile gives up, each by the deviation that decides it. The
/// statuses of `heuristic-*` and the rest of the suite are the same in both profiles.
#[test]
fn what_the_school_profile_gives_up() {
    let fresh = (CC, "max-age=100000");
    let unchanged = ("last-modified", "@-86400");
    let credentials = &[("authorization", "FOO")][..];
    let public = (CC, "max-age=3600, public");
    let revalidated = (CC, "max-age=3600, must-revalidate");
    for (deviation, id, status, first, response) in [
        ("set-cookie", "headers-store-Set-Cookie", 200, &[][..], &[fresh, ("set-cookie", "a=c")][..]),
        ("set-cookie", "headers-store-Set-Cookie2", 200, &[], &[fresh, ("set-cookie2", "a=c")]),
        ("set-cookie", "other-set-cookie", 200, &[], &[fresh, ("set-cookie", "a=b")]),
        ("authorization", "other-authorization-public", 200, credentials, &[public]),
        ("authorization", "other-authorization-must-revalidate", 200, credentials, &[revalidated]),
        ("authorization", "other-authorization-smaxage", 200, credentials, &[(CC, "s-maxage=3600")]),
        ("error-without-freshness", "heuristic-404-cached", 404, &[], &[unchanged]),
        ("error-without-freshness", "heuristic-405-cached", 405, &[], &[unchanged]),
        ("error-without-freshness", "heuristic-410-cached", 410, &[], &[unchanged]),
        ("error-without-freshness", "heuristic-414-cached", 414, &[], &[unchanged]),
        ("error-without-freshness", "heuristic-501-cached", 501, &[], &[unchanged]),
        ("error-without-freshness", "heuristic-599-cached", 599, &[], &[unchanged, (CC, "public")]),
    ] {
        assert!(bulaq_cache_policy::school::DEVIATIONS.iter().any(|known| known.name == deviation), "{deviation}");
        assert_eq!(second(Options::rfc9111(), status, first, response, &[]), format!("cached {status}"), "{id}");
        assert_eq!(second(Options::default(), status, first, response, &[]), format!("forwarded {status}"), "{id}");
    }
    // Text may be a page that says who is logged in ("cookie-reused"): what the suite's origin sends is plain text.
    let (text, cookie) = ([fresh, ("content-type", "text/plain")], [("cookie", "a=b")]);
    assert_eq!(second(Options::rfc9111(), 200, &[], &text, &cookie), CACHED, "other-cookie");
    assert_eq!(second(Options::default(), 200, &[], &text, &cookie), NOT, "other-cookie");
    both("other-cookie, of a picture", 200, &[], &[fresh, ("content-type", "image/png")], &cookie, CACHED);
    both("other-authorization", 200, credentials, &[fresh], &[], NOT);
}
