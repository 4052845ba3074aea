//! The life of a request, one file a step.
//!
//! A pupil's request, a night's job and a page of ours all enter by the same [`stack()`] with an [`Arrival`] among their
//! extensions, and leave with [`Handled`] among the response's.

// What it is and how it came.
pub mod arrival;
pub mod asked;
pub mod body;
pub mod target;

// Its way, outermost first.
pub mod observe;
pub mod refuse;
pub mod respond;
pub mod stack;

// What it may meet.
pub mod aboard;
pub mod collapse;
pub mod combine;
pub(crate) mod decoded;
pub mod deliver;
pub mod fill;
pub mod growing;
pub mod interim;
mod own;
pub mod pass;
pub mod purge;
pub mod remembered;
pub mod repeat;
pub mod waking;

// What is said of it.
pub mod context;
pub mod forward_error;
pub mod handled;
pub mod refusal;
pub mod status;

pub use arrival::{Arrival, Way};
pub use body::{BodyError, RequestBody, ResponseBody};
pub use context::{Context, RequestOptions};
pub use forward_error::ForwardError;
pub use handled::{Handled, Source};
pub use interim::{InterimQueue, InterimSender};
pub use refusal::Refusal;
pub use repeat::Repeats;
pub use stack::{Stack, stack};
