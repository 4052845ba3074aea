//! HTML, XHTML and SVG: which attributes of which elements refer to something.
//!
//! A tokenizer is enough, since no reference depends on the tree. It follows the HTML standard, decodes character
//! references as browsers do in attributes (`&copy=1` stays), and knows in which elements markup is only text.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, State, Tokenizer};

use super::collector::Collector;
use super::{css, srcset};

/// Documents in `srcdoc` attributes inside such documents. Each is only a part of the one around it.
const NESTING_MAX: u32 = 4;

/// Puts what the markup refers to into `found`. `is_xml` says that any element may be empty by `/>`.
pub(super) fn references(text: &str, is_xml: bool, found: &mut Collector) {
    read(text, is_xml, 0, found);
}

fn read(text: &str, is_xml: bool, nesting: u32, found: &mut Collector) {
    let mut reader = Reader {
        found,
        nesting,
        is_xml,
        svg_depth: 0,
        element: Element::default(),
        attribute: Attribute::Ignored,
        is_in_style: false,
    };
    let emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| reader.see(&event));
    let mut tokenizer = Tokenizer::new_with_emitter(text, emitter);
    while let Some(Ok(state)) = tokenizer.next() {
        tokenizer.set_state(state);
    }
}

/// The attributes that matter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Attribute {
    Ignored,
    Background,
    Content,
    Data,
    Href,
    HttpEquiv,
    ImageSrcset,
    Lazy,
    LazySrcset,
    LongDesc,
    Name,
    Poster,
    Rel,
    Src,
    SrcDoc,
    Srcset,
    Style,
    Type,
    XlinkHref,
}

impl Attribute {
    fn of(name: &[u8]) -> Self {
        match name {
            b"background" => Self::Background,
            b"content" => Self::Content,
            b"data" => Self::Data,
            b"href" => Self::Href,
            b"http-equiv" => Self::HttpEquiv,
            b"imagesrcset" => Self::ImageSrcset,
            // What the common scripts for late loading read instead of `src` and `srcset`.
            b"data-src" | b"data-original" | b"data-lazy-src" | b"data-lazy" => Self::Lazy,
            b"data-srcset" | b"data-lazy-srcset" => Self::LazySrcset,
            b"longdesc" => Self::LongDesc,
            b"name" => Self::Name,
            b"poster" => Self::Poster,
            b"rel" => Self::Rel,
            b"src" => Self::Src,
            b"srcdoc" => Self::SrcDoc,
            b"srcset" => Self::Srcset,
            b"style" => Self::Style,
            b"type" => Self::Type,
            b"xlink:href" => Self::XlinkHref,
            _ => Self::Ignored,
        }
    }
}

/// The start tag being read: its name and the attributes that matter, the first of each name.
#[derive(Default)]
struct Element {
    name: Vec<u8>,
    attributes: Vec<(Attribute, String)>,
}

impl Element {
    fn value(&self, attribute: Attribute) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| *name == attribute).map(|(_, value)| value.as_str())
    }

    /// Whether a space-separated attribute has this word, in any case.
    fn says(&self, attribute: Attribute, word: &str) -> bool {
        self.value(attribute).is_some_and(|value| has_word(value, word))
    }
}

fn has_word(value: &str, word: &str) -> bool {
    value.split(|c: char| c.is_ascii_whitespace() || c == ',').any(|part| part.eq_ignore_ascii_case(word))
}

struct Reader<'a> {
    found: &'a mut Collector,
    nesting: u32,
    is_xml: bool,
    svg_depth: u32,
    element: Element,
    attribute: Attribute,
    is_in_style: bool,
}

impl Reader<'_> {
    /// Some when the tokenizer must take what follows for text.
    fn see(&mut self, event: &CallbackEvent<'_>) -> Option<State> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.element.name.clear();
                self.element.name.extend_from_slice(name);
                self.element.attributes.clear();
            }
            CallbackEvent::AttributeName { name } => self.attribute = Attribute::of(name),
            CallbackEvent::AttributeValue { value }
                if self.attribute != Attribute::Ignored && self.element.value(self.attribute).is_none() =>
            {
                self.element.attributes.push((self.attribute, String::from_utf8_lossy(value).into_owned()));
            }
            CallbackEvent::CloseStartTag { self_closing } => return self.start_tag(*self_closing),
            CallbackEvent::EndTag { name } => {
                self.is_in_style = false;
                if *name == b"svg" {
                    self.svg_depth = self.svg_depth.saturating_sub(1);
                }
            }
            CallbackEvent::String { value } if self.is_in_style => {
                let found = &mut *self.found;
                css::references(&String::from_utf8_lossy(value), &mut |reference| found.add_css(reference));
            }
            _ => {}
        }
        None
    }

    fn nested(&mut self, markup: &str) {
        if self.nesting < NESTING_MAX {
            read(markup, self.is_xml, self.nesting + 1, self.found);
        }
    }

    fn start_tag(&mut self, is_self_closing: bool) -> Option<State> {
        let element = std::mem::take(&mut self.element);
        // In XML and inside SVG an element may be empty by `/>`; in HTML the slash means nothing.
        let is_empty = is_self_closing && (self.is_xml || self.svg_depth > 0);
        if element.name == b"svg" && !is_self_closing {
            self.svg_depth += 1;
        }
        self.is_in_style = element.name == b"style" && !is_empty;
        let state = if is_empty { None } else { self.text_state(&element.name) };
        if !element.attributes.is_empty() {
            self.attributes_of(&element);
        }
        self.element = element; // keeps its buffers
        state
    }

    /// In which elements markup is only text, as for a reader without scripts: `<noscript>` is not among them.
    fn text_state(&self, name: &[u8]) -> Option<State> {
        match name {
            b"title" | b"textarea" if self.svg_depth == 0 => Some(State::RcData),
            b"script" => Some(State::ScriptData),
            b"style" | b"iframe" | b"xmp" | b"noembed" | b"noframes" => Some(State::RawText),
            b"plaintext" => Some(State::PlainText),
            _ => None,
        }
    }

    fn attributes_of(&mut self, element: &Element) {
        if let Some(style) = element.value(Attribute::Style) {
            let found = &mut *self.found;
            css::references(style, &mut |reference| found.add_css(reference));
        }
        self.requisites(element, &[Attribute::Background]);
        match element.name.as_slice() {
            b"a" | b"area" => self.anchor(element),
            b"base" => {
                if let Some(href) = element.value(Attribute::Href) {
                    self.found.set_base(href);
                }
            }
            b"link" => self.link(element),
            b"meta" => self.meta(element),
            b"img" => {
                self.embedded(element);
                if let Some(page) = element.value(Attribute::LongDesc) {
                    self.found.add_page(page, false);
                }
            }
            b"source" | b"video" | b"audio" | b"track" | b"embed" => self.embedded(element),
            b"iframe" | b"frame" => {
                self.embedded(element);
                if let Some(markup) = element.value(Attribute::SrcDoc) {
                    self.nested(markup);
                }
            }
            b"script" => self.requisites(element, &[Attribute::Src, Attribute::Href, Attribute::XlinkHref]),
            b"input" if element.says(Attribute::Type, "image") => self.requisites(element, &[Attribute::Src]),
            b"object" => self.requisites(element, &[Attribute::Data]),
            // SVG. Its `<a>` is above.
            b"image" | b"use" | b"feimage" | b"mpath" | b"pattern" | b"textpath" | b"filter" | b"lineargradient"
            | b"radialgradient" => self.requisites(element, &[Attribute::Href, Attribute::XlinkHref]),
            _ => {}
        }
    }

    fn requisites(&mut self, element: &Element, attributes: &[Attribute]) {
        for reference in attributes.iter().filter_map(|&attribute| element.value(attribute)) {
            self.found.add_requisite(reference);
        }
    }

    /// What an element shows in its place, in every size that a device may choose.
    fn embedded(&mut self, element: &Element) {
        self.requisites(element, &[Attribute::Src, Attribute::Poster, Attribute::Lazy]);
        for list in [Attribute::Srcset, Attribute::LazySrcset].into_iter().filter_map(|name| element.value(name)) {
            srcset::candidates(list, &mut |candidate| self.found.add_requisite(candidate));
        }
    }

    fn anchor(&mut self, element: &Element) {
        let is_nofollow = element.says(Attribute::Rel, "nofollow");
        for href in [Attribute::Href, Attribute::XlinkHref].into_iter().filter_map(|name| element.value(name)) {
            self.found.add_page(href, is_nofollow);
        }
    }

    fn link(&mut self, element: &Element) {
        /// Endpoints and hints for connections: nothing that anybody opens.
        const NOTHING_TO_FETCH: [&str; 7] =
            ["dns-prefetch", "preconnect", "pingback", "webmention", "edituri", "profile", "search"];
        /// What a browser loads with the page. `icon` is also in `shortcut icon`.
        const LOADED: [&str; 10] = [
            "stylesheet",
            "icon",
            "apple-touch-icon",
            "apple-touch-icon-precomposed",
            "mask-icon",
            "apple-touch-startup-image",
            "image_src",
            "preload",
            "modulepreload",
            "manifest",
        ];
        let is_any = |words: &[&str]| words.iter().any(|word| element.says(Attribute::Rel, word));
        if let Some(href) = element.value(Attribute::Href) {
            if is_any(&LOADED) {
                self.found.add_requisite(href);
            } else if element.value(Attribute::Rel).is_some() && !is_any(&NOTHING_TO_FETCH) {
                self.found.add_page(href, element.says(Attribute::Rel, "nofollow"));
            }
        }
        if let Some(list) = element.value(Attribute::ImageSrcset) {
            srcset::candidates(list, &mut |candidate| self.found.add_requisite(candidate));
        }
    }

    fn meta(&mut self, element: &Element) {
        let Some(content) = element.value(Attribute::Content) else { return };
        if element.says(Attribute::HttpEquiv, "refresh") {
            if let Some(reference) = refresh_target(content) {
                self.found.add_page(reference, false);
            }
            return;
        }
        let is_for_us = element.says(Attribute::Name, "robots") || element.says(Attribute::Name, "bulaq");
        if is_for_us && (has_word(content, "nofollow") || has_word(content, "none")) {
            self.found.set_nofollow();
        }
    }
}

/// The URL of a refresh pragma (HTML standard, "shared declarative refresh steps"): `5; url='next.html'`.
fn refresh_target(content: &str) -> Option<&str> {
    let is_space = |c: char| c.is_ascii_whitespace();
    let time_ends = |c: char| c.is_ascii_digit() || c == '.';
    let after_time = content.trim_start_matches(is_space).trim_start_matches(time_ends).trim_start_matches(is_space);
    let rest = after_time.trim_start_matches([';', ',']).trim_start_matches(is_space);
    let value = match rest.get(..3) {
        Some(word) if word.eq_ignore_ascii_case("url") => {
            let after = rest[3..].trim_start_matches(is_space);
            after.strip_prefix('=').map_or(rest, |value| value.trim_start_matches(is_space))
        }
        _ => rest,
    };
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let target = match quote {
        Some(quote) => value[1..].split(quote).next().unwrap_or_default(),
        None => value,
    };
    (!target.is_empty()).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::refresh_target;

    #[test]
    fn a_refresh_names_its_target() {
        for (content, target) in [
            ("0; url=next.html", Some("next.html")),
            ("5;URL='next.html'", Some("next.html")),
            ("5 , url = \"a b.html\" x", Some("a b.html")),
            ("0;next.html", Some("next.html")),
            ("3", None),
            ("3;", None),
            ("0; url=", None),
            ("0.5; url=a?url=b", Some("a?url=b")),
            ("ж", Some("ж")),
        ] {
            assert_eq!(refresh_target(content), target, "{content:?}");
        }
    }
}
