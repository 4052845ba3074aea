//! One exchange, as the ledger keeps it until it is added up.

use std::sync::Arc;

use crate::request::{Source, Way};

/// What one exchange cost and saved. No client address, no path, no query: there is nothing to leak.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The site's name in the allowlist; none when refused.
    pub site: Option<Arc<str>>,
    /// Whether the site is zero-rated for the school.
    pub is_zero_rated: bool,
    /// By which door.
    pub way: Way,
    /// Where the content came from.
    pub source: Source,
    /// The status that the client saw.
    pub status: u16,
    /// The stable word for why (as in [`crate::request::Handled::reason`]).
    pub reason: &'static str,
    /// Bytes of content sent on the LAN.
    pub lan_bytes: u64,
    /// Bytes of head and content received from the origin for it.
    pub wan_bytes: u64,
}
