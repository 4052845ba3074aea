//! Tokens in targets by the names of their parameters.

use http::Uri;

use crate::field::MEMBERS_MAX;

/// Names of query and path parameters that carry a credential or a signature, in lower case.
pub const TOKEN_PARAMETERS: [&str; 25] = [
    "access_token",
    "auth",
    "authorization",
    "apikey",
    "api_key",
    "api-key",
    "sid",
    "sig",
    "sign",
    "session",
    "sessionid",
    "session_id",
    "sesskey",
    "phpsessid",
    "jsessionid",
    "password",
    "passwd",
    "pwd",
    "secret",
    "ticket",
    "jwt",
    "hmac",
    "hdnea",
    "hdnts",
    "key-pair-id",
];

/// What a token-like parameter's name ends with: `id_token`, `wstoken`, `X-Amz-Signature`, `client_secret`.
pub const TOKEN_PARAMETER_ENDS: [&str; 6] = ["token", "signature", "_sig", "credential", "_secret", "otp"];

/// Whether the query, or a parameter in the path (`;jsessionid=…`), looks as if it carried a token. Values are not
/// looked at; names are percent-decoded and compared without case.
pub fn has_token(target: &Uri) -> bool {
    let in_query = target.query().unwrap_or_default().split(['&', ';']);
    let in_path = target.path().split(';').skip(1);
    let mut names = in_query.chain(in_path).map(|pair| pair.split(['=', '/']).next().unwrap_or_default());
    // A target with more parameters than we care to read is not worth sharing.
    names.by_ref().take(MEMBERS_MAX).any(is_token_parameter) || names.next().is_some()
}

fn is_token_parameter(name: &str) -> bool {
    let name = percent_decoded(name).to_ascii_lowercase();
    TOKEN_PARAMETERS.contains(&name.as_str()) || TOKEN_PARAMETER_ENDS.iter().any(|end| name.ends_with(end))
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_like_parameters_are_found() {
        for (target, expected) in [
            ("http://a/?access_token=x", true),
            ("http://a/?p=1&Token=x", true),
            ("http://a/?wstoken", true),
            ("http://a/?sig=x", true),
            ("http://a/?X-Amz-Signature=x&p", true),
            ("http://a/?X-Amz-Credential=x", true),
            ("http://a/?client_secret=1", true),
            ("http://a/?p=1;sid=2", true),
            ("http://a/?%74oken=x", true),
            ("http://a/?access%5Ftoken=x", true),
            ("http://a/x;jsessionid=1?p", true),
            ("http://a/x;jsessionid=1/y", true),
            ("http://a/?page=2&lang=kk&v=1.2", false),
            ("http://a/?author=Abai&design=new&inside=1", false),
            ("http://a/?q=token", false),
            ("http://a/token/sig", false),
            ("http://a/?%=1&%zz", false),
            ("http://a/", false),
        ] {
            assert_eq!(has_token(&target.parse().unwrap()), expected, "{target}");
        }
        let many = format!("http://a/?{}", vec!["p"; MEMBERS_MAX + 1].join("&"));
        assert!(has_token(&many.parse().unwrap()));
    }
}
