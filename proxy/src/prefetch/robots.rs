//! robots.txt (RFC 9309): what a site's owner asks of crawlers, read for one of them: ours.

use std::borrow::Cow;
use std::time::Duration;

/// Our product token, by which a robots.txt means us alone (RFC 9309 §2.2.1).
pub const PRODUCT_TOKEN: &str = "Bulaq";

/// Bytes that are read; RFC 9309 §2.5 asks for at least 500 KiB.
pub(super) const ROBOTS_BYTES_MAX: usize = 500 * 1024;

/// Rules that count for us. Long ones have some hundred; each costs one look at every address.
const RULES_MAX: usize = 5_000;

/// Sitemaps that are taken from one robots.txt. One that needs more has an index.
const SITEMAPS_MAX: usize = 500;

/// The longest pause between two requests that we let a site ask for. With more, a night would end before the site does,
/// and no site of lessons means that.
const CRAWL_DELAY_MAX: Duration = Duration::from_secs(30);

/// What one robots.txt says to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Robots {
    rules: Vec<Rule>,
    crawl_delay: Option<Duration>,
    sitemaps: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    is_allow: bool,
    pattern: Pattern,
}

impl Robots {
    /// No rules: everything may be asked for. Also for a site whose robots.txt answers 4xx (RFC 9309 §2.3.1.3).
    pub fn allow_all() -> Self {
        Self::default()
    }

    /// Nothing may be asked for: the robots.txt could not be reached or answered 5xx (RFC 9309 §2.3.1.4).
    pub fn disallow_all() -> Self {
        Self { rules: vec![Rule { is_allow: false, pattern: Pattern::new("/") }], ..Self::default() }
    }

    /// Reads a robots.txt; any bytes are one. Beyond 500 KiB nothing is read.
    pub fn parse(content: &[u8]) -> Self {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let text = String::from_utf8_lossy(&content[..content.len().min(ROBOTS_BYTES_MAX)]);
        let mut reading = Reading::default();
        for line in text.split(['\r', '\n']) {
            let line = line.split('#').next().unwrap_or_default();
            if let Some((key, value)) = line.split_once(':') {
                reading.line(key.trim(), value.trim());
            }
        }
        reading.finish()
    }

    /// Whether a path with its query may be asked for. The longest pattern that matches decides, allow before
    /// disallow; none is a yes, and robots.txt itself is never forbidden (RFC 9309 §2.2.2).
    pub fn allows(&self, path_and_query: &str) -> bool {
        if path_and_query == "/robots.txt" {
            return true;
        }
        let path = canonical(path_and_query, Reserved::InPath);
        let matching = self.rules.iter().filter(|rule| rule.pattern.matches(&path));
        matching.max_by_key(|rule| (rule.pattern.octets, rule.is_allow)).is_none_or(|rule| rule.is_allow)
    }

    /// The pause between two requests that it asks for, at most 30 s. Not in the RFC; a common courtesy.
    pub fn crawl_delay(&self) -> Option<Duration> {
        self.crawl_delay
    }

    /// The sitemaps that it names, as they are written there; for every crawler alike.
    pub fn sitemaps(&self) -> &[String] {
        &self.sitemaps
    }
}

/// Whom the group that is being read is for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum For {
    #[default]
    Others,
    Everybody,
    Us,
}

/// Reads lines; keeps what is for us apart from what is for everybody, since the first replaces the second.
#[derive(Default)]
struct Reading {
    /// Of the group being read; one group may name several crawlers.
    is_for: For,
    /// Whether the last line that counts was a `User-agent`, so that the next one joins it.
    is_naming: bool,
    is_for_us_found: bool,
    ours: Robots,
    everybodys: Robots,
    sitemaps: Vec<String>,
}

impl Reading {
    fn line(&mut self, key: &str, value: &str) {
        if key.eq_ignore_ascii_case("user-agent") {
            self.user_agent(value);
        } else if key.eq_ignore_ascii_case("allow") {
            self.rule(true, value);
        } else if key.eq_ignore_ascii_case("disallow") {
            self.rule(false, value);
        } else if key.eq_ignore_ascii_case("crawl-delay") {
            self.is_naming = false;
            let delay = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            if let (Some(delay), Some(group)) = (delay, self.group()) {
                group.crawl_delay = Some(delay.min(CRAWL_DELAY_MAX));
            }
        } else if key.eq_ignore_ascii_case("sitemap") && self.sitemaps.len() < SITEMAPS_MAX {
            // Belongs to no group and ends none (RFC 9309 §2.2.4).
            self.sitemaps.push(value.to_owned());
        }
    }

    fn user_agent(&mut self, value: &str) {
        if !self.is_naming {
            self.is_for = For::Others;
        }
        self.is_naming = true;
        let is_token = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '_';
        let token = &value[..value.find(|c| !is_token(c)).unwrap_or(value.len())];
        if token.eq_ignore_ascii_case(PRODUCT_TOKEN) {
            self.is_for = For::Us;
            self.is_for_us_found = true;
        } else if value.starts_with('*') && self.is_for == For::Others {
            self.is_for = For::Everybody;
        }
    }

    fn rule(&mut self, is_allow: bool, path: &str) {
        self.is_naming = false;
        // An empty path is no rule; RFC 9309 §2.2 wants a slash or a wildcard first, and others match nothing.
        let is_pattern = path.starts_with(['/', '*', '$']);
        let Some(group) = self.group().filter(|group| is_pattern && group.rules.len() < RULES_MAX) else { return };
        group.rules.push(Rule { is_allow, pattern: Pattern::new(path) });
    }

    fn group(&mut self) -> Option<&mut Robots> {
        match self.is_for {
            For::Others => None,
            For::Everybody => Some(&mut self.everybodys),
            For::Us => Some(&mut self.ours),
        }
    }

    fn finish(self) -> Robots {
        let robots = if self.is_for_us_found { self.ours } else { self.everybodys };
        Robots { sitemaps: self.sitemaps, ..robots }
    }
}

/// A path with `*` for any octets and a final `$` for the end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Between the stars; the first stands at the path's beginning.
    pieces: Vec<String>,
    is_to_the_end: bool,
    /// Length as written, by which the most specific rule wins.
    octets: usize,
}

impl Pattern {
    fn new(path: &str) -> Self {
        let (path, is_to_the_end) = path.strip_suffix('$').map_or((path, false), |start| (start, true));
        let canonical = canonical(path, Reserved::InPattern);
        Self {
            pieces: canonical.split('*').map(str::to_owned).collect(),
            is_to_the_end,
            octets: canonical.len() + usize::from(is_to_the_end),
        }
    }

    /// Takes each piece at its first place after the one before, and the last one at the end if it must be there.
    /// Never goes back, so that a hostile pattern costs one pass over the path.
    fn matches(&self, path: &str) -> bool {
        let Some((first, others)) = self.pieces.split_first() else { return false };
        let Some(mut rest) = path.strip_prefix(first.as_str()) else { return false };
        let Some((last, between)) = others.split_last() else { return !self.is_to_the_end || rest.is_empty() };
        for piece in between {
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        if self.is_to_the_end { rest.ends_with(last.as_str()) } else { rest.contains(last.as_str()) }
    }
}

/// What `*` and `$` are in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserved {
    /// Ordinary octets; a pattern says them as `%2A` and `%24` (RFC 9309 §2.2.3).
    InPath,
    /// `*` is a wildcard; a `$` that isn't last is ordinary.
    InPattern,
}

/// The text with unreserved octets decoded and all others that need it as upper-case escapes (RFC 9309 §2.2.2).
fn canonical(text: &str, reserved: Reserved) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'%' | b'$' | b'*');
    if text.bytes().all(is_plain) {
        // Nothing is escaped and nothing needs to be.
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 16);
    let mut at = 0;
    let mut is_in_query = false;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => match bytes.get(at..at + 2).and_then(escaped) {
                Some(octet) => {
                    at += 2;
                    let is_unreserved = octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~');
                    // The RFC's table takes `?u=https://` and `?u=https%3A%2F%2F` for the same.
                    let is_free_in_query = is_in_query && b":/?@!'(),;".contains(&octet);
                    if is_unreserved || is_free_in_query {
                        out.push(char::from(octet));
                    } else {
                        push_escape(&mut out, octet);
                    }
                }
                None => out.push('%'),
            },
            b'*' if reserved == Reserved::InPattern => out.push('*'),
            byte if is_plain(byte) => {
                is_in_query |= byte == b'?';
                out.push(char::from(byte));
            }
            byte => push_escape(&mut out, byte),
        }
    }
    Cow::Owned(out)
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match digits {
        &[high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

fn push_escape(out: &mut String, octet: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(octet >> 4)]));
    out.push(char::from(HEX[usize::from(octet & 0xf)]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(robots: &str, allowed: &[&str], disallowed: &[&str]) {
        let parsed = Robots::parse(robots.as_bytes());
        for path in allowed {
            assert!(parsed.allows(path), "{path} should be allowed by\n{robots}");
        }
        for path in disallowed {
            assert!(!parsed.allows(path), "{path} should be disallowed by\n{robots}");
        }
    }

    #[test]
    fn groups_are_chosen_by_product_token() {
        // RFC 9309 §2.2.1 and the first example of §5.
        let robots = "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\
            User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\nAllow:/example/allowed.gif\n\
            User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\
            User-Agent: quxbot\n";
        check(robots, &["/", "/publications/x", "/a.gif?x"], &["/a.gif", "/example/", "/example/page.html"]);
        let as_us = |other: &str| robots.replace(other, "buLAQ/0.1");
        check(&as_us("foobot"), &["/example/page.html", "/example/allowed.gif", "/robots.txt"], &["/", "/a.gif"]);
        check(&as_us("barbot"), &["/", "/a.gif", "/example/"], &["/example/page.html"]);
        check(&as_us("bazbot"), &["/", "/a.gif", "/example/"], &["/example/page.html"]);
        check(&as_us("quxbot"), &["/", "/a.gif", "/example/page.html"], &[]); // a group without rules: all is allowed
    }

    #[test]
    fn groups_for_us_are_one() {
        check(
            "User-agent: Bulaq\nDisallow: /a\n\nUser-agent: x\nDisallow: /\n\nUser-agent: bulaq\nDisallow: /b",
            &["/c"],
            &["/a", "/b"],
        );
        check("User-agent: Bulaq\nUser-agent: *\nDisallow: /a\nUser-agent: *\nDisallow: /b", &["/b"], &["/a"]);
        check("User-agent: *\nUser-agent: Bulaq\nDisallow: /a\nUser-agent: *\nDisallow: /b", &["/b"], &["/a"]);
        check("User-agent: Bulaqbot\nDisallow: /\nUser-agent: Bul\nDisallow: /", &["/a"], &[]);
        check("User-agent: *\nSitemap: http://a.kz/s\nDisallow: /a", &["/b"], &["/a"]); // a sitemap ends no group
        check("Disallow: /a", &["/a"], &[]); // a rule before any group is nobody's
    }

    #[test]
    fn the_longest_match_decides() {
        // RFC 9309 §2.2.2 and the second example of §5.
        let robots = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
            .replace("foobot", "*");
        check(&robots, &["/example/page/", "/example/page/x"], &["/example/page/disallowed.gif"]);
        for (rules, allowed, disallowed) in [
            ("Allow: /p\nDisallow: /", &["/page"][..], &["/x"][..]),
            ("Allow: /folder\nDisallow: /folder", &["/folder/page"], &[]),
            ("Disallow: /folder\nAllow: /folder", &["/folder/page"], &[]),
            ("Allow: /page\nDisallow: /*.htm", &["/page"], &["/page.htm"]),
            ("Allow: /$\nDisallow: /", &["/"], &["/page.htm"]),
            ("Disallow: /", &["/robots.txt"], &["/", "/robots.txt?x"]),
            ("Disallow:", &["/"], &[]),
            ("Disallow: x", &["/x", "/"], &[]),
            ("Disallow: /x # why", &["/"], &["/x"]),
            ("DISALLOW : /x", &["/"], &["/x"]),
            ("Disallow: /X", &["/x"], &["/X"]), // paths know case
            ("Disallow: /?q=", &["/?p=1"], &["/?q=1"]),
        ] {
            check(&format!("User-agent: *\n{rules}"), allowed, disallowed);
        }
    }

    #[test]
    fn stars_and_the_end_match_as_the_rfc_says() {
        // RFC 9309 §2.2.3
        for (pattern, matched, not_matched) in [
            (
                "/fish",
                &["/fish", "/fish.html", "/fish/salmon", "/fishheads"][..],
                &["/Fish.asp", "/catfish", "/desert/fish"][..],
            ),
            ("/fish*", &["/fish", "/fish.html"], &["/catfish"]),
            ("/fish/", &["/fish/", "/fish/?id=1"], &["/fish", "/fish.html"]),
            ("/*.php", &["/index.php", "/folder/any.php?x", "/.php"], &["/", "/windows.PHP"]),
            ("/*.php$", &["/index.php", "/a.php/b.php"], &["/index.php?x", "/index.php/", "/index.php5"]),
            ("/fish*.php", &["/fish.php", "/fishheads/catfish.php?x"], &["/Fish.PHP"]),
            ("*/b", &["/a/b", "/b"], &["/a"]),
            ("/a**b", &["/ab", "/axb"], &["/a"]),
            ("/a*$", &["/a", "/abc"], &["/b"]),
            (
                "/path/file-with-a-%2A.html",
                &["/path/file-with-a-*.html", "/path/file-with-a-%2a.html"],
                &["/path/file-with-a-x.html"],
            ),
            ("/foo-%24", &["/foo-$", "/foo-%24x"], &["/foo-"]),
            ("/a$b", &["/a$b"], &["/a"]),
            ("/aba*aba$", &["/abaaba", "/abaxaba"], &["/aba", "/ababa"]),
        ] {
            check(&format!("User-agent: *\nDisallow: {pattern}"), not_matched, matched);
        }
    }

    #[test]
    fn escapes_are_compared_in_one_spelling() {
        // The table of RFC 9309 §2.2.2, and Cyrillic as people write it.
        for (pattern, path) in [
            ("/foo/bar?baz=quz", "/foo/bar?baz=quz"),
            ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar"),
            ("/foo/bar/\u{30C4}", "/foo/bar/%E3%83%84"),
            ("/foo/bar/%E3%83%84", "/foo/bar/%e3%83%84"),
            ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
            ("/сабақ/", "/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B/1"),
            ("/100%", "/100%"),
        ] {
            let robots = Robots::parse(format!("User-agent: *\nDisallow: {pattern}").as_bytes());
            assert!(!robots.allows(path), "{pattern} {path}");
        }
    }

    #[test]
    fn line_ends_marks_and_rubbish_are_taken_as_they_come() {
        for robots in [
            "\u{feff}User-agent: *\nDisallow: /a",
            "User-agent: *\r\nDisallow: /a\r\n",
            "User-agent: *\rDisallow: /a",
            "  user-agent :*  \n\n\n  disallow:/a  #",
            "<html>\nUser-agent: *\nno colon\n: \nDisallow: /a\nHost: x",
        ] {
            check(robots, &["/b"], &["/a"]);
        }
        let bytes = [b"\xff\xfe\n".as_slice(), b"User-agent: *\nDisallow: /a"].concat();
        assert!(!Robots::parse(&bytes).allows("/a"));
        assert!(Robots::parse(b"").allows("/"));
    }

    #[test]
    fn delay_and_sitemaps_are_read() {
        let robots = Robots::parse(
            b"Sitemap: http://a.kz/1\nUser-agent: *\nCrawl-delay: 2.5\nSITEMAP: /2\nUser-agent: x\nCrawl-delay: 9",
        );
        assert_eq!(robots.crawl_delay(), Some(Duration::from_millis(2500)));
        assert_eq!(robots.sitemaps(), ["http://a.kz/1", "/2"]);
        for (asked, granted) in
            [("86400", Some(CRAWL_DELAY_MAX)), ("0", Some(Duration::ZERO)), ("-1", None), ("NaN", None), ("x", None)]
        {
            let robots = Robots::parse(format!("User-agent: *\nCrawl-delay: {asked}").as_bytes());
            assert_eq!(robots.crawl_delay(), granted, "{asked}");
        }
    }

    #[test]
    fn the_two_extremes() {
        assert!(Robots::allow_all().allows("/x"));
        assert!(!Robots::disallow_all().allows("/x"));
        assert!(Robots::disallow_all().allows("/robots.txt"));
    }

    #[test]
    fn hostile_patterns_cost_one_pass() {
        let stars = format!("User-agent: *\nDisallow: /{}b$\nDisallow: /{}", "*a".repeat(4000), "a*".repeat(4000));
        let robots = Robots::parse(stars.as_bytes());
        let path = format!("/{}", "a".repeat(7900));
        let begun = std::time::Instant::now();
        for _ in 0..100 {
            assert!(!robots.allows(&path));
        }
        // A matcher that goes back needs longer than the universe is old.
        assert!(begun.elapsed() < Duration::from_secs(60));
        let many = format!("User-agent: *\n{}", "Disallow: /x\n".repeat(100_000));
        assert!(Robots::parse(many.as_bytes()).rules.len() <= RULES_MAX);
        let long = format!("User-agent: *\n{}\nDisallow: /a", "#".repeat(ROBOTS_BYTES_MAX));
        assert!(Robots::parse(long.as_bytes()).allows("/a"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_robots_txt(bytes in prop::collection::vec(any::<u8>(), 0..300), path in "/.{0,40}") {
            let _ = Robots::parse(&bytes).allows(&path);
        }

        #[test]
        fn a_pattern_without_wildcards_is_a_prefix(pattern in "/[a-z/]{0,6}", path in "/[a-z/]{0,9}") {
            let robots = Robots::parse(format!("User-agent: *\nDisallow: {pattern}").as_bytes());
            prop_assert_eq!(robots.allows(&path), !path.starts_with(&pattern));
        }
    }
}
