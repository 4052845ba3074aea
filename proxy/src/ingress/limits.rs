//! Every limit of the ingress: its least, usual and greatest value, and why.

use std::time::Duration;

/// A number with its range. A value outside is refused, never clamped in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// As the configuration spells it; the last part is the unit.
    pub key: &'static str,
    /// The least value that makes sense.
    pub min: u64,
    /// What holds when nothing is configured.
    pub default: u64,
    /// The greatest value that is safe.
    pub max: u64,
}

impl Limit {
    const fn new(key: &'static str, min: u64, default: u64, max: u64) -> Self {
        assert!(min <= default && default <= max, "a default lies in its range");
        Self { key, min, default, max }
    }

    fn check(self, value: u64) -> Result<(), OutOfRange> {
        if (self.min..=self.max).contains(&value) { Ok(()) } else { Err(OutOfRange { limit: self, value }) }
    }
}

/// A configured value outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} = {value}: must be from {} to {}", limit.key, limit.min, limit.max)]
pub struct OutOfRange {
    /// The limit with its range.
    pub limit: Limit,
    /// What was asked for.
    pub value: u64,
}

/// Connections at one time, over all doors. A class of 30 with 6 tabs each is 180; a flood of 1,000 idle ones must
/// leave room for it. The most is bounded by open files.
pub const CONNECTIONS_MAX: Limit = Limit::new("connections_max", 16, 4_096, 65_536);
/// Connections at one time from one address (IPv6: one /64). A school behind one address translator is one address,
/// so it is generous; it keeps a single machine from taking everything.
pub const CONNECTIONS_PER_CLIENT_MAX: Limit = Limit::new("connections_per_client_max", 4, 2_048, 65_536);
/// Seconds for a request's head, a ClientHello or a TLS handshake, from their first byte. Radio links of 600 ms delay
/// with losses need a few; who needs more holds the line on purpose.
pub const HEAD_WAIT_S: Limit = Limit::new("head_wait_s", 1, 10, 120);
/// Seconds for which a connection is kept while nothing is asked. Browsers leave after 60 to 300; reconnecting over
/// TLS costs them more than an idle socket costs us. Looked at once in each such period, so that a busy connection
/// costs no timer: it may last for up to two.
pub const IDLE_S: Limit = Limit::new("idle_s", 1, 75, 600);
/// Seconds for the whole content of a request: homework of 16 MiB over Wi-Fi takes less.
pub const REQUEST_BODY_WAIT_S: Limit = Limit::new("request_body_wait_s", 1, 120, 3_600);
/// Most bytes of a request's content: homework with photographs. Larger uploads are for sites that are spliced.
pub const REQUEST_BODY_BYTES_MAX: Limit = Limit::new("request_body_bytes_max", 0, 16 << 20, 1 << 30);
/// Seconds for which a client may take no byte of what we send. A laptop that was closed in mid-video is gone.
pub const WRITE_WAIT_S: Limit = Limit::new("write_wait_s", 1, 60, 600);
/// Seconds for which a tunnel (CONNECT, splice) may be silent both ways. Live lessons and chats are quiet for minutes.
pub const TUNNEL_IDLE_S: Limit = Limit::new("tunnel_idle_s", 10, 600, 7_200);
/// Seconds that downloads get to finish once the box has been asked to stop; service managers wait 90.
pub const DRAIN_S: Limit = Limit::new("drain_s", 0, 30, 600);
/// Requests at one time on one HTTP/2 connection (RFC 9113 §5.1.2 advises no less than 100).
pub const H2_STREAMS_MAX: Limit = Limit::new("h2_streams_max", 1, 100, 250);

/// Most bytes of a request's head. Fixed: what the rest of the box reserves and tests is built on it.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most field lines of a request. Fixed at hyper's own number: another would cost an allocation a request.
pub const FIELDS_MAX: usize = 100;
/// Most bytes of a request target; RFC 9110 §4.1 asks for at least 8,000.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// The limits as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: u64,
    /// See [`CONNECTIONS_PER_CLIENT_MAX`].
    pub connections_per_client_max: u64,
    /// See [`HEAD_WAIT_S`].
    pub head_wait_s: u64,
    /// See [`IDLE_S`].
    pub idle_s: u64,
    /// See [`REQUEST_BODY_WAIT_S`].
    pub request_body_wait_s: u64,
    /// See [`REQUEST_BODY_BYTES_MAX`].
    pub request_body_bytes_max: u64,
    /// See [`WRITE_WAIT_S`].
    pub write_wait_s: u64,
    /// See [`TUNNEL_IDLE_S`].
    pub tunnel_idle_s: u64,
    /// See [`DRAIN_S`].
    pub drain_s: u64,
    /// See [`H2_STREAMS_MAX`].
    pub h2_streams_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX.default,
            connections_per_client_max: CONNECTIONS_PER_CLIENT_MAX.default,
            head_wait_s: HEAD_WAIT_S.default,
            idle_s: IDLE_S.default,
            request_body_wait_s: REQUEST_BODY_WAIT_S.default,
            request_body_bytes_max: REQUEST_BODY_BYTES_MAX.default,
            write_wait_s: WRITE_WAIT_S.default,
            tunnel_idle_s: TUNNEL_IDLE_S.default,
            drain_s: DRAIN_S.default,
            h2_streams_max: H2_STREAMS_MAX.default,
        }
    }
}

impl Limits {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), OutOfRange> {
        CONNECTIONS_MAX.check(self.connections_max)?;
        CONNECTIONS_PER_CLIENT_MAX.check(self.connections_per_client_max)?;
        HEAD_WAIT_S.check(self.head_wait_s)?;
        IDLE_S.check(self.idle_s)?;
        REQUEST_BODY_WAIT_S.check(self.request_body_wait_s)?;
        REQUEST_BODY_BYTES_MAX.check(self.request_body_bytes_max)?;
        WRITE_WAIT_S.check(self.write_wait_s)?;
        TUNNEL_IDLE_S.check(self.tunnel_idle_s)?;
        DRAIN_S.check(self.drain_s)?;
        H2_STREAMS_MAX.check(self.h2_streams_max)
    }

    pub(crate) fn head_wait(&self) -> Duration {
        Duration::from_secs(self.head_wait_s)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s)
    }

    pub(crate) fn request_body_wait(&self) -> Duration {
        Duration::from_secs(self.request_body_wait_s)
    }

    pub(crate) fn write_wait(&self) -> Duration {
        Duration::from_secs(self.write_wait_s)
    }

    pub(crate) fn tunnel_idle(&self) -> Duration {
        Duration::from_secs(self.tunnel_idle_s)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_outside_its_range_is_named_with_the_range() {
        assert_eq!(Limits::default().check(), Ok(()));
        let short = Limits { head_wait_s: 0, ..Limits::default() };
        assert_eq!(short.check().unwrap_err().to_string(), "head_wait_s = 0: must be from 1 to 120");
        let many = Limits { h2_streams_max: 251, ..Limits::default() };
        assert_eq!(many.check().unwrap_err().limit, H2_STREAMS_MAX);
    }
}
