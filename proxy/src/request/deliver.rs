//! A stored, partly stored or arriving response on its way to one client: preconditions, ranges, and the head.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bulaq_cache_policy::{
    ByteRange, ContentRange, Precondition, PresentedRequest, RangePlan, StoredHead, evaluate_preconditions,
    not_modified_head, resolve_range,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, BodyStream, Empty, Full, StreamBody};

use super::fill::Filling;
use super::growing::Reader;
use super::{BodyError, ResponseBody, Way, combine, decoded};
use crate::store::{StoredBody, StoredResponse};

/// What there is to deliver.
pub enum Content {
    /// A complete stored response.
    Stored(Arc<StoredResponse>),
    /// One whose content is arriving, with a reader at its beginning.
    Filling(Arc<Filling>, Reader),
    /// One that is stored in part, with a reader that sees to the rest.
    Parts(Box<combine::Reader>),
}

impl Content {
    pub(super) fn head(&self) -> &StoredHead {
        match self {
            Self::Stored(stored) => &stored.head,
            Self::Filling(filling, _) => &filling.head,
            Self::Parts(reader) => reader.incomplete().head(),
        }
    }

    /// The complete length, when it is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Stored(stored) => Some(stored.body_bytes()),
            Self::Filling(filling, _) => filling.content_length,
            Self::Parts(reader) => Some(reader.incomplete().complete_length()),
        }
    }

    /// All of it. Of one that is arriving the end is not taken from its announced length: it ends when the fill does.
    pub(super) async fn whole_body(self) -> io::Result<ResponseBody> {
        self.body(0..u64::MAX).await
    }

    async fn body(self, range: Range<u64>) -> io::Result<ResponseBody> {
        match self {
            Self::Stored(stored) => {
                let body = match StoredBody::in_memory(&stored, range.clone()) {
                    Some(body) => body,
                    None => Box::pin(StoredBody::open(&stored, range)).await?,
                };
                Ok(body.boxed_unsync())
            }
            Self::Filling(_, reader) => Ok(growing_body(reader.narrowed(range))),
            Self::Parts(reader) => Ok(reader.narrowed(range).into_body()),
        }
    }

    /// One of several parts; none of a body that is still arriving, since its reader goes forward only.
    async fn part(&self, range: Range<u64>) -> Option<io::Result<ResponseBody>> {
        match self {
            Self::Stored(stored) => Some(StoredBody::open(stored, range).await.map(BodyExt::boxed_unsync)),
            Self::Filling(..) => None,
            Self::Parts(reader) => Some(Ok(reader.another(range).into_body())),
        }
    }
}

/// Which bytes of a response of this length the answer to a request has, in their order; none when it has no content.
pub fn bytes_needed(head: &StoredHead, length: u64, request: &PresentedRequest<'_>, now: SystemTime) -> Vec<ByteRange> {
    let proceeds = evaluate_preconditions(request, head, now) == Precondition::Proceed;
    if !proceeds || request.method == Method::HEAD {
        return Vec::new();
    }
    let plan = match head.must_be_decoded_for(request) {
        true => RangePlan::Whole,
        false => resolve_range(request, head, length),
    };
    match plan {
        RangePlan::Whole => length.checked_sub(1).and_then(|last| ByteRange::new(0, last)).into_iter().collect(),
        RangePlan::Single(range) => vec![range],
        RangePlan::Multi(ranges) => ranges,
        RangePlan::Unsatisfiable => Vec::new(),
    }
}

/// The answer to a request from `content`. RFC 9110 §13.2, §14.2; RFC 9111 §4.3.2.
///
/// # Errors
/// When a stored body is gone or damaged: nothing was sent yet, and the request may look again as if nothing were stored.
pub async fn deliver(
    content: Content,
    request: &PresentedRequest<'_>,
    way: Way,
    now: SystemTime,
) -> io::Result<Response<ResponseBody>> {
    let head = content.head();
    if head.must_be_decoded_for(request) {
        return Box::pin(decoded::deliver(content, request, way, now)).await;
    }
    let headers = head.reuse_headers(now);
    match evaluate_preconditions(request, head, now) {
        Precondition::NotModified => return Ok(bare(StatusCode::NOT_MODIFIED, not_modified_head(headers))),
        Precondition::Failed => return Ok(bare(StatusCode::PRECONDITION_FAILED, HeaderMap::new())),
        Precondition::Proceed => {}
    }
    let (status, length) = (head.status(), content.length());
    let plan = length.map_or(RangePlan::Whole, |length| resolve_range(request, head, length));
    match (plan, length) {
        (RangePlan::Single(range), length) => part(content, headers, range, length).await,
        (RangePlan::Multi(ranges), Some(length)) => Box::pin(parts(content, headers, &ranges, length)).await,
        (RangePlan::Unsatisfiable, Some(length)) => Ok(unsatisfiable(length)),
        (_, length) => {
            let mut headers = headers;
            set_length(&mut headers, length);
            if status == StatusCode::OK && length.is_some() {
                headers.entry(ACCEPT_RANGES).or_insert(HeaderValue::from_static("bytes"));
            }
            let is_empty = request.method == Method::HEAD || has_no_content(status);
            let body = if is_empty { no_content() } else { content.whole_body().await? };
            Ok(response(status, headers, body))
        }
    }
}

async fn part(
    content: Content,
    mut headers: HeaderMap,
    range: ByteRange,
    length: Option<u64>,
) -> io::Result<Response<ResponseBody>> {
    headers.insert(CONTENT_RANGE, content_range(Some(range), length));
    set_length(&mut headers, Some(range.len()));
    let body = content.body(range.first..range.last + 1).await?;
    Ok(response(StatusCode::PARTIAL_CONTENT, headers, body))
}

/// Several ranges at once, as `multipart/byteranges` (RFC 9110 §14.6). Of a body that is still arriving the whole is
/// sent instead.
async fn parts(
    content: Content,
    mut headers: HeaderMap,
    ranges: &[ByteRange],
    length: u64,
) -> io::Result<Response<ResponseBody>> {
    let mut contents: Vec<ResponseBody> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let Some(body) = content.part(range.first..range.last + 1).await else {
            set_length(&mut headers, Some(length));
            return Ok(response(StatusCode::OK, headers, content.whole_body().await?));
        };
        contents.push(body?);
    }
    // Unguessable, so that no content can contain it on purpose.
    let boundary = format!("{:016x}{:016x}", RandomState::new().hash_one(1), RandomState::new().hash_one(2));
    let part_type = headers.remove(CONTENT_TYPE);
    let part_heads: Vec<Bytes> =
        ranges.iter().map(|range| part_head(&boundary, part_type.as_ref(), *range, length)).collect();
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let content_bytes: u64 = ranges.iter().map(|range| range.len()).sum();
    let total = content_bytes + part_heads.iter().chain([&end]).map(|text| text.len() as u64).sum::<u64>();
    let content_type = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"));
    headers.insert(CONTENT_TYPE, content_type.expect("hexadecimal digits are valid in a field"));
    set_length(&mut headers, Some(total));
    let mut bodies: Vec<ResponseBody> = Vec::with_capacity(2 * ranges.len() + 1);
    for (part_head, body) in part_heads.into_iter().zip(contents) {
        bodies.push(text(part_head));
        bodies.push(body);
    }
    bodies.push(text(end));
    let frames = stream::iter(bodies).flat_map(BodyStream::new);
    Ok(response(StatusCode::PARTIAL_CONTENT, headers, StreamBody::new(frames).boxed_unsync()))
}

fn text(text: Bytes) -> ResponseBody {
    Full::new(text).map_err(|never| match never {}).boxed_unsync()
}

fn part_head(boundary: &str, part_type: Option<&HeaderValue>, range: ByteRange, length: u64) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(part_type) = part_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(part_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Content-Range: ");
    head.extend_from_slice(content_range(Some(range), Some(length)).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head.into()
}

fn unsatisfiable(length: u64) -> Response<ResponseBody> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_RANGE, content_range(None, Some(length)));
    set_length(&mut headers, Some(0));
    bare(StatusCode::RANGE_NOT_SATISFIABLE, headers)
}

fn content_range(range: Option<ByteRange>, complete_length: Option<u64>) -> HeaderValue {
    ContentRange { range, complete_length }.to_value()
}

/// Statuses that never have content (RFC 9110 §6.4.1).
pub(super) fn has_no_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn set_length(headers: &mut HeaderMap, length: Option<u64>) {
    match length {
        Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => headers.remove(CONTENT_LENGTH),
    };
}

pub(super) fn bare(status: StatusCode, headers: HeaderMap) -> Response<ResponseBody> {
    response(status, headers, no_content())
}

pub(super) fn no_content() -> ResponseBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn response(status: StatusCode, headers: HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A reader as a body.
pub fn growing_body(reader: Reader) -> ResponseBody {
    let frames = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(chunk) => Some((Ok::<_, BodyError>(Frame::data(chunk)), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
