//! The content of a response as it is on the wire (RFC 9112 §6, §7). No I/O.

use bytes::{Buf, Bytes, BytesMut};

use super::super::framing::Length;

/// Bytes of chunk extensions in one body. Nobody sends any; without a bound they would be a body that never begins.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Bytes of fields after the content. They are read, and dropped (RFC 9110 §6.5.1).
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Takes the content out of what is read from a connection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::origin) enum Decoder {
    /// So many bytes are still to come.
    Known(u64),
    /// In chunks.
    Chunked(Chunked),
    /// All until the connection ends.
    UntilEnd,
    /// There is no more.
    Ended,
}

/// Where in a chunked body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::origin) struct Chunked {
    at: At,
    /// Of the size that is being read, or of the chunk's data that is still to come.
    size: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Size,
    /// A further digit, or what ends the size.
    Digits,
    /// White space after the size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a line after the last chunk.
    Line,
    InLine,
    LineLf,
    EndLf,
    End,
}

/// The content is not what its framing says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::origin) struct Broken;

impl Decoder {
    /// For a response of this length, and in chunks if it is not known.
    pub(super) fn new(length: Length, is_chunked: bool) -> Self {
        match length {
            Length::Known(0) => Self::Ended,
            Length::Known(bytes) => Self::Known(bytes),
            Length::Open if is_chunked => Self::Chunked(Chunked::default()),
            Length::Open => Self::UntilEnd,
        }
    }

    pub(in crate::origin) fn has_ended(&self) -> bool {
        *self == Self::Ended
    }

    /// How many bytes are still to come, when that is known.
    pub(in crate::origin) fn left(&self) -> Option<u64> {
        match self {
            Self::Known(bytes) => Some(*bytes),
            Self::Ended => Some(0),
            Self::Chunked(_) | Self::UntilEnd => None,
        }
    }

    /// Takes the next piece of content off the front of what was read; none when there is none yet, or no more.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
        let piece = match self {
            Self::Ended => None,
            Self::Known(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= count as u64;
                (count > 0).then(|| read.split_to(count).freeze())
            }
            Self::UntilEnd => (!read.is_empty()).then(|| read.split().freeze()),
            Self::Chunked(chunked) => {
                chunked.skip_framing(read)?;
                let piece = chunked.take(read);
                // What ends the body is seen together with its last piece.
                chunked.skip_framing(read)?;
                piece
            }
        };
        if matches!(self, Self::Known(0) | Self::Chunked(Chunked { at: At::End, .. })) {
            *self = Self::Ended;
        }
        Ok(piece)
    }

    /// The connection has ended: whether that is where the content ends.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        match self {
            Self::UntilEnd | Self::Ended => {
                *self = Self::Ended;
                Ok(())
            }
            Self::Known(_) | Self::Chunked(_) => Err(Broken),
        }
    }
}

impl Chunked {
    fn take(&mut self, read: &mut BytesMut) -> Option<Bytes> {
        if self.at != At::Data || read.is_empty() {
            return None;
        }
        let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(read.len());
        self.size -= count as u64;
        if self.size == 0 {
            self.at = At::DataCr;
        }
        Some(read.split_to(count).freeze())
    }

    /// Reads on to the next byte of data, to the end, or to the end of what is there.
    fn skip_framing(&mut self, read: &mut BytesMut) -> Result<(), Broken> {
        let mut count = 0;
        for &byte in read.iter() {
            if matches!(self.at, At::Data | At::End) {
                break;
            }
            self.at = self.step(byte)?;
            count += 1;
        }
        read.advance(count);
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<At, Broken> {
        Ok(match (self.at, byte) {
            (At::Size, _) => {
                self.size = u64::from(hex(byte).ok_or(Broken)?);
                At::Digits
            }
            (At::Digits | At::Space, b'\r') => At::SizeLf,
            (At::Digits | At::Space, b' ' | b'\t') => self.extends(At::Space)?,
            (At::Digits | At::Space, b';') => At::Extension,
            (At::Digits, _) => {
                let digit = u64::from(hex(byte).ok_or(Broken)?);
                // Zeros before a size are counted: they never make it too large.
                let at = if self.size == 0 { self.extends(At::Digits)? } else { At::Digits };
                self.size = self.size.checked_mul(16).ok_or(Broken)? + digit;
                at
            }
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, byte) if byte != b'\n' => self.extends(At::Extension)?,
            (At::SizeLf, b'\n') if self.size == 0 => At::Line,
            (At::SizeLf, b'\n') => At::Data,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Line, b'\r') => At::EndLf,
            (At::InLine, b'\r') => At::LineLf,
            (At::Line | At::InLine, byte) if byte != b'\n' => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(Broken);
                }
                At::InLine
            }
            (At::LineLf, b'\n') => At::Line,
            (At::EndLf, b'\n') => At::End,
            _ => return Err(Broken),
        })
    }

    fn extends(&mut self, at: At) -> Result<At, Broken> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX { Err(Broken) } else { Ok(at) }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, what is left unread, and whether it came to its end; read in pieces of this size.
    fn decoded(decoder: Decoder, bytes: &[u8], piece_bytes: usize) -> Result<(Vec<u8>, usize, bool), Broken> {
        let (mut decoder, mut read, mut content) = (decoder, BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece_bytes.max(1)) {
            read.extend_from_slice(piece);
            while let Some(data) = decoder.take(&mut read)? {
                assert!(!data.is_empty());
                content.extend_from_slice(&data);
            }
        }
        Ok((content, read.len(), decoder.has_ended()))
    }

    fn chunked(bytes: &[u8], piece_bytes: usize) -> Result<(Vec<u8>, usize, bool), Broken> {
        decoded(Decoder::new(Length::Open, true), bytes, piece_bytes)
    }

    #[test]
    fn chunks_are_read_strictly_however_they_come() {
        let hello = |left, has_ended| Ok((b"hello".to_vec(), left, has_ended));
        for (text, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n", hello(0, true)),
            ("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nnext", hello(4, true)),
            ("0005 ;a=\"b\"\r\nhello\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", hello(0, true)),
            ("5  \t\r\nhello\r\n0\r\n\r\n", hello(0, true)),
            ("5\r\nhello", hello(0, false)),
            ("5\r\nhello\r\n0\r\n", hello(0, false)),
            ("5\r\nhello\r\n0\r\nX: 1\r\n", hello(0, false)),
            ("5\nhello\r\n0\r\n\r\n", Err(Broken)),
            ("5\r\nhello0\r\n\r\n", Err(Broken)),
            ("5 5\r\nhello\r\n0\r\n\r\n", Err(Broken)),
            ("-5\r\nhello", Err(Broken)),
            ("0x5\r\nhello", Err(Broken)),
            ("\r\nhello", Err(Broken)),
            ("5;\nx\r\nhello", Err(Broken)),
            ("10000000000000000\r\n", Err(Broken)),
            ("5\r\nhello\r\n0\r\nX: 1\n\r\n", Err(Broken)),
        ] {
            for piece_bytes in [1, 2, 3, 5, 1000] {
                assert_eq!(chunked(text.as_bytes(), piece_bytes), expected, "{text:?} by {piece_bytes}");
            }
        }
    }

    #[test]
    fn what_is_no_content_is_bounded() {
        let spaces = format!("5{}\r\n", " ".repeat(EXTENSION_BYTES_MAX + 1));
        let extension = format!("5;{}\r\n", "a".repeat(EXTENSION_BYTES_MAX + 1));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX / 4 + 1));
        let zeros = "0".repeat(EXTENSION_BYTES_MAX + 2);
        for endless in [spaces, extension, trailers, zeros] {
            assert_eq!(chunked(endless.as_bytes(), 1000), Err(Broken));
        }
    }

    #[test]
    fn the_end_of_a_connection_is_the_end_only_where_nothing_else_is() {
        for (length, is_chunked, expected) in [
            (Length::Open, false, Ok(())),
            (Length::Open, true, Err(Broken)),
            (Length::Known(3), false, Err(Broken)),
            (Length::Known(0), false, Ok(())),
        ] {
            assert_eq!(Decoder::new(length, is_chunked).end(), expected, "{length:?} {is_chunked}");
        }
    }

    proptest! {
        #[test]
        fn content_is_the_same_however_it_is_cut(pieces: Vec<Vec<u8>>, piece_bytes in 1usize..40, length in 0u64..60) {
            let content: Vec<u8> = pieces.concat();
            let mut wire = Vec::new();
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                wire.extend_from_slice(piece);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(chunked(&wire, piece_bytes), Ok((content.clone(), 0, true)));
            let known = decoded(Decoder::new(Length::Known(length), false), &content, piece_bytes).unwrap();
            let some = content.len().min(usize::try_from(length).unwrap());
            prop_assert_eq!(known, (content[..some].to_vec(), content.len() - some, some as u64 == length));
        }

        #[test]
        fn whatever_comes_is_read_alike_in_one_piece_or_in_many(wire: Vec<u8>, piece_bytes in 1usize..9) {
            let whole = chunked(&wire, usize::MAX);
            let cut = chunked(&wire, piece_bytes);
            prop_assert_eq!(whole, cut);
        }
    }
}
