//! How reports are written: into short buffers, to writers that allocate, and without an allocation of their own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::fmt::{self, Write};
use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, Heap, PageHeapChoice};
use strata_stats::{Dialect, report, report_into};

/// The system's allocator, which counts what a thread asks it for.
struct Counting;

std::thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all calls go to the system's allocator, as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.set(REQUESTS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        REQUESTS.set(REQUESTS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both kinds of heap, used.
fn heaps() -> [Heap; 2] {
    [PageHeapChoice::Temeraire, PageHeapChoice::Legacy].map(|page_heap| {
        let mut config = Config::DEFAULT;
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        for round in 0..2000usize {
            let block = heap.allocate(round * 131 % 400_000);
            if round % 3 == 0 {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
        heap
    })
}

fn text(heap: &Heap, dialect: Dialect) -> String {
    let mut text = String::new();
    report(heap.core().expect("used"), dialect, &mut text).expect("strings take all");
    text
}

#[test]
fn a_buffer_gets_as_many_whole_lines_as_it_has_room_for_and_the_length_that_is_needed() {
    let _alone = alone();
    for heap in heaps() {
        let core = heap.core().expect("used");
        for dialect in [Dialect::TcmallocText, Dialect::TcmallocTextToday] {
            let whole = text(&heap, dialect);
            // Figures of the process may become longer or shorter meanwhile; and each class has four ages.
            let moves = if dialect == Dialect::TcmallocText { 100 } else { 4000 };
            for size in [0, 1, 40, 100, 1000, 3333, 10_000, whole.len() - 1] {
                let mut buffer = vec![0xff; size];
                let (written, needed) = report_into(core, dialect, &mut buffer);
                assert!(written <= size);
                assert!(needed.abs_diff(whole.len()) < moves, "{needed}, {}", whole.len());
                let kept = str::from_utf8(&buffer[..written]).expect("the report is ASCII");
                assert!(
                    kept.is_empty() || kept.ends_with('\n') || !kept.contains('\n'),
                    "{kept:?}"
                );
                let next = whole.lines().nth(kept.lines().count()).map_or(0, str::len);
                assert!(
                    written + next + 100 > size.min(needed),
                    "{written} of {size}: {next} more"
                );
            }
            let mut buffer = vec![0; whole.len() + moves];
            let (written, needed) = report_into(core, dialect, &mut buffer);
            assert_eq!(written, needed);
            assert!(buffer[..written].ends_with(b"\n"));
        }
    }
}

#[test]
fn a_report_on_one_line_is_cut_between_its_fields() {
    let _alone = alone();
    let [heap, _legacy] = heaps();
    let mut buffer = [0; 1000];
    let core = heap.core().expect("used");
    let (written, needed) = report_into(core, Dialect::TcmallocPbtxt, &mut buffer);
    assert!(written > 900 && needed > 10_000, "{written} of {needed}");
    assert_eq!(buffer[written - 1], b' ');
}

#[test]
fn nothing_is_allocated_for_a_report() {
    let _alone = alone();
    let mut buffer = vec![0; 4 << 20];
    for heap in heaps() {
        let core = heap.core().expect("used");
        for dialect in Dialect::ALL {
            let before = REQUESTS.get();
            let (written, needed) = report_into(core, dialect, &mut buffer);
            assert_eq!(REQUESTS.get(), before, "{}", dialect.name());
            assert_eq!(written, needed);
        }
    }
}

/// A writer that uses the heap that it is told about.
struct Busy<'a> {
    heap: &'a Heap,
    kept: Vec<*mut u8>,
    written: usize,
}

impl Write for Busy<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.written += text.len();
        for size in [text.len() * 17, 300_000] {
            let block = self.heap.allocate(size + 1);
            assert!(!block.is_null());
            self.kept.push(block);
        }
        if self.kept.len() > 50 {
            for block in self.kept.drain(..49) {
                // SAFETY: the block is ours.
                unsafe { self.heap.deallocate(block) };
            }
        }
        Ok(())
    }
}

#[test]
fn a_writer_may_allocate_and_free_in_the_heap_that_it_hears_of() {
    let _alone = alone();
    for heap in heaps() {
        for dialect in Dialect::ALL {
            let mut busy = Busy { heap: &heap, kept: Vec::new(), written: 0 };
            report(heap.core().expect("used"), dialect, &mut busy).expect("it takes all");
            assert!(busy.written > 100, "{}", dialect.name());
            for block in busy.kept {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
    }
}

#[test]
fn an_error_of_a_writer_ends_the_report() {
    struct Full(usize);
    impl Write for Full {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let _alone = alone();
    for heap in heaps() {
        for dialect in Dialect::ALL {
            let core = heap.core().expect("used");
            assert!(report(core, dialect, &mut Full(50)).is_err(), "{}", dialect.name());
        }
    }
}
