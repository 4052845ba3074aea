//! The box at work: every room opened once, in order, and closed in the opposite one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bulaq_allowlist::Allowlist;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::ledger::{Ledger, LedgerError, LedgerOptions};
use crate::origin::{Origin, OriginError, OriginOptions};
use crate::portal::proxy_pac::PacFiles;
use crate::portal::shelves::Shelves;
use crate::request::collapse::Flights;
use crate::request::combine::Assemblies;
use crate::request::{Context, Repeats, RequestOptions, Stack, stack};
use crate::store::{Store, StoreError, StoreOptions};

/// How long the ledger may take to be written at the end: a page of numbers, on a disk that may hang.
const LEDGER_WAIT: Duration = Duration::from_secs(5);

/// What the rooms of a box are opened with.
#[derive(Clone, Debug)]
pub struct RoomOptions {
    /// Where the box keeps its own files; each room has a folder in it.
    pub data: PathBuf,
    /// The store's settings; its folder is within `data` unless set otherwise.
    pub store: StoreOptions,
    /// The way out.
    pub origin: OriginOptions,
    /// The ledger.
    pub ledger: LedgerOptions,
    /// The request path.
    pub request: RequestOptions,
}

/// The rooms of a box: enough to answer requests, for `serve`, for a night, and for tests.
#[derive(Clone)]
pub struct Rooms {
    /// What the request path uses; shared.
    pub context: Arc<Context>,
    /// The request path.
    pub stack: Stack,
}

/// Why the box does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error("the store does not open")]
    Store(#[from] StoreError),
    /// The way out.
    #[error("the way to the origins does not open")]
    Origin(#[from] OriginError),
    /// The ledger.
    #[error("the ledger does not open")]
    Ledger(#[from] LedgerError),
}

impl Rooms {
    /// Opens the rooms. The store's index may still be opening when this returns; requests wait for it for a moment.
    ///
    /// # Errors
    /// [`OpenError`] names the room; its cause says what is wrong there.
    pub fn open(options: RoomOptions, allowlist: Allowlist, clock: Clock) -> Result<Self, OpenError> {
        let store = Store::open(options.store, clock.clone())?;
        let origin = Origin::new(options.origin, clock.clone())?;
        let ledger = Ledger::open(options.data.join("ledger"), options.ledger, clock.clone())?;
        let context = Arc::new(Context {
            allowlist: Arc::new(ArcSwap::from_pointee(allowlist)),
            store,
            origin,
            flights: Arc::new(Flights::new(clock.clone())),
            assemblies: Assemblies::default(),
            tasks: TaskTracker::new(),
            shelves: Shelves::default(),
            pac_files: PacFiles::default(),
            ledger: Arc::new(ledger),
            clock,
            options: options.request,
        });
        Ok(Self { stack: stack(context.clone()), context })
    }

    /// A memo of answers from these rooms, for their doors.
    pub fn repeats(&self) -> Arc<Repeats> {
        let context = &self.context;
        Arc::new(Repeats::new(context.store.clone(), Arc::clone(&context.ledger), context.clock.clone()))
    }

    /// Swaps the allowlist. What is in memory is read again from the store under the new rules, and nobody who comes now
    /// joins what was asked for under the old ones.
    pub fn reload(&self, allowlist: Allowlist) {
        self.context.allowlist.store(Arc::new(allowlist));
        self.context.flights.invalidate(|_| true);
        self.context.store.forget_memory();
    }

    /// Waits for the fills that are under way, at most `patience`, then closes the ledger and the store.
    pub async fn close(self, patience: Duration) {
        self.context.tasks.close();
        if tokio::time::timeout(patience, self.context.tasks.wait()).await.is_err() {
            tracing::info!("some fills did not end in time; they are dropped");
        }
        let ledger = Arc::clone(&self.context.ledger);
        let written = tokio::task::spawn_blocking(move || ledger.write());
        match tokio::time::timeout(LEDGER_WAIT, written).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last minute of the ledger could not be written"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last minute of the ledger was not written in time"),
        }
        self.context.store.clone().close().await;
    }
}
