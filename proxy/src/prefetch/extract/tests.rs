//! Whole documents: what they refer to, and that no input does harm.

use proptest::prelude::*;

use super::*;

fn links(url: &str, content_type: &str, content: &[u8]) -> Vec<Link> {
    let url = Url::parse(url).expect("a URL");
    extract(Document { url: &url, content_type: Some(content_type), content })
}

/// `+` before a requisite, `-` before a nofollow page.
fn shown(links: &[Link]) -> Vec<String> {
    let show = |link: &Link| {
        let mark = match (link.kind, link.is_nofollow) {
            (Kind::Requisite, _) => "+",
            (Kind::Page, true) => "-",
            (Kind::Page, false) => "",
        };
        format!("{mark}{}", link.url)
    };
    links.iter().map(show).collect()
}

#[track_caller]
fn page(markup: &str, expected: &[&str]) {
    let found = shown(&links("http://a.kz/b/c?d", "text/html; charset=utf-8", markup.as_bytes()));
    assert_eq!(found, expected, "{markup}");
}

#[test]
fn every_element_that_refers_to_something_is_read() {
    for (markup, expected) in [
        ("<a href=x>", &["http://a.kz/b/x"][..]),
        ("<A HREF='/x'>", &["http://a.kz/x"]),
        ("<area href=//m.kz/x>", &["http://m.kz/x"]),
        ("<a href=?q#f>", &["http://a.kz/b/c?q"]),
        ("<a rel='external nofollow' href=x>", &["-http://a.kz/b/x"]),
        ("<img src=x srcset='y 1x, z 2x'>", &["+http://a.kz/b/x", "+http://a.kz/b/y", "+http://a.kz/b/z"]),
        ("<img data-src=x data-srcset='y 100w' src=data:,>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<picture><source srcset=x><img src=y></picture>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<video src=x poster=y><track src=z></video>", &["+http://a.kz/b/x", "+http://a.kz/b/y", "+http://a.kz/b/z"]),
        ("<audio><source src=x></audio>", &["+http://a.kz/b/x"]),
        ("<script src=x></script>", &["+http://a.kz/b/x"]),
        ("<link rel=stylesheet href=x>", &["+http://a.kz/b/x"]),
        ("<link rel='shortcut icon' href=x>", &["+http://a.kz/b/x"]),
        ("<link rel=preload as=image href=x imagesrcset='y 1x'>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<link rel=manifest href=x>", &["+http://a.kz/b/x"]),
        ("<link rel=next href=x><link rel=alternate hreflang=kk href=y>", &["http://a.kz/b/x", "http://a.kz/b/y"]),
        ("<link rel=dns-prefetch href=//x.kz><link rel=preconnect href=//y.kz><link href=z>", &[]),
        ("<iframe src=x></iframe>", &["+http://a.kz/b/x"]),
        ("<iframe srcdoc='&lt;img src=x>'></iframe>", &["+http://a.kz/b/x"]),
        ("<frameset><frame src=x></frameset>", &["+http://a.kz/b/x"]),
        ("<embed src=x><object data=y></object>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<input type=image src=x><input type=text src=y>", &["+http://a.kz/b/x"]),
        ("<body background=x><td background=y>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<meta http-equiv=refresh content='0; url=x'>", &["http://a.kz/b/x"]),
        ("<img src=x longdesc=y>", &["+http://a.kz/b/x", "http://a.kz/b/y"]),
        ("<div style=\"background: url('x')\">", &["+http://a.kz/b/x"]),
        ("<div style='background: url(&quot;x&quot;)'>", &["+http://a.kz/b/x"]),
        ("<style>@import 'x'; a { b: url(y) }</style>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<svg><use xlink:href='x#i'/><image href=y /></svg>", &["+http://a.kz/b/x", "+http://a.kz/b/y"]),
        ("<svg><a xlink:href=x></a></svg>", &["http://a.kz/b/x"]),
        ("<noscript><img src=x></noscript>", &["+http://a.kz/b/x"]),
    ] {
        page(markup, expected);
    }
}

#[test]
fn what_is_no_reference_is_not_taken_for_one() {
    for markup in [
        "<a href='#top'>",
        "<a href=''>",
        "<a href='mailto:a@b.kz'><a href='tel:+7'><a href='javascript:void(0)'><a href='data:,x'>",
        "<a href='http://user:word@a.kz/'>",
        "<a href='ftp://a.kz/'><a href='http://'><a href='http://[::1'>",
        "<!-- <a href=x> --><script>'<a href=x>'</script><textarea><a href=x></textarea><title><a href=x></title>",
        "<form action=x>",
        "<a name=x title='href=y'>",
    ] {
        page(markup, &[]);
    }
    let long = format!("<a href={}>", "x".repeat(9000));
    page(&long, &[]);
}

#[test]
fn references_are_decoded_and_resolved_as_browsers_do() {
    for (markup, expected) in [
        ("<a href='x?a=1&amp;b=2'>", &["http://a.kz/b/x?a=1&b=2"][..]),
        ("<a href='x?a=1&copy=2'>", &["http://a.kz/b/x?a=1&copy=2"]), // no reference in an attribute
        ("<a href='&#x2f;x&#47;y'>", &["http://a.kz/x/y"]),
        ("<a href=' \n x\ny \t'>", &["http://a.kz/b/xy"]), // the URL standard drops line ends
        ("<a href='../../../x'>", &["http://a.kz/x"]),
        ("<a href='сабақ 1.html'>", &["http://a.kz/b/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B%201.html"]),
        ("<a href='HTTP://БІЛІМ.kz:80/x'>", &["http://xn--90aud6hb.kz/x"]),
        ("<a href='x\\y'>", &["http://a.kz/b/x/y"]),
        ("<base href=/r/><a href=x><img src=y>", &["http://a.kz/r/x", "+http://a.kz/r/y"]),
        ("<base target=_top><base href=/r/><base href=/s/><a href=x>", &["http://a.kz/r/x"]),
        ("<base href='data:,'><a href=x>", &["http://a.kz/b/x"]),
        ("<base href='https://m.kz/r/'><div style='a: url(x)'>", &["+https://m.kz/r/x"]),
        ("<a href=x><a href=x><a href='x#f'><img src=x>", &["http://a.kz/b/x", "+http://a.kz/b/x"]),
        ("<a href=x href=y>", &["http://a.kz/b/x"]),
    ] {
        page(markup, expected);
    }
}

#[test]
fn a_page_can_ask_robots_not_to_follow() {
    let asks = "<a href=x><img src=y><meta name=ROBOTS content='noindex, NOFOLLOW'>";
    page(asks, &["-http://a.kz/b/x", "+http://a.kz/b/y"]);
    page("<meta name=robots content=noindex><a href=x>", &["http://a.kz/b/x"]);
}

#[test]
fn broken_markup_loses_nothing() {
    for (markup, expected) in [
        ("<a href=x<b>", &["http://a.kz/b/x%3Cb"][..]),
        ("<p <a href=x>><a href=y>", &["http://a.kz/b/y"]),
        ("<img src=x<img src=y>", &["+http://a.kz/b/x%3Cimg"]),
        ("<a href=\"x", &[]), // the file ends inside a tag: browsers drop it
        ("<svg><style/><script href=s /><title/></svg><a href=x>", &["+http://a.kz/b/s", "http://a.kz/b/x"]),
        ("<svg><title>x<a href=y></a></title></svg>", &["http://a.kz/b/y"]),
        ("<svg/><style>a{b:url(x)}</style>", &["+http://a.kz/b/x"]),
        ("<style>a{b:url(x)}", &["+http://a.kz/b/x"]),
    ] {
        page(markup, expected);
    }
    let xhtml = "<?xml version='1.0'?><html><title/><script src='x'/><script src='x'/><style/><a href='y'/></html>";
    let found = links("http://a.kz/", "application/xhtml+xml", xhtml.as_bytes());
    assert_eq!(shown(&found), ["+http://a.kz/x", "http://a.kz/y"]);
}

#[test]
fn the_encoding_is_found_as_browsers_find_it() {
    let (cyrillic, _, _) = encoding_rs::WINDOWS_1251.encode("<a href='x?q=да'>");
    let in_1251 = "http://a.kz/x?q=%E4%E0"; // the query in the page's encoding
    let in_utf_8 = "http://a.kz/x?q=%D0%B4%D0%B0";
    let meta = |declaration: &str| [declaration.as_bytes(), &cyrillic].concat();
    let (koi, _, _) = encoding_rs::KOI8_R.encode("<meta charset=koi8-r><a href='x?q=да'>");
    for (content_type, content, expected) in [
        ("text/html; charset=windows-1251", cyrillic.to_vec(), in_1251),
        ("text/html; Charset=\"CP1251\"", cyrillic.to_vec(), in_1251),
        ("text/html", meta("<meta charset=windows-1251>"), in_1251),
        (
            "text/html",
            meta(
                "<!-- <meta charset=utf-8> --><META HTTP-EQUIV=Content-Type CONTENT='text/html; charset=windows-1251'>",
            ),
            in_1251,
        ),
        ("text/html", cyrillic.to_vec(), in_1251), // neither declared nor UTF-8
        ("text/html", "<a href='x?q=да'>".into(), in_utf_8),
        ("text/html", koi.into_owned(), "http://a.kz/x?q=%C4%C1"),
        ("application/xhtml+xml", meta("<?xml version='1.0' encoding='windows-1251'?>"), in_1251),
        ("text/html; charset=windows-1251", "\u{feff}<a href='x?q=да'>".into(), in_utf_8), // the mark wins
        (
            "text/html; charset=utf-16",
            "<a href=x>".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "http://a.kz/x",
        ),
        ("text/html", meta("<meta charset=utf-16>"), "http://a.kz/x?q=%EF%BF%BD%EF%BF%BD"), // can't be: UTF-8
    ] {
        assert_eq!(shown(&links("http://a.kz/", content_type, &content)), [expected], "{content_type}");
    }
    let (sheet, _, _) = encoding_rs::WINDOWS_1251.encode("@charset \"windows-1251\"; a { b: url('да.png?q=да') }");
    assert_eq!(shown(&links("http://a.kz/", "text/css", &sheet)), ["+http://a.kz/%D0%B4%D0%B0.png?q=%D0%B4%D0%B0"]);
}

#[test]
fn the_format_is_what_the_field_says_or_the_content_shows() {
    for (content_type, url, content, expected) in [
        (Some("Text/HTML;charset=x"), "http://a.kz/", "", Some(Format::Html)),
        (Some("text/css"), "http://a.kz/", "", Some(Format::Css)),
        (Some("image/svg+xml"), "http://a.kz/x.svg", "", Some(Format::Xml)),
        (Some("application/manifest+json"), "http://a.kz/", "", Some(Format::Manifest)),
        (Some("application/json"), "http://a.kz/site.webmanifest", "", Some(Format::Manifest)),
        (Some("application/json"), "http://a.kz/x", "<html>", None),
        (Some("text/plain"), "http://a.kz/x.html", "<html>", None),
        (None, "http://a.kz/", "\n<!DOCTYPE HTML>", Some(Format::Html)),
        (None, "http://a.kz/x.css", "a{}", Some(Format::Css)),
        (None, "http://a.kz/x", "\u{7f}ELF", None),
    ] {
        let url = Url::parse(url).expect("a URL");
        assert_eq!(Format::of(content_type, &url, content.as_bytes()), expected, "{content_type:?} {url}");
    }
}

#[test]
fn a_manifest_names_its_icons_and_start() {
    let manifest = br#"{"start_url": "./?app", "icons": [{"src": "i.png"}, {"src": 7}, "x"], "screenshots": []}"#;
    let found = links("http://a.kz/m/site.webmanifest", "application/manifest+json", manifest);
    assert_eq!(shown(&found), ["http://a.kz/m/?app", "+http://a.kz/m/i.png"]);
    assert!(links("http://a.kz/", "application/manifest+json", b"{").is_empty());
}

#[test]
fn links_are_bounded() {
    let many: String = (0..LINKS_MAX + 10).map(|page| format!("<a href={page}>")).collect();
    assert_eq!(links("http://a.kz/", "text/html", many.as_bytes()).len(), LINKS_MAX);
}

fn read_sitemap(content_type: &str, content: &[u8]) -> (Vec<String>, Vec<String>) {
    let url = Url::parse("http://a.kz/sitemap.xml").expect("a URL");
    let found = sitemap(Document { url: &url, content_type: Some(content_type), content });
    let shown = |urls: Vec<Url>| urls.iter().map(Url::to_string).collect::<Vec<_>>();
    (shown(found.pages), shown(found.sitemaps))
}

#[test]
fn sitemaps_of_every_form_are_read() {
    let urlset =
        "\u{feff}<?xml version='1.0'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' xmlns:image='i'>
        <url><loc> http://a.kz/x?a=1&amp;b=2 </loc><lastmod>2026-11-21</lastmod>
        <image:image><image:loc>http://a.kz/i.png</image:loc></image:image>
        <xhtml:link rel='alternate' hreflang='ru' href='http://a.kz/ru?c&amp;d'/></url>
        <url><loc><![CDATA[http://a.kz/y&z]]></loc></url><url><loc>ftp://a.kz/</loc></url></urlset>";
    let pages = ["http://a.kz/x?a=1&b=2", "http://a.kz/ru?c&d", "http://a.kz/y&z"];
    for (name, content_type, content, expected_pages, expected_sitemaps) in [
        ("urlset", "application/xml", urlset, &pages[..], &[][..]),
        (
            "index",
            "text/xml",
            "<sitemapindex><sitemap><loc>http://a.kz/1.xml.gz</loc></sitemap><sitemap><loc>/2.xml</loc></sitemap></sitemapindex>",
            &[],
            &["http://a.kz/1.xml.gz", "http://a.kz/2.xml"],
        ),
        (
            "RSS",
            "application/rss+xml",
            "<rss><channel><item><link>http://a.kz/n</link></item></channel></rss>",
            &["http://a.kz/n"],
            &[],
        ),
        ("Atom", "application/atom+xml", "<feed><entry><link href='/e'/></entry></feed>", &["http://a.kz/e"], &[]),
        ("text", "text/plain", "http://a.kz/1\r\nhttp://a.kz/2\n\n", &["http://a.kz/1", "http://a.kz/2"], &[]),
        ("cut short", "text/xml", "<urlset><url><loc>http://a.kz/1</loc></url><url><lo", &["http://a.kz/1"], &[]),
        ("a page", "text/html", "<html><head><title>404</title></head><body><p>no</p></body></html>", &[], &[]),
        ("text that is none", "text/html", "http://a.kz/1", &[], &[]),
    ] {
        let (pages, sitemaps) = read_sitemap(content_type, content.as_bytes());
        assert_eq!(pages, expected_pages, "{name}");
        assert_eq!(sitemaps, expected_sitemaps, "{name}");
    }
}

#[test]
fn a_packed_sitemap_is_unpacked_and_a_bomb_is_cut() {
    use std::io::Write as _;
    let gzip = |content: &[u8]| {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        to.write_all(content).expect("memory");
        to.finish().expect("memory")
    };
    let one = b"<urlset><url><loc>http://a.kz/1</loc></url>";
    assert_eq!(read_sitemap("application/gzip", &gzip(one)).0, ["http://a.kz/1"]);
    let bomb = gzip(&[one.as_slice(), &vec![b' '; 100 << 20]].concat());
    assert_eq!(read_sitemap("application/gzip", &bomb).0, ["http://a.kz/1"]);
}

/// Text with more of what the readers look for than chance gives.
fn markup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<",
        ">",
        "/>",
        "</",
        "<a href=",
        "<img srcset='",
        "<style>",
        "</style>",
        "<svg>",
        "<noscript>",
        "<base href=",
        "<!--",
        "-->",
        "<meta charset=",
        "url(",
        ")",
        "{",
        "}",
        "@import ",
        "'",
        "\"",
        "&amp;",
        "&#",
        ";",
        ",",
        " 1x",
        "\\",
        "http://",
        "//",
        "<loc>",
        "<![CDATA[",
        "]]>",
        "<link>",
        "ё",
        "\0",
        "<?xml encoding='",
        "<!DOCTYPE [",
    ])
    .prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![4 => pieces, 1 => ".{0,8}"], 0..60).prop_map(|pieces| pieces.concat())
}

fn is_usable(url: &Url) -> bool {
    let again = Url::parse(url.as_str());
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none() && again.as_ref() == Ok(url)
}

proptest! {
    #[test]
    fn no_document_does_harm(text in markup(), noise in prop::collection::vec(any::<u8>(), 0..200), format in 0..5_usize) {
        let types = ["text/html", "application/xhtml+xml", "text/css", "application/manifest+json", "text/html; charset=gbk"];
        let url = Url::parse("https://a.kz/b/c").expect("a URL");
        for content in [text.as_bytes(), &noise, &[text.as_bytes(), &noise].concat()] {
            let document = Document { url: &url, content_type: Some(types[format]), content };
            let links = extract(document);
            prop_assert!(links.iter().all(|link| is_usable(&link.url)), "{links:?}");
            let sitemap = sitemap(document);
            prop_assert!(sitemap.pages.iter().chain(&sitemap.sitemaps).all(is_usable));
        }
    }

    #[test]
    fn unpacking_any_bytes_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), coding in 0..3_usize) {
        let coding = ["gzip", "deflate", "br"][coding];
        prop_assert!(!matches!(unpack(Some(coding), &bytes), Unpacked::Plain | Unpacked::Unknown));
    }

    #[test]
    fn a_link_that_is_written_is_found(path in "[a-z0-9/.?=&_-]{1,40}") {
        let markup = format!("<p><a href=\"/x{}\">x</a>", path.replace('&', "&amp;"));
        let url = Url::parse("https://a.kz/").expect("a URL");
        let expected = url.join(&format!("/x{path}")).expect("a URL");
        let found = extract(Document { url: &url, content_type: Some("text/html"), content: markup.as_bytes() });
        prop_assert_eq!(found.iter().map(|link| &link.url).collect::<Vec<_>>(), [&expected]);
    }
}

#[test]
fn short_references_to_a_long_base_do_not_fill_the_memory() {
    let folder = "x".repeat(8000);
    let references: String = (0..20_000).map(|at| format!("<a href={at}>")).collect();
    let found = links("http://a.kz/", "text/html", format!("<base href='/{folder}/'>{references}").as_bytes());
    let bytes: usize = found.iter().map(|link| link.url.as_str().len()).sum();
    assert!(bytes <= LINKS_BYTES_MAX && bytes > LINKS_BYTES_MAX / 2, "{bytes}");

    let url = Url::parse(&format!("http://a.kz/{folder}/map.xml")).expect("a URL");
    let places: String = (0..20_000).map(|at| format!("<loc>{at}</loc>")).collect();
    let map = format!("<urlset>{places}</urlset>");
    let found = sitemap(Document { url: &url, content_type: None, content: map.as_bytes() });
    let bytes: usize = found.pages.iter().map(|url| url.as_str().len()).sum();
    assert!(bytes <= LINKS_BYTES_MAX && bytes > LINKS_BYTES_MAX / 2, "{bytes}");
}
