//! A box to give orders to: the one that serves, or the rooms opened for this command alone.

use std::sync::Arc;
use std::time::Duration;

use super::configured::allowlist;
use crate::clock::Clock;
use crate::config::Config;
use crate::operate::{Client, ClientError, Desk, Failure, Operations, Purge, PurgeDone, Tell, VerifyDone, VerifyStep};
use crate::prefetch::progress::Snapshot;
use crate::prefetch::report::NightReport;

/// How long fills may take to come to an end after the command has done its work, or was interrupted: a person waits.
const CLOSE_WAIT: Duration = Duration::from_secs(3);

/// Whoever does the work.
pub(super) enum Orders {
    /// A process that serves.
    Running(Client),
    /// This process.
    Own(Arc<Desk>),
}

/// Gives `orders` to the box of `config`, and closes what was opened for it.
pub(super) async fn with_box<T>(
    config: &Config,
    orders: impl AsyncFnOnce(&Orders) -> Result<T, ClientError>,
) -> anyhow::Result<T> {
    if let Some(running) = Client::find(&config.data).await? {
        return Ok(orders(&Orders::Running(running)).await?);
    }
    let list = allowlist(&config.allowlist)?;
    crate::operate::run::make_private(&config.data)?;
    let own = Orders::Own(Arc::new(Desk::open(config, list, None, Clock::system())?));
    let result = orders(&own).await;
    if let Orders::Own(desk) = own {
        desk.rooms().clone().close(CLOSE_WAIT).await;
    }
    Ok(result?)
}

impl Orders {
    /// Runs a night; Ctrl-C ends it, and what is left is kept for the next one.
    pub(super) async fn prefetch(
        &self,
        sites: &[String],
        step: impl FnMut(Snapshot),
    ) -> Result<NightReport, ClientError> {
        match self {
            Self::Running(client) => tokio::select! {
                report = client.prefetch(sites, step) => report,
                _ = tokio::signal::ctrl_c() => Err(interrupted().into()),
            },
            Self::Own(desk) => {
                let sites = sites.to_vec();
                let interrupt = async { drop(tokio::signal::ctrl_c().await) };
                Ok(with_steps(|tell| desk.prefetch(sites, tell), step, interrupt).await?)
            }
        }
    }

    /// Removes stored responses.
    pub(super) async fn purge(&self, what: &Purge) -> Result<PurgeDone, ClientError> {
        match self {
            Self::Running(client) => client.purge(what).await,
            Self::Own(desk) => Ok(desk.purge(what.clone()).await?),
        }
    }

    /// Compares everything stored with its checksums.
    pub(super) async fn verify(&self, step: impl FnMut(VerifyStep)) -> Result<VerifyDone, ClientError> {
        match self {
            Self::Running(client) => client.verify(step).await,
            Self::Own(desk) => Ok(with_steps(|tell| desk.verify(tell), step, std::future::pending()).await?),
        }
    }
}

fn interrupted() -> Failure {
    Failure::new("interrupted; what is stored stays, and the next run goes on from there")
}

/// Drives `work` and hears its steps until it ends. After `interrupt` it is told that nobody listens any more.
async fn with_steps<S, T>(
    work: impl AsyncFnOnce(Tell<S>) -> Result<T, Failure>,
    mut step: impl FnMut(S),
    interrupt: impl Future<Output = ()>,
) -> Result<T, Failure> {
    let (tell, mut steps) = Tell::channel();
    let mut work = std::pin::pin!(work(tell));
    let mut interrupt = std::pin::pin!(interrupt);
    loop {
        tokio::select! {
            result = &mut work => {
                while let Ok(last) = steps.try_recv() {
                    step(last);
                }
                return result;
            }
            Some(told) = steps.recv() => step(told),
            () = &mut interrupt => {
                drop(steps);
                return work.await;
            }
        }
    }
}
