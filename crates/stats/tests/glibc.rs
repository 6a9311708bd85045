//! A heap in glibc's terms: figures that add up, in glibc's form.
#![expect(clippy::disallowed_types, reason = "a test's lock lies under no allocator")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{Config, FrontEndChoice, Heap};
use strata_stats::{
    GlibcFigures, Ledger, Pieces, Snapshot, render_malloc_info, render_malloc_stats,
};

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A heap with small and large blocks in use and free at all levels, and what is in use: bytes of small blocks, number and
/// bytes of large ones.
struct Used {
    /// A third heap beside two others has no caches: one after the other.
    _alone: MutexGuard<'static, ()>,
    heap: Heap,
    blocks: Vec<(*mut u8, usize)>,
}

impl Used {
    fn new() -> Self {
        Self::with(Config::DEFAULT)
    }

    fn with(config: Config) -> Self {
        let alone = alone();
        let heap = Heap::with(config);
        let mut used = Self { _alone: alone, heap, blocks: Vec::new() };
        for index in 0..30_000_usize {
            used.allocate(8 + index * 37 % 3000);
        }
        for index in 0..20 {
            used.allocate((300 << 10) + index * 100_000);
        }
        let mut index = 0;
        used.blocks.retain(|(block, _)| {
            index += 1;
            if index % 3 == 0 {
                return true;
            }
            // SAFETY: the block is ours, and leaves the list.
            unsafe { used.heap.deallocate(*block) };
            false
        });
        used
    }

    fn allocate(&mut self, bytes: usize) {
        let block = self.heap.allocate(bytes);
        assert!(!block.is_null());
        let rounded = self.heap.rounded_size(bytes, 1).expect("such a block was had");
        self.blocks.push((block, rounded));
    }

    fn bytes(&self, of: impl Fn(usize) -> bool) -> u64 {
        self.blocks.iter().map(|(_, bytes)| *bytes).filter(|bytes| of(*bytes)).sum::<usize>() as u64
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.heap.core().expect("it has blocks"))
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        for (block, _) in self.blocks.drain(..) {
            // SAFETY: the block is ours, and nobody uses it any more.
            unsafe { self.heap.deallocate(block) };
        }
    }
}

fn is_large(bytes: usize) -> bool {
    bytes > 256 << 10
}

/// The values of an attribute in the lines that begin so, in their order.
fn values(text: &str, begin: &str, attribute: &str) -> Vec<u64> {
    let begin_of_value = format!("{attribute}=\"");
    let lines = text.lines().filter(|line| line.trim_start().starts_with(begin));
    let value = |line: &str| {
        let (_, rest) = line.split_once(&begin_of_value).expect("the line has the attribute");
        let (number, _) = rest.split_once('"').expect("the value ends");
        number.parse().expect("the value is a number")
    };
    lines.map(value).collect()
}

#[test]
fn what_is_not_free_is_what_the_program_has() {
    let used = Used::new();
    let snapshot = used.snapshot();
    let figures = GlibcFigures::of(&snapshot);
    assert_eq!(figures.system - figures.free(), used.bytes(|bytes| !is_large(bytes)));
    assert_eq!(figures.mapped.bytes, used.bytes(is_large));
    assert_eq!(
        figures.mapped.count,
        used.blocks.iter().filter(|(_, b)| is_large(*b)).count() as u64
    );
    assert_eq!(figures.mapped_peak.count, 20);
    assert!(figures.mapped_peak.bytes > figures.mapped.bytes);
    assert!(figures.system_peak >= figures.system + figures.mapped.bytes);
    assert!(figures.fast.bytes > 0 && figures.rest.bytes > figures.releasable);
}

#[test]
fn where_there_are_no_pieces_there_are_no_bytes() {
    for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
        for hardened in [false, true] {
            let mut config = Config::DEFAULT;
            config.front_end = front_end;
            config.hardened = hardened;
            let used = Used::with(config);
            let figures = GlibcFigures::of(&used.snapshot());
            let empty = |pieces: Pieces| (pieces.count == 0, pieces.bytes == 0);
            assert_eq!(empty(figures.fast), (hardened, hardened), "{figures:?}");
            assert_eq!(empty(figures.rest), (false, false), "{figures:?}");
        }
    }
}

#[test]
fn address_space_is_that_of_the_ledger() {
    let used = Used::new();
    let snapshot = used.snapshot();
    let (figures, ledger) = (GlibcFigures::of(&snapshot), Ledger::of(&snapshot));
    assert_eq!(figures.address_space + figures.mapped.bytes, ledger.mapped_bytes);
    assert!(figures.system <= figures.accessible && figures.accessible <= figures.address_space);
    let all = figures.system + figures.mapped.bytes;
    assert_eq!(all, ledger.actual_bytes() - ledger.part_bytes(strata_stats::Part::Metadata));
    assert_eq!(figures.releasable, ledger.free_pages_bytes());
}

#[test]
fn what_a_trim_gives_back_is_no_longer_from_the_system() {
    let used = Used::new();
    let before = GlibcFigures::of(&used.snapshot());
    let given = used.heap.release(usize::MAX) as u64;
    let after = GlibcFigures::of(&used.snapshot());
    assert!(given > 0 && after.system < before.system, "{given}: {before:?} {after:?}");
    assert_eq!(after.in_use(), before.in_use());
    assert_eq!((after.system_peak, after.mapped), (before.system_peak, before.mapped));
}

#[test]
fn malloc_info_has_lines_that_add_up() {
    let used = Used::new();
    let snapshot = used.snapshot();
    let figures = GlibcFigures::of(&snapshot);
    let mut text = String::new();
    render_malloc_info(&snapshot, &mut text).expect("strings take all");
    assert!(
        text.starts_with("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n  <size from=\"1\"")
    );
    assert!(text.ends_with("/>\n</malloc>\n"));
    let count = |what: &str| values(&text, what, "count");
    let size = |what: &str| values(&text, what, "size");
    assert_eq!(size("<total type=\"fast\""), [figures.fast.bytes; 2]);
    assert_eq!(size("<total type=\"rest\""), [figures.rest.bytes; 2]);
    assert_eq!(size("<total type=\"mmap\""), [figures.mapped.bytes]);
    assert_eq!(count("<total type=\"mmap\""), [figures.mapped.count]);
    assert_eq!(size("<system type=\"current\""), [figures.system; 2]);
    assert_eq!(size("<aspace type=\"total\""), [figures.address_space; 2]);
    // Free pages, one piece, have no line.
    let pieces: u64 = count("<size ").into_iter().sum();
    assert_eq!(pieces + 1, figures.fast.count + figures.rest.count);
    let bytes: u64 = values(&text, "<size ", "total").into_iter().sum();
    let tails = snapshot.heap.middle.tail_bytes;
    assert_eq!(bytes + figures.releasable + tails, figures.free());
    for (from, to) in values(&text, "<size ", "from").into_iter().zip(values(&text, "<size ", "to"))
    {
        assert!(from <= to);
    }
}

#[test]
fn malloc_stats_has_glibcs_form_with_all_64_bits() {
    let figures = GlibcFigures {
        system: 7 << 30,
        system_peak: 8 << 30,
        fast: Pieces { count: 3, bytes: 4096 },
        rest: Pieces { count: 1, bytes: 1 << 30 },
        mapped: Pieces { count: 1, bytes: 6 << 30 },
        mapped_peak: Pieces { count: 2, bytes: 9 << 30 },
        ..GlibcFigures::default()
    };
    let mut text = String::new();
    render_malloc_stats(&figures, &mut text).expect("strings take all");
    assert_eq!(
        text,
        "Arena 0:\n\
         system bytes     = 7516192768\n\
         in use bytes     = 6442446848\n\
         Total (incl. mmap):\n\
         system bytes     = 13958643712\n\
         in use bytes     = 12884897792\n\
         max mmap regions =          2\n\
         max mmap bytes   = 9663676416\n"
    );
}
