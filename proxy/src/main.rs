//! Arguments to a command, and its exit status.
fn main() {}
