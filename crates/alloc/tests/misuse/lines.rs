//! The line of each misuse, and that it ends the process.

use core::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicPtr, Ordering},
};
use std::os::unix::process::ExitStatusExt;
use strata_alloc::{Config, CpuIdChoice, Heap};
use strata_os::in_own_process_for;

/// What `misuse` makes a heap say that is configured so, in a process of its own, which it ends: with every address and
/// thread named `_`. None in that process.
pub(crate) fn line_of(name: &str, conf: &str, misuse: impl FnOnce(&Heap)) -> Option<String> {
    let output = in_own_process_for(name, conf, || {
        let mut config = Config::parse(conf.as_bytes(), |_| ());
        // On one CPU, so that what is freed twice comes to the same cache twice.
        config.cpu_id = CpuIdChoice::Cpu;
        let here = strata_os::current_cpu().unwrap();
        strata_os::membarrier::visit_cpu(here, || misuse(&Heap::with(config))).unwrap();
    })?;
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    Some(plain(&String::from_utf8(output.stderr).unwrap()))
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

/// A test, and the line that comes of its misuse under each configuration.
macro_rules! misuse {
    ($name:ident, $($conf:literal => $line:literal),+ ; $misuse:expr) => {
        #[test]
        fn $name() {
            $(
                if let Some(line) = line_of(concat!("lines::", stringify!($name)), $conf, $misuse) {
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
    const NAME: &str = "lines::the_pages_around_a_large_block_fault";
    for (offset, freed_before) in [(500_000 + 8192, 0), (-1, 0), (500_000 + 8192, 100), (-1, 100)] {
        let part = format!("{offset} {freed_before}");
        let output = in_own_process_for(NAME, &part, || {
            let heap: Heap = Heap::with(Config::parse(b"hardened:true", |_| ()));
            for _ in 0..freed_before {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(heap.allocate(500_000)) };
            }
            let block = heap.allocate(500_000);
            // SAFETY: none: this is the misuse.
            unsafe { block.wrapping_offset(offset).write(1) };
        });
        if let Some(output) = output {
            assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{part}: {output:?}");
        }
    }
}

static OF_THE_HANDLER: AtomicPtr<Heap> = AtomicPtr::new(core::ptr::null_mut());

extern "C" fn allocate_when_aborted(_: libc::c_int) {
    // SAFETY: the heap stands until the process ends.
    let heap = unsafe { &*OF_THE_HANDLER.load(Ordering::Relaxed) };
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
        OF_THE_HANDLER.store(core::ptr::from_ref(heap).cast_mut(), Ordering::Relaxed);
        let handler = allocate_when_aborted as extern "C" fn(libc::c_int);
        // SAFETY: the handler bears being called where the line was written.
        unsafe { libc::signal(libc::SIGABRT, handler as libc::sighandler_t) };
        // SAFETY: ends a process that waits for itself.
        unsafe { libc::alarm(60) };
        heap.core().unwrap().sweep();
    }
);
