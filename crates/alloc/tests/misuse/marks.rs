//! Heaps that mark objects which nobody had: what was freed twice or written to is found when it is wanted again.

use crate::lines::line_of;
use strata_alloc::{Config, FrontEnd, Heap, HeapConfig, Standard};
use strata_os::Seed;

/// A heap that marks objects which nobody had.
pub(crate) struct Marked;

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

#[test]
fn objects_that_nobody_had_are_told_from_blocks_where_a_heap_wants_it() {
    fn first_words<C: HeapConfig>() -> Vec<u64> {
        let heap: Heap<C> = Heap::with(Config::DEFAULT);
        let block = heap.allocate(100);
        // SAFETY: the block is the first of its span, which has a page: the words of the class's first ten objects.
        (0..10)
            .map(|index| unsafe { block.wrapping_byte_add(index * 112).cast::<u64>().read() })
            .collect()
    }
    let words = first_words::<Marked>();
    assert_eq!(words[0], 0, "a block is not marked");
    assert!(words[1] != 0 && words[1..].iter().all(|&word| word == words[1]), "{words:x?}");
    assert_eq!(first_words::<Standard>(), [0; 10]);
}

/// What `misuse` makes a heap that marks say, in a child of the test `name`; none in the child, and where blocks are not
/// cached by CPU.
fn line_of_marked(name: &str, misuse: impl FnOnce(&Heap<Marked>)) -> Option<String> {
    let heap: Heap<Marked> = Heap::with(Config::DEFAULT);
    let is_per_cpu = !heap.allocate(1).is_null()
        && heap.core().is_some_and(|core| matches!(core.front_end(), FrontEnd::PerCpu(_)));
    if !is_per_cpu {
        return None;
    }
    line_of(name, "", |_| misuse(&heap))
}

/// The heap is in the middle of blocks, so that spans stay; the thread on one CPU, so that one cache has all.
fn stay_on_one_cpu() {
    // SAFETY: asks a number.
    let cpu = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0);
    // SAFETY: a set of CPUs is an array of integers.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: the number is a CPU's.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is as long as said.
    let _ = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}

const AGAIN: &str = "strata: block freed twice, or written after free: malloc(0x_), class 8 of 112 bytes, \
                     span 0x_ of 1 pages, thread _; last: freed into a cache\n";

/// Nobody wrote into it: so it does not look like an object that nobody had.
#[test]
fn a_block_of_a_kibibyte_freed_twice_is_not_handed_out_twice() {
    let line = line_of_marked(
        "marks::a_block_of_a_kibibyte_freed_twice_is_not_handed_out_twice",
        |heap| {
            stay_on_one_cpu();
            let blocks = [(); 3].map(|()| heap.allocate(1000));
            for block in [blocks[0], blocks[1], blocks[0]] {
                // SAFETY: two are ours; the third is the misuse.
                unsafe { heap.deallocate(block) };
            }
            for _ in 0..3 {
                heap.allocate(1000);
            }
        },
    );
    let said = "strata: block freed twice, or written after free: malloc(0x_), class 28 of 1024 bytes, \
                span 0x_ of 1 pages, thread _; last: freed into a cache\n";
    assert!(line.as_deref().is_none_or(|line| line == said), "{line:?}");
}

#[test]
fn a_block_freed_twice_is_not_handed_out_twice() {
    let line = line_of_marked("marks::a_block_freed_twice_is_not_handed_out_twice", |heap| {
        stay_on_one_cpu();
        let blocks = [(); 3].map(|()| heap.allocate(100));
        for block in [blocks[0], blocks[1], blocks[0]] {
            // SAFETY: two are ours; the third is the misuse.
            unsafe { heap.deallocate(block) };
        }
        for _ in 0..3 {
            heap.allocate(100);
        }
    });
    assert!(line.is_none_or(|line| line == AGAIN));
}

#[test]
fn a_block_written_after_free_is_told_when_it_is_wanted_again() {
    let line = line_of_marked(
        "marks::a_block_written_after_free_is_told_when_it_is_wanted_again",
        |heap| {
            stay_on_one_cpu();
            let block = heap.allocate(100);
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
            // SAFETY: none: this is the misuse.
            unsafe { block.write(1) };
            heap.allocate(100);
        },
    );
    assert!(line.is_none_or(|line| line == AGAIN));
}

/// Every block that a heap hands out in a random life of many sizes is as it was freed, or new.
#[test]
fn nothing_is_told_of_a_heap_that_is_used_as_it_may_be() {
    let heap: Heap<Marked> = Heap::with(Config::DEFAULT);
    let mut random = Seed::from_environment_or(14);
    let mut blocks: Vec<(*mut u8, usize)> = Vec::new();
    for step in 0..200_000_usize {
        let size = match random.below(20) {
            0 => random.below(300_000),
            1..4 => random.below(5_000),
            _ => random.below(400),
        };
        if random.below(1000) < 520 && blocks.len() < 5_000 {
            let (block, size) = if random.below(4) == 0 {
                (heap.allocate_zeroed(size, 1), size)
            } else {
                (heap.allocate(size), size)
            };
            // SAFETY: the block is ours, as long as that.
            unsafe { block.write_bytes((step % 3) as u8, size.min(64)) };
            blocks.push((block, size));
        } else if !blocks.is_empty() {
            let (block, size) = blocks.swap_remove(random.below(blocks.len()));
            match random.below(3) {
                // SAFETY: the block is ours, and was asked for with that size.
                0 => unsafe { heap.deallocate_sized(block, size, 1) },
                // SAFETY: the block is ours.
                _ => unsafe { heap.deallocate(block) },
            }
        }
        if step % 20_000 == 0 {
            heap.release(usize::MAX);
        }
        if step % 50_000 == 25_000 {
            for (block, _) in blocks.drain(..) {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
        }
    }
    for (block, _) in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}
