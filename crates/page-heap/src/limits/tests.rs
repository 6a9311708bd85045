use super::*;
use strata_os::{ManualClock, SimulatedPages, SystemPages};
use strata_size_classes::Pages8K;
use strata_span::{Ground, PageId};

type Simulated = Ground<Pages8K, SimulatedPages, SystemPages, ManualClock>;

fn ground() -> Simulated {
    let ground = Simulated::new(SimulatedPages::new(), SystemPages::new(), ManualClock::new(1));
    let first = PageId::new(1 << 20);
    assert!(ground.map.ensure(&ground.arena, &ground.metadata, first, PageCount::ONE));
    ground
}

#[test]
fn metadata_counts_as_far_as_it_was_touched() {
    let ground = ground();
    let (taken, untouched) = (ground.arena.allocated_bytes(), ground.map.untouched_bytes());
    assert!(0 < untouched && untouched < taken, "{untouched} of {taken}");
    assert_eq!(limited_bytes(&ground, 1000), 1000 + taken - untouched);
    assert_eq!(limited_bytes(&ground, u64::MAX), u64::MAX);
}

#[test]
fn what_is_above_a_limit_is_rounded_up_to_pages() {
    let pages = |bytes, limit| excess::<Simulated>(bytes, limit).map(PageCount::get);
    assert_eq!(pages(1 << 20, 1 << 20), None);
    assert_eq!(pages(1, 1 << 20), None);
    assert_eq!(pages((1 << 20) + 1, 1 << 20), Some(1));
    assert_eq!(pages((1 << 20) + 8193, 1 << 20), Some(2));
}

#[test]
fn what_was_met_is_counted_and_so_is_what_came_of_it() {
    let ground = ground();
    let above_books = |pages: usize| limited_bytes(&ground, (pages * Pages8K::BYTES) as u64);
    let limits = MemoryLimits { soft_bytes: above_books(10), hard_bytes: above_books(20) };
    let mut figures = LimitFigures { limits, ..LimitFigures::NONE };
    let pages = PageCount::<Pages8K>::new;
    let one = pages(1);
    // Up to a limit nothing is met.
    assert_eq!(figures.soft_excess(&ground, pages(9), one), None);
    assert_eq!(figures.hard_excess(&ground, pages(19), one), None);
    assert!(
        !figures.is_beyond(&ground, pages(9), one) && figures.is_beyond(&ground, pages(10), one)
    );
    assert!(!figures.is_beyond_hard(&ground, pages(19), one));
    assert!(figures.is_beyond_hard(&ground, pages(20), one));
    assert_eq!(figures, LimitFigures { limits, ..LimitFigures::NONE });

    assert_eq!(figures.soft_excess(&ground, pages(12), one), Some(pages(3)));
    // Enough was given back for the soft limit, and then not.
    assert!(!figures.fails(&ground, pages(9), one));
    assert!(!figures.fails(&ground, pages(10), one));
    assert_eq!((figures.soft_hits, figures.soft_successes, figures.hard_hits), (1, 1, 0));

    assert_eq!(figures.hard_excess(&ground, pages(24), one), Some(pages(5)));
    assert!(!figures.fails(&ground, pages(19), one) && figures.fails(&ground, pages(20), one));
    assert_eq!((figures.soft_successes, figures.hard_hits, figures.hard_failures), (1, 1, 1));
    // More in use than the hard limit fails before anything is looked for.
    assert!(!figures.forbids(&ground, pages(19), one) && figures.forbids(&ground, pages(20), one));
    assert_eq!((figures.hard_hits, figures.hard_failures), (2, 2));
}

#[test]
fn a_limit_of_0_is_none() {
    let ground = ground();
    let mut figures = LimitFigures::NONE;
    let (all, one) = (PageCount::<Pages8K>::new(1 << 40), PageCount::ONE);
    assert!(!figures.any() && !figures.is_beyond(&ground, all, one));
    assert!(!figures.forbids(&ground, all, one) && !figures.fails(&ground, all, one));
    assert_eq!(figures, LimitFigures::NONE);
}
