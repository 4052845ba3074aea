//! Parts of a representation, and the tags by which responses are purged together.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};

use super::{field_lines, lines, sections};
use crate::*;

/// Sections: `Range` of ours, then the fields of the request; the fields of the 206; status and fields of a further
/// answer. What is kept as a part lies inside the whole, and what may be joined has the same strong validator.
pub fn combine(data: &[u8]) {
    let mut sections = sections(data);
    let mut section = || lines(sections.next().unwrap_or_default());
    let mut request = section();
    let asked = request.next().and_then(parse_range).and_then(|ranges| ranges.first().copied());
    let fields = field_lines(request);
    let headers = field_lines(section());
    let mut further = section();
    let status = further.next().and_then(|line| StatusCode::from_bytes(line).ok()).unwrap_or_default();
    let further = field_lines(further);

    let (rule, options) = (SiteRule::default(), Options::default());
    let (uri, now) = (Uri::from_static("http://a.example/video"), UNIX_EPOCH + Duration::from_secs(1_795_240_800));
    let request = PresentedRequest::new(&Method::GET, &uri, &fields, &rule, &options);
    let asked = asked.unwrap_or(RangeSpec::From(0, None));
    let Ok(part) = storable_part(&request, asked, &headers, now) else { return };
    let StorablePart { headers: whole, range, complete_length } = part.clone();
    assert!(range.first <= range.last && range.last < complete_length);
    assert_eq!(Some(range.first), asked.resolve(complete_length).map(|asked| asked.first));
    assert!(!whole.contains_key(CONTENT_RANGE));
    assert_eq!(whole[CONTENT_LENGTH].as_bytes(), complete_length.to_string().as_bytes());
    let head = StoredHead::new(&request, StatusCode::OK, whole, now, now);
    assert_eq!(head.not_storable(), None);
    let validator = StrongValidator::of(&head);
    if !part.is_whole() {
        let validator = validator.as_ref().expect("no part without a strong validator");
        check_again(&request, &head, &part, &headers, validator);
    }
    check_further(&head, &part, status, &further, validator.as_ref());
}

/// The very same 206 again continues what it began, and changes nothing of it.
fn check_again(
    request: &PresentedRequest<'_>,
    head: &StoredHead,
    part: &StorablePart,
    headers: &HeaderMap,
    validator: &StrongValidator,
) {
    assert!(!validator.if_range().as_bytes().starts_with(b"W/"));
    let (length, first) = (part.complete_length, part.range.first);
    let again = continuation(head, length, first, StatusCode::PARTIAL_CONTENT, headers);
    // Fields that a `Connection` of it names, or that are not stored, are missed the second time.
    if !headers.contains_key("connection") && !headers.contains_key("cache-control") {
        assert_eq!(again, Continuation::Part(part.range));
    }
    let other = continuation(head, length, first.wrapping_add(1), StatusCode::PARTIAL_CONTENT, headers);
    assert!(!matches!(other, Continuation::Part(_)), "another place than was asked for");
    if let Freshening::Freshened(new) = freshen_by_part(head, request, headers, head.date(), head.date()) {
        assert_eq!(new.headers()[CONTENT_LENGTH], head.headers()[CONTENT_LENGTH]);
        assert!(!new.headers().contains_key(CONTENT_RANGE));
        assert_eq!(new.variant_key(), head.variant_key());
    }
}

fn check_further(
    head: &StoredHead,
    part: &StorablePart,
    status: StatusCode,
    further: &HeaderMap,
    validator: Option<&StrongValidator>,
) {
    let length = part.complete_length;
    match continuation(head, length, part.range.first, status, further) {
        Continuation::Part(range) => {
            assert!(status == StatusCode::PARTIAL_CONTENT && range.first == part.range.first && range.last < length);
        }
        Continuation::Whole => {
            assert!(status == StatusCode::OK && is_same_representation(head, length, further));
            let told = further[CONTENT_LENGTH].to_str().ok().and_then(|text| text.trim().parse().ok());
            assert_eq!(told, Some(length));
        }
        Continuation::Changed(_) | Continuation::NoPart => return,
    }
    let validator = validator.expect("only a strong validator joins");
    let tags: Vec<_> = further.get_all("etag").iter().collect();
    match validator {
        StrongValidator::EntityTag(own) => assert_eq!(tags, [own]),
        StrongValidator::LastModified(own) => {
            assert!(tags.is_empty() && further.get_all("last-modified").iter().all(|date| date == own));
        }
    }
}

/// Lines of `Cache-Tag`, then of `Surrogate-Key`: each tag is one that a person can name, in any case, and they are
/// bounded.
pub fn cache_tag(data: &[u8]) {
    let mut sections = sections(data);
    let mut headers = super::values(sections.next().unwrap_or_default(), CACHE_TAG);
    headers.extend(super::values(sections.next().unwrap_or_default(), SURROGATE_KEY));
    let tags: Vec<CacheTag> = cache_tags(&headers).collect();
    assert!(tags.len() <= TAGS_MAX);
    for tag in &tags {
        assert!((1..=TAG_BYTES_MAX).contains(&tag.as_bytes().len()));
        if let Ok(name) = std::str::from_utf8(tag.as_bytes()) {
            // A key between blanks may hold a comma; nobody can name that one.
            let named = CacheTag::new(&name.to_ascii_uppercase());
            assert!(named.as_ref() == Some(tag) || name.contains(','));
        }
    }
    let listed: Vec<_> = tags.iter().map(CacheTag::as_bytes).collect();
    if let Ok(value) = HeaderValue::from_bytes(&listed.join(&b' ')) {
        let again = HeaderMap::from_iter([(SURROGATE_KEY, value)]);
        assert_eq!(cache_tags(&again).collect::<Vec<_>>(), tags);
    }
}
