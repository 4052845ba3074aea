//! Names of stored files: from a URL and its variant to an index key, and from that to a path.
//!
//! A file's name is its index key, so that what is stored for a URL can be found without any index: its folder
//! follows from the URL, and the names in it say which variants there are. The hash needs no secret: BLAKE3 has no
//! known collisions, the record inside is compared with what was asked for, and it spells the URL out anyway.

use std::path::{Path, PathBuf};

/// Length of an index key: 8 bytes of the host's hash, 16 of the URL's, 8 of the variant's.
pub(crate) const KEY_BYTES: usize = 32;

/// The index key of one stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IndexKey(pub(crate) [u8; KEY_BYTES]);

/// The part of an index key that all variants of a URL share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UrlKey(pub(crate) [u8; 24]);

impl UrlKey {
    /// The key of a URL in its canonical form.
    pub(crate) fn of(url: &str) -> Self {
        let mut key = [0; 24];
        key[..8].copy_from_slice(&host_prefix(host_of(url)));
        key[8..].copy_from_slice(&blake3::hash(url.as_bytes()).as_bytes()[..16]);
        Self(key)
    }

    /// The index key of one variant.
    pub(crate) fn variant(self, variant: &[u8]) -> IndexKey {
        let mut key = [0; KEY_BYTES];
        key[..24].copy_from_slice(&self.0);
        key[24..].copy_from_slice(&blake3::hash(variant).as_bytes()[..8]);
        IndexKey(key)
    }

    /// The folder below `bodies` that holds all variants of the URL.
    fn folder(self) -> String {
        format!("{:02x}{:x}", self.0[8], self.0[9] >> 4)
    }

    /// A number that spreads URLs evenly, for striped locks.
    pub(crate) fn spread(self) -> usize {
        usize::from(self.0[10]) | usize::from(self.0[11]) << 8
    }
}

impl IndexKey {
    pub(crate) fn url(self) -> UrlKey {
        let mut key = [0; 24];
        key.copy_from_slice(&self.0[..24]);
        UrlKey(key)
    }
}

/// What all index keys of a host begin with.
pub(crate) fn host_prefix(host: &str) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&blake3::hash(host.as_bytes()).as_bytes()[..8]);
    prefix
}

/// The host of an absolute URL, without its port; empty when there is none.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

/// One file: which response, and which writing of it. A response that is stored anew gets a new file with a higher
/// generation; the old file goes when the new one is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileName {
    pub(crate) key: IndexKey,
    pub(crate) generation: u64,
}

impl FileName {
    /// The highest generation that a name can spell: 48 bits, milliseconds for 8,900 years.
    pub(crate) const GENERATION_MAX: u64 = (1 << 48) - 1;

    /// Its path below the folder of bodies.
    pub(crate) fn path(self, bodies: &Path) -> PathBuf {
        bodies.join(self.key.url().folder()).join(self.file_name())
    }

    /// The last part of its path.
    pub(crate) fn file_name(self) -> String {
        let mut name = String::with_capacity(KEY_BYTES * 2 + 13);
        push_hex(&mut name, &self.key.0);
        name.push('-');
        push_hex(&mut name, &self.generation.to_be_bytes()[2..]);
        name
    }

    /// Reads a name that [`FileName::file_name`] wrote; nothing else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (key, generation) = name.split_once('-')?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if key.len() != KEY_BYTES * 2 || generation.len() != 12 || !is_hex(key) || !is_hex(generation) {
            return None;
        }
        let mut bytes = [0; KEY_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&key[at * 2..at * 2 + 2], 16).ok()?;
        }
        Some(Self { key: IndexKey(bytes), generation: u64::from_str_radix(generation, 16).ok()? })
    }
}

fn push_hex(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(char::from(DIGITS[usize::from(byte >> 4)]));
        to.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The folder of a URL's files, below the folder of bodies.
pub(crate) fn folder_of(bodies: &Path, url: UrlKey) -> PathBuf {
    bodies.join(url.folder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_between_scheme_and_path() {
        let cases = [
            ("http://bilimland.kz/ru?x=1", "bilimland.kz"),
            ("https://bilimland.kz:8443/", "bilimland.kz"),
            ("https://bilimland.kz?x://y", "bilimland.kz"),
            ("http://[::1]:8000/", "[::1]"),
            ("http://[::1]/", "[::1]"),
            ("nonsense", ""),
        ];
        for (url, host) in cases {
            assert_eq!(host_of(url), host, "{url}");
        }
    }

    #[test]
    fn a_name_reads_back_and_nothing_near_it_does() {
        let name = FileName { key: UrlKey::of("http://a.kz/").variant(b"v"), generation: 0x12_3456_789a };
        let text = name.file_name();
        assert_eq!(FileName::parse(&text), Some(name));
        for wrong in ["", "-", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('-', "_")] {
            assert_eq!(FileName::parse(wrong), None, "{wrong}");
        }
        let path = name.path(Path::new("bodies"));
        assert_eq!(path.parent(), Some(folder_of(Path::new("bodies"), name.key.url()).as_path()));
    }

    #[test]
    fn keys_of_a_host_share_a_prefix_and_of_a_url_a_longer_one() {
        let (a, b) = (UrlKey::of("http://a.kz/1"), UrlKey::of("http://a.kz/2"));
        assert_eq!(a.0[..8], host_prefix("a.kz"));
        assert_eq!(a.0[..8], b.0[..8]);
        assert_ne!(a, b);
        assert_eq!(a.variant(b"x").url(), a);
        assert_ne!(a.variant(b"x"), a.variant(b"y"));
        assert_ne!(UrlKey::of("http://b.kz/1").0[..8], a.0[..8]);
    }
}
