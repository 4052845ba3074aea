//! Every "no" of the request path, with its status and its word.

use std::time::Duration;

use bulaq_allowlist::NotListed;
use http::StatusCode;

use super::ForwardError;

/// Why a request is not answered with a site's content.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The allowlist does not permit it.
    #[error(transparent)]
    NotListed(#[from] NotListed),
    /// A proxy request for a bare address; the allowlist knows only names.
    #[error("addresses without a name are not served")]
    AddressLiteral,
    /// The request contradicts itself or lacks what it needs.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The TLS connection was opened for another host (RFC 9110 §15.5.20).
    #[error("this connection is for another host")]
    Misdirected,
    /// The target is longer than we read.
    #[error("the address is longer than {limit_bytes} bytes")]
    UriTooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// `only-if-cached`, and nothing stored may be used (RFC 9111 §5.2.1.7).
    #[error("nothing is stored for it, and the request forbids to ask the origin")]
    OnlyIfCached,
    /// The origin gave no usable response, and nothing stored may stand in.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The same, and something is stored that may not stand in.
    #[error("{error}, and what is stored may not stand in")]
    ForwardPastStored {
        /// What happened.
        #[source]
        error: ForwardError,
        /// Why what is stored may not be used.
        unusable: Unusable,
    },
    /// `PURGE` from an address that may not, or from a web page.
    #[error("this client may not purge")]
    PurgeNotPermitted,
    /// More requests at once than the box is set to take.
    #[error("the box is busy")]
    Overloaded,
}

/// Why a stored response may not stand in for an origin that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The origin forbids it unvalidated: `must-revalidate`, `no-cache` and their like (RFC 9111 §4.2.4).
    MustBeValidated,
    /// It is older than the rules allow.
    TooOld,
}

impl Refusal {
    /// The status. No wildcard arm: a new failure does not build until someone picks its status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotListed(_) | Self::AddressLiteral | Self::PurgeNotPermitted => StatusCode::FORBIDDEN,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forward(error) | Self::ForwardPastStored { error, .. } => match error {
                ForwardError::Dns { .. }
                | ForwardError::DestinationIpProhibited { .. }
                | ForwardError::ConnectionRefused { .. }
                | ForwardError::ConnectionTerminated { .. }
                | ForwardError::Tls { .. }
                | ForwardError::ResponseIncomplete { .. }
                | ForwardError::Protocol { .. } => StatusCode::BAD_GATEWAY,
                ForwardError::DnsTimeout { .. }
                | ForwardError::ConnectionTimeout { .. }
                | ForwardError::ResponseTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
                ForwardError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// The stable word, the same in the log, the metric, `Cache-Status` and the page.
    pub fn token(&self) -> &'static str {
        match self {
            Self::NotListed(why) => why.reason(),
            Self::AddressLiteral => "address-literal",
            Self::BadRequest(_) => "bad-request",
            Self::Misdirected => "misdirected",
            Self::UriTooLong { .. } => "uri-too-long",
            Self::OnlyIfCached => "only-if-cached",
            Self::PurgeNotPermitted => "purge-not-permitted",
            Self::Overloaded => "overloaded",
            Self::Forward(error) | Self::ForwardPastStored { error, .. } => error.token(),
        }
    }

    /// When the client may try again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Forward(ForwardError::Busy { retry_after, .. })
            | Self::ForwardPastStored { error: ForwardError::Busy { retry_after, .. }, .. } => *retry_after,
            Self::Overloaded => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
