//! What stands between quotes: durations, sizes, hosts and URLs as people write them.

use std::time::Duration;

use crate::diagnostic::shown;
use crate::host_name::{HostName, HostNameError};
use crate::site::{HostPattern, Scheme};

/// What is wrong with a value: the sentence, the word beside the underline, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) label: &'static str,
    pub(crate) help: String,
}

impl Wrong {
    fn new(message: impl Into<String>, label: &'static str, help: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), label, help: help.into() }
    }
}

/// Splits `90 min` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A duration in plain words: `45s`, `15 min`, `1h`, `30d`, `2 weeks`.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = || {
        Wrong::new(
            format!("\"{}\" is not a duration", shown(text)),
            "not a duration",
            "write a whole number and s, min, h, d or w: \"45s\", \"15min\", \"1h\", \"30d\", \"2w\"",
        )
    };
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 24 * 3600,
        "w" | "week" | "weeks" => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// A size in bytes: `500 MB`, `2 GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, Wrong> {
    let wrong = || {
        Wrong::new(
            format!("\"{}\" is not a size", shown(text)),
            "not a size",
            "write a whole number and MB, MiB, GB, GiB, TB or TiB: \"500 MB\", \"2 GiB\"",
        )
    };
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        "tb" => 1_000_000_000_000,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A host entry as it is written, before anybody asks whether it is wise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrittenHost {
    pub(crate) pattern: HostPattern,
    pub(crate) plain_http: bool,
    pub(crate) port: Option<u16>,
}

/// Reads `bilimland.kz`, `*.bilimland.kz`, `portal.kz:8443`, `http://play.nis.edu.kz`.
pub(crate) fn host_entry(text: &str) -> Result<WrittenHost, Wrong> {
    let (plain_http, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (true, rest),
        Some((_, rest)) => return Err(not_a_bare_host(text, rest)),
        None => (false, text),
    };
    if rest.contains(['/', '?', '#', '@']) {
        return Err(not_a_bare_host(text, rest));
    }
    let (name, port) = split_port(rest)?;
    let (suffix, name) = match name.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, name),
    };
    let host = host_name(name)?;
    let pattern = if suffix { HostPattern::Suffix(host) } else { HostPattern::Exact(host) };
    Ok(WrittenHost { pattern, plain_http, port })
}

fn not_a_bare_host(text: &str, rest: &str) -> Wrong {
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = host.rsplit('@').next().unwrap_or(host);
    Wrong::new(
        format!("\"{}\" is an address of a page, not a host", shown(text)),
        "only the host belongs here",
        format!("write \"{}\"; what may be done with its pages is said by path in [[site.rule]]", shown(host)),
    )
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), Wrong> {
    // More than one colon, or a bracket, is an IPv6 address or nonsense; the host name's own error is better.
    match text.split_once(':') {
        Some((name, digits)) if !name.is_empty() && !digits.contains([':', ']']) && !name.contains('[') => {
            match digits.parse::<u16>() {
                Ok(port) if port != 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok((name, Some(port))),
                _ => Err(Wrong::new(
                    format!("\"{}\" is not a port", shown(digits)),
                    "not a port",
                    "write a number from 1 to 65535 after the colon, or leave both out",
                )),
            }
        }
        _ => Ok((text, None)),
    }
}

fn host_name(name: &str) -> Result<HostName, Wrong> {
    HostName::parse(name).map_err(|error| match error {
        HostNameError::IpLiteral => Wrong::new(
            "an IP address cannot be listed: the list is about names",
            "an IP address",
            "write the host's name; an address that the name may resolve to belongs in `addresses`",
        ),
        HostNameError::BadCharacter if name.contains('*') => Wrong::new(
            format!("\"{}\" cannot be a host: `*` stands only at the beginning, before a dot", shown(name)),
            "`*` in the wrong place",
            "write \"*.example.kz\" for all names below example.kz",
        ),
        HostNameError::BadCharacter if name.contains(char::is_whitespace) => Wrong::new(
            format!("\"{}\" cannot be a host: it has a space in it", shown(name)),
            "a space",
            "put every host in quotes of its own, with a comma between them",
        ),
        HostNameError::BadCharacter if name.contains('_') => Wrong::new(
            format!("\"{}\" cannot be a host: no host name has `_`", shown(name)),
            "not a host name",
            format!("is it \"{}\"?", shown(&name.replace('_', "-"))),
        ),
        HostNameError::EmptyLabel => Wrong::new(
            format!("\"{}\" cannot be a host: {error}", shown(name)),
            "a dot too many",
            format!(
                "is it \"{}\"?",
                shown(&name.split('.').filter(|label| !label.is_empty()).collect::<Vec<_>>().join("."))
            ),
        ),
        _ => Wrong::new(
            format!("\"{}\" cannot be a host: {error}", shown(name)),
            "not a host name",
            "write the name as it stands in the browser's address line between \"//\" and the next \"/\"",
        ),
    })
}

/// An absolute URL in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    pub(crate) host: HostName,
    pub(crate) port: u16,
    pub(crate) path_and_query: String,
}

/// Reads an absolute URL of http or https; what stands behind `#` is for browsers and is left out.
pub(crate) fn url(text: &str) -> Result<Url, Wrong> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        Wrong::new(
            format!("\"{}\" is not a URL", shown(text)),
            "no scheme",
            "write the whole address, beginning with https:// or http://",
        )
    })?;
    let scheme = Scheme::parse(scheme).ok_or_else(|| {
        Wrong::new(
            format!("\"{}://\" is not reached over HTTP", shown(scheme)),
            "not http or https",
            "write https:// or http://",
        )
    })?;
    let path_at = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    if authority.contains('@') {
        return Err(Wrong::new(
            "a name or password does not belong in a URL here",
            "name or password",
            "leave out what stands before `@`, and `@` too",
        ));
    }
    let (name, port) = split_port(authority)?;
    let host = host_name(name)?;
    Ok(Url { scheme, host, port: port.unwrap_or(scheme.default_port()), path_and_query: path_and_query(path) })
}

/// A path and query for a request target: without fragment, beginning with `/`, and escaped where a URL must be.
pub(crate) fn path_and_query(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let text = text.split('#').next().unwrap_or(text);
    let mut out = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        out.push('/');
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | ..=0x20 | 0x7f.. => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_plain_words() {
        for (text, seconds) in [
            ("45s", Some(45)),
            ("15 min", Some(900)),
            ("15m", Some(900)),
            ("1h", Some(3600)),
            ("30d", Some(30 * 86400)),
            ("2 weeks", Some(14 * 86400)),
            ("0s", Some(0)),
            ("", None),
            ("h", None),
            ("1", None),
            ("-1h", None),
            ("1.5h", None),
            ("1 month", None),
            ("99999999999999999999s", None),
            ("9999999999999999999w", None),
        ] {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn sizes_have_their_unit() {
        for (text, size) in [
            ("500 MB", Some(500_000_000)),
            ("2GiB", Some(2 << 30)),
            ("1 tib", Some(1 << 40)),
            ("7", None),
            ("2 giga", None),
            ("99999999999 TiB", None),
        ] {
            assert_eq!(bytes(text).ok(), size, "{text}");
        }
    }

    #[test]
    fn host_entries_are_normalised() {
        for (text, shown) in [
            ("BILIMLAND.kz.", "bilimland.kz"),
            ("*.Bilimland.kz", "*.bilimland.kz"),
            ("portal.kz:8443", "portal.kz:8443"),
            ("http://play.nis.edu.kz", "http://play.nis.edu.kz"),
            ("HTTP://lessons.localhost:8080", "http://lessons.localhost:8080"),
        ] {
            let host = host_entry(text).unwrap();
            let port = host.port.map_or(String::new(), |port| format!(":{port}"));
            let http = if host.plain_http { "http://" } else { "" };
            assert_eq!(format!("{http}{}{port}", host.pattern), shown, "{text}");
        }
    }

    #[test]
    fn an_impossible_host_says_what_to_write() {
        for (text, label, help) in [
            ("https://bilimland.kz/kk/", "only the host belongs here", "write \"bilimland.kz\""),
            ("http://bilimland.kz/kk/", "only the host belongs here", "write \"bilimland.kz\""),
            ("bilimland.kz/kk", "only the host belongs here", "write \"bilimland.kz\""),
            ("bilim*.kz", "`*` in the wrong place", "*.example.kz"),
            ("*bilimland.kz", "`*` in the wrong place", "*.example.kz"),
            ("bilimland.kz daryn.online", "a space", "a comma"),
            ("10.1.2.3", "an IP address", "`addresses`"),
            ("[::1]", "an IP address", "`addresses`"),
            ("[::1]:80", "an IP address", "`addresses`"),
            ("portal.kz:0", "not a port", "1 to 65535"),
            ("portal.kz:99999", "not a port", "1 to 65535"),
            ("portal.kz:+80", "not a port", "1 to 65535"),
            ("a..kz", "a dot too many", "\"a.kz\""),
            ("my_school.kz", "not a host name", "\"my-school.kz\""),
            ("", "not a host name", "address line"),
        ] {
            let wrong = host_entry(text).unwrap_err();
            assert_eq!(wrong.label, label, "{text}");
            assert!(wrong.help.contains(help), "{text}: {}", wrong.help);
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let url = |text| url(text).map(|u| format!("{}|{}|{}|{}", u.scheme, u.host, u.port, u.path_and_query)).ok();
        for (text, parts) in [
            ("https://bilimland.kz", Some("https|bilimland.kz|443|/")),
            ("HTTP://Bilimland.kz:8080/kk/?a=1#top", Some("http|bilimland.kz|8080|/kk/?a=1")),
            ("https://bilimland.kz?a", Some("https|bilimland.kz|443|/?a")),
            ("https://bilimland.kz/сабақ", Some("https|bilimland.kz|443|/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B")),
            ("ftp://bilimland.kz/", None),
            ("bilimland.kz/", None),
            ("https:///x", None),
            ("https://user@bilimland.kz/", None),
            ("https://127.0.0.1/", None),
        ] {
            assert_eq!(url(text).as_deref(), parts, "{text}");
        }
    }
}
