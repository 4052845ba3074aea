//! What an exchange ends in, added up by site and hour: never by client.

pub mod receipt;

pub use receipt::Receipt;
