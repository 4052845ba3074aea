//! The layers that every request passes, outermost first.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, service_fn};

use super::{Context, Refusal, RequestBody, ResponseBody, observe, refuse, respond};

/// The whole request path as one service; cheap to clone. Every door, the night and the tests call this.
pub type Stack = BoxCloneSyncService<Request<RequestBody>, Response<ResponseBody>, Infallible>;

/// Builds the request path over the rooms of `context`.
///
/// What depends on data (reuse, validate, forward, wait) is not a layer: it is one plain function, [`respond`].
pub fn stack(context: Arc<Context>) -> Stack {
    let in_flight_max = context.options.in_flight_max;
    let respond = {
        let context = context.clone();
        service_fn(move |request| respond::respond(context.clone(), request))
    };
    // Read downwards: the order in which a request meets them.
    let service = ServiceBuilder::new()
        .layer_fn(|inner| observe::Observe::new(context.clone(), inner)) // the receipt, when the last byte has left
        .layer_fn(|inner| refuse::Refuse::new(context.clone(), inner)) // the only place where an error becomes a page
        .load_shed()
        .concurrency_limit(in_flight_max)
        .service(respond);
    BoxCloneSyncService::new(service)
}

/// A service of the stack's inside: it may still refuse.
pub(super) trait Fallible<E>:
    Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = E>
{
}
impl<S, E> Fallible<E> for S where S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = E> {}

/// The refusal inside a layer's boxed error.
pub(super) fn refusal(error: &tower::BoxError) -> Refusal {
    match error.downcast_ref::<Refusal>() {
        Some(refusal) => refusal.clone(),
        // The only other layer that fails is the one that sheds load.
        None => Refusal::Overloaded,
    }
}
