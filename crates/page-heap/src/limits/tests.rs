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
