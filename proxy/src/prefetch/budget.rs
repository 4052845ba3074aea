//! How much, how fast, and when to leave an origin alone: limits by night, site and host, and back-off.
//!
//! Pure: `now` is the time since the night began. What it answers is kept by [`super::night`].

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::options::{NightLimits, SiteLimits};

/// First pause after an origin failed or asked for one without saying how long; doubles with each further one.
const BACK_OFF_FIRST: Duration = Duration::from_secs(5);

/// The longest pause that we choose ourselves.
const BACK_OFF_MAX: Duration = Duration::from_secs(10 * 60);

/// The longest pause that an origin can ask for. Who asks for more is left alone for the night.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// Pauses in a row after which an origin is left alone for the night: about twenty minutes of trying.
const PAUSES_MAX: u32 = 7;

/// Timers are no finer; who has to wait less than this begins at once. The next one waits the longer, so that the rate
/// stays what it is, also when it is thousands a second.
const TICK: Duration = Duration::from_millis(1);

/// Whether a request may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At once.
    Now,
    /// Not before this time.
    At(Duration),
    /// When another one has ended.
    WhenOneEnds,
    /// Never again this night, for this site.
    Never(Limit),
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    NightPages,
    NightBytes,
    SitePages,
    SiteBytes,
}

impl Limit {
    /// The word in the report.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NightPages => "night-pages",
            Self::NightBytes => "night-bytes",
            Self::SitePages => "site-pages",
            Self::SiteBytes => "site-bytes",
        }
    }
}

/// Even spacing: the next one may begin `interval` after the last one began.
#[derive(Debug, Clone, Copy, Default)]
struct Spacing {
    next: Duration,
}

impl Spacing {
    fn take(&mut self, now: Duration, interval: Duration) {
        self.next = self.next.max(now) + interval;
    }
}

#[derive(Debug)]
struct Used {
    pages: u64,
    bytes: u64,
    in_flight: u32,
    spacing: Spacing,
}

impl Used {
    fn with(pages: u64, bytes: u64) -> Self {
        Self { pages, bytes, in_flight: 0, spacing: Spacing::default() }
    }
}

/// What is known of an origin's patience.
#[derive(Debug, Default)]
struct Patience {
    /// Not before this time.
    not_before: Duration,
    /// Pauses since the last good answer.
    pauses: u32,
    /// Since when the current pause holds: answers to earlier requests say nothing new.
    paused_at: Option<Duration>,
    crawl_delay: Duration,
    spacing: Spacing,
}

/// The limits of one night and what of them is used.
#[derive(Debug)]
pub(super) struct Budget {
    limits: NightLimits,
    night: Used,
    sites: Vec<(SiteLimits, Used)>,
    hosts: HashMap<HostId, Patience>,
}

/// An origin of the night, as the plan counts them.
pub(super) type HostId = u32;

/// A site of the night, as the plan counts them.
pub(super) type SiteId = u32;

/// What an answer tells of the origin's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It answered.
    Well,
    /// It failed, or asks for a pause; for how long, if it said.
    AsksForPause(Option<Duration>),
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    GoOn,
    /// This origin gets no more requests tonight.
    LeaveHost,
}

impl Budget {
    /// A night's budget; a resumed night brings, for each site, the requests and bytes that it has used already.
    pub(super) fn new(limits: NightLimits, sites: Vec<(SiteLimits, u64, u64)>) -> Self {
        let (pages, bytes) = sites.iter().fold((0, 0), |(pages, bytes), site| (pages + site.1, bytes + site.2));
        Self {
            limits,
            night: Used::with(pages, bytes),
            sites: sites.into_iter().map(|(limits, pages, bytes)| (limits, Used::with(pages, bytes))).collect(),
            hosts: HashMap::new(),
        }
    }

    /// The pause between two requests that an origin's robots.txt asks for.
    pub(super) fn set_crawl_delay(&mut self, host: HostId, delay: Duration) {
        self.hosts.entry(host).or_default().crawl_delay = delay;
    }

    /// Whether a request to `host` of `site` may begin at `now`.
    pub(super) fn may_start(&self, site: SiteId, host: HostId, now: Duration) -> Start {
        let (limits, used) = self.site(site);
        if self.night.pages >= self.limits.pages_max {
            return Start::Never(Limit::NightPages);
        }
        if self.night.bytes >= self.limits.bytes_max {
            return Start::Never(Limit::NightBytes);
        }
        if used.pages >= limits.pages_max {
            return Start::Never(Limit::SitePages);
        }
        if used.bytes >= limits.bytes_max {
            return Start::Never(Limit::SiteBytes);
        }
        if self.night.in_flight >= self.limits.in_flight_max.max(1) || used.in_flight >= limits.in_flight_max.max(1) {
            return Start::WhenOneEnds;
        }
        let host_free = self.hosts.get(&host).map_or(Duration::ZERO, |host| host.not_before.max(host.spacing.next));
        let free = host_free.max(used.spacing.next);
        if free > now + TICK { Start::At(free) } else { Start::Now }
    }

    /// A request begins.
    pub(super) fn start(&mut self, site: SiteId, host: HostId, now: Duration) {
        self.night.pages += 1;
        self.night.in_flight += 1;
        let patience = self.hosts.entry(host).or_default();
        patience.spacing.take(now, patience.crawl_delay);
        let (limits, used) = self.site_mut(site);
        used.pages += 1;
        used.in_flight += 1;
        let interval = limits.requests_per_second.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        used.spacing.take(now, interval.unwrap_or_default());
    }

    /// A request that began at `begun` has ended; `bytes` of body came from the origin.
    pub(super) fn end(
        &mut self,
        (site, host): (SiteId, HostId),
        begun: Duration,
        now: Duration,
        bytes: u64,
        mood: Mood,
    ) -> Then {
        self.night.in_flight = self.night.in_flight.saturating_sub(1);
        self.night.bytes += bytes;
        let used = &mut self.site_mut(site).1;
        used.in_flight = used.in_flight.saturating_sub(1);
        used.bytes += bytes;
        let patience = self.hosts.entry(host).or_default();
        match mood {
            Mood::Well => {
                patience.pauses = 0;
                Then::GoOn
            }
            Mood::AsksForPause(asked) => patience.pause(begun, now, asked),
        }
    }

    fn site(&self, site: SiteId) -> &(SiteLimits, Used) {
        self.sites.get(site as usize).expect("the plan and the budget are made from the same sites")
    }

    fn site_mut(&mut self, site: SiteId) -> &mut (SiteLimits, Used) {
        self.sites.get_mut(site as usize).expect("the plan and the budget are made from the same sites")
    }
}

impl Patience {
    fn pause(&mut self, begun: Duration, now: Duration, asked: Option<Duration>) -> Then {
        if asked.is_some_and(|asked| asked > RETRY_AFTER_MAX) {
            return Then::LeaveHost;
        }
        // Several requests that were under way together tell of one fault, not of several.
        let is_news = self.paused_at.is_none_or(|at| begun >= at);
        if is_news {
            self.pauses += 1;
            self.paused_at = Some(now);
        }
        if self.pauses > PAUSES_MAX {
            return Then::LeaveHost;
        }
        let ours = BACK_OFF_FIRST.saturating_mul(1 << self.pauses.saturating_sub(1).min(16)).min(BACK_OFF_MAX);
        self.not_before = self.not_before.max(now + asked.unwrap_or(ours));
        Then::GoOn
    }
}

/// The pause that a `Retry-After` field asks for: seconds, or a date (RFC 9110 §10.2.3). None for anything else.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn limits() -> SiteLimits {
        SiteLimits { requests_per_second: None, ..SiteLimits::default() }
    }

    fn budget(night: NightLimits, site: SiteLimits) -> Budget {
        Budget::new(night, vec![(site.clone(), 0, 0), (site, 0, 0)])
    }

    fn one(budget: &mut Budget, at: u64, bytes: u64, mood: Mood) -> Then {
        budget.start(0, 0, S(at));
        budget.end((0, 0), S(at), S(at), bytes, mood)
    }

    #[test]
    fn requests_are_spaced_by_site() {
        let mut budget = budget(NightLimits::default(), SiteLimits { requests_per_second: Some(0.5), ..limits() });
        assert_eq!(budget.may_start(0, 0, S(0)), Start::Now);
        budget.start(0, 0, S(0));
        assert_eq!(budget.may_start(0, 1, S(0)), Start::At(S(2)), "another host of the site");
        assert_eq!(budget.may_start(1, 2, S(0)), Start::Now, "another site");
        assert_eq!(budget.may_start(0, 0, S(2)), Start::Now);
        budget.start(0, 0, S(10)); // late: nothing is saved up
        assert_eq!(budget.may_start(0, 0, S(10)), Start::At(S(12)));
    }

    #[test]
    fn a_high_rate_is_kept_although_timers_are_coarse() {
        let mut budget = budget(NightLimits::default(), SiteLimits { requests_per_second: Some(5000.0), ..limits() });
        let mut begun = 0;
        for millisecond in 0..1000 {
            while budget.may_start(0, 0, Duration::from_millis(millisecond)) == Start::Now {
                budget.start(0, 0, Duration::from_millis(millisecond));
                budget.end((0, 0), Duration::ZERO, Duration::ZERO, 0, Mood::Well);
                begun += 1;
            }
        }
        assert!((4990..=5010).contains(&begun), "{begun} in a second");
    }

    #[test]
    fn a_crawl_delay_spaces_by_host() {
        let mut budget = budget(NightLimits::default(), limits());
        budget.set_crawl_delay(7, S(3));
        budget.start(0, 7, S(0));
        assert_eq!(budget.may_start(0, 7, S(1)), Start::At(S(3)));
        assert_eq!(budget.may_start(0, 8, S(1)), Start::Now);
    }

    #[test]
    fn requests_under_way_are_bounded_by_site_and_night() {
        let night = NightLimits { in_flight_max: 3, ..NightLimits::default() };
        let mut budget = budget(night, SiteLimits { in_flight_max: 2, ..limits() });
        budget.start(0, 0, S(0));
        budget.start(0, 0, S(0));
        assert_eq!(budget.may_start(0, 0, S(0)), Start::WhenOneEnds);
        assert_eq!(budget.may_start(1, 1, S(0)), Start::Now);
        budget.start(1, 1, S(0));
        assert_eq!(budget.may_start(1, 1, S(0)), Start::WhenOneEnds);
        budget.end((0, 0), S(0), S(1), 0, Mood::Well);
        assert_eq!(budget.may_start(0, 0, S(1)), Start::Now);
    }

    #[test]
    fn pages_and_bytes_end_a_site_and_a_night() {
        for (night, site, expected) in [
            (NightLimits { pages_max: 1, ..NightLimits::default() }, limits(), Limit::NightPages),
            (NightLimits { bytes_max: 10, ..NightLimits::default() }, limits(), Limit::NightBytes),
            (NightLimits::default(), SiteLimits { pages_max: 1, ..limits() }, Limit::SitePages),
            (NightLimits::default(), SiteLimits { bytes_max: 10, ..limits() }, Limit::SiteBytes),
        ] {
            let mut fresh = budget(night.clone(), site.clone());
            one(&mut fresh, 0, 10, Mood::Well);
            assert_eq!(fresh.may_start(0, 0, S(0)), Start::Never(expected));
            let resumed = Budget::new(night, vec![(site, 1, 10)]);
            assert_eq!(resumed.may_start(0, 0, S(0)), Start::Never(expected), "a resumed night has used it already");
        }
    }

    #[test]
    fn a_failing_origin_gets_longer_and_longer_pauses_and_is_left_at_last() {
        let mut budget = budget(NightLimits::default(), limits());
        let mut at = 0;
        for pause in [5, 10, 20, 40, 80, 160, 320] {
            assert_eq!(one(&mut budget, at, 0, Mood::AsksForPause(None)), Then::GoOn);
            assert_eq!(budget.may_start(0, 0, S(at)), Start::At(S(at + pause)));
            assert_eq!(budget.may_start(0, 1, S(at)), Start::Now, "only this host");
            at += pause;
        }
        assert_eq!(one(&mut budget, at, 0, Mood::AsksForPause(None)), Then::LeaveHost);
    }

    #[test]
    fn a_good_answer_makes_it_well_again() {
        let mut budget = budget(NightLimits::default(), limits());
        for at in [0, 100, 200, 300] {
            one(&mut budget, at, 0, Mood::AsksForPause(None));
        }
        one(&mut budget, 400, 0, Mood::Well);
        one(&mut budget, 500, 0, Mood::AsksForPause(None));
        assert_eq!(budget.may_start(0, 0, S(500)), Start::At(S(505)));
    }

    #[test]
    fn failures_that_were_under_way_together_count_as_one() {
        let mut budget = budget(NightLimits::default(), limits());
        for _ in 0..4 {
            budget.start(0, 0, S(0));
        }
        for _ in 0..4 {
            budget.end((0, 0), S(0), S(1), 0, Mood::AsksForPause(None));
        }
        assert_eq!(budget.may_start(0, 0, S(1)), Start::At(S(6)));
    }

    #[test]
    fn the_origin_may_say_how_long_within_reason() {
        let mut budget = budget(NightLimits::default(), limits());
        assert_eq!(one(&mut budget, 0, 0, Mood::AsksForPause(Some(S(120)))), Then::GoOn);
        assert_eq!(budget.may_start(0, 0, S(0)), Start::At(S(120)));
        assert_eq!(one(&mut budget, 120, 0, Mood::AsksForPause(Some(S(86_400)))), Then::LeaveHost);
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").expect("a date");
        for (value, expected) in [
            ("120", Some(S(120))),
            (" 0 ", Some(S(0))),
            ("99999999999999999999999", Some(S(u64::MAX))),
            ("Sat, 21 Nov 2026 12:01:00 GMT", Some(S(60))),
            ("Sat, 21 Nov 2026 11:00:00 GMT", Some(S(0))),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }
}
