use super::render;
use std::string::String;
use strata_os::{ManualClock, SystemPages};
use strata_page_heap::PageHeap;
use strata_size_classes::Pages8K;
use strata_span::Ground;
use strata_temeraire::{
    COARSE_BUCKETS, ComponentBytes, FillerMoment, HISTOGRAM_BUCKETS, HugePageAware, RecentRange,
    RegionFigures, TemeraireFigures, coarse_bounds_of, histogram_bounds_of,
};

static HEAP: HugePageAware<Pages8K> = HugePageAware::EMPTY;

/// The figures of a heap that was never used.
fn nothing() -> TemeraireFigures {
    let ground = Ground::<Pages8K, _, _, _>::new(
        SystemPages::new(),
        SystemPages::new(),
        ManualClock::new(0),
    );
    HEAP.figures(&ground)
}

/// Whether `text` has these lines, one after the other.
fn assert_lines(figures: &TemeraireFigures, lines: &str) {
    let mut text = String::new();
    render(figures, &mut text).expect("written");
    assert!(text.contains(lines), "not in the report:\n{lines}\nthe report:\n{text}");
}

#[test]
fn components_are_padded_as_in_the_sample() {
    let mut figures = nothing();
    // 938.8 MiB are 120 168 free pages.
    figures.components.filler =
        ComponentBytes { used: (19_882 << 21) - (120_168 << 13), free: 120_168 << 13, unmapped: 0 };
    figures.components.cache = ComponentBytes { used: 454 << 21, free: 0, unmapped: 0 };
    figures.components.allocator = ComponentBytes { used: 0, free: 0, unmapped: 577 << 21 };
    figures.filler.counters.donations = 58;
    assert_lines(
        &figures,
        "
Huge page aware allocator components:
------------------------------------------------
HugePageAware: breakdown of used / free / unmapped space:
HugePageAware: filler 38825.2 MiB used,  938.8 MiB free,    0.0 MiB unmapped
HugePageAware: region     0.0 MiB used,    0.0 MiB free,    0.0 MiB unmapped
HugePageAware: cache    908.0 MiB used,    0.0 MiB free,    0.0 MiB unmapped
HugePageAware: alloc      0.0 MiB used,    0.0 MiB free, 1154.0 MiB unmapped

HugePageAware: filler donations 58
",
    );
}

#[test]
fn the_head_of_the_filler_is_that_of_the_sample() {
    let mut figures = nothing();
    let filler = &mut figures.filler;
    filler.hugepages = 19_882;
    filler.full_hugepages = 3_870;
    filler.partial_hugepages = 16_012;
    filler.free_pages = 120_168;
    filler.used_pages = 19_882 * 256 - 120_168;
    assert_lines(
        &figures,
        "\
HugePageFiller: densely pack small requests into hugepages
HugePageFiller: 19882 total, 3870 full, 16012 partial, 0 released (0 partially), 0 quarantined
HugePageFiller: 120168 pages free in 19882 hugepages, 0.0236 free
HugePageFiller: among non-fulls, 0.0293 free
HugePageFiller: 0 used pages in subreleased hugepages (0 of them in partially released)
HugePageFiller: 0 hugepages partially released, 0.0000 released
HugePageFiller: 1.0000 of used pages hugepageable

HugePageFiller: fullness histograms
",
    );
}

/// The coarse buckets' counts in the fine buckets that begin with the same number.
fn fine(coarse: [u32; COARSE_BUCKETS]) -> [u32; HISTOGRAM_BUCKETS] {
    let mut counts = [0; HISTOGRAM_BUCKETS];
    for (bound, count) in coarse_bounds_of(256).iter().zip(coarse) {
        let bucket = histogram_bounds_of(256).iter().position(|fine| fine == bound);
        counts[bucket.expect("each coarse bound is a fine one")] = count;
    }
    counts
}

#[test]
fn histograms_are_those_of_the_sample() {
    let mut figures = nothing();
    let [sparse, dense, ..] = &mut figures.filler.fullness;
    // Those with few objects in a span, and those with many, are told together; so are the fine buckets.
    sparse.free_pages.counts =
        fine([8083, 0, 0, 1, 0, 103, 1, 0, 3, 1, 0, 0, 28, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0]);
    dense.free_pages.counts[1..3].copy_from_slice(&[6, 1]);
    sparse.allocations_less_one.counts = fine([
        8, 7, 10, 10, 12, 15, 12, 2, 0, 2, 17, 166, 42, 6, 20, 48, 398, 1968, 5062, 425, 0, 0, 0, 0,
    ]);
    assert_lines(
        &figures,
        "
HugePageFiller: # of regular hps with a<= # of free pages <b
HugePageFiller: <  0<=  8083 <  1<=     6 <  2<=     1 <  3<=     1 <  4<=     0 < 16<=   103
HugePageFiller: < 32<=     1 < 48<=     0 < 64<=     3 < 80<=     1 < 96<=     0 <112<=     0
HugePageFiller: <128<=    28 <144<=     0 <160<=     0 <176<=     1 <192<=     0 <208<=     0
HugePageFiller: <224<=     2 <240<=     0 <252<=     0 <253<=     0 <254<=     0 <255<=     0

HugePageFiller: # of donated hps with a<= # of free pages <b
",
    );
    assert_lines(
        &figures,
        "
HugePageFiller: # of regular hps with a<= # of allocations <b
HugePageFiller: <  1<=     8 <  2<=     7 <  3<=    10 <  4<=    10 <  5<=    12 < 17<=    15
HugePageFiller: < 33<=    12 < 49<=     2 < 65<=     0 < 81<=     2 < 97<=    17 <113<=   166
HugePageFiller: <129<=    42 <145<=     6 <161<=    20 <177<=    48 <193<=   398 <209<=  1968
HugePageFiller: <225<=  5062 <241<=   425 <253<=     0 <254<=     0 <255<=     0 <256<=     0

HugePageFiller: # of released hps with a<= # of allocations <b
",
    );
}

#[test]
fn the_last_five_minutes_are_told_as_in_the_sample() {
    let mut figures = nothing();
    let peak = FillerMoment {
        used_pages: 1774,
        free_pages: 261,
        unmapped_pages: 13,
        regular_hugepages: 5,
        donated_hugepages: 1,
        partial_hugepages: 0,
        released_hugepages: 2,
    };
    figures.filler.history.at_peak_demand = peak;
    figures.filler.history.at_peak_hugepages = peak;
    assert_lines(
        &figures,
        "
HugePageFiller: time series over 5 min interval

HugePageFiller: minimum free pages: 0 (0 backed)
HugePageFiller: at peak demand: 1774 pages (and 261 free, 13 unmapped)
HugePageFiller: at peak demand: 8 hps (5 regular, 1 donated, 0 partial, 2 released)
HugePageFiller: at peak hps: 1774 pages (and 261 free, 13 unmapped)
HugePageFiller: at peak hps: 8 hps (5 regular, 1 donated, 0 partial, 2 released)

HugeRegionSet:",
    );
}

/// Figures of the reference's newer sample.
#[test]
fn regions_are_told_one_by_one() {
    let mut figures = nothing();
    figures.regions.regions = 1;
    figures.regions.backed_hugepages = 73;
    figures.regions.hugepages = 512;
    figures.regions.free_pages = 5285;
    figures.regions.details[0] = RegionFigures {
        used_bytes: 107_224 << 10,
        free_bytes: 42_280 << 10,
        longest_free_bytes: 903_480 << 10,
        unbacked_bytes: 878 << 20,
        unbacked_bytes_since_start: 44 << 20,
        backed_hugepages: 73,
    };
    assert_lines(
        &figures,
        "
HugeRegionSet: 1 MiB+ allocations best-fit into 1024 MiB slabs
HugeRegionSet: 1 total regions
HugeRegion: 107224 KiB used, 42280 KiB free, 903480 KiB contiguous space, 878 MiB unbacked, 44 MiB unbacked lifetime
HugeRegionSet: 73 hugepages backed out of 512 total
HugeRegionSet: 5285 pages free in backed region, 0.2828 free

",
    );
}

#[test]
fn regions_beyond_those_that_are_told_are_counted() {
    let mut figures = nothing();
    figures.regions.regions = 11;
    assert_lines(&figures, "HugeRegionSet: 3 more regions\n");
}

#[test]
fn cache_and_allocator_are_those_of_the_sample() {
    let mut figures = nothing();
    let cache = &mut figures.cache;
    cache.limit_hugepages = 10;
    (cache.hits, cache.misses) = (53, 947);
    (cache.overflows, cache.fills) = (436, 564);
    cache.fast_unbacked_hugepages = 44_440;
    cache.periodic_unbacked_hugepages = 3_407;
    cache.regret_mib_seconds = 1234;
    cache.usage = RecentRange { least: 20_336, current: 20_336, greatest: 20_336 };
    let allocator = &mut figures.allocator;
    (allocator.nodes_used, allocator.nodes_created) = (5, 10);
    allocator.longest_hugepages = 256;
    allocator.requested_hugepages = 20_913;
    allocator.in_use_hugepages = 20_336;
    allocator.free_hugepages = 577;
    assert_lines(
        &figures,
        "
HugeCache: contains unused, backed hugepage(s)
HugeCache: 0 / 10 hugepages cached / cache limit (0.053 hit rate, 0.436 overflow rate)
HugeCache: 88880 MiB fast unbacked, 6814 MiB periodic
HugeCache: 1234 MiB*s cached since startup
HugeCache: recent usage range: 40672 min - 40672 curr -  40672 max MiB
HugeCache: recent offpeak range: 0 min - 0 curr - 0 max MiB
HugeCache: recent cache range: 0 min - 0 curr - 0 max MiB

HugeAllocator: contiguous, unbacked hugepage(s)
HugeAddressMap: treap 5 / 10 nodes used / created
HugeAddressMap: 256 contiguous hugepages available
HugeAllocator: 20913 requested - 20336 in use = 577 hugepages free

HugePageAware: stats on allocation sizes
",
    );
}
