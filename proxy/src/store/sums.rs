//! Checksums of a body: its BLAKE3, and for a long one the inner nodes of that same hash tree, one a block.
//!
//! BLAKE3 is a tree, so the value of each 1 MiB block can be kept beside the body (in a trailer) and merged to the very
//! hash that the record holds. Any block can then be checked alone, when it is first read, against a trailer that
//! proves itself: a 700 MB video need not be read before its first byte is sent, and none of its bytes go out unchecked.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

/// Length of a block: a power of two of BLAKE3's chunks, small enough to be read and hashed within a millisecond or two.
pub const BLOCK_BYTES: u64 = 1 << 20;

/// Length of a hash and of a block's value.
pub(crate) const SUM_BYTES: usize = 32;

/// How many blocks a body has. A body of one block needs no trailer: its value is the hash itself.
pub(crate) fn blocks_of(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BLOCK_BYTES)
}

/// Length of the trailer behind a body.
pub(crate) fn trailer_bytes(body_bytes: u64) -> u64 {
    match blocks_of(body_bytes) {
        0 | 1 => 0,
        blocks => blocks * SUM_BYTES as u64,
    }
}

/// Hashes a body as it streams by.
pub(crate) struct BodyHasher {
    block: Hasher,
    block_filled: u64,
    values: Vec<ChainingValue>,
    total: u64,
}

/// What a body's hashing ends in.
pub(crate) struct BodySums {
    /// The BLAKE3 of the body.
    pub(crate) digest: [u8; SUM_BYTES],
    /// The trailer; empty for a body of one block.
    pub(crate) trailer: Vec<u8>,
}

impl BodyHasher {
    pub(crate) fn new() -> Self {
        Self { block: Hasher::new(), block_filled: 0, values: Vec::new(), total: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block_filled == BLOCK_BYTES {
                self.values.push(self.block.finalize_non_root());
                self.block = block_hasher(self.total);
                self.block_filled = 0;
            }
            let room = usize::try_from(BLOCK_BYTES - self.block_filled).expect("a block fits memory");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.update(now);
            self.block_filled += now.len() as u64;
            self.total += now.len() as u64;
            bytes = later;
        }
    }

    pub(crate) fn finish(mut self) -> BodySums {
        if self.values.is_empty() {
            return BodySums { digest: *self.block.finalize().as_bytes(), trailer: Vec::new() };
        }
        self.values.push(self.block.finalize_non_root());
        BodySums { digest: root_of(&self.values, self.total), trailer: self.values.concat() }
    }
}

/// The checksum of a whole block that came in any order: its value in the tree, or of a body of one block the hash itself.
pub(crate) fn block_sum<'a>(
    block: u64,
    body_bytes: u64,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> [u8; SUM_BYTES] {
    let mut hasher = block_hasher(block * BLOCK_BYTES);
    for chunk in chunks {
        hasher.update(chunk);
    }
    match blocks_of(body_bytes) {
        0 | 1 => *hasher.finalize().as_bytes(),
        _ => hasher.finalize_non_root(),
    }
}

/// The body's hash from the sums of all its blocks.
pub(crate) fn digest_of(sums: &[[u8; SUM_BYTES]], body_bytes: u64) -> [u8; SUM_BYTES] {
    match sums {
        [one] => *one,
        _ => root_of(sums, body_bytes),
    }
}

fn block_hasher(offset: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

/// The body's hash from its blocks' values (at least two).
fn root_of(values: &[ChainingValue], body_bytes: u64) -> [u8; SUM_BYTES] {
    let (left, right) = halves(values, body_bytes);
    *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
}

fn inner_of(values: &[ChainingValue], bytes: u64) -> ChainingValue {
    match values {
        [one] => *one,
        _ => {
            let (left, right) = halves(values, bytes);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

fn halves(values: &[ChainingValue], bytes: u64) -> (ChainingValue, ChainingValue) {
    let left_bytes = left_subtree_len(bytes);
    let left_blocks =
        usize::try_from(left_bytes / BLOCK_BYTES).expect("fewer blocks than values").min(values.len() - 1);
    let (left, right) = values.split_at(left_blocks);
    (inner_of(left, left_bytes), inner_of(right, bytes - left_bytes))
}

/// The values of a long body's blocks, known to belong to its hash.
#[derive(Debug)]
pub(crate) struct BlockSums(Vec<ChainingValue>);

impl BlockSums {
    /// Reads a trailer; `None` when it is not the one of a body with this length and hash.
    pub(crate) fn read(trailer: &[u8], body_bytes: u64, digest: &[u8; SUM_BYTES]) -> Option<Self> {
        let is_length_right = body_bytes > BLOCK_BYTES && trailer.len() as u64 == trailer_bytes(body_bytes);
        if !is_length_right {
            return None;
        }
        let (values, _) = trailer.as_chunks::<SUM_BYTES>();
        (root_of(values, body_bytes) == *digest).then(|| Self(values.to_vec()))
    }

    /// Whether `bytes` are the whole block `block`.
    pub(crate) fn is_block(&self, block: u64, bytes: &[u8]) -> bool {
        let Some(value) = usize::try_from(block).ok().and_then(|block| self.0.get(block)) else { return false };
        if bytes.is_empty() || bytes.len() as u64 > BLOCK_BYTES {
            return false;
        }
        block_hasher(block * BLOCK_BYTES).update(bytes).finalize_non_root() == *value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: u64) -> Vec<u8> {
        (0..bytes).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
    }

    #[test]
    fn the_tree_of_blocks_is_blake3_itself() {
        for bytes in [
            0,
            1,
            1023,
            BLOCK_BYTES - 1,
            BLOCK_BYTES,
            BLOCK_BYTES + 1,
            2 * BLOCK_BYTES,
            3 * BLOCK_BYTES,
            5 * BLOCK_BYTES + 77,
        ] {
            let body = body(bytes);
            let mut hasher = BodyHasher::new();
            for chunk in body.chunks(300_007) {
                hasher.update(chunk);
            }
            let sums = hasher.finish();
            assert_eq!(sums.digest, *blake3::hash(&body).as_bytes(), "{bytes}");
            assert_eq!(sums.trailer.len() as u64, trailer_bytes(bytes), "{bytes}");
        }
    }

    #[test]
    fn each_block_is_checked_alone_and_in_its_place() {
        let body = body(3 * BLOCK_BYTES + 5);
        let mut hasher = BodyHasher::new();
        hasher.update(&body);
        let sums = hasher.finish();
        let blocks = BlockSums::read(&sums.trailer, body.len() as u64, &sums.digest).expect("its own trailer");
        let parts: Vec<&[u8]> = body.chunks(BLOCK_BYTES as usize).collect();
        for (at, part) in parts.iter().enumerate() {
            assert!(blocks.is_block(at as u64, part), "{at}");
            assert!(!blocks.is_block((at as u64 + 1) % 4, part), "{at} in another's place");
        }
        assert!(!blocks.is_block(4, parts[0]) && !blocks.is_block(3, &[]));
        let mut flipped = parts[1].to_vec();
        flipped[77] ^= 1;
        assert!(!blocks.is_block(1, &flipped));
    }

    #[test]
    fn a_trailer_proves_itself() {
        let body = body(2 * BLOCK_BYTES);
        let mut hasher = BodyHasher::new();
        hasher.update(&body);
        let sums = hasher.finish();
        let length = body.len() as u64;
        let mut flipped = sums.trailer.clone();
        flipped[33] ^= 0x80;
        assert!(BlockSums::read(&sums.trailer, length, &sums.digest).is_some());
        assert!(BlockSums::read(&flipped, length, &sums.digest).is_none());
        assert!(BlockSums::read(&sums.trailer[..32], length, &sums.digest).is_none());
        assert!(BlockSums::read(&sums.trailer, length + 1, &sums.digest).is_none());
        assert!(BlockSums::read(&[], 5, &sums.digest).is_none());
    }
}
