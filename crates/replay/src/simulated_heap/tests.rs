use strata_os::{ManualClock, SimulatedPages, ThpMode};
use strata_page_heap::{LegacyPageHeap, PageHeap, ReleaseReason};
use strata_size_classes::{PageSize, Pages8K, Pages32K};
use strata_temeraire::HugePageAware;

use super::{SimulatedHeap, Upkeep};
use crate::{Layer, ReleasePolicy, ThreadKind};

fn with_heap<P: PageSize, H: PageHeap<P>>(work: impl FnOnce(&mut SimulatedHeap<'_, P, H>)) {
    let (pages, clock) = (SimulatedPages::new().with_faults(), ManualClock::new(0));
    let upkeep = Upkeep { policy: ReleasePolicy::DEFAULT, thread: ThreadKind::Always };
    let mut heap = SimulatedHeap::new(&pages, &clock, 4, upkeep).expect("x86-64");
    work(&mut heap);
}

/// Blocks of many sizes from all CPUs, every other one freed on another CPU.
fn sums_hold<P: PageSize, H: PageHeap<P>>() {
    with_heap::<P, H>(|heap| {
        let mut blocks = Vec::new();
        for number in 0..20_000_u32 {
            let size = 1 + (number as usize * 7919) % 40_000;
            blocks.push((heap.allocate(number % 4, size, 1).expect("room"), size));
            if number % 2 == 0 {
                let (address, size) = blocks.swap_remove(blocks.len() / 2);
                heap.deallocate((number + 1) % 4, address, size);
            }
            if number % 5000 == 0 {
                heap.release(1 << 20, ReleaseReason::Policy);
                check(heap);
                heap.pass_to(u64::from(number / 5000 + 1) * 10_000_000_000);
                check(heap);
            }
        }
        check(heap);
        for (address, size) in blocks {
            heap.deallocate(0, address, size);
        }
        assert_eq!(heap.moment(0).live_bytes, 0);
        check(heap);
    });
}

fn check<P: PageSize, H: PageHeap<P>>(heap: &SimulatedHeap<'_, P, H>) {
    let moment = heap.moment(0);
    let of_layers: u64 = moment.fragmentation.iter().sum();
    assert_eq!(moment.backed_bytes, moment.live_bytes + of_layers, "{moment:?}");
    let away = heap.layers.page_heap.away_inside();
    let in_use = moment.backed_bytes - moment.in_layer(Layer::PageHeap);
    assert_eq!(moment.in_use_bytes, in_use + away, "{moment:?}");
    assert!(moment.hugepage_bytes <= moment.backed_bytes);
}

#[test]
fn every_backed_byte_is_live_or_in_one_layer() {
    sums_hold::<Pages8K, HugePageAware<Pages8K>>();
    sums_hold::<Pages8K, LegacyPageHeap<Pages8K>>();
    sums_hold::<Pages32K, HugePageAware<Pages32K>>();
}

#[test]
fn a_heap_that_grows_past_what_gives_it_a_thread_is_put_in_shape_at_once() {
    let pages = SimulatedPages::new().with_faults().with_thp_mode(ThpMode::Madvise);
    let clock = ManualClock::new(1_000_000_000);
    let upkeep = Upkeep { policy: ReleasePolicy::DEFAULT, thread: ThreadKind::Auto };
    let mut heap = SimulatedHeap::<Pages8K, HugePageAware<Pages8K>>::new(&pages, &clock, 4, upkeep)
        .expect("x86-64");
    (0..45_000).for_each(|_| assert!(heap.allocate(0, 1024, 1).is_some()));
    let small = |heap: &SimulatedHeap<'_, _, _>| {
        let moment = heap.moment(0);
        moment.backed_bytes - moment.hugepage_bytes
    };
    assert!(small(&heap) >= 14 << 20, "the first 16 MiB: {}", small(&heap));
    heap.pass_to(1_050_000_000);
    assert!(small(&heap) <= 4 << 20, "{}", small(&heap));
}

#[test]
fn what_was_released_and_is_handed_out_again_is_faulted_in_again() {
    with_heap::<Pages8K, HugePageAware<Pages8K>>(|heap| {
        let block = heap.allocate(0, 8 << 20, 1).expect("room");
        heap.deallocate(0, block, 8 << 20);
        assert_eq!(heap.release(8 << 20, ReleaseReason::Call), 8 << 20);
        assert_eq!(heap.moment(0).backed_bytes, 0);
        heap.allocate(0, 8 << 20, 1).expect("room");
        let moment = heap.moment(0);
        assert_eq!((moment.backed_bytes, moment.refaulted_bytes), (8 << 20, 8 << 20));
    });
}

#[test]
fn a_block_stays_where_it_is_while_its_class_does_and_moves_when_it_does_not() {
    with_heap::<Pages8K, HugePageAware<Pages8K>>(|heap| {
        let block = heap.allocate(0, 100, 1).expect("room");
        assert_eq!(heap.reallocate(0, block, 100, 105), Some(block));
        let moved = heap.reallocate(0, block, 105, 1000).expect("room");
        assert_ne!(moved, block);
        assert_eq!(heap.moment(0).live_bytes, 1000);
    });
}

#[test]
fn requests_that_nobody_can_serve_are_refused_and_change_nothing() {
    with_heap::<Pages8K, LegacyPageHeap<Pages8K>>(|heap| {
        for (size, align) in [(usize::MAX, 1), (1 << 60, 1), (1, 1 << 60)] {
            assert_eq!(heap.allocate(0, size, align), None);
        }
        assert_eq!(heap.moment(0).live_bytes, 0);
        let aligned = heap.allocate(0, 5, 1 << 30).expect("there is room for that");
        assert!(aligned.is_multiple_of(1 << 30));
    });
}

#[test]
fn kernel_pages_that_went_inside_of_spans_come_again_with_their_blocks() {
    with_heap::<Pages8K, HugePageAware<Pages8K>>(|heap| {
        let blocks: Vec<_> = (0..20_000).map(|_| heap.allocate(0, 512, 1).expect("room")).collect();
        let (kept, gone): (Vec<_>, Vec<_>) =
            blocks.into_iter().enumerate().partition(|(index, _)| index % 16 == 0);
        gone.into_iter().for_each(|(_, block)| heap.deallocate(0, block, 512));
        let before = heap.moment(0);
        heap.pass_to(30_000_000_000);
        check(heap);
        let after = heap.moment(0);
        assert!(heap.upkeep().swept_bytes() > 4 << 20, "{:?}", heap.upkeep());
        assert!(after.backed_bytes < before.backed_bytes / 3 * 2, "{before:?} {after:?}");
        for _ in 0..15_000 {
            heap.allocate(0, 512, 1).expect("room");
        }
        check(heap);
        assert!(heap.moment(0).refaulted_bytes > 3 << 20);
        kept.into_iter().for_each(|(_, block)| heap.deallocate(0, block, 512));
        check(heap);
    });
}
