use super::{HugeCache, HugeCacheFigures};
use crate::{
    huge_allocator::HugeAllocator,
    huge_range::HugeRange,
    node_store::NodeStore,
    test_ground::{SECOND_NS, TestGround, ground},
};
use std::vec::Vec;
use strata_os::Seed;
use strata_size_classes::Pages8K;
use strata_span::{HugepageCount, Platform};

/// A cache over an allocator, with a clock that the test moves.
struct Caching {
    ground: TestGround<Pages8K>,
    nodes: NodeStore,
    cache: HugeCache,
    allocator: HugeAllocator,
    now_ns: u64,
    /// Hugepages that had to be backed, and such that were unbacked.
    backed: usize,
    unbacked: usize,
}

impl Caching {
    fn figures(&self) -> HugeCacheFigures {
        let mut figures = HugeCacheFigures::NONE;
        self.cache.fill_in(&mut figures, self.now_ns);
        figures
    }

    fn new() -> Self {
        Self {
            ground: ground(),
            nodes: NodeStore::new(),
            cache: HugeCache::EMPTY,
            allocator: HugeAllocator::new(),
            now_ns: 1000 * SECOND_NS,
            backed: 0,
            unbacked: 0,
        }
    }

    fn allocate(&mut self, count: usize) -> HugeRange {
        let count = HugepageCount::new(count);
        let (ground, nodes) = (&self.ground, &mut self.nodes);
        if let Some(range) = self.cache.allocate(ground, count, 1, nodes, self.now_ns) {
            return range;
        }
        let range = self.allocator.allocate(ground, count, 1, nodes, self.now_ns).unwrap();
        self.cache.note_taken_elsewhere(self.now_ns, count);
        self.backed += count.get();
        range
    }

    fn deallocate(&mut self, range: HugeRange) {
        self.cache.deallocate(&self.ground, range, &mut self.nodes, self.now_ns);
        self.trim(self.cache.limit());
        assert!(self.cache.size() <= self.cache.limit());
        assert!(self.cache.limit().get() >= 10);
    }

    fn trim(&mut self, keep: HugepageCount) {
        while let Some(range) =
            self.cache.take_excess(&self.ground, keep, &mut self.nodes, self.now_ns)
        {
            self.unbacked += range.count.get();
            self.allocator.deallocate(&self.ground, range, &mut self.nodes);
        }
    }

    /// What a periodic release does that wants nothing.
    fn tick(&mut self) {
        self.cache.lower_limit(self.now_ns);
        self.trim(self.cache.limit());
    }

    fn pass(&mut self, ns: u64) {
        self.now_ns += ns;
    }
}

#[test]
fn one_hugepage_that_comes_and_goes_is_backed_once() {
    let mut caching = Caching::new();
    for _ in 0..1000 {
        let range = caching.allocate(1);
        caching.pass(SECOND_NS / 100);
        caching.deallocate(range);
        caching.pass(SECOND_NS / 100);
    }
    assert_eq!((caching.backed, caching.unbacked), (1, 0));
    let figures = caching.figures();
    assert_eq!((figures.hits, figures.misses, figures.overflows), (999, 1, 0));
    assert_eq!(figures.regret_mib_seconds, 20, "2 MiB for half of 20 seconds");
}

#[test]
fn a_dip_that_is_over_soon_costs_little_once_the_cache_has_seen_one() {
    let mut caching = Caching::new();
    let mut live: Vec<_> = (0..1000).map(|_| caching.allocate(1)).collect();
    let mut dip = |caching: &mut Caching| {
        live.drain(700..)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|range| caching.deallocate(range));
        caching.pass(SECOND_NS / 2);
        live.extend((0..300).map(|_| caching.allocate(1)));
        caching.pass(SECOND_NS / 2);
    };
    dip(&mut caching);
    dip(&mut caching);
    caching.backed = 0;
    for _ in 0..20 {
        dip(&mut caching);
    }
    assert!(caching.backed <= 20 * 300 * 7 / 100, "backed {} of 6000", caching.backed);
}

#[test]
fn slow_growth_leaves_the_limit_where_it_is() {
    let mut caching = Caching::new();
    let live: Vec<_> = (0..500)
        .map(|_| {
            caching.pass(SECOND_NS);
            caching.allocate(1)
        })
        .collect();
    assert_eq!(caching.cache.limit().get(), 10);
    for range in live {
        caching.pass(SECOND_NS);
        caching.deallocate(range);
    }
    assert_eq!(caching.cache.limit().get(), 10);
    assert_eq!(caching.cache.size().get(), 10);
}

#[test]
fn a_cache_that_is_not_used_any_more_shrinks() {
    let mut caching = Caching::new();
    let mut random = Seed::from_environment_or(5);
    let mut live: Vec<_> = (0..4000).map(|_| caching.allocate(1)).collect();
    for _ in 0..20 {
        for _ in 0..2000 {
            let range = live.swap_remove(random.below(live.len()));
            caching.deallocate(range);
        }
        caching.pass(SECOND_NS / 4);
        live.extend((0..2000).map(|_| caching.allocate(1)));
        caching.pass(SECOND_NS / 4);
    }
    assert!(caching.cache.limit().get() > 1500, "limit {:?}", caching.cache.limit());
    live.into_iter().for_each(|range| caching.deallocate(range));
    for _ in 0..30 {
        caching.pass(3 * SECOND_NS);
        caching.tick();
    }
    assert!(caching.cache.size().get() <= 25, "{:?} are left", caching.cache.size());
}

#[test]
fn trimming_splits_the_last_range_instead_of_dropping_it_whole() {
    let mut caching = Caching::new();
    let range = caching.allocate(100);
    caching.deallocate(range);
    assert_eq!((caching.cache.size().get(), caching.unbacked), (10, 90));
    assert_eq!(caching.allocator.free().total().get(), 90);
    assert_eq!(caching.nodes.promised(), 0);
}

#[test]
fn usage_and_ranges_are_told_for_the_last_two_seconds() {
    let mut caching = Caching::new();
    let ranges: Vec<_> = (0..8).map(|_| caching.allocate(1)).collect();
    for range in ranges.into_iter().take(5) {
        caching.deallocate(range);
    }
    let figures = caching.figures();
    assert_eq!((figures.usage.least, figures.usage.current, figures.usage.greatest), (0, 3, 8));
    assert_eq!((figures.size.current, figures.size.greatest), (5, 5));
    assert_eq!((figures.off_peak.current, figures.off_peak.greatest), (5, 5));
    caching.pass(10 * SECOND_NS);
    let figures = caching.figures();
    assert_eq!((figures.usage.least, figures.usage.greatest), (3, 3));
    // The history goes back ten minutes, and leaves out where nothing came or went.
    let told = |caching: &Caching| {
        let history = caching.figures().history;
        let epochs = history.epochs.into_iter().filter(|epoch| epoch.number != 0);
        epochs.map(|epoch| (epoch.number, epoch.least, epoch.greatest)).collect::<Vec<_>>()
    };
    let first = told(&caching);
    assert_eq!((first.len(), first[0].1, first[0].2), (1, 0, 8));
    caching.pass(100 * SECOND_NS);
    caching.allocate(2);
    let both = told(&caching);
    assert_eq!((both[1], both[0].1, both[0].2), (first[0], 3, 5));
    assert_eq!(u64::from(both[0].0), caching.now_ns / SECOND_NS + 1);
    caching.pass(590 * SECOND_NS);
    assert_eq!(told(&caching), both[..1]);
    caching.pass(10 * SECOND_NS);
    assert_eq!(told(&caching), []);
    assert_eq!(figures.hit_rate(), 0.0);
    assert_eq!(figures.overflow_rate(), 0.0);
}

#[test]
fn a_clock_that_jumps_does_no_harm() {
    let mut caching = Caching::new();
    let mut random = Seed::from_environment_or(6);
    let mut live = Vec::new();
    for _ in 0..5000 {
        if live.is_empty() || random.below(2) == 0 {
            live.push(caching.allocate(1 + random.below(5)));
        } else {
            let range = live.swap_remove(random.below(live.len()));
            caching.deallocate(range);
        }
        caching.now_ns = [random.below(usize::MAX) as u64, caching.now_ns + 1][random.below(2)];
        let usage: usize = live.iter().map(|range| range.count.get()).sum();
        assert_eq!(caching.cache.usage().get(), usage);
        let figures = caching.figures();
        assert!(figures.usage.least <= figures.usage.current);
        assert!(figures.usage.current <= figures.usage.greatest);
    }
    assert!(caching.ground.map().tracker(strata_span::Hugepage::new(1)).is_none());
}
