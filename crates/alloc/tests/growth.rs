//! Blocks that grow.

use strata_alloc::{Config, Heap};

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
