//! Which parts of a heap the suite's programs reached.

use crate::PageHeap;
use core::cell::RefCell;
use std::{collections::BTreeMap, thread_local, vec::Vec};
use strata_span::PageSize;

thread_local! {
    /// By name, how often each part came into play, in all heaps of this thread's programs.
    static REACHED: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins anew.
pub(super) fn forget() {
    REACHED.take();
}

/// Adds what a heap's parts did. Called once for each heap, at its end.
pub(super) fn note<P: PageSize, H: PageHeap<P>>(heap: &H) {
    REACHED.with_borrow_mut(|reached| {
        heap.for_each_part(|part, count| *reached.entry(part).or_default() += count);
    });
}

/// Every part was reached.
pub(super) fn demand_all() {
    let untouched: Vec<_> =
        REACHED.take().into_iter().filter(|(_, count)| *count == 0).map(|(part, _)| part).collect();
    assert!(untouched.is_empty(), "no program reached these parts: {untouched:?}");
}
