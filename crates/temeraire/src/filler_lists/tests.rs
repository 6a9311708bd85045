use super::{FillerLists, PageLists, SparseLists};
use crate::{
    handle::Handle,
    test_ground::ground,
    tracker::{FillerSet, HugepageTracker},
};
use std::{boxed::Box, vec::Vec};
use strata_os::Seed;
use strata_size_classes::Pages8K;
use strata_span::{Platform, Pool};

fn trackers(count: usize) -> Vec<Handle<HugepageTracker>> {
    let ground = ground::<Pages8K>();
    let pool = Pool::<HugepageTracker>::new();
    let place = || pool.allocate(ground.arena(), ground.metadata()).unwrap();
    // SAFETY: the arena's memory is never unmapped, and the test has the trackers alone.
    (0..count).map(|_| unsafe { Handle::new(place()) }).collect()
}

#[test]
fn the_first_list_that_has_something_is_found_from_any_place() {
    let mut random = Seed::from_environment_or(3);
    let mut lists = Box::new(SparseLists::EMPTY);
    let mut idle = trackers(64);
    let mut listed: Vec<(usize, Handle<HugepageTracker>)> = Vec::new();
    for _ in 0..4000 {
        if idle.is_empty() || (!listed.is_empty() && random.below(2) == 0) {
            let (_, tracker) = listed.swap_remove(random.below(listed.len()));
            lists.remove(tracker);
            idle.push(tracker);
        } else if let Some(tracker) = idle.pop() {
            let list = random.below(4096);
            lists.insert(tracker, FillerSet::Regular, list);
            listed.push((list, tracker));
        }
        let from = random.below(4096);
        let expected = listed.iter().map(|entry| entry.0).filter(|list| *list >= from).min();
        let found = lists.first_from(from).map(|tracker| usize::from(tracker.list.get()));
        assert_eq!(found, expected);
        let backwards: Vec<_> = lists.backwards().map(|tracker| tracker.list.get()).collect();
        assert!(backwards.is_sorted_by(|one, next| one >= next), "from the last list to the first");
        assert_eq!(backwards.len(), listed.len());
    }
}

#[test]
fn within_a_list_the_last_that_came_is_the_first() {
    let mut lists = FillerLists::<64, 1>::EMPTY;
    let trackers = trackers(3);
    for tracker in &trackers {
        lists.insert(*tracker, FillerSet::Regular, 63);
    }
    assert_eq!(lists.first_from(0), Some(trackers[2]));
    lists.remove(trackers[1]);
    let order: Vec<_> = lists.backwards().collect();
    assert_eq!(order, [trackers[2], trackers[0]]);
    lists.remove(trackers[2]);
    lists.remove(trackers[0]);
    assert_eq!(lists.first_from(0), None);
    assert_eq!(lists.first_from(64), None);
}

#[test]
fn each_list_has_a_place_of_its_own_and_those_of_empty_hugepages_come_first() {
    let mut places: Vec<_> = (0..4096).map(SparseLists::place).collect();
    // Of a hugepage of 256 pages, with 64 lists for each eighth page of the longest free run.
    assert_eq!(places.get(2047), Some(&0));
    assert!((1984..2048).all(|list| SparseLists::place(list) < 64));
    places.sort_unstable();
    assert!(places.into_iter().eq(0..4096));
    let mut places: Vec<_> = (0..512).map(PageLists::place).collect();
    assert_eq!(places.get(255), Some(&0));
    places.sort_unstable();
    assert!(places.into_iter().eq(0..512));
    assert_eq!(FillerLists::<64, 1>::place(31), 0);
}
