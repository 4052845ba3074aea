//! What belongs to the forward door alone: whose clients it serves.

mod clients;

pub use self::clients::Clients;
