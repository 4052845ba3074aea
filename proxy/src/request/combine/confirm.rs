//! What answers to a validation, and to a first request for a part, turn out to be.

use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{Freshening, PresentedRequest, RangeSpec, freshen, storable_part};
use http::{HeaderMap, Response, StatusCode};

use super::assembly::Assembly;
use crate::request::Context;

/// What a 304 made of an incomplete response: true when it goes on under a new head; otherwise it is of no use any more,
/// because the origin means another representation or lets it no longer be stored.
pub async fn confirmed(
    context: &Context,
    presented: &PresentedRequest<'_>,
    assembly: &Arc<Assembly>,
    not_modified: &HeaderMap,
    request_time: SystemTime,
) -> bool {
    let incomplete = assembly.incomplete();
    match freshen(incomplete.head(), presented, not_modified, request_time, context.clock.now()) {
        Freshening::Freshened(head) => {
            assembly.freshen(&context.store, *head, incomplete.rules()).await;
            true
        }
        Freshening::EndsStorage { .. } => {
            context.store.remove_incomplete(&incomplete).await;
            false
        }
        Freshening::NotSelected => false,
    }
}

/// A 206 that carries all bytes as the 200 that it would have been; any other response as it is. Nothing is joined to it, so
/// it needs no validator.
pub fn as_whole<B>(
    presented: &PresentedRequest<'_>,
    wanted: RangeSpec,
    mut response: Response<B>,
    now: SystemTime,
) -> Response<B> {
    if response.status() == StatusCode::PARTIAL_CONTENT
        && let Ok(part) = storable_part(presented, wanted, response.headers(), now)
        && part.is_whole()
    {
        *response.status_mut() = StatusCode::OK;
        *response.headers_mut() = part.headers;
    }
    response
}
