//! Where the readers put what they find: resolves each reference and keeps the usable ones, each once.

use std::borrow::Cow;
use std::collections::HashSet;

use encoding_rs::Encoding;
use url::Url;

use super::{Kind, Link};

/// Links that are taken from one document. The largest index page of a documentation site has some 20,000.
pub const LINKS_MAX: usize = 50_000;

/// Longest reference that is looked at, and longest URL that is taken: a request target has 8 kB at most (promise 16).
pub(in crate::prefetch) const REFERENCE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of URLs that are made of one document's references, those that it repeats counted again. The largest index pages
/// need some 5 MB; a hostile one, with a `<base>` of 8 kB and short references, would otherwise fill the memory.
pub(in crate::prefetch) const LINKS_BYTES_MAX: usize = 32 << 20;

/// The links of one document while it is read.
pub(super) struct Collector {
    document: Url,
    base: Option<Url>,
    encoding: &'static Encoding,
    links: Vec<Link>,
    seen: HashSet<Link>,
    resolved_bytes: usize,
    is_nofollow: bool,
}

impl Collector {
    /// For a document at `url`. Queries of its references are encoded in `encoding` (URL standard, "query state").
    pub(super) fn new(url: &Url, encoding: &'static Encoding) -> Self {
        Self {
            document: url.clone(),
            base: None,
            encoding: encoding.output_encoding(),
            links: Vec::new(),
            seen: HashSet::new(),
            resolved_bytes: 0,
            is_nofollow: false,
        }
    }

    /// The first `<base href>` decides how later references are resolved; further ones have no effect.
    pub(super) fn set_base(&mut self, reference: &str) {
        if self.base.is_none() {
            self.base = resolve(&self.document, self.encoding, reference).filter(|url| !url.cannot_be_a_base());
        }
    }

    /// The whole document asks robots not to follow its links.
    pub(super) fn set_nofollow(&mut self) {
        self.is_nofollow = true;
    }

    pub(super) fn add_requisite(&mut self, reference: &str) {
        self.add(reference, Kind::Requisite, false, self.encoding);
    }

    pub(super) fn add_page(&mut self, reference: &str, is_nofollow: bool) {
        self.add(reference, Kind::Page, is_nofollow, self.encoding);
    }

    /// A reference in a style sheet or a `style` attribute: its query is UTF-8 whatever the document is.
    pub(super) fn add_css(&mut self, reference: &str) {
        self.add(reference, Kind::Requisite, false, encoding_rs::UTF_8);
    }

    fn add(&mut self, reference: &str, kind: Kind, is_nofollow: bool, encoding: &'static Encoding) {
        let reference = reference.trim_matches(|c: char| c.is_ascii_whitespace() || c.is_ascii_control());
        let is_full = self.links.len() >= LINKS_MAX || self.resolved_bytes >= LINKS_BYTES_MAX - REFERENCE_BYTES_MAX;
        if is_full || reference.is_empty() || reference.starts_with('#') {
            return;
        }
        let base = self.base.as_ref().unwrap_or(&self.document);
        let Some(url) = resolve(base, encoding, reference) else { return };
        self.resolved_bytes += url.as_str().len();
        let Some(url) = usable(url) else { return };
        let link = Link { url, kind, is_nofollow };
        if !self.seen.contains(&link) {
            self.seen.insert(link.clone());
            self.links.push(link);
        }
    }

    pub(super) fn into_links(mut self) -> Vec<Link> {
        if self.is_nofollow {
            for link in self.links.iter_mut().filter(|link| link.kind == Kind::Page) {
                link.is_nofollow = true;
            }
        }
        self.links
    }
}

/// The URL of a reference, in whatever scheme; None for one that is too long or none at all.
fn resolve(base: &Url, encoding: &'static Encoding, reference: &str) -> Option<Url> {
    if reference.len() > REFERENCE_BYTES_MAX {
        return None;
    }
    let encode = in_encoding(encoding);
    let options = Url::options().base_url(Some(base));
    let options = if encoding == encoding_rs::UTF_8 { options } else { options.encoding_override(Some(&encode)) };
    options.parse(reference).ok()
}

fn in_encoding(encoding: &'static Encoding) -> impl Fn(&str) -> Cow<'_, [u8]> {
    move |query| encoding.encode(query).0
}

/// The URL if a night may ask for it: http or https, with a host, without credentials; its fragment is dropped.
pub(super) fn usable(mut url: Url) -> Option<Url> {
    let is_http = matches!(url.scheme(), "http" | "https");
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if !is_http || !url.has_host() || has_credentials {
        return None;
    }
    url.set_fragment(None);
    (url.as_str().len() <= REFERENCE_BYTES_MAX).then_some(url)
}
