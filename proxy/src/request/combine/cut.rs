//! A part that is not stored, cut to what the client asked for: we asked for whole blocks in his place.

use bulaq_cache_policy::{ByteRange, ContentRange, PresentedRequest, parse_range};
use bytes::Buf;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::request::ResponseBody;

/// The origin's 206 cut to the client's range; none when it does not have all of that, or the client asked for more than
/// one range, or under conditions that only the origin can judge: the request must be made as the client made it.
pub fn cut<B>(presented: &PresentedRequest<'_>, response: &Response<B>) -> Option<Cut> {
    let headers = response.headers();
    if response.status() != StatusCode::PARTIAL_CONTENT || presented.is_conditional() {
        return None;
    }
    let ContentRange { range, complete_length } = ContentRange::of(headers)?;
    let there = range?;
    let specs = parse_range(presented.headers.get(RANGE)?.as_bytes())?;
    let [spec] = specs[..] else { return None };
    // Without a complete length the end of an open range is not known.
    let wanted = match complete_length {
        Some(length) => spec.resolve(length)?,
        None => spec.resolve(u64::MAX - 1)?,
    };
    let is_there = there.first <= wanted.first && wanted.last <= there.last;
    is_there.then(|| Cut { wanted, complete_length, skip: wanted.first - there.first })
}

/// What is to be cut out of a response.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    wanted: ByteRange,
    complete_length: Option<u64>,
    skip: u64,
}

impl Cut {
    /// The response with the client's range alone.
    pub fn of(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let mut response = response.map(|body| part_of(body, self.skip, self.wanted.len()));
        let range = ContentRange { range: Some(self.wanted), complete_length: self.complete_length };
        response.headers_mut().insert(CONTENT_RANGE, range.to_value());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(self.wanted.len()));
        response
    }
}

/// `take` bytes of a body, after the first `skip`. Of a body that ends earlier the announced length tells.
fn part_of(body: ResponseBody, skip: u64, take: u64) -> ResponseBody {
    let frames = stream::unfold((body, skip, take), |(mut body, mut skip, mut take)| async move {
        while take > 0 {
            let mut data = match body.frame().await?.map(Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_trailers)) => continue,
                Err(error) => return Some((Err(error), (body, 0, 0))),
            };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
            data.advance(skipped);
            skip -= skipped as u64;
            data.truncate(usize::try_from(take).unwrap_or(usize::MAX));
            if !data.is_empty() {
                take -= data.len() as u64;
                return Some((Ok(Frame::data(data)), (body, skip, take)));
            }
        }
        None
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulaq_cache_policy::{Options, SiteRule};
    use http::{HeaderMap, HeaderName, Method, Uri};
    use http_body_util::Full;

    async fn given(asked: &[(&'static str, &'static str)], status: u16, content_range: &'static str) -> Option<String> {
        let (uri, rule, options) = (Uri::from_static("http://a.test/"), SiteRule::default(), Options::default());
        let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = asked.iter().map(field).collect();
        let presented = PresentedRequest::new(&Method::GET, &uri, &headers, &rule, &options);
        let response = Response::builder().status(status).header(CONTENT_RANGE, content_range);
        let body = Full::new("23456".into()).map_err(|never| match never {}).boxed_unsync();
        let response: Response<ResponseBody> = response.body(body).unwrap();
        let cut = cut(&presented, &response)?.of(response);
        let (head, body) = cut.into_parts();
        let range = head.headers[CONTENT_RANGE].to_str().unwrap().to_owned();
        let content = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert_eq!(head.headers[CONTENT_LENGTH], content.len().to_string());
        Some(format!("{range} {content}"))
    }

    #[tokio::test]
    async fn a_client_is_given_what_he_asked_for() {
        let (ten, open, range) = ("bytes 2-6/10", "bytes 2-6/*", |value| [("range", value)]);
        for (asked, content_range, expected) in [
            (&range("bytes=3-4")[..], ten, Some("bytes 3-4/10 34")),
            (&range("bytes=2-6"), ten, Some("bytes 2-6/10 23456")),
            (&range("bytes=3-4"), open, Some("bytes 3-4/* 34")),
            (&range("bytes=3-"), "bytes 2-6/7", Some("bytes 3-6/7 3456")),
            (&range("bytes=-2"), "bytes 2-6/7", Some("bytes 5-6/7 56")),
            // What is not there in whole is asked for again.
            (&range("bytes=1-4"), ten, None),
            (&range("bytes=3-7"), ten, None),
            (&range("bytes=3-"), ten, None),
            (&range("bytes=3-"), open, None),
            (&range("bytes=-2"), open, None),
            (&range("bytes=2-2,4-4"), ten, None),
            (&range("bytes=12-"), ten, None),
            (&range("bytes=3-4"), "lessons 2-6/10", None),
            (&[("range", "bytes=3-4"), ("if-range", "\"a\"")], ten, None),
        ] {
            assert_eq!(given(asked, 206, content_range).await.as_deref(), expected, "{asked:?} {content_range}");
        }
        assert_eq!(given(&range("bytes=3-4"), 200, ten).await, None);
    }
}
