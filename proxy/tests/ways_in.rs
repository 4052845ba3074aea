//! Every way in, as devices meet it: real browsers, with and without the district's root, against the built box.
//!
//! A town of network namespaces stands for the Internet, the school and its devices, so that ports, addresses and
//! resolvers are the real ones. Wants root (for the namespaces), `ip`, Chromium, Firefox and `certutil`, and says what is
//! missing; `.ci/test` installs them. What is asserted is what a browser's own certificate viewer and network log say.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "one program in several files; a test that cannot go on stops"
)]

#[path = "ways_in/boxed.rs"]
mod boxed;
#[path = "ways_in/chromium.rs"]
mod chromium;
#[path = "ways_in/curl.rs"]
mod curl;
#[path = "ways_in/firefox.rs"]
mod firefox;
#[path = "ways_in/net.rs"]
mod net;
#[path = "ways_in/pages.rs"]
mod pages;
#[path = "ways_in/process.rs"]
mod process;
#[path = "ways_in/trust.rs"]
mod trust;
#[path = "ways_in/web.rs"]
mod web;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use boxed::{Boxed, OUR_CA};
use chromium::Chromium;
use firefox::Firefox;
use net::{BOX, Machine, RESOLVER, Town};
use web::{LESSON, MEDIA, PUBLIC_CA, SPLICED, UNLISTED, Web};

/// What stands in a query, and must stand nowhere else.
const SECRET: &str = "pupil-0417";

/// How a browser is told to use the box as its proxy.
const BY_PROXY: &str = "--proxy-server=http://10.77.0.1:3128";

/// A school with a box, and the Internet around it.
struct School {
    town: Town,
    web: Web,
    bulaq: Boxed,
    public_root: PathBuf,
    folder: TempDir,
}

impl School {
    /// `more` are further sections of the box's configuration.
    fn open(more: &str) -> Self {
        Self::open_with(more, |_, _| {})
    }

    /// The same, after `prepare` has written into the box's folder.
    fn open_with(more: &str, prepare: impl FnOnce(&Web, &Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let town = Town::new();
        let web = Web::start(&town.web);
        let public_root = web.write_root(folder.path());
        prepare(&web, folder.path());
        let bulaq = Boxed::start(&town.school, folder.path(), more);
        Self { town, web, bulaq, public_root, folder }
    }

    /// A file with both roots: whom a managed device trusts.
    fn roots(&self) -> PathBuf {
        let file = self.folder.path().join("roots.pem");
        let text = [&self.public_root, &self.bulaq.root()].map(|root| std::fs::read_to_string(root).unwrap());
        std::fs::write(&file, text.concat()).unwrap();
        file
    }

    /// A device whose DNS points the listed sites to the box.
    fn pointed_to_the_box(&mut self, is_managed: bool) -> Machine {
        let device = self.town.device(RESOLVER, is_managed);
        device.knows(&[LESSON, MEDIA, SPLICED, "bulaq.internal", "check.bulaq.internal"], BOX);
        device
    }

    /// A home of a browser that trusts what every browser does and, where it is managed, the district.
    fn home(&self, name: &str, is_managed: bool) -> PathBuf {
        let (home, ours) = (self.folder.path().join(name), self.bulaq.root());
        let roots: &[&Path] = if is_managed { &[&self.public_root, &ours] } else { &[&self.public_root] };
        trust::chromium(&home, roots);
        trust::store(&home, roots);
        home
    }
}

/// What a reader of the whole lesson sees.
fn whole_lesson() -> Value {
    json!({ "heading": "Круговорот воды", "colour": "rgb(0, 91, 142)", "picture": 64, "words": "су" })
}

fn url(host: &str, path: &str) -> String {
    format!("https://{host}{path}")
}

/// The lesson is whole, everything on it was signed by `issuer`, and nothing on it failed.
fn assert_learns(way: &str, visit: &chromium::Visit, issuer: &str) {
    assert_eq!((&visit.error, &visit.failed), (&None, &Vec::new()), "{way}: {visit:?}");
    assert_eq!(visit.lesson, whole_lesson(), "{way}: {visit:?}");
    assert!(visit.issuers().iter().all(|named| named.starts_with(issuer)), "{way}: {:?}", visit.issuers());
}

fn assert_learns_in_firefox(way: &str, visit: &firefox::Visit, issuer: &str) {
    assert_eq!(visit.error, None, "{way}: {visit:?}");
    assert_eq!(visit.lesson, whole_lesson(), "{way}: {visit:?}");
    assert!(visit.issuer.starts_with(issuer), "{way}: {visit:?}");
}

/// A browser on a device, by one way.
struct Reader {
    way: &'static str,
    browser: Chromium,
    /// Who signs what it is shown.
    issuer: &'static str,
}

impl Reader {
    fn learns(&mut self) {
        let visit = self.browser.visit(&url(LESSON, "/lesson/1"));
        assert_learns(self.way, &visit, self.issuer);
    }
}

#[test]
fn managed_devices_learn_with_the_site_down() {
    let mut school = School::open("");
    let (by_name, by_proxy) = (school.pointed_to_the_box(true), school.town.device(RESOLVER, true));
    let mut readers = [("DNS", &by_name, vec![]), ("proxy", &by_proxy, vec![BY_PROXY])].map(|(way, device, more)| {
        let browser = Chromium::start(device, &school.home(way, true), &more);
        Reader { way, browser, issuer: OUR_CA }
    });
    let mut firefox = Firefox::start(&by_name, &school.home("firefox", true), "");
    let lesson = url(LESSON, "/lesson/1");
    readers.iter_mut().for_each(Reader::learns);
    assert_learns_in_firefox("DNS", &firefox.visit(&lesson), OUR_CA);
    let asked = school.web.asked();
    assert_eq!(asked.iter().filter(|asked| asked.path == "/lesson/1").count(), 1, "one box, one request: {asked:?}");

    school.web.down();
    for reader in &mut readers {
        reader.learns();
        let missing = reader.browser.visit(&url(LESSON, "/never-seen"));
        let status = missing.loaded.first().map(|loaded| loaded.status);
        assert!(matches!(status, Some(502 | 503)), "a page of the box's says why: {missing:?}");
    }
    assert_learns_in_firefox("DNS", &firefox.visit(&lesson), OUR_CA);
    assert_eq!(school.web.asked().len(), 0);
    drop(firefox);
    let devices = [&by_name, &by_proxy];
    assert_nobody_is_named(school.bulaq.stop(), &devices);
}

/// A device that the box does not know is shown each site's own certificate and never ours, so that a site with HSTS
/// stays open to it. What the list lacks is refused before a certificate is shown.
#[test]
fn a_device_without_the_root_never_sees_our_certificate() {
    let mut school = School::open("");
    let (by_name, by_proxy) = (school.pointed_to_the_box(false), school.town.device(RESOLVER, false));
    by_name.knows(&[LESSON, MEDIA, SPLICED, UNLISTED], BOX);
    let ways = [("DNS", &by_name, vec![]), ("proxy", &by_proxy, vec![BY_PROXY])];
    for (way, device, more) in ways {
        let mut browser = Chromium::start(device, &school.home(way, false), &more);
        let visit = browser.visit(&url(SPLICED, "/"));
        assert_eq!((visit.error.as_deref(), visit.heading.as_str()), (None, SPLICED), "{way}: {visit:?}");
        assert_learns(way, &browser.visit(&url(LESSON, "/lesson/1")), PUBLIC_CA);
        // From here on the browser knows by HSTS that there is no way but https, and no way past a warning.
        let visit = browser.visit(&format!("http://{LESSON}/lesson/1"));
        assert_learns(way, &visit, PUBLIC_CA);
        let refused = browser.visit(&url(UNLISTED, "/")).error;
        assert!(refused.is_some(), "{way}: {UNLISTED} is on no list");
        assert_eq!(browser.close(), [PUBLIC_CA], "{way}: whoever signed what this browser was shown");
    }
    let mut firefox = Firefox::start(&by_name, &school.home("firefox", false), "");
    assert_learns_in_firefox("DNS", &firefox.visit(&url(LESSON, "/lesson/1")), PUBLIC_CA);
    assert!(firefox.visit(&url(UNLISTED, "/")).error.is_some());
    drop(firefox);
    assert!(school.web.asked().iter().all(|asked| asked.host != UNLISTED), "nothing was asked of {UNLISTED}");
    assert_eq!(school.bulaq.count("terminated-network") + school.bulaq.count("terminated-probe"), 0);
    assert!(school.bulaq.count("not-listed") >= 1 && school.bulaq.count("connect-not-listed") >= 1);
    assert_nobody_is_named(school.bulaq.stop(), &[&by_name, &by_proxy]);
}

/// The log at its most talkative names no device, and nothing of a query.
fn assert_nobody_is_named(log: Vec<String>, devices: &[&Machine]) {
    assert!(log.len() > 5, "a log at level debug: {log:?}");
    for line in log {
        for device in devices {
            assert!(!line.contains(&device.address().to_string()), "a device is named: {line}");
        }
        assert!(!line.contains(SECRET), "a query is named: {line}");
    }
}

/// An app that pins its site's key, on a device that trusts the district: it works where the list splices, and after one
/// failure everywhere.
#[test]
fn a_pinned_client_works_after_one_failure() {
    let mut school = School::open("");
    let device = school.pointed_to_the_box(true);
    let roots = school.roots();
    let app = |host: &str| {
        let (pin, url) = (school.web.pin(host), url(host, &format!("/who?{SECRET}")));
        curl::get(&device, &roots, &url, &["--pinnedpubkey", pin])
    };
    let page = |host: &str| format!("the page of {host}\n200 2");
    assert_eq!(app(SPLICED).said, page(SPLICED));
    let first = app(LESSON);
    assert!(!first.is_well && first.said.contains("pinned public key"), "{first:?}");
    assert_eq!(app(LESSON).said, page(LESSON), "the device is left alone with this site from now on");
    assert_eq!(app(LESSON).said, page(LESSON));
    // A browser of the same device still has the other host of the site from the box.
    let other = curl::get(&device, &roots, &url(MEDIA, "/words.json"), &[]);
    assert!(other.is_well, "{other:?}");
    assert_eq!(school.bulaq.count("spliced-after-refusal"), 2);
    assert_eq!(school.bulaq.count("certificate-closed") + school.bulaq.count("certificate-refused"), 1);
    let log = school.bulaq.stop();
    assert!(
        log.iter().any(|line| line.contains("passed through") && line.contains(LESSON)),
        "the log says so: {log:?}"
    );
    assert_nobody_is_named(log, &[&device]);
}

/// One connection speaks for one host: a request for another is sent back to the client, who opens its own.
#[test]
fn a_request_for_another_host_is_misdirected() {
    let mut school = School::open("");
    let device = school.pointed_to_the_box(true);
    let roots = school.roots();
    for version in ["--http1.1", "--http2"] {
        let own = curl::get(&device, &roots, &url(LESSON, "/who"), &[version]);
        assert!(own.said.starts_with("the page of lesson.example.kz\n200"), "{version}: {own:?}");
        for other in [MEDIA, SPLICED, UNLISTED] {
            let asked = curl::get(&device, &roots, &url(LESSON, "/who"), &[version, "-H", &format!("Host: {other}")]);
            assert!(asked.said.contains("\n421 "), "{version}, {other}: {asked:?}");
        }
    }
    assert!(school.web.asked().iter().all(|asked| asked.host == LESSON));
}

/// A certificate for several names, at one address, is what lets a browser send the requests for all of them over one
/// HTTP/2 connection. What it gets is right all the same.
#[test]
fn a_browser_that_joins_connections_gets_what_it_asked_for() {
    let section =
        |host: &str| format!("[tls.certificates.\"{host}\"]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n");
    let mut school = School::open_with(&(section(LESSON) + &section(MEDIA)), |web, folder| {
        let (certificate, key) = web.certificate(&[LESSON, MEDIA]);
        std::fs::write(folder.join("site.pem"), certificate).unwrap();
        process::write_secret(&folder.join("site.key"), &key);
    });
    let device = school.pointed_to_the_box(true);
    let mut browser = Chromium::start(&device, &school.home("chromium", true), &[]);
    for _ in 0..2 {
        assert_learns("joined", &browser.visit(&url(LESSON, "/lesson/1")), PUBLIC_CA);
    }
    assert!(school.bulaq.count("terminated-network") >= 1, "the box answered with its operator's certificate");
}
