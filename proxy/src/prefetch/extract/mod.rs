//! What a stored document refers to: the links of a page, the images of a style sheet, the pages of a sitemap.
//!
//! Everything here is a pure function of bytes. Documents are hostile: each reader is linear in its input, bounded in
//! what it returns, and never panics. A reader for another format (playlists, JSON) is one more arm in [`extract`].

mod charset;
mod collector;
mod css;
mod decode;
mod html;
mod manifest;
mod sitemap;
mod srcset;

use std::borrow::Cow;

use url::Url;

#[cfg(any(test, fuzzing))]
pub(super) use collector::LINKS_BYTES_MAX;
pub use collector::LINKS_MAX;
pub(super) use collector::REFERENCE_BYTES_MAX;
pub(super) use decode::{Unpacked, unpack};

use collector::Collector;

/// A document as it was received, without its transfer and content codings.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Where it came from; relative references are resolved against it.
    pub url: &'a Url,
    /// Its `Content-Type` field, if it has one.
    pub content_type: Option<&'a str>,
    /// Its content.
    pub content: &'a [u8],
}

/// A reference from one document to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// Absolute, http or https, without fragment and without credentials.
    pub url: Url,
    /// What following it means.
    pub kind: Kind,
    /// Whether the author asked robots not to follow it (`rel=nofollow`, `<meta name=robots content=nofollow>`).
    pub is_nofollow: bool,
}

/// What following a link means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Needed to show the document that refers to it: an image, a style, a script, a font, a frame.
    Requisite,
    /// Another page, one step deeper.
    Page,
}

/// The kinds of document that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// HTML, by its own rules for broken markup.
    Html,
    /// XHTML and SVG: the same reader, with XML's empty elements.
    Xml,
    /// A style sheet.
    Css,
    /// A web application's manifest.
    Manifest,
}

impl Format {
    /// The format that a `Content-Type` names; without one, what the path's ending and the first bytes suggest.
    ///
    /// `content` may be empty when it is not there yet. None for everything that has no links for us.
    pub(super) fn of(content_type: Option<&str>, url: &Url, content: &[u8]) -> Option<Self> {
        let essence = content_type.map(|value| value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase());
        match essence.as_deref() {
            Some("text/html") => Some(Self::Html),
            Some("application/xhtml+xml" | "image/svg+xml") => Some(Self::Xml),
            Some("text/css") => Some(Self::Css),
            Some("application/manifest+json") => Some(Self::Manifest),
            Some("application/json" | "text/plain" | "application/octet-stream")
                if url.path().ends_with(".webmanifest") =>
            {
                Some(Self::Manifest)
            }
            None | Some("") => Self::sniff(url, content),
            Some(_) => None,
        }
    }

    fn sniff(url: &Url, content: &[u8]) -> Option<Self> {
        let start = content.trim_ascii_start();
        let begins = |word: &[u8]| start.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if begins(b"<!doctype html") || begins(b"<html") {
            Some(Self::Html)
        } else {
            url.path().ends_with(".css").then_some(Self::Css)
        }
    }
}

/// The links of a document, each once, in the order in which they stand; none for a format that has none for us.
///
/// At most [`LINKS_MAX`]; what comes after them is left out.
pub fn extract(document: Document<'_>) -> Vec<Link> {
    let Some(format) = Format::of(document.content_type, document.url, document.content) else {
        return Vec::new();
    };
    match format {
        Format::Html | Format::Xml => {
            let is_xml = format == Format::Xml;
            let (text, encoding) = charset::decode_markup(document.content_type, document.content);
            let mut found = Collector::new(document.url, encoding);
            html::references(&text, is_xml, &mut found);
            found.into_links()
        }
        Format::Css => {
            let text = charset::decode_css(document.content_type, document.content);
            let mut found = Collector::new(document.url, encoding_rs::UTF_8);
            css::references(&text, &mut |reference| found.add_css(reference));
            found.into_links()
        }
        Format::Manifest => {
            let mut found = Collector::new(document.url, encoding_rs::UTF_8);
            manifest::references(document.content, &mut found);
            found.into_links()
        }
    }
}

/// The text of a stored page, unpacked (within bounds) and decoded; none when its coding is not one that we read.
pub(crate) fn markup_text(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    content: &[u8],
) -> Option<String> {
    let content: Cow<'_, [u8]> = match unpack(content_encoding, content) {
        Unpacked::Plain => content.into(),
        Unpacked::Whole(content) | Unpacked::Cut(content) => content.into(),
        Unpacked::Unknown => return None,
    };
    Some(charset::decode_markup(content_type, &content).0.into_owned())
}

/// What a sitemap names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sitemap {
    /// Pages, as start pages of the night.
    pub pages: Vec<Url>,
    /// Further sitemaps, when it is an index.
    pub sitemaps: Vec<Url>,
}

/// Reads a sitemap: XML, an index of sitemaps, a feed, or text with an address a line; gzip'd or not.
///
/// See sitemaps.org. Anything else gives an empty one: a site without a sitemap often answers with a page.
pub fn sitemap(document: Document<'_>) -> Sitemap {
    let content: Cow<'_, [u8]> = match decode::unpack_if_gzip(document.content) {
        Unpacked::Plain => document.content.into(),
        Unpacked::Whole(content) | Unpacked::Cut(content) => content.into(),
        Unpacked::Unknown => return Sitemap::default(),
    };
    sitemap::read(Document { content: &content, ..document })
}

#[cfg(test)]
mod tests;
