//! A body on its way to a reader: decoded, rewritten as it comes, never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame};
use http_body_util::BodyExt;

use super::css::Sheet;
use super::head::Kind;
use super::map::Map;
use super::markup::Markup;
use super::playlist::Playlist;
use crate::request::{BodyError, ResponseBody};

/// How much is rewritten in one step, between two looks at whether the client takes it: a third of a millisecond.
const STEP_BYTES: usize = 16 * 1024;

/// How much of a body must be there to know its encoding: a byte order mark, or `@charset "…";`.
const START_BYTES: usize = 64;

/// What is written first where the encoding became UTF-8: it wins over every other word about the encoding.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The body rewritten as `kind` says; `headers` are its own.
pub(super) fn rewritten(body: ResponseBody, kind: Kind, headers: &HeaderMap, map: Map) -> ResponseBody {
    let rewriting =
        Rewriting { kind, map: Arc::new(map), charset: charset(headers), start: Vec::new(), rewriter: None };
    Rewritten { body, rewriting: Some(rewriting), waiting: Bytes::new() }.boxed_unsync()
}

/// The encoding that `Content-Type` names.
fn charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| Encoding::for_label(value.trim().trim_matches(['"', '\'']).as_bytes())).flatten()
    })
}

struct Rewritten {
    body: ResponseBody,
    /// None once it is at its end.
    rewriting: Option<Rewriting>,
    /// What has come and is not rewritten yet.
    waiting: Bytes,
}

impl Body for Rewritten {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while let Some(rewriting) = &mut this.rewriting {
            let mut out = Vec::with_capacity(STEP_BYTES);
            if !this.waiting.is_empty() {
                let step = this.waiting.split_to(this.waiting.len().min(STEP_BYTES));
                rewriting.push(&step, &mut out);
            } else {
                match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        this.waiting = frame.into_data().unwrap_or_default(); // trailers are of the original
                        continue;
                    }
                    Some(Err(error)) => {
                        this.rewriting = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => {
                        rewriting.end(&mut out);
                        this.rewriting = None;
                    }
                }
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(out)))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.rewriting.is_none()
    }
}

/// One rewriter, which is made when enough has come to know the encoding.
struct Rewriting {
    kind: Kind,
    map: Arc<Map>,
    charset: Option<&'static Encoding>,
    start: Vec<u8>,
    rewriter: Option<Rewriter>,
}

enum Rewriter {
    /// In its own encoding.
    Markup(Markup),
    /// In an encoding whose markup is not ASCII.
    DecodedMarkup(Decoder, Markup),
    Css(Decoder, Sheet),
    Playlist(Decoder, Playlist),
}

impl Rewriting {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.rewriter.is_some() {
            self.give(bytes, false, out);
            return;
        }
        self.start.extend_from_slice(bytes);
        if self.start.len() >= START_BYTES {
            self.begin(out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.rewriter.is_none() {
            self.begin(out);
        }
        self.give(&[], true, out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let start = std::mem::take(&mut self.start);
        let marked = Encoding::for_bom(&start).map(|(encoding, _)| encoding);
        let encoding = marked.or(self.charset);
        let is_wide = |encoding: &'static Encoding| encoding == UTF_16LE || encoding == UTF_16BE;
        self.rewriter = Some(match self.kind {
            Kind::Markup => match encoding {
                Some(wide) if is_wide(wide) || !wide.is_ascii_compatible() => {
                    out.extend_from_slice(UTF_8_MARK);
                    let markup = Markup::new(Arc::clone(&self.map), Some(UTF_8));
                    Rewriter::DecodedMarkup(wide.new_decoder_with_bom_removal(), markup)
                }
                encoding => Rewriter::Markup(Markup::new(Arc::clone(&self.map), encoding)),
            },
            Kind::Css => {
                let encoding = encoding.or_else(|| at_charset(&start)).unwrap_or(UTF_8);
                if encoding != UTF_8 || marked.is_some() {
                    out.extend_from_slice(UTF_8_MARK);
                }
                Rewriter::Css(encoding.new_decoder_with_bom_removal(), Sheet::default())
            }
            Kind::Playlist => Rewriter::Playlist(UTF_8.new_decoder_without_bom_handling(), Playlist::default()),
        });
        self.give(&start, false, out);
    }

    fn give(&mut self, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) {
        let map = &*self.map;
        match &mut self.rewriter {
            None => {}
            Some(Rewriter::Markup(markup)) => {
                markup.push(bytes, out);
                if is_last {
                    markup.end(out);
                }
            }
            Some(Rewriter::DecodedMarkup(decoder, markup)) => {
                markup.push(text(decoder, bytes, is_last).as_bytes(), out);
                if is_last {
                    markup.end(out);
                }
            }
            Some(Rewriter::Css(decoder, sheet)) => {
                let mut made = String::with_capacity(bytes.len());
                sheet.push(&text(decoder, bytes, is_last), map, &mut made);
                if is_last {
                    sheet.end(map, &mut made);
                }
                out.extend_from_slice(made.as_bytes());
            }
            Some(Rewriter::Playlist(decoder, playlist)) => {
                let mut made = String::with_capacity(bytes.len());
                playlist.push(&text(decoder, bytes, is_last), map, &mut made);
                if is_last {
                    playlist.end(map, &mut made);
                }
                out.extend_from_slice(made.as_bytes());
            }
        }
    }
}

/// The next bytes as text; what is no text becomes the replacement character, as in a browser.
fn text(decoder: &mut Decoder, bytes: &[u8], is_last: bool) -> String {
    let room = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(usize::MAX / 2);
    let mut text = String::with_capacity(room);
    let _ = decoder.decode_to_string(bytes, &mut text, is_last); // there is room for all of it
    text
}

/// `@charset "…";` exactly, as the first bytes.
fn at_charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let label = bytes.strip_prefix(b"@charset \"")?.split(|&byte| byte == b'"').next()?;
    let encoding = Encoding::for_label(label)?;
    // Declared in ASCII, it cannot be one whose ASCII is not.
    Some(if encoding.is_ascii_compatible() { encoding } else { UTF_8 })
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1251;
    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::super::testing::map;
    use super::*;

    async fn through(kind: Kind, media_type: &'static str, content: &[u8], piece: usize) -> Vec<u8> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().unwrap())]);
        let pieces: Vec<_> =
            content.chunks(piece).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        rewritten(body, kind, &headers, map()).collect().await.unwrap().to_bytes().to_vec()
    }

    fn utf_16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[tokio::test]
    async fn each_encoding_is_read_however_it_comes() {
        let css = "@charset \"windows-1251\";\na::after{content:'Дом';b:url(//a.kz/дом)}";
        let mapped = |text: &str| text.replace("url(//a.kz/дом)", "url(\"http://a-kz.lessons.school.example/дом\")");
        let marked = |text: String| [UTF_8_MARK, text.as_bytes()].concat();
        let html = "<meta charset=utf-8><a href=\"//a.kz/x\">Дом</a>";
        let html_mapped = html.replace("//a.kz", "http://a-kz.lessons.school.example");
        let cyrillic = WINDOWS_1251.encode(css).0.into_owned();
        let plain = css.split_once('\n').unwrap().1;
        for (kind, media_type, content, expected) in [
            (Kind::Css, "text/css", cyrillic.clone(), marked(mapped(css))),
            (Kind::Css, "text/css; charset=\"windows-1251\"", cyrillic, marked(mapped(css))),
            (Kind::Css, "text/css", plain.into(), mapped(plain).into()),
            (
                Kind::Css,
                "text/css; charset=windows-1251",
                [UTF_8_MARK, plain.as_bytes()].concat(),
                marked(mapped(plain)),
            ),
            (Kind::Markup, "text/html", html.into(), html_mapped.clone().into()),
            (Kind::Markup, "text/html", [UTF_8_MARK, html.as_bytes()].concat(), marked(html_mapped.clone())),
            (Kind::Markup, "text/html; charset=utf-16le", utf_16(html), marked(html_mapped.clone())),
            (Kind::Markup, "text/html", utf_16(&format!("\u{feff}{html}")), marked(html_mapped)),
            (Kind::Playlist, "audio/mpegurl", "//a.kz/ж".into(), "http://a-kz.lessons.school.example/ж".into()),
            (Kind::Markup, "text/html", Vec::new(), Vec::new()),
            (Kind::Css, "text/css", Vec::new(), Vec::new()),
        ] {
            for piece in [1, 3, 64, 1 << 20] {
                let out = through(kind, media_type, &content, piece).await;
                assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected), "{media_type} {piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_fails_is_not_told_to_be_whole() {
        let pieces = [Ok(Frame::data(Bytes::from_static(b"<a href=//a.kz>"))), Err(BodyError::TooSlow)];
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        let failed = rewritten(body, Kind::Markup, &HeaderMap::new(), map()).collect().await;
        assert!(matches!(failed, Err(BodyError::TooSlow)));
    }

    #[tokio::test]
    async fn no_frame_is_larger_than_a_step_makes_it() {
        let content = "<a href=/x>text</a>".repeat(50_000);
        let pieces = [Ok(Frame::data(Bytes::from(content)))];
        let body = StreamBody::new(stream::iter(pieces)).boxed_unsync();
        let mut body = rewritten(body, Kind::Markup, &HeaderMap::new(), map());
        while let Some(frame) = body.frame().await {
            assert!(frame.unwrap().into_data().unwrap().len() <= 2 * STEP_BYTES);
        }
    }
}
