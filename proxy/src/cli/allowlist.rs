//! `bulaq allowlist check|list|explain`: what a file says, and what decides a URL.

mod check;
mod evidence;
mod export;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bulaq_allowlist::export::pac::ProxyAddress;
use bulaq_allowlist::{
    Allowlist, Diagnostic, Explanation, Loaded, NotListed, Permit, Rule, Site, Verdict, catalogue, limits,
};
use serde_json::{Value, json};

use self::check::Checked;
use super::configured::ConfigArg;

/// Exit status of `check` for a file that is refused.
const REFUSED: u8 = 2;

/// What can be asked of an allowlist file.
#[derive(Debug, clap::Subcommand)]
pub enum AllowlistCommand {
    /// Say what is wrong with a file: exit status 0 good, 1 warnings (with --strict), 2 refused
    Check {
        /// The file
        #[arg(default_value = "allowlist.toml")]
        file: PathBuf,
        /// Take warnings for errors
        #[arg(long)]
        strict: bool,
        /// Write JSON
        #[arg(long)]
        json: bool,
        /// With what its box knows: its CA, and what its nights saw
        #[command(flatten)]
        config: ConfigArg,
    },
    /// List the sites of a file with their hosts
    List {
        /// The file
        #[arg(long, default_value = "allowlist.toml")]
        file: PathBuf,
        /// List the built-in catalogue in place of a file
        #[arg(long, conflicts_with = "file")]
        catalogue: bool,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the list for other programs: a PAC file for browsers
    Export {
        /// As what
        format: export::Format,
        /// The file
        #[arg(long, default_value = "allowlist.toml")]
        file: PathBuf,
        /// Where browsers find the box's proxy door
        #[arg(long, value_name = "HOST:PORT", default_value = "bulaq.internal:3128", value_parser = ProxyAddress::parse)]
        proxy: ProxyAddress,
    },
    /// Say which site, host and rule decide a URL: exit status 0 permitted, 1 not
    Explain {
        /// The URL, as in the browser's address line
        url: String,
        /// The file
        #[arg(long, default_value = "allowlist.toml")]
        file: PathBuf,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs one of the commands; its answer goes to standard output.
pub fn run(command: &AllowlistCommand) -> anyhow::Result<ExitCode> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let status = answer(command, colour, &mut stdout.lock())?;
    Ok(ExitCode::from(status))
}

/// The answer of a command, and its exit status.
fn answer(command: &AllowlistCommand, colour: bool, out: &mut impl Write) -> anyhow::Result<u8> {
    match command {
        AllowlistCommand::Check { file, strict, json, config } => {
            let text = read(file)?;
            let (evidence, notes) = config.of_allowlist(file).as_ref().map(evidence::gather).unwrap_or_default();
            let checked = Checked::new(file.display().to_string(), &text, &evidence, notes);
            if *json {
                checked.write_json(out)?
            } else {
                checked.tell(colour, out)?
            }
            Ok(checked.status(*strict))
        }
        AllowlistCommand::List { catalogue: true, json, .. } => Ok(list_catalogue(*json, out)?),
        AllowlistCommand::List { file, json, .. } => match usable(file, colour, out)? {
            Some(list) => {
                let sites: Vec<&Site> = list.sites().iter().map(AsRef::as_ref).collect();
                Ok(list_sites(&sites, *json, out)?)
            }
            None => Ok(REFUSED),
        },
        AllowlistCommand::Export { format, file, proxy } => match usable(file, colour, &mut io::stderr())? {
            Some(list) => Ok(export::export(&list, *format, proxy, out, &mut io::stderr())?),
            None => Ok(REFUSED),
        },
        AllowlistCommand::Explain { url, file, json } => match usable(file, colour, out)? {
            Some(list) => Ok(explain(&list.explain(url), *json, out)?),
            None => Ok(REFUSED),
        },
    }
}

/// A file's text; a file beyond the limit is read just so far that the limit is seen.
fn read(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("cannot open the allowlist {}", path.display()))?;
    let mut text = String::new();
    let bytes_max = u64::try_from(limits::FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bytes_max)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {} as text in UTF-8", path.display()))?;
    Ok(text)
}

/// The list of a file, or None when it is refused, which is then told.
fn usable(path: &Path, colour: bool, out: &mut impl Write) -> anyhow::Result<Option<Allowlist>> {
    let name = path.display().to_string();
    match Allowlist::parse(&name, &read(path)?) {
        Ok(Loaded { allowlist, .. }) => Ok(Some(allowlist)),
        Err(rejected) => {
            tell(&rejected.diagnostics, rejected.untold, colour, out)?;
            writeln!(out, "{name} is refused")?;
            Ok(None)
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn tell(diagnostics: &[Diagnostic], untold: usize, colour: bool, out: &mut impl Write) -> io::Result<()> {
    for diagnostic in diagnostics {
        writeln!(out, "{}\n", diagnostic.render(colour))?;
    }
    if untold > 0 {
        writeln!(out, "… and {untold} more\n")?;
    }
    Ok(())
}

fn list_catalogue(as_json: bool, out: &mut impl Write) -> io::Result<u8> {
    let entries = || catalogue::entries().iter().chain(catalogue::profiles());
    let sites: Vec<&Site> = entries().map(catalogue::Entry::site).collect();
    list_sites(&sites, as_json, out)
}

fn list_sites(sites: &[&Site], as_json: bool, out: &mut impl Write) -> io::Result<u8> {
    if as_json {
        let sites: Vec<Value> = sites.iter().map(|site| site_json(site)).collect();
        writeln!(out, "{:#}", Value::from(sites))?;
        return Ok(0);
    }
    for site in sites {
        writeln!(out, "{}: {}", site.name(), site.title().in_language("en"))?;
        writeln!(
            out,
            "  {}, {}, tls {}, {}",
            site.class(),
            site.traffic(),
            site.tls(),
            counted(site.rules().len(), "rule")
        )?;
        let hosts: Vec<String> = site.hosts().iter().map(ToString::to_string).collect();
        let hosts = if hosts.is_empty() { "named by you (a profile)".to_owned() } else { hosts.join(" ") };
        writeln!(out, "  hosts: {hosts}")?;
        if let Some(prefetch) = site.prefetch() {
            let start: Vec<String> = prefetch.start().iter().map(ToString::to_string).collect();
            writeln!(out, "  night: {}", start.join(" "))?;
        }
    }
    Ok(0)
}

fn site_json(site: &Site) -> Value {
    let title = site.title();
    let night = site.prefetch().map(|prefetch| {
        json!({
            "start": prefetch.start().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sitemaps": prefetch.sitemaps(),
            "depth": prefetch.depth(),
            "pages_max": prefetch.pages_max(),
            "bytes_max": prefetch.bytes_max(),
        })
    });
    json!({
        "name": site.name(),
        "title": {
            "kk": title.in_language("kk"), "ru": title.in_language("ru"), "en": title.in_language("en"),
        },
        "class": site.class().as_str(),
        "traffic": site.traffic().as_str(),
        "tls": site.tls().as_str(),
        "languages": site.languages(),
        "subjects": site.subjects(),
        "hosts": site.hosts().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "rules": site.rules().iter().map(|rule| rule_json(site, rule)).collect::<Vec<_>>(),
        "prefetch": night,
        "catalogue": site.catalogue(),
    })
}

fn rule_json(site: &Site, rule: &Rule) -> Value {
    json!({
        "path": rule.path().as_str(),
        "query": rule.query().map(|query| query.as_str()),
        "methods": rule.methods().iter().map(|method| method.as_str()).collect::<Vec<_>>(),
        "says": rule.to_string(),
        "place": site.place_of(rule.at()),
    })
}

fn explain(explanation: &Explanation, as_json: bool, out: &mut impl Write) -> io::Result<u8> {
    let status = u8::from(!matches!(explanation.verdict, Verdict::Permitted(_)));
    if as_json {
        writeln!(out, "{:#}", explain_json(explanation))?;
        return Ok(status);
    }
    writeln!(out, "{}", explanation.url)?;
    match &explanation.verdict {
        Verdict::Permitted(permit) => explain_permit(permit, out)?,
        Verdict::NotListed(not_listed) => {
            writeln!(out, "  not permitted ({}): {not_listed}", not_listed.reason())?;
            if let NotListed::Refused { site, rule, .. } = not_listed {
                let rule = site.rule(Some(*rule));
                writeln!(out, "  rule: \"{}\" says {rule} ({})", rule.path(), site.place_of(rule.at()))?;
            }
        }
        Verdict::NotAUrl { message, help } => writeln!(out, "  {message}; {help}")?,
    }
    for near in &explanation.near {
        writeln!(out, "  near: {} (site {})", near.help, near.site)?;
    }
    Ok(status)
}

fn explain_permit(permit: &Permit, out: &mut impl Write) -> io::Result<()> {
    let (site, entry) = (permit.site(), permit.host_entry());
    writeln!(out, "  permitted by the site {} ({})", site.name(), site.place_of(site.at()))?;
    writeln!(out, "  host: \"{entry}\" ({})", site.place_of(entry.at()))?;
    match permit.rule_index() {
        Some(_) => {
            let rule = permit.rule();
            let says = if rule.is_silent() { "as the origin says".to_owned() } else { rule.to_string() };
            writeln!(out, "  rule: \"{}\" says {says} ({})", rule.path(), site.place_of(rule.at()))?;
        }
        None => writeln!(out, "  rule: none is for it, so as the origin says")?,
    }
    let tls = match (site.tls(), permit.scheme()) {
        (_, bulaq_allowlist::Scheme::Http) => "none, plain HTTP",
        (bulaq_allowlist::TlsMode::Splice, _) => "splice: passed through unseen, nothing is cached",
        (bulaq_allowlist::TlsMode::Terminate, _) => "terminate, for devices that trust the district's CA",
    };
    writeln!(out, "  traffic: {}\n  tls: {tls}", site.traffic())
}

fn explain_json(explanation: &Explanation) -> Value {
    let mut object = json!({ "url": explanation.url });
    let verdict = match &explanation.verdict {
        Verdict::Permitted(permit) => {
            let (site, entry) = (permit.site(), permit.host_entry());
            json!({
                "permitted": true,
                "site": site.name(),
                "site_place": site.place_of(site.at()),
                "host": entry.to_string(),
                "host_place": site.place_of(entry.at()),
                "rule": permit.rule_index().map(|_| rule_json(site, permit.rule())),
                "traffic": site.traffic().as_str(),
                "tls": site.tls().as_str(),
            })
        }
        Verdict::NotListed(not_listed) => json!({
            "permitted": false,
            "reason": not_listed.reason(),
            "message": not_listed.to_string(),
            "site": not_listed.site().map(|site| site.name()),
            "rule": match not_listed {
                NotListed::Refused { site, rule, .. } => rule_json(site, site.rule(Some(*rule))),
                _ => Value::Null,
            },
        }),
        Verdict::NotAUrl { message, help } => json!({
            "permitted": false, "reason": "not-a-url", "message": message, "help": help,
        }),
    };
    let near: Vec<Value> = explanation
        .near
        .iter()
        .map(|near| json!({ "entry": near.entry, "site": near.site, "help": near.help }))
        .collect();
    if let (Value::Object(object), Value::Object(verdict)) = (&mut object, verdict) {
        object.extend(verdict);
        object.insert("near".to_owned(), Value::from(near));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[[site]]
name = "bilimland"
title = { kk = "Сабақтар", ru = "Уроки", en = "Lessons" }
hosts = ["bilimland.kz", "*.bilimland.kz"]
traffic = "zero-rated"
tls = "terminate"

[[site.rule]]
path = "/admin/**"
refuse = true

[[site.rule]]
path = "/upload/**"
anonymous = true
fresh-min = "30d"

[site.prefetch]
start = ["/kk/"]
"#;

    /// Runs a command on a file of this text; the answer with the file's folder taken out, and the exit status.
    fn ask(text: &str, command: impl FnOnce(PathBuf) -> AllowlistCommand) -> (String, u8) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("allowlist.toml");
        std::fs::write(&file, text).unwrap();
        let mut out = Vec::new();
        let status = answer(&command(file), false, &mut out).unwrap();
        let folder = format!("{}/", folder.path().display());
        (String::from_utf8(out).unwrap().replace(&folder, ""), status)
    }

    fn check_command(file: PathBuf, strict: bool, json: bool) -> AllowlistCommand {
        AllowlistCommand::Check { file, strict, json, config: ConfigArg::default() }
    }

    fn check_file(text: &str, strict: bool) -> (String, u8) {
        ask(text, |file| check_command(file, strict, false))
    }

    fn explain_url(url: &str) -> (String, u8) {
        ask(GOOD, |file| AllowlistCommand::Explain { url: url.to_owned(), file, json: false })
    }

    #[test]
    fn check_says_that_a_file_is_good() {
        assert_eq!(check_file(GOOD, true), ("allowlist.toml: good; 1 site, 2 hosts, 2 rules\n".to_owned(), 0));
    }

    #[test]
    fn check_tells_programs_the_same() {
        let (answer, status) = ask(&GOOD.replace(", \"*.bilimland.kz\"", ""), |file| check_command(file, true, true));
        let told: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &told["verdict"], &told["sites"]), (1, &json!("warnings"), &json!(1)));
        let found = &told["findings"][0];
        assert_eq!((&found["severity"], &found["line"], &found["column"]), (&json!("warning"), &json!(4), &json!(10)));
        assert_eq!((&found["text"], &found["help"]), (&json!("\"bilimland.kz\""), &json!("add \"*.bilimland.kz\"")));
        let (answer, status) = ask("[[site]]", |file| check_command(file, false, true));
        let told: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, &told["verdict"], &told["sites"]), (2, &json!("refused"), &Value::Null));
    }

    #[test]
    fn check_uses_what_the_box_of_the_list_knows() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("allowlist.toml"), GOOD).unwrap();
        std::fs::write(at("bulaq.toml"), "data = \"data\"\n").unwrap();
        let config = ConfigArg::at(at("bulaq.toml"));
        let command = AllowlistCommand::Check { file: at("allowlist.toml"), strict: false, json: false, config };
        let mut out = Vec::new();
        assert_eq!(answer(&command, false, &mut out).unwrap(), 0);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("warning: this box has no CA yet"), "{out}");
        assert!(out.contains("bulaq ca init"), "{out}");
    }

    #[test]
    fn check_underlines_what_is_wrong() {
        let text = GOOD.replace("\"bilimland.kz\"", "\"https://bilimland.kz/kk/\"").replace("traffic", "trafic");
        let (answer, status) = check_file(&text, false);
        assert_eq!(status, 2);
        let expected = r#"error: "https://bilimland.kz/kk/" is an address of a page, not a host
 --> allowlist.toml:4:10
  |
4 | hosts = ["https://bilimland.kz/kk/", "*.bilimland.kz"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^ only the host belongs here
  |
  = help: write "bilimland.kz"; what may be done with its pages is said by path in [[site.rule]]
"#;
        assert!(answer.starts_with(expected), "{answer}");
        let expected = r#"error: unknown key `trafic` in a [[site]]
 --> allowlist.toml:5:1
  |
5 | trafic = "zero-rated"
  | ^^^^^^ not known
  |
  = help: did you mean `traffic`?
"#;
        assert!(answer.contains(expected), "{answer}");
        assert!(answer.ends_with("allowlist.toml is refused: 3 errors, 1 warning\n"), "{answer}");
    }

    #[test]
    fn warnings_fail_a_strict_check_alone() {
        let text = GOOD.replace(", \"*.bilimland.kz\"", "");
        let (answer, status) = check_file(&text, false);
        assert!(answer.contains("warning: only a part of this site would come from the box"), "{answer}");
        assert!(answer.ends_with("allowlist.toml: 1 warning; 1 site, 1 host, 2 rules\n"), "{answer}");
        assert_eq!(status, 0);
        assert_eq!(check_file(&text, true).1, 1);
    }

    #[test]
    fn list_shows_every_site() {
        let list = |json| ask(GOOD, |file| AllowlistCommand::List { file, catalogue: false, json });
        let expected = "bilimland: Lessons\n  public-lessons, zero-rated, tls terminate, 2 rules\n  \
                        hosts: bilimland.kz *.bilimland.kz\n  night: https://bilimland.kz/kk/\n";
        assert_eq!(list(false), (expected.to_owned(), 0));
        let json: Value = serde_json::from_str(&list(true).0).unwrap();
        assert_eq!(json[0]["name"], "bilimland");
        assert_eq!(json[0]["title"]["kk"], "Сабақтар");
        assert_eq!(json[0]["rules"][1]["says"], "anonymous, fresh-min = \"30d\"");
        assert_eq!(json[0]["prefetch"]["start"][0], "https://bilimland.kz/kk/");
    }

    #[test]
    fn list_shows_the_catalogue_without_a_file() {
        let mut out = Vec::new();
        let command = AllowlistCommand::List { file: "absent".into(), catalogue: true, json: false };
        assert_eq!(answer(&command, false, &mut out).unwrap(), 0);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("kundelik: Kundelik e-diary\n  login-portal, zero-rated, tls splice"), "{text}");
        assert!(text.contains("moodle: Moodle\n"), "{text}");
    }

    #[test]
    fn explain_names_site_host_and_rule() {
        let expected = r#"https://media.bilimland.kz/upload/a.svg
  permitted by the site bilimland (allowlist.toml:1)
  host: "*.bilimland.kz" (allowlist.toml:4)
  rule: "/upload/**" says anonymous, fresh-min = "30d" (allowlist.toml:12)
  traffic: zero-rated
  tls: terminate, for devices that trust the district's CA
"#;
        assert_eq!(explain_url("media.BilimLand.kz./upload/a.svg"), (expected.to_owned(), 0));
        let expected = r#"https://bilimland.kz/admin/
  not permitted (refused-by-rule): bilimland.kz is on the allowlist, but a rule of its site refuses this path
  rule: "/admin/**" says refuse (allowlist.toml:8)
"#;
        assert_eq!(explain_url("https://bilimland.kz/admin/"), (expected.to_owned(), 1));
    }

    #[test]
    fn explain_says_what_is_near() {
        let expected = r#"https://bilimlend.kz/
  not permitted (host-not-listed): bilimlend.kz is not on the allowlist
  near: bilimland.kz is listed: is that the name you mean? (site bilimland)
"#;
        let (answer, status) = explain_url("bilimlend.kz");
        assert_eq!(status, 1);
        assert!(answer.starts_with(expected), "{answer}");
        let (answer, _) = explain_url("http://bilimland.kz:8080/");
        assert!(answer.contains("add \"bilimland.kz:8080\" (site bilimland)"), "{answer}");
        let (answer, _) = explain_url("ftp://bilimland.kz/");
        assert!(answer.contains("write https:// or http://"), "{answer}");
    }

    #[test]
    fn explain_in_json_has_the_same_facts() {
        let ask = |url: &str| {
            let (answer, _) = ask(GOOD, |file| AllowlistCommand::Explain { url: url.to_owned(), file, json: true });
            serde_json::from_str::<Value>(&answer).unwrap()
        };
        let permitted = ask("https://bilimland.kz/");
        assert_eq!(permitted["permitted"], true);
        assert_eq!(permitted["rule"], Value::Null);
        let refused = ask("https://cdn.example.kz/");
        assert_eq!((&refused["permitted"], &refused["reason"]), (&json!(false), &json!("host-not-listed")));
        assert_eq!(ask("https://bilimland.kz/admin/x")["rule"]["path"], "/admin/**");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_that_names_it() {
        let command = check_command("no/such/allowlist.toml".into(), false, false);
        let error = answer(&command, false, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "cannot open the allowlist no/such/allowlist.toml");
    }
}
