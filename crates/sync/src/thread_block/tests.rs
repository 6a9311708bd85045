use super::{BLOCK_BYTES, RSEQ_AREA_OFFSET, Slot, SlotWords, ThreadBlock, block, rseq_area, words};
use core::sync::atomic::Ordering;
use std::thread;

/// What both variants owe.
macro_rules! variant_suite {
    ($name:ident, $variant:path) => {
        mod $name {
            use super::{Slot, block_suite};
            use $variant as variant;

            fn assert_allocated(slot: Slot, bytes: u64, limit: u64) {
                assert_eq!(variant::allocated_with(slot, 0), bytes);
                assert_eq!(variant::allocated_with(slot, 32), bytes + 32);
                assert!(!variant::is_above_allocated_limit(slot, limit));
                assert!(variant::is_above_allocated_limit(slot, limit + 1));
            }

            fn assert_deallocated(slot: Slot, bytes: u64, limit: u64) {
                assert_eq!(variant::deallocated_with(slot, 0), bytes);
                assert_eq!(variant::deallocated_with(slot, 32), bytes + 32);
                assert!(!variant::is_above_deallocated_limit(slot, limit));
                assert!(variant::is_above_deallocated_limit(slot, limit + 1));
            }

            #[test]
            fn a_new_thread_has_zero_words_and_keeps_what_it_sets() {
                block_suite::run_in_threads(|| {
                    for slot in [Slot::FIRST, Slot::SECOND] {
                        assert_allocated(slot, 0, 0);
                        assert_deallocated(slot, 0, 0);
                        variant::set_allocated(slot, 7);
                        variant::set_deallocated(slot, 5);
                        assert_allocated(slot, 7, 0);
                        assert_deallocated(slot, 5, 0);
                    }
                    assert!(variant::is_above_allocated_limit(Slot::UNBOUND, 1));
                    assert!(variant::is_above_deallocated_limit(Slot::UNBOUND, 1));
                });
            }

            #[test]
            fn accessors_and_the_block_mean_the_same_words() {
                block_suite::run_in_threads(|| {
                    for (slot, base) in [(Slot::FIRST, 100), (Slot::SECOND, 200)] {
                        block_suite::fill(variant::block(), slot, base);
                        assert_allocated(slot, base, base + 2);
                        assert_deallocated(slot, base + 1, base + 3);
                    }
                });
            }

            #[test]
            fn threads_that_live_have_blocks_of_their_own_aligned_to_64() {
                block_suite::blocks_are_distinct(variant::block);
            }
        }
    };
}

variant_suite!(assembly, super::super::variant);
variant_suite!(portable, super::super::portable);

mod block_suite {
    use super::{BLOCK_BYTES, Slot, SlotWords, ThreadBlock, thread};
    use core::sync::atomic::Ordering;
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    pub(super) fn run_in_threads(test: impl Fn() + Sync) {
        for _ in 0..8 {
            thread::scope(|scope| {
                scope.spawn(&test);
                scope.spawn(&test);
            });
        }
    }

    pub(super) fn fill(block: *const ThreadBlock, slot: Slot, base: u64) {
        let words = block.wrapping_byte_add(slot.byte_offset()).cast::<SlotWords>();
        // SAFETY: the block is the calling thread's, and the slot lies in it.
        let words = unsafe { &*words };
        words.allocated.store(base, Ordering::Relaxed);
        words.deallocated.store(base + 1, Ordering::Relaxed);
        words.allocated_limit.store(base + 2, Ordering::Relaxed);
        words.deallocated_limit.store(base + 3, Ordering::Relaxed);
    }

    pub(super) fn blocks_are_distinct(block: impl Fn() -> *const ThreadBlock + Sync) {
        const THREADS: usize = 100;
        let all_live = Barrier::new(THREADS);
        let ask = || {
            let start = block().addr();
            all_live.wait();
            assert_eq!(block().addr(), start, "a thread's block does not move");
            start
        };
        let starts: BTreeSet<usize> = thread::scope(|scope| {
            let threads: std::vec::Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(starts.len(), THREADS);
        assert!(starts.iter().all(|start| start % 64 == 0));
        let ends = starts.iter().map(|start| start + BLOCK_BYTES);
        assert!(ends.zip(starts.iter().skip(1)).all(|(end, &next)| end <= next));
    }
}

#[test]
fn portable_blocks_of_threads_that_ended_are_used_again() {
    let ask = || thread::spawn(|| super::portable::block().addr()).join().unwrap();
    let starts: std::collections::BTreeSet<usize> = (0..2000).map(|_| ask()).collect();
    assert!(starts.len() < 1000, "2000 threads one after the other used {}", starts.len());
}

#[test]
fn a_process_without_a_key_for_portable_blocks_stops_with_one_line() {
    unsafe extern "C" fn nothing(_value: *mut core::ffi::c_void) {}
    let child = child_process::run(
        "thread_block::tests::a_process_without_a_key_for_portable_blocks_stops_with_one_line",
        || {
            while strata_os::ExitKey::create(nothing).is_some() {}
            super::portable::block();
        },
    );
    assert_eq!(child, "strata: thread block: the process has no key left for it\n");
}

#[test]
fn a_process_without_memory_for_portable_blocks_stops_with_one_line() {
    let child = child_process::run(
        "thread_block::tests::a_process_without_memory_for_portable_blocks_stops_with_one_line",
        || {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the limit lives through the call; this process is there for nothing else.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const none) }, 0);
            super::portable::block();
        },
    );
    assert_eq!(child, "strata: thread block: no memory for the words of a thread\n");
}

/// What a process of its own has to say that aborts.
mod child_process {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::string::String;

    const VARIABLE: &str = "STRATA_SYNC_TEST_CHILD";

    /// Runs the test `name`, this one, again in a new process, where `program` runs and aborts;
    /// its standard error.
    pub(super) fn run(name: &str, program: impl FnOnce()) -> String {
        if std::env::var_os(VARIABLE).is_some() {
            program();
            std::process::exit(0);
        }
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([name, "--exact", "--nocapture"])
            .env(VARIABLE, "1")
            .output()
            .expect("this program runs again");
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{child:?}");
        String::from_utf8(child.stderr).expect("a line of text")
    }
}

#[test]
fn slots_stand_where_their_offsets_say() {
    let start = core::ptr::from_ref(block()).addr();
    for slot in [Slot::UNBOUND, Slot::FIRST, Slot::SECOND] {
        assert_eq!(words(slot).addr() - start, slot.byte_offset());
        assert_eq!(Slot::from_byte_offset(slot.byte_offset()), Some(slot));
    }
    assert_eq!(Slot::from_byte_offset(8), None);
    assert_eq!(rseq_area().addr() - start, RSEQ_AREA_OFFSET);
    assert_eq!(rseq_area().addr() % 32, 0);
}

#[test]
fn the_slot_that_is_none_has_limits_and_record_of_zero_beside_used_words() {
    thread::scope(|scope| {
        scope.spawn(|| {
            block().state.store(u32::MAX, Ordering::Relaxed);
            block().reentry.store(3, Ordering::Relaxed);
            // SAFETY: the words are the calling thread's.
            let none = unsafe { &*words(Slot::UNBOUND) };
            assert_eq!(none.allocated_limit.load(Ordering::Relaxed), 0);
            assert_eq!(none.deallocated_limit.load(Ordering::Relaxed), 0);
            assert!(none.record.load(Ordering::Relaxed).is_null());
            assert_eq!(block().state.load(Ordering::Relaxed), u32::MAX);
        });
    });
}

#[test]
fn another_thread_reads_the_words_of_one_that_lives() {
    super::set_allocated(Slot::FIRST, 4096);
    // SAFETY: the words are this thread's, which waits below for who reads them.
    let mine = unsafe { &*words(Slot::FIRST) };
    let seen = thread::scope(|scope| {
        scope.spawn(|| mine.allocated.load(Ordering::Relaxed)).join().unwrap()
    });
    assert_eq!(seen, 4096);
}
