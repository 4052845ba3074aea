//! What measurements share with the benches in `benches/`: judging counted instructions. Never needed by the product.

pub mod counts;
