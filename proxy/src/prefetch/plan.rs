//! The frontier: what is to be asked for, in which order, and what became of the rest.
//!
//! Pure: every change is an [`Event`], live and when a journal is read, so that a resumed night is the same night.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use url::Url;

use super::budget::{HostId, Limit, SiteId};
use super::journal::{Event, Found, Outcome, Role};
use super::report::SiteReport;

/// Addresses that are remembered in one night, asked for or not: about 100 MB. Further ones are not looked at.
const SEEN_MAX: usize = 2_000_000;

/// Hosts of one site that are asked in one night. A wildcard entry and hostile DNS could make endless ones.
const HOSTS_MAX: usize = 200;

/// One request to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) url: Url,
    pub(super) role: Role,
    /// Links from a start page.
    pub(super) depth: u32,
    /// Steps from the page that needs it.
    pub(super) hops: u8,
    /// Redirects that led to it.
    pub(super) redirects: u8,
    pub(super) site: SiteId,
    pub(super) host: HostId,
    /// Requests made for it so far; not kept over a resumption.
    pub(super) tries: u8,
}

/// An address that is about to be planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) url: &'a Url,
    pub(super) role: Role,
    pub(super) depth: u32,
    pub(super) hops: u8,
    pub(super) redirects: u8,
    pub(super) site: SiteId,
}

/// An address's fingerprint: 128 bits, far beyond chance for two million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(super) fn of(url: &str) -> Self {
        let hash = blake3::hash(url.as_bytes());
        Self(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Known,
    /// Left out because of its depth, on this site's account; a shorter way to it may turn up.
    TooDeep(SiteId),
}

/// The reason that may be taken back.
pub(super) const TOO_DEEP: &str = "too-deep";

/// One origin of a site and what it is to be asked.
#[derive(Debug)]
struct Host {
    origin: String,
    queue: BTreeMap<(u32, Role, u8), VecDeque<Job>>,
    is_left: bool,
}

#[derive(Debug, Default)]
struct SitePlan {
    report: SiteReport,
    hosts: Vec<HostId>,
    /// Whose turn it is among the hosts.
    turn: usize,
    found: u64,
    found_max: u64,
    done: u64,
}

/// The frontier of one night.
#[derive(Debug)]
pub(super) struct Plan {
    sites: Vec<SitePlan>,
    hosts: Vec<Host>,
    host_ids: HashMap<String, HostId>,
    seen: HashMap<Fingerprint, Seen>,
    /// Numbers given out.
    numbers: u32,
    /// Site and role of each that is not done, by number.
    open: HashMap<u32, (SiteId, String)>,
    /// Bytes of what a night before its interruption had stored, perhaps: it is asked for again.
    unsure: HashMap<u32, u64>,
    turn: usize,
}

impl Plan {
    /// An empty frontier; each site may have so many addresses.
    pub(super) fn new(found_max: impl IntoIterator<Item = u64>) -> Self {
        let site = |found_max| SitePlan { found_max, ..SitePlan::default() };
        Self {
            sites: found_max.into_iter().map(site).collect(),
            hosts: Vec::new(),
            host_ids: HashMap::new(),
            seen: HashMap::new(),
            numbers: 0,
            open: HashMap::new(),
            unsure: HashMap::new(),
            turn: 0,
        }
    }

    /// Whether an address is known, so that it needs no further look.
    pub(super) fn knows(&self, url: Fingerprint) -> bool {
        self.seen.get(&url) == Some(&Seen::Known)
    }

    /// What to note for an address that the night may ask for. None when it is known already.
    pub(super) fn offer(&self, candidate: Candidate<'_>, fingerprint: Fingerprint) -> Option<Event> {
        if self.knows(fingerprint) {
            return None;
        }
        let site = self.site(candidate.site);
        let origin = candidate.url.origin().ascii_serialization();
        let why = if self.seen.len() >= SEEN_MAX {
            "frontier-full"
        } else if site.found >= site.found_max {
            Limit::SitePages.as_str()
        } else if site.hosts.len() >= HOSTS_MAX && !self.host_ids.contains_key(&origin) {
            "too-many-hosts"
        } else {
            return Some(Event::Found(Found {
                i: self.numbers,
                u: candidate.url.as_str().to_owned(),
                k: candidate.role,
                d: candidate.depth,
                h: candidate.hops,
                r: candidate.redirects,
                s: candidate.site,
            }));
        };
        self.skip(candidate.site, candidate.url, fingerprint, why)
    }

    /// What to note for an address that is left out. None when it is known already.
    pub(super) fn skip(&self, site: SiteId, url: &Url, fingerprint: Fingerprint, why: &str) -> Option<Event> {
        let is_new = !self.seen.contains_key(&fingerprint);
        is_new.then(|| Event::Skipped { s: site, u: url.as_str().to_owned(), why: why.to_owned() })
    }

    /// Takes an event into account. Events that make no sense (of a journal of other sites) change nothing.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Begin { .. } | Event::Mark => {}
            // Only a journal has it, and `replay` reads it before.
            Event::Again { .. } => {}
            Event::Found(found) => self.found(found),
            Event::Skipped { s, u, why } => {
                let Some(site) = self.sites.get_mut(s as usize) else { return };
                site.report.skip(&why, &u);
                if why == Limit::SitePages.as_str() {
                    site.report.limit = Some(why.clone());
                }
                let seen = if why == TOO_DEEP { Seen::TooDeep(s) } else { Seen::Known };
                if self.seen.len() < SEEN_MAX {
                    self.seen.entry(Fingerprint::of(&u)).or_insert(seen);
                }
            }
            Event::Done { i, o, b } => self.done(i, &o, b),
        }
    }

    fn found(&mut self, found: Found) {
        let Ok(url) = Url::parse(&found.u) else { return };
        let fingerprint = Fingerprint::of(&found.u);
        if found.s as usize >= self.sites.len() || found.i < self.numbers || self.knows(fingerprint) {
            return;
        }
        let before = self.seen.insert(fingerprint, Seen::Known);
        if let Some(Seen::TooDeep(site)) = before {
            self.site_mut(site).report.unskip(TOO_DEEP, &found.u);
        }
        let host = self.host_of(found.s, &url);
        self.numbers = self.numbers.max(found.i.saturating_add(1));
        self.open.insert(found.i, (found.s, found.u));
        self.site_mut(found.s).found += 1;
        let job = Job {
            id: found.i,
            url,
            role: found.k,
            depth: found.d,
            hops: found.h,
            redirects: found.r,
            site: found.s,
            host,
            tries: 0,
        };
        self.host_mut(host).queue.entry((job.depth, job.role, job.hops)).or_default().push_back(job);
    }

    fn done(&mut self, id: u32, outcome: &Outcome, bytes: u64) {
        let Some((site, url)) = self.open.remove(&id) else { return };
        let before = self.unsure.remove(&id);
        let site = self.site_mut(site);
        site.done += 1;
        site.report.bytes += bytes + before.unwrap_or_default();
        match outcome {
            Outcome::Stored => site.report.stored += 1,
            // This night stored it, before it was interrupted.
            Outcome::Fresh if before.is_some() => site.report.stored += 1,
            Outcome::Fresh => site.report.fresh += 1,
            Outcome::Revalidated => site.report.revalidated += 1,
            Outcome::Skipped(why) => site.report.skip(why, &url),
            Outcome::Failed(why) => site.report.fail(why, &url),
        }
    }

    /// Takes a journal's events into account, and drops the jobs that are done for good.
    pub(super) fn replay(&mut self, events: Vec<Event>) {
        let mut done_at = HashMap::new();
        let mut undone = HashSet::new();
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Done { i, .. } => {
                    done_at.insert(*i, at);
                }
                Event::Again { i } => undone.extend(done_at.remove(i)),
                _ => {}
            }
        }
        for (at, event) in events.into_iter().enumerate() {
            match event {
                Event::Done { i, b, .. } if undone.contains(&at) => {
                    self.unsure.insert(i, b);
                }
                event => self.apply(event),
            }
        }
        for host in &mut self.hosts {
            for queue in host.queue.values_mut() {
                queue.retain(|job| self.open.contains_key(&job.id));
            }
            host.queue.retain(|_, queue| !queue.is_empty());
        }
    }

    /// The next job of the first host, from the one whose turn it is, that `is_ready` lets go.
    ///
    /// Sites take turns, and within a site its hosts. Of one host the shallowest comes first, and at one depth what
    /// pages need before further pages, so that a page that was begun is soon whole.
    pub(super) fn take(&mut self, mut is_ready: impl FnMut(SiteId, HostId) -> bool) -> Option<Job> {
        let sites = self.sites.len();
        for step in 0..sites {
            let at = (self.turn + step) % sites;
            let site = &self.sites[at];
            let site_id = SiteId::try_from(at).expect("sites are counted in 32 bits");
            let hosts = site.hosts.len();
            let host = (0..hosts).map(|step| (site.turn + step) % hosts).find(|&nth| {
                let host = site.hosts[nth];
                !self.hosts[host as usize].queue.is_empty() && is_ready(site_id, host)
            });
            let Some(nth) = host else { continue };
            let host = site.hosts[nth];
            self.sites[at].turn = nth + 1;
            self.turn = at + 1;
            return self.pop(host);
        }
        None
    }

    fn pop(&mut self, host: HostId) -> Option<Job> {
        let mut first = self.host_mut(host).queue.first_entry()?;
        let job = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        job
    }

    /// Puts a job back, before others of its kind: it is tried again.
    pub(super) fn put_back(&mut self, job: Job) {
        let host = self.host_mut(job.host);
        host.queue.entry((job.depth, job.role, job.hops)).or_default().push_front(job);
    }

    /// Takes all jobs of a host that gets no more requests tonight.
    pub(super) fn leave(&mut self, host: HostId) -> Vec<Job> {
        let host = self.host_mut(host);
        host.is_left = true;
        std::mem::take(&mut host.queue).into_values().flatten().collect()
    }

    /// Whether the host gets no more requests tonight.
    pub(super) fn is_left(&self, host: HostId) -> bool {
        self.hosts.get(host as usize).is_some_and(|host| host.is_left)
    }

    /// The scheme, host and port of a host of the plan.
    pub(super) fn origin(&self, host: HostId) -> &str {
        &self.hosts.get(host as usize).expect("the plan gave this number out").origin
    }

    /// Addresses found, and of these done, over all sites.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.sites.iter().fold((0, 0), |(found, done), site| (found + site.found, done + site.done))
    }

    /// A site's report so far.
    pub(super) fn report(&self, site: SiteId) -> &SiteReport {
        &self.site(site).report
    }

    /// Requests and bytes that a site has used, as far as a resumed night knows.
    pub(super) fn used(&self, site: SiteId) -> (u64, u64) {
        let site = self.site(site);
        (site.done, site.report.bytes)
    }

    /// A limit has ended this site's part.
    pub(super) fn set_limit(&mut self, site: SiteId, limit: Limit) {
        self.site_mut(site).report.limit = Some(limit.as_str().to_owned());
    }

    /// The reports, by site, with what is left.
    pub(super) fn into_reports(self) -> Vec<SiteReport> {
        let left = |site: &SitePlan| site.found.saturating_sub(site.done);
        self.sites.into_iter().map(|site| SiteReport { left: left(&site), ..site.report }).collect()
    }

    fn host_of(&mut self, site: SiteId, url: &Url) -> HostId {
        let origin = url.origin().ascii_serialization();
        if let Some(&host) = self.host_ids.get(&origin) {
            return host;
        }
        let host = HostId::try_from(self.hosts.len()).expect("hosts are bounded by site");
        self.hosts.push(Host { origin: origin.clone(), queue: BTreeMap::new(), is_left: false });
        self.host_ids.insert(origin, host);
        self.site_mut(site).hosts.push(host);
        host
    }

    fn site(&self, site: SiteId) -> &SitePlan {
        self.sites.get(site as usize).expect("the plan was made for these sites")
    }

    fn site_mut(&mut self, site: SiteId) -> &mut SitePlan {
        self.sites.get_mut(site as usize).expect("the plan was made for these sites")
    }

    fn host_mut(&mut self, host: HostId) -> &mut Host {
        self.hosts.get_mut(host as usize).expect("the plan gave this number out")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(plan: &mut Plan, url: &str, role: Role, depth: u32, site: SiteId) {
        let url = Url::parse(url).expect("a URL");
        let candidate = Candidate { url: &url, role, depth, hops: 0, redirects: 0, site };
        if let Some(event) = plan.offer(candidate, Fingerprint::of(url.as_str())) {
            plan.apply(event);
        }
    }

    fn skip(plan: &mut Plan, url: &str, why: &str) {
        let url = Url::parse(url).expect("a URL");
        if let Some(event) = plan.skip(0, &url, Fingerprint::of(url.as_str()), why) {
            plan.apply(event);
        }
    }

    fn order(plan: &mut Plan) -> Vec<String> {
        std::iter::from_fn(|| plan.take(|_, _| true)).map(|job| job.url.to_string()).collect()
    }

    #[test]
    fn sites_and_hosts_take_turns() {
        let mut plan = Plan::new([10, 10]);
        for (url, site) in [
            ("http://a.kz/1", 0),
            ("http://a.kz/2", 0),
            ("http://m.a.kz/1", 0),
            ("http://b.kz/1", 1),
            ("http://b.kz/2", 1),
        ] {
            offer(&mut plan, url, Role::Page, 0, site);
        }
        assert_eq!(
            order(&mut plan),
            ["http://a.kz/1", "http://b.kz/1", "http://m.a.kz/1", "http://b.kz/2", "http://a.kz/2"]
        );
    }

    #[test]
    fn a_host_that_must_wait_does_not_hold_the_others() {
        let mut plan = Plan::new([10]);
        offer(&mut plan, "http://a.kz/1", Role::Page, 0, 0);
        offer(&mut plan, "http://m.a.kz/1", Role::Page, 0, 0);
        assert_eq!(plan.take(|_, host| host != 0).map(|job| job.url.to_string()).as_deref(), Some("http://m.a.kz/1"));
        assert!(plan.take(|_, host| host != 0).is_none());
        assert_eq!(order(&mut plan), ["http://a.kz/1"]);
    }

    #[test]
    fn the_shallow_come_first_and_requisites_before_pages() {
        let mut plan = Plan::new([10]);
        for (url, role, depth) in [
            ("http://a.kz/deep", Role::Page, 2),
            ("http://a.kz/page", Role::Page, 1),
            ("http://a.kz/image", Role::Requisite, 1),
            ("http://a.kz/start", Role::Page, 0),
            ("http://a.kz/sitemap", Role::Sitemap, 0),
            ("http://a.kz/start", Role::Page, 0),
        ] {
            offer(&mut plan, url, role, depth, 0);
        }
        let expected = ["sitemap", "start", "image", "page", "deep"].map(|path| format!("http://a.kz/{path}"));
        assert_eq!(order(&mut plan), expected);
    }

    #[test]
    fn a_shorter_way_takes_too_deep_back() {
        let mut plan = Plan::new([10]);
        skip(&mut plan, "http://a.kz/x?q", TOO_DEEP);
        skip(&mut plan, "http://a.kz/x?q", TOO_DEEP);
        assert_eq!(plan.report(0).skipped[TOO_DEEP].count, 1);
        offer(&mut plan, "http://a.kz/x?q", Role::Page, 1, 0);
        assert_eq!(plan.report(0).skipped_total(), 0);
        assert_eq!(order(&mut plan), ["http://a.kz/x?q"]);
        skip(&mut plan, "http://a.kz/y", "nofollow");
        offer(&mut plan, "http://a.kz/y", Role::Page, 1, 0);
        assert!(order(&mut plan).is_empty(), "other reasons stay");
    }

    #[test]
    fn addresses_and_hosts_of_a_site_are_bounded() {
        let mut plan = Plan::new([3, 1000]);
        for page in 0..5 {
            offer(&mut plan, &format!("http://a.kz/{page}"), Role::Page, 0, 0);
            offer(&mut plan, &format!("http://a.kz/{page}"), Role::Page, 0, 0);
        }
        assert_eq!(plan.report(0).skipped["site-pages"].count, 2);
        assert_eq!(plan.report(0).limit.as_deref(), Some("site-pages"));
        for host in 0..HOSTS_MAX + 5 {
            offer(&mut plan, &format!("http://h{host}.kz/"), Role::Page, 0, 1);
        }
        assert_eq!(plan.report(1).skipped["too-many-hosts"].count, 5);
    }

    #[test]
    fn a_host_that_is_left_gives_back_its_jobs() {
        let mut plan = Plan::new([10]);
        offer(&mut plan, "http://a.kz/1", Role::Page, 0, 0);
        offer(&mut plan, "http://a.kz/2", Role::Requisite, 0, 0);
        assert_eq!(plan.leave(0).len(), 2);
        assert!(plan.is_left(0) && order(&mut plan).is_empty());
    }

    fn event() -> impl Strategy<Value = Event> {
        let found = (0..20_u32, 0..9_u32, 0..3_u32).prop_map(|(i, d, s)| {
            Event::Found(Found { i, u: format!("http://a{s}.kz/{i}"), k: Role::Page, d, h: 0, r: 0, s })
        });
        let skip = (0..3_u32, 0..20_u32).prop_map(|(s, i)| Event::Skipped {
            s,
            u: format!("http://a{s}.kz/{i}"),
            why: TOO_DEEP.into(),
        });
        let done = (0..25_u32, any::<bool>()).prop_map(|(i, is_stored)| {
            let o = if is_stored { Outcome::Stored } else { Outcome::Failed("404".into()) };
            Event::Done { i, o, b: 1 }
        });
        let again = (0..25_u32).prop_map(|i| Event::Again { i });
        prop_oneof![3 => found, 1 => skip, 2 => done, 1 => again]
    }

    proptest! {
        #[test]
        fn any_events_leave_a_consistent_plan(events in prop::collection::vec(event(), 0..80)) {
            let mut plan = Plan::new([100, 100]); // the third site is another list's
            plan.replay(events);
            let (found, done) = plan.counts();
            prop_assert!(done <= found);
            let mut waiting = 0;
            while let Some(job) = plan.take(|_, _| true) {
                prop_assert!(plan.open.contains_key(&job.id) && job.id < plan.numbers);
                plan.apply(Event::Done { i: job.id, o: Outcome::Stored, b: 0 });
                waiting += 1;
            }
            prop_assert_eq!(waiting, found - done);
        }
    }
}
