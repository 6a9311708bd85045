use super::{HugeAddressMap, NodeHandle};
use crate::{
    huge_range::HugeRange,
    node_store::NodeStore,
    test_ground::{TestGround, ground},
};
use std::collections::BTreeMap;
use strata_os::Seed;
use strata_size_classes::Pages8K;
use strata_span::{Hugepage, HugepageCount};

fn range(first: usize, count: usize) -> HugeRange {
    HugeRange {
        first: Hugepage::new(first),
        count: HugepageCount::new(count),
        free_since_ns: 0,
        zeroed: true,
    }
}

struct Map {
    ground: TestGround<Pages8K>,
    nodes: NodeStore,
    map: HugeAddressMap,
}

impl Map {
    fn new() -> Self {
        Self { ground: ground(), nodes: NodeStore::new(), map: HugeAddressMap::EMPTY }
    }

    fn insert(&mut self, range: HugeRange) {
        assert!(self.nodes.promise(&self.ground));
        self.map.insert(range, &mut self.nodes, |_, _| true);
    }

    fn take(&mut self, count: usize, align: usize) -> Option<HugeRange> {
        let count = HugepageCount::new(count);
        let (node, first) = self.map.find_aligned(count, align)?;
        let taken = self.map.take(&self.ground, node, first, count, &mut self.nodes)?;
        // The promise that came with it is not needed: the test keeps nothing.
        self.nodes.waive();
        Some(taken)
    }

    /// Checks the order by address, the heap by priority and the longest ranges; says how many
    /// nodes there are.
    fn check(&self) -> usize {
        fn visit(node: Option<NodeHandle>, parent: Option<NodeHandle>) -> (usize, usize) {
            let Some(node) = node else { return (0, 0) };
            assert_eq!(node.parent.get(), parent);
            assert!(parent.is_none_or(|parent| parent.priority.get() >= node.priority.get()));
            let (left, longest_left) = visit(node.left.get(), Some(node));
            let (right, longest_right) = visit(node.right.get(), Some(node));
            let longest = node.count.get().get().max(longest_left).max(longest_right);
            assert_eq!(node.longest.get().get(), longest);
            (left + right + 1, longest)
        }
        let (nodes, longest) = visit(self.map.tree.root, None);
        assert_eq!(self.map.longest().get(), longest);
        assert_eq!(self.map.ranges(), nodes);
        assert_eq!(self.nodes.used(), nodes, "one node a range");
        assert_eq!(self.nodes.promised(), 0);
        nodes
    }
}

#[test]
fn a_random_program_leaves_the_ranges_of_a_plain_map() {
    let mut random = Seed::from_environment_or(4);
    let (mut map, mut free) = (Map::new(), [false; 400]);
    for step in 0..6000 {
        if random.below(2) == 0 {
            let first = random.below(400);
            let room = free[first..].iter().take_while(|free| !**free).count();
            if room == 0 {
                continue;
            }
            let count = 1 + random.below(room.min(12));
            map.insert(range(first, count));
            free[first..first + count].fill(true);
        } else {
            let (count, align) = (1 + random.below(9), 1 << random.below(3));
            match map.take(count, align) {
                Some(taken) => {
                    let first = taken.first.number();
                    assert_eq!(first % align, 0);
                    assert!(free[first..first + count].iter().all(|free| *free));
                    free[first..first + count].fill(false);
                }
                None => {
                    let run = |start: usize| free[start..].iter().take_while(|free| **free).count();
                    let enough = count + align - 1;
                    assert!((0..400).all(|start| run(start) < enough), "there was room");
                }
            }
        }
        let mut expected = BTreeMap::new();
        for (index, _) in free.iter().enumerate().filter(|(_, free)| **free) {
            match expected.last_entry() {
                Some(mut last) if *last.key() + *last.get() == index => *last.get_mut() += 1,
                _ => drop(expected.insert(index, 1)),
            }
        }
        let ranges: BTreeMap<_, _> =
            map.map.iter().map(|range| (range.first.number(), range.count.get())).collect();
        assert_eq!(ranges, expected, "step {step}");
        assert_eq!(map.check(), expected.len());
        assert_eq!(map.map.total().get(), free.iter().filter(|free| **free).count());
    }
}

#[test]
fn a_range_between_two_others_makes_one_of_three_and_gives_a_node_back() {
    let mut map = Map::new();
    map.insert(range(0, 10));
    map.insert(range(20, 10));
    assert_eq!((map.check(), map.nodes.created()), (2, 2));
    map.insert(range(10, 10));
    assert_eq!((map.check(), map.map.total().get()), (1, 30));
    map.insert(range(100, 1));
    map.insert(range(200, 1));
    assert_eq!((map.check(), map.nodes.created()), (3, 3), "nodes are used again");
}

#[test]
fn ranges_that_may_not_be_merged_stay_apart() {
    let mut map = Map::new();
    map.insert(range(0, 10));
    assert!(map.nodes.promise(&map.ground));
    map.map.insert(range(10, 10), &mut map.nodes, |low, _| low.first.number() != 0);
    assert_eq!(map.check(), 2);
    assert_eq!(map.take(11, 1), None);
}

#[test]
fn merged_ranges_have_the_mean_age_and_read_as_zero_only_if_both_did() {
    let mut map = Map::new();
    map.insert(HugeRange { free_since_ns: 1_000, zeroed: false, ..range(0, 30) });
    map.insert(HugeRange { free_since_ns: 5_000, ..range(30, 10) });
    let merged = map.map.iter().next().unwrap();
    assert_eq!((merged.free_since_ns, merged.zeroed), (2_000, false));
}

#[test]
fn an_exact_fit_is_taken_before_a_longer_range_is_cut() {
    let mut map = Map::new();
    map.insert(range(0, 50));
    map.insert(range(100, 7));
    map.insert(range(200, 500));
    assert_eq!(map.take(7, 1).map(|range| range.first.number()), Some(100));
}

#[test]
fn the_depth_grows_with_the_logarithm_of_the_ranges() {
    fn depth(node: Option<NodeHandle>) -> usize {
        node.map_or(0, |node| 1 + depth(node.left.get()).max(depth(node.right.get())))
    }
    let mut map = Map::new();
    for index in 0..100_000 {
        map.insert(range(2 * index, 1));
    }
    assert!(depth(map.map.tree.root) < 60, "rising addresses are the worst case of plain trees");
}

#[test]
fn an_aligned_place_is_found_where_alignment_is_all_that_matters() {
    let mut map = Map::new();
    // Of twenty ranges of three hugepages one begins with a multiple of 64, and none has room for any alignment.
    (0..20).for_each(|index| map.insert(range(64 * index + usize::from(index != 13), 3)));
    assert_eq!(map.take(3, 64).map(|taken| taken.first), Some(Hugepage::new(64 * 13)));
    assert_eq!(map.take(3, 64), None);
    map.check();
}
