//! Two gibibytes of small objects: where the TLB decides.

use core::hint::black_box;
use core::mem;

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// With 2 KiB each on the average: 2 GiB.
const LIVE: usize = 1 << 20;

const SMALLEST: usize = 64;
const LARGEST: usize = 4032;

/// Replaces blocks at random; then reads one after another, each where the last one says.
pub(crate) fn big_heap<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    replacements: usize,
    reads: usize,
) {
    let mut random = Random::new(5);
    let live = scale.live(LIVE);
    let mut blocks: Vec<Block> = Vec::with_capacity(live);
    blocks.extend((0..live).map(|_| Block::new(random.between(SMALLEST, LARGEST))));

    let replacements = scale.of(replacements);
    session.measure("replace", replacements, |watch| {
        for _ in 0..replacements {
            let (place, bytes) = (random.below(live), random.between(SMALLEST, LARGEST));
            if let Some(slot) = blocks.get_mut(place) {
                let old = mem::replace(slot, watch.time(|| Block::new(bytes)));
                watch.time(|| drop(old));
            }
        }
    });
    let reads = scale.of(reads);
    session.measure("traverse", reads, |_| {
        for _ in 0..reads {
            let place = random.below(live);
            // The next place waits for what this one holds.
            random.stir(blocks.get(place).map_or(0, |block| u64::from(block.read())));
        }
        black_box(&random);
    });
}
