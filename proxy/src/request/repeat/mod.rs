//! What was answered before is answered again: hits that need none of the request path's steps.
//!
//! The memo knows no rule of caching. The ordinary path ([`respond`](super::respond)) decides, answers, and says that its
//! answer may be repeated ([`Repeatable`]); the door notes the head under a key, and for the same key the same head goes
//! out again, with the `Age` and `ttl` of now. Why that is the answer that the ordinary path would give:
//!
//! | what the ordinary path looks at | why a repeated answer cannot differ |
//! |---|---|
//! | framing, `admit`, the target, own names, `wpad.dat`, the probe names, the gateway | functions of the request's bytes, of the connection and of settings: all in the key, or constant for the process. What they answer themselves is not [`Repeatable`] |
//! | a router's original destination | compared by DNS, so such connections have no memo |
//! | the permit, the rule, the language of a site, the parameters that it ignores | of the list; a new list makes the store forget what it has in memory, and the stored responses are other ones then |
//! | cookies, credentials, directives, preconditions, expectations, anything unknown | requests that carry such fields have no key |
//! | one range of bytes from an offset on | the same head for every one that is satisfiable ([`resolve_range`](bulaq_cache_policy::resolve_range)), but for its numbers; other ranges have no key |
//! | fields that are not in the key | [`IGNORED_FIELDS`]: nothing that a variant's `Vary` names may be among them |
//! | which variants are stored, by purge, replacement, 304, damage, eviction | the very same list of variants must be in memory (`Store::at_place`); the `Weak` keeps its address from meaning another one |
//! | which of them is chosen, and whether it may be reused | of the variants, the key and which of them are fresh now: these must be the same ones |
//! | `Age`, `ttl` | made of the same policy functions at the same time |
//! | `Cache-Status` | who may see it is in the key |
//! | recency, the ledger | touched and added to as ever; the ledger counts the bytes that were sent |
//! | how many requests are in flight | not looked at: what is repeated waits for nobody, and is served even when the box sheds load |

mod head;
mod table;

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bulaq_allowlist::Traffic;
use bulaq_cache_policy::{
    ByteRange, CacheKey, CacheStatus, DELTA_SECONDS_MAX, PresentedRequest, RangeSpec, parse_range,
};
use bytes::Bytes;
use http::header::{CONTENT_RANGE, ETAG, RANGE};
use http::{Response, StatusCode};

use self::head::Head;
use self::table::{Entry, Table};
use super::asked::Asked;
use super::{Handled, ResponseBody, Source, Way};
use crate::clock::Clock;
use crate::ledger::{Ledger, Receipt};
use crate::store::{BodyFile, Store, StoredResponse, Variants};

/// Fields that a request may carry without being told apart: the request path decides nothing by them. A response whose
/// `Vary` names one of them is never repeated.
pub const IGNORED_FIELDS: [&str; 20] = [
    "user-agent",
    "referer",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "sec-fetch-user",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-arch",
    "sec-ch-ua-bitness",
    "sec-ch-ua-model",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-prefers-color-scheme",
    "sec-gpc",
    "dnt",
    "priority",
    "upgrade-insecure-requests",
];

/// Variants of one URL whose freshness fits the mask; a URL with more is not repeated.
const VARIANTS_MAX: usize = u32::BITS as usize;

/// Among the extensions of a request whose answer the door would note.
#[derive(Clone, Copy, Debug)]
pub struct MayRepeat;

/// Among the extensions of a response that may be repeated for an equal request.
#[derive(Clone, Debug)]
pub struct Repeatable {
    key: CacheKey,
    variants: Weak<[Arc<StoredResponse>]>,
    index: usize,
    /// Which of the variants were fresh when it was decided.
    fresh: u32,
    shows_status: bool,
}

impl Repeatable {
    /// Says so of a fresh hit on `variants[index]`, decided at `now`, unless it depends on more than the memo looks at.
    pub(super) fn mark(
        response: &mut Response<ResponseBody>,
        asked: &Asked,
        presented: &PresentedRequest<'_>,
        (variants, index): (&Variants, usize),
        now: SystemTime,
    ) {
        let head = &variants[index].head;
        let is_plain = asked.arrival.is_at_site()
            && is_one_answer(response, presented)
            && !head.must_be_decoded_for(presented)
            && response.headers().get(ETAG) == head.headers().get(ETAG);
        let is_told_apart = |variant: &Arc<StoredResponse>| {
            let mut selecting = variant.head.parts().selecting.iter().map(|(name, _)| name.as_str());
            selecting.any(|name| name == RANGE.as_str() || IGNORED_FIELDS.contains(&name))
        };
        if !is_plain || variants.len() > VARIANTS_MAX || variants.iter().any(is_told_apart) {
            return;
        }
        response.extensions_mut().insert(Self {
            key: asked.key.clone(),
            variants: Arc::downgrade(variants),
            index,
            fresh: freshness(variants, now),
            shows_status: asked.arrival.may_see_status,
        });
    }
}

/// Whether it is all that was asked for, or the one part of it.
fn is_one_answer(response: &Response<ResponseBody>, presented: &PresentedRequest<'_>) -> bool {
    match response.status() {
        StatusCode::OK => !presented.asks_for_range(),
        StatusCode::PARTIAL_CONTENT => presented.asks_for_range() && response.headers().contains_key(CONTENT_RANGE),
        _ => false,
    }
}

/// Which of the variants are fresh, a bit each.
fn freshness(variants: &Variants, now: SystemTime) -> u32 {
    variants.iter().rev().fold(0, |mask, variant| mask << 1 | u32::from(variant.head.is_fresh(now)))
}

/// The answers that may be repeated. Shared by all doors.
pub struct Repeats {
    table: Table,
    store: Store,
    ledger: Arc<Ledger>,
    clock: Clock,
}

impl Repeats {
    /// An empty memo over the store that answers come from.
    pub fn new(store: Store, ledger: Arc<Ledger>, clock: Clock) -> Self {
        Self { table: Table::default(), store, ledger, clock }
    }

    /// Notes an answer, if it may be repeated, for requests with the same key that come the same way.
    pub(crate) fn note(&self, key: Box<[u8]>, way: Way, response: &Response<ResponseBody>) {
        let extensions = response.extensions();
        let (Some(repeatable), Some(handled)) = (extensions.get::<Repeatable>(), extensions.get::<Handled>()) else {
            return;
        };
        let (Some(permit), Source::Hit) = (&handled.permit, handled.source) else { return };
        let Some(head) = Head::of(response, repeatable.shows_status) else { return };
        let Repeatable { key: cache_key, variants, index, fresh, .. } = repeatable.clone();
        let receipt = Receipt {
            site: Some(Arc::from(permit.site().name())),
            is_zero_rated: permit.site().traffic() == Traffic::ZeroRated,
            way,
            source: handled.source,
            status: response.status().as_u16(),
            reason: handled.reason,
            lan_bytes: 0,
            wan_bytes: 0,
        };
        // Not there any more, or other variants: then nothing is found in it by `find`.
        let Some(place) = self.store.place_in_memory(&cache_key) else { return };
        self.table.put(Entry::new(key, cache_key, place, (variants, index, fresh), head, receipt));
    }

    /// The answer to a request with this key, for this `Range` if the key says that there is one, when the ordinary path
    /// would give it now.
    pub(crate) fn find(self: &Arc<Self>, key: &[u8], range: Option<&[u8]>) -> Option<Repeat> {
        let entry = self.table.find(key)?;
        let known = if entry.is_counted() { None } else { self.store.at_place(&entry.place) };
        let variants = match known {
            Some(variants) => variants,
            None => self.store.at_place(&self.store.place_in_memory(&entry.cache_key)?)?,
        };
        if !std::ptr::addr_eq(Arc::as_ptr(&variants), entry.variants.as_ptr()) {
            return None;
        }
        let now = self.clock.now();
        if freshness(&variants, now) != entry.fresh {
            return None;
        }
        let stored = &variants[entry.index];
        let length = stored.body_bytes();
        let part = match range {
            Some(range) => single(range, length)?,
            None => ByteRange::new(0, length.checked_sub(1)?)?,
        };
        let content = Content::of(stored, part)?;
        let age = stored.head.current_age(now).as_secs().min(DELTA_SECONDS_MAX);
        let ttl_s = CacheStatus::ttl_s(stored.head.fresh_for(now), Duration::ZERO);
        let head = entry.head.at(age, ttl_s.unsigned_abs(), part, length);
        self.store.touch(stored);
        Some(Repeat { head, content, receipt: Tally { entry, repeats: Arc::clone(self), content_bytes: 0 } })
    }
}

/// An answer to be sent.
pub(crate) struct Repeat {
    /// All of the head, with its last empty line.
    pub(crate) head: Vec<u8>,
    /// What follows it.
    pub(crate) content: Content,
    /// What becomes of it.
    pub(crate) receipt: Tally,
}

/// The content of an answer.
pub(crate) enum Content {
    /// In memory.
    Memory(Bytes),
    /// These bytes of a file.
    File(BodyFile, Range<u64>),
}

impl Content {
    /// None when a thread that may wait for the disk has to open the file first, and check it.
    fn of(stored: &StoredResponse, part: ByteRange) -> Option<Self> {
        let range = part.first..part.last + 1;
        let Some(bytes) = stored.small_body() else { return Some(Self::File(stored.body_file_now()?, range)) };
        Some(Self::Memory(bytes.slice(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)))
    }
}

/// The part of a body of this length that one range of bytes from an offset on asks for; none where it has none of them.
fn single(range: &[u8], length: u64) -> Option<ByteRange> {
    match parse_range(range)?[..] {
        [spec @ RangeSpec::From(..)] => spec.resolve(length),
        _ => None,
    }
}

/// The receipt of an answer, handed in when it is dropped: then all of it has left, or nobody wants more.
pub(crate) struct Tally {
    entry: Arc<Entry>,
    repeats: Arc<Repeats>,
    content_bytes: u64,
}

impl Tally {
    /// So many more bytes of content have left.
    pub(crate) fn sent(&mut self, content_bytes: usize) {
        self.content_bytes += content_bytes as u64;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.repeats.ledger.add(&Receipt { lan_bytes: self.content_bytes, ..self.entry.receipt.clone() });
    }
}

impl std::fmt::Debug for Repeats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repeats").finish_non_exhaustive()
    }
}
