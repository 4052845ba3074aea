//! What must hold for any bytes in a file of the store.

use std::time::{Duration, UNIX_EPOCH};

use bulaq_cache_policy::{SURROGATE_KEY, cache_tags};
use http::{HeaderMap, HeaderValue};

use super::head_codec::{decode_head, encode_head};
use super::index::{Minutes, Row, TagSet};
use super::name::FileName;
use super::partial::blocks::Block;
use super::partial::front::{IncompleteRecord, decode_blocks, decode_incomplete};
use super::record::{
    Layout, RECORD_BYTES_MAX, Reader, Record, Slot, decode_front, encode_front, encode_slot, front_bytes,
};
use super::sums::{BLOCK_BYTES, BlockSums, BodyHasher, SUM_BYTES, trailer_bytes};

/// Bytes as a file's front, a record, a stored head, a row of the index and a trailer: whatever is read is written and
/// read again as the same, and no length leads outside.
pub fn record(data: &[u8]) {
    front(data);
    slots(data);
    if let Some(parts) = decode_head(data) {
        assert!(parts.response_time >= UNIX_EPOCH);
        assert_eq!(decode_head(&encode_head(&parts)), Some(parts));
    }
    row(data);
    trailer(data);
    incomplete(data);
}

/// As they come: the checksums keep nearly everything out.
fn front(data: &[u8]) {
    let Ok(bytes) = front_bytes(data) else {
        assert!(decode_front(data).is_err());
        return;
    };
    assert!(bytes <= 32 + 2 * (RECORD_BYTES_MAX + 1024), "no file's front is longer");
    if let Ok(front) = decode_front(data) {
        assert!(front.layout.body_offset >= bytes as u64);
        assert!(front.layout.file_bytes(front.record.body_bytes) >= front.record.body_bytes);
        assert_eq!(
            decode_front(&encode_front(front.layout, &front.record.encode())).map(|it| it.record),
            Ok(front.record)
        );
    }
}

/// With checksums of ours, so that what stands behind them is read: two slots, the second perhaps damaged.
fn slots(data: &[u8]) {
    let (Some((&at, data)), false) = (data.split_first(), data.len() > RECORD_BYTES_MAX) else { return };
    let layout = Layout::new(data.len(), at.is_multiple_of(2));
    let mut file = encode_front(layout, data);
    let first = decode_front(&file);
    assert_eq!(front_bytes(&file), Ok(32 + 2 * layout.slot_bytes as usize));
    if let Ok(front) = &first {
        assert_eq!((front.slot, front.sequence, front.layout), (Slot::A, 1, layout));
        assert_eq!(front.record.encode(), data, "a record has one spelling");
        if let Some(parts) = decode_head(&front.record.head) {
            assert_eq!(decode_head(&encode_head(&parts)), Some(parts));
        }
    }
    let other = Record {
        url: "http://a.kz/".into(),
        variant: [at].into(),
        head: [].into(),
        stored_at_ms: 0,
        body_bytes: u64::from(at),
        digest: [at; 32],
    };
    let other_bytes = other.encode();
    if !layout.fits(other_bytes.len()) {
        return;
    }
    let start = usize::try_from(layout.slot_offset(Slot::B)).expect("a slot begins near the file's beginning");
    let slot = encode_slot(2, &other_bytes);
    file[start..start + slot.len()].copy_from_slice(&slot);
    let both = decode_front(&file).expect("slot B is whole");
    assert_eq!((both.slot, &both.record), (Slot::B, &other), "the newer slot counts");
    // One flipped bit in it, and the older one counts again.
    let bit = usize::from(at) % (slot.len() * 8);
    file[start + bit / 8] ^= 1 << (bit % 8);
    assert_eq!(decode_front(&file), first);
}

fn row(data: &[u8]) {
    if let Some(row) = Row::decode(data) {
        assert_eq!(row.encode().as_slice(), data);
    }
    let mut from = Reader(data);
    let (Some(generation), Some(file_bytes), Some(stored), Some(pinned)) =
        (from.u64(), from.u64(), from.u32(), from.u32())
    else {
        return;
    };
    let (stored_at, pinned_until) = (Minutes(stored), Minutes(pinned));
    let headers = HeaderMap::from_iter(HeaderValue::from_bytes(from.0).ok().map(|tags| (SURROGATE_KEY, tags)));
    let tags = TagSet::of(&headers);
    assert!(cache_tags(&headers).all(|tag| tags.may_have(&tag)), "a tag is denied");
    // No file has a name with a higher one.
    let generation = generation & FileName::GENERATION_MAX;
    let row = Row { generation, file_bytes, stored_at, pinned_until, tags };
    let read = Row::decode(&row.encode());
    assert!(read == Some(row) || file_bytes >= 1 << 60);
    assert!(read.is_none_or(|row| row.disk_bytes() >= row.file_bytes));
    assert_eq!(Minutes::of(UNIX_EPOCH + Duration::from_secs(u64::from(stored))), Minutes(stored / 60));
}

/// A trailer proves itself: with any bit changed it is no trailer of that body.
fn trailer(data: &[u8]) {
    let blocks = (data.len() / SUM_BYTES) as u64;
    if blocks < 2 {
        return;
    }
    let sums = &data[..data.len() / SUM_BYTES * SUM_BYTES];
    let body_bytes = (blocks - 1) * BLOCK_BYTES + 1 + u64::from(data[0]);
    assert_eq!(trailer_bytes(body_bytes), sums.len() as u64);
    let digest: [u8; SUM_BYTES] = data[..SUM_BYTES].try_into().expect("two sums at least");
    assert!(BlockSums::read(sums, body_bytes, &digest).is_none(), "a digest made of a sum");
    assert!(BlockSums::read(sums, body_bytes + 2 * BLOCK_BYTES, &digest).is_none());
    let mut hasher = BodyHasher::new();
    data.iter().for_each(|byte| hasher.update(std::slice::from_ref(byte)));
    assert_eq!(hasher.finish().digest, *blake3::hash(data).as_bytes());
}

/// The file of a body in parts: never taken for a complete one, nor the other way round.
fn incomplete(data: &[u8]) {
    if data.len() > RECORD_BYTES_MAX {
        return;
    }
    let file = encode_front(Layout::new(data.len(), true), data);
    if let Ok(front) = decode_incomplete(&file) {
        assert!(decode_front(&file).is_err() && !front.was_completed, "one record, two meanings");
        assert_eq!(front.record.encode(), data, "a record has one spelling");
    }
    if let Some(record) = IncompleteRecord::decode(data) {
        assert_eq!(record.encode(), data);
        assert_eq!(decode_incomplete(&file).map(|front| front.record), Ok(record));
    }
    let blocks = (data.len() / SUM_BYTES) as u64;
    for complete_length in [blocks * BLOCK_BYTES, (blocks * BLOCK_BYTES).saturating_sub(1)] {
        let Some(told) = decode_blocks(data, complete_length) else { continue };
        assert!(blocks > 1 && told.len() as u64 == blocks && data.len() as u64 == trailer_bytes(complete_length));
        let (sums, _) = data.as_chunks::<SUM_BYTES>();
        assert!(told.iter().zip(sums).all(|(block, sum)| matches!(block, Block::Missing) == (*sum == [0; SUM_BYTES])));
    }
}
