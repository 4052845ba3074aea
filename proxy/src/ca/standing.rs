//! How the CA stands today, in words for a technician: for the log, `status`, `ca show` and `doctor`.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::{Allowlist, HostName};

use super::authority::Authority;
use super::{CaError, Intermediate, Root, Scope};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// From how long before its end the intermediate is spoken of: a month has a day on which somebody has time.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The same for the root: giving a new one to every device takes most of a year's terms.
pub const RENEW_ROOT_BEFORE: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// Most names that one sentence lists.
const NAMES_TOLD: usize = 5;

/// How the CA stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The root, when there is one.
    pub root: Option<Root>,
    /// The intermediate, when one is in place.
    pub intermediate: Option<Intermediate>,
    /// What is wrong or soon will be, each with what to do; empty when nothing is.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with the CA, or soon will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Sites are set to `terminate` and there is no root: they are spliced.
    NoRoot,
    /// There is a root and no intermediate: nothing can be signed.
    NoIntermediate,
    /// The clock is before the certificates were made: nothing is signed.
    Clock,
    /// The intermediate has ended: nothing is signed.
    Ended,
    /// The intermediate ends within [`RENEW_BEFORE`].
    EndsSoon {
        /// Whole days left.
        days: u64,
    },
    /// The root has ended: no device trusts anything of it.
    RootEnded,
    /// The root ends within [`RENEW_ROOT_BEFORE`].
    RootEndsSoon {
        /// Whole days left.
        days: u64,
    },
    /// Names that the root covers and the intermediate leaves out: they are spliced.
    Outgrown {
        /// Which.
        names: Vec<HostName>,
    },
    /// Names that even the root leaves out: they are spliced.
    BeyondRoot {
        /// Which.
        names: Vec<HostName>,
    },
}

impl Finding {
    /// A word for scripts that stays the same.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRoot => "no-root",
            Self::NoIntermediate => "no-intermediate",
            Self::Clock => "clock",
            Self::Ended => "ended",
            Self::EndsSoon { .. } => "ends-soon",
            Self::RootEnded => "root-ended",
            Self::RootEndsSoon { .. } => "root-ends-soon",
            Self::Outgrown { .. } => "outgrown",
            Self::BeyondRoot { .. } => "beyond-root",
        }
    }

    /// Whether some or all sites are spliced for it now, and not only later.
    pub fn is_felt(&self) -> bool {
        !matches!(self, Self::EndsSoon { .. } | Self::RootEndsSoon { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RENEW: &str = "renew it with `bulaq ca issue` (`bulaq ca request` where the district has the root)";
        const NEW_ROOT: &str = "make a new root with `bulaq ca init --folder NEW`, and give it to the devices";
        match self {
            Self::NoRoot => f.write_str(
                "there is no CA yet, so sites set to tls = \"terminate\" are passed through; make one with \
                 `bulaq ca init` and `bulaq ca issue`",
            ),
            Self::NoIntermediate => f.write_str(
                "the root has issued nothing to this box yet, so sites set to tls = \"terminate\" are passed through; \
                 run `bulaq ca issue` (`bulaq ca request` where the district has the root)",
            ),
            Self::Clock => f.write_str(
                "the clock is before the box's certificates were made, so sites set to tls = \"terminate\" are passed \
                 through; set the clock",
            ),
            Self::Ended => write!(
                f,
                "the box's intermediate certificate has expired, so sites set to tls = \"terminate\" are passed \
                 through; {RENEW}"
            ),
            Self::EndsSoon { days } => {
                write!(f, "the box's intermediate certificate ends {}; {RENEW}", in_days(*days))
            }
            Self::RootEnded => write!(
                f,
                "the root certificate has expired, so sites set to tls = \"terminate\" are passed through; {NEW_ROOT}"
            ),
            Self::RootEndsSoon { days } => write!(f, "the root certificate ends {}; {NEW_ROOT}", in_days(*days)),
            Self::Outgrown { names } => write!(
                f,
                "the intermediate certificate was issued before the allowlist named {}: passed through; {RENEW}",
                told(names)
            ),
            Self::BeyondRoot { names } => {
                write!(f, "the root certificate does not cover {}: passed through; {NEW_ROOT}", told(names))
            }
        }
    }
}

/// The day of a time in UTC, as `2027-02-20`.
pub fn day_text(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "beyond all dates".to_owned(), |at| at.strftime("%F").to_string())
}

fn in_days(days: u64) -> String {
    match days {
        0 => "today".to_owned(),
        1 => "tomorrow".to_owned(),
        days => format!("in {days} days"),
    }
}

fn told(names: &[HostName]) -> String {
    let mut text = names.iter().take(NAMES_TOLD).map(HostName::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_TOLD {
        text += &format!(" and {} more", names.len() - NAMES_TOLD);
    }
    text
}

impl Standing {
    /// How a root and an intermediate stand for this list at this time. A list without a `terminate` site needs none.
    pub fn new(root: Option<Root>, intermediate: Option<Intermediate>, allowlist: &Allowlist, now: SystemTime) -> Self {
        let findings = findings(root.as_ref(), intermediate.as_ref(), &Scope::of(allowlist), now);
        let is_needed = !Scope::of_sites(allowlist).is_empty();
        Self { root, intermediate, findings: if is_needed { findings } else { Vec::new() } }
    }

    /// How the CA in `folder` stands, whether a box serves with it or not; only reads, and never the root's key.
    ///
    /// # Errors
    /// [`CaError`] names a file that cannot be used and says what to do.
    pub fn read(folder: &Path, allowlist: &Allowlist, now: SystemTime) -> Result<Self, CaError> {
        let authority = Authority::load(folder)?;
        let (root, working) = authority.map_or((None, None), |it| (Some(it.root), it.working));
        Ok(Self::new(root, working.map(|working| working.about), allowlist, now))
    }

    /// Whole days until nothing is signed any more; none without an intermediate, 0 when it has ended.
    pub fn days_left(&self, now: SystemTime) -> Option<u64> {
        self.intermediate.as_ref().map(|it| days_until(it.until, now))
    }
}

fn findings(root: Option<&Root>, intermediate: Option<&Intermediate>, wanted: &Scope, now: SystemTime) -> Vec<Finding> {
    let Some(root) = root else { return vec![Finding::NoRoot] };
    if now < root.from {
        return vec![Finding::Clock];
    }
    if now >= root.until {
        return vec![Finding::RootEnded];
    }
    let mut findings = Vec::new();
    let (in_root, beyond_root) = wanted.split_by(&root.scope);
    match intermediate {
        None => findings.push(Finding::NoIntermediate),
        Some(it) if now < it.from => findings.push(Finding::Clock),
        Some(it) if now >= it.until => findings.push(Finding::Ended),
        Some(it) => {
            if it.until < now + RENEW_BEFORE {
                findings.push(Finding::EndsSoon { days: days_until(it.until, now) });
            }
            let names = in_root.split_by(&it.scope).1;
            if !names.is_empty() {
                findings.push(Finding::Outgrown { names });
            }
        }
    }
    if !beyond_root.is_empty() {
        findings.push(Finding::BeyondRoot { names: beyond_root });
    }
    if root.until < now + RENEW_ROOT_BEFORE {
        findings.push(Finding::RootEndsSoon { days: days_until(root.until, now) });
    }
    findings
}

fn days_until(end: SystemTime, now: SystemTime) -> u64 {
    end.duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs()
}
