//! Bulaq: a zero-rated lesson cache for school networks.
//!
//! The modules, in the order in which a request and then a night meet them; `docs/architecture.md` tells both stories.

pub mod portal; // the pupil's pages
