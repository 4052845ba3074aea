//! A host name that is already valid and lower-case.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Longest text that is looked at as a host name, in bytes.
///
/// A valid name has at most 253; the rest is room for Cyrillic before it becomes ASCII, and keeps a hostile
/// header field from costing more than a glance.
const HOST_TEXT_BYTES_MAX: usize = 1024;

/// RFC 1035 §2.3.4, as text.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The name of a host in the one form that is compared: ASCII (A-labels, RFC 5890), lower-case, without a
/// trailing dot and without a port.
///
/// IP addresses in any spelling are not host names: the allowlist is about names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why a text is not a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// There is nothing, or only dots.
    #[error("the host name is empty")]
    Empty,
    /// Longer than DNS allows: 253 bytes, or 63 in one label.
    #[error("the host name is longer than DNS allows (253 bytes, 63 between two dots)")]
    TooLong,
    /// An IP address, in any of the spellings that browsers take for one.
    #[error("an IP address is not a host name")]
    IpLiteral,
    /// A port follows the name.
    #[error("a port does not belong to the host name")]
    Port,
    /// A character that no host name has, or a label that begins or ends with a hyphen.
    #[error("the host name has a character that no host name has")]
    BadCharacter,
    /// Two dots in a row, or a dot at the beginning.
    #[error("the host name has an empty part between two dots")]
    EmptyLabel,
}

impl HostName {
    /// Reads a name as it is written by people and sent by clients: any case, any script, perhaps one trailing dot.
    ///
    /// # Errors
    /// [`HostNameError`] says what keeps the text from being a name.
    pub fn parse(text: &str) -> Result<HostName, HostNameError> {
        if is_canonical(text) { Ok(HostName(text.into())) } else { Self::parse_any(text) }
    }

    fn parse_any(text: &str) -> Result<HostName, HostNameError> {
        if text.is_empty() || text == "." {
            return Err(HostNameError::Empty);
        }
        if text.len() > HOST_TEXT_BYTES_MAX {
            return Err(HostNameError::TooLong);
        }
        if text.contains([':', '[', ']']) {
            return Err(not_a_name_with_colons(text));
        }
        let ascii = to_ascii(text)?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        if name.is_empty() {
            return Err(HostNameError::Empty);
        }
        if name.split('.').any(str::is_empty) {
            return Err(HostNameError::EmptyLabel);
        }
        if name.len() > NAME_BYTES_MAX || name.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
            return Err(HostNameError::TooLong);
        }
        if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
            return Err(HostNameError::BadCharacter);
        }
        if ends_in_a_number(name) {
            return Err(HostNameError::IpLiteral);
        }
        Ok(HostName(name.into()))
    }

    /// The name in ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as people read it: `xn--…` labels in their own script. For pages and messages, never for comparing.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// How many labels the name has; `lessons.localhost` has two.
    pub fn labels(&self) -> usize {
        self.0.split('.').count()
    }

    /// Whether this name is `above` or a name below it.
    pub fn is_at_or_below(&self, above: &HostName) -> bool {
        self == above || self.is_below(above)
    }

    /// Whether this name is a name below `above`, at any depth, and not `above` itself.
    pub fn is_below(&self, above: &HostName) -> bool {
        self.0.strip_suffix(above.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The name that can be registered: `media.bilimland.kz` gives `bilimland.kz`. None for a public suffix.
    pub fn registrable(&self) -> Option<HostName> {
        psl::domain_str(&self.0).map(|name| HostName(name.into()))
    }

    /// Whether the name is one that the public DNS never has, kept for local use and for tests (RFC 6761, RFC 6762,
    /// RFC 8375, and the words that private networks have been given or have taken).
    pub fn is_local(&self) -> bool {
        const LOCAL: &[&str] = &["localhost", "test", "internal", "local", "lan", "home.arpa"];
        LOCAL.iter().any(|local| self.0.strip_suffix(local).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }

    /// Whether others can register names below this one: `kz`, `edu.kz`, `github.io`.
    ///
    /// A name under a top-level domain that nobody knows is no public suffix, but the single label itself is.
    pub fn is_public_suffix(&self) -> bool {
        psl::suffix_str(&self.0) == Some(self.as_str())
    }
}

/// Whether a text is a name in its one form already, as nearly all are that clients send; said in one look at each byte.
/// What this does not vouch for is read with all care.
fn is_canonical(text: &str) -> bool {
    let (mut before, mut label_start) = (b'.', 0);
    for (at, byte) in text.bytes().enumerate() {
        let is_right = match byte {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'-' => before != b'.' && before != b'-', // two in a row may begin an A-label
            b'.' => before != b'.' && before != b'-',
            _ => false,
        };
        if byte == b'.' {
            label_start = at + 1;
        }
        if !is_right || at - label_start.min(at) >= LABEL_BYTES_MAX {
            return false;
        }
        before = byte;
    }
    // The name of a top-level domain begins with a letter; what does not may be an address.
    let is_end_right = before != b'.' && before != b'-';
    is_end_right && text.len() <= NAME_BYTES_MAX && text.as_bytes()[label_start].is_ascii_lowercase()
}

/// Only reached for text with a colon or a bracket: an IPv6 address, a port, or neither.
fn not_a_name_with_colons(text: &str) -> HostNameError {
    let inner = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(inner, _)| inner);
    let without_zone = inner.split('%').next().unwrap_or(inner);
    if without_zone.parse::<Ipv6Addr>().is_ok() {
        return HostNameError::IpLiteral;
    }
    match text.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            // `127.0.0.1:80` is first of all an address.
            if HostName::parse(name) == Err(HostNameError::IpLiteral) {
                HostNameError::IpLiteral
            } else {
                HostNameError::Port
            }
        }
        _ => HostNameError::BadCharacter,
    }
}

/// UTS 46 to lower-case A-labels; the common case, a name that is so already, does not allocate.
fn to_ascii(text: &str) -> Result<Cow<'_, str>, HostNameError> {
    // Most names have nothing that UTS 46 would change or refuse: no upper case, no other script, no A-label to check.
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if text.bytes().all(is_plain) && !text.contains("xn--") {
        return Ok(Cow::Borrowed(text));
    }
    // Hyphens in the third and fourth place are in use (`r3---sn-…`), so only the ends are checked, by the caller.
    Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| HostNameError::BadCharacter)
}

/// The WHATWG URL test for "browsers would take this for an IPv4 address": the last label is a number in
/// decimal, octal or hexadecimal. `127.1`, `0x7f000001`, `017700000001` and `2130706433` are all 127.0.0.1.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.0)
    }
}

impl std::str::FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_normalised() {
        for (written, name) in [
            ("bilimland.kz", "bilimland.kz"),
            ("BilimLand.KZ", "bilimland.kz"),
            ("bilimland.kz.", "bilimland.kz"),
            ("ｂilimland。kz", "bilimland.kz"),
            ("білім.қаз", "xn--90aud6hb.xn--80ao21a"),
            ("lessons.localhost", "lessons.localhost"),
            ("r3---sn-4g5e6nez.googlevideo.com", "r3---sn-4g5e6nez.googlevideo.com"),
            ("a.1.kz", "a.1.kz"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(HostName::parse(written).map(|n| n.to_string()), Ok(name.to_owned()), "{written}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_comes_to_the_same(
            text in "[a-c0-1x.-]{0,12}", long in "[a-z0-9]{60,66}", names in 1usize..6, end in "[a-z0x.-]{0,3}",
        ) {
            let long = format!("{}{end}", vec![long; names].join("."));
            for text in [text, long] {
                prop_assert!(!is_canonical(&text) || HostName::parse_any(&text).is_ok_and(|name| *name.0 == *text), "{}", text);
            }
        }
    }

    #[test]
    fn usual_names_take_the_short_way() {
        for (text, is_short) in [
            ("bilimland.kz", true),
            ("a-b.1.kz", true),
            ("localhost", true),
            ("x", true),
            ("", false),
            (".", false),
            ("a.", false),
            ("a..b", false),
            ("-a.kz", false),
            ("a-.kz", false),
            ("xn--90aud6hb.kz", false),
            ("Bilimland.kz", false),
            ("127.0.0.1", false),
            ("a.0x1", false),
            ("a.kz:80", false),
        ] {
            assert_eq!(is_canonical(text), is_short, "{text}");
        }
    }

    #[test]
    fn an_address_is_not_a_name_in_any_spelling() {
        for written in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0X7F.1",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.0x1",
            "１２７.0.0.1",
            "127。0。0。1",
            "1.2.3.4.5",
            "foo.0x",
            "[::1]",
            "::1",
            "::ffff:127.0.0.1",
            "[::ffff:7f00:1]",
            "[fe80::1%eth0]",
            "127.0.0.1:80",
            "[::1]:80",
        ] {
            assert_eq!(HostName::parse(written), Err(HostNameError::IpLiteral), "{written}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        for (written, error) in [
            ("", HostNameError::Empty),
            (".", HostNameError::Empty),
            ("portal.kz:8443", HostNameError::Port),
            ("portal kz", HostNameError::BadCharacter),
            ("portal.kz/lessons", HostNameError::BadCharacter),
            ("user@portal.kz", HostNameError::BadCharacter),
            ("*.portal.kz", HostNameError::BadCharacter),
            ("a_b.kz", HostNameError::BadCharacter),
            ("-a.kz", HostNameError::BadCharacter),
            ("a-.kz", HostNameError::BadCharacter),
            ("a\0.kz", HostNameError::BadCharacter),
            ("a%2eb.kz", HostNameError::BadCharacter),
            ("a..kz", HostNameError::EmptyLabel),
            (".kz", HostNameError::EmptyLabel),
            ("a.kz..", HostNameError::EmptyLabel),
            ("xn--a.kz", HostNameError::BadCharacter),
            ("portal.kz:", HostNameError::BadCharacter),
        ] {
            assert_eq!(HostName::parse(written), Err(error), "{written}");
        }
        assert_eq!(HostName::parse(&"a".repeat(64)), Err(HostNameError::TooLong));
        assert!(HostName::parse(&"a.".repeat(127)).is_ok());
        assert_eq!(HostName::parse(&"ab.".repeat(85)), Err(HostNameError::TooLong));
        assert_eq!(HostName::parse(&"a".repeat(5000)), Err(HostNameError::TooLong));
    }

    #[test]
    fn below_means_whole_labels() {
        let name = |text| HostName::parse(text).unwrap();
        assert!(name("a.b.kz").is_below(&name("b.kz")));
        assert!(!name("b.kz").is_below(&name("b.kz")));
        assert!(name("b.kz").is_at_or_below(&name("b.kz")));
        assert!(!name("notb.kz").is_below(&name("b.kz")));
        assert_eq!(name("media.bilimland.kz").registrable(), Some(name("bilimland.kz")));
        assert!(name("edu.kz").is_public_suffix());
        assert!(!name("mektep.edu.kz").is_public_suffix());
    }

    #[test]
    fn pages_show_the_own_script() {
        assert_eq!(HostName::parse("xn--90aud6hb.xn--80ao21a").unwrap().to_unicode(), "білім.қаз");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_an_error(text in "\\PC{0,80}") {
            if let Ok(name) = HostName::parse(&text) {
                prop_assert!(name.as_str().len() <= 253);
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'));
                let again = HostName::parse(name.as_str());
                prop_assert_eq!(again, Ok(name));
            }
        }
    }
}
