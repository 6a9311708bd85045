//! Threads that are born, allocate and die leave nothing behind, however many they are.

use std::{
    sync::{Mutex, mpsc},
    thread,
};
use strata_alloc::{Config, FrontEndChoice, Heap};
use strata_os::process_memory;

/// Each test has all the memory of the process to itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Threads until caches and pools have what they will have.
const FIRST: usize = 500;
const ALL: usize = 10_000;

/// What the process may grow by while the later threads come and go: noise of the kernel's counters and of the test itself.
/// One page of 4 KiB kept for each thread would be 37 MiB.
const NOISE_BYTES: usize = 6 << 20;

/// A thread's life: blocks of many sizes, of which it frees most, and leaves one to whoever comes after.
fn live(heap: &Heap, left: &mpsc::Sender<usize>) {
    let blocks: Vec<_> = (1..60).map(|number| heap.allocate(number * number)).collect();
    let (last, most) = blocks.split_last().expect("blocks");
    for &block in most {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
    left.send(last.expose_provenance()).expect("a receiver");
}

fn resident_bytes() -> usize {
    process_memory().expect("the kernel tells").resident_bytes
}

fn memory_stays_bounded(front_end: FrontEndChoice) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut config = Config::DEFAULT;
    config.front_end = front_end;
    let heap: Heap = Heap::with(config);
    let (left, found) = mpsc::channel();
    let (mut after_first, mut mapped_after_first) = (0, 0);
    for number in 0..ALL {
        thread::scope(|scope| {
            scope.spawn(|| live(&heap, &left)).join().expect("no panic");
        });
        let block = core::ptr::with_exposed_provenance_mut(found.recv().expect("a block"));
        // SAFETY: the thread left it to us.
        unsafe { heap.deallocate(block) };
        if number == FIRST {
            after_first = resident_bytes();
            mapped_after_first = heap.core().expect("blocks were had").figures().mapped_bytes();
        }
    }
    let figures = heap.core().expect("blocks were had").figures();
    let grown = resident_bytes().saturating_sub(after_first);
    assert!(grown < NOISE_BYTES, "{grown} bytes more after {ALL} threads than after {FIRST}");
    assert_eq!(figures.mapped_bytes(), mapped_after_first, "nothing more was mapped");
    assert!(figures.threads.threads <= 1, "only this one: {:?}", figures.threads);
    assert!(figures.thread_caches.caches <= 1);
    assert_eq!((figures.in_use_bytes(), figures.in_use_bytes_by_threads()), (0, 0));
}

#[test]
fn ten_thousand_threads_leave_nothing_where_caches_are_per_cpu() {
    memory_stays_bounded(FrontEndChoice::PerCpu);
}

#[test]
fn ten_thousand_threads_leave_nothing_where_caches_are_per_thread() {
    memory_stays_bounded(FrontEndChoice::PerThread);
}
