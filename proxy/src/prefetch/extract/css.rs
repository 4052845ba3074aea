//! Style sheets and `style` attributes: `url()`, `src()`, `@import` and `image-set()` (CSS Values, CSS Images).

use cssparser::{ParseError, Parser, ParserInput, Token};

/// Blocks inside blocks that are followed; real sheets nest below ten. Deeper ones are skipped, so that a hostile
/// sheet cannot use up the stack.
const NESTING_MAX: u32 = 48;

/// Calls `found` with each reference of a style sheet or a declaration list, escapes decoded, in its order.
pub(super) fn references(css: &str, found: &mut dyn FnMut(&str)) {
    let mut input = ParserInput::new(css);
    walk(&mut Parser::new(&mut input), Inside::Block, 0, found);
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

fn walk(parser: &mut Parser<'_, '_>, inside: Inside, depth: u32, found: &mut dyn FnMut(&str)) {
    let mut rule = Rule::Other;
    // Ends at the end of this block: every error of `next` is that.
    while let Ok(token) = parser.next() {
        match token {
            Token::AtKeyword(name) => {
                rule = if name.eq_ignore_ascii_case("import") {
                    Rule::Import
                } else if name.eq_ignore_ascii_case("namespace") {
                    Rule::Namespace
                } else {
                    Rule::Other
                };
            }
            Token::Semicolon => rule = Rule::Other,
            Token::UnquotedUrl(url) if rule != Rule::Namespace => found(url),
            Token::QuotedString(text) if rule == Rule::Import || inside != Inside::Block => {
                found(text);
                rule = Rule::Other; // what follows in the prelude are layers, media and supports conditions
            }
            Token::Function(name) => {
                let next = inside_of(name);
                let is_name = rule == Rule::Namespace && next == Inside::Url;
                if !is_name {
                    nested(parser, next, depth, found);
                }
            }
            Token::CurlyBracketBlock => {
                rule = Rule::Other;
                nested(parser, Inside::Block, depth, found);
            }
            Token::ParenthesisBlock | Token::SquareBracketBlock => nested(parser, Inside::Block, depth, found),
            _ => {}
        }
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

fn nested(parser: &mut Parser<'_, '_>, inside: Inside, depth: u32, found: &mut dyn FnMut(&str)) {
    if depth == NESTING_MAX {
        return; // the parser itself skips the block, without recursion
    }
    let walked: Result<(), ParseError<'_, ()>> = parser.parse_nested_block(|block| {
        walk(block, inside, depth + 1, found);
        Ok(())
    });
    debug_assert!(walked.is_ok(), "the closure returns no error and reads to the block's end");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(css: &str) -> Vec<String> {
        let mut urls = Vec::new();
        references(css, &mut |url| urls.push(url.to_owned()));
        urls
    }

    #[test]
    fn references_are_found_where_css_has_them() {
        for (css, expected) in [
            ("a { background: url(a.png) }", &["a.png"][..]),
            ("a { background: url( 'a b.png' ) }", &["a b.png"]),
            ("a { background: URL(\"a.png\"), url(b.png) }", &["a.png", "b.png"]),
            ("background: url(a.png); color: red", &["a.png"]), // a style attribute
            ("@import 'a.css';", &["a.css"]),
            ("@import url(a.css) screen; @import \"b.css\" layer(x) supports(display: grid);", &["a.css", "b.css"]),
            (
                "@font-face { font-family: 'not.a.url'; src: url(a.woff2) format('woff2'), url(a.woff) }",
                &["a.woff2", "a.woff"],
            ),
            ("@media print { a { cursor: url(a.cur), auto } }", &["a.cur"]),
            ("@supports (display: grid) { @media all { b { mask: url(m.svg#id) } } }", &["m.svg#id"]),
            ("a { background: image-set('a.png' 1x, url(b.png) type('image/png') 2x) }", &["a.png", "b.png"]),
            ("a { background: -webkit-image-set(url(a.png) 1x) }", &["a.png"]),
            ("a { --x: url(a.png); background: src('b.png') }", &["a.png", "b.png"]),
            ("a { & b { background: url(nested.png) } }", &["nested.png"]),
            // Escapes are decoded, in words too.
            ("a { background: url(a\\ b\\29.png) }", &["a b).png"]),
            ("a { background: u\\72l(a.png) }", &["a.png"]),
            ("a { background: url('\\441.png') }", &["\u{441}.png"]),
            // Not references.
            ("/* url(a.png) */ a { content: 'url(b.png)' }", &[]),
            ("@namespace svg url(http://www.w3.org/2000/svg);", &[]),
            ("@namespace url('http://www.w3.org/1999/xhtml'); a { b: url(c) }", &["c"]),
            ("@charset \"utf-8\"; a{}", &[]),
            // Broken sheets are read as far as browsers read them.
            ("a { background: url(a b.png) } b { background: url(c.png) }", &["c.png"]),
            ("a { background: url(a.png", &["a.png"]),
            ("} a { background: url(a.png) }", &["a.png"]),
            ("@import 'a.css", &["a.css"]),
        ] {
            assert_eq!(urls(css), expected, "{css}");
        }
    }

    #[test]
    fn deep_nesting_is_skipped_without_harm() {
        for open in ["{", "(", "[", "url(", "a(", "image-set("] {
            let deep = format!("{}url(x){}", open.repeat(200_000), "})]".repeat(10));
            assert!(urls(&deep).len() <= 1);
        }
        let within = format!("{}b{{c:url(x)}}{}", "a{".repeat(20), "}".repeat(20));
        assert_eq!(urls(&within), ["x"]);
    }
}
