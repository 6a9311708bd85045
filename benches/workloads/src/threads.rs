//! Threads that are born, allocate and die.

use std::thread;

use crate::{Block, Figures, Random, Scale};

/// Threads that live at the same time.
const TOGETHER: usize = 4;

/// Blocks that each allocates.
const BLOCKS: usize = 200;

/// One operation is the life of a thread; half of its blocks are freed by the thread that waits.
pub(crate) fn short_lives(scale: Scale, threads: usize) -> Figures {
    let rounds = (scale.of(threads) / TOGETHER).max(1);
    Figures::of(rounds * TOGETHER, || {
        for round in 0..rounds {
            let lives: Vec<_> = (0..TOGETHER)
                .map(|number| thread::spawn(move || life((round * TOGETHER + number) as u64)))
                .collect();
            lives.into_iter().for_each(|life| drop(life.join()));
        }
    })
}

fn life(seed: u64) -> Vec<Block> {
    let mut random = Random::new(seed);
    let mut blocks: Vec<Block> =
        (0..BLOCKS).map(|_| Block::new(random.between(16, 2048))).collect();
    blocks.truncate(BLOCKS / 2);
    blocks
}
