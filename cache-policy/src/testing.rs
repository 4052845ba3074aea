//! What the tables of cases share: a held clock, fields from pairs, a request and a stored response in one line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::{Options, PresentedRequest, SiteRule, StoredHead, format_http_date};

/// Saturday, 21 November 2026, 06:00:00 GMT: when every stored response of the tables comes.
pub(crate) fn t0() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_240_800)
}

pub(crate) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    t0() + s(seconds)
}

/// A date so many seconds from [`t0`], as text.
pub(crate) fn date(offset_s: i64) -> String {
    let time = if offset_s < 0 { t0() - s(offset_s.unsigned_abs()) } else { at(offset_s.unsigned_abs()) };
    format_http_date(time).to_str().unwrap().to_owned()
}

/// Every pair a field line, in order. A value `@-60` is a date 60 seconds before [`t0`].
pub(crate) fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = match value.strip_prefix('@') {
            Some(offset) => date(offset.parse().unwrap()),
            None => (*value).to_owned(),
        };
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    headers
}

/// Owns what a [`PresentedRequest`] borrows.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) rule: SiteRule,
    pub(crate) options: Options,
}

impl Asked {
    pub(crate) fn presented(&self) -> PresentedRequest<'_> {
        PresentedRequest::new(&self.method, &self.uri, &self.headers, &self.rule, &self.options)
    }

    pub(crate) fn rfc(self) -> Self {
        Self { options: Options::rfc9111(), ..self }
    }

    pub(crate) fn method(self, method: &str) -> Self {
        Self { method: Method::from_bytes(method.as_bytes()).unwrap(), ..self }
    }

    pub(crate) fn uri(self, uri: &str) -> Self {
        Self { uri: uri.parse().unwrap(), ..self }
    }

    pub(crate) fn rule(self, rule: SiteRule) -> Self {
        Self { rule, ..self }
    }

    /// The head of a response to this request that came at [`t0`], with a `Date` of then.
    pub(crate) fn stored(&self, status: u16, lines: &[(&str, &str)]) -> StoredHead {
        let mut headers = fields(lines);
        if !headers.contains_key("date") {
            headers.insert("date", format_http_date(t0()));
        }
        StoredHead::new(&self.presented(), StatusCode::from_u16(status).unwrap(), headers, t0(), t0())
    }
}

/// A `GET` of one lesson page in the school profile, without any rule.
pub(crate) fn get(lines: &[(&str, &str)]) -> Asked {
    Asked {
        method: Method::GET,
        uri: "https://lessons.example/algebra/7".parse().unwrap(),
        headers: fields(lines),
        rule: SiteRule::default(),
        options: Options::default(),
    }
}

/// A 200 to a plain `GET`, stored at [`t0`].
pub(crate) fn stored(lines: &[(&str, &str)]) -> StoredHead {
    get(&[]).stored(200, lines)
}

pub(crate) fn anonymous() -> SiteRule {
    SiteRule { anonymous: true, ..SiteRule::default() }
}
