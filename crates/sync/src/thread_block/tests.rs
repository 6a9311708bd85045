use super::{
    BLOCK_BYTES, Counter, RSEQ_AREA_OFFSET, Slot, SlotWords, ThreadBlock, block, rseq_area, words,
};
use core::sync::atomic::Ordering;
use std::thread;

/// What both variants owe.
macro_rules! variant_suite {
    ($name:ident, $variant:path) => {
        mod $name {
            use super::{Slot, block_suite};
            use $variant as variant;

            #[test]
            fn a_new_thread_counts_nothing_and_is_closed_and_keeps_what_it_counts() {
                block_suite::run_in_threads(|| {
                    for slot in [Slot::FIRST, Slot::SECOND] {
                        let words = block_suite::words(variant::block(), slot);
                        let counters = [&words.allocated, &words.deallocated];
                        let counting = [variant::count_allocated, variant::count_deallocated];
                        for (counter, count) in counters.into_iter().zip(counting) {
                            assert_eq!((counter.bytes(), counter.is_open()), (0, false));
                            assert!(count(slot, 32), "a new thread is closed");
                            assert_eq!(counter.bytes(), 32);
                            counter.take_back(32);
                            counter.open();
                            assert!(!count(slot, 48) && !count(slot, 7));
                            assert_eq!((counter.bytes(), counter.is_open()), (55, true));
                            counter.close();
                            assert!(count(slot, 5), "closed");
                            assert_eq!((counter.bytes(), counter.is_open()), (60, false));
                        }
                        assert_eq!(words.allocated.bytes(), words.deallocated.bytes());
                    }
                });
            }

            #[test]
            fn the_first_slot_is_counted_in_by_either_way() {
                block_suite::run_in_threads(|| {
                    let words = block_suite::words(variant::block(), Slot::FIRST);
                    assert!(variant::count_allocated_in_first(8), "a new thread is closed");
                    assert!(variant::count_deallocated_in_first(16), "a new thread is closed");
                    words.allocated.open();
                    words.deallocated.open();
                    assert!(!variant::count_allocated_in_first(32));
                    assert!(!variant::count_deallocated_in_first(64));
                    assert_eq!((words.allocated.bytes(), words.deallocated.bytes()), (40, 80));
                });
            }

            #[test]
            fn the_slot_that_is_none_stays_closed_however_much_is_counted() {
                block_suite::run_in_threads(|| {
                    let words = block_suite::words(variant::block(), Slot::UNBOUND);
                    for bytes in [1, 8, 1 << 40] {
                        assert!(variant::count_allocated(Slot::UNBOUND, bytes));
                        // A signal handler comes between.
                        assert!(variant::count_allocated(Slot::UNBOUND, 16));
                        words.allocated.take_back(16);
                        words.allocated.take_back(bytes);
                        assert!(variant::count_deallocated(Slot::UNBOUND, bytes));
                        words.deallocated.take_back(bytes);
                    }
                    assert_eq!(words.allocated.bytes(), 0);
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

    pub(super) fn words<'a>(block: *const ThreadBlock, slot: Slot) -> &'a SlotWords {
        let words = block.wrapping_byte_add(slot.byte_offset()).cast::<SlotWords>();
        // SAFETY: the block is the calling thread's, and the slot lies in it.
        unsafe { &*words }
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
fn the_slot_that_is_none_has_a_record_of_zero_beside_used_words() {
    thread::scope(|scope| {
        scope.spawn(|| {
            block().state.store(u32::MAX, Ordering::Relaxed);
            block().reentry.store(3, Ordering::Relaxed);
            // SAFETY: the words are the calling thread's.
            let none = unsafe { &*words(Slot::UNBOUND) };
            assert!(!none.allocated.is_open() && !none.deallocated.is_open());
            assert!(none.record.load(Ordering::Relaxed).is_null());
            assert_eq!(block().state.load(Ordering::Relaxed), u32::MAX);
        });
    });
}

#[test]
fn another_thread_reads_the_words_of_one_that_lives() {
    // SAFETY: the words are this thread's, which waits below for who reads them.
    let mine = unsafe { &*words(Slot::FIRST) };
    mine.allocated.count(4096);
    let seen = thread::scope(|scope| scope.spawn(|| mine.allocated.bytes()).join().unwrap());
    assert_eq!(seen, 4096);
}

#[test]
fn what_a_counter_counted_is_the_same_open_and_closed() {
    for bytes in [0, 1, 8, 1 << 20, Counter::OPEN - 1] {
        let counter = Counter::new();
        counter.count(bytes);
        assert_eq!((counter.bytes(), counter.is_open()), (bytes, false));
        counter.open();
        assert_eq!((counter.bytes(), counter.is_open()), (bytes, true));
        counter.close();
        assert_eq!((counter.bytes(), counter.is_open()), (bytes, false));
        counter.close();
        counter.open();
        assert_eq!((counter.bytes(), counter.is_open()), (bytes, true));
    }
}

#[test]
fn an_open_counter_that_is_used_up_sends_to_the_slow_path() {
    // SAFETY: the words are this thread's.
    let words = unsafe { &*words(Slot::FIRST) };
    words.allocated.count(Counter::OPEN - 8);
    words.allocated.open();
    assert!(!super::count_allocated(Slot::FIRST, 8));
    assert!(super::count_allocated(Slot::FIRST, 8));
}

#[test]
fn a_counter_that_moves_on_counts_as_much_as_before_with_what_it_moved_by() {
    for lift in [Counter::open, Counter::close] {
        let (counter, mut moved, mut truth) = (Counter::new(), 0_u64, 0_u64);
        lift(&counter);
        let is_open = counter.is_open();
        for _ in 0..64 {
            counter.count(Counter::STEP / 2 + 12_345);
            truth = truth.wrapping_add(Counter::STEP / 2 + 12_345);
            assert_eq!(counter.has_come_near_end(), counter.is_near_end(), "{truth:#x}");
            if counter.is_near_end() {
                counter.move_on(Counter::STEP);
                moved = moved.wrapping_add(Counter::STEP);
            }
            assert_eq!(moved.wrapping_add(counter.bytes()), truth);
            assert_eq!(counter.is_open(), is_open, "{truth:#x}");
        }
    }
}

#[test]
fn a_counter_shared_by_two_lives_stays_far_below_zero_when_it_moves_on() {
    // As `vfork` and `clone` of the C library close it: without the bit below the sign.
    let far = |counter: &Counter| counter.0.load(Ordering::Relaxed) >> 62 == 0b10;
    let counter = Counter::new();
    counter.count((1 << 63) - (1 << 61));
    let (mut moved, mut truth) = (0_u64, counter.bytes());
    for _ in 0..64 {
        assert!(far(&counter) && !counter.is_open());
        assert_eq!(counter.has_come_near_end(), counter.is_near_end(), "{truth:#x}");
        if counter.is_near_end() {
            counter.move_on(Counter::STEP);
            moved = moved.wrapping_add(Counter::STEP);
        }
        counter.count(Counter::STEP / 3);
        truth = truth.wrapping_add(Counter::STEP / 3);
        assert_eq!(moved.wrapping_add(counter.bytes()), truth);
    }
}

/// Whatever two lives lost of what they counted, and however often: where it was closed by the upper bits as they
/// were, a word that had risen came to stand just above the least number there is, and was open a few bytes later.
#[cfg(all(target_arch = "x86_64", not(strata_loom)))]
#[test]
fn a_counter_that_is_closed_for_two_lives_stands_far_from_where_it_would_be_open_whatever_was_lost()
{
    /// What the assembly leaves: by how much to lift.
    fn close(counter: &Counter) -> u64 {
        let mut kept = counter.0.load(Ordering::Relaxed);
        // SAFETY: changes the word, which is this test's, and the registers that it names.
        unsafe {
            core::arch::asm!(
                crate::closed_far_below_zero!("{kept}", "[{counter}]"),
                kept = inout(reg) kept,
                counter = in(reg) counter.0.as_ptr(),
                in("r11") Counter::OPEN,
                out("rcx") _,
                options(nostack),
            );
        }
        kept
    }
    let edges = [0, 1 << 61, 1 << 62, 3 << 61, 1 << 63, 5 << 61, 3 << 62, 7 << 61];
    let near =
        |edge: u64| [edge.wrapping_sub(4097), edge.wrapping_sub(1), edge, edge.wrapping_add(8)];
    for start in edges.into_iter().flat_map(near) {
        let counter = Counter(core::sync::atomic::AtomicU64::new(start));
        // A clone of a thread, another of the same thread, and so on: each time as much is lost as can be lost of a count.
        for lost in [0, 1, Counter::STEP / 3, Counter::STEP - 1] {
            for lost in [lost, lost.wrapping_neg()] {
                let (word, bytes) = (counter.0.load(Ordering::Relaxed), counter.bytes());
                let lift = close(&counter);
                let closed = counter.0.load(Ordering::Relaxed).cast_signed();
                let far = closed.wrapping_add(Counter::OPEN.cast_signed()).unsigned_abs();
                assert!(far <= Counter::STEP, "{word:#x} became {closed:#x}");
                assert_eq!((counter.bytes(), lift % Counter::OPEN), (bytes, 0), "{word:#x}");
                assert_eq!(
                    lift.wrapping_add(closed.cast_unsigned()),
                    word,
                    "it is lifted to where it was"
                );
                counter.move_on(lost);
                assert!(!counter.is_open(), "{word:#x}, of which {lost:#x} was lost");
            }
        }
    }
}

#[test]
fn a_counter_that_was_used_up_to_its_last_byte_or_beyond_opens_again() {
    for beyond in [0, 1, 4096] {
        let counter = Counter::new();
        counter.open();
        assert!(!counter.is_used_up());
        counter.count(Counter::OPEN + beyond);
        assert!(counter.is_used_up() && !counter.is_open());
        counter.move_on(Counter::OPEN);
        assert!(counter.is_open());
        assert_eq!(counter.bytes(), beyond);
    }
}
