//! Content codings: what was compressed for the wire, unpacked within bounds (promise 15).

use std::io::{self, Read};

/// The most that is ever unpacked.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// How much larger than the packed form the unpacked one may be, once past [`FREE_BYTES`].
const RATIO_MAX: u64 = 10;

/// Unpacked bytes for which no ratio holds: a page of a table compresses far better than 10 to 1 and is harmless.
const FREE_BYTES: u64 = 4 << 20;

/// Codings on top of each other. One is usual, two are a misconfiguration that works.
const CODINGS_MAX: usize = 2;

/// What became of packed content.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::prefetch) enum Unpacked {
    /// It was not packed.
    Plain,
    /// All of it.
    Whole(Vec<u8>),
    /// Its beginning: a limit was reached, or the rest is damaged.
    Cut(Vec<u8>),
    /// In a coding that we don't read, and didn't ask for.
    Unknown,
}

/// Undoes the codings of a `Content-Encoding` field, the last one first (RFC 9110 §8.4).
pub(in crate::prefetch) fn unpack(content_encoding: Option<&str>, content: &[u8]) -> Unpacked {
    let codings: Vec<&str> =
        content_encoding.unwrap_or("").split(',').map(str::trim).filter(|coding| !coding.is_empty()).collect();
    if codings.len() > CODINGS_MAX {
        return Unpacked::Unknown;
    }
    let mut unpacked = Unpacked::Plain;
    for coding in codings.iter().rev() {
        let packed = match &unpacked {
            Unpacked::Plain => content,
            Unpacked::Whole(bytes) | Unpacked::Cut(bytes) => bytes,
            Unpacked::Unknown => return Unpacked::Unknown,
        };
        let limit = limit_of(packed.len());
        let next = match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(packed), limit),
            "deflate" => deflate(packed, limit),
            "br" => read(brotli_decompressor::Decompressor::new(packed, BUFFER_BYTES), limit),
            "identity" => continue,
            _ => Unpacked::Unknown,
        };
        unpacked = next;
    }
    unpacked
}

/// Undoes gzip if the bytes begin as gzip does, as sitemaps named `.xml.gz` do.
pub(super) fn unpack_if_gzip(content: &[u8]) -> Unpacked {
    if content.starts_with(&[0x1f, 0x8b]) { unpack(Some("gzip"), content) } else { Unpacked::Plain }
}

const BUFFER_BYTES: usize = 8 * 1024;

fn limit_of(packed: usize) -> u64 {
    let by_ratio = u64::try_from(packed).unwrap_or(u64::MAX).saturating_mul(RATIO_MAX);
    by_ratio.clamp(FREE_BYTES, UNPACKED_BYTES_MAX)
}

/// RFC 9110 §8.4.1.2 means zlib's format; some servers send deflate without it, and browsers take both.
fn deflate(packed: &[u8], limit: u64) -> Unpacked {
    let is_zlib =
        matches!(packed, [head, flags, ..] if head & 0x0f == 8 && u16::from_be_bytes([*head, *flags]) % 31 == 0);
    if is_zlib {
        read(flate2::read::ZlibDecoder::new(packed), limit)
    } else {
        read(flate2::read::DeflateDecoder::new(packed), limit)
    }
}

fn read(from: impl Read, limit: u64) -> Unpacked {
    let mut content = Vec::new();
    let outcome: io::Result<usize> = from.take(limit + 1).read_to_end(&mut content);
    let is_within = u64::try_from(content.len()).unwrap_or(u64::MAX) <= limit;
    if outcome.is_ok() && is_within {
        return Unpacked::Whole(content);
    }
    content.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Unpacked::Cut(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
        to.write_all(content).expect("memory");
        to.finish().expect("memory")
    }

    fn zlib(content: &[u8]) -> Vec<u8> {
        let mut to = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        to.write_all(content).expect("memory");
        to.finish().expect("memory")
    }

    /// `<a href=b>` in an uncompressed meta-block (RFC 7932 §9.2), then the empty last one.
    const BROTLI: &[u8] = b"\x8b\x04\x80<a href=b>\x03";

    #[test]
    fn each_coding_that_we_ask_for_is_undone() {
        let text = b"<a href=b>".as_slice();
        let twice = gzip(&gzip(text));
        for (coding, packed, expected) in [
            (None, text.to_vec(), Unpacked::Plain),
            (Some(""), text.to_vec(), Unpacked::Plain),
            (Some("identity"), text.to_vec(), Unpacked::Plain),
            (Some("gzip"), gzip(text), Unpacked::Whole(text.into())),
            (Some("X-GZIP"), gzip(text), Unpacked::Whole(text.into())),
            (Some("deflate"), zlib(text), Unpacked::Whole(text.into())),
            (Some("deflate"), zlib(text)[2..].to_vec(), Unpacked::Whole(text.into())),
            (Some("gzip, gzip"), twice, Unpacked::Whole(text.into())),
            (Some("zstd"), text.to_vec(), Unpacked::Unknown),
            (Some("gzip, gzip, gzip"), text.to_vec(), Unpacked::Unknown),
            (Some("gzip"), b"no gzip".to_vec(), Unpacked::Cut(Vec::new())),
        ] {
            assert_eq!(unpack(coding, &packed), expected, "{coding:?}");
        }
        assert_eq!(unpack(Some("br"), BROTLI), Unpacked::Whole(b"<a href=b>".to_vec()));
    }

    #[test]
    fn a_bomb_is_cut_at_ten_to_one() {
        let packed = gzip(&vec![b' '; 200 << 20]);
        let Unpacked::Cut(content) = unpack(Some("gzip"), &packed) else { panic!("cut") };
        let limit = limit_of(packed.len());
        assert_eq!(u64::try_from(content.len()).expect("small"), limit);
        assert!(limit < UNPACKED_BYTES_MAX);
    }

    #[test]
    fn what_arrived_before_the_damage_is_kept() {
        let mut packed = gzip(&b"<a href=b>".repeat(1000));
        packed.truncate(packed.len() - 8); // without checksum and length
        assert!(matches!(unpack(Some("gzip"), &packed), Unpacked::Cut(content) if content.starts_with(b"<a href=b>")));
    }
}
