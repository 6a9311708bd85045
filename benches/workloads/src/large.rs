//! Blocks of 256 KiB to 16 MiB.

use crate::figures::Session;
use crate::watch::Watch;
use crate::{Block, Random, Scale};

/// Blocks that live at the same time.
const LIVE: usize = 16;

/// Replaces a random one of the live blocks; every page of the new one is touched.
pub(crate) fn large_blocks<W: Watch>(session: &mut Session<W>, scale: Scale, replacements: usize) {
    let replacements = scale.of(replacements);
    let mut random = Random::new(3);
    let mut live: Vec<Option<Block>> = (0..LIVE).map(|_| None).collect();
    session.measure("", replacements, |watch| {
        for _ in 0..replacements {
            let bytes = size(&mut random);
            let place = random.below(LIVE);
            if let Some(slot) = live.get_mut(place) {
                let old = slot.take();
                watch.time(|| drop(old));
                let mut block = watch.time(|| Block::new(bytes));
                block.touch();
                *slot = Some(block);
            }
        }
    });
}

/// Each power of two from 256 KiB to 8 MiB is as likely, and every size up to the next.
fn size(random: &mut Random) -> usize {
    let least = (256 * 1024) << random.below(6);
    random.between(least, 2 * least)
}
