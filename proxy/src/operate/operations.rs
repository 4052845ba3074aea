//! What can be asked of a box, and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ingress::doors;
use crate::ingress::resolver::DnsCounts;
use crate::ledger::{HourRow, Period, Totals};
use crate::prefetch::progress::Snapshot;
use crate::prefetch::report::NightReport;

/// What a box does when it is told to.
pub trait Operations: Send + Sync + 'static {
    /// How the box is.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Removes stored responses, or marks them stale.
    fn purge(&self, purge: Purge) -> impl Future<Output = Result<PurgeDone, Failure>> + Send;

    /// Runs a night now, for these sites or for all; `tell` hears how far it is. It ends early when nobody listens to
    /// `tell` any more.
    fn prefetch(
        &self,
        sites: Vec<String>,
        tell: Tell<Snapshot>,
    ) -> impl Future<Output = Result<NightReport, Failure>> + Send;

    /// Compares everything stored with its checksums; `tell` hears how far it is.
    fn verify(&self, tell: Tell<VerifyStep>) -> impl Future<Output = Result<VerifyDone, Failure>> + Send;

    /// Reads the allowlist and the certificates again. A file with an error is refused and the old list stays.
    fn reload(self: &Arc<Self>) -> impl Future<Output = Result<ReloadDone, Failure>> + Send;

    /// Lets names lead past the box for so many seconds, or until told otherwise; or to the box again.
    fn lead(&self, lead: Lead) -> impl Future<Output = Result<DnsStatus, Failure>> + Send;

    /// What the sites cost and saved.
    fn totals(&self, period: Period) -> impl Future<Output = Result<Totals, Failure>> + Send;

    /// The hours of the first day of `period`.
    fn hours(&self, period: Period) -> impl Future<Output = Result<Vec<HourRow>, Failure>> + Send;
}

/// Where an operation says how far it is. It never waits: a listener that is slow misses steps in between.
#[derive(Debug)]
pub struct Tell<T>(tokio::sync::mpsc::Sender<T>);

impl<T> Tell<T> {
    /// The teller, and where its steps arrive.
    pub fn channel() -> (Self, tokio::sync::mpsc::Receiver<T>) {
        /// Steps that wait for a slow terminal; the next ones are newer anyway.
        const STEPS_MAX: usize = 16;
        let (sender, receiver) = tokio::sync::mpsc::channel(STEPS_MAX);
        (Self(sender), receiver)
    }

    /// Tells a step.
    pub fn step(&self, step: T) {
        let _ = self.0.try_send(step); // whoever is slow or gone misses it
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl<T> Clone for Tell<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What to purge, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Mark it stale instead of removing it: it is asked about before its next use, and may still stand in for a site
    /// that cannot be reached.
    #[serde(default)]
    pub soft: bool,
}

/// What a purge is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Every answer for one URL.
    Url(String),
    /// Everything of a site of the allowlist.
    Site(String),
    /// Every URL that begins so.
    Prefix(String),
    /// What of a site its origin has given any of these cache tags.
    Tagged {
        /// By its name on the allowlist.
        site: String,
        /// At least one.
        tags: Vec<String>,
    },
}

/// What a purge did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeDone {
    /// Stored responses that were removed or marked stale.
    pub responses: u64,
    /// What may explain that there were none.
    pub note: Option<String>,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyStep {
    /// Files read.
    pub files: u64,
    /// Of all folders, in per cent.
    pub percent: u8,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyDone {
    /// Files read.
    pub files: u64,
    /// Bytes of bodies read.
    pub bytes: u64,
    /// Damaged files, set aside: what each was and what is wrong with it.
    pub damaged: Vec<String>,
    /// Blocks of partly stored bodies that were not what was written: missing again, and fetched when asked for.
    #[serde(default)]
    pub blocks_lost: u64,
    /// Files that the disk would not read.
    pub unread: u64,
}

/// What a reload brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadDone {
    /// Sites on the list now.
    pub sites: usize,
    /// What in the file is likely not what was meant, one text each.
    pub warnings: Vec<String>,
    /// What is wrong with the certificates or soon will be, one sentence each with what to do.
    #[serde(default)]
    pub certificates: Vec<String>,
}

/// How the box is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This program's version.
    pub version: String,
    /// Sites on the allowlist.
    pub sites: usize,
    /// The store.
    pub store: StoreStatus,
    /// Whether a night is at work.
    pub is_night_at_work: bool,
    /// When the next night begins, in local time; none when there is no window.
    pub next_night: Option<String>,
    /// The certificate authority; none for a box that has no certificates at all.
    #[serde(default)]
    pub ca: Option<CaStatus>,
    /// What the doors did with connections since the start, what never happened left out.
    #[serde(default)]
    pub doors: Vec<DoorCount>,
    /// The resolver; none when it is off.
    #[serde(default)]
    pub dns: Option<DnsStatus>,
}

/// How often the doors did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorCount {
    /// A stable word, such as `spliced-by-list`.
    pub word: String,
    /// The same for people.
    pub text: String,
    /// How often since the box started.
    pub count: u64,
}

impl From<doors::Counted> for DoorCount {
    fn from(counted: doors::Counted) -> Self {
        Self { word: counted.word.to_owned(), text: counted.text.to_owned(), count: counted.count }
    }
}

/// How the certificate authority is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaStatus {
    /// SHA-256 of the root certificate, to be compared on paper; none before `bulaq ca init`.
    pub root_sha256: Option<String>,
    /// The day on which the box's intermediate certificate ends; none before `bulaq ca issue`.
    pub until: Option<String>,
    /// Whole days until then.
    pub days_left: Option<u64>,
    /// Names that it can vouch for.
    pub names: usize,
    /// What is wrong or soon will be, one sentence each with what to do.
    pub findings: Vec<String>,
}

/// Where names are to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lead {
    /// To the box.
    ToTheBox,
    /// Where they lead without it, for so many seconds or until told otherwise.
    PastIt {
        /// Then they lead to the box again.
        seconds: Option<u64>,
    },
}

/// How the resolver is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatus {
    /// Whether names lead to the box, and why not, in a few words.
    pub leading: String,
    /// Answers of the school's resolvers in memory.
    pub remembered: u64,
    /// What it did since the start.
    pub counts: DnsCounts,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Stored responses.
    pub responses: u64,
    /// Responses that are stored in part.
    #[serde(default)]
    pub incomplete: u64,
    /// Bytes on disk, of these and those.
    pub bytes: u64,
    /// What of that the ones take that are stored in part.
    #[serde(default)]
    pub incomplete_bytes: u64,
    /// The most that they may be.
    pub bytes_max: u64,
    /// Bytes that the disk has free; none when it cannot be told.
    pub free_bytes: Option<u64>,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// How the index is, in a few words.
    pub index: String,
}

/// Why the box did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One sentence: what, where, and what to do.
    pub message: String,
    /// More for the terminal, such as the findings in an allowlist, one text each.
    pub details: Vec<String>,
}

impl Failure {
    /// A failure with one sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: Vec::new() }
    }

    /// An error and its causes as one sentence.
    pub fn of(error: &dyn std::error::Error) -> Self {
        /// Causes that are told; longer chains do not help anybody.
        const CAUSES_MAX: usize = 8;
        let causes = std::iter::successors(error.source(), |cause| cause.source()).take(CAUSES_MAX);
        let message = causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"));
        Self::new(message)
    }
}
