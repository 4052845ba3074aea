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

/// The longest row, and the length of its checksum, which is over all that comes before it.
const ROW_BYTES_MAX: usize = 1 + GENERATION_BYTES + 8 + 4 + 4 + 16 + SUM_BYTES;
const SUM_BYTES: usize = 4;

/// A generation is a number that a file's name can spell.
const GENERATION_BYTES: usize = 6;

/// What a row has beyond what all have: bits of its first byte.
const IS_LONG: u8 = 1;
const IS_PINNED: u8 = 2;
const HAS_TAGS: u8 = 4;

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

    /// Without what most rows have not: there are as many as responses.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (is_long, is_pinned) = (u32::try_from(self.file_bytes).is_err(), self.pinned_until != Minutes::default());
        let has_tags = self.tags.0 != 0;
        let mut bytes = Vec::with_capacity(ROW_BYTES_MAX);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        bytes.push(flag(is_long, IS_LONG) | flag(is_pinned, IS_PINNED) | flag(has_tags, HAS_TAGS));
        bytes.extend_from_slice(&self.generation.to_le_bytes()[..GENERATION_BYTES]);
        bytes.extend_from_slice(&self.file_bytes.to_le_bytes()[..if is_long { 8 } else { 4 }]);
        bytes.extend_from_slice(&self.stored_at.0.to_le_bytes());
        if is_pinned {
            bytes.extend_from_slice(&self.pinned_until.0.to_le_bytes());
        }
        if has_tags {
            bytes.extend_from_slice(&self.tags.0.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a row; `None` when its checksum is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (summed, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        if crc32c::crc32c(summed).to_le_bytes() != sum {
            return None;
        }
        let mut from = Reader(summed);
        let &[flags] = from.take(1)? else { return None };
        let has = |flag: u8| flags & flag != 0;
        let mut generation = [0; 8];
        generation[..GENERATION_BYTES].copy_from_slice(from.take(GENERATION_BYTES)?);
        let row = Self {
            generation: u64::from_le_bytes(generation),
            file_bytes: if has(IS_LONG) { from.u64().filter(|&bytes| bytes < 1 << 60)? } else { from.u32()?.into() },
            stored_at: Minutes(from.u32()?),
            pinned_until: if has(IS_PINNED) { Minutes(from.u32()?) } else { Minutes::default() },
            tags: if has(HAS_TAGS) {
                TagSet(u128::from(from.u64()?) | u128::from(from.u64()?) << 64)
            } else {
                TagSet(0)
            },
        };
        // A row has one form: what it has not is left out.
        let is_short = !has(IS_LONG) || u32::try_from(row.file_bytes).is_err();
        let is_pinned = row.pinned_until != Minutes::default();
        let is_plain = is_short && has(IS_PINNED) == is_pinned && has(HAS_TAGS) == (row.tags.0 != 0);
        (from.is_empty() && flags < HAS_TAGS << 1 && is_plain).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_flipped_bit_is_taken_for_a_row() {
        let plain =
            Row { generation: 77, file_bytes: 5000, stored_at: Minutes(1), pinned_until: Minutes(0), tags: TagSet(0) };
        assert_eq!(plain.disk_bytes(), 8192);
        let full = Row { file_bytes: 1 << 40, pinned_until: Minutes(2), tags: TagSet(3 << 90 | 5), ..plain };
        for (row, length) in [(plain, 19), (full, ROW_BYTES_MAX)] {
            let bytes = row.encode();
            assert_eq!((Row::decode(&bytes), bytes.len()), (Some(row), length));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Row::decode(&flipped), None, "{bit}");
            }
            (0..bytes.len()).for_each(|cut| assert_eq!(Row::decode(&bytes[..cut]), None));
        }
    }

    proptest! {
        #[test]
        fn any_row_reads_back(generation in 0u64..1 << 48, file_bytes in 0u64..1 << 60, minutes: (u32, u32), tags: u128) {
            let (stored_at, pinned_until) = (Minutes(minutes.0), Minutes(minutes.1));
            let row = Row { generation, file_bytes, stored_at, pinned_until, tags: TagSet(tags) };
            prop_assert_eq!(Row::decode(&row.encode()), Some(row));
        }

        /// With a valid checksum, so that hostile flags get past it.
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Row::decode(&bytes);
            bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            let _ = Row::decode(&bytes);
        }
    }
}
