//! Live blocks replaced in random order: a server in its steady state.

use core::mem;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::figures::Session;
use crate::sizes::Sizes;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// How many blocks a thread has, of which sizes, and how many of them live long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) live: usize,
    pub(crate) sizes: Sizes,
    pub(crate) lifetimes: Lifetimes,
}

/// Which block goes next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lifetimes {
    /// Any of them.
    Any,
    /// Four times in five one of the last few, else any of them.
    MostlyShort,
}

impl Population {
    /// Small objects that fit the caches of a CPU.
    pub(crate) const WARM: Self = Self::of(10_000, 16, 1024);

    /// Small objects that do not.
    pub(crate) const COLD: Self = Self::of(500_000, 16, 1024);

    /// Blocks of which a span is one, or a few: 27 MiB of them.
    pub(crate) const LONG: Self = Self {
        live: 500,
        sizes: Sizes::Doubling { above: 1 << 10, bound: 256 << 10 },
        lifetimes: Lifetimes::Any,
    };

    /// Blocks of all sizes that have a class, but for the longest: 34 MiB of them.
    pub(crate) const WIDE: Self = Self {
        live: 2_000,
        sizes: Sizes::Doubling { above: 64, bound: 128 << 10 },
        lifetimes: Lifetimes::Any,
    };

    /// What a server of a fleet has.
    pub(crate) const FLEET: Self =
        Self { live: 20_000, sizes: Sizes::Fleet, lifetimes: Lifetimes::MostlyShort };

    const fn of(live: usize, smallest: usize, largest: usize) -> Self {
        Self { live, sizes: Sizes::Even { smallest, largest }, lifetimes: Lifetimes::Any }
    }

    fn block<W: Watch>(self, watch: &mut W, random: &mut Random) -> Block {
        let bytes = self.sizes.draw(random);
        watch.time(|| Block::new(bytes))
    }

    #[inline]
    fn place(self, random: &mut Random, among: usize) -> usize {
        match self.lifetimes {
            Lifetimes::Any => random.below(among),
            Lifetimes::MostlyShort if random.below(5) == 0 => random.below(among),
            Lifetimes::MostlyShort => random.below(among.min(64)),
        }
    }
}

/// Replacements, spread over `threads` threads that have a population of live blocks each.
pub(crate) fn churn<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    population: Population,
    threads: usize,
    replacements: usize,
) {
    let each = (scale.of(replacements) / threads.max(1)).max(1);
    session.measure_by("", each * threads, |watch| {
        let ended = at_once(population, threads, each);
        // From when all threads have set up to when the last is done.
        let begun = ended.iter().map(|worker: &Worker<W>| worker.begun).min();
        let last = ended.iter().map(|worker| worker.ended).max();
        ended.iter().for_each(|worker| watch.absorb(&worker.watch));
        (begun.zip(last).map(|(begun, last)| last - begun).unwrap_or_default(), ended)
    });
}

/// What a thread leaves behind.
struct Worker<W> {
    begun: Instant,
    ended: Instant,
    watch: W,
    /// Kept for whoever looks at the memory in use.
    _blocks: Vec<Block>,
}

fn at_once<W: Watch>(population: Population, threads: usize, each: usize) -> Vec<Worker<W>> {
    let ready = Barrier::new(threads);
    let work = |number: usize| {
        let (mut watch, mut random) = (W::new(), Random::new(number as u64 + 1));
        let mut blocks: Vec<Block> = Vec::with_capacity(population.live);
        blocks.extend((0..population.live).map(|_| population.block(&mut watch, &mut random)));
        ready.wait();
        watch.restart();
        let begun = Instant::now();
        replace(&mut watch, &mut blocks, population, each, &mut random);
        Worker { begun, ended: Instant::now(), watch, _blocks: blocks }
    };
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    })
}

fn replace<W: Watch>(
    watch: &mut W,
    blocks: &mut [Block],
    population: Population,
    times: usize,
    random: &mut Random,
) {
    for _ in 0..times {
        let place = population.place(random, blocks.len());
        if let Some(slot) = blocks.get_mut(place) {
            let old = mem::replace(slot, population.block(watch, random));
            watch.time(|| drop(old));
        }
    }
}
