//! A page that a program writes for the first time costs one fault, in a heap that marks free blocks, too.

use core::mem::MaybeUninit;

use strata_alloc::{Config, FrontEnd, Heap, HeapConfig, Standard};

/// A heap that marks, as a C program's does: it looks at the first word of each block that it hands out.
struct Marked;

impl HeapConfig for Marked {
    type Pages = <Standard as HeapConfig>::Pages;
    type Source = <Standard as HeapConfig>::Source;
    type PageHeap = <Standard as HeapConfig>::PageHeap;
    type Clock = <Standard as HeapConfig>::Clock;
    const MARKS_FREE_BLOCKS: bool = true;
    fn source() -> &'static Self::Source {
        Standard::<Self::Pages>::source()
    }
    fn clock() -> &'static Self::Clock {
        Standard::<Self::Pages>::clock()
    }
}

/// Faults without a wait for a disk that this thread took so far.
fn faults() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure is ours, and the kernel fills it.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) }, 0);
    // SAFETY: all of its bytes are set, if only to zero.
    unsafe { usage.assume_init() }.ru_minflt
}

#[test]
fn fresh_blocks_cost_a_fault_a_kernel_page() {
    for size in [64, 256, 512, 2048] {
        let heap: Heap<Marked> = Heap::with(Config::DEFAULT);
        assert!(!heap.allocate(size).is_null());
        let is_per_cpu =
            heap.core().is_some_and(|core| matches!(core.front_end(), FrontEnd::PerCpu(_)));
        if !is_per_cpu {
            return;
        }
        let blocks = (8 << 20) / size;
        let before = faults();
        for _ in 0..blocks {
            let block = heap.allocate(size);
            // SAFETY: the block is ours, and `size` bytes long.
            unsafe { block.write_bytes(1, size) };
        }
        let (faults, pages) = (faults() - before, (blocks * size / 4096) as i64);
        // The heap's own structures take some, and the last blocks in the cache.
        assert!(
            faults < pages + pages / 4,
            "{faults} faults for {pages} pages of {size} byte blocks"
        );
    }
}
