//! Bytes to text: which encoding a document is in, as browsers decide it (HTML standard, "determining the character
//! encoding"; CSS Syntax, "the input byte stream").

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1251, WINDOWS_1252, X_USER_DEFINED};
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

/// Bytes in which `<meta charset>` is looked for. The standard says 1,024; pages with long comments before it exist,
/// and browsers find theirs later too.
const PRESCAN_BYTES: usize = 4096;

/// The text of a page and its encoding: byte order mark, then the field's charset, then `<meta>`, then a guess.
///
/// The guess is UTF-8 when it is valid, otherwise windows-1251, which browsers in Kazakh and Russian assume.
pub(super) fn decode_markup<'a>(content_type: Option<&str>, bytes: &'a [u8]) -> (Cow<'a, str>, &'static Encoding) {
    let declared = || charset_of(content_type).or_else(|| prescan(&bytes[..bytes.len().min(PRESCAN_BYTES)]));
    let encoding = Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or_else(declared)
        .unwrap_or_else(|| if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1251 });
    (encoding.decode_with_bom_removal(bytes).0, encoding)
}

/// The text of a style sheet: byte order mark, then the field's charset, then `@charset`, then UTF-8.
pub(super) fn decode_css<'a>(content_type: Option<&str>, bytes: &'a [u8]) -> Cow<'a, str> {
    let declared = || charset_of(content_type).or_else(|| at_charset(bytes));
    let encoding = Encoding::for_bom(bytes).map(|(encoding, _)| encoding).or_else(declared).unwrap_or(UTF_8);
    encoding.decode_with_bom_removal(bytes).0
}

/// The encoding of a `charset` parameter, quoted or not.
fn charset_of(content_type: Option<&str>) -> Option<&'static Encoding> {
    content_type?.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| Encoding::for_label(value.trim().trim_matches(['"', '\'']).as_bytes())).flatten()
    })
}

/// `@charset "…";` exactly, as the first bytes.
fn at_charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let label = bytes.strip_prefix(b"@charset \"")?.split(|&byte| byte == b'"').next()?;
    Encoding::for_label(label).map(from_bytes_that_we_could_read)
}

/// An encoding declared in ASCII inside the document can't be UTF-16, or we had not read the declaration.
fn from_bytes_that_we_could_read(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == UTF_16LE || encoding == UTF_16BE {
        UTF_8
    } else if encoding == X_USER_DEFINED {
        WINDOWS_1252
    } else {
        encoding
    }
}

/// The first encoding that a `<meta>` or an XML declaration names.
fn prescan(start: &[u8]) -> Option<&'static Encoding> {
    let mut scan = Prescan::default();
    let mut emitter =
        CallbackEmitter::<_, &'static Encoding>::new(|event: CallbackEvent<'_>, _: Span<()>| scan.see(&event));
    emitter.naively_switch_states(true);
    let Ok(first) = Tokenizer::new_with_emitter(start, emitter).next().transpose();
    first.map(from_bytes_that_we_could_read)
}

#[derive(Default)]
struct Prescan {
    is_meta: bool,
    name: Vec<u8>,
    charset: Option<String>,
    content: Option<String>,
    is_content_type: bool,
}

impl Prescan {
    fn see(&mut self, event: &CallbackEvent<'_>) -> Option<&'static Encoding> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                *self = Self { is_meta: *name == b"meta", ..Self::default() };
            }
            CallbackEvent::AttributeName { name } => self.name = name.to_vec(),
            CallbackEvent::AttributeValue { value } if self.is_meta => {
                let text = || Some(String::from_utf8_lossy(value).into_owned());
                match self.name.as_slice() {
                    b"charset" => self.charset = text(),
                    b"content" => self.content = text(),
                    b"http-equiv" => self.is_content_type = value.eq_ignore_ascii_case(b"content-type"),
                    _ => {}
                }
            }
            CallbackEvent::CloseStartTag { .. } if self.is_meta => {
                let content = self.content.as_deref().filter(|_| self.is_content_type);
                return self
                    .charset
                    .as_deref()
                    .and_then(|label| Encoding::for_label(label.as_bytes()))
                    .or_else(|| charset_of(content));
            }
            // `<?xml version="1.0" encoding="windows-1251"?>` is a comment to HTML's tokenizer.
            CallbackEvent::Comment { value } => return xml_encoding(value),
            _ => {}
        }
        None
    }
}

fn xml_encoding(comment: &[u8]) -> Option<&'static Encoding> {
    let text = std::str::from_utf8(comment.strip_prefix(b"?xml")?).ok()?;
    let after = text.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Encoding::for_label(after[1..].split(quote).next()?.as_bytes())
}
