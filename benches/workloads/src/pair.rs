//! Allocate and free at once, again and again: the hot path and nothing else.

use core::time::Duration;
use std::sync::Barrier;
use std::thread;

use crate::figures::{Session, cpu_time};
use crate::watch::Watch;
use crate::{Block, Scale, Untouched};

/// Pairs that set the caches up before the measured part.
const WARM_UP: usize = 1000;

/// Pairs of one size.
pub(crate) fn pairs<W: Watch>(session: &mut Session<W>, scale: Scale, bytes: usize, pairs: usize) {
    let pairs = scale.of(pairs);
    repeat(&mut session.watch, bytes, WARM_UP);
    session.measure("", pairs, |watch| repeat(watch, bytes, pairs));
}

#[inline]
fn repeat<W: Watch>(watch: &mut W, bytes: usize, pairs: usize) {
    for _ in 0..pairs {
        let block = watch.time(|| Block::new(bytes));
        watch.time(|| drop(block));
    }
}

/// The size of the pairs that are held against how much else lives, or how many threads there are.
const CACHED: usize = 64;

/// Blocks of this size fill the heap: few enough that an allocator that maps each of them for
/// itself stays below the kernel's limit of mappings.
const FILLER: usize = 256 << 10;

/// A name, and how many bytes live beside the pairs.
const LIVE: [(&str, usize); 6] = [
    ("1m", 1 << 20),
    ("16m", 16 << 20),
    ("128m", 128 << 20),
    ("1g", 1 << 30),
    ("4g", 4 << 30),
    ("8g", 8 << 30),
];

/// Cached pairs while more and more other blocks live that nobody touches.
pub(crate) fn beside_live_blocks<W: Watch>(session: &mut Session<W>, scale: Scale, pairs: usize) {
    let pairs = scale.of(pairs);
    let mut live: Vec<Untouched> = Vec::with_capacity((8 << 30) / FILLER);
    repeat(&mut session.watch, CACHED, WARM_UP);
    for (name, bytes) in LIVE {
        while live.len() < bytes / FILLER {
            live.push(Untouched::new(FILLER));
        }
        session.measure(name, pairs, |watch| repeat(watch, CACHED, pairs));
    }
}

const THREADS: [(&str, usize); 7] =
    [("1t", 1), ("2t", 2), ("4t", 4), ("8t", 8), ("16t", 16), ("32t", 32), ("64t", 64)];

/// Cached pairs by ever more threads at once; what is taken is the CPU time of them all.
pub(crate) fn by_threads<W: Watch>(session: &mut Session<W>, scale: Scale, pairs: usize) {
    for (name, threads) in THREADS {
        let each = (scale.of(pairs) / threads).max(1);
        session.measure_by(name, each * threads, |watch| (all_at_once(watch, threads, each), ()));
    }
}

fn all_at_once<W: Watch>(watch: &mut W, threads: usize, each: usize) -> Duration {
    let ready = Barrier::new(threads);
    thread::scope(|scope| {
        let worker = || {
            let mut watch = W::new();
            repeat(&mut watch, CACHED, WARM_UP);
            watch.restart();
            ready.wait();
            let begun = cpu_time();
            repeat(&mut watch, CACHED, each);
            (cpu_time().saturating_sub(begun), watch)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let ended = workers.into_iter().filter_map(|worker| worker.join().ok());
        ended.fold(Duration::ZERO, |sum, (time, seen)| {
            watch.absorb(&seen);
            sum + time
        })
    })
}
