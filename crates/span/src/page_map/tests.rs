use super::{root_and_leaves::WIDEST_ADDRESS, *};
use crate::{MetadataArena, SpanPlace, SpanPool};
use std::{collections::BTreeMap, vec::Vec};
use strata_os::{FailingPages, Fault, PageSource, SystemPages};
use strata_size_classes::{Pages4K, Pages8K, Pages32K, Pages256K};

struct Site<P: PageSize> {
    map: PageMap<P>,
    arena: MetadataArena,
    source: SystemPages,
    spans: SpanPool,
}

impl<P: PageSize> Site<P> {
    fn new() -> Self {
        let (arena, source) = (MetadataArena::new(), SystemPages::new());
        Self { map: PageMap::new(), arena, source, spans: SpanPool::new() }
    }

    /// One whose map has a window.
    fn prepared() -> Self {
        let site = Self::new();
        assert!(site.map.prepare(&site.arena, &site.source));
        site
    }

    fn ensure(&self, first: PageId<P>, pages: usize) {
        assert!(self.map.ensure(&self.arena, &self.source, first, PageCount::new(pages)));
    }

    fn span(&self, first: PageId<P>, pages: usize) -> SpanHandle {
        let span = self.spans.allocate_span(&self.arena, &self.source).expect("memory");
        span.set_range(first, PageCount::new(pages));
        span.set_place(SpanPlace::InUse);
        span
    }
}

fn random(number: &mut u64, below: usize) -> usize {
    *number =
        number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*number >> 33).unwrap_or(0) % below
}

/// Enters and removes spans at random around the ends of leaves, and asks about every page after
/// each step.
fn agrees_with_a_model<P: PageSize>(mut number: u64) {
    std::println!("seed {number}");
    let site = Site::<P>::new();
    // The window stretches over the end of a leaf.
    let (window, start) = (300, 5 * LEAF_PAGES - 150);
    site.ensure(PageId::new(start), window);
    let mut entered: BTreeMap<usize, (SpanHandle, bool)> = BTreeMap::new();
    for _ in 0..1500 {
        let at = random(&mut number, window);
        let taken = entered.range(..=at).next_back();
        let inside = taken.filter(|(first, (span, _))| *first + span.pages() > at);
        if let Some((&first, &(span, whole))) = inside {
            let (page, pages) = (PageId::<P>::new(start + first), span.page_count());
            if whole {
                site.map.clear_range(page, pages)
            } else {
                site.map.clear_ends(page, pages)
            }
            entered.remove(&first);
        } else {
            let room = entered.range(at..).next().map_or(window, |(&next, _)| next) - at;
            let pages = 1 + random(&mut number, room.min(40));
            let span = site.span(PageId::new(start + at), pages);
            let whole = random(&mut number, 2) == 0;
            if whole {
                let class = SizeClass::from_raw(u8::try_from(1 + at % 80).unwrap_or(1));
                span.set_class(class);
                site.map.set_range(span, class);
            } else {
                site.map.set_ends(span);
            }
            entered.insert(at, (span, whole));
        }
        check_window(&site, &entered, start, window);
    }
    let mut seen = Vec::new();
    site.map.for_each_span(|span| seen.push(span));
    assert!(seen.iter().eq(entered.values().map(|(span, _)| span)), "spans in order of addresses");
}

fn check_window<P: PageSize>(
    site: &Site<P>,
    entered: &BTreeMap<usize, (SpanHandle, bool)>,
    start: usize,
    window: usize,
) {
    for page in 0..window {
        let holder = entered.range(..=page).next_back().map(|(first, entry)| (*first, *entry));
        let holder = holder.filter(|(first, (span, _))| first + span.pages() > page);
        let expected = holder.filter(|(first, (span, whole))| {
            *whole || page == *first || page == first + span.pages() - 1
        });
        let id = PageId::<P>::new(start + page);
        assert_eq!(site.map.span_of(id), expected.map(|(_, (span, _))| span), "page {page}");
        let class = expected.map_or(SizeClass::NONE, |(_, (span, _))| span.class());
        let within = id.address().value() + P::BYTES - 1;
        assert_eq!(site.map.class_at(within), class);
        assert_eq!(site.map.span_at(within), site.map.span_of(id));
    }
}

#[test]
fn random_entries_agree_with_a_model_for_each_page_size() {
    agrees_with_a_model::<Pages4K>(1);
    agrees_with_a_model::<Pages8K>(2);
    agrees_with_a_model::<Pages32K>(3);
    agrees_with_a_model::<Pages256K>(4);
}

#[test]
fn any_address_may_be_asked_about() {
    let site = Site::<Pages8K>::new();
    let ask = |map: &PageMap<Pages8K>| {
        for shift in 0..64 {
            for address in [1usize << shift, (1 << shift) - 1, usize::MAX - (1 << shift) + 1] {
                assert_eq!(map.span_at(address), None);
                assert!(map.class_at(address).is_none());
            }
        }
    };
    ask(&site.map);
    site.ensure(PageId::new(3), 1);
    ask(&site.map);
}

#[test]
fn pages_outside_of_the_address_space_are_refused() {
    let site = Site::<Pages8K>::new();
    site.ensure(PageId::new(0), 1);
    let before = site.map.stats();
    for (first, pages) in [(usize::MAX, 1), (usize::MAX, 2), (1 << 50, 1), (0, usize::MAX)] {
        let (first, pages) = (PageId::new(first), PageCount::new(pages));
        assert!(!site.map.ensure(&site.arena, &site.source, first, pages), "{first:?} {pages:?}");
    }
    assert_eq!(site.map.stats(), before, "and no leaf is made for them");
}

#[test]
fn the_root_is_as_long_as_addresses_are_wide() {
    let site = Site::<Pages8K>::prepared();
    site.ensure(PageId::new(1), 1);
    let bits = site.source.address_bits().min(WIDEST_ADDRESS);
    let entries = 1u64 << (bits - Pages8K::SHIFT - LEAF_SHIFT);
    let root_bytes = (entries * 8).next_multiple_of(4096);
    assert_eq!(site.map.stats().root_reserved_bytes, root_bytes + Window::<Pages8K>::BYTES as u64);
    let PageMapStats { root_reserved_bytes, leaf_reserved_bytes, .. } = site.map.stats();
    let taken = site.arena.allocated_bytes();
    assert!(taken >= root_reserved_bytes + leaf_reserved_bytes, "{taken} bytes for all of it");
    assert!(!site.map.ensure(
        &site.arena,
        &site.source,
        PageId::new(1 << (bits - Pages8K::SHIFT)),
        PageCount::ONE
    ));
}

#[test]
fn only_what_is_written_is_touched() {
    let site = Site::<Pages8K>::new();
    site.ensure(PageId::new(0), 2 * LEAF_PAGES);
    let empty = site.map.stats();
    assert_eq!((empty.leaves, empty.root_touched_bytes), (2, 4096));
    let span = site.span(PageId::new(100), 10);
    site.map.set_range(span, SizeClass::NONE);
    // One granule for classes and one for spans.
    assert_eq!(site.map.stats().leaf_touched_bytes - empty.leaf_touched_bytes, 2 * 4096);
    site.map.clear_range(PageId::new(100), PageCount::new(10));
    assert_eq!(site.map.stats().leaf_touched_bytes - empty.leaf_touched_bytes, 2 * 4096);
}

#[test]
fn a_granule_of_the_root_is_counted_with_its_first_leaf() {
    let site = Site::<Pages8K>::new();
    let leaves_a_granule = 4096 / 8;
    let touched = |leaf: usize| {
        site.ensure(PageId::new(leaf * LEAF_PAGES), 1);
        site.map.stats().root_touched_bytes
    };
    assert_eq!(touched(leaves_a_granule - 1), 4096);
    assert_eq!(touched(leaves_a_granule - 2), 4096);
    assert_eq!(touched(leaves_a_granule), 2 * 4096);
}

#[test]
fn a_span_over_the_end_of_a_leaf_is_visited_once() {
    let site = Site::<Pages8K>::new();
    site.ensure(PageId::new(0), 2 * LEAF_PAGES);
    let long = site.span(PageId::new(LEAF_PAGES - 3), 10);
    let behind = site.span(PageId::new(LEAF_PAGES + 7), 1);
    site.map.set_range(long, SizeClass::NONE);
    site.map.set_range(behind, SizeClass::NONE);
    let mut seen = Vec::new();
    site.map.for_each_span(|span| seen.push(span));
    assert_eq!(seen, [long, behind]);
}

#[test]
fn trackers_are_kept_for_each_hugepage_apart() {
    fn check<P: PageSize>() {
        let site = Site::<P>::new();
        let pages = PageCount::<P>::PER_HUGEPAGE.get() * 3 + LEAF_PAGES;
        site.ensure(PageId::new(0), pages);
        let hugepages = pages / PageCount::<P>::PER_HUGEPAGE.get();
        let tracker = |index: usize| NonNull::new(core::ptr::without_provenance_mut(index * 8 + 8));
        for index in 0..hugepages {
            assert_eq!(site.map.tracker(Hugepage::new(index)), None);
            site.map.set_tracker(Hugepage::new(index), tracker(index));
        }
        for index in 0..hugepages {
            assert_eq!(site.map.tracker(Hugepage::new(index)), tracker(index));
        }
        site.map.set_tracker(Hugepage::new(1), None);
        assert_eq!(site.map.tracker(Hugepage::new(1)), None);
        assert_eq!(site.map.tracker(Hugepage::new(usize::MAX >> crate::HUGEPAGE_SHIFT)), None);
    }
    check::<Pages4K>();
    check::<Pages8K>();
    check::<Pages32K>();
    check::<Pages256K>();
}

#[test]
fn a_map_that_cannot_grow_says_so_and_grows_later() {
    for call in 1..6 {
        let (arena, source) = (MetadataArena::new(), FailingPages::new(SystemPages::new()));
        let map = PageMap::<Pages8K>::new();
        source.arm(Fault::nth(call));
        let first = PageId::new(7 * LEAF_PAGES);
        let _ = map.ensure(&arena, &source, first, PageCount::ONE);
        source.disarm();
        assert!(map.ensure(&arena, &source, first, PageCount::ONE));
        assert_eq!(map.stats().leaves, 1);
        assert_eq!(map.span_of(first), None);
    }
}

#[test]
fn without_memory_nothing_is_ensured() {
    let (arena, source) = (MetadataArena::new(), FailingPages::new(SystemPages::new()));
    let map = PageMap::<Pages8K>::new();
    source.arm(Fault::always());
    assert!(!map.ensure(&arena, &source, PageId::new(1), PageCount::ONE));
    assert_eq!(map.stats(), PageMapStats::default());
    source.disarm();
    assert!(map.ensure(&arena, &source, PageId::new(1), PageCount::ONE));
}

#[test]
fn threads_that_ensure_and_read_at_once_see_whole_leaves() {
    let site = Site::<Pages8K>::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let site = &site;
            scope.spawn(move || {
                for round in 0..200 {
                    let leaf = round % 50;
                    let first = PageId::new(leaf * LEAF_PAGES + thread * 8 + round / 50);
                    site.ensure(first, 1);
                    let span = site.span(first, 1);
                    site.map.set_ends(span);
                    assert_eq!(site.map.span_of(first), Some(span));
                }
            });
        }
    });
    assert_eq!(site.map.stats().leaves, 50);
    let mut spans = 0;
    site.map.for_each_span(|_| spans += 1);
    assert_eq!(spans, 800);
}
