//! A page source that fails, at every call in turn.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a test may fail, with std's locks"
)]

use std::sync::Mutex;
use strata_alloc::{Config, Heap, HeapConfig, SelectedPageHeap};
use strata_os::{FailingPages, Fault, MonotonicClock, SystemPages};
use strata_size_classes::Pages8K;

static PAGES: FailingPages<SystemPages> = FailingPages::new(SystemPages::new());
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A heap on [`PAGES`].
struct Failing;

impl HeapConfig for Failing {
    type Pages = Pages8K;
    type Source = FailingPages<SystemPages>;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static Self::Source {
        &PAGES
    }
    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

/// A block, and the byte that its beginning is full of.
struct Block {
    start: *mut u8,
    size: usize,
    byte: u8,
}

impl Block {
    /// Fills the block; null is none.
    fn filled(start: *mut u8, size: usize, step: usize) -> Option<Self> {
        let byte = step as u8 | 1;
        (!start.is_null()).then(|| {
            // SAFETY: the block is ours and this long.
            unsafe { start.write_bytes(byte, size.min(8192)) };
            Self { start, size, byte }
        })
    }

    fn content(&self) -> &[u8] {
        // SAFETY: the block is ours and this long.
        unsafe { core::slice::from_raw_parts(self.start, self.size.min(8192)) }
    }

    fn check(&self) {
        assert!(self.content().iter().all(|&byte| byte == self.byte), "{} bytes", self.size);
    }

    fn free(self, heap: &Heap<Failing>) {
        self.check();
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(self.start) };
    }

    /// The block with three times its size, or itself and `None`.
    fn grown(self, heap: &Heap<Failing>) -> (Self, bool) {
        // SAFETY: the block is ours.
        let start = unsafe { heap.reallocate(self.start, 1, self.size * 3) };
        if start.is_null() {
            self.check();
            return (self, false);
        }
        let grown = Self { start, ..self };
        grown.check();
        (Self::filled(grown.start, self.size * 3, usize::from(self.byte)).unwrap(), true)
    }
}

/// A program of all kinds of blocks, whose contents it looks at, in two threads one after the other; says how many
/// blocks it did not get.
fn program(heap: &Heap<Failing>) -> usize {
    let (mut missing, blocks) = part(heap);
    // Another thread, which has to be made known, and frees what is not its own.
    let blocks = Shared(blocks);
    missing += std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            let Shared(blocks) = { blocks };
            blocks.into_iter().for_each(|block| block.free(heap));
            let (missing, blocks) = part(heap);
            blocks.into_iter().for_each(|block| block.free(heap));
            missing
        });
        other.join().unwrap()
    });
    missing
}

/// Blocks on their way to another thread.
struct Shared(Vec<Block>);

// SAFETY: a block may be used and freed by any thread.
unsafe impl Send for Shared {}

fn part(heap: &Heap<Failing>) -> (usize, Vec<Block>) {
    let mut missing = 0;
    let mut blocks: Vec<Block> = Vec::new();
    // Guards are calls, too: there are enough of them in fewer steps.
    let steps = if heap.config().hardened { 18 } else { 60 };
    for step in 0..steps {
        let size = [24, 200, 3000, 40_000, 300_000, 2 << 20][step % 6] + step;
        let align = [1, 16, 64, 1 << 13, 1 << 15][step % 5];
        let start = match step % 3 {
            0 => heap.allocate_aligned(size, align),
            1 => heap.allocate_zeroed(size, align),
            _ => heap.allocate_aligned(size, 1),
        };
        if step % 3 == 1 && !start.is_null() {
            // SAFETY: the block is ours and this long.
            let content = unsafe { core::slice::from_raw_parts(start, size) };
            assert!(content.iter().step_by(61).all(|&byte| byte == 0), "{size} bytes are zero");
        }
        let Some(block) = Block::filled(start, size, step) else {
            missing += 1;
            continue;
        };
        blocks.push(block);
        if step % 7 == 0 {
            let (block, has_grown) = blocks.swap_remove(step % blocks.len()).grown(heap);
            missing += usize::from(!has_grown);
            blocks.push(block);
        }
        if step % 5 == 0 {
            blocks.swap_remove(step % blocks.len()).free(heap);
        }
    }
    if heap.core().is_some() {
        heap.release(1 << 20);
    }
    (missing, blocks)
}

fn check_empty(heap: &Heap<Failing>, what: &str) {
    let Some(core) = heap.core() else { return };
    let figures = core.figures();
    assert_eq!(figures.in_use_bytes(), 0, "{what}");
    assert_eq!(figures.in_use_bytes_by_threads(), 0, "{what}");
    let pages = figures.page_heap;
    assert_eq!(
        pages.system_bytes,
        pages.in_use_bytes + pages.free_bytes + pages.unmapped_bytes,
        "{what}"
    );
}

fn options() -> [Config; 4] {
    ["page_heap:temeraire", "page_heap:legacy", "front_end:per_thread", "hardened:true"]
        .map(|text| Config::parse(text.as_bytes(), |_| ()))
}

#[test]
fn any_single_call_may_fail() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    for config in options() {
        for n in 1.. {
            let heap: Heap<Failing> = Heap::with(config);
            PAGES.arm(Fault::nth(n));
            let before = PAGES.failures();
            program(&heap);
            let failed = PAGES.failures() > before;
            PAGES.disarm();
            check_empty(&heap, "after one failure");
            assert_eq!(program(&heap), 0, "memory is back after call {n} failed");
            check_empty(&heap, "after the failure has passed");
            if !failed {
                break;
            }
        }
    }
}

#[test]
fn memory_may_run_out_at_any_call_and_come_back() {
    let _one = ONE_AT_A_TIME.lock().unwrap();
    for config in options() {
        for n in 1.. {
            let heap: Heap<Failing> = Heap::with(config);
            PAGES.arm(Fault::from_nth(n));
            let before = PAGES.failures();
            let missing = program(&heap);
            let failed = PAGES.failures() > before;
            assert!(n > 1 || missing > 0, "without any memory there is none");
            PAGES.disarm();
            check_empty(&heap, "while nothing could be had");
            assert_eq!(program(&heap), 0, "memory is back after all calls from {n} failed");
            check_empty(&heap, "after memory came back");
            if !failed {
                break;
            }
        }
    }
}
