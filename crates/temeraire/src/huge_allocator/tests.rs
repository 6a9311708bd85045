use super::HugeAllocator;
use crate::{
    huge_range::HugeRange,
    node_store::NodeStore,
    test_ground::{TestGround, ground},
};
use std::vec::Vec;
use strata_os::{CallKinds, Fault, Seed};
use strata_size_classes::Pages8K;
use strata_span::HugepageCount;

struct Allocating {
    ground: TestGround<Pages8K>,
    nodes: NodeStore,
    allocator: HugeAllocator,
}

impl Allocating {
    fn new() -> Self {
        Self { ground: ground(), nodes: NodeStore::new(), allocator: HugeAllocator::new() }
    }

    fn allocate(&mut self, count: usize, align: usize) -> Option<HugeRange> {
        let count = HugepageCount::new(count);
        self.allocator.allocate(&self.ground, count, align, &mut self.nodes, 0)
    }

    fn deallocate(&mut self, range: HugeRange) {
        self.allocator.deallocate(&self.ground, range, &mut self.nodes);
    }
}

#[test]
fn the_system_is_not_asked_while_something_fits() {
    let mut random = Seed::from_environment_or(7);
    let mut allocating = Allocating::new();
    let mut live: Vec<HugeRange> = Vec::new();
    for _ in 0..3000 {
        if live.is_empty() || random.below(5) < 2 {
            let count = 1 + random.below(100);
            let (longest, before) =
                (allocating.allocator.free().longest().get(), allocating.allocator.requested());
            live.push(allocating.allocate(count, 1).unwrap());
            assert_eq!(allocating.allocator.requested() > before, longest < count);
        } else {
            let range = live.swap_remove(random.below(live.len()));
            allocating.deallocate(range);
        }
        let out: usize = live.iter().map(|range| range.count.get()).sum();
        let held = allocating.allocator.requested().get() - out;
        assert_eq!(allocating.allocator.free().total().get(), held);
        assert_eq!(allocating.nodes.promised(), live.len(), "each range out has its promise");
    }
}

#[test]
fn aligned_runs_leave_both_ends_behind() {
    let mut allocating = Allocating::new();
    let one = allocating.allocate(1, 1).unwrap();
    let aligned = allocating.allocate(3, 8).unwrap();
    assert_eq!(aligned.first.number() % 8, 0);
    assert_eq!(allocating.allocator.requested().get(), 1 + 3 + 7);
    assert_eq!(allocating.allocator.free().total().get(), 7);
    allocating.deallocate(aligned);
    allocating.deallocate(one);
    assert_eq!(allocating.allocator.free().ranges(), 1, "all is one range again");
    let again = allocating.allocate(3, 8).unwrap();
    assert_eq!(again.first.number() % 8, 0);
    assert_eq!(allocating.allocator.requested().get(), 1 + 3 + 7);
}

#[test]
fn what_the_source_refuses_is_not_counted() {
    let mut allocating = Allocating::new();
    allocating.ground.source.arm(Fault::always().of(CallKinds::RESERVE));
    assert_eq!(allocating.allocate(5, 1), None);
    assert_eq!(allocating.allocator.requested(), HugepageCount::ZERO);
    assert_eq!(allocating.nodes.promised(), 0);
    allocating.ground.source.disarm();
    assert!(allocating.allocate(5, 1).is_some());
}
