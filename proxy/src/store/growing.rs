//! A body that is still arriving: what has come can be read at once, from memory or from its file.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;

use super::body::READ_BYTES_MAX;
use super::files::Files;

/// The bytes of a fill so far. Short bodies and gathered ones stay in memory until they are complete; long ones go to
/// their file in pieces, of which the last is still in memory.
pub(crate) struct Growing {
    state: Mutex<State>,
    files: Arc<Files>,
}

#[derive(Default)]
struct State {
    /// The file and where in it the body begins, once the body is too long for memory.
    file: Option<(Arc<File>, u64)>,
    /// How much of the body is in the file.
    written: u64,
    /// What is being written to the file right now.
    flushing: Bytes,
    tail: BytesMut,
    /// Room for what is in memory, when that is more than a short body.
    gathered: Option<OwnedSemaphorePermit>,
}

impl State {
    fn available(&self) -> u64 {
        self.written + (self.flushing.len() + self.tail.len()) as u64
    }
}

impl Growing {
    /// A body that begins; `expected_bytes` of it are expected to stay in memory.
    pub(crate) fn new(files: Arc<Files>, expected_bytes: u64) -> Self {
        let expected = usize::try_from(expected_bytes).unwrap_or(0);
        let state = State { tail: BytesMut::with_capacity(expected), ..State::default() };
        Self { state: Mutex::new(state), files }
    }

    pub(crate) fn files(&self) -> &Arc<Files> {
        &self.files
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn available_bytes(&self) -> u64 {
        self.lock().available()
    }

    /// Adds bytes at the end; says how many wait in memory.
    pub(crate) fn push(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        state.tail.extend_from_slice(bytes);
        state.tail.len()
    }

    /// Grows in memory up to `expected_bytes`, for which `room` is held until they are in a file.
    pub(crate) fn gather(&self, expected_bytes: usize, room: OwnedSemaphorePermit) {
        let mut state = self.lock();
        let missing = expected_bytes.saturating_sub(state.tail.len());
        state.tail.reserve(missing);
        state.gathered = Some(room);
    }

    /// Shows what is in memory and not being written, in order.
    pub(crate) fn each_in_memory(&self, visit: impl FnOnce(&[u8])) {
        visit(&self.lock().tail);
    }

    /// From now on pieces are written to this file.
    pub(crate) fn spill(&self, file: Arc<File>, body_offset: u64) {
        self.lock().file = Some((file, body_offset));
    }

    /// Takes the tail for writing; it stays readable until [`Growing::flushed`].
    pub(crate) fn start_flush(&self) -> (u64, Bytes) {
        let mut state = self.lock();
        state.flushing = state.tail.split().freeze();
        (state.written, state.flushing.clone())
    }

    /// What was taken is in the file.
    pub(crate) fn flushed(&self) {
        let mut state = self.lock();
        state.written += state.flushing.len() as u64;
        state.flushing = Bytes::new();
        state.gathered = None;
    }

    /// The body so far of a fill that did not go to a file.
    pub(crate) fn whole(&self) -> Bytes {
        let mut state = self.lock();
        if !state.tail.is_empty() {
            // Kept as one piece, which readers and the stored response then share. What is left of the buffer goes: it would
            // keep all of it.
            let tail = std::mem::take(&mut state.tail).freeze();
            state.flushing = match state.flushing.is_empty() {
                true => tail,
                false => [&state.flushing[..], &tail].concat().into(),
            };
        }
        state.flushing.clone()
    }

    /// Reads what is in memory, or in the page cache.
    pub(crate) fn read_now(&self, offset: u64, max: usize) -> Option<io::Result<Bytes>> {
        let (file, body_offset, length) = {
            let state = self.lock();
            if offset >= state.written {
                return Some(Ok(in_memory(&state, offset, max)));
            }
            let (file, body_offset) = state.file.clone()?;
            (file, body_offset, clamp(state.written - offset, max))
        };
        let mut bytes = vec![0; length];
        match self.files.disk.read_now(&file, &mut bytes, body_offset + offset)? {
            Ok(0) if length > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                bytes.truncate(read);
                Some(Ok(bytes.into()))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads, waiting for the disk where it must.
    pub(crate) fn read_at(&self, offset: u64, max: usize) -> io::Result<Bytes> {
        let (file, body_offset, length) = {
            let state = self.lock();
            match &state.file {
                Some((file, body_offset)) if offset < state.written => {
                    (Arc::clone(file), *body_offset, clamp(state.written - offset, max))
                }
                _ => return Ok(in_memory(&state, offset, max)),
            }
        };
        let mut bytes = vec![0; length];
        let read = self.files.disk.read_at(&file, &mut bytes, body_offset + offset)?;
        if read == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

fn clamp(left: u64, max: usize) -> usize {
    max.min(READ_BYTES_MAX).min(usize::try_from(left).unwrap_or(usize::MAX))
}

fn in_memory(state: &State, offset: u64, max: usize) -> Bytes {
    let skip = usize::try_from(offset - state.written.min(offset)).unwrap_or(usize::MAX);
    if skip < state.flushing.len() {
        return state.flushing.slice(skip..state.flushing.len().min(skip.saturating_add(max)));
    }
    let tail = state.tail.get(skip - state.flushing.len()..).unwrap_or_default();
    Bytes::copy_from_slice(&tail[..tail.len().min(max).min(READ_BYTES_MAX)])
}
