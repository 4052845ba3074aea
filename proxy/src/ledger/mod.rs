//! What an exchange ends in: receipts, added up by site and hour, never by client.
//!
//! [`Ledger::add`] takes a [`Receipt`] on the request path: it bumps counters that belong to the running thread
//! (`tally`) and returns. Once a minute, and when the hour turns, what was counted moves into the `day` that it
//! belongs to; a day is one JSON file in `<data>/ledger` (`file`). The questions ("what did April save?") are
//! answered from those files and from what is not yet written ([`totals`]), and shown by `table`.
//!
//! A site with fewer than ten requests of people is never shown by name: a small number can name a pupil.

pub mod counts;
mod day;
mod file;
pub mod period;
pub mod receipt;
mod table;
mod tally;
pub mod totals;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tracing::{info, warn};

pub use counts::{Counts, SiteCounts};
pub use period::Period;
pub use receipt::Receipt;
pub use totals::{HourRow, SiteRow, Totals};

use crate::clock::Clock;
use crate::request::Way;
use day::Days;
use file::Folder;
pub use file::LedgerError;
use tally::Tallies;

/// How often what was counted is written down. A power cut costs at most this much of the count.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerOptions {
    /// How many days are kept, today included; older files are removed.
    pub retention_days: u32,
    /// Whose midnight ends a day.
    pub time_zone: TimeZone,
}

impl LedgerOptions {
    /// Days kept unless configured otherwise: a school year, its holidays, and a month to compare it with.
    pub const RETENTION_DAYS: u32 = 400;
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self { retention_days: Self::RETENTION_DAYS, time_zone: TimeZone::system() }
    }
}

/// All receipts, added up by site and hour. Shared by reference: every method takes `&self`.
pub struct Ledger {
    options: LedgerOptions,
    clock: Clock,
    tallies: Tallies,
    open: OpenHour,
    /// What was counted and is not yet in a file. Held for moments only; a request never waits for it.
    unwritten: Mutex<Unwritten>,
    /// None when the ledger lives in memory alone. Held while files are read or written.
    folder: Mutex<Option<Folder>>,
}

/// The counts that no file has yet, and the hour that the running count belongs to.
struct Unwritten {
    days: Days,
    open: (Date, i8),
}

/// The bounds of the hour that is being counted, so that a receipt need not work out its local hour.
#[derive(Default)]
struct OpenHour {
    start_s: AtomicU64,
    end_s: AtomicU64,
}

impl OpenHour {
    fn holds(&self, now_s: u64) -> bool {
        (self.start_s.load(Ordering::Acquire)..self.end_s.load(Ordering::Acquire)).contains(&now_s)
    }

    fn set(&self, start_s: u64) {
        self.end_s.store(0, Ordering::Release); // nobody takes a mixture of two hours for one
        self.start_s.store(start_s, Ordering::Release);
        self.end_s.store(start_s + 3600, Ordering::Release);
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger in `folder` (made if need be, closed to other accounts), cleaning up what a crash left.
    ///
    /// # Errors
    /// When the folder can neither be made nor read. A day's file that cannot be understood is not an error: it is
    /// set aside and said so.
    pub fn open(folder: PathBuf, options: LedgerOptions, clock: Clock) -> Result<Self, LedgerError> {
        let folder = Folder::open(folder)?;
        let ledger = Self::with(Some(folder), options, clock);
        ledger.forget_old_days();
        Ok(ledger)
    }

    /// A ledger that writes nothing: for the demo and for tests.
    pub fn in_memory(options: LedgerOptions, clock: Clock) -> Self {
        Self::with(None, options, clock)
    }

    fn with(folder: Option<Folder>, options: LedgerOptions, clock: Clock) -> Self {
        let now_s = seconds(clock.now());
        let (date, hour, start_s) = local_hour(now_s, &options.time_zone);
        let open = OpenHour::default();
        open.set(start_s);
        Self {
            options,
            clock,
            tallies: Tallies::default(),
            open,
            unwritten: Mutex::new(Unwritten { days: Days::default(), open: (date, hour) }),
            folder: Mutex::new(folder),
        }
    }

    /// Counts one exchange. Takes no lock that another request holds and never waits.
    pub fn add(&self, receipt: &Receipt) {
        self.turn_hour_if_over();
        self.tallies.add(receipt);
    }

    /// Counts bytes that a fill brought over the link for `site`: it belongs to no single exchange.
    pub fn add_wan(&self, site: &Arc<str>, is_zero_rated: bool, way: Way, wan_bytes: u64) {
        self.turn_hour_if_over();
        self.tallies.add_wan(site, is_zero_rated, way, wan_bytes);
    }

    fn turn_hour_if_over(&self) {
        let now_s = seconds(self.clock.now());
        if !self.open.holds(now_s) {
            // Whoever finds the lock taken lets its owner turn the hour: one receipt may land in the hour before.
            if let Ok(mut unwritten) = self.unwritten.try_lock() {
                self.turn_hour(&mut unwritten, now_s);
            }
        }
    }

    /// Today's date where the school is.
    pub fn today(&self) -> Date {
        local_hour(seconds(self.clock.now()), &self.options.time_zone).0
    }

    /// What the sites cost and saved in `period`, the minute that is running included.
    ///
    /// # Errors
    /// When a day's file exists and cannot be read from the disk.
    pub fn totals(&self, period: Period) -> Result<Totals, LedgerError> {
        Ok(Totals::from_days(period, &self.days(period)?))
    }

    /// The hours of one day, by site.
    ///
    /// # Errors
    /// As for [`Ledger::totals`].
    pub fn hours(&self, date: Date) -> Result<Vec<HourRow>, LedgerError> {
        let days = self.days(Period::day(date))?;
        Ok(days.get(date).map(HourRow::of_day).unwrap_or_default())
    }

    /// The totals of `period` as an aligned table with human units, for a terminal.
    ///
    /// # Errors
    /// As for [`Ledger::totals`].
    pub fn table(&self, period: Period) -> Result<String, LedgerError> {
        Ok(self.totals(period)?.to_string())
    }

    /// Writes what has been counted since the last time; does nothing when nothing was.
    ///
    /// # Errors
    /// When a file cannot be written. The counts stay in memory and the next call tries again.
    pub fn write(&self) -> Result<(), LedgerError> {
        let mut folder = lock(&self.folder);
        let Some(folder) = folder.as_mut() else { return Ok(()) };
        let days = {
            let mut unwritten = lock(&self.unwritten);
            self.turn_hour(&mut unwritten, seconds(self.clock.now()));
            std::mem::take(&mut unwritten.days)
        };
        let mut first_error = None;
        for (date, day) in days {
            if let Err(error) = folder.add(date, &day) {
                lock(&self.unwritten).days.entry(date).merge(&day);
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Writes every minute until `stop` is done, and once more then. Old days are removed when the date changes.
    pub async fn keep(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut every = tokio::time::interval(WRITE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut today = self.today();
        let mut is_stopping = false;
        while !is_stopping {
            tokio::select! {
                () = &mut stop => is_stopping = true,
                _ = every.tick() => {}
            }
            let is_new_day = std::mem::replace(&mut today, self.today()) != today;
            let ledger = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || {
                if is_new_day {
                    ledger.forget_old_days();
                }
                ledger.write()
            });
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "the ledger is not written; the next minute tries again"
                    );
                }
                Err(error) => warn!(%error, "writing the ledger ended early"),
            }
        }
    }

    /// Moves what was counted into the hour that was open, and opens the hour of `now_s`, later or earlier.
    fn turn_hour(&self, unwritten: &mut Unwritten, now_s: u64) {
        let (date, hour) = unwritten.open;
        self.tallies.take_into(|site, zero_rated, counts| {
            unwritten.days.entry(date).add(hour, site, zero_rated, counts);
        });
        if !self.open.holds(now_s) {
            let (date, hour, start_s) = local_hour(now_s, &self.options.time_zone);
            unwritten.open = (date, hour);
            self.open.set(start_s);
        }
    }

    /// The days of `period`, from the files and from memory.
    fn days(&self, period: Period) -> Result<Days, LedgerError> {
        let mut folder = lock(&self.folder);
        let mut days = match folder.as_mut() {
            Some(folder) => folder.read(period)?,
            None => Days::default(),
        };
        let mut unwritten = lock(&self.unwritten);
        self.turn_hour(&mut unwritten, seconds(self.clock.now()));
        for (date, day) in unwritten.days.iter().filter(|(date, _)| period.contains(*date)) {
            days.entry(date).merge(day);
        }
        Ok(days)
    }

    fn forget_old_days(&self) {
        let keep = i64::from(self.options.retention_days.max(1)) - 1;
        let Ok(first) = self.today().checked_sub(jiff::Span::new().days(keep)) else { return };
        if let Some(folder) = lock(&self.folder).as_mut() {
            match folder.remove_before(first) {
                Ok(0) => {}
                Ok(removed) => info!(removed, "old days of the ledger are removed"),
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "old days of the ledger could not be removed");
                }
            }
        }
    }
}

/// A panic elsewhere leaves counts, never a half-made structure, so the lock stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The local date and hour of `now_s`, and the second at which that hour began.
fn local_hour(now_s: u64, time_zone: &TimeZone) -> (Date, i8, u64) {
    let timestamp = i64::try_from(now_s)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .unwrap_or(jiff::Timestamp::MAX);
    let local = timestamp.to_zoned(time_zone.clone());
    let into_hour = u64::try_from(i64::from(local.minute()) * 60 + i64::from(local.second())).unwrap_or(0);
    (local.date(), local.hour(), now_s.saturating_sub(into_hour))
}

#[cfg(test)]
mod tests;
