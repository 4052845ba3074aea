//! What a stored page calls itself: its title and its language, read from its first bytes.

use html5gum::{DefaultEmitter, Token, Tokenizer};

use super::Language;

/// Most of a title that is kept, in bytes; the start page shows about a hundred characters.
const TITLE_BYTES_MAX: usize = 1024;

/// Most tokens that are read in search of a title; a head with more before it is not a lesson's.
const TOKENS_MAX: usize = 2000;

/// What a page says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Its `<title>`, as text; empty when it has none.
    pub(super) title: String,
    /// Its `<html lang>`, when that is one of ours.
    pub(super) language: Option<Language>,
}

/// Reads the head of a page. Total over any text: no panic, at most [`TOKENS_MAX`] steps.
pub(super) fn named(markup: &str) -> Named {
    let mut named = Named::default();
    let mut is_title = false;
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true); // so that a `<` within <title> or <script> is text
    for token in Tokenizer::new_with_emitter(markup, emitter).take(TOKENS_MAX) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) if *tag.name == b"html"[..] => {
                let lang = tag.attributes.get(&b"lang"[..]);
                named.language = lang.and_then(|lang| Language::of_tag(String::from_utf8_lossy(lang).trim()));
            }
            Token::StartTag(tag) if *tag.name == b"title"[..] => is_title = true,
            // Nothing after the head can name the page; an <svg> in the body may have a <title> of its own.
            Token::StartTag(tag) if *tag.name == b"body"[..] => break,
            Token::String(text) if is_title => {
                let text = String::from_utf8_lossy(&text);
                let end = text.floor_char_boundary(TITLE_BYTES_MAX.saturating_sub(named.title.len()));
                named.title.push_str(&text[..end]);
            }
            Token::EndTag(tag) if *tag.name == b"title"[..] => break,
            _ => {}
        }
    }
    named.title = named.title.split_whitespace().collect::<Vec<_>>().join(" ");
    named
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_is_named_by_its_head() {
        //   markup                                                             title                language
        let cases = [
            ("<html lang=kk><title>Су айналымы</title>", "Су айналымы", Some(Language::Kazakh)),
            (
                "<HTML LANG='ru-RU'><HEAD><TITLE>\n Круговорот \n воды </TITLE>",
                "Круговорот воды",
                Some(Language::Russian),
            ),
            ("<title>A &amp; B &lt;b&gt;</title>", "A & B <b>", None),
            ("<html lang=\"de\"><title>Wasser</title>", "Wasser", None),
            ("<script>'<title>no</title>'</script><title>yes</title>", "yes", None),
            ("<!-- <title>no</title> --><title>yes</title><title>more</title>", "yes", None),
            ("<body><svg><title>a drop</title></svg>", "", None),
            ("<title>cut off", "cut off", None),
            ("<title></title>", "", None),
            ("", "", None),
        ];
        for (markup, title, language) in cases {
            assert_eq!(named(markup), Named { title: title.to_owned(), language }, "{markup}");
        }
    }

    #[test]
    fn a_long_title_is_cut_between_letters() {
        let title = named(&format!("<title>{}</title>", "ұ".repeat(5000))).title;
        assert_eq!(title.chars().count(), TITLE_BYTES_MAX / 2);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(markup in "(<[/a-z!-]{0,8}|[&;\"'= >]|title|lang|.){0,60}") {
            prop_assert!(named(&markup).title.len() <= TITLE_BYTES_MAX);
        }
    }
}
