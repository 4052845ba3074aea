//! The life of a request, one file a step.
//!
//! A pupil's request, a night's job and a page of ours all enter by the same stack with an [`Arrival`] among their
//! extensions, and leave with [`Handled`] among the response's.

pub mod arrival;
pub mod body;
pub mod forward_error;
pub mod handled;
pub mod refusal;

pub use arrival::{Arrival, Way};
pub use body::{BodyError, RequestBody, ResponseBody};
pub use forward_error::ForwardError;
pub use handled::{Handled, Source};
pub use refusal::Refusal;
