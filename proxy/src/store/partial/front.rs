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
        let complete_length = from.u64()?;
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
