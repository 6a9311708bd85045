//! Vectors that grow by realloc.

use core::hint::black_box;

use crate::{Figures, Scale};

/// Chains of a vector that grows from nothing to `bytes`, doubling, with every byte written.
pub(crate) fn one_vector(scale: Scale, bytes: usize, chains: usize) -> Figures {
    let chains = scale.of(chains);
    Figures::of(chains, || {
        for _ in 0..chains {
            let mut vector: Vec<u64> = Vec::new();
            for number in 0..bytes as u64 / 8 {
                vector.push(number);
            }
            black_box(&vector);
        }
    })
}

/// Chains of many vectors that grow in turn, so that none has free space behind it.
pub(crate) fn many_vectors(scale: Scale, vectors: usize, bytes: usize, chains: usize) -> Figures {
    let chains = scale.of(chains);
    Figures::of(chains * vectors, || {
        for _ in 0..chains {
            let mut all: Vec<Vec<u64>> = vec![Vec::new(); vectors];
            for number in 0..bytes as u64 / 8 {
                all.iter_mut().for_each(|vector| vector.push(number));
            }
            black_box(&all);
        }
    })
}
