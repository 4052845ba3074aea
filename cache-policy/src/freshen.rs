//! Freshening: what a 304, or the answer to a `HEAD`, changes in a stored response. RFC 9111 §3.2, §4.3.4, §4.3.5.

use std::time::SystemTime;

use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED, VARY,
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

/// The stored head with the fields of a response that confirms it. RFC 9111 §3.2.
pub(crate) fn updated(
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
    if !crate::school::speaks_for_all(request, &fields) {
        // Told to a cookie's owner: whatever else it says may be about him.
        let others: Vec<_> = fields.keys().filter(|name| !ABOUT_FRESHNESS.contains(name)).cloned().collect();
        for name in others {
            fields.remove(name);
        }
    }
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
            // They are sorted, and a hostile list may be long.
            let selecting = &stored.parts().selecting;
            let place_of =
                |name: &HeaderName| selecting.binary_search_by(|(known, _)| known.as_str().cmp(name.as_str()));
            let is_known = |name: &HeaderName| name == ACCEPT_ENCODING || place_of(name).is_ok();
            (!names.iter().all(is_known)).then_some(NotStorable::VaryChanged)
        }
    }
}

/// What a 304 to a request with a cookie may change in a response that others get, too.
const ABOUT_FRESHNESS: [HeaderName; 7] =
    [AGE, CACHE_CONTROL, crate::targeted::CDN_CACHE_CONTROL, DATE, ETAG, EXPIRES, LAST_MODIFIED];

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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::testing::{Asked, anonymous, at, date, fields, get, stored};

    fn by_304(head: &StoredHead, asked: &Asked, lines: &[(&str, &str)]) -> Freshening {
        freshen(head, &asked.presented(), &fields(lines), at(99), at(100))
    }

    fn freshened(head: &StoredHead, asked: &Asked, lines: &[(&str, &str)]) -> StoredHead {
        match by_304(head, asked, lines) {
            Freshening::Freshened(head) => *head,
            other => panic!("{other:?}"),
        }
    }

    fn word(freshening: Freshening) -> &'static str {
        match freshening {
            Freshening::Freshened(_) => "freshened",
            Freshening::NotSelected => "not selected",
            Freshening::EndsStorage { reason, .. } => reason.token(),
        }
    }

    #[test]
    fn a_304_updates_fields_and_times() {
        // RFC 9111 §3.2, §4.3.4
        let head = stored(&[
            ("etag", "\"a\""),
            ("cache-control", "max-age=1"),
            ("x-test", "old"),
            ("content-foo", "old"),
            ("only-stored", "kept"),
            ("age", "50"),
            ("content-length", "36"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("connection", "x-hop"),
        ]);
        let new = freshened(
            &head,
            &get(&[]),
            &[
                ("etag", "\"a\""),
                ("cache-control", "max-age=3600"),
                ("x-test", "new"),
                ("content-foo", "new"),
                ("x-two", "1"),
                ("x-two", "2"),
                ("content-length", "10"),
                ("content-type", "text/plain"),
                ("content-encoding", "br"),
                ("content-range", "bytes 0-1/2"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
                ("date", "@100"),
            ],
        );
        for (name, expected) in [
            ("cache-control", "max-age=3600"),
            ("x-test", "new"),
            ("content-foo", "new"),
            ("only-stored", "kept"),
            ("content-length", "36"),
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
        ] {
            assert_eq!(new.headers()[name], expected, "{name}");
        }
        assert_eq!(new.headers().get_all("x-two").iter().count(), 2);
        for gone in ["x-hop", "connection", "content-range", "age"] {
            assert!(!new.headers().contains_key(gone), "{gone}");
        }
        assert!(new.is_fresh(at(101)));
        assert_eq!(new.current_age(at(101)).as_secs(), 2, "a second under way, a second here");
        assert_eq!((new.parts().request_time, new.parts().response_time), (at(99), at(100)));
    }

    #[test]
    fn a_304_without_date_or_fields_still_renews_the_age() {
        let mut head = stored(&[("etag", "\"a\""), ("cache-control", "max-age=60"), ("age", "50")]);
        head.mark_stale();
        let new = freshened(&head, &get(&[]), &[]);
        assert_eq!(new.headers()["date"], date(100));
        assert!(new.is_fresh(at(150)), "and it is no longer marked stale");
    }

    #[test]
    fn a_304_about_another_representation_changes_nothing() {
        // RFC 9111 §4.3.4
        let (tag, modified) = (("etag", "\"a\""), ("last-modified", "@-60"));
        for (have, got, expected) in [
            (&[tag][..], &[tag][..], "freshened"),
            (&[tag], &[("etag", "W/\"a\"")], "freshened"),
            (&[tag], &[], "freshened"),
            (&[tag], &[modified], "freshened"),
            (&[tag], &[("etag", "\"b\"")], "not selected"),
            (&[tag], &[("etag", "junk")], "not selected"),
            (&[modified], &[modified], "freshened"),
            (&[modified], &[], "freshened"),
            (&[modified], &[("last-modified", "@-59")], "not selected"),
            (&[modified], &[tag, modified], "not selected"),
            (&[tag, modified], &[tag, ("last-modified", "@-59")], "freshened"),
        ] {
            assert_eq!(word(by_304(&stored(have), &get(&[]), got)), expected, "{have:?} {got:?}");
        }
    }

    #[test]
    fn a_weak_tag_does_not_replace_our_strong_one() {
        let head = stored(&[("etag", "\"a\"")]);
        assert_eq!(freshened(&head, &get(&[]), &[("etag", "W/\"a\"")]).headers()["etag"], "\"a\"");
        let weak = stored(&[("etag", "W/\"a\"")]);
        assert_eq!(freshened(&weak, &get(&[]), &[("etag", "\"a\"")]).headers()["etag"], "\"a\"");
    }

    #[test]
    fn a_304_can_end_storage() {
        // RFC 9111 §3, §4.3.4
        let head = || stored(&[("etag", "\"a\""), ("cache-control", "max-age=60")]);
        for (line, expected) in [
            (("cache-control", "private"), "private"),
            (("cache-control", "no-store"), "no-store"),
            (("vary", "*"), "vary-star"),
            (("vary", "Cookie"), "vary-changed"),
            (("vary", "Accept-Encoding"), "freshened"),
            (("cache-control", "no-cache"), "freshened"),
        ] {
            assert_eq!(word(by_304(&head(), &get(&[]), &[line])), expected, "{line:?}");
        }
        assert_eq!(word(by_304(&head(), &get(&[]).rule(anonymous()), &[("cache-control", "private")])), "freshened");
        let by_public = get(&[("authorization", "x")]).rfc();
        let head = by_public.stored(200, &[("etag", "\"a\""), ("cache-control", "public")]);
        let lost = by_304(&head, &get(&[]).rfc(), &[("cache-control", "max-age=5")]);
        assert_eq!(word(lost), "authorization");
    }

    #[test]
    fn whoever_validates_decides_nothing_about_storage() {
        let head = stored(&[("etag", "\"a\""), ("cache-control", "max-age=60"), ("content-type", "image/png")]);
        for asked in [
            get(&[("cookie", "lang=kk")]),
            get(&[("cache-control", "no-store")]),
            get(&[("range", "bytes=0-1")]),
            get(&[]).method("HEAD"),
        ] {
            assert_eq!(word(by_304(&head, &asked, &[])), "freshened");
        }
    }

    #[test]
    fn no_cookie_comes_into_a_shared_copy() {
        let head = stored(&[("etag", "\"a\""), ("cache-control", "public, max-age=60")]);
        let lines = [("set-cookie", "sid=1"), ("set-cookie2", "x=1")];
        for asked in [get(&[]), get(&[]).rule(anonymous())] {
            let new = freshened(&head, &asked, &lines);
            assert!(!new.headers().contains_key("set-cookie") && !new.headers().contains_key("set-cookie2"));
        }
        let rfc = get(&[]).rfc();
        assert!(freshened(&rfc.stored(200, &[("etag", "\"a\"")]), &rfc, &lines).headers().contains_key("set-cookie"));
    }

    #[test]
    fn what_a_304_tells_a_cookies_owner_stays_with_him() {
        let image =
            [("etag", "\"a\""), ("cache-control", "max-age=1"), ("content-type", "image/png"), ("x-for", "all")];
        let lines = [("x-for", "aigerim"), ("x-user", "aigerim"), ("cache-control", "max-age=60"), ("expires", "@60")];
        let cookie = || get(&[("cookie", "k1=aigerim")]);
        let new = freshened(&stored(&image), &cookie(), &lines);
        assert_eq!((&new.headers()["x-for"], new.headers().get("x-user")), (&HeaderValue::from_static("all"), None));
        assert!(new.is_fresh(at(158)), "its freshness counts");
        let shared = [("x-for", "everybody"), ("cache-control", "public, max-age=60")];
        assert_eq!(freshened(&stored(&image), &cookie(), &shared).headers()["x-for"], "everybody");
        for asked in [get(&[]), cookie().rule(anonymous()), cookie().rfc()] {
            assert_eq!(freshened(&stored(&image), &asked, &lines).headers()["x-for"], "aigerim");
        }
    }

    #[test]
    fn freshening_twice_is_freshening_once() {
        let head = stored(&[("etag", "\"a\""), ("cache-control", "max-age=1"), ("x", "1")]);
        let lines = [("cache-control", "max-age=60"), ("x", "2"), ("date", "@100")];
        let once = freshened(&head, &get(&[]), &lines);
        let twice = freshened(&once, &get(&[]), &lines);
        assert_eq!(once.parts(), twice.parts());
    }

    #[test]
    fn the_answer_to_a_head_freshens_what_it_describes() {
        // RFC 9111 §4.3.5
        let head = stored(&[("etag", "\"a\""), ("content-length", "36"), ("cache-control", "max-age=1")]);
        let by_head = |status: u16, lines: &[(&str, &str)]| {
            let asked = get(&[]).method("HEAD");
            let status = StatusCode::from_u16(status).unwrap();
            freshen_by_head(&head, &asked.presented(), status, &fields(lines), at(99), at(100))
        };
        let same = [("etag", "\"a\""), ("content-length", "36"), ("cache-control", "max-age=1000"), ("x", "new")];
        let Freshening::Freshened(new) = by_head(200, &same) else { panic!() };
        assert!(new.is_fresh(at(500)));
        assert_eq!(new.headers()["x"], "new");
        assert_eq!(word(by_head(200, &[("x", "new")])), "freshened");
        assert_eq!(word(by_head(200, &[("content-length", "37")])), "not selected");
        assert_eq!(word(by_head(200, &[("etag", "\"b\"")])), "not selected");
        assert_eq!(word(by_head(200, &[("last-modified", "@-5")])), "not selected");
        assert_eq!(word(by_head(404, &same)), "not selected");
        assert_eq!(word(by_head(200, &[("cache-control", "private")])), "private");
    }
}
