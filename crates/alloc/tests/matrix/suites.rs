//! The suites: each takes a fresh heap and leaves it empty.

use crate::{
    cells::{seed, steps},
    ledger,
    shadow::{Shadow, random_align, random_size},
};
use std::{
    sync::{Mutex, mpsc},
    thread,
};
use strata_alloc::{Heap, HeapConfig};
use strata_os::Seed;

/// Allocation of every kind, realloc and free at random, against the shadow.
pub(crate) fn random_programs<C: HeapConfig>(heap: &Heap<C>) {
    let mut random = seed();
    let mut shadow = Shadow::default();
    let steps = steps(6_000);
    for step in 0..steps {
        // Growth, then shrinkage, twice.
        let grows = (step * 4 / steps).is_multiple_of(2);
        match random.below(10) {
            0..5 if grows || shadow.len() < 10 => allocate(heap, &mut shadow, &mut random),
            0..3 => allocate(heap, &mut shadow, &mut random),
            8 | 9 if shadow.len() > 10 => reallocate(heap, &mut shadow, &mut random),
            _ => deallocate(heap, &mut shadow, &mut random),
        }
        if step % (steps / 20).max(1) == 0 {
            ledger::check(heap, shadow.in_use_bytes());
        }
    }
    while shadow.len() > 0 {
        deallocate(heap, &mut shadow, &mut random);
    }
    ledger::check(heap, 0);
}

fn allocate<C: HeapConfig>(heap: &Heap<C>, shadow: &mut Shadow, random: &mut Seed) {
    let (size, align, pattern) = (random_size(random), random_align(random), random.next());
    match random.below(4) {
        0 => {
            let pointer = heap.allocate_zeroed(size, align);
            assert_zero(pointer, size);
            shadow.insert(heap, pointer, size, align, pattern);
        }
        1 => {
            let align = if size > 8 { 16 } else { 8 };
            shadow.insert(heap, heap.allocate(size), size, align, pattern);
        }
        _ => shadow.insert(heap, heap.allocate_aligned(size, align), size, align, pattern),
    }
}

fn reallocate<C: HeapConfig>(heap: &Heap<C>, shadow: &mut Shadow, random: &mut Seed) {
    let Some(old) = shadow.take(heap, random) else { return };
    let size = match random.below(3) {
        0 => old.size + random.below(200),
        1 => old.size.saturating_sub(random.below(200)),
        _ => random_size(random),
    };
    // SAFETY: the block is ours, and was asked for with this alignment.
    let pointer = unsafe { heap.reallocate(old.pointer(), old.align, size) };
    assert!(!pointer.is_null());
    old.moved_to(pointer).check_up_to(size.min(old.size));
    shadow.insert(heap, pointer, size, old.align, random.next());
}

fn deallocate<C: HeapConfig>(heap: &Heap<C>, shadow: &mut Shadow, random: &mut Seed) {
    let Some(block) = shadow.take(heap, random) else { return };
    if random.below(2) == 0 {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block.pointer()) };
    } else {
        // SAFETY: the block is ours, and this is what it was asked for with.
        unsafe { heap.deallocate_sized(block.pointer(), block.size, block.align) };
    }
}

fn assert_zero(pointer: *mut u8, size: usize) {
    assert!(!pointer.is_null());
    // SAFETY: the block is ours and this long.
    let bytes = unsafe { core::slice::from_raw_parts(pointer, size) };
    assert!(bytes.iter().all(|&byte| byte == 0), "{size} bytes are zero");
}

/// Four threads allocate, and free what others allocated.
pub(crate) fn crossing_threads<C: HeapConfig>(heap: &Heap<C>) {
    const THREADS: usize = 4;
    let (steps, seed) = (steps(6_000), seed());
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::channel::<Parcel>()).unzip();
    thread::scope(|scope| {
        // A joined thread has ended, its destructors too; a scope alone waits for the closures only.
        let mut threads = Vec::new();
        for (number, receiver) in receivers.into_iter().enumerate() {
            let senders = senders.clone();
            threads.push(scope.spawn(move || {
                let mut random = seed.derived(number as u64);
                let mut live = Vec::new();
                for _ in 0..steps {
                    let (size, pattern) =
                        (random_size(&mut random).min(64 << 10), random.next() as u8);
                    let pointer = heap.allocate(size);
                    assert!(!pointer.is_null());
                    // SAFETY: the block is ours and this long.
                    unsafe { pointer.write_bytes(pattern, size) };
                    let parcel = Parcel { address: pointer.expose_provenance(), size, pattern };
                    match random.below(3) {
                        0 => live.push(parcel),
                        _ => senders[random.below(THREADS)].send(parcel).unwrap(),
                    }
                    while let Ok(parcel) = receiver.try_recv() {
                        parcel.open(heap);
                    }
                    if live.len() > 200 {
                        live.swap_remove(random.below(200)).open(heap);
                    }
                }
                drop(senders);
                live.into_iter().for_each(|parcel| parcel.open(heap));
                receiver.into_iter().for_each(|parcel| parcel.open(heap));
            }));
        }
        drop(senders);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    ledger::check(heap, 0);
}

/// A block on its way to another thread.
struct Parcel {
    address: usize,
    size: usize,
    pattern: u8,
}

impl Parcel {
    /// Checks what is in it and gives it back.
    fn open<C: HeapConfig>(self, heap: &Heap<C>) {
        let pointer: *mut u8 = core::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: the block is ours and this long.
        let bytes = unsafe { core::slice::from_raw_parts(pointer, self.size) };
        assert!(bytes.iter().all(|&byte| byte == self.pattern), "{} bytes kept", self.size);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(pointer) };
    }
}

/// Hundreds of threads that allocate, leave some blocks to others, and end.
pub(crate) fn short_threads<C: HeapConfig>(heap: &Heap<C>) {
    let left: Mutex<Vec<Parcel>> = Mutex::new(Vec::new());
    let seed = seed();
    let rounds = (steps(6_000) / 100).clamp(8, 400);
    let mut metadata_after_warm_up = 0;
    for round in 0..rounds {
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for number in 0..8 {
                let left = &left;
                threads.push(scope.spawn(move || {
                    let mut random = seed.derived((round * 8 + number) as u64);
                    for _ in 0..50 {
                        let size = random.below(2000);
                        let pointer = heap.allocate(size);
                        // SAFETY: the block is ours and this long.
                        unsafe { pointer.write_bytes(7, size) };
                        let parcel =
                            Parcel { address: pointer.expose_provenance(), size, pattern: 7 };
                        if random.below(10) == 0 {
                            left.lock().unwrap().push(parcel);
                        } else {
                            parcel.open(heap);
                        }
                    }
                }));
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        left.lock().unwrap().drain(..).for_each(|parcel| parcel.open(heap));
        let threads = heap.core().unwrap().thread_stats();
        assert!(threads.threads <= 1, "ended threads are forgotten: {threads:?}");
        if round == rounds / 2 {
            metadata_after_warm_up = threads.records.created;
        }
    }
    let threads = heap.core().unwrap().thread_stats();
    assert_eq!(threads.records.created, metadata_after_warm_up.max(threads.records.created.min(9)));
    ledger::check(heap, 0);
}

/// Zeroed blocks over memory that was written and freed.
pub(crate) fn zeroed_after_dirty<C: HeapConfig>(heap: &Heap<C>) {
    let mut random = seed();
    for _ in 0..steps(6_000) / 30 {
        let size = random_size(&mut random);
        let dirty: Vec<_> = (0..8).map(|_| heap.allocate(size)).collect();
        for pointer in dirty {
            assert!(!pointer.is_null());
            // SAFETY: the block is ours and this long.
            unsafe { pointer.write_bytes(0xff, size) };
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(pointer) };
        }
        let clean: Vec<_> = (0..8).map(|_| heap.allocate_zeroed(size, 1)).collect();
        for pointer in clean {
            assert_zero(pointer, size);
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(pointer) };
        }
    }
    ledger::check(heap, 0);
}

/// What `rounded_size` tells is what one gets, for sizes around all edges and all alignments.
pub(crate) fn sizes_and_alignments<C: HeapConfig>(heap: &Heap<C>) {
    for shift in 0..22 {
        for size in [(1usize << shift) - 1, 1 << shift, (1 << shift) + 1] {
            for align in [1, 8, 16, 64, 4096, 1 << 14, 1 << 21] {
                let pointer = heap.allocate_aligned(size, align);
                assert!(!pointer.is_null());
                assert_eq!(pointer.addr() % align, 0);
                // SAFETY: the block is live.
                let usable = unsafe { heap.usable_size(pointer) };
                assert_eq!(Some(usable), heap.rounded_size(size, align), "{size} at {align}");
                // SAFETY: the block is ours to its last usable byte.
                unsafe { pointer.write_bytes(1, usable) };
                ledger::check(heap, usable as u64);
                // SAFETY: the block is ours, and this is what it was asked for with.
                unsafe { heap.deallocate_sized(pointer, size, align) };
            }
        }
    }
    ledger::check(heap, 0);
}

/// Sizes and alignments that no address space can hold.
pub(crate) fn impossible_requests<C: HeapConfig>(heap: &Heap<C>) {
    let one = heap.allocate(1);
    for size in [
        1 << 47,
        1 << 48,
        isize::MAX as usize,
        isize::MAX as usize + 1,
        usize::MAX - 4096,
        usize::MAX,
    ] {
        assert!(heap.allocate(size).is_null(), "{size:#x}");
        assert!(heap.allocate_zeroed(size, 16).is_null(), "{size:#x}");
        assert!(heap.allocate_aligned(size, 1 << 21).is_null(), "{size:#x}");
        // SAFETY: the block is ours.
        assert!(unsafe { heap.reallocate(one, 1, size) }.is_null(), "{size:#x}");
    }
    for align in [1 << 47, 1 << 62, 1 << 63] {
        assert!(heap.allocate_aligned(1, align).is_null(), "{align:#x}");
    }
    // SAFETY: the block is ours still.
    unsafe { heap.deallocate(one) };
    ledger::check(heap, 0);
}
