//! Lines that stop a program which gives back what it does not have, each compared whole.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use core::alloc::{GlobalAlloc, Layout};
use std::{env, os::unix::process::ExitStatusExt, process::Command, sync::Barrier};
use strata_alloc::{Config, CpuIdChoice, FrontEnd, Heap, HeapConfig, Standard};

const CHILD: &str = "STRATA_ALLOC_MISUSE";

/// Runs the test `name` again in a child, which dies, and returns what it wrote, with every address and thread named
/// `_`; in the child runs `misuse`, on a heap that is configured so.
fn line_of(name: &str, conf: &str, misuse: impl FnOnce(&Heap)) -> Option<String> {
    if env::var_os(CHILD).is_some_and(|child| child == *format!("{name} {conf}")) {
        let mut config = Config::parse(conf.as_bytes(), |_| ());
        // On one CPU, so that what is freed twice comes to the same cache twice.
        config.cpu_id = CpuIdChoice::Cpu;
        let here = strata_os::current_cpu().unwrap();
        strata_os::membarrier::visit_cpu(here, || misuse(&Heap::with(config))).unwrap();
        return None;
    }
    if env::var_os(CHILD).is_some() {
        return None;
    }
    let child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, format!("{name} {conf}"))
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{child:?}");
    Some(plain(&String::from_utf8(child.stderr).unwrap()))
}

/// The line with every address and thread named `_`.
fn plain(line: &str) -> String {
    let without_addresses = without_numbers(line, "0x", |digit| digit.is_ascii_hexdigit());
    without_numbers(&without_addresses, "thread ", |digit| digit.is_ascii_digit())
}

fn without_numbers(line: &str, mark: &str, is_digit: impl Fn(char) -> bool) -> String {
    let mut parts = line.split(mark);
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str(mark);
        plain.push('_');
        plain.push_str(part.trim_start_matches(&is_digit));
    }
    plain
}

/// The test's own name, and a line for each configuration.
macro_rules! misuse {
    ($name:ident, $($conf:literal => $line:literal),+ ; $misuse:expr) => {
        #[test]
        fn $name() {
            $(
                if let Some(line) = line_of(stringify!($name), $conf, $misuse) {
                    assert_eq!(line, concat!("strata: ", $line, "\n"), $conf);
                }
            )+
        }
    };
}

misuse!(a_pointer_before_the_first_block,
    "" => "pointer that was never handed out: free(0x_), in no span, thread _; last: unknown",
    "hardened:true" => "pointer that was never handed out: free(0x_), in no span, thread _; last: unknown";
    |heap| {
        let mut local = 0_u64;
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate((&raw mut local).cast()) };
    }
);

misuse!(a_pointer_to_the_stack,
    "" => "pointer that was never handed out: free(0x_), in no span, thread _; last: unknown",
    "hardened:true" => "pointer that was never handed out: free(0x_), in no span, thread _; last: unknown";
    |heap| {
        heap.allocate(10);
        let mut local = 0_u64;
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate((&raw mut local).cast()) };
    }
);

misuse!(a_pointer_beyond_all_addresses,
    "" => "pointer that was never handed out: free(0x_), in no span, thread _; last: unknown",
    "hardened:true" => "pointer that was never handed out: free(0x_), in no span, thread _; last: unknown";
    |heap| {
        heap.allocate(10);
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate(core::ptr::without_provenance_mut(usize::MAX - 15)) };
    }
);

misuse!(a_pointer_of_the_stack_resized,
    "" => "pointer that was never handed out: realloc(0x_), in no span, thread _; last: unknown",
    "hardened:true" => "pointer that was never handed out: realloc(0x_), in no span, thread _; last: unknown";
    |heap| {
        heap.allocate(10);
        let mut local = 0_u64;
        // SAFETY: none: this is the misuse.
        unsafe { heap.reallocate((&raw mut local).cast(), 1, 100) };
    }
);

misuse!(a_large_block_freed_twice,
    "" => "pointer into free memory: free(0x_), in no span, thread _; last: unknown",
    "hardened:true" => "double free: free(0x_), large block, span 0x_ of 102 pages, thread _; last: freed by thread _";
    |heap| {
        let neighbours = [(); 40].map(|()| heap.allocate(100 << 13));
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(neighbours[20]) };
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate(neighbours[20]) };
    }
);

misuse!(a_small_block_freed_twice,
    "" => "double free: free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; last: freed into a cache",
    "hardened:true" => "double free: free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; last: freed by thread _";
    |heap| {
        // Neighbours keep the span where it is.
        let neighbours = [heap.allocate(100), heap.allocate(100)];
        assert!(neighbours.iter().all(|neighbour| !neighbour.is_null()));
        let block = heap.allocate(100);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse, seen when the block leaves the caches.
        unsafe { heap.deallocate(block) };
        heap.release(usize::MAX);
    }
);

misuse!(a_pointer_into_a_small_block,
    "" => "pointer into a block: free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; last: unknown",
    "hardened:true" => "pointer into a block: free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; last: unknown";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: none: this is the misuse, seen when the pointer leaves the caches.
        unsafe { heap.deallocate(block.wrapping_add(16)) };
        heap.release(usize::MAX);
    }
);

misuse!(a_block_given_back_with_another_size,
    "" => "wrong size: sized free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; last: freed with 200 bytes",
    "hardened:true" => "wrong size: sized free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: allocated with 100 bytes by thread _";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: none: this is the misuse.
        unsafe { heap.deallocate_sized(block, 200, 1) };
        heap.release(usize::MAX);
    }
);

misuse!(a_block_given_back_with_another_layout,
    "" => "wrong size: flush of a cache(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; last: freed with 208 bytes",
    "hardened:true" => "wrong size: sized free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: allocated with 100 bytes by thread _";
    |heap| {
        let block = heap.allocate(100);
        let layout = Layout::from_size_align(200, 1).expect("a layout");
        // SAFETY: none: this is the misuse.
        unsafe { heap.dealloc(block, layout) };
        heap.release(usize::MAX);
    }
);

misuse!(a_byte_behind_a_block_written,
    "hardened:true" => "write beyond the end of a block: free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: allocated with 100 bytes by thread _";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: none: this is the misuse.
        unsafe { block.wrapping_add(100).write(0) };
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
);

misuse!(a_byte_behind_a_large_block_written,
    "hardened:true" => "write beyond the end of a block: free(0x_), large block, span 0x_ of 64 pages, thread _; \
                        last: allocated with 500000 bytes by thread _";
    |heap| {
        let block = heap.allocate(500_000);
        // SAFETY: none: this is the misuse.
        unsafe { block.wrapping_add(500_000).write(0) };
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
);

misuse!(bytes_before_a_block_written,
    "hardened:true" => "write before the beginning of a block: free(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, \
                        thread _; last: allocated with 100 bytes by thread _";
    |heap| {
        // Of two neighbours the second.
        let mut blocks: Vec<*mut u8> = (0..500).map(|_| heap.allocate(100)).collect();
        blocks.sort();
        let pair = blocks.windows(2).find(|pair| pair[1].addr() - pair[0].addr() == 112).unwrap();
        // SAFETY: none: this is the misuse.
        unsafe { pair[1].wrapping_sub(8).cast::<u64>().write(0x4141) };
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(pair[1]) };
    }
);

misuse!(a_free_block_written,
    "hardened:true" => "write after free: sweep(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: freed by thread _";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse.
        unsafe { block.wrapping_add(50).write(1) };
        heap.core().unwrap().sweep();
    }
);

misuse!(a_free_block_written_and_wanted_again,
    "hardened:true" => "write after free: malloc(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: freed by thread _";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse.
        unsafe { block.write(1) };
        for _ in 0..100_000 {
            let other = heap.allocate(100);
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(other) };
        }
    }
);

misuse!(a_freed_block_resized,
    "hardened:true" => "use of a freed block: realloc(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: freed by thread _";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse.
        unsafe { heap.reallocate(block, 1, 1000) };
    }
);

misuse!(a_block_resized_that_its_thread_freed_last,
    "front_end:per_thread" => "use of a freed block: realloc(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                               last: freed into a cache";
    |heap| {
        let blocks = [heap.allocate(100), heap.allocate(100)];
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(blocks[0]) };
        // SAFETY: none: this is the misuse. Its size rounds to the same.
        unsafe { heap.reallocate(blocks[0], 1, 101) };
    }
);

misuse!(a_block_measured_that_its_thread_freed_last,
    "front_end:per_thread" => "use of a freed block: malloc_usable_size(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, \
                               thread _; last: freed into a cache";
    |heap| {
        let blocks = [heap.allocate(100), heap.allocate(100)];
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(blocks[0]) };
        // SAFETY: none: this is the misuse.
        unsafe { heap.usable_size(blocks[0]) };
    }
);

misuse!(a_long_block_freed_twice_into_its_threads_cache,
    "front_end:per_thread" => "write after free: malloc(0x_), class 49, thread _; last: freed by thread _";
    |heap| {
        let blocks = [(); 3].map(|()| heap.allocate(10_000));
        for block in [blocks[0], blocks[1], blocks[0]] {
            // SAFETY: two are ours; the third is the misuse.
            unsafe { heap.deallocate(block) };
        }
        let again = [(); 3].map(|()| heap.allocate(10_000));
        assert!(again[0] != again[2], "handed out twice");
    }
);

/// A page behind or before a large block is no memory of anybody's, whether the block is of new pages or of some
/// that were freed before.
#[test]
fn the_pages_around_a_large_block_fault() {
    for (offset, freed_before) in [(500_000 + 8192, 0), (-1, 0), (500_000 + 8192, 100), (-1, 100)] {
        let name = "the_pages_around_a_large_block_fault";
        let this = format!("{name} {offset} {freed_before}");
        if env::var(CHILD).is_ok_and(|child| child == this) {
            let heap: Heap = Heap::with(Config::parse(b"hardened:true", |_| ()));
            for _ in 0..freed_before {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(heap.allocate(500_000)) };
            }
            let block = heap.allocate(500_000);
            // SAFETY: none: this is the misuse.
            unsafe { block.wrapping_offset(offset).write(1) };
        }
        if env::var_os(CHILD).is_some() {
            continue;
        }
        let child = Command::new(env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, &this)
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(libc::SIGSEGV), "{this}: {child:?}");
    }
}

/// A heap that marks objects which nobody had.
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
    let line =
        line_of_marked("a_block_of_a_kibibyte_freed_twice_is_not_handed_out_twice", |heap| {
            stay_on_one_cpu();
            let blocks = [(); 3].map(|()| heap.allocate(1000));
            for block in [blocks[0], blocks[1], blocks[0]] {
                // SAFETY: two are ours; the third is the misuse.
                unsafe { heap.deallocate(block) };
            }
            for _ in 0..3 {
                heap.allocate(1000);
            }
        });
    let said = "strata: block freed twice, or written after free: malloc(0x_), class 28 of 1024 bytes, \
                span 0x_ of 1 pages, thread _; last: freed into a cache\n";
    assert!(line.as_deref().is_none_or(|line| line == said), "{line:?}");
}

#[test]
fn a_block_freed_twice_is_not_handed_out_twice() {
    let line = line_of_marked("a_block_freed_twice_is_not_handed_out_twice", |heap| {
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
    let line =
        line_of_marked("a_block_written_after_free_is_told_when_it_is_wanted_again", |heap| {
            stay_on_one_cpu();
            let block = heap.allocate(100);
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
            // SAFETY: none: this is the misuse.
            unsafe { block.write(1) };
            heap.allocate(100);
        });
    assert!(line.is_none_or(|line| line == AGAIN));
}

/// Every block that a heap hands out in a random life of many sizes is as it was freed, or new.
#[test]
fn nothing_is_told_of_a_heap_that_is_used_as_it_may_be() {
    let heap: Heap<Marked> = Heap::with(Config::DEFAULT);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % bound
    };
    let mut blocks: Vec<(*mut u8, usize)> = Vec::new();
    for step in 0..200_000_usize {
        let size = match random(20) {
            0 => random(300_000),
            1..4 => random(5_000),
            _ => random(400),
        };
        if random(1000) < 520 && blocks.len() < 5_000 {
            let (block, size) = if random(4) == 0 {
                (heap.allocate_zeroed(size, 1), size)
            } else {
                (heap.allocate(size), size)
            };
            // SAFETY: the block is ours, as long as that.
            unsafe { block.write_bytes((step % 3) as u8, size.min(64)) };
            blocks.push((block, size));
        } else if !blocks.is_empty() {
            let (block, size) = blocks.swap_remove(random(blocks.len()));
            match random(3) {
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

/// Two threads free `rounds` blocks of their own spans, each both, at the same moment; says what the heap counts then.
fn free_large_blocks_twice_at_once(heap: &Heap, rounds: usize) -> (u64, i64) {
    let at_once = Barrier::new(2);
    for _ in 0..rounds {
        let block = heap.allocate(1 << 20).expose_provenance();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    at_once.wait();
                    // SAFETY: none for one of the two: this is the misuse.
                    unsafe { heap.deallocate(core::ptr::with_exposed_provenance_mut(block)) };
                });
            }
        });
    }
    let figures = heap.core().unwrap().figures();
    let counted = figures.threads.allocated_bytes.wrapping_sub(figures.threads.deallocated_bytes);
    (figures.large.blocks, counted.wrapping_sub(figures.in_use_bytes()).cast_signed())
}

#[test]
fn a_large_block_that_two_threads_free_at_the_same_moment_is_counted_once() {
    const NAME: &str = "a_large_block_that_two_threads_free_at_the_same_moment_is_counted_once";
    for conf in ["misuse:report", "misuse:report,page_heap:legacy"] {
        if env::var_os(CHILD).is_some_and(|child| child == *format!("{NAME} {conf}")) {
            let heap = Heap::with(Config::parse(conf.as_bytes(), |_| ()));
            assert_eq!(free_large_blocks_twice_at_once(&heap, 400), (0, 0));
            return;
        }
        if env::var_os(CHILD).is_none() {
            let child = Command::new(env::current_exe().unwrap())
                .args([NAME, "--exact", "--nocapture"])
                .env(CHILD, format!("{NAME} {conf}"))
                .output()
                .unwrap();
            assert!(child.status.success(), "{conf}: {child:?}");
        }
    }
}

/// Frees blocks twice, or writes to them when they are free, and empties the caches, in which that is found; says
/// by how much what the threads count is off from what the layers do. (In caches of threads free blocks lead to
/// each other: with one that is on a list twice others are lost, and nobody counts them.)
fn difference_after_misuse<C: HeapConfig>() -> i64 {
    let heap: Heap<C> = Heap::with(Config::parse(b"misuse:report", |_| ()));
    for size in [16, 100, 1000, 9000] {
        let blocks: Vec<*mut u8> = (0..300).map(|_| heap.allocate(size)).collect();
        if !matches!(heap.core().unwrap().front_end(), FrontEnd::PerCpu(_)) {
            eprintln!("left out: no caches of CPUs");
            return 0;
        }
        for block in &blocks {
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(*block) };
        }
        for block in blocks.iter().step_by(7) {
            // SAFETY: none: this is the misuse.
            unsafe { block.cast::<u64>().write(5) };
        }
        for block in blocks.iter().step_by(3) {
            // SAFETY: none: this is the misuse.
            unsafe { heap.deallocate(*block) };
        }
        heap.release(usize::MAX);
    }
    let figures = heap.core().unwrap().figures();
    let counted = figures.threads.allocated_bytes.wrapping_sub(figures.threads.deallocated_bytes);
    counted.wrapping_sub(figures.in_use_bytes()).cast_signed()
}

#[test]
fn what_is_told_of_and_left_alone_is_counted_as_in_use() {
    const NAME: &str = "what_is_told_of_and_left_alone_is_counted_as_in_use";
    if env::var_os(CHILD).is_some_and(|child| child == NAME) {
        assert_eq!(difference_after_misuse::<Standard>(), 0);
        assert_eq!(difference_after_misuse::<Marked>(), 0, "in a heap that marks");
    }
    if env::var_os(CHILD).is_none() {
        let child = Command::new(env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture"])
            .env(CHILD, NAME)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}");
        assert!(said.contains("strata: ") || said.contains("left out"), "nothing was found");
    }
}

static OF_THE_HANDLER: core::sync::atomic::AtomicPtr<Heap> =
    core::sync::atomic::AtomicPtr::new(core::ptr::null_mut());

extern "C" fn allocate_when_aborted(_: libc::c_int) {
    // SAFETY: the heap stands until the process ends.
    let heap = unsafe { &*OF_THE_HANDLER.load(core::sync::atomic::Ordering::Relaxed) };
    for _ in 0..1000 {
        assert!(!heap.allocate(100).is_null());
    }
}

misuse!(a_handler_may_allocate_when_the_sweep_found_a_block_written,
    "hardened:true" => "write after free: sweep(0x_), class 8 of 112 bytes, span 0x_ of 1 pages, thread _; \
                        last: freed by thread _";
    |heap| {
        let block = heap.allocate(100);
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
        // SAFETY: none: this is the misuse.
        unsafe { block.wrapping_add(50).write(1) };
        OF_THE_HANDLER.store(core::ptr::from_ref(heap).cast_mut(), core::sync::atomic::Ordering::Relaxed);
        let handler = allocate_when_aborted as extern "C" fn(libc::c_int);
        // SAFETY: the handler bears being called where the line was written.
        unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
        // SAFETY: ends a process that waits for itself.
        unsafe { libc::alarm(60) };
        heap.core().unwrap().sweep();
    }
);
