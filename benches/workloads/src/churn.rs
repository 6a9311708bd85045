//! Live blocks replaced in random order: a server in its steady state.

use core::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::{Block, Figures, Random, Scale};

/// How many blocks live, and of which sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) live: usize,
    pub(crate) smallest: usize,
    pub(crate) largest: usize,
}

impl Population {
    /// Small objects that fit the caches of a CPU.
    pub(crate) const WARM: Self = Self { live: 10_000, smallest: 16, largest: 1024 };

    /// Small objects that do not.
    pub(crate) const COLD: Self = Self { live: 500_000, smallest: 16, largest: 1024 };

    /// 512 MiB, mostly of blocks below a page.
    pub(crate) const BIG: Self = Self { live: 250_000, smallest: 64, largest: 4032 };

    fn block(self, random: &mut Random) -> Block {
        Block::new(random.between(self.smallest, self.largest))
    }
}

/// Replacements, spread over `threads` threads that have `population` live blocks each.
pub(crate) fn churn(
    scale: Scale,
    population: Population,
    threads: usize,
    replacements: usize,
) -> Figures {
    let each = (scale.of(replacements) / threads.max(1)).max(1);
    // The clock runs from when all threads have set up to when the last is done.
    let ready = Barrier::new(threads);
    let spans = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let ready = &ready;
                scope.spawn(move || {
                    let mut random = Random::new(number as u64 + 1);
                    let mut blocks: Vec<Block> = Vec::with_capacity(population.live);
                    blocks.extend((0..population.live).map(|_| population.block(&mut random)));
                    ready.wait();
                    let begun = Instant::now();
                    replace(&mut blocks, population, each, &mut random);
                    (begun, Instant::now())
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect::<Vec<_>>()
    });
    let begun = spans.iter().map(|span| span.0).min();
    let ended = spans.iter().map(|span| span.1).max();
    let elapsed = begun.zip(ended).map(|(begun, ended)| ended - begun).unwrap_or_default();
    Figures { operations: each * threads, elapsed }
}

fn replace(blocks: &mut [Block], population: Population, times: usize, random: &mut Random) {
    for _ in 0..times {
        let place = random.below(blocks.len());
        if let Some(block) = blocks.get_mut(place) {
            *block = population.block(random);
        }
    }
}

/// A big heap: every fourth operation replaces a random block, the others read one.
pub(crate) fn replace_and_read(scale: Scale, population: Population, operations: usize) -> Figures {
    let operations = scale.of(operations);
    let mut random = Random::new(5);
    let live = scale.of(population.live);
    let mut blocks: Vec<Block> = Vec::with_capacity(live);
    blocks.extend((0..live).map(|_| population.block(&mut random)));
    let mut sum = 0_u64;
    let figures = Figures::of(operations, || {
        for operation in 0..operations {
            let place = random.below(blocks.len());
            let Some(block) = blocks.get_mut(place) else { continue };
            if operation % 4 == 0 {
                *block = population.block(&mut random);
            } else {
                sum = sum.wrapping_add(u64::from(block.read()));
            }
        }
    });
    black_box(sum);
    figures
}
