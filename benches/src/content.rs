//! Bytes that everybody can make again from a seed, so that nobody needs to keep them to compare.

/// What a URL's content is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    seed: u64,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

impl Content {
    pub(crate) fn new(seed: u64, bytes: u64) -> Self {
        Self { seed, bytes }
    }

    /// The bytes from `offset` on, as many as fit into `into` or are left.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = into.len().min(left);
        let mut at = 0;
        if offset.is_multiple_of(8) {
            let words = into[..count].chunks_exact_mut(8).zip(offset / 8..);
            for (place, index) in words {
                place.copy_from_slice(&self.word(index).to_le_bytes());
            }
            at = count / 8 * 8;
        }
        while at < count {
            let position = offset + at as u64;
            let word = self.word(position / 8).to_le_bytes();
            let skip = (position % 8) as usize;
            let part = (8 - skip).min(count - at);
            into[at..at + part].copy_from_slice(&word[skip..skip + part]);
            at += part;
        }
        count
    }

    /// Whether `bytes` are what stands at `offset`.
    pub(crate) fn is_at(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut expected = [0; 4096];
        let mut position = offset;
        bytes.chunks(expected.len()).all(|chunk| {
            let count = self.read(position, &mut expected[..chunk.len()]);
            position += count as u64;
            expected[..count] == *chunk
        })
    }

    /// splitmix64: as good as noise, and no two places look alike.
    fn word(&self, index: u64) -> u64 {
        let mut z = self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Numbers for places at which something is cut; the same in every run.
pub(crate) struct Places(u64);

impl Places {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        Content::new(self.0, 8).word(self.0) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_part_of_the_whole() {
        let content = Content::new(7, 1_000);
        let mut whole = vec![0; 1_000];
        assert_eq!(content.read(0, &mut whole), 1_000);
        for start in [0, 1, 7, 8, 9, 500, 999] {
            let mut part = vec![0; 100];
            let count = content.read(start, &mut part);
            assert_eq!(count, 100.min(1_000 - start as usize));
            assert_eq!(part[..count], whole[start as usize..start as usize + count]);
            assert!(content.is_at(start, &part[..count]));
        }
        assert!(!content.is_at(1, &whole[..100]), "the bytes of another place are not right");
    }
}
