//! Choosing one of a site's languages for a request. RFC 4647 §3.4 (lookup); RFC 9110 §12.5.4.

use http::header::{ACCEPT_LANGUAGE, HeaderMap};

use crate::content_coding::weighted;
use crate::field;

/// The most language ranges that are read of a request; browsers send some five.
const RANGES_MAX: usize = 32;

/// Which of `languages` a request prefers; the first when it asks for none of them. `None` when there are none.
///
/// A range matches a language when they are equal, or when it becomes equal by losing subtags from its end: `ru-KZ` finds
/// `ru`. Ranges of equal weight count in their order; what has weight 0 and `*` choose nothing.
pub fn choose_language<'l, L: AsRef<str>>(headers: &HeaderMap, languages: &'l [L]) -> Option<&'l str> {
    let mut ranges: Vec<(&[u8], u16)> = field::members(headers, ACCEPT_LANGUAGE)
        .take(RANGES_MAX)
        .map(weighted)
        .filter(|(_, weight)| *weight > 0)
        .collect();
    ranges.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let found = ranges.iter().find_map(|(range, _)| look_up(range, languages));
    found.or_else(|| languages.first().map(AsRef::as_ref))
}

fn look_up<'l, L: AsRef<str>>(range: &[u8], languages: &'l [L]) -> Option<&'l str> {
    let mut range = range;
    loop {
        let is_same = |language: &&L| language.as_ref().as_bytes().eq_ignore_ascii_case(range);
        if let Some(language) = languages.iter().find(is_same) {
            return Some(language.as_ref());
        }
        let hyphen = |range: &[u8]| range.iter().rposition(|&byte| byte == b'-');
        range = &range[..hyphen(range)?];
        // A single letter or digit only introduces what followed it (RFC 4647 §3.4).
        if hyphen(range).is_some_and(|at| range.len() - at == 2) {
            range = &range[..range.len() - 2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    #[test]
    fn the_preferred_language_is_looked_up() {
        // RFC 4647 §3.4
        for (accept, expected) in [
            ("", "kk"),
            ("kk", "kk"),
            ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
            ("en-US,en;q=0.9", "en"),
            ("EN", "en"),
            ("de, fr;q=0.9", "kk"),
            ("de, en;q=0.2", "en"),
            ("en;q=0.1, ru;q=0.2", "ru"),
            ("en;q=0, ru;q=0.1", "ru"),
            ("en;q=x, ru;q=0.1", "ru"),
            ("*, en;q=0.5", "en"),
            ("*", "kk"),
            ("kk-Cyrl-KZ", "kk"),
            ("sr-Latn-RS", "sr-Latn"),
            ("sr-Latn-x-shkola", "sr-Latn"),
            ("sr", "kk"),
            ("-", "kk"),
            ("ru-", "ru"),
        ] {
            let headers = if accept.is_empty() { HeaderMap::new() } else { fields(&[("accept-language", accept)]) };
            assert_eq!(choose_language(&headers, &["kk", "ru", "en", "sr-Latn"]), Some(expected), "{accept}");
        }
        assert_eq!(choose_language(&fields(&[("accept-language", "kk")]), &[] as &[&str]), None);
        let many = format!("{}ru", "de,".repeat(RANGES_MAX));
        assert_eq!(choose_language(&fields(&[("accept-language", &many)]), &["kk", "ru"]), Some("kk"), "bounded");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_one_of_the_languages_is_chosen(value in "[ -?A-~]{0,80}") {
            let languages = ["kk", "ru"];
            let chosen = choose_language(&fields(&[("accept-language", &value)]), &languages);
            proptest::prop_assert!(chosen.is_some_and(|chosen| languages.contains(&chosen)));
        }
    }
}
