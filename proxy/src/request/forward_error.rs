//! What can go wrong on the way to an origin, in RFC 9209's words.

use std::time::Duration;

/// Why the origin gave no usable response. The variant names follow the proxy error types of RFC 9209 §2.3.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ForwardError {
    /// The name has no address, or the resolver says that it does not exist.
    #[error("no address found for {host}")]
    Dns {
        /// The name that was asked for.
        host: String,
    },
    /// The resolver did not answer in time.
    #[error("the name server did not answer for {host} within {after:?}")]
    DnsTimeout {
        /// The name that was asked for.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// Every address of the name is private, loopback or otherwise not allowed for this site.
    #[error("{host} resolves to an address that its site does not allow")]
    DestinationIpProhibited {
        /// The name that was asked for.
        host: String,
    },
    /// The origin refused the connection, or no route leads to it.
    #[error("{host} refused the connection")]
    ConnectionRefused {
        /// The name that was asked for.
        host: String,
    },
    /// No connection within the time allowed.
    #[error("no connection to {host} within {after:?}")]
    ConnectionTimeout {
        /// The name that was asked for.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// The connection ended before a whole response head.
    #[error("{host} closed the connection before it answered")]
    ConnectionTerminated {
        /// The name that was asked for.
        host: String,
    },
    /// TLS failed: a certificate that is wrong, expired or not trusted, or no common protocol.
    #[error("{host} could not prove who it is: {detail}")]
    Tls {
        /// The name that was asked for.
        host: String,
        /// The TLS library's own words.
        detail: String,
    },
    /// No response head within the time allowed.
    #[error("{host} did not answer within {after:?}")]
    ResponseTimeout {
        /// The name that was asked for.
        host: String,
        /// How long we waited.
        after: Duration,
    },
    /// The content stopped before its end, or stood still for too long.
    #[error("the response of {host} was incomplete")]
    ResponseIncomplete {
        /// The name that was asked for.
        host: String,
    },
    /// Something that is not HTTP, or whose framing is ambiguous.
    #[error("{host} does not speak proper HTTP: {detail}")]
    Protocol {
        /// The name that was asked for.
        host: String,
        /// What was wrong, without content.
        detail: String,
    },
    /// Our own limit for this origin (in flight, waiting, or back-off after failures) is reached.
    #[error("{host} gets no more requests at the moment: {detail}")]
    Busy {
        /// The name that was asked for.
        host: String,
        /// Which limit.
        detail: &'static str,
        /// When to try again, if known.
        retry_after: Option<Duration>,
    },
}

impl ForwardError {
    /// The stable word: RFC 9209's name of the error where it has one.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Dns { .. } => "dns_error",
            Self::DnsTimeout { .. } => "dns_timeout",
            Self::DestinationIpProhibited { .. } => "destination_ip_prohibited",
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::ConnectionTimeout { .. } => "connection_timeout",
            Self::ConnectionTerminated { .. } => "connection_terminated",
            Self::Tls { .. } => "tls_certificate_error",
            Self::ResponseTimeout { .. } => "http_response_timeout",
            Self::ResponseIncomplete { .. } => "http_response_incomplete",
            Self::Protocol { .. } => "http_protocol_error",
            Self::Busy { .. } => "connection_limit_reached",
        }
    }
}
