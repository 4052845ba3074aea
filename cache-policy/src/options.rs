//! The two profiles and the few numbers that an operator may set.

use std::time::Duration;

/// Which reading of the caching rules applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// The default: RFC 9111 and the stricter rules of [`crate::school`], made for one cache shared by a class.
    #[default]
    School,
    /// RFC 9111 to the letter.
    Rfc9111,
}

/// Settings that hold for every site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which reading of the caching rules applies.
    pub profile: Profile,
    /// Whether `CDN-Cache-Control` replaces `Cache-Control` and `Expires` (RFC 9213). Right for a cache that stands in
    /// for the site's own server; a setting, because a forward proxy is not strictly meant by that field.
    pub targeted_fields: bool,
    /// The longest freshness that such a field gives beyond what `Cache-Control` or `Expires` say. A site that lets
    /// its CDN keep a page for a year means to purge it there, and cannot purge it here. RFC 9213 leaves it to a cache
    /// to count less.
    pub targeted_max: Duration,
    /// Share of the time since `Last-Modified` that counts as fresh when the origin says nothing, in per cent
    /// (RFC 9111 §4.2.2 names 10 %).
    pub heuristic_percent: u32,
    /// The longest heuristic freshness, so that a page of 1985 is not fresh for four years.
    pub heuristic_max: Duration,
    /// How long a stale response may stand in when the origin cannot be reached and neither the origin nor a rule
    /// says how long (RFC 9111 §4.2.4 leaves it to the cache).
    pub stale_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::School,
            targeted_fields: true,
            targeted_max: Duration::from_secs(24 * 60 * 60),
            heuristic_percent: 10,
            heuristic_max: Duration::from_secs(24 * 60 * 60),
            stale_max: Duration::from_secs(365 * 24 * 60 * 60),
        }
    }
}

impl Options {
    /// The defaults with the RFC's letter instead of the school's stricter rules.
    pub fn rfc9111() -> Self {
        Self { profile: Profile::Rfc9111, ..Self::default() }
    }

    pub(crate) fn is_school(&self) -> bool {
        self.profile == Profile::School
    }
}
