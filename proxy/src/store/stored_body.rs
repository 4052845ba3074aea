//! A stored body, or a part of it, on its way to a client.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::BodyFile;
use super::stored_response::StoredResponse;
use crate::request::BodyError;

/// How much is read from a file at a time: enough for few calls, little enough that a thousand slow readers fit.
const CHUNK_BYTES: usize = 128 << 10;

/// The bytes `range` of a stored body. Ends with an error, never early, when the file turns out to be damaged.
pub struct StoredBody {
    state: State,
    left: Range<u64>,
}

enum State {
    /// All of it in memory.
    Whole(Bytes),
    File(BodyFile),
    Reading(BodyFile, Reading),
    Failed,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

impl StoredBody {
    /// The bytes `range` of the body, clamped to its length, from memory; `None` when it is not there and
    /// [`StoredBody::open`] must be asked.
    pub fn in_memory(stored: &StoredResponse, range: Range<u64>) -> Option<Self> {
        let bytes = stored.small_body()?;
        let left = clamped(range, bytes.len() as u64);
        let part = usize::try_from(left.start).ok()?..usize::try_from(left.end).ok()?;
        Some(Self { state: State::Whole(bytes.slice(part)), left })
    }

    /// The bytes `range` of the body, clamped to its length.
    ///
    /// # Errors
    /// As [`StoredResponse::body_file`]: on any error treat the response as not stored.
    pub async fn open(stored: &Arc<StoredResponse>, range: Range<u64>) -> io::Result<Self> {
        if let Some(body) = Self::in_memory(stored, range.clone()) {
            return Ok(body);
        }
        Ok(Self { state: State::File(stored.body_file().await?), left: clamped(range, stored.body_bytes()) })
    }

    fn took(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if bytes.is_empty() {
            return self.failed(io::ErrorKind::UnexpectedEof.into());
        }
        self.left.start += bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn failed(&mut self, error: io::Error) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.state = State::Failed;
        Poll::Ready(Some(Err(BodyError::Store(error))))
    }
}

fn clamped(range: Range<u64>, bytes: u64) -> Range<u64> {
    let end = range.end.min(bytes);
    range.start.min(end)..end
}

impl Body for StoredBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let max = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        loop {
            match std::mem::replace(&mut self.state, State::Failed) {
                State::Whole(bytes) => return self.took(bytes),
                State::File(file) => {
                    let offset = self.left.start;
                    if let Some(result) = file.read_now(offset, max) {
                        self.state = State::File(file);
                        return match result {
                            Ok(bytes) => self.took(bytes),
                            Err(error) => self.failed(error),
                        };
                    }
                    let reader = file.clone();
                    let reading = Box::pin(async move { reader.read_at(offset, max).await });
                    self.state = State::Reading(file, reading);
                }
                State::Reading(file, mut reading) => {
                    let Poll::Ready(result) = reading.as_mut().poll(cx) else {
                        self.state = State::Reading(file, reading);
                        return Poll::Pending;
                    };
                    self.state = State::File(file);
                    return match result {
                        Ok(bytes) => self.took(bytes),
                        Err(error) => self.failed(error),
                    };
                }
                State::Failed => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}
