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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_control::{Scope, Seconds};
    use crate::testing::{fields, s};

    fn targeted(lines: &[&str]) -> Option<ResponseDirectives> {
        let lines: Vec<_> = lines.iter().map(|line| ("cdn-cache-control", *line)).collect();
        parse_targeted(&fields(&lines))
    }

    #[test]
    fn a_valid_field_gives_directives() {
        // RFC 9213 §2.1
        let max_age = |lines: &[&str]| targeted(lines).unwrap().max_age;
        assert_eq!(max_age(&["max-age=3600"]), Seconds::Is(s(3600)));
        assert_eq!(max_age(&["max-age=2147483648"]), Seconds::Is(s(1 << 31)));
        assert_eq!(max_age(&["max-age=99999999999"]), Seconds::Is(s(1 << 31)));
        assert_eq!(max_age(&["foobar, max-age=3600;p=1"]), Seconds::Is(s(3600)));
        assert_eq!(max_age(&["foo=(1 2), max-age=3600"]), Seconds::Is(s(3600)));
        assert_eq!(
            max_age(&["max-age=1", "max-age=2"]),
            Seconds::Is(s(2)),
            "of two members with one key the last counts"
        );
        assert!(targeted(&["no-store"]).unwrap().no_store);
        assert!(!targeted(&["no-store=?0, public"]).unwrap().no_store);
        assert_eq!(targeted(&["private"]).unwrap().private, Scope::Whole);
        assert_eq!(targeted(&["no-cache"]).unwrap().no_cache, Scope::Whole);
        assert_eq!(targeted(&["no-cache=\"a\""]).unwrap().no_cache.fields().len(), 1);
    }

    #[test]
    fn one_malformed_member_voids_the_whole_field() {
        // RFC 9213 §2.1
        for line in [
            "",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=10000.5",
            "max-age=token",
            "max-age=-1",
            "max-age",
            "max-age =100",
            "max-age= 100",
            "MaX-aGe=3600",
            "max-age=3600,",
            "max-age=(3600)",
            "no-store=1",
            "no-store=\"a\"",
            "private=token",
        ] {
            assert_eq!(targeted(&[line]), None, "{line}");
        }
        assert_eq!(targeted(&[]), None);
    }
}
