use super::*;
use crate::{MetadataArena, PageCount, PageId, SpanPool};
use std::{collections::VecDeque, vec::Vec};
use strata_os::SystemPages;
use strata_size_classes::Pages8K;

fn spans(count: usize) -> Vec<SpanHandle> {
    let (arena, source, pool) = (MetadataArena::new(), SystemPages::new(), SpanPool::new());
    let span = |index| {
        let span = pool.allocate_span(&arena, &source).expect("memory");
        span.set_range(PageId::<Pages8K>::new(index), PageCount::new(1));
        span
    };
    (1..=count).map(span).collect()
}

#[test]
fn the_list_is_the_row_that_a_deque_is() {
    let (all, mut list, mut model) = (spans(20), SpanList::new(), VecDeque::new());
    let mut number = 7u64;
    for _ in 0..5000 {
        number =
            number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let span = all[usize::try_from(number >> 40).unwrap_or(0) % all.len()];
        if let Some(at) = model.iter().position(|&other| other == span) {
            model.remove(at);
            list.remove(span);
        } else if number >> 33 & 1 == 0 {
            model.push_front(span);
            list.push_front(span);
        } else {
            model.push_back(span);
            list.push_back(span);
        }
        assert!(list.iter().eq(model.iter().copied()));
        assert_eq!((list.first(), list.last()), (model.front().copied(), model.back().copied()));
        assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    }
    while let Some(span) = list.pop_front() {
        assert_eq!(model.pop_front(), Some(span));
        assert_eq!((span.next(), span.previous()), (None, None));
    }
    assert!(model.is_empty());
}
