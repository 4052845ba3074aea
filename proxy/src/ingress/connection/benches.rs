//! What the doors keep to themselves and measurements ask for: the look at a request that was answered before.

use std::sync::Arc;

use http::Response;

use super::quick::{Look, Quick};
use crate::request::{Arrival, Repeats, ResponseBody};

/// A connection whose memo has the answer to one request.
pub struct QuickSample {
    quick: Quick,
    request: Vec<u8>,
}

impl QuickSample {
    /// Notes the answer that the request path gave to `request`, as it came over the wire; none when it may not be repeated.
    pub fn new(
        repeats: &Arc<Repeats>,
        arrival: &Arrival,
        request: &[u8],
        response: &Response<ResponseBody>,
    ) -> Option<Self> {
        let quick = Quick::new(repeats, arrival)?;
        let Look::Unknown(key) = quick.look(request) else { return None };
        repeats.note(key, arrival.way, response);
        let sample = Self { quick, request: request.to_vec() };
        sample.is_answered().then_some(sample)
    }

    /// Reads the request, finds its answer and makes its head, as for one that is about to be written.
    pub fn is_answered(&self) -> bool {
        matches!(self.quick.look(&self.request), Look::Answer(_, length) if length == self.request.len())
    }
}
