//! One request to the origin on behalf of all who wait: what came of it, and its content on the way into the store.
//!
//! A fill belongs to no client: it is a task of its own and goes on when the pupil who caused it has left. One that a night
//! began keeps the night's pace, and ends with it unless a pupil has joined.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bulaq_allowlist::Traffic;
use bulaq_cache_policy::{
    Conditional, Freshening, NotStorable, PresentedRequest, StaleCause, StoredHead, contradicts, freshen,
    stale_allowed, storable, weaken_tag,
};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::asked::Asked;
use super::collapse::Lead;
use super::combine::{Arriving, Assembly, By, Landing, Wanted};
use super::growing::{Growing, Pen, Reader};
use super::refusal::Unusable;
use super::waking::telling;
use super::{Context, ForwardError, InterimSender, Way, combine};
use crate::origin::{OriginBody, SecondTry, WanBytes};
use crate::store::{Fill, StoreRefusal, StoredResponse};

/// How long what a night fetched is kept from eviction: until the next night has had its turn.
const PINNED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a response waits for others to be written before it goes on without being kept: a flush of a slow disk.
const BACKLOG_WAIT: Duration = Duration::from_secs(1);

/// What a request to the origin turned out to be, for everybody who waits for it.
#[derive(Clone, Debug)]
pub enum Landed {
    /// A response that may be shared; its content is arriving.
    Filling(Arc<Filling>),
    /// A response that is stored in part, or from now on.
    Parts(Landing),
    /// The origin confirmed the stored response (304).
    Validated(Arc<StoredResponse>),
    /// The origin failed, and this stored response may stand in.
    Stale(Arc<StoredResponse>, StaleCause),
    /// A response for the leader alone; the others ask for themselves.
    NotShared(&'static str),
    /// The origin failed, and nothing stored may stand in; when something is stored, why it may not.
    Failed(ForwardError, Option<Unusable>),
}

impl Landed {
    /// The head of the response that it brought for all who wait; none when it brought none.
    pub fn head(&self) -> Option<&StoredHead> {
        match self {
            Self::Filling(filling) => Some(&filling.head),
            Self::Validated(stored) | Self::Stale(stored, _) => Some(&stored.head),
            Self::Parts(landing) => Some(landing.incomplete.head()),
            Self::NotShared(_) | Self::Failed(..) => None,
        }
    }
}

/// A response whose content is arriving.
#[derive(Debug)]
pub struct Filling {
    /// Its head, as it will be stored.
    pub head: StoredHead,
    /// Its length, when the origin says it.
    pub content_length: Option<u64>,
    /// Its content.
    pub body: Arc<Growing>,
    /// Why the store does not keep it, when it is for those only who wait for it.
    pub not_kept: Option<&'static str>,
}

/// What only the one who started it gets.
pub enum LeadersShare {
    /// A response that nobody else may see.
    Response(Box<Response<OriginBody>>, WanTally),
    /// A reader of the filling body, made before its first byte.
    Reader(Reader),
    /// The same of one that is stored in parts.
    Parts(Box<combine::Reader>),
    /// The stored response, which the origin confirmed to the leader and lets nobody else have any more.
    Confirmed(Arc<StoredResponse>),
}

/// What a 304 says of the stored response.
enum Confirmed {
    /// It may be used, by all who wait.
    ForAll(Landed),
    /// It may be used for this one answer, and no longer be stored, for this reason.
    ForLeader(Arc<StoredResponse>, &'static str),
    /// Nothing: it speaks of another representation.
    Other,
}

/// What a night fetched, or found to be there and good, stays for the day that follows, whatever else comes in.
pub(super) async fn keep_for_the_day(context: &Context, asked: &Asked, stored: &Arc<StoredResponse>) {
    if asked.arrival.way == Way::Night {
        context.store.pin_until(stored, context.clock.now() + PINNED_FOR).await;
    }
}

/// The bytes that a request to the origin cost, handed to the ledger when it is over, however it ends.
pub struct WanTally {
    context: Arc<Context>,
    asked: Arc<Asked>,
    bytes: WanBytes,
}

impl WanTally {
    /// Counts what this response costs on behalf of `asked`, until dropped.
    pub fn of(context: &Arc<Context>, asked: &Arc<Asked>, response: &Response<OriginBody>) -> Self {
        let bytes = response.extensions().get::<WanBytes>().cloned().unwrap_or_default();
        Self { context: context.clone(), asked: asked.clone(), bytes }
    }
}

impl Drop for WanTally {
    fn drop(&mut self) {
        let site = self.asked.permit.site();
        let is_zero_rated = site.traffic() == Traffic::ZeroRated;
        self.context.ledger.add_wan(site.shared_name(), is_zero_rated, self.asked.arrival.way, self.bytes.so_far());
    }
}

/// What a flight asks the origin for.
#[derive(Default)]
pub struct Errand {
    /// What is being validated, or may stand in when the origin fails.
    pub stored: Option<Arc<StoredResponse>>,
    /// The validators of what is being validated.
    pub conditional: Option<Conditional>,
    /// A part in place of the whole; what it belongs to is then what is being validated.
    pub wanted: Option<Wanted>,
}

/// Asks the origin and tells everybody.
pub async fn fly(
    context: Arc<Context>,
    asked: Arc<Asked>,
    errand: Errand,
    lead: Lead,
    share: oneshot::Sender<LeadersShare>,
) {
    let Errand { stored, conditional, wanted } = errand;
    let mut flight = Flight { context, asked, stored, conditional, wanted, lead, share: Some(share) };
    let request_time = flight.context.clock.now();
    let mut answer = flight.send().await;
    if let Ok(response) = &answer
        && response.status() == StatusCode::NOT_MODIFIED
        && flight.conditional.is_some()
    {
        let _tally = flight.tally(response);
        match Box::pin(flight.validated(response.headers(), request_time)).await {
            Confirmed::ForAll(landed) => return flight.lead.land(landed),
            Confirmed::ForLeader(stored, reason) => {
                return flight.for_leader_alone(LeadersShare::Confirmed(stored), reason);
            }
            Confirmed::Other => {
                // The origin means another representation than ours: ask once more, without conditions.
                flight.conditional = None;
                flight.wanted = flight.wanted.map(|wanted| Wanted { known: None, ..wanted });
                answer = flight.send().await;
            }
        }
    }
    match answer {
        Ok(response) => flight.response(response, request_time).await,
        Err(error) => flight.failed(error),
    }
}

/// Takes into the store what a request of the client's own brought although no flight made it: the answer to a `POST`
/// that is storable for its own URI (RFC 9110 §9.3.3). The client reads along.
pub async fn take_in(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    response: Response<OriginBody>,
    request_time: SystemTime,
) -> Option<LeadersShare> {
    let (share, taken) = oneshot::channel();
    let flight = Flight {
        context: context.clone(),
        asked: asked.clone(),
        stored: None,
        conditional: None,
        wanted: None,
        lead: context.flights.alone(asked),
        share: Some(share),
    };
    let tally = flight.tally(&response);
    context.tasks.spawn(flight.in_one(response, request_time, tally));
    taken.await.ok()
}

struct Flight {
    context: Arc<Context>,
    asked: Arc<Asked>,
    stored: Option<Arc<StoredResponse>>,
    conditional: Option<Conditional>,
    wanted: Option<Wanted>,
    lead: Lead,
    share: Option<oneshot::Sender<LeadersShare>>,
}

impl Flight {
    async fn send(&self) -> Result<Response<OriginBody>, ForwardError> {
        let mut request = self.asked.forwarded_whole(self.conditional.as_ref());
        if let Some(wanted) = &self.wanted {
            wanted.apply(request.headers_mut());
        }
        // With something stored there is an answer, or the origin wants none given without it: then its first word counts.
        if self.stored.is_none() && self.known().is_none() {
            request.extensions_mut().insert(SecondTry);
        }
        // A client that was answered already, or has left, is no longer waiting for interim responses.
        if self.share.as_ref().is_none_or(oneshot::Sender::is_closed) {
            request.extensions_mut().remove::<InterimSender>();
        }
        self.context.origin.send(&self.asked.permit, request).await
    }

    fn tally(&self, response: &Response<OriginBody>) -> WanTally {
        WanTally::of(&self.context, &self.asked, response)
    }

    /// What a 304 made of the stored response.
    async fn validated(&self, not_modified: &HeaderMap, request_time: SystemTime) -> Confirmed {
        let presented = self.asked.presented(&self.context.options.policy);
        if let Some(known) = self.known() {
            let is_confirmed = combine::confirmed(&self.context, &presented, known, not_modified, request_time).await;
            let landed = || Landed::Parts(Landing::of(known, By::Confirmation));
            return if is_confirmed { Confirmed::ForAll(landed()) } else { Confirmed::Other };
        }
        let Some(stored) = &self.stored else { return Confirmed::Other };
        let now = self.context.clock.now();
        match freshen(&stored.head, &presented, not_modified, request_time, now) {
            Freshening::Freshened(head) => {
                let stored = self.context.store.freshen(stored, *head, self.asked.rules).await;
                keep_for_the_day(&self.context, &self.asked, &stored).await;
                Confirmed::ForAll(Landed::Validated(stored))
            }
            Freshening::EndsStorage { reason, head } => {
                self.context.store.remove(&self.asked.key).await;
                Confirmed::ForLeader(Arc::new(stored.with_head(*head)), reason.token())
            }
            Freshening::NotSelected => Confirmed::Other,
        }
    }

    /// What is stored in part and is being validated.
    fn known(&self) -> Option<&Arc<Assembly>> {
        self.wanted.as_ref().and_then(|wanted| wanted.known.as_ref())
    }

    fn failed(self, error: ForwardError) {
        self.context.flights.rest(&self.asked.key);
        if let Some(landed) = self.parts_stand_in(cause_of(&error), Some(&error)) {
            return self.lead.land(landed);
        }
        let presented = self.asked.presented(&self.context.options.policy);
        let landed = without_origin(error, self.stored.as_ref(), &presented, self.context.clock.now());
        self.lead.land(landed);
    }

    async fn response(self, response: Response<OriginBody>, request_time: SystemTime) {
        let status = response.status();
        let tally = self.tally(&response);
        if status.is_server_error() {
            self.context.flights.rest(&self.asked.key);
            let presented = self.asked.presented(&self.context.options.policy);
            let (cause, now) = (StaleCause::OriginError(status), self.context.clock.now());
            let landed = self.parts_stand_in(cause, None);
            if let Some(landed) = landed.or_else(|| stand_in(self.stored.as_ref(), &presented, cause, now)) {
                return self.lead.land(landed);
            }
        }
        let response = self.whole_of(response);
        match self.arriving(&response, request_time).await {
            Some(Ok(arriving)) => Box::pin(self.in_parts(arriving, response, tally)).await,
            Some(Err(reason)) => self.for_leader_alone(LeadersShare::Response(Box::new(response), tally), reason),
            None => self.in_one(response, request_time, tally).await,
        }
    }

    /// Lets everybody read what arrives and is stored when it is there as a whole.
    async fn in_one(mut self, response: Response<OriginBody>, request_time: SystemTime, tally: WanTally) {
        match self.begin(&response, request_time) {
            Ok((fill, filling, pen)) => {
                let reader = filling.body.reader(0, u64::MAX);
                let is_read = match (self.share.take(), reader) {
                    // The leader may have left; the fill goes on for those who come.
                    (Some(share), Some(reader)) => share.send(LeadersShare::Reader(reader)).is_ok(),
                    _ => false,
                };
                if !is_read && filling.not_kept.is_some() {
                    return self.lead.land(Landed::NotShared("not-kept"));
                }
                let is_paced = is_read && self.asked.arrival.way == Way::Night;
                self.lead.land(Landed::Filling(Arc::new(filling)));
                Box::pin(self.pump(response.into_body(), fill, pen, is_paced)).await;
                drop(tally);
            }
            Err(reason) => self.for_leader_alone(LeadersShare::Response(Box::new(response), tally), reason),
        }
    }

    /// Hands the leader what nobody else may have, and lets the others ask for themselves.
    fn for_leader_alone(mut self, leaders: LeadersShare, reason: &'static str) {
        // What a range provoked says nothing about other requests, and what ails an origin nothing about its answers when
        // it is well.
        let is_ill = matches!(&leaders, LeadersShare::Response(response, _) if is_failing(response.status()));
        let is_passing = reason == NotStorable::RequestDependent.token() || is_ill;
        if self.lead.is_current() && !is_passing {
            let presented = self.asked.presented(&self.context.options.policy);
            self.context.flights.remember_pass(&presented, &self.asked.key);
        }
        if let Some(share) = self.share.take() {
            let _gone = share.send(leaders);
        }
        self.lead.land(Landed::NotShared(reason));
    }

    /// A part that is the whole, as the whole.
    fn whole_of(&self, response: Response<OriginBody>) -> Response<OriginBody> {
        let Some(wanted) = &self.wanted else { return response };
        let presented = self.asked.presented(&self.context.options.policy);
        combine::as_whole(&presented, wanted.range, response, self.context.clock.now())
    }

    /// The response as one that is stored in parts, or why the part that it is may not be stored; none when it is to be
    /// stored at once, if at all.
    async fn arriving(
        &self,
        response: &Response<OriginBody>,
        request_time: SystemTime,
    ) -> Option<Result<Arriving, &'static str>> {
        let (context, asked) = (&self.context, &self.asked);
        let arriving = match (&self.wanted, response.status()) {
            (Some(Wanted { range, known }), StatusCode::PARTIAL_CONTENT) => {
                Box::pin(Arriving::part(context, asked, (*range, known.as_ref()), response, request_time)).await
            }
            (_, StatusCode::OK) if Arriving::is_long(response.headers()) => {
                Ok(Box::pin(Arriving::whole(context, asked, (response, self.wanted.is_some()), request_time)).await?)
            }
            _ => return None,
        };
        match arriving {
            // Asked now: what puts the key out of date from here on reaches what is stored of it.
            Ok(arriving) if !self.lead.is_current() => {
                arriving.withdraw().await;
                Some(Err(StoreRefusal::Invalidated.reason()))
            }
            arriving => Some(arriving),
        }
    }

    /// Lets everybody read what arrives and is stored in parts. The lead is held until this run of it is over.
    async fn in_parts(mut self, arriving: Arriving, response: Response<OriginBody>, tally: WanTally) {
        self.forget_pass();
        let reader = LeadersShare::Parts(Box::new(arriving.reader()));
        // The leader may have left; the run goes on for those who come.
        let is_read = self.share.take().is_some_and(|share| share.send(reader).is_ok());
        self.lead.land(Landed::Parts(Landing::of(arriving.assembly(), By::Origin)));
        arriving.bring(response, is_read).await;
        drop((tally, self));
        arriving.bring_the_rest().await;
    }

    /// What is stored in part, if it may stand in for an origin that fails so.
    fn parts_stand_in(&self, cause: StaleCause, error: Option<&ForwardError>) -> Option<Landed> {
        let presented = self.asked.presented(&self.context.options.policy);
        let landing = Landing::of(self.known()?, By::Failure(cause, error.cloned()));
        stale_allowed(landing.incomplete.head(), &presented, cause, self.context.clock.now())?;
        Some(Landed::Parts(landing))
    }

    fn forget_pass(&self) {
        let presented = self.asked.presented(&self.context.options.policy);
        self.context.flights.forget_pass(&presented, &self.asked.key);
    }

    /// Opens the store for a response that may be kept, or says why not. One that is for all who wait already, and not
    /// for keeping, goes on without the store.
    fn begin(
        &self,
        response: &Response<OriginBody>,
        request_time: SystemTime,
    ) -> Result<(Option<Fill>, Filling, Pen), &'static str> {
        let presented = self.asked.presented(&self.context.options.policy);
        let (status, headers) = (response.status(), response.headers());
        let permission = storable(&presented, status, headers);
        if let Err(reason) = permission
            && !(is_for_all_who_wait(status, reason) && self.lead.has_followers())
        {
            return Err(reason.token());
        }
        let now = self.context.clock.now();
        let content_length = content_length(headers);
        let mut headers = in_memory_of_their_own(headers);
        if self.stored.as_ref().is_some_and(|old| contradicts(&old.head, old.body_bytes(), &headers, content_length)) {
            weaken_tag(&mut headers);
        }
        let head = StoredHead::new(&presented, status, headers, request_time, now);
        let rules = self.asked.rules;
        let fill = match permission {
            Ok(_overrode) => match self.context.store.begin(&self.asked.key, head.clone(), content_length, rules) {
                Ok(fill) => Ok(fill),
                // The link carries it once for a class, even when there is no room for it here.
                Err(refusal) if self.lead.has_followers() => Err(refusal.reason()),
                Err(refusal) => return Err(refusal.reason()),
            },
            Err(reason) => Err(reason.token()),
        };
        // Asked now: what puts the key out of date from here on reaches the fill itself.
        if !self.lead.is_current() {
            return Err(StoreRefusal::Invalidated.reason());
        }
        if fill.is_ok() {
            self.context.flights.forget_pass(&presented, &self.asked.key);
        }
        let (body, pen) = Growing::start(fill.as_ref().ok().map(Fill::reader));
        let not_kept = fill.as_ref().err().copied();
        Ok((fill.ok(), Filling { head, content_length, body, not_kept }, pen))
    }

    /// The content, from the origin into the store and to those who read along. The lead is held until the store has
    /// it, so that nobody asks the origin again in between.
    async fn pump(self, mut body: OriginBody, mut fill: Option<Fill>, pen: Pen, is_paced: bool) {
        if fill.is_some() && timeout(BACKLOG_WAIT, self.context.store.has_room_for_another()).await.is_err() {
            fill = None; // the clients wait no longer for a disk that hangs
        }
        while let Some(frame) = telling(pen.must_tell_at(), || pen.tell(), body.frame()).await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(chunk)) => {
                    if !push(&mut fill, &pen, chunk).await || is_paced && !pen.keep_pace().await {
                        return;
                    }
                }
                Ok(Err(_trailers)) => {} // fields after the content are dropped (RFC 9110 §6.5.1)
                Err(error) => {
                    self.context.flights.rest(&self.asked.key);
                    return pen.fail(error);
                }
            }
        }
        // A pupil gets the last byte at once. The night gets it when the store has the whole: it notes down what is done,
        // and a power cut must not leave a note without the page.
        if self.asked.arrival.way == Way::Night {
            if let Some(fill) = fill {
                Box::pin(self.keep(fill)).await;
            }
            pen.complete();
        } else {
            match fill.as_ref().and_then(Fill::in_memory) {
                Some(whole) => pen.complete_as(whole),
                None => pen.complete(),
            }
            if let Some(fill) = fill {
                let (lead, asked, under_way) = (self.lead, self.asked, self.context.tasks.token());
                // The lead goes with it, so that nobody asks the origin again before it is stored.
                let told = move |outcome: Result<_, StoreRefusal>| {
                    drop(lead);
                    if let Err(refusal) = outcome {
                        tell_why_not_kept(&asked, &refusal);
                    }
                    drop(under_way);
                };
                fill.finish_behind(told).await;
            }
        }
    }

    async fn keep(&self, fill: Fill) {
        match fill.finish().await {
            Ok(stored) => keep_for_the_day(&self.context, &self.asked, &stored).await,
            Err(refusal) => tell_why_not_kept(&self.asked, &refusal),
        }
    }
}

fn tell_why_not_kept(asked: &Asked, refusal: &StoreRefusal) {
    tracing::debug!(site = asked.permit.site().name(), why = refusal.reason(), "a response was not kept");
}

/// Whether a status says that the origin is not well, or wants fewer requests.
fn is_failing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a response that is not for keeping is one answer for all who wait: an origin that is ill, or wants fewer
/// requests, is not asked the same once more by each of them. Nothing about it may be personal.
fn is_for_all_who_wait(status: StatusCode, why_not_stored: NotStorable) -> bool {
    is_failing(status) && matches!(why_not_stored, NotStorable::NoFreshness | NotStorable::ErrorWithoutFreshness)
}

/// What a failed request leaves for one who waits: the stored response that is his, if it may stand in, or the failure.
pub fn without_origin(
    error: ForwardError,
    stored: Option<&Arc<StoredResponse>>,
    presented: &PresentedRequest<'_>,
    now: SystemTime,
) -> Landed {
    stand_in(stored, presented, cause_of(&error), now)
        .unwrap_or_else(|| Landed::Failed(error, stored.map(|stored| unusable(stored))))
}

pub(super) fn cause_of(error: &ForwardError) -> StaleCause {
    match error {
        ForwardError::DnsTimeout { .. }
        | ForwardError::ConnectionTimeout { .. }
        | ForwardError::ResponseTimeout { .. } => StaleCause::Timeout,
        _ => StaleCause::Unreachable,
    }
}

/// The stored response, if it may stand in for an origin that fails so.
fn stand_in(
    stored: Option<&Arc<StoredResponse>>,
    presented: &PresentedRequest<'_>,
    cause: StaleCause,
    now: SystemTime,
) -> Option<Landed> {
    let stored = stored?;
    stale_allowed(&stored.head, presented, cause, now)?;
    Some(Landed::Stale(stored.clone(), cause))
}

/// Why a stored response may not stand in, given that it may not.
fn unusable(stored: &StoredResponse) -> Unusable {
    let is_forbidden = stored.head.demands_validation() || stored.head.directives().forbids_stale();
    if is_forbidden { Unusable::MustBeValidated } else { Unusable::TooOld }
}

/// Hands a chunk on. When the store can take no more, the readers go on from memory; false when there are none left.
async fn push(fill: &mut Option<Fill>, pen: &Pen, chunk: Bytes) -> bool {
    if let Some(open) = fill {
        // The disk may take a while.
        match telling(pen.must_tell_at(), || pen.tell(), open.append(chunk.clone())).await {
            Ok(()) => {
                pen.push_kept(chunk);
                return true;
            }
            Err(_) => *fill = None,
        }
    }
    pen.push_unkept(chunk).await
}

/// The fields with their values in one piece of memory that is as long as they are: as they came they are parts of the
/// buffer that they were read into, and a head that is kept would keep all of that.
fn in_memory_of_their_own(headers: &HeaderMap) -> HeaderMap {
    let bytes = headers.values().map(HeaderValue::len).sum();
    let mut text = BytesMut::with_capacity(bytes);
    headers.values().for_each(|value| text.extend_from_slice(value.as_bytes()));
    let mut text = text.freeze();
    let own = |(name, value): (&HeaderName, &HeaderValue)| {
        let own = HeaderValue::from_maybe_shared(text.split_to(value.len())).expect("it was one before");
        (name.clone(), own)
    };
    headers.iter().map(own).collect()
}

/// The length that the origin announced; several equal lines were already folded into one by the HTTP library.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
