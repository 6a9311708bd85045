//! Blocks that the program does not touch are not touched by the heap either.

use core::alloc::{GlobalAlloc, Layout};

use strata_alloc::{Config, Heap};
use strata_os::{AddressRange, PageSource, SystemPages};

/// Of classes, up to the largest.
const BYTES: [usize; 3] = [8 << 10, 64 << 10, 256 << 10];

fn is_resident(block: *mut u8, bytes: usize) -> bool {
    let start = block.addr().next_multiple_of(4096);
    let range = AddressRange::new(start, (block.addr() + bytes - start) & !4095);
    SystemPages::new().residency(range).expect("the kernel says").resident_bytes > 0
}

/// As Rust's collections allocate.
fn by_layout(bytes: usize) -> *mut u8 {
    let layout = Layout::from_size_align(bytes, 8).expect("a layout");
    // SAFETY: the size is not 0.
    unsafe { HEAP.alloc(layout) }
}

static HEAP: Heap = Heap::with(Config::DEFAULT);

#[test]
fn large_objects_of_a_class_stay_out_of_memory_until_the_program_writes_there() {
    for bytes in BYTES {
        // By C's way, and by Rust's, which do not clear marks in the same places.
        let ways: [fn(usize) -> *mut u8; 2] = [|bytes| HEAP.allocate(bytes), by_layout];
        for way in ways {
            let blocks: Vec<*mut u8> = (0..40).map(|_| way(bytes)).collect();
            let resident = blocks.iter().filter(|&&block| is_resident(block, bytes)).count();
            assert_eq!(resident, 0, "of 40 blocks of {bytes} bytes");
        }
    }
    assert!(HEAP.core().is_some_and(|core| core.figures().adds_up()));
}
