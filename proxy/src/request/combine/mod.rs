//! Bodies in parts: what is stored of them is given from the store, what is missing is asked for and joined to it.
//!
//! ```text
//! find      → what is stored in part of a URL, and whether it may be reused, must be validated, or is no help
//! ask       → the first part of something that is not stored: whole blocks in place of the client's range
//! arriving  → the answer to that, or a long 200: from now on stored block by block
//! confirm   → what a 304 says of what is stored in part, and a 206 that is the whole
//! cut       → a part that may not be stored, for the client alone
//! give      → the answer to one client: held back until its first byte is sure to come
//!
//! assembly  → one incomplete response in use, shared by all its readers: its blocks and its runs
//! run       → consecutive blocks that are arriving in one response; readable at once, owned by nobody
//! fetch     → the request for a run (Range, If-Range), and its bytes into the store
//! reader    → one client's range: from the store, along a run, or by a new run, byte after byte
//! ```
//!
//! Blocks are joined only under a strong validator (RFC 9111 §3.4); `cache-policy/src/combine.rs` decides. If it changed, the
//! old parts go: who is in the middle of them is cut off, and who has no head yet looks again as if nothing were stored.

mod arriving;
mod ask;
mod assembly;
mod confirm;
mod cut;
mod fetch;
mod find;
mod give;
mod reader;
mod run;

pub use arriving::Arriving;
pub use ask::{Wanted, first_part};
pub use assembly::{Assemblies, Assembly};
pub use confirm::{as_whole, confirmed};
pub use cut::cut;
pub use find::find;
pub use give::{By, Landing, Next, give, give_landed, use_incomplete};
pub use reader::{NotReady, Reader};
