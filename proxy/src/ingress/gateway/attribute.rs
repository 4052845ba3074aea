//! What an attribute of an element refers to, and its text in and out of markup.

use html5gum::{Token, Tokenizer};

use super::fields::Purpose;

/// What stands where an image of a host outside the list stood: a grey card, so that a reader sees that something is
/// missing and the page keeps its shape. Nothing is fetched for it.
pub(super) const CARD: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='64' height='48' viewBox='0 0 64 48'%3E%3Cpath fill='%23e5e7eb' stroke='%239ca3af' d='M1 1h62v46H1z'/%3E%3Cpath stroke='%239ca3af' stroke-width='3' d='M24 16l16 16m0-16L24 32'/%3E%3C/svg%3E";

/// What an attribute's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// An address that a reader follows, or that a frame shows: outside is a page of ours.
    Visited,
    /// An address that the browser loads by itself: outside is nothing.
    Loaded,
    /// The address of an image: outside is a card.
    Image,
    /// A list of images in several sizes.
    Images,
    /// Style declarations.
    Style,
    /// A whole document.
    Document,
    /// Goes: it would tell others what a reader does.
    Removed,
    /// The digest of what the element loads.
    Digest,
    /// The content of a `<meta>`, which its other attributes give a meaning.
    Content,
}

/// What the value of an attribute is; None for one that refers to nothing. Names are in lower case.
pub(super) fn value_of(element: &str, attribute: &str) -> Option<Value> {
    Some(match (attribute, element) {
        ("href", "a" | "area" | "base") | ("xlink:href", "a") => Value::Visited,
        ("href", "image" | "feimage") | ("xlink:href", "image" | "feimage") => Value::Image,
        ("href" | "xlink:href", _) => Value::Loaded,
        ("src", "iframe" | "frame" | "embed") | ("data", "object") => Value::Visited,
        ("src", "img" | "input") | ("data-src" | "data-original" | "data-lazy-src" | "data-lazy", _) => Value::Image,
        ("src", _) => Value::Loaded,
        ("srcset" | "imagesrcset" | "data-srcset" | "data-lazy-srcset", _) => Value::Images,
        ("poster" | "background", _) => Value::Image,
        ("action" | "formaction" | "cite" | "longdesc", _) => Value::Visited,
        ("style" | "fill" | "stroke" | "filter" | "mask" | "clip-path", _) => Value::Style,
        ("marker-start" | "marker-mid" | "marker-end" | "cursor", _) => Value::Style,
        ("srcdoc", "iframe") => Value::Document,
        ("ping" | "attributionsrc", _) => Value::Removed,
        ("integrity", "link") => Value::Digest,
        ("content", "meta") => Value::Content,
        ("codebase" | "archive" | "classid" | "code", "object" | "applet") => Value::Loaded,
        // Of DASH manifests.
        ("media" | "initialization" | "sourceurl" | "index", "segmenttemplate" | "segmenturl" | "initialization") => {
            Value::Loaded
        }
        _ => return None,
    })
}

/// How `<link>`'s address is used, by its `rel`.
pub(super) fn value_of_link(rel: &str) -> Value {
    match Purpose::of_rel(rel) {
        Purpose::Visit => Value::Visited,
        Purpose::Load => Value::Loaded,
    }
}

/// An attribute's text, character references decoded as browsers decode them there (`&copy=1` stays).
pub(super) fn decoded(raw: &str) -> String {
    if !raw.contains('&') {
        return raw.to_owned();
    }
    let markup = format!("<a b=\"{}\">", raw.replace('"', "&quot;"));
    for token in Tokenizer::new(&*markup) {
        let Ok(token) = token;
        if let Token::StartTag(tag) = token
            && let Some(value) = tag.attributes.get(&b"b"[..])
        {
            return String::from_utf8_lossy(value).into_owned();
        }
    }
    raw.to_owned()
}

/// An attribute's text for markup; the rewriter itself sees to quotation marks.
pub(super) fn encoded(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_of_characters_are_decoded_as_in_attributes() {
        for (raw, expected) in [
            ("a?b=1&amp;c=2", "a?b=1&c=2"),
            ("a?b=1&copy=2", "a?b=1&copy=2"),
            ("&#104;ttps&colon;&sol;&#x2F;a.kz", "https://a.kz"),
            ("'\"&quot;&lt;", "'\"\"<"),
            ("&", "&"),
            ("plain", "plain"),
        ] {
            assert_eq!(decoded(raw), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "(&|amp;|lt|\"|'|<|>|ж|#x2f|;|a){0,12}") {
            prop_assert_eq!(decoded(&encoded(&text).replace('"', "&quot;")), text);
        }
    }
}
