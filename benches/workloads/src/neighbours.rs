//! Threads that write to short blocks, each of which begins with one of a row that another thread allocated.

use std::sync::Barrier;
use std::thread;

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Scale};

/// So many blocks share a line of the processor's cache, if they are neighbours.
const BYTES: usize = 8;

/// How often a thread writes to a block before it frees it.
const WRITES: usize = 500;

/// Each thread frees the block that it was given, and then allocates one, writes to it, and frees it, again and
/// again. Threads that get the blocks that they were given take each other's line away at each write
/// (`cache-scratch` of the Hoard allocator's benchmarks).
pub(crate) fn neighbours<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    threads: usize,
    blocks: usize,
) {
    let each = (scale.of(blocks) / threads).max(1);
    let given: Vec<Block> = (0..threads).map(|_| Block::new(BYTES)).collect();
    let ready = Barrier::new(threads);
    session.measure("", each * threads, |watch| {
        thread::scope(|scope| {
            let worker = |block: Block| {
                let mut watch = W::new();
                ready.wait();
                drop(block);
                for _ in 0..each {
                    let mut block = watch.time(|| Block::new(BYTES));
                    (0..WRITES).for_each(|_| block.touch());
                    watch.time(|| drop(block));
                }
                watch
            };
            let workers: Vec<_> =
                given.into_iter().map(|block| scope.spawn(move || worker(block))).collect();
            for seen in workers.into_iter().filter_map(|worker| worker.join().ok()) {
                watch.absorb(&seen);
            }
        });
    });
}
