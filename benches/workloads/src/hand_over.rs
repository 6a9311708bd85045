//! Blocks allocated by one thread and freed by another.

use core::hint::black_box;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::{Block, Figures, Random, Scale};

/// Blocks that change hands at once: the cost of the channel is shared by as many.
const PARCEL: usize = 512;

/// Parcels under way between a producer and its consumer.
const UNDER_WAY: usize = 4;

type Parcel = Vec<Block>;

/// Producers and consumers in pairs; blocks of `smallest..=largest` bytes.
pub(crate) fn hand_over(
    scale: Scale,
    pairs: usize,
    smallest: usize,
    largest: usize,
    blocks: usize,
) -> Figures {
    let parcels = (scale.of(blocks) / pairs / PARCEL).max(1);
    Figures::of(parcels * PARCEL * pairs, || {
        thread::scope(|scope| {
            for pair in 0..pairs {
                let (full, arriving) = mpsc::sync_channel(UNDER_WAY);
                let (empty, returning) = mpsc::sync_channel(UNDER_WAY + 2);
                // The vectors that carry blocks travel in circles, so that they cost nothing.
                for _ in 0..UNDER_WAY + 2 {
                    let _ = empty.send(Vec::with_capacity(PARCEL));
                }
                let random = Random::new(pair as u64 + 1);
                scope.spawn(move || {
                    produce(&full, &returning, random, smallest..=largest, parcels);
                });
                scope.spawn(move || consume(&arriving, &empty));
            }
        });
    })
}

fn produce(
    full: &SyncSender<Parcel>,
    returning: &Receiver<Parcel>,
    mut random: Random,
    bytes: core::ops::RangeInclusive<usize>,
    parcels: usize,
) {
    for _ in 0..parcels {
        let Ok(mut parcel) = returning.recv() else { return };
        parcel
            .extend((0..PARCEL).map(|_| Block::new(random.between(*bytes.start(), *bytes.end()))));
        if full.send(parcel).is_err() {
            return;
        }
    }
}

fn consume(arriving: &Receiver<Parcel>, empty: &SyncSender<Parcel>) {
    for mut parcel in arriving {
        let sum: u64 = parcel.drain(..).map(|block| u64::from(block.read())).sum();
        black_box(sum);
        // The producer has stopped once it has sent its last parcel.
        let _ = empty.try_send(parcel);
    }
}
