//! `CDN-Cache-Control`: directives meant for a cache in front of the origin; when valid and not empty they replace
//! `Cache-Control` and `Expires` altogether. RFC 9213.

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::cache_control::ResponseDirectives;

/// The one targeted field that this cache obeys.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives of a valid, non-empty `CDN-Cache-Control`; `None` when it is absent, empty, no structured field, or
/// gives a directive that this cache knows a value of the wrong type: one such member voids the whole field.
pub fn parse_targeted(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let mut text = Vec::new();
    for line in headers.get_all(CDN_CACHE_CONTROL) {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
    }
    let members: Dictionary = Parser::new(&text).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::default();
    for (name, member) in &members {
        let ListEntry::Item(item) = member else {
            if is_known(name.as_str()) {
                return None;
            }
            continue;
        };
        add(&mut directives, name.as_str(), &item.bare_item)?;
    }
    Some(directives)
}

const SECONDS: [&str; 4] = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];
const FLAGS: [&str; 7] =
    ["no-store", "public", "must-revalidate", "proxy-revalidate", "must-understand", "no-transform", "immutable"];
const SCOPES: [&str; 2] = ["no-cache", "private"];

fn is_known(name: &str) -> bool {
    SECONDS.contains(&name) || FLAGS.contains(&name) || SCOPES.contains(&name)
}

fn add(directives: &mut ResponseDirectives, name: &str, value: &BareItem) -> Option<()> {
    match value {
        _ if !is_known(name) => {}
        BareItem::Integer(seconds) if SECONDS.contains(&name) => {
            let seconds = u64::try_from(i64::from(*seconds)).ok()?;
            directives.add(name, Some(seconds.to_string().as_bytes()));
        }
        BareItem::Boolean(true) if !SECONDS.contains(&name) => directives.add(name, None),
        // A false flag says what its absence would say.
        BareItem::Boolean(false) if !SECONDS.contains(&name) => {}
        BareItem::String(names) if SCOPES.contains(&name) => directives.add(name, Some(names.as_str().as_bytes())),
        _ => return None,
    }
    Some(())
}
