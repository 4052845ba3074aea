//! The PAC file, run by a PAC engine that others wrote: pacparser, which has SpiderMonkey 1.7 of 2007 inside and knows
//! nothing newer than the dialect that WinHTTP runs. What it says is compared with what the list itself permits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use bulaq_allowlist::export::pac::{self, ProxyAddress};
use bulaq_allowlist::{Allowlist, HostName, HostPattern, Scheme};
use http::Method;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

/// The PAC text's length, the text, then one line for each address: the URL and the host, as a browser gives them.
const ENGINE: &str = r#"
import sys
import pacparser
length = int(sys.stdin.buffer.readline())
pacparser.init()
pacparser.parse_pac_string(sys.stdin.buffer.read(length).decode("ascii"))
for line in sys.stdin.buffer.read().decode().splitlines():
    url, host = line.split(" ")
    print(pacparser.find_proxy(url, host).strip())
"#;

const VIA: &str = "PROXY 192.0.2.7:3128; DIRECT";

const LIST: &str = r#"
[[site]]
name = "portal"
hosts = ["portal.kz", "*.portal.kz", "portal.kz:8443", "http://plain.portal.kz:8080", "білім.қаз"]
[[site]]
name = "deep"
hosts = ["*.a.b.portal.kz:444", "constructor.kz", "valueOf.kz"]
[[site]]
name = "plain"
hosts = ["http://plain.kz", "cdn.jsdelivr.net", "x.localhost"]
"#;

fn list() -> Allowlist {
    Allowlist::parse("allowlist.toml", LIST).unwrap().allowlist
}

fn file(list: &Allowlist) -> String {
    let own = ["bulaq.internal", "check.bulaq.internal"].map(|name| HostName::parse(name).unwrap());
    let own = own.map(HostPattern::Exact);
    pac::text(list, &own, Some(&ProxyAddress::parse("192.0.2.7:3128").unwrap()))
}

/// What the engine says of each address.
fn run(pac: &str, addresses: &[(String, String)]) -> Vec<String> {
    let mut input = format!("{}\n{pac}", pac.len());
    for (url, host) in addresses {
        writeln!(input, "{url} {host}").unwrap();
    }
    // The system's own interpreter: Debian's package of the engine is for that one.
    let mut engine = Command::new("/usr/bin/python3")
        .args(["-W", "ignore", "-c", ENGINE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("/usr/bin/python3 runs; apt-get install python3 python3-pacparser");
    let mut stdin = engine.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = engine.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    assert!(output.status.success(), "the engine refused the file, or is missing: apt-get install python3-pacparser");
    let answers: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), addresses.len());
    answers
}

#[test]
fn an_engine_of_the_old_dialect_says_what_goes_through_the_box() {
    let table = [
        ("http://portal.kz/", "portal.kz", true),
        ("https://portal.kz/", "portal.kz", true),
        ("https://portal.kz:443/", "portal.kz", true),
        ("https://portal.kz:8443/", "portal.kz", true),
        ("https://portal.kz:8444/", "portal.kz", false),
        ("HTTPS://PORTAL.KZ/", "PORTAL.KZ", true),
        ("https://portal.kz./", "portal.kz.", true),
        ("https://www.portal.kz/", "www.portal.kz", true),
        ("https://a.b.c.portal.kz/x?y=http://z:1", "a.b.c.portal.kz", true),
        ("https://www.portal.kz:8443/", "www.portal.kz", false),
        ("https://notportal.kz/", "notportal.kz", false),
        ("https://portal.kz.evil.example/", "portal.kz.evil.example", false),
        ("https://user:8444@portal.kz/", "portal.kz", true),
        ("http://plain.kz/", "plain.kz", true),
        ("https://plain.kz/", "plain.kz", false),
        ("http://plain.portal.kz:8080/", "plain.portal.kz", true),
        ("https://plain.portal.kz/", "plain.portal.kz", false),
        ("https://x.a.b.portal.kz:444/", "x.a.b.portal.kz", true),
        ("https://a.b.portal.kz:444/", "a.b.portal.kz", false),
        ("https://xn--90aud6hb.xn--80ao21a/", "xn--90aud6hb.xn--80ao21a", true),
        ("http://bulaq.internal/", "bulaq.internal", true),
        ("https://check.bulaq.internal/probe", "check.bulaq.internal", true),
        ("https://cdn.jsdelivr.net/npm/x", "cdn.jsdelivr.net", false),
        ("https://constructor.kz/", "constructor.kz", true),
        ("http://constructor/", "constructor", false),
        ("http://hasOwnProperty/", "hasOwnProperty", false),
        ("http://__proto__/", "__proto__", false),
        ("http://x.constructor/", "x.constructor", false),
        ("ftp://portal.kz/", "portal.kz", false),
        ("ws://portal.kz/", "portal.kz", false),
        ("wss://portal.kz/", "portal.kz", false),
        ("http://[::1]:80/", "::1", false),
        ("http://192.0.2.9/", "192.0.2.9", false),
        ("about:blank", "x", false),
    ];
    let addresses: Vec<_> = table.iter().map(|(url, host, _)| ((*url).to_owned(), (*host).to_owned())).collect();
    for ((url, _, goes), said) in table.into_iter().zip(run(&file(&list()), &addresses)) {
        assert_eq!(said, if goes { VIA } else { "DIRECT" }, "{url}");
    }
}

#[test]
fn the_file_and_the_list_say_the_same_of_any_address() {
    let labels = select(vec!["a", "b", "www", "portal", "plain", "kz", "xn--90aud6hb", "xn--80ao21a", "constructor"]);
    let host = prop::collection::vec(labels, 1..6).prop_map(|labels| labels.join("."));
    let listed =
        select(vec!["portal.kz", "a.b.portal.kz", "plain.portal.kz", "plain.kz", "constructor.kz", "valueof.kz"]);
    let host = prop_oneof![
        host.clone(),
        listed.clone().prop_map(str::to_owned),
        (host, listed).prop_map(|(a, b)| format!("{a}.{b}"))
    ];
    let port = select(vec![80, 443, 444, 8080, 8443]);
    let address = (select(vec![Scheme::Http, Scheme::Https]), host, proptest::option::of(port));
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 1, ..Config::default() });
    // One engine for many addresses: each start costs more than a thousand of them.
    runner
        .run(&prop::collection::vec(address, 2_000), |addresses| {
            let list = list();
            let asked: Vec<_> = addresses
                .iter()
                .map(|(scheme, host, port)| {
                    let port = port.map_or(String::new(), |port| format!(":{port}"));
                    (format!("{scheme}://{host}{port}/a?b"), host.clone())
                })
                .collect();
            for ((scheme, host, port), said) in addresses.iter().zip(run(&file(&list), &asked)) {
                let name = HostName::parse(host).unwrap();
                let port = port.unwrap_or(scheme.default_port());
                let is_permitted = list.permit(*scheme, &name, port, &Method::GET, "/").is_ok();
                prop_assert_eq!(said == VIA, is_permitted, "{}://{}:{}", scheme, host, port);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_country_of_hosts_is_looked_up_and_fits() {
    let hosts: Vec<String> = (0..10_000).map(|i| format!("\"school-{i}.edu-portal-{}.kz\"", i % 97)).collect();
    let text = format!("[[site]]\nname = \"a\"\nhosts = [{}]\n", hosts.join(", "));
    let pac = file(&Allowlist::parse("allowlist.toml", &text).unwrap().allowlist);
    assert!(pac.len() < pac::TEXT_BYTES_MAX, "{} bytes", pac.len());
    let asked: Vec<_> = (0..20_000)
        .map(|i| {
            let host = format!("school-{i}.edu-portal-{}.kz", i % 97);
            (format!("https://{host}/"), host)
        })
        .collect();
    let through = run(&pac, &asked).iter().filter(|said| *said == VIA).count();
    assert_eq!(through, 10_000);
}
