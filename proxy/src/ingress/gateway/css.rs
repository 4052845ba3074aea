//! Style sheets, as they come: `url()`, `src()`, `@import` and `image-set()` (CSS Values, CSS Images).
//!
//! The text is cut where nothing can be half said: behind `;`, `{` and `}` outside of strings, comments and parentheses.
//! Each such piece is read by the CSS tokenizer as a whole, so that the output does not depend on how the input came.

use cssparser::{ParseError, Parser, ParserInput, Token};

use super::map::{Map, Mapped};

/// Blocks inside blocks that are followed; real sheets nest below ten. Deeper ones stay as they are, so that a hostile
/// sheet cannot use up the stack.
const NESTING_MAX: u32 = 48;

/// Longest piece that is read as a whole: a font inside a sheet has a few hundred kB. Of a longer one, nothing is mapped.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// What stands for what is not on the list: it loads, at once, nothing.
pub(super) const NOTHING: &str = "about:blank";

/// A sheet on its way.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// What was read of the present piece.
    piece: String,
    scan: Scan,
    /// Whether the present piece is too long, and what comes of it goes out as it is.
    is_too_long: bool,
}

impl Sheet {
    /// Takes more of the sheet, and writes what is complete.
    pub(super) fn push(&mut self, text: &str, map: &Map, out: &mut String) {
        let mut begin = 0;
        for (at, letter) in text.char_indices() {
            let end = at + letter.len_utf8();
            let is_cut = self.scan.next(letter);
            let is_full = self.piece.len() + end - begin >= PIECE_BYTES_MAX;
            if is_cut || is_full {
                self.piece.push_str(&text[begin..end]);
                self.write(map, out);
                begin = end;
                self.is_too_long = !is_cut;
            }
        }
        self.piece.push_str(&text[begin..]);
    }

    /// Writes what is left.
    pub(super) fn end(&mut self, map: &Map, out: &mut String) {
        self.write(map, out);
        *self = Self::default();
    }

    /// What was taken in and not written yet.
    pub(super) fn unwritten(&mut self) -> String {
        std::mem::take(&mut self.piece)
    }

    fn write(&mut self, map: &Map, out: &mut String) {
        let is_whole = !self.is_too_long && self.piece.len() < PIECE_BYTES_MAX;
        if is_whole && may_refer(&self.piece) {
            mapped(&self.piece, map, out);
        } else {
            out.push_str(&self.piece);
        }
        self.piece.clear();
    }
}

/// Whether a reference to a host may be in it; most pieces have none.
fn may_refer(css: &str) -> bool {
    let bytes = css.as_bytes();
    bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/\t"))
        || bytes.contains(&b'\\')
        || bytes.windows(4).any(|four| four.eq_ignore_ascii_case(b"http"))
}

/// Where in a sheet the reading is: just enough of CSS Syntax §4 to know where a piece may end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Scan {
    state: State,
    depth: u32,
    /// How much of `url` stands right before, with no letter of a name ahead of it.
    url: u8,
    /// Whether the last letter could belong to a name.
    is_in_name: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    Slash,
    Comment,
    CommentStar,
    Escape,
    String(char),
    StringEscape(char),
    /// Behind `url(`, before its first letter.
    UrlStart,
    Url,
    UrlEscape,
}

impl Scan {
    /// Takes one letter; true when a piece may end behind it.
    fn next(&mut self, letter: char) -> bool {
        match self.state {
            State::Between | State::Slash => return self.between(letter),
            State::Comment if letter == '*' => self.state = State::CommentStar,
            State::Comment => {}
            State::CommentStar => {
                self.state = match letter {
                    '/' => State::Between,
                    '*' => State::CommentStar,
                    _ => State::Comment,
                };
            }
            State::Escape => self.state = State::Between,
            State::String(quote) => {
                self.state = match letter {
                    '\\' => State::StringEscape(quote),
                    '\n' | '\r' | '\x0c' => State::Between, // a string that was never closed
                    letter if letter == quote => State::Between,
                    _ => State::String(quote),
                };
            }
            State::StringEscape(quote) => self.state = State::String(quote),
            State::UrlStart => {
                self.state = match letter {
                    letter if letter.is_ascii_whitespace() => State::UrlStart,
                    '"' | '\'' => {
                        self.depth += 1;
                        State::String(letter)
                    }
                    ')' => State::Between,
                    '\\' => State::UrlEscape,
                    _ => State::Url,
                };
            }
            State::Url => {
                self.state = match letter {
                    ')' => State::Between,
                    '\\' => State::UrlEscape,
                    _ => State::Url,
                };
            }
            State::UrlEscape => self.state = State::Url,
        }
        false
    }

    fn between(&mut self, letter: char) -> bool {
        let was_slash = self.state == State::Slash;
        let (was_in_name, was_url) = (self.is_in_name, self.url);
        self.state = State::Between;
        self.is_in_name = letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') || !letter.is_ascii();
        self.url = match (was_url, letter.to_ascii_lowercase()) {
            (0, 'u') if !was_in_name => 1,
            (1, 'r') => 2,
            (2, 'l') => 3,
            _ => 0,
        };
        match letter {
            '*' if was_slash => self.state = State::Comment,
            '/' => self.state = State::Slash,
            '\\' => {
                self.state = State::Escape;
                self.is_in_name = true;
            }
            '"' | '\'' => self.state = State::String(letter),
            '(' if was_url == 3 => self.state = State::UrlStart,
            '(' | '[' => self.depth = self.depth.saturating_add(1),
            ')' | ']' => self.depth = self.depth.saturating_sub(1),
            ';' | '{' | '}' => return self.depth == 0,
            _ => {}
        }
        false
    }
}

/// Writes a piece, or a declaration list, with its references mapped.
pub(super) fn mapped(css: &str, map: &Map, out: &mut String) {
    let mut input = ParserInput::new(css);
    let mut writer = Writer { css, map, out, copied: 0 };
    writer.walk(&mut Parser::new(&mut input), Inside::Block, 0);
    let Writer { out, copied, .. } = writer;
    out.push_str(&css[copied..]);
}

/// What a string means depends on where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Rules, declarations, and functions that take no URL.
    Block,
    /// `url("…")`, `src("…")`: the string is a URL.
    Url,
    /// `image-set("a.png" 1x, url(b.png) 2x type("image/png"))`: so are its own strings.
    ImageSet,
}

/// The at-rule whose prelude is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Import,
    /// Its URL is a name and is never fetched.
    Namespace,
    Other,
}

struct Writer<'a> {
    css: &'a str,
    map: &'a Map,
    out: &'a mut String,
    copied: usize,
}

impl Writer<'_> {
    fn walk(&mut self, parser: &mut Parser<'_, '_>, inside: Inside, depth: u32) {
        let mut rule = Rule::Other;
        loop {
            let begin = parser.position().byte_index();
            // Ends at the end of this block: every error of `next` is that.
            let Ok(token) = parser.next_including_whitespace_and_comments() else { return };
            match token {
                Token::AtKeyword(name) => rule = rule_of(name),
                Token::Semicolon => rule = Rule::Other,
                Token::UnquotedUrl(url) if rule != Rule::Namespace => {
                    let url = url.as_ref().to_owned();
                    self.replace(begin, parser.position().byte_index(), &url, true);
                }
                Token::QuotedString(text) if rule == Rule::Import || inside != Inside::Block => {
                    let text = text.as_ref().to_owned();
                    self.replace(begin, parser.position().byte_index(), &text, false);
                    rule = Rule::Other; // what follows in the prelude are layers, media and supports conditions
                }
                Token::Function(name) => {
                    let next = inside_of(name);
                    let is_name = rule == Rule::Namespace && next == Inside::Url;
                    if !is_name {
                        self.nested(parser, next, depth);
                    }
                }
                Token::CurlyBracketBlock => {
                    rule = Rule::Other;
                    self.nested(parser, Inside::Block, depth);
                }
                Token::ParenthesisBlock | Token::SquareBracketBlock => self.nested(parser, Inside::Block, depth),
                _ => {}
            }
        }
    }

    fn nested(&mut self, parser: &mut Parser<'_, '_>, inside: Inside, depth: u32) {
        if depth == NESTING_MAX {
            return; // the parser itself skips the block, without recursion
        }
        let walked: Result<(), ParseError<'_, ()>> = parser.parse_nested_block(|block| {
            self.walk(block, inside, depth + 1);
            Ok(())
        });
        debug_assert!(walked.is_ok(), "the closure returns no error and reads to the block's end");
    }

    /// Writes the token from `begin` to `end` with its reference mapped; nothing when that stays.
    fn replace(&mut self, begin: usize, end: usize, reference: &str, is_bare: bool) {
        let mapped = match self.map.reference(reference) {
            Mapped::Kept => return,
            Mapped::To(mapped) => mapped,
            Mapped::Outside(_) => NOTHING.to_owned(),
        };
        let mut quoted = String::with_capacity(mapped.len() + 8);
        if cssparser::serialize_string(&mapped, &mut quoted).is_err() {
            return; // writing to a String does not fail
        }
        // So that it ends no <style>.
        let quoted = quoted.replace('<', "\\3c ");
        self.out.push_str(&self.css[self.copied..begin]);
        if is_bare {
            self.out.push_str("url(");
        }
        self.out.push_str(&quoted);
        if is_bare {
            self.out.push(')');
        }
        self.copied = end;
    }
}

fn rule_of(name: &str) -> Rule {
    if name.eq_ignore_ascii_case("import") {
        Rule::Import
    } else if name.eq_ignore_ascii_case("namespace") {
        Rule::Namespace
    } else {
        Rule::Other
    }
}

fn inside_of(function: &str) -> Inside {
    if function.eq_ignore_ascii_case("url") || function.eq_ignore_ascii_case("src") {
        Inside::Url
    } else if function.eq_ignore_ascii_case("image-set") || function.eq_ignore_ascii_case("-webkit-image-set") {
        Inside::ImageSet
    } else {
        Inside::Block
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::map;
    use super::*;

    fn rewritten(pieces: &[&str]) -> String {
        let (mut sheet, mut out, map) = (Sheet::default(), String::new(), map());
        pieces.iter().for_each(|piece| sheet.push(piece, &map, &mut out));
        sheet.end(&map, &mut out);
        out
    }

    #[test]
    fn references_are_mapped_where_css_has_them() {
        const A: &str = "http://a-kz.lessons.school.example";
        for (css, expected) in [
            ("a{background:url(x.png)}", "a{background:url(x.png)}".to_owned()),
            ("a{background:url(https://a.kz/x.png)}", format!("a{{background:url(\"{A}/x.png\")}}")),
            ("a{background:URL( 'https://a.kz/x y.png' )}", format!("a{{background:URL( \"{A}/x y.png\" )}}")),
            ("@import \"//a.kz/x.css\" screen;b{}", format!("@import \"{A}/x.css\" screen;b{{}}")),
            ("@import url(//a.kz/x.css) layer(\"//a.kz\");", format!("@import url(\"{A}/x.css\") layer(\"//a.kz\");")),
            (
                "@namespace svg url(http://www.w3.org/2000/svg);",
                "@namespace svg url(http://www.w3.org/2000/svg);".to_owned(),
            ),
            (
                "@font-face{src:url(//a.kz/f.woff2) format(\"//a.kz\")}",
                format!("@font-face{{src:url(\"{A}/f.woff2\") format(\"//a.kz\")}}"),
            ),
            (
                "a{b:image-set(\"https://a.kz/x\" 1x, url(https://games.example/y) 2x)}",
                format!("a{{b:image-set(\"{A}/x\" 1x, url(\"about:blank\") 2x)}}"),
            ),
            ("a{b:url(https://games.example/x.png)}", "a{b:url(\"about:blank\")}".to_owned()),
            ("a{b:u\\72l(https://a.kz/x)}", format!("a{{b:url(\"{A}/x\")}}")),
            ("a{b:url(https\\3a //a.kz/x)}", format!("a{{b:url(\"{A}/x\")}}")),
            ("a{b:url(https://a.kz/\\3c/style>)}", format!("a{{b:url(\"{A}/\\3c /style>\")}}")),
            (
                "/* url(https://a.kz/) */a::after{content:\"https://a.kz/\"}",
                "/* url(https://a.kz/) */a::after{content:\"https://a.kz/\"}".to_owned(),
            ),
            ("a{b:url(data:image/png;base64,//a.kz/)}", "a{b:url(data:image/png;base64,//a.kz/)}".to_owned()),
            ("@media (min-width:1px){a{b:url(//a.kz/x)}}", format!("@media (min-width:1px){{a{{b:url(\"{A}/x\")}}}}")),
            ("a{--x:{b:url(//a.kz/x)}}", format!("a{{--x:{{b:url(\"{A}/x\")}}}}")),
            ("a{b:url(//a.kz/x", format!("a{{b:url(\"{A}/x\")")),
            ("a{b:'unclosed\n;c:url(//a.kz/x)}", format!("a{{b:'unclosed\n;c:url(\"{A}/x\")}}")),
            ("a{b:url(x'y;z);c:url(//a.kz/x)}", format!("a{{b:url(x'y;z);c:url(\"{A}/x\")}}")),
            ("}}url(//a.kz/x)", format!("}}}}url(\"{A}/x\")")),
        ] {
            assert_eq!(rewritten(&[css]), expected, "{css}");
        }
    }

    #[test]
    fn a_piece_that_is_too_long_passes_as_it_is() {
        let long = format!("a{{b:url(data:,{});c:url(//a.kz/x)}}", "x".repeat(2 * PIECE_BYTES_MAX));
        let expected = long.replace("url(//a.kz/x)", "url(\"http://a-kz.lessons.school.example/x\")");
        assert!(rewritten(&[&long]) == expected);
        let open = format!("a{{b:(url(//a.kz/x){}", "x".repeat(PIECE_BYTES_MAX));
        assert!(rewritten(&[&open]) == open);
    }

    const CSS: &str = r#"(url\(|//a\.kz/x|https:|games\.example|@import |\)|"|'|\\|;|\{|\}|\(|/\*|\*/|a|\n| |ж){0,40}"#;

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_how_the_input_comes(css in CSS, at in 0usize..200, then in 0usize..200) {
            let first = css.floor_char_boundary(at.min(css.len()));
            let second = css.floor_char_boundary((first + then).min(css.len()));
            prop_assert_eq!(rewritten(&[&css[..first], &css[first..second], &css[second..]]), rewritten(&[&css]));
        }

        #[test]
        fn a_mapped_sheet_is_not_mapped_again(css in CSS) {
            let once = rewritten(&[&css]);
            prop_assert_eq!(rewritten(&[&once]), once);
        }
    }
}
