//! One reference of a page, from the origin's names to the gateway's.
//!
//! What is relative stays as it is: a gateway name has the same paths as the site. Only what names a host is mapped, and
//! what stands behind the host stays letter by letter, in the page's own encoding.

use std::borrow::Cow;

use bulaq_allowlist::{Allowlist, HostName, NotListed, Scheme};
use http::Method;
use url::Url;

use super::names::{Address, Place, place};

/// Longest reference that is looked at; a browser shows no longer one, and what is longer is taken for an outside one
/// unless it is of a scheme that names no host (`data:`).
const REFERENCE_BYTES_MAX: usize = 64 * 1024;

/// What becomes of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mapped {
    /// It stays: relative, of a scheme that reaches no host, or the gateway's own.
    Kept,
    /// To a permitted site.
    To(String),
    /// To a host that is not on the list; where a reader who follows it is told so.
    Outside(String),
}

/// The mapping for one page.
#[derive(Debug, Clone)]
pub(super) struct Map {
    list: Allowlist,
    address: Address,
    /// The page's scheme at its origin.
    scheme: Scheme,
}

impl Map {
    /// For a page that its origin has at this scheme.
    pub(super) fn new(list: Allowlist, address: Address, scheme: Scheme) -> Self {
        Self { list, address, scheme }
    }

    /// The list that says which hosts are permitted.
    pub(super) fn list(&self) -> &Allowlist {
        &self.list
    }

    /// How the reader reaches the gateway.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Maps a reference as a browser would read it (WHATWG URL, "basic URL parser"), with the page's own scheme.
    pub(super) fn reference(&self, reference: &str) -> Mapped {
        if !may_name_a_host(reference) {
            return Mapped::Kept;
        }
        let text = tidied(reference);
        let (scheme, rest) = match scheme_of(&text) {
            Some((word, rest)) => match Scheme::parse(word) {
                Some(scheme) => (Some(scheme), rest),
                None => return Mapped::Kept,
            },
            None => (None, &*text),
        };
        let is_slash = |letter: char| matches!(letter, '/' | '\\');
        let slashes = rest.chars().take_while(|&letter| is_slash(letter)).count();
        let is_relative = slashes < 2 && scheme.is_none_or(|scheme| scheme == self.scheme);
        if is_relative {
            // `https:next.html` is relative to an https page, and would not be to the gateway's.
            return if scheme.is_some() { Mapped::To(without_scheme(rest)) } else { Mapped::Kept };
        }
        if reference.len() > REFERENCE_BYTES_MAX {
            return Mapped::Outside(self.nowhere());
        }
        let rest = &rest[slashes..];
        let end = rest.find(|letter: char| is_slash(letter) || matches!(letter, '?' | '#')).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        self.absolute(scheme.unwrap_or(self.scheme), authority, tail)
    }

    fn absolute(&self, scheme: Scheme, authority: &str, tail: &str) -> Mapped {
        let Some((host, port)) = host_and_port(scheme, authority) else { return Mapped::Outside(self.nowhere()) };
        if place(self.address.domain(), &self.list, host.as_str()) != Place::Elsewhere {
            return Mapped::Kept;
        }
        let Some(start) = self.address.of(&self.list, &host, port) else { return Mapped::Outside(self.nowhere()) };
        if self.is_listed(scheme, &host, port) {
            Mapped::To(format!("{start}{tail}"))
        } else {
            Mapped::Outside(format!("{start}/"))
        }
    }

    /// The gateway's origin for one of a site, as fields like `Access-Control-Allow-Origin` name it; None for all others.
    pub(super) fn origin(&self, origin: &str) -> Option<String> {
        match self.reference(origin) {
            Mapped::To(origin) => Some(origin),
            Mapped::Kept | Mapped::Outside(_) => None,
        }
    }

    /// Whether the list names the host, with this port if one is given. The scheme is the gateway's own choice.
    pub(super) fn is_listed(&self, scheme: Scheme, host: &HostName, port: Option<u16>) -> bool {
        match port {
            None => self.list.site_of(host).is_some(),
            Some(port) => {
                let permitted =
                    [scheme, Scheme::Http].map(|scheme| self.list.permit(scheme, host, port, &Method::GET, "/"));
                permitted.iter().any(|permit| matches!(permit, Ok(_) | Err(NotListed::Refused { .. })))
            }
        }
    }

    /// Where a reference leads that no name of the gateway can stand for.
    fn nowhere(&self) -> String {
        format!("{}/outside", self.address.start())
    }
}

/// Whether it is worth a closer look: every reference that names a host has two slashes or a colon.
pub(super) fn may_name_a_host(reference: &str) -> bool {
    let slashes = |pair: &[u8]| pair.iter().all(|byte| matches!(byte, b'/' | b'\\' | b'\t' | b'\n' | b'\r'));
    reference.contains(':') || reference.as_bytes().windows(2).any(slashes)
}

/// Without white space around it, and without the line ends and tabs that browsers take out.
fn tidied(reference: &str) -> Cow<'_, str> {
    let text = reference.trim_matches(|letter: char| letter <= ' ');
    if text.contains(['\t', '\n', '\r']) {
        Cow::Owned(text.replace(['\t', '\n', '\r'], ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// What stands behind the page's own scheme, so that it is still relative where that scheme is gone: the path of
/// `https:javascript:x` begins with `javascript:`, and that of `https: //a.kz/` with a space that browsers take off.
fn without_scheme(rest: &str) -> String {
    let begins_with_a_name = !rest.is_empty() && !rest.starts_with(['/', '\\', '?', '#']);
    if begins_with_a_name { format!("./{rest}") } else { rest.to_owned() }
}

/// The scheme and what follows its colon; None for a relative reference.
fn scheme_of(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(':')?;
    let mut letters = word.bytes();
    let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some((word, rest))
}

/// Host and port of an authority as browsers read it; the port only when it is not a scheme's own.
fn host_and_port(scheme: Scheme, authority: &str) -> Option<(HostName, Option<u16>)> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if authority.bytes().all(is_plain)
        && let Ok(host) = HostName::parse(authority)
    {
        return Some((host, None));
    }
    let url = Url::parse(&format!("{scheme}://{authority}/")).ok()?;
    let host = HostName::parse(url.host_str()?).ok()?;
    // `http://a.kz:443` is nobody's; `https://a.kz:80` neither. What is left is a port that the list must name.
    Some((host, url.port()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{list, map};
    use super::*;

    #[test]
    fn references_are_mapped_as_browsers_read_them() {
        let to = |text: &str| Mapped::To(text.to_owned());
        let outside = |label: &str| Mapped::Outside(format!("http://{label}.lessons.school.example/"));
        let a = "http://a-kz.lessons.school.example";
        for (reference, expected) in [
            ("next.html", Mapped::Kept),
            ("/x//y", Mapped::Kept),
            ("?a=http://a.kz/", Mapped::Kept),
            ("#top", Mapped::Kept),
            ("", Mapped::Kept),
            ("mailto:a@a.kz", Mapped::Kept),
            ("javascript:void(0)", Mapped::Kept),
            ("data:text/html,//a.kz/", Mapped::Kept),
            ("a:b", Mapped::Kept),
            ("1https://a.kz/", Mapped::Kept),
            ("https://a.kz/x?y#z", to(&format!("{a}/x?y#z"))),
            ("http://a.kz/x", to(&format!("{a}/x"))),
            ("HTTPS://A.KZ", to(a)),
            ("//a.kz/x", to(&format!("{a}/x"))),
            ("\\\\a.kz\\x", to(&format!("{a}\\x"))),
            ("/\\a.kz/", to(&format!("{a}/"))),
            ("/\t/a.kz/", to(&format!("{a}/"))),
            (" \nhttps://a.kz/x ", to(&format!("{a}/x"))),
            ("ht\ntps://a.kz/x", to(&format!("{a}/x"))),
            ("https:\\\\a.kz/x", to(&format!("{a}/x"))),
            ("https:///a.kz/x", to(&format!("{a}/x"))),
            ("http:a.kz/x", to(&format!("{a}/x"))),
            ("http:/a.kz/x", to(&format!("{a}/x"))),
            ("https:x/y", to("./x/y")),
            ("https:javascript:alert(1)", to("./javascript:alert(1)")),
            ("https:https://games.example/", to("./https://games.example/")),
            ("https: //games.example/", to("./ //games.example/")),
            ("https:?y", to("?y")),
            ("https:#z", to("#z")),
            ("https:", to("")),
            ("https:/x/y", to("/x/y")),
            ("https://a.kz?y", to(&format!("{a}?y"))),
            ("https://a.kz:443/", to(&format!("{a}/"))),
            ("https://u:p@a.kz/x", to(&format!("{a}/x"))),
            ("https://a%2ekz/x", to(&format!("{a}/x"))),
            ("https://a.kz./x", to(&format!("{a}/x"))),
            ("https://a.kz:8443/x", to("http://a-kz---8443.lessons.school.example/x")),
            ("https://a.kz:8444/x", outside("a-kz---8444")),
            ("https://e-lessons.kz/ж", to("http://e--lessons-kz.lessons.school.example/ж")),
            ("http://plain.kz/", to("http://plain-kz.lessons.school.example/")),
            ("https://x.wild.kz/", to("http://x-wild-kz.lessons.school.example/")),
            ("https://wild.kz/", outside("wild-kz")),
            ("https://games.example/x?secret", outside("games-example")),
            ("//games.example/x", outside("games-example")),
            ("https://бiлiм.қаз/", outside("0-xn----ii--9kc5bg-xn----80ao21a-0")),
            ("https://10.0.0.1/", Mapped::Outside("http://lessons.school.example/outside".to_owned())),
            ("https://[::1]/", Mapped::Outside("http://lessons.school.example/outside".to_owned())),
            ("https://", Mapped::Outside("http://lessons.school.example/outside".to_owned())),
            ("https://a_b.example/", Mapped::Outside("http://lessons.school.example/outside".to_owned())),
            ("http://a-kz.lessons.school.example/x", Mapped::Kept),
            ("//lessons.school.example/", Mapped::Kept),
        ] {
            assert_eq!(map().reference(reference), expected, "{reference:?}");
        }
    }

    #[test]
    fn an_origin_is_mapped_or_nothing() {
        assert_eq!(map().origin("https://a.kz").as_deref(), Some("http://a-kz.lessons.school.example"));
        for origin in ["null", "*", "https://games.example"] {
            assert_eq!(map().origin(origin), None, "{origin}");
        }
    }

    proptest! {
        #[test]
        fn what_was_mapped_is_not_mapped_again(reference in r"(https?:|HTTP:|ftp:)?[/\\]{0,3}(u@)?(a\.kz|x\.wild\.kz|games\.example|[a-z.%:@-]{0,8})(:[0-9]{1,4})?[/?#\\]?.{0,6}") {
            match map().reference(&reference) {
                Mapped::Kept => {}
                Mapped::To(text) | Mapped::Outside(text) => {
                    if text.starts_with("http") {
                        prop_assert_eq!(map().reference(&text), Mapped::Kept, "{}", text);
                    }
                }
            }
        }

        #[test]
        fn nothing_that_was_mapped_leads_past_the_gateway(reference in r"(https?:|HTTPS:|javascript:|data:| |\t|/|\\|\./|a\.kz|games\.example|x|\?|#|:|@){0,7}") {
            let page = Url::parse("http://a-kz.lessons.school.example/dir/page").unwrap();
            let (text, is_mapped) = match map().reference(&reference) {
                Mapped::Kept => (reference.clone(), false),
                Mapped::To(text) | Mapped::Outside(text) => (text, true),
            };
            if let Ok(url) = page.join(&text) && (is_mapped || Scheme::parse(url.scheme()).is_some()) {
                let at = url.host_str().map(|host| place(map().address().domain(), &list(), host));
                prop_assert!(at.is_some_and(|at| at != Place::Elsewhere), "{:?} -> {:?} -> {}", reference, text, url);
            }
        }

        #[test]
        fn a_mapped_address_leads_to_the_host_that_was_meant(path in "[a-z/]{0,8}", port in proptest::option::of(1u16..)) {
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let reference = format!("https://x.wild.kz{port}/{path}");
            let Ok(meant) = Url::parse(&reference) else { return Ok(()) };
            let (Mapped::To(text) | Mapped::Outside(text)) = map().reference(&reference) else { panic!("{reference}") };
            let host = Url::parse(&text).unwrap().host_str().unwrap().to_owned();
            let Place::Site(site) = place(map().address().domain(), &list(), &host) else { panic!("{host}") };
            prop_assert_eq!((site.host.as_str(), site.port), (meant.host_str().unwrap(), meant.port()));
        }
    }
}
