//! The box beside what a school would install instead: nginx, Squid, Varnish, Traffic Server and `HAProxy`, in one run on
//! one machine.
//!
//! A [case](cases) asks one question. Every [contender](contenders) that is installed answers it in turns (A B C, C B A,
//! …), with one core of its own, while load and origin share the others. First comes what a request costs in processor
//! time, which a busy machine changes least; then requests a second and latencies. All is compared with the better of two
//! nginx. A machine that is too noisy gets no verdict. Whoever takes too long for a turn is ended and has no figures there,
//! and the run goes on.

pub(crate) mod cases;
mod contenders;
mod figures;
mod limit;
mod load;
mod noise;
mod origin;
mod run;
mod running;
mod site;
mod table;
mod visitor;
mod world;

pub(crate) use cases::{Scene, Sizes};
pub(crate) use contenders::{BUDGET, Budget, Contender, Home};
pub(crate) use figures::{Better, CaseFigures, Comparison, Figure, Target, Verdict, spread};
pub(crate) use origin::content_of;
pub(crate) use run::{Options, commit, measure};
pub(crate) use running::{Running, cpu_s};
pub(crate) use table::of_all as verdict;
pub(crate) use visitor::{Visitor, body_of};
pub(crate) use world::World;
