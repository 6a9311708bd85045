//! Many blocks allocated, then all of them freed, in one of three orders.

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// The order in which a batch is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
    Random,
}

/// Blocks of a batch: more than any front end keeps of the larger sizes.
const BLOCKS: usize = 1000;

pub(crate) fn batches<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    bytes: usize,
    order: Order,
    batches: usize,
) {
    let batches = scale.of(batches);
    let shuffled = shuffled();
    let mut live: Vec<Option<Block>> = Vec::with_capacity(BLOCKS);
    let mut round = |watch: &mut W| {
        live.clear();
        live.extend((0..BLOCKS).map(|_| Some(watch.time(|| Block::new(bytes)))));
        let mut free = |slot: &mut Option<Block>| {
            let block = slot.take();
            watch.time(|| drop(block));
        };
        match order {
            Order::NewestFirst => live.iter_mut().rev().for_each(free),
            Order::OldestFirst => live.iter_mut().for_each(free),
            Order::Random => shuffled.iter().for_each(|&at| {
                if let Some(slot) = live.get_mut(at) {
                    free(slot);
                }
            }),
        }
    };
    round(&mut session.watch);
    session.measure("", batches * BLOCKS, |watch| (0..batches).for_each(|_| round(watch)));
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
