//! A stored or arriving body on its way to a client that accepts no content coding: decoded as it goes.
//!
//! A box that holds a lesson in gzip must not fetch it again over a thin link for one client, and has it also when the
//! origin is away. What goes out is another representation ([`StoredHead::decoded_headers`]); its length is not known
//! before its end, so there are no ranges of it. Memory is bounded for each body and by the number of bodies; what unpacks
//! to far more than any lesson is cut.
//!
//! [`StoredHead::decoded_headers`]: bulaq_cache_policy::StoredHead::decoded_headers

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bulaq_cache_policy::{Precondition, PresentedRequest, evaluate_preconditions, not_modified_head};
use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use futures_util::{StreamExt, stream};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::deliver::{Content, bare, has_no_content, no_content, response};
use super::{BodyError, ResponseBody, Way};

/// What memory is counted in.
const UNIT_BYTES: u32 = 64 << 10;

/// Memory for all gzip bodies that one [`Memory`] has at a time, in units: 64 MiB. Nearly every client accepts gzip.
const ALL_GZIP_UNITS: usize = 1024;

/// The same for brotli: 128 MiB, six of the largest windows or some thirty usual ones.
const ALL_BROTLI_UNITS: usize = 2048;

/// What a gzip body takes of it: a window of 32 KiB and a step of output.
const GZIP_UNITS: u32 = 2;

/// What a brotli body takes besides its window: a step of output, and for each of three alphabets 256 prefix codes at most
/// (RFC 7932 §9.2) of 1,080 entries of 4 bytes.
const BROTLI_UNITS: u32 = 54;

/// The memory of everybody but the gateway.
static OF_DOORS: Memory = Memory::new();

/// The memory of the gateway, which undoes the coding of each page that it rewrites: its readers hold up no others.
static OF_GATEWAY: Memory = Memory::new();

/// Memory for what is decoded at one time. The codings have their own: a brotli body that waits for its large part would
/// hold up the small ones behind it.
struct Memory {
    gzip: Semaphore,
    brotli: Semaphore,
}

impl Memory {
    const fn new() -> Self {
        Self { gzip: Semaphore::const_new(ALL_GZIP_UNITS), brotli: Semaphore::const_new(ALL_BROTLI_UNITS) }
    }

    fn of(way: Way) -> &'static Self {
        if way == Way::Gateway { &OF_GATEWAY } else { &OF_DOORS }
    }
}

/// How long a request waits for its part of the memory; then it is told to come again.
const MEMORY_WAIT: Duration = Duration::from_secs(5);

/// When a request that found no memory may come again.
const RETRY_AFTER_S: u16 = 5;

/// How much a body may grow, once past [`FREE_BYTES`]: lessons grow three- to tenfold, tables and logs some fiftyfold.
const RATIO_MAX: u64 = 100;

/// Decoded bytes for which no ratio holds: a page of spaces is harmless.
const FREE_BYTES: u64 = 16 << 20;

/// Decoded bytes that are made in one step, between two looks at whether the client takes them.
const STEP_BYTES: usize = 64 << 10;

/// The answer to a request from `content`, whose body is decoded. RFC 9110 §13.2; a range is answered with the whole, as
/// §14.2 allows.
///
/// # Errors
/// As [`deliver`](super::deliver::deliver).
pub(super) async fn deliver(
    content: Content,
    request: &PresentedRequest<'_>,
    way: Way,
    now: SystemTime,
) -> io::Result<Response<ResponseBody>> {
    let head = content.head();
    let headers = head.decoded_headers(now);
    match evaluate_preconditions(request, head, now) {
        Precondition::NotModified => return Ok(bare(StatusCode::NOT_MODIFIED, not_modified_head(headers))),
        Precondition::Failed => return Ok(bare(StatusCode::PRECONDITION_FAILED, HeaderMap::new())),
        Precondition::Proceed => {}
    }
    let status = head.status();
    if request.method == Method::HEAD || has_no_content(status) {
        return Ok(response(status, headers, no_content()));
    }
    let is_brotli = head.content_codings().next() == Some(b"br");
    let Some(body) = undone(content.whole_body().await?, is_brotli, way).await else {
        let later = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))]);
        return Ok(bare(StatusCode::SERVICE_UNAVAILABLE, later));
    };
    Ok(response(status, headers, body))
}

/// A coded body decoded as it is read; None when there is no memory for that at the moment. Of a brotli body the first byte
/// is waited for.
pub(crate) async fn undone(coded: ResponseBody, is_brotli: bool, way: Way) -> Option<ResponseBody> {
    let memory = Memory::of(way);
    let (coded, memory, units, decoder) = if is_brotli {
        let (first, coded) = first_byte(coded).await;
        (coded, &memory.brotli, first.map_or(BROTLI_UNITS, brotli_units), Decoder::brotli())
    } else {
        (coded, &memory.gzip, GZIP_UNITS, Decoder::gzip())
    };
    let memory = tokio::time::timeout(MEMORY_WAIT, memory.acquire_many(units)).await.ok()?.ok()?;
    Some(Decoded::new(coded, decoder, Some(memory)).boxed_unsync())
}

/// The first byte of a body, if it has one, and the body from its beginning.
async fn first_byte(mut body: ResponseBody) -> (Option<u8>, ResponseBody) {
    while let Some(frame) = body.frame().await {
        let byte = frame.as_ref().ok().and_then(Frame::data_ref).and_then(|data| data.first().copied());
        if byte.is_some() || frame.is_err() {
            let frames = stream::iter([frame]).chain(BodyStream::new(body));
            return (byte, StreamBody::new(frames).boxed_unsync());
        }
    }
    (None, no_content())
}

/// What a brotli body takes of the memory that begins with this byte: there stands how long its window is (`WBITS`, RFC 7932
/// §9.1).
fn brotli_units(first: u8) -> u32 {
    let window_bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, low) => 8 + low, // 9 is none of the RFC's, and the decoder refuses it
        (_, high, _) => 17 + high,
    };
    BROTLI_UNITS + (1u32 << window_bits).div_ceil(UNIT_BYTES)
}

/// A body that is decoded as it is read.
struct Decoded {
    coded: ResponseBody,
    decoder: Decoder,
    /// What has come of the coded body and is not decoded yet.
    input: Bytes,
    coded_bytes: u64,
    decoded_bytes: u64,
    is_over: bool,
    _memory: Option<SemaphorePermit<'static>>,
}

impl Decoded {
    fn new(coded: ResponseBody, decoder: Decoder, memory: Option<SemaphorePermit<'static>>) -> Self {
        let (input, coded_bytes, decoded_bytes) = (Bytes::new(), 0, 0);
        Self { coded, decoder, input, coded_bytes, decoded_bytes, is_over: false, _memory: memory }
    }

    /// The end of the coded body. An empty one is no coded stream and decodes to nothing.
    fn end(&mut self) -> io::Result<Bytes> {
        self.is_over = true;
        if self.coded_bytes == 0 { Ok(Bytes::new()) } else { self.decoder.end().map(Bytes::from) }
    }

    fn count(&mut self, decoded: Bytes) -> io::Result<Bytes> {
        self.decoded_bytes += decoded.len() as u64;
        if self.decoded_bytes > FREE_BYTES && self.decoded_bytes / RATIO_MAX > self.coded_bytes {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to far more than a lesson"));
        }
        Ok(decoded)
    }
}

impl Body for Decoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while !this.is_over {
            let decoded = if !this.input.is_empty() || this.decoder.has_more() {
                this.decoder.step(&mut this.input).map(Bytes::from)
            } else {
                match ready!(Pin::new(&mut this.coded).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        this.input = frame.into_data().unwrap_or_default(); // trailers of the coded body are not ours
                        this.coded_bytes += this.input.len() as u64;
                        continue;
                    }
                    Some(Err(error)) => {
                        this.is_over = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => this.end(),
                }
            };
            match decoded.and_then(|decoded| this.count(decoded)) {
                Ok(decoded) if decoded.is_empty() => {}
                Ok(decoded) => return Poll::Ready(Some(Ok(Frame::data(decoded)))),
                Err(error) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(BodyError::Coding(error))));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// One content coding being undone.
enum Decoder {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Brotli(Box<Brotli>),
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    last: BrotliResult,
}

impl Decoder {
    fn gzip() -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
    }

    /// Without the large windows that go beyond RFC 7932: they take a gigabyte.
    fn brotli() -> Self {
        let alloc = StandardAlloc::default;
        let state = BrotliState::new_strict(alloc(), alloc(), alloc());
        Self::Brotli(Box::new(Brotli { state, last: BrotliResult::NeedsMoreInput }))
    }

    /// Whether there is more to come without further input.
    fn has_more(&self) -> bool {
        matches!(self, Self::Brotli(brotli) if matches!(brotli.last, BrotliResult::NeedsMoreOutput))
    }

    /// Takes some of the input and gives some of the output, about [`STEP_BYTES`] at most.
    fn step(&mut self, input: &mut Bytes) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => {
                let taken = gzip.write(input)?;
                input.advance(taken);
                if input.is_empty() {
                    gzip.flush()?; // a reader of a slow body gets what there is
                }
                let output = std::mem::take(gzip.get_mut());
                if taken == 0 && output.is_empty() { Err(malformed()) } else { Ok(output) }
            }
            Self::Brotli(brotli) => brotli.step(input),
        }
    }

    /// The rest of the output.
    ///
    /// # Errors
    /// When the coded stream has not reached its end.
    fn end(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => {
                gzip.try_finish()?;
                Ok(std::mem::take(gzip.get_mut()))
            }
            Self::Brotli(brotli) => match brotli.last {
                BrotliResult::ResultSuccess => Ok(Vec::new()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}

impl Brotli {
    fn step(&mut self, input: &mut Bytes) -> io::Result<Vec<u8>> {
        if matches!(self.last, BrotliResult::ResultSuccess) {
            return Err(malformed()); // something behind the end
        }
        let mut output = vec![0; STEP_BYTES];
        let (mut left, mut taken) = (input.len(), 0);
        let (mut room, mut made, mut total) = (output.len(), 0, 0);
        self.last = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut made,
            &mut output,
            &mut total,
            &mut self.state,
        );
        input.advance(taken);
        output.truncate(made);
        match self.last {
            BrotliResult::ResultFailure => Err(malformed()),
            BrotliResult::NeedsMoreInput if !input.is_empty() && taken == 0 => Err(malformed()),
            BrotliResult::NeedsMoreOutput if taken == 0 && made == 0 => Err(malformed()),
            _ => Ok(output),
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its content coding is malformed")
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http_body_util::Full;
    use proptest::prelude::*;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut to = GzEncoder::new(Vec::new(), Compression::best());
        to.write_all(content).unwrap();
        to.finish().unwrap()
    }

    /// Uncompressed meta-blocks of 64 KiB at most (RFC 7932 §9.2), then the empty last one.
    fn brotli(content: &[u8]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        let put =
            |bits: &mut Vec<bool>, value: usize, count: u32| bits.extend((0..count).map(|at| value >> at & 1 == 1));
        put(&mut bits, 0, 1); // a window of 64 KiB
        for block in content.chunks(1 << 16) {
            put(&mut bits, 0, 1); // not the last
            put(&mut bits, 0, 2); // four nibbles of length
            put(&mut bits, block.len() - 1, 16);
            put(&mut bits, 1, 1); // uncompressed
            bits.resize(bits.len().next_multiple_of(8), false);
            block.iter().for_each(|byte| put(&mut bits, usize::from(*byte), 8));
        }
        put(&mut bits, 3, 2); // the last, and empty
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
    }

    /// What a client gets of a coded body that comes in pieces; none when it sees a failure.
    async fn decoded(decoder: Decoder, coded: &[u8], piece: usize) -> Option<Vec<u8>> {
        let pieces: Vec<_> = coded.chunks(piece).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let mut body = Decoded::new(StreamBody::new(stream::iter(pieces)).boxed_unsync(), decoder, None);
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.ok()?.into_data().unwrap();
            assert!(data.len() <= 2 * STEP_BYTES, "{} bytes in one step", data.len());
            all.extend_from_slice(&data);
        }
        Some(all)
    }

    fn lesson() -> Vec<u8> {
        (0..40_000u32).flat_map(|at| format!("<li>{}</li>", at * at % 977).into_bytes()).collect()
    }

    #[tokio::test]
    async fn each_coding_is_undone_however_it_comes() {
        let lesson = lesson();
        let members = [gzip(&lesson[..1000]), gzip(&lesson[1000..])].concat();
        for (coded, decoder) in [
            (gzip(&lesson), Decoder::gzip as fn() -> Decoder),
            (members, Decoder::gzip),
            (brotli(&lesson), Decoder::brotli),
        ] {
            for piece in [1, 7, 1000, 1 << 20] {
                assert!(decoded(decoder(), &coded, piece).await.as_ref() == Some(&lesson), "{piece}");
            }
        }
        for decoder in [Decoder::gzip, Decoder::brotli] {
            assert_eq!(decoded(decoder(), b"", 9).await, Some(Vec::new()), "nothing is nothing");
            assert_eq!(decoded(decoder(), b"plain text in disguise", 9).await, None);
        }
        assert_eq!(decoded(Decoder::gzip(), &gzip(b""), 9).await, Some(Vec::new()));
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_never_told_to_be_whole() {
        let content = &lesson()[..300];
        for (coded, decoder) in [(gzip(content), Decoder::gzip as fn() -> Decoder), (brotli(content), Decoder::brotli)]
        {
            for end in 1..coded.len() {
                assert_eq!(decoded(decoder(), &coded[..end], 50).await, None, "{end} of {}", coded.len());
            }
            let more = [&coded[..], b"more"].concat();
            assert_eq!(decoded(decoder(), &more, 50).await, None, "and what follows the end is none of it");
        }
    }

    #[tokio::test]
    async fn a_bomb_is_cut() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert_eq!(decoded(Decoder::gzip(), &bomb, 4096).await, None);
        let harmless = gzip(&vec![0; FREE_BYTES as usize]);
        assert_eq!(decoded(Decoder::gzip(), &harmless, 4096).await.map(|all| all.len() as u64), Some(FREE_BYTES));
    }

    #[test]
    fn a_brotli_body_takes_what_its_window_takes() {
        for (first, units) in [
            (0b0, 1),
            (0b000_0001, 2),
            (0b0011, 4),
            (0b1001, 32),
            (0b1011, 64),
            (0b1111, 256),
            (0b010_0001, 1),
            (0b111_0001, 1),
        ] {
            assert_eq!(brotli_units(first), BROTLI_UNITS + units, "{first:b}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_gateway_and_the_large_hold_up_nobody_else() {
        let body = |bytes: Vec<u8>| Full::from(bytes).map_err(|never| match never {}).boxed_unsync();
        let all = async |body: Option<ResponseBody>| body.unwrap().collect().await.unwrap().to_bytes();
        let undo_brotli = async |way: Way| undone(body(brotli(b"lesson")), true, way).await;
        assert_eq!(all(undo_brotli(Way::Gateway).await).await, "lesson");
        let held = OF_GATEWAY.brotli.acquire_many(ALL_BROTLI_UNITS as u32 - BROTLI_UNITS).await.unwrap();
        assert!(undo_brotli(Way::Gateway).await.is_none(), "its window has no room");
        for way in [Way::Reverse, Way::Forward, Way::Night] {
            assert_eq!(all(undo_brotli(way).await).await, "lesson", "{way:?}");
        }
        assert_eq!(all(undone(body(gzip(b"lesson")), false, Way::Gateway).await).await, "lesson");
        drop(held);
        assert_eq!(all(undo_brotli(Way::Gateway).await).await, "lesson");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hang(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..64) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for decoder in [Decoder::gzip, Decoder::brotli] {
                    let _ = decoded(decoder(), &bytes, piece).await;
                    let damaged: Vec<u8> = gzip(&bytes).iter().enumerate()
                        .map(|(at, byte)| if at == piece { byte ^ 0x10 } else { *byte }).collect();
                    let _ = decoded(decoder(), &damaged, piece).await;
                }
            });
        }
    }
}
