//! `srcset` and `imagesizes`' companion `imagesrcset`: the candidates of a responsive image.

/// Calls `found` with the URL of each image candidate, as "parse a srcset attribute" of the HTML standard takes them.
///
/// A candidate whose descriptors make no sense is left out, as browsers do.
pub(super) fn candidates(srcset: &str, found: &mut dyn FnMut(&str)) {
    let mut rest = srcset;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return;
        }
        let (url, after) = rest.split_at(rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len()));
        if url.ends_with(',') {
            found(url.trim_end_matches(','));
            rest = after;
        } else {
            let length = descriptors_length(after);
            if are_valid(&after[..length]) {
                found(url);
            }
            rest = &after[length..];
        }
    }
}

/// Where the descriptors end: at a comma outside parentheses, or at the end.
fn descriptors_length(text: &str) -> usize {
    let mut is_in_parens = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => is_in_parens = true,
            b')' => is_in_parens = false,
            b',' if !is_in_parens => return at,
            _ => {}
        }
    }
    text.len()
}

/// At most one width or density; a height only beside a width.
fn are_valid(descriptors: &str) -> bool {
    let (mut width, mut density, mut height) = (false, false, false);
    for descriptor in descriptors.split_ascii_whitespace() {
        let (number, unit) =
            descriptor.split_at(descriptor.len() - descriptor.chars().next_back().map_or(0, char::len_utf8));
        let is_new = match unit {
            "w" => is_integer(number) && !density && !std::mem::replace(&mut width, true),
            "h" => is_integer(number) && !density && !std::mem::replace(&mut height, true),
            "x" => is_float(number) && !width && !height && !std::mem::replace(&mut density, true),
            _ => false,
        };
        if !is_new {
            return false;
        }
    }
    width || !height
}

fn is_integer(number: &str) -> bool {
    number.bytes().all(|b| b.is_ascii_digit()) && number.bytes().any(|b| b != b'0')
}

fn is_float(number: &str) -> bool {
    let is_spelled_so = number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    is_spelled_so && !number.starts_with('+') && number.parse::<f64>().is_ok_and(|value| value >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(srcset: &str) -> Vec<String> {
        let mut urls = Vec::new();
        candidates(srcset, &mut |url| urls.push(url.to_owned()));
        urls
    }

    #[test]
    fn candidates_are_read_as_browsers_read_them() {
        for (srcset, expected) in [
            ("a.jpg", &["a.jpg"][..]),
            ("a.jpg 1x, b.jpg 2x", &["a.jpg", "b.jpg"]),
            ("a.jpg 480w,b.jpg 800w", &["a.jpg", "b.jpg"]),
            ("a,b.jpg 1x", &["a,b.jpg"]), // a comma inside a URL belongs to it
            ("a.jpg, b.jpg 2x", &["a.jpg", "b.jpg"]),
            ("a.jpg,,, b.jpg", &["a.jpg", "b.jpg"]),
            (" , a.jpg 1x ,  ", &["a.jpg"]),
            ("\n\ta.jpg\n\t100w\n,\n\tb.jpg\n", &["a.jpg", "b.jpg"]),
            ("data:,a ( , ) 1x, b.jpg 1x", &["b.jpg"]), // a comma in parentheses separates nothing; unknown: left out
            ("a.jpg 1x 2x", &[]),
            ("a.jpg 100w 1x", &[]),
            ("a.jpg 100w 50h", &["a.jpg"]),
            ("a.jpg 50h", &[]),
            ("a.jpg 0w", &[]),
            ("a.jpg -1x", &[]),
            ("a.jpg 1.5e0x", &["a.jpg"]),
            ("a.jpg 1ы", &[]),
            ("a.jpg w", &[]),
            ("", &[]),
            (",", &[]),
        ] {
            assert_eq!(urls(srcset), expected, "{srcset:?}");
        }
    }
}
