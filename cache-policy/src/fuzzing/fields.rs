//! One function for each field, or pair of fields, that is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    RANGE, VARY,
};
use http::{Method, StatusCode};
use sfv::{BareItem, Item, Parser};

use super::{field_lines, lines, sections, values};
use crate::cache_control::Scope;
use crate::range::{GAP_MAX, RANGES_MAX};
use crate::*;

/// `Cache-Control` of responses and requests: what is written is read back, case and line breaks mean nothing, numbers
/// are bounded.
pub fn cache_control(data: &[u8]) {
    let headers = values(data, CACHE_CONTROL);
    let response = ResponseDirectives::parse(&headers);
    for seconds in [response.max_age, response.s_maxage, response.stale_while_revalidate, response.stale_if_error] {
        assert!(seconds.value().unwrap_or_default().as_secs() <= DELTA_SECONDS_MAX);
    }
    let bytes: usize = headers.values().map(HeaderValue::len).sum();
    assert!(response.private.fields().len() + response.no_cache.fields().len() <= bytes);
    assert_eq!(ResponseDirectives::parse(&values(&written(&response), CACHE_CONTROL)), response);
    let lower = data.to_ascii_lowercase();
    assert_eq!(ResponseDirectives::parse(&values(&lower, CACHE_CONTROL)), response);
    let asked = RequestDirectives::parse(&headers);
    assert_eq!(RequestDirectives::parse(&values(&lower, CACHE_CONTROL)), asked);
    if !data.contains(&b'"') {
        let one_line = headers.values().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
        let one_line = values(&one_line, CACHE_CONTROL);
        assert_eq!(ResponseDirectives::parse(&one_line), response);
        assert_eq!(RequestDirectives::parse(&one_line), asked);
    }
    let mut stricter = headers;
    stricter.append(CACHE_CONTROL, HeaderValue::from_static("No-Store, max-age=1"));
    assert!(ResponseDirectives::parse(&stricter).no_store && RequestDirectives::parse(&stricter).no_store);
    assert!(RequestDirectives::parse(&stricter).max_age.is_some_and(|age| age <= Duration::from_secs(1)));
}

/// Directives in one of their spellings.
fn written(directives: &ResponseDirectives) -> Vec<u8> {
    let mut members: Vec<String> = Vec::new();
    for (name, seconds) in [
        ("max-age", directives.max_age),
        ("s-maxage", directives.s_maxage),
        ("stale-while-revalidate", directives.stale_while_revalidate),
        ("stale-if-error", directives.stale_if_error),
    ] {
        match seconds {
            Seconds::Absent => {}
            Seconds::Is(duration) => members.push(format!("{name}=\"{}\"", duration.as_secs())),
            Seconds::Invalid => members.push(format!("{name}=x")),
        }
    }
    for (name, scope) in [("no-cache", &directives.no_cache), ("private", &directives.private)] {
        match scope {
            Scope::Absent => {}
            Scope::Whole => members.push(name.to_owned()),
            Scope::Fields(names) => {
                let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
                members.push(format!("{name}=\"{}\"", names.join(",")));
            }
        }
    }
    for (name, is_said) in [
        ("no-store", directives.no_store),
        ("public", directives.public),
        ("must-revalidate", directives.must_revalidate),
        ("proxy-revalidate", directives.proxy_revalidate),
        ("must-understand", directives.must_understand),
        ("no-transform", directives.no_transform),
        ("immutable", directives.immutable),
    ] {
        members.extend(is_said.then(|| name.to_owned()));
    }
    members.join(", ").into_bytes()
}

/// `Vary` lines, then the fields of a request, then `Content-Encoding` lines: a request selects what answered it, and
/// the differences that mean nothing select the same.
pub fn vary(data: &[u8]) {
    let mut sections = sections(data);
    let mut section = || sections.next().unwrap_or_default();
    let vary = values(section(), VARY);
    let fields = field_lines(lines(section()));
    let codings = values(section(), CONTENT_ENCODING);

    let names = match Vary::of(&vary) {
        Vary::Star => Vec::new(),
        Vary::Fields(names) => {
            assert!(names.is_sorted_by(|a, b| a.as_str() < b.as_str()), "sorted, each once");
            let written = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(",");
            assert_eq!(Vary::of(&values(written.as_bytes(), VARY)), Vary::Fields(names.clone()));
            names
        }
    };
    let codings = content_coding::of_response(&codings);
    assert!(!codings.contains(&b"identity".to_vec()));
    let reads = content_coding::accepts(&fields, &codings);
    let accepted = content_coding::accepted(&fields);
    assert!(accepted.is_sorted_by(|a, b| a < b), "sorted, each once");
    if !fields.contains_key(ACCEPT_ENCODING) && codings.iter().any(|coding| coding == b"gzip" || coding == b"br") {
        assert!(!reads, "who asked for no coding gets none");
    }
    for options in [Options::default(), Options::rfc9111()] {
        let (rule, uri) = (SiteRule::default(), http::Uri::from_static("http://a.example/"));
        let request = PresentedRequest::new(&Method::GET, &uri, &fields, &rule, &options);
        let selecting = vary::selecting(&request, names.clone());
        assert_eq!(vary::matches(&selecting, &request, &codings), reads);
        let respelled = respelled(&fields);
        let other = PresentedRequest::new(&Method::GET, &uri, &respelled, &rule, &options);
        assert_eq!(vary::selecting(&other, names.clone()), selecting);
        assert_eq!(vary::matches(&selecting, &other, &codings), reads);
    }
}

/// The same fields with white space around the members of their lists.
fn respelled(fields: &HeaderMap) -> HeaderMap {
    let mut other = HeaderMap::new();
    for name in fields.keys() {
        // Member by member, since a quoted string that is never closed swallows what is appended to its line.
        for member in field::members(fields, name) {
            let spelled = [b"\t ", member, b" "].concat();
            other.append(name, HeaderValue::from_bytes(&spelled).expect("a part of a field value with blanks"));
        }
        if !other.contains_key(name) {
            other.append(name, HeaderValue::from_static(""));
        }
    }
    other
}

/// `Range`, then `Content-Range`, then the length of a representation: every plan stays inside it, has what was asked
/// for, and is never longer than the whole.
pub fn range(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (asked, named, length) = (line(), line(), line());
    let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);

    let specs = parse_range(asked);
    if let Some(specs) = &specs {
        assert!((1..=RANGES_MAX).contains(&specs.len()));
        let written: Vec<_> = specs.iter().map(spelled).collect();
        let written = format!("Bytes= {} ,", written.join(" ,, "));
        assert_eq!(parse_range(written.as_bytes()).as_ref(), Some(specs));
    }
    if let Ok(value) = HeaderValue::from_bytes(asked) {
        check_plan(value, specs.as_deref(), length);
    }
    if let Some(part) = ContentRange::parse(named) {
        assert_eq!(ContentRange::parse(part.to_value().as_bytes()), Some(part));
        assert!(part.range.is_none_or(|range| range.first <= range.last));
        assert!(part.range.zip(part.complete_length).is_none_or(|(range, length)| range.last < length));
    }
}

fn spelled(spec: &RangeSpec) -> String {
    match spec {
        RangeSpec::From(first, None) => format!("{first}-"),
        RangeSpec::From(first, Some(last)) => format!("{first}-{last}"),
        RangeSpec::Suffix(length) => format!("-{length}"),
    }
}

fn check_plan(value: HeaderValue, specs: Option<&[RangeSpec]>, length: u64) {
    let (rule, options, now) = (SiteRule::default(), Options::default(), UNIX_EPOCH);
    let uri = http::Uri::from_static("http://a.example/video");
    let fields = HeaderMap::from_iter([(RANGE, value)]);
    let request = PresentedRequest::new(&Method::GET, &uri, &fields, &rule, &options);
    let stored = StoredHead::new(&request, StatusCode::OK, HeaderMap::new(), now, now);
    let ranges = match resolve_range(&request, &stored, length) {
        RangePlan::Whole => return,
        RangePlan::Unsatisfiable => {
            let specs = specs.expect("only ranges can be unsatisfiable");
            assert!(specs.iter().all(|spec| spec.resolve(length).is_none()));
            return;
        }
        RangePlan::Single(range) => vec![range],
        RangePlan::Multi(ranges) => {
            assert!((2..=RANGES_MAX).contains(&ranges.len()));
            ranges
        }
    };
    assert!(ranges.iter().all(|range| range.first <= range.last && range.last < length));
    let sent = ranges.iter().map(|range| u128::from(range.len())).sum::<u128>();
    assert!(sent <= u128::from(length), "more than the whole");
    for (at, a) in ranges.iter().enumerate() {
        for b in &ranges[at + 1..] {
            let (low, high) = if a.first < b.first { (a, b) } else { (b, a) };
            assert!(high.first - low.last > GAP_MAX, "parts that touch");
        }
    }
    let asked = specs.expect("no plan without ranges").iter().filter_map(|spec| spec.resolve(length));
    for asked in asked {
        assert!(ranges.iter().any(|range| range.first <= asked.first && asked.last <= range.last), "left out");
    }
}

/// A date, a number of seconds, and `Age` lines: dates agree with another reader of them, numbers with wide arithmetic.
pub fn date(data: &[u8]) {
    let (first, rest) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    check_date(first);
    for line in lines(rest) {
        let number = std::str::from_utf8(line).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let expected = number.filter(|text| !text.is_empty()).map(|text| {
            let wide = text.trim_start_matches('0');
            if wide.len() > 30 { u128::MAX } else { format!("0{wide}").parse().expect("at most 31 digits") }
        });
        let expected = expected.map(|wide| wide.min(u128::from(DELTA_SECONDS_MAX)));
        assert_eq!(parse_delta_seconds(line).map(|read| u128::from(read.as_secs())), expected);
    }
    let age = age::age_value(&values(rest, AGE));
    assert_eq!(age_field(age).as_bytes(), age.as_secs().to_string().as_bytes());
}

fn check_date(text: &[u8]) {
    /// 21 November 2026
    const NOW: Duration = Duration::from_secs(1_795_240_800);
    let now = UNIX_EPOCH + NOW;
    let Some(time) = parse_http_date(text, now) else { return };
    assert!(text.len() <= 33, "longer than the longest form");
    assert_eq!(parse_http_date(&text.to_ascii_uppercase(), now), Some(time));
    let last = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    assert!(time <= last);
    if time >= UNIX_EPOCH {
        assert_eq!(parse_http_date(format_http_date(time).as_bytes(), now), Some(time));
    }
    // The other reader wants letters in their usual case, no leap second, no year before 1970 or after 9999; its
    // century of a two-digit year is fixed (1970 to 2069), ours moves on with the clock.
    let other = std::str::from_utf8(text).ok().and_then(|text| httpdate::parse_http_date(text).ok());
    let is_two_digits = text.len() > 29 || text.contains(&b'-');
    if let Some(other) = other.filter(|_| !is_two_digits) {
        assert_eq!(time, other);
    }
    if is_two_digits {
        assert!(years_between(now, time) <= 100);
    }
}

fn years_between(a: SystemTime, b: SystemTime) -> u64 {
    a.duration_since(b).unwrap_or_else(|later| later.duration()).as_secs() / 31_556_952
}

/// `CDN-Cache-Control` lines, then `Cache-Status` parameters: a targeted field means what the same `Cache-Control` would,
/// and what is written is a structured field with the same words.
pub fn structured_fields(data: &[u8]) {
    let mut sections = sections(data);
    let mut section = || sections.next().unwrap_or_default();
    let first = section();
    let headers = values(first, CDN_CACHE_CONTROL);
    if let Some(directives) = parse_targeted(&headers) {
        assert_ne!(headers.len(), 0);
        let written = written_targeted(&directives);
        let again = parse_targeted(&values(written.as_bytes(), CDN_CACHE_CONTROL));
        assert_eq!(again.unwrap_or_default(), directives);
        let mut wrong = headers.clone();
        wrong.append(CDN_CACHE_CONTROL, HeaderValue::from_static("max-age=a"));
        assert_eq!(parse_targeted(&wrong), None, "one malformed member voids the field");
    }
    check_cache_status(section());
}

/// Directives of a targeted field in one of their spellings.
fn written_targeted(directives: &ResponseDirectives) -> String {
    // An argument that is no list of names makes `Scope::Whole`, as `no-cache` alone does; the rest is spelled alike.
    let plain = String::from_utf8(written(directives)).expect("names and digits are ASCII");
    let members = plain.split(", ").map(|member| match member.split_once("=\"") {
        Some((name @ ("max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error"), value)) => {
            format!("{name}={}", value.trim_end_matches('"'))
        }
        _ => member.to_owned(),
    });
    members.collect::<Vec<_>>().join(", ")
}

/// Lines: the cache's name, the key, the detail, the seconds that it stays fresh.
fn check_cache_status(section: &[u8]) {
    let text = String::from_utf8_lossy(section);
    let mut lines = text.split('\n');
    let name = lines.next().unwrap_or_default();
    let (key, detail) = (lines.next().map(str::to_owned), lines.next().map(str::to_owned));
    let ttl_s: Option<i64> = lines.next().and_then(|line| line.parse().ok());
    let at = section.len();
    let status = CacheStatus {
        hit: at.is_multiple_of(2),
        fwd: ForwardReason::ALL.get(at % 9).copied(),
        fwd_status: StatusCode::from_u16(u16::try_from(at % 1000).expect("below 1000")).ok(),
        ttl_s,
        stored: at.is_multiple_of(3),
        collapsed: at.is_multiple_of(5),
        key,
        detail: detail.map(Into::into),
    };
    let value = status.to_value(name);
    let item: Item = Parser::new(value.as_bytes()).parse().expect("a structured field item");
    let is_visible = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    match &item.bare_item {
        BareItem::Token(token) => assert!(token.as_str() == name || !is_visible(name)),
        BareItem::String(string) => assert_eq!(string.as_str(), name),
        other => panic!("a name of another type: {other:?}"),
    }
    let parameter = |name: &str| item.params.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value);
    assert_eq!(parameter("hit").is_some(), status.hit);
    assert_eq!(
        parameter("fwd").and_then(BareItem::as_token).map(|it| it.as_str()),
        status.fwd.map(ForwardReason::token)
    );
    for (name, text) in [("key", status.key.as_deref()), ("detail", status.detail.as_deref())] {
        let told = parameter(name).and_then(BareItem::as_string).map(|it| it.as_str());
        assert_eq!(told, text.filter(|text| is_visible(text)));
    }
    let told = parameter("ttl").and_then(BareItem::as_integer).map(i64::from);
    assert_eq!(told, ttl_s.map(|ttl| ttl.clamp(-999_999_999_999_999, 999_999_999_999_999)));
}

/// An entity tag, then lists of them: a tag is written as it was read, and a list that names it matches.
pub fn entity_tag(data: &[u8]) {
    let (first, rest) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let tag = EntityTag::parse(first);
    let mut headers = values(rest, IF_NONE_MATCH);
    let list = EntityTags::parse(&headers, &IF_NONE_MATCH);
    assert_eq!(list.is_some(), !headers.is_empty());
    if let Some(list) = &list {
        assert!(!list.strongly_match(tag.as_ref()) || list.weakly_match(tag.as_ref()));
        if let EntityTags::Listed(tags) = list {
            let bytes: usize = headers.values().map(HeaderValue::len).sum();
            assert!(tags.len() <= field::MEMBERS_MAX.min(bytes / 2));
            for listed in tags {
                assert_eq!(EntityTag::parse(listed.to_value().as_bytes()).as_ref(), Some(listed));
                assert!(list.weakly_match(Some(listed)));
            }
        }
    }
    let Some(tag) = tag else { return };
    let value = tag.to_value();
    assert_eq!(value.as_bytes(), first);
    assert!(tag.weakly_equals(&tag) && tag.strongly_equals(&tag) != tag.weak);
    let own = HeaderMap::from_iter([(ETAG, value.clone())]);
    assert_eq!(EntityTag::of(&own), Some(tag.clone()));
    let has_room = match &list {
        Some(EntityTags::Listed(tags)) => tags.len() < field::MEMBERS_MAX,
        _ => true,
    };
    headers.append(IF_NONE_MATCH, value);
    let longer = EntityTags::parse(&headers, &IF_NONE_MATCH).expect("it has a line");
    // `*` among other members is none of them (RFC 9110 §13.1.2), so the tag itself must match.
    assert!(longer.weakly_match(Some(&tag)) || !has_room);
}
