//! One file a command.

pub mod allowlist;
