//! The socket of a box that serves: HTTP/1.1 on `<data>/control.sock`, open to its owner alone.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /status` | how the box is |
//! | `GET /ledger/PERIOD`, `GET /hours/PERIOD` | what the sites cost and saved |
//! | `POST /purge` with `{"url": "…"}`, `{"site": "…"}`, `{"prefix": "…"}` or `{"tagged": {"site": "…", "tags": ["…"]}}`, and `"soft": true` | how much was removed, or marked stale |
//! | `POST /prefetch` with `["site", …]` | steps while it works, then the report |
//! | `POST /verify` | steps while it works, then what was found |
//! | `POST /reload` | the sites of the new allowlist |
//! | `POST /dns` with `"to-the-box"` or `{"past-it": {"seconds": 600}}` | how the resolver is |
//!
//! An answer is lines of JSON: any number of `{"step": …}` and one `{"done": …}` or `{"failed": …}` at the end. A client
//! that hangs up ends what it asked for.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::operations::{Failure, Operations, Tell};
use crate::ledger::Period;

/// Commands that talk to the box at one time. Each is a person at a terminal or a script of theirs.
const CONNECTIONS_MAX: usize = 16;

/// Longest text of a command, in bytes: a purge's URL or the names of some sites.
const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// How long a command may take to say what it wants.
const COMMAND_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before accepting again when the system has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lines that wait for a slow terminal; then the steps in between are left out.
const LINES_MAX: usize = 16;

/// The socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the control socket {} cannot be opened", path.display())]
pub struct ControlError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The open socket. Dropping it removes the file.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    listener: UnixListener,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // a socket that is gone already is as good
    }
}

impl Control {
    /// Opens the socket at `path` in the place of one that an earlier process left. Whoever calls holds the store, so
    /// no other process can be behind it. It gets its name once only its owner can use it.
    ///
    /// # Errors
    /// When the folder does not take it.
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError { path: path.to_owned(), source };
        let unready = path.with_extension("sock.new");
        match fs::remove_file(&unready) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&unready).map_err(failed)?;
        fs::set_permissions(&unready, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        fs::rename(&unready, path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Answers commands until `stop` is done; a command in work is then dropped.
    pub async fn serve<O: Operations>(self, operations: Arc<O>, stop: impl Future<Output = ()> + Send) {
        self.answer_until(operations, stop).await;
        // On a disk that hangs nobody can be waited for, and whoever calls waits with a limit.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    async fn answer_until<O: Operations>(&self, operations: Arc<O>, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = self.accept(&places) => accepted,
            };
            let (place, stream) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let operations = Arc::clone(&operations);
            connections.spawn(async move {
                serve_connection(stream, operations).await;
                drop(place);
            });
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> io::Result<(tokio::sync::OwnedSemaphorePermit, UnixStream)> {
        let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        Ok((place, self.listener.accept().await?.0))
    }
}

async fn serve_connection<O: Operations>(stream: UnixStream, operations: Arc<O>) {
    let service = service_fn(move |request| {
        let operations = Arc::clone(&operations);
        async move { Ok::<_, Infallible>(answer(operations, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(COMMAND_WAIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a command hung up");
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer<O: Operations>(operations: Arc<O>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let mut path = parts.uri.path().trim_start_matches('/').splitn(2, '/');
    let (name, rest) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
    match (parts.method, name) {
        (Method::GET, "status") => done(Ok(operations.status().await)),
        (Method::GET, "ledger") => match period(rest) {
            Ok(period) => done(operations.totals(period).await),
            Err(failure) => failed(failure),
        },
        (Method::GET, "hours") => match period(rest) {
            Ok(period) => done(operations.hours(period).await),
            Err(failure) => failed(failure),
        },
        (Method::POST, "purge") => match command(body).await {
            Ok(what) => done(operations.purge(what).await),
            Err(failure) => failed(failure),
        },
        (Method::POST, "dns") => match command(body).await {
            Ok(lead) => done(operations.lead(lead).await),
            Err(failure) => failed(failure),
        },
        (Method::POST, "reload") => done(operations.reload().await),
        (Method::POST, "prefetch") => match command(body).await {
            Ok(sites) => with_steps(|tell| async move { operations.prefetch(sites, tell).await }),
            Err(failure) => failed(failure),
        },
        (Method::POST, "verify") => with_steps(|tell| async move { operations.verify(tell).await }),
        _ => failed(Failure::new("the box knows no such command: is it of another version?")),
    }
}

fn period(text: &str) -> Result<Period, Failure> {
    Period::try_from(text.to_owned()).map_err(|error| Failure::of(&error))
}

async fn command<T: DeserializeOwned>(body: Incoming) -> Result<T, Failure> {
    let read = tokio::time::timeout(COMMAND_WAIT, Limited::new(body, COMMAND_BYTES_MAX).collect()).await;
    let Ok(Ok(content)) = read else { return Err(Failure::new("the command is too long or did not arrive")) };
    serde_json::from_slice(&content.to_bytes()).map_err(|error| Failure::of(&error))
}

// ---- Answers ----

/// One line of an answer.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Line<S, T> {
    Step(S),
    Done(T),
    Failed(Failure),
}

impl<S: Serialize, T: Serialize> Line<S, T> {
    fn to_bytes(&self) -> Bytes {
        let mut text = serde_json::to_vec(self).expect("answers have only strings, numbers and lists of them");
        text.push(b'\n');
        text.into()
    }
}

fn done<T: Serialize>(result: Result<T, Failure>) -> Answer {
    let line = result.map_or_else(Line::<(), T>::Failed, Line::Done);
    Response::new(Full::new(line.to_bytes()).boxed_unsync())
}

fn failed(failure: Failure) -> Answer {
    done::<()>(Err(failure))
}

/// An answer whose steps are written while the work goes on. Who hangs up drops the work.
fn with_steps<S, T, W, F>(work: W) -> Answer
where
    S: Serialize + Send + 'static,
    T: Serialize + Send + 'static,
    W: FnOnce(Tell<S>) -> F,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let (tell, mut steps) = Tell::channel();
    let work = work(tell);
    let (lines, reader) = mpsc::channel::<Bytes>(LINES_MAX);
    tokio::spawn(async move {
        let told = async {
            while let Some(step) = steps.recv().await {
                let _ = lines.try_send(Line::<S, T>::Step(step).to_bytes()); // a slow terminal misses it
            }
            std::future::pending().await
        };
        let end = tokio::select! {
            result = work => result.map_or_else(Line::<S, T>::Failed, Line::Done),
            () = lines.closed() => return,
            () = told => return,
        };
        let _ = lines.send(end.to_bytes()).await; // fails only when nobody reads any more
    });
    let frames =
        stream::unfold(
            reader,
            |mut reader| async move { reader.recv().await.map(|line| (Ok(Frame::data(line)), reader)) },
        );
    Response::new(StreamBody::new(frames).boxed_unsync())
}

#[cfg(test)]
mod tests;
