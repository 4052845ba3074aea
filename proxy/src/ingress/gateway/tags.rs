//! Validators of rewritten pages.
//!
//! The rewritten form is another representation, so its entity tag is another one: weak, since it is equal in meaning and
//! not in bytes, and with a mark of all that the rewriting depends on besides the page. When the list or the gateway's
//! address changes, the mark does, and a browser's copy is not confirmed.

use http::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};

use super::names::Address;

/// Changes with every change of what rewriting does, so that no browser keeps an older form.
const REVISION: u32 = 1;

/// Letters of a mark.
const MARK_BYTES: usize = 12;

/// What the rewriting depends on besides the page, in a few letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Mark {
    /// For a list, told by what it permits, and a gateway's address.
    pub(super) fn new(list_digest: &[u8; 32], address: &Address) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&REVISION.to_be_bytes()).update(list_digest).update(address.start().as_bytes());
        Self(hasher.finalize().to_hex()[..MARK_BYTES].to_owned())
    }

    /// `"g<mark>-…"`: the beginning of all tags with this mark.
    fn prefix(&self) -> String {
        format!("\"g{}-", self.0)
    }

    /// Gives a rewritten page's head its own tag: from the page's tag, or from its time.
    pub(super) fn derive(&self, headers: &mut HeaderMap) {
        let prefix = self.prefix();
        let opaque = |tag: &HeaderValue| {
            let text = tag.to_str().ok()?.trim();
            let (kind, quoted) = if let Some(weak) = text.strip_prefix("W/") { ("w", weak) } else { ("s", text) };
            Some(format!("{kind}{}", quoted.strip_prefix('"')?))
        };
        let derived = match (headers.get(ETAG), headers.get(LAST_MODIFIED)) {
            (Some(tag), _) => opaque(tag),
            (None, Some(time)) => time.to_str().ok().map(|time| format!("t{}\"", time.replace(' ', "_"))),
            (None, None) => None,
        };
        match derived.and_then(|opaque| HeaderValue::try_from(format!("W/{prefix}{opaque}")).ok()) {
            Some(tag) => headers.insert(ETAG, tag),
            None => headers.remove(ETAG),
        };
    }

    /// Puts the preconditions of a request back to what the origin and the store know. True when one of them was about a
    /// rewritten form, so that a 304 to them is too.
    pub(super) fn restore(&self, headers: &mut HeaderMap) -> bool {
        if headers.get(IF_RANGE).is_some_and(is_marked) {
            // A weak tag confirms no range; the whole is sent (RFC 9110 §13.1.5).
            headers.remove(IF_RANGE);
            headers.remove(RANGE);
        }
        let Some(given) = joined(headers) else { return false };
        let (mut kept, mut time, mut was_marked) = (Vec::new(), None, false);
        let prefix = self.prefix();
        for tag in tags(&given) {
            let quoted = tag.strip_prefix("W/").unwrap_or(tag);
            if !quoted.starts_with("\"g") || !is_mark(quoted) {
                kept.push(tag.to_owned());
                continue;
            }
            was_marked = true;
            // A tag with another mark is of a form that we would not make any more.
            let Some(opaque) = quoted.strip_prefix(&prefix) else { continue };
            match opaque.split_at_checked(1) {
                Some(("s", rest)) => kept.push(format!("\"{rest}")),
                Some(("w", rest)) => kept.push(format!("W/\"{rest}")),
                Some(("t", rest)) => time = Some(rest.trim_end_matches('"').replace('_', " ")),
                _ => {}
            }
        }
        if !was_marked {
            return false;
        }
        headers.remove(IF_NONE_MATCH);
        headers.remove(IF_MODIFIED_SINCE);
        if let Ok(value) = HeaderValue::try_from(kept.join(", "))
            && !kept.is_empty()
        {
            headers.insert(IF_NONE_MATCH, value);
        } else if let Some(time) = time.and_then(|time| HeaderValue::try_from(time).ok()) {
            headers.insert(IF_MODIFIED_SINCE, time);
        }
        true
    }
}

fn is_marked(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| is_mark(text.trim().trim_start_matches("W/")))
}

/// Whether a quoted tag has any mark of ours.
fn is_mark(quoted: &str) -> bool {
    let Some(rest) = quoted.strip_prefix("\"g") else { return false };
    let mark = rest.as_bytes().get(..=MARK_BYTES);
    mark.is_some_and(|mark| mark[MARK_BYTES] == b'-' && mark[..MARK_BYTES].iter().all(u8::is_ascii_hexdigit))
}

/// All `If-None-Match` lines as one; None without any, or with one that is no text.
fn joined(headers: &HeaderMap) -> Option<String> {
    let lines: Result<Vec<_>, _> = headers.get_all(IF_NONE_MATCH).iter().map(HeaderValue::to_str).collect();
    lines.ok().filter(|lines| !lines.is_empty()).map(|lines| lines.join(", "))
}

/// The members of a list of tags; a comma inside quotation marks belongs to its tag.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let between = move |letter: char| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    };
    list.split(between).map(str::trim).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::address;
    use super::*;

    fn mark() -> Mark {
        Mark::new(&[1; 32], &address())
    }

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The tag of the rewritten form of a page with these fields.
    fn derived(pairs: &[(&'static str, &str)], mark: &Mark) -> Option<String> {
        let mut headers = fields(pairs);
        mark.derive(&mut headers);
        headers.get(ETAG).map(|tag| tag.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_tag_of_ours_comes_back_as_the_origins() {
        const TIME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (page, asked) in [
            (("etag", "\"abc\""), ("if-none-match", "\"abc\"")),
            (("etag", "W/\"a,b\""), ("if-none-match", "W/\"a,b\"")),
            (("etag", "\"\""), ("if-none-match", "\"\"")),
            (("last-modified", TIME), ("if-modified-since", TIME)),
        ] {
            let tag = derived(&[page], &mark()).unwrap();
            assert!(tag.starts_with("W/\"g"), "{tag}");
            let mut headers = fields(&[("if-none-match", &tag), ("if-modified-since", TIME)]);
            assert!(mark().restore(&mut headers));
            assert_eq!(headers, fields(&[asked]));
        }
        assert_eq!(derived(&[("date", TIME)], &mark()), None);
        assert_eq!(derived(&[("etag", "broken")], &mark()), None);
    }

    #[test]
    fn a_form_that_would_be_another_today_is_not_confirmed() {
        let old = derived(&[("etag", "\"abc\"")], &Mark::new(&[2; 32], &address())).unwrap();
        let mut headers = fields(&[("if-none-match", &old), ("if-modified-since", "x")]);
        assert!(mark().restore(&mut headers));
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn what_is_not_rewritten_keeps_its_own() {
        for pairs in [
            &[("if-none-match", "\"abc\", W/\"g1\""), ("if-modified-since", "x")][..],
            &[("if-none-match", "*")],
            &[("if-modified-since", "x")],
            &[("if-range", "\"abc\""), ("range", "bytes=0-1")],
        ] {
            let mut headers = fields(pairs);
            assert!(!mark().restore(&mut headers));
            assert_eq!(headers, fields(pairs));
        }
        let tag = derived(&[("etag", "\"abc\"")], &mark()).unwrap();
        let mut headers = fields(&[("if-range", &tag), ("range", "bytes=0-1")]);
        mark().restore(&mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(text in "[\"gW/a-f0-9, *st]{0,40}") {
            let Ok(value) = HeaderValue::try_from(text) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, value.clone());
            headers.insert(ETAG, value);
            mark().restore(&mut headers);
            mark().derive(&mut headers);
        }
    }
}
