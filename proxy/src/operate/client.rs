//! How a command asks the box that serves.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::operations::{DnsStatus, Failure, Lead, Purge, PurgeDone, ReloadDone, Status, VerifyDone, VerifyStep};
use super::socket_path;
use crate::ledger::{HourRow, Period, Totals};
use crate::prefetch::progress::Snapshot;
use crate::prefetch::report::NightReport;

/// Longest line of an answer, in bytes: the report of a night over hundreds of sites.
const LINE_BYTES_MAX: usize = 64 << 20;

/// How long the box may take to take a call. It answers commands beside everything else.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Why a box that serves did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is there and cannot be used.
    #[error("the box behind {} cannot be asked; run this as the account that runs the box", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The box hung up, or it speaks another version's language.
    #[error("the box stopped answering")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The box said no.
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// A box that serves.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

/// A line of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line<S, T> {
    Step(S),
    Done(T),
    Failed(Failure),
}

impl Client {
    /// The box that serves with this data folder; none when no process does.
    ///
    /// # Errors
    /// [`ClientError::Socket`] when there is one and this account may not ask it.
    pub async fn find(data: &Path) -> Result<Option<Self>, ClientError> {
        let path = socket_path(data);
        match connect(&path).await {
            Ok(_) => Ok(Some(Self { path })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(source) => Err(ClientError::Socket { path, source }),
        }
    }

    /// How the box is.
    ///
    /// # Errors
    /// As for every call: the box is gone, or said no.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/status", &(), |(): ()| ()).await
    }

    /// Removes stored responses.
    ///
    /// # Errors
    /// The box is gone, or said no.
    pub async fn purge(&self, what: &Purge) -> Result<PurgeDone, ClientError> {
        self.ask(Method::POST, "/purge", what, |(): ()| ()).await
    }

    /// Runs a night now; `step` hears how far it is. Dropping the future ends the night.
    ///
    /// # Errors
    /// The box is gone, or said no.
    pub async fn prefetch(&self, sites: &[String], step: impl FnMut(Snapshot)) -> Result<NightReport, ClientError> {
        self.ask(Method::POST, "/prefetch", sites, step).await
    }

    /// Compares everything stored with its checksums.
    ///
    /// # Errors
    /// The box is gone, or said no.
    pub async fn verify(&self, step: impl FnMut(VerifyStep)) -> Result<VerifyDone, ClientError> {
        self.ask(Method::POST, "/verify", &(), step).await
    }

    /// Makes the box read its allowlist again.
    ///
    /// # Errors
    /// The box is gone, or said no; then its old list stays.
    pub async fn reload(&self) -> Result<ReloadDone, ClientError> {
        self.ask(Method::POST, "/reload", &(), |(): ()| ()).await
    }

    /// Lets names lead to the box or past it.
    ///
    /// # Errors
    /// The box is gone, or has no resolver.
    pub async fn lead(&self, lead: Lead) -> Result<DnsStatus, ClientError> {
        self.ask(Method::POST, "/dns", &lead, |(): ()| ()).await
    }

    /// What the sites cost and saved.
    ///
    /// # Errors
    /// The box is gone, or said no.
    pub async fn totals(&self, period: Period) -> Result<Totals, ClientError> {
        self.ask(Method::GET, &format!("/ledger/{period}"), &(), |(): ()| ()).await
    }

    /// The hours of the first day of `period`.
    ///
    /// # Errors
    /// The box is gone, or said no.
    pub async fn hours(&self, period: Period) -> Result<Vec<HourRow>, ClientError> {
        self.ask(Method::GET, &format!("/hours/{period}"), &(), |(): ()| ()).await
    }

    /// One call: the steps to `step`, the end as the result.
    async fn ask<C, S, T>(
        &self,
        method: Method,
        path: &str,
        command: &C,
        mut step: impl FnMut(S),
    ) -> Result<T, ClientError>
    where
        C: Serialize + ?Sized,
        S: DeserializeOwned,
        T: DeserializeOwned,
    {
        let stream =
            connect(&self.path).await.map_err(|source| ClientError::Socket { path: self.path.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let body = serde_json::to_vec(command).map_err(broken)?;
        let request = Request::builder().method(method).uri(path).header("host", "bulaq");
        let request = request.body(Full::new(Bytes::from(body))).map_err(broken)?;
        let answer = async {
            let mut lines =
                Lines { body: sender.send_request(request).await.map_err(broken)?.into_body(), text: Vec::new() };
            while let Some(line) = lines.next().await? {
                match serde_json::from_slice(&line).map_err(broken)? {
                    Line::Step(told) => step(told),
                    Line::Done(done) => return Ok(done),
                    Line::Failed(failure) => return Err(ClientError::Refused(failure)),
                }
            }
            Err(broken("the answer has no end"))
        };
        let mut answer = std::pin::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // What has arrived is read before the connection's end is looked at.
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    match tokio::time::timeout(CONNECT_WAIT, UnixStream::connect(path)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken(error.into())
}

/// The lines of an answer as they arrive.
struct Lines {
    body: Incoming,
    text: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.text[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.text.split_off(searched + end + 1);
                return Ok(Some(std::mem::replace(&mut self.text, rest)));
            }
            searched = self.text.len();
            if searched > LINE_BYTES_MAX {
                return Err(broken("a line of the answer is too long"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => return Err(broken(error)),
            }
        }
    }
}
