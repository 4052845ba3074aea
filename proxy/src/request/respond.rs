//! One request from its permit to its response: reuse, validate, wait or forward.
//!
//! All branches of a request's life stand in this file; what they call does not branch on the same things again. What
//! a hit does not come to is boxed where it is waited for: a future is as large as the largest that it may wait for, and
//! every request would be moved about at the size of the rarest.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{
    CacheStatus, ForwardReason, Lookup, Pass, PresentedRequest, SURROGATE_KEY, StaleCause, StoredHead, look_up,
    may_share, share_a_tag, stale_allowed, weaken_tag, without_dependent_range,
};
use http::header::{ALT_SVC, HeaderMap, HeaderName, VIA};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::sync::oneshot;

use super::aboard::Aboard;
use super::asked::{Asked, empty};
use super::collapse::{Follow, Lead, Place, Seeker, may_join};
use super::combine::{self, Next, Wanted};
use super::deliver::{Content, deliver};
use super::fill::{Errand, Filling, Landed, LeadersShare, cause_of, fly, keep_for_the_day, without_origin};
use super::repeat::Repeatable;
use super::status::Account;
use super::target::{Target, target};
use super::{Arrival, Context, ForwardError, Refusal, RequestBody, ResponseBody, Source, Way, own, pass, purge};
use crate::portal::proxy_pac;
use crate::store::{StoredResponse, Variants};

/// Directives for surrogates.
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// How often a request looks again after the one that it waited for came to nothing: once when that was another variant,
/// and once more when the variants turn out to differ by yet another field. Then it asks for itself.
const WAITS_MAX: usize = 3;

/// Answers one request.
///
/// # Errors
/// A [`Refusal`], where there is nothing else to answer with.
pub async fn respond(context: &Arc<Context>, request: Request<RequestBody>) -> Result<Response<ResponseBody>, Refusal> {
    let (mut parts, body) = request.into_parts();
    let arrival = parts.extensions.remove::<Arrival>();
    let arrival = arrival.ok_or(Refusal::BadRequest("the request came by no known door"))?;
    if context.options.pac.wpad && arrival.way == Way::Reverse && proxy_pac::is_wpad(&parts) {
        return Ok(Box::pin(own::answer(context, &parts, &arrival)).await);
    }
    let target = match target(&parts, &arrival, &context.options.own_names)? {
        Target::Site(target)
            if arrival.way == Way::Gateway && context.options.gateway.as_ref() == Some(&target.host) =>
        {
            return Ok(Box::pin(own::answer(context, &parts, &arrival)).await);
        }
        Target::Own => return Ok(Box::pin(own::answer(context, &parts, &arrival)).await),
        Target::Site(target) => target,
    };
    if let Some(here) = own::answer_at_site(context, &parts, &arrival, &target) {
        return Ok(here);
    }
    if purge::is_purge(&parts) {
        return Box::pin(purge::answer(context, &parts, &arrival, &target)).await;
    }
    let asked = Arc::new(Asked::new(context, parts, arrival, target)?);
    let presented = asked.presented(&context.options.policy);
    if let Err(pass) = may_share(&presented) {
        if presented.directives.only_if_cached && pass != Pass::Method {
            return Err(Refusal::OnlyIfCached);
        }
        let account =
            Account { detail: Some(pass.token()), ..Account::forwarded(Source::Origin, ForwardReason::of_pass(pass)) };
        return Box::pin(pass::pass(context, &asked, body, account)).await;
    }
    for waited in 0..=WAITS_MAX {
        if let Some(response) = answer(context, &asked, &presented, waited < WAITS_MAX).await? {
            return Ok(response);
        }
    }
    Err(Refusal::Overloaded)
}

/// Looks in the store and, where that is not enough, asks the origin, together with others if `may_wait`.
/// None when it waited for somebody whose answer is not for this request.
async fn answer(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    may_wait: bool,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let variants = match context.store.find_in_memory(&asked.key) {
        Some(variants) => variants,
        None => Box::pin(find_on_disk(context, asked)).await,
    };
    let now = context.clock.now();
    match decide(&variants, presented, now) {
        Lookup::Reuse { index, is_fresh, .. } => {
            Ok(reuse(context, asked, presented, &variants, (index, is_fresh, now)).await)
        }
        lookup => Box::pin(answer_otherwise(context, asked, presented, variants, lookup, now, may_wait)).await,
    }
}

/// The answer where no stored response may be reused as it is.
async fn answer_otherwise(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    variants: Variants,
    lookup: Lookup,
    now: SystemTime,
    may_wait: bool,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    if let Some((assembly, lookup)) = combine::find(context, asked, presented, &variants, now).await {
        return match Box::pin(from_incomplete(context, asked, presented, assembly, lookup, may_wait)).await {
            Err(Refusal::Forward(error)) => Box::pin(stale_whole(context, asked, presented, &variants, error)).await,
            answer => answer,
        };
    }
    let (stored, conditional, why) = match lookup {
        Lookup::Reuse { index, is_fresh, .. } => {
            return Ok(reuse(context, asked, presented, &variants, (index, is_fresh, now)).await);
        }
        Lookup::ReuseWhileRevalidating { index, conditional, .. } => {
            if can_fill(presented) {
                let seeker = Seeker { asked, presented, heads: &heads_of(&variants), now };
                let stored = Some(variants[index].clone());
                refresh_behind(context, &seeker, Errand { stored, conditional, wanted: None });
            }
            let account = Account { detail: Some("stale-while-revalidate"), ..Account::hit(Source::Stale) };
            return Ok(from_store(context, asked, presented, (&variants[index], &variants), account).await);
        }
        Lookup::GatewayTimeout => return Err(Refusal::OnlyIfCached),
        Lookup::Validate { index, conditional, why } => (Some(variants[index].clone()), Some(conditional), why),
        Lookup::Forward { why, stale } => (stale.map(|index| variants[index].clone()), None, why),
    };
    let may_ask_for_part = stored.is_none() && !context.flights.is_unsteady(&asked.key);
    let wanted = if may_ask_for_part { wanted_part(presented) } else { None };
    if !can_fill(presented) || stored.is_none() && presented.asks_for_range() && wanted.is_none() {
        return pass_as_it_is(context, asked, why).await;
    }
    let seeker = Seeker { asked, presented, heads: &heads_of(&variants), now };
    let lead = match place(context, &seeker, may_wait) {
        Place::Follow(follow) => return Box::pin(follow_up(context, asked, presented, stored, follow, why)).await,
        Place::Lead(lead) => lead,
        // Alone it gains nothing by asking for more than it wants.
        Place::Alone(_) if wanted.is_some() => return pass_as_it_is(context, asked, why).await,
        Place::Alone(lead) => lead,
    };
    // Somebody else may have filled it, or begun to, between our look and our lead.
    if stored.is_none() {
        let variants = in_memory(context, asked);
        if let Lookup::Reuse { index, is_fresh, .. } = decide(&variants, presented, now) {
            return Ok(reuse(context, asked, presented, &variants, (index, is_fresh, now)).await);
        }
        if let Some((assembly, lookup @ Lookup::Reuse { .. })) =
            combine::find(context, asked, presented, &variants, now).await
        {
            drop(lead);
            return Box::pin(from_incomplete(context, asked, presented, assembly, lookup, may_wait)).await;
        }
    }
    ask_origin(context, asked, presented, Errand { stored, conditional, wanted }, lead, why).await
}

/// Answers from a response that is stored in part, or asks the origin about it, together with others if `may_wait`.
async fn from_incomplete(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    assembly: Arc<combine::Assembly>,
    lookup: Lookup,
    may_wait: bool,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let incomplete = assembly.incomplete();
    let seeker = Seeker { asked, presented, heads: &[incomplete.head()], now: context.clock.now() };
    let (conditional, wanted, why) = match combine::use_incomplete(context, asked, presented, &assembly, lookup).await?
    {
        Next::Answer(response) => return Ok(response),
        Next::Refresh(conditional, wanted, response) => {
            if can_fill(presented) {
                let conditional = Some(conditional);
                refresh_behind(context, &seeker, Errand { conditional, wanted: Some(wanted), stored: None });
            }
            return Ok(response);
        }
        Next::Validate(conditional, wanted, why) => (conditional, wanted, why),
    };
    if !can_fill(presented) {
        return pass_as_it_is(context, asked, why).await;
    }
    let lead = match place(context, &seeker, may_wait) {
        Place::Follow(follow) => return follow_up(context, asked, presented, None, follow, why).await,
        Place::Lead(lead) | Place::Alone(lead) => lead,
    };
    let errand = Errand { stored: None, conditional: Some(conditional), wanted: Some(wanted) };
    ask_origin(context, asked, presented, errand, lead, why).await
}

/// A place among those who ask the origin for the same.
fn place(context: &Context, seeker: &Seeker<'_>, may_wait: bool) -> Place {
    if may_wait { context.flights.join(seeker) } else { Place::Alone(context.flights.alone(seeker.asked)) }
}

/// After what is stored in part was of no help because the origin failed: an older whole response, if it may stand in.
async fn stale_whole(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    variants: &Variants,
    error: ForwardError,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let (cause, now) = (cause_of(&error), context.clock.now());
    let may = |stored: &&Arc<StoredResponse>| stale_allowed(&stored.head, presented, cause, now).is_some();
    let Some(stored) = variants.iter().find(may) else { return Err(error.into()) };
    let account = Account::forwarded(Source::Stale, ForwardReason::Stale);
    without_content(context, asked, presented, Landed::Stale(stored.clone(), cause), account).await
}

async fn pass_as_it_is(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    why: ForwardReason,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    Box::pin(pass::pass(context, asked, empty(), Account::forwarded(Source::Origin, why))).await.map(Some)
}

/// Whether the origin may be asked for something that is stored in this request's place. A `HEAD` and `no-store` go to the
/// origin as they are.
fn can_fill(presented: &PresentedRequest<'_>) -> bool {
    presented.method == Method::GET && !presented.directives.no_store
}

/// The part to ask for when a request for a range meets nothing stored.
fn wanted_part(presented: &PresentedRequest<'_>) -> Option<Wanted> {
    let range = presented.asks_for_range().then(|| combine::first_part(presented)).flatten()?;
    Some(Wanted { range, known: None })
}

/// Leads: this request takes what its flight brings, which goes on by itself when the request is answered or has left.
async fn ask_origin(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    errand: Errand,
    lead: Lead,
    why: ForwardReason,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let (sender, share) = oneshot::channel();
    let follow = lead.follow();
    let (asked_for_a_part, stored) = (errand.wanted.is_some(), errand.stored.clone());
    let mut flight = Aboard::new(&context.tasks, fly(context.clone(), asked.clone(), errand, lead, sender));
    let account = Account::forwarded(Source::Origin, why);
    let landed = match flight.until(wait(context, asked, presented, stored.as_ref(), follow)).await {
        Some(landed @ Landed::Stale(..)) => {
            drop(flight);
            return Box::pin(without_content(context, asked, presented, landed, account)).await;
        }
        landed => landed,
    };
    let share = flight.until(share).await;
    drop(flight); // what is left of it needs nobody who waits
    match (landed, share) {
        (Some(Landed::Filling(filling)), Ok(LeadersShare::Reader(reader))) => {
            Ok(from_origin(context, asked, presented, filling, reader, account).await)
        }
        (Some(Landed::Parts(_)), Ok(LeadersShare::Parts(reader))) => {
            Box::pin(combine::give(context, asked, presented, *reader, Account { is_stored: true, ..account })).await
        }
        (Some(Landed::NotShared(detail)), Ok(LeadersShare::Response(response, tally))) => {
            let account = Account { detail: Some(detail), ..account };
            if !(asked_for_a_part && response.status() == StatusCode::PARTIAL_CONTENT) {
                return Ok(Some(pass::hand_over(asked, *response, tally, account)));
            }
            // It is the answer to our range, not to the client's.
            match combine::cut(presented, &response) {
                Some(cut) => Ok(Some(cut.of(pass::hand_over(asked, *response, tally, account)))),
                None => Box::pin(pass::pass(context, asked, empty(), account)).await.map(Some),
            }
        }
        (Some(Landed::NotShared(detail)), Ok(LeadersShare::Confirmed(stored))) => {
            let fwd_status = Some(StatusCode::NOT_MODIFIED);
            let account = Account { source: Source::Validated, fwd_status, detail: Some(detail), ..account };
            Ok(from_store(context, asked, presented, (&stored, &in_memory(context, asked)), account).await)
        }
        (Some(landed), _) => Box::pin(without_content(context, asked, presented, landed, account)).await,
        (None, _) => Err(Refusal::Overloaded), // the task was ended: the box is stopping
    }
}

/// Follows: takes what the lead's request brought if it is for this request too. `stored` may stand in for an origin that
/// fails; the lead's may be another variant, or none.
async fn follow_up(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    stored: Option<Arc<StoredResponse>>,
    follow: Follow,
    why: ForwardReason,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let account = Account { is_collapsed: true, ..Account::forwarded(Source::Collapsed, why) };
    let now = context.clock.now();
    let is_late = follow.is_late();
    match wait(context, asked, presented, stored.as_ref(), follow).await {
        None | Some(Landed::NotShared(_)) => Ok(None),
        Some(Landed::Filling(filling)) => {
            let may_take = match is_late {
                // He may have had the last byte of it himself: then only what may be reused is for him.
                true => is_reusable(&filling.head, presented, now),
                false => may_join(&filling.head, presented, now),
            };
            if !may_take {
                return Ok(None);
            }
            let Some(reader) = filling.body.reader(0, u64::MAX) else { return Ok(None) };
            Ok(from_origin(context, asked, presented, filling, reader, account).await)
        }
        Some(Landed::Parts(landing)) if !may_join(landing.incomplete.head(), presented, now) => Ok(None),
        Some(Landed::Validated(stored) | Landed::Stale(stored, _)) if !may_join(&stored.head, presented, now) => {
            Ok(None)
        }
        Some(Landed::Failed(error, _)) => {
            let landed = without_origin(error, stored.as_ref(), presented, now);
            without_content(context, asked, presented, landed, account).await
        }
        Some(landed) => without_content(context, asked, presented, landed, account).await,
    }
}

/// Waits for what a flight brings. With a stale response at hand that may stand in for an origin that does not answer
/// (RFC 9111 §4.2.4), a reader waits only for `stale_after`, counted from when the origin was asked; the flight goes on, and
/// what it brings is there for whoever comes later. A night has time.
async fn wait(
    context: &Context,
    asked: &Asked,
    presented: &PresentedRequest<'_>,
    stored: Option<&Arc<StoredResponse>>,
    follow: Follow,
) -> Option<Landed> {
    let cause = StaleCause::Timeout;
    let may_stand_in =
        |stored: &&Arc<StoredResponse>| stale_allowed(&stored.head, presented, cause, context.clock.now()).is_some();
    match stored.filter(may_stand_in) {
        Some(stored) if asked.arrival.way != Way::Night => {
            let landed = follow.landed_within(context.options.stale_after).await;
            landed.unwrap_or_else(|_| Some(Landed::Stale(stored.clone(), cause)))
        }
        _ => follow.landed().await,
    }
}

/// Whether a stored response answers this request as it is.
fn is_reusable(head: &StoredHead, presented: &PresentedRequest<'_>, now: SystemTime) -> bool {
    matches!(look_up(&[head], presented, now), Lookup::Reuse { .. } | Lookup::ReuseWhileRevalidating { .. })
}

/// What is left when no new content came: a confirmed response, a stale one, or the failure.
async fn without_content(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    landed: Landed,
    account: Account,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    match landed {
        Landed::Parts(landing) => Box::pin(combine::give_landed(context, asked, presented, landing, account)).await,
        Landed::Validated(stored) => {
            let source = if account.is_collapsed { Source::Collapsed } else { Source::Validated };
            let fwd_status = Some(StatusCode::NOT_MODIFIED);
            let account = Account { source, fwd_status, is_stored: true, ..account };
            Ok(from_store(context, asked, presented, (&stored, &in_memory(context, asked)), account).await)
        }
        Landed::Stale(stored, cause) => {
            let now = context.clock.now();
            if stale_allowed(&stored.head, presented, cause, now).is_none() {
                return Ok(None);
            }
            let fwd_status = match cause {
                StaleCause::OriginError(status) => Some(status),
                StaleCause::Unreachable | StaleCause::Timeout => None,
            };
            let detail = Some("stale-if-error");
            let account = Account { source: Source::Stale, fwd_status, is_stored: true, detail, ..account };
            Ok(from_store(context, asked, presented, (&stored, &in_memory(context, asked)), account).await)
        }
        Landed::Failed(error, None) => Err(error.into()),
        Landed::Failed(error, Some(unusable)) => Err(Refusal::ForwardPastStored { error, unusable }),
        Landed::Filling(_) | Landed::NotShared(_) => Err(Refusal::Overloaded), // its lead was ended half-way
    }
}

/// `stale-while-revalidate`: one request refreshes it, nobody waits for it (RFC 5861 §3). A `HEAD` brings no content to do
/// so with; the next `GET` will. When it fails, the next one waits a while.
fn refresh_behind(context: &Arc<Context>, seeker: &Seeker<'_>, errand: Errand) {
    if context.flights.is_resting(&seeker.asked.key) {
        return;
    }
    if let Place::Lead(lead) = context.flights.join(seeker) {
        let (nobody, _) = oneshot::channel();
        context.tasks.spawn(fly(context.clone(), seeker.asked.clone(), errand, lead, nobody));
    }
}

fn heads_of(variants: &Variants) -> Vec<&StoredHead> {
    variants.iter().map(|stored| &stored.head).collect()
}

async fn find_on_disk(context: &Context, asked: &Arc<Asked>) -> Variants {
    let (asked, policy) = (asked.clone(), context.options.policy.clone());
    let (key, rules) = (asked.key.clone(), asked.rules);
    let restore = move |parts| StoredHead::from_parts(parts, &asked.rule, &policy);
    let variants = context.store.find(&key, rules, restore).await;
    // Under a list that was edited since, what was stored may not have been.
    if variants.iter().any(|stored| stored.head.not_storable().is_some()) {
        context.store.remove(&key).await;
        return Variants::from([]);
    }
    variants
}

fn decide(variants: &Variants, presented: &PresentedRequest<'_>, now: SystemTime) -> Lookup {
    // One variant is the rule; a list on the heap only for more.
    match &variants[..] {
        [only] => look_up(&[&only.head], presented, now),
        several => look_up(&several.iter().map(|stored| &stored.head).collect::<Vec<_>>(), presented, now),
    }
}

fn in_memory(context: &Context, asked: &Asked) -> Variants {
    context.store.find_in_memory(&asked.key).unwrap_or_else(|| Variants::from([]))
}

/// The answer from a stored response that is used as it is.
async fn reuse(
    context: &Context,
    asked: &Asked,
    presented: &PresentedRequest<'_>,
    variants: &Variants,
    (index, is_fresh, now): (usize, bool, SystemTime),
) -> Option<Response<ResponseBody>> {
    let source = if is_fresh { Source::Hit } else { Source::Stale };
    let mut response =
        from_store(context, asked, presented, (&variants[index], variants), Account::hit(source)).await?;
    if asked.may_repeat && is_fresh {
        Repeatable::mark(&mut response, asked, presented, (variants, index), now);
    }
    Some(response)
}

/// The answer from a stored response, which has these variants beside it; none when its body proved gone or damaged, and
/// the request must look again.
async fn from_store(
    context: &Context,
    asked: &Asked,
    presented: &PresentedRequest<'_>,
    (stored, variants): (&Arc<StoredResponse>, &Variants),
    account: Account,
) -> Option<Response<ResponseBody>> {
    let now = context.clock.now();
    context.store.touch(stored);
    if asked.arrival.way == Way::Night {
        Box::pin(keep_for_the_day(context, asked, stored)).await;
    }
    // A tag that another coding of the same URL has too promises more than is so: nobody may join parts by it.
    let is_tag_shared = variants.len() > 1 && variants.iter().any(|other| share_a_tag(&stored.head, &other.head));
    let content = Content::Stored(stored.clone());
    let delivered = match is_tag_shared {
        true => Box::pin(deliver_whole(content, asked, presented, now)).await,
        false => deliver(content, presented, asked.arrival.way, now).await,
    };
    match delivered {
        Ok(response) => {
            let ttl_s = asked.arrival.may_see_status.then(|| ttl_s(&stored.head, now));
            Some(finish(response, asked, Account { ttl_s, ..account }))
        }
        Err(error) => {
            tracing::warn!(site = asked.permit.site().name(), %error, "a stored body cannot be read; it is fetched again");
            None
        }
    }
}

/// Delivers what has its tag in common with another variant.
async fn deliver_whole(
    content: Content,
    asked: &Asked,
    presented: &PresentedRequest<'_>,
    now: SystemTime,
) -> io::Result<Response<ResponseBody>> {
    let headers = without_dependent_range(&asked.headers);
    let presented = PresentedRequest { headers: &headers, ..presented.clone() };
    let mut response = deliver(content, &presented, asked.arrival.way, now).await?;
    weaken_tag(response.headers_mut());
    Ok(response)
}

async fn from_origin(
    context: &Context,
    asked: &Asked,
    presented: &PresentedRequest<'_>,
    filling: Arc<Filling>,
    reader: super::growing::Reader,
    account: Account,
) -> Option<Response<ResponseBody>> {
    let now = context.clock.now();
    let ttl_s = Some(ttl_s(&filling.head, now));
    let (is_stored, detail) = (filling.not_kept.is_none(), filling.not_kept);
    let account = Account { is_stored, detail, ..account };
    let response = deliver(Content::Filling(filling, reader), presented, asked.arrival.way, now).await.ok()?;
    Some(finish(response, asked, Account { ttl_s, ..account }))
}

fn ttl_s(head: &StoredHead, now: SystemTime) -> i64 {
    CacheStatus::ttl_s(head.fresh_for(now), head.stale_for(now).unwrap_or_default())
}

/// The fields that every response of a site gets from us, and the account of how it came about.
pub(super) fn finish(mut response: Response<ResponseBody>, asked: &Asked, account: Account) -> Response<ResponseBody> {
    sign_hop(response.headers_mut());
    account.sign(&mut response, &asked.permit, asked.arrival.may_see_status);
    response
}

fn sign_hop(headers: &mut HeaderMap) {
    // The origin's other doors (HTTP/3, other ports) lead around the box. The other two are meant for caches such as this
    // one, to be taken off by the last of them (Edge Architecture 1.0 §2.2; the services that read `Surrogate-Key` do the
    // same). `Cache-Tag` goes on: a box behind this one may purge by it too.
    const TAKEN_OFF: [HeaderName; 3] = [ALT_SVC, SURROGATE_CONTROL, SURROGATE_KEY];
    if headers.keys().any(|name| TAKEN_OFF.contains(name)) {
        TAKEN_OFF.iter().for_each(|name| drop(headers.remove(name)));
    }
    headers.append(VIA, HeaderValue::from_static("1.1 bulaq"));
}
