//! Paths in the one form that rules are compared with.
//!
//! Origins take `/%61pi/`, `//api/` and `/x/../api/` for `/api/`, so a rule for `/api/**` must see them so too.
//! Only matching uses this form; what goes to the origin and into the cache key is not changed.

use std::borrow::Cow;

/// The path with unreserved characters decoded, other escapes in upper case, characters beyond ASCII escaped,
/// slashes merged and dot segments resolved (RFC 3986 §6.2.2). Borrowed when it is so already, as nearly all are.
pub(crate) fn normalised(path: &str) -> Cow<'_, str> {
    if is_normalised(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    Cow::Owned(resolve_dots(&escapes(path)))
}

fn is_normalised(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        let is_odd = match byte {
            b'%' | b'\\' => true,
            b'/' | b'.' => previous == b'/',
            0x21..=0x7e => false,
            _ => true,
        };
        if is_odd {
            return false;
        }
        previous = byte;
    }
    path.first() == Some(&b'/')
}

/// Whether a pattern has segments that no normalised path has, so that it could match nothing.
pub(crate) fn has_odd_segments(pattern: &str) -> bool {
    let pattern = escapes(pattern);
    pattern.contains("//") || pattern.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Escapes in one spelling. Used for patterns too, where `*` and `?` pass through.
pub(crate) fn escapes(path: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len() + 8);
    let push_escaped = |out: &mut String, byte: u8| {
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    };
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match (hex(bytes.get(at)), hex(bytes.get(at + 1))) {
                (Some(high), Some(low)) => {
                    at += 2;
                    let decoded = high << 4 | low;
                    if decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'.' | b'_' | b'~') {
                        out.push(char::from(decoded));
                    } else {
                        push_escaped(&mut out, decoded);
                    }
                }
                // Not an escape at all: the sign stands for itself.
                _ => push_escaped(&mut out, b'%'),
            },
            // Browsers send `/` for it; servers on Windows take it for one.
            b'\\' => out.push('/'),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => push_escaped(&mut out, byte),
        }
    }
    out
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    byte.and_then(|&byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
}

/// Merges slashes and resolves `.` and `..` segments; the result begins with `/`.
fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_slash = true;
    for segment in path.split('/') {
        ends_in_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_slash || kept.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_origins_take_for_the_same_become_the_same() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("/api/v1", "/api/v1"),
            ("/api/v1/", "/api/v1/"),
            ("/%61pi/v1", "/api/v1"),
            ("//api///v1", "/api/v1"),
            ("/x/../api/v1", "/api/v1"),
            ("/x/%2e%2E/api", "/api"),
            ("/./api/.", "/api/"),
            ("/../../api/..", "/"),
            ("\\api\\v1", "/api/v1"),
            ("/a%2fb", "/a%2Fb"),
            ("/сабақ", "/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B"),
            ("/%d1%81", "/%D1%81"),
            ("/100%", "/100%25"),
            ("/a.b/.c", "/a.b/.c"),
            ("/...", "/..."),
            ("api", "/api"),
        ] {
            assert_eq!(normalised(path), expected, "{path}");
        }
        assert!(matches!(normalised("/api/v1.json"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn a_normalised_path_stays_as_it_is(path in "(/|[a-z.%]|%2e|%2F|\\\\|é){0,20}") {
            let once = normalised(&path).into_owned();
            prop_assert!(once.starts_with('/'));
            prop_assert_eq!(normalised(&once).into_owned(), once);
        }
    }
}
