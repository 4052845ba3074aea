//! The only place where an error becomes a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{BoxError, Service};

use super::refusal::Unusable;
use super::stack::{Fallible, refusal};
use super::{Arrival, Context, ForwardError, Handled, Refusal, RequestBody, ResponseBody, Source, status};
use crate::portal::pages;

/// Answers every refusal with its page.
#[derive(Clone)]
pub struct Refuse<S> {
    context: Arc<Context>,
    inner: S,
}

impl<S> Refuse<S> {
    /// Wraps the service that may refuse.
    pub fn new(context: Arc<Context>, inner: S) -> Self {
        Self { context, inner }
    }
}

impl<S> Service<Request<RequestBody>> for Refuse<S>
where
    S: Fallible<BoxError> + Service<Request<RequestBody>>,
    <S as Service<Request<RequestBody>>>::Future: Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        // Shedding load is always ready; an error here would come again from the call.
        let _ = self.inner.poll_ready(task);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let languages = request.headers().get(ACCEPT_LANGUAGE).cloned();
        let may_see_status = request.extensions().get::<Arrival>().is_some_and(|arrival| arrival.may_see_status);
        let (context, answer) = (self.context.clone(), self.inner.call(request));
        Box::pin(async move {
            Ok(match answer.await {
                Ok(response) => response,
                Err(error) => page(&context, &refusal(&error), languages.as_ref(), may_see_status),
            })
        })
    }
}

/// The page of a refusal, in the reader's language.
fn page(
    context: &Context,
    refusal: &Refusal,
    languages: Option<&HeaderValue>,
    may_see_status: bool,
) -> Response<ResponseBody> {
    let languages = languages.and_then(|value| value.to_str().ok());
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
    if may_see_status {
        status::refused(response.headers_mut(), refusal);
    }
    response.extensions_mut().insert(Handled { permit: None, source: Source::Box, is_stored: false, reason });
    response
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
