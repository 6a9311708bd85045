//! Counters of threads that count more than a word holds.

use core::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, FrontEnd, FrontEndChoice, Heap};
use strata_sync::thread_block::{self, Counter, Slot, SlotWords};

/// One test at a time: threads keep words for two heaps.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Heaps of every kind of front end, as far as the kernel has what they need.
fn heaps() -> [Heap; 3] {
    let (mut per_thread, mut observed) = (Config::DEFAULT, Config::DEFAULT);
    per_thread.front_end = FrontEndChoice::PerThread;
    observed.hardened = true;
    [Config::DEFAULT, per_thread, observed].map(Heap::with)
}

/// This thread's words of the only heap there is.
fn own_words<'a>() -> &'a SlotWords {
    let words = [Slot::FIRST, Slot::SECOND].map(|slot| {
        // SAFETY: the words are this thread's, whose test goes on for as long as they are used.
        unsafe { &*thread_block::words(slot) }
    });
    words
        .into_iter()
        .find(|words| !words.record.load(Ordering::Relaxed).is_null())
        .expect("the heap knows this thread")
}

/// Allocates and frees blocks of many sizes, one of them large, by which no cache has them all.
fn work(heap: &Heap) {
    let sizes: Vec<usize> = (1..200).map(|number| number * 37).chain([1 << 20]).collect();
    let blocks: Vec<_> = sizes.iter().map(|&size| (heap.allocate(size), size)).collect();
    for (block, size) in blocks {
        assert!(!block.is_null());
        // SAFETY: the block is ours, of this size.
        unsafe { heap.deallocate_sized(block, size, 1) };
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Done {
    allocated: u64,
    deallocated: u64,
}

impl Done {
    fn by(heap: &Heap) -> Self {
        let stats = heap.core().expect("blocks were had").thread_stats();
        assert!(!stats.is_unknown);
        Self { allocated: stats.allocated_bytes, deallocated: stats.deallocated_bytes }
    }

    /// What was done after `work` was done twice, and how many bytes it takes.
    fn by_work(heap: &Heap) -> (Self, u64) {
        let [once, twice] = [(); 2].map(|()| {
            work(heap);
            Self::by(heap)
        });
        assert_eq!(once.and(once.allocated), twice);
        (twice, once.allocated)
    }

    fn and(self, bytes: u64) -> Self {
        Self {
            allocated: self.allocated.wrapping_add(bytes),
            deallocated: self.deallocated.wrapping_add(bytes),
        }
    }
}

#[test]
fn what_is_counted_is_exact_and_paths_stay_open_beyond_two_to_the_64() {
    let _alone = alone();
    for heap in heaps() {
        let (mut expected, bytes) = Done::by_work(&heap);
        let (words, core) = (own_words(), heap.core().expect("blocks were had"));
        let is_open = matches!(core.front_end(), FrontEnd::PerCpu(_));
        for round in 0..40 {
            // As much as blocks of this many bytes, had and given back.
            let much = Counter::STEP - 4096 * round;
            words.allocated.count(much);
            words.deallocated.count(much);
            expected = expected.and(much);
            assert_eq!(Done::by(&heap), expected, "{round}");
            work(&heap);
            expected = expected.and(bytes);
            assert_eq!(Done::by(&heap), expected, "{round}");
            assert_eq!(words.allocated.is_open(), is_open, "{round}");
            assert_eq!(words.deallocated.is_open(), is_open, "{round}");
            assert!(!words.allocated.is_near_end() && !words.deallocated.is_near_end());
            assert_eq!(core.figures().in_use_bytes(), 0, "{round}");
        }
    }
}

#[test]
fn counters_that_were_used_up_by_hits_alone_open_again() {
    let _alone = alone();
    let [heap, ..] = heaps();
    let (mut expected, bytes) = Done::by_work(&heap);
    if !matches!(heap.core().expect("blocks were had").front_end(), FrontEnd::PerCpu(_)) {
        return;
    }
    let words = own_words();
    // The next block finds nothing left, 16 bytes, or less than nothing as a signal handler leaves it.
    for left in [0, 16, -16_i64] {
        let much = (Counter::OPEN - words.allocated.bytes()).wrapping_add_signed(-left);
        words.allocated.count(much);
        words.deallocated.count(much);
        work(&heap);
        expected = expected.and(much).and(bytes);
        assert_eq!(Done::by(&heap), expected, "{left}");
        assert!(words.allocated.is_open() && words.deallocated.is_open(), "{left}");
    }
}

/// A child that shares its parent's memory and words, and runs beside it, has closed them far below 0; what both
/// count at the same moment is lost, in either direction.
#[test]
fn counters_of_which_two_lives_lose_do_not_open() {
    let _alone = alone();
    let [heap, ..] = heaps();
    work(&heap);
    if !matches!(heap.core().expect("blocks were had").front_end(), FrontEnd::PerCpu(_)) {
        return;
    }
    let words = own_words();
    let counters = [&words.allocated, &words.deallocated];
    let counted = counters.map(Counter::bytes);
    let reentry = &thread_block::block().reentry;
    reentry.store(1, Ordering::Relaxed);
    for counter in counters {
        counter.close();
        counter.count(Counter::OPEN);
        // From nothing counted to less than nothing.
        counter.take_back(counter.bytes() + 4096);
    }
    for round in 0..20 {
        work(&heap);
        for counter in counters {
            assert!(!counter.is_open(), "in round {round}");
            if round % 2 == 0 { counter.count(8192) } else { counter.take_back(8192) }
        }
    }
    reentry.store(0, Ordering::Relaxed);
    for (counter, bytes) in counters.into_iter().zip(counted) {
        counter.clear();
        counter.count(bytes);
        counter.open();
    }
    work(&heap);
}
