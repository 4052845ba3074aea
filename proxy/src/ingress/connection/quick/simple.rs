//! Requests that may have been answered before: which they are, and what their answer can depend on.
//!
//! Not a parser of HTTP: it knows the one form in which browsers ask for most of what they ask for, and says of everything
//! else that it is not that.

use std::io::BufRead;

use crate::request::repeat::IGNORED_FIELDS;

/// The most bytes of what decides the answer to one request; what is longer is rare and goes the ordinary way.
const KEY_BYTES_MAX: usize = 1024;

/// Fields whose values are part of the key, in their order in it.
const DECIDING_FIELDS: [&str; 4] = ["host", "accept", "accept-encoding", "accept-language"];

/// The place of `Host` among them.
const HOST: usize = 0;

/// All that the answer to a simple request depends on.
pub(super) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    length: usize,
}

impl Key {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    /// A part that nothing else can be taken for: its length goes before it.
    fn push_part(&mut self, part: Option<&[u8]>) -> Option<()> {
        let length = part.map_or(0, |part| part.len() + 1);
        self.push(&u16::try_from(length).ok()?.to_le_bytes())?;
        self.push(part.unwrap_or_default())
    }
}

/// A simple request.
pub(super) struct Simple<'a> {
    pub(super) key: Key,
    /// The value of its `Range`: one range of bytes, from an offset on. The key says whether there is one.
    pub(super) range: Option<&'a [u8]>,
    /// How long its head is.
    pub(super) length: usize,
}

/// The request that `bytes` begin with. None when it is not simple, or not all there.
///
/// Simple is a GET in HTTP/1.1 with an origin-form target, exactly one `Host`, the `Accept` family, one range of bytes
/// perhaps, fields by which nothing is decided, and no field twice. The bytes are in the ranges that hyper takes.
pub(super) fn read<'a>(scope: &[u8], bytes: &'a [u8]) -> Option<Simple<'a>> {
    let (line, mut at) = line(bytes)?;
    let target = line.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1")?;
    let is_origin_form =
        target.first() == Some(&b'/') && target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_origin_form {
        return None;
    }
    let mut deciding: [Option<&[u8]>; DECIDING_FIELDS.len()] = [None; DECIDING_FIELDS.len()];
    let (mut seen, mut range) = (0u32, None);
    loop {
        let (line, length) = self::line(&bytes[at..])?;
        at += length;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_named = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
        if let Some(place) = DECIDING_FIELDS.iter().position(&is_named) {
            if deciding[place].replace(value).is_some() {
                return None;
            }
            continue;
        }
        let bit = match IGNORED_FIELDS.iter().position(is_named) {
            Some(place) => 1 << place,
            // What a client says that need not say it.
            None if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"keep-alive") => 1 << 31,
            None if name.eq_ignore_ascii_case(b"range") && is_one_range(value) => {
                range = Some(value);
                1 << 30
            }
            None => return None,
        };
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
    }
    deciding[HOST]?;
    let mut key = Key { bytes: [0; KEY_BYTES_MAX], length: 0 };
    key.push_part(Some(scope))?;
    key.push_part(Some(target))?;
    deciding.into_iter().try_for_each(|part| key.push_part(part))?;
    key.push(&[u8::from(range.is_some())])?;
    Some(Simple { key, range, length: at })
}

/// `bytes=FIRST-LAST` or `bytes=FIRST-`, in few digits and without white space: what players send.
fn is_one_range(value: &[u8]) -> bool {
    let Some(spec) = value.strip_prefix(b"bytes=") else { return false };
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else { return false };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    let is_number = |text: &[u8]| text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
    !first.is_empty() && is_number(first) && is_number(last)
}

/// The first line, of visible characters, spaces and tabs, without its CR LF; and how long it is with them.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    // The standard library's fast search for a byte; it cannot fail on a slice.
    let length = (&mut &*bytes).skip_until(b'\n').ok()?;
    let line = bytes[..length].strip_suffix(b"\r\n")?;
    // Without a way out of the loop, so that it looks at many bytes at once.
    let is_odd = |byte: u8| (byte < b' ' && byte != b'\t') | (byte > b'~');
    let is_any_odd = line.iter().fold(false, |any, &byte| any | is_odd(byte));
    (!is_any_odd).then_some((line, length))
}

const _: () = assert!(IGNORED_FIELDS.len() <= 30, "each has a bit of its own");
