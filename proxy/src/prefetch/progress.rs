//! What a night shows while it works: a display on a terminal, log lines otherwise.

use std::io::{self, IsTerminal as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// How far a night is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// Addresses found so far that were or will be asked for.
    pub known: u64,
    /// Of these, dealt with.
    pub done: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Fetched and stored.
    pub stored: u64,
    /// Stored before and fresh enough.
    pub fresh: u64,
    /// Stored before and confirmed.
    pub revalidated: u64,
    /// Failed.
    pub failed: u64,
    /// Bytes of bodies from origins.
    pub bytes: u64,
    /// The site whose turn was last.
    pub site: String,
}

/// Told how far the night is; must return at once.
pub trait Progress: Send + Sync {
    /// After each address, so often.
    fn update(&self, snapshot: &Snapshot);

    /// Once, when the night is over.
    fn finish(&self, snapshot: &Snapshot);
}

/// The display for where we run: a bar on a terminal, a log line every [`LOG_EVERY`] elsewhere.
pub fn for_this_terminal() -> Box<dyn Progress> {
    if io::stderr().is_terminal() { Box::new(Bar::new()) } else { Box::new(LogLines::default()) }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn update(&self, _: &Snapshot) {}
    fn finish(&self, _: &Snapshot) {}
}

/// A bar with counts.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar on standard error.
    pub fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar:.cyan/blue} {pos}/{len}\n{msg}")
            .expect("a template without unknown keys");
        bar.set_style(style);
        Self(bar)
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bar {
    fn update(&self, snapshot: &Snapshot) {
        self.0.set_length(snapshot.known);
        self.0.set_position(snapshot.done);
        self.0.set_message(format!(
            "{}: {} stored, {} fresh, {} unchanged, {} failed, {} fetched",
            snapshot.site,
            snapshot.stored,
            snapshot.fresh,
            snapshot.revalidated,
            snapshot.failed,
            HumanBytes(snapshot.bytes),
        ));
    }

    fn finish(&self, snapshot: &Snapshot) {
        self.update(snapshot);
        self.0.finish();
        eprintln!(); // what is printed next begins on a line of its own
    }
}

/// The shortest time between two log lines of one night.
pub const LOG_EVERY: Duration = Duration::from_secs(60);

/// One log line now and then: counts, and the site's name.
#[derive(Debug, Default)]
pub struct LogLines {
    last: Mutex<Option<Instant>>,
}

impl Progress for LogLines {
    fn update(&self, snapshot: &Snapshot) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *last = Some(Instant::now());
            drop(last);
            log(snapshot, "night goes on");
        }
    }

    fn finish(&self, snapshot: &Snapshot) {
        log(snapshot, "night is over");
    }
}

fn log(at: &Snapshot, message: &str) {
    tracing::info!(
        site = %at.site,
        known = at.known,
        done = at.done,
        stored = at.stored,
        fresh = at.fresh,
        revalidated = at.revalidated,
        failed = at.failed,
        bytes = at.bytes,
        "{message}"
    );
}
