//! Selecting a stored response by the request fields that its `Vary` names. RFC 9111 §4.1; RFC 9110 §12.5.5.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, VARY,
};

use crate::content_coding;
use crate::field;
use crate::request::PresentedRequest;

/// What a response says about the fields that selected it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// `*` somewhere, or a member that is no field name: no other request ever matches.
    Star,
    /// These fields, sorted, each once. Empty without `Vary`.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads every `Vary` line.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in field::members(headers, VARY) {
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Self::Star,
            }
        }
        names.sort_by(|a: &HeaderName, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::Fields(names)
    }
}

/// One selecting field of a stored response with the normalised value that the request had; `None` when it had none.
///
/// Of the `Accept` family the value itself; of every other field (`User-Agent`, `Referer`, `Origin`) only a digest,
/// because it is written to disk and may tell who asked.
pub type Selecting = (HeaderName, Option<Vec<u8>>);

/// Length of a digest in bytes: long enough that no two values meet by chance or by design.
const DIGEST_BYTES: usize = 32;

/// The selecting fields of a response with their values in the request that it answered.
pub(crate) fn selecting(request: &PresentedRequest<'_>, names: Vec<HeaderName>) -> Vec<Selecting> {
    names
        .into_iter()
        .map(|name| {
            let value = normalised(request, &name);
            (name, value)
        })
        .collect()
}

/// Whether the presented request has the same selecting values.
pub(crate) fn matches(selecting: &[Selecting], request: &PresentedRequest<'_>, codings: &[Vec<u8>]) -> bool {
    // In the school profile the coding of the stored body decides instead of what the earlier request asked for.
    let by_result = request.options.is_school();
    content_coding::accepts(request.headers, codings)
        && selecting
            .iter()
            .filter(|(name, _)| !(by_result && name == ACCEPT_ENCODING))
            .all(|(name, value)| *value == normalised(request, name))
}

/// Whether two requests have the same values of all selecting fields, whatever these were for the stored response.
pub(crate) fn are_alike(selecting: &[Selecting], one: &PresentedRequest<'_>, other: &PresentedRequest<'_>) -> bool {
    selecting.iter().all(|(name, _)| normalised(one, name) == normalised(other, name))
}

/// Whether a credential of the request selected the response: such a value must not reach the disk, nor another client.
pub(crate) fn names_credential(request: &PresentedRequest<'_>, names: &[HeaderName]) -> bool {
    names.iter().any(|name| (name == COOKIE || name == AUTHORIZATION) && normalised(request, name).is_some())
}

/// A field's value over all its lines, without the differences that mean nothing: white space around list members
/// everywhere; case and white space around `;` where the field defines tokens; order and weights in `Accept-Encoding`.
fn normalised(request: &PresentedRequest<'_>, name: &HeaderName) -> Option<Vec<u8>> {
    if name == COOKIE && request.rule.anonymous || !request.headers.contains_key(name) {
        return None;
    }
    if name == ACCEPT_ENCODING {
        return Some(content_coding::accepted(request.headers).join(&b", "[..]));
    }
    let folds_case = [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE].contains(name);
    let members: Vec<Vec<u8>> = field::members(request.headers, name)
        .map(|member| if folds_case { folded(member) } else { member.to_vec() })
        .collect();
    let value = members.join(&b", "[..]);
    Some(if folds_case { value } else { digest(&value) })
}

fn digest(value: &[u8]) -> Vec<u8> {
    let digest: [u8; DIGEST_BYTES] = *blake3::hash(value).as_bytes();
    digest.to_vec()
}

fn folded(member: &[u8]) -> Vec<u8> {
    field::split(member, b';').map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>().join(&b';')
}

/// Bytes that are equal exactly for responses that replace each other under one cache key: the selecting values and
/// the content coding of the body. For hashing by the store.
pub(crate) fn variant_key(selecting: &[Selecting], codings: &[Vec<u8>], by_result: bool) -> Vec<u8> {
    let mut key = Vec::new();
    let mut push = |bytes: &[u8]| {
        key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        key.extend_from_slice(bytes);
    };
    push(&codings.join(&b", "[..]));
    for (name, value) in selecting.iter().filter(|(name, _)| !(by_result && name == ACCEPT_ENCODING)) {
        push(name.as_str().as_bytes());
        match value {
            Some(value) => push(value),
            None => push(b"\0absent"),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Asked, anonymous, get, stored};

    /// Whether a response with this `Vary` to the first request is selected by the second one.
    fn selects(vary: &[&str], first: Asked, second: Asked) -> bool {
        let lines: Vec<_> = vary.iter().map(|line| ("vary", *line)).collect();
        first.stored(200, &lines).is_selected_by(&second.presented())
    }

    #[test]
    fn the_same_values_select() {
        // RFC 9111 §4.1
        for (vary, first, second, expected) in [
            ("Foo", &[("foo", "1")][..], &[("foo", "1")][..], true),
            ("Foo", &[("foo", "1")], &[("foo", "2")], false),
            ("Foo", &[("foo", "1")], &[], false),
            ("Foo", &[], &[("foo", "1")], false),
            ("Foo", &[], &[], true),
            ("Foo", &[("foo", "")], &[], false),
            ("Foo", &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")], true),
            ("Foo, Bar", &[("foo", "1"), ("bar", "a")], &[("bar", "a"), ("foo", "1")], true),
            ("Foo, Bar", &[("foo", "1"), ("bar", "a")], &[("foo", "2"), ("bar", "a")], false),
            ("Foo, Bar", &[("foo", "1"), ("bar", "a")], &[("foo", "a"), ("bar", "1")], false),
            ("Foo, Bar, Baz", &[("foo", "1"), ("baz", "7")], &[("foo", "1"), ("baz", "7")], true),
            ("Foo, Bar, Baz", &[("foo", "1"), ("baz", "7")], &[("foo", "1"), ("bar", "7")], false),
            ("", &[("foo", "1")], &[("foo", "2")], true),
        ] {
            assert_eq!(selects(&[vary], get(first), get(second)), expected, "{vary} {first:?} {second:?}");
            assert_eq!(selects(&[vary], get(first).rfc(), get(second).rfc()), expected, "{vary} {first:?} {second:?}");
        }
        assert!(!selects(&["Foo", "Bar"], get(&[("bar", "1")]), get(&[("bar", "2")])), "every line of Vary counts");
    }

    #[test]
    fn differences_that_mean_nothing_are_normalised() {
        // RFC 9111 §4.1
        let lang = "accept-language";
        for (name, first, second, expected) in [
            ("foo", &["1,2"][..], &[" 1, 2 "][..], true),
            ("foo", &["1, 2"], &["1", "2"], true),
            ("foo", &["a"], &["A"], false),
            ("foo", &["1, 2"], &["2, 1"], false),
            ("foo", &["\"a, b\""], &["\"a,b\""], false),
            (lang, &["en, de"], &["eN, De"], true),
            (lang, &["en, de"], &["en ,   de"], true),
            (lang, &["en;q=0.5"], &["EN ; q=0.5"], true),
            (lang, &["en, de"], &["de, en"], false),
            ("accept", &["text/html;q=1, */*"], &["Text/HTML; q=1,*/*"], true),
            ("user-agent", &["A"], &["a"], false),
        ] {
            let with = |values: &[&str]| get(&values.iter().map(|value| (name, *value)).collect::<Vec<_>>());
            assert_eq!(selects(&[name], with(first), with(second)), expected, "{name} {first:?} {second:?}");
        }
    }

    #[test]
    fn a_star_anywhere_selects_nothing() {
        // RFC 9111 §4.1
        for vary in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, Foo"], &["Foo, *"], &["foo bar"]] {
            assert!(!selects(vary, get(&[]), get(&[])), "{vary:?}");
        }
    }

    #[test]
    fn a_body_in_a_coding_goes_to_who_accepts_it() {
        let coded = |vary: &str, coding: &str, accept: &str, options: fn(Asked) -> Asked| {
            let lines = [("vary", vary), ("content-encoding", coding)];
            let first = options(get(&[("accept-encoding", "gzip, deflate, br")])).stored(200, &lines);
            let accept = if accept.is_empty() { get(&[]) } else { get(&[("accept-encoding", accept)]) };
            first.is_selected_by(&options(accept).presented())
        };
        let school: fn(Asked) -> Asked = |asked| asked;
        let rfc: fn(Asked) -> Asked = Asked::rfc;
        for options in [school, rfc] {
            assert!(coded("Accept-Encoding", "gzip", "br, deflate, gzip;q=0.5", options));
            assert!(!coded("Accept-Encoding", "gzip", "br", options));
            assert!(!coded("Accept-Encoding", "gzip", "", options));
            assert!(!coded("", "gzip", "", options), "also when the origin forgets Vary");
            assert!(coded("", "gzip", "gzip", options));
        }
        assert!(coded("Accept-Encoding", "gzip", "gzip, zstd", school), "deviation `encoding-by-result`");
        assert!(!coded("Accept-Encoding", "gzip", "gzip, zstd", rfc));
        assert!(coded("Accept-Encoding", "identity", "", school));
        for accept in ["", "gzip", "br, gzip;q=0"] {
            // What a night stores is identity: it serves all who do not refuse that.
            let night = get(&[("accept-encoding", "identity")]).stored(200, &[("vary", "Accept-Encoding")]);
            let asked = if accept.is_empty() { get(&[]) } else { get(&[("accept-encoding", accept)]) };
            assert!(night.is_selected_by(&asked.presented()), "{accept}");
            let refuses = get(&[("accept-encoding", "gzip, identity;q=0")]);
            assert!(!night.serves(&refuses.presented()));
        }
    }

    #[test]
    fn what_varies_by_one_field_tells_which_requests_are_for_one_variant() {
        let head = get(&[("foo", "1")]).stored(200, &[("vary", "Foo")]);
        let expects_one = |one: Option<&str>, other: Option<&str>| {
            let asked = |value: Option<&str>| match value {
                Some(value) => get(&[("foo", value), ("bar", "x")]),
                None => get(&[("bar", "y")]),
            };
            head.expects_one_answer_to(&asked(one).presented(), &asked(other).presented())
        };
        assert!(expects_one(Some("1"), Some("1")) && expects_one(Some("2"), Some(" 2")) && expects_one(None, None));
        assert!(
            !expects_one(Some("1"), Some("2")) && !expects_one(Some("2"), None) && !expects_one(Some("2"), Some("3"))
        );
        let gzip = [("vary", "Accept-Encoding"), ("content-encoding", "gzip")];
        let accept = |value: &str| get(&[("accept-encoding", value)]);
        let head = accept("gzip").stored(200, &gzip);
        let expects_one = |one, other| head.expects_one_answer_to(&accept(one).presented(), &accept(other).presented());
        assert!(expects_one("gzip, br", "gzip"), "both can be given what is stored");
        assert!(expects_one("gzip", "br"), "or can be given it decoded");
        assert!(!expects_one("gzip", "br, identity;q=0"));
    }

    #[test]
    fn variants_that_replace_each_other_have_one_key() {
        let key = |asked: &[(&str, &str)], lines: &[(&str, &str)]| get(asked).stored(200, lines).variant_key();
        let gzip = [("vary", "Accept-Encoding, Foo"), ("content-encoding", "gzip")];
        let first = key(&[("accept-encoding", "gzip"), ("foo", "1")], &gzip);
        assert_eq!(first, key(&[("accept-encoding", "br, gzip"), ("foo", "1")], &gzip));
        assert_ne!(first, key(&[("accept-encoding", "gzip"), ("foo", "2")], &gzip));
        assert_ne!(first, key(&[("accept-encoding", "gzip")], &gzip));
        assert_ne!(first, key(&[("accept-encoding", "gzip"), ("foo", "1")], &gzip[..1]));
        assert_eq!(key(&[("a", "1")], &[]), key(&[("a", "2")], &[]));
    }

    #[test]
    fn what_may_tell_who_asked_is_kept_as_a_digest() {
        let lines = [("vary", "User-Agent, Referer, Accept-Language")];
        let head = get(&[("user-agent", "Tablet 7"), ("accept-language", "kk")]).stored(200, &lines);
        let kept: Vec<_> = head.parts().selecting.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        assert_eq!(kept[0], ("accept-language", Some(b"kk".to_vec())));
        assert_eq!(kept[1], ("referer", None));
        assert_eq!(kept[2].1.as_ref().map(Vec::len), Some(DIGEST_BYTES));
        assert!(!format!("{kept:?}").contains("Tablet"));
    }

    #[test]
    fn an_anonymous_rule_forgets_the_cookie() {
        let asked = get(&[("cookie", "sid=1")]).rule(anonymous());
        let head = asked.stored(200, &[("vary", "Cookie")]);
        assert_eq!(head.parts().selecting[0].1, None);
        assert!(head.is_selected_by(&get(&[("cookie", "sid=2")]).rule(anonymous()).presented()));
        assert!(stored(&[("vary", "Cookie")]).is_selected_by(&get(&[]).presented()));
    }
}
