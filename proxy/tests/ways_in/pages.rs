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

/// A device, the address at which it opens the page, the code that it must show, and what may fail on the page.
struct Case<'a> {
    name: &'a str,
    device: &'a Machine,
    has_root: bool,
    more: &'a [&'a str],
    address: &'a str,
    code: &'a str,
    is_expected: &'a dyn Fn(&str) -> bool,
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
    let cases = [
        Case {
            name: "trusts",
            device: &by_name,
            has_root: true,
            more: &[],
            address: "http://bulaq.internal",
            code: "N1 T1 L1:2/2 C1 W1d",
            is_expected: &|_| false,
        },
        Case {
            name: "lacks-the-root",
            device: &by_name,
            has_root: false,
            more: &[],
            address: &by_address,
            code: "N1 T0 L1:2/2 C1 W1d",
            is_expected: &without_root,
        },
        Case {
            name: "proxy",
            device: &by_proxy,
            has_root: true,
            more: &[BY_PROXY],
            address: "http://bulaq.internal",
            code: "N1 T1 L1:2/2 C1 W1p",
            is_expected: &|_| false,
        },
        Case {
            name: "astray",
            device: &astray,
            has_root: true,
            more: &[],
            address: &by_address,
            code: "N0 Tx Lx:0/2 C1 W1d",
            is_expected: &is_lost,
        },
    ];
    for Case { name, device, has_root, more, address, code, is_expected } in cases {
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
