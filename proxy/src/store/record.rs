//! What stands at the beginning of a body's file, byte by byte: enough to serve the response with no index at all.
//!
//! ```text
//! 0              preamble, 32 bytes: magic, version, slot length, offset of the body, crc32c
//! 32             head slot A: sequence number, length, crc32c, record, zeros
//! 32 + slot      head slot B: the same
//! body offset    the body; then, for a body of several blocks, the trailer (see sums.rs)
//! ```
//!
//! Of the two slots the valid one with the higher sequence number counts. A 304 writes the other slot, so whatever
//! moment the power goes at, one whole head remains. All numbers are little-endian.

/// The longest record: a header section of 64 kB, a target of 8 kB, selecting fields, and room.
pub(crate) const RECORD_BYTES_MAX: usize = 160 << 10;

const MAGIC: [u8; 8] = *b"bulaq\x1a\r\n";
const VERSION: u32 = 1;
const PREAMBLE_BYTES: usize = 32;
const SLOT_HEADER_BYTES: usize = 16;

/// What a slot has beyond its first record, so that a 304 with a few more fields still fits.
const SLOT_SLACK_BYTES: usize = 256;

/// Where a body begins is a multiple of this: of a cache line when it is read whole, of a page when it is long.
const SMALL_ALIGNMENT: usize = 64;
const LARGE_ALIGNMENT: usize = 4096;

/// What a file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The cache key's URI.
    pub(crate) url: Box<str>,
    /// What tells this variant from the URL's others, in canonical form.
    pub(crate) variant: Box<[u8]>,
    /// The stored head, encoded (see head_codec.rs).
    pub(crate) head: Box<[u8]>,
    /// When the body was stored, in milliseconds since 1970.
    pub(crate) stored_at_ms: u64,
    /// Length of the body.
    pub(crate) body_bytes: u64,
    /// BLAKE3 of the body.
    pub(crate) digest: [u8; 32],
}

/// Where things are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) slot_bytes: u32,
    pub(crate) body_offset: u64,
}

/// The two places for a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A file's beginning, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) layout: Layout,
    pub(crate) slot: Slot,
    pub(crate) sequence: u64,
    pub(crate) record: Record,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it does not begin as a stored response does")]
    Magic,
    #[error("it was written by another version")]
    Version,
    #[error("its preamble is damaged")]
    Preamble,
    #[error("neither of its heads is whole")]
    Head,
    #[error("its length is not what its head says")]
    Length,
    #[error("its name is not the one of the response inside")]
    Name,
    #[error("its body does not have the checksum in its head")]
    Body,
    #[error("it cannot be read")]
    Unreadable,
}

impl Layout {
    /// The layout for a first record of this length.
    pub(crate) fn new(record_bytes: usize, is_large: bool) -> Self {
        let slot = (SLOT_HEADER_BYTES + record_bytes + SLOT_SLACK_BYTES).next_multiple_of(SMALL_ALIGNMENT);
        let alignment = if is_large { LARGE_ALIGNMENT } else { SMALL_ALIGNMENT };
        let body_offset = (PREAMBLE_BYTES + 2 * slot).next_multiple_of(alignment);
        Self { slot_bytes: u32::try_from(slot).expect("records are bounded"), body_offset: body_offset as u64 }
    }

    /// Whether a record of this length fits a slot.
    pub(crate) fn fits(self, record_bytes: usize) -> bool {
        SLOT_HEADER_BYTES + record_bytes <= self.slot_bytes as usize
    }

    /// Where a slot begins.
    pub(crate) fn slot_offset(self, slot: Slot) -> u64 {
        PREAMBLE_BYTES as u64 + if slot == Slot::B { u64::from(self.slot_bytes) } else { 0 }
    }

    /// The length of the whole file.
    pub(crate) fn file_bytes(self, body_bytes: u64) -> u64 {
        self.body_offset.saturating_add(body_bytes).saturating_add(super::sums::trailer_bytes(body_bytes))
    }

    fn preamble(self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.slot_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.body_offset.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let mut from = Reader(bytes);
        if from.take(8) != Some(&MAGIC) {
            return Err(Damage::Magic);
        }
        let version = from.u32().ok_or(Damage::Preamble)?;
        let slot_bytes = from.u32().ok_or(Damage::Preamble)?;
        let body_offset = from.u64().ok_or(Damage::Preamble)?;
        from.take(4).ok_or(Damage::Preamble)?;
        if from.u32() != Some(crc32c::crc32c(&bytes[..28])) {
            return Err(Damage::Preamble);
        }
        if version != VERSION {
            return Err(Damage::Version);
        }
        let slots_end = PREAMBLE_BYTES as u64 + 2 * u64::from(slot_bytes);
        let slot_max = RECORD_BYTES_MAX + SLOT_HEADER_BYTES + SLOT_SLACK_BYTES + SMALL_ALIGNMENT;
        if slot_bytes as usize > slot_max || body_offset < slots_end || body_offset > slots_end + LARGE_ALIGNMENT as u64
        {
            return Err(Damage::Preamble);
        }
        Ok(Self { slot_bytes, body_offset })
    }
}

/// How many bytes of a file must be read to have its front, told from its first 32; and an upper bound for any file.
pub(crate) fn front_bytes(preamble: &[u8]) -> Result<usize, Damage> {
    let layout = Layout::read(preamble)?;
    Ok(PREAMBLE_BYTES + 2 * layout.slot_bytes as usize)
}

/// Everything before the body: preamble, the record in slot A, an empty slot B, zeros.
pub(crate) fn encode_front(layout: Layout, record: &[u8]) -> Vec<u8> {
    let front_bytes = usize::try_from(layout.body_offset).expect("fronts are bounded");
    let mut bytes = Vec::with_capacity(front_bytes);
    bytes.extend_from_slice(&layout.preamble());
    bytes.extend_from_slice(&encode_slot(1, record));
    bytes.resize(front_bytes, 0);
    bytes
}

/// The content of one slot.
pub(crate) fn encode_slot(sequence: u64, record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_HEADER_BYTES + record.len());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(record.len()).expect("records are bounded").to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), record);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(record);
    bytes
}

/// Reads a file's beginning; `bytes` may go on beyond it.
pub(crate) fn decode_front(bytes: &[u8]) -> Result<Front, Damage> {
    let (layout, slot, sequence, record) = decode_newest(bytes, Record::decode)?;
    Ok(Front { layout, slot, sequence, record })
}

/// The layout and the newest of the slots that hold such a record, with its sequence number.
pub(crate) fn decode_newest<R>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<R>,
) -> Result<(Layout, Slot, u64, R), Damage> {
    let layout = Layout::read(bytes)?;
    let slot = |slot: Slot| {
        let start = usize::try_from(layout.slot_offset(slot)).ok()?;
        let (sequence, record) = decode_slot(bytes.get(start..start + layout.slot_bytes as usize)?)?;
        Some((sequence, slot, decode(record)?))
    };
    let newest = [slot(Slot::A), slot(Slot::B)].into_iter().flatten().max_by_key(|(sequence, ..)| *sequence);
    let (sequence, slot, record) = newest.ok_or(Damage::Head)?;
    Ok((layout, slot, sequence, record))
}

fn decode_slot(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut from = Reader(bytes);
    let sequence = from.u64()?;
    let length = from.u32()?;
    let crc = from.u32()?;
    let record = from.take(length as usize)?;
    if crc != crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), record) {
        return None;
    }
    Some((sequence, record))
}

impl Record {
    /// The length of its encoded form.
    pub(crate) fn encoded_bytes(&self) -> usize {
        RECORD_FIXED_BYTES + self.url.len() + self.variant.len() + self.head.len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(self.encoded_bytes());
        put_bytes(&mut to, self.url.as_bytes());
        put_bytes(&mut to, &self.variant);
        put_bytes(&mut to, &self.head);
        to.extend_from_slice(&self.stored_at_ms.to_le_bytes());
        to.extend_from_slice(&self.body_bytes.to_le_bytes());
        to.extend_from_slice(&self.digest);
        to
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let url = std::str::from_utf8(from.bytes()?).ok()?.into();
        let variant = from.bytes()?.into();
        let head = from.bytes()?.into();
        let stored_at_ms = from.u64()?;
        let body_bytes = from.u64()?;
        let digest = from.take(32)?.try_into().ok()?;
        from.is_empty().then_some(Self { url, variant, head, stored_at_ms, body_bytes, digest })
    }
}

/// What a record has beside its texts: three lengths, a time, the body's length and its hash.
const RECORD_FIXED_BYTES: usize = 3 * 4 + 8 + 8 + 32;

/// Appends a length and the bytes.
pub(crate) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u32::try_from(bytes.len()).expect("records are bounded").to_le_bytes());
    to.extend_from_slice(bytes);
}

/// Takes values off the front of a slice; `None` once there is too little left.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(head: &[u8]) -> Record {
        Record {
            url: "http://bilimland.kz/ru".into(),
            variant: b"gzip"[..].into(),
            head: head.into(),
            stored_at_ms: 1_586_145_600_000,
            body_bytes: 77,
            digest: [7; 32],
        }
    }

    #[test]
    fn a_front_reads_back() {
        let record = record(b"head");
        let encoded = record.encode();
        for is_large in [false, true] {
            let layout = Layout::new(encoded.len(), is_large);
            let bytes = encode_front(layout, &encoded);
            assert_eq!(bytes.len() as u64, layout.body_offset);
            assert!(bytes.len() >= front_bytes(&bytes).unwrap());
            assert_eq!(layout.body_offset % if is_large { 4096 } else { 64 }, 0);
            let front = decode_front(&bytes).unwrap();
            assert_eq!(front, Front { layout, slot: Slot::A, sequence: 1, record: record.clone() });
        }
    }

    #[test]
    fn the_newer_whole_slot_counts() {
        let (old, new) = (record(b"old").encode(), record(b"new and longer").encode());
        let layout = Layout::new(old.len(), false);
        let mut bytes = encode_front(layout, &old);
        assert!(layout.fits(new.len()) && !layout.fits(new.len() + SLOT_SLACK_BYTES + SMALL_ALIGNMENT));
        let slot = encode_slot(2, &new);
        let at = layout.slot_offset(Slot::B) as usize;
        for cut in 0..=slot.len() {
            let mut torn = bytes.clone();
            torn[at..at + cut].copy_from_slice(&slot[..cut]);
            let front = decode_front(&torn).unwrap();
            let expected: &[u8] = if cut == slot.len() { b"new and longer" } else { b"old" };
            assert_eq!(&*front.record.head, expected, "cut at {cut}");
        }
        bytes[at..at + slot.len()].copy_from_slice(&slot);
        bytes[layout.slot_offset(Slot::A) as usize + 20] ^= 1;
        assert_eq!(decode_front(&bytes).unwrap().slot, Slot::B, "a damaged slot A does not harm slot B");
        bytes[at + 20] ^= 1;
        assert_eq!(decode_front(&bytes), Err(Damage::Head));
    }

    #[test]
    fn damages_are_told_apart() {
        let encoded = record(b"head").encode();
        let good = encode_front(Layout::new(encoded.len(), false), &encoded);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode_front(&bytes)
        };
        assert_eq!(with(0, b'B'), Err(Damage::Magic));
        assert_eq!(with(13, 0xff), Err(Damage::Preamble));
        assert_eq!(with(40, 0xff), Err(Damage::Head));
        assert_eq!(decode_front(&[]), Err(Damage::Magic));
        assert_eq!(decode_front(&good[..20]), Err(Damage::Preamble));
        assert_eq!(decode_front(&good[..100]), Err(Damage::Head));
        let mut newer = good.clone();
        newer[8] = 2;
        let crc = crc32c::crc32c(&newer[..28]);
        newer[28..32].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_front(&newer), Err(Damage::Version));
    }

    proptest! {
        #[test]
        fn any_record_reads_back(
            url in ".{0,60}",
            variant in proptest::collection::vec(any::<u8>(), 0..40),
            head in proptest::collection::vec(any::<u8>(), 0..300),
            stored_at_ms: u64,
            body_bytes: u64,
            digest: [u8; 32],
            is_large: bool,
        ) {
            let record = Record { url: url.into(), variant: variant.into(), head: head.into(), stored_at_ms, body_bytes, digest };
            let encoded = record.encode();
            let layout = Layout::new(encoded.len(), is_large);
            prop_assert!(layout.fits(encoded.len()));
            prop_assert_eq!(decode_front(&encode_front(layout, &encoded)).unwrap().record, record);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_front(&bytes);
            let _ = Record::decode(&bytes);
            let _ = decode_slot(&bytes);
        }

        /// With valid checksums, so that hostile lengths get past them.
        #[test]
        fn no_lengths_make_it_panic(slot_bytes: u32, body_offset: u64, sequence: u64, record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = Layout { slot_bytes, body_offset }.preamble().to_vec();
            bytes.extend_from_slice(&encode_slot(sequence, &record));
            let _ = decode_front(&bytes);
            let _ = front_bytes(&bytes);
        }
    }
}
