//! The PAC file: which addresses a browser asks the box for, in the JavaScript of 1997.
//!
//! `FindProxyForURL(url, host)` is run by WinHTTP, Chromium, Firefox, macOS, iOS and Android, each with an engine of its
//! own, so the file keeps to ECMAScript 3 and to none of the helper functions that differ or ask DNS. It decides by
//! scheme, host and port, which is all that browsers tell it of https. Names are looked up as the allowlist does it: the
//! name itself, then each longer suffix before each shorter, so that the cost depends on the labels of the name alone.
//! What the box would refuse goes `DIRECT`, and so does everything when the box does not answer.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::allowlist::Allowlist;
use crate::host_name::HostName;
use crate::known;
use crate::site::{HostEntry, HostPattern, Scheme};

/// The content type of a PAC file; browsers that are strict take no other.
pub const CONTENT_TYPE: &str = "application/x-ns-proxy-autoconfig";

/// The longest PAC file that Chromium takes, in bytes; a longer one counts as none.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Where the box's forward door is, as a PAC file names it: a host name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(HostName),
    Address(IpAddr),
}

/// Why a text is no [`ProxyAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host name or an address with a port is expected, as in \"bulaq.internal:3128\" or \"192.168.10.5:3128\"")]
pub struct ProxyAddressError;

impl ProxyAddress {
    /// Reads `name:port`, `192.0.2.7:port` or `[2001:db8::7]:port`.
    ///
    /// # Errors
    /// [`ProxyAddressError`] says what is expected.
    pub fn parse(text: &str) -> Result<Self, ProxyAddressError> {
        if let Ok(address) = text.parse::<std::net::SocketAddr>() {
            return if address.port() == 0 { Err(ProxyAddressError) } else { Ok(address.into()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(ProxyAddressError)?;
        let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = if is_number { port.parse().map_err(|_| ProxyAddressError)? } else { 0 };
        let host = HostName::parse(host).map_err(|_| ProxyAddressError)?;
        if port == 0 { Err(ProxyAddressError) } else { Ok(Self { host: Host::Name(host), port }) }
    }
}

impl From<std::net::SocketAddr> for ProxyAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { host: Host::Address(address.ip().to_canonical()), port: address.port() }
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

/// What most entries permit; written once in the file.
const USUAL: [(Scheme, u16); 2] = [(Scheme::Http, 80), (Scheme::Https, 443)];

/// Where the box answers for each name: the list permits nothing else, so nothing else is led there.
type Table<'a> = BTreeMap<&'a str, Vec<(Scheme, u16)>>;

/// The PAC file of a list, with these names of the box's own; without a proxy, one that sends everything `DIRECT`.
///
/// A site's names go together, without those that pages of other sites use too ([`super::left_out`]). The text depends on
/// nothing but the arguments.
pub fn text(list: &Allowlist, own: &[HostPattern], proxy: Option<&ProxyAddress>) -> String {
    let Some(proxy) = proxy else { return NO_PROXY.to_owned() };
    let (exact, below) = tables(list, own);
    let mut text = String::from(HEAD);
    text.push_str("var VIA = ");
    quote(&mut text, &format!("PROXY {proxy}; DIRECT"));
    text.push_str(";\nvar WEB = ");
    quote(&mut text, &told(&USUAL));
    text.push_str(";\n\n// These hosts.\n");
    table(&mut text, "HOSTS", &exact);
    text.push_str("\n// Every host below these.\n");
    table(&mut text, "BELOW", &below);
    text.push_str(CODE);
    text
}

/// The names, and the names that stand for all below them.
fn tables<'a>(list: &'a Allowlist, own: &'a [HostPattern]) -> (Table<'a>, Table<'a>) {
    let (mut exact, mut below) = (Table::new(), Table::new());
    let mut add = |pattern: &'a HostPattern, origins: &mut dyn Iterator<Item = (Scheme, u16)>| {
        let permitted = match pattern {
            HostPattern::Exact(host) => exact.entry(host.as_str()),
            HostPattern::Suffix(host) => below.entry(host.as_str()),
        };
        let permitted = permitted.or_default();
        permitted.extend(origins);
        permitted.sort_unstable();
        permitted.dedup();
    };
    for entry in list.sites().iter().flat_map(|site| site.hosts()) {
        if known::shared_in(entry.pattern()).is_none() {
            add(entry.pattern(), &mut origins(entry));
        }
    }
    for pattern in own {
        add(pattern, &mut USUAL.into_iter());
    }
    (exact, below)
}

/// What an entry permits: see [`HostEntry::permits`].
fn origins(entry: &HostEntry) -> impl Iterator<Item = (Scheme, u16)> {
    let ports = move |scheme: Scheme| [Some(scheme.default_port()), entry.port()].into_iter().flatten();
    let schemes = [Scheme::Http, Scheme::Https].into_iter();
    let origins = schemes.flat_map(move |scheme| ports(scheme).map(move |port| (scheme, port)));
    origins.filter(|&(scheme, port)| entry.permits(scheme, port))
}

fn table(text: &mut String, name: &str, hosts: &Table<'_>) {
    text.push_str("var ");
    text.push_str(name);
    text.push_str(" = {");
    for (index, (host, permitted)) in hosts.iter().enumerate() {
        text.push_str(if index == 0 { "\n  " } else { ",\n  " });
        quote(text, host);
        text.push_str(": ");
        if *permitted == USUAL { text.push_str("WEB") } else { quote(text, &told(permitted)) }
    }
    text.push_str("\n};\n");
}

/// ` http:80 https:443 `: each between spaces, so that one is found by its whole text.
fn told(origins: &[(Scheme, u16)]) -> String {
    let mut text = String::from(" ");
    for (scheme, port) in origins {
        write!(text, "{scheme}:{port} ").expect("writing to memory cannot fail");
    }
    text
}

/// A JavaScript string. Names were checked long before; here everything but plain signs is escaped all the same, so that
/// no text can end the string or begin a tag.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for sign in value.chars() {
        if sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | ':' | ';' | ' ' | '[' | ']') {
            text.push(sign);
        } else {
            let mut units = [0; 2];
            for unit in sign.encode_utf16(&mut units) {
                write!(text, "\\u{unit:04x}").expect("writing to memory cannot fail");
            }
        }
    }
    text.push('"');
}

const HEAD: &str = "\
// Bulaq, the school's lesson cache: which addresses go through it. Made from the school's allowlist.
// Everything else goes DIRECT, and these too when the box does not answer.

";

const NO_PROXY: &str = "\
// Bulaq, the school's lesson cache: it has no proxy door for this device (listen.forward and clients in bulaq.toml).

function FindProxyForURL(url, host) {
  return \"DIRECT\";
}
";

/// `find` asks for own properties alone, since `constructor` is a name too, and for texts alone, since old engines count
/// `__proto__` among an object's own.
const CODE: &str = r#"
function find(table, name) {
  var value = Object.prototype.hasOwnProperty.call(table, name) ? table[name] : "";
  return typeof value === "string" ? value : "";
}

function FindProxyForURL(url, host) {
  var address = /^(https?):\/\/([^\/?#]*)/i.exec(url);
  if (!address) {
    return "DIRECT";
  }
  var scheme = address[1].toLowerCase();
  var port = /:([0-9]+)$/.exec(address[2]);
  port = port ? port[1] : scheme === "https" ? "443" : "80";
  var name = String(host).toLowerCase().replace(/\.$/, "");
  var permitted = find(HOSTS, name);
  var dot = name.indexOf(".");
  while (permitted === "" && dot !== -1) {
    permitted = find(BELOW, name.substring(dot + 1));
    dot = name.indexOf(".", dot + 1);
  }
  return permitted.indexOf(" " + scheme + ":" + port + " ") === -1 ? "DIRECT" : VIA;
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn pac(hosts: &str, proxy: &str) -> String {
        let list = format!("[[site]]\nname = \"a\"\nhosts = [{hosts}]\n");
        let list = Allowlist::parse("allowlist.toml", &list).unwrap().allowlist;
        let own = [HostPattern::Exact(HostName::parse("bulaq.internal").unwrap())];
        text(&list, &own, Some(&ProxyAddress::parse(proxy).unwrap()))
    }

    #[test]
    fn the_file_is_tables_and_one_function() {
        let text = pac(
            r#""b.kz", "*.b.kz", "unpkg.com", "a.kz:8443", "http://plain.kz", "http://plain.kz:81", "білім.қаз""#,
            "192.0.2.7:3128",
        );
        let expected = r#"var VIA = "PROXY 192.0.2.7:3128; DIRECT";
var WEB = " http:80 https:443 ";

// These hosts.
var HOSTS = {
  "a.kz": " http:80 http:8443 https:443 https:8443 ",
  "b.kz": WEB,
  "bulaq.internal": WEB,
  "plain.kz": " http:80 http:81 ",
  "xn--90aud6hb.xn--80ao21a": WEB
};

// Every host below these.
var BELOW = {
  "b.kz": WEB
};
"#;
        assert!(text.contains(expected), "{text}");
        assert!(text.is_ascii());
        assert!(text.starts_with("// Bulaq") && text.trim_end().ends_with('}'));
    }

    #[test]
    fn nothing_newer_than_the_dialect_of_1997() {
        let text = pac(r#""a.kz", "*.a.kz""#, "bulaq.internal:3128");
        let code: String = text.lines().filter(|line| !line.starts_with("//")).collect();
        for newer in
            ["let ", "const ", "=>", "`", "class ", " of ", "?.", "...", ".includes", ".startsWith", ",}", ",]"]
        {
            assert!(!code.contains(newer), "{newer}");
        }
        // Helpers that ask DNS or that engines disagree about.
        for helper in ["dnsResolve", "isInNet", "isResolvable", "myIpAddress", "dnsDomainIs", "shExpMatch"] {
            assert!(!code.contains(helper), "{helper}");
        }
    }

    #[test]
    fn a_text_stays_a_text() {
        let mut quoted = String::new();
        quote(&mut quoted, "a\"; alert(1); </script>\\\u{2028}\n😀");
        let expected =
            "\"a\\u0022; alert\\u00281\\u0029; \\u003c\\u002fscript\\u003e\\u005c\\u2028\\u000a\\ud83d\\ude00\"";
        assert_eq!(quoted, expected);
    }

    #[test]
    fn a_proxy_is_a_host_and_a_port() {
        for (text, expected) in [
            ("bulaq.internal:3128", Some("bulaq.internal:3128")),
            ("Box.School.KZ:8080", Some("box.school.kz:8080")),
            ("192.0.2.7:3128", Some("192.0.2.7:3128")),
            ("[2001:db8::7]:3128", Some("[2001:db8::7]:3128")),
            ("[::ffff:192.0.2.7]:3128", Some("192.0.2.7:3128")),
            ("bulaq.internal", None),
            ("bulaq.internal:0", None),
            ("192.0.2.7:0", None),
            ("bulaq.internal:65536", None),
            ("bulaq.internal:+80", None),
            ("bulaq.internal:", None),
            (":3128", None),
            ("2001:db8::7:3128", None),
            ("192.0.2:3128", None),
            ("a.kz:80; PROXY evil.example:80", None),
            ("a.kz\":80", None),
            ("http://a.kz:80", None),
        ] {
            assert_eq!(ProxyAddress::parse(text).ok().map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn without_a_proxy_everything_goes_direct() {
        let text = text(&Allowlist::default(), &[], None);
        assert!(text.contains("return \"DIRECT\";") && !text.contains("PROXY"));
    }
}
