//! Blocks that grow.

use strata_alloc::{Config, Heap};
use strata_os::{AddressRange, PageSource, SystemPages};

#[test]
fn long_blocks_that_grow_in_turn_keep_their_contents_wherever_they_move() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let mut blocks = [(core::ptr::null_mut::<u8>(), 0_usize); 3];
    let word = |block: usize, index: usize| (block << 32 | index) as u64 ^ 0x9e37_79b9;
    for round in 1..8 {
        for (number, (pointer, size)) in blocks.iter_mut().enumerate() {
            let longer = ((round * round * 3) << 20) + 4096 * number + 8;
            let grown = if pointer.is_null() {
                heap.allocate(longer)
            } else {
                // SAFETY: the block is the test's own.
                unsafe { heap.reallocate(*pointer, 1, longer) }
            };
            assert!(!grown.is_null());
            for index in (0..longer / 8).step_by(509) {
                // SAFETY: the place lies in the block, which is the test's own and aligned to 16.
                let place = unsafe { grown.cast::<u64>().add(index) };
                if index * 8 + 8 <= *size {
                    // SAFETY: as above; it was written before the block moved.
                    assert_eq!(unsafe { place.read() }, word(number, index), "round {round}");
                }
                // SAFETY: as above.
                unsafe { place.write(word(number, index)) };
            }
            (*pointer, *size) = (grown, longer);
        }
    }
    for (pointer, _) in blocks {
        // SAFETY: the block is the test's own.
        unsafe { heap.deallocate(pointer) };
    }
}

fn resident_bytes(block: *mut u8, bytes: usize) -> usize {
    let range = AddressRange::new(block.addr() & !4095, bytes & !4095);
    SystemPages::new().residency(range).expect("the kernel tells").resident_bytes
}

#[test]
fn a_long_block_that_moves_does_not_make_resident_what_nobody_touched() {
    if std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|text| is_before_6_11(&text))
    {
        return;
    }
    let heap: Heap = Heap::with(Config::DEFAULT);
    let (bytes, mark) = (64 << 20, 77);
    let block = heap.allocate(bytes);
    // SAFETY: the block is the test's own.
    unsafe { block.wrapping_add(bytes / 2).write(mark) };
    // What lies behind keeps it from growing where it is.
    let behind: Vec<_> = (0..40).map(|_| heap.allocate(bytes)).collect();
    // SAFETY: as above.
    let moved = unsafe { heap.reallocate(block, 1, 2 * bytes) };
    assert_ne!(moved, block, "there was room behind it");
    // SAFETY: as above.
    assert_eq!(unsafe { moved.wrapping_add(bytes / 2).read() }, mark);
    assert!(resident_bytes(moved, bytes) < bytes / 4, "it was copied");
    for block in behind.into_iter().chain([moved]) {
        // SAFETY: as above.
        unsafe { heap.deallocate(block) };
    }
}

/// Kernels that do not say where a mapping ends, so that blocks are copied.
fn is_before_6_11(release: &str) -> bool {
    let mut parts = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (6, 11)
}

#[test]
fn zeroes_for_a_long_block_that_was_hardly_touched_are_the_kernels() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    // So few that the page heap keeps them backed when they are free.
    let bytes = 8 << 20;
    let dirty = heap.allocate(bytes);
    for at in [0, bytes / 3, bytes - 1] {
        // SAFETY: the place lies in the block, which is the test's own.
        unsafe { dirty.wrapping_add(at).write(99) };
    }
    // SAFETY: the block is the test's own.
    unsafe { heap.deallocate(dirty) };
    let zeroed = heap.allocate_zeroed(bytes, 1);
    assert!(resident_bytes(zeroed, bytes) < bytes / 4, "it was cleared");
    // SAFETY: the block is the test's own, and as long.
    assert!(unsafe { core::slice::from_raw_parts(zeroed, bytes) }.iter().all(|byte| *byte == 0));
    // SAFETY: as above.
    unsafe { heap.deallocate(zeroed) };
}
