//! The configuration: as written, checked, and then as used.

pub mod quantity;
