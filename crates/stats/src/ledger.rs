//! Every mapped byte in one place.

use crate::{Snapshot, total::total};
use strata_page_heap::FreeParts;
use strata_span::MetadataKind;

/// Where a mapped byte can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Category {
    /// With the application: its objects, rounded to their classes, and its large blocks, rounded to pages.
    InUse,
    /// Free objects in per-CPU caches.
    PerCpu,
    /// Free objects in threads' caches.
    Thread,
    /// Blocks that a hardened heap keeps from use: in its pools and quarantines, guards included.
    Guarded,
    /// Free objects in transfer caches.
    Transfer,
    /// Free objects in the central free lists, and what lies behind the last objects of spans, with memory behind it.
    Central,
    /// Free pages with memory behind them, within hugepages that spans are packed into.
    FillerFree,
    /// The same within regions.
    RegionsFree,
    /// Whole hugepages with memory behind them, in the huge cache.
    HugeCacheFree,
    /// Free pages with memory behind them in none of these: on their way to the kernel, or of a page heap without
    /// such parts.
    PageHeapFree,
    /// Free pages without memory behind them: given back to the kernel, or never touched.
    Released,
    /// Free objects in the central free lists without memory behind them: kernel pages inside of spans that were
    /// given back.
    CentralReleased,
    /// The allocator's own structures in the metadata arena, by kind; of the page map, what was touched.
    Metadata(MetadataKind),
    /// The heap's own structure, as far as it was touched.
    Core,
    /// Per-CPU slabs, as far as they were touched.
    Slabs,
    /// Metadata blocks, behind their last pieces.
    ArenaUnavailable,
    /// The newest metadata block, not handed out yet.
    ArenaUnallocated,
    /// The page map, never touched.
    PageMapReserved,
    /// The heap's own structure, never touched.
    CoreReserved,
    /// Per-CPU slabs, never touched.
    SlabsReserved,
    /// Address space that the page heap will grow into.
    PageHeapReserved,
}

/// What a category is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Memory that the application holds.
    InUse,
    /// Memory that it could get at once.
    Free,
    /// Memory that the allocator needs to keep its books.
    Metadata,
    /// Address space that had memory, or will have at its next use.
    Released,
    /// Address space that nobody has had yet.
    NeverUsed,
}

impl Part {
    /// Its name in data: lower case, without blanks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Free => "free",
            Self::Metadata => "metadata",
            Self::Released => "released",
            Self::NeverUsed => "never_used",
        }
    }
}

impl Category {
    /// How many categories there are.
    pub const COUNT: usize = 20 + MetadataKind::COUNT;

    /// All categories, in the order in which reports list them.
    pub fn all() -> impl Iterator<Item = Self> {
        let front = [
            Self::InUse,
            Self::FillerFree,
            Self::RegionsFree,
            Self::HugeCacheFree,
            Self::PageHeapFree,
            Self::Central,
            Self::PerCpu,
            Self::Transfer,
            Self::Thread,
            Self::Guarded,
        ];
        let back = [
            Self::Core,
            Self::Slabs,
            Self::Released,
            Self::CentralReleased,
            Self::ArenaUnallocated,
            Self::ArenaUnavailable,
            Self::PageMapReserved,
            Self::CoreReserved,
            Self::SlabsReserved,
            Self::PageHeapReserved,
        ];
        front.into_iter().chain(MetadataKind::ALL.map(Self::Metadata)).chain(back)
    }

    /// What it is part of.
    pub const fn part(self) -> Part {
        match self {
            Self::InUse => Part::InUse,
            Self::PerCpu
            | Self::Thread
            | Self::Guarded
            | Self::Transfer
            | Self::Central
            | Self::FillerFree
            | Self::RegionsFree
            | Self::HugeCacheFree
            | Self::PageHeapFree => Part::Free,
            Self::Released | Self::CentralReleased => Part::Released,
            Self::Metadata(_) | Self::Core | Self::Slabs => Part::Metadata,
            Self::ArenaUnavailable
            | Self::ArenaUnallocated
            | Self::PageMapReserved
            | Self::CoreReserved
            | Self::SlabsReserved
            | Self::PageHeapReserved => Part::NeverUsed,
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InUse => "in use by the application",
            Self::PerCpu => "per-CPU caches",
            Self::Thread => "thread caches",
            Self::Guarded => "guarded, and in quarantine",
            Self::Transfer => "transfer caches",
            Self::Central => "central free lists",
            Self::FillerFree => "page heap, free: filler",
            Self::RegionsFree => "page heap, free: regions",
            Self::HugeCacheFree => "page heap, free: huge cache",
            Self::PageHeapFree => "page heap, free",
            Self::Released => "page heap, released",
            Self::CentralReleased => "central free lists, released",
            Self::Metadata(kind) => metadata_name(kind),
            Self::Core => "metadata: the heap itself",
            Self::Slabs => "metadata: per-CPU slabs",
            Self::ArenaUnavailable => "never used: ends of metadata blocks",
            Self::ArenaUnallocated => "never used: metadata block",
            Self::PageMapReserved => "never used: page map",
            Self::CoreReserved => "never used: the heap itself",
            Self::SlabsReserved => "never used: per-CPU slabs",
            Self::PageHeapReserved => "never used: page heap",
        }
    }
}

const fn metadata_name(kind: MetadataKind) -> &'static str {
    match kind {
        MetadataKind::PageMap => "metadata: page map",
        MetadataKind::Spans => "metadata: spans",
        MetadataKind::ObjectMaps => "metadata: maps of free objects",
        MetadataKind::TransferCaches => "metadata: transfer caches",
        MetadataKind::Hugepages => "metadata: hugepages",
        MetadataKind::AddressMaps => "metadata: address maps",
        MetadataKind::Threads => "metadata: threads",
        MetadataKind::Ranges => "metadata: reserved ranges",
        _ => "metadata: other",
    }
}

/// All mapped bytes, each in one [`Category`].
///
/// What the application has is counted, never a remainder: objects that spans handed out less those in caches, and
/// the spans of large blocks. The threads count it once more; the two counts share nothing.
///
/// Of slabs, page map and the heap's own structure, which are reserved whole and touched where they are used, what was
/// touched is metadata, the rest was never used. For slabs and the heap's structure the page source is asked what
/// stands in memory; if it cannot tell, the regions of all CPUs that were ever used and the whole structure count as
/// touched. The page map counts its first writes.
///
/// ```
/// use strata_alloc::{Config, Heap};
/// use strata_stats::{Category, Ledger, Snapshot};
///
/// let heap: Heap = Heap::with(Config::DEFAULT);
/// let block = heap.allocate(3 << 20);
/// let ledger = Ledger::of(&Snapshot::take(heap.core().expect("the first block set it up")));
/// for category in Category::all() {
///     println!("{:12} {}", ledger.bytes(category), category.name());
/// }
/// let sum: u64 = Category::all().map(|category| ledger.bytes(category)).sum();
/// assert_eq!(sum, ledger.mapped_bytes);
/// # // SAFETY: the block is ours.
/// # unsafe { heap.deallocate(block) };
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// Mapped from the page source.
    pub mapped_bytes: u64,
    /// With the application, as the layers count it.
    pub in_use_bytes: u64,
    /// With the application, as the threads count it: what they allocated less what they freed.
    pub in_use_by_threads_bytes: u64,
    per_cpu: u64,
    thread: u64,
    guarded: u64,
    transfer: u64,
    central: u64,
    free_parts: FreeParts,
    page_heap_free: u64,
    released: u64,
    central_released: u64,
    metadata: [u64; MetadataKind::COUNT],
    core: u64,
    slabs: u64,
    arena_unavailable: u64,
    arena_unallocated: u64,
    page_map_reserved: u64,
    core_reserved: u64,
    slabs_reserved: u64,
    page_heap_reserved: u64,
}

impl Ledger {
    /// The ledger of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let heap = &snapshot.heap;
        let mut metadata = heap.arena.bytes_by_kind;
        let page_map_touched = total([heap.map.root_touched_bytes, heap.map.leaf_touched_bytes]);
        let mut page_map_reserved = 0;
        if let Some(page_map) = metadata.get_mut(MetadataKind::PageMap as usize) {
            page_map_reserved = page_map.saturating_sub(page_map_touched);
            *page_map -= page_map_reserved;
        }
        let slabs = snapshot.slab_resident_bytes.min(heap.slab_reserved_bytes);
        let core = snapshot.core_resident_bytes.min(heap.core_bytes);
        Self {
            mapped_bytes: heap.mapped_bytes(),
            in_use_bytes: not_below_none(heap.in_use_bytes()),
            in_use_by_threads_bytes: not_below_none(heap.in_use_bytes_by_threads()),
            per_cpu: heap.cpu.held_bytes,
            thread: heap.thread_caches.held_bytes,
            guarded: heap.hardened_bytes,
            transfer: heap.middle.transfer_bytes,
            central: heap.middle.central_bytes.wrapping_sub(heap.middle.released_bytes),
            free_parts: heap.page_heap.free_parts,
            page_heap_free: heap
                .page_heap
                .free_bytes
                .saturating_sub(heap.page_heap.free_parts.total()),
            released: heap.page_heap.unmapped_bytes,
            central_released: heap.middle.released_bytes,
            metadata,
            core,
            slabs,
            arena_unavailable: heap.arena.unavailable_bytes,
            arena_unallocated: heap.arena.unallocated_bytes,
            page_map_reserved,
            core_reserved: heap.core_bytes - core,
            slabs_reserved: heap.slab_reserved_bytes - slabs,
            page_heap_reserved: heap
                .page_heap
                .reserved_bytes
                .saturating_sub(heap.page_heap.system_bytes),
        }
    }

    /// Bytes in a category.
    pub fn bytes(&self, category: Category) -> u64 {
        match category {
            Category::InUse => self.in_use_bytes,
            Category::PerCpu => self.per_cpu,
            Category::Thread => self.thread,
            Category::Guarded => self.guarded,
            Category::Transfer => self.transfer,
            Category::Central => self.central,
            Category::FillerFree => self.free_parts.filler_bytes,
            Category::RegionsFree => self.free_parts.regions_bytes,
            Category::HugeCacheFree => self.free_parts.cache_bytes,
            Category::PageHeapFree => self.page_heap_free,
            Category::Released => self.released,
            Category::CentralReleased => self.central_released,
            Category::Metadata(kind) => self.metadata.get(kind as usize).copied().unwrap_or(0),
            Category::Core => self.core,
            Category::Slabs => self.slabs,
            Category::ArenaUnavailable => self.arena_unavailable,
            Category::ArenaUnallocated => self.arena_unallocated,
            Category::PageMapReserved => self.page_map_reserved,
            Category::CoreReserved => self.core_reserved,
            Category::SlabsReserved => self.slabs_reserved,
            Category::PageHeapReserved => self.page_heap_reserved,
        }
    }

    /// Bytes of free pages with memory behind them, wherever in the page heap they are.
    pub fn free_pages_bytes(&self) -> u64 {
        self.page_heap_free.wrapping_add(self.free_parts.total())
    }

    /// Bytes of free objects in threads' caches, and of what a hardened heap keeps in their place: what reports of other
    /// allocators have one line for.
    pub fn thread_caches_bytes(&self) -> u64 {
        self.thread.wrapping_add(self.guarded)
    }

    /// Bytes in all categories of a part.
    pub fn part_bytes(&self, part: Part) -> u64 {
        self.bytes_where(|of| of == part)
    }

    /// Bytes that have memory behind them, in memory or swap: in use, free and metadata.
    pub fn actual_bytes(&self) -> u64 {
        self.bytes_where(|part| matches!(part, Part::InUse | Part::Free | Part::Metadata))
    }

    fn bytes_where(&self, is_meant: impl Fn(Part) -> bool) -> u64 {
        Category::all()
            .filter(|category| is_meant(category.part()))
            .fold(0, |sum, category| sum.wrapping_add(self.bytes(category)))
    }

    /// Bytes that had memory behind them once: the actual and the released.
    pub fn virtual_bytes(&self) -> u64 {
        self.actual_bytes().wrapping_add(self.part_bytes(Part::Released))
    }

    /// Mapped bytes less those of all categories. 0 while nobody allocates or frees; otherwise as much as was on its
    /// way between layers while the snapshot was taken.
    pub fn unexplained(&self) -> i64 {
        let explained = self.virtual_bytes().wrapping_add(self.part_bytes(Part::NeverUsed));
        self.mapped_bytes.wrapping_sub(explained).cast_signed()
    }

    /// In use as the layers count it, less in use as the threads count it. 0 while nobody allocates or frees.
    pub fn in_use_difference(&self) -> i64 {
        self.in_use_bytes.wrapping_sub(self.in_use_by_threads_bytes).cast_signed()
    }
}

/// Differences of counters that were read while they moved may be below zero: then nothing is counted.
fn not_below_none(difference: u64) -> u64 {
    u64::try_from(difference.cast_signed()).unwrap_or(0)
}
