//! What must hold for any document that a night reads.

use url::Url;

use super::extract::{self, Document, LINKS_BYTES_MAX, LINKS_MAX, Link, REFERENCE_BYTES_MAX, Unpacked};
use super::robots::Robots;
use crate::fuzzing::first_line;

/// A path, then a robots.txt: the answers keep to the RFC's order, and neither case nor line ends change them.
pub fn robots(data: &[u8]) {
    let (path, text) = first_line(data);
    let path = format!("/{}", String::from_utf8_lossy(path));
    let robots = Robots::parse(text);
    assert!(robots.allows("/robots.txt"));
    assert!(robots.crawl_delay().is_none_or(|delay| delay.as_secs() <= 30));
    assert!(
        robots.sitemaps().iter().map(String::len).sum::<usize>() <= 3 * text.len(),
        "lossy text is 3 times as long"
    );
    let allows = robots.allows(&path);
    let lossy = String::from_utf8_lossy(text);
    let respelled: String = lossy.replace('\n', "\r\n \t\r");
    assert_eq!(Robots::parse(respelled.as_bytes()).allows(&path), allows);
    // A rule for us alone sets everybody's aside, and the longest one wins.
    let permitted = format!("{lossy}\nuser-agent: nobody\nuser-agent: bulaq\nallow: {}", "/*".repeat(600));
    if path.matches('/').count() >= 600 && lossy.len() < 600 {
        assert!(Robots::parse(permitted.as_bytes()).allows(&path));
    }
    let forbidden = format!("user-agent: bulaq\ndisallow: /\n\n{lossy}");
    if !lossy.to_ascii_lowercase().contains("allow") && path != "/robots.txt" {
        assert!(!Robots::parse(forbidden.as_bytes()).allows(&path));
    }
}

/// A content type and an address, then a page, a style sheet or a manifest: what comes out is bounded, absolute, ours to
/// ask for, and each once.
pub fn links(data: &[u8]) {
    let (first, content) = first_line(data);
    let first = String::from_utf8_lossy(first);
    let (content_type, url) = first.rsplit_once(' ').unwrap_or((&first, ""));
    let url = Url::parse(url).unwrap_or_else(|_| Url::parse("https://a.kz/b/c?d").expect("a URL"));
    let document = Document { url: &url, content_type: Some(content_type), content };
    let found = extract::extract(document);
    assert!(
        found.len() <= LINKS_MAX && found.iter().map(|link| link.url.as_str().len()).sum::<usize>() <= LINKS_BYTES_MAX
    );
    found.iter().for_each(|link| check_url(&link.url));
    let each: std::collections::HashSet<&Link> = found.iter().collect();
    assert_eq!(each.len(), found.len(), "each once");
    assert_eq!(extract::extract(document), found);
    let text = extract::markup_text(Some(content_type), None, content).expect("nothing is packed");
    assert!(text.len() <= 4 * content.len() + 4);
}

fn check_url(url: &Url) {
    assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    assert!(url.as_str().len() <= REFERENCE_BYTES_MAX);
    assert_eq!(Url::parse(url.as_str()).as_ref(), Ok(url), "a URL that is written otherwise than it is read");
}

/// A content type, then a sitemap, packed or not.
pub fn sitemap(data: &[u8]) {
    let (content_type, content) = first_line(data);
    let content_type = String::from_utf8_lossy(content_type);
    let url = Url::parse("https://a.kz/maps/sitemap.xml").expect("a URL");
    let found = extract::sitemap(Document { url: &url, content_type: Some(&content_type), content });
    let all = || found.pages.iter().chain(&found.sitemaps);
    assert!(all().map(|url| url.as_str().len()).sum::<usize>() <= LINKS_BYTES_MAX);
    all().for_each(check_url);
}

/// A `Content-Encoding`, then packed content: what comes out is bounded, and plain gzip is what another packer made.
pub fn unpack(data: &[u8]) {
    let (codings, content) = first_line(data);
    let codings = String::from_utf8_lossy(codings);
    match extract::unpack(Some(&codings), content) {
        Unpacked::Plain => {
            assert!(codings.split(',').all(|it| matches!(it.trim().to_ascii_lowercase().as_str(), "" | "identity")))
        }
        Unpacked::Whole(unpacked) | Unpacked::Cut(unpacked) => assert!(unpacked.len() <= 4 << 20),
        Unpacked::Unknown => {}
    }
    let again = extract::unpack(Some("x-gzip, identity"), &packed_with_gzip(content));
    assert!(again == Unpacked::Whole(content.to_vec()), "other content than was packed");
}

fn packed_with_gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(content).expect("a vector takes everything");
    writer.finish().expect("a vector takes everything")
}
