//! The limits of one allowlist file. What goes beyond one is refused by name, never cut in silence.

/// The longest file, in bytes: a hundred thousand hosts with their rules take about a tenth of it, and
/// reading one file of this length must not fill a small box's memory.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// The most sites of one file: far more than a country's list, few enough to check against each other.
pub const SITES_MAX: usize = 50_000;

/// The most host entries of one file: twice what the matcher is measured with.
pub const HOSTS_MAX: usize = 200_000;

/// The most rules of one site. They are tried one after the other for each request.
pub const RULES_MAX: usize = 256;

/// The most rules of one file: five times what the matcher is measured with.
pub const FILE_RULES_MAX: usize = 100_000;

/// The most patterns of one list (`ignore-query`, `include`, `exclude`) and the most methods, languages,
/// subjects and addresses.
pub const LIST_MAX: usize = 256;

/// The most start pages of one site.
pub const START_PAGES_MAX: usize = 10_000;

/// The longest text of a title, a subject and the like, in characters.
pub const TEXT_CHARS_MAX: usize = 200;

/// The longest site name, in characters: it becomes a metric's label and a folder's name.
pub const NAME_CHARS_MAX: usize = 64;

/// The longest freshness that a rule can set, in seconds: two years, beyond any school's use.
pub const FRESH_MAX_S: u64 = 2 * 366 * 24 * 3600;

/// How many links from a start page the night follows, unless the file says.
pub const DEPTH_DEFAULT: u32 = 20;

/// The most links from a start page that a file can ask for.
pub const DEPTH_MAX: u32 = 1_000;

/// The most pages of one night and site that a file can ask for.
pub const PAGES_MAX: u64 = 10_000_000;

/// The most bytes of one night and site that a file can ask for: 16 TiB, more than any box's disk.
pub const BYTES_MAX: u64 = 16 << 40;

/// The most requests in a second to one site that a file can ask for. We are guests at the portals.
pub const REQUESTS_PER_SECOND_MAX: f64 = 1_000.0;

/// The most requests at one time to one site that a file can ask for.
pub const IN_FLIGHT_MAX: u32 = 64;

/// The most findings that are told of one file; who has more begins with these.
pub const DIAGNOSTICS_MAX: usize = 200;

pub use crate::glob::PATTERN_BYTES_MAX;
