use super::*;
use crate::{MetadataArena, PageCount, PageId, SpanList, SpanPool};
use std::{collections::BTreeMap, vec::Vec};
use strata_os::SystemPages;
use strata_size_classes::Pages8K;

/// Spans of `lengths` pages, one behind the other.
fn spans(lengths: impl Iterator<Item = usize>) -> Vec<SpanHandle> {
    let (arena, source, pool) = (MetadataArena::new(), SystemPages::new(), SpanPool::new());
    let mut next = 1 << 22;
    let span = |pages| {
        let span = pool.allocate_span(&arena, &source).expect("memory");
        span.set_range(PageId::<Pages8K>::new(next), PageCount::new(pages));
        next += pages + 1;
        span
    };
    lengths.map(span).collect()
}

fn random(number: &mut u64, below: usize) -> usize {
    *number =
        number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*number >> 33).unwrap_or(0) % below
}

fn depth(span: Option<SpanHandle>) -> usize {
    span.map_or(0, |span| 1 + depth(span.low_child()).max(depth(span.high_child())))
}

#[test]
fn the_best_fit_is_the_shortest_and_then_lowest_that_suffices() {
    let mut number = 11;
    let all = spans((0..300).map(|_| 1 + random(&mut number, 60)));
    let (mut tree, mut list, mut model) = (SpanTree::new(), SpanList::new(), BTreeMap::new());
    for _ in 0..20_000 {
        let span = all[random(&mut number, all.len())];
        if model.remove(&key(span)).is_some() {
            tree.remove(span);
            list.remove(span);
        } else {
            model.insert(key(span), span);
            tree.insert(span);
            // A span may be on a list besides: neither disturbs the other.
            list.push_front(span);
        }
        let wanted = random(&mut number, 65);
        let expected = model.range((wanted, 0)..).next().map(|(_, &span)| span);
        assert_eq!(tree.best_fit(wanted), expected);
        assert_eq!((tree.len(), list.len()), (model.len(), model.len()));
    }
    for (_, span) in model {
        tree.remove(span);
        assert!(span.low_child().is_none() && span.high_child().is_none());
    }
    assert!(tree.is_empty() && tree.best_fit(1).is_none());
}

#[test]
fn rising_lengths_and_addresses_do_not_make_it_a_list() {
    let all = spans(1..=4096);
    let mut tree = SpanTree::new();
    all.iter().for_each(|&span| tree.insert(span));
    // 12 would be perfect; a random tree of 4 096 has 31 on average.
    assert!(depth(tree.root) < 50, "{}", depth(tree.root));
    all.iter().for_each(|&span| tree.remove(span));
    assert!(tree.is_empty());
}

#[test]
fn after_each_span_comes_the_next_longer_and_last_the_longest() {
    let all = spans([5, 3, 9, 3, 7, 5, 5].into_iter());
    let mut tree = SpanTree::new();
    all.iter().for_each(|span| tree.insert(*span));
    let rising = core::iter::successors(tree.best_fit(1), |span| tree.after(*span));
    let keys: Vec<_> = rising.map(|span| (span.pages(), span.first::<Pages8K>())).collect();
    assert_eq!(keys.len(), all.len());
    assert!(keys.windows(2).all(|two| two[0] < two[1]));
    assert_eq!(tree.longest().map(|span| span.pages()), Some(9));
}
