//! What belongs to a night: which of the addresses that turn up it may ask for, and under whose name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bulaq_allowlist::{Allowlist, Permit, Prefetch, Rule, Scheme, Site, TlsMode};
use http::{Method, Uri};
use url::Url;

use super::budget::SiteId;
use super::journal::Role;
use super::plan::TOO_DEEP;
use super::report::PART_NOT_LISTED;

/// Redirects in a row that are followed (promise 15; RFC 9309 §2.3.1.2 asks for at least five).
pub(super) const REDIRECTS_MAX: u8 = 5;

/// How far what a page needs may be from it: a style that imports a style, a frame in a frame, an index of sitemaps.
pub(super) const HOPS_MAX: u8 = 8;

/// The allowlist as this night sees it, from beginning to end.
#[derive(Debug)]
pub(super) struct Scope {
    allowlist: Allowlist,
    ids: HashMap<Box<str>, SiteId>,
}

/// An address that turned up, before anybody decided about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) url: &'a Url,
    pub(super) role: Role,
    pub(super) depth: u32,
    pub(super) hops: u8,
    pub(super) redirects: u8,
    pub(super) is_nofollow: bool,
    /// Whether the site's entry names it as a page to begin at.
    pub(super) is_start: bool,
    /// The site on whose page it stands.
    pub(super) from: SiteId,
}

/// An address that belongs to the night.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Whose it is.
    pub(super) site: SiteId,
    /// The address without what its site's rule ignores, if that makes a difference: one is asked for, not both.
    pub(super) shorter: Option<Url>,
}

/// A request that the allowlist permits. There is no other way to make one, so the night can reach nothing that a
/// pupil could not.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    permit: Permit,
    uri: Uri,
}

impl Planned {
    /// What the proof was made from.
    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The absolute target.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl Scope {
    pub(super) fn new(allowlist: Allowlist) -> Self {
        let id = |at: usize| SiteId::try_from(at).expect("sites are counted in 32 bits");
        let ids = allowlist.sites().iter().enumerate().map(|(at, site)| (site.name().into(), id(at))).collect();
        Self { allowlist, ids }
    }

    /// All sites, those of other nights too: what a page needs may be theirs.
    pub(super) fn sites(&self) -> &[Arc<Site>] {
        self.allowlist.sites()
    }

    /// The number of a site of this name.
    pub(super) fn id(&self, name: &str) -> Option<SiteId> {
        self.ids.get(name).copied()
    }

    /// The proof that a request may be made, or the word for why not.
    pub(super) fn plan(&self, url: &Url) -> Result<Planned, &'static str> {
        let uri: Uri = url.as_str().parse().map_err(|_| "bad-address")?;
        match self.allowlist.permit_uri(&Method::GET, &uri) {
            None => Err("not-http"),
            Some(Err(not_listed)) => Err(not_listed.reason()),
            Some(Ok(permit)) => Ok(Planned { permit, uri }),
        }
    }

    /// Whether the night asks for an address, and as whose; or the word for why not.
    pub(super) fn judge(&self, step: Step<'_>) -> Result<Accepted, &'static str> {
        if step.is_nofollow {
            return Err("nofollow");
        }
        if step.hops > HOPS_MAX {
            return Err("too-far");
        }
        if step.redirects > REDIRECTS_MAX {
            return Err("too-many-redirects");
        }
        let planned = self.plan(step.url).map_err(|why| {
            if why == "host-not-listed" && step.role == Role::Requisite { PART_NOT_LISTED } else { why }
        })?;
        let permit = planned.permit();
        let site = permit.site();
        let id = self.id(site.name()).ok_or("other-site")?;
        if step.role != Role::Requisite && id != step.from {
            return Err("other-site"); // its own start pages lead to it
        }
        if site.tls() == TlsMode::Splice && permit.scheme() == Scheme::Https {
            return Err("spliced"); // no pupil would be given what is stored
        }
        if permit.rule().never_store && !step.is_start {
            return Err("never-stored");
        }
        match site.prefetch() {
            Some(prefetch) => within(prefetch, step)?,
            None if step.role == Role::Requisite => {}
            None => return Err("other-site"),
        }
        Ok(Accepted { site: id, shorter: without_ignored(step.url, permit.rule()) })
    }
}

/// The address without the parameters that don't select content, if it has any.
fn without_ignored(url: &Url, rule: &Rule) -> Option<Url> {
    let query = url.query()?;
    let Cow::Owned(kept) = rule.drop_ignored(query) else { return None };
    let mut shorter = url.clone();
    shorter.set_query(Some(&kept).filter(|kept| !kept.is_empty()).map(String::as_str));
    Some(shorter)
}

/// Whether the site's own entry wants it.
fn within(prefetch: &Prefetch, step: Step<'_>) -> Result<(), &'static str> {
    let path = step.url.path();
    let is_wanted = match step.role {
        Role::Page => prefetch.includes(path),
        // `include` chooses pages; what these need comes with them, unless it is excluded by name.
        Role::Requisite => !prefetch.exclude().iter().any(|glob| glob.matches(path)),
        Role::Sitemap | Role::GuessedSitemap => true,
    };
    if !is_wanted {
        return Err("excluded");
    }
    if step.role == Role::Page && step.depth > prefetch.depth() {
        return Err(TOO_DEEP);
    }
    Ok(())
}
