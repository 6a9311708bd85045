use super::*;
use std::vec::Vec;
use strata_os::{ManualClock, SystemPages};
use strata_size_classes::Pages8K;
use strata_span::{Ground, SpanPool};

type World = Ground<Pages8K, SystemPages, SystemPages, ManualClock>;

fn world() -> World {
    Ground::new(SystemPages::new(), SystemPages::new(), ManualClock::new(0))
}

/// Spans of `capacity` objects, none of them out.
fn spans<const N: usize>(world: &World, capacity: u32) -> [SpanHandle; N] {
    core::array::from_fn(|_| {
        let span =
            SpanPool::allocate_span(&world.spans, &world.arena, &world.metadata).expect("memory");
        span.set_object_capacity(capacity);
        span
    })
}

#[test]
fn with_few_objects_the_fullest_span_is_exactly_the_fullest() {
    for capacity in 2..=8 {
        let world = world();
        let mut lists = OccupancyLists::new();
        let all: [_; 8] = spans(&world, capacity);
        for (span, out) in all.into_iter().zip(1..capacity) {
            lists.set_objects_out(span, out);
        }
        let mut order = Vec::new();
        while let Some(span) = lists.fullest() {
            order.push(span.objects_out());
            lists.set_objects_out(span, capacity);
        }
        assert_eq!(order, (1..capacity).rev().collect::<Vec<_>>());
        assert_eq!(lists.filled, 0);
    }
}

#[test]
fn with_many_objects_a_span_with_more_out_is_never_behind_one_with_fewer_by_half() {
    for capacity in [9, 16, 17, 64, 100, 1024, 32768] {
        let mut last = usize::MAX;
        for out in 1..capacity {
            let list = OccupancyLists::list_of(capacity, out).unwrap();
            assert!(list <= last, "{out} of {capacity}");
            last = list;
        }
        assert_eq!(OccupancyLists::list_of(capacity, 1), Some(OCCUPANCY_LISTS - 1));
    }
}

#[test]
fn spans_that_are_full_or_empty_are_on_no_list() {
    let world = world();
    let mut lists = OccupancyLists::new();
    let [span] = spans(&world, 100);
    for out in [0, 1, 50, 100, 99, 100, 3, 0] {
        lists.set_objects_out(span, out);
        let listed = usize::from(out != 0 && out != 100);
        assert_eq!(lists.lengths().iter().sum::<usize>(), listed);
        assert_eq!(lists.fullest().is_some(), listed == 1);
        assert_eq!(span.objects_out(), out);
    }
}

#[test]
fn spans_of_one_object_are_never_on_a_list() {
    let world = world();
    let mut lists = OccupancyLists::new();
    let [span] = spans(&world, 1);
    lists.set_objects_out(span, 1);
    assert!(lists.fullest().is_none());
    lists.set_objects_out(span, 0);
    assert!(lists.fullest().is_none());
}

#[test]
fn spans_are_counted_by_the_power_of_two_of_what_is_out() {
    let world = world();
    let mut lists = OccupancyLists::new();
    let all: [_; 4] = spans(&world, 300);
    for (span, out) in all.into_iter().zip([1, 3, 256, 300]) {
        lists.set_objects_out(span, out);
    }
    let counted = |bucket: usize| lists.utilization()[bucket];
    assert_eq!((counted(0), counted(1), counted(8)), (1, 1, 2));
    assert_eq!(lists.utilization().iter().sum::<u32>(), 4);
    for span in all {
        lists.set_objects_out(span, 0);
    }
    assert_eq!(lists.utilization(), [0; UTILIZATION_BUCKETS]);
}

#[test]
fn a_span_is_where_its_objects_say_wherever_it_was_before() {
    for capacity in [1, 2, 8, 9, 16, 17, 40] {
        let world = world();
        let mut lists = OccupancyLists::new();
        let [span] = spans(&world, capacity);
        for before in 0..=capacity {
            for now in 0..=capacity {
                lists.set_objects_out(span, before);
                lists.set_objects_out(span, now);
                let mut lengths = [0; OCCUPANCY_LISTS];
                if let Some(list) = OccupancyLists::list_of(capacity, now) {
                    lengths[list] = 1;
                }
                let mut utilization = [0; UTILIZATION_BUCKETS];
                if let Some(bucket) = now.checked_ilog2() {
                    utilization[bucket as usize] = 1;
                }
                let what = (before, now, capacity);
                assert_eq!(
                    (lists.lengths(), lists.utilization()),
                    (lengths, utilization),
                    "{what:?}"
                );
            }
        }
    }
}
