//! Capacity moves from transfer caches that do well without it to those that miss.

use crate::{MiddleSource, OtherBackEnds, TransferPolicy, middle_source::EMPTIED_AT_ONCE};
use strata_page_heap::PageHeap;
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};
use strata_span::Platform;
use strata_sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
    const_fn,
};

/// One of so many classes may gain in a round: 10 %, TCMalloc's share. At twice, two classes that miss in
/// turn pass the same capacity to and fro.
const CLASSES_PER_GAINER: usize = 10;

/// Capacity that was taken from one class and not yet given to another.
#[derive(Debug)]
pub(crate) struct SpareCapacity {
    /// Keeps rounds of resizing apart, and has the classes of the one that is underway: on the stack of a thread
    /// that missed they would be 2 KiB. Rank: above all transfer caches.
    round: Mutex<[Candidate; CLASS_SLOTS]>,
    /// Written under the lock, read by figures.
    bytes: AtomicU64,
}

impl SpareCapacity {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Self { round: Mutex::new([Candidate::NONE; CLASS_SLOTS]), bytes: AtomicU64::new(0) }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn acquire(&self) {
        self.round.acquire();
    }

    /// # Safety
    ///
    /// This thread took the lock with `acquire`, or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.round.release() };
    }
}

/// A class in a round.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    class: SizeClass,
    misses: u64,
}

impl Candidate {
    const NONE: Self = Self { class: SizeClass::NONE, misses: 0 };
}

impl<E, H, R, T> MiddleSource<'_, E, H, R, T>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    R: OtherBackEnds,
    T: TransferPolicy,
{
    /// Gives the transfer caches that missed most since the last round, a tenth of them, room for one batch
    /// more each, taken from those that missed least; says how many gained. For the background, each few
    /// seconds.
    ///
    /// The bytes that all caches together may hold stay the same: what is taken and not given is
    /// kept ([`MiddleStats::spare_capacity_bytes`](crate::MiddleStats)).
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub fn resize_round(&self) -> usize {
        let Some(mut all) = self.tier.spare_capacity.round.try_lock() else { return 0 };
        let mut count = 0;
        for (slot, class) in all.iter_mut().zip(E::Pages::TABLE.classes()) {
            *slot = Candidate { class, misses: self.tier.transfer(class).new_misses() };
            count += 1;
        }
        let Some(candidates) = all.get_mut(..count) else { return 0 };
        candidates.sort_unstable_by_key(|candidate| core::cmp::Reverse(candidate.misses));
        let mut gained = 0;
        for gainer in 0..count.div_ceil(CLASSES_PER_GAINER) {
            let (Some(&most), Some(others)) =
                (candidates.get(gainer), candidates.get(gainer + 1..))
            else {
                break;
            };
            if most.misses == 0 {
                break;
            }
            gained += usize::from(self.give_capacity(most, others));
        }
        gained
    }

    /// Gives one class room for one more batch, from `others`, which are in order of falling misses.
    fn give_capacity(&self, gainer: Candidate, others: &[Candidate]) -> bool {
        let info = E::Pages::TABLE.info(gainer.class);
        let cache = self.tier.transfer(gainer.class);
        let stats = cache.stats();
        let room = stats.max_capacity.saturating_sub(stats.capacity);
        let objects = usize::from(info.batch).min(usize::try_from(room).unwrap_or(0));
        let needed = objects as u64 * u64::from(info.size);
        let losers = others.iter().rev().take_while(|other| other.misses < gainer.misses);
        for loser in losers {
            if self.spare_bytes() >= needed {
                break;
            }
            self.take_capacity(loser.class, needed - self.spare_bytes());
        }
        if objects == 0 || self.spare_bytes() < needed {
            return false;
        }
        let grown = cache.grow(objects) as u64 * u64::from(info.size);
        self.set_spare_bytes(self.spare_bytes().wrapping_sub(grown));
        grown > 0
    }

    /// Takes capacity for about `bytes` from a class, a batch at a time, and leaves it one batch.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn take_capacity(&self, class: SizeClass, bytes: u64) {
        let info = E::Pages::TABLE.info(class);
        let (size, batch) = (u64::from(info.size), usize::from(info.batch));
        let cache = self.tier.transfer(class);
        let mut excess = [core::ptr::null_mut(); EMPTIED_AT_ONCE];
        let (mut taken, mut left_of_batch) = (0, 0);
        while taken < bytes || left_of_batch > 0 {
            if left_of_batch == 0 {
                let capacity = usize::try_from(cache.stats().capacity).unwrap_or(0);
                left_of_batch = batch.min(capacity.saturating_sub(batch));
            }
            let (shrunk, moved) = cache.shrink(left_of_batch, &mut excess);
            if let Some(excess) = excess.get_mut(..moved) {
                // SAFETY: the transfer cache had the objects from `give`, and has just given them up.
                unsafe { self.give_to_central(class, excess) };
            }
            if shrunk == 0 {
                break;
            }
            left_of_batch = left_of_batch.saturating_sub(shrunk);
            taken += shrunk as u64 * size;
            self.set_spare_bytes(self.spare_bytes() + shrunk as u64 * size);
        }
    }

    fn spare_bytes(&self) -> u64 {
        self.tier.spare_capacity.bytes()
    }

    fn set_spare_bytes(&self, bytes: u64) {
        self.tier.spare_capacity.bytes.store(bytes, Ordering::Relaxed);
    }
}
