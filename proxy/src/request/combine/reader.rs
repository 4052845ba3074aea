//! One reader of a body in parts: what is stored from the store, the rest from runs, started where none is under way.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::assembly::{Assembly, Joined, allowance};
use super::fetch::fetch;
use super::run::{End, Follower, Look, Run};
use crate::request::asked::Asked;
use crate::request::{BodyError, Context, ForwardError, ResponseBody, Way};
use crate::store::{BLOCK_BYTES, Incomplete};

/// The most that one read of the store brings, in bytes.
const READ_BYTES: usize = 32 << 10;

/// How often a reader starts or joins a further run for a block that did not come.
const TRIES_MAX: u32 = 2;

/// How often a reader joins or starts a run for one block at all: runs may hand their bytes over to others a few times, not
/// for ever.
const JOINS_MAX: u32 = 16;

/// One reader, for one request, of the bytes of one range.
pub struct Reader {
    context: Arc<Context>,
    asked: Arc<Asked>,
    assembly: Arc<Assembly>,
    incomplete: Arc<Incomplete>,
    position: u64,
    end: u64,
    given_bytes: u64,
    following: Option<Follower>,
    /// How often the block at the position has failed to come.
    failures: (u64, u32),
    /// How many runs were joined for the block at the position.
    joins: (u64, u32),
    /// Whether the run that it follows was begun for it.
    has_begun: bool,
    /// Up to which block it was seen to that the bytes will be there.
    looked_ahead: u64,
}

/// Counts one more for the block at `position`, from the beginning when it is another block than last time.
fn count((block, times): &mut (u64, u32), position: u64) -> u32 {
    let at = position / BLOCK_BYTES;
    *times = if *block == at { *times + 1 } else { 1 };
    *block = at;
    *times
}

/// Waits until it is known whether a run will bring anything.
async fn answer_of(run: &Run) -> Result<(), End> {
    loop {
        let mut changed = std::pin::pin!(run.changed());
        changed.as_mut().enable();
        match run.answer() {
            Some(answer) => return answer,
            None => changed.await,
        }
    }
}

/// Why the first byte will not come.
#[derive(Debug)]
pub enum NotReady {
    /// The representation has changed, or what is stored went: look again, as if nothing were stored.
    Changed,
    /// The origin answered with this status in place of a part.
    Refused {
        /// Its status.
        status: StatusCode,
        /// Whether it was asked for this reader; if not, others wait for the same.
        has_begun: bool,
    },
    /// The origin failed.
    Failed(ForwardError),
}

enum Step {
    Chunk(Bytes),
    Again,
    Failed(BodyError),
}

impl Reader {
    /// A reader of all of it.
    pub fn new(context: &Arc<Context>, asked: &Arc<Asked>, assembly: &Arc<Assembly>) -> Self {
        let incomplete = assembly.incomplete();
        Self {
            context: Arc::clone(context),
            asked: Arc::clone(asked),
            assembly: Arc::clone(assembly),
            position: 0,
            end: incomplete.complete_length(),
            incomplete,
            given_bytes: 0,
            following: None,
            failures: (0, 0),
            joins: (0, 0),
            has_begun: false,
            looked_ahead: 0,
        }
    }

    /// The same, who reads along with a run from the beginning, so that it knows of somebody who wants it.
    pub(super) fn along(mut self, run: &Arc<Run>) -> Self {
        self.following = Some(run.follow(run.start));
        self
    }

    /// The same with some confidence: whoever reads to the end on nobody's behalf gets long runs.
    pub(super) fn trusted(mut self) -> Self {
        self.given_bytes = u64::MAX;
        self
    }

    /// The same for these bytes only; it must not have read yet.
    pub fn narrowed(mut self, range: Range<u64>) -> Self {
        self.end = range.end.min(self.incomplete.complete_length());
        self.position = range.start.min(self.end);
        self.looked_ahead = self.position / BLOCK_BYTES;
        if let Some(follower) = &self.following {
            follower.stands_at(self.position);
        }
        self
    }

    /// Another one of the same body, for other bytes.
    pub fn another(&self, range: Range<u64>) -> Self {
        Self::new(&self.context, &self.asked, &self.assembly).narrowed(range)
    }

    /// What is read.
    pub fn assembly(&self) -> &Arc<Assembly> {
        &self.assembly
    }

    /// The head to answer with, and the complete length beside it.
    pub fn incomplete(&self) -> &Arc<Incomplete> {
        &self.incomplete
    }

    /// Waits until the byte at `position` is here, or an origin has begun to answer with it: from then on a head may be sent.
    ///
    /// # Errors
    /// When it will not come; nothing was read.
    pub async fn ready(&mut self, position: u64) -> Result<(), NotReady> {
        while !self.incomplete.has_block(position / BLOCK_BYTES) {
            if self.incomplete.is_gone() && self.following.is_none() {
                return Err(NotReady::Changed);
            }
            let follower = match self.following.take() {
                Some(follower) if follower.run.brings(position) => follower,
                _ => self.join(position).ok_or_else(|| NotReady::Failed(self.incomplete_response()))?,
            };
            let answer = answer_of(&follower.run).await;
            self.following = Some(follower);
            match answer {
                Ok(()) => return Ok(()),
                Err(End::Changed) => return Err(NotReady::Changed),
                Err(End::Refused(status)) => {
                    return Err(NotReady::Refused { status, has_begun: self.has_begun });
                }
                Err(End::Failed(error)) if !self.may_try_again(position) => return Err(NotReady::Failed(error)),
                Err(End::Failed(_) | End::Done) => self.following = None,
            }
        }
        Ok(())
    }

    /// The next bytes, as soon as there are some; none at the end.
    ///
    /// # Errors
    /// When they will not come.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        while self.position < self.end {
            match self.step().await {
                Step::Chunk(chunk) => return Some(Ok(self.advance(chunk))),
                Step::Again => {}
                Step::Failed(error) => {
                    self.end = self.position;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Step {
        if let Some(follower) = &self.following {
            let look = || follower.run.look(follower, self.position, self.is_night());
            match look() {
                Look::Chunk(chunk) => return Step::Chunk(chunk),
                Look::Kept => {}
                Look::NotYet => {
                    let run = Arc::clone(&follower.run);
                    let mut changed = std::pin::pin!(run.changed());
                    // What comes after this look wakes us.
                    changed.as_mut().enable();
                    if matches!(look(), Look::NotYet) {
                        changed.await;
                    }
                    return Step::Again;
                }
                Look::Elsewhere => self.following = None,
                Look::Over(end) => {
                    self.following = None;
                    return self.after(end);
                }
            }
        }
        if self.incomplete.has_block(self.position / BLOCK_BYTES) {
            return match self.incomplete.read_at(self.position, READ_BYTES).await {
                Ok(chunk) if !chunk.is_empty() => Step::Chunk(chunk),
                Err(error) if error.kind() != io::ErrorKind::NotFound => Step::Failed(BodyError::Store(error)),
                // It was not what was written, and is fetched again.
                _ if self.may_try_again(self.position) => Step::Again,
                _ => Step::Failed(BodyError::Store(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        match self.join(self.position) {
            Some(follower) => self.following = Some(follower),
            None => return Step::Failed(BodyError::Origin(self.incomplete_response())),
        }
        Step::Again
    }

    /// What follows for a reader when his run is over and has not brought the byte at his position.
    fn after(&mut self, end: End) -> Step {
        // What has changed cannot be joined to what he was given.
        let may_help = !matches!(end, End::Changed);
        if may_help && self.may_try_again(self.position) {
            return Step::Again;
        }
        Step::Failed(BodyError::Origin(match end {
            End::Failed(error) => error,
            End::Done | End::Changed | End::Refused(_) => self.incomplete_response(),
        }))
    }

    fn incomplete_response(&self) -> ForwardError {
        ForwardError::ResponseIncomplete { host: self.asked.permit.host().to_string() }
    }

    fn may_try_again(&mut self, position: u64) -> bool {
        count(&mut self.failures, position) <= TRIES_MAX
    }

    /// The night notes down what is done, and a power cut must not leave a note without the content: it reads what is kept.
    /// It has time, and asks for nothing ahead.
    fn is_night(&self) -> bool {
        self.asked.arrival.way == Way::Night
    }

    /// Joins or starts the run that brings the byte at `position`; none when that was done too often.
    fn join(&mut self, position: u64) -> Option<Follower> {
        if count(&mut self.joins, position) > JOINS_MAX {
            return None;
        }
        let run = match self.assembly.join(position, self.end, allowance(self.given_bytes)) {
            Joined::UnderWay(run) => {
                self.has_begun = false;
                run
            }
            Joined::Begun(run) => {
                self.has_begun = true;
                self.begin(&run);
                run
            }
        };
        Some(run.follow(position))
    }

    fn begin(&self, run: &Arc<Run>) {
        if run.is_over() {
            return;
        }
        let (context, asked, assembly) = (self.context.clone(), self.asked.clone(), self.assembly.clone());
        self.context.tasks.spawn(fetch(context, asked, assembly, run.clone()));
    }

    fn advance(&mut self, mut chunk: Bytes) -> Bytes {
        chunk.truncate(usize::try_from(self.end - self.position).unwrap_or(usize::MAX));
        self.position += chunk.len() as u64;
        self.given_bytes = self.given_bytes.saturating_add(chunk.len() as u64);
        if let Some(follower) = &self.following {
            follower.stands_at(self.position);
        }
        self.look_ahead();
        chunk
    }

    /// Asks for the next run when half of this one is given, so that a line with a long way does not stand idle.
    fn look_ahead(&mut self) {
        let allowance = allowance(self.given_bytes);
        let ahead = self.position + allowance / 2;
        let block = ahead / BLOCK_BYTES;
        if ahead >= self.end || block <= self.looked_ahead || self.is_night() {
            return;
        }
        self.looked_ahead = block;
        if self.incomplete.has_block(block) {
            return;
        }
        if let Some(run) = self.assembly.look_ahead(block * BLOCK_BYTES, self.end, allowance) {
            self.begin(&run);
        }
    }

    /// As a response's content.
    pub fn into_body(self) -> ResponseBody {
        let frames = stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.next().await? {
                Ok(chunk) => Some((Ok::<_, BodyError>(Frame::data(chunk)), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }
}
