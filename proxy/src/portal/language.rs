//! Which of our three languages a reader gets (RFC 9110 §12.5.4).

/// Longest `Accept-Language` value that is looked at; a browser's is well under a hundred bytes.
const ACCEPT_LANGUAGE_BYTES_MAX: usize = 1024;

/// Most ranges of one `Accept-Language` value that are looked at.
const RANGES_MAX: usize = 32;

/// A language of our pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// Kazakh, in Cyrillic letters.
    Kazakh,
    /// Russian.
    Russian,
    /// English.
    English,
}

impl Language {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::Kazakh, Self::Russian, Self::English];

    /// What a reader gets who asks for none of ours.
    pub const DEFAULT: Self = Self::Kazakh;

    /// The language tag (RFC 5646), as in `lang` and `Content-Language`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Kazakh => "kk",
            Self::Russian => "ru",
            Self::English => "en",
        }
    }

    /// The language's own name for itself.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::Kazakh => "Қазақша",
            Self::Russian => "Русский",
            Self::English => "English",
        }
    }

    /// The language of a tag or of a subtag under it (`ru`, `ru-KZ`, `KK-Cyrl`); none when it is not one of ours.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        Self::ALL.into_iter().find(|language| primary.eq_ignore_ascii_case(language.tag()))
    }

    /// The best of ours for an `Accept-Language` value.
    ///
    /// The highest weight wins, and among equals the one written first; `*` means the default. A value without any
    /// range of ours, a malformed one and none at all get [`Language::DEFAULT`]: a page in some language is better
    /// than 406 (RFC 9110 §12.5.4 leaves that to us).
    pub fn choose(accept_language: Option<&str>) -> Self {
        let Some(value) = accept_language.filter(|value| value.len() <= ACCEPT_LANGUAGE_BYTES_MAX) else {
            return Self::DEFAULT;
        };
        let mut best = (0, Self::DEFAULT);
        for range in value.split(',').take(RANGES_MAX) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let language = if tag == "*" { Some(Self::DEFAULT) } else { Self::of_tag(tag) };
            if let (Some(language), Some(weight)) = (language, weight(parts))
                && weight > best.0
            {
                best = (weight, language);
            }
        }
        best.1
    }
}

/// The weight of a range in thousandths (RFC 9110 §12.4.2), 1000 when it has none; none when it is malformed.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    for parameter in parameters {
        let (name, value) = parameter.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("q") {
            continue;
        }
        let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
        if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
        return match (whole, thousandths) {
            ("0", _) => Some(thousandths),
            ("1", 0) => Some(1000),
            _ => None,
        };
    }
    Some(1000)
}

#[cfg(test)]
mod tests {
    use super::Language::{self, English, Kazakh, Russian};
    use proptest::prelude::*;

    #[test]
    fn the_reader_gets_the_language_with_the_highest_weight() {
        let cases = [
            ("kk", Kazakh),
            ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", Russian),
            ("en-GB", English),
            ("EN", English),
            ("ru;q=0.1, en;q=0.2", English),
            ("ru;q=0.5, en;q=0.5", Russian),
            ("de, fr;q=0.9, ru;q=0.1", Russian),
            ("ru;q=0, *;q=0.1", Kazakh),
            ("en; q=1.000", English),
            ("*", Kazakh),
            // Not ours, malformed or empty: the default.
            ("de", Kazakh),
            ("", Kazakh),
            (",,;,", Kazakh),
            ("en;q=2", Kazakh),
            ("en;q=0.1234", Kazakh),
            ("en;q", Kazakh),
            ("english", Kazakh),
        ];
        for (value, wanted) in cases {
            assert_eq!(Language::choose(Some(value)), wanted, "{value}");
        }
        assert_eq!(Language::choose(None), Kazakh);
        assert_eq!(Language::choose(Some(&format!("en{}", " ".repeat(2000)))), Kazakh);
    }

    #[test]
    fn a_tag_belongs_to_the_language_of_its_first_subtag() {
        assert_eq!(Language::of_tag("kk-Cyrl-KZ"), Some(Kazakh));
        assert_eq!(Language::of_tag("ru_KZ"), Some(Russian));
        assert_eq!(Language::of_tag("rum"), None);
    }

    proptest! {
        #[test]
        fn any_value_gives_a_language(value in ".{0,200}") {
            Language::choose(Some(&value));
        }
    }
}
