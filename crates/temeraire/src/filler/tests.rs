use super::{Filled, Filler, FillerKind};
use crate::{
    handle::Handle,
    keeper::Keeper,
    test_ground::{SECOND_NS, TestGround, ground},
    tracker::{FillerSet, HugepageTracker},
};
use std::{boxed::Box, collections::HashMap, vec::Vec};
use strata_os::Seed;
use strata_size_classes::Pages8K;
use strata_span::{Hugepage, PageCount, PageId, Platform, Pool};

type Page = PageId<Pages8K>;

const NOW_NS: u64 = 1000 * SECOND_NS;

/// A filler that gets fresh hugepages 1, 2, 3 and so on.
struct Filling {
    ground: TestGround<Pages8K>,
    pool: Pool<HugepageTracker>,
    filler: Box<Filler<Pages8K>>,
    trackers: HashMap<usize, Handle<HugepageTracker>>,
    made: usize,
}

const fn pages(count: usize) -> PageCount<Pages8K> {
    PageCount::new(count)
}

impl Filling {
    fn new() -> Self {
        Self {
            ground: ground(),
            pool: Pool::new(),
            filler: Box::new(Filler::EMPTY),
            trackers: HashMap::new(),
            made: 0,
        }
    }

    /// Pages of a fresh hugepage.
    fn fresh(&mut self, count: usize, dense: bool, donated: bool) -> Page {
        let place = self.pool.allocate(self.ground.arena(), self.ground.metadata()).unwrap();
        // SAFETY: the arena's memory is never unmapped, and the test has the tracker alone.
        let tracker = unsafe { Handle::new(place) };
        self.made += 1;
        tracker.start(Hugepage::new(self.made), 256, true, false, NOW_NS);
        self.trackers.insert(self.made, tracker);
        let kind = if dense { FillerKind::Dense } else { FillerKind::Sparse };
        let filled = self.filler.contribute(tracker, pages(count), kind, donated, NOW_NS);
        filled.map(|filled| filled.first).unwrap()
    }

    fn allocate(&mut self, count: usize) -> Option<Page> {
        let filled: Option<Filled<Pages8K>> =
            self.filler.allocate(pages(count), PageCount::ONE, FillerKind::Sparse, NOW_NS);
        filled.map(|filled| filled.first)
    }

    fn allocate_dense(&mut self) -> Option<Page> {
        let filled =
            self.filler.allocate(PageCount::ONE, PageCount::ONE, FillerKind::Dense, NOW_NS);
        filled.map(|filled| filled.first)
    }

    fn tracker(&self, page: Page) -> Handle<HugepageTracker> {
        self.trackers[&page.hugepage().number()]
    }

    fn deallocate(&mut self, page: Page, count: usize) -> bool {
        let tracker = self.tracker(page);
        let start = page.index_in_hugepage();
        self.filler.deallocate(tracker, start, pages(count), NOW_NS).is_some()
    }

    /// Gives all free pages of a hugepage back, as a release does.
    fn release(&mut self, page: Page) {
        let tracker = self.tracker(page);
        self.filler.begin_release(tracker, false);
        let runs: Vec<_> = tracker.backed_gaps(1).collect();
        let note = || runs.iter().for_each(|run| tracker.mark_released(run.0, run.1));
        assert!(self.filler.end_release(tracker, note, NOW_NS).is_none());
    }

    fn set_of(&self, page: Page) -> FillerSet {
        self.tracker(page).set.get()
    }
}

#[test]
fn the_smallest_sufficient_longest_run_is_chosen() {
    let mut filling = Filling::new();
    let (wide, narrow) = (filling.fresh(100, false, false), filling.fresh(200, false, false));
    assert_eq!(filling.allocate(20).map(Page::hugepage), Some(narrow.hugepage()));
    assert_eq!(filling.allocate(40).map(Page::hugepage), Some(wide.hugepage()));
    assert_eq!(filling.allocate(117), None);
}

#[test]
fn among_equal_runs_many_allocations_win_over_many_pages() {
    let mut filling = Filling::new();
    let few = filling.fresh(200, false, false);
    let many = filling.fresh(100, false, false);
    for _ in 0..20 {
        filling.filler.begin_release(filling.tracker(few), false);
        let page = filling.allocate(5).unwrap();
        assert_eq!(page.hugepage(), many.hugepage());
        filling.filler.end_release(filling.tracker(few), || {}, NOW_NS);
    }
    assert_eq!(filling.tracker(few).longest_free(), filling.tracker(many).longest_free());
    assert_eq!(filling.allocate(1).map(Page::hugepage), Some(many.hugepage()));
}

#[test]
fn donated_tails_are_used_after_every_regular_hugepage_and_before_a_fresh_one() {
    let mut filling = Filling::new();
    let donated = filling.fresh(250, false, true);
    let regular = filling.fresh(1, false, false);
    assert_eq!(filling.set_of(donated), FillerSet::Donated);
    let fit = filling.allocate(6).unwrap();
    assert_eq!(fit.hugepage(), regular.hugepage(), "however well the donated one fits");
    assert!(filling.allocate(249).is_some());
    assert_eq!(filling.allocate(6).map(Page::hugepage), Some(donated.hugepage()));
    assert_eq!(filling.set_of(donated), FillerSet::Regular, "once it is used it is regular");
}

#[test]
fn broken_hugepages_are_used_last_and_those_with_backed_pages_before_others() {
    let mut filling = Filling::new();
    let (released, partial) = (filling.fresh(10, false, false), filling.fresh(20, false, false));
    let donated = filling.fresh(30, false, true);
    filling.release(released);
    let more = {
        filling.filler.begin_release(filling.tracker(released), false);
        let more = filling.allocate(5).unwrap();
        filling.filler.end_release(filling.tracker(released), || {}, NOW_NS);
        more
    };
    assert_eq!(more.hugepage(), partial.hugepage());
    filling.release(partial);
    assert!(!filling.deallocate(more, 5));
    assert_eq!(filling.set_of(partial), FillerSet::Partial);
    assert_eq!(filling.set_of(released), FillerSet::Released);
    assert_eq!(filling.allocate(1).map(Page::hugepage), Some(donated.hugepage()));
    assert_eq!(filling.allocate(230).map(Page::hugepage), Some(partial.hugepage()));
    assert_eq!(filling.set_of(partial), FillerSet::Released, "its 5 backed pages were taken first");
    assert_eq!(filling.allocate(240).map(Page::hugepage), Some(released.hugepage()));
}

#[test]
fn spans_of_many_objects_have_hugepages_to_themselves() {
    let mut filling = Filling::new();
    filling.fresh(10, false, false);
    filling.fresh(10, false, true);
    assert_eq!(filling.allocate_dense(), None);
    let (dense, fuller) = (filling.fresh(1, true, false), filling.fresh(1, true, false));
    for _ in 0..9 {
        filling.filler.begin_release(filling.tracker(dense), false);
        filling.allocate_dense().unwrap();
        filling.filler.end_release(filling.tracker(dense), || {}, NOW_NS);
    }
    assert_eq!(filling.allocate_dense().map(Page::hugepage), Some(fuller.hugepage()));
    for _ in 0..245 {
        filling.allocate_dense().unwrap();
    }
    assert_eq!(filling.tracker(fuller).unused_pages(), 0);
    assert_eq!(filling.allocate_dense().map(Page::hugepage), Some(dense.hugepage()));
    assert_ne!(filling.allocate(1).map(Page::hugepage), Some(dense.hugepage()));
}

#[test]
fn a_hugepage_comes_back_with_its_last_allocation_and_ends_its_abandoned_pages() {
    let mut filling = Filling::new();
    let head = filling.fresh(100, false, true);
    let other = filling.allocate(10).unwrap();
    assert!(!filling.deallocate(head, 100));
    let tracker = filling.tracker(head);
    filling.filler.abandon(tracker, pages(100));
    assert_eq!(filling.filler.abandoned_pages, 100);
    assert!(filling.deallocate(other, 10));
    assert_eq!(filling.filler.abandoned_pages, 0);
    assert_eq!(filling.filler.totals().all().hugepages, 0);
    assert_eq!(filling.filler.counters.donations, 1);
}

#[test]
fn while_pages_are_on_their_way_to_the_kernel_frees_are_taken_and_nothing_is_handed_out() {
    let mut filling = Filling::new();
    let page = filling.fresh(10, false, false);
    let tracker = filling.tracker(page);
    filling.filler.begin_release(tracker, false);
    assert_eq!(filling.allocate(1), None);
    assert!(!filling.deallocate(page, 10), "it is empty, but must wait");
    assert_eq!(filling.filler.totals().all().free, 256, "all the while it is free");
    let emptied = filling.filler.end_release(tracker, || tracker.mark_released(10, 246), NOW_NS);
    assert_eq!(emptied, Some(tracker));
    assert_eq!((tracker.free_pages(), tracker.released_pages()), (10, 246));
}

#[test]
fn broken_hugepages_are_broken_further_before_others_and_then_the_emptiest_is() {
    let mut filling = Filling::new();
    let places: Vec<_> =
        [200, 50, 120].into_iter().map(|count| filling.fresh(count, false, false)).collect();
    let candidate = |filling: &Filling| filling.filler.release_candidate(1, |_| true);
    assert_eq!(candidate(&filling), Some(filling.tracker(places[1])));
    filling.release(places[1]);
    assert_eq!(filling.filler.counters.broken_hugepages, 1);
    assert_eq!(candidate(&filling), Some(filling.tracker(places[2])));
    filling.release(places[0]);
    // A page of the fullest comes back: it is broken already, so it goes first.
    let part = places[0];
    let tracker = filling.tracker(part);
    let taken = filling.allocate(56 + 80);
    assert_eq!(taken.map(Page::hugepage), Some(places[2].hugepage()));
    let piece = {
        filling.filler.begin_release(filling.tracker(places[2]), false);
        filling.filler.begin_release(filling.tracker(places[1]), false);
        let piece = filling.allocate(3).unwrap();
        filling.filler.end_release(filling.tracker(places[2]), || {}, NOW_NS);
        filling.filler.end_release(filling.tracker(places[1]), || {}, NOW_NS);
        piece
    };
    assert_eq!(piece.hugepage(), part.hugepage());
    assert!(!filling.deallocate(piece, 3));
    assert_eq!(candidate(&filling), Some(tracker));
    assert_eq!(filling.filler.release_candidate(4, |_| true), None, "3 pages are no granule of 4");
    // SAFETY: the note is a tracker that the test holds.
    assert_eq!(unsafe { Keeper::of_note(tracker.place().cast()) }, Keeper::Filler);
}

#[test]
fn totals_are_the_sums_over_all_hugepages_after_every_step() {
    let mut random = Seed::from_environment_or(10);
    let mut filling = Filling::new();
    let mut live: Vec<(Page, usize)> = Vec::new();
    for _ in 0..4000 {
        match random.below(20) {
            0..10 => {
                let (count, dense) = (1 + random.below(60), random.below(3) == 0);
                let count = if dense { 1 } else { count };
                let found = if dense { filling.allocate_dense() } else { filling.allocate(count) };
                let donated = !dense && random.below(4) == 0;
                let page = found.unwrap_or_else(|| filling.fresh(count, dense, donated));
                live.push((page, count));
            }
            10..19 if !live.is_empty() => {
                let (page, count) = live.swap_remove(random.below(live.len()));
                filling.deallocate(page, count);
            }
            _ => {
                if let Some(tracker) = filling.filler.release_candidate(1, |_| true) {
                    filling.release(tracker.hugepage().first_page());
                }
            }
        }
        let all = filling.filler.totals().all();
        assert_eq!(all.used, live.iter().map(|span| span.1).sum::<usize>());
        assert_eq!(all.used + all.free + all.released, 256 * all.hugepages);
        let (mut hugepages, mut free, mut released) = (0, 0, 0);
        filling.filler.for_each_tracker(|tracker| {
            hugepages += 1;
            free += tracker.free_pages();
            released += tracker.released_pages();
            assert!(tracker.allocations() > 0);
        });
        assert_eq!((hugepages, free, released), (all.hugepages, all.free, all.released));
    }
    assert!(filling.filler.counters.broken_hugepages > 0);
}
