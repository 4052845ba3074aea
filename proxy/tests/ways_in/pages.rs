//! The box's own pages on devices: the start page's mark, and `/check`.

use super::boxed::OUR_CA;
use super::chromium::{Chromium, Visit};
use super::net::{BOX, Machine, RESOLVER};
use super::web::{LESSON, PUBLIC_CA};
use super::{BY_PROXY, School, assert_learns, url};

/// Waits for the page's script to have found out everything; what the device's user would read to the technician.
const CODE: &str = "(async () => { const list = document.getElementById('findings'); \
                    if (list.hasAttribute('aria-busy')) await new Promise((done) => \
                    new MutationObserver(done).observe(list, { attributes: true })); \
                    return document.getElementById('code').textContent; })()";

/// Waits for the mark; what stands beside it.
const TOLD: &str = "(async () => { const told = document.getElementById('told'); \
                    if (told.textContent === '') await new Promise((done) => \
                    new MutationObserver(done).observe(told, { childList: true })); return told.textContent; })()";

/// What must hold of a page at every width: its language, and nothing wider than the window.
const FITS: &str = "[document.documentElement.lang, document.documentElement.scrollWidth <= innerWidth + 1, \
                    [...document.querySelectorAll('.told')].every((told) => told.textContent !== '')].join()";

/// A browser on a device that is in no managed network; with or without the district's root.
fn browser(school: &School, device: &Machine, name: &str, has_root: bool, more: &[&str]) -> Chromium {
    Chromium::start(device, &school.home(name, has_root), more)
}

/// Nothing of the page broke its own policy or failed, but what `is_expected` names.
fn assert_quiet(visit: &Visit, is_expected: impl Fn(&str) -> bool) {
    assert_eq!(visit.error, None, "{visit:?}");
    let bad: Vec<_> = visit.failed.iter().filter(|failed| !is_expected(failed)).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn the_start_page_shows_who_trusts_the_district() {
    let mut school = School::open("");
    let device = school.pointed_to_the_box(false);
    let mut browser = browser(&school, &device, "with-root", true, &[]);
    let lesson = url(LESSON, "/lesson/1");
    assert_learns("not yet known", &browser.visit(&lesson), PUBLIC_CA);
    for start in ["http://bulaq.internal/en/", "https://bulaq.internal/en/"] {
        let visit = browser.visit(start);
        assert_quiet(&visit, |_| false);
        let mark = visit.loaded.iter().find(|loaded| loaded.url == "https://check.bulaq.internal/mark.svg");
        assert!(mark.is_some_and(|mark| mark.issuer.starts_with(OUR_CA)), "{visit:?}");
        assert!(browser.run(TOLD).starts_with("This device trusts the district's certificate"));
    }
    assert!(school.bulaq.count("terminated-own") >= 1, "{}", school.bulaq.command(&["status"]));
    // A browser keeps connections; another one of the same device opens new ones.
    let mut other = self::browser(&school, &device, "with-root-too", true, &[]);
    assert_learns("proved", &other.visit(&lesson), OUR_CA);
}

#[test]
fn a_device_finds_out_how_it_reaches_the_box() {
    let mut school = School::open("");
    let (by_name, by_proxy) = (school.pointed_to_the_box(false), school.town.device(RESOLVER, false));
    let astray = school.town.device(RESOLVER, false);
    let without_root = |failed: &str| failed.contains("ERR_CERT_AUTHORITY_INVALID");
    let by_address = format!("http://{BOX}");
    // What a browser says of a name that does not exist, and of a site that has no such page.
    let is_lost = |failed: &str| !failed.contains("Content Security Policy");
    type Expected<'a> = &'a dyn Fn(&str) -> bool;
    let cases: [(&str, &Machine, bool, &[&str], &str, &str, Expected<'_>); 4] = [
        ("trusts", &by_name, true, &[], "http://bulaq.internal", "N1 T1 L1:2/2 C1 W1d", &|_| false),
        ("lacks-the-root", &by_name, false, &[], &by_address, "N1 T0 L1:2/2 C1 W1d", &without_root),
        ("proxy", &by_proxy, true, &[BY_PROXY], "http://bulaq.internal", "N1 T1 L1:2/2 C1 W1p", &|_| false),
        ("astray", &astray, true, &[], &by_address, "N0 Tx Lx:0/2 C1 W1d", &is_lost),
    ];
    for (name, device, has_root, more, address, code, is_expected) in cases {
        let mut browser = browser(&school, device, name, has_root, more);
        for (language, width) in [("kk", 360), ("ru", 1200), ("en", 360), ("kk", 1200)] {
            browser.resize(width);
            let visit = browser.visit(&format!("{address}/{language}/check/"));
            assert_quiet(&visit, is_expected);
            assert_eq!(browser.run(CODE), code, "{name}, {language}");
            assert_eq!(browser.run(FITS), format!("{language},true,true"), "{name}, {width}");
        }
    }
}
