//! Which hosts and paths a school permits, and what may be done with them.
//!
//! A teacher edits one file, `allowlist.toml`. [`Allowlist::parse`] reads it into *sites* with *rules*
//! ([`Site`], [`Rule`]) or refuses it with [`Diagnostic`]s that underline what is wrong. At work the list is
//! asked one question, [`Allowlist::permit`], and its yes is a [`Permit`]: the proof that every outgoing
//! connection must show. Only this crate can make one, and only from a match.
//!
//! This crate never opens a socket, never reads a clock, and reads no file but the text it is given.
#![forbid(unsafe_code)]

mod allowlist;
pub mod catalogue;
mod diagnostic;
mod evidence;
mod explain;
pub mod export;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod glob;
mod host_name;
mod known;
mod label;
mod path;
mod permit;
mod rule;
mod site;

pub use allowlist::Allowlist;
pub use diagnostic::{Diagnostic, Severity};
pub use evidence::{CaNames, Evidence, MissingPart};
pub use explain::{Explanation, NearMiss, Verdict};
pub use file::limits;
pub use file::{Loaded, Rejected, nearest};
pub use glob::{Glob, GlobError};
pub use host_name::{HostName, HostNameError};
pub use known::Shared;
pub use label::{Label, Labelled};
pub use permit::{NotListed, Permit};
pub use rule::Rule;
pub use site::{
    Class, HostEntry, HostPattern, Position, Prefetch, Scheme, Site, Source, StartPage, Title, TlsMode, Traffic,
};
