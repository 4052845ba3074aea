//! The story of one night: what is fetched ahead, from where, within which limits.
//!
//! [`schedule()`] waits for the window and [`Night::run`] tells the rest. The loop (`crawl`) takes a job from the frontier
//! (`plan`, kept on disk by `journal`) as the `budget` lets it, asks for it through the same stack as a pupil
//! (`ask`, `fetch`), reads its answer (`verdict`) and its links ([`extract`]), and plans those that belong to the night
//! (`scope`). What an origin asks of crawlers ([`robots`]) comes first. At the end stands a [`report`].
//!
//! Nothing here opens a connection: a request needs a permit of the allowlist, and leaves by the stack's one door.

mod ask; // one job from question to links
mod budget; // how much, how fast, and when to leave an origin alone
mod crawl; // the loop
pub mod extract; // what a document refers to
mod fetch; // one request through the stack
mod file; // how the night's own files are made
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod journal; // the frontier on disk
mod night; // one night, from its beginning to its report
mod options; // what an operator may set
mod plan; // the frontier: what is next, and what became of the rest
pub mod progress; // what a night shows while it works
mod pulse; // the night's own time
pub mod report; // what a night did
pub mod robots; // what a site's owner asks of crawlers
mod schedule; // the nights of `serve`
mod scope; // what belongs to a night
mod verdict; // what an answer means
pub mod window; // when it is night

pub use fetch::Stack;
pub use night::{Night, NightError};
pub use options::{NightLimits, NightOptions, SiteLimits};
pub use schedule::schedule;

#[cfg(test)]
mod tests;
