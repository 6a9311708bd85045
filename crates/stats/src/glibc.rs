//! What the C library's own introspection shows, `malloc_stats`, `malloc_info` and `mallinfo`, of a heap of ours.
//!
//! glibc's allocator has arenas of chunks; scripts know its words. Here they mean:
//!
//! | glibc | of this heap |
//! |---|---|
//! | arena | the whole heap, number 0, without its large blocks |
//! | fast | free objects in the caches in front, per CPU or per thread |
//! | rest | free objects in transfer caches and central free lists, what lies behind the last objects of spans, free pages with memory behind them, and what a hardened heap keeps from use |
//! | mmap | large blocks, each a span of its own |
//! | system | bytes with memory behind them that are in use or free; what was given back to the kernel is none |
//! | aspace | address space: all that is mapped, and of it what was ever used, metadata included |
//!
//! All figures come from one [`Snapshot`] and its [`Ledger`], so that they add up: `system` less `fast` less `rest` is
//! what the application has in small blocks, to the byte while nobody allocates; with `mmap`, all that it has; and
//! `aspace` with `mmap` all that is mapped.
//!
//! Numbers have 64 bits throughout; glibc's `malloc_stats` cuts them to 32.

use crate::{Category, ClassFigures, ClassTable, Ledger, Snapshot, total::total};
use core::fmt::{Result, Write};

/// A number of free or used pieces, and their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pieces {
    /// How many.
    pub count: u64,
    /// How many bytes together.
    pub bytes: u64,
}

/// The figures of a heap in glibc's terms, in bytes unless named otherwise.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{GlibcFigures, Snapshot};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// let small = heap.allocate(1000);
/// let large = heap.allocate(3 << 20);
/// let snapshot = Snapshot::take(heap.core().expect("the first block set it up"));
/// let figures = GlibcFigures::of(&snapshot);
/// assert_eq!(figures.in_use(), 1024);
/// assert_eq!((figures.mapped.count, figures.mapped.bytes), (1, 3 << 20));
/// # // SAFETY: the blocks are ours.
/// # unsafe { (heap.deallocate(small), heap.deallocate(large)) };
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GlibcFigures {
    /// In use or free, large blocks apart.
    pub system: u64,
    /// The most that ever was in use or free, large blocks included, as nobody counts them apart.
    pub system_peak: u64,
    /// Free objects in the caches in front.
    pub fast: Pieces,
    /// What else is free; free pages count as one piece, as glibc counts the top of an arena.
    pub rest: Pieces,
    /// Free pages with memory behind them, a part of `rest`: what can be given back at once.
    pub releasable: u64,
    /// Large blocks.
    pub mapped: Pieces,
    /// The most of them at a time, by number and by bytes.
    pub mapped_peak: Pieces,
    /// All that is mapped, large blocks apart.
    pub address_space: u64,
    /// Of it, what was ever used.
    pub accessible: u64,
}

impl GlibcFigures {
    /// The figures of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let ledger = Ledger::of(snapshot);
        let heap = &snapshot.heap;
        let of = |category| ledger.bytes(category);
        let objects = |of: Objects| total(snapshot.classes.iter().map(|(_, class)| of(class)));
        let mapped = Pieces { count: heap.large.blocks, bytes: heap.large.bytes };
        let fast = Pieces {
            count: objects(in_front),
            bytes: of(Category::PerCpu).wrapping_add(of(Category::Thread)),
        };
        let rest = Pieces {
            count: objects(behind).wrapping_add(1),
            bytes: of(Category::Transfer)
                .wrapping_add(of(Category::Central))
                .wrapping_add(of(Category::Guarded))
                .wrapping_add(ledger.free_pages_bytes()),
        };
        let in_use = of(Category::InUse).saturating_sub(mapped.bytes);
        let system = in_use.wrapping_add(fast.bytes).wrapping_add(rest.bytes);
        Self {
            system,
            system_peak: heap.page_heap.peak_backed_bytes.max(system),
            fast,
            rest,
            releasable: ledger.free_pages_bytes(),
            mapped,
            mapped_peak: Pieces {
                count: heap.large.peak_blocks.max(mapped.count),
                bytes: heap.large.peak_bytes.max(mapped.bytes),
            },
            address_space: ledger.mapped_bytes.saturating_sub(mapped.bytes),
            accessible: ledger.virtual_bytes().saturating_sub(mapped.bytes),
        }
    }

    /// Free bytes with memory behind them.
    pub const fn free(&self) -> u64 {
        self.fast.bytes.wrapping_add(self.rest.bytes)
    }

    /// What the application has in small blocks.
    pub const fn in_use(&self) -> u64 {
        self.system.wrapping_sub(self.free())
    }
}

/// Counts some objects of a class.
type Objects = fn(&ClassFigures) -> u64;

/// Free objects of a class in the caches in front.
fn in_front(class: &ClassFigures) -> u64 {
    class.per_cpu_objects.wrapping_add(class.thread_objects)
}

/// Free objects of a class behind them.
fn behind(class: &ClassFigures) -> u64 {
    class.transfer_objects.wrapping_add(class.central_objects)
}

/// Writes what `malloc_stats` does.
pub fn render_malloc_stats(figures: &GlibcFigures, out: &mut dyn Write) -> Result {
    let Pieces { count: regions, bytes: mapped } = figures.mapped_peak;
    let all = |bytes: u64| bytes.wrapping_add(figures.mapped.bytes);
    writeln!(out, "Arena 0:")?;
    value_line(out, "system bytes", figures.system)?;
    value_line(out, "in use bytes", figures.in_use())?;
    writeln!(out, "Total (incl. mmap):")?;
    value_line(out, "system bytes", all(figures.system))?;
    value_line(out, "in use bytes", all(figures.in_use()))?;
    value_line(out, "max mmap regions", regions)?;
    value_line(out, "max mmap bytes", mapped)
}

fn value_line(out: &mut dyn Write, name: &str, value: u64) -> Result {
    writeln!(out, "{name:<17}= {value:>10}")
}

/// Writes what `malloc_info(0, …)` does: a line for each size class that has free objects in front, then for each that
/// has some behind, in rising order.
pub fn render_malloc_info(snapshot: &Snapshot, out: &mut dyn Write) -> Result {
    let figures = GlibcFigures::of(snapshot);
    writeln!(out, "<malloc version=\"1\">")?;
    writeln!(out, "<heap nr=\"0\">\n<sizes>")?;
    size_lines(out, &snapshot.classes, in_front)?;
    size_lines(out, &snapshot.classes, behind)?;
    writeln!(out, "</sizes>")?;
    free_totals(out, &figures)?;
    system_lines(out, &figures)?;
    writeln!(out, "</heap>")?;
    free_totals(out, &figures)?;
    total_line(out, "mmap", figures.mapped)?;
    system_lines(out, &figures)?;
    writeln!(out, "</malloc>")
}

fn size_lines(out: &mut dyn Write, classes: &ClassTable, objects: Objects) -> Result {
    let mut from = 1;
    for (_, class) in classes.iter() {
        let (to, count) = (class.object_bytes, objects(class));
        if count != 0 {
            let total = count.wrapping_mul(to);
            writeln!(
                out,
                "  <size from=\"{from}\" to=\"{to}\" total=\"{total}\" count=\"{count}\"/>"
            )?;
        }
        from = to.wrapping_add(1);
    }
    Ok(())
}

fn free_totals(out: &mut dyn Write, figures: &GlibcFigures) -> Result {
    total_line(out, "fast", figures.fast)?;
    total_line(out, "rest", figures.rest)
}

fn total_line(out: &mut dyn Write, kind: &str, pieces: Pieces) -> Result {
    let Pieces { count, bytes } = pieces;
    writeln!(out, "<total type=\"{kind}\" count=\"{count}\" size=\"{bytes}\"/>")
}

fn system_lines(out: &mut dyn Write, figures: &GlibcFigures) -> Result {
    writeln!(out, "<system type=\"current\" size=\"{}\"/>", figures.system)?;
    writeln!(out, "<system type=\"max\" size=\"{}\"/>", figures.system_peak)?;
    writeln!(out, "<aspace type=\"total\" size=\"{}\"/>", figures.address_space)?;
    writeln!(out, "<aspace type=\"mprotect\" size=\"{}\"/>", figures.accessible)
}
