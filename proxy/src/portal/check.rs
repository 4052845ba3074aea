//! `/check`: how this device reaches the box, found out by the device itself.
//!
//! The page has the questions and every sentence; a small script of the box's own asks and fills in. Without the script
//! two marks and the advice remain. Nothing about the device is kept or sent anywhere.

use askama::Template;
use bulaq_allowlist::{Allowlist, HostEntry, HostPattern, export};
use bytes::Bytes;
use http::{Response, StatusCode};

use super::check_words as said;
use super::words::{self, Said};
use super::{Language, pages, sheet, start};

/// Lesson sites that a device is asked to reach. Each is one small request; more would tell no more.
pub const HOSTS_MAX: usize = 8;

/// Which language of the page a path at the box's own address asks for; none when it is another page.
pub fn page_at(path: &str, accept_language: Option<&str>) -> Option<Language> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let before = path.strip_suffix("/check")?;
    if before.ends_with('/') {
        return None;
    }
    if before.is_empty() { start::page_at("/", accept_language) } else { start::page_at(before, accept_language) }
}

/// One host of each of the first sites: what a device on this list would open. Hosts that pages of other sites use too
/// don't lead to the box, so nobody is asked for them.
pub fn hosts_of(list: &Allowlist) -> Vec<String> {
    let first = |site: &std::sync::Arc<bulaq_allowlist::Site>| {
        let is_exact = |entry: &&HostEntry| matches!(entry.pattern(), HostPattern::Exact(_));
        let exact = site.hosts().iter().filter(is_exact).find(|entry| export::leads(list, entry.host()));
        exact.map(|entry| entry.host().to_string())
    };
    list.sites().iter().filter_map(first).take(HOSTS_MAX).collect()
}

/// 200: the page.
pub fn check(hosts: &[String], language: Language) -> Response<Bytes> {
    #[derive(Template)]
    #[template(path = "portal/check.html")]
    struct Check {
        language: Language,
        hosts: String,
        rows: [Row<&'static str>; 5],
    }
    let page = Check { language, hosts: hosts.join(" "), rows: ROWS.map(|row| row.told(language)) };
    let mut response = pages::finish(StatusCode::OK, language, &page);
    response.headers_mut().insert(http::header::CONTENT_SECURITY_POLICY, sheet::policy_asking(hosts));
    response
}

/// One question and the sentences that may answer it.
struct Row<S> {
    id: &'static str,
    letter: &'static str,
    title: S,
    good: S,
    bad: S,
    open: S,
}

impl Row<Said> {
    fn told(self, language: Language) -> Row<&'static str> {
        let Self { id, letter, title, good, bad, open } = self;
        let [title, good, bad, open] = [title, good, bad, open].map(|said| language.says(said));
        Row { id, letter, title, good, bad, open }
    }
}

/// The questions, in the order in which they are told.
const ROWS: [Row<Said>; 5] = [
    Row {
        id: "name",
        letter: "N",
        title: said::NAME,
        good: said::NAME_GOOD,
        bad: said::NAME_BAD,
        open: said::NAME_OPEN,
    },
    Row {
        id: "trust",
        letter: "T",
        title: said::TRUST,
        good: words::TRUSTS,
        bad: words::PASSES_THROUGH,
        open: said::TRUST_OPEN,
    },
    Row {
        id: "lessons",
        letter: "L",
        title: said::LESSONS,
        good: said::LESSONS_GOOD,
        bad: said::LESSONS_SOME,
        open: said::LESSONS_OPEN,
    },
    Row {
        id: "clock",
        letter: "C",
        title: said::CLOCK,
        good: said::CLOCK_GOOD,
        bad: said::CLOCK_BAD,
        open: said::NO_ANSWER,
    },
    Row {
        id: "way",
        letter: "W",
        title: said::WAY,
        good: said::WAY_DIRECT,
        bad: said::NO_ANSWER,
        open: said::NO_ANSWER,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(language: Language) -> String {
        let response = check(&["bilimland.kz".to_owned(), "kitap.kz".to_owned()], language);
        String::from_utf8(response.into_body().to_vec()).unwrap()
    }

    #[test]
    fn the_path_or_the_browser_chooses_the_language() {
        for (path, asked, wanted) in [
            ("/check", Some("ru"), Some(Language::Russian)),
            ("/check/", None, Some(Language::Kazakh)),
            ("/en/check/", Some("ru"), Some(Language::English)),
            ("/en/check", None, Some(Language::English)),
            ("/de/check/", None, None),
            ("//check", None, None),
            ("/en//check", None, None),
            ("/check/x", None, None),
            ("/check//", None, None),
            ("/", None, None),
        ] {
            assert_eq!(page_at(path, asked), wanted, "{path}");
        }
    }

    #[test]
    fn every_question_has_its_sentences_in_three_languages() {
        let pages = Language::ALL.map(text);
        for page in &pages {
            for row in &ROWS {
                assert!(page.contains(&format!("id=\"{}\"", row.id)), "{}", row.id);
            }
            assert!(page.contains("data-hosts=\"bilimland.kz kitap.kz\"") && page.contains("<noscript>"));
            assert!(!page.contains("style=\"") && !page.contains("onclick") && !page.contains("<script>"));
        }
        assert!(
            pages[0].contains("Бұл құрылғы") && pages[1].contains("Это устройство") && pages[2].contains("This device")
        );
    }

    #[test]
    fn the_policy_admits_the_questions_and_no_more() {
        let response = check(&["bilimland.kz".to_owned()], Language::English);
        let policy = response.headers()[http::header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self' http://check.bulaq.internal https://check.bulaq.internal http://bilimland.kz;",
            "img-src data: http://check.bulaq.internal https://check.bulaq.internal",
        ] {
            assert!(policy.contains(part), "{policy}: {part}");
        }
        assert!(!policy.contains("unsafe"));
    }

    #[test]
    fn one_host_of_each_site_is_asked() {
        let site = |n: usize| format!("[[site]]\nname = \"s{n}\"\nhosts = [\"*.w{n}.kz\", \"s{n}.kz\", \"t{n}.kz\"]\n");
        let text: String = (0..20).map(site).collect();
        let hosts = hosts_of(&Allowlist::parse("list.toml", &text).unwrap().allowlist);
        assert_eq!(hosts.len(), HOSTS_MAX);
        assert_eq!(hosts[0], "s0.kz");
    }

    #[test]
    fn hosts_that_stay_outside_the_box_are_not_asked() {
        let text = "[[site]]\nname = \"a\"\nhosts = [\"fonts.gstatic.com\", \"a.kz\"]\n\
                    [[site]]\nname = \"b\"\nhosts = [\"fonts.googleapis.com\"]\n";
        assert_eq!(hosts_of(&Allowlist::parse("list.toml", text).unwrap().allowlist), ["a.kz"]);
    }
}
