//! HTML as it comes: every attribute and style that refers to something, mapped; all else byte by byte as it was.
//!
//! Scripts are not rewritten, and so not their `integrity` either. XHTML, SVG and DASH manifests are read by the same
//! rules, which differ from XML's only in elements that none of them closes by `/>`.

use std::sync::{Arc, Mutex, PoisonError};

use encoding_rs::{Encoding, UTF_8};
use lol_html::html_content::{BailOut, TextChunk};
use lol_html::send::{Element, HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, MemorySettings, element, text};

use super::attribute::{CARD, Value, decoded, encoded, value_of, value_of_link};
use super::css::{self, NOTHING, Sheet};
use super::map::{Map, Mapped, may_name_a_host};
use super::{csp, fields, srcset};

/// Memory of one rewriter: mostly the longest tag, and an image of some MB inside a page is one tag. What is longer is
/// passed on as it is, and so is all that follows it.
const MEMORY_BYTES_MAX: usize = 4 << 20;

/// Documents in `srcdoc` attributes inside such documents. Each is only a part of the one around it.
const NESTING_MAX: u32 = 3;

/// Longest address in the text of a `<BaseURL>`.
const TEXT_ADDRESS_BYTES_MAX: usize = 8 * 1024;

/// Where the rewriter puts what it has made.
type Made = Arc<Mutex<Vec<u8>>>;

type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// A page on its way.
pub(super) struct Markup {
    /// None once it had to give up.
    rewriter: Option<HtmlRewriter<'static, Sink>>,
    made: Made,
}

impl Markup {
    /// For a page in this encoding; without one, `<meta charset>` says it.
    pub(super) fn new(map: Arc<Map>, encoding: Option<&'static Encoding>) -> Self {
        Self::nested(map, encoding, 0)
    }

    fn nested(map: Arc<Map>, encoding: Option<&'static Encoding>, nesting: u32) -> Self {
        let made = Made::default();
        let sink: Sink = {
            let made = Arc::clone(&made);
            Box::new(move |chunk| made.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunk))
        };
        let known = encoding.and_then(AsciiCompatibleEncoding::new);
        let settings = settings(map, nesting)
            .with_encoding(known.unwrap_or_else(AsciiCompatibleEncoding::utf_8))
            .with_adjust_charset_on_meta_tag(encoding.is_none());
        Self { rewriter: Some(HtmlRewriter::new(settings, sink)), made }
    }

    /// Takes more of the page, and writes what is complete.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(rewriter) = &mut self.rewriter else {
            out.extend_from_slice(bytes);
            return;
        };
        if let Err(error) = rewriter.write(bytes) {
            // It has written all that it had taken in; the rest follows as it is.
            tracing::debug!(%error, "the rest of a page is not rewritten");
            self.rewriter = None;
        }
        self.take(out);
    }

    /// Writes what is left.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(rewriter) = self.rewriter.take()
            && let Err(error) = rewriter.end()
        {
            tracing::debug!(%error, "the end of a page is not rewritten");
        }
        self.take(out);
    }

    fn take(&self, out: &mut Vec<u8>) {
        out.append(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn settings(map: Arc<Map>, nesting: u32) -> Settings<'static, 'static> {
    let memory = MemorySettings::new()
        .with_max_allowed_memory_usage(MEMORY_BYTES_MAX)
        .with_graceful_bail_out_on_memory_limit_exceeded(true);
    let sheet = Arc::new(Mutex::new(Sheet::default()));
    let (of_elements, of_styles, left) = (Arc::clone(&map), Arc::clone(&map), Arc::clone(&sheet));
    let mut address = String::new();
    Settings::new_send()
        .with_memory_settings(memory)
        .with_strict(false)
        .append_element_content_handler(element!("*", move |element: &mut Element<'_, '_>| {
            rewrite(element, &of_elements, nesting);
            Ok(())
        }))
        .append_element_content_handler(text!("style", move |chunk: &mut TextChunk<'_>| {
            let mut sheet = sheet.lock().unwrap_or_else(PoisonError::into_inner);
            let mut out = String::with_capacity(chunk.as_str().len());
            sheet.push(chunk.as_str(), &of_styles, &mut out);
            if chunk.last_in_text_node() {
                sheet.end(&of_styles, &mut out);
            }
            chunk.set_str(out);
            Ok(())
        }))
        .append_element_content_handler(text!("BaseURL", move |chunk: &mut TextChunk<'_>| {
            address.push_str(chunk.as_str());
            let is_too_long = address.len() > TEXT_ADDRESS_BYTES_MAX;
            let text = if is_too_long {
                std::mem::take(&mut address)
            } else if chunk.last_in_text_node() {
                let address = std::mem::take(&mut address);
                mapped_address(&decoded(&address), Value::Loaded, &map).map_or(address, |mapped| encoded(&mapped))
            } else {
                String::new()
            };
            chunk.set_str(text);
            Ok(())
        }))
        .append_bail_out_handler(Box::new(move |_: &_, out: &mut BailOut<'_>| {
            let unwritten = left.lock().unwrap_or_else(PoisonError::into_inner).unwritten();
            out.append(&unwritten, lol_html::html_content::ContentType::Html);
        }))
}

/// What becomes of one attribute.
enum Edit {
    Set(String),
    Remove,
}

fn rewrite(element: &mut Element<'_, '_>, map: &Arc<Map>, nesting: u32) {
    let attributes = element.attributes();
    if attributes.is_empty() {
        return;
    }
    let name = element.tag_name();
    let mut edits: Vec<(String, Edit)> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for attribute in attributes {
        let attribute_name = attribute.name();
        let Some(mut value) = value_of(&name, &attribute_name) else { continue };
        // Of an attribute that stands there twice the first counts, and is the one that an edit changes.
        if seen.contains(&attribute_name) {
            continue;
        }
        seen.push(attribute_name.clone());
        if name == "link" && attribute_name == "href" {
            value = value_of_link(&element.get_attribute("rel").unwrap_or_default());
        }
        if let Some(edit) = edit(element, value, &attribute.value(), map, nesting) {
            edits.push((attribute_name, edit));
        }
    }
    for (name, edit) in edits {
        match edit {
            // A name that was read from the page is one that can be written.
            Edit::Set(value) => drop(element.set_attribute(&name, &encoded(&value))),
            Edit::Remove => element.remove_attribute(&name),
        }
    }
}

/// What becomes of an attribute with this text in the markup; None when it stays.
fn edit(element: &Element<'_, '_>, value: Value, raw: &str, map: &Arc<Map>, nesting: u32) -> Option<Edit> {
    match value {
        Value::Removed => Some(Edit::Remove),
        Value::Digest => loads_a_sheet(element).then_some(Edit::Remove),
        Value::Content => meta(element, &decoded(raw), map),
        _ if !may_refer(raw, value) => None,
        Value::Visited | Value::Loaded | Value::Image => mapped_address(&decoded(raw), value, map).map(Edit::Set),
        Value::Images => srcset::mapped(&decoded(raw), |one| mapped_address(one, value, map)).map(Edit::Set),
        Value::Style => {
            let style = decoded(raw);
            let mut mapped = String::with_capacity(style.len());
            css::mapped(&style, map, &mut mapped);
            (mapped != style).then_some(Edit::Set(mapped))
        }
        Value::Document if nesting < NESTING_MAX => {
            let (mut page, mut out) = (Markup::nested(Arc::clone(map), Some(UTF_8), nesting + 1), Vec::new());
            page.push(decoded(raw).as_bytes(), &mut out);
            page.end(&mut out);
            String::from_utf8(out).ok().map(Edit::Set)
        }
        Value::Document => Some(Edit::Remove),
    }
}

/// Whether a value is worth a closer look.
fn may_refer(raw: &str, value: Value) -> bool {
    value == Value::Document
        || raw.contains(['&', '\\']) // may stand for what names a host
        || may_name_a_host(raw)
}

fn mapped_address(address: &str, value: Value, map: &Map) -> Option<String> {
    match map.reference(address) {
        Mapped::Kept => None,
        Mapped::To(mapped) => Some(mapped),
        Mapped::Outside(page) => Some(match value {
            Value::Visited => page,
            Value::Image => CARD.to_owned(),
            // A card has spaces, which end an address in a list of images.
            _ => NOTHING.to_owned(),
        }),
    }
}

/// Whether a `<link>` loads what is rewritten, so that its digest will be another.
fn loads_a_sheet(element: &Element<'_, '_>) -> bool {
    let says = |name: &str, word: &str| {
        let value = element.get_attribute(name).unwrap_or_default();
        value.split_ascii_whitespace().any(|part| part.eq_ignore_ascii_case(word))
    };
    says("rel", "stylesheet") || says("as", "style")
}

/// A `<meta>` that stands for a field.
fn meta(element: &Element<'_, '_>, content: &str, map: &Map) -> Option<Edit> {
    let field = element.get_attribute("http-equiv")?.trim().to_ascii_lowercase();
    match field.as_str() {
        "refresh" => fields::refresh(content, map).map(Edit::Set),
        "content-security-policy" | "content-security-policy-report-only" => Some(Edit::Set(csp::mapped(content, map))),
        "set-cookie" => Some(Edit::Remove),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1251;
    use proptest::prelude::*;

    use super::super::testing::map;
    use super::*;

    fn rewritten(pieces: &[&[u8]], encoding: Option<&'static Encoding>) -> Vec<u8> {
        let (mut markup, mut out) = (Markup::new(Arc::new(map()), encoding), Vec::new());
        pieces.iter().for_each(|piece| markup.push(piece, &mut out));
        markup.end(&mut out);
        out
    }

    fn text(html: &str) -> String {
        String::from_utf8(rewritten(&[html.as_bytes()], None)).unwrap()
    }

    /// `A` and `E` stand for the two sites' gateway names, `OUT` for the page of one outside.
    fn expected(html: &str) -> String {
        html.replace("A//", "http://a-kz.lessons.school.example/")
            .replace("E//", "http://e--lessons-kz.lessons.school.example/")
            .replace("OUT", "http://games-example.lessons.school.example/")
            .replace("CARD", CARD)
    }

    #[test]
    fn every_attribute_that_refers_is_mapped() {
        for (html, mapped) in [
            ("<a href=\"/x\">", "<a href=\"/x\">"),
            ("<A HREF='https://a.kz/x?a=1&amp;b=2' class = x>", "<A HREF=\"A//x?a=1&amp;b=2\" class = x>"),
            ("<a href=https://e-lessons.kz/x>t</a>", "<a href=\"E//x\">t</a>"),
            ("<a href=\"&#104;ttps://a.kz/x\">", "<a href=\"A//x\">"),
            ("<a href=\"https://games.example/x?secret\">", "<a href=\"OUT\">"),
            ("<a ping=\"/x https://games.example\" href=x>", "<a href=x>"),
            ("<area href=//a.kz/x><base href='https://a.kz/dir/'>", "<area href=\"A//x\"><base href=\"A//dir/\">"),
            ("<link rel=stylesheet href=//a.kz/x.css integrity=sha256-x>", "<link rel=stylesheet href=\"A//x.css\">"),
            ("<link rel=preload as=style href=x.css integrity=y>", "<link rel=preload as=style href=x.css>"),
            ("<link rel=modulepreload href=x.js integrity=y>", "<link rel=modulepreload href=x.js integrity=y>"),
            ("<link rel=canonical href=https://games.example/x>", "<link rel=canonical href=\"OUT\">"),
            ("<link rel=\"dns-prefetch\" href=//games.example>", "<link rel=\"dns-prefetch\" href=\"about:blank\">"),
            ("<script src=https://a.kz/x.js integrity=y></script>", "<script src=\"A//x.js\" integrity=y></script>"),
            ("<script src=//games.example/x.js></script>", "<script src=\"about:blank\"></script>"),
            (
                "<script>var a = '<a href=\"https://a.kz/\">'</script>",
                "<script>var a = '<a href=\"https://a.kz/\">'</script>",
            ),
            ("<!-- <a href=\"https://a.kz/\"> -->", "<!-- <a href=\"https://a.kz/\"> -->"),
            ("<textarea><a href=\"https://a.kz/\"></textarea>", "<textarea><a href=\"https://a.kz/\"></textarea>"),
            ("<img src=https://a.kz/x.png alt='a > b'>", "<img src=\"A//x.png\" alt='a > b'>"),
            ("<img src=https://games.example/x.png>", "<img src=\"CARD\">"),
            ("<img srcset='https://a.kz/x 1x, //games.example/y 2x'>", "<img srcset=\"A//x 1x, about:blank 2x\">"),
            ("<source srcset=\"a.png, https://a.kz/b.png 2x\">", "<source srcset=\"a.png, A//b.png 2x\">"),
            (
                "<link rel=preload as=image imagesrcset='//a.kz/x 1x'>",
                "<link rel=preload as=image imagesrcset=\"A//x 1x\">",
            ),
            ("<img data-src=//a.kz/x data-srcset='//a.kz/y 2x'>", "<img data-src=\"A//x\" data-srcset=\"A//y 2x\">"),
            ("<video poster=//a.kz/p src=//a.kz/v.mp4></video>", "<video poster=\"A//p\" src=\"A//v.mp4\"></video>"),
            ("<video src=//games.example/v></video>", "<video src=\"about:blank\"></video>"),
            (
                "<object data=//a.kz/x></object><embed src=//games.example/x>",
                "<object data=\"A//x\"></object><embed src=\"OUT\">",
            ),
            ("<iframe src=https://games.example/v></iframe>", "<iframe src=\"OUT\"></iframe>"),
            (
                "<iframe srcdoc='<a href=\"//a.kz/x\">&amp;amp;</a>'></iframe>",
                "<iframe srcdoc=\"&lt;a href=&quot;A//x&quot;>&amp;amp;&lt;/a>\"></iframe>",
            ),
            (
                "<form action=https://a.kz/find><button formaction=//games.example/x>",
                "<form action=\"A//find\"><button formaction=\"OUT\">",
            ),
            (
                "<blockquote cite=//a.kz/x><body background=//a.kz/y>",
                "<blockquote cite=\"A//x\"><body background=\"A//y\">",
            ),
            (
                "<meta http-equiv=refresh content='0; url=https://a.kz/x'>",
                "<meta http-equiv=refresh content=\"0; url=A//x\">",
            ),
            ("<meta http-equiv=Refresh content=5>", "<meta http-equiv=Refresh content=5>"),
            (
                "<meta http-equiv=content-security-policy content=\"img-src https://a.kz 'self' games.example\">",
                "<meta http-equiv=content-security-policy content=\"img-src http://a-kz.lessons.school.example 'self'\">",
            ),
            (
                "<meta http-equiv=set-cookie content=a=b><meta name=x content=https://a.kz>",
                "<meta http-equiv=set-cookie><meta name=x content=https://a.kz>",
            ),
            (
                "<p style=\"background:url('https://a.kz/x.png')\">",
                "<p style=\"background:url(&quot;A//x.png&quot;)\">",
            ),
            ("<p style='color:red'>", "<p style='color:red'>"),
            ("<style>a{b:url(//a.kz/x)}</style>", "<style>a{b:url(\"A//x\")}</style>"),
            ("<style>@import '//games.example/x.css'</style>", "<style>@import \"about:blank\"</style>"),
            (
                "<svg><image href=//a.kz/x /><use xlink:href='https://a.kz/s.svg#i'/></svg>",
                "<svg><image href=\"A//x\" /><use xlink:href=\"A//s.svg#i\" /></svg>",
            ),
            (
                "<svg><path fill='url(https://a.kz/s.svg#g)'/><style>a{b:url(//a.kz/x)}</style></svg>",
                "<svg><path fill=\"url(&quot;A//s.svg#g&quot;)\" /><style>a{b:url(\"A//x\")}</style></svg>",
            ),
            (
                "<MPD><BaseURL>https://a.kz/v/</BaseURL><SegmentTemplate media='//a.kz/$Number$.m4s'/></MPD>",
                "<MPD><BaseURL>A//v/</BaseURL><SegmentTemplate media=\"A//$Number$.m4s\" /></MPD>",
            ),
            ("<a href=\"/\r/games.example/x\"><a href=\"/\n/a.kz/x\">", "<a href=\"OUT\"><a href=\"A//x\">"),
            ("<a href=//games.example href=//a.kz/x>", "<a href=\"OUT\" href=//a.kz/x>"),
            ("<a href=/x HREF=//a.kz/y ping=/p ping=/q>", "<a href=/x HREF=//a.kz/y>"),
            ("<a href=\"https://a.kz/x", "<a href=\"https://a.kz/x"),
            ("", ""),
        ] {
            assert_eq!(text(html), expected(mapped), "{html}");
        }
    }

    #[test]
    fn a_page_keeps_its_encoding() {
        let html =
            "<meta charset=windows-1251><a href=\"https://a.kz/урок?дом\">Дом</a><style>a{b:url(//a.kz/дом)}</style>";
        let (bytes, ..) = WINDOWS_1251.encode(html);
        for encoding in [None, Some(WINDOWS_1251)] {
            let out = rewritten(&[&bytes], encoding);
            let (decoded, _) = WINDOWS_1251.decode_without_bom_handling(&out);
            let wanted =
                "<meta charset=windows-1251><a href=\"A//урок?дом\">Дом</a><style>a{b:url(\"A//дом\")}</style>";
            assert_eq!(decoded, expected(wanted));
        }
    }

    #[test]
    fn what_is_too_long_for_the_memory_passes_as_it_is() {
        let html = format!(
            "<a href=//a.kz/x><style>a{{b:url(//a.kz/x)</style><img src=\"data:{}\"><a href=//a.kz/y>",
            "x".repeat(3 * MEMORY_BYTES_MAX)
        );
        let mut pieces = html.as_bytes().chunks(64 * 1024);
        let out = rewritten(&pieces.by_ref().collect::<Vec<_>>(), None);
        let wanted = expected("<a href=\"A//x\"><style>a{b:url(\"A//x\")");
        let begin = format!("{wanted}</style><img src=\"data:xxx");
        assert!(out.starts_with(begin.as_bytes()), "{}", String::from_utf8_lossy(&out[..200]));
        assert!(out.ends_with(b"x\"><a href=//a.kz/y>"));
    }

    const HTML: &str = r#"(<a href=|<img srcset=|<style>|</style>|<style|<p style='|<iframe srcdoc="|<script>|</script>|<svg>|<!--|-->|//a\.kz/x|https://games\.example/|url\(|\)|"|'|>|/>|&amp;|&#|<|x| |=|ж|\n){0,40}"#;

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_how_the_input_comes(html in HTML, at in 0usize..300, then in 0usize..300) {
            let bytes = html.as_bytes();
            let first = at.min(bytes.len());
            let second = (first + then).min(bytes.len());
            let whole = rewritten(&[bytes], None);
            let cut = rewritten(&[&bytes[..first], &bytes[first..second], &bytes[second..]], None);
            prop_assert_eq!(String::from_utf8_lossy(&cut), String::from_utf8_lossy(&whole));
        }

        #[test]
        fn a_mapped_page_is_not_mapped_again(html in HTML) {
            let once = rewritten(&[html.as_bytes()], None);
            let twice = rewritten(&[&once], None);
            prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            rewritten(&[&bytes], None);
            rewritten(&[&bytes], Some(WINDOWS_1251));
        }
    }
}
