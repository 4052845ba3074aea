//! A request that the cache has no part in: to the origin as it is, and the answer back as it comes.

use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{
    CacheKey, Freshening, anonymise_response, freshen_by_head, invalidated, speaks_for_all, storable,
};
use http::{Method, Request, Response};
use http_body_util::BodyExt;

use super::asked::Asked;
use super::deliver::growing_body;
use super::fill::{LeadersShare, WanTally, take_in};
use super::respond::finish;
use super::status::Account;
use super::{BodyError, Context, Refusal, RequestBody, ResponseBody};
use crate::origin::{OriginBody, SecondTry};

/// Forwards the request and hands its answer over.
///
/// # Errors
/// [`Refusal::Forward`] when the origin gives no usable response.
pub async fn pass(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    body: RequestBody,
    account: Account,
) -> Result<Response<ResponseBody>, Refusal> {
    let request_time = context.clock.now();
    let mut request: Request<RequestBody> = asked.forwarded(body);
    request.extensions_mut().insert(SecondTry);
    let response = context.origin.send(&asked.permit, request).await?;
    let presented = asked.presented(&context.options.policy);
    for uri in invalidated(&presented, response.status(), response.headers()) {
        if let Some(key) = CacheKey::new(&uri, &asked.rule) {
            context.flights.invalidate(|flying| *flying == key);
            context.store.remove(&key).await;
        }
    }
    if asked.method == Method::HEAD {
        Box::pin(freshen_stored(context, asked, &response, request_time)).await;
    }
    if asked.method == Method::POST && storable(&presented, response.status(), response.headers()).is_ok() {
        return Box::pin(stored_for_own_uri(context, asked, response, request_time, account)).await;
    }
    let tally = WanTally::of(context, asked, &response);
    Ok(hand_over(asked, response, tally, account))
}

/// The answer to a `POST` that says it is what a `GET` would give: to the client as it comes, and into the store.
async fn stored_for_own_uri(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    response: Response<OriginBody>,
    request_time: SystemTime,
    account: Account,
) -> Result<Response<ResponseBody>, Refusal> {
    let (status, headers) = (response.status(), response.headers().clone());
    match take_in(context, asked, response, request_time).await {
        Some(LeadersShare::Reader(reader)) => {
            let mut response = Response::new(growing_body(reader));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            let account = Account { is_stored: true, detail: None, ..account };
            Ok(finish(for_the_client(asked, response), asked, account))
        }
        Some(LeadersShare::Response(response, tally)) => Ok(hand_over(asked, *response, tally, account)),
        // The task was ended: the box is stopping.
        Some(LeadersShare::Parts(_) | LeadersShare::Confirmed(_)) | None => Err(Refusal::Overloaded),
    }
}

/// The answer to a `HEAD` may update what is stored for `GET` (RFC 9111 §4.3.5).
async fn freshen_stored(context: &Context, asked: &Asked, response: &Response<OriginBody>, request_time: SystemTime) {
    let presented = asked.presented(&context.options.policy);
    if !speaks_for_all(&presented, response.headers()) {
        return;
    }
    let Some(variants) = context.store.find_in_memory(&asked.key) else { return };
    let Some(stored) = variants.iter().find(|stored| stored.head.is_selected_by(&presented)) else { return };
    let now = context.clock.now();
    match freshen_by_head(&stored.head, &presented, response.status(), response.headers(), request_time, now) {
        Freshening::Freshened(head) => {
            context.store.freshen(stored, *head, asked.rules).await;
        }
        Freshening::NotSelected => {
            let mut head = stored.head.clone();
            head.mark_stale();
            context.store.freshen(stored, head, asked.rules).await;
        }
        Freshening::EndsStorage { .. } => {
            context.store.remove(&asked.key).await;
        }
    }
}

/// An origin's response for one client alone, its content counted on the way.
pub fn hand_over(
    asked: &Asked,
    response: Response<OriginBody>,
    tally: WanTally,
    account: Account,
) -> Response<ResponseBody> {
    let response = response.map(|body| {
        body.map_err(move |error| {
            let _held = &tally; // handed in when the body is dropped
            BodyError::Origin(error)
        })
        .boxed_unsync()
    });
    finish(for_the_client(asked, response), asked, account)
}

/// Takes off an origin's response what is not for the client. It came without the fields of its hop ([`crate::origin`]).
fn for_the_client(asked: &Asked, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if asked.rule.anonymous {
        anonymise_response(response.headers_mut());
    }
    response
}
