//! The pupil's pages: what the box itself says, in Kazakh, Russian and English.
//!
//! Every page is a pure function of plain data: no clock, no store, no socket. A page needs nothing from
//! elsewhere (one inline style sheet, named by its digest in the `Content-Security-Policy`), runs no script, sets no
//! cookie and is never stored. Everything that comes from a site (its titles) or a request (its host) is escaped by
//! the templates.

pub mod language;
pub mod names;
pub mod pages;
mod sheet;
pub mod shelves;
pub mod start;
mod title;
mod words;

pub use language::Language;
