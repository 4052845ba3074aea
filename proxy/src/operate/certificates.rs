//! What a running box says about its certificates, and how it notices new ones.

use std::sync::Arc;
use std::time::Duration;

use bulaq_allowlist::Allowlist;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::desk::Desk;
use super::operations::{CaStatus, Failure};
use crate::ca::{Ca, CaError, Certificates, Standing, day_text};

/// How often the files are looked at: a renewed certificate is shown within a minute, and five `stat` cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often the log repeats what is to be done: once a working day is read, and once a minute is not.
const TELL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the files at the start. One that cannot be used keeps no box from serving: what it is for is passed through until
/// [`watch`] finds it put right.
pub(super) fn look_first(certificates: &Certificates, list: &Allowlist) {
    let errors = certificates.reload();
    for error in &errors {
        warn!("{}; https that needs it is passed through until it is put right", Failure::of(error).message);
    }
    // A root that cannot be read is there: nobody is told to make one.
    if let Some(ca) = certificates.ca()
        && (errors.is_empty() || ca.root().is_some())
    {
        tell(ca, list);
    }
}

/// Says what the administrator must know of the CA, at each start and every day.
fn tell(ca: &Ca, list: &Allowlist) {
    let Standing { root, intermediate, findings } = ca.standing(list);
    if let (Some(root), Some(intermediate)) = (root, intermediate) {
        let until = day_text(intermediate.until);
        info!(certificate = %root.pem_path.display(), sha256 = root.sha256, until, "devices that trust this root get lessons over https from the box");
    }
    for finding in findings {
        warn!(reason = finding.reason(), "{finding}");
    }
}

/// Looks at the certificates' files until it is dropped: reads them again when they have changed, and says once a day
/// what is to be done about the CA.
pub(super) async fn watch(desk: Arc<Desk>, certificates: Arc<Certificates>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    loop {
        looks.tick().await;
        let changed = Arc::clone(&certificates);
        match tokio::task::spawn_blocking(move || changed.reload_if_changed()).await {
            Ok(Some(errors)) if errors.is_empty() => info!("the certificates are read again"),
            Ok(Some(errors)) => errors.iter().for_each(|error| warn!("{}", kept(error))),
            Ok(None) | Err(_) => {}
        }
        if told.elapsed() >= TELL_EVERY
            && let Some(ca) = certificates.ca()
        {
            told = Instant::now();
            tell(ca, &desk.rooms().context.allowlist.load());
        }
    }
}

/// That a file could not be read, in a sentence.
pub(super) fn kept(error: &CaError) -> String {
    format!("{}; the certificates from before stay in use", Failure::of(error).message)
}

/// How the CA stands, for `bulaq status`.
pub(super) fn status(ca: &Ca, list: &Allowlist, now: std::time::SystemTime) -> CaStatus {
    let standing = ca.standing(list);
    CaStatus {
        root_sha256: standing.root.as_ref().map(|root| root.sha256.clone()),
        until: standing.intermediate.as_ref().map(|it| day_text(it.until)),
        days_left: standing.days_left(now),
        names: standing.intermediate.as_ref().map_or(0, |it| it.scope.len()),
        findings: standing.findings.iter().map(ToString::to_string).collect(),
    }
}
