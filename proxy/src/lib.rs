//! Bulaq: a zero-rated lesson cache for school networks.
//!
//! The modules, in the order in which a request and then a night meet them; `docs/architecture.md` tells both stories.

pub mod cli; // one file a command

pub mod ingress; // how a connection reaches the box, and what is refused at the door

pub mod ca; // root, box intermediate, leaf; name constraints from the allowlist

pub mod request; // the life of a request: stack, observe, refuse, permit, respond, collapse, forward, fill, deliver

pub mod store; // what is kept: responses in memory, in files, found by an index

pub mod origin; // the one door out: permit to address, socket, TLS and HTTP; limits and back-off

pub mod prefetch; // the story of one night: window, plan, robots, crawl, extract, budget, report

pub mod ledger; // what an exchange ends in: receipts, added up by site and hour

pub mod portal; // the pupil's pages

pub mod serve; // the rooms of a box, opened and closed in order

pub mod workers; // the threads that serve connections, one for each processor

pub mod shutdown; // the end: drain first, at once when asked twice

pub mod operate; // what the people who run the box touch: the control socket, and `serve` from start to end

pub mod config; // as written, checked, as used; every limit with its range and reason

pub mod telemetry; // the log: what happens to the box, never who asked for what

pub mod clock; // the one place that reads the time

#[cfg(any(test, fuzzing))]
pub mod fuzzing; // what must hold for any bytes from the wire; not in the program

#[cfg(feature = "benches")]
#[doc(hidden)]
pub mod benches {
    //! What measurements of single steps need of rooms that keep it to themselves; not in the program.
    pub use crate::ingress::benches::QuickSample;
    pub use crate::store::benches::{IndexSample, RecordSample};
}
