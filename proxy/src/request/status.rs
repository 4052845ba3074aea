//! `Cache-Status` (RFC 9211) and [`Handled`]: the same account of an exchange, for people and for the box.

use std::borrow::Cow;

use bulaq_allowlist::Permit;
use bulaq_cache_policy::{CacheStatus, ForwardReason};
use http::{HeaderMap, Response};

use super::{Handled, Refusal, ResponseBody, Source};

/// Our name in `Cache-Status` and `Via`: the product, never a host.
pub const CACHE_NAME: &str = "bulaq";

/// How an exchange went, as far as it is known when the head leaves.
#[derive(Clone, Debug)]
pub struct Account {
    /// Where the content comes from.
    pub source: Source,
    /// Why the origin was asked; none for a hit.
    pub fwd: Option<ForwardReason>,
    /// What the origin answered, when it is not what the client gets.
    pub fwd_status: Option<http::StatusCode>,
    /// Whether it is in the store now, or will be when its content is complete.
    pub is_stored: bool,
    /// Whether it waited for another's answer.
    pub is_collapsed: bool,
    /// A further word: why it is not stored, what failed, which rule decided.
    pub detail: Option<&'static str>,
    /// How long it stays fresh, in seconds; negative when stale.
    pub ttl_s: Option<i64>,
}

impl Account {
    /// Answered from the store.
    pub fn hit(source: Source) -> Self {
        Self { source, fwd: None, fwd_status: None, is_stored: true, is_collapsed: false, detail: None, ttl_s: None }
    }

    /// The origin was asked.
    pub fn forwarded(source: Source, why: ForwardReason) -> Self {
        Self { fwd: Some(why), is_stored: false, ..Self::hit(source) }
    }

    /// The word for logs, the ledger and the night's report.
    fn reason(&self) -> &'static str {
        match (self.detail, self.fwd) {
            (Some(detail), _) => detail,
            (None, Some(fwd)) => fwd.token(),
            (None, None) => "hit",
        }
    }

    /// Signs the response: `Cache-Status` where the client may see it, and [`Handled`] for the box itself.
    pub fn sign(self, response: &mut Response<ResponseBody>, permit: &Permit, may_see_status: bool) {
        if may_see_status {
            let status = CacheStatus {
                hit: self.fwd.is_none(),
                fwd: self.fwd,
                fwd_status: self.fwd_status,
                ttl_s: self.ttl_s,
                // Of a stale answer nothing was stored now.
                stored: self.fwd.is_some() && self.is_stored && self.source != Source::Stale,
                collapsed: self.is_collapsed,
                key: None,
                detail: self.detail.map(Cow::Borrowed),
            };
            status.append(CACHE_NAME, response.headers_mut());
        }
        let (source, is_stored, reason) = (self.source, self.is_stored, self.reason());
        response.extensions_mut().insert(Handled { permit: Some(permit.clone()), source, is_stored, reason });
    }
}

/// `Cache-Status` of a refusal.
pub fn refused(headers: &mut HeaderMap, refusal: &Refusal) {
    let status = CacheStatus { detail: Some(Cow::Borrowed(refusal.token())), ..CacheStatus::default() };
    status.append(CACHE_NAME, headers);
}
