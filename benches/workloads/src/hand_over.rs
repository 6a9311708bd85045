//! Blocks that one thread allocates and another frees.

use core::hint::black_box;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::figures::Session;
use crate::sizes::Sizes;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// Blocks that change hands at once: the cost of the channel is shared by as many.
const PARCEL: usize = 512;

/// Parcels under way between a producer and its consumer.
const UNDER_WAY: usize = 4;

type Parcel = Vec<Block>;

/// Producers and consumers in pairs.
pub(crate) fn hand_over<W: Watch>(
    session: &mut Session<W>,
    scale: Scale,
    pairs: usize,
    sizes: Sizes,
    blocks: usize,
) {
    let parcels = (scale.of(blocks) / pairs / PARCEL).max(1);
    session.measure("", parcels * PARCEL * pairs, |watch| {
        thread::scope(|scope| {
            let mut workers = Vec::with_capacity(2 * pairs);
            for pair in 0..pairs {
                let (full, arriving) = mpsc::sync_channel(UNDER_WAY);
                let (empty, returning) = mpsc::sync_channel(UNDER_WAY + 2);
                // The vectors that carry blocks travel in circles, so that they cost nothing.
                for _ in 0..UNDER_WAY + 2 {
                    let _ = empty.send(Vec::with_capacity(PARCEL));
                }
                let random = Random::new(pair as u64 + 1);
                workers.push(
                    scope.spawn(move || produce::<W>(&full, &returning, random, sizes, parcels)),
                );
                workers.push(scope.spawn(move || consume::<W>(&arriving, &empty)));
            }
            let ended = workers.into_iter().filter_map(|worker| worker.join().ok());
            ended.for_each(|seen| watch.absorb(&seen));
        });
    });
}

fn produce<W: Watch>(
    full: &SyncSender<Parcel>,
    returning: &Receiver<Parcel>,
    mut random: Random,
    sizes: Sizes,
    parcels: usize,
) -> W {
    let mut watch = W::new();
    for _ in 0..parcels {
        let Ok(mut parcel) = returning.recv() else { break };
        parcel.extend((0..PARCEL).map(|_| {
            let bytes = sizes.draw(&mut random);
            watch.time(|| Block::new(bytes))
        }));
        if full.send(parcel).is_err() {
            break;
        }
    }
    watch
}

fn consume<W: Watch>(arriving: &Receiver<Parcel>, empty: &SyncSender<Parcel>) -> W {
    let mut watch = W::new();
    for mut parcel in arriving {
        let mut sum = 0;
        for block in parcel.drain(..) {
            sum += u64::from(block.read());
            watch.time(|| drop(block));
        }
        black_box(sum);
        // The producer has stopped once it has sent its last parcel.
        let _ = empty.try_send(parcel);
    }
    watch
}
