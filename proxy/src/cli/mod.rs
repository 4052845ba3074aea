//! One file a command.

pub mod allowlist;
pub mod store;
