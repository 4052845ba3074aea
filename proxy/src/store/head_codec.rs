//! A stored head as bytes, and back. Reads hostile bytes: every length is checked, nothing panics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulaq_cache_policy::{Selecting, StoredHeadParts};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use super::record::{Reader, put_bytes};

const HAD_COOKIES: u8 = 1;
const MARKED_STALE: u8 = 2;
const HAD_AUTHORIZATION: u8 = 4;

/// Encodes what a policy wants to have back.
pub(crate) fn encode_head(parts: &StoredHeadParts) -> Vec<u8> {
    let mut to = Vec::with_capacity(512);
    put_bytes(&mut to, parts.method.as_str().as_bytes());
    to.extend_from_slice(&parts.status.as_u16().to_le_bytes());
    put_time(&mut to, parts.request_time);
    put_time(&mut to, parts.response_time);
    let mut flags = 0;
    flags |= if parts.request_had_cookies { HAD_COOKIES } else { 0 };
    flags |= if parts.is_marked_stale { MARKED_STALE } else { 0 };
    flags |= if parts.request_had_authorization { HAD_AUTHORIZATION } else { 0 };
    to.push(flags);
    put_count(&mut to, parts.selecting.len());
    for (name, value) in &parts.selecting {
        put_bytes(&mut to, name.as_str().as_bytes());
        to.push(u8::from(value.is_some()));
        put_bytes(&mut to, value.as_deref().unwrap_or_default());
    }
    put_count(&mut to, parts.headers.len());
    for (name, value) in &parts.headers {
        put_bytes(&mut to, name.as_str().as_bytes());
        put_bytes(&mut to, value.as_bytes());
    }
    to
}

/// Decodes what [`encode_head`] wrote; `None` for anything else.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<StoredHeadParts> {
    let mut from = Reader(bytes);
    let method = Method::from_bytes(from.bytes()?).ok()?;
    let status = StatusCode::from_u16(from.u16()?).ok()?;
    let request_time = take_time(&mut from)?;
    let response_time = take_time(&mut from)?;
    let flags = from.u8()?;
    let selecting = take_selecting(&mut from)?;
    let headers = take_headers(&mut from)?;
    from.is_empty().then_some(StoredHeadParts {
        method,
        status,
        headers,
        request_time,
        response_time,
        selecting,
        request_had_cookies: flags & HAD_COOKIES != 0,
        request_had_authorization: flags & HAD_AUTHORIZATION != 0,
        is_marked_stale: flags & MARKED_STALE != 0,
    })
}

fn take_selecting(from: &mut Reader<'_>) -> Option<Vec<Selecting>> {
    let mut selecting = Vec::new();
    for _ in 0..from.u32()? {
        let name = HeaderName::from_bytes(from.bytes()?).ok()?;
        let is_present = from.u8()? != 0;
        let value = from.bytes()?.to_vec();
        selecting.push((name, is_present.then_some(value)));
    }
    Some(selecting)
}

fn take_headers(from: &mut Reader<'_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for _ in 0..from.u32()? {
        let name = HeaderName::from_bytes(from.bytes()?).ok()?;
        let value = HeaderValue::from_bytes(from.bytes()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

fn put_count(to: &mut Vec<u8>, count: usize) {
    to.extend_from_slice(&u32::try_from(count).expect("header sections are bounded").to_le_bytes());
}

/// Times before 1970 become 1970: only a clock that was never set tells them.
fn put_time(to: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    to.extend_from_slice(&since.as_secs().to_le_bytes());
    to.extend_from_slice(&since.subsec_nanos().to_le_bytes());
}

fn take_time(from: &mut Reader<'_>) -> Option<SystemTime> {
    let (seconds, nanos) = (from.u64()?, from.u32()?);
    if nanos >= 1_000_000_000 {
        return None;
    }
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, COOKIE, LINK};
    use proptest::prelude::*;

    use super::*;

    fn parts() -> StoredHeadParts {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        headers.append(LINK, HeaderValue::from_static("</a.css>"));
        headers.append(LINK, HeaderValue::from_bytes(b"</\xd0\xb1>").unwrap());
        StoredHeadParts {
            method: Method::GET,
            status: StatusCode::NOT_FOUND,
            headers,
            request_time: UNIX_EPOCH + Duration::new(1_586_145_600, 5),
            response_time: UNIX_EPOCH + Duration::new(1_586_145_601, 999_999_999),
            selecting: vec![(ACCEPT_LANGUAGE, Some(b"kk".to_vec())), (COOKIE, None)],
            request_had_cookies: true,
            request_had_authorization: true,
            is_marked_stale: false,
        }
    }

    #[test]
    fn a_head_reads_back() {
        assert_eq!(decode_head(&encode_head(&parts())), Some(parts()));
        let other = StoredHeadParts {
            is_marked_stale: true,
            request_had_cookies: false,
            request_had_authorization: false,
            selecting: Vec::new(),
            ..parts()
        };
        assert_eq!(decode_head(&encode_head(&other)), Some(other));
    }

    #[test]
    fn a_cut_or_longer_head_is_none() {
        let bytes = encode_head(&parts());
        for cut in 0..bytes.len() {
            assert_eq!(decode_head(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(decode_head(&[&bytes[..], b"x"].concat()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_head(&bytes);
        }

        #[test]
        fn one_changed_byte_never_panics(at in 0usize..200, byte: u8) {
            let mut bytes = encode_head(&parts());
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode_head(&bytes);
        }
    }
}
