//! A response that arrives and is stored in parts: a 206 that may be kept as one, or a long 200 whose bytes could be
//! asked for again from any block on.

use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{
    Continuation, RangeSpec, StoredHead, continuation, is_same_representation, is_strongly_validated, storable,
    storable_part,
};
use http::{HeaderMap, Response, StatusCode};

use super::assembly::Assembly;
use super::fetch::{Bringing, confirm};
use super::find::stored_in_part;
use super::reader::Reader;
use super::run::{End, Run, block_after};
use crate::origin::OriginBody;
use crate::request::asked::Asked;
use crate::request::fill::content_length;
use crate::request::{Context, ForwardError, Way};
use crate::store::{BLOCK_BYTES, Incomplete};

/// A 200 of so many bytes is stored in parts from the beginning. A shorter one is sooner fetched again than continued.
const WHOLE_BYTES_MIN: u64 = 2 * BLOCK_BYTES;

/// A response whose content is about to come, as a run of an assembly.
pub struct Arriving {
    context: Arc<Context>,
    asked: Arc<Asked>,
    assembly: Arc<Assembly>,
    run: Arc<Run>,
    /// Where the response ends.
    end: u64,
    is_whole: bool,
}

impl Arriving {
    /// Whether a 200 is long enough to be stored in parts.
    pub fn is_long(headers: &HeaderMap) -> bool {
        content_length(headers).is_some_and(|length| length >= WHOLE_BYTES_MIN)
    }

    /// A 200 that is stored in parts, perhaps although a part was asked for; none when it is short, may not be stored, or a part of it could not be told from a part
    /// of another.
    pub async fn whole(
        context: &Arc<Context>,
        asked: &Arc<Asked>,
        (response, was_part_asked): (&Response<OriginBody>, bool),
        request_time: SystemTime,
    ) -> Option<Self> {
        let (headers, now) = (response.headers(), context.clock.now());
        let length = content_length(headers).filter(|&length| length >= WHOLE_BYTES_MIN)?;
        let presented = asked.presented(&context.options.policy);
        let is_joinable = is_strongly_validated(headers, now) && !context.flights.is_unsteady(&asked.key);
        if response.status() != StatusCode::OK || !is_joinable {
            return None;
        }
        let _overrode = storable(&presented, StatusCode::OK, headers).ok()?;
        let head = StoredHead::new(&presented, StatusCode::OK, headers.clone(), request_time, now);
        let assembly = assembly_for(context, asked, head, length, headers).await?;
        if was_part_asked {
            assembly.does_no_ranges();
        }
        let run = assembly.adopt(0, length);
        run.answered();
        Some(Self { context: context.clone(), asked: asked.clone(), assembly, run, end: length, is_whole: true })
    }

    /// A 206 to a request for the range `wanted`. `known` is what is stored in part already, if the request was about it.
    ///
    /// # Errors
    /// The stable word for why it is not stored.
    pub async fn part(
        context: &Arc<Context>,
        asked: &Arc<Asked>,
        (wanted, known): (RangeSpec, Option<&Arc<Assembly>>),
        response: &Response<OriginBody>,
        request_time: SystemTime,
    ) -> Result<Self, &'static str> {
        let (headers, now) = (response.headers(), context.clock.now());
        let presented = asked.presented(&context.options.policy);
        let part = storable_part(&presented, wanted, headers, now).map_err(|reason| reason.token())?;
        let is_known = |assembly: &&Arc<Assembly>| {
            let (incomplete, status) = (assembly.incomplete(), response.status());
            let length = incomplete.complete_length();
            let went_on = continuation(incomplete.head(), length, part.range.first, status, headers);
            matches!(went_on, Continuation::Part(_)) && !incomplete.is_gone()
        };
        let assembly = match known.filter(is_known) {
            Some(assembly) => {
                confirm(context, asked, assembly, headers, request_time).await;
                Arc::clone(assembly)
            }
            None => {
                let head = StoredHead::new(&presented, StatusCode::OK, part.headers.clone(), request_time, now);
                let assembly = assembly_for(context, asked, head, part.complete_length, &part.headers).await;
                assembly.ok_or("not-kept-in-parts")?
            }
        };
        let end = part.range.last + 1;
        // A part that ends within a block has failed there.
        let run = assembly.adopt(part.range.first, block_after(end));
        run.answered();
        Ok(Self { context: context.clone(), asked: asked.clone(), assembly, run, end, is_whole: false })
    }

    /// What it is stored as.
    pub fn assembly(&self) -> &Arc<Assembly> {
        &self.assembly
    }

    /// A reader that the run knows of before its first byte comes.
    pub fn reader(&self) -> Reader {
        Reader::new(&self.context, &self.asked, &self.assembly).along(&self.run)
    }

    /// Takes it out of the store again: its URL was put out of date while it was begun.
    pub async fn withdraw(self) {
        // Whoever has joined it meanwhile goes on with a run of his own.
        let host = self.asked.permit.host().to_string();
        self.run.end_with(End::Failed(ForwardError::ResponseIncomplete { host }));
        self.assembly.leave(&self.run);
        self.context.store.remove_incomplete(&self.assembly.incomplete()).await;
    }

    /// Brings the content: to its end, or to where something else is stored or under way. `is_read` tells whether the one
    /// who asked still waits for it.
    pub async fn bring(&self, response: Response<OriginBody>, is_read: bool) {
        let is_paced = is_read && self.asked.arrival.way == Way::Night;
        let (context, asked, assembly, run) = (&self.context, &self.asked, &self.assembly, &self.run);
        Bringing { context, asked, assembly, run, is_paced }.bring(response, self.end, 0).await;
    }

    /// After the content of a whole response stopped where something else was stored or under way: brings what is missing
    /// behind that. A pupil's fill goes on when he has left; a night's does not.
    pub async fn bring_the_rest(self) {
        if !self.is_whole || !self.run.is_done() || self.asked.arrival.way == Way::Night {
            return;
        }
        let (from, end) = (self.run.end(), self.assembly.complete_length());
        let mut reader = Reader::new(&self.context, &self.asked, &self.assembly).trusted().narrowed(from..end);
        let mut position = from;
        while let Some(Ok(chunk)) = reader.next().await {
            position += chunk.len() as u64;
            // The last block may still be on its way into the store; if the one before is not there, the store takes none.
            let behind = (position / BLOCK_BYTES).checked_sub(2).filter(|&block| block >= from / BLOCK_BYTES);
            let incomplete = self.assembly.incomplete();
            if incomplete.is_gone() || behind.is_some_and(|block| !incomplete.has_block(block)) {
                return;
            }
        }
    }
}

/// The assembly for a representation: one that is stored in part already, or a new one.
async fn assembly_for(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    head: StoredHead,
    length: u64,
    headers: &HeaderMap,
) -> Option<Arc<Assembly>> {
    let stored = stored_in_part(context, asked).await;
    let is_same = |incomplete: &&Arc<Incomplete>| {
        incomplete.head().variant_key() == head.variant_key()
            && incomplete.complete_length() == length
            && is_same_representation(incomplete.head(), length, headers)
    };
    if let Some(known) = stored.iter().find(is_same) {
        let assembly = context.assemblies.of(known)?;
        assembly.freshen(&context.store, head, asked.rules).await;
        return Some(assembly);
    }
    match context.store.begin_incomplete(&asked.key, head, length, asked.rules).await {
        Ok(incomplete) => context.assemblies.of(&incomplete),
        Err(refusal) => {
            let site = asked.permit.site().name();
            tracing::debug!(site, why = refusal.reason(), "a response is not stored in parts");
            None
        }
    }
}
