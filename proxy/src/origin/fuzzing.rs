//! What must hold for any head of an origin's response.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode, Version};

use super::fields::{leave, strip_hop_by_hop};
use super::framing::{Length, read};
use crate::fuzzing::{field_lines, first_line};

/// `200 1.1 GET`, then field lines: a length that passes is the only one that anybody could read, and nothing of one
/// connection reaches the next.
pub fn response_framing(data: &[u8]) {
    let (first, lines) = first_line(data);
    let mut words = first.split(|&byte| byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let Ok(status) = StatusCode::from_bytes(word()) else { return };
    let version = match word() {
        b"1.0" => Version::HTTP_10,
        b"2" => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let method = Method::from_bytes(word()).unwrap_or_default();
    let fields = field_lines(lines);
    if let Ok(length) = read(status, version, &fields, &method) {
        assert!(!status.is_informational());
        let is_coded = fields.contains_key(TRANSFER_ENCODING);
        assert!(!is_coded || version == Version::HTTP_11 && !fields.contains_key(CONTENT_LENGTH));
        let told = fields.get_all(CONTENT_LENGTH).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        for told in told {
            let told: u64 = String::from_utf8_lossy(told).trim().parse().expect("a length that passed is a number");
            assert!(length == Length::Known(told) || length == Length::Known(0));
        }
        if length == Length::Open {
            assert!(!fields.contains_key(CONTENT_LENGTH) && method != Method::HEAD && status != StatusCode::NO_CONTENT);
        }
    }
    let mut left = fields.clone();
    strip_hop_by_hop(&mut left);
    let named =
        fields.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    assert!(named.map(str::trim).all(|name| !left.contains_key(name)), "named in Connection");
    assert!([CONNECTION, TRANSFER_ENCODING].iter().all(|name| !left.contains_key(name)));

    let mut request = fields;
    let host = HeaderValue::from_static("a.kz");
    if leave(&mut request, &host, "bulaq").is_ok() {
        assert_eq!(request.get_all("host").iter().collect::<Vec<_>>(), [&host]);
        assert_eq!(request.get_all("via").iter().count(), 1);
        assert!(!request.keys().any(|name| name.as_str().starts_with("proxy-")));
        // A request that comes back is known: after a few rounds it goes nowhere.
        let rounds = (0..10).take_while(|_| leave(&mut request, &host, "bulaq").is_ok()).count();
        assert!(rounds < 10, "round in a circle");
    }
}
