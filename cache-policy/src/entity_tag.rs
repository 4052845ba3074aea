//! Entity tags and their two comparisons. RFC 9110 §8.8.3.

use http::header::{AsHeaderName, ETAG, HeaderMap, HeaderValue};

use crate::field;

/// An entity tag as an origin sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    /// `W/` in front: equal content, perhaps not equal bytes.
    pub weak: bool,
    /// What stands between the quotes.
    opaque: Vec<u8>,
}

impl EntityTag {
    /// Reads one entity tag: `"…"` or `W/"…"`, exactly.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let allowed = |&byte: &u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
        opaque.iter().all(allowed).then(|| Self { weak, opaque: opaque.to_vec() })
    }

    /// The tag of a response that carries exactly one valid `ETag`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(field::single(headers, ETAG)?.as_bytes())
    }

    /// Equal bytes are promised: both tags are strong and the same.
    pub fn strongly_equals(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Equal content is promised: the same but for weakness.
    pub fn weakly_equals(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// The same tag without the promise of equal bytes.
    #[must_use]
    pub fn weakened(&self) -> Self {
        Self { weak: true, ..self.clone() }
    }

    /// The tag as a field value.
    pub fn to_value(&self) -> HeaderValue {
        let mut text = Vec::with_capacity(self.opaque.len() + 4);
        text.extend_from_slice(if self.weak { b"W/\"" } else { b"\"" });
        text.extend_from_slice(&self.opaque);
        text.push(b'"');
        HeaderValue::from_bytes(&text).expect("an entity tag has only bytes that a field value may have")
    }
}

/// The list in `If-Match` or `If-None-Match`. RFC 9110 §13.1.1, §13.1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any current representation.
    Any,
    /// These; members that are no entity tag are left out.
    Listed(Vec<EntityTag>),
}

impl EntityTags {
    /// Reads all lines of the field; `None` when it did not come.
    pub fn parse<N: AsHeaderName + Copy>(headers: &HeaderMap, name: N) -> Option<Self> {
        headers.contains_key(name).then(|| {
            if field::single(headers, name).is_some_and(|line| line.as_bytes().trim_ascii() == b"*") {
                return Self::Any;
            }
            Self::Listed(tags(headers, name))
        })
    }

    /// Whether one of them matches under strong comparison.
    pub fn strongly_match(&self, tag: Option<&EntityTag>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tag.is_some_and(|tag| tags.iter().any(|it| it.strongly_equals(tag))),
        }
    }

    /// Whether one of them matches under weak comparison.
    pub fn weakly_match(&self, tag: Option<&EntityTag>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tag.is_some_and(|tag| tags.iter().any(|it| it.weakly_equals(tag))),
        }
    }
}

/// The entity tags of all lines. A backslash is an ordinary character inside an entity tag (RFC 9110 §8.8.3), so the
/// splitting for quoted strings would be wrong here.
fn tags<N: AsHeaderName>(headers: &HeaderMap, name: N) -> Vec<EntityTag> {
    let mut tags = Vec::new();
    for line in headers.get_all(name) {
        let mut quoted = false;
        let members = line.as_bytes().split(|&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        });
        let room = field::MEMBERS_MAX.saturating_sub(tags.len());
        tags.extend(members.take(room).filter_map(|member| EntityTag::parse(member.trim_ascii())));
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_two_comparisons() {
        // RFC 9110 §8.8.3.2, the table of examples
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"2\"", false, false),
        ] {
            assert_eq!((tag(a).strongly_equals(&tag(b)), tag(a).weakly_equals(&tag(b))), (strong, weak), "{a} {b}");
        }
    }

    #[test]
    fn only_quoted_tags_are_tags() {
        // RFC 9110 §8.8.3
        for text in ["abc", "w/\"abc\"", "W\"abc\"", "W\\\"abc\"", "\"", "\"a", "a\"", "\"a b\"", "\"a\"b\"", "", "W/"]
        {
            assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["\"\"", "\"a,b\"", "\"a\\\"", "W/\"\"", "\"abcdefü\""] {
            assert_eq!(tag(text).to_value().as_bytes(), text.as_bytes());
        }
        let twice = fields(&[("etag", "\"a\""), ("etag", "\"a\"")]);
        assert_eq!(EntityTag::of(&twice), None);
    }

    #[test]
    fn a_list_matches_in_any_place() {
        // RFC 9110 §13.1.2
        let list = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
            EntityTags::parse(&fields(&lines), "if-none-match").unwrap()
        };
        let own = Some(tag("\"abcdef\""));
        for lines in [
            &["\"abcdef\", \"1234\", \"5678\""][..],
            &["\"1234\",\"abcdef\" , \"5678\""],
            &["\"1234\"", "W/\"abcdef\""],
            &["\"a,\\\", \"abcdef\""],
            &["junk, \"abcdef\""],
            &["*"],
        ] {
            assert!(list(lines).weakly_match(own.as_ref()), "{lines:?}");
        }
        for lines in [&["\"a\""][..], &["abcdef"], &["\"x, \"abcdef\""], &[""]] {
            assert!(!list(lines).weakly_match(own.as_ref()), "{lines:?}");
        }
        assert!(!list(&["W/\"abcdef\""]).strongly_match(own.as_ref()));
        assert!(!list(&["\"a\""]).weakly_match(None));
    }
}
