//! What a box knows beside its list, and what that says about the list.

use crate::host_name::HostName;
use crate::site::HostPattern;

/// What a box knows beside its list: given to [`Allowlist::parse_with`](crate::Allowlist::parse_with), so that a check can
/// say more than the list alone shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The names that the box's CA can vouch for; None when nothing is known of a CA.
    pub ca: Option<CaNames>,
    /// The hosts for which the box has certificates that somebody gave it: they need no CA.
    pub certified: Vec<HostPattern>,
    /// What nights saw on stored pages and found on no list.
    pub missing: Vec<MissingPart>,
}

/// The names that a CA can vouch for; each with all names below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaNames {
    /// The root's; None while there is no root.
    pub root: Option<Vec<HostName>>,
    /// The names of the intermediate that the box works with; None while it has none.
    pub intermediate: Option<Vec<HostName>>,
}

/// A host from which a site's stored pages load parts, and which the list does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPart {
    /// The site's name.
    pub site: Box<str>,
    /// The host.
    pub host: HostName,
}
