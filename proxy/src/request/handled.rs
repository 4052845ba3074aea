//! What became of a request: for the night, the ledger and `Cache-Status`.

use bulaq_allowlist::Permit;

/// Among the extensions of every response that leaves the stack.
#[derive(Clone, Debug)]
pub struct Handled {
    /// The permit under which it was answered; none when it was refused.
    pub permit: Option<Permit>,
    /// Where the content comes from.
    pub source: Source,
    /// Whether the response is in the store now, or will be once its content is complete.
    pub is_stored: bool,
    /// The stable word for why it is as it is: RFC 9211's `fwd` values, a not-storable reason or a refusal's.
    pub reason: &'static str,
}

/// Where the content of a response comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The store, without a word to the origin.
    Hit,
    /// The store, after the origin confirmed that it is unchanged (304).
    Validated,
    /// The store, stale, because the origin could not be asked or while it is being asked.
    Stale,
    /// Another request's fill, joined while it arrives.
    Collapsed,
    /// The origin.
    Origin,
    /// The box itself: a refusal, an error page, the portal.
    Box,
}
