//! Spans in order of length and address.

use crate::SpanHandle;

/// A set of spans that finds the shortest one of at least some length, the lowest among equals.
///
/// A treap (Seidel and Aragon, *Randomized search trees*, 1996) whose nodes are the spans
/// themselves, so that entering one never needs memory. Priorities are a hash of the first page.
/// All operations take O(log n) expected, and no recursion. A span may be on a
/// [`SpanList`](crate::SpanList) at the same time; while it is in a tree, the words for its objects
/// (map and counts) hold its children, and its range must not change.
///
/// The tree's owner guards it, as `&mut` says.
#[derive(Debug, Default)]
pub struct SpanTree {
    root: Option<SpanHandle>,
    length: usize,
}

/// A place that a subtree hangs from.
#[derive(Clone, Copy)]
enum Branch {
    Root,
    Low(SpanHandle),
    High(SpanHandle),
}

impl SpanTree {
    /// An empty set.
    pub const fn new() -> Self {
        Self { root: None, length: 0 }
    }

    /// How many spans are in it.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether no span is in it.
    pub const fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The shortest span of at least `pages` pages; of several, the one at the lowest address.
    pub fn best_fit(&self, pages: usize) -> Option<SpanHandle> {
        let (mut best, mut next) = (None, self.root);
        while let Some(span) = next {
            if span.pages() >= pages {
                best = Some(span);
                next = span.low_child();
            } else {
                next = span.high_child();
            }
        }
        best
    }

    /// The span that comes after one of the tree: the next higher of its length, else the lowest of the next length.
    pub fn after(&self, span: SpanHandle) -> Option<SpanHandle> {
        let (mut best, mut next) = (None, self.root);
        while let Some(node) = next {
            if key(node) > key(span) {
                best = Some(node);
                next = node.low_child();
            } else {
                next = node.high_child();
            }
        }
        best
    }

    /// The longest span, of equals the highest.
    pub fn longest(&self) -> Option<SpanHandle> {
        core::iter::successors(self.root, |span| span.high_child()).last()
    }

    /// Puts a span in that is in no tree.
    #[unsafe(link_section = ".text_rarely")]
    pub fn insert(&mut self, span: SpanHandle) {
        let mut branch = Branch::Root;
        while let Some(node) = self.at(branch)
            && priority(node) >= priority(span)
        {
            branch = if key(span) < key(node) { Branch::Low(node) } else { Branch::High(node) };
        }
        let mut rest = self.at(branch);
        self.hang(branch, Some(span));
        // What hung there is split into what is below and what is above the new span.
        let (mut low, mut high) = (Branch::Low(span), Branch::High(span));
        while let Some(node) = rest {
            if key(node) < key(span) {
                self.hang(low, Some(node));
                (low, rest) = (Branch::High(node), node.high_child());
            } else {
                self.hang(high, Some(node));
                (high, rest) = (Branch::Low(node), node.low_child());
            }
        }
        self.hang(low, None);
        self.hang(high, None);
        self.length += 1;
    }

    /// Takes a span out that is in this tree.
    #[unsafe(link_section = ".text_rarely")]
    pub fn remove(&mut self, span: SpanHandle) {
        let mut branch = Branch::Root;
        while let Some(node) = self.at(branch)
            && node != span
        {
            branch = if key(span) < key(node) { Branch::Low(node) } else { Branch::High(node) };
        }
        debug_assert!(self.at(branch) == Some(span), "the span is in the tree");
        let (mut low, mut high) = (span.low_child(), span.high_child());
        while let (Some(below), Some(above)) = (low, high) {
            if priority(below) >= priority(above) {
                self.hang(branch, Some(below));
                (branch, low) = (Branch::High(below), below.high_child());
            } else {
                self.hang(branch, Some(above));
                (branch, high) = (Branch::Low(above), above.low_child());
            }
        }
        self.hang(branch, low.or(high));
        span.set_low_child(None);
        span.set_high_child(None);
        self.length -= 1;
    }

    fn at(&self, branch: Branch) -> Option<SpanHandle> {
        match branch {
            Branch::Root => self.root,
            Branch::Low(span) => span.low_child(),
            Branch::High(span) => span.high_child(),
        }
    }

    fn hang(&mut self, branch: Branch, span: Option<SpanHandle>) {
        match branch {
            Branch::Root => self.root = span,
            Branch::Low(parent) => parent.set_low_child(span),
            Branch::High(parent) => parent.set_high_child(span),
        }
    }
}

/// Length first, then address.
fn key(span: SpanHandle) -> (usize, usize) {
    (span.pages(), span.first_page_number())
}

/// A hash of the first page (the finalizer of splitmix64): spread evenly whatever the addresses
/// are.
fn priority(span: SpanHandle) -> u64 {
    let mut hash = (span.first_page_number() as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
