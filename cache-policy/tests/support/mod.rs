//! A cache of a few lines around the decisions: one URI, a held clock, an origin that answers as the case says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulaq_cache_policy::{
    Freshening, Lookup, Options, Precondition, PresentedRequest, RangePlan, SiteRule, StaleCause, StoredHead,
    evaluate_preconditions, format_http_date, freshen, invalidated, look_up, resolve_range, stale_allowed, storable,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

/// When the first exchange of every case happens.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_240_800)
}

/// Every pair a field line; a value `@-60` is a date 60 seconds before `now`.
pub(crate) fn fields(lines: &[(&str, &str)], now: SystemTime) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = match value.strip_prefix('@').map(|offset| offset.parse::<i64>().unwrap()) {
            Some(offset) if offset < 0 => format_http_date(now - Duration::from_secs(offset.unsigned_abs())),
            Some(offset) => format_http_date(now + Duration::from_secs(offset.unsigned_abs())),
            None => HeaderValue::try_from(*value).unwrap(),
        };
        headers.append(HeaderName::try_from(*name).unwrap(), value);
    }
    headers
}

/// What the origin does when it is asked.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// It answers; with 304 where our validators match those of the answer.
    Answers(u16, &'a [(&'a str, &'a str)]),
    /// It closes the connection.
    Closes,
}

/// The cache under test.
pub(crate) struct Cache {
    pub(crate) options: Options,
    pub(crate) rule: SiteRule,
    pub(crate) now: SystemTime,
    pub(crate) stored: Vec<StoredHead>,
}

impl Cache {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, rule: SiteRule::default(), now: start(), stored: Vec::new() }
    }

    /// One exchange; tells in words what the client gets: `cached`, `validated` or `forwarded`, and the status.
    pub(crate) fn exchange(&mut self, method: &str, asked: &[(&str, &str)], origin: Origin<'_>) -> String {
        let (method, headers) = (Method::from_bytes(method.as_bytes()).unwrap(), fields(asked, self.now));
        let uri: Uri = "http://lessons.example/algebra".parse().unwrap();
        let (rule, options, now) = (self.rule.clone(), self.options.clone(), self.now);
        let request = PresentedRequest::new(&method, &uri, &headers, &rule, &options);
        let lookup = look_up(&self.stored.iter().collect::<Vec<_>>(), &request, now);
        match lookup {
            Lookup::Reuse { index, .. } | Lookup::ReuseWhileRevalidating { index, .. } => {
                self.deliver("cached", index, &request)
            }
            Lookup::Validate { index, .. } => self.validate(index, &request, origin),
            Lookup::Forward { stale, .. } => self.forward(stale, &request, origin),
            Lookup::GatewayTimeout => "cached 504".to_owned(),
        }
    }

    fn deliver(&self, how: &str, index: usize, request: &PresentedRequest<'_>) -> String {
        let head = &self.stored[index];
        match evaluate_preconditions(request, head, self.now) {
            Precondition::NotModified => format!("{how} 304"),
            Precondition::Failed => format!("{how} 412"),
            Precondition::Proceed => match resolve_range(request, head, 11) {
                RangePlan::Single(range) => format!("{how} 206 {}-{}", range.first, range.last),
                RangePlan::Whole => format!("{how} {}", head.status().as_u16()),
                other => format!("{how} {other:?}"),
            },
        }
    }

    fn validate(&mut self, index: usize, request: &PresentedRequest<'_>, origin: Origin<'_>) -> String {
        let Origin::Answers(status, lines) = origin else { return self.stand_in(index, request) };
        let answer = fields(lines, self.now);
        let stored = &self.stored[index];
        let is_same = |name: &str| answer.contains_key(name) && answer.get(name) == stored.headers().get(name);
        if status >= 500 || !(is_same("etag") || is_same("last-modified")) {
            return self.forward(Some(index), request, origin);
        }
        match freshen(stored, request, &answer, self.now, self.now) {
            Freshening::Freshened(head) => {
                self.stored[index] = *head;
                self.deliver("validated", index, request)
            }
            Freshening::NotSelected => self.forward(None, request, origin),
            Freshening::EndsStorage { .. } => {
                self.stored.remove(index);
                "validated, removed".to_owned()
            }
        }
    }

    fn forward(&mut self, stale: Option<usize>, request: &PresentedRequest<'_>, origin: Origin<'_>) -> String {
        let Origin::Answers(status, lines) = origin else {
            return stale.map_or("no answer".to_owned(), |index| self.stand_in(index, request));
        };
        let (status, mut headers) = (StatusCode::from_u16(status).unwrap(), fields(lines, self.now));
        if !headers.contains_key("date") {
            headers.insert("date", format_http_date(self.now));
        }
        if !invalidated(request, status, &headers).is_empty() {
            self.stored.clear();
        }
        if storable(request, status, &headers).is_ok() {
            let head = StoredHead::new(request, status, headers, self.now, self.now);
            self.stored.retain(|other| other.variant_key() != head.variant_key());
            self.stored.push(head);
        }
        format!("forwarded {}", status.as_u16())
    }

    fn stand_in(&self, index: usize, request: &PresentedRequest<'_>) -> String {
        match stale_allowed(&self.stored[index], request, StaleCause::Unreachable, self.now) {
            Some(_) => self.deliver("cached", index, request),
            None => "no answer".to_owned(),
        }
    }
}
