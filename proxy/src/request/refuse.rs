//! The only place where an error becomes a response.

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use super::refusal::Unusable;
use super::{Arrival, Context, ForwardError, Handled, Refusal, RequestBody, ResponseBody, Source, status};
use crate::portal::pages;

/// What a page needs to know of who asks; kept while the request is answered.
pub(super) struct Reader {
    languages: Option<HeaderValue>,
    may_see_status: bool,
}

impl Reader {
    pub(super) fn of(request: &Request<RequestBody>) -> Self {
        let arrival = request.extensions().get::<Arrival>();
        Self {
            languages: request.headers().get(ACCEPT_LANGUAGE).cloned(),
            may_see_status: arrival.is_some_and(|arrival| arrival.may_see_status),
        }
    }

    /// The page of a refusal, in the reader's language.
    pub(super) fn page(&self, context: &Context, refusal: &Refusal) -> Response<ResponseBody> {
        let languages = self.languages.as_ref().and_then(|value| value.to_str().ok());
        let contact = context.options.contact.as_deref();
        let (status, reason) = (refusal.status(), refusal.token());
        let response: Response<Bytes> = match refusal {
            Refusal::NotListed(why) => {
                let host = why.host().to_unicode();
                pages::refusal(&pages::RefusalPage { host: &host, reason, contact }, languages)
            }
            Refusal::Forward(error) | Refusal::ForwardPastStored { error, .. } => {
                let page = pages::OutagePage {
                    host: error.host(),
                    status,
                    reason,
                    trouble: error.into(),
                    copy: copy_of(refusal),
                    down_since: None,
                    retry_after: refusal.retry_after(),
                    contact,
                };
                pages::outage(&page, languages)
            }
            _ => pages::plain(status, reason, languages),
        };
        let mut response = response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
        if let Some(after) = refusal.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if status == StatusCode::BAD_REQUEST {
            // Nobody can say where the next request of a confused connection begins.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.may_see_status {
            status::refused(response.headers_mut(), refusal);
        }
        response.extensions_mut().insert(Handled { permit: None, source: Source::Box, is_stored: false, reason });
        response
    }
}

/// What the page says of a stored copy.
fn copy_of(refusal: &Refusal) -> pages::StoredCopy {
    match refusal {
        Refusal::ForwardPastStored { unusable: Unusable::MustBeValidated, .. } => pages::StoredCopy::MustBeValidated,
        Refusal::ForwardPastStored { unusable: Unusable::TooOld, .. } => pages::StoredCopy::TooOld,
        _ => pages::StoredCopy::None,
    }
}

impl ForwardError {
    /// The host that the error is about, for people.
    pub fn host(&self) -> &str {
        match self {
            Self::Dns { host }
            | Self::DnsTimeout { host, .. }
            | Self::DestinationIpProhibited { host }
            | Self::ConnectionRefused { host }
            | Self::ConnectionTimeout { host, .. }
            | Self::ConnectionTerminated { host }
            | Self::Tls { host, .. }
            | Self::ResponseTimeout { host, .. }
            | Self::ResponseIncomplete { host }
            | Self::Protocol { host, .. }
            | Self::Busy { host, .. } => host,
        }
    }
}
