//! Selecting a stored response by the request fields that its `Vary` names. RFC 9111 §4.1; RFC 9110 §12.5.5.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, VARY,
};

use crate::content_coding;
use crate::field;
use crate::request::PresentedRequest;

/// What a response says about the fields that selected it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// `*` somewhere, or a member that is no field name: no other request ever matches.
    Star,
    /// These fields, sorted, each once. Empty without `Vary`.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads every `Vary` line.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in field::members(headers, VARY) {
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Self::Star,
            }
        }
        names.sort_by(|a: &HeaderName, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::Fields(names)
    }
}

/// One selecting field of a stored response with the normalised value that the request had; `None` when it had none.
///
/// Of the `Accept` family the value itself; of every other field (`User-Agent`, `Referer`, `Origin`) only a digest,
/// because it is written to disk and may tell who asked.
pub type Selecting = (HeaderName, Option<Vec<u8>>);

/// Length of a digest in bytes: long enough that no two values meet by chance or by design.
const DIGEST_BYTES: usize = 32;

/// The selecting fields of a response with their values in the request that it answered.
pub(crate) fn selecting(request: &PresentedRequest<'_>, names: Vec<HeaderName>) -> Vec<Selecting> {
    names
        .into_iter()
        .map(|name| {
            let value = normalised(request, &name);
            (name, value)
        })
        .collect()
}

/// Whether the presented request has the same selecting values.
pub(crate) fn matches(selecting: &[Selecting], request: &PresentedRequest<'_>, codings: &[Vec<u8>]) -> bool {
    // In the school profile the coding of the stored body decides instead of what the earlier request asked for.
    let by_result = request.options.is_school();
    content_coding::accepts(request.headers, codings)
        && selecting
            .iter()
            .filter(|(name, _)| !(by_result && name == ACCEPT_ENCODING))
            .all(|(name, value)| *value == normalised(request, name))
}

/// Whether a credential of the request selected the response: such a value must not reach the disk, nor another client.
pub(crate) fn names_credential(request: &PresentedRequest<'_>, names: &[HeaderName]) -> bool {
    names.iter().any(|name| (name == COOKIE || name == AUTHORIZATION) && normalised(request, name).is_some())
}

/// A field's value over all its lines, without the differences that mean nothing: white space around list members
/// everywhere; case and white space around `;` where the field defines tokens; order and weights in `Accept-Encoding`.
fn normalised(request: &PresentedRequest<'_>, name: &HeaderName) -> Option<Vec<u8>> {
    if name == COOKIE && request.rule.anonymous || !request.headers.contains_key(name) {
        return None;
    }
    if name == ACCEPT_ENCODING {
        return Some(content_coding::accepted(request.headers).join(&b", "[..]));
    }
    let folds_case = [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE].contains(name);
    let members: Vec<Vec<u8>> = field::members(request.headers, name)
        .map(|member| if folds_case { folded(member) } else { member.to_vec() })
        .collect();
    let value = members.join(&b", "[..]);
    Some(if folds_case { value } else { digest(&value) })
}

fn digest(value: &[u8]) -> Vec<u8> {
    let digest: [u8; DIGEST_BYTES] = *blake3::hash(value).as_bytes();
    digest.to_vec()
}

fn folded(member: &[u8]) -> Vec<u8> {
    field::split(member, b';').map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>().join(&b';')
}

/// Bytes that are equal exactly for responses that replace each other under one cache key: the selecting values and
/// the content coding of the body. For hashing by the store.
pub(crate) fn variant_key(selecting: &[Selecting], codings: &[Vec<u8>], by_result: bool) -> Vec<u8> {
    let mut key = Vec::new();
    let mut push = |bytes: &[u8]| {
        key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        key.extend_from_slice(bytes);
    };
    push(&codings.join(&b", "[..]));
    for (name, value) in selecting.iter().filter(|(name, _)| !(by_result && name == ACCEPT_ENCODING)) {
        push(name.as_str().as_bytes());
        match value {
            Some(value) => push(value),
            None => push(b"\0absent"),
        }
    }
    key
}
