//! Whether a response says without doubt where its content ends (RFC 9112 §6.3).
//!
//! The HTTP library refuses what it cannot read: bad or differing `Content-Length`, `Transfer-Encoding` over
//! HTTP/1.0, folded lines, white space in names, control characters, bad chunk sizes. Here is what it lets pass
//! although two readers could understand it differently.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::options::HEAD_FIELDS_MAX;

/// How long the content must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Exactly so many bytes.
    Known(u64),
    /// Until the last chunk, the end of the stream or of the connection.
    Open,
}

/// Reads the framing of a response; what is wrong about it, if something is, in words without content.
///
/// One unknown transfer coding without `chunked` is read to the end of the connection, as RFC 9112 §6.3 item 4 says;
/// a known one would need decoding that we never asked for, since we send no `TE`.
pub(super) fn read(
    status: StatusCode,
    version: Version,
    fields: &HeaderMap,
    method: &Method,
) -> Result<Length, &'static str> {
    if fields.len() > HEAD_FIELDS_MAX {
        return Err("too many fields");
    }
    if status.is_informational() {
        return Err("a change of protocol that nobody asked for");
    }
    let codings = fields.get_all(TRANSFER_ENCODING);
    let is_coded = codings.iter().next().is_some();
    let length = content_length(fields)?;
    if is_coded && length.is_some() {
        return Err("both a length and a transfer coding");
    }
    if is_coded && version != Version::HTTP_11 {
        return Err("a transfer coding in a version of HTTP that has none");
    }
    if is_coded {
        one_coding(codings.iter())?;
    }
    let has_no_content = *method == Method::HEAD || matches!(status.as_u16(), 204 | 304);
    Ok(match length {
        _ if has_no_content => Length::Known(0),
        Some(length) => Length::Known(length),
        None => Length::Open,
    })
}

/// The one value of `Content-Length`; several equal ones count as one (RFC 9110 §8.6).
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut found = None;
    for line in fields.get_all(CONTENT_LENGTH) {
        for member in line.as_bytes().split(|&byte| byte == b',') {
            let digits = member.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err("a length that is no number");
            }
            let text = std::str::from_utf8(digits).map_err(|_| "a length that is no number")?;
            let length: u64 = text.parse().map_err(|_| "a length beyond all bounds")?;
            if found.is_some_and(|other| other != length) {
                return Err("two different lengths");
            }
            found = Some(length);
        }
    }
    Ok(found)
}

fn one_coding<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Result<(), &'static str> {
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let coding = codings.next().unwrap_or_default();
    if codings.next().is_some() {
        return Err("several transfer codings");
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let name = coding.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_known = [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress", b"chunked", b"identity"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
    // `xchunked`, `"chunked"` and the like are attempts to be read in two ways.
    let looks_chunked = name.to_ascii_lowercase().windows(5).any(|part| part == b"chunk");
    if is_known || looks_chunked || name.is_empty() || !name.iter().all(is_token) {
        return Err("a transfer coding that was not asked for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn framing(version: Version, lines: &[(&'static str, &'static str)]) -> Result<Length, &'static str> {
        let fields: HeaderMap = lines
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        read(StatusCode::OK, version, &fields, &Method::GET)
    }

    #[test]
    fn the_end_of_the_content_is_clear_or_the_response_is_refused() {
        let (cl, te) = ("content-length", "transfer-encoding");
        for (lines, is_fine) in [
            (&[][..], Some(Length::Open)),
            (&[(cl, "5")], Some(Length::Known(5))),
            (&[(cl, " 5 ")], Some(Length::Known(5))),
            (&[(cl, "5"), (cl, "5")], Some(Length::Known(5))),
            (&[(cl, "5, 5")], Some(Length::Known(5))),
            (&[(cl, "5"), (cl, "6")], None),
            (&[(cl, "5, 6")], None),
            (&[(cl, "5,")], None),
            (&[(cl, "+5")], None),
            (&[(cl, "-5")], None),
            (&[(cl, "0x5")], None),
            (&[(cl, "5 6")], None),
            (&[(cl, "")], None),
            (&[(cl, "99999999999999999999")], None),
            (&[(te, "chunked")], Some(Length::Open)),
            (&[(te, "Chunked")], Some(Length::Open)),
            (&[(te, "chunked"), (cl, "5")], None),
            (&[(te, "mystery"), (cl, "5")], None),
            (&[(te, "mystery")], Some(Length::Open)),
            (&[(te, "gzip, chunked")], None),
            (&[(te, "chunked, chunked")], None),
            (&[(te, "chunked"), (te, "chunked")], None),
            (&[(te, "chunked, gzip")], None),
            (&[(te, "gzip")], None),
            (&[(te, "identity")], None),
            (&[(te, "xchunked")], None),
            (&[(te, "\"chunked\"")], None),
            (&[(te, "chunked;x=y")], None),
            (&[(te, "")], None),
        ] {
            assert_eq!(framing(Version::HTTP_11, lines).ok(), is_fine, "{lines:?}");
        }
        assert!(framing(Version::HTTP_10, &[(te, "chunked")]).is_err());
        assert!(framing(Version::HTTP_2, &[(te, "chunked")]).is_err());
        assert_eq!(framing(Version::HTTP_10, &[]), Ok(Length::Open));
    }

    #[test]
    fn some_responses_have_no_content_whatever_they_say() {
        let fields: HeaderMap = [(CONTENT_LENGTH, HeaderValue::from_static("5"))].into_iter().collect();
        for (status, method) in [(200, Method::HEAD), (204, Method::GET), (304, Method::GET)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(read(status, Version::HTTP_11, &fields, &method), Ok(Length::Known(0)), "{status}");
        }
        assert!(read(StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_11, &HeaderMap::new(), &Method::GET).is_err());
    }
}
