//! Several heaps in one process.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use strata_alloc::{Config, FrontEnd, Heap, Standard, WhyPerThread};
use strata_size_classes::{Pages4K, Pages256K};

/// Runs alone: which heap gets the threads' words depends on who else has them.
static ALONE: strata_sync::Mutex<()> = strata_sync::Mutex::new(());

fn fill<P: strata_size_classes::PageSize>(heap: &Heap<Standard<P>>, count: usize) -> Vec<*mut u8> {
    (0..count)
        .map(|index| {
            let size = index * 37 % 3000;
            let block = heap.allocate(size);
            assert!(!block.is_null());
            // SAFETY: the block is ours and this long.
            unsafe { block.write_bytes(index as u8, size) };
            block
        })
        .collect()
}

#[test]
fn three_heaps_never_mix_and_each_adds_up() {
    let _alone = ALONE.lock();
    let first: Heap = Heap::with(Config::DEFAULT);
    let second: Heap<Standard<Pages4K>> = Heap::with(Config::DEFAULT);
    let third: Heap<Standard<Pages256K>> = Heap::with(Config::DEFAULT);
    let blocks = (fill(&first, 2000), fill(&second, 2000), fill(&third, 2000));
    let front_ends = [
        first.core().unwrap().front_end(),
        second.core().unwrap().front_end(),
        third.core().unwrap().front_end(),
    ];
    assert_eq!(front_ends[2], FrontEnd::PerThread(WhyPerThread::NoSlot), "{front_ends:?}");
    for (index, ((&one, &two), &three)) in blocks.0.iter().zip(&blocks.1).zip(&blocks.2).enumerate()
    {
        // SAFETY: live blocks of the heaps asked.
        unsafe {
            assert!(first.usable_size(one) >= index * 37 % 3000);
        }
        // SAFETY: live blocks of the heaps asked; a block of another heap is no block of this one.
        let foreign = unsafe { first.usable_size(two) };
        assert_eq!(foreign, 0);
        // SAFETY: live blocks of the heaps asked.
        let foreign = unsafe { second.usable_size(three) };
        assert_eq!(foreign, 0);
    }
    for block in blocks.0 {
        // SAFETY: the block is ours, from this heap.
        unsafe { first.deallocate(block) };
    }
    for block in blocks.1 {
        // SAFETY: the block is ours, from this heap.
        unsafe { second.deallocate(block) };
    }
    for block in blocks.2 {
        // SAFETY: the block is ours, from this heap.
        unsafe { third.deallocate(block) };
    }
    for figures in [
        first.core().unwrap().figures(),
        second.core().unwrap().figures(),
        third.core().unwrap().figures(),
    ] {
        assert_eq!((figures.in_use_bytes(), figures.in_use_bytes_by_threads()), (0, 0));
    }
}

#[test]
fn a_heap_may_move_while_nobody_uses_it() {
    let _alone = ALONE.lock();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let block = heap.allocate(100);
    let heap = Box::new(heap);
    // SAFETY: the block is ours, from this heap.
    unsafe { heap.deallocate(block) };
    let again = heap.allocate(100);
    let heap = *heap;
    // SAFETY: the block is ours, from this heap.
    unsafe { heap.deallocate(again) };
    assert_eq!(heap.core().unwrap().figures().in_use_bytes(), 0);
}

#[test]
fn what_is_free_goes_back_when_asked() {
    let _alone = ALONE.lock();
    for options in ["page_heap:temeraire", "page_heap:legacy", "front_end:per_thread"] {
        // By itself nothing goes.
        let options = format!("{options},release_rate:0");
        let heap: Heap = Heap::with(Config::parse(options.as_bytes(), |_| ()));
        let blocks = fill(&heap, 30_000);
        for block in blocks {
            // SAFETY: the block is ours, from this heap.
            unsafe { heap.deallocate(block) };
        }
        let core = heap.core().unwrap();
        let before = core.figures();
        let released = heap.release(usize::MAX);
        let after = core.figures();
        assert!(released > 10 << 20, "{options}: {released}");
        assert_eq!(after.page_heap.released.call, released as u64, "{options}");
        assert!(
            after.page_heap.unmapped_bytes >= before.page_heap.unmapped_bytes + released as u64
        );
        let kept = after.page_heap.in_use_bytes + after.page_heap.free_bytes;
        assert!(kept < 2 << 20, "{options}: {kept} bytes stay, {after:#?}");
        assert_eq!(after.cpu.held_bytes + after.thread_caches.held_bytes, 0, "{options}");
    }
}

#[test]
fn what_is_to_stay_of_free_memory_stays_and_the_rest_goes() {
    const MIB: usize = 1 << 20;
    let _alone = ALONE.lock();
    let heap: Heap = Heap::with(Config::DEFAULT);
    assert_eq!(heap.release_all_but(0), 0, "it has had no block");
    let blocks: Vec<*mut u8> = (0..16).map(|_| heap.allocate(2 * MIB)).collect();
    let free_bytes = || heap.core().unwrap().figures().page_heap.free_bytes;
    // The page heap keeps less of them than there are.
    for block in blocks {
        // SAFETY: the block is ours, from this heap.
        unsafe { heap.deallocate(block) };
    }
    let before = free_bytes();
    assert!(before >= 16 * MIB as u64, "{before}");
    assert_eq!(heap.release_all_but(usize::MAX), 0);
    assert_eq!(free_bytes(), before);
    let keep = 8 * MIB;
    let gone = heap.release_all_but(keep) as u64;
    assert_eq!(free_bytes(), before - gone);
    // What goes is whole hugepages.
    assert!((keep - 2 * MIB..=keep).contains(&(free_bytes() as usize)), "{}", free_bytes());
}
