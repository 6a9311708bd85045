//! The table of workloads.

use core::time::Duration;

use crate::batch::{Order, batches};
use crate::big_heap::{big_heap, steady_heap};
use crate::churn::{Population, churn};
use crate::figures::Session;
use crate::grow::{many_vectors, one_vector};
use crate::hand_over::hand_over;
use crate::large::large_blocks;
use crate::neighbours::neighbours;
use crate::pair::{beside_live_blocks, by_threads, pairs};
use crate::phases::phases;
use crate::sizes::Sizes;
use crate::threads::short_lives;
use crate::trees::trees;
use crate::watch::{Unwatched, Watch, Watched};
use crate::{Figures, Scale};

/// Work with a name.
#[derive(Debug)]
pub struct Workload {
    /// What the command line and the tables call it.
    pub name: &'static str,
    /// One operation, in words.
    pub operation: &'static str,
    /// What its figures mean.
    pub kind: Kind,
    work: Work,
}

/// What the figures of a workload are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pairs of up to 1 KiB in one thread: the hot path.
    HotPath,
    /// Whatever else programs do.
    Program,
    /// Nothing but the process itself, whose time whoever starts it has to take.
    StartUp,
    /// Parts that are held against each other: the time should be the same in all of them.
    Series,
}

/// Whether single calls are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The work alone.
    Unwatched,
    /// Every call with a clock beside it, which makes it slower; a quarter of the work.
    Watched,
}

impl Workload {
    /// Does the work once.
    pub fn measure(&self, scale: Scale, pace: Pace) -> Figures {
        match pace {
            Pace::Unwatched => self.measure_with::<Unwatched>(scale),
            Pace::Watched => self.measure_with::<Watched>(scale.slower()),
        }
    }

    /// How many bytes the work may touch at a scale, for [`warm_up`](crate::warm_up): as many as any allocator was
    /// seen to need, and some.
    pub fn reach(&self, scale: Scale) -> usize {
        const MIB: usize = 1 << 20;
        match self.work {
            Work::Nothing => 0,
            Work::BigHeap { .. } | Work::SteadyHeap { .. } => scale.live(3072 * MIB),
            Work::Churn { .. } => 512 * MIB,
            _ => 192 * MIB,
        }
    }

    fn measure_with<W: Watch + 'static>(&self, scale: Scale) -> Figures {
        let mut session = Session::<W>::new();
        self.work.perform(&mut session, scale);
        session.finish()
    }
}

/// What there is to do. Numbers of operations are chosen so that glibc takes a fifth of a second.
#[derive(Clone, Copy, Debug)]
enum Work {
    Nothing,
    Pairs { bytes: usize, pairs: usize },
    PairsBesideLive { pairs: usize },
    PairsByThreads { pairs: usize },
    Batches { bytes: usize, order: Order, batches: usize },
    Churn { population: Population, threads: usize, replacements: usize },
    HandOver { pairs: usize, sizes: Sizes, blocks: usize },
    Threads { threads: usize },
    OneVector { bytes: usize, chains: usize },
    ManyVectors { vectors: usize, bytes: usize, chains: usize },
    Large { replacements: usize },
    BigHeap { replacements: usize, reads: usize },
    SteadyHeap { replacing: Duration, reads: usize },
    Phases { cycles: usize },
    Trees { trees: usize },
    Neighbours { threads: usize, blocks: usize },
}

impl Work {
    fn perform<W: Watch + 'static>(self, session: &mut Session<W>, scale: Scale) {
        match self {
            Self::Nothing => session.measure("", 1, |_| ()),
            Self::Pairs { bytes, pairs: times } => pairs(session, scale, bytes, times),
            Self::PairsBesideLive { pairs } => beside_live_blocks(session, scale, pairs),
            Self::PairsByThreads { pairs } => by_threads(session, scale, pairs),
            Self::Batches { bytes, order, batches: times } => {
                batches(session, scale, bytes, order, times);
            }
            Self::Churn { population, threads, replacements } => {
                churn(session, scale, population, threads, replacements);
            }
            Self::HandOver { pairs, sizes, blocks } => {
                hand_over(session, scale, pairs, sizes, blocks);
            }
            Self::Threads { threads } => short_lives(session, scale, threads),
            Self::OneVector { bytes, chains } => one_vector(session, scale, bytes, chains),
            Self::ManyVectors { vectors, bytes, chains } => {
                many_vectors(session, scale, vectors, bytes, chains);
            }
            Self::Large { replacements } => large_blocks(session, scale, replacements),
            Self::BigHeap { replacements, reads } => {
                big_heap(session, scale, replacements, reads);
            }
            Self::SteadyHeap { replacing, reads } => {
                steady_heap(session, scale, replacing, reads);
            }
            Self::Phases { cycles } => phases(session, scale, cycles),
            Self::Trees { trees: times } => trees(session, scale, times),
            Self::Neighbours { threads, blocks } => neighbours(session, scale, threads, blocks),
        }
    }
}

const PAIR: &str = "allocate, write a byte, free";
const REPLACE: &str = "replace a random live block";
const HAND: &str = "allocate in one thread, free in another";

const fn workload(name: &'static str, operation: &'static str, work: Work) -> Workload {
    Workload { name, operation, kind: Kind::Program, work }
}

const fn hot(name: &'static str, bytes: usize) -> Workload {
    let work = Work::Pairs { bytes, pairs: 20_000_000 };
    Workload { name, operation: PAIR, kind: Kind::HotPath, work }
}

const fn pair(name: &'static str, bytes: usize, pairs: usize) -> Workload {
    workload(name, PAIR, Work::Pairs { bytes, pairs })
}

const fn batch(name: &'static str, bytes: usize, order: Order, batches: usize) -> Workload {
    workload(name, PAIR, Work::Batches { bytes, order, batches })
}

const fn steady(
    name: &'static str,
    population: Population,
    threads: usize,
    replacements: usize,
) -> Workload {
    workload(name, REPLACE, Work::Churn { population, threads, replacements })
}

const fn handed(name: &'static str, pairs: usize, sizes: Sizes, blocks: usize) -> Workload {
    workload(name, HAND, Work::HandOver { pairs, sizes, blocks })
}

const ONLY_64: Sizes = Sizes::Even { smallest: 64, largest: 64 };
const MIXED: Sizes = Sizes::Even { smallest: 16, largest: 1024 };

/// A heap of 2 GiB in its steady state, for a while: what of it stands on hugepages then, and how fast it is read.
/// Not one of [`WORKLOADS`]: its length is a time, which the memory that goes back by itself needs.
pub const STEADY_HEAP: Workload = workload(
    "steady-heap",
    "replace random blocks of 2 GiB for 15 s; read one that the last says",
    Work::SteadyHeap { replacing: Duration::from_secs(15), reads: 6_000_000 },
);

/// Every workload that is compared by default.
pub const WORKLOADS: &[Workload] = &[
    hot("pair-8", 8),
    hot("pair-16", 16),
    hot("pair-64", 64),
    hot("pair-256", 256),
    hot("pair-1k", 1 << 10),
    pair("pair-8k", 8 << 10, 10_000_000),
    pair("pair-64k", 64 << 10, 5_000_000),
    pair("pair-256k", 256 << 10, 1_000_000),
    batch("batch-lifo-64", 64, Order::NewestFirst, 15_000),
    batch("batch-fifo-64", 64, Order::OldestFirst, 15_000),
    batch("batch-random-64", 64, Order::Random, 15_000),
    batch("batch-lifo-1k", 1 << 10, Order::NewestFirst, 4_000),
    batch("batch-fifo-1k", 1 << 10, Order::OldestFirst, 1_500),
    batch("batch-random-1k", 1 << 10, Order::Random, 3_000),
    steady("churn-1t", Population::WARM, 1, 6_000_000),
    steady("churn-2t", Population::WARM, 2, 8_000_000),
    steady("churn-8t", Population::WARM, 8, 8_000_000),
    steady("churn-cold-1t", Population::COLD, 1, 1_000_000),
    steady("churn-long-1t", Population::LONG, 1, 800_000),
    steady("churn-wide-4t", Population::WIDE, 4, 2_000_000),
    steady("fleet-1t", Population::FLEET, 1, 3_000_000),
    steady("fleet-2t", Population::FLEET, 2, 4_000_000),
    steady("fleet-8t", Population::FLEET, 8, 4_000_000),
    handed("hand-over-1-1-64", 1, ONLY_64, 3_000_000),
    handed("hand-over-1-1-mixed", 1, MIXED, 2_000_000),
    handed("hand-over-4-4-64", 4, ONLY_64, 6_000_000),
    handed("hand-over-4-4-mixed", 4, MIXED, 4_000_000),
    workload(
        "threads",
        "a thread is born, allocates 200 blocks and dies",
        Work::Threads { threads: 3_000 },
    ),
    workload(
        "grow-64k",
        "a vector grows to 64 KiB",
        Work::OneVector { bytes: 64 << 10, chains: 30_000 },
    ),
    workload("grow-4m", "a vector grows to 4 MiB", Work::OneVector { bytes: 4 << 20, chains: 300 }),
    workload(
        "grow-many",
        "a vector grows to 64 KiB among 64 others",
        Work::ManyVectors { vectors: 64, bytes: 64 << 10, chains: 60 },
    ),
    workload(
        "large",
        "replace a block of 256 KiB to 16 MiB and touch it",
        Work::Large { replacements: 300 },
    ),
    workload(
        "big-heap",
        "replace a random block of 2 GiB; read one that the last says",
        Work::BigHeap { replacements: 500_000, reads: 2_000_000 },
    ),
    workload(
        "phases",
        "allocate as the phase has it, free what it pushes out",
        Work::Phases { cycles: 8 },
    ),
    workload(
        "trees",
        "allocate a node of a tree, walk over it three times, free it",
        Work::Trees { trees: 30 },
    ),
    workload(
        "neighbours-2t",
        "allocate 8 bytes, write them 500 times, free, after one that another thread allocated",
        Work::Neighbours { threads: 2, blocks: 400_000 },
    ),
    Workload {
        name: "start-up",
        operation: "a process begins and ends",
        kind: Kind::StartUp,
        work: Work::Nothing,
    },
    Workload {
        name: "live",
        operation: "a pair of 64 bytes while other blocks lie untouched",
        kind: Kind::Series,
        work: Work::PairsBesideLive { pairs: 5_000_000 },
    },
    Workload {
        name: "pair-threads",
        operation: "a pair of 64 bytes by many threads, CPU time",
        kind: Kind::Series,
        work: Work::PairsByThreads { pairs: 12_000_000 },
    },
];

#[cfg(test)]
mod tests;
