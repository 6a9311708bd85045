//! Two gibibytes of small objects: where the TLB decides.

use core::hint::black_box;
use core::mem;
use core::time::Duration;
use std::time::Instant;

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Coverage, Random, Scale};

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
    session.measure("traverse", reads, |_| traverse(&blocks, &mut random, reads));
}

/// The same heap in its steady state: replaces blocks for so long, looks what of the live ones stands on hugepages,
/// and reads.
///
/// The blocks are never freed: who looks at the process as it ends finds them live.
pub(crate) fn steady_heap<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    replacing: Duration,
    reads: usize,
) {
    /// Replacements between two looks at the clock.
    const BY_LOOK: usize = 1000;
    let mut random = Random::new(5);
    let live = scale.live(LIVE);
    let mut blocks: Vec<Block> = Vec::with_capacity(live);
    session.measure("fill", live, |_| {
        blocks.extend((0..live).map(|_| Block::new(random.between(SMALLEST, LARGEST))));
    });
    let started = Instant::now();
    let mut replaced = 0;
    while started.elapsed() < replacing {
        for _ in 0..BY_LOOK {
            let (place, bytes) = (random.below(live), random.between(SMALLEST, LARGEST));
            if let Some(slot) = blocks.get_mut(place) {
                *slot = Block::new(bytes);
            }
        }
        replaced += BY_LOOK;
    }
    session.add("replace", replaced, started.elapsed());
    session.coverage = Coverage::of(&blocks).ok();
    session.measure("traverse", reads, |_| traverse(&blocks, &mut random, reads));
    mem::forget(blocks);
}

fn traverse(blocks: &[Block], random: &mut Random, reads: usize) {
    for _ in 0..reads {
        let place = random.below(blocks.len());
        // The next place waits for what this one holds.
        random.stir(blocks.get(place).map_or(0, |block| u64::from(block.read())));
    }
    black_box(&random);
}
