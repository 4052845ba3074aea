use std::time::Duration;

use bulaq_allowlist::HostName;
use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = include_str!("../../../docs/bulaq.example.toml");

fn parse(text: &str) -> Result<LoadedConfig, RefusedConfig> {
    Config::parse("bulaq.toml", text, Path::new("/etc/bulaq"))
}

fn refused(text: &str) -> Vec<Diagnostic> {
    parse(text).expect_err("it should be refused").diagnostics
}

#[test]
fn an_empty_file_means_the_defaults() {
    let empty = parse("").unwrap();
    assert_eq!(format!("{:?}", empty.config), format!("{:?}", Config::defaults(Path::new("/etc/bulaq"))));
    assert!(empty.warnings.is_empty());
    assert_eq!(empty.config.allowlist, Path::new("/etc/bulaq/allowlist.toml"));
    assert_eq!(empty.config.store.dir, Path::new("/var/lib/bulaq/store"));
    assert_eq!(empty.config.ledger.retention_days, 400);
}

#[test]
fn the_defaults_are_those_of_the_rooms() {
    let config = Config::defaults(Path::new(""));
    let shown = |value: &dyn fmt::Debug| format!("{value:?}");
    assert_eq!(shown(&config.store), shown(&StoreOptions::new("/var/lib/bulaq/store")));
    assert_eq!(shown(&config.origin), shown(&OriginOptions::default()));
    assert_eq!(shown(&config.request), shown(&RequestOptions::default()));
    assert_eq!(shown(&config.trust), shown(&TrustOptions::default()));
    assert_eq!(shown(&config.night), shown(&NightOptions { zone: TimeZone::system(), ..NightOptions::default() }));
    assert_eq!(config.ledger, LedgerOptions::default());
    assert_eq!(config.ingress.limits, crate::ingress::Limits::default());
}

#[test]
fn the_example_shows_every_key_at_its_default() {
    let example = parse(EXAMPLE).unwrap_or_else(|refused| panic!("{refused}"));
    assert!(example.warnings.is_empty(), "{:?}", example.warnings);
    assert_eq!(format!("{:?}", example.config), format!("{:?}", Config::defaults(Path::new("/etc/bulaq"))));

    let keys = EXAMPLE.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
    assert_eq!(keys, known_keys(), "a key is missing from docs/bulaq.example.toml, or is there twice");
}

/// How many keys a file can have: asks for the known ones with an unknown one in every section.
fn known_keys() -> usize {
    let sections = [
        "listen", "dns", "router", "tls", "trust", "pages", "pac", "cache", "store", "origin", "night", "ledger", "log",
    ];
    let unknown = "zzzzzzzzzzzz = 1\n";
    let file: String =
        sections.iter().fold(unknown.to_owned(), |file, section| format!("{file}[{section}]\n{unknown}"));
    let tables = ["hosts", "extra-roots", "certificates"];
    let known = |finding: &Diagnostic| {
        let (place, keys) = finding.help()?.split_once(": ")?;
        // A section may have a key with the name of another section.
        let is_table = |key: &&str| tables.contains(key) || (place.ends_with("at the top") && sections.contains(key));
        Some(keys.split(", ").filter(|key| !is_table(key)).count())
    };
    refused(&file).iter().filter_map(known).sum()
}

#[test]
fn ten_lines_do_for_a_real_site() {
    let loaded = parse(
        r#"
allowlist = "allowlist.toml"
data = "/srv/bulaq"
[listen]
http = ["0.0.0.0:80"]
https = ["0.0.0.0:443"]
forward = ["0.0.0.0:3128"]
[night]
window = "22:00-06:00"
contact = "it@district.example"
[origin.hosts]
"bilimland.kz" = "127.0.0.1:8443"
"#,
    )
    .unwrap();
    let config = loaded.config;
    assert_eq!(config.store.dir, Path::new("/srv/bulaq/store"));
    assert_eq!(config.night.contact.as_deref(), Some("it@district.example"));
    let host = HostName::parse("bilimland.kz").unwrap();
    assert_eq!(config.origin.hosts[&host][0].address(443).to_string(), "127.0.0.1:8443");
    assert!(config.window.is_some());
}

#[test]
fn every_section_is_read() {
    let config = parse(
        r#"
time-zone = "Asia/Almaty"
operators = ["192.168.10.0/24", "10.0.0.7"]
requests-max = 100
[listen]
http = "127.0.0.1:8000"
https = []
forward = []
request-timeout = "20 s"
upload-max = "1 MiB"
[tls.certificates."lessons.example"]
certificate = "lessons.pem"
key = "/etc/ssl/lessons.key"
[purge]
from = ["10.1.0.0/16", "::1"]
[pac]
proxy = "Proxy.School.Example:8080"
wpad = true
[pages]
names = ["box.school.example"]
contact = "Aigerim, room 12"
[cache]
profile = "rfc9111"
targeted-fields = false
targeted-max = "1 h"
heuristic-max = "2 h"
[store]
size = "200 GiB"
keep-free = "0 B"
[origin]
dns-servers = ["1.1.1.1", "[2606:4700::1111]:5353"]
connect-timeout = "2 s"
[origin.hosts]
"BILIMLAND.kz." = ["192.0.2.7", "[2001:db8::7]:8443"]
[origin.extra-roots]
moodle = "roots/district.pem"
[night]
window = "01:30-05:00"
spread = "off"
fresh-until = "off"
bandwidth = "4 Mbit/s"
site-requests-per-s = "off"
[ledger]
keep-days = 30
[log]
level = "debug"
"#,
    )
    .unwrap()
    .config;
    assert_eq!(
        config.ingress.operators.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.168.10.0/24", "10.0.0.7/32"]
    );
    assert_eq!(config.ingress.purgers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.0/16", "::1/128"]);
    assert_eq!(config.request.in_flight_max, 100);
    assert_eq!(config.ingress.http[0].to_string(), "127.0.0.1:8000");
    assert_eq!((config.ingress.limits.head_wait_s, config.ingress.limits.request_body_bytes_max), (20, 1 << 20));
    assert_eq!(config.certificates[0].certificate, Path::new("/etc/bulaq/lessons.pem"));
    assert_eq!(config.certificates[0].key, Path::new("/etc/ssl/lessons.key"));
    assert_eq!(config.request.pac.proxy.map(|proxy| proxy.to_string()).as_deref(), Some("proxy.school.example:8080"));
    assert!(config.request.pac.wpad);
    let own_names: Vec<_> = config.request.own_names.iter().map(HostName::as_str).collect();
    assert_eq!(own_names, ["box.school.example", "bulaq.internal", "check.bulaq.internal"]);
    assert_eq!(config.request.contact.as_deref(), Some("Aigerim, room 12"));
    assert_eq!(config.request.policy.profile, bulaq_cache_policy::Profile::Rfc9111);
    assert!(!config.request.policy.targeted_fields);
    assert_eq!(config.request.policy.targeted_max, Duration::from_secs(3_600));
    assert_eq!(config.request.policy.heuristic_max, Duration::from_secs(7_200));
    assert_eq!((config.store.bytes_max, config.store.free_bytes_min), (200 << 30, 0));
    assert_eq!(config.origin.dns_servers[0].to_string(), "1.1.1.1:53");
    assert_eq!(config.origin.hosts[&HostName::parse("bilimland.kz").unwrap()].len(), 2);
    assert_eq!(config.origin.extra_roots["moodle"], [Path::new("/etc/bulaq/roots/district.pem")]);
    assert_eq!((config.night.fresh_until, config.night.night.bytes_per_second), (None, Some(500_000)));
    assert_eq!(config.night.site.requests_per_second, None);
    assert_eq!((config.ledger.retention_days, config.log.as_str()), (30, "debug"));
}

#[test]
fn a_resolver_needs_others_and_never_itself() {
    let config = parse(
        "[dns]\nlisten = [\"192.168.10.5\", \"[2001:db8::5]:53\", \"fe80::5\"]\nupstreams = [\"192.0.2.53\", \"tls://192.0.2.54#dns.example\", \"tcp://192.0.2.55\"]\n",
    )
    .unwrap()
    .config;
    let shown = |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&config.dns.listen), ["192.168.10.5:53", "[2001:db8::5]:53", "[fe80::5]:53"]);
    let answers: Vec<_> = config.dns.answers.iter().map(ToString::to_string).collect();
    assert_eq!(answers, ["192.168.10.5", "2001:db8::5"], "where devices ask, less what means another machine");
    assert_eq!(shown(&config.origin.dns_servers), ["192.0.2.53:53", "192.0.2.55:53"], "the box's own look-ups");
    for (text, expected) in [
        ("[dns]\nlisten = \"0.0.0.0\"\nupstreams = \"192.0.2.53\"\n", "must leave by the address"),
        ("[dns]\nlisten = \"192.168.10.5\"\n", "`dns.upstreams` is empty"),
        ("[dns]\nlisten = \"192.168.10.5\"\nupstreams = \"192.168.10.5\"\n", "is this resolver itself"),
        (
            "[dns]\nlisten = \"127.0.0.1\"\nanswers = \"192.168.10.5\"\nupstreams = \"192.168.10.5\"\n",
            "is this resolver",
        ),
        ("[dns]\nlisten = \"192.168.10.5\"\nupstreams = \"tls://192.0.2.53#a.example\"\n", "are tls://"),
        ("[dns]\nlisten = \"192.168.10.5\"\nupstreams = \"192.0.2.53\"\nttl = \"2 min\"\n", "5 s to 1 min"),
        (
            "[dns]\nlisten = \"192.168.10.5\"\nupstreams = \"192.0.2.53\"\nanswers = \"fe80::1\"\n",
            "cannot reach the box",
        ),
        (
            "[dns]\nlisten = \"192.168.10.5\"\nupstreams = \"192.0.2.53\"\n[origin]\ndns-servers = \"192.168.10.5\"\n",
            "the box's own resolver",
        ),
    ] {
        let found = refused(text);
        assert!(found.iter().any(|finding| finding.to_string().contains(expected)), "{text}: {found:?}");
    }
    let text = "[listen]\nhttps = \"0.0.0.0:8443\"\n[dns]\nlisten = \"192.168.10.5\"\nupstreams = \"192.0.2.53\"\n";
    assert!(parse(text).unwrap().warnings[0].to_string().contains("port 443"));
}

#[test]
fn a_resolver_at_an_address_outside_clients_is_a_warning() {
    let text = "[dns]\nlisten = [\"192.168.10.5\", \"2001:db8:20::5\"]\nupstreams = \"192.0.2.53\"\n";
    let told = |clients: &str| {
        let warnings = parse(&format!("{clients}{text}")).unwrap().warnings;
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(""),
        [
            "bulaq.toml:2:10: `dns.listen` has 2001:db8:20::5, which is not in `clients`: devices of its network get no answers there"
        ]
    );
    assert!(told("clients = [\"192.168.0.0/16\", \"2001:db8:20::/48\"]\n").is_empty());
}

#[test]
fn status_says_who_sees_where_a_page_came_from() {
    let networks = |text: &str| {
        let operators = parse(text).unwrap().config.ingress.operators;
        operators.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(networks("operators = [\"10.0.0.0/8\"]"), "10.0.0.0/8");
    assert_eq!(networks("operators = [\"10.0.0.0/8\"]\nstatus = \"all\""), "0.0.0.0/0 ::/0");
    assert_eq!(networks("operators = [\"10.0.0.0/8\"]\nstatus = \"off\""), "");
}

#[test]
fn clients_are_private_networks_unless_written() {
    assert_eq!(parse("").unwrap().config.ingress.clients, crate::ingress::Clients::default());
    let written = parse("clients = [\"203.0.113.0/24\"]").unwrap();
    assert!(written.warnings.is_empty());
    assert_eq!(written.config.ingress.clients.networks(), ["203.0.113.0/24".parse().unwrap()]);
    let open = parse("clients = [\"10.0.0.0/8\", \"::/0\"]").unwrap();
    let expected =
        "bulaq.toml:1:11: `clients` has a network of all addresses: whoever reaches this box may use it as a proxy";
    assert_eq!(open.warnings[0].to_string(), expected);
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let findings = refused(
        "\
alowlist = \"a.toml\"
[store]
size = \"20\"
memory = \"1 KiB\"
body-max = 5
[night]
window = \"22-6\"
contact = 7
[cache]
profile = \"scool\"
[listen]
http = [\"0.0.0.0\"]
",
    );
    let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "bulaq.toml:1:1: unknown key `alowlist` at the top",
            "bulaq.toml:3:8: `store.size`: it must end with a unit: B, KiB, MiB, GiB or TiB, as in \"200 GiB\"",
            "bulaq.toml:4:10: `store.memory` is 1 KiB; it can be 8 MiB to 256 GiB",
            "bulaq.toml:5:12: `store.body-max`: a text with a unit is expected, as in \"200 GiB\"",
            "bulaq.toml:7:10: `night.window`: two times are expected, as in \"22:00-06:00\", or \"off\"",
            "bulaq.toml:8:11: `night.contact`: a text in quotation marks is expected",
            "bulaq.toml:10:11: `cache.profile` can be school, rfc9111",
            "bulaq.toml:12:9: `listen.http`: an address with a port is expected, as in \"0.0.0.0:80\" or \"[::]:80\"",
        ]
    );
    assert_eq!(findings[0].help(), Some("did you mean `allowlist`?"));
    assert_eq!(findings[6].help(), Some("did you mean \"school\"?"));
    assert!(findings[2].render(false).contains("memory = \"1 KiB\"\n"), "{}", findings[2].render(false));
    assert!(findings[2].render(false).contains("^^^^^^^ out of range"), "{}", findings[2].render(false));
}

#[test]
fn single_problems_have_their_own_words() {
    let first = |text: &str| refused(text)[0].to_string();
    let table = [
        ("[listen]\nhttp = []\nhttps = []\nforward = []", "bulaq.toml:2:8: the box listens nowhere"),
        (
            "[listen]\nhttps = [\"0.0.0.0:80\"]\nforward = []",
            "bulaq.toml:2:9: 0.0.0.0:80 is given to http and to https",
        ),
        ("[listen]\nforward = [\"0.0.0.0:80\"]", "bulaq.toml:2:11: 0.0.0.0:80 is given to http and to forward"),
        ("[night]\nwindow = \"22:00-22:00\"", "bulaq.toml:2:10: the night's window opens and closes at the same time"),
        (
            "time-zone = \"Almaty\"",
            "bulaq.toml:1:13: `time-zone`: there is no time zone Almaty; write one as \"Asia/Almaty\"",
        ),
        ("store = 5", "bulaq.toml:1:9: `store` is a section"),
        (
            "[origin.hosts]\n\"bilimland.kz\" = \"example.com\"",
            "bulaq.toml:2:18: `origin.hosts.bilimland.kz`: not an IP address, with or without a port (`192.0.2.7`, `192.0.2.7:8443`, `[2001:db8::7]:8443`)",
        ),
        (
            "[origin.hosts]\n\"127.0.0.1\" = \"127.0.0.1\"",
            "bulaq.toml:2:1: `origin.hosts`: an IP address is not a host name",
        ),
        (
            "[tls.certificates.\"a.example\"]\nkey = \"k.pem\"",
            "bulaq.toml:1:19: a certificate and its key are both needed",
        ),
        ("[listen]\nidle-timeout = \"1500 ms\"", "bulaq.toml:2:16: whole seconds are expected here"),
        (
            "[pac]\nproxy = \"192.168.10.5\"",
            "bulaq.toml:2:9: `pac.proxy`: a host name or an address with a port is expected, as in \"bulaq.internal:3128\"",
        ),
        ("data = [", "bulaq.toml:1:9: "),
    ];
    for (text, expected) in table {
        let told = first(text);
        assert!(told.starts_with(expected), "{text:?} was told as {told}");
    }
}

#[test]
fn a_body_that_no_store_could_hold_is_a_warning_when_somebody_asked_for_it() {
    let small = parse("[store]\nsize = \"100 MiB\"\n").unwrap();
    assert!(small.warnings.is_empty(), "{:?}", small.warnings);
    assert_eq!(small.config.store.body_bytes_max, 100 << 20);
    let loaded = parse("[store]\nsize = \"100 MiB\"\nbody-max = \"1 GiB\"\n").unwrap();
    assert_eq!(loaded.warnings[0].to_string(), "bulaq.toml:3:12: `store.body-max` is larger than the store, 100 MiB");
}

#[test]
fn an_open_data_folder_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let config = Config { data: temp.path().to_owned(), ..Config::defaults(temp.path()) };
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(config.machine_warnings().len(), 1);
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(config.machine_warnings().is_empty());
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/bulaq.toml")).unwrap_err();
    assert_eq!(error.to_string(), "the configuration /nowhere/bulaq.toml cannot be read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_text_is_a_configuration_or_findings(text in "(\\PC|\n){0,120}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_value_for_any_key_is_told(value in "(\"[^\"\n]{0,12}\"|[0-9.]{1,5}|true|\\[[0-9, ]{0,8}\\])") {
        for line in EXAMPLE.lines().filter(|line| line.contains(" = ")) {
            let key = line.trim_start_matches('#').split(" = ").next().unwrap_or_default();
            let _ = parse(&format!("{key} = {value}\n[store]\n{key} = {value}\n[night]\n{key} = {value}\n"));
        }
    }
}
