//! Threads that share a heap.

use super::{
    Seed,
    model::{random_growth, random_request},
    parts,
    test_ground::TestGround,
};
use crate::{PageHeap, ReleaseReason};
use core::sync::atomic::{AtomicU64, Ordering};
use std::{thread, vec::Vec};
use strata_span::{PageCount, PageSize, Platform, SpanHandle};

/// `threads` threads allocate, extend, free and release at random over one heap: no span is out twice, none
/// is released while it is out, and at the end everything adds up.
pub fn threads_share_a_heap<P: PageSize, H: PageHeap<P>>(seed: Seed, threads: u64, steps: usize) {
    std::println!("{seed:?}");
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let released = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (ground, heap, released) = (&ground, &heap, &released);
            scope.spawn(move || {
                one_thread(ground, heap, released, seed.derived(100 + thread), steps)
            });
        }
    });
    let stats = heap.stats();
    assert_eq!((stats.in_use_bytes, stats.spans_in_use), (0, 0), "everything was given back");
    assert_eq!(stats.system_bytes, stats.free_bytes + stats.unmapped_bytes);
    assert_eq!(
        stats.released.total(),
        released.load(Ordering::Relaxed),
        "all threads' releases add up"
    );
    parts::note(&heap);
}

/// Figures are taken on a stack of 80 KiB, which is what a whole snapshot asks of a signal handler. In builds
/// without optimisation each function that passes them on has them on its own stack: twice as much there.
pub fn figures_need_little_stack<P: PageSize, H: PageHeap<P>>(seed: Seed) {
    let (ground, heap) = (TestGround::<P>::new(), H::EMPTY);
    let mut seed = seed.derived(11);
    let spans: Vec<_> =
        (0..50).filter_map(|_| heap.allocate(&ground, random_request::<P>(&mut seed))).collect();
    thread::scope(|scope| {
        let bytes = if cfg!(debug_assertions) { 160 << 10 } else { 80 << 10 };
        let small = thread::Builder::new().stack_size(bytes);
        let taken = small.spawn_scoped(scope, || {
            let _ = heap.figures(&ground);
        });
        assert!(taken.expect("a thread").join().is_ok(), "figures were taken");
    });
    for span in spans {
        // SAFETY: the span came from this heap, and nobody else has it.
        unsafe { heap.deallocate(&ground, span) };
    }
}

fn one_thread<P: PageSize, H: PageHeap<P>>(
    ground: &TestGround<P>,
    heap: &H,
    released: &AtomicU64,
    mut seed: Seed,
    steps: usize,
) {
    let mut out = Vec::new();
    for step in 0..steps * 2 {
        let growing = step < steps;
        if seed.below(20) == 0 {
            let wanted = PageCount::new(1 + seed.below(1000));
            let pages = heap.release(ground, wanted, ReleaseReason::Policy);
            released.fetch_add(pages.bytes() as u64, Ordering::Relaxed);
        }
        if seed.below(200) == 0 {
            let _ = heap.figures(ground);
        }
        if growing && seed.below(5) < 3 {
            let request = random_request::<P>(&mut seed);
            let Some(span) = heap.allocate(ground, request) else { continue };
            ground.note_handed_out(span.range::<P>(), span.is_zeroed());
            out.push(span);
        } else if !out.is_empty() && seed.below(4) == 0 {
            let span: SpanHandle = out[seed.below(out.len())];
            let before = span.page_count::<P>();
            let wanted = random_growth(before, &mut seed);
            // SAFETY: the span came from this heap, and this thread has it.
            if unsafe { heap.extend(ground, span, wanted) } && wanted > before {
                let added = span.page_count::<P>() - before;
                let range = added.range_from(span.first::<P>() + before);
                ground.note_handed_out(range, false);
            }
        } else if !out.is_empty() {
            let span = out.swap_remove(seed.below(out.len()));
            ground.source().note_given_back(span.range::<P>());
            // SAFETY: the span came from this heap, and this thread forgot it.
            unsafe { heap.deallocate(ground, span) };
        }
    }
    for span in out {
        ground.source().note_given_back(span.range::<P>());
        // SAFETY: the span came from this heap, and this thread forgot it.
        unsafe { heap.deallocate(ground, span) };
    }
}
