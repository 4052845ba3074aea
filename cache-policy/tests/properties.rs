//! What must hold for any input: parsers never panic and stay in bounds, ages don't fall, selection is consistent.
#![allow(clippy::unwrap_used, reason = "test code; clippy excepts only functions marked as tests")]

use std::time::{Duration, SystemTime};

use bulaq_cache_policy::*;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Field names that the decisions read.
const NAMES: [&str; 26] = [
    "cache-control",
    "cdn-cache-control",
    "vary",
    "age",
    "date",
    "expires",
    "last-modified",
    "etag",
    "set-cookie",
    "connection",
    "content-encoding",
    "content-range",
    "content-location",
    "location",
    "content-type",
    "pragma",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "accept-encoding",
    "accept-language",
    "cookie",
    "authorization",
];

/// Words from which values are made that come near to being valid.
const WORDS: [&str; 40] = [
    "max-age",
    "s-maxage",
    "no-cache",
    "no-store",
    "private",
    "public",
    "must-revalidate",
    "stale-if-error",
    "immutable",
    "stale-while-revalidate",
    "=",
    "\"",
    ",",
    ";",
    " ",
    "*",
    "0",
    "60",
    "3600",
    "2147483648",
    "99999999999999999999",
    "-",
    "/",
    "bytes",
    "gzip",
    "br",
    "q",
    "0.5",
    "W/",
    "\"a\"",
    "Foo",
    "Accept-Encoding",
    "sid",
    "lang",
    "Sat, 21 Nov 2026 05:00:00 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "x",
    "\\",
    "\u{e9}",
];

fn value() -> impl Strategy<Value = HeaderValue> {
    let made = vec(prop::sample::select(&WORDS[..]), 0..8).prop_map(|words| words.concat().into_bytes());
    let any = vec(prop_oneof![32..=126u8, 128..=255u8, Just(9u8)], 0..40);
    prop_oneof![3 => made, 1 => any].prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    vec((prop::sample::select(&NAMES[..]), value()), 0..12).prop_map(|lines| {
        lines.into_iter().map(|(name, value)| (HeaderName::from_static(name), value)).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    })
}

fn options() -> impl Strategy<Value = Options> {
    prop_oneof![Just(Options::default()), Just(Options::rfc9111())]
}

fn rule() -> impl Strategy<Value = SiteRule> {
    let seconds = || prop::option::of((0..1_000_000u64).prop_map(Duration::from_secs));
    (any::<bool>(), seconds(), seconds()).prop_map(|(anonymous, fresh_min, fresh_max)| SiteRule {
        anonymous,
        fresh_min,
        fresh_max,
        ..SiteRule::default()
    })
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE])
}

fn moment() -> impl Strategy<Value = SystemTime> {
    (0..4_000_000_000u64).prop_map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn uri() -> Uri {
    Uri::from_static("https://lessons.example/algebra/7?page=1")
}

/// When what is stored comes, where it does not matter.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_240_800)
}

/// The same cases in every run; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look further.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let seed = if std::env::var_os("PROPTEST_RNG_SEED").is_some() { default.rng_seed } else { RngSeed::Fixed(9111) };
    ProptestConfig { rng_seed: seed, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_decision_panics_and_what_is_reused_was_selected(
        asked in headers(), next in headers(), response in headers(), update in headers(), status in 100u16..600,
        method in method(), rule in rule(), options in options(), times in (moment(), moment(), moment()),
        length in prop_oneof![Just(0u64), 1..5000u64, Just(u64::MAX)],
    ) {
        let (uri, status) = (uri(), StatusCode::from_u16(status).unwrap());
        let first = PresentedRequest::new(&method, &uri, &asked, &rule, &options);
        let _ = storable(&first, status, &response);
        let _ = invalidated(&first, status, &response);
        let head = StoredHead::new(&first, status, response, times.0, times.1);
        let get = Method::GET;
        let second = PresentedRequest::new(&get, &uri, &next, &rule, &options);
        let now = times.2;
        match look_up(&[&head], &second, now) {
            Lookup::Reuse { index, .. } | Lookup::ReuseWhileRevalidating { index, .. } | Lookup::Validate { index, .. } => {
                prop_assert_eq!(index, 0);
                prop_assert!(head.is_selected_by(&second));
                prop_assert!(may_share(&second).is_ok());
            }
            Lookup::Forward { .. } | Lookup::GatewayTimeout => {}
        }
        let _ = evaluate_preconditions(&second, &head, now);
        let _ = not_modified_head(head.reuse_headers(now));
        let _ = stale_allowed(&head, &second, StaleCause::Timeout, now);
        let _ = freshen_by_head(&head, &second, status, &update, times.1, times.2);
        let _ = head.variant_key();
        check_plan(&resolve_range(&second, &head, length), length)?;
    }

    #[test]
    fn nothing_private_is_reused_without_an_anonymous_rule(
        asked in headers(), next in headers(), response in headers(), now in moment(),
    ) {
        let (uri, get, rule, options) = (uri(), Method::GET, SiteRule::default(), Options::default());
        let first = PresentedRequest::new(&get, &uri, &asked, &rule, &options);
        let second = PresentedRequest::new(&get, &uri, &next, &rule, &options);
        let head = StoredHead::new(&first, StatusCode::OK, response.clone(), now, now);
        let reuses = matches!(look_up(&[&head], &second, now), Lookup::Reuse { .. });
        let stands_in = stale_allowed(&head, &second, StaleCause::Unreachable, now).is_some();
        let directives = head.directives();
        if reuses || stands_in {
            prop_assert!(!response.contains_key("set-cookie"));
            prop_assert!(!directives.no_store || directives.must_understand);
            prop_assert!(directives.private != Scope::Whole);
            prop_assert!(second.cookies != Cookies::Session && !second.has_authorization);
            prop_assert!(Vary::of(&response) != Vary::Star);
        }
    }

    #[test]
    fn age_never_falls_while_the_clock_moves_on(
        response in headers(), came in moment(), steps in vec(0..100_000_000u64, 1..20), options in options(),
    ) {
        let (uri, get, rule, none) = (uri(), Method::GET, SiteRule::default(), HeaderMap::new());
        let asked = PresentedRequest::new(&get, &uri, &none, &rule, &options);
        let head = StoredHead::new(&asked, StatusCode::OK, response, came, came);
        let (mut now, mut age, mut was_fresh) = (came, head.current_age(came), head.is_fresh(came));
        for step in steps {
            now += Duration::from_secs(step);
            prop_assert!(head.current_age(now) >= age);
            prop_assert!(was_fresh || !head.is_fresh(now), "what was stale does not become fresh by waiting");
            (age, was_fresh) = (head.current_age(now), head.is_fresh(now));
        }
    }

    #[test]
    fn selection_is_consistent(asked in headers(), response in headers(), options in options(), rule in rule()) {
        let (uri, get) = (uri(), Method::GET);
        let request = PresentedRequest::new(&get, &uri, &asked, &rule, &options);
        let head = StoredHead::new(&request, StatusCode::OK, response.clone(), start(), start());
        let again = StoredHead::new(&request, StatusCode::OK, response.clone(), start(), start());
        prop_assert_eq!(head.variant_key(), again.variant_key());
        // The request that stored it selects it, unless nobody may or it cannot read the coding that it was sent.
        let mut uncoded = response;
        uncoded.remove("content-encoding");
        let takes_identity = !asked.contains_key("accept-encoding");
        let plain = StoredHead::new(&request, StatusCode::OK, uncoded, start(), start());
        if takes_identity {
            prop_assert_eq!(plain.is_selected_by(&request), plain.not_storable().is_none());
        }
    }

    #[test]
    fn what_is_written_down_is_restored(
        asked in headers(), response in headers(), times in (moment(), moment()), options in options(), rule in rule(),
    ) {
        let (uri, get) = (uri(), Method::GET);
        let request = PresentedRequest::new(&get, &uri, &asked, &rule, &options);
        let head = StoredHead::new(&request, StatusCode::OK, response, times.0, times.1);
        let restored = StoredHead::from_parts(head.parts().clone(), &rule, &options);
        prop_assert_eq!(restored.parts(), head.parts());
        prop_assert_eq!(restored.variant_key(), head.variant_key());
        prop_assert_eq!(restored.lifetime(), head.lifetime());
        prop_assert_eq!(restored.current_age(times.1), head.current_age(times.1));
    }

    #[test]
    fn freshening_twice_is_freshening_once(response in headers(), update in headers(), options in options(), rule in rule()) {
        let (uri, get, none) = (uri(), Method::GET, HeaderMap::new());
        let request = PresentedRequest::new(&get, &uri, &none, &rule, &options);
        let head = StoredHead::new(&request, StatusCode::OK, response, start(), start());
        let later = start() + Duration::from_secs(60);
        if let Freshening::Freshened(once) = freshen(&head, &request, &update, later, later) {
            match freshen(&once, &request, &update, later, later) {
                Freshening::Freshened(twice) => prop_assert_eq!(once.parts(), twice.parts()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn a_range_plan_stays_inside(specs in vec((0..2000u64, prop::option::of(0..2000u64)), 0..12), length in 0..2000u64) {
        let text: Vec<_> = specs
            .iter()
            .map(|(first, last)| match last {
                Some(last) => format!("{first}-{last}"),
                None if first % 2 == 0 => format!("{first}-"),
                None => format!("-{first}"),
            })
            .collect();
        let value = HeaderValue::try_from(format!("bytes={}", text.join(","))).unwrap();
        let (uri, get, rule, options, none) = (uri(), Method::GET, SiteRule::default(), Options::default(), HeaderMap::new());
        let asked = HeaderMap::from_iter([(http::header::RANGE, value)]);
        let stored = StoredHead::new(
            &PresentedRequest::new(&get, &uri, &none, &rule, &options), StatusCode::OK, HeaderMap::new(), start(), start(),
        );
        let request = PresentedRequest::new(&get, &uri, &asked, &rule, &options);
        check_plan(&resolve_range(&request, &stored, length), length)?;
    }

    #[test]
    fn dates_and_content_ranges_round_trip(seconds in 0..253_402_300_800u64, first in 0..1_000_000u64, more in 0..1_000_000u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        prop_assert_eq!(parse_http_date(format_http_date(time).as_bytes(), start()), Some(time));
        let range = ByteRange::new(first, first + more);
        for complete_length in [None, Some(first + more + 1)] {
            let written = ContentRange { range, complete_length };
            prop_assert_eq!(ContentRange::parse(written.to_value().as_bytes()), Some(written));
        }
    }

    #[test]
    fn parsers_take_any_bytes(bytes in vec(any::<u8>(), 0..60), text in ".{0,60}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = parse_http_date(bytes, start());
            let _ = parse_delta_seconds(bytes);
            let _ = parse_range(bytes);
            let _ = ContentRange::parse(bytes);
            let _ = EntityTag::parse(bytes);
        }
        let status = CacheStatus { key: Some(text.clone()), detail: Some(text.clone().into()), ..CacheStatus::default() };
        let line = status.to_value(&text);
        prop_assert!(sfv::Parser::new(line.as_bytes()).parse::<sfv::List>().is_ok());
    }
}

/// Every part inside the body, none empty, at most [`RANGES_MAX`], none touching another.
fn check_plan(plan: &RangePlan, length: u64) -> Result<(), TestCaseError> {
    let parts = match plan {
        RangePlan::Whole | RangePlan::Unsatisfiable => return Ok(()),
        RangePlan::Single(range) => vec![*range],
        RangePlan::Multi(ranges) => {
            prop_assert!((2..=RANGES_MAX).contains(&ranges.len()));
            ranges.clone()
        }
    };
    for (at, part) in parts.iter().enumerate() {
        prop_assert!(part.first <= part.last && part.last < length);
        for other in &parts[at + 1..] {
            prop_assert!(part.last + 1 < other.first || other.last + 1 < part.first);
        }
    }
    Ok(())
}
