//! Many blocks allocated, then all of them freed, in one of three orders.

use crate::{Block, Figures, Random, Scale};

/// The order in which a batch is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
    Random,
}

/// Blocks of a batch: more than any front end keeps of the larger sizes.
const BLOCKS: usize = 1000;

pub(crate) fn batches(scale: Scale, bytes: usize, order: Order, batches: usize) -> Figures {
    let batches = scale.of(batches);
    let shuffled = shuffled();
    let mut live: Vec<Option<Block>> = Vec::with_capacity(BLOCKS);
    let mut round = || {
        live.clear();
        live.extend((0..BLOCKS).map(|_| Some(Block::new(bytes))));
        match order {
            Order::NewestFirst => live.iter_mut().rev().for_each(|block| *block = None),
            Order::OldestFirst => live.iter_mut().for_each(|block| *block = None),
            Order::Random => shuffled.iter().for_each(|&at| {
                if let Some(block) = live.get_mut(at) {
                    *block = None;
                }
            }),
        }
    };
    round();
    Figures::of(batches * BLOCKS, || (0..batches).for_each(|_| round()))
}

/// The places of a batch in random order (Fisher and Yates).
fn shuffled() -> Vec<usize> {
    let mut random = Random::new(1);
    let mut places: Vec<usize> = (0..BLOCKS).collect();
    for end in (1..BLOCKS).rev() {
        places.swap(end, random.below(end + 1));
    }
    places
}
