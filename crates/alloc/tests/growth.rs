//! Blocks that grow.

use strata_alloc::{Config, FrontEnd, Heap};
use strata_os::{AddressRange, PageSource, SystemPages};
use strata_sync::{Mutex, MutexGuard};

/// Threads have words for two heaps at a time, and what stays in caches is what some tests here are about: they take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock()
}

#[test]
fn long_blocks_that_grow_in_turn_keep_their_contents_wherever_they_move() {
    let _turn = turn();
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
                    // SAFETY: the place lies in the block, which is the test's own and aligned to 16; it was
                    // written before the block moved.
                    assert_eq!(unsafe { place.read() }, word(number, index), "round {round}");
                }
                // SAFETY: the place lies in the block, which is the test's own and aligned to 16.
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
    let _turn = turn();
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
    // SAFETY: the block is the test's own.
    let moved = unsafe { heap.reallocate(block, 1, 2 * bytes) };
    assert_ne!(moved, block, "there was room behind it");
    // SAFETY: the block is the test's own.
    assert_eq!(unsafe { moved.wrapping_add(bytes / 2).read() }, mark);
    assert!(resident_bytes(moved, bytes) < bytes / 4, "it was copied");
    for block in behind.into_iter().chain([moved]) {
        // SAFETY: the block is the test's own.
        unsafe { heap.deallocate(block) };
    }
}

/// Kernels that do not say where a mapping ends, so that blocks are copied.
fn is_before_6_11(release: &str) -> bool {
    let mut parts = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (6, 11)
}

/// A block of 24 MiB, and one of 4 MiB behind it, which keeps it from growing where it is.
fn with_wall(heap: &Heap) -> [*mut u8; 2] {
    let [block, wall] = [heap.allocate(24 << 20), heap.allocate(4 << 20)];
    assert_eq!(wall.addr(), block.addr() + (24 << 20), "a heap begins with 32 MiB in a piece");
    [block, wall]
}

#[test]
fn a_long_block_stays_while_half_of_it_is_used_and_no_longer() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let block = heap.allocate(8 << 20);
    // SAFETY: the block is the test's own.
    unsafe { block.write(7) };
    // SAFETY: the block is the test's own.
    let same = unsafe { heap.reallocate(block, 1, (4 << 20) + 1) };
    assert_eq!(same, block);
    // SAFETY: the block is the test's own.
    let shorter = unsafe { heap.reallocate(same, 1, 4 << 20) };
    // SAFETY: the block is the test's own.
    assert_eq!(unsafe { heap.usable_size(shorter) }, 4 << 20, "the rest is free");
    // SAFETY: the block is the test's own, and was written before it moved.
    assert_eq!(unsafe { shorter.read() }, 7);
    // SAFETY: the block is the test's own.
    unsafe { heap.deallocate(shorter) };
}

#[test]
fn a_long_block_that_has_to_move_gets_an_eighth_more_than_it_had() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let [block, wall] = with_wall(&heap);
    // SAFETY: the block is the test's own.
    let moved = unsafe { heap.reallocate(block, 1, (24 << 20) + 1) };
    assert_ne!(moved, block);
    // SAFETY: the block is the test's own.
    assert_eq!(unsafe { heap.usable_size(moved) }, 27 << 20);
    for block in [moved, wall] {
        // SAFETY: the block is the test's own.
        unsafe { heap.deallocate(block) };
    }
}

#[test]
fn where_an_eighth_more_is_not_to_be_had_a_block_gets_what_was_asked_for() {
    let _turn = turn();
    // Room for the block, the wall, and thirteen hugepages, which hold what is asked for; for 27 MiB it takes fourteen.
    let heap: Heap = Heap::with(Config::parse(b"memory_limit:55m", |_| ()));
    let [block, wall] = with_wall(&heap);
    let asked = (24 << 20) + 1;
    // SAFETY: the block is the test's own.
    let moved = unsafe { heap.reallocate(block, 1, asked) };
    assert!(!moved.is_null() && moved != block);
    // SAFETY: the block is the test's own.
    let usable = unsafe { heap.usable_size(moved) };
    assert!((asked..asked + (64 << 10)).contains(&usable), "{usable}");
    for block in [moved, wall] {
        // SAFETY: the block is the test's own.
        unsafe { heap.deallocate(block) };
    }
}

#[test]
fn zeroes_for_a_long_block_that_was_hardly_touched_are_the_kernels() {
    let _turn = turn();
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
    // SAFETY: the block is the test's own, and as long.
    unsafe { heap.deallocate(zeroed) };
}

/// A block that is grown from 64 bytes on to `most`, doubling, with its first and last word written at each size;
/// how often it moved from 4 KiB on.
fn grow(heap: &Heap, most: usize, seed: u64) -> (*mut u8, usize) {
    let (mut block, mut size, mut moves) = (heap.allocate(64), 64, 0);
    while size < most {
        let words = [0, size / 8 - 1];
        for word in words {
            // SAFETY: the word lies in the block, which is the test's own.
            unsafe { block.cast::<u64>().wrapping_add(word).write(seed + word as u64) };
        }
        // SAFETY: the block is the test's own.
        let grown = unsafe { heap.reallocate_with_room(block, 16, 2 * size) };
        assert!(!grown.is_null());
        moves += usize::from(grown != block && size >= 4096);
        (block, size) = (grown, 2 * size);
        for word in words {
            // SAFETY: the block is the test's own.
            let found = unsafe { block.cast::<u64>().wrapping_add(word).read() };
            assert_eq!(found, seed + word as u64);
        }
    }
    (block, moves)
}

fn free(heap: &Heap, block: *mut u8) {
    // SAFETY: blocks here are the test's own, and given up.
    unsafe { heap.deallocate(block) };
}

#[test]
fn blocks_that_grow_like_those_before_them_stay_where_they_are() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let moves: Vec<_> = (0..40_u64)
        .map(|round| {
            let (block, moves) = grow(&heap, 64 << 10, round << 32);
            free(&heap, block);
            moves
        })
        .collect();
    assert_eq!(moves.first(), Some(&4), "nothing is known of the first");
    assert!(moves.iter().skip(10).all(|moves| *moves == 0), "{moves:?}");
}

#[test]
fn a_block_with_room_that_shrinks_has_what_it_asks_for() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    (0..20).for_each(|round| free(&heap, grow(&heap, 64 << 10, round).0));
    let (block, _) = grow(&heap, 8192, 5);
    // SAFETY: the block is the test's own.
    assert_eq!(unsafe { heap.usable_size(block) }, 64 << 10);
    // SAFETY: the block is the test's own.
    let same = unsafe { heap.reallocate_with_room(block, 16, 8000) };
    assert_eq!(same, block, "it was asked for as this class");
    // SAFETY: the block is the test's own.
    let shorter = unsafe { heap.reallocate_with_room(same, 16, 5000) };
    // SAFETY: the block is the test's own.
    assert!(unsafe { heap.usable_size(shorter) } < 8192);
    // SAFETY: the block is the test's own; the first word was written.
    assert_eq!(unsafe { shorter.cast::<u64>().read() }, 5);
    free(&heap, shorter);
    // One that filled its room gives it up when it shrinks.
    let (block, _) = grow(&heap, 64 << 10, 6);
    // SAFETY: the block is the test's own.
    let shorter = unsafe { heap.reallocate_with_room(block, 16, 20_000) };
    // SAFETY: the block is the test's own.
    assert!(unsafe { heap.usable_size(shorter) } < 32 << 10);
    free(&heap, shorter);
}

#[test]
fn a_block_with_room_may_be_freed_with_the_size_that_it_was_asked_for() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    (0..20).for_each(|round| free(&heap, grow(&heap, 64 << 10, round).0));
    for size in [4096, 8192, 16 << 10, 32 << 10, 64 << 10] {
        let (block, _) = grow(&heap, size, 7);
        // SAFETY: the block is the test's own, and given up.
        unsafe { heap.deallocate_compared(block, size, 16) };
    }
}

#[test]
fn who_ends_early_is_given_no_room_for_long() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    (0..400).for_each(|round| free(&heap, grow(&heap, 64 << 10, round).0));
    let blocks: Vec<_> = (0..400).map(|round| grow(&heap, 4096, round).0).collect();
    // SAFETY: the blocks are the test's own.
    let bytes: usize = blocks.iter().map(|block| unsafe { heap.usable_size(*block) }).sum();
    assert!(bytes < 400 * 4096 + (5 << 20), "{bytes} bytes for 400 blocks of 4 KiB");
    blocks.into_iter().for_each(|block| free(&heap, block));
}

#[test]
fn vectors_that_grow_in_turn_leave_little_behind() {
    let _turn = turn();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let mut blocks: Vec<_> = (0..64).map(|_| heap.allocate(64)).collect();
    let mut size = 64;
    while size < 64 << 10 {
        size *= 2;
        for block in &mut blocks {
            // SAFETY: the block is the test's own.
            *block = unsafe { heap.reallocate(*block, 16, size) };
            assert!(!block.is_null());
        }
    }
    let core = heap.core().expect("it has blocks");
    let figures = core.figures();
    let cached = figures.cpu.held_bytes + figures.middle.transfer_bytes;
    // On a kernel without sequences it has other caches.
    if matches!(core.front_end(), FrontEnd::PerCpu(_)) {
        assert!(cached < 350 << 10, "{cached} bytes in caches: {figures:?}");
    }
    for block in blocks {
        // SAFETY: the block is the test's own.
        unsafe { heap.deallocate_sized(block, size, 16) };
    }
}
