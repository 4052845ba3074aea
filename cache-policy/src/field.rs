//! Field values as lists: all field lines count, members are split at commas outside quoted strings.
//! RFC 9110 §5.3, §5.6.1, §5.6.4.

use http::header::{AsHeaderName, HeaderMap, HeaderValue};

/// The most members that are read of a list whose rest may be left out without harm. Lists that can forbid something
/// are read to their end: the proxy's limit on the header section bounds them.
pub(crate) const MEMBERS_MAX: usize = 512;

/// The members of a comma-separated field over all its lines, trimmed, without the empty ones.
pub(crate) fn members<N: AsHeaderName>(headers: &HeaderMap, name: N) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().flat_map(|line| split(line.as_bytes(), b','))
}

/// Splits at `separator` outside quoted strings; trims white space; drops empty members.
pub(crate) fn split(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = end_of_member(line, separator);
        rest = end.map(|end| &line[end + 1..]);
        Some(line[..end.unwrap_or(line.len())].trim_ascii())
    })
    .filter(|member| !member.is_empty())
}

fn end_of_member(line: &[u8], separator: u8) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    line.iter().position(|&byte| {
        if escaped {
            escaped = false;
        } else if quoted {
            match byte {
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if byte == b'"' {
            quoted = true;
        } else {
            return byte == separator;
        }
        false
    })
}

/// The content of a quoted string with its escapes resolved, or the token itself; `None` when it is neither.
pub(crate) fn token_or_quoted(value: &[u8]) -> Option<Vec<u8>> {
    match value {
        [b'"', inner @ .., b'"'] => unescape(inner),
        _ if !value.is_empty() && value.iter().all(|&byte| is_token_byte(byte)) => Some(value.to_vec()),
        _ => None,
    }
}

fn unescape(inner: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            _ => text.push(byte),
        }
    }
    Some(text)
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The only line of a field that must not be a list; `None` when it is absent or came more than once.
pub(crate) fn single<N: AsHeaderName>(headers: &HeaderMap, name: N) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).into_iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_split_outside_quoted_strings() {
        // RFC 9110 §5.6.1, §5.6.4
        let parts = |text: &'static str| split(text.as_bytes(), b',').collect::<Vec<_>>();
        assert_eq!(parts("a, b ,c"), [b"a", b"b", b"c"]);
        assert_eq!(parts(" , ,a,, "), [b"a"]);
        assert_eq!(parts(r#"a="x, y", b"#), [&br#"a="x, y""#[..], b"b"]);
        assert_eq!(parts(r#"a="x\", y", b"#), [&br#"a="x\", y""#[..], b"b"]);
        assert_eq!(parts(r#"a="open, b"#), [&br#"a="open, b"#[..]]);
        assert!(parts("").is_empty());
    }

    #[test]
    fn an_argument_is_a_token_or_a_quoted_string() {
        // RFC 9110 §5.6.2, §5.6.4
        let read = |text: &str| token_or_quoted(text.as_bytes());
        assert_eq!(read("3600"), Some(b"3600".to_vec()));
        assert_eq!(read(r#""36\00""#), Some(b"3600".to_vec()));
        assert_eq!(read(r#""""#), Some(Vec::new()));
        for wrong in ["", "\"", "\"a", "a\"", "a b", r#""a"b""#, r#""a\""#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_field_that_came_twice_is_not_single() {
        let headers = crate::testing::fields(&[("etag", "\"a\""), ("etag", "\"a\""), ("date", "x")]);
        assert!(single(&headers, "etag").is_none());
        assert!(single(&headers, "date").is_some());
        assert!(single(&headers, "expires").is_none());
    }
}
