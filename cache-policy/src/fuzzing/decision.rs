//! Whole decisions: a request, the response that it got, the operator's words, and a response to its validation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap, SET_COOKIE};
use http::{Method, StatusCode, Uri};

use super::{field_lines, lines, sections};
use crate::*;

/// What an input describes.
struct Case {
    method: Method,
    uri: Uri,
    fields: HeaderMap,
    status: StatusCode,
    response: HeaderMap,
    rule: SiteRule,
    options: Options,
    sent: SystemTime,
    came: SystemTime,
    now: SystemTime,
    update: HeaderMap,
}

/// Saturday, 21 November 2026, 06:00:00 GMT
const T0: Duration = Duration::from_secs(1_795_240_800);

/// Sections: method and target, then the request's fields; the status, then the response's fields; words of the operator and times
/// in seconds from [`T0`] (`rfc anonymous fresh-min=60 sent=-1 came=0 now=61`); the fields of a response to a validation.
pub fn decision(data: &[u8]) {
    let Some(case) = Case::read(data) else { return };
    let request = PresentedRequest::new(&case.method, &case.uri, &case.fields, &case.rule, &case.options);
    check_target(&request, &case);
    let storable = storable(&request, case.status, &case.response);
    let head = StoredHead::new(&request, case.status, case.response.clone(), case.sent, case.came);
    if storable.is_ok() {
        assert_eq!(head.not_storable(), None, "what may be stored may stay");
        if case.options.profile == Profile::School {
            assert!(!head.headers().contains_key(SET_COOKIE));
        }
    }
    check_head(&head, &case);
    check_look_up(&head, &request, &case);
    for freshening in [
        freshen(&head, &request, &case.update, case.came, case.now),
        freshen_by_head(&head, &request, case.status, &case.update, case.came, case.now),
    ] {
        match freshening {
            Freshening::Freshened(new) => check_freshened(&new, &head, &case),
            Freshening::EndsStorage { head: new, .. } => check_freshened(&new, &head, &case),
            Freshening::NotSelected => {}
        }
    }
}

impl Case {
    fn read(data: &[u8]) -> Option<Self> {
        let mut sections = sections(data);
        let mut section = || lines(sections.next().unwrap_or_default());
        let mut request = section();
        let mut words = request.next()?.split(|&byte| byte == b' ');
        let method = Method::from_bytes(words.next()?).ok()?;
        let uri = Uri::try_from(words.next()?).ok()?;
        let fields = field_lines(request);
        let mut response = section();
        let status = StatusCode::from_bytes(response.next()?).ok()?;
        let response = field_lines(response);
        let mut case = Self {
            method,
            uri,
            fields,
            status,
            response,
            rule: SiteRule::default(),
            options: Options::default(),
            sent: UNIX_EPOCH + T0,
            came: UNIX_EPOCH + T0,
            now: UNIX_EPOCH + T0,
            update: HeaderMap::new(),
        };
        for word in section().flat_map(|line| line.split(|&byte| byte == b' ')) {
            case.word(std::str::from_utf8(word).ok()?)?;
        }
        case.update = field_lines(section());
        Some(case)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let seconds = || value.parse().ok().map(Duration::from_secs);
        match name {
            "rfc" => self.options.profile = Profile::Rfc9111,
            "untargeted" => self.options.targeted_fields = false,
            "never" => self.rule.never_store = true,
            "anonymous" => self.rule.anonymous = true,
            "fresh-min" => self.rule.fresh_min = Some(seconds()?),
            "fresh-max" => self.rule.fresh_max = Some(seconds()?),
            "stale-max" => self.rule.stale_max = Some(seconds()?),
            "ignore" => self.rule.ignored_parameters.push(value.to_owned()),
            "sent" => self.sent = time(value)?,
            "came" => self.came = time(value)?,
            "now" => self.now = time(value)?,
            _ => {}
        }
        Some(())
    }
}

fn time(offset_s: &str) -> Option<SystemTime> {
    let offset: i64 = offset_s.parse().ok()?;
    let by = Duration::from_secs(offset.unsigned_abs());
    let t0 = UNIX_EPOCH + T0;
    if offset < 0 { t0.checked_sub(by) } else { t0.checked_add(by) }
}

/// The key of a key is itself; what an unsafe request makes doubtful is on its own origin.
fn check_target(request: &PresentedRequest<'_>, case: &Case) {
    let Some(key) = CacheKey::new(&case.uri, &case.rule) else { return };
    let uri: Uri = key.as_str().parse().expect("a key is a URI");
    assert_eq!(CacheKey::new(&uri, &case.rule).as_ref(), Some(&key));
    assert!(key.as_str().len() <= case.uri.to_string().len() + 1, "a slash at most is added");
    assert!(key.as_str().starts_with(key.without_query()) && !key.without_query().contains('?'));
    let origin = |uri: &Uri| (uri.scheme_str().map(str::to_owned), uri.host().map(str::to_ascii_lowercase));
    let doubtful = invalidated(request, case.status, &case.response);
    assert!(doubtful.len() <= 3 && doubtful.iter().all(|uri| origin(uri) == origin(&case.uri)));
}

/// What every stored head keeps to, however it came about.
fn check_head(head: &StoredHead, case: &Case) {
    let fields = head.headers();
    assert!(fields.contains_key(DATE));
    assert!(HOP_BY_HOP.iter().all(|name| !fields.contains_key(name)));
    let told = head.lifetime().duration;
    let longest = Duration::from_secs(DELTA_SECONDS_MAX).max(case.rule.fresh_min.unwrap_or_default());
    assert!(told <= longest, "fresh for longer than anybody may say");
    assert!(case.rule.fresh_max.is_none_or(|max| told <= max));
    if head.lifetime().source == LifetimeSource::Heuristic && case.rule.fresh_min.is_none() {
        assert!(told <= case.options.heuristic_max);
    }

    let again = StoredHead::from_parts(head.parts().clone(), &case.rule, &case.options);
    assert_eq!(again.parts(), head.parts(), "what is restored is stored just so");
    assert_eq!(again.lifetime(), head.lifetime());
    assert_eq!(again.directives(), head.directives());
    assert_eq!(again.variant_key(), head.variant_key());

    let later = case.now.checked_add(Duration::from_secs(1)).unwrap_or(case.now);
    assert!(head.current_age(case.now) <= head.current_age(later), "age falls while the clock moves on");
    let (is_known, is_fresh) = (head.stale_for(case.now).is_some(), head.is_fresh(case.now));
    assert!(!is_fresh || is_known);
    assert!(!is_known || is_fresh || !head.is_fresh(later), "fresh again without a validation");
    assert_eq!(head.fresh_for(case.now) > Duration::ZERO, is_fresh);

    let reused = head.reuse_headers(case.now);
    assert_eq!(reused.get_all(AGE).iter().count(), 1);
    let light = not_modified_head(reused);
    assert!(!light.contains_key(CONTENT_LENGTH) && light.contains_key(DATE));
}

fn check_look_up(head: &StoredHead, request: &PresentedRequest<'_>, case: &Case) {
    // Also one in a coding that the client does not accept: it is decoded on its way.
    let is_his = may_share(request).is_ok() && head.serves(request);
    let forbids_stale = head.directives().forbids_stale();
    match look_up(&[head, head], request, case.now) {
        Lookup::Reuse { index, age, is_fresh } => {
            assert!(index < 2 && is_his && !request.directives.no_cache && !request.directives.no_store);
            assert_eq!((age, is_fresh), (head.current_age(case.now), head.is_fresh(case.now)));
            assert!(!head.demands_validation());
            assert!(is_fresh || !forbids_stale && request.directives.max_stale.is_some());
        }
        Lookup::ReuseWhileRevalidating { index, conditional, .. } => {
            assert!(index < 2 && is_his && !forbids_stale && !request.directives.no_cache);
            check_conditional(conditional.as_ref(), head, request, case);
        }
        Lookup::Validate { index, conditional, .. } => {
            assert!(index < 2 && is_his && !request.directives.only_if_cached);
            check_conditional(Some(&conditional), head, request, case);
        }
        Lookup::Forward { stale, .. } => {
            assert!(!request.directives.only_if_cached && stale.is_none_or(|index| index < 2 && is_his));
        }
        Lookup::GatewayTimeout => assert!(request.directives.only_if_cached),
    }
    for cause in [StaleCause::Unreachable, StaleCause::OriginError(case.status)] {
        if let Some(used) = stale_allowed(head, request, cause, case.now) {
            assert!(is_his && (head.is_fresh(case.now) || !forbids_stale));
            assert_eq!(used.age, head.current_age(case.now));
        }
    }
    let precondition = evaluate_preconditions(request, head, case.now);
    assert!(precondition == Precondition::Proceed || request.is_conditional());
    if let RangePlan::Multi(ranges) = resolve_range(request, head, 10_000) {
        assert!(ranges.iter().all(|range| range.last < 10_000));
    }
}

/// A validation asks with our validators alone, and an answer with the very same ones is about what we hold.
fn check_conditional(
    conditional: Option<&Conditional>,
    head: &StoredHead,
    request: &PresentedRequest<'_>,
    case: &Case,
) {
    let Some(conditional) = conditional else { return };
    let mut fields = request.headers.clone();
    conditional.apply(&mut fields);
    assert_eq!(fields.get("if-none-match"), conditional.if_none_match.as_ref());
    assert_eq!(fields.get("if-modified-since"), conditional.if_modified_since.as_ref());
    let mut answer = HeaderMap::new();
    if let Some(tag) = &conditional.if_none_match {
        answer.insert("etag", tag.clone());
    }
    let freshened = freshen(head, request, &answer, case.came, case.now);
    assert!(!matches!(freshened, Freshening::NotSelected));
}

/// A 304 changes nothing of what describes the stored bytes, and ends a soft purge.
fn check_freshened(new: &StoredHead, old: &StoredHead, case: &Case) {
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE] {
        assert!(new.headers().get_all(&name).iter().eq(old.headers().get_all(&name)), "{name}");
    }
    assert!(!new.parts().is_marked_stale && new.status() == old.status());
    assert_eq!(new.variant_key(), old.variant_key());
    check_head(new, case);
}
