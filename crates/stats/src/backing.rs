//! What the kernel has of the hugepages that spans share.

use serde::{Deserialize, Serialize};
use strata_alloc::{Core, HeapConfig};
use strata_os::{Clock, KernelPages, PageScan, PageSource};
use strata_page_heap::{PageHeap, SharedHugepage, Temperature, copy_into_place};
use strata_span::{HugepageCount, PageCount, Platform, SpanPlace};
use strata_temeraire::Population;

/// Buckets of a [`KernelHistogram`].
pub const KERNEL_BUCKETS: usize = 32;

/// Hugepages of one population, and where their pages are; pages are the kernel's, unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PopulationBacking {
    /// How many hugepages the kernel was asked about.
    pub hugepages: u64,
    /// Of these, hugepages that are one for the kernel, too.
    pub backed_hugepages: u64,
    /// Hugepages by pages that are nowhere: given back, or never touched.
    pub unbacked: KernelHistogram,
    /// Hugepages by pages in swap.
    pub swapped: KernelHistogram,
    /// Hugepages by pages that are nowhere, and in no span.
    pub free_unbacked: KernelHistogram,
    /// Hugepages by pages in swap that are in no span.
    pub free_swapped: KernelHistogram,
    /// Pages in no span that are nowhere.
    pub free_unbacked_pages: u64,
    /// Pages of spans that are nowhere.
    pub used_unbacked_pages: u64,
    /// Pages in no span that are in swap.
    pub free_swapped_pages: u64,
    /// Pages of spans that are in swap.
    pub used_swapped_pages: u64,
    /// Pages of the heap in no span, on hugepages that are none for the kernel.
    pub free_heap_pages_on_small: u64,
    /// Pages of the heap in spans, on such.
    pub used_heap_pages_on_small: u64,
    /// Pages of the heap in no span, on hugepages that are some for the kernel.
    pub free_heap_pages_on_huge: u64,
    /// Pages of the heap in spans, on such.
    pub used_heap_pages_on_huge: u64,
    /// Hugepages that were looked at to be made whole.
    pub treated: u64,
    /// Of these, hugepages of which too much was missing for it to be tried.
    pub passed_over: u64,
    /// Some of the hugepages, chosen by chance.
    pub samples: [Option<SampledHugepage>; Backing::SAMPLES],
}

/// A hugepage that was chosen by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SampledHugepage {
    /// Spans in it.
    pub allocations: u64,
    /// Its longest run of free pages of the heap.
    pub longest_free_pages: u64,
    /// Blocks that are out of these spans.
    pub objects: u64,
    /// It is a hugepage for the kernel, too.
    pub backed: bool,
    /// It takes spans of many small objects alone.
    pub dense: bool,
    /// Time between the last two spans that came, in nanoseconds; 0 before the second.
    pub between_allocations_ns: u64,
}

/// Hugepages by a number of kernel pages; bounds see [`kernel_bounds`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelHistogram {
    /// Hugepages in each bucket.
    pub counts: [u32; KERNEL_BUCKETS],
}

/// All populations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Backing {
    /// Kernel pages that a hugepage has.
    pub kernel_pages: u64,
    /// By [`Population`].
    pub populations: [PopulationBacking; Population::COUNT],
    /// Hugepages that became full after pages of them had been given back, still are, and are hugepages for the kernel.
    pub refilled_backed_hugepages: u64,
}

/// The least number of each bucket, where a hugepage has `pages` kernel pages: 0 to 8, then as many sixteenths of a
/// hugepage more as there are, then the last eight numbers below a whole one. Where a hugepage has few pages,
/// bounds are clipped.
///
/// ```
/// let bounds = strata_stats::kernel_bounds(512);
/// assert_eq!(bounds[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 40, 72]);
/// assert_eq!(bounds[22..], [456, 488, 504, 505, 506, 507, 508, 509, 510, 511]);
/// ```
pub const fn kernel_bounds(pages: u64) -> [u64; KERNEL_BUCKETS] {
    let mut bounds = [0; KERNEL_BUCKETS];
    let (mut index, mut bound) = (0, 0);
    while index < KERNEL_BUCKETS {
        let number = index as u64;
        let wanted = if number < 9 {
            number
        } else if number < 24 {
            8 + (number - 8) * (pages / 16)
        } else {
            pages.saturating_sub(KERNEL_BUCKETS as u64 - number)
        };
        // Bounds never fall, and never reach a whole hugepage.
        bound = if wanted > bound { wanted } else { bound };
        bound = if bound < pages { bound } else { pages.saturating_sub(1) };
        bounds[index] = bound;
        index += 1;
    }
    bounds
}

impl KernelHistogram {
    const NONE: Self = Self { counts: [0; KERNEL_BUCKETS] };

    fn record(&mut self, bounds: &[u64; KERNEL_BUCKETS], pages: u64) {
        let bucket = bounds.iter().rposition(|bound| pages >= *bound).unwrap_or(0);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.wrapping_add(1);
        }
    }
}

impl Backing {
    /// Most hugepages of a population that are told of one by one.
    pub const SAMPLES: usize = 2;

    const NONE: Self = Self {
        kernel_pages: 0,
        populations: [PopulationBacking::NONE; Population::COUNT],
        refilled_backed_hugepages: 0,
    };

    /// Asks the kernel about each hugepage that spans of that temperature share; none if it does not tell, or the
    /// page heap has no such.
    #[inline(never)]
    pub(crate) fn read<C: HeapConfig>(
        place: &mut Option<Self>,
        core: &Core<C>,
        temperature: Temperature,
    ) {
        copy_into_place(place, &const { Some(Self::NONE) });
        let Some(backing) = place else { return };
        let scan = PageScan::open();
        let mut answers = true;
        let mut random = core.clock().now_ns() | 1;
        core.page_heap().for_each_shared_hugepage_of(core, temperature, |hugepage| {
            if answers {
                let range = hugepage.hugepage.range(HugepageCount::ONE);
                match core.source().kernel_pages(&scan, range) {
                    Ok(pages) => backing.add(core, hugepage, &pages, &mut random),
                    Err(_) => answers = false,
                }
            }
        });
        if !answers || backing.kernel_pages == 0 {
            *place = None;
        }
    }

    /// The figures of a population.
    pub fn of_population(&self, population: Population) -> &PopulationBacking {
        // A population's number is below their count.
        &self.populations[population as usize % Population::COUNT]
    }

    fn add<C: HeapConfig>(
        &mut self,
        core: &Core<C>,
        hugepage: &SharedHugepage,
        pages: &KernelPages,
        random: &mut u64,
    ) {
        self.kernel_pages = pages.count() as u64;
        self.refilled_backed_hugepages += u64::from(hugepage.refilled && pages.is_hugepage());
        let bounds = kernel_bounds(self.kernel_pages);
        let Some(population) = self.populations.get_mut(hugepage.population) else { return };
        population.add(&bounds, PageCount::<C::Pages>::PER_HUGEPAGE.get(), hugepage, pages);
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = match population.hugepages {
            seen if seen <= Self::SAMPLES as u64 => seen - 1,
            seen => (*random >> 33) % seen,
        };
        let place = usize::try_from(place).ok();
        if let Some(sample) = place.and_then(|place| population.samples.get_mut(place)) {
            *sample = Some(SampledHugepage {
                allocations: hugepage.allocations.into(),
                longest_free_pages: hugepage.longest_free_pages.into(),
                objects: objects_in(core, hugepage),
                backed: pages.is_hugepage(),
                dense: hugepage.dense,
                between_allocations_ns: hugepage.between_allocations_ns,
            });
        }
    }
}

impl PopulationBacking {
    const NONE: Self = Self {
        hugepages: 0,
        backed_hugepages: 0,
        unbacked: KernelHistogram::NONE,
        swapped: KernelHistogram::NONE,
        free_unbacked: KernelHistogram::NONE,
        free_swapped: KernelHistogram::NONE,
        free_unbacked_pages: 0,
        used_unbacked_pages: 0,
        free_swapped_pages: 0,
        used_swapped_pages: 0,
        free_heap_pages_on_small: 0,
        used_heap_pages_on_small: 0,
        free_heap_pages_on_huge: 0,
        used_heap_pages_on_huge: 0,
        treated: 0,
        passed_over: 0,
        samples: [None; Backing::SAMPLES],
    };

    fn add(
        &mut self,
        bounds: &[u64; KERNEL_BUCKETS],
        heap_pages: usize,
        hugepage: &SharedHugepage,
        pages: &KernelPages,
    ) {
        let (mut unbacked, mut swapped) = ([0u64; 2], [0u64; 2]);
        // Of one that is whole nothing is elsewhere.
        let looked_at = if pages.is_hugepage() { 0 } else { pages.count() };
        for page in 0..looked_at {
            // The pages of the heap that lie on it, or that it lies on.
            let first = page * heap_pages / pages.count();
            let end = ((page + 1) * heap_pages).div_ceil(pages.count());
            let used = usize::from((first..end).any(|page| hugepage.is_used(page)));
            let count = if pages.is_swapped(page) {
                &mut swapped
            } else if pages.is_present(page) {
                continue;
            } else {
                &mut unbacked
            };
            if let Some(count) = count.get_mut(used) {
                *count += 1;
            }
        }
        let ([free_unbacked, used_unbacked], [free_swapped, used_swapped]) = (unbacked, swapped);
        self.hugepages += 1;
        self.unbacked.record(bounds, free_unbacked + used_unbacked);
        self.swapped.record(bounds, free_swapped + used_swapped);
        self.free_unbacked.record(bounds, free_unbacked);
        self.free_swapped.record(bounds, free_swapped);
        self.free_unbacked_pages += free_unbacked;
        self.used_unbacked_pages += used_unbacked;
        self.free_swapped_pages += free_swapped;
        self.used_swapped_pages += used_swapped;
        let used = (0..heap_pages).filter(|page| hugepage.is_used(*page)).count() as u64;
        let free = heap_pages as u64 - used;
        if pages.is_hugepage() {
            self.backed_hugepages += 1;
            self.free_heap_pages_on_huge += free;
            self.used_heap_pages_on_huge += used;
        } else {
            self.free_heap_pages_on_small += free;
            self.used_heap_pages_on_small += used;
        }
        self.treated += u64::from(hugepage.treated);
        self.passed_over += u64::from(hugepage.passed_over);
    }
}

/// Blocks that are out of the spans that begin in a hugepage.
fn objects_in<C: HeapConfig>(core: &Core<C>, hugepage: &SharedHugepage) -> u64 {
    let first = hugepage.hugepage.first_page::<C::Pages>();
    let (mut objects, mut index) = (0, 0);
    while index < PageCount::<C::Pages>::PER_HUGEPAGE.get() {
        let page = first + PageCount::new(index);
        index += 1;
        let Some(span) = core.map().span_of(page).filter(|span| span.first() == page) else {
            continue;
        };
        if span.place() == SpanPlace::InUse {
            objects += if span.class().is_none() { 1 } else { u64::from(span.objects_out()) };
        }
        index += span.pages().max(1) - 1;
    }
    objects
}
