//! What a file may say, and what is told about one that may not be.

use http::Method;

use super::*;
use crate::site::Scheme;
use crate::{HostName, NotListed};

/// Reads a file that must be good.
fn load(text: &str) -> Loaded {
    match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded,
        Err(rejected) => panic!("{}", rendered(&rejected.diagnostics)),
    }
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|told| told.render(false)).collect::<Vec<_>>().join("\n\n")
}

/// All findings about a text, warnings and errors, as `line:column message → help`.
fn findings(text: &str) -> Vec<String> {
    let diagnostics = match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => rejected.diagnostics,
    };
    diagnostics.iter().map(|d| format!("{}:{} {} → {}", d.line, d.column, d.message, d.help().unwrap_or(""))).collect()
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

#[test]
fn a_request_gets_the_first_rule_that_is_for_it() {
    let list = load(
        r#"
[[site]]
name = "portal"
hosts = ["portal.kz", "*.portal.kz", "portal.kz:8443", "http://plain.portal.kz:8080"]
tls = "terminate"

[[site.rule]]
path = "/admin/**"
refuse = true

[[site.rule]]
path = "/api/**"
methods = ["POST"]
never-store = true

[[site.rule]]
path = "/**"
query = "*lang=*"
ignore-query = "utm_*"
"#,
    )
    .allowlist;
    let decide = |scheme, name: &str, port, method: &Method, path: &str| {
        list.permit(scheme, &host(name), port, method, path).map(|p| p.rule_index()).map_err(|e| e.reason())
    };
    use Scheme::{Http, Https};
    for (scheme, name, port, method, path, expected) in [
        (Https, "portal.kz", 443, Method::GET, "/", Ok(None)),
        (Https, "portal.kz", 443, Method::GET, "/?lang=kk", Ok(Some(2))),
        (Https, "portal.kz", 443, Method::GET, "/?ln=kk", Ok(None)),
        (Https, "portal.kz", 443, Method::POST, "/api/x", Ok(Some(1))),
        (Https, "portal.kz", 443, Method::GET, "/api/x", Ok(None)),
        (Https, "portal.kz", 443, Method::GET, "/admin/x?lang=kk", Err("refused-by-rule")),
        (Https, "portal.kz", 443, Method::GET, "/x/..//%61dmin/x", Err("refused-by-rule")),
        (Http, "portal.kz", 80, Method::GET, "/", Ok(None)),
        (Https, "portal.kz", 8443, Method::GET, "/", Ok(None)),
        (Http, "portal.kz", 443, Method::GET, "/", Err("port-not-listed")),
        (Https, "portal.kz", 80, Method::GET, "/", Err("port-not-listed")),
        (Https, "portal.kz", 8444, Method::GET, "/", Err("port-not-listed")),
        (Https, "a.b.portal.kz", 443, Method::GET, "/", Ok(None)),
        (Https, "a.b.portal.kz", 8443, Method::GET, "/", Err("port-not-listed")),
        (Http, "plain.portal.kz", 8080, Method::GET, "/", Ok(None)),
        (Https, "plain.portal.kz", 443, Method::GET, "/", Err("port-not-listed")),
        (Https, "notportal.kz", 443, Method::GET, "/", Err("host-not-listed")),
        (Https, "kz", 443, Method::GET, "/", Err("host-not-listed")),
    ] {
        assert_eq!(decide(scheme, name, port, &method, path), expected, "{scheme}://{name}:{port}{path}");
    }
    assert!(list.permit_tunnel(&host("portal.kz"), 443).is_ok());
    assert!(list.permit_tunnel(&host("portal.kz"), 8443).is_ok());
    assert!(matches!(list.permit_tunnel(&host("portal.kz"), 22), Err(NotListed::Port { .. })));
    assert!(matches!(list.permit_tunnel(&host("portal.kz"), 80), Err(NotListed::Port { .. })));
    assert!(matches!(list.permit_tunnel(&host("other.kz"), 443), Err(NotListed::Host { .. })));
}

#[test]
fn all_findings_are_told_at_once() {
    let text = r#"
[[site]]
nam = "x"
hosts = ["10.0.0.1", "*.kz"]
tls = "splic"
"#;
    let expected = [
        "2:1 this site has no usable `name` → write name = \"bilimland\"",
        "3:1 unknown key `nam` in a [[site]] → did you mean `name`?",
        "4:10 an IP address cannot be listed: the list is about names → write the host's name; an address that the name may resolve to belongs in `addresses`",
        "4:22 \"*.kz\" would permit every site of everybody: `kz` is a public suffix → name the site: \"*.bilimland.kz\"",
        "5:7 `tls` cannot be \"splic\" → did you mean \"splice\"?",
    ];
    assert_eq!(findings(text), expected);
}

#[test]
fn the_offending_text_is_underlined() {
    let Err(rejected) =
        Allowlist::parse("allowlist.toml", "[[site]]\nname = \"a\"\nhosts = [\"a.lan\", \"*.edu.kz\"]\n")
    else {
        panic!("a public suffix was accepted")
    };
    let expected = r#"error: "*.edu.kz" would permit every site of everybody: `edu.kz` is a public suffix
 --> allowlist.toml:3:19
  |
3 | hosts = ["a.lan", "*.edu.kz"]
  |                   ^^^^^^^^^^ a public suffix
  |
  = help: name the site: "*.bilimland.edu.kz""#;
    assert_eq!(rendered(&rejected.diagnostics), expected);
    assert_eq!(
        rejected.to_string(),
        "allowlist.toml:3:19: \"*.edu.kz\" would permit every site of everybody: `edu.kz` is a public suffix"
    );
}

/// A site of these lines, and what must be found in it: the line, the column, and the beginning of the message.
fn found_in_site(lines: &str, expected: &[&str]) {
    let text = format!("[[site]]\nname = \"a\"\nhosts = [\"a.kz\", \"*.a.kz\"]\n{lines}\n");
    let found = findings(&text);
    assert_eq!(found.len(), expected.len(), "{lines}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{lines}\nfound    {found}\nexpected {expected}");
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (lines, expected) in [
        ("traffic = true", "4:11 `traffic` must be a text in quotes"),
        ("traffic = \"free\"", "4:11 `traffic` cannot be \"free\" → write one of: \"zero-rated\", \"metered\""),
        ("class = \"video-lessons\"", "4:9 `class` cannot be"),
        ("title = 7", "4:9 `title` must be a table"),
        ("title = \"\"", "4:9 this text must be one line"),
        ("title = { kz = \"Сабақ\" }", "4:11 unknown key `kz` in a title → did you mean `kk`?"),
        ("languages = [\"kk\", \"Russian\"]", "4:20 \"Russian\" is not a language tag"),
        ("addresses = [\"10.1.2\"]", "4:14 \"10.1.2\" is not an IP address"),
        ("rule = { path = \"/\" }", "4:8 every rule begins with [[site.rule]], in two brackets"),
        ("[site.rule]\npath = \"/\"", "4:1 every rule begins with [[site.rule]], in two brackets"),
        ("[[site.rule]]\nnever-store = true", "4:1 this rule has no `path`"),
        (
            "[[site.rule]]\npath = \"kk/**\"",
            "5:8 \"kk/**\" is not a pattern: a path begins with \"/\" → write \"/kk/**\"",
        ),
        (
            "[[site.rule]]\npath = \"*.mp4\"",
            "5:8 \"*.mp4\" is not a pattern: a path begins with \"/\" → write \"/**/*.mp4\"",
        ),
        ("[[site.rule]]\npath = \"/a?id=1\"", "5:8 a query does not belong in a path"),
        ("[[site.rule]]\npath = \"/a/../b\"", "5:8 no request has such a path"),
        ("[[site.rule]]\npath = \"/\"\nquery = \"?id=1\"", "6:9 the query begins behind `?`"),
        (
            "[[site.rule]]\npath = \"/\"\nnever_store = true",
            "6:1 unknown key `never_store` in a [[site.rule]] → did you mean `never-store`?",
        ),
        ("[[site.rule]]\npath = \"/\"\nnever-store = \"yes\"", "6:15 `never-store` must be true or false"),
        (
            "[[site.rule]]\npath = \"/\"\nmethods = [\"get\"]",
            "6:12 methods are written in capitals: \"get\" → write \"GET\"",
        ),
        ("[[site.rule]]\npath = \"/\"\nmethods = []", "6:11 `methods` is empty"),
        ("[[site.rule]]\npath = \"/\"\nmethods = [\"G T\"]", "6:12 \"G T\" is not a method"),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nfresh-min = \"1 month\"",
            "7:13 \"1 month\" is not a duration",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nfresh-max = \"900d\"",
            "7:13 `fresh-max` must be at most 732 days",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nfresh-min = \"2d\"\nfresh-max = \"1d\"",
            "7:13 `fresh-min` is longer than `fresh-max`",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nignore-query = [\"a=1\"]",
            "7:17 `ignore-query` lists names of parameters",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nselect-query = [\"a=1\"]",
            "7:17 `select-query` lists names of parameters",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nignore-query = [\"a\"]\nselect-query = [\"b\"]",
            "8:16 `select-query` and `ignore-query` say the same twice",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nlanguages = [\"kk\"]",
            "7:13 `languages` of a rule is for pages in several",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nlanguages = [\"kk\", \"ru\", \"Kazakh\"]",
            "7:26 \"Kazakh\" is not a language tag",
        ),
        ("tls = \"terminate\"\n[site.prefetch]\nstart = [\"/\"]\ndepth = 9999", "7:9 `depth` must be from 0 to 1000"),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"/\"]\nbytes-max = \"0 MB\"",
            "7:13 `bytes-max` must be from 1 byte to 16 TiB",
        ),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"/\"]\nbytes-max = 500",
            "7:13 `bytes-max` must be a text in quotes",
        ),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"/\"]\nrequests-per-second = 0",
            "7:23 `requests-per-second` must be above 0",
        ),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"/\"]\nin-flight-max = 65",
            "7:17 `in-flight-max` must be from 1 to 64",
        ),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"https://b.kz/\"]",
            "6:10 \"b.kz\" is not one of this site's hosts → add \"b.kz\"",
        ),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"https://a.kz:8443/\"]",
            "6:10 https://a.kz:8443 is not permitted",
        ),
        ("tls = \"terminate\"\n[site.prefetch]\nstart = [\"kk/\"]", "6:10 \"kk/\" is not a URL"),
    ] {
        found_in_site(lines, &[expected]);
    }
}

#[test]
fn what_has_no_effect_is_warned_of() {
    for (lines, expected) in [
        (
            "[[site.rule]]\npath = \"/\"\nfresh-min = \"1h\"",
            "4:1 this rule has no effect on https: the site is spliced",
        ),
        ("[[site.rule]]\npath = \"/\"\nrefuse = true", "4:1 this rule has no effect on https: the site is spliced"),
        ("[site.prefetch]\nstart = [\"/\"]", "5:10 the night leaves this page out: the site is spliced"),
        ("[site.prefetch]\ndepth = 2", "4:1 the night has no page to begin with"),
        (
            "[[site.rule]]\npath = \"/kk/**\"\nnever-store = true\n[[site.rule]]\npath = \"/kk/*/x\"",
            "7:1 no request reaches this rule for \"/kk/*/x\": the rule for \"/kk/**\" in line 4 is for all of them",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nnever-store = true\nfresh-min = \"1h\"",
            "5:1 `never-store` leaves the rest of this rule without effect",
        ),
        (
            "tls = \"terminate\"\n[site.prefetch]\nstart = [\"/ru/\"]\ninclude = [\"/kk/**\"]",
            "6:10 `include` and `exclude` leave this start page out",
        ),
        (
            "tls = \"terminate\"\n[[site.rule]]\npath = \"/**\"\nnever-store = true\n[site.prefetch]\nstart = [\"/\"]",
            "9:10 this start page is never stored: the rule for \"/**\" in line 5 says so",
        ),
        (
            "class = \"login-portal\"\ntls = \"terminate\"\n[[site.rule]]\npath = \"/a/**\"\nanonymous = true",
            "1:1 a site of class \"login-portal\" holds pages that are not for everybody",
        ),
    ] {
        found_in_site(lines, &[expected]);
    }
    // What is seen, or stays right, is not warned of.
    for lines in [
        "[[site.rule]]\npath = \"/\"\nnever-store = true",
        "tls = \"terminate\"\n[[site.rule]]\npath = \"/\"\nfresh-min = \"1h\"",
        "[site.prefetch]\nstart = [\"http://a.kz/\"]",
        "class = \"login-portal\"\ntls = \"splice\"",
        "class = \"login-portal\"\ntls = \"terminate\"\n[[site.rule]]\npath = \"/a/**\"\nanonymous = true\n\
         [[site.rule]]\npath = \"/**\"\nnever-store = true",
        "[[site.rule]]\npath = \"/kk/**\"\nmethods = [\"POST\"]\nnever-store = true\n[[site.rule]]\npath = \"/kk/x\"",
    ] {
        found_in_site(lines, &[]);
    }
}

/// Sites of these hosts, named a, b and so on, and what must be found beside missing wildcards.
fn found_in_hosts(sites: &[&str], expected: &[&str]) {
    let mut text = String::new();
    for (name, hosts) in ('a'..).zip(sites) {
        text += &format!("[[site]]\nname = \"{name}\"\nhosts = [{hosts}]\n");
    }
    let mut found = findings(&text);
    found.retain(|found| !found.contains("only a part of this site"));
    assert_eq!(found.len(), expected.len(), "{sites:?}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{sites:?}\nfound    {found}\nexpected {expected}");
    }
}

#[test]
fn sites_that_overlap_are_told() {
    found_in_hosts(
        &["\"a.kz\"", "\"b.kz\", \"A.KZ.\""],
        &["6:18 \"a.kz\" belongs to the site \"a\" in line 1 already → take it out of one of them"],
    );
    found_in_hosts(&["\"*.a.kz\"", "\"*.a.kz\""], &["6:10 \"*.a.kz\" belongs to the site \"a\" in line 1 already"]);
    found_in_hosts(
        &["\"*.a.kz\"", "\"b.a.kz\""],
        &["6:10 \"b.a.kz\" lies below \"*.a.kz\" of the site \"a\": what \"b\" says holds for it"],
    );
    found_in_hosts(&["\"*.b.a.kz\"", "\"*.a.kz\""], &["3:10 \"*.b.a.kz\" lies below \"*.a.kz\" of the site \"b\""]);
    found_in_hosts(&["\"a.kz\", \"a.kz\""], &["3:18 \"a.kz\" is listed twice"]);
    found_in_hosts(&["\"a.kz\", \"a.kz:81\", \"*.a.kz\"", "\"b.kz\""], &[]);
    assert_eq!(
        findings("[[site]]\nname = \"a\"\nhosts = [\"a.lan\"]\n[[site]]\nname = \"a\"\nhosts = [\"b.lan\"]\n"),
        [
            "5:8 the name \"a\" is taken by the site in line 1 → join the two sites, or give this one a `name` of its own"
        ]
    );
}

#[test]
fn the_longer_name_wins() {
    let text = "[[site]]\nname = \"all\"\nhosts = [\"*.a.kz\"]\n[[site]]\nname = \"part\"\nhosts = [\"*.b.a.kz\"]\n\
                [[site]]\nname = \"one\"\nhosts = [\"x.b.a.kz\"]\n";
    let list = load(text).allowlist;
    for (name, site) in [("q.a.kz", "all"), ("b.a.kz", "all"), ("y.b.a.kz", "part"), ("x.b.a.kz", "one")] {
        assert_eq!(list.site_of(&host(name)).unwrap().name(), site, "{name}");
    }
    assert!(list.site_of(&host("a.kz")).is_none());
}

#[test]
fn hosts_that_belong_to_everybody_are_refused() {
    for (hosts, expected) in [
        ("\"*.kz\"", "3:10 \"*.kz\" would permit every site of everybody"),
        ("\"*.edu.kz\"", "3:10 \"*.edu.kz\" would permit every site of everybody"),
        ("\"*.github.io\"", "3:10 \"*.github.io\" would permit every site of everybody"),
        ("\"kz\"", "3:10 \"kz\" is a single word"),
        ("\"moodle\"", "3:10 \"moodle\" is a single word"),
        ("\"edu.kz\"", "3:10 \"edu.kz\" is a public suffix: this permits that one host"),
        ("\"*\"", "3:10 \"*\" cannot be a host"),
        ("\"2130706433\"", "3:10 an IP address cannot be listed"),
    ] {
        found_in_hosts(&[hosts], &[expected]);
    }
    for hosts in
        ["\"lessons.localhost:8080\"", "\"*.localhost\"", "\"localhost\"", "\"*.school.test\"", "\"сабақ.қаз\""]
    {
        found_in_hosts(&[hosts], &[]);
    }
}

#[test]
fn a_site_that_would_be_split_is_warned_of() {
    for (hosts, missing) in [
        ("\"a.kz\"", Some("\"*.a.kz\"")),
        ("\"www.a.kz\"", Some("\"a.kz\" and \"*.a.kz\"")),
        ("\"*.a.kz\"", Some("\"a.kz\"")),
        ("\"play.a.kz\"", Some("\"*.play.a.kz\"")),
        ("\"a.kz\", \"*.a.kz\", \"www.a.kz\"", None),
        ("\"lessons.localhost\"", None),
    ] {
        let text = format!("[[site]]\nname = \"a\"\ntls = \"terminate\"\nhosts = [{hosts}]\n");
        let found = findings(&text);
        match missing {
            None => assert!(found.is_empty(), "{hosts} {found:#?}"),
            Some(missing) => {
                assert_eq!(found.len(), 1, "{hosts} {found:#?}");
                assert!(found[0].ends_with(&format!("→ add {missing}")), "{hosts} {}", found[0]);
            }
        }
    }
}

#[test]
fn a_catalogue_site_is_taken_and_changed() {
    let list = load(
        "[[site]]\ncatalogue = \"bilimland\"\ntraffic = \"metered\"\n\
         [[site.rule]]\npath = \"/upload/content/structure/tests/**\"\nnever-store = true\n\
         [site.prefetch]\ndepth = 3\n",
    )
    .allowlist;
    let site = list.site("bilimland").unwrap();
    let base = catalogue::find("bilimland").unwrap().site();
    assert_eq!((site.traffic().as_str(), base.traffic().as_str()), ("metered", "zero-rated"));
    assert_eq!(site.tls(), base.tls());
    assert_eq!(site.rules().len(), base.rules().len() + 1);
    let night = site.prefetch().unwrap();
    assert_eq!((night.depth(), night.pages_max()), (3, base.prefetch().unwrap().pages_max()));
    let rule = |path: &str| {
        let permit = list.permit(Scheme::Https, &host("bilimland.kz"), 443, &Method::GET, path).unwrap();
        (permit.rule().never_store, permit.site().place_of(permit.rule().at()))
    };
    assert_eq!(rule("/upload/content/structure/tests/1"), (true, "allowlist.toml:4".to_owned()));
    let (never_store, place) = rule("/upload/content/structure/a.svg");
    assert!(!never_store && place.starts_with("catalogue bilimland:"), "{place}");
    for (text, expected) in [
        ("catalogue = \"bilimlan\"", "2:13 the catalogue has no site \"bilimlan\" → did you mean \"bilimland\"?"),
        (
            "catalogue = \"moodle\"",
            "2:13 the catalogue has no site \"moodle\" → it is a profile: write profile = \"moodle\"",
        ),
        ("profile = \"zoom\"", "2:11 the catalogue has no profile \"zoom\" → it is a site of the catalogue"),
        ("profile = \"moodle\"", "1:1 this site has no `hosts`"),
        ("catalogue = \"zoom\"\nprofile = \"moodle\"", "3:11 a site has a `catalogue` or a `profile`, not both"),
    ] {
        let found = findings(&format!("[[site]]\n{text}\n"));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text} {found:#?}");
    }
}

#[test]
fn mistakes_in_the_notation_are_told_by_themselves() {
    let found = findings("[[site]\nname = a\nhosts = [\"*.kz\"]\n");
    assert!(!found.is_empty() && found.iter().all(|told| told.contains("this is not TOML")), "{found:#?}");
    assert!(found[0].starts_with("1:"), "{found:#?}");
    let found = findings("site = 3\n");
    assert_eq!(found, ["1:8 every site begins with [[site]], in two brackets → write [[site]]"]);
    assert_eq!(findings("").len(), 0);
}

#[test]
fn limits_are_named() {
    let long = "#".repeat(FILE_BYTES_MAX + 1);
    assert!(findings(&long)[0].contains("the limit is 67108864"));
    let rules = "[[site.rule]]\npath = \"/x\"\nmethods = [\"POST\"]\n".repeat(limits::RULES_MAX + 1);
    let found = findings(&format!("[[site]]\nname = \"a\"\nhosts = [\"a.kz\"]\n{rules}"));
    assert!(found.iter().any(|told| told.contains("this site has 257 rules; the limit is 256")), "{}", found.len());
    let pattern = "a".repeat(limits::PATTERN_BYTES_MAX);
    found_in_site(&format!("[[site.rule]]\npath = \"/{pattern}\""), &["5:8 \"/aaaa"]);
    let name = "n".repeat(limits::NAME_CHARS_MAX + 1);
    let found = findings(&format!("[[site]]\nname = \"{name}\"\nhosts = [\"a.kz\"]\n"));
    assert!(found.iter().any(|told| told.contains("`name` has 1 to 64")), "{found:#?}");
    // Findings have a limit too, and errors are told before warnings.
    let hosts: String = (0..2000).map(|n| format!("\"a.kz:{}\", ", n % 3 + 1)).collect();
    let text = format!("[[site]]\nname = \"a\"\nhosts = [{hosts} \"*.kz\"]\n");
    let Err(rejected) = Allowlist::parse("allowlist.toml", &text) else { panic!("a public suffix was accepted") };
    assert!(rejected.diagnostics.len() <= DIAGNOSTICS_MAX);
    assert!(rejected.untold > 1000);
    assert!(rejected.diagnostics.iter().any(|told| told.message().contains("*.kz")));
}

#[test]
fn start_pages_are_whole_urls() {
    let list = load(
        "[[site]]\nname = \"a\"\ntls = \"terminate\"\nhosts = [\"*.a.kz\", \"a.kz:8443\", \"http://plain.kz\"]\n\
         [site.prefetch]\nstart = [\"/kk/сабақ?x=1#top\", \"https://www.A.kz\", \"http://plain.kz/\"]\n",
    )
    .allowlist;
    let night = list.site("a").unwrap().prefetch().unwrap();
    let start: Vec<String> = night.start().iter().map(ToString::to_string).collect();
    let expected = ["https://a.kz:8443/kk/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B?x=1", "https://www.a.kz/", "http://plain.kz/"];
    assert_eq!(start, expected);
    for page in night.start() {
        let path = &page.path_and_query;
        assert!(list.permit(page.scheme, &page.host, page.port, &Method::GET, path).is_ok(), "{page}");
    }
}

#[test]
fn only_the_named_private_addresses_are_named() {
    let list = load(
        "[[site]]\nname = \"a\"\nhosts = [\"a.kz\"]\naddresses = [\"10.1.2.3\", \"::ffff:10.1.2.4\", \"fd00::1\"]\n",
    );
    let list = list.allowlist;
    let site = list.site("a").unwrap();
    for (address, is_named) in
        [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("10.1.2.4", true), ("fd00::1", true), ("10.1.2.5", false)]
    {
        assert_eq!(site.names_address(address.parse().unwrap()), is_named, "{address}");
    }
}

#[test]
fn a_file_from_windows_is_read_too() {
    let list = load("\u{feff}[[site]]\r\nname = \"a\"\r\nhosts = [\"a.kz\"]\r\n").allowlist;
    assert!(list.site_of(&host("a.kz")).is_some());
    let found = findings("\u{feff}[[site]]\r\nname = \"a\"\r\nhosts = [\"a.lan\", \"*.kz\"]\r\n");
    assert!(found.len() == 1 && found[0].starts_with("3:19 \"*.kz\" would permit"), "{found:#?}");
}
