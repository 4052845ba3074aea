//! What an operator may set for the nights, with the defaults and their reasons.

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;

/// Settings of the nights that hold for every site. What one site's own entry says wins over [`SiteLimits`].
#[derive(Debug, Clone)]
pub struct NightOptions {
    /// Whom a site's owner can ask about our requests: an address or a page. Part of the User-Agent.
    pub contact: Option<String>,
    /// What holds for all sites together.
    pub night: NightLimits,
    /// What holds for each site whose own entry says nothing else.
    pub site: SiteLimits,
    /// Until which local time content should stay fresh. What would expire before is validated in the night, so that
    /// the morning doesn't have to. None: only what is stale already is validated.
    pub fresh_until: Option<Time>,
    /// The zone of `fresh_until`, and of the times in the log.
    pub zone: TimeZone,
    /// How many reports are kept; the oldest goes first.
    pub reports_kept: usize,
    /// How long after its beginning an interrupted night is resumed. A later one starts anew: what the first had
    /// fetched must be validated again anyway.
    pub resume_within: Duration,
}

impl Default for NightOptions {
    fn default() -> Self {
        Self {
            contact: None,
            night: NightLimits::default(),
            site: SiteLimits::default(),
            fresh_until: Some(Time::constant(18, 0, 0, 0)), // the second shift's end
            zone: TimeZone::system(),
            reports_kept: 30,
            resume_within: Duration::from_secs(18 * 60 * 60), // past one window, short of the next
        }
    }
}

/// Limits of one night over all its sites.
#[derive(Debug, Clone, PartialEq)]
pub struct NightLimits {
    /// Requests of one night.
    pub pages_max: u64,
    /// Bytes of bodies from origins in one night.
    pub bytes_max: u64,
    /// Requests under way at once.
    pub in_flight_max: u32,
    /// Bytes of bodies from origins in a second, so that a thin link stays usable. None: as fast as they come.
    pub bytes_per_second: Option<u64>,
}

impl Default for NightLimits {
    fn default() -> Self {
        Self {
            pages_max: 500_000,  // about a night at 16 requests a second
            bytes_max: 64 << 30, // 64 GiB: half of a small box's disk
            in_flight_max: 16,
            bytes_per_second: None,
        }
    }
}

/// Limits of one site in one night.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteLimits {
    /// Requests of one night.
    pub pages_max: u64,
    /// Bytes of bodies from the origin in one night.
    pub bytes_max: u64,
    /// Requests under way at once.
    pub in_flight_max: u32,
    /// Requests in a second. None: without a pause, for an origin of one's own.
    pub requests_per_second: Option<f64>,
    /// Bytes of bodies from the origin in a second. None: as fast as they come.
    pub bytes_per_second: Option<u64>,
}

impl Default for SiteLimits {
    fn default() -> Self {
        Self {
            pages_max: 100_000,
            bytes_max: 16 << 30,            // 16 GiB: a few hundred lesson videos
            in_flight_max: 4,               // fewer than one browser opens
            requests_per_second: Some(8.0), // a reader's own click fetches more
            bytes_per_second: None,
        }
    }
}

impl SiteLimits {
    /// These limits with what the site's own entry says.
    pub(crate) fn for_site(&self, prefetch: &bulaq_allowlist::Prefetch) -> Self {
        Self {
            pages_max: prefetch.pages_max().unwrap_or(self.pages_max),
            bytes_max: prefetch.bytes_max().unwrap_or(self.bytes_max),
            in_flight_max: prefetch.in_flight_max().unwrap_or(self.in_flight_max),
            requests_per_second: prefetch.requests_per_second().or(self.requests_per_second),
            bytes_per_second: self.bytes_per_second,
        }
    }
}
