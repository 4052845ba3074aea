//! Bringing a run: the request to the origin, and its content into the store and to those who read along.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bulaq_cache_policy::{Continuation, Freshening, StoredHead, continuation, freshen_by_part};
use bytes::{Buf, Bytes};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;

use super::assembly::Assembly;
use super::run::{End, Run};
use crate::origin::OriginBody;
use crate::request::asked::Asked;
use crate::request::fill::{WanTally, keep_for_the_day};
use crate::request::waking::telling;
use crate::request::{Context, ForwardError, RequestBody, Way};
use crate::store::BLOCK_BYTES;

/// A part updates a fresh head only when that is at least so old: a seeking player brings many in a minute, and each update is
/// a write.
const CONFIRM_AFTER: Duration = Duration::from_secs(60);

/// Takes a run off its assembly's list, however the task that brings it ends.
struct Listed<'a> {
    assembly: &'a Assembly,
    run: &'a Arc<Run>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.run.end_with(End::Failed(ForwardError::ResponseIncomplete { host: String::from("the origin") }));
        self.assembly.leave(self.run);
    }
}

/// Asks the origin for a run and brings it.
pub(super) async fn fetch(context: Arc<Context>, asked: Arc<Asked>, assembly: Arc<Assembly>, run: Arc<Run>) {
    let _listed = Listed { assembly: &assembly, run: &run };
    let request_time = context.clock.now();
    let request = further_part(&asked, &assembly, run.start..run.end());
    let response = match context.origin.send(&asked.permit, request).await {
        Ok(response) => response,
        Err(error) => return run.end_with(End::Failed(error)),
    };
    let _tally = WanTally::of(&context, &asked, &response);
    let incomplete = assembly.incomplete();
    let length = incomplete.complete_length();
    let (skip, end) = match continuation(incomplete.head(), length, run.start, response.status(), response.headers()) {
        Continuation::Part(range) => {
            let end = range.last + 1;
            if end < run.end() && end % BLOCK_BYTES != 0 {
                // Nothing of it can be kept.
                context.flights.did_not_join(&asked.key);
            }
            (0, end)
        }
        Continuation::Whole => {
            assembly.does_no_ranges();
            run.extend(length);
            (run.start, length)
        }
        Continuation::Changed(why) => {
            tracing::debug!(site = asked.permit.site().name(), why = why.token(), "stored parts are out of date");
            if !incomplete.is_gone() {
                context.flights.did_not_join(&asked.key);
            }
            context.store.remove_incomplete(&incomplete).await;
            return run.end_with(End::Changed);
        }
        Continuation::NoPart => return run.end_with(End::Refused(response.status())),
    };
    confirm(&context, &asked, &assembly, response.headers(), request_time).await;
    run.answered();
    let is_paced = asked.arrival.way == Way::Night;
    let bringing = Bringing { context: &context, asked: &asked, assembly: &assembly, run: &run, is_paced };
    bringing.bring(response, end, skip).await;
}

/// The request for a further part: for these bytes, under the stored validator, in the stored coding. What was got
/// without a cookie or a credential is asked for without, whoever asks now.
fn further_part(asked: &Asked, assembly: &Assembly, bytes: std::ops::Range<u64>) -> Request<RequestBody> {
    let mut request = asked.forwarded_whole(None);
    let (incomplete, headers) = (assembly.incomplete(), request.headers_mut());
    let head = incomplete.head();
    headers.insert(RANGE, range_of(bytes));
    headers.insert(IF_RANGE, assembly.validator().if_range().clone());
    headers.insert(ACCEPT_ENCODING, coding_of(head));
    if !head.parts().request_had_cookies {
        headers.remove(COOKIE);
    }
    if !head.parts().request_had_authorization {
        headers.remove(AUTHORIZATION);
    }
    request
}

/// `Range` for the bytes from `start` to before `end`.
pub(super) fn range_of(bytes: std::ops::Range<u64>) -> HeaderValue {
    let value = format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1).max(bytes.start));
    HeaderValue::try_from(value).expect("digits are valid in a field")
}

/// `Accept-Encoding` for the stored coding and nothing else.
pub(super) fn coding_of(head: &StoredHead) -> HeaderValue {
    let codings: Vec<&[u8]> = head.content_codings().collect();
    let value = if codings.is_empty() { b"identity".to_vec() } else { codings.join(&b", "[..]) };
    HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static("identity"))
}

/// What the fields of a further part do to the stored head (RFC 9111 §3.4). Also ends its storing when they say so: what is
/// being read goes on.
pub(super) async fn confirm(
    context: &Context,
    asked: &Asked,
    assembly: &Assembly,
    part: &HeaderMap,
    request_time: SystemTime,
) {
    let (incomplete, now) = (assembly.incomplete(), context.clock.now());
    let head = incomplete.head();
    let is_recent = now.duration_since(head.parts().response_time).is_ok_and(|age| age < CONFIRM_AFTER);
    if is_recent && head.is_fresh(now) {
        return;
    }
    let presented = asked.presented(&context.options.policy);
    match freshen_by_part(head, &presented, part, request_time, now) {
        Freshening::Freshened(head) => assembly.freshen(&context.store, *head, incomplete.rules()).await,
        Freshening::EndsStorage { .. } => context.store.remove_incomplete(&incomplete).await,
        Freshening::NotSelected => {}
    }
}

/// A run whose bytes come, and what they need on their way.
pub(super) struct Bringing<'a> {
    pub(super) context: &'a Context,
    pub(super) asked: &'a Asked,
    pub(super) assembly: &'a Assembly,
    pub(super) run: &'a Arc<Run>,
    /// Whether the origin may send no faster than somebody reads.
    pub(super) is_paced: bool,
}

impl Bringing<'_> {
    /// Brings all of it, and takes the run off the list. The response ends at `response_end`; its first `skip` bytes are
    /// not the run's.
    pub(super) async fn bring(&self, response: Response<OriginBody>, response_end: u64, skip: u64) {
        let _listed = Listed { assembly: self.assembly, run: self.run };
        let end = self.take(response.into_body(), response_end, skip).await;
        self.run.end_with(end);
    }

    async fn take(&self, mut body: OriginBody, response_end: u64, mut skip: u64) -> End {
        while let Some(frame) = telling(self.run.must_tell_at(), || self.run.tell(), body.frame()).await {
            let mut data = match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_trailers)) => continue,
                Err(error) => return End::Failed(error),
            };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            data.advance(skipped);
            skip -= skipped as u64;
            while !data.is_empty() && self.run.arrived() < self.run.end() {
                if !self.take_some(&mut data).await {
                    return End::Done;
                }
            }
            // Whatever follows is another's, or more than was asked for. The end of the response itself is waited for, so that
            // the connection can be used again.
            let is_its_end = self.run.end() == response_end && data.is_empty();
            if self.run.arrived() >= self.run.end() && (!is_its_end || body.is_end_stream()) {
                return End::Done;
            }
        }
        if self.run.arrived() >= self.run.end() {
            return End::Done;
        }
        End::Failed(ForwardError::ResponseIncomplete { host: self.asked.permit.host().to_string() })
    }

    /// Takes what belongs to the block under way; false when nobody wants more.
    async fn take_some(&self, data: &mut Bytes) -> bool {
        let (arrived, end) = (self.run.arrived(), self.run.end());
        let block_end = (arrived / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let room = usize::try_from(block_end.min(end) - arrived).expect("a block fits memory");
        self.run.push(data.split_to(room.min(data.len())));
        let arrived = self.run.arrived();
        let is_block_end = arrived == block_end || arrived == self.assembly.complete_length();
        if is_block_end {
            self.run.tell(); // the store may take a while
            self.keep().await;
        }
        self.run.wait_for_readers().await && !(self.is_paced && is_block_end && !self.run.keep_pace().await)
    }

    /// Hands the block that has just come to the store.
    async fn keep(&self) {
        let Some((block, chunks)) = self.run.whole_block() else { return };
        match self.assembly.incomplete().put(block, &chunks).await {
            Ok(complete) => {
                if let Some(stored) = complete {
                    keep_for_the_day(self.context, self.asked, &stored).await;
                }
                self.assembly.note_kept(true);
                self.run.keep();
            }
            Err(refusal) => {
                let site = self.asked.permit.site().name();
                tracing::debug!(site, why = refusal.reason(), "a part of a response was not kept");
                self.assembly.note_kept(false);
                self.run.keep_no_more();
            }
        }
    }
}
