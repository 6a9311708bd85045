//! A program whose sizes change while it runs.

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// Bytes that live at any time.
const LIVE: usize = 16 << 20;

/// The least size of a phase; the largest is four times that.
const LEAST: [usize; 6] = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// Up and down through the sizes, `cycles` times. A phase replaces all that lives by blocks of its
/// own sizes: one is allocated, and as many go at random as it has pushed out.
pub(crate) fn phases<W: Watch>(session: &mut Session<W>, scale: Scale, cycles: usize) {
    let cycles = scale.of(cycles);
    let sizes = || LEAST.into_iter().chain(LEAST.into_iter().rev());
    // What a phase allocates is known on the average only; what it did is counted.
    let mut random = Random::new(9);
    let mut live: Vec<Block> = Vec::with_capacity(LIVE / LEAST[0]);
    let mut held = 0;
    let operations = (0..cycles).flat_map(|_| sizes()).map(|least| LIVE / (5 * least / 2)).sum();
    session.measure("", operations, |watch| {
        for least in (0..cycles).flat_map(|_| sizes()) {
            for _ in 0..LIVE / (5 * least / 2) {
                let bytes = random.between(least, 4 * least);
                live.push(watch.time(|| Block::new(bytes)));
                held += bytes;
                while held > LIVE {
                    let gone = live.swap_remove(random.below(live.len()));
                    held -= gone.bytes();
                    watch.time(|| drop(gone));
                }
            }
        }
    });
}
