//! A box behind its [`Operations`]: the same for `serve`, which answers its socket with it, and for a command that
//! found no box serving and opened the rooms itself.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bulaq_allowlist::{Allowlist, HostName, limits};
use bulaq_cache_policy::{CacheKey, CacheTag, SiteRule, TAG_BYTES_MAX};
use http::Uri;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::certificates;
use super::operations::{
    DnsStatus, DoorCount, Failure, Lead, Operations, Purge, PurgeDone, ReloadDone, Status, StoreStatus, Tell,
    VerifyDone, VerifyStep, What,
};
use crate::ca::Certificates;
use crate::clock::Clock;
use crate::config::Config;
use crate::ingress::Doors;
use crate::ingress::resolver::{Leading, Resolver};
use crate::ledger::{HourRow, Period, Totals};
use crate::prefetch::progress::{Progress, Snapshot};
use crate::prefetch::report::NightReport;
use crate::prefetch::window::Window;
use crate::prefetch::{Night, schedule};
use crate::request::asked::key_of;
use crate::request::{Stack, purge};
use crate::serve::{OpenError, RoomOptions, Rooms};
use crate::store::{IndexState, PurgeMode};

/// Bytes of a box's identity: no two boxes of a country share them by chance.
const IDENTITY_BYTES: usize = 16;

/// The rooms of a box, its nights, and where its allowlist is.
pub struct Desk {
    rooms: Rooms,
    night: Night<Stack>,
    window: Option<Window>,
    allowlist: PathBuf,
    /// What is shown to clients; a command that serves nobody has none.
    certificates: Option<Arc<Certificates>>,
    /// What the doors count; zero where no door is open.
    doors: Arc<Doors>,
    /// What tells this box from others, so that their nights do not begin at one time.
    identity: [u8; IDENTITY_BYTES],
    nights_at_work: AtomicUsize,
    resolver: OnceLock<Arc<Resolver>>,
    zone: TimeZone,
    /// Held while a file is read and swapped in, so that of two the later one stays.
    reloading: Mutex<()>,
}

impl Desk {
    /// Opens the rooms that `config` describes.
    ///
    /// # Errors
    /// As [`Rooms::open`]: most likely another process has the store.
    pub fn open(
        config: &Config,
        list: Allowlist,
        certificates: Option<Arc<Certificates>>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let options = RoomOptions {
            data: config.data.clone(),
            store: config.store.clone(),
            origin: config.origin.clone(),
            ledger: config.ledger.clone(),
            request: config.request.clone(),
        };
        let rooms = Rooms::open(options, list, clock.clone())?;
        let night = Night::new(
            config.night.clone(),
            Arc::clone(&rooms.context.allowlist),
            rooms.stack.clone(),
            clock,
            &config.data,
        );
        Ok(Self {
            rooms,
            night,
            window: config.window.clone(),
            allowlist: config.allowlist.clone(),
            certificates,
            doors: Arc::default(),
            identity: identity(&config.data),
            nights_at_work: AtomicUsize::new(0),
            resolver: OnceLock::new(),
            zone: config.time_zone.clone(),
            reloading: Mutex::default(),
        })
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// What the doors count.
    pub fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    /// Says which resolver answers for this box, once.
    pub(crate) fn has_resolver(&self, resolver: Arc<Resolver>) {
        let _ = self.resolver.set(resolver); // a second one is never made
    }

    fn dns_status(&self, resolver: &Resolver) -> DnsStatus {
        let leading = match resolver.switch().leading() {
            Leading::Yes => "names lead to the box".to_owned(),
            Leading::Closed => "names lead past the box: its doors are closed".to_owned(),
            Leading::Draining => "names lead past the box: it is stopping".to_owned(),
            Leading::Paused(None) => "names lead past the box until `bulaq dns resume`".to_owned(),
            Leading::Paused(Some(until)) => {
                let zone = self.zone.clone();
                let local = jiff::Timestamp::try_from(until).map(|until| until.to_zoned(zone));
                let until = local.map_or_else(|_| "later".to_owned(), |local| local.strftime("%H:%M:%S").to_string());
                format!("names lead past the box until {until}")
            }
        };
        DnsStatus { leading, remembered: resolver.remembered(), counts: resolver.counts() }
    }

    /// Runs a night in each window until `stop`; returns at once when there is no window.
    pub async fn nights(&self, progress: &dyn Progress, stop: CancellationToken) {
        if let Some(window) = &self.window {
            let progress = AtWork { desk: self, inner: progress, is_counted: Mutex::new(false) };
            schedule(&self.night, window, &self.identity, &progress, stop).await;
        }
    }

    /// Reads the allowlist and the certificates again and swaps them in. Reads files: not on an async thread.
    ///
    /// # Errors
    /// A file with an error; the old list stays.
    pub fn reload_now(&self) -> Result<ReloadDone, Failure> {
        let _reloading = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.allowlist.display().to_string();
        let text = read(&self.allowlist).map_err(|error| {
            Failure::new(format!("the allowlist {name} cannot be read ({error}); the old list stays"))
        })?;
        let loaded = Allowlist::parse(&name, &text).map_err(|rejected| Failure {
            message: format!("{rejected}; the old list stays"),
            details: rejected.diagnostics.iter().map(|finding| finding.render(false)).collect(),
        })?;
        let warnings = loaded.warnings.iter().map(|finding| finding.render(false)).collect();
        let mut told = Vec::new();
        if let Some(certificates) = &self.certificates {
            let errors = certificates.reload();
            told.extend(errors.iter().map(certificates::kept));
            if let Some(ca) = certificates.ca() {
                let findings = ca.standing(&loaded.allowlist).findings;
                told.extend(findings.iter().map(ToString::to_string));
            }
        }
        let sites = loaded.allowlist.sites().len();
        self.rooms.reload(loaded.allowlist);
        Ok(ReloadDone { sites, warnings, certificates: told })
    }

    async fn purge_url(&self, text: &str, mode: PurgeMode) -> Result<PurgeDone, Failure> {
        let list = self.rooms.context.allowlist.load_full();
        let uri = absolute(text)?;
        let key = key_of(&list, &uri).ok_or_else(not_an_address)?;
        let responses = purge::purge_url(&self.rooms.context, &key, mode).await;
        Ok(PurgeDone { responses, note: unlisted(&list, &uri) })
    }

    async fn purge_prefix(&self, text: &str, mode: PurgeMode) -> Result<PurgeDone, Failure> {
        // The spelling of scheme, host and port is the key's; the rest is taken as it is.
        let uri = absolute(text)?;
        let key = CacheKey::new(&uri, &SiteRule::default()).ok_or_else(not_an_address)?;
        let responses = purge::purge_prefix(&self.rooms.context, key.as_str(), mode).await;
        Ok(PurgeDone { responses, note: unlisted(&self.rooms.context.allowlist.load(), &uri) })
    }

    async fn purge_site(&self, name: &str, tags: &[String], mode: PurgeMode) -> Result<PurgeDone, Failure> {
        let tag = |text: &String| {
            CacheTag::new(text).ok_or_else(|| {
                Failure::new(format!("a tag is one word of at most {TAG_BYTES_MAX} bytes, as the site writes it"))
            })
        };
        let tags: Vec<CacheTag> = tags.iter().map(tag).collect::<Result<_, _>>()?;
        let list = self.rooms.context.allowlist.load_full();
        let Some(site) = list.site(name) else {
            let names: Vec<_> = list.sites().iter().map(|site| site.name()).collect();
            let near = bulaq_allowlist::nearest(name, &names);
            let help = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(Failure::new(format!("the allowlist has no site {name}{help}")));
        };
        let responses = purge::purge_site(&self.rooms.context, &list, site, &tags, mode).await;
        Ok(PurgeDone { responses, note: None })
    }
}

/// That no site names the host of an address, if so: then it is misspelt, or was stored under another list.
fn unlisted(list: &Allowlist, uri: &Uri) -> Option<String> {
    let host = HostName::parse(uri.host()?).ok()?;
    match list.site_of(&host) {
        Some(_) => None,
        None => Some(format!("the allowlist has no site with the host {host}")),
    }
}

impl Operations for Desk {
    async fn status(&self) -> Status {
        let context = &self.rooms.context;
        let usage = {
            let store = context.store.clone();
            tokio::task::spawn_blocking(move || store.usage()).await
        };
        let store = match usage {
            Ok(usage) => StoreStatus {
                responses: usage.responses,
                incomplete: usage.incomplete,
                bytes: usage.bytes,
                incomplete_bytes: usage.incomplete_bytes,
                bytes_max: usage.bytes_max,
                free_bytes: usage.free_bytes,
                memory_bytes: usage.memory_bytes,
                index: match usage.index_state {
                    IndexState::Opening => "being opened".to_owned(),
                    IndexState::Rebuilding { percent } => format!("being rebuilt, {percent} %"),
                    IndexState::Ready => "complete".to_owned(),
                    IndexState::ReadyInMemory => "complete, in memory alone: the disk refuses it".to_owned(),
                },
            },
            Err(_) => StoreStatus { index: "unknown".to_owned(), ..StoreStatus::default() },
        };
        let next = self.window.as_ref().and_then(|window| {
            let start = window.next_start(context.clock.now(), &self.identity)?;
            let local = jiff::Timestamp::try_from(start).ok()?.to_zoned(window.zone().clone());
            Some(local.strftime("%Y-%m-%d %H:%M").to_string())
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sites: context.allowlist.load().sites().len(),
            store,
            is_night_at_work: self.nights_at_work.load(Ordering::Relaxed) > 0,
            next_night: next,
            doors: self.doors.all().filter(|counted| counted.count > 0).map(DoorCount::from).collect(),
            ca: self
                .certificates
                .as_ref()
                .and_then(|certificates| certificates.ca())
                .map(|ca| certificates::status(ca, &context.allowlist.load(), context.clock.now())),
            dns: self.resolver.get().map(|resolver| self.dns_status(resolver)),
        }
    }

    async fn purge(&self, purge: Purge) -> Result<PurgeDone, Failure> {
        let mode = if purge.soft { PurgeMode::Soft } else { PurgeMode::Hard };
        match &purge.what {
            What::Url(url) => self.purge_url(url, mode).await,
            What::Prefix(prefix) => self.purge_prefix(prefix, mode).await,
            What::Site(name) => self.purge_site(name, &[], mode).await,
            What::Tagged { site, tags } if tags.is_empty() => {
                Err(Failure::new(format!("say which tags of {site}; without a tag it would be the whole site")))
            }
            What::Tagged { site, tags } => self.purge_site(site, tags, mode).await,
        }
    }

    async fn prefetch(&self, sites: Vec<String>, tell: Tell<Snapshot>) -> Result<NightReport, Failure> {
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        let progress = Telling(tell.clone());
        let progress = AtWork { desk: self, inner: &progress, is_counted: Mutex::new(false) };
        let sites = (!sites.is_empty()).then_some(sites);
        let mut night = std::pin::pin!(self.night.run(sites, None, &progress, stop.clone()));
        let report = tokio::select! {
            report = &mut night => report,
            () = tell.closed() => {
                // Nobody listens any more: the night keeps what is left for the next one, and then it is over.
                stop.cancel();
                night.await
            }
        };
        report.map_err(|error| Failure::of(&error))
    }

    async fn verify(&self, tell: Tell<VerifyStep>) -> Result<VerifyDone, Failure> {
        let step = |files, percent| tell.step(VerifyStep { files, percent });
        let verified = self.rooms.context.store.verify(step).await;
        let damaged = verified.damaged.iter().map(|file| {
            let host = file.host.as_deref().unwrap_or("unknown host");
            format!("{} ({host}): {}", file.id, file.why)
        });
        Ok(VerifyDone {
            files: verified.files,
            bytes: verified.bytes,
            damaged: damaged.collect(),
            blocks_lost: verified.blocks_lost,
            unread: verified.unread,
        })
    }

    async fn reload(self: &Arc<Self>) -> Result<ReloadDone, Failure> {
        // Reading and compiling the largest list takes a second.
        let desk = Arc::clone(self);
        let reloading = tokio::task::spawn_blocking(move || desk.reload_now());
        reloading.await.unwrap_or_else(|_| Err(Failure::new("reading the allowlist ended early; the old list stays")))
    }

    async fn lead(&self, lead: Lead) -> Result<DnsStatus, Failure> {
        let off = || Failure::new("this box has no resolver: [dns] listen of its bulaq.toml is empty");
        let resolver = self.resolver.get().ok_or_else(off)?;
        match lead {
            Lead::ToTheBox => resolver.switch().resume(),
            Lead::PastIt { seconds } => resolver.switch().pause(seconds.map(Duration::from_secs)),
        }
        Ok(self.dns_status(resolver))
    }

    async fn totals(&self, period: Period) -> Result<Totals, Failure> {
        let ledger = Arc::clone(&self.rooms.context.ledger);
        read_ledger(move || ledger.totals(period)).await
    }

    async fn hours(&self, period: Period) -> Result<Vec<HourRow>, Failure> {
        let ledger = Arc::clone(&self.rooms.context.ledger);
        read_ledger(move || ledger.hours(period.first())).await
    }
}

async fn read_ledger<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, crate::ledger::LedgerError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::new("the ledger could not be read")),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(limits::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The box's identity, kept in its data folder from the first start on. A folder that takes no file gets another
/// identity each time, which only moves the night's start.
fn identity(data: &Path) -> [u8; IDENTITY_BYTES] {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = data.join("identity");
    if let Some(known) = std::fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok()) {
        return known;
    }
    let mut fresh = [0; IDENTITY_BYTES];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    if random.fill(&mut fresh).is_err() {
        return fresh;
    }
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(&fresh)) {
        tracing::warn!(%error, file = %path.display(), "the box's identity cannot be kept");
    }
    fresh
}

fn absolute(text: &str) -> Result<Uri, Failure> {
    let url = url::Url::parse(text).map_err(|_| not_an_address())?;
    let is_web = matches!(url.scheme(), "http" | "https");
    url.as_str().parse().ok().filter(|_| is_web).ok_or_else(not_an_address)
}

/// Without the address itself: it may have a query.
fn not_an_address() -> Failure {
    Failure::new("that is not an address; write it as in a browser, with http:// or https://")
}

// ---- Progress ----

/// Steps to whoever asked.
struct Telling(Tell<Snapshot>);

impl Progress for Telling {
    fn update(&self, snapshot: &Snapshot) {
        self.0.step(snapshot.clone());
    }

    fn finish(&self, snapshot: &Snapshot) {
        self.0.step(snapshot.clone());
    }
}

/// Counts a night as at work from its first step to its last.
struct AtWork<'d> {
    desk: &'d Desk,
    inner: &'d dyn Progress,
    is_counted: Mutex<bool>,
}

impl AtWork<'_> {
    fn count(&self, is_at_work: bool) {
        let mut is_counted = self.is_counted.lock().unwrap_or_else(PoisonError::into_inner);
        match (*is_counted, is_at_work) {
            (false, true) => self.desk.nights_at_work.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.desk.nights_at_work.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        *is_counted = is_at_work;
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.count(false);
    }
}

impl Progress for AtWork<'_> {
    fn update(&self, snapshot: &Snapshot) {
        self.count(true);
        self.inner.update(snapshot);
    }

    fn finish(&self, snapshot: &Snapshot) {
        self.inner.finish(snapshot);
        self.count(false);
    }
}
