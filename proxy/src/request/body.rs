//! The two bodies of an exchange, as every room sees them.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// A request's content on its way to the origin. Empty for nearly all; bounded by the ingress' limits.
pub type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

/// A response's content on its way to the client.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ended before its end. The connection must then be cut, so that nobody takes a part for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The origin failed while it sent its content.
    #[error("the origin's response was cut short")]
    Origin(#[source] super::ForwardError),
    /// The client failed while it sent its content.
    #[error("the client's request was cut short")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stored body could not be read, or was not what its record says.
    #[error("the stored body could not be read")]
    Store(#[source] std::io::Error),
    /// A content coding could not be undone for a client that does not accept it.
    #[error("the content could not be decoded")]
    Coding(#[source] std::io::Error),
    /// More content than the limit allows.
    #[error("the content is longer than {limit_bytes} bytes")]
    TooLong {
        /// The limit that it passed.
        limit_bytes: u64,
    },
    /// This reader fell too far behind, or waited too long.
    #[error("the reader was too slow")]
    TooSlow,
}
