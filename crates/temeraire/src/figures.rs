//! What a hugepage-aware heap tells about itself.

use crate::{
    advice::AdviceFigures,
    demand::{KeptForDemand, SkipJudgement},
    filler::{FillerCounters, FillerHistory},
    free_spans::FreeSpanTable,
    histogram::{Fullness, Histogram},
    huge_cache::HugeCacheFigures,
    region::RegionFigures,
    treatment::CollapseFigures,
};
use strata_page_heap::{AllocationFigures, LIFETIME_BUCKETS, ReleasedBytes, SpanAges};

/// The figures that only the hugepage-aware page heap has: what its report prints.
///
/// Plain values of one moment, but for what is underway, which counts as free in [`Components::allocator`], and for what is
/// gathered hugepage by hugepage while others may use the heap: [`spans`](Self::spans), [`ages`](Self::ages), and of the
/// [`filler`](Self::filler) its hugepages, pages and histograms.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct TemeraireFigures {
    /// The page size, in bytes.
    pub page_bytes: u64,
    /// Runs of free pages by length.
    pub spans: FreeSpanTable,
    /// Where used, free and unmapped bytes are.
    pub components: Components,
    /// What would go back to the kernel if the program asked for all that can, in bytes: free and backed, without
    /// what recent demand is likely to want again. (None in figures that were written before there was such a one.)
    pub releasable_bytes: Option<u64>,
    /// What went back to the kernel since the start. (None in figures that were written before there was such a one.)
    pub released: Option<ReleasedBytes>,
    /// The filler.
    pub filler: FillerFigures,
    /// The regions.
    pub regions: RegionSetFigures,
    /// The huge cache.
    pub cache: HugeCacheFigures,
    /// The huge allocator.
    pub allocator: HugeAllocatorFigures,
    /// Counts of allocations by length.
    pub allocations: AllocationFigures,
    /// How long free pages have been waiting.
    pub ages: SpanAges,
    /// Advice about hugepages.
    pub advice: AdviceFigures,
    /// How making hugepages whole goes.
    pub collapse: CollapseFigures,
}

impl Default for TemeraireFigures {
    fn default() -> Self {
        Self::NONE
    }
}

impl TemeraireFigures {
    /// Those of a heap without pages: a constant, since they are filled in where they stand, and a copy would cost
    /// as much stack again.
    pub const NONE: Self = Self {
        page_bytes: 0,
        spans: FreeSpanTable::NONE,
        components: Components::NONE,
        releasable_bytes: None,
        released: None,
        filler: FillerFigures::NONE,
        regions: RegionSetFigures::NONE,
        cache: HugeCacheFigures::NONE,
        allocator: HugeAllocatorFigures::NONE,
        allocations: AllocationFigures::NONE,
        ages: SpanAges::NONE,
        advice: AdviceFigures::NONE,
        collapse: CollapseFigures::NONE,
    };
}

// Who asks for them by value has them on the stack.
static_assertions::const_assert!(size_of::<TemeraireFigures>() <= 36 << 10);

/// The four places where pages can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Components {
    /// Within hugepages.
    pub filler: ComponentBytes,
    /// Within regions.
    pub region: ComponentBytes,
    /// Whole hugepages, backed; used: large spans, without their donated tails.
    pub cache: ComponentBytes,
    /// Whole hugepages, not backed; free: on their way to the kernel.
    pub allocator: ComponentBytes,
}

impl Components {
    const NONE: Self = {
        let none = ComponentBytes { used: 0, free: 0, unmapped: 0 };
        Self { filler: none, region: none, cache: none, allocator: none }
    };
}

/// What a component has, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ComponentBytes {
    /// In spans.
    pub used: u64,
    /// Free and backed.
    pub free: u64,
    /// Free and not backed.
    pub unmapped: u64,
}

/// The filler at one moment, in hugepages and pages.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct FillerFigures {
    /// Hugepages.
    pub hugepages: u64,
    /// Hugepages without a free page.
    pub full_hugepages: u64,
    /// Hugepages with free pages, all of them backed.
    pub partial_hugepages: u64,
    /// Hugepages with pages that were given back; what is being given back included.
    pub released_hugepages: u64,
    /// Of these, hugepages with free pages that are backed.
    pub partially_released_hugepages: u64,
    /// Tails of large allocations that nobody has used yet; counted among the partial ones.
    pub donated_hugepages: u64,
    /// Free pages that are backed.
    pub free_pages: u64,
    /// Pages in use.
    pub used_pages: u64,
    /// Free pages that were given back.
    pub unmapped_pages: u64,
    /// Pages in use in hugepages with pages that were given back.
    pub used_pages_in_released: u64,
    /// Of these, in partially released hugepages.
    pub used_pages_in_partially_released: u64,
    /// Free pages whose large allocation went while others lived on its tail.
    pub abandoned_pages: u64,
    /// What it did since the start.
    pub counters: FillerCounters,
    /// How full its hugepages are, by [`Population`].
    pub fullness: [Fullness; Population::COUNT],
    /// The hugepages of spans that hold few objects, and those of spans that hold many; see [`Self::sparse`] and
    /// [`Self::dense`].
    pub(crate) densities: [DensityFigures; 2],
    /// The last five minutes.
    pub history: FillerHistory,
    /// How decisions to keep memory turned out.
    pub skipped: SkipJudgement,
    /// What it keeps for demand to come.
    pub kept: KeptForDemand,
    /// Over which time fluctuations keep memory, in nanoseconds.
    pub skip_short_ns: u64,
    /// Over which time the floor of demand does.
    pub skip_long_ns: u64,
    /// Pages given back out of hugepages in use within the last hour, as far as whole minutes tell.
    pub subreleased_pages_last_hour: u64,
    /// How long its hugepages have been here, by [`Population`].
    pub lifetimes: [Lifetimes; Population::COUNT],
}

/// How long hugepages of the filler have been there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Lifetimes {
    /// All of them, by [`LIFETIME_BOUNDS_MS`](crate::LIFETIME_BOUNDS_MS).
    pub all: [u32; LIFETIME_BUCKETS],
    /// Those of which seven eighths and more are free.
    pub nearly_free: [u32; LIFETIME_BUCKETS],
    /// Those that have been here for 100 seconds and longer, by allocations.
    pub old_by_allocations: Histogram,
}

impl Lifetimes {
    const NONE: Self = Self {
        all: [0; LIFETIME_BUCKETS],
        nearly_free: [0; LIFETIME_BUCKETS],
        old_by_allocations: Histogram::EMPTY,
    };
}

/// Which hugepages of the filler a histogram is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Population {
    /// Wholly backed and not donated, with spans of few objects.
    SparseRegular,
    /// Wholly backed, with spans of many objects.
    DenseRegular,
    /// The tail of a large allocation that nobody has used yet.
    Donated,
    /// Given back in part, with free pages that are backed, what is just being given back included; spans of few objects.
    SparsePartial,
    /// The same, spans of many objects.
    DensePartial,
    /// All free pages given back; spans of few objects.
    SparseReleased,
    /// The same, spans of many objects.
    DenseReleased,
}

impl Population {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All of them, in the order in which reports have them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::SparseRegular,
        Self::DenseRegular,
        Self::Donated,
        Self::SparsePartial,
        Self::DensePartial,
        Self::SparseReleased,
        Self::DenseReleased,
    ];
}

/// Hugepages with spans of one density, as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct DensityFigures {
    /// All of them.
    pub hugepages: u64,
    /// Without a free page.
    pub full: u64,
    /// With free pages, all of them backed.
    pub partial: u64,
    /// With pages that were given back.
    pub released: u64,
    /// Of these, with free pages that are backed.
    pub partially_released: u64,
}

impl DensityFigures {
    const NONE: Self =
        Self { hugepages: 0, full: 0, partial: 0, released: 0, partially_released: 0 };
}

impl FillerFigures {
    pub(crate) const NONE: Self = Self {
        hugepages: 0,
        full_hugepages: 0,
        partial_hugepages: 0,
        released_hugepages: 0,
        partially_released_hugepages: 0,
        donated_hugepages: 0,
        free_pages: 0,
        used_pages: 0,
        unmapped_pages: 0,
        used_pages_in_released: 0,
        used_pages_in_partially_released: 0,
        abandoned_pages: 0,
        counters: FillerCounters::NONE,
        fullness: [Fullness::NONE; Population::COUNT],
        densities: [DensityFigures::NONE; 2],
        history: FillerHistory::NONE,
        skipped: SkipJudgement::NONE,
        kept: KeptForDemand::NONE,
        skip_short_ns: 0,
        skip_long_ns: 0,
        subreleased_pages_last_hour: 0,
        lifetimes: [Lifetimes::NONE; Population::COUNT],
    };

    /// How full the hugepages of a population are.
    pub fn fullness_of(&self, population: Population) -> Fullness {
        self.fullness.get(population as usize).copied().unwrap_or_default()
    }

    /// How full the hugepages are that are wholly backed and not donated, whatever their spans hold.
    pub fn regular(&self) -> Fullness {
        self.fullness_of(Population::SparseRegular)
            .plus(&self.fullness_of(Population::DenseRegular))
    }

    /// How long the hugepages of a population have been there.
    pub fn lifetimes_of(&self, population: Population) -> Lifetimes {
        self.lifetimes.get(population as usize).copied().unwrap_or_default()
    }

    /// The donated ones: of these only free pages tell something.
    pub fn donated(&self) -> Fullness {
        self.fullness_of(Population::Donated)
    }

    /// Those with pages that were given back.
    pub fn released(&self) -> Fullness {
        use Population::{DensePartial, DenseReleased, SparsePartial, SparseReleased};
        [DensePartial, SparseReleased, DenseReleased]
            .into_iter()
            .fold(self.fullness_of(SparsePartial), |sum, more| sum.plus(&self.fullness_of(more)))
    }

    /// Hugepages with spans that hold few objects, donated ones included.
    pub const fn sparse(&self) -> DensityFigures {
        self.densities[0]
    }

    /// Hugepages with spans that hold many objects.
    pub const fn dense(&self) -> DensityFigures {
        self.densities[1]
    }

    /// The share of free pages among all that are backed or free; 0 without hugepages.
    pub fn free_share(&self, pages_per_hugepage: u64) -> f64 {
        share(self.free_pages, self.hugepages.saturating_mul(pages_per_hugepage))
    }

    /// The same, among the hugepages that are not full.
    pub fn free_share_of_non_full(&self, pages_per_hugepage: u64) -> f64 {
        share(
            self.free_pages,
            self.hugepages.saturating_sub(self.full_hugepages).saturating_mul(pages_per_hugepage),
        )
    }

    /// The share of pages that were given back in the hugepages that this happened to; 0 without
    /// such.
    pub fn released_share(&self, pages_per_hugepage: u64) -> f64 {
        share(self.unmapped_pages, self.released_hugepages.saturating_mul(pages_per_hugepage))
    }

    /// The share of pages in use that stand in hugepages which can be one for the hardware, too; 1
    /// if none is in use.
    pub fn hugepageable_share(&self) -> f64 {
        1.0 - share(self.used_pages_in_released, self.used_pages)
    }
}

/// All regions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct RegionSetFigures {
    /// How many there are.
    pub regions: u64,
    /// Hugepages that are backed.
    pub backed_hugepages: u64,
    /// All hugepages.
    pub hugepages: u64,
    /// Hugepages that are backed and wholly free.
    pub backed_free_hugepages: u64,
    /// The fewest of these at any moment since the last release by policy.
    pub least_backed_free_hugepages: u64,
    /// Free pages in backed hugepages.
    pub free_pages: u64,
    /// The first few, those with short free runs first; see [`Self::shown`].
    pub details: [RegionFigures; Self::MOST_SHOWN],
}

impl RegionSetFigures {
    const NONE: Self = Self {
        regions: 0,
        backed_hugepages: 0,
        hugepages: 0,
        backed_free_hugepages: 0,
        least_backed_free_hugepages: 0,
        free_pages: 0,
        details: [RegionFigures::NONE; Self::MOST_SHOWN],
    };

    /// Most regions that are told one by one.
    pub const MOST_SHOWN: usize = 8;

    /// The regions that are told one by one.
    pub fn shown(&self) -> impl Iterator<Item = &RegionFigures> {
        self.details.iter().take(usize::try_from(self.regions).unwrap_or(Self::MOST_SHOWN))
    }

    /// The share of free pages in backed hugepages; 0 without such.
    pub fn free_share(&self, pages_per_hugepage: u64) -> f64 {
        share(self.free_pages, self.backed_hugepages.saturating_mul(pages_per_hugepage))
    }
}

/// The huge allocator, in hugepages unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct HugeAllocatorFigures {
    /// Nodes of address maps in use, the cache's included, as a number.
    pub nodes_used: u64,
    /// Nodes of address maps ever made, as a number.
    pub nodes_created: u64,
    /// The longest free run.
    pub longest_hugepages: u64,
    /// Had from the system.
    pub requested_hugepages: u64,
    /// Of these, not in the allocator.
    pub in_use_hugepages: u64,
    /// Of these, in the allocator.
    pub free_hugepages: u64,
}

impl HugeAllocatorFigures {
    const NONE: Self = Self {
        nodes_used: 0,
        nodes_created: 0,
        longest_hugepages: 0,
        requested_hugepages: 0,
        in_use_hugepages: 0,
        free_hugepages: 0,
    };
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
