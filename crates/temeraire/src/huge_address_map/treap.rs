//! The tree behind the map.

use crate::{handle::Handle, huge_range::HugeRange};
use core::cell::Cell;
use strata_span::{Hugepage, HugepageCount, MetadataKind, PoolItem};

/// A treap: a tree by address and a heap by random priority, each node with the longest range of its subtree. So it is
/// as deep as the logarithm of its nodes, whatever order they come in.
/// (Seidel and Aragon, "Randomized search trees", Algorithmica 16, 1996.)
#[derive(Debug)]
pub(super) struct Treap {
    pub(super) root: Option<NodeHandle>,
    /// How many nodes it has.
    pub(super) nodes: usize,
    /// State of the priorities' generator.
    sequence: u64,
}

/// A node of the tree, in the metadata arena.
#[derive(Debug)]
pub(crate) struct Node {
    /// The children and the parent; a node of the store's free list uses `left` alone.
    pub(crate) left: Cell<Option<NodeHandle>>,
    pub(super) right: Cell<Option<NodeHandle>>,
    pub(super) parent: Cell<Option<NodeHandle>>,
    pub(super) first: Cell<Hugepage>,
    pub(super) count: Cell<HugepageCount>,
    /// The longest range in the subtree.
    pub(super) longest: Cell<HugepageCount>,
    free_since_ns: Cell<u64>,
    pub(super) priority: Cell<u32>,
    zeroed: Cell<bool>,
}

pub(crate) type NodeHandle = Handle<Node>;

// SAFETY: 1. zero is an empty cell of each type here. 2. It has no drop and is larger than a
// pointer.
unsafe impl PoolItem for Node {
    const KIND: MetadataKind = MetadataKind::AddressMaps;
}

impl Node {
    pub(crate) fn range(&self) -> HugeRange {
        HugeRange {
            first: self.first.get(),
            count: self.count.get(),
            free_since_ns: self.free_since_ns.get(),
            zeroed: self.zeroed.get(),
        }
    }

    pub(super) fn set_range(&self, range: HugeRange) {
        self.first.set(range.first);
        self.count.set(range.count);
        self.free_since_ns.set(range.free_since_ns);
        self.zeroed.set(range.zeroed);
    }

    fn longest_here(&self) -> HugepageCount {
        let of = |child: Option<NodeHandle>| child.map_or(HugepageCount::ZERO, |c| c.longest.get());
        self.count.get().max(of(self.left.get())).max(of(self.right.get()))
    }
}

impl Treap {
    pub(super) const EMPTY: Self = Self { root: None, nodes: 0, sequence: 0 };

    /// The ranges, by rising address.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = HugeRange> + '_ {
        core::iter::successors(self.root.map(leftmost), |node| successor(*node))
            .map(|node| node.range())
    }

    /// The nodes whose ranges lie just below and above `place`.
    pub(super) fn neighbours(&self, place: Hugepage) -> (Option<NodeHandle>, Option<NodeHandle>) {
        let (mut below, mut above) = (None, None);
        let mut next = self.root;
        while let Some(node) = next {
            if node.first.get() < place {
                below = Some(node);
                next = node.right.get();
            } else {
                above = Some(node);
                next = node.left.get();
            }
        }
        debug_assert!(below.is_none_or(|n| n.range().end() <= place), "ranges overlap");
        (below, above)
    }

    /// Puts a fresh node in.
    pub(super) fn attach(&mut self, node: NodeHandle, range: HugeRange) {
        node.set_range(range);
        node.longest.set(range.count);
        node.priority.set(self.random());
        node.left.set(None);
        node.right.set(None);
        let mut parent = None;
        let mut next = self.root;
        while let Some(at) = next {
            parent = next;
            next = if range.first < at.first.get() { at.left.get() } else { at.right.get() };
        }
        node.parent.set(parent);
        match parent {
            None => self.root = Some(node),
            Some(parent) if range.first < parent.first.get() => parent.left.set(Some(node)),
            Some(parent) => parent.right.set(Some(node)),
        }
        self.nodes += 1;
        Self::update_upwards(node);
        while let Some(parent) = node.parent.get()
            && parent.priority.get() < node.priority.get()
        {
            self.rotate_up(node);
        }
    }

    /// Takes a node out: rotates it down to where it has one child at most, which takes its place.
    pub(super) fn detach(&mut self, node: NodeHandle) {
        while let (Some(left), Some(right)) = (node.left.get(), node.right.get()) {
            self.rotate_up(if left.priority.get() > right.priority.get() { left } else { right });
        }
        let child = node.left.get().or(node.right.get());
        let parent = node.parent.get();
        if let Some(child) = child {
            child.parent.set(parent);
        }
        self.replace_child(parent, node, child);
        if let Some(parent) = parent {
            Self::update_upwards(parent);
        }
        self.nodes -= 1;
    }

    /// Makes a node its parent's parent.
    fn rotate_up(&mut self, node: NodeHandle) {
        let Some(parent) = node.parent.get() else { return };
        let grandparent = parent.parent.get();
        let moved = if parent.left.get() == Some(node) {
            let moved = node.right.replace(Some(parent));
            parent.left.set(moved);
            moved
        } else {
            let moved = node.left.replace(Some(parent));
            parent.right.set(moved);
            moved
        };
        if let Some(moved) = moved {
            moved.parent.set(Some(parent));
        }
        parent.parent.set(Some(node));
        node.parent.set(grandparent);
        self.replace_child(grandparent, parent, Some(node));
        parent.longest.set(parent.longest_here());
        node.longest.set(node.longest_here());
    }

    fn replace_child(
        &mut self,
        parent: Option<NodeHandle>,
        child: NodeHandle,
        by: Option<NodeHandle>,
    ) {
        match parent {
            None => self.root = by,
            Some(parent) if parent.left.get() == Some(child) => parent.left.set(by),
            Some(parent) => parent.right.set(by),
        }
    }

    /// Puts the longest ranges right from a node up to where nothing changes.
    pub(super) fn update_upwards(node: NodeHandle) {
        let mut next = Some(node);
        while let Some(at) = next {
            let longest = at.longest_here();
            if at.longest.replace(longest) == longest && at != node {
                return;
            }
            next = at.parent.get();
        }
    }

    /// A priority (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn random(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.sequence ^ (self.sequence >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 32) as u32
    }
}

#[cfg(test)]
fn leftmost(mut node: NodeHandle) -> NodeHandle {
    while let Some(left) = node.left.get() {
        node = left;
    }
    node
}

#[cfg(test)]
fn successor(node: NodeHandle) -> Option<NodeHandle> {
    if let Some(right) = node.right.get() {
        return Some(leftmost(right));
    }
    let mut child = node;
    while let Some(parent) = child.parent.get() {
        if parent.left.get() == Some(child) {
            return Some(parent);
        }
        child = parent;
    }
    None
}
