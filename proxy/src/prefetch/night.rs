//! One night, from its beginning to its report.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bulaq_allowlist::Allowlist;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::budget::{Budget, SiteId};
use super::crawl::Crawl;
use super::fetch::{Fetcher, Stack, Throttle};
use super::journal::{self, Event, Journal};
use super::options::{NightOptions, SiteLimits};
use super::plan::Plan;
use super::progress::Progress;
use super::pulse::Pulse;
use super::report::{End, NightReport, SiteReport};
use super::scope::Scope;
use crate::clock::Clock;

/// Why a night could not begin, or its report not be kept.
#[derive(Debug, thiserror::Error)]
pub enum NightError {
    /// No site of this name is on the allowlist.
    #[error("the allowlist has no site \"{name}\"")]
    UnknownSite {
        /// The name that was given.
        name: String,
    },
    /// None of the sites says where a night begins.
    #[error("no site of the allowlist says what to prefetch; give one a [site.prefetch] section with start pages")]
    NothingToDo,
    /// Another night is under way.
    #[error("another night is under way; wait until it is over, or stop it")]
    Busy,
    /// The folder of frontiers and reports can't be used.
    #[error("{}: the nights' folder can't be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What makes nights: the settings, the list, and the way in.
pub struct Night<S> {
    options: Arc<NightOptions>,
    allowlist: Arc<ArcSwap<Allowlist>>,
    stack: S,
    clock: Clock,
    folder: PathBuf,
    pulse: fn(&Clock) -> Pulse,
}

impl<S: Stack> Night<S> {
    /// Nights whose requests go through `stack` and whose frontier and reports are kept in `<data>/nights`.
    pub fn new(options: NightOptions, allowlist: Arc<ArcSwap<Allowlist>>, stack: S, clock: Clock, data: &Path) -> Self {
        let pulse = |_: &Clock| Pulse::begin();
        Self { options: Arc::new(options), allowlist, stack, clock, folder: data.join("nights"), pulse }
    }

    /// Waits by moving the held clock.
    #[cfg(test)]
    pub(super) fn with_held_time(self) -> Self {
        Self { pulse: |clock| Pulse::held(clock.clone()), ..self }
    }

    /// The folder of frontiers and reports.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether a report is about every site that has start pages: `bulaq prefetch --site` makes others.
    pub(super) fn is_whole(&self, report: &NightReport) -> bool {
        let list = self.allowlist.load();
        list.sites().iter().filter(|site| site.prefetch().is_some()).all(|site| report.sites.contains_key(site.name()))
    }

    /// One night: of these sites, or of all that have start pages; until `closes`, if that is given.
    ///
    /// An interrupted night of the same sites is resumed, if it began recently enough
    /// ([`NightOptions::resume_within`]). The report is kept in the folder and returned.
    ///
    /// # Errors
    /// [`NightError`]; nothing that an origin or a document does is one.
    pub async fn run(
        &self,
        sites: Option<Vec<String>>,
        closes: Option<SystemTime>,
        progress: &dyn Progress,
        stop: CancellationToken,
    ) -> Result<NightReport, NightError> {
        let scope = Arc::new(Scope::new(Allowlist::clone(&self.allowlist.load())));
        let tonight = tonight(&scope, sites)?;
        let lock = self.lock()?;
        let frontier = self.frontier(&scope, &tonight)?;
        let (started, is_resumed) = (frontier.started, frontier.is_resumed);

        let pulse = (self.pulse)(&self.clock);
        let closes = closes.map(|at| at.duration_since(self.clock.now()).unwrap_or_default() + pulse.now());
        let mut crawl = self.crawl(&scope, frontier, &pulse);
        for &site in &tonight {
            self.begin_at(&mut crawl, &scope, site);
        }
        let end = crawl.run(closes, &stop, progress).await;

        let report =
            NightReport { started, ended: timestamp(self.clock.now()), is_resumed, end, sites: BTreeMap::new() };
        progress.finish(&crawl.snapshot());
        let report = self.conclude(crawl, &scope, &tonight, report);
        drop(lock);
        report
    }

    /// Nobody else may use the folder meanwhile: `bulaq prefetch` beside `serve` would mix two frontiers.
    fn lock(&self) -> Result<File, NightError> {
        fs::create_dir_all(&self.folder).map_err(|source| self.unusable(source))?;
        let file = super::file::create_private(&self.folder.join("lock")).map_err(|source| self.unusable(source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(NightError::Busy),
            Err(errno) => Err(self.unusable(errno.into())),
        }
    }

    fn unusable(&self, source: io::Error) -> NightError {
        NightError::Folder { path: self.folder.clone(), source }
    }

    /// The frontier of an interrupted night, or an empty one.
    fn frontier(&self, scope: &Scope, tonight: &[SiteId]) -> Result<Frontier, NightError> {
        let path = journal::path_in(&self.folder);
        let now = timestamp(self.clock.now());
        let names = |ids: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            ids.filter_map(|at| scope.sites().get(at)).map(|site| site.name().to_owned()).collect()
        };
        let sites = names(&mut (0..scope.sites().len()));
        let tonight = names(&mut tonight.iter().map(|&site| site as usize));
        let mut plan = Plan::new(scope.sites().iter().map(|site| {
            let limits = &self.options.site;
            site.prefetch().map_or(limits.pages_max, |prefetch| limits.for_site(prefetch).pages_max)
        }));
        if let Some((journal, events)) = Journal::resume(path.clone()).map_err(|source| self.unusable(source))?
            && let Some(started) = self.resumable(&events, &sites, &tonight, now)
        {
            plan.replay(events);
            return Ok(Frontier { plan, journal, started, is_resumed: true });
        }
        let journal = Journal::begin(path, now, sites, tonight).map_err(|source| self.unusable(source))?;
        Ok(Frontier { plan, journal, started: now, is_resumed: false })
    }

    /// When the night of these events began, if it is this one: of the same list and sites, and not too long ago.
    fn resumable(&self, events: &[Event], sites: &[String], tonight: &[String], now: Timestamp) -> Option<Timestamp> {
        let Some(Event::Begin { at, sites: of, tonight: wanted, .. }) = events.first() else { return None };
        let started = Timestamp::from_second(*at).ok()?;
        let age_s = now.as_second().saturating_sub(*at);
        let is_recent = u64::try_from(age_s).is_ok_and(|age_s| age_s <= self.options.resume_within.as_secs());
        (of == sites && wanted == tonight && is_recent).then_some(started)
    }

    fn crawl(&self, scope: &Arc<Scope>, frontier: Frontier, pulse: &Pulse) -> Crawl<S> {
        let limits: Vec<SiteLimits> = scope
            .sites()
            .iter()
            .map(|site| match site.prefetch() {
                Some(prefetch) => self.options.site.for_site(prefetch),
                None => self.options.site.clone(),
            })
            .collect();
        let throttles = limits.iter().map(|limits| Throttle::new(pulse.clone(), limits.bytes_per_second)).collect();
        let used = limits.into_iter().zip(0..).map(|(limits, site)| {
            let (pages, bytes) = frontier.plan.used(site);
            (limits, pages, bytes)
        });
        let budget = Budget::new(self.options.night.clone(), used.collect());
        Crawl::new(
            Arc::clone(scope),
            frontier.plan,
            frontier.journal,
            budget,
            Fetcher::new(self.stack.clone(), Arc::clone(&self.options), self.clock.clone()),
            pulse.clone(),
            Throttle::new(pulse.clone(), self.options.night.bytes_per_second),
            throttles,
        )
    }

    fn begin_at(&self, crawl: &mut Crawl<S>, scope: &Scope, site: SiteId) {
        let Some(prefetch) = scope.sites().get(site as usize).and_then(|site| site.prefetch()) else { return };
        for page in prefetch.start() {
            match Url::parse(&page.to_string()) {
                Ok(url) => crawl.begin_at(site, &url, prefetch.sitemaps()),
                Err(error) => tracing::warn!(host = %page.host, %error, "start page is no URL"),
            }
        }
    }

    /// Keeps the report, and the frontier if the night was interrupted.
    fn conclude(
        &self,
        crawl: Crawl<S>,
        scope: &Scope,
        tonight: &[SiteId],
        mut report: NightReport,
    ) -> Result<NightReport, NightError> {
        let (plan, journal) = crawl.into_parts();
        for (site, of_site) in scope.sites().iter().zip(plan.into_reports()) {
            let is_tonight = scope.id(site.name()).is_some_and(|id| tonight.contains(&id));
            if is_tonight || of_site != SiteReport::default() {
                report.sites.insert(site.name().to_owned(), of_site);
            }
        }
        let kept = match report.end {
            End::Complete | End::Limit => journal.finish(),
            End::Window | End::Stopped => journal.keep(),
        };
        kept.map_err(|source| self.unusable(source))?;
        report.save(&self.folder, self.options.reports_kept).map_err(|source| self.unusable(source))?;
        Ok(report)
    }
}

struct Frontier {
    plan: Plan,
    journal: Journal,
    started: Timestamp,
    is_resumed: bool,
}

/// The sites of the night.
fn tonight(scope: &Scope, names: Option<Vec<String>>) -> Result<Vec<SiteId>, NightError> {
    let mut ids = match names {
        Some(names) => names
            .into_iter()
            .map(|name| scope.id(&name).ok_or(NightError::UnknownSite { name }))
            .collect::<Result<Vec<_>, _>>()?,
        None => scope.sites().iter().filter_map(|site| scope.id(site.name())).collect(),
    };
    ids.retain(|&id| scope.sites().get(id as usize).is_some_and(|site| site.prefetch().is_some()));
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() { Err(NightError::NothingToDo) } else { Ok(ids) }
}

/// A time as the reports write it, in whole seconds; times beyond the calendar become its end.
fn timestamp(at: SystemTime) -> Timestamp {
    let exact = Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(exact.as_second()).unwrap_or(exact)
}
