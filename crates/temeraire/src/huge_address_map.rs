//! Ranges of hugepages by address.

mod treap;

use crate::{huge_range::HugeRange, node_store::NodeStore};
use strata_span::{Hugepage, HugepageCount, Platform};
use treap::Treap;
pub(crate) use treap::{Node, NodeHandle};

/// Disjoint ranges of hugepages.
///
/// All operations take O(log n) expected time; ranges that meet become one. Nodes come from a
/// [`NodeStore`] that has promised them, so that an insertion cannot fail.
#[derive(Debug)]
pub(crate) struct HugeAddressMap {
    tree: Treap,
    total: HugepageCount,
}

impl HugeAddressMap {
    /// Ranges that are long enough, and that a search for an aligned place looks at when the ones that fit best have none.
    const ALIGNED_LOOKS: usize = 64;

    pub(crate) const EMPTY: Self = Self { tree: Treap::EMPTY, total: HugepageCount::ZERO };

    /// How many ranges it has.
    #[cfg(test)]
    pub(crate) const fn ranges(&self) -> usize {
        self.tree.nodes
    }

    /// How many hugepages its ranges have together.
    pub(crate) const fn total(&self) -> HugepageCount {
        self.total
    }

    /// The longest range.
    pub(crate) fn longest(&self) -> HugepageCount {
        self.tree.root.map_or(HugepageCount::ZERO, |root| root.longest.get())
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
        let (below, above) = self.tree.neighbours(range.first);
        let joins =
            |low: &HugeRange, high: &HugeRange| low.end() == high.first && may_merge(low, high);
        let below = below.filter(|below| joins(&below.range(), &range));
        let above = above.filter(|above| joins(&range, &above.range()));
        match (below, above) {
            (Some(below), Some(above)) => {
                let merged = below.range().joined(range).joined(above.range());
                self.tree.detach(above);
                nodes.put_back(above);
                nodes.waive();
                below.set_range(merged);
                Treap::update_upwards(below);
            }
            (Some(below), None) => {
                nodes.waive();
                below.set_range(below.range().joined(range));
                Treap::update_upwards(below);
            }
            (None, Some(above)) => {
                nodes.waive();
                above.set_range(range.joined(above.range()));
                Treap::update_upwards(above);
            }
            (None, None) => {
                if let Some(node) = nodes.redeem() {
                    self.tree.attach(node, range);
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
        let mut next = self.tree.root.filter(|root| root.longest.get() >= count);
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
            find_aligned_under(self.tree.root?, count, align, &mut looks)
        })
    }

    /// The node whose range begins with `first`.
    pub(crate) fn beginning_at(&self, first: Hugepage) -> Option<NodeHandle> {
        let (_, from_here_on) = self.tree.neighbours(first);
        from_here_on.filter(|node| node.first.get() == first)
    }

    /// The range that holds `hugepage`.
    pub(crate) fn holding(&self, hugepage: Hugepage) -> Option<HugeRange> {
        Some(self.node_holding(hugepage)?.range())
    }

    /// The node whose range holds `hugepage`.
    pub(crate) fn node_holding(&self, hugepage: Hugepage) -> Option<NodeHandle> {
        let (mut found, mut next) = (None, self.tree.root);
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
                self.tree.detach(node);
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
                Treap::update_upwards(node);
                self.tree.attach(spare, back);
            }
            (left, _) => {
                if !nodes.promise(platform) {
                    return None;
                }
                node.set_range(if left { front } else { back });
                Treap::update_upwards(node);
            }
        }
        self.total = self.total.saturating_sub(count);
        Some(taken)
    }

    /// The ranges, by rising address.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = HugeRange> + '_ {
        self.tree.iter()
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
mod tests;
