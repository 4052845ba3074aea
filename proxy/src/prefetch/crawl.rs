//! The loop of a night: takes jobs from the plan as the budget lets it, asks, and plans what it finds.
//!
//! One task decides; the requests run beside it and hand back what they learned. So nothing here is shared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::ask::{Asked, Leads, RobotsAsked, ask, ask_robots};
use super::budget::{Budget, HostId, Limit, Mood, SiteId, Start, Then};
use super::extract::{Kind, REFERENCE_BYTES_MAX};
use super::fetch::{Fetcher, Stack, Throttle};
use super::journal::{Event, Journal, Outcome, Role};
use super::plan::{Candidate, Fingerprint, Job, Plan};
use super::progress::{Progress, Snapshot};
use super::pulse::Pulse;
use super::report::End;
use super::robots::Robots;
use super::scope::{Scope, Step};
use super::verdict::Verdict;

/// Indices of sitemaps in indices; the protocol allows one level, some sites have two.
const SITEMAP_HOPS_MAX: u8 = 3;

/// Tries to get an origin's robots.txt; without it nothing of the origin is asked for (RFC 9309 §2.3.1.4).
const ROBOTS_TRIES_MAX: u8 = 3;

/// A night under way.
pub(super) struct Crawl<S> {
    scope: Arc<Scope>,
    plan: Plan,
    journal: Journal,
    budget: Budget,
    fetcher: Fetcher<S>,
    pulse: Pulse,
    /// Bytes per second of the night and, by site, of the site.
    night_throttle: Option<Arc<Throttle>>,
    site_throttles: Vec<Option<Arc<Throttle>>>,
    robots: HashMap<HostId, RobotsState>,
    /// Origins of start pages whose sitemaps are wanted.
    sitemaps_of: HashSet<String>,
    tasks: JoinSet<Ended>,
    under_way: HashMap<Id, UnderWay>,
    last_site: SiteId,
}

/// What is known of an origin's robots.txt.
#[derive(Debug)]
enum RobotsState {
    Asking,
    Unreachable { tries: u8 },
    Known(Robots),
}

/// What a task hands back.
enum Ended {
    Job(Asked),
    Robots(RobotsAsked),
}

/// What a task is about; kept here, so that it is not lost with a task that fails.
enum UnderWay {
    Job { job: Job, begun: Duration },
    Robots { site: SiteId, host: HostId, tries: u8, begun: Duration },
}

/// What can be begun.
enum Next {
    Begun,
    /// Nothing before this time, or before something ends.
    Wait(Option<Duration>),
}

impl<S: Stack> Crawl<S> {
    #[expect(clippy::too_many_arguments, reason = "the parts of a night, each of its own type, put together once")]
    pub(super) fn new(
        scope: Arc<Scope>,
        plan: Plan,
        journal: Journal,
        budget: Budget,
        fetcher: Fetcher<S>,
        pulse: Pulse,
        night_throttle: Option<Arc<Throttle>>,
        site_throttles: Vec<Option<Arc<Throttle>>>,
    ) -> Self {
        Self {
            scope,
            plan,
            journal,
            budget,
            fetcher,
            pulse,
            night_throttle,
            site_throttles,
            robots: HashMap::new(),
            sitemaps_of: HashSet::new(),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            last_site: 0,
        }
    }

    /// Plans a site's start page. Its origin's sitemaps are wanted too, if the site's entry says so.
    pub(super) fn begin_at(&mut self, site: SiteId, url: &Url, with_sitemaps: bool) {
        if with_sitemaps {
            self.sitemaps_of.insert(url.origin().ascii_serialization());
        }
        self.consider(Step {
            url,
            role: Role::Page,
            depth: 0,
            hops: 0,
            redirects: 0,
            is_nofollow: false,
            is_start: true,
            from: site,
        });
    }

    /// Works until nothing is left, a limit is reached, the window closes at `closes`, or somebody stops it.
    pub(super) async fn run(
        &mut self,
        closes: Option<Duration>,
        stop: &CancellationToken,
        progress: &dyn Progress,
    ) -> End {
        loop {
            let wake = loop {
                match self.begin_next() {
                    Next::Begun => {}
                    Next::Wait(wake) => break wake,
                }
            };
            self.journal.write();
            self.sync_aside();
            progress.update(&self.snapshot());
            if self.tasks.is_empty() && wake.is_none() {
                return self.natural_end();
            }
            let pulse = self.pulse.clone();
            let pause = async |at: Option<Duration>| match at {
                Some(at) => pulse.until(at).await,
                None => std::future::pending().await,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.interrupt(End::Stopped).await,
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.take_in(ended),
                () = pause(wake) => {}
                () = pause(closes) => return self.interrupt(End::Window).await,
            }
            if closes.is_some_and(|closes| self.pulse.now() >= closes) {
                return self.interrupt(End::Window).await;
            }
        }
    }

    async fn interrupt(&mut self, end: End) -> End {
        self.tasks.shutdown().await; // what was under way is asked for again by a resumption
        end
    }

    fn natural_end(&self) -> End {
        let is_limited = (0..self.site_throttles.len())
            .filter_map(|site| SiteId::try_from(site).ok())
            .any(|site| self.plan.report(site).limit.is_some());
        if is_limited { End::Limit } else { End::Complete }
    }

    /// Begins one request, if one may begin now.
    fn begin_next(&mut self) -> Next {
        let now = self.pulse.now();
        let mut wake: Option<Duration> = None;
        let mut limited: Vec<(SiteId, Limit)> = Vec::new();
        let job = self.plan.take(|site, host| {
            if matches!(self.robots.get(&host), Some(RobotsState::Asking)) {
                return false;
            }
            match self.budget.may_start(site, host, now) {
                Start::Now => return true,
                Start::At(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                Start::WhenOneEnds => {}
                Start::Never(limit) => limited.push((site, limit)),
            }
            false
        });
        for (site, limit) in limited {
            self.plan.set_limit(site, limit);
        }
        let Some(job) = job else { return Next::Wait(wake) };
        self.last_site = job.site;
        match self.robots.get(&job.host) {
            Some(RobotsState::Known(robots)) => {
                if robots.allows(&path_and_query(&job.url)) {
                    self.begin(job, now);
                } else {
                    self.done(job.id, Outcome::Skipped("robots".to_owned()), 0);
                }
            }
            Some(RobotsState::Unreachable { tries }) => {
                let tries = *tries;
                self.begin_robots(&job, tries, now);
                self.plan.put_back(job);
            }
            Some(RobotsState::Asking) | None => {
                self.begin_robots(&job, 0, now);
                self.plan.put_back(job);
            }
        }
        Next::Begun
    }

    fn throttles(&self, site: SiteId) -> Vec<Arc<Throttle>> {
        let of_site = self.site_throttles.get(site as usize).cloned().flatten();
        self.night_throttle.iter().cloned().chain(of_site).collect()
    }

    fn begin(&mut self, job: Job, now: Duration) {
        let planned = match self.scope.plan(&job.url) {
            Ok(planned) => planned,
            // It was permitted when it was found: an interrupted night is resumed with a newer list.
            Err(why) => return self.done(job.id, Outcome::Skipped(why.to_owned()), 0),
        };
        self.budget.start(job.site, job.host, now);
        let (fetcher, throttles) = (self.fetcher.clone(), self.throttles(job.site));
        let (url, role) = (job.url.clone(), job.role);
        let task = self.tasks.spawn(async move { Ended::Job(ask(fetcher, &planned, &url, role, &throttles).await) });
        self.under_way.insert(task.id(), UnderWay::Job { job, begun: now });
    }

    fn begin_robots(&mut self, job: &Job, tries: u8, now: Duration) {
        self.budget.start(job.site, job.host, now);
        self.robots.insert(job.host, RobotsState::Asking);
        let (fetcher, throttles, scope) = (self.fetcher.clone(), self.throttles(job.site), Arc::clone(&self.scope));
        let origin = self.plan.origin(job.host).to_owned();
        let task =
            self.tasks.spawn(async move { Ended::Robots(ask_robots(fetcher, &scope, &origin, &throttles).await) });
        let about = UnderWay::Robots { site: job.site, host: job.host, tries, begun: now };
        self.under_way.insert(task.id(), about);
    }

    /// Takes in what a task learned.
    fn take_in(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            // Only by a fault of ours: no document may end a night.
            Err(error) => (error.id(), None),
        };
        match (self.under_way.remove(&id), ended) {
            (Some(UnderWay::Job { job, begun }), Some(Ended::Job(asked))) => self.job_ended(job, begun, asked),
            (Some(UnderWay::Robots { site, host, tries, begun }), Some(Ended::Robots(asked))) => {
                self.robots_ended((site, host), tries, begun, asked);
            }
            (Some(UnderWay::Job { job, begun }), _) => {
                self.budget.end((job.site, job.host), begun, self.pulse.now(), 0, Mood::Well);
                self.done(job.id, Outcome::Failed("internal-error".to_owned()), 0);
            }
            (Some(UnderWay::Robots { site, host, tries, begun }), _) => {
                let asked = RobotsAsked { robots: None, mood: Mood::AsksForPause(None), bytes: 0 };
                self.robots_ended((site, host), tries, begun, asked);
            }
            (None, _) => {}
        }
    }

    fn job_ended(&mut self, mut job: Job, begun: Duration, asked: Asked) {
        let host = job.host;
        let then = self.budget.end((job.site, host), begun, self.pulse.now(), asked.bytes, asked.mood);
        job.tries += 1;
        match asked.verdict {
            Verdict::Done(outcome) => {
                // The links first: once the page is called done, nobody looks for them again.
                self.follow(&job, &asked.leads);
                self.done(job.id, outcome, asked.bytes);
            }
            Verdict::Again { why, tries_max } if job.tries >= tries_max || self.plan.is_left(host) => {
                self.done(job.id, Outcome::Failed(why), asked.bytes);
            }
            Verdict::Again { .. } => self.plan.put_back(job),
        }
        if then == Then::LeaveHost {
            self.leave(host, "origin-failing");
        }
    }

    fn robots_ended(&mut self, (site, host): (SiteId, HostId), tries: u8, begun: Duration, asked: RobotsAsked) {
        let then = self.budget.end((site, host), begun, self.pulse.now(), asked.bytes, asked.mood);
        match asked.robots {
            Some(robots) => {
                self.budget.set_crawl_delay(host, robots.crawl_delay().unwrap_or_default());
                self.begin_at_sitemaps(site, host, &robots);
                self.robots.insert(host, RobotsState::Known(robots));
            }
            None if then == Then::LeaveHost || tries + 1 >= ROBOTS_TRIES_MAX => {
                self.robots.insert(host, RobotsState::Known(Robots::disallow_all()));
                self.leave(host, "robots-unreachable");
            }
            None => {
                self.robots.insert(host, RobotsState::Unreachable { tries: tries + 1 });
            }
        }
    }

    fn begin_at_sitemaps(&mut self, site: SiteId, host: HostId, robots: &Robots) {
        let Some(origin) = self.sitemaps_of.take(self.plan.origin(host)) else { return };
        let Ok(origin) = Url::parse(&origin) else { return };
        let named = robots.sitemaps().iter().map(|sitemap| (sitemap.as_str(), Role::Sitemap));
        for (reference, role) in named.chain([("/sitemap.xml", Role::GuessedSitemap)]) {
            if let Ok(url) = origin.join(reference) {
                let url = without_fragment(url);
                self.consider(Step {
                    url: &url,
                    role,
                    depth: 0,
                    hops: 0,
                    redirects: 0,
                    is_nofollow: false,
                    is_start: false,
                    from: site,
                });
            }
        }
    }

    /// An origin gets no more requests tonight; what was planned for it failed.
    fn leave(&mut self, host: HostId, why: &str) {
        tracing::warn!(origin = self.plan.origin(host), why, "origin is left alone for the night");
        for job in self.plan.leave(host) {
            self.done(job.id, Outcome::Failed(why.to_owned()), 0);
        }
    }

    /// Plans what a document refers to, or notes why not.
    fn follow(&mut self, job: &Job, leads: &Leads) {
        fn step<'a>(job: &Job, url: &'a Url, role: Role) -> Step<'a> {
            Step {
                url,
                role,
                depth: job.depth,
                hops: job.hops,
                redirects: 0,
                is_nofollow: false,
                is_start: false,
                from: job.site,
            }
        }
        if let Some(target) = &leads.redirect {
            let url = without_fragment(target.clone());
            self.consider(Step { redirects: job.redirects.saturating_add(1), ..step(job, &url, job.role) });
        }
        for link in &leads.links {
            self.consider(match link.kind {
                Kind::Page => Step {
                    depth: job.depth.saturating_add(1),
                    hops: 0,
                    is_nofollow: link.is_nofollow,
                    ..step(job, &link.url, Role::Page)
                },
                Kind::Requisite => Step { hops: job.hops.saturating_add(1), ..step(job, &link.url, Role::Requisite) },
            });
        }
        for page in &leads.sitemap.pages {
            self.consider(Step { depth: 0, hops: 0, ..step(job, page, Role::Page) });
        }
        for sitemap in leads.sitemap.sitemaps.iter().filter(|_| job.hops < SITEMAP_HOPS_MAX) {
            self.consider(Step { hops: job.hops + 1, ..step(job, sitemap, Role::Sitemap) });
        }
    }

    fn consider(&mut self, step: Step<'_>) {
        // No request path takes it, and a line of the journal has no room for it.
        if step.url.as_str().len() > REFERENCE_BYTES_MAX {
            return;
        }
        let fingerprint = Fingerprint::of(step.url.as_str());
        if self.plan.knows(fingerprint) {
            return;
        }
        let event = match self.scope.judge(step) {
            Ok(accepted) => {
                let url = accepted.shorter.as_ref().unwrap_or(step.url);
                let fingerprint = accepted.shorter.as_ref().map_or(fingerprint, |url| Fingerprint::of(url.as_str()));
                let Step { role, depth, hops, redirects, .. } = step;
                let candidate = Candidate { url, role, depth, hops, redirects, site: accepted.site };
                self.plan.offer(candidate, fingerprint)
            }
            Err(why) => self.plan.skip(step.from, step.url, fingerprint, why),
        };
        if let Some(event) = event {
            self.note(event);
        }
    }

    fn done(&mut self, id: u32, outcome: Outcome, bytes: u64) {
        self.note(Event::Done { i: id, o: outcome, b: bytes });
    }

    fn note(&mut self, event: Event) {
        self.journal.append(&event);
        self.plan.apply(event);
    }

    fn sync_aside(&mut self) {
        if let Some(file) = self.journal.due_sync() {
            // Its failure costs nothing but a repeated question after a power cut.
            drop(tokio::task::spawn_blocking(move || file.sync_data()));
        }
    }

    /// The frontier, in memory and on disk.
    pub(super) fn into_parts(self) -> (Plan, Journal) {
        (self.plan, self.journal)
    }

    /// How far it is.
    pub(super) fn snapshot(&self) -> Snapshot {
        let (known, done) = self.plan.counts();
        let mut snapshot = Snapshot {
            known,
            done,
            in_flight: u32::try_from(self.tasks.len()).unwrap_or(u32::MAX),
            site: self.scope.sites().get(self.last_site as usize).map_or(String::new(), |site| site.name().to_owned()),
            ..Snapshot::default()
        };
        for site in (0..self.site_throttles.len()).filter_map(|site| SiteId::try_from(site).ok()) {
            let report = self.plan.report(site);
            snapshot.stored += report.stored;
            snapshot.fresh += report.fresh;
            snapshot.revalidated += report.revalidated;
            snapshot.failed += report.failed_total();
            snapshot.bytes += report.bytes;
        }
        snapshot
    }
}

fn path_and_query(url: &Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}
