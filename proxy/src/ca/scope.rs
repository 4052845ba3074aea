//! The names that a CA may vouch for: the allowlist's `terminate` hosts, and never more.

use std::collections::BTreeSet;

use bulaq_allowlist::{Allowlist, HostName, TlsMode};

use crate::portal::names::box_name;

/// A set of DNS names as name constraints say it (RFC 5280 §4.2.1.10): each stands for itself and all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<HostName>);

impl Scope {
    /// What a box with this list needs: the names of its sites, and the box's own.
    pub fn of(allowlist: &Allowlist) -> Self {
        Self::of_sites(allowlist).and_own_names()
    }

    /// The hosts of every site with `tls = "terminate"`, without those that another covers.
    pub fn of_sites(allowlist: &Allowlist) -> Self {
        let sites = allowlist.sites().iter().filter(|site| site.tls() == TlsMode::Terminate);
        let hosts = sites.flat_map(|site| site.hosts()).filter(|entry| !entry.is_plain_http());
        Self::new(hosts.map(|entry| entry.host().clone()))
    }

    /// These names and the box's own, `bulaq.internal` with all below it.
    #[must_use]
    pub fn and_own_names(self) -> Self {
        Self::new(self.0.into_iter().chain([box_name().clone()]))
    }

    /// These names, without those that another covers.
    pub fn new(names: impl Iterator<Item = HostName>) -> Self {
        let all: BTreeSet<HostName> = names.collect();
        let is_widest = |name: &&HostName| !all.iter().any(|other| name.is_below(other));
        Self(all.iter().filter(is_widest).cloned().collect())
    }

    /// Whether there is nothing to vouch for. Constraints without a name would permit every name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &HostName> {
        self.0.iter()
    }

    /// Whether `name` is one of the names, or below one.
    pub fn covers(&self, name: &HostName) -> bool {
        self.0.iter().any(|widest| name.is_at_or_below(widest))
    }

    /// The part of it that `wider` covers, and the names that it does not.
    pub(super) fn split_by(&self, wider: &Scope) -> (Scope, Vec<HostName>) {
        let (covered, uncovered): (Vec<_>, Vec<_>) = self.0.iter().cloned().partition(|name| wider.covers(name));
        (Self(covered.into_iter().collect()), uncovered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[&str]) -> Scope {
        Scope::new(names.iter().map(|name| HostName::parse(name).unwrap()))
    }

    #[test]
    fn a_name_stands_for_all_below_it() {
        let names = scope(&["media.a.kz", "a.kz", "b.kz"]);
        assert_eq!(names, scope(&["a.kz", "b.kz"]));
        for (name, is_covered) in
            [("a.kz", true), ("x.media.a.kz", true), ("b.kz", true), ("c.kz", false), ("xa.kz", false), ("kz", false)]
        {
            assert_eq!(names.covers(&HostName::parse(name).unwrap()), is_covered, "{name}");
        }
    }

    #[test]
    fn the_box_can_always_be_vouched_for_to_its_devices() {
        let list = Allowlist::parse("allowlist.toml", "").unwrap().allowlist;
        assert!(Scope::of_sites(&list).is_empty());
        assert_eq!(Scope::of(&list), scope(&["bulaq.internal"]));
        assert!(Scope::of(&list).covers(&HostName::parse("check.bulaq.internal").unwrap()));
    }

    #[test]
    fn what_a_wider_scope_lacks_is_named() {
        let (covered, uncovered) = scope(&["x.a.kz", "c.kz"]).split_by(&scope(&["a.kz", "b.kz"]));
        assert_eq!(covered, scope(&["x.a.kz"]));
        assert_eq!(uncovered, [HostName::parse("c.kz").unwrap()]);
    }
}
