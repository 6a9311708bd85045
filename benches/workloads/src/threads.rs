//! Threads that are born, allocate and die.

use std::thread;

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// Threads that live at the same time.
const TOGETHER: usize = 4;

/// Blocks that each allocates.
const BLOCKS: usize = 200;

/// One operation is the life of a thread; half of its blocks are freed by the thread that waits.
pub(crate) fn short_lives<W: Watch + 'static>(
    session: &mut Session<W>,
    scale: Scale,
    threads: usize,
) {
    let rounds = (scale.of(threads) / TOGETHER).max(1);
    session.measure("", rounds * TOGETHER, |watch| {
        for round in 0..rounds {
            let lives: Vec<_> = (0..TOGETHER)
                .map(|number| thread::spawn(move || life::<W>((round * TOGETHER + number) as u64)))
                .collect();
            for (blocks, seen) in lives.into_iter().filter_map(|life| life.join().ok()) {
                watch.absorb(&seen);
                blocks.into_iter().for_each(|block| watch.time(|| drop(block)));
            }
        }
    });
}

fn life<W: Watch>(seed: u64) -> (Vec<Block>, W) {
    let (mut watch, mut random) = (W::new(), Random::new(seed));
    let mut blocks: Vec<Block> = Vec::with_capacity(BLOCKS);
    blocks.extend((0..BLOCKS).map(|_| {
        let bytes = random.between(16, 2048);
        watch.time(|| Block::new(bytes))
    }));
    blocks.drain(BLOCKS / 2..).for_each(|block| watch.time(|| drop(block)));
    (blocks, watch)
}
