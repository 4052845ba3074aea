//! Freshening: what a 304, or the answer to a `HEAD`, changes in a stored response. RFC 9111 §3.2, §4.3.4, §4.3.5.

use std::time::SystemTime;

use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap,
    HeaderName, LAST_MODIFIED, VARY,
};

use crate::entity_tag::EntityTag;
use crate::http_date::{date_field, format_http_date};
use crate::request::PresentedRequest;
use crate::storable::NotStorable;
use crate::stored_head::StoredHead;
use crate::vary::Vary;

/// What validation did to a stored response.
#[derive(Clone, Debug)]
pub enum Freshening {
    /// The stored response with updated fields and times: it replaces the old head, its body stays.
    Freshened(Box<StoredHead>),
    /// The origin speaks of another representation: the stored response is left as it is, and not used for this
    /// request. Forward without conditions.
    NotSelected,
    /// The origin no longer lets it be stored: remove it. To this one request the updated head, with the stored body,
    /// is still the answer.
    EndsStorage {
        /// Why.
        reason: NotStorable,
        /// The updated head.
        head: Box<StoredHead>,
    },
}

/// Updates a stored response by a 304 to our validation of it.
///
/// Every field of the 304 replaces the stored one, except those that describe the stored bytes (`Content-Length`,
/// `Content-Encoding`, `Content-Type`, `Content-Range`), a weaker entity tag, and hop-by-hop fields. A cookie in the
/// 304 is not taken in by a shared copy in the school profile.
pub fn freshen(
    stored: &StoredHead,
    request: &PresentedRequest<'_>,
    not_modified: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Freshening {
    if !selects(stored, not_modified, response_time) {
        return Freshening::NotSelected;
    }
    updated(stored, request, not_modified, request_time, response_time)
}

/// Updates a stored response by the origin's 200 to a `HEAD`; anything in it that shows another representation
/// (validators, length) means that the stored one is out of date: [`Freshening::NotSelected`]; mark it stale then.
/// RFC 9111 §4.3.5.
pub fn freshen_by_head(
    stored: &StoredHead,
    request: &PresentedRequest<'_>,
    status: StatusCode,
    head: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Freshening {
    let is_same =
        |name: &HeaderName| !head.contains_key(name) || crate::validation::same_value(head, stored.headers(), name);
    let describes_stored = [ETAG, LAST_MODIFIED, CONTENT_LENGTH, CONTENT_ENCODING].iter().all(is_same);
    if status != stored.status() || !describes_stored {
        return Freshening::NotSelected;
    }
    updated(stored, request, head, request_time, response_time)
}

/// Whether a 304 is about the stored response: its strong entity tag is ours, or its weak validator is ours, or it
/// has none. RFC 9111 §4.3.4.
fn selects(stored: &StoredHead, not_modified: &HeaderMap, response_time: SystemTime) -> bool {
    if not_modified.contains_key(ETAG) {
        let Some(tag) = EntityTag::of(not_modified) else { return false };
        return stored.entity_tag().is_some_and(|own| own.weakly_equals(&tag));
    }
    match date_field(not_modified, LAST_MODIFIED, response_time) {
        Some(modified) => stored.last_modified().is_none_or(|own| own == modified),
        None => true,
    }
}

fn updated(
    stored: &StoredHead,
    request: &PresentedRequest<'_>,
    new: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Freshening {
    let mut parts = stored.parts().clone();
    let mut fields = new.clone();
    if request.options.is_school() {
        crate::site_rule::anonymise_response(&mut fields); // deviation `set-cookie`
    }
    crate::hop_by_hop::remove_hop_by_hop(&mut fields);
    // What told the age of the stored response tells nothing of what is now confirmed.
    parts.headers.remove(AGE);
    if date_field(&fields, DATE, response_time).is_none() {
        fields.insert(DATE, format_http_date(response_time));
    }
    for name in fields.keys().filter(|name| is_updated(name, stored, new)) {
        parts.headers.remove(name);
        for value in fields.get_all(name) {
            parts.headers.append(name, value.clone());
        }
    }
    parts.request_time = request_time;
    parts.response_time = response_time;
    parts.is_marked_stale = false;
    // Whether it may be stored is asked again, of the whole as it now stands: a 304 may bring `private` or `no-store`.
    let head = Box::new(StoredHead::from_parts(parts, request.rule, request.options));
    match head.not_storable().or_else(|| vary_objection(stored, new)) {
        Some(reason) => Freshening::EndsStorage { reason, head },
        None => Freshening::Freshened(head),
    }
}

/// The stored response stays selected by the fields that its own `Vary` names. When a 304 names further ones, nobody
/// knows their values in the request that it answered; `Accept-Encoding` alone is judged by the coding of the body.
fn vary_objection(stored: &StoredHead, new: &HeaderMap) -> Option<NotStorable> {
    match Vary::of(new) {
        Vary::Star => Some(NotStorable::VaryStar),
        Vary::Fields(names) => {
            let is_known = |name: &HeaderName| {
                name == ACCEPT_ENCODING || stored.parts().selecting.iter().any(|(known, _)| known == name)
            };
            (!names.iter().all(is_known)).then_some(NotStorable::VaryChanged)
        }
    }
}

fn is_updated(name: &HeaderName, stored: &StoredHead, new: &HeaderMap) -> bool {
    match *name {
        // They describe the bytes that we hold, which a 304 does not carry. RFC 9111 §3.2.
        CONTENT_LENGTH | CONTENT_ENCODING | CONTENT_TYPE | CONTENT_RANGE => false,
        // It belongs to the selecting values that were taken when the response was stored; see `vary_objection`.
        VARY => false,
        // A weak tag in place of our strong one would lose what we know about the bytes.
        ETAG => EntityTag::of(new).is_some_and(|new| !(new.weak && stored.entity_tag().is_some_and(|own| !own.weak))),
        _ => true,
    }
}
