//! What a heap holds, layer by layer.

use crate::{BackgroundFigures, Core, FrontEnd, HeapConfig, LargeStats, ThreadStats};
use strata_central::MiddleStats;
use strata_cpu_cache::{CpuStats, Fences};
use strata_os::mapped_anew;
use strata_page_heap::{PageHeap, PageHeapStats};
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{ArenaStats, PageMapStats, Platform, PoolStats};
use strata_thread_cache::ThreadCachesStats;

/// The figures of all layers of a heap, those of single classes and CPUs apart.
///
/// Each layer's part is consistent in itself; the parts are read one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct HeapFigures {
    /// Which caches stand in front, and why.
    pub front_end: FrontEnd,
    /// By what means caches of other CPUs are stopped.
    pub fences: Fences,
    /// How often, in the whole process, memory had to be mapped anew, because the kernel would not make what was there accessible.
    pub mapped_anew: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// The page heap.
    pub page_heap: PageHeapStats,
    /// Transfer caches and central free lists.
    pub middle: MiddleStats,
    /// The per-CPU caches, all together.
    pub cpu: CpuStats,
    /// Address space of the per-CPU caches' slabs.
    pub slab_reserved_bytes: u64,
    /// The threads' caches.
    pub thread_caches: ThreadCachesStats,
    /// Free blocks that a hardened heap keeps from use, in bytes: pools and quarantines.
    pub hardened_bytes: u64,
    /// Whether large blocks in its quarantine could not be read, and count as the program's.
    pub hardened_is_unknown: bool,
    /// What the threads did.
    pub threads: ThreadStats,
    /// The large blocks that the application has.
    pub large: LargeStats,
    /// The metadata arena.
    pub arena: ArenaStats,
    /// The page map, part of the arena.
    pub map: PageMapStats,
    /// The span structures, part of the arena.
    pub spans: PoolStats,
    /// Bytes of the heap's own structure.
    pub core_bytes: u64,
    /// What the background work did.
    pub background: BackgroundFigures,
}

impl HeapFigures {
    /// Bytes that the application holds, counted at the layers: objects that spans handed out, less those that caches
    /// hold, and large blocks.
    pub fn in_use_bytes(&self) -> u64 {
        self.middle
            .out_bytes
            .wrapping_sub(self.middle.transfer_bytes)
            .wrapping_sub(self.cpu.held_bytes)
            .wrapping_sub(self.thread_caches.held_bytes)
            .wrapping_sub(self.hardened_bytes)
            .wrapping_add(self.large_bytes())
    }

    /// The same, counted at the threads: what they allocated less what they freed.
    pub fn in_use_bytes_by_threads(&self) -> u64 {
        self.threads.allocated_bytes.wrapping_sub(self.threads.deallocated_bytes)
    }

    /// Bytes of large blocks: of spans that are out, and neither have a class nor went to the metadata arena.
    pub fn large_bytes(&self) -> u64 {
        self.page_heap
            .in_use_bytes
            .wrapping_sub(self.middle.span_bytes)
            .wrapping_sub(self.arena.adopted_bytes)
    }

    /// Mapped bytes less those that some layer has: in use, in caches, free, released, metadata, and never used. 0
    /// while nobody allocates or frees; otherwise as much as was on its way between layers while they were read.
    pub fn unexplained_bytes(&self) -> i64 {
        let caches = [
            self.cpu.held_bytes,
            self.thread_caches.held_bytes,
            self.hardened_bytes,
            self.middle.transfer_bytes,
            self.middle.central_bytes,
        ];
        let pages = [
            self.page_heap.free_bytes,
            self.page_heap.unmapped_bytes,
            self.page_heap.reserved_bytes.wrapping_sub(self.page_heap.system_bytes),
        ];
        let books = [
            self.arena.unallocated_bytes,
            self.arena.unavailable_bytes,
            self.slab_reserved_bytes,
            self.core_bytes,
        ];
        let parts = caches.into_iter().chain(pages).chain(books).chain(self.arena.bytes_by_kind);
        let explained = parts.fold(self.in_use_bytes(), u64::wrapping_add);
        self.mapped_bytes().wrapping_sub(explained).cast_signed()
    }

    /// In use as the layers count it, less in use as the threads count it. 0 while nobody allocates or frees.
    pub fn in_use_difference(&self) -> i64 {
        self.in_use_bytes().wrapping_sub(self.in_use_bytes_by_threads()).cast_signed()
    }

    /// Whether every mapped byte is in some layer, and layers and threads agree about what is in use: always, while nobody
    /// allocates or frees.
    pub fn adds_up(&self) -> bool {
        (self.unexplained_bytes(), self.in_use_difference()) == (0, 0)
    }

    /// Whether every list could be read: see [`Core::figures`].
    pub const fn is_complete(&self) -> bool {
        !(self.threads.is_unknown
            || self.thread_caches.is_unknown
            || self.arena.is_unknown
            || self.middle.is_unknown
            || self.hardened_is_unknown)
    }

    /// Bytes mapped from the source: spans, metadata, slabs, and the heap's own structure.
    pub fn mapped_bytes(&self) -> u64 {
        let figures = [
            self.page_heap.reserved_bytes,
            self.arena.reserved_bytes,
            self.slab_reserved_bytes,
            self.core_bytes,
        ];
        figures.into_iter().fold(0, u64::saturating_add)
    }
}

impl<C: HeapConfig> Core<C> {
    /// The figures, from any thread, without allocation. Costs a lock a class and a load per class and CPU.
    ///
    /// Waits until the background step that is underway, if any, is done. Lists whose lock the interrupted thread
    /// holds, if a signal handler asks, are left out, and [`HeapFigures::is_complete`] says so.
    pub fn figures(&self) -> HeapFigures {
        let _still = self.hold_background();
        let mut figures = self.figures_without_cpu_caches();
        for id in 0..self.cpu_cache().ids() {
            figures.cpu.merge(&self.cpu_cache().cpu_stats(id));
        }
        figures
    }

    /// The same without the per-CPU caches, whose figures are zeros, and while background work may be underway: for
    /// who looks at each of them, and has [held](Self::hold_background) that work.
    pub fn figures_without_cpu_caches(&self) -> HeapFigures {
        let (hardened_bytes, hardened_is_unknown) = self.hardened.held_bytes(C::Pages::TABLE);
        HeapFigures {
            front_end: self.front_end(),
            fences: self.cpu_cache().fences(),
            mapped_anew: mapped_anew(),
            page_bytes: C::Pages::BYTES as u64,
            page_heap: self.page_heap().stats(),
            middle: self.middle().stats(),
            cpu: CpuStats::default(),
            slab_reserved_bytes: self.cpu_cache().slab_range().bytes as u64,
            thread_caches: self.thread_caches().stats(),
            hardened_bytes,
            hardened_is_unknown,
            threads: self.thread_stats(),
            large: self.large.stats(),
            arena: self.arena().stats(),
            map: self.map().stats(),
            spans: self.spans().stats(),
            core_bytes: self.own_range().bytes as u64,
            background: self.background_figures(),
        }
    }

    /// How many objects of `class` the per-CPU and per-thread caches hold, and the pools and quarantines of a
    /// hardened heap.
    pub fn cached_objects(&self, class: SizeClass) -> u64 {
        let cpu = self.cpu_cache();
        let mut objects: u64 = (0..cpu.ids()).map(|id| cpu.objects(id, class)).sum();
        self.thread_caches().for_each(|cache| objects += u64::from(cache.length(class)));
        objects += self.hardened.slots(class);
        objects
    }
}
