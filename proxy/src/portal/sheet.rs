//! The one style sheet of our pages and the policy that admits it alone.

use std::sync::LazyLock;

use http::HeaderValue;

use super::names;

/// The style sheet, as it stands in every page.
pub(super) const SHEET: &str = include_str!("sheet.css");

/// `Content-Security-Policy` of our pages: nothing but this style sheet and the page's own icon, no frame around us, no form.
///
/// The sheet is admitted by its digest, so that markup which escaped an origin's title could not bring its own.
pub(super) static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!("{}; img-src data:", *BASE);
    HeaderValue::try_from(policy).expect("a policy of ASCII letters and a base64 digest is a field value")
});

/// The same for a page that may stand in a frame.
pub(super) static FRAMED_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = POLICY.to_str().unwrap_or_default().replace("; frame-ancestors 'none'", "");
    HeaderValue::try_from(policy).expect("a part of a field value is one")
});

/// What all our policies begin with.
static BASE: LazyLock<String> = LazyLock::new(|| {
    let digest = base64(sha256(SHEET.as_bytes()).as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The policy of the pages that ask how the device reaches the box: a script of the box's own, the mark, and questions
/// to the probe's name and to these hosts.
pub(super) fn policy_asking(hosts: &[String]) -> HeaderValue {
    let probe = names::probe_name();
    let hosts: String = hosts.iter().map(|host| format!(" http://{host}")).collect();
    let policy = format!(
        "{}; script-src 'self'; connect-src 'self' http://{probe} https://{probe}{hosts}; img-src data: http://{probe} https://{probe}",
        *BASE
    );
    HeaderValue::try_from(policy).expect("host names and the rest of a policy are ASCII without control characters")
}

/// SHA-256 by the TLS library that the box has anyway; the policy's syntax wants this digest.
fn sha256(content: &[u8]) -> rustls::crypto::hash::Output {
    let rustls::SupportedCipherSuite::Tls13(suite) = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256
    else {
        unreachable!("the suite is named TLS13");
    };
    suite.common.hash_provider.hash(content)
}

/// Base64 with padding (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads_as_rfc_4648_section_10_shows() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_digest_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let digest = super::sha256(b"abc");
        assert_eq!(digest.as_ref()[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(digest.as_ref().len(), 32);
    }

    #[test]
    fn the_sheet_ends_no_element_and_loads_nothing() {
        for bad in ["</", "@import", "url("] {
            assert!(!super::SHEET.contains(bad), "{bad}");
        }
    }
}
