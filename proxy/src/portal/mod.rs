//! The pupil's pages: what the box itself says, in Kazakh, Russian and English.
//!
//! Every page is a pure function of plain data: no clock, no store, no socket. A page needs nothing from
//! elsewhere (one inline style sheet, named by its digest in the `Content-Security-Policy`), sets no cookie and is never
//! stored. The start page and `/check` run a small script of the box's own and load a mark from `check.bulaq.internal`,
//! which shows whether the device trusts the district's CA; both can be read without. Everything that comes from a site (its titles) or a request (its host) is escaped by
//! the templates.

pub mod check;
mod check_words;
pub mod language;
pub mod names;
pub mod pages;
pub mod probe;
pub mod proxy_pac;
pub mod scripts;
mod sheet;
pub mod shelves;
pub mod start;
mod title;
mod words;

pub use language::Language;
