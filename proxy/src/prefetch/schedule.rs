//! The nights of `serve`: one in each window, at this box's own time.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::fetch::Stack;
use super::night::Night;
use super::progress::Progress;
use super::report::{End, NightReport, saved};
use super::window::{Opening, Window};

/// Longest sleep at once: small boxes set their clock after they start, and the night must notice.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Runs a night in each window until `stop`. A box that starts inside a window begins at once, if this window's night
/// has not been finished already.
///
/// `identity` is what tells this box from others, as for [`Window::opening`]. A night that can't run is logged, and the next
/// one is tried.
pub async fn schedule<S: Stack>(
    night: &Night<S>,
    window: &Window,
    identity: &[u8],
    progress: &dyn Progress,
    stop: CancellationToken,
) {
    let mut over: Option<Opening> = None; // until its end nothing is left to do
    while !stop.is_cancelled() {
        let now = night.clock().now();
        // Before its beginning the clock was set back, and what was done does not count: it may have been done a month ahead.
        over = over.filter(|over| now >= over.opens);
        let from = over.map_or(now, |over| over.closes.max(now));
        let Some(opening) = window.opening(from, identity) else { return };
        if is_done(night, opening) {
            over = Some(opening);
            continue;
        }
        let wait = opening.starts.duration_since(now).unwrap_or_default();
        if !wait.is_zero() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait.min(SLEEP_MAX)) => continue,
            }
        }
        match night.run(None, Some(opening.closes), progress, stop.clone()).await {
            Ok(report) => log(&report),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the night could not run"),
        }
        over = Some(opening);
    }
}

/// Whether a night of all sites that began in this window came to its own end.
fn is_done<S: Stack>(night: &Night<S>, opening: Opening) -> bool {
    let Some(last) = saved(night.folder()).ok().and_then(|mut reports| reports.pop()) else { return false };
    NightReport::load(&last).is_ok_and(|report| {
        let started = SystemTime::from(report.started);
        let is_over = matches!(report.end, End::Complete | End::Limit);
        is_over && started >= opening.opens && started < opening.closes && night.is_whole(&report)
    })
}

fn log(report: &NightReport) {
    let total = report.total();
    tracing::info!(
        end = report.end.as_str(),
        stored = total.stored,
        fresh = total.fresh,
        revalidated = total.revalidated,
        skipped = total.skipped_total(),
        failed = total.failed_total(),
        bytes = total.bytes,
        "night is over; `bulaq report` tells more"
    );
}
