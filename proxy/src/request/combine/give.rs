//! The answer to a request from an incomplete response, and what the origin is asked when it may not be used as it is.

use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{
    ByteRange, CacheStatus, Conditional, ForwardReason, Lookup, PresentedRequest, StaleCause, stale_allowed,
};
use http::{Response, StatusCode};

use super::ask::{Wanted, block_at};
use super::assembly::Assembly;
use super::reader::{NotReady, Reader};
use crate::request::asked::{Asked, empty};
use crate::request::deliver::{Content, bytes_needed, deliver};
use crate::request::respond::finish;
use crate::request::status::Account;
use crate::request::{Context, ForwardError, Refusal, ResponseBody, Source, pass};
use crate::store::Incomplete;

/// An incomplete response for everybody who waits for it.
#[derive(Clone, Debug)]
pub struct Landing {
    /// What it is assembled in.
    pub assembly: Arc<Assembly>,
    /// The same under the head that it landed with.
    pub incomplete: Arc<Incomplete>,
    /// How it came about.
    pub by: By,
}

/// How an incomplete response came to be an answer.
#[derive(Clone, Debug)]
pub enum By {
    /// The origin sends it.
    Origin,
    /// The origin confirmed it (304).
    Confirmation,
    /// The origin failed, and it may stand in where all that is needed is stored. The error, when it was no answer of its.
    Failure(StaleCause, Option<ForwardError>),
}

impl Landing {
    /// The incomplete response as it is now.
    pub fn of(assembly: &Arc<Assembly>, by: By) -> Self {
        Self { assembly: Arc::clone(assembly), incomplete: assembly.incomplete(), by }
    }
}

/// What follows for a request that selects an incomplete response.
pub enum Next {
    /// Its answer; none when it must look again.
    Answer(Option<Response<ResponseBody>>),
    /// The origin is asked whether it may be used.
    Validate(Conditional, Wanted, ForwardReason),
    /// The same, behind the back of a reader who gets it as it is.
    Refresh(Conditional, Wanted, Option<Response<ResponseBody>>),
}

/// Uses an incomplete response as the look-up says.
///
/// # Errors
/// When the origin is needed, and fails or may not be asked.
pub async fn use_incomplete(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    assembly: &Arc<Assembly>,
    lookup: Lookup,
) -> Result<Next, Refusal> {
    let now = context.clock.now();
    match lookup {
        Lookup::Validate { conditional, why, .. } => {
            Ok(Next::Validate(conditional, wanted(assembly, presented, now), why))
        }
        Lookup::ReuseWhileRevalidating { conditional, .. } => {
            let account = Account { detail: Some("stale-while-revalidate"), ..Account::hit(Source::Stale) };
            let answer = give(context, asked, presented, Reader::new(context, asked, assembly), account).await?;
            Ok(match conditional {
                Some(conditional) => Next::Refresh(conditional, wanted(assembly, presented, now), answer),
                None => Next::Answer(answer),
            })
        }
        Lookup::Reuse { is_fresh, .. } => {
            let account = Account::hit(if is_fresh { Source::Hit } else { Source::Stale });
            let reader = Reader::new(context, asked, assembly);
            give(context, asked, presented, reader, account).await.map(Next::Answer)
        }
        Lookup::Forward { .. } | Lookup::GatewayTimeout => Err(Refusal::OnlyIfCached),
    }
}

/// What to ask for when an incomplete response is validated: the first block that the request needs and that is missing,
/// so that a changed representation comes by a block and not whole; if none is missing, the first one that it needs.
fn wanted(assembly: &Arc<Assembly>, presented: &PresentedRequest<'_>, now: SystemTime) -> Wanted {
    let needed = needed(&assembly.incomplete(), presented, now);
    let missing = needed.iter().find_map(|range| assembly.first_missing(*range));
    let at = missing.or_else(|| needed.first().map(|range| range.first)).unwrap_or(0);
    let range = block_at(at).unwrap_or(bulaq_cache_policy::RangeSpec::From(0, Some(0)));
    Wanted { range, known: Some(Arc::clone(assembly)) }
}

fn needed(incomplete: &Incomplete, presented: &PresentedRequest<'_>, now: SystemTime) -> Vec<ByteRange> {
    bytes_needed(incomplete.head(), incomplete.complete_length(), presented, now)
}

/// The answer from an incomplete response; none when the request must look again. What is missing is asked for; the head
/// is sent when the first byte is sure to come.
///
/// # Errors
/// When a byte that is missing will not come, or the origin may not be asked for it.
pub async fn give(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    mut reader: Reader,
    account: Account,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let now = context.clock.now();
    let needed = needed(reader.incomplete(), presented, now);
    let is_held = needed.iter().all(|range| reader.assembly().holds(*range));
    let account = match account.fwd {
        None if !is_held && presented.directives.only_if_cached => return Err(Refusal::OnlyIfCached),
        None if !is_held => Account { source: Source::Origin, fwd: Some(ForwardReason::Partial), ..account },
        _ => account,
    };
    if let Some(first) = needed.first() {
        match reader.ready(first.first).await {
            Ok(()) => {}
            Err(NotReady::Changed) => return Ok(None),
            Err(NotReady::Failed(error)) => return Err(error.into()),
            // What ails an origin is not asked about once for each of a crowd.
            Err(NotReady::Refused { status, has_begun: false }) if is_ill(status) => return Err(ill(asked)),
            // The origin's own words for it.
            Err(NotReady::Refused { .. }) => {
                let why = account.fwd.unwrap_or(ForwardReason::Partial);
                let account = Account::forwarded(Source::Origin, why);
                return pass::pass(context, asked, empty(), account).await.map(Some);
            }
        }
    }
    let head = reader.incomplete().head();
    let ttl_s = Some(CacheStatus::ttl_s(head.fresh_for(now), head.stale_for(now).unwrap_or_default()));
    let response = deliver(Content::Parts(Box::new(reader)), presented, asked.arrival.way, now).await;
    Ok(response.ok().map(|response| finish(response, asked, Account { ttl_s, ..account })))
}

/// The answer from what landed for everybody.
///
/// # Errors
/// As [`give`]; also when the origin failed and what is stored may not stand in.
pub async fn give_landed(
    context: &Arc<Context>,
    asked: &Arc<Asked>,
    presented: &PresentedRequest<'_>,
    landing: Landing,
    account: Account,
) -> Result<Option<Response<ResponseBody>>, Refusal> {
    let reader = Reader::new(context, asked, &landing.assembly);
    let account = Account { is_stored: true, ..account };
    match landing.by {
        By::Origin => give(context, asked, presented, reader, account).await,
        By::Confirmation => {
            let needed = needed(&landing.incomplete, presented, context.clock.now());
            let source = match account.is_collapsed {
                true => Source::Collapsed,
                false if needed.iter().all(|range| landing.assembly.holds(*range)) => Source::Validated,
                // Confirmed, but the origin has to send the rest: the night must know that it is not done.
                false => Source::Origin,
            };
            let fwd_status = Some(StatusCode::NOT_MODIFIED);
            give(context, asked, presented, reader, Account { source, fwd_status, ..account }).await
        }
        By::Failure(cause, error) => {
            let now = context.clock.now();
            let needed = needed(&landing.incomplete, presented, now);
            let may = stale_allowed(landing.incomplete.head(), presented, cause, now).is_some();
            if may && needed.iter().all(|range| landing.assembly.holds(*range)) {
                let fwd_status = match cause {
                    StaleCause::OriginError(status) => Some(status),
                    StaleCause::Unreachable | StaleCause::Timeout => None,
                };
                let detail = Some("stale-if-error");
                let account = Account { source: Source::Stale, fwd_status, detail, ..account };
                return give(context, asked, presented, reader, account).await;
            }
            match error {
                Some(error) => Err(error.into()),
                None if account.is_collapsed => Err(ill(asked)),
                None => pass::pass(context, asked, empty(), Account { is_stored: false, ..account }).await.map(Some),
            }
        }
    }
}

/// Whether a status tells of the origin's own troubles.
fn is_ill(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// What one of a crowd is told when the origin has answered another with an error.
fn ill(asked: &Asked) -> Refusal {
    let host = asked.permit.host().to_string();
    Refusal::Forward(ForwardError::Busy { host, detail: "it answered another reader with an error", retry_after: None })
}
