//! Vectors that grow by realloc.

use core::hint::black_box;

use crate::Scale;
use crate::figures::Session;
use crate::watch::Watch;

/// Chains of a vector that grows from nothing to `bytes`, doubling, with every byte written.
pub(crate) fn one_vector<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    bytes: usize,
    chains: usize,
) {
    let chains = scale.of(chains);
    session.measure("", chains, |watch| {
        for _ in 0..chains {
            let mut vector: Vec<u64> = Vec::new();
            for number in 0..bytes as u64 / 8 {
                push(watch, &mut vector, number);
            }
            black_box(&vector);
            watch.time(|| drop(vector));
        }
    });
}

/// Chains of many vectors that grow in turn, so that none has free space behind it.
pub(crate) fn many_vectors<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    vectors: usize,
    bytes: usize,
    chains: usize,
) {
    let chains = scale.of(chains);
    session.measure("", chains * vectors, |watch| {
        for _ in 0..chains {
            let mut all: Vec<Vec<u64>> = vec![Vec::new(); vectors];
            for number in 0..bytes as u64 / 8 {
                all.iter_mut().for_each(|vector| push(watch, vector, number));
            }
            black_box(&all);
            all.into_iter().for_each(|vector| watch.time(|| drop(vector)));
        }
    });
}

/// `Vec::push`, with its call of realloc where the watch sees it.
#[inline]
fn push<W: Watch>(watch: &mut W, vector: &mut Vec<u64>, number: u64) {
    if vector.len() == vector.capacity() {
        watch.time(|| vector.reserve(1));
    }
    vector.push(number);
}
