//! `srcset` and `imagesrcset`: the addresses of a responsive image's candidates (HTML, "parse a srcset attribute").

/// The attribute with each candidate's address replaced by `mapped`, or kept where that gives none. None when all are.
pub(super) fn mapped(srcset: &str, mapped: impl Fn(&str) -> Option<String>) -> Option<String> {
    let (mut written, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(skipped) = srcset[at..].find(|c: char| !c.is_ascii_whitespace() && c != ',') {
        at += skipped;
        let length = srcset[at..].find(|c: char| c.is_ascii_whitespace()).unwrap_or(srcset.len() - at);
        let candidate = &srcset[at..at + length];
        let address = candidate.trim_end_matches(',');
        if let Some(new) = mapped(address) {
            written.push_str(&srcset[copied..at]);
            // A comma at either end of the new address would be taken for the list's.
            written.push_str(new.trim_matches(','));
            copied = at + address.len();
        }
        at += length;
        if !candidate.ends_with(',') {
            at += descriptors_length(&srcset[at..]);
        }
    }
    (copied > 0).then(|| written + &srcset[copied..])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_candidate_is_mapped_and_the_rest_stays() {
        let upper = |address: &str| address.starts_with('m').then(|| address.to_uppercase());
        for (srcset, expected) in [
            ("m.jpg", Some("M.JPG")),
            ("m.jpg 1x, k.jpg 2x", Some("M.JPG 1x, k.jpg 2x")),
            (" , k.jpg 480w,m.jpg 800w ", Some(" , k.jpg 480w,M.JPG 800w ")),
            ("m,a.jpg 1x", Some("M,A.JPG 1x")),
            ("m.jpg, m.jpg 2x", Some("M.JPG, M.JPG 2x")),
            ("m.jpg,,, m.jpg", Some("M.JPG,,, M.JPG")),
            ("k ( , ) 1x,\n\tm 1x", Some("k ( , ) 1x,\n\tM 1x")),
            ("k.jpg", None),
            ("", None),
            (" ,", None),
        ] {
            assert_eq!(mapped(srcset, upper).as_deref(), expected, "{srcset:?}");
        }
    }
}
