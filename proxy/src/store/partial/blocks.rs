//! Which blocks of an incomplete response are here, and which of them are known to be right.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::sums::{BLOCK_BYTES, SUM_BYTES, blocks_of, digest_of};

/// The checksum of a block: its value in BLAKE3's tree.
pub(crate) type Sum = [u8; SUM_BYTES];

/// What is known of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Missing,
    /// Written before this process looked: to be compared with its sum before a byte of it goes out.
    Unchecked(Sum),
    /// Written by this process, or compared.
    Checked(Sum),
}

/// The blocks of a body, all of them the same length but the last.
pub(crate) struct Blocks {
    complete_length: u64,
    state: Mutex<State>,
}

struct State {
    blocks: Vec<Block>,
    missing: u64,
}

impl Blocks {
    pub(crate) fn all_missing(complete_length: u64) -> Self {
        let count = usize::try_from(blocks_of(complete_length)).expect("bodies are bounded");
        Self::of(complete_length, vec![Block::Missing; count])
    }

    pub(crate) fn of(complete_length: u64, blocks: Vec<Block>) -> Self {
        debug_assert_eq!(blocks.len() as u64, blocks_of(complete_length));
        let missing = blocks.iter().filter(|block| **block == Block::Missing).count() as u64;
        Self { complete_length, state: Mutex::new(State { blocks, missing }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> u64 {
        blocks_of(self.complete_length)
    }

    /// The length of a block; zero beyond the end.
    pub(crate) fn length_of(&self, block: u64) -> u64 {
        self.complete_length.saturating_sub(block.saturating_mul(BLOCK_BYTES)).min(BLOCK_BYTES)
    }

    pub(crate) fn get(&self, block: u64) -> Block {
        let at = usize::try_from(block).unwrap_or(usize::MAX);
        self.lock().blocks.get(at).copied().unwrap_or(Block::Missing)
    }

    pub(crate) fn is_held(&self, block: u64) -> bool {
        self.get(block) != Block::Missing
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.lock().missing == 0
    }

    /// Whether every block is here and known to be right.
    pub(crate) fn is_known_whole(&self) -> bool {
        self.is_whole() && self.unchecked().is_empty()
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        let (state, last) = (self.lock(), self.count().saturating_sub(1));
        let held = state.blocks.len() as u64 - state.missing;
        let is_last_held = state.blocks.last().is_some_and(|block| *block != Block::Missing);
        held * BLOCK_BYTES - if is_last_held { BLOCK_BYTES - self.length_of(last) } else { 0 }
    }

    /// From now on `new` is known of the block.
    pub(crate) fn set(&self, block: u64, new: Block) {
        self.update(block, |_| true, new);
    }

    /// The same, if what is known of it is still `old`: a block that was found wrong may have been written anew.
    pub(crate) fn change(&self, block: u64, old: Block, new: Block) {
        self.update(block, |known| known == old, new);
    }

    fn update(&self, block: u64, applies: impl FnOnce(Block) -> bool, new: Block) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(known) = usize::try_from(block).ok().and_then(|at| state.blocks.get_mut(at)) else { return };
        if applies(*known) {
            state.missing += u64::from(new == Block::Missing);
            state.missing -= u64::from(*known == Block::Missing);
            *known = new;
        }
    }

    /// The blocks that must be compared before the body can be called whole.
    pub(crate) fn unchecked(&self) -> Vec<u64> {
        let state = self.lock();
        let all = (0..).zip(&state.blocks);
        all.filter(|(_, block)| matches!(block, Block::Unchecked(_))).map(|(at, _)| at).collect()
    }

    /// The body's hash, once every block is here and known to be right.
    pub(crate) fn digest(&self) -> Option<Sum> {
        let sum = |block: &Block| match block {
            Block::Checked(sum) => Some(*sum),
            Block::Missing | Block::Unchecked(_) => None,
        };
        let sums: Vec<Sum> = self.lock().blocks.iter().map(sum).collect::<Option<_>>()?;
        (!sums.is_empty()).then(|| digest_of(&sums, self.complete_length))
    }
}
