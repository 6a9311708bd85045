//! How large the blocks of a workload are.

use crate::Random;

/// Where sizes are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Every size of the range is as likely.
    Even { smallest: usize, largest: usize },
    /// Each power of two from `above` to `bound` is as likely, and every size between two of them.
    Doubling { above: usize, bound: usize },
    /// What a fleet of servers asks for.
    Fleet,
}

/// Of 10 000 blocks so many have a size up to the bound, and above the bound before; within a range
/// small ones are likelier (the logarithm is spread evenly).
///
/// After Zhou et al., *Characterizing a Memory Allocator at Warehouse Scale* (ASPLOS 2024): 98 % of
/// the objects are at most 1 KiB large and have 28 % of the bytes; half of the bytes are in objects
/// above 8 KiB. The bounds between are ours.
const FLEET: [(u32, usize); 8] = [
    (4000, 32),
    (2600, 64),
    (1500, 128),
    (900, 256),
    (500, 512),
    (313, 1 << 10),
    (180, 8 << 10),
    (7, 1 << 20),
];

impl Sizes {
    #[inline]
    pub(crate) fn draw(self, random: &mut Random) -> usize {
        match self {
            Self::Even { smallest, largest } => random.between(smallest, largest),
            Self::Doubling { above, bound } => doubling(random, above, bound),
            Self::Fleet => fleet(random),
        }
    }
}

fn fleet(random: &mut Random) -> usize {
    let mut rank = random.below(10_000) as u32;
    let mut above = 16;
    for (share, bound) in FLEET {
        if rank < share {
            return doubling(random, above, bound);
        }
        rank -= share;
        above = bound;
    }
    above
}

/// Each power of two of the range is as likely, and every size up to the next.
fn doubling(random: &mut Random, above: usize, bound: usize) -> usize {
    let doublings = (bound / above).ilog2().max(1) as usize;
    let least = above << random.below(doublings);
    random.between(least + 1, 2 * least)
}

#[cfg(test)]
mod tests;
