//! What stands at the beginning and at the end of an incomplete response's file. Pure: bytes in, meaning out.
//!
//! The file is laid out as a complete one (see `record.rs`), at its full length from the beginning, with holes. Its record
//! ends in a mark where a complete one has the body's hash, so neither is ever taken for the other. Its trailer holds the
//! sum of each block that is here, and zeros for each that is not.

use super::super::record::{Damage, Layout, RECORD_BYTES_MAX, Reader, Slot, decode_front, decode_newest, put_bytes};
use super::super::sums::{BLOCK_BYTES, SUM_BYTES, trailer_bytes};
use super::blocks::{Block, Sum};

/// What an incomplete record ends in. A complete one ends in 32 bytes of hash, so no bytes read as both.
const MARK: &[u8; 10] = b"incomplete";

/// The longest body that a record may speak of: 16 times what can be configured, so that whatever stands in a damaged file,
/// its sums take 32 MiB at most.
const COMPLETE_LENGTH_MAX: u64 = 1 << 40;

/// By how much the record grows when it becomes complete.
pub(crate) const COMPLETION_BYTES: usize = SUM_BYTES - MARK.len();

/// What a slot has beyond what its first record needs, so that heads that grow with each 304 still fit for long.
const SLACK_BYTES: usize = 2048;

/// What the file of an incomplete response says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IncompleteRecord {
    /// The cache key's URI.
    pub(crate) url: Box<str>,
    /// What tells this variant from the URL's others, in canonical form.
    pub(crate) variant: Box<[u8]>,
    /// The stored head, encoded (see head_codec.rs).
    pub(crate) head: Box<[u8]>,
    /// When the first of it was stored, in milliseconds since 1970.
    pub(crate) begun_at_ms: u64,
    /// The length of the complete body.
    pub(crate) complete_length: u64,
}

/// The beginning of such a file, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IncompleteFront {
    pub(crate) layout: Layout,
    pub(crate) slot: Slot,
    pub(crate) sequence: u64,
    pub(crate) record: IncompleteRecord,
    /// Whether a complete record was written after this one: all blocks had come, and it was about to be published.
    pub(crate) was_completed: bool,
}

impl IncompleteRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(64 + self.url.len() + self.variant.len() + self.head.len());
        put_bytes(&mut to, self.url.as_bytes());
        put_bytes(&mut to, &self.variant);
        put_bytes(&mut to, &self.head);
        to.extend_from_slice(&self.begun_at_ms.to_le_bytes());
        to.extend_from_slice(&self.complete_length.to_le_bytes());
        to.extend_from_slice(MARK);
        to
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let url = std::str::from_utf8(from.bytes()?).ok()?.into();
        let variant = from.bytes()?.into();
        let head = from.bytes()?.into();
        let begun_at_ms = from.u64()?;
        let complete_length = from.u64().filter(|&length| length <= COMPLETE_LENGTH_MAX)?;
        let is_marked = from.take(MARK.len())? == MARK;
        (is_marked && from.is_empty()).then_some(Self { url, variant, head, begun_at_ms, complete_length })
    }
}

/// The layout for a complete record of this length.
pub(crate) fn layout_for(record_bytes: usize, is_large: bool) -> Layout {
    Layout::new((record_bytes + SLACK_BYTES).min(RECORD_BYTES_MAX), is_large)
}

/// Reads the beginning of an incomplete response's file; `bytes` may go on beyond it.
pub(crate) fn decode_incomplete(bytes: &[u8]) -> Result<IncompleteFront, Damage> {
    let (layout, slot, sequence, record) = decode_newest(bytes, IncompleteRecord::decode)?;
    let was_completed = decode_front(bytes).is_ok_and(|front| front.sequence > sequence);
    Ok(IncompleteFront { layout, slot, sequence, record, was_completed })
}

/// Reads the trailer of an incomplete response's file: which blocks are here, as far as one can say before reading them.
/// `None` when it is not as long as a body of this length has it.
pub(crate) fn decode_blocks(trailer: &[u8], complete_length: u64) -> Option<Vec<Block>> {
    if complete_length <= BLOCK_BYTES || trailer.len() as u64 != trailer_bytes(complete_length) {
        return None;
    }
    let (sums, _) = trailer.as_chunks::<SUM_BYTES>();
    Some(sums.iter().map(|sum| if *sum == MISSING { Block::Missing } else { Block::Unchecked(*sum) }).collect())
}

/// Where in the file a block's sum is kept; a body of one block has none to keep.
pub(crate) fn sum_offset(layout: Layout, complete_length: u64, block: u64) -> Option<u64> {
    (complete_length > BLOCK_BYTES).then(|| layout.body_offset + complete_length + block * SUM_BYTES as u64)
}

/// What stands in the trailer for a block that is not here. That a block has this sum will not happen.
pub(crate) const MISSING: Sum = [0; SUM_BYTES];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::record::{Record, encode_front, encode_slot};
    use super::*;

    fn record(head: &[u8]) -> IncompleteRecord {
        IncompleteRecord {
            url: "http://bilimland.kz/film".into(),
            variant: b"gzip"[..].into(),
            head: head.into(),
            begun_at_ms: 1_586_145_600_000,
            complete_length: 5 << 20,
        }
    }

    fn complete(record: &IncompleteRecord) -> Record {
        Record {
            url: record.url.clone(),
            variant: record.variant.clone(),
            head: record.head.clone(),
            stored_at_ms: record.begun_at_ms,
            body_bytes: record.complete_length,
            digest: [7; 32],
        }
    }

    #[test]
    fn a_front_reads_back_as_what_it_is_and_as_nothing_else() {
        let (incomplete, whole) = (record(b"head"), complete(&record(b"head")));
        let layout = layout_for(whole.encode().len(), true);
        let bytes = encode_front(layout, &incomplete.encode());
        assert_eq!(bytes.len() as u64, layout.body_offset);
        let front = decode_incomplete(&bytes).unwrap();
        assert_eq!((front.record, front.slot, front.sequence, front.was_completed), (incomplete, Slot::A, 1, false));
        assert_eq!(decode_front(&bytes), Err(Damage::Head));
        assert_eq!(decode_incomplete(&encode_front(layout, &whole.encode())), Err(Damage::Head));
        assert_eq!(whole.encode().len() - record(b"head").encode().len(), COMPLETION_BYTES);
    }

    #[test]
    fn no_record_speaks_of_more_than_there_can_be() {
        for (complete_length, is_read) in
            [(COMPLETE_LENGTH_MAX, true), (COMPLETE_LENGTH_MAX + 1, false), (u64::MAX, false)]
        {
            let record = IncompleteRecord { complete_length, ..record(b"head") };
            assert_eq!(IncompleteRecord::decode(&record.encode()).is_some(), is_read, "{complete_length}");
        }
    }

    #[test]
    fn a_complete_record_behind_an_incomplete_one_is_noticed() {
        let whole = complete(&record(b"head")).encode();
        let layout = layout_for(whole.len(), true);
        let mut bytes = encode_front(layout, &record(b"head").encode());
        let at = layout.slot_offset(Slot::B) as usize;
        let slot = encode_slot(2, &whole);
        bytes[at..at + slot.len()].copy_from_slice(&slot);
        assert!(decode_incomplete(&bytes).unwrap().was_completed);
        assert_eq!(decode_front(&bytes).unwrap().record.digest, [7; 32]);
        // Another try at becoming complete: a newer incomplete head took the first one's place.
        let slot = encode_slot(3, &record(b"newer").encode());
        bytes[32..32 + slot.len()].copy_from_slice(&slot);
        let front = decode_incomplete(&bytes).unwrap();
        assert_eq!((&*front.record.head, front.was_completed), (&b"newer"[..], false));
    }

    #[test]
    fn sums_of_zeros_are_blocks_that_are_not_here() {
        let trailer = [[0; 32], [1; 32], [0; 32]].concat();
        let length = 2 * BLOCK_BYTES + 1;
        assert_eq!(
            decode_blocks(&trailer, length).unwrap(),
            [Block::Missing, Block::Unchecked([1; 32]), Block::Missing]
        );
        for wrong in [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES + 1, u64::MAX] {
            assert_eq!(decode_blocks(&trailer, wrong), None, "{wrong}");
        }
        assert_eq!(decode_blocks(&trailer[1..], length), None);
    }

    proptest! {
        #[test]
        fn any_record_reads_back(
            url in ".{0,60}",
            variant in proptest::collection::vec(any::<u8>(), 0..40),
            head in proptest::collection::vec(any::<u8>(), 0..300),
            begun_at_ms: u64,
            complete_length in 0..=COMPLETE_LENGTH_MAX,
            is_large: bool,
        ) {
            let record = IncompleteRecord { url: url.into(), variant: variant.into(), head: head.into(), begun_at_ms, complete_length };
            let encoded = record.encode();
            let layout = layout_for(encoded.len() + COMPLETION_BYTES, is_large);
            prop_assert!(layout.fits(encoded.len() + COMPLETION_BYTES));
            prop_assert_eq!(decode_incomplete(&encode_front(layout, &encoded)).unwrap().record, record);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), length: u64) {
            let _ = decode_incomplete(&bytes);
            let _ = IncompleteRecord::decode(&bytes);
            let _ = decode_blocks(&bytes, length);
        }
    }
}
