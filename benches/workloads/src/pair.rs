//! Allocate and free at once, again and again: the hot path and nothing else.

use crate::{Block, Figures, Scale};

pub(crate) fn pairs(scale: Scale, bytes: usize, pairs: usize) -> Figures {
    let pairs = scale.of(pairs);
    // The first blocks set the allocator up.
    (0..1000).for_each(|_| drop(Block::new(bytes)));
    Figures::of(pairs, || (0..pairs).for_each(|_| drop(Block::new(bytes))))
}
