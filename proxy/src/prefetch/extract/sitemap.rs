//! Sitemaps (sitemaps.org): `urlset`, `sitemapindex`, feeds, and text.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use url::Url;

use super::collector::{LINKS_BYTES_MAX, REFERENCE_BYTES_MAX, usable};
use super::{Document, Sitemap};

/// Addresses of one sitemap; the protocol allows 50,000.
const URLS_MAX: usize = 50_000;

/// Longest address that is looked at; the protocol allows 2,048 bytes.
const URL_BYTES_MAX: usize = 8 * 1024;

/// Reads a sitemap that is no longer packed.
pub(super) fn read(document: Document<'_>) -> Sitemap {
    let content = document.content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document.content);
    let text = String::from_utf8_lossy(content);
    let mut found = Found { base: document.url, sitemap: Sitemap::default(), resolved_bytes: 0 };
    if text.trim_start().starts_with('<') {
        xml(&text, &mut found);
    } else if document.content_type.is_some_and(|value| value.trim_start().starts_with("text/plain")) {
        text.lines().take(URLS_MAX).for_each(|line| found.page(line));
    }
    found.sitemap
}

struct Found<'a> {
    base: &'a Url,
    sitemap: Sitemap,
    resolved_bytes: usize,
}

impl Found<'_> {
    fn page(&mut self, reference: &str) {
        let url = self.resolve(reference);
        self.sitemap.pages.extend(url);
    }

    fn sitemap(&mut self, reference: &str) {
        let url = self.resolve(reference);
        self.sitemap.sitemaps.extend(url);
    }

    fn resolve(&mut self, reference: &str) -> Option<Url> {
        let reference = reference.trim();
        let is_full = self.sitemap.pages.len() + self.sitemap.sitemaps.len() >= URLS_MAX
            || self.resolved_bytes >= LINKS_BYTES_MAX - REFERENCE_BYTES_MAX;
        if is_full || reference.is_empty() || reference.len() > URL_BYTES_MAX {
            return None;
        }
        let url = self.base.join(reference).ok()?;
        self.resolved_bytes += url.as_str().len();
        usable(url)
    }
}

/// Which element's text is being gathered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gathering {
    Nothing,
    /// `<loc>` of a page, or an item's `<link>` in RSS.
    Page,
    /// `<loc>` of a further sitemap.
    Sitemap,
}

fn xml(text: &str, found: &mut Found<'_>) {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    let mut is_index = false;
    let mut gathering = Gathering::Nothing;
    let mut gathered = String::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                gathered.clear();
                gathering = match tag.name().as_ref() {
                    "sitemapindex" => {
                        is_index = true;
                        Gathering::Nothing
                    }
                    // With a prefix it would be an image's or a video's.
                    "loc" if is_index => Gathering::Sitemap,
                    "loc" | "link" => Gathering::Page,
                    _ => Gathering::Nothing,
                };
                alternate(&tag, found);
            }
            Ok(Event::Empty(tag)) => alternate(&tag, found),
            Ok(Event::Text(text)) if gathering != Gathering::Nothing => push(&mut gathered, &text.xml10_content()),
            Ok(Event::CData(text)) if gathering != Gathering::Nothing => push(&mut gathered, &text.xml10_content()),
            Ok(Event::GeneralRef(entity)) if gathering != Gathering::Nothing => {
                if let Ok(Some(character)) = entity.resolve_char_ref() {
                    gathered.push(character);
                } else {
                    push(&mut gathered, predefined_entity(&entity.xml10_content()));
                }
            }
            Ok(Event::End(_)) => match std::mem::replace(&mut gathering, Gathering::Nothing) {
                Gathering::Page => found.page(&gathered),
                Gathering::Sitemap => found.sitemap(&gathered),
                Gathering::Nothing => {}
            },
            // What came before a fault counts: a sitemap cut short still names pages.
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// `<xhtml:link rel="alternate" href="…">` of another language, and Atom's `<link href="…">`.
fn alternate(tag: &BytesStart<'_>, found: &mut Found<'_>) {
    if tag.local_name().as_ref() != "link" {
        return;
    }
    if let Ok(Some(href)) = tag.try_get_attribute("href")
        && let Ok(value) = href.normalized_value(quick_xml::XmlVersion::Explicit1_0)
    {
        found.page(&value);
    }
}

/// The five entities of XML itself; a sitemap has no others.
fn predefined_entity(name: &str) -> &'static str {
    match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "apos" => "'",
        "quot" => "\"",
        _ => "",
    }
}

fn push(gathered: &mut String, text: &str) {
    if gathered.len() + text.len() <= URL_BYTES_MAX {
        gathered.push_str(text);
    }
}
