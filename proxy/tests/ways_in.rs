//! Every way in, as devices meet it: real browsers, with and without the district's root, against the built box.
//!
//! A town of network namespaces stands for the Internet, the school and its devices, so that ports, addresses and
//! resolvers are the real ones. Wants root (for the namespaces), `ip`, Chromium, Firefox and `certutil`, and says what is
//! missing; `.ci/test` installs them. What is asserted is what a browser's own certificate viewer and network log say.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "one program in several files; a test that cannot go on stops")]

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

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

use boxed::{Boxed, OUR_CA};
use chromium::Chromium;
use firefox::Firefox;
use net::{BOX, Machine, RESOLVER, Town, WEB};
use web::{LESSON, MEDIA, PUBLIC_CA, SPLICED, UNLISTED, Web};

/// What stands in a query, and must stand nowhere else.
const SECRET: &str = "pupil-0417";

/// The domain of the school's gateway.
const GATEWAY: &str = "lessons.school.example";

/// How a browser is told to use the box as its proxy.
const BY_PROXY: &str = "--proxy-server=http://10.77.0.1:3128";

/// The same by the file that the box makes.
const BY_PAC: &str = "--proxy-pac-url=http://10.77.0.1/proxy.pac";
const BY_PAC_IN_FIREFOX: &str = "user_pref(\"network.proxy.type\", 2);\n\
    user_pref(\"network.proxy.autoconfig_url\", \"http://10.77.0.1/proxy.pac\");\n";

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

    /// A device that asks the box for addresses.
    fn pointed_to_the_box(&mut self, is_managed: bool) -> Machine {
        self.town.device(BOX, is_managed)
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
    /// Whose address it sees.
    address: Ipv4Addr,
    device: Machine,
}

impl Reader {
    fn learns(&mut self) {
        let visit = self.browser.visit(&url(LESSON, "/lesson/1"));
        assert_learns(self.way, &visit, self.issuer);
        let address = self.address.to_string();
        // By a proxy a browser tells its address with the port.
        assert!(visit.loaded.iter().all(|loaded| loaded.address.starts_with(&address)), "{}: {visit:?}", self.way);
    }
}

#[test]
fn managed_devices_learn_with_the_site_down() {
    let mut school = School::open("");
    school.bulaq.route();
    let device = |school: &mut School, resolver| school.town.device(resolver, true);
    let ways = [
        ("DNS", school.pointed_to_the_box(true), vec![], BOX),
        ("PAC", device(&mut school, RESOLVER), vec![BY_PAC], BOX),
        ("router", device(&mut school, RESOLVER), vec![], WEB),
    ];
    let mut readers = ways.map(|(way, device, more, address)| {
        let browser = Chromium::start(&device, &school.home(way, true), &more);
        Reader { way, browser, issuer: OUR_CA, address, device }
    });
    readers.iter_mut().for_each(Reader::learns);
    let asked = school.web.asked();
    assert_eq!(asked.iter().filter(|asked| asked.path == "/lesson/1").count(), 1, "one box, one request: {asked:?}");

    school.web.down();
    for reader in &mut readers {
        reader.learns();
        let missing = reader.browser.visit(&url(LESSON, "/never-seen"));
        let status = missing.loaded.first().map(|loaded| loaded.status);
        assert!(matches!(status, Some(502 | 503)), "a page of the box's says why: {missing:?}");
    }
    assert_eq!(school.web.asked().len(), 0);
    let devices: Vec<_> = readers.iter().map(|reader| &reader.device).collect();
    assert_nobody_is_named(school.bulaq.stop(), &devices);
}

#[test]
fn firefox_learns_with_the_site_down() {
    let mut school = School::open("");
    school.bulaq.route();
    let ways = [
        ("DNS", school.pointed_to_the_box(true), ""),
        ("PAC", school.town.device(RESOLVER, true), BY_PAC_IN_FIREFOX),
        ("router", school.town.device(RESOLVER, true), ""),
    ];
    let lesson = url(LESSON, "/lesson/1");
    let mut readers = ways.map(|(way, device, prefs)| {
        let mut browser = Firefox::start(&device, &school.home(way, true), prefs);
        assert_learns_in_firefox(way, &browser.visit(&lesson), OUR_CA);
        (way, browser, device)
    });
    school.web.asked();
    school.web.down();
    for (way, browser, _) in &mut readers {
        assert_learns_in_firefox(way, &browser.visit(&lesson), OUR_CA);
    }
    assert_eq!(school.web.asked().len(), 0);
}

/// A device that the box does not know is shown each site's own certificate and never ours, so that a site with HSTS
/// stays open to it. What the list lacks is refused before a certificate is shown.
#[test]
fn a_device_without_the_root_never_sees_our_certificate() {
    let mut school = School::open("");
    let (by_name, by_proxy) = (school.pointed_to_the_box(false), school.town.device(RESOLVER, false));
    by_name.knows(&[UNLISTED], BOX);
    let by_pac = school.town.device(RESOLVER, false);
    let by_router = school.town.device(RESOLVER, false);
    let ways = [
        ("DNS", &by_name, vec![]),
        ("proxy", &by_proxy, vec![BY_PROXY]),
        ("PAC", &by_pac, vec![BY_PAC]),
        ("router", &by_router, vec![]),
    ];
    for (way, device, more) in ways {
        if way == "router" {
            // Not before: from then on what is at a listed site's address is the box's to refuse.
            school.bulaq.route();
        }
        let mut browser = Chromium::start(device, &school.home(way, false), &more);
        let visit = browser.visit(&url(SPLICED, "/"));
        assert_eq!((visit.error.as_deref(), visit.heading.as_str()), (None, SPLICED), "{way}: {visit:?}");
        assert_learns(way, &browser.visit(&url(LESSON, "/lesson/1")), PUBLIC_CA);
        // From here on the browser knows by HSTS that there is no way but https, and no way past a warning.
        let visit = browser.visit(&format!("http://{LESSON}/lesson/1"));
        assert_learns(way, &visit, PUBLIC_CA);
        let unlisted = browser.visit(&url(UNLISTED, "/"));
        if way == "PAC" {
            assert_eq!(unlisted.heading, UNLISTED, "the file leaves to others what is not the box's: {unlisted:?}");
        } else {
            assert!(unlisted.error.is_some(), "{way}: {UNLISTED} is on no list");
        }
        assert_eq!(browser.close(), [PUBLIC_CA], "{way}: whoever signed what this browser was shown");
    }
    let mut firefox = Firefox::start(&by_name, &school.home("firefox", false), "");
    assert_learns_in_firefox("DNS", &firefox.visit(&url(LESSON, "/lesson/1")), PUBLIC_CA);
    assert!(firefox.visit(&url(UNLISTED, "/")).error.is_some());
    drop(firefox);
    let past_the_box = school.web.asked().iter().filter(|asked| asked.host == UNLISTED && asked.path == "/").count();
    assert_eq!(past_the_box, 1, "{UNLISTED} was asked by the device that the PAC file sent there, and by no other");
    assert_eq!(school.bulaq.count("terminated-network") + school.bulaq.count("terminated-probe"), 0);
    assert!(school.bulaq.count("not-listed") >= 1 && school.bulaq.count("connect-not-listed") >= 1);
    assert_nobody_is_named(school.bulaq.stop(), &[&by_name, &by_proxy, &by_pac, &by_router]);
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

/// A thief has the box's own key and intermediate, and makes what certificates they like with it. Browsers that trust the
/// district take the one for a lesson, and none for another name, a name above, or an address.
#[test]
fn a_stolen_intermediate_vouches_for_lessons_alone() {
    let mut school = School::open("");
    let stolen = school.bulaq.stolen();
    let certificate = CertificateDer::from_pem_slice(stolen.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(stolen.as_bytes()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::try_from(&key).unwrap()).unwrap();
    let device = school.town.device(RESOLVER, true);
    let mut hosts = Vec::new();
    let mut sites = Vec::new();
    for (number, (host, names, is_taken)) in (100..).zip([
        (LESSON, vec![LESSON], true),
        ("new.lesson.example.kz", vec!["new.lesson.example.kz"], true),
        (UNLISTED, vec![UNLISTED], false),
        ("www.games.example.kz", vec!["*.games.example.kz"], false),
        ("any.example.kz", vec![LESSON, "*.example.kz"], false),
        ("84.23.10.105", vec!["84.23.10.105"], false),
    ]) {
        let address = Ipv4Addr::new(84, 23, 10, number);
        school.town.web.ip(&format!("address add {address}/24 dev wan"));
        let key = KeyPair::generate().unwrap();
        let mut params = web::leaf_params(&names);
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let chain = vec![leaf.der().clone(), certificate.clone()];
        school.web.pretend(net::at(address, 443), web::shows(chain, &key));
        hosts.push((address, host));
        sites.push((host, is_taken));
    }
    device.knows_each(&hosts);
    let mut chromium = Chromium::start(&device, &school.home("chromium", true), &[]);
    let mut firefox = Firefox::start(&device, &school.home("firefox", true), "");
    for (host, is_taken) in sites {
        let visit = chromium.visit(&url(host, "/"));
        assert_eq!(visit.error.is_none() && visit.heading == host, is_taken, "Chromium, {host}: {visit:?}");
        assert!(is_taken || visit.error.is_some_and(|error| error.contains("CERT")), "Chromium, {host}");
        let visit = firefox.visit(&url(host, "/"));
        assert_eq!(visit.error.is_none() && visit.heading == host, is_taken, "Firefox, {host}: {visit:?}");
    }
}

/// A phone that was given the root by hand shows it by the start page, and has its lessons from the box from then on.
#[test]
fn a_device_proves_its_trust_by_the_start_page() {
    let mut school = School::open("");
    let (with, without) = (school.pointed_to_the_box(false), school.pointed_to_the_box(false));
    for (name, device, has_root, before, after) in
        [("with", &with, true, PUBLIC_CA, OUR_CA), ("without", &without, false, PUBLIC_CA, PUBLIC_CA)]
    {
        let mut browser = Chromium::start(device, &school.home(name, has_root), &[]);
        assert_learns(name, &browser.visit(&url(LESSON, "/lesson/1")), before);
        let start = browser.visit("http://bulaq.internal/");
        assert_eq!(start.error, None, "{name}: {start:?}");
        browser.close();
        // Another connection: what was open stays as it was decided.
        let mut browser = Chromium::start(device, &school.home(&format!("{name}, later"), has_root), &[]);
        assert_learns(name, &browser.visit(&url(LESSON, "/lesson/1")), after);
    }
}

/// A phone without the root has its lessons by the school's own names: over plain http, or https with the operator's
/// public certificate; with the site down; and without a cookie or a written word in either direction.
#[test]
fn a_phone_learns_by_gateway_names() {
    let certificate = |name: &str| {
        format!("[tls.certificates.\"{name}{GATEWAY}\"]\ncertificate = \"site.pem\"\nkey = \"site.key\"\n")
    };
    let gateway = format!("[gateway]\ndomain = \"{GATEWAY}\"\n");
    let secure = certificate("") + &certificate("*.") + &gateway;
    for (scheme, section, issuer) in [("http", gateway.as_str(), ""), ("https", secure.as_str(), PUBLIC_CA)] {
        let mut school = School::open_with(section, |web, folder| {
            let (certificate, key) = web.certificate(&[GATEWAY, &format!("*.{GATEWAY}")]);
            std::fs::write(folder.join("site.pem"), certificate).unwrap();
            process::write_secret(&folder.join("site.key"), &key);
        });
        let (lesson, media) = (format!("lesson-example-kz.{GATEWAY}"), format!("media-lesson-example-kz.{GATEWAY}"));
        let phone = school.town.device(RESOLVER, false);
        phone.knows(&[GATEWAY, &lesson, &media], BOX);
        let mut browser = Chromium::start(&phone, &school.home("phone", false), &[]);
        let first = format!("{scheme}://{lesson}/lesson/1");
        assert_learns(scheme, &browser.visit(&first), issuer);
        browser.run("document.cookie = 'pupil=17; path=/'");
        assert_learns(scheme, &browser.visit(&format!("{scheme}://{lesson}/lesson/2")), issuer);
        let written = browser.run("fetch('/lesson/1', { method: 'POST', body: 'marks' }).then((r) => `${r.status}`)");
        assert!(written.starts_with('4'), "{scheme}: {written}");
        let asked = school.web.asked();
        assert!(asked.iter().any(|asked| asked.path == "/lesson/2"), "{asked:?}");
        let cookies = asked.iter().flat_map(|asked| &asked.fields).filter(|(name, _)| name == "cookie").count();
        assert_eq!(cookies, 0, "{asked:?}");
        school.web.down();
        assert_learns(scheme, &browser.visit(&first), issuer);
        assert_eq!(school.web.asked().len(), 0);
        let shown = browser.close();
        assert!(shown.iter().all(|signed| signed == PUBLIC_CA), "{scheme}: {shown:?}");
        assert_nobody_is_named(school.bulaq.stop(), &[&phone]);
    }
}

/// What sslscan finds at the https door: TLS 1.2 and 1.3 alone, forward secrecy and authenticated ciphers alone, no
/// renegotiation, no compression.
#[test]
fn the_https_door_has_no_weakness() {
    let mut school = School::open("");
    let device = school.pointed_to_the_box(true);
    let mut command = device.command("sslscan");
    // The box's own name: a site's would be passed through to a scanner that never asks for anything.
    command.args(["--no-colour", "--xml=-", "--sni-name=bulaq.internal", "10.77.0.1:443"]);
    let (is_well, told) = process::run(&mut command, "this test wants sslscan: apt-get install sslscan");
    assert!(is_well, "{told}");
    let lines = |tag: &str| -> Vec<&str> {
        told.lines().map(str::trim).filter(|line| line.starts_with(&format!("<{tag} "))).collect()
    };
    let enabled: Vec<_> = lines("protocol").into_iter().filter(|line| line.contains("enabled=\"1\"")).collect();
    assert_eq!(enabled.len(), 2, "{enabled:?}");
    assert!(
        enabled.iter().all(|line| line.contains("version=\"1.2\"") || line.contains("version=\"1.3\"")),
        "{enabled:?}"
    );
    assert_eq!(lines("renegotiation"), ["<renegotiation supported=\"0\" secure=\"0\" />"]);
    assert!(lines("compression").iter().all(|line| line.contains("supported=\"0\"")), "{told}");
    assert!(lines("heartbleed").iter().all(|line| line.contains("vulnerable=\"0\"")), "{told}");
    let ciphers = lines("cipher");
    assert!(ciphers.len() >= 5, "{told}");
    for cipher in ciphers {
        let has_forward_secrecy = cipher.contains("\"TLS_") || cipher.contains("\"ECDHE-ECDSA-");
        let is_authenticated =
            cipher.contains("GCM") || cipher.contains("CHACHA20_POLY1305") || cipher.contains("CHACHA20-POLY1305");
        assert!(has_forward_secrecy && is_authenticated, "{cipher}");
    }
    for group in lines("group") {
        assert!(["x25519", "secp256r1", "secp384r1", "MLKEM"].iter().any(|name| group.contains(name)), "{group}");
    }
}
