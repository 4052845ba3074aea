//! A row of the index: what eviction and look-ups need of a file without opening it, with a checksum of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use super::tag_set::TagSet;
use crate::store::record::Reader;

/// What the index knows of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which file of the key.
    pub(crate) generation: u64,
    /// The length of the file.
    pub(crate) file_bytes: u64,
    /// When it was stored, in minutes since 1970.
    pub(crate) stored_at: Minutes,
    /// Until when it must not be evicted, in minutes since 1970; zero for not pinned.
    pub(crate) pinned_until: Minutes,
    /// The cache tags of its head, or more.
    pub(crate) tags: TagSet,
}

/// Whole minutes since 1970: exact enough for eviction, and small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct Minutes(pub(crate) u32);

impl Minutes {
    pub(crate) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u32::try_from(since.as_secs() / 60).unwrap_or(u32::MAX))
    }

    /// The latest end that a pin set now can have.
    pub(crate) fn pins_end_by(self) -> Self {
        Self(self.0.saturating_add(PIN_MINUTES_MAX))
    }

    pub(crate) fn of_millis(since_1970: u64) -> Self {
        Self(u32::try_from(since_1970 / 60_000).unwrap_or(u32::MAX))
    }
}

/// The length of a row, and of what its checksum is over.
const ROW_BYTES: usize = 44;
const SUMMED_BYTES: usize = ROW_BYTES - 4;

/// The longest pin, two days: a night's pages stay for the day after it. After the clock was set back, what was pinned
/// before must not keep its place until that time comes again.
const PIN_MINUTES_MAX: u32 = 2 * 24 * 60;

/// Files take whole blocks; so does our account of them.
const BLOCK_BYTES: u64 = 4096;

impl Row {
    /// What the file takes of the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.file_bytes.next_multiple_of(BLOCK_BYTES)
    }

    /// Whether it must not be evicted now. A pin that ends further ahead than pins are made for was set by another clock.
    pub(crate) fn is_pinned(&self, now: Minutes) -> bool {
        self.pinned_until > now && self.pinned_until <= now.pins_end_by()
    }

    pub(crate) fn encode(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.file_bytes.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.stored_at.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.pinned_until.0.to_le_bytes());
        bytes[24..SUMMED_BYTES].copy_from_slice(&self.tags.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..SUMMED_BYTES]);
        bytes[SUMMED_BYTES..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a row; `None` when its checksum is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let row = Self {
            generation: from.u64()?,
            file_bytes: from.u64().filter(|&bytes| bytes < 1 << 60)?,
            stored_at: Minutes(from.u32()?),
            pinned_until: Minutes(from.u32()?),
            tags: TagSet(u128::from(from.u64()?) | u128::from(from.u64()?) << 64),
        };
        (from.u32()? == crc32c::crc32c(&bytes[..SUMMED_BYTES]) && from.is_empty()).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_flipped_bit_is_taken_for_a_row() {
        let (stored_at, pinned_until, tags) = (Minutes(1), Minutes(2), TagSet(3 << 90 | 5));
        let row = Row { generation: 77, file_bytes: 5000, stored_at, pinned_until, tags };
        let bytes = row.encode();
        assert_eq!(Row::decode(&bytes), Some(row));
        assert_eq!(row.disk_bytes(), 8192);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Row::decode(&flipped), None, "{bit}");
        }
        assert_eq!(Row::decode(&bytes[..ROW_BYTES - 1]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Row::decode(&bytes);
        }
    }
}
