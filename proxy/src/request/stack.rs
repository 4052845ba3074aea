//! The way that every request passes, outermost step first.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

use http::{Request, Response};
use tower::Service;

use super::observe::observed;
use super::refuse::Reader;
use super::{Arrival, Context, Refusal, RequestBody, ResponseBody, Way, respond};

/// The whole request path as one service; cheap to clone. Every door, the night and the tests call this.
#[derive(Clone)]
pub struct Stack(Arc<Inside>);

struct Inside {
    context: Arc<Context>,
    /// Requests whose answer has not begun.
    in_flight: AtomicUsize,
}

/// Builds the request path over the rooms of `context`.
pub fn stack(context: Arc<Context>) -> Stack {
    Stack(Arc::new(Inside { context, in_flight: AtomicUsize::new(0) }))
}

impl Service<Request<RequestBody>> for Stack {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // what is too much is refused, and nobody waits
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let inside = Arc::clone(&self.0);
        Box::pin(async move { Ok(inside.answer(request).await) })
    }
}

impl Inside {
    /// Read downwards: the order in which a request meets the steps, and upwards for its answer. What depends on data
    /// (reuse, validate, forward, wait) is no step: it is one plain function, [`respond`].
    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let way = request.extensions().get::<Arrival>().map_or(Way::Reverse, |arrival| arrival.way);
        let reader = Reader::of(&request);
        let answer = match self.place() {
            Some(_place) => respond::respond(&self.context, request).await,
            None => Err(Refusal::Overloaded),
        };
        // The only place where an error becomes a page.
        let response = answer.unwrap_or_else(|refusal| reader.page(&self.context, &refusal));
        // The receipt, when the last byte has left.
        observed(&self.context.ledger, way, response)
    }

    /// A place among the requests that are answered at once; none when all are taken.
    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.in_flight);
        let others = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (others < self.context.options.in_flight_max).then_some(place)
    }
}

/// Free again when dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
