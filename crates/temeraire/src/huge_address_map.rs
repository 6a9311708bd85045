//! Ranges of hugepages by address.

use crate::{handle::Handle, node_store::NodeStore};
use core::cell::Cell;
use strata_span::{Hugepage, HugepageCount, MetadataKind, Platform, PoolItem};

/// A run of hugepages that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HugeRange {
    pub(crate) first: Hugepage,
    pub(crate) count: HugepageCount,
    /// When it became free; where runs were merged, their mean.
    pub(crate) free_since_ns: u64,
    /// Whether all of it reads as zero.
    pub(crate) zeroed: bool,
}

impl HugeRange {
    /// The hugepage behind the last.
    pub(crate) fn end(&self) -> Hugepage {
        self.first + self.count
    }

    /// Both ranges as one; they meet.
    fn joined(self, upper: Self) -> Self {
        let (low, high) = (self.count.get() as u64, upper.count.get() as u64);
        let (early, late) = if self.free_since_ns <= upper.free_since_ns {
            (self.free_since_ns, upper.free_since_ns)
        } else {
            (upper.free_since_ns, self.free_since_ns)
        };
        let later_share = if early == self.free_since_ns { high } else { low };
        let step = (late - early) / (low + high) * later_share;
        Self {
            first: self.first,
            count: self.count + upper.count,
            free_since_ns: early + step,
            zeroed: self.zeroed && upper.zeroed,
        }
    }
}

/// A node of the map, in the metadata arena.
#[derive(Debug)]
pub(crate) struct Node {
    /// The children and the parent; a node of the store's free list uses `left` alone.
    pub(crate) left: Cell<Option<NodeHandle>>,
    right: Cell<Option<NodeHandle>>,
    parent: Cell<Option<NodeHandle>>,
    first: Cell<Hugepage>,
    count: Cell<HugepageCount>,
    /// The longest range in the subtree.
    longest: Cell<HugepageCount>,
    free_since_ns: Cell<u64>,
    priority: Cell<u32>,
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

    fn set_range(&self, range: HugeRange) {
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

/// Disjoint ranges of hugepages in a treap: a tree by address and a heap by random priority, each
/// node with the longest range of its subtree.
///
/// All operations take O(log n) expected time; ranges that meet become one. Nodes come from a
/// [`NodeStore`] that has promised them, so that an insertion cannot fail.
/// (Seidel and Aragon, "Randomized search trees", Algorithmica 16, 1996.)
#[derive(Debug)]
pub(crate) struct HugeAddressMap {
    root: Option<NodeHandle>,
    ranges: usize,
    total: HugepageCount,
    /// State of the priorities' generator.
    sequence: u64,
}

impl HugeAddressMap {
    /// Ranges that are long enough, and that a search for an aligned place looks at when the ones that fit best have none.
    const ALIGNED_LOOKS: usize = 64;

    pub(crate) const EMPTY: Self =
        Self { root: None, ranges: 0, total: HugepageCount::ZERO, sequence: 0 };

    /// How many ranges it has.
    #[cfg(test)]
    pub(crate) const fn ranges(&self) -> usize {
        self.ranges
    }

    /// How many hugepages its ranges have together.
    pub(crate) const fn total(&self) -> HugepageCount {
        self.total
    }

    /// The longest range.
    pub(crate) fn longest(&self) -> HugepageCount {
        self.root.map_or(HugepageCount::ZERO, |root| root.longest.get())
    }

    /// Puts a range in, which meets no hugepage of another, and merges it with its neighbours where
    /// `may_merge` allows the lower and the upper one to become one. Uses up one promise of the
    /// store.
    pub(crate) fn insert(
        &mut self,
        range: HugeRange,
        nodes: &mut NodeStore,
        may_merge: impl Fn(&HugeRange, &HugeRange) -> bool,
    ) {
        self.total += range.count;
        let (below, above) = self.neighbours(range.first);
        let joins =
            |low: &HugeRange, high: &HugeRange| low.end() == high.first && may_merge(low, high);
        let below = below.filter(|below| joins(&below.range(), &range));
        let above = above.filter(|above| joins(&range, &above.range()));
        match (below, above) {
            (Some(below), Some(above)) => {
                let merged = below.range().joined(range).joined(above.range());
                self.detach(above);
                nodes.put_back(above);
                nodes.waive();
                below.set_range(merged);
                Self::update_upwards(below);
            }
            (Some(below), None) => {
                nodes.waive();
                below.set_range(below.range().joined(range));
                Self::update_upwards(below);
            }
            (None, Some(above)) => {
                nodes.waive();
                above.set_range(range.joined(above.range()));
                Self::update_upwards(above);
            }
            (None, None) => {
                if let Some(node) = nodes.redeem() {
                    self.attach(node, range);
                }
            }
        }
    }

    /// A node whose range has at least `count` hugepages; none if no range has.
    ///
    /// It follows one path and keeps the best that it meets: neither the best fit, which would
    /// take linear time, nor the first.
    pub(crate) fn find_fit(&self, count: HugepageCount) -> Option<NodeHandle> {
        let mut best: Option<NodeHandle> = None;
        let mut next = self.root.filter(|root| root.longest.get() >= count);
        while let Some(node) = next {
            let length = node.count.get();
            if length >= count && best.is_none_or(|best| length < best.count.get()) {
                best = Some(node);
                if length == count {
                    break;
                }
            }
            let able = |child: &NodeHandle| child.longest.get() >= count;
            next = match (node.left.get().filter(able), node.right.get().filter(able)) {
                (Some(left), Some(right)) => {
                    let key = |child: NodeHandle| (child.count.get(), child.longest.get());
                    Some(if key(left) <= key(right) { left } else { right })
                }
                (left, right) => left.or(right),
            };
        }
        best
    }

    /// A place for `count` hugepages at a multiple of `align` (a power of two): the node, and the first of them.
    /// Where alignment is all that matters it may miss one behind [`Self::ALIGNED_LOOKS`] others that are long
    /// enough.
    pub(crate) fn find_aligned(
        &self,
        count: HugepageCount,
        align: usize,
    ) -> Option<(NodeHandle, Hugepage)> {
        let place = self.find_fit(count).and_then(|node| aligned_in(node, count, align));
        if place.is_some() || align <= 1 {
            return place;
        }
        let any = HugepageCount::new(count.get().checked_add(align - 1)?);
        let roomy = self.find_fit(any).and_then(|node| aligned_in(node, count, align));
        roomy.or_else(|| {
            let mut looks = Self::ALIGNED_LOOKS;
            find_aligned_under(self.root?, count, align, &mut looks)
        })
    }

    /// The node whose range begins with `first`.
    pub(crate) fn beginning_at(&self, first: Hugepage) -> Option<NodeHandle> {
        let (_, from_here_on) = self.neighbours(first);
        from_here_on.filter(|node| node.first.get() == first)
    }

    /// The range that holds `hugepage`.
    pub(crate) fn holding(&self, hugepage: Hugepage) -> Option<HugeRange> {
        Some(self.node_holding(hugepage)?.range())
    }

    /// The node whose range holds `hugepage`.
    pub(crate) fn node_holding(&self, hugepage: Hugepage) -> Option<NodeHandle> {
        let (mut found, mut next) = (None, self.root);
        while let Some(node) = next {
            let below = node.first.get() <= hugepage;
            found = if below { Some(node) } else { found };
            next = if below { node.right.get() } else { node.left.get() };
        }
        found.filter(|node| hugepage < node.range().end())
    }

    /// Takes `count` hugepages from `first` out of a node's range; none if there is no memory for
    /// what that needs. With them comes a promise: that a node will be there for their return.
    pub(crate) fn take<E: Platform>(
        &mut self,
        platform: &E,
        node: NodeHandle,
        first: Hugepage,
        count: HugepageCount,
        nodes: &mut NodeStore,
    ) -> Option<HugeRange> {
        let range = node.range();
        let taken = HugeRange { first, count, ..range };
        debug_assert!(first >= range.first && taken.end() <= range.end(), "not in the range");
        let front = HugeRange { count: first - range.first, ..range };
        let back = HugeRange { first: taken.end(), count: range.end() - taken.end(), ..range };
        match (front.count > HugepageCount::ZERO, back.count > HugepageCount::ZERO) {
            (false, false) => {
                self.detach(node);
                nodes.put_back_promised(node);
            }
            (true, true) => {
                let mut promised = nodes.promise(platform);
                if promised && !nodes.promise(platform) {
                    nodes.waive();
                    promised = false;
                }
                let spare = if promised { nodes.redeem() } else { None }?;
                node.set_range(front);
                Self::update_upwards(node);
                self.attach(spare, back);
            }
            (left, _) => {
                if !nodes.promise(platform) {
                    return None;
                }
                node.set_range(if left { front } else { back });
                Self::update_upwards(node);
            }
        }
        self.total = self.total.saturating_sub(count);
        Some(taken)
    }

    /// The ranges, by rising address.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = HugeRange> + '_ {
        core::iter::successors(self.root.map(leftmost), |node| successor(*node))
            .map(|node| node.range())
    }

    /// The nodes whose ranges lie just below and above `place`.
    fn neighbours(&self, place: Hugepage) -> (Option<NodeHandle>, Option<NodeHandle>) {
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
    fn attach(&mut self, node: NodeHandle, range: HugeRange) {
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
        self.ranges += 1;
        Self::update_upwards(node);
        while let Some(parent) = node.parent.get()
            && parent.priority.get() < node.priority.get()
        {
            self.rotate_up(node);
        }
    }

    /// Takes a node out: rotates it down to where it has one child at most, which takes its place.
    fn detach(&mut self, node: NodeHandle) {
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
        self.ranges -= 1;
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
    fn update_upwards(node: NodeHandle) {
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

/// A multiple of `align` in a node's range with room for `count` hugepages.
fn aligned_in(
    node: NodeHandle,
    count: HugepageCount,
    align: usize,
) -> Option<(NodeHandle, Hugepage)> {
    let range = node.range();
    let first = Hugepage::new(range.first.number().checked_next_multiple_of(align)?);
    (first + count <= range.end()).then_some((node, first))
}

/// The same in any range of a subtree, as far as `looks` nodes tell. As deep as the tree.
#[unsafe(link_section = ".text_rarely")]
fn find_aligned_under(
    node: NodeHandle,
    count: HugepageCount,
    align: usize,
    looks: &mut usize,
) -> Option<(NodeHandle, Hugepage)> {
    if node.longest.get() < count || *looks == 0 {
        return None;
    }
    *looks -= 1;
    let mut under = |child: Option<NodeHandle>| find_aligned_under(child?, count, align, looks);
    aligned_in(node, count, align)
        .or_else(|| under(node.left.get()))
        .or_else(|| under(node.right.get()))
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

#[cfg(test)]
mod tests;
